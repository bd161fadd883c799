from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest

from tedbench import environment, store
from tedbench.errors import ImageError, StoreError
from tedbench.types import Cell, DatasetInfo, EditPair, ImageFile, MetricFacts, Run

RUN = Run(
    name="r",
    created="2026-01-01T00:00:00Z",
    kind="import",
    dataset=DatasetInfo("folder", "folder", "", "0" * 64),
    methods={"m": {"origin": "imported"}},
    command=("tedbench", "import"),
    versions={"python": "3"},
    hardware={"cores": 2},
    git_commit="",
)
PAIR = EditPair("a--x", ImageFile("a.png", "1" * 64), "X — ’quoted’.", "a.png")
CELLS = [
    Cell("a--x", "a.png", None, "m", seed=None, strength=None, status="missing", error="no file"),
    Cell("a--y", "a.png", "pose", "m", seed=3, strength=0.7, status="ok", file="images/m/a.png", sha256="2" * 64),
]


def facts(identity: str) -> MetricFacts:
    return MetricFacts("s", identity, False, 0.0, 1.0, {"family": "lpips"}, ("a note",))


def row(uid: str, metric: str, value: float, seed: int | None = None) -> dict[str, object]:
    keys = {"uid": uid, "image_id": "a.png", "category": None, "method": "m", "seed": seed, "strength": None}
    return {**keys, "metric": metric, "value": value}


@pytest.fixture
def run(tmp_path: Path) -> store.RunFolder:
    with store.new_folder(tmp_path / "r") as scratch:
        store.write_run(scratch, RUN, [PAIR], CELLS)
    return store.open_run(tmp_path / "r")


def test_what_is_written_is_read_back(run: store.RunFolder) -> None:
    assert run.run == RUN
    assert run.cell_list() == CELLS
    assert run.pairs().iloc[0]["target_text"] == "X — ’quoted’."
    cells = run.cells()
    assert cells["seed"].isna().tolist() == [True, False]
    assert cells["seed"].iloc[1] == 3
    assert cells["strength"].iloc[1] == 0.7


def test_scores_are_long_and_numeric(run: store.RunFolder) -> None:
    assert list(run.scores().columns) == list(store.SCORE_COLUMNS)
    assert len(run.scores()) == 0
    store.write_scores(run, [row("a--x", "L", math.nan), row("a--y", "L", 0.1 + 0.2)], {"L": facts("L")})
    frame = store.read_scores(run.path)
    assert list(frame.columns) == list(store.SCORE_COLUMNS)
    assert frame["value"].dtype == "float64"
    assert frame["value"].iloc[1] == 0.1 + 0.2  # to the last bit
    assert frame["value"].isna().tolist() == [True, False]
    assert str(frame["seed"].dtype) == "Int64"
    assert store.open_run(run.path).metrics["L"] == facts("L")


def test_scoring_again_replaces_one_identity_and_leaves_the_others(run: store.RunFolder) -> None:
    store.write_scores(run, [row("a--y", "L", 0.1)], {"L": facts("L")})
    run = store.open_run(run.path)
    store.write_scores(run, [row("a--y", "S", 0.5)], {"S": facts("S")})
    run = store.open_run(run.path)
    store.write_scores(run, [row("a--y", "L", 0.2)], {"L": facts("L")})
    assert dict(zip(run.scores()["metric"], run.scores()["value"], strict=True)) == {"S": 0.5, "L": 0.2}
    assert set(store.open_run(run.path).metrics) == {"L", "S"}


def test_two_scores_for_one_cell_are_refused(run: store.RunFolder) -> None:
    with pytest.raises(StoreError, match="two scores"):
        store.write_scores(run, [row("a--y", "L", 0.1), row("a--y", "L", 0.2)], {"L": facts("L")})
    assert not (run.path / "scores.parquet").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), store.new_folder(tmp_path / "r") as scratch:
        (scratch / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine").write_text("x")
    with pytest.raises(StoreError, match="exists already"), store.new_folder(tmp_path / "r"):
        pass
    with store.new_folder(tmp_path / "r", replace=True) as scratch:
        (scratch / "new").write_text("y")
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["new"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    store.write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        store.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '{"name": 1}', "\x00"])
def test_a_broken_run_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(StoreError, match=r"run\.json"):
        store.open_run(tmp_path)


def test_a_folder_that_is_no_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="tedbench import"):
        store.open_run(tmp_path / "nothing")


def test_a_broken_parquet_is_named(run: store.RunFolder) -> None:
    (run.path / "scores.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(StoreError, match=r"scores\.parquet"):
        run.scores()


def test_an_image_that_changed_is_not_read(run: store.RunFolder) -> None:
    (run.path / "images" / "m").mkdir(parents=True)
    (run.path / "images" / "m" / "a.png").write_bytes(b"other bytes")
    with pytest.raises(ImageError, match="changed"):
        run.image_bytes(CELLS[1])


def test_provenance_names_no_host_and_is_json(run: store.RunFolder) -> None:
    import platform

    raw = (run.path / "run.json").read_text()
    assert json.loads(raw)["format"] == 1
    assert platform.node() not in environment.hardware().values()
    assert environment.versions()["torch"] not in ("", "not installed")
    assert pd.Timestamp(environment.now()).tz is not None
