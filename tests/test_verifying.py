from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tedbench import (
    archive,
    datasets,
    images,
    importing,
    registry,
    report,
    scoring,
    store,
    strangers,
    submitting,
    verifying,
)
from tedbench.config import MethodConfig, RunConfig
from tedbench.datasets import drawn as drawing
from tedbench.errors import Differs, StoreError, TedbenchError, Unverified, UsageError
from tedbench.running import runner, sweeps
from tedbench.types import Cell
from tedbench.verifying import CLAIMED, CONFIRMED, DIFFERS, UNVERIFIED, Given, Verification

Files = dict[str, bytes]
METRICS = ["ssim@64", "oracle-success", "psnr@64"]
WHOLE = dict.fromkeys(["files", "rows", "questions"], CONFIRMED) | {"settings": CLAIMED}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scored run of `tedbench run`, with a metric of real numbers and one that is 0 or 1, submitted with images."""
    place = tmp_path_factory.mktemp("toy")
    config = RunConfig((MethodConfig("identity"),), dataset="toy:2", seeds=(0, 1))
    runner.run(config, place / "run")
    scoring.score_run(store.open_run(place / "run"), runner.load(config), scoring.make_metrics(METRICS, "cpu"))
    submitting.submit(store.open_run(place / "run"), place / "a.zip")
    return place


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported run with a failed image, over a folder of data, submitted with images and without."""
    place = tmp_path_factory.mktemp("theirs")
    data, edits = drawing.write(place / "drawn", n=3)
    dataset = datasets.load("folder", data)
    (edits / sorted(importing.list_images(edits))[0]).write_bytes(b"not an image")
    importing.import_folder(importing.Source(edits, "m"), dataset, place / "run")
    scoring.score_run(store.open_run(place / "run"), dataset, scoring.make_metrics(["ssim@64"]))
    submitting.submit(store.open_run(place / "run"), place / "a.zip", images=True)
    submitting.submit(store.open_run(place / "run"), place / "bare.zip")
    return place


def verdicts(found: Verification) -> dict[str, str]:
    return {check.what: check.verdict for check in found.checks}


def read(path: Path) -> Files:
    with zipfile.ZipFile(path) as made:
        return {name: made.read(name) for name in made.namelist()}


def forged(path: Path, out: Path, cheat: Callable[[Files, dict[str, Any]], None]) -> Path:
    """A submission altered by somebody who knows the format: every hash in submission.json is right again."""
    files = read(path)
    said = json.loads(files.pop("submission.json"))
    cheat(files, said)
    archive.write(out, sorted(files.items()), lambda: {key: value for key, value in said.items() if key != "files"})
    return out


def rows_of(files: Files, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files[name].decode().splitlines()]


def put_rows(files: Files, name: str, rows: list[dict[str, Any]]) -> None:
    files[name] = "".join(json.dumps(row) + "\n" for row in rows).encode()


def scores_of(files: Files) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(files["scores.parquet"]))


def put_scores(files: Files, scores: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    scores.to_parquet(buffer, index=False)
    files["scores.parquet"] = buffer.getvalue()


def recount(files: Files, said: dict[str, Any]) -> None:
    """What whoever changes rows must change too: counts, and the digest of the cells in every metric's facts."""
    cells = [importing.Cell(**row) for row in rows_of(files, "cells.jsonl")]
    said["cells"] = {what: sum(cell.status == what for cell in cells) for what in ("ok", "failed", "missing")}
    metrics = json.loads(files["metrics.json"])
    for facts in metrics.values():
        facts["cells"] = store.cells_digest(cells)
    files["metrics.json"] = json.dumps(metrics).encode()


def test_an_honest_submission_is_verified(toy: Path) -> None:
    found = verifying.verify(toy / "a.zip", Given(device="cpu"))
    assert verdicts(found) == WHOLE | dict.fromkeys(METRICS, CONFIRMED)
    assert {check.what: check.why for check in found.checks}["rows"] == "4 ok, 0 failed, 0 missing"
    assert {
        check.what: (check.rows, check.largest) for check in found.checks if check.what in METRICS
    } == dict.fromkeys(METRICS, (4, 0.0))
    found.confirm()


def test_the_psnr_of_equal_pictures_is_infinite_and_verified(toy: Path, tmp_path: Path) -> None:
    psnr = store.read_scores(toy / "run").query("metric.str.startswith('psnr')")["value"]
    assert np.isinf(psnr).all()

    def make_finite(files: Files, said: dict[str, Any]) -> None:
        scores = scores_of(files)
        scores.loc[scores["metric"].str.startswith("psnr").idxmax(), "value"] = 1e300
        put_scores(files, scores)

    found = verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", make_finite), Given(device="cpu"))
    assert verdicts(found)["psnr@64"] == DIFFERS


def test_a_failed_image_and_a_folder_of_data(theirs: Path) -> None:
    found = verifying.verify(theirs / "a.zip", Given(data=theirs / "drawn" / "data"))
    found.confirm()
    assert verdicts(found) == WHOLE | {"ssim@64": CONFIRMED}
    assert {check.what: check.why for check in found.checks}["rows"] == "3 ok, 1 failed, 0 missing"


def raise_a_score(files: Files, said: dict[str, Any]) -> None:
    scores = scores_of(files)
    scores.loc[scores["metric"].str.startswith("ssim").idxmax(), "value"] -= 0.001
    put_scores(files, scores)


def turn_a_success(files: Files, said: dict[str, Any]) -> None:
    scores = scores_of(files)
    at = scores["metric"].str.startswith("oracle").idxmax()
    scores.loc[at, "value"] = 1 - scores.loc[at, "value"]
    put_scores(files, scores)


def nudge_a_success(files: Files, said: dict[str, Any]) -> None:
    scores = scores_of(files)
    at = scores["metric"].str.startswith("oracle").idxmax()
    scores.loc[at, "value"] = abs(scores.loc[at, "value"] - 1e-6)
    put_scores(files, scores)


def empty_a_score(files: Files, said: dict[str, Any]) -> None:
    scores = scores_of(files)
    scores.loc[0, "value"] = np.nan
    put_scores(files, scores)


def replace_an_image(files: Files, said: dict[str, Any]) -> None:
    cells = rows_of(files, "cells.jsonl")
    png = images.encode_png(Image.effect_noise((64, 64), 90).convert("RGB"))
    name, old, new = cells[0]["file"], cells[0]["sha256"], images.sha256(png)
    files[name] = png
    for record in [name for name in files if name.endswith((".json", ".jsonl")) and name != "pairs.jsonl"]:
        files[record] = files[record].replace(
            f'{name}", "sha256": "{old}'.encode(), f'{name}", "sha256": "{new}'.encode()
        )
    record = cells[0]["facts"]
    files[record] = files[record].replace(old.encode(), new.encode())
    recount(files, said)


def name_another_image(files: Files, said: dict[str, Any]) -> None:
    cells = rows_of(files, "cells.jsonl")
    cells[0]["sha256"] = "0" * 64
    put_rows(files, "cells.jsonl", cells)
    recount(files, said)


def drop_a_row(files: Files, said: dict[str, Any]) -> None:
    first, *rest = rows_of(files, "cells.jsonl")
    put_rows(files, "cells.jsonl", rest)
    files.pop(first["file"], None)
    files.pop(first["facts"], None)
    scores = scores_of(files)
    gone = (scores["uid"] == first["uid"]) & (scores["seed"].isna() | (scores["seed"] == first["seed"]))
    put_scores(files, scores[~gone])
    recount(files, said)


def drop_a_question(files: Files, said: dict[str, Any]) -> None:
    uid = rows_of(files, "pairs.jsonl")[0]["uid"]
    for name in ("pairs.jsonl", "cells.jsonl"):
        put_rows(files, name, [row for row in rows_of(files, name) if row["uid"] != uid])
    for name in [name for name in files if f"/{uid}/" in name]:
        del files[name]
    put_scores(files, scores_of(files).query("uid != @uid"))
    recount(files, said)


def rename_the_identity(files: Files, said: dict[str, Any]) -> None:
    for old, new in (("ssim-gaussian1.5/64", "ssim-gaussian1.5/512"),):
        metrics = json.loads(files["metrics.json"].replace(old.encode(), new.encode()))
        files["metrics.json"] = json.dumps(metrics).encode()
        scores = scores_of(files)
        scores["metric"] = scores["metric"].str.replace(old, new)
        put_scores(files, scores)


def turn_what_is_better(files: Files, said: dict[str, Any]) -> None:
    metrics = json.loads(files["metrics.json"])
    for facts in metrics.values():
        facts["higher_is_better"] = not facts["higher_is_better"]
    files["metrics.json"] = json.dumps(metrics).encode()


def forget_that_it_is_binary(files: Files, said: dict[str, Any]) -> None:
    metrics = json.loads(files["metrics.json"])
    for facts in metrics.values():
        facts["facts"].pop("values", None)
    files["metrics.json"] = json.dumps(metrics).encode()


def alter_a_text(files: Files, said: dict[str, Any]) -> None:
    rows = rows_of(files, "pairs.jsonl")
    rows[1]["target_text"] = "A photo of something easier."
    put_rows(files, "pairs.jsonl", rows)


def move_a_category(files: Files, said: dict[str, Any]) -> None:
    rows = rows_of(files, "pairs.jsonl")
    rows[0]["category"], uid = "easy", rows[0]["uid"]
    put_rows(files, "pairs.jsonl", rows)
    cells = [row | {"category": "easy"} if row["uid"] == uid else row for row in rows_of(files, "cells.jsonl")]
    put_rows(files, "cells.jsonl", cells)
    scores = scores_of(files)
    scores.loc[scores["uid"] == uid, "category"] = "easy"
    put_scores(files, scores)


def score_nothing_of_one_metric(files: Files, said: dict[str, Any]) -> None:
    scores = scores_of(files)
    put_scores(files, scores[~scores["metric"].str.startswith("ssim")])


def add_a_metric_without_facts(files: Files, said: dict[str, Any]) -> None:
    scores = scores_of(files)
    more = scores[scores["metric"].str.startswith("ssim")].assign(metric="better/1")
    put_scores(files, pd.concat([scores.iloc[: len(scores) - len(more)], more]))


def score_nothing(files: Files, said: dict[str, Any]) -> None:
    files["metrics.json"] = b"{}"
    put_scores(files, scores_of(files).iloc[:0])


def alter(name: str, *keys: str, to: Any) -> Callable[[Files, dict[str, Any]], None]:
    """Set one value of run.json, or of every metric in metrics.json; nothing is left of it where `to` is None."""

    def cheat(files: Files, said: dict[str, Any]) -> None:
        raw = json.loads(files[name])
        for place in raw.values() if name == "metrics.json" else [raw]:
            *way, last = keys
            for key in way:
                place = place[key]
            if to is None:
                place.pop(last, None)
            else:
                place[last] = to
        files[name] = json.dumps(raw).encode()

    cheat.__name__ = f"{'.'.join(keys)}={to!r}"
    return cheat


def alter_rows(**values: Any) -> Callable[[Files, dict[str, Any]], None]:
    def cheat(files: Files, said: dict[str, Any]) -> None:
        put_rows(files, "cells.jsonl", [row | values for row in rows_of(files, "cells.jsonl")])
        follow(files, said)

    cheat.__name__ = str(values)
    return cheat


def follow(files: Files, said: dict[str, Any]) -> None:
    """Records of sweeps say what the rows say, and so do counts and digests."""
    by_record: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(files, "cells.jsonl"):
        by_record.setdefault(row["facts"], []).append(row)
    for name, rows in by_record.items():
        kept = [sweeps.kept_of(Cell(**row)) for row in rows]
        files[name] = json.dumps(json.loads(files[name]) | {"cells": kept}).encode()
    recount(files, said)


def swap_images(files: Files, said: dict[str, Any]) -> None:
    first, second, *rest = rows_of(files, "cells.jsonl")
    for key in ("file", "sha256"):
        first[key], second[key] = second[key], first[key]
    put_rows(files, "cells.jsonl", [first, second, *rest])
    follow(files, said)


def state_another_licence(files: Files, said: dict[str, Any]) -> None:
    said["licence"] = "CC0-1.0"


CHEATS = [
    raise_a_score, turn_a_success, nudge_a_success, empty_a_score, replace_an_image, name_another_image, drop_a_row,
    drop_a_question, rename_the_identity, turn_what_is_better, forget_that_it_is_binary, alter_a_text, move_a_category,
    score_nothing_of_one_metric, add_a_metric_without_facts, score_nothing, swap_images, state_another_licence,
    alter("metrics.json", "facts", "backbone", to=None), alter("metrics.json", "facts", "size", to=None),
    alter("metrics.json", "captions", to="mine 1"), alter("metrics.json", "unscored", to={"x": "y"}),
    alter("run.json", "dataset", "licence", to="all rights reserved"),
    alter("run.json", "dataset", "revision", to="world 9"), alter("run.json", "dataset", "source", to="hub"),
    alter("run.json", "knobs", "identity", "default", to=0.5), alter("run.json", "knobs", "identity", "name", to="eta"),
    alter("run.json", "knobs", "identity", to={"name": "none", "symbol": "–", "default": "x"}),
    alter("run.json", "knobs", "identity", to={"name": "none", "symbol": 3, "default": 0.0}),
    alter("run.json", "knobs", "nobody", to={}), alter("run.json", "execution", "identity", to="x"),
    alter("run.json", "execution", "identity", to={"device": "cpu"}), alter("run.json", "kind", to="weird"),
    alter("run.json", "execution", "identity", to={"model": [{}]}),
    alter_rows(fit_seconds=-5), alter_rows(edit_seconds="5"), alter_rows(host_bytes=-1),
    alter_rows(device_bytes=True), alter_rows(host_bytes=10**400),
]  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_with_right_hashes_differs(toy, tmp_path, cheat):  # type: ignore[no-untyped-def]
    path = forged(toy / "a.zip", tmp_path / "forged.zip", cheat)
    found = verifying.verify(path, Given(device="cpu", out=tmp_path / "out"))
    with pytest.raises(Differs, match="NOT VERIFIED: "):
        found.confirm()
    assert DIFFERS in verdicts(found).values()
    assert not (tmp_path / "out").exists()


def relabel(status: str, n: int) -> Callable[[Files, dict[str, Any]], None]:
    """The first images were never made, says the submitter, who has them."""

    def cheat(files: Files, said: dict[str, Any]) -> None:
        rows, scores = rows_of(files, "cells.jsonl"), scores_of(files)
        for row in rows[:n]:
            del files[row["file"]]
            same = (scores["uid"] == row["uid"]) & (scores["seed"] == row["seed"])
            scores.loc[same, "value"] = np.nan
            row.update(status=status, file="", sha256="")
        put_rows(files, "cells.jsonl", rows)
        put_scores(files, scores)
        follow(files, said)

    return cheat


def test_which_edits_failed_is_told_and_a_run_that_misses_some_is_not_verified(toy: Path, tmp_path: Path) -> None:
    found = verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", relabel("failed", 3)), Given(device="cpu"))
    found.confirm()
    assert next(check.why for check in found.checks if check.what == "rows") == "1 ok, 3 failed, 0 missing"
    found = verifying.verify(forged(toy / "a.zip", tmp_path / "m.zip", relabel("missing", 1)), Given(device="cpu"))
    with pytest.raises(Unverified, match=r"incomplete run \(3 ok, 0 failed, 1 missing\)"):
        found.confirm()


def test_what_a_batched_method_notes_is_no_fault(toy: Path, tmp_path: Path) -> None:
    noted = {"model": ["toy-f5aef3ec"], "device": ["cpu"], "threads": [1, 2], "batches": [[11], [4, 7]]}
    path = forged(toy / "a.zip", tmp_path / "f.zip", alter("run.json", "execution", "identity", to=noted))
    verifying.verify(path, Given(device="cpu")).confirm()


@pytest.mark.parametrize("label", ["not-installed", "evil:Method", ["imagic"]])
def test_settings_of_a_method_that_is_not_installed_are_claimed_and_no_more(toy, tmp_path, label):  # type: ignore[no-untyped-def]
    def rename(files: Files, said: dict[str, Any]) -> None:
        alter("run.json", "methods", "identity", "name", to=label)(files, said)
        alter("run.json", "knobs", "identity", "default", to=0.5)(files, said)

    found = verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", rename), Given(device="cpu"))
    found.confirm()
    why = next(check.why for check in found.checks if check.what == "settings")
    assert why == "all is the submitter's word"


def test_the_helper_forges_nothing_by_itself(toy: Path, tmp_path: Path) -> None:
    def honest(files: Files, said: dict[str, Any]) -> None:
        put_scores(files, scores_of(files))
        put_rows(files, "cells.jsonl", rows_of(files, "cells.jsonl"))
        recount(files, said)

    verifying.verify(forged(toy / "a.zip", tmp_path / "same.zip", honest), Given(device="cpu")).confirm()


def test_which_score_differs_is_told_beside_those_that_do_not(toy: Path, tmp_path: Path) -> None:
    found = verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", raise_a_score), Given(device="cpu"))
    assert (verdicts(found)["ssim@64"], verdicts(found)["oracle-success"]) == (DIFFERS, CONFIRMED)
    check = next(check for check in found.checks if check.what == "ssim@64")
    assert check.largest == pytest.approx(0.001, rel=1e-6) and "1 of 4 scores" in check.why


@pytest.mark.parametrize(("off", "verdict"), [(0.00009, CONFIRMED), (0.00011, DIFFERS)])
def test_other_hardware_may_round_otherwise_by_a_stated_amount(toy, tmp_path, off, verdict):  # type: ignore[no-untyped-def]
    def shift(files: Files, said: dict[str, Any]) -> None:
        scores = scores_of(files)
        scores.loc[scores["metric"].str.startswith("ssim"), "value"] -= off
        put_scores(files, scores)

    found = verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", shift), Given(device="cpu"))
    assert verdicts(found)["ssim@64"] == verdict


def test_a_failed_image_left_out_or_scored_differs(theirs: Path, tmp_path: Path) -> None:
    failed = next(cell.uid for cell in store.open_run(theirs / "run").cell_list() if cell.status == "failed")

    def leave_out(files: Files, said: dict[str, Any]) -> None:
        put_rows(files, "cells.jsonl", [row for row in rows_of(files, "cells.jsonl") if row["uid"] != failed])
        put_scores(files, scores_of(files).query("uid != @failed"))
        recount(files, said)

    def invent(files: Files, said: dict[str, Any]) -> None:
        scores = scores_of(files)
        scores.loc[scores["uid"] == failed, "value"] = 0.9
        put_scores(files, scores)

    for number, (cheat, why) in enumerate([(leave_out, "lack"), (invent, "not made")]):
        path = forged(theirs / "a.zip", tmp_path / f"{number}.zip", cheat)
        with pytest.raises(Differs, match=why):
            verifying.verify(path, Given(data=theirs / "drawn" / "data")).confirm()


def test_hashes_that_were_not_mended_differ_at_once(toy: Path, tmp_path: Path) -> None:
    files = read(toy / "a.zip")
    files["scores.parquet"] = files["scores.parquet"][:-1] + b"?"
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    with pytest.raises(Differs, match=r"scores\.parquet is not what submission\.json says"):
        verifying.verify(tmp_path / "f.zip")


def test_without_images_scores_are_not_verified_and_a_run_folder_has_them(theirs: Path, tmp_path: Path) -> None:
    data = theirs / "drawn" / "data"
    found = verifying.verify(theirs / "bare.zip", Given(data=data, out=tmp_path / "out"))
    assert verdicts(found) == WHOLE | {"ssim@64": UNVERIFIED}
    with pytest.raises(Unverified, match="no images"):
        found.confirm()
    assert (tmp_path / "out" / "cells.jsonl").is_file()
    verifying.verify(theirs / "bare.zip", Given(data=data, run=theirs / "run")).confirm()
    other = tmp_path / "other"
    shutil.copytree(theirs / "run", other)
    Image.new("RGB", (64, 64)).save(next((other / "images").rglob("*.png")))
    with pytest.raises(UsageError, match="--run"):
        verifying.verify(theirs / "bare.zip", Given(data=data, run=other))
    with pytest.raises(UsageError, match="leave out --run"):
        verifying.verify(theirs / "a.zip", Given(data=data, run=other))


def test_without_the_data_nothing_about_the_photos_is_claimed(theirs: Path) -> None:
    found = verifying.verify(theirs / "a.zip")
    assert verdicts(found)["questions"] == verdicts(found)["ssim@64"] == UNVERIFIED
    with pytest.raises(Unverified, match="--data"):
        found.confirm()


def test_the_list_of_tedbench_needs_no_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    reference = Path(__file__).parent.parent / "results" / "tedbench-imagic-published"
    submitting.submit(store.open_run(reference), tmp_path / "a.zip")
    found = verifying.verify(tmp_path / "a.zip")
    assert (verdicts(found)["questions"], verdicts(found)["lpips-alex@256"]) == (CONFIRMED, UNVERIFIED)
    altered = forged(tmp_path / "a.zip", tmp_path / "f.zip", alter_a_text)
    assert verdicts(verifying.verify(altered))["questions"] == DIFFERS


STRANGE = {
    "evil:Metric": "code of the submitter's", "no-such-metric": "no metric named",
    "ssim@64?weights=https://example.org/x": "file or address", "ssim@../x": "file or address",
    "clip-text@local-dir:mine/model": "file or address", "clip-text@LOCAL-DIR:model": "file or address",
    "clip-text@%2Fmine%2Fmodel": "file or address", "clip-text@mine%5Cmodel": "file or address",
    "clip-text@hf-hub:evil/repo@../x": "file or address", "clip-text@hf-hub:~/x": "file or address",
    'dino?model=["/mine/model"]': "file or address", "clip-text@mine/model": "a file or folder here",
    "clip-text@model": "a file or folder here", "dino@hf-hub:model": "a file or folder here",
    "dino? model=model": "a file or folder here", 'dino?model=["model"]': "a file or folder here",
}  # fmt: skip
MODELS = ["clip-text@hf-hub:evil/repo", "dino@evil/repo", "structure-distance@evil/repo", "clip-text@ViT-B-32/openai"]
"""What --trust-models makes."""


def test_a_metric_of_a_stranger_is_neither_imported_nor_passed_over(toy, tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    for folder in ("model", "mine/model"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    made, make = [], scoring.make_metrics
    monkeypatch.setattr(scoring, "make_metrics", lambda specs, device: made.extend(specs) or make(specs, device))
    for number, (spec, why) in enumerate({**STRANGE, **dict.fromkeys(MODELS, "--trust-models")}.items()):

        def rename(files: Files, said: dict[str, Any], spec: str = spec) -> None:
            files["metrics.json"] = files["metrics.json"].replace(b'"ssim@64"', json.dumps(spec).encode())

        path = forged(toy / "a.zip", tmp_path / f"{number}.zip", rename)
        for trust in (False, True) if spec in STRANGE else (False,):
            found = verifying.verify(path, Given(device="cpu", trust_models=trust))
            assert verdicts(found)[spec] == UNVERIFIED
            with pytest.raises(Unverified, match=why):
                found.confirm()
    assert set(made) == set(METRICS) - {"ssim@64"}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("spec", MODELS)
def test_models_of_a_stranger_are_made_where_the_user_says_so(spec, tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    assert strangers.metric(spec, trusted=True) == spec
    with pytest.raises(TedbenchError, match="--trust-models"):
        strangers.metric(spec)


def test_the_names_of_what_ships_are_no_models_of_strangers(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for spec in ("clip-text", "clip-text@toy-clip-b", "lpips-alex@64?region=outside", "ssim@64?fit=pad"):
        assert strangers.metric(spec) == spec


@pytest.mark.parametrize(("flags", "offline"), [((), "1"), (("--trust-models",), "0")])
def test_the_command_goes_online_only_if_models_are_trusted(toy, flags, offline, monkeypatch):  # type: ignore[no-untyped-def]
    from typer.testing import CliRunner

    from tedbench.cli import app

    seen: list[tuple[str | None, bool]] = []

    def verify(archive: Path, given: Given) -> Verification:
        seen.append((os.environ.get("HF_HUB_OFFLINE"), given.trust_models))
        return Verification((verifying.Check("files", CONFIRMED),))

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(verifying, "verify", verify)
    done = CliRunner().invoke(app, ["verify", str(toy / "a.zip"), *flags])
    assert (done.exit_code, seen) == (0, [(offline, bool(flags))])


def test_a_metric_that_asks_a_model_is_not_asked_again(toy, monkeypatch):  # type: ignore[no-untyped-def]
    class Judge:
        def score_with_answers(self) -> None: ...

    load = registry.load
    monkeypatch.setattr(registry, "load", lambda plugin: Judge if plugin.kind == "metric" else load(plugin))
    with pytest.raises(Unverified, match="answers otherwise the next time"):
        verifying.verify(toy / "a.zip", Given(device="cpu")).confirm()


def test_what_a_stranger_calls_things_does_not_steer_the_terminal(cli, toy, tmp_path):  # type: ignore[no-untyped-def]
    def steer(files: Files, said: dict[str, Any]) -> None:
        files["metrics.json"] = files["metrics.json"].replace(b'"ssim@64"', b'"\\u001b[2J\\nverified"')
        files["run.json"] = files["run.json"].replace(b'"name": "run"', b'"name": "\\u001b[2J\\nverified"')

    done = cli("verify", forged(toy / "a.zip", tmp_path / "f.zip", steer), "--device", "cpu")
    assert done.returncode == 11 and "\x1b" not in done.stdout + done.stderr
    assert "verified" not in done.stdout.splitlines()


def test_an_unpacked_submission_stands_in_a_report_beside_ones_own(toy: Path, tmp_path: Path) -> None:
    verifying.verify(toy / "a.zip", Given(device="cpu", out=tmp_path / "theirs")).confirm()
    assert store.open_run(tmp_path / "theirs").scores().equals(store.open_run(toy / "run").scores())
    written = report.write_report([toy / "run", tmp_path / "theirs"], tmp_path / "report")
    assert any(path.name == "report.md" for path in written)
    with pytest.raises(UsageError, match="exists already"):
        verifying.verify(toy / "a.zip", Given(out=tmp_path / "theirs"))


def hostile(path: Path, source: Path, change: Callable[[zipfile.ZipFile, Files], None]) -> Path:
    """A zip with all files of a submission, but what `change` does to it."""
    files = read(source)
    with zipfile.ZipFile(path, "w") as made:
        change(made, files)
        for name, data in files.items():
            made.writestr(name, data)
    return path


def _put(name: str) -> Callable[[zipfile.ZipFile, Files], None]:
    def change(made: zipfile.ZipFile, files: Files) -> None:
        made.writestr(name, b"x")

    return change


def link(made: zipfile.ZipFile, files: Files) -> None:
    info = zipfile.ZipInfo("images/m/link.png")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    made.writestr(info, "../../../etc/passwd")


def twice(made: zipfile.ZipFile, files: Files) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("run.json", b"{}")
        made.writestr("run.json", b"{}")
    del files["run.json"]


def bomb(made: zipfile.ZipFile, files: Files) -> None:
    made.writestr("images/m/bomb.png", bytes(10_000_000), zipfile.ZIP_DEFLATED)


def squeezed(made: zipfile.ZipFile, files: Files) -> None:
    made.writestr("run.json", files.pop("run.json") + bytes(0), zipfile.ZIP_DEFLATED)


def unnamed(made: zipfile.ZipFile, files: Files) -> None:
    made.writestr("images/m/more.png", b"x")


def no_manifest(made: zipfile.ZipFile, files: Files) -> None:
    del files["submission.json"]


def short_manifest(made: zipfile.ZipFile, files: Files) -> None:
    files["submission.json"] = b'{"format": 1, "files": {"run.json": 3}}'


def deep_manifest(made: zipfile.ZipFile, files: Files) -> None:
    files["submission.json"] = b"[" * 100_000


def newer(made: zipfile.ZipFile, files: Files) -> None:
    files["submission.json"] = files["submission.json"].replace(b'"format": 1', b'"format": 2')


HOSTILE = {
    "slip": _put("../../evil.txt"), "slip inside": _put("images/../../evil.txt"), "absolute": _put("/tmp/evil.txt"),
    "backslash": _put("images\\..\\evil"), "hidden": _put("images/.evil"), "folder": _put("images/"),
    "elsewhere": _put("submission.py"), "link": link, "twice": twice, "bomb": bomb, "squeezed": squeezed,
    "unnamed": unnamed, "no manifest": no_manifest, "short manifest": short_manifest, "deep": deep_manifest,
    "newer": newer,
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_one_line_and_writes_nothing(toy, tmp_path, kind):  # type: ignore[no-untyped-def]
    path = hostile(tmp_path / "h.zip", toy / "a.zip", HOSTILE[kind])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError) as caught:
        verifying.verify(path, Given(out=tmp_path / "out"))
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [cut, lambda data: b"", lambda data: b"PK" + data[:99], lambda data: data[-2000:]])
def test_a_damaged_archive_is_one_line(toy, tmp_path, damage):  # type: ignore[no-untyped-def]
    (tmp_path / "d.zip").write_bytes(damage((toy / "a.zip").read_bytes()))
    with pytest.raises((StoreError, Differs)) as caught:
        verifying.verify(tmp_path / "d.zip")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["run.json", "cells.jsonl", "pairs.jsonl", "metrics.json", "scores.parquet"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}\n", b'{"a": 1}\n', b"\xff\xfe", b"[" * 50_000, b"null\n"])
def test_files_of_another_form_are_an_error_of_ours(toy, tmp_path, name, content):  # type: ignore[no-untyped-def]
    def replace(files: Files, said: dict[str, Any]) -> None:
        files[name] = content

    with pytest.raises(TedbenchError):
        verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", replace), Given(device="cpu")).confirm()


@pytest.mark.parametrize("field", ["file", "facts"])
def test_a_row_cannot_name_a_file_outside(toy, tmp_path, field):  # type: ignore[no-untyped-def]
    def lead_out(files: Files, said: dict[str, Any]) -> None:
        cells = rows_of(files, "cells.jsonl")
        cells[0][field] = "../../../../etc/passwd"
        put_rows(files, "cells.jsonl", cells)
        recount(files, said)

    with pytest.raises(Differs, match=r"etc/passwd"):
        verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", lead_out), Given(device="cpu")).confirm()


def test_a_table_that_unpacks_to_more_than_there_are_cells_is_not_read(toy: Path, tmp_path: Path) -> None:
    def swell(files: Files, said: dict[str, Any]) -> None:
        put_scores(files, pd.concat([scores_of(files)] * 2000))

    with pytest.raises(StoreError, match="24000 rows; 12 cells"):
        verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", swell))


@pytest.mark.parametrize(("column", "kind"), [("value", "string"), ("seed", "string"), ("uid", "float64")])
def test_a_table_of_other_types_is_an_error_of_ours(toy, tmp_path, column, kind):  # type: ignore[no-untyped-def]
    def turn(files: Files, said: dict[str, Any]) -> None:
        scores = scores_of(files)
        put_scores(files, scores.assign(**{column: pd.Series(range(len(scores))).astype(kind)}))

    with pytest.raises(StoreError, match=f"other columns than ours: {column}"):
        verifying.verify(forged(toy / "a.zip", tmp_path / "f.zip", turn))


def test_exit_codes_and_the_last_line(cli, toy, theirs, tmp_path):  # type: ignore[no-untyped-def]
    good = cli("verify", toy / "a.zip", "--device", "cpu", "--out", tmp_path / "theirs")
    assert (good.returncode, good.stderr, good.stdout.splitlines()[-1]) == (0, "", "verified")
    bad = cli("verify", forged(toy / "a.zip", tmp_path / "f.zip", raise_a_score), "--device", "cpu")
    assert (bad.returncode, len(bad.stderr.splitlines())) == (10, 1) and "NOT VERIFIED: ssim@64: 1 of 4" in bad.stderr
    bare = cli("verify", theirs / "bare.zip", "--data", theirs / "drawn" / "data")
    assert (bare.returncode, len(bare.stderr.splitlines())) == (11, 1) and "no images" in bare.stderr
    packed = cli("submit", tmp_path / "theirs", "--out", tmp_path / "again.zip")
    assert (packed.returncode, packed.stderr) == (0, "")
    assert (tmp_path / "again.zip").read_bytes() == (toy / "a.zip").read_bytes()


def test_a_part_of_a_data_set_is_verified_as_that_part(tmp_path: Path) -> None:
    config = RunConfig((MethodConfig("identity"),), dataset="toy:3", limit=2)
    runner.run(config, tmp_path / "run")
    scoring.score_run(store.open_run(tmp_path / "run"), runner.load(config), scoring.make_metrics(["ssim@64"]))
    submitting.submit(store.open_run(tmp_path / "run"), tmp_path / "a.zip")
    verifying.verify(tmp_path / "a.zip").confirm()

    def call_it_whole(files: Files, said: dict[str, Any]) -> None:
        run = json.loads(files["run.json"])
        run["dataset"] |= {"part": "", "sha256": dataclasses.asdict(datasets.load("toy:3").info)["sha256"]}
        files["run.json"] = json.dumps(run).encode()

    with pytest.raises(Differs, match="2 pairs, 3 there"):
        verifying.verify(forged(tmp_path / "a.zip", tmp_path / "f.zip", call_it_whole)).confirm()


@pytest.mark.slow
def test_source_captions_are_checked_where_they_are_here(real_data: Path, tmp_path: Path) -> None:
    edits = tmp_path / "edits"
    edits.mkdir()
    for path in sorted((real_data / "imagic").iterdir())[:3]:
        shutil.copy(path, edits)
    dataset = datasets.load("tedbench", real_data, captions="tedbench-observed")
    importing.import_folder(importing.Source(edits, "m"), dataset, tmp_path / "run")
    made = scoring.make_metrics(["clip-directional@toy-clip-b"], "cpu")
    scoring.score_run(store.open_run(tmp_path / "run"), dataset, made)
    submitting.submit(store.open_run(tmp_path / "run"), tmp_path / "a.zip", images=True)
    given = Given(data=real_data, device="cpu")
    verifying.verify(tmp_path / "a.zip", given).confirm()

    def put_words_into_the_input(files: Files, said: dict[str, Any]) -> None:
        rows = rows_of(files, "pairs.jsonl")
        put_rows(files, "pairs.jsonl", [row | {"source_text": "a photo of a thing"} for row in rows])

    path = forged(tmp_path / "a.zip", tmp_path / "f.zip", put_words_into_the_input)
    with pytest.raises(Differs, match="another source_text"):
        verifying.verify(path, given).confirm()

    def of_my_own(files: Files, said: dict[str, Any]) -> None:
        put_words_into_the_input(files, said)
        files["run.json"] = files["run.json"].replace(b"tedbench-observed ", b"mine ")

    found = verifying.verify(forged(tmp_path / "a.zip", tmp_path / "g.zip", of_my_own), given)
    assert (verdicts(found)["questions"], verdicts(found)["captions"]) == (CONFIRMED, UNVERIFIED)
    assert verdicts(found)["clip-directional@toy-clip-b"] == UNVERIFIED
