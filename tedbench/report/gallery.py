"""Pictures for the eye: input, text, the true answer where there is one, and each method over its strength.

Read from the run's own images. Input and answer come from the data set, if it is where the run found it, and only if
they are what the run was asked about (by hash). Small pictures stay as they are and are enlarged pixel by pixel when
shown; large ones are made smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tedbench import datasets, images
from tedbench.datasets import toybench
from tedbench.errors import TedbenchError
from tedbench.report import text
from tedbench.report.shown import knob
from tedbench.report.table import Material
from tedbench.store import RunFolder
from tedbench.types import Cell, EditPair, ImageFile

if TYPE_CHECKING:
    import pandas as pd

PAIRS = 4
STRENGTHS = 6
SIDE = 128
"""Pixels at which a picture is shown; smaller ones are enlarged by a whole number without blur."""
NO_KNOB = "–"
"""Symbol of methods that have nothing to turn."""
NO_IMAGES = "No pictures: the images of these runs are not on disk."
NO_INPUTS = "Inputs are left out: the data set is not where the run found it."


@dataclass(frozen=True)
class Picture:
    """One picture with its caption, or the reason why there is none."""

    caption: str
    image: Image.Image | None
    """RGB, at most `SIDE` on its longer side."""
    why: str = ""


@dataclass(frozen=True)
class Sweep:
    """A method's pictures of one pair."""

    label: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Entry:
    """One pair."""

    uid: str
    target_text: str
    category: str
    given: tuple[Picture, ...]
    """Input and, where known, the true answer."""
    sweeps: tuple[Sweep, ...]


@dataclass(frozen=True)
class Gallery:
    """Some pairs."""

    entries: tuple[Entry, ...]
    note: str
    """What is not shown, or how; one line."""


@dataclass(frozen=True)
class Source:
    """Where pictures come from: read once, for all that show some."""

    cells: Mapping[str, Mapping[tuple[str, str], Mapping[float | None, Cell]]]
    """By run whose images are on disk, method and uid: the cells of the first seed, by strength."""
    pairs: Mapping[str, EditPair]
    """By uid; none where the data set cannot be had without a network, or is another now."""


def source(material: Material) -> Source:
    """Read what pictures need of the runs and of their data set."""
    cells = {name: by_place(one) for name, one in material.opened.items() if (one.path / "images").is_dir()}
    return Source(cells, inputs(material)) if any(cells.values()) else Source({}, {})


def gather(
    material: Material, labels: Mapping[tuple[str, str], str], most: int = PAIRS, there: Source | None = None
) -> Gallery:
    """The pictures of a report.

    Args:
        material: what the report is made of.
        labels: what each run and method is called.
        most: pairs to show.
        there: `source(material)`, where somebody has read it already.
    """
    there = there or source(material)
    cells, pairs = there.cells, there.pairs
    if not cells:
        return Gallery((), NO_IMAGES)
    made = material.cells.loc[material.cells["status"] != "missing", "uid"]
    chosen = choose(material.pairs[material.pairs["uid"].isin(made)], most)
    entries = tuple(_entry(material, row, pairs, cells, labels) for row in chosen.to_dict("records"))
    seeds = sorted(material.cells["seed"].dropna().unique().tolist())
    notes = [f"{len(entries)} of {len(material.pairs)} pairs, not chosen by how they came out."]
    notes += [f"The first of {len(seeds)} seeds."] if len(seeds) > 1 else []
    notes += [] if pairs else [NO_INPUTS]
    return Gallery(entries, " ".join(notes))


def choose(pairs: pd.DataFrame, n: int = PAIRS) -> pd.DataFrame:
    """Up to n rows in their order: the first of each category in turn, or the first where there are none."""
    turn = pairs.groupby("category", dropna=False, sort=False).cumcount()
    return pairs.loc[turn.sort_values(kind="stable").index[:n].sort_values()]


def spread(strengths: Sequence[float], n: int = STRENGTHS) -> list[float]:
    """Up to n strengths, evenly spread from the first to the last."""
    ordered = sorted(strengths)
    at = np.linspace(0, len(ordered) - 1, min(n, len(ordered))).round().astype(int)
    return [ordered[k] for k in at]


def by_place(run: RunFolder) -> dict[tuple[str, str], dict[float | None, Cell]]:
    """By method and uid: the cells of the first seed, by strength."""
    found: dict[tuple[str, str], dict[float | None, Cell]] = {}
    for cell in sorted(run.cell_list(), key=lambda one: (one.seed is None, one.seed or 0)):
        found.setdefault((cell.method, cell.uid), {}).setdefault(cell.strength, cell)
    return found


def inputs(material: Material) -> dict[str, EditPair]:
    """The pairs by uid; none where the data set cannot be had without a network, or is another now."""
    for one in material.opened.values():
        info = one.run.dataset
        drawn = toybench.is_name(info.name)
        place = (one.path / info.location).resolve() if info.location else None
        if info.source == "hub" or not (drawn or (place and place.exists())):
            continue
        try:
            return {pair.uid: pair for pair in datasets.load(info.name, place).pairs}
        except TedbenchError:  # moved, altered: the report is of the run, and shows what it can
            continue
    return {}


def _entry(
    material: Material,
    row: Mapping[Any, Any],
    pairs: Mapping[str, EditPair],
    cells: Mapping[str, Mapping[tuple[str, str], Mapping[float | None, Cell]]],
    labels: Mapping[tuple[str, str], str],
) -> Entry:
    uid, sweeps = str(row["uid"]), []
    for (run, method), label in labels.items():
        mine = cells.get(run, {}).get((method, uid), {})
        symbol = str(knob(material, run, method).get("symbol", ""))
        known = [strength for strength in mine if strength is not None]
        picked = [mine[strength] for strength in (spread(known) if known else list(mine))]
        if picked:
            sweeps.append(Sweep(label, tuple(_picture(material.opened[run], cell, symbol) for cell in picked)))
    category = row["category"] if isinstance(row["category"], str) else ""
    return Entry(uid, str(row["target_text"]), category, _given(row, pairs.get(uid)), tuple(sweeps))


def _given(row: Mapping[Any, Any], pair: EditPair | None) -> tuple[Picture, ...]:
    if pair is None:
        return ()
    named = {"input": (pair.image, row["sha256"]), "true answer": (pair.truth, row["truth_sha256"])}
    return tuple(_read(caption, file) for caption, (file, then) in named.items() if file and file.sha256 == then)


def _read(caption: str, file: ImageFile) -> Picture:
    try:
        return Picture(caption, smaller(images.read(file)))
    except TedbenchError:
        return Picture(caption, None, "cannot be read")


def _picture(run: RunFolder, cell: Cell, symbol: str) -> Picture:
    said = caption(cell, symbol)
    if cell.status != "ok":
        return Picture(said, None, cell.status)
    try:
        return Picture(said, smaller(images.decode(run.image_bytes(cell), cell.file)))
    except TedbenchError:
        return Picture(said, None, "cannot be read")


def caption(cell: Cell, symbol: str) -> str:
    """What stands below the picture of a cell: its strength; nothing for a method with nothing to turn."""
    turned = cell.strength is not None and symbol != NO_KNOB
    return f"{symbol} {text.strength(cell.strength)}".strip() if turned else ""


def smaller(image: Image.Image, side: int = SIDE) -> Image.Image:
    """The image with its longer side at most `side`; as it is where it is no longer than that."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def larger(image: Image.Image, side: int = SIDE) -> Image.Image:
    """The image enlarged by the largest whole number that keeps it within `side`: each pixel becomes a square."""
    times = max(1, side // max(image.size))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
