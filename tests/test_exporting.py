from __future__ import annotations

import gc
import io
import json
import math
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets as hf
import numpy as np
import pytest
from PIL import Image

from tedbench import datasets, exporting, importing, scoring, store
from tedbench.config import MethodConfig, RunConfig
from tedbench.datasets import drawn as drawing
from tedbench.errors import StoreError, UnknownName
from tedbench.running import runner
from tedbench.types import Dataset


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy") / "run"
    config = RunConfig((MethodConfig("identity"),), dataset="toy:3", seeds=(0, 1))
    runner.run(config, out)
    scoring.score_run(store.open_run(out), runner.load(config), scoring.make_metrics(["ssim@64", "psnr@64"]))
    return out


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """Pictures that state no licence; one image is broken."""
    place = tmp_path_factory.mktemp("theirs")
    data, edits = drawing.write(place / "drawn", n=3)
    (edits / sorted(importing.list_images(edits))[0]).write_bytes(b"not an image")
    dataset = datasets.load("folder", data)
    importing.import_folder(importing.Source(edits, "m"), dataset, place / "run")
    scoring.score_run(store.open_run(place / "run"), dataset, scoring.make_metrics(["ssim@64"]))
    return place / "run", dataset


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """`datasets` leaves files open that it maps into memory; they are collected here, not in somebody else's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def load(folder: Path, form: str, cache: Path) -> Any:
    """As a stranger loads it, who has neither the run nor this suite."""
    if form == "disk":
        return hf.load_from_disk(str(folder))
    hf.disable_progress_bars()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        return hf.load_dataset(str(folder), split="test", cache_dir=str(cache))


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_it_loads_elsewhere_after_the_run_is_gone(toy: Path, tmp_path: Path, form: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    exporting.export(store.open_run(run), tmp_path / "made", form)
    shutil.move(tmp_path / "made", tmp_path / "elsewhere")
    shutil.rmtree(run)
    loaded = load(tmp_path / "elsewhere", form, tmp_path / "cache")
    assert isinstance(loaded.features["image"], hf.Image)
    cells = [json.loads(line) for line in (toy / "cells.jsonl").read_text().splitlines()]
    texts = {pair.uid: (pair.target_text, pair.source_text) for pair in datasets.load("toy:3").pairs}
    assert len(loaded) == len(cells) == 6
    for row, cell in zip(loaded, cells, strict=True):
        for name in ("uid", "image_id", "category", "method", "seed", "strength", "status"):
            assert row[name] == cell[name]
        assert (row["target_text"], row["source_text"]) == texts[cell["uid"]]
        assert np.array_equal(np.asarray(row["image"]), np.asarray(Image.open(toy / cell["file"])))
    del loaded, row


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_the_bytes_are_those_of_the_run(toy: Path, tmp_path: Path, form: str) -> None:
    exporting.export(store.open_run(toy), tmp_path / "made", form)
    loaded = load(tmp_path / "made", form, tmp_path / "cache").cast_column("image", hf.Image(decode=False))
    for row, cell in zip(loaded, store.open_run(toy).cell_list(), strict=True):
        assert row["image"]["bytes"] == (toy / cell.file).read_bytes()
    del loaded, row


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_scores_are_columns_by_what_was_typed(toy: Path, tmp_path: Path, form: str) -> None:
    done = exporting.export(store.open_run(toy), tmp_path / "made", form)
    assert list(done.metrics) == ["ssim@64", "psnr@64"]
    loaded = load(tmp_path / "made", form, tmp_path / "cache")
    scores = store.read_scores(toy)
    for column, identity in done.metrics.items():
        of = scores[scores["metric"] == identity]
        stored = {(row.uid, int(row.seed)): row.value for row in of.itertuples()}
        for row in loaded:
            expected = stored[row["uid"], row["seed"]]
            assert row[column] == expected or (row[column] is None and math.isnan(expected))
    card = (tmp_path / "made" / "README.md").read_text()
    assert all(identity in card for identity in done.metrics.values())
    assert 'license: "apache-2.0"' in card
    if form == "disk":
        assert loaded.info.license == "Apache-2.0" and "ssim@64" in loaded.info.description
    del loaded, row


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_failed_images_and_those_without_a_licence_are_rows_without_one(
    theirs: tuple[Path, Dataset], tmp_path: Path, form: str
) -> None:
    run, _ = theirs
    status = [cell.status for cell in store.open_run(run).cell_list()]
    assert status.count("failed") == 1
    for asked, has in ((None, False), (True, True)):
        done = exporting.export(store.open_run(run), tmp_path / f"{asked}", form, images=asked)
        assert done.images.included is has
        loaded = load(tmp_path / f"{asked}", form, tmp_path / f"cache{asked}")
        assert [row["image"] is not None for row in loaded] == [has and one == "ok" for one in status]
        assert [row["ssim@64"] is None for row in loaded] == [one != "ok" for one in status]
        assert [row["error"] != "" for row in loaded] == [one != "ok" for one in status]
        assert {row["seed"] for row in loaded} == {None}
        del loaded


def test_a_run_that_was_not_scored_has_no_columns_of_scores(theirs: tuple[Path, Dataset], tmp_path: Path) -> None:
    shutil.copytree(theirs[0], tmp_path / "run")
    (tmp_path / "run" / "scores.parquet").unlink()
    assert exporting.export(store.open_run(tmp_path / "run"), tmp_path / "made").metrics == {}
    assert load(tmp_path / "made", "disk", tmp_path).column_names == list(exporting.COLUMNS)


def test_two_metrics_typed_alike_stand_under_their_identities(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    (run / "metrics.json").write_text((run / "metrics.json").read_text().replace('"psnr@64"', '"ssim@64"'))
    columns = exporting.columns_of(store.open_run(run))
    assert list(columns) == [facts.identity for facts in columns.values()]
    (run / "metrics.json").write_text((toy / "metrics.json").read_text().replace('"psnr@64"', '"seed"'))
    assert "seed" not in exporting.columns_of(store.open_run(run))


def test_it_is_written_whole_or_not_at_all(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    cell = store.open_run(run).cell_list()[-1]
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, format="PNG")
    (run / cell.file).write_bytes(buffer.getvalue())
    for form in exporting.FORMATS:
        with pytest.raises(StoreError, match="nothing was exported"):
            exporting.export(store.open_run(run), tmp_path / "made", form)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    (tmp_path / "made").mkdir()
    with pytest.raises(StoreError, match="exists already"):
        exporting.export(store.open_run(toy), tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []
    with pytest.raises(UnknownName, match="form of an export"):
        exporting.export(store.open_run(toy), tmp_path / "other", "csv")


def test_scores_of_other_images_are_not_exported(toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy, tmp_path / "run")
    cells = store.open_run(tmp_path / "run").cell_list()
    store.write_cells(tmp_path / "run", [cells[1], cells[0], *cells[2:]])
    with pytest.raises(StoreError, match="scored on other images"):
        exporting.export(store.open_run(tmp_path / "run"), tmp_path / "made")


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_many_rows_are_held_a_few_at_a_time(toy, tmp_path, form, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(exporting, "BATCH", 2)
    monkeypatch.setattr(exporting, "SHARD", 1)  # each batch is a parquet file of its own
    exporting.export(store.open_run(toy), tmp_path / "made", form)
    if form == "parquet":
        assert len(list((tmp_path / "made" / "data").glob("*.parquet"))) == 3
    loaded = load(tmp_path / "made", form, tmp_path / "cache")
    assert [row["uid"] for row in loaded] == [cell.uid for cell in store.open_run(toy).cell_list()]
    del loaded


def test_only_one_batch_is_made_before_the_first_is_taken(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    honest = store.RunFolder.image_bytes
    monkeypatch.setattr(store.RunFolder, "image_bytes", lambda run, cell: read.append(cell.uid) or honest(run, cell))
    monkeypatch.setattr(exporting, "BATCH", 2)
    run = store.open_run(toy)
    told = exporting._Told(run, {}, exporting.licences.decide("MIT", None), "MIT")
    next(told.batches())
    assert len(read) == 2


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_the_command_says_what_it_did_and_is_quiet_in_a_pipe(cli, toy, tmp_path, form):  # type: ignore[no-untyped-def]
    done = cli("export", toy, "--out", tmp_path / "made", "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 rows, 2 metrics" in done.stdout and "images: in; the data set's licence, Apache-2.0" in done.stdout


@pytest.mark.parametrize("command", ["submit", "verify", "export"])
def test_help_reads_well(cli, command):  # type: ignore[no-untyped-def]
    done = cli(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: tedbench {command}")


def test_importing_the_modules_loads_no_library() -> None:
    code = (
        "import sys, tedbench.exporting, tedbench.submitting\n"
        "assert not {'torch', 'datasets', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
