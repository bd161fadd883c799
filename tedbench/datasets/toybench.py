"""ToyBench: questions about pictures of the toy world whose true answers are known, pixel by pixel.

Pictures get one, three or two questions in turn, of different categories, and every six questions in a row hold each
category once. The first n questions are the same whatever the number asked for. A text
names the subject and what the edit is about, nothing else, as TEdBench's do: what must stay can only be seen.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tedbench import images
from tedbench.datasets import toy
from tedbench.datasets.pairs import digest
from tedbench.datasets.toy import Scene
from tedbench.datasets.toy_captions import caption
from tedbench.errors import UnknownName, UsageError
from tedbench.types import Dataset, DatasetInfo, EditPair, ImageFile

NAME = "toy"
SPLITS = ("dev", "test")
PAIRS = 40
"""How many questions there are unless a number is asked for."""
MOST = 10_000
CATEGORIES = ("colour", "subject", "pose", "count", "accessory", "background")
LICENCE = "Apache-2.0"
"""Of what is drawn: the project's own."""
WORLD = "1"
"""Version of the drawing, the captions and the questions: another one is another data set."""
_QUESTIONS = (1, 3, 2)
_SEEN = 6
"""Levels of 255 by which a pixel must differ to count as changed."""
_FORM = re.compile(rf"{NAME}(?::(?P<split>[a-z]+))?(?::(?P<n>[0-9]+))?")


def is_name(name: str) -> bool:
    """Whether a name is one of ToyBench's: `toy`, `toy:dev`, `toy:test:240`, `toy:240`."""
    return name == NAME or name.startswith(f"{NAME}:")


def load(name: str = NAME) -> Dataset:
    """Draw the questions.

    Args:
        name: `toy[:SPLIT][:N]`; the test split and 40 questions unless it says otherwise.

    Raises:
        UsageError: for a name of another form, or no question.
        UnknownName: for another split.
    """
    split, n = _parsed(name)
    pairs = tuple(itertools.islice(questions(split), n))
    info = DatasetInfo(f"{NAME}:{split}:{n}", "drawn", f"world {WORLD}", digest(pairs), licence=LICENCE)
    return Dataset(info, pairs)


def questions(split: str) -> Iterator[EditPair]:
    """The questions of a split, without end; a picture is drawn when its first question is reached."""
    for index, wanted in enumerate(_groups(split)):
        rng = _rng(split, index, 5)
        source = _one_of(_askable(split, wanted), rng)
        for category in wanted:
            target = _one_of(_neighbours(split, source, category), rng)
            yield _pair(split, index, category, (source, target))


def change_mask(source: Scene, target: Scene, seed: int) -> NDArray[np.bool_]:
    """Where the true answer may differ from the input: (64, 64), one pixel wider than where it does.

    What an edit uncovers or shades is part of it. Without pixel noise, which no edit can guess.
    """
    before, after = (np.asarray(toy.draw(scene, seed, noise=False), dtype=np.int16) for scene in (source, target))
    changed = (np.abs(before - after).max(axis=2) > _SEEN).astype(np.uint8) * 255
    return np.asarray(Image.fromarray(changed).filter(ImageFilter.MaxFilter(3))) > 0


def _parsed(name: str) -> tuple[str, int]:
    form = _FORM.fullmatch(name)
    if form is None:
        raise UsageError(f"data set {name!r}: write toy, toy:SPLIT, toy:N or toy:SPLIT:N, such as toy:test:240")
    split, n = form["split"] or "test", int(form["n"] or PAIRS)
    if split not in SPLITS:
        raise UnknownName("split of the toy data set", split, SPLITS)
    if not 1 <= n <= MOST:
        raise UsageError(f"data set {name!r} asks for {n} questions; ask for 1 to {MOST}")
    return split, n


def _groups(split: str) -> Iterator[tuple[str, ...]]:
    """The categories of each picture's questions: of six in an order of their own the first, the next three, the rest.

    Where no scene of the split can be asked a whole group, each of its questions gets a picture.
    """
    for block in itertools.count():
        order = iter(_rng(split, block, 4).permutation(CATEGORIES).tolist())
        for size in _QUESTIONS:
            group = tuple(itertools.islice(order, size))
            yield from [group] if _askable(split, group) else [(category,) for category in group]


def _rng(split: str, number: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([toy.picture_seed(split, number), purpose])


def _one_of(known: Sequence[Scene], rng: np.random.Generator) -> Scene:
    return known[int(rng.integers(len(known)))]


@functools.cache
def _askable(split: str, wanted: tuple[str, ...]) -> tuple[Scene, ...]:
    """The scenes of a split about which all these questions have an answer in the split."""
    return tuple(
        scene for scene in toy.scenes(split) if all(_neighbours(split, scene, category) for category in wanted)
    )


@functools.cache
def _neighbours(split: str, source: Scene, category: str) -> tuple[Scene, ...]:
    """The scenes of a split that differ from one in this attribute alone."""
    others = (replace(source, **{category: value}) for value in toy.ATTRIBUTES[category])
    return tuple(scene for scene in others if scene != source and scene in _members(split))


@functools.cache
def _members(split: str) -> frozenset[Scene]:
    return frozenset(toy.scenes(split))


def _pair(split: str, index: int, category: str, scenes: tuple[Scene, Scene]) -> EditPair:
    (source, target), seed = scenes, toy.picture_seed(split, index)
    name = f"{split}-{index:04d}"
    mask = np.repeat(change_mask(source, target, seed)[..., None], 3, axis=2).astype(np.uint8) * 255
    kept = {key: value for key, value in asdict(source).items() if key != category}
    return EditPair(
        uid=f"{name}-{category}",
        image=_file(f"{name}.png", toy.draw(source, seed)),
        target_text=caption(target, {category}),
        image_id=f"{name}.png",
        source_text=caption(source, {category}),
        mask=_file(f"{name}-{category}-mask.png", Image.fromarray(mask)),
        truth=_file(f"{name}-{category}-truth.png", toy.draw(target, seed)),
        category=category,
        changes=((category, getattr(target, category)),),
        keeps=tuple(kept.items()),
    )


def _file(name: str, picture: Image.Image) -> ImageFile:
    data = images.encode_png(picture)
    return ImageFile(name, images.sha256(data), data=data)
