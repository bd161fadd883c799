"""The figures of the toy world as jointed parts, in units of the figure's size: x ahead, y up, feet at y = 0.

A part is a stroke with round ends, an ellipse or a polygon, with a shade of the figure's own colour or a colour that
it always has. What tells a sitting dog from a standing one is where its joints are, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import cos, pi, sin

Point = tuple[float, float]
RGB = tuple[int, int, int]
_NEAR, _FAR, _LIGHT, _DARK = 1.0, 0.8, 1.2, 0.62
_BEAK, _LEG, _TRUNK, _EYE = (238, 140, 40), (222, 128, 45), (112, 76, 46), (250, 250, 250)
_PUPIL, _HAT, _BAND = (20, 20, 24), (0, 178, 160), (250, 248, 235)


@dataclass(frozen=True)
class Part:
    """One piece of a figure."""

    points: tuple[Point, ...]
    radius: float = 0.0
    """Of a stroke along the points; 0 fills the polygon that they span."""
    shade: float | RGB = _NEAR
    """Factor on the figure's colour, or a colour of its own."""
    joint: bool = False
    """Whether its last point moves a little from picture to picture."""


@dataclass(frozen=True)
class Figure:
    """What is drawn for a subject in a pose: parts from back to front, and where a hat would sit."""

    parts: tuple[Part, ...]
    crown: Point
    lift: float = 0.0
    """How far its feet are off the ground."""


def figure(subject: str, pose: str, hat: bool) -> Figure:
    """The parts of a subject; `pose` is `still` for what has none."""
    bare = _ANIMALS[subject](pose) if subject in _ANIMALS else _OBJECTS[subject]()
    return replace(bare, parts=(*bare.parts, *_hat(bare.crown))) if hat else bare


def _hat(crown: Point) -> tuple[Part, ...]:
    x, y = crown
    cone = ((x - 0.17, y - 0.03), (x + 0.17, y - 0.03), (x - 0.01, y + 0.33))
    return (
        Part(cone, shade=_HAT),
        Part(((x - 0.17, y - 0.01), (x + 0.17, y - 0.01)), 0.035, _BAND),
        Part(((x - 0.01, y + 0.33),), 0.05, _BAND),
    )


def _limb(start: Point, end: Point, radius: float, shade: float | RGB = _NEAR) -> Part:
    return Part((start, end), radius, shade, joint=True)


def _dot(x: float, y: float, radius: float, shade: float | RGB) -> Part:
    return Part(((x, y),), radius, shade)


def _eye(x: float, y: float) -> tuple[Part, ...]:
    return _dot(x, y, 0.05, _EYE), _dot(x + 0.015, y, 0.03, _PUPIL)


@dataclass(frozen=True)
class _Quadruped:
    """Joints of a four-legged animal in one pose."""

    hip: Point
    shoulder: Point
    head: Point
    paws: tuple[Point, Point, Point, Point]
    """Far hind, far fore, near hind, near fore."""
    tail: tuple[Point, ...]
    lift: float = 0.0


_DOG = {
    "standing": _Quadruped(
        (-0.24, 0.43), (0.18, 0.45), (0.33, 0.72), ((-0.2, 0.0), (0.22, 0.0), (-0.3, 0.0), (0.13, 0.0)),
        ((-0.34, 0.5), (-0.46, 0.74)),
    ),
    "sitting": _Quadruped(
        (-0.16, 0.19), (0.06, 0.5), (0.18, 0.78), ((-0.02, 0.03), (0.22, 0.0), (-0.06, 0.03), (0.13, 0.0)),
        ((-0.28, 0.08), (-0.47, 0.14)),
    ),
    "jumping": _Quadruped(
        (-0.22, 0.3), (0.16, 0.5), (0.33, 0.74), ((-0.44, 0.12), (0.46, 0.5), (-0.5, 0.0), (0.42, 0.32)),
        ((-0.3, 0.38), (-0.48, 0.5)), 0.34,
    ),
}  # fmt: skip
_CAT = {
    "standing": _Quadruped(
        (-0.24, 0.36), (0.16, 0.37), (0.28, 0.6), ((-0.2, 0.0), (0.19, 0.0), (-0.29, 0.0), (0.11, 0.0)),
        ((-0.32, 0.4), (-0.46, 0.55), (-0.36, 0.84)),
    ),
    "sitting": _Quadruped(
        (-0.1, 0.2), (0.03, 0.42), (0.1, 0.7), ((-0.02, 0.03), (0.16, 0.0), (-0.04, 0.03), (0.08, 0.0)),
        ((-0.22, 0.08), (-0.44, 0.06), (-0.46, 0.28)),
    ),
    "jumping": _Quadruped(
        (-0.22, 0.26), (0.15, 0.44), (0.3, 0.66), ((-0.42, 0.1), (0.44, 0.46), (-0.48, 0.0), (0.4, 0.3)),
        ((-0.3, 0.32), (-0.46, 0.42), (-0.5, 0.66)), 0.34,
    ),
}  # fmt: skip


def _dog(pose: str) -> Figure:
    joints = _DOG[pose]
    x, y = joints.head
    head = (
        _dot(x, y, 0.17, _NEAR), Part(((x + 0.1, y - 0.05), (x + 0.21, y - 0.07)), 0.085, _LIGHT),
        _dot(x + 0.27, y - 0.05, 0.045, _PUPIL), _limb((x - 0.08, y + 0.1), (x - 0.14, y - 0.12), 0.065, _DARK),
        *_eye(x + 0.04, y + 0.05),
    )  # fmt: skip
    return Figure((*_trunk_of(joints, 0.155, 0.06), *head), (x - 0.02, y + 0.15), joints.lift)


def _cat(pose: str) -> Figure:
    joints = _CAT[pose]
    x, y = joints.head
    ears = (
        Part(((x - 0.17, y + 0.04), (x - 0.15, y + 0.3), (x - 0.01, y + 0.14))),
        Part(((x + 0.01, y + 0.14), (x + 0.15, y + 0.3), (x + 0.17, y + 0.04))),
    )
    face = (
        Part(((x - 0.05, y), (x + 0.05, y)), 0.165), Part(((x + 0.06, y - 0.09), (x + 0.12, y - 0.09)), 0.06, _LIGHT),
        *_eye(x - 0.05, y + 0.04), *_eye(x + 0.13, y + 0.04),
    )  # fmt: skip
    return Figure((*_trunk_of(joints, 0.125, 0.05), *ears, *face), (x, y + 0.14), joints.lift)


def _trunk_of(joints: _Quadruped, girth: float, leg: float) -> tuple[Part, ...]:
    hip, shoulder = joints.hip, joints.shoulder
    far_hind, far_fore, near_hind, near_fore = joints.paws
    tail = joints.tail
    return (
        Part((hip, *tail), 0.045, _FAR, joint=True),
        _limb(hip, far_hind, leg, _DARK), _limb(shoulder, far_fore, leg, _DARK),
        Part((shoulder, joints.head), 0.68 * girth),
        Part((hip, shoulder), girth),
        Part(((hip[0] + 0.02, hip[1] - 0.05), (shoulder[0], shoulder[1] - 0.06)), 0.4 * girth, _LIGHT),
        _limb(hip, near_hind, leg, _NEAR), _limb(shoulder, near_fore, leg, _NEAR),
    )  # fmt: skip


def _bird(pose: str) -> Figure:
    low, lift = {"standing": (0.24, 0.0), "sitting": (0.0, 0.0), "jumping": (0.2, 0.3)}[pose]
    x, y = 0.24, low + 0.5
    legs = () if pose == "sitting" else (
        _limb((-0.04, 0.3), (-0.02 if lift == 0 else -0.12, 0.0), 0.03, _LEG),
        _limb((0.06, 0.3), (0.1 if lift == 0 else 0.02, 0.0), 0.03, _LEG),
    )  # fmt: skip
    tail = Part(((-0.2, low + 0.26), (-0.5, low + 0.2), (-0.48, low + 0.38)), shade=_DARK)
    wing = Part(((0.06, low + 0.3), (-0.26, low + 0.18), (-0.2, low + 0.34)), 0.05, _FAR)
    if lift:  # wings up, one behind the other
        wing = Part(((0.1, low + 0.28), (-0.3, low + 0.68), (-0.16, low + 0.24)), shade=_FAR)
    far = (Part(((0.12, low + 0.3), (0.02, low + 0.78), (-0.1, low + 0.3)), shade=_DARK),) if lift else ()
    head = (
        _dot(x, y, 0.15, _NEAR), Part(((x + 0.11, y + 0.06), (x + 0.32, y - 0.01), (x + 0.11, y - 0.08)), shade=_BEAK),
        *_eye(x + 0.04, y + 0.04),
    )  # fmt: skip
    body = (Part(((-0.12, low + 0.22), (0.06, low + 0.26)), 0.2), Part(((0.04, low + 0.16),), 0.1, _LIGHT))
    return Figure((*legs, tail, *far, *body, wing, *head), (x, y + 0.13), lift)


def _ball() -> Figure:
    stripe = Part(((-0.33, 0.3), (-0.1, 0.24), (0.14, 0.26), (0.33, 0.34)), 0.06, _DARK)
    return Figure((_dot(0, 0.38, 0.38, _NEAR), stripe, _dot(-0.14, 0.54, 0.1, _LIGHT)), (0.0, 0.74))


def _box() -> Figure:
    front = Part(((-0.38, 0.0), (0.26, 0.0), (0.26, 0.58), (-0.38, 0.58)))
    side = Part(((0.26, 0.0), (0.42, 0.12), (0.42, 0.7), (0.26, 0.58)), shade=_DARK)
    lid = Part(((-0.38, 0.58), (0.26, 0.58), (0.42, 0.7), (-0.22, 0.7)), shade=_LIGHT)
    tape = Part(((-0.06, 0.02), (-0.06, 0.56)), 0.05, _FAR)
    return Figure((front, tape, side, lid), (0.02, 0.68))


def _star() -> Figure:
    tips = [((0.5 if i % 2 == 0 else 0.22), pi / 2 + i * pi / 5) for i in range(10)]
    points = tuple((r * cos(t), 0.42 + r * sin(t)) for r, t in tips)
    return Figure((Part(points), _dot(-0.02, 0.45, 0.12, _LIGHT)), (0.0, 0.84))


def _tree() -> Figure:
    trunk = Part(((-0.07, 0.0), (0.07, 0.0), (0.06, 0.3), (-0.06, 0.3)), shade=_TRUNK)
    tiers = [
        Part(((-half, low), (half, low), (0.0, low + 0.4)), shade=shade)
        for half, low, shade in ((0.4, 0.22, _FAR), (0.33, 0.42, _NEAR), (0.25, 0.62, _LIGHT))
    ]
    return Figure((trunk, *tiers), (0.0, 0.94))


_ANIMALS: dict[str, Callable[[str], Figure]] = {"dog": _dog, "cat": _cat, "bird": _bird}
_OBJECTS: dict[str, Callable[[], Figure]] = {"ball": _ball, "box": _box, "star": _star, "tree": _tree}


def placed(part: Part, at: Point, size: float, facing: int, shift: Sequence[float]) -> tuple[list[Point], float]:
    """A part's points and radius in pixels, y down, for a figure whose feet are `at`.

    Args:
        part: in the figure's own units.
        at: pixels.
        size: pixels a unit.
        facing: 1 to the right, -1 to the left.
        shift: how far a joint's end moves, in the figure's units.
    """
    points = list(part.points)
    if part.joint:
        points[-1] = (points[-1][0] + shift[0], points[-1][1] + abs(shift[1]))
    return [(at[0] + facing * size * x, at[1] - size * y) for x, y in points], part.radius * size
