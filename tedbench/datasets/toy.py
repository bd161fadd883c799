"""The toy world: scenes of seven attributes, drawn with a nuisance of their own, and captions in TEdBench's manner.

A picture is a pure function of a scene and a picture seed. Two scenes drawn with one seed differ in nothing but their
attributes, so that the true answer to an edit is itself a picture. Combinations of attributes are dealt to parts by
hash: those of the benchmark (`dev`, `test`) are in no training part, and no two parts share a picture seed.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tedbench.datasets import toy_figures, toy_places
from tedbench.errors import UnknownName

SIDE = 64
"""Pixels of a picture's side."""
_SCALE = 4
POSES = ("standing", "sitting", "jumping")
ANIMALS = ("dog", "cat", "bird")
OBJECTS = ("ball", "box", "star", "tree")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": (*ANIMALS, *OBJECTS),
    "colour": ("red", "yellow", "blue", "purple", "brown", "black"),
    "pose": (*POSES, "still"),
    "count": ("one", "two"),
    "accessory": ("none", "hat"),
    "background": ("grass", "sand", "snow", "road"),
    "size": ("small", "large"),
}
"""What a scene is made of, and the values it takes; only objects are `still`."""
_COLOURS = {
    "red": (206, 44, 42), "yellow": (242, 206, 52), "blue": (46, 92, 208), "purple": (140, 62, 180),
    "brown": (134, 86, 46), "black": (46, 46, 52),
}  # fmt: skip
_SIZES = {"small": 0.3, "large": 0.42}
PARTS = {
    "dev": (0,), "test": (1, 2), "generator": (3, 4, 5, 6, 7, 8, 9), "clip-a": (3, 4, 5, 6, 7),
    "clip-b": (5, 6, 7, 8, 9), "oracle": (3, 4, 5, 6, 7, 8, 9),
}  # fmt: skip
"""The folds, of ten, whose combinations a part may use."""


@dataclass(frozen=True)
class Scene:
    """What a picture shows; every value is one of `ATTRIBUTES`."""

    subject: str
    colour: str
    pose: str
    count: str
    accessory: str
    background: str
    size: str


@dataclass(frozen=True)
class _Actor:
    """Where and how one of the (at most two) subjects stands, whatever it is. Lengths in sides."""

    at: tuple[float, float]
    facing: int
    scale: float
    shifts: NDArray[np.float64]


@dataclass(frozen=True)
class _Nuisance:
    """All that varies between two pictures of one scene, drawn in one order whatever the scene."""

    horizon: float
    actors: tuple[_Actor, _Actor]
    details: NDArray[np.float64]
    tone: NDArray[np.float64]
    """(3,) factors on red, green and blue."""
    slope: NDArray[np.float64]
    """(2,) change of light from edge to edge, across and down."""
    tint: NDArray[np.float64]
    """(3,) added to the subject's colour."""
    grain: float
    """Standard deviation of the pixel noise, in levels of 255."""


@functools.cache
def scenes(part: str) -> tuple[Scene, ...]:
    """Every combination of attributes that a part may use, in a fixed order.

    Raises:
        UnknownName: for another part.
    """
    if part not in PARTS:
        raise UnknownName("part of the toy world", part, PARTS)
    return tuple(scene for scene in _all_scenes() if _fold(scene) in PARTS[part])


def sample(part: str, index: int) -> tuple[Scene, int]:
    """The scene and the picture seed of a part's picture number `index`, 0 or more."""
    picture = picture_seed(part, index)
    known = scenes(part)
    return known[int(np.random.default_rng([picture, 1]).integers(len(known)))], picture


def picture_seed(part: str, index: int) -> int:
    """A picture seed of a part; no other part has it. At most 2**40 a part."""
    return (list(PARTS).index(part) << 40) + index


def draw(scene: Scene, seed: int, noise: bool = True) -> Image.Image:
    """A picture: 64×64 RGB, drawn at four times the size and averaged.

    Args:
        scene: what it shows.
        seed: picture seed: position, light, details, joints and noise.
        noise: whether pixel noise is added; without it two pictures differ only where their scenes do.
    """
    nuisance = _nuisance(seed)
    side = SIDE * _SCALE
    canvas = Image.new("RGB", (side, side))
    pen = ImageDraw.Draw(canvas)
    toy_places.draw_place(pen, scene.background, side, nuisance.horizon, nuisance.details)
    actors = _actors(scene, nuisance)
    for actor in actors:
        _draw_shadow(pen, scene, actor)
    for actor in actors:
        _draw_actor(pen, scene, actor, nuisance.tint)
    small = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    lit = small * _light(nuisance)
    if noise:
        lit += np.random.default_rng([seed, 3]).normal(0, nuisance.grain, lit.shape)
    return Image.fromarray(np.clip(np.rint(lit), 0, 255).astype(np.uint8))


def box(scene: Scene, seed: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the subjects' outlines together, in pixels of the 64×64 picture."""
    mask = Image.new("L", (SIDE * _SCALE, SIDE * _SCALE))
    pen = ImageDraw.Draw(mask)
    for actor in _actors(scene, _nuisance(seed)):
        _draw_outline(pen, scene, actor, 255)
    left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
    return left / _SCALE, top / _SCALE, right / _SCALE, bottom / _SCALE


def _all_scenes() -> list[Scene]:
    combinations = itertools.product(*ATTRIBUTES.values())
    return [scene for scene in (Scene(*values) for values in combinations) if possible(scene)]


def possible(scene: Scene) -> bool:
    """Whether there is such a scene: animals have poses, objects are still."""
    return (scene.pose == "still") == (scene.subject in OBJECTS)


def _fold(scene: Scene) -> int:
    text = " ".join(getattr(scene, field.name) for field in fields(scene))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 10


def _nuisance(seed: int) -> _Nuisance:
    rng = np.random.default_rng([seed, 2])
    horizon = rng.uniform(0.42, 0.54)
    first = 0.27 if rng.random() < 0.5 else 0.73
    actors = tuple(
        _Actor(
            at=(x + rng.uniform(-0.03, 0.03), rng.uniform(0.8, 0.93)),
            facing=1 if rng.random() < 0.5 else -1,
            scale=rng.uniform(0.94, 1.06),
            shifts=rng.uniform(-0.03, 0.03, (24, 2)),
        )
        for x in (first, 1 - first)
    )
    return _Nuisance(
        horizon=horizon,
        actors=(actors[0], actors[1]),
        details=rng.random(16),
        tone=rng.uniform(0.9, 1.05) * (1 + rng.uniform(-0.03, 0.03, 3)),
        slope=rng.uniform(-0.14, 0.14, 2),
        tint=rng.uniform(-12, 12) + rng.uniform(-6, 6, 3),
        grain=rng.uniform(0.8, 2.2),
    )


def _actors(scene: Scene, nuisance: _Nuisance) -> list[_Actor]:
    """Those that the scene shows, the farther first."""
    shown = nuisance.actors[: 1 if scene.count == "one" else 2]
    return sorted(shown, key=lambda actor: actor.at[1])


def _light(nuisance: _Nuisance) -> NDArray[np.float64]:
    steps = np.linspace(-0.5, 0.5, SIDE)
    field = 1 + nuisance.slope[0] * steps[None, :] + nuisance.slope[1] * steps[:, None]
    light: NDArray[np.float64] = field[..., None] * nuisance.tone
    return light


def _place(scene: Scene, actor: _Actor, lift: float) -> tuple[tuple[float, float], float]:
    """Where the figure's feet are and how long its unit is, in pixels of the canvas."""
    unit = _SIZES[scene.size] * actor.scale * SIDE * _SCALE
    x, y = actor.at
    return (x * SIDE * _SCALE, y * SIDE * _SCALE - lift * unit), unit


def _draw_shadow(pen: ImageDraw.ImageDraw, scene: Scene, actor: _Actor) -> None:
    (x, y), unit = _place(scene, actor, 0.0)
    lift = toy_figures.figure(scene.subject, scene.pose, False).lift
    half = (0.42 - 0.3 * lift) * unit
    pen.ellipse((x - half, y - 0.09 * unit, x + half, y + 0.05 * unit), fill=toy_places.ground_shadow(scene.background))


def _draw_actor(pen: ImageDraw.ImageDraw, scene: Scene, actor: _Actor, tint: NDArray[np.float64]) -> None:
    figure = toy_figures.figure(scene.subject, scene.pose, scene.accessory == "hat")
    colour = np.asarray(_COLOURS[scene.colour]) + tint
    _draw_outline(pen, scene, actor, _rgb(0.4 * colour))
    at, unit = _place(scene, actor, figure.lift)
    for part, shift in zip(figure.parts, actor.shifts, strict=False):
        points, radius = toy_figures.placed(part, at, unit, actor.facing, shift)
        _stroke(pen, points, radius, part.shade if isinstance(part.shade, tuple) else _rgb(part.shade * colour))


def _draw_outline(pen: ImageDraw.ImageDraw, scene: Scene, actor: _Actor, fill: tuple[int, int, int] | int) -> None:
    figure = toy_figures.figure(scene.subject, scene.pose, scene.accessory == "hat")
    at, unit = _place(scene, actor, figure.lift)
    for part, shift in zip(figure.parts, actor.shifts, strict=False):
        points, radius = toy_figures.placed(part, at, unit, actor.facing, shift)
        if radius == 0:
            _stroke(pen, points, 0, fill)
            points = [*points, points[0]]
        _stroke(pen, points, radius + 0.03 * unit, fill)


def _stroke(
    pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], radius: float, fill: tuple[int, int, int] | int
) -> None:
    """A polygon at radius 0, else a line with round joints and ends."""
    if radius == 0:
        pen.polygon(points, fill=fill)
        return
    if len(points) > 1:
        pen.line(points, fill=fill, width=max(1, round(2 * radius)))
    for x, y in points:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _rgb(colour: NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in np.clip(np.rint(colour), 0, 255))
    return red, green, blue
