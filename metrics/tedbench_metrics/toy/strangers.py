"""Pictures that the toy world does not draw: noise, gradients, dead leaves, and photographs of the public domain.

The oracle learns to refuse them.

All makers take a generator of numpy and give (64, 64, 3) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from tedbench import images

SIDE = 64
Picture = NDArray[np.float64]
Maker = Callable[[np.random.Generator], Picture]
FREE = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")
"""Photographs inside scikit-image that are in the public domain or CC0, as their docstrings say."""


def bank(count: int, seed: int, makers: dict[str, Maker] | None = None) -> Tensor:
    """Strangers of all kinds in turn, uint8, (count, 3, 64, 64).

    Args:
        count: how many.
        seed: of all of them; more of one seed begin with the same.
        makers: kinds, by default all.
    """
    kinds = [maker for name, maker in (makers or MAKERS).items() for _ in range(SHARES.get(name, 1))]
    made = [kinds[i % len(kinds)](np.random.default_rng((seed, i))) for i in range(count)]
    return as_bytes(np.stack(made))


def as_bytes(pictures: NDArray[np.float64]) -> Tensor:
    """(N, 64, 64, 3) in [0, 1] to uint8, (N, 3, 64, 64)."""
    levels = np.rint(pictures.clip(0, 1) * 255).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(levels.transpose(0, 3, 1, 2)))


def photographs(folder: Path) -> Tensor:
    """The middle squares of a folder's photographs, uint8, (N, 3, 64, 64); for checks only, never to learn from."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    squares = [images.fit(images.read(images.file_from_path(file)), SIDE) for file in files]
    return as_bytes(np.stack([np.asarray(square, np.float64) / 255 for square in squares]))


def uniform_noise(rng: np.random.Generator) -> Picture:
    """Every pixel for itself, any colour."""
    return rng.random((SIDE, SIDE, 3))


def gaussian_noise(rng: np.random.Generator) -> Picture:
    """Round a colour."""
    return (rng.random(3) + rng.uniform(0.05, 0.5) * rng.standard_normal((SIDE, SIDE, 3))).clip(0, 1)


def block_noise(rng: np.random.Generator) -> Picture:
    """Squares of 2 to 16 pixels."""
    side = int(2 ** rng.integers(1, 5))
    return rng.random((SIDE // side, SIDE // side, 3)).repeat(side, 0).repeat(side, 1)


def waves(rng: np.random.Generator) -> Picture:
    """1/f^a noise, a from 0.7 to 2.2: clouds, plasma."""
    f = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    f[0, 0] = 1
    shaped = np.fft.fft2(rng.standard_normal((SIDE, SIDE, 3)), axes=(0, 1)) / f[..., None] ** rng.uniform(0.7, 2.2)
    field = _unit(np.fft.ifft2(shaped, axes=(0, 1)).real)
    if rng.random() < 0.5:
        field = field @ rng.dirichlet(np.ones(3), 3)
    return _unit(field) * rng.uniform(0.3, 1) if rng.random() < 0.5 else _unit(field)


def plasma(rng: np.random.Generator) -> Picture:
    """Sines of sines."""
    y, x = _grid()
    a, b, c = rng.uniform(3, 25, 3)
    base = np.sin(a * x + rng.uniform(0, 6)) + np.sin(b * y + 2 * np.sin(c * x)) + np.sin(c * np.hypot(x, y))
    return np.asarray(0.5 + 0.5 * np.sin(base[..., None] * rng.uniform(0.5, 2) + rng.uniform(0, 6.3, 3)))


def gradient(rng: np.random.Generator) -> Picture:
    """Four colours, one a corner."""
    y, x = (v[..., None] for v in _grid())
    a, b, c, d = rng.random((4, 3))
    grain = rng.uniform(0, 0.02) * rng.standard_normal((SIDE, SIDE, 3))
    picture: Picture = (a * (1 - x) + b * x) * (1 - y) + (c * (1 - x) + d * x) * y + grain
    return picture.clip(0, 1)


def flat(rng: np.random.Generator) -> Picture:
    """One colour, or one above another."""
    picture = np.broadcast_to(rng.random(3), (SIDE, SIDE, 3)).copy()
    if rng.random() < 0.5:
        picture[int(rng.integers(16, 48)) :] = rng.random(3)
    return (picture + rng.uniform(0, 0.02) * rng.standard_normal(picture.shape)).clip(0, 1)


def dead_leaves(rng: np.random.Generator) -> Picture:
    """Shapes of any colour over one another (Lee, Mumford and Huang 2001), the nearest thing to a photograph's law."""
    canvas = Image.new("RGB", (2 * SIDE, 2 * SIDE), _colour(rng))
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(3, 120))):
        _leaf(pen, rng)
    picture = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64) / 255
    if rng.random() < 0.5:
        picture = picture * (0.6 + 0.4 * waves(rng))
    return picture


def photograph(rng: np.random.Generator) -> Picture:
    """A square of a free photograph, at any scale, perhaps mirrored and of another tone."""
    whole = _free(str(rng.choice(FREE)))
    side = int(rng.uniform(0.25, 1) * min(whole.size))
    left, top = (int(rng.integers(0, full - side + 1)) for full in whole.size)
    cut = whole.resize((SIDE, SIDE), Image.Resampling.BOX, (left, top, left + side, top + side))
    picture = np.asarray(cut, np.float64) / 255
    picture = picture[:, ::-1] if rng.random() < 0.5 else picture
    return (picture ** rng.uniform(0.6, 1.6) * rng.uniform(0.8, 1.2, 3)).clip(0, 1)


MAKERS: dict[str, Maker] = {
    "uniform noise": uniform_noise, "gaussian noise": gaussian_noise, "block noise": block_noise, "1/f noise": waves,
    "plasma": plasma, "gradient": gradient, "flat": flat, "dead leaves": dead_leaves,
    "free photographs": photograph,
}  # fmt: skip
SHARES = {"dead leaves": 2, "free photographs": 2}
"""How often a kind comes in its turn, beside 1 for the others."""


def _leaf(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    x, y = rng.uniform(-10, 2 * SIDE + 10, 2)
    w, h = 3 + 40 * rng.random(2) ** 2
    kind = rng.integers(4)
    if kind < 2:
        shape = pen.ellipse if kind else pen.rectangle
        shape((x - w, y - h, x + w, y + h), fill=_colour(rng))
    elif kind == 2:
        pen.polygon([(x + w * dx, y + h * dy) for dx, dy in rng.uniform(-1, 1, (5, 2))], fill=_colour(rng))
    else:
        pen.line([(x, y), *((x + w * dx, y + h * dy) for dx, dy in rng.uniform(-2, 2, (2, 2)))], _colour(rng), 4)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return red, green, blue


def _grid() -> tuple[Picture, Picture]:
    """How far down and how far across each pixel is, in [0, 1]."""
    steps = np.linspace(0, 1, SIDE)
    return np.repeat(steps[:, None], SIDE, 1), np.repeat(steps[None], SIDE, 0)


def _unit(field: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = field.min((0, 1)), field.max((0, 1))
    return np.asarray((field - low) / (high - low + 1e-9))


def _free(name: str) -> Image.Image:
    from skimage import data

    return Image.fromarray(getattr(data, name)()).convert("RGB")
