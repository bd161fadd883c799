"""The four backgrounds of the toy world: sky, ground, and what lies about."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

Pen = ImageDraw.ImageDraw
RGB = tuple[int, int, int]
Details = NDArray[np.float64]
"""(16,) numbers in [0, 1): where things lie."""


def draw_place(pen: Pen, background: str, side: int, horizon: float, details: Details) -> None:
    """Fill a square canvas.

    Args:
        pen: of an RGB canvas.
        background: `grass`, `sand`, `snow` or `road`.
        side: of the canvas, in pixels.
        horizon: height of the ground's edge from the top, in units of the side.
        details: see `Details`.
    """
    _PLACES[background](pen, side, horizon * side, details)


def ground_shadow(background: str) -> RGB:
    """The colour of a shadow on a background's ground."""
    return _SHADOWS[background]


_SHADOWS: dict[str, RGB] = {
    "grass": (66, 122, 56),
    "sand": (184, 160, 108),
    "snow": (196, 202, 216),
    "road": (88, 88, 94),
}


def _fill(pen: Pen, side: int, edge: float, sky: RGB, ground: RGB) -> None:
    pen.rectangle((0, 0, side, edge), fill=sky)
    pen.rectangle((0, edge, side, side), fill=ground)


def _grass(pen: Pen, side: int, edge: float, details: Details) -> None:
    _fill(pen, side, edge, (168, 212, 242), (98, 172, 78))
    for x in details[:3]:
        _bump(pen, side, x, edge, 0.16, (74, 138, 66))
    pen.rectangle((0, edge, side, side), fill=(98, 172, 78))
    for x, y in details[4:12].reshape(4, 2):
        cx, cy = x * side, edge + (0.1 + 0.85 * y) * (side - edge)
        for lean in (-0.025, 0.0, 0.025):
            pen.line((cx, cy, cx + lean * side, cy - 0.05 * side), fill=(64, 128, 54), width=side // 64)


def _sand(pen: Pen, side: int, edge: float, details: Details) -> None:
    _fill(pen, side, edge, (198, 232, 240), (230, 206, 150))
    pen.rectangle((0, edge - (0.1 + 0.08 * details[0]) * side, side, edge), fill=(62, 148, 186))
    _disc(pen, (0.1 + 0.8 * details[1]) * side, 0.14 * side, 0.07 * side, (252, 232, 130))
    for x, y in details[4:10].reshape(3, 2):
        _disc(pen, x * side, edge + (0.1 + 0.85 * y) * (side - edge), 0.016 * side, (190, 160, 104))


def _snow(pen: Pen, side: int, edge: float, details: Details) -> None:
    _fill(pen, side, edge, (170, 182, 202), (240, 243, 250))
    for x in details[:3]:
        _peak(pen, side, x, edge, (124, 136, 162))
    for x, y in details[4:14].reshape(5, 2):
        _disc(pen, x * side, y * edge, 0.012 * side, (250, 250, 255))


def _road(pen: Pen, side: int, edge: float, details: Details) -> None:
    _fill(pen, side, edge, (204, 168, 140), (118, 118, 124))
    for x in np.arange(4) * 0.3 - 0.3 * details[0]:
        for y in (0.3, 0.66):
            left, top = x * side, y * edge - 0.06 * side
            pen.rectangle((left, top, left + 0.14 * side, top + 0.1 * side), fill=(110, 132, 158))
    pen.rectangle((0, edge, side, edge + 0.05 * side), fill=(176, 174, 170))
    dash = edge + (0.4 + 0.2 * details[1]) * (side - edge)
    for x in np.arange(5) * 0.26 - 0.26 * details[2]:
        pen.rectangle((x * side, dash, (x + 0.13) * side, dash + 0.03 * side), fill=(236, 232, 214))


def _bump(pen: Pen, side: int, x: float, edge: float, radius: float, fill: RGB) -> None:
    pen.ellipse(((x - radius) * side, edge - 0.6 * radius * side, (x + radius) * side, edge + radius * side), fill=fill)


def _peak(pen: Pen, side: int, x: float, edge: float, fill: RGB) -> None:
    pen.polygon(((x - 0.24) * side, edge, x * side, edge - 0.24 * side, (x + 0.24) * side, edge), fill=fill)


def _disc(pen: Pen, x: float, y: float, radius: float, fill: RGB) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


_PLACES: dict[str, Callable[[Pen, int, float, Details], None]] = {
    "grass": _grass,
    "sand": _sand,
    "snow": _snow,
    "road": _road,
}
