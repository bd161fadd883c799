from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL.Image import Image

from tedbench import datasets, importing, scoring, store
from tedbench.errors import MetricError, MetricNote, StoreError, UnknownName, UsageError
from tedbench.types import Dataset, EditPair, Metric

HERE = f"{__name__}:"


@dataclass(frozen=True)
class Brightness:
    """Mean of the edit; the simplest honest metric. Counts what it is asked for in `calls`."""

    scale: float = 1.0
    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 255.0)
    at: ClassVar[str] = "scale"
    needs: ClassVar[frozenset[str]] = frozenset()
    facts: ClassVar[dict[str, str | float]] = {"family": "brightness"}

    @property
    def identity(self) -> str:
        return f"brightness/{self.scale:g}"

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        return [self.scale * float(np.asarray(image).mean()) for image in images]


class Short(Brightness):
    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        return [0.0]


class NotANumber(Brightness):
    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        return [math.nan] * len(images)


class Raises(Brightness):
    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        raise ZeroDivisionError("two lines\nof text")


class Nameless(Brightness):
    @property
    def identity(self) -> str:
        raise RuntimeError("lost")


class Unstorable(Brightness):
    facts: ClassVar[dict[str, str | float]] = {"family": np.float32(1)}  # type: ignore[dict-item]


class TalksEachTime(Brightness):
    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        warnings.warn(f"chunk from {pairs[0].uid}", MetricNote, stacklevel=1)
        return super().score(pairs, images)


def test_no_note_is_lost_between_chunks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run, dataset = world
    monkeypatch.setattr(scoring, "CHUNK", 1)
    before = list(warnings.filters)
    scoring.score_run(run, dataset, [("t", TalksEachTime())])
    assert len(store.open_run(run.path).metrics["brightness/1"].notes) == len(dataset.pairs)
    assert warnings.filters == before


@pytest.mark.parametrize("cls", [Nameless, Unstorable])
def test_a_metric_that_cannot_say_what_it_is_is_named(cls, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(scoring.registry, "make", lambda *_, **__: cls())
    with pytest.raises(MetricError, match="cannot say what it is"):
        scoring.make_metrics(["odd"])


class Talks(Brightness):
    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        warnings.warn("one text was cut", MetricNote, stacklevel=1)
        return super().score(pairs, images)


class WantsMask(Brightness):
    needs: ClassVar[frozenset[str]] = frozenset({"mask"})


class WantsSource(Brightness):
    needs: ClassVar[frozenset[str]] = frozenset({"source_text"})


World = tuple[store.RunFolder, Dataset]


@pytest.fixture
def world(drawn: tuple[Path, Path], tmp_path: Path) -> World:
    dataset = datasets.load("folder", drawn[0])
    importing.import_folder(importing.Source(drawn[1], "m"), dataset, tmp_path / "run")
    return store.open_run(tmp_path / "run"), dataset


def test_values_are_the_metric_s_own_whatever_the_chunk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run, dataset = world
    monkeypatch.setattr(scoring, "CHUNK", 2)
    scored = scoring.score_run(run, dataset, [("b", Brightness())])
    assert scored.scored == len(dataset.pairs)
    by_uid = run.scores().set_index("uid")["value"]
    for cell in run.cell_list():
        from PIL import Image as Pillow

        expected = np.asarray(Pillow.open(run.path / cell.file).convert("RGB")).mean()
        assert by_uid[cell.uid] == expected


def test_missing_and_failed_cells_are_rows_without_a_value(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    dataset = datasets.load("folder", drawn[0])
    names = sorted(importing.list_images(drawn[1]))
    (drawn[1] / names[0]).unlink()
    (drawn[1] / names[1]).write_bytes(b"no image")
    importing.import_folder(importing.Source(drawn[1], "m"), dataset, tmp_path / "run")
    run = store.open_run(tmp_path / "run")
    scoring.score_run(run, dataset, [("b", Brightness()), ("c", Brightness(0.5))])
    frame = run.scores()
    assert len(frame) == 2 * len(dataset.pairs)
    assert frame.groupby("metric")["value"].count().tolist() == [len(dataset.pairs) - 2] * 2


def test_an_image_that_changed_after_the_import_is_not_scored(world: World) -> None:
    run, dataset = world
    cell = run.cell_list()[0]
    other = run.path / run.cell_list()[1].file
    (run.path / cell.file).write_bytes(other.read_bytes())
    scored = scoring.score_run(run, dataset, [("b", Brightness())])
    assert len(scored.failed) == 1
    assert cell.uid in scored.failed[0]
    assert math.isnan(run.scores().set_index("uid")["value"][cell.uid])


def test_what_was_scored_is_not_scored_again_unless_asked(world: World) -> None:
    run, dataset = world
    scoring.score_run(run, dataset, [("b", Brightness())])
    run = store.open_run(run.path)
    assert scoring.score_run(run, dataset, [("b", Brightness()), ("c", Brightness(0.5))]).skipped == ("b",)
    run = store.open_run(run.path)
    assert scoring.score_run(run, dataset, [("b", Brightness())], again=True).skipped == ()
    assert len(run.scores()) == 2 * len(dataset.pairs)


@pytest.mark.parametrize(
    ("metric", "message"),
    [(Short(), "1 values for"), (NotANumber(), "outside its range"), (Raises(), "ZeroDivisionError: two lines")],
)
def test_a_metric_that_breaks_its_contract_is_named(world: World, metric: Metric, message: str) -> None:
    run, dataset = world
    with pytest.raises(MetricError, match=message):
        scoring.score_run(run, dataset, [("bad@1", metric)])
    assert not (run.path / "scores.parquet").exists()


def test_notes_are_kept_with_the_scores(world: World) -> None:
    run, dataset = world
    scoring.score_run(run, dataset, [("t", Talks())])
    assert store.open_run(run.path).metrics["brightness/1"].notes == ("one text was cut",)


def imported(dataset: Dataset, edits: Path, out: Path) -> store.RunFolder:
    importing.import_folder(importing.Source(edits, "m"), dataset, out)
    return store.open_run(out)


def test_a_need_that_no_pair_meets_is_an_error(world: World, drawn: tuple[Path, Path], tmp_path: Path) -> None:
    _, dataset = world
    bare = replace(dataset, pairs=tuple(replace(pair, mask=None, source_text=None) for pair in dataset.pairs))
    with pytest.raises(MetricError, match="needs mask"):
        scoring.score_run(imported(bare, drawn[1], tmp_path / "bare"), bare, [("w", WantsMask())])


def test_a_need_that_some_pairs_meet_leaves_the_others_without_a_value(
    world: World, drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    _, dataset = world
    some = replace(dataset, pairs=(replace(dataset.pairs[0], mask=None), *dataset.pairs[1:]))
    run = imported(some, drawn[1], tmp_path / "some")
    scoring.score_run(run, some, [("w", WantsMask())])
    assert store.open_run(run.path).metrics["brightness/1"].unscored == {dataset.pairs[0].uid: "the pair has no mask"}
    values = run.scores().set_index("uid")["value"]
    assert values.isna().sum() == 1
    assert math.isnan(values[dataset.pairs[0].uid])


def test_whose_captions_they_are_is_part_of_the_identity(world: World) -> None:
    run, dataset = world
    captioned = replace(dataset, info=replace(dataset.info, captions="blip 2"))
    scoring.score_run(run, captioned, [("s", WantsSource()), ("b", Brightness(0.5))])
    assert set(run.scores()["metric"]) == {"brightness/1/captions=blip-2", "brightness/0.5"}


def test_another_data_set_is_refused(world: World) -> None:
    run, dataset = world
    changed = replace(dataset.pairs[0], target_text="Something else.")
    with pytest.raises(StoreError, match="another text"):
        scoring.score_run(run, replace(dataset, pairs=(changed, *dataset.pairs[1:])), [("b", Brightness())])
    with pytest.raises(StoreError, match="lacks"):
        scoring.score_run(run, replace(dataset, pairs=dataset.pairs[1:]), [("b", Brightness())])


def test_specs_that_mean_the_same_are_scored_once() -> None:
    made = scoring.make_metrics(["lpips-alex", "lpips-alex@256", "lpips-alex@512"])
    assert [spec for spec, _ in made] == ["lpips-alex", "lpips-alex@512"]


def test_specs_that_mean_nothing_are_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'lpips-alex'"):
        scoring.make_metrics(["lpips-alx@256"])
    with pytest.raises(UsageError, match="is not a metric"):
        scoring.make_metrics(["tedbench.types:Cell?uid=a&image_id=b&category=c&method=d&seed=1&strength=1&status=e"])
    with pytest.raises(UsageError):
        scoring.make_metrics(["lpips-alex@big"])
    with pytest.raises(UsageError):
        scoring.make_metrics(["lpips-alex@-3"])


def test_fid_is_refused_with_the_reason() -> None:
    with pytest.raises(MetricError, match="FID"):
        scoring.make_metrics(["fid"])
