"""The five calls of a notebook, against the run's own files and the report's."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tedbench
from tedbench import report, store
from tedbench.errors import StoreError, UsageError
from tests.report.test_sweeps_and_gallery import FACTS, GRID, LPIPS, SUCCESS, toy_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_run(tmp_path_factory.mktemp("notebook") / "run")


@pytest.fixture(scope="module")
def written(run: Path) -> Path:
    report.write_report([run], run.parent / "report")
    return run.parent / "report"


def test_scores_are_the_runs_rows(run: Path) -> None:
    found, kept = tedbench.load_run(run).scores(), pd.read_parquet(run / "scores.parquet")
    assert len(found) == len(kept)
    assert set(found["identity"]) == {LPIPS, SUCCESS}
    assert dict(found[["identity", "metric"]].drop_duplicates().itertuples(index=False)) == {
        LPIPS: "lpips-alex@64", SUCCESS: "oracle-success",
    }  # fmt: skip
    key = ["uid", "method", "seed", "strength"]
    both = found.merge(kept, left_on=[*key, "identity"], right_on=[*key, "metric"], validate="one_to_one")
    assert (both["value_x"] == both["value_y"]).all() and len(both) == len(kept)


def test_table_and_curves_are_the_reports(run: Path, written: Path) -> None:
    loaded = tedbench.load_run(str(run))
    for found, name in ((loaded.table(), "table.csv"), (loaded.curves(), "curves.csv")):
        kept = pd.read_csv(written / name)
        for column in ("mean", "low", "high"):
            assert np.allclose(found[column], kept[column], equal_nan=True)
        assert list(found["method"]) == list(kept["method"])


def test_curves_of_each_category_seed_and_pair(run: Path) -> None:
    loaded = tedbench.load_run(run)
    rows = loaded.scores()
    for by in ("category", "seed", "uid"):
        found = loaded.curves(by=by)  # type: ignore[arg-type]
        assert found.columns[0] == by
        one = found[(found["method"] == "fade") & (found["identity"] == SUCCESS) & (found["strength"] == 1.0)]
        for name, mean in zip(one[by], one["mean"], strict=True):
            mine = rows[(rows[by].astype(str) == name) & (rows["method"] == "fade") & (rows["strength"] == 1.0)]
            assert mean == mine[mine["identity"] == SUCCESS]["value"].mean()
        assert len(one) == rows[by].nunique()
    assert loaded.curves(by="uid")["low"].isna().all()  # one photo has no interval


def test_the_gallery_shows_the_pairs_that_were_asked_for(run: Path) -> None:
    loaded = tedbench.load_run(run)
    uids = list(dict.fromkeys(loaded.scores()["uid"]))
    whole, one = loaded.gallery(), loaded.gallery([uids[1]])
    assert whole.mode == one.mode == "RGB"
    assert whole.width == one.width and whole.height == 4 * one.height
    block = whole.crop((0, one.height, one.width, 2 * one.height))
    assert np.array_equal(np.asarray(block), np.asarray(one))
    assert loaded.gallery(pairs=2).height == 2 * one.height
    assert np.array_equal(np.asarray(loaded.gallery(uids[1])), np.asarray(one))
    one.save(io.BytesIO(), "PNG")
    for wrong in (0, -1):
        with pytest.raises(UsageError, match="name one or more"):
            loaded.gallery(pairs=wrong)
    with pytest.raises(UsageError, match="no pair 'nobody'"):
        loaded.gallery(["nobody"])


def test_several_runs_and_what_cannot_be_loaded(run: Path, tmp_path: Path) -> None:
    again = toy_run(tmp_path / "again")
    both = tedbench.load_run(run, again)
    assert set(both.table()["run"]) == {"run", "again"}
    with pytest.raises(StoreError, match="does not exist"):
        tedbench.load_run(tmp_path / "nothing")
    with pytest.raises(UsageError, match="no run"):
        tedbench.load_run()
    with pytest.raises(UsageError, match=r"load_run\(\*folders\)"):
        tedbench.load_run([run])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no such split"):
        both.curves(by="zzz")  # type: ignore[arg-type]


def test_a_strength_has_one_point(run: Path) -> None:
    found = tedbench.load_run(run).curves()
    fade = found[(found["method"] == "fade") & (found["identity"] == LPIPS)]
    assert fade["strength"].to_list() == list(GRID)
    assert FACTS[LPIPS].spec in set(fade["metric"])
    assert not math.isnan(store.open_run(run).scores()["value"].sum())
