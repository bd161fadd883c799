"""The gallery as one picture, for where HTML cannot go: a row a method, a block a pair."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tedbench.report.gallery import SIDE, Entry, Picture, Sweep, larger
from tedbench.report.text import clean

GAP, LABEL, LINE = 8, 150, 17
"""Pixels: between pictures, for a method's name, for a line of text."""
INK, DIM, PAPER, EMPTY = "#1d2329", "#59626c", "white", "#eceef0"


def sheet(entries: Sequence[Entry]) -> bytes:
    """The entries below each other as a PNG.

    Args:
        entries: at least one.
    """
    given = max(len(entry.given) for entry in entries)
    most = max((len(sweep.pictures) for entry in entries for sweep in entry.sweeps), default=0)
    width = GAP + max(given * (SIDE + GAP) + LABEL + most * (SIDE + GAP), 640)
    blocks = [_block(entry, width, given) for entry in entries]
    page = Image.new("RGB", (width, sum(block.height for block in blocks)), PAPER)
    top = 0
    for block in blocks:
        page.paste(block, (0, top))
        top += block.height
    buffer = io.BytesIO()
    page.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _block(entry: Entry, width: int, given: int) -> Image.Image:
    """One pair: its text above, the given pictures on the left, methods on the right."""
    rows = max(1, len(entry.sweeps))
    block = Image.new("RGB", (width, 2 * LINE + 2 * GAP + rows * (SIDE + LINE + GAP)), PAPER)
    pen = ImageDraw.Draw(block)
    pen.line([(0, 0), (width, 0)], fill=EMPTY, width=2)
    _write(pen, (GAP, GAP), f"“{entry.target_text}”", width - 2 * GAP, INK, 14)
    _write(pen, (GAP, GAP + LINE), " · ".join(filter(None, (entry.uid, entry.category))), width - 2 * GAP, DIM, 11)
    top = 2 * LINE + 2 * GAP
    for k, picture in enumerate(entry.given):
        _place(block, picture, (GAP + k * (SIDE + GAP), top))
    for k, sweep in enumerate(entry.sweeps):
        _row(block, sweep, (GAP + given * (SIDE + GAP), top + k * (SIDE + LINE + GAP)))
    return block


def _row(block: Image.Image, sweep: Sweep, corner: tuple[int, int]) -> None:
    left, top = corner
    _write(ImageDraw.Draw(block), (left, top + SIDE // 2 - LINE // 2), sweep.label, LABEL - GAP, INK, 12)
    for k, picture in enumerate(sweep.pictures):
        _place(block, picture, (left + LABEL + k * (SIDE + GAP), top))


def _place(block: Image.Image, picture: Picture, corner: tuple[int, int]) -> None:
    """A picture in the middle of its square, or why there is none; its caption below."""
    left, top = corner
    pen = ImageDraw.Draw(block)
    if picture.image is None:
        pen.rectangle([left, top, left + SIDE - 1, top + SIDE - 1], fill=EMPTY)
        _write(pen, (left + GAP, top + SIDE // 2 - LINE // 2), picture.why, SIDE - 2 * GAP, DIM, 11)
    else:
        shown = larger(picture.image)
        block.paste(shown, (left + (SIDE - shown.width) // 2, top + (SIDE - shown.height) // 2))
    _write(pen, (left, top + SIDE + 1), picture.caption, SIDE, DIM, 11)


def _write(pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, room: int, ink: str, size: int) -> None:
    """One line, cut with … where it does not fit."""
    font, shown = _font(size), clean(text)
    while shown and pen.textlength(shown, font) > room:
        shown = shown.removesuffix("…")[:-1] + "…" if len(shown) > 1 else ""
    pen.text(corner, shown, fill=ink, font=font)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib as mpl

    # Pillow's own font has no Greek, and η is what many strengths are called; matplotlib brings one that has.
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
