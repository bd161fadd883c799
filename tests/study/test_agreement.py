"""Krippendorff's alpha, the ceiling and metrics, against a published example, the package and numbers made by hand."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import krippendorff
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tedbench import datasets, importing, scoring, store
from tedbench.study import agreement, analysing, building, bundle, lock
from tedbench.study.answers import Answer
from tedbench.study.bundle import MAIN, Key, Meant, Public, Result, Study
from tedbench.study.lock import Contender, Lock
from tedbench.types import Cell, DatasetInfo, EditPair, ImageFile, MetricFacts, Run

ROOT = Path(__file__).resolve().parents[2]
FIVE = (  # four observers, twelve units: Krippendorff 2011, section C, "any number of observers, missing data"
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def frame(table):
    rows = [
        (f"q{q}", f"p{q // 2}", result)
        for q, row in enumerate(table)
        for result, n in zip(agreement.RESULTS, row, strict=True)
        for _ in range(n)
    ]
    return pd.DataFrame(rows, columns=["question", "image_id", "result"])


def by_hand(table):
    """Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C."""
    table = np.array([row for row in table if sum(row) > 1], float)
    m = table.sum(1)
    observed = ((m**2 - (table**2).sum(1)) / (m - 1)).sum()
    n = table.sum()
    return 1 - (n - 1) * observed / (n**2 - (table.sum(0) ** 2).sum())


def test_alpha_of_the_published_example():
    columns = zip(*(row.split() for row in FIVE), strict=True)
    table = np.array([[column.count(str(v)) for v in range(1, 6)] for column in columns])
    assert agreement.nominal(table) == pytest.approx(0.743, abs=5e-4)
    assert agreement.nominal(table) == pytest.approx(by_hand(table))


def test_alpha_is_what_the_package_gives_where_units_have_two_answers_or_none():
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = rng.integers(0, 3, size=(15, 4))
        wanted = krippendorff.alpha(value_counts=table[table.sum(1) > 1], level_of_measurement="nominal")
        assert agreement.nominal(table) == pytest.approx(wanted)
        assert agreement.nominal(table) == pytest.approx(by_hand(table))
        assert agreement.alpha(frame(table), resamples=50).value == pytest.approx(wanted)


def test_alpha_is_one_zero_or_nothing():
    assert agreement.nominal(np.array([[3, 0], [0, 4]])) == 1
    assert abs(agreement.nominal(np.random.default_rng(1).multinomial(20, [0.5, 0.5], size=2000))) < 0.01
    for table in ([[3, 0], [4, 0]], [[1, 0], [0, 1]]):
        assert np.isnan(agreement.nominal(np.array(table)))


def test_alphas_interval_is_that_of_resampled_photos():
    """The same photos, drawn and joined one by one."""
    rng = np.random.default_rng(2)
    table = rng.integers(0, 4, size=(24, 4))
    found = agreement.alpha(frame(table), resamples=4000)
    drawn = []
    for _ in range(1000):
        photos = rng.integers(12, size=12)
        drawn.append(by_hand(np.concatenate([table[[2 * k, 2 * k + 1]] for k in photos])))
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)
    assert found.low < found.value < found.high
    assert found.questions == int((table.sum(1) > 1).sum())


def test_two_raters_agree_as_often_as_pairs_do():
    assert agreement.together(frame([[3, 1, 0, 0], [1, 0, 0, 0]])) == pytest.approx(0.5)
    assert agreement.together(frame([[4, 0, 0, 0]])) == 1
    assert np.isnan(agreement.together(frame([[1, 0, 0, 0]])))


@pytest.mark.parametrize("spread", [0.0, 0.2, 0.5])
def test_nobody_who_knows_only_the_question_passes_the_ceiling(spread):
    """Who knows every p_u says what most say; the ceiling is reached where questions are alike, and lies above else."""
    p = np.clip(0.7 + spread * np.random.default_rng(3).normal(size=10**5), 0, 1)
    best = np.maximum(p, 1 - p).mean()
    found = agreement.ceiling(float((p**2 + (1 - p) ** 2).mean()))
    assert best <= found + 1e-9
    if not spread:
        assert found == pytest.approx(best)


PHOTOS = [f"photo{k}" for k in range(4)]
GOOD, BAD = "psnr/1", "lpips/1"
FACTS = {
    GOOD: MetricFacts("psnr@64", GOOD, True, 0.0, 1.7e308, {}),
    BAD: MetricFacts("lpips-alex@64", BAD, False, 0.0, 1.7e308, {}),
}


def scored_run(folder: Path, values: dict[str, dict[str, float]]) -> store.RunFolder:
    """A run of one method on four pairs; metric → uid → value."""
    name = folder.name
    info = DatasetInfo("made", "folder", "", "0" * 64)
    uids = [f"photo{k}-text0" for k in range(4)]
    pairs = [EditPair(uid, ImageFile("a.png", "1" * 64), "x", uid[:6]) for uid in uids]
    cells = [Cell(uid, uid[:6], None, name, 0, 1.0, "ok") for uid in uids]
    with store.new_folder(folder) as scratch:
        store.write_run(scratch, Run(name, "", "run", info, {name: {}}, (), {}, {}, ""), pairs, cells)
    rows = [
        {"uid": uid, "image_id": uid[:6], "category": None, "method": name, "seed": 0, "strength": 1.0,
         "metric": metric, "value": value}
        for metric, of in values.items() for uid, value in of.items()
    ]  # fmt: skip
    store.write_scores(store.open_run(folder), rows, FACTS)
    return store.open_run(folder)


@pytest.fixture
def judged(make_study: Callable[..., Study], tmp_path: Path) -> Study:
    """Two methods on four photos, whose runs are scored: psnr says A, A, B, equal; lpips A, A, nothing, nothing."""
    inf, nan = float("inf"), float("nan")
    psnr = {"A": (3.0, 2.0, 1.0, inf), "B": (1.0, 1.0, 2.0, inf)}
    lpips = {"A": (0.1, 0.2, nan, nan), "B": (0.2, 0.3, 0.1, nan)}
    uids = [f"photo{k}-text0" for k in range(4)]
    study = make_study(tmp_path, methods=2, photos=4)
    contenders = []
    for name in "AB":
        values = {GOOD: dict(zip(uids, psnr[name], strict=True)), BAD: dict(zip(uids, lpips[name], strict=True))}
        run = scored_run(tmp_path / name, values)
        of = {"run": f"../{name}", "run_name": name, "method": name, "cells": store.cells_digest(run.cell_list())}
        contenders.append(Contender(label=name, seed=0, strength="1", **of))
    made = [dataclasses.replace(one, first=_of(one.first), second=_of(one.second)) for one in study.key.questions]
    design = study.lock.model_copy(update={"contenders": tuple(contenders)})
    return dataclasses.replace(study, lock=design, key=Key(study.key.secret, tuple(made)))


def _of(result: Result) -> Result:
    return dataclasses.replace(result, seed=0, strength=1.0) if result.label else result


def preferring(study: Study, said: dict[str, str]) -> pd.DataFrame:
    """Four raters, who all prefer what is said of a photo; shown either way round."""
    made = []
    for rater in range(4):
        for slot, one in enumerate(study.main):
            first, flipped = said[one.image_id] == one.first.label, bool((rater + slot) % 2)
            side = "left" if first != flipped else "right"
            made.append(Answer(study.lock.tag, f"r{rater}", slot, one.id, flipped, "overall", side, 9, "t"))
    return analysing.frame(study, made)


def test_metrics_agree_where_they_score_the_preferred_picture_better(judged: Study):
    told, notes = agreement.metrics(judged, preferring(judged, dict(zip(PHOTOS, "ABBA", strict=True))))
    assert notes == ()
    row = told.set_index("spec")
    # psnr: right, wrong, right, and half where both are infinite; lpips, lower the better: right, wrong
    assert row.loc["psnr@64", "mean"] == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert row.loc["lpips-alex@64", "mean"] == pytest.approx((1 + 0) / 2)
    assert row["unscored"].to_dict() == {"psnr@64": 0, "lpips-alex@64": 8}
    assert row["n"].to_dict() == {"psnr@64": 16, "lpips-alex@64": 8}
    assert row.loc["psnr@64", "together"] == 1


def test_ties_say_nothing_of_metrics(judged: Study):
    main = preferring(judged, dict.fromkeys(PHOTOS, "A"))
    main.loc[main["image_id"] == "photo2", ["choice", "decided"]] = ["same", False]
    row = agreement.metrics(judged, main)[0].set_index("spec").loc["psnr@64"]
    assert (row["n"], row["mean"]) == (12, pytest.approx(2.5 / 3))


def test_a_run_that_is_gone_or_another_is_left_out_and_told(judged: Study):
    main = preferring(judged, dict.fromkeys(PHOTOS, "A"))
    shutil.rmtree(judged.path / "../B")
    told, notes = agreement.metrics(judged, main)
    assert told.empty
    assert notes[0].startswith("B: its scores are left out")
    other = judged.lock.contenders[0].model_copy(update={"cells": "0" * 64})
    design = judged.lock.model_copy(update={"contenders": (other, judged.lock.contenders[1])})
    notes = agreement.metrics(dataclasses.replace(judged, lock=design), main)[1]
    assert "is not the run that was shown" in notes[0]


@pytest.mark.slow
def test_metrics_of_the_reference_run_agree_as_counted_by_hand():
    """The toy reference as it is on disk, two methods, answers by chance: the share is counted from its table alone."""
    folder = ROOT / "results/toy-reference"
    run = store.open_run(folder)
    shown = {"crossfade": 0.5, "ddib": 2.0}
    table = run.scores()
    here = table["seed"] == 1
    table = pd.concat(table[here & (table["method"] == m) & (table["strength"] == at)] for m, at in shown.items())
    uids = sorted(table["uid"].unique())[:60]
    results = {name: Result(name, name, 1, at) for name, at in shown.items()}
    photo = dict(zip(table["uid"], table["image_id"], strict=True))
    main = [Meant(f"q{uid}", MAIN, uid, photo[uid], results["ddib"], results["crossfade"]) for uid in uids]
    study = in_place(folder, run, main, list(shown))
    rng = np.random.default_rng(4)
    said = [("left", "right")[k] for k in rng.integers(2, size=len(uids))]
    answers = [
        Answer(study.lock.tag, f"r{k % 7}", k, one.id, bool(k % 3), "overall", side, 9, "t")
        for k, (one, side) in enumerate(zip(main, said, strict=True))
    ]
    told, notes = agreement.metrics(study, analysing.frame(study, answers))
    assert notes == ()
    assert set(told["metric"]) == run.scored()
    wide = table.pivot(index=["metric", "uid"], columns="method", values="value")
    for row in told.itertuples():
        right = []
        for k, (uid, side) in enumerate(zip(uids, said, strict=True)):
            one = wide.loc[(row.metric, uid)]
            if one["ddib"] == one["crossfade"]:
                right.append(0.5)
            elif not one.isna().any():
                chose = "ddib" if (side == "left") != bool(k % 3) else "crossfade"
                best = "ddib" if (one["ddib"] > one["crossfade"]) == row.higher_is_better else "crossfade"
                right.append(float(chose == best))
        assert (row.n, row.unscored) == (len(right), len(uids) - len(right))
        assert row.mean == pytest.approx(np.mean(right)), row.metric


def test_a_study_built_of_scored_runs_finds_its_scores(tmp_path: Path, drawn: tuple[Path, Path]):
    """Pictures, runs, scores, study, answers: raters prefer what psnr scores better, on four of nine questions."""
    data, edits = drawn
    dataset = datasets.load("folder", data)
    worse = tmp_path / "worse"
    worse.mkdir()
    for path in edits.glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        Image.fromarray((pixels // 2 + 40 * (len(path.name) % 5)).astype(np.uint8)).save(worse / path.name)
    runs = {"kept": edits, "changed": worse}
    for name, folder in runs.items():
        importing.import_folder(importing.Source(folder, name), dataset, tmp_path / name)
        scoring.score_run(store.open_run(tmp_path / name), dataset, scoring.make_metrics(["psnr@64"], "cpu"), False)
    choices = lock.check({"per_rater": {"questions": 8, "repeats": 1, "checks": 1}}, "a test")
    building.build([tmp_path / name for name in runs], dataset, tmp_path / "study", choices)
    study = bundle.open_study(tmp_path / "study")
    values = {name: store.read_scores(tmp_path / name).set_index("uid")["value"] for name in runs}
    answers = []
    for at, one in enumerate(study.main):
        better = max(runs, key=lambda name, uid=one.uid: values[name][uid])
        wanted = better if at < 4 else next(name for name in runs if name != better)
        side = "left" if (one.first.label == wanted) != bool(at % 2) else "right"
        answers += [
            Answer(study.lock.tag, f"r{k}", at, one.id, bool(at % 2), "overall", side, 9, "t") for k in range(3)
        ]
    told, notes = agreement.metrics(study, analysing.frame(study, answers))
    assert notes == ()
    assert told["spec"].to_list() == ["psnr@64"]
    assert len(study.main) == 9
    assert told["mean"].to_list() == [pytest.approx(4 / 9)]


def in_place(folder: Path, run: store.RunFolder, main: list[Meant], labels: list[str]) -> Study:
    """A study beside a run, of which only what agreement reads is there."""
    cells = store.cells_digest(run.cell_list())
    of = [Contender(label=x, run=".", run_name=folder.name, method=x, seed=1, strength="", cells=cells) for x in labels]
    design = Lock(
        name="s", created="", version="", dataset="", dataset_sha256="", contenders=tuple(of), photos=1,
        comparisons=len(main), unasked=0, power={}, public_sha256="", key_sha256="",
    )  # fmt: skip
    return Study(folder, design, Public("", design.tag, (), (), {}, 20, "", "1", (), 0, ()), Key("00", tuple(main)))
