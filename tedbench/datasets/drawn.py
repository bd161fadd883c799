"""A drawn data set whose true answers are known: coloured shapes, and texts that ask for another colour or shape.

It stands in for TEdBench in demonstrations and tests, which can then run without a download and with every optional
field: source text, category, mask and truth.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tedbench.datasets.download import result_name
from tedbench.errors import UsageError

SIDE = 256
_SCALE = 4
COLOURS = {
    "red": (204, 41, 41),
    "blue": (40, 84, 200),
    "green": (36, 150, 64),
    "yellow": (240, 200, 30),
    "purple": (130, 50, 170),
    "orange": (240, 130, 30),
}
SHAPES = ("ball", "box", "star")
COLUMNS = ("img_name", "target_text", "source_text", "category", "mask", "truth")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """One shape before a wall, on a floor. Lengths in units of the image's side."""

    shape: str
    colour: str
    centre: tuple[float, float]
    radius: float
    turn: float
    """Radians."""
    wall: tuple[int, int, int]
    floor: tuple[int, int, int]
    horizon: float

    @property
    def text(self) -> str:
        """What the picture shows."""
        return f"A photo of {'an' if self.colour[0] in 'aeiou' else 'a'} {self.colour} {self.shape}."

    def draw(self) -> Pixels:
        """The picture, (256, 256, 3) uint8, drawn at four times the size and averaged."""
        side = SIDE * _SCALE
        canvas = Image.new("RGB", (side, side), self.wall)
        pen = ImageDraw.Draw(canvas)
        pen.rectangle((0, self.horizon * side, side, side), fill=self.floor)
        self._draw_shape(pen, side)
        return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX))

    def _draw_shape(self, pen: ImageDraw.ImageDraw, side: int) -> None:
        (x, y), r, colour = self.centre, self.radius, COLOURS[self.colour]
        if self.shape == "ball":
            pen.ellipse([(x - r) * side, (y - r) * side, (x + r) * side, (y + r) * side], fill=colour)
            light = tuple(min(255, value + 50) for value in colour)
            pen.ellipse([(x - r / 2) * side, (y - r / 2) * side, (x - r / 6) * side, (y - r / 6) * side], fill=light)
            return
        corners = 4 if self.shape == "box" else 10
        radii = [r if self.shape == "box" or i % 2 == 0 else 0.45 * r for i in range(corners)]
        angles = [self.turn + 2 * math.pi * i / corners for i in range(corners)]
        points = [
            ((x + a * math.cos(t)) * side, (y + a * math.sin(t)) * side) for a, t in zip(radii, angles, strict=True)
        ]
        pen.polygon(points, fill=colour)


def write(folder: Path, n: int = 12, seed: int = 0) -> tuple[Path, Path]:
    """Draw a data set, and plausible edits of it named as TEdBench's results are.

    An edit is the true answer, tinted as a whole and made a little noisy. Every second picture is asked two questions.

    Args:
        folder: where `data/` (a folder data set) and `edits/` are written.
        n: number of pictures.
        seed: the same seed gives the same pixels.

    Returns:
        The data folder and the folder of edits.

    Raises:
        UsageError: if n is not positive.
    """
    if n < 1:
        raise UsageError(f"cannot draw {n} pictures; ask for at least 1")
    rng = np.random.default_rng(seed)
    data, edits = folder / "data", folder / "edits"
    for place in (data, data / "masks", data / "truths", edits):
        place.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for number in range(n):
        scene = _scene(rng)
        name = f"{scene.shape}_{number + 1:02d}.png"
        _save(scene.draw(), data / name)
        answers = [("colour", _recoloured(scene, rng)), ("shape", _reshaped(scene, rng))]
        for category, answer in answers[: 1 + number % 2]:
            stem = f"{Path(name).stem}-{category}.png"
            changed = (scene.draw() != answer.draw()).any(axis=2)
            _save(answer.draw(), data / "truths" / stem)
            _save(np.repeat(changed[..., None] * np.uint8(255), 3, axis=2), data / "masks" / stem)
            _save(_edit(answer.draw(), rng), edits / result_name(name, answer.text))
            cells = (name, answer.text, scene.text, category, f"masks/{stem}", f"truths/{stem}")
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
    with (data / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return data, edits


def _scene(rng: np.random.Generator) -> Scene:
    light, dark = (rng.integers(low, low + 50, size=3) for low in (180, 90))
    return Scene(
        shape=str(rng.choice(SHAPES)),
        colour=str(rng.choice(list(COLOURS))),
        centre=(float(rng.uniform(0.38, 0.62)), float(rng.uniform(0.45, 0.65))),
        radius=float(rng.uniform(0.18, 0.3)),
        turn=float(rng.uniform(0, math.pi)),
        wall=(int(light[0]), int(light[1]), int(light[2])),
        floor=(int(dark[0]), int(dark[1]), int(dark[2])),
        horizon=float(rng.uniform(0.55, 0.75)),
    )


def _recoloured(scene: Scene, rng: np.random.Generator) -> Scene:
    return replace(scene, colour=str(rng.choice([colour for colour in COLOURS if colour != scene.colour])))


def _reshaped(scene: Scene, rng: np.random.Generator) -> Scene:
    return replace(scene, shape=str(rng.choice([shape for shape in SHAPES if shape != scene.shape])))


def _edit(truth: Pixels, rng: np.random.Generator) -> Pixels:
    tint = rng.uniform(0, 255, size=3)
    weight = rng.uniform(0.03, 0.12)
    noisy = (1 - weight) * truth + weight * tint + rng.normal(0, 4, size=truth.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _save(pixels: Pixels, path: Path) -> None:
    Image.fromarray(pixels).save(path)
