"""A study's pictures: brought to one size that favours nobody, compared, and scrambled for checks.

Every picture becomes a square: the largest centred one, brought to size by `images.fit`. By default all pictures about
one question of the data set get the shortest side of any of its results, so that no result is enlarged, and none shows
more detail than another could. Files hold pixels and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tedbench import images

GRID = 8
"""Tiles a side, for what is near and for what is scrambled."""
NEAR = 4 / 255
"""Two pictures are near where no tile of theirs differs by more on average."""
SEAMS = 0.04
"""By how much more a scrambled picture jumps where its tiles meet than the whole one does there, in [0, 1]. In noise
and in plain colour it does not, and nobody could tell which is which."""


@dataclass(frozen=True)
class Difference:
    """How far two pictures of one size are apart."""

    mean: float
    """Absolute, over pixels and channels, in [0, 1]."""
    most: float
    """The same of the tile in which it is largest."""

    @property
    def flag(self) -> str:
        """`identical`, `near`, or nothing."""
        return "identical" if self.most == 0 else "near" if self.most <= NEAR else ""


def side(sizes: Iterable[tuple[int, int]]) -> int:
    """The shortest side of any picture; 0 where there is none."""
    return min((min(size) for size in sizes), default=0)


def difference(one: Image.Image, other: Image.Image) -> Difference:
    """Compare two RGB pictures of one square size."""
    apart = np.abs(images.to_uint8(one).astype(np.float64) - images.to_uint8(other)).mean(axis=2) / 255
    edges = np.linspace(0, len(apart), GRID + 1).astype(int)[:-1]
    tiles = np.add.reduceat(np.add.reduceat(apart, edges, 0), edges, 1)
    pixels = np.add.reduceat(np.add.reduceat(np.ones_like(apart), edges, 0), edges, 1)
    return Difference(float(apart.mean()), float((tiles / pixels).max()))


def scrambled(picture: Image.Image, rng: np.random.Generator) -> Image.Image | None:
    """The picture with its tiles in disorder and turned; None where that can hardly be seen.

    Args:
        picture: square.
        rng: of the disorder.
    """
    tile = picture.width // GRID
    if tile * GRID < images.MIN_SIDE:
        return None
    pixels = images.to_uint8(images.fit(picture, tile * GRID))
    tiles = pixels.reshape(GRID, tile, GRID, tile, 3).swapaxes(1, 2).reshape(GRID * GRID, tile, tile, 3)
    moved = np.stack([np.rot90(tiles[at], int(rng.integers(4))) for at in rng.permutation(GRID * GRID)])
    made = moved.reshape(GRID, GRID, tile, tile, 3).swapaxes(1, 2).reshape(GRID * tile, GRID * tile, 3)
    seen = _seams(made, tile) - _seams(pixels, tile) >= SEAMS
    return images.fit(Image.fromarray(np.ascontiguousarray(made)), picture.width) if seen else None


def _seams(pixels: NDArray[np.uint8], tile: int) -> float:
    """Mean absolute step across the edges of tiles, in [0, 1]."""
    values = pixels.astype(np.float64) / 255
    steps = [np.abs(np.diff(values, axis=axis)).take(range(tile - 1, len(values) - 1, tile), axis) for axis in (0, 1)]
    return float(np.mean([step.mean() for step in steps]))
