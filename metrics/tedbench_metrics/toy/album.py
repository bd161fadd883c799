"""Rendered pictures of the toy world, kept on disk: 3 ms a picture is too long to draw it again each epoch.

Pictures come in groups of counterfactuals: a scene and scenes that differ from it in one attribute, drawn with the
same picture seed, so that only the attribute differs.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from tedbench.datasets import toy, toy_figures, toy_places
from tedbench.datasets.toy import Scene

NAMES = tuple(toy.ATTRIBUTES)
CHUNK = 250
"""Groups a file; an interrupted rendering loses at most so many."""


@dataclass(frozen=True)
class Album:
    """Pictures with what is on them; the pictures of a group lie side by side."""

    pixels: Tensor
    """uint8, (N, 3, 64, 64)."""
    labels: Tensor
    """int64, (N, 7): the position of each value in `toy.ATTRIBUTES`."""
    boxes: Tensor
    """float32, (N, 4): left, top, right, bottom in pixels."""
    each: int
    """Pictures a group."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self) // self.each

    def members(self, groups: Tensor) -> Tensor:
        """Positions of all pictures of some groups, (G * each,)."""
        return (groups[:, None] * self.each + torch.arange(self.each)).flatten()


@dataclass(frozen=True)
class Pages:
    """Which pictures an album holds."""

    part: str
    groups: int
    first: int = 0
    """Index, in the part, of the first group's scene."""
    each: int = 4


def open_album(pages: Pages, folder: Path) -> Album:
    """Draw an album, or read what of it has been drawn before.

    Args:
        pages: what to draw.
        folder: where drawn files are kept; those of another version of the world are left alone.
    """
    folder = folder / f"pictures-{world_hash()}"
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, pages.groups, CHUNK)
    files = [_file(pages, folder, i) for i in tqdm(starts, f"pictures of {pages.part}", disable=None, leave=False)]
    found = [np.load(file) for file in files]
    pixels, labels, boxes = (np.concatenate([one[key] for one in found]) for key in ("pixels", "labels", "boxes"))
    return Album(torch.from_numpy(pixels), torch.from_numpy(labels), torch.from_numpy(boxes), pages.each)


def world_hash() -> str:
    """Eight hex digits that change with the world's source."""
    sources = "".join(inspect.getsource(module) for module in (toy, toy_figures, toy_places))
    return hashlib.sha256(sources.encode()).hexdigest()[:8]


def label(scene: Scene) -> list[int]:
    """The position of each of a scene's values in `toy.ATTRIBUTES`."""
    return [toy.ATTRIBUTES[name].index(getattr(scene, name)) for name in NAMES]


def scene_of(labels: Sequence[int]) -> Scene:
    """The scene that `label` describes."""
    return Scene(*(toy.ATTRIBUTES[name][int(i)] for name, i in zip(NAMES, labels, strict=True)))


def neighbours(scene: Scene, allowed: frozenset[Scene], rng: np.random.Generator) -> Iterator[tuple[str, Scene]]:
    """Scenes of `allowed` that differ in one attribute, one for each attribute, in random order.

    A subject of another kind changes its pose with it: a ball does not sit.
    """
    for name in rng.permutation(NAMES):
        values = [v for v in rng.permutation(toy.ATTRIBUTES[name]) if v != getattr(scene, name)]
        changed = (with_value(scene, str(name), str(value), allowed, rng) for value in values)
        yield from ((str(name), one) for one in [c for c in changed if c is not None][:1])


def with_value(
    scene: Scene, name: str, value: str, allowed: frozenset[Scene], rng: np.random.Generator
) -> Scene | None:
    """The scene with another value, or `None` where the part has no such scene."""
    changed = replace(scene, **{name: value})
    if changed in allowed or name != "subject":
        return changed if changed in allowed else None
    poses = [replace(changed, pose=str(pose)) for pose in rng.permutation(toy.ATTRIBUTES["pose"])]
    return next((one for one in poses if one in allowed), None)


def _file(pages: Pages, folder: Path, start: int) -> Path:
    file = folder / f"{pages.part}-{pages.each}-{pages.first + start:07d}-{min(CHUNK, pages.groups - start)}.npz"
    if not file.exists():
        partial = file.with_name(f"{os.getpid()}-{file.name}")
        pixels, labels, boxes = _draw(pages, start)
        np.savez(partial, pixels=pixels, labels=labels, boxes=boxes)
        partial.replace(file)
    return file


def _draw(pages: Pages, start: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]:
    allowed = frozenset(toy.scenes(pages.part))
    drawn: list[tuple[Scene, int]] = []
    for index in range(pages.first + start, pages.first + min(start + CHUNK, pages.groups)):
        drawn += _group(pages, index, allowed)
    pixels = np.stack([np.asarray(toy.draw(scene, seed)) for scene, seed in drawn])
    labels = np.array([label(scene) for scene, _ in drawn], np.int64)
    boxes = np.array([toy.box(scene, seed) for scene, seed in drawn], np.float32)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels, boxes


def _group(pages: Pages, index: int, allowed: frozenset[Scene]) -> list[tuple[Scene, int]]:
    scene, seed = toy.sample(pages.part, index)
    rng = np.random.default_rng((index, len(fields(Scene))))
    others = [one for _, one in neighbours(scene, allowed, rng)] if pages.each > 1 else []
    some = [scene, *others][: pages.each]
    return [(one, seed) for one in (some * pages.each)[: pages.each]]
