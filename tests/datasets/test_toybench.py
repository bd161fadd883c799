"""ToyBench: balanced questions, texts that tell the edit alone, true answers that differ from the input only there."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tedbench import datasets
from tedbench.datasets import toy, toybench
from tedbench.datasets.toy import Scene
from tedbench.errors import UnknownName, UsageError
from tedbench.types import EditPair, ImageFile


@pytest.fixture(scope="module")
def pairs() -> tuple[EditPair, ...]:
    return datasets.load("toy:test:120").pairs


def array(file: ImageFile | None) -> np.ndarray:
    assert file is not None and file.data is not None
    return np.asarray(Image.open(io.BytesIO(file.data))).astype(int)


def scenes(pair: EditPair) -> tuple[Scene, Scene]:
    """The scenes of input and answer, from what the pair says must change and stay."""
    (changed, value), kept = pair.changes[0], dict(pair.keeps or ())
    old = next(
        candidate
        for candidate in (Scene(**kept, **{changed: v}) for v in toy.ATTRIBUTES[changed])
        if toy.possible(candidate) and (array(pair.image) == np.asarray(toy.draw(candidate, seed(pair)))).all()
    )
    return old, Scene(**kept, **{changed: value})


def seed(pair: EditPair) -> int:
    split, index = pair.uid.split("-")[:2]
    return toy.picture_seed(split, int(index))


def test_there_are_forty_questions_of_the_test_split_unless_asked_otherwise() -> None:
    dataset = datasets.load("toy")
    assert len(dataset.pairs) == 40 and dataset.info.name == "toy:test:40" and dataset.info.source == "drawn"
    assert datasets.load("toy:dev").info.name == "toy:dev:40"
    assert datasets.load("toy:7").pairs == dataset.pairs[:7]


def test_the_same_questions_each_time(pairs: tuple[EditPair, ...]) -> None:
    again = datasets.load("toy:test:120")
    assert again.pairs == pairs
    assert again.info == datasets.load("toy:test:120").info
    assert len({datasets.load(name).info.sha256 for name in ("toy:6", "toy:dev:6", "toy:7")}) == 3


def test_categories_are_balanced(pairs: tuple[EditPair, ...]) -> None:
    assert set(Counter(pair.category for pair in pairs).values()) == {20}
    for start in range(0, 120, 6):
        assert {pair.category for pair in pairs[start : start + 6]} == set(toybench.CATEGORIES)


def test_two_questions_a_picture_on_average(pairs: tuple[EditPair, ...]) -> None:
    count = Counter(pair.image_id for pair in pairs)
    assert len(pairs) / len(count) == pytest.approx(2, abs=0.05) and set(count.values()) == {1, 2, 3}
    assert len({pair.image.sha256 for pair in pairs}) == len(count)
    assert len({pair.uid for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("split", toybench.SPLITS)
def test_input_and_answer_are_scenes_of_the_split(split: str) -> None:
    for pair in datasets.load(f"toy:{split}:36").pairs:
        for scene in scenes(pair):
            assert scene in toy.scenes(split)


def test_the_answer_is_the_counterfactual(pairs: tuple[EditPair, ...]) -> None:
    for pair in pairs[:48]:
        source, target = scenes(pair)
        assert (array(pair.truth) == np.asarray(toy.draw(target, seed(pair)))).all()
        assert [name for name in toy.ATTRIBUTES if getattr(source, name) != getattr(target, name)] == [pair.category]


def test_outside_the_mask_the_answer_is_the_input(pairs: tuple[EditPair, ...]) -> None:
    for pair in pairs:
        inside = array(pair.mask)[..., 0] >= 128
        off = np.abs(array(pair.image) - array(pair.truth)).max(axis=2)
        assert off[~inside].max(initial=0) <= 8 and off[inside].max() > 20
        assert inside.any() and (pair.category == "background" or inside.mean() < 0.65)


def test_texts_name_the_subject_and_the_edit_and_nothing_else(pairs: tuple[EditPair, ...]) -> None:
    telling = [value for name, values in toy.ATTRIBUTES.items() if name not in ("subject", "count") for value in values]
    for pair in pairs:
        words = set(pair.target_text.lower().rstrip(".").replace("hats", "hat").split())
        named = {value for value in (*telling, "one", "two") if value in words}
        (changed, value) = pair.changes[0]
        expected = {"accessory": {"hat"}, "subject": set()}.get(changed, {value})
        assert named == expected, pair.target_text
        assert pair.source_text and pair.source_text != pair.target_text


def test_what_changes_and_what_stays_is_said_in_full(pairs: tuple[EditPair, ...]) -> None:
    for pair in pairs:
        assert {pair.category, *dict(pair.keeps)} == set(toy.ATTRIBUTES) and len(pair.keeps) == 6


def test_other_names_are_refused() -> None:
    with pytest.raises(UnknownName, match="dev"):
        datasets.load("toy:tset:4")
    for name in ("toy:", "toy:0", "toy:test:0", "toy:test:x", "toy:test:4:5", "toy:-3"):
        with pytest.raises(UsageError, match="toy"):
            datasets.load(name)
    with pytest.raises(UsageError, match="--data"):
        datasets.load("toy", "somewhere")
    with pytest.raises(UnknownName):
        datasets.load("toyworld")


def test_a_run_on_it_is_scored_from_what_was_recorded(cli: Callable[..., Any], tmp_path: Path) -> None:
    ran = cli("run", "--dataset", "toy:dev:6", "--method", "identity", "--out", tmp_path / "run")
    assert ran.returncode == 0, ran.stderr
    scored = cli("score", tmp_path / "run", "--metrics", "psnr@64?region=outside")
    assert scored.returncode == 0, scored.stderr
