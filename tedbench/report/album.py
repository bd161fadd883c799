"""The gallery of the page: every pair with each method at the strength shown; its whole sweep one click away.

The pictures travel inside the page, as text that becomes a picture when it is looked at. Large ones are made smaller
and compressed, and small ones too where there are many: they are for the eye, what was scored is in the run.
"""

from __future__ import annotations

import base64
import functools
import io
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tedbench import images
from tedbench.errors import TedbenchError
from tedbench.report import gallery, text
from tedbench.report.shown import Key, Shown, knob
from tedbench.report.table import Material
from tedbench.store import RunFolder
from tedbench.types import Cell, EditPair, ImageFile

if TYPE_CHECKING:
    import pandas as pd

MOST = 8000
"""Pictures in one page: 30 MB or so."""
EXACT = 200
"""Pictures up to which those that are not made smaller keep every pixel."""
SIDE = 128
"""Pixels of the longer side; smaller pictures stay as they are."""
QUALITY = 85


@dataclass(frozen=True)
class Album:
    """What the page shows."""

    data: Mapping[str, Any]
    """For the page's script: `pictures`, base64 of WebP; `metrics`; `methods`; `cards`, one a pair."""
    note: str
    """What is not shown, or how; one line."""

    @property
    def categories(self) -> list[str]:
        """In order of the pairs."""
        return list(dict.fromkeys(card["category"] for card in self.data.get("cards", ()) if card["category"]))


class _Shelf:
    """Pictures to be made, each known by its place."""

    def __init__(self) -> None:
        self.wanted: list[tuple[RunFolder, Cell] | tuple[None, ImageFile]] = []

    def put(self, picture: tuple[RunFolder, Cell] | tuple[None, ImageFile]) -> int:
        """The place of a picture of a run, or of a data set."""
        self.wanted.append(picture)
        return len(self.wanted) - 1

    def made(self) -> list[str]:
        """Base64 of each; empty where it cannot be read."""
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # Pillow works outside of Python's lock
            return list(pool.map(functools.partial(_encoded, exact=len(self.wanted) <= EXACT), self.wanted))


@dataclass(frozen=True)
class _Cards:
    """Makes one card a pair, and puts its pictures on a shelf."""

    material: Material
    shown: Mapping[Key, Shown]
    labels: Mapping[Key, str]
    cells: Mapping[str, Mapping[tuple[str, str], Mapping[float | None, Cell]]]
    said: Mapping[tuple[Any, ...], str]
    shelf: _Shelf

    def card(self, row: Mapping[Any, Any], pair: EditPair | None) -> dict[str, Any]:
        """Its texts, what was given, and `methods`."""
        texts = {
            "uid": row["uid"],
            "text": row["target_text"],
            "source": row["source_text"],
            "category": row["category"],
        }
        said = {name: text.clean(value) if isinstance(value, str) else "" for name, value in texts.items()}
        given = []
        if pair is not None:
            files = {"input": (pair.image, row["sha256"]), "true answer": (pair.truth, row["truth_sha256"])}
            given = [(name, file) for name, (file, then) in files.items() if file and file.sha256 == then]
        methods = [self._method(key, str(row["uid"])) for key in self.labels]
        return {
            **said, "given": [[name, self.shelf.put((None, file))] for name, file in given],
            "methods": [method for method in methods if method["sweep"]],
        }  # fmt: skip

    def _method(self, key: Key, uid: str) -> dict[str, Any]:
        """A sweep's pictures: [caption, place, values], place a reason where there is no picture; which is shown."""
        mine = self.cells.get(key[0], {}).get((key[1], uid), {})
        symbol = str(knob(self.material, *key).get("symbol", ""))
        ordered = sorted(mine.items(), key=lambda one: -math.inf if one[0] is None else one[0])
        sweep: list[list[Any]] = []
        for strength, cell in ordered:
            fine = cell.status == "ok"
            place = self.shelf.put((self.material.opened[key[0]], cell)) if fine else cell.status
            sweep.append([gallery.caption(cell, symbol), place, self.said.get((*key, uid, cell.seed, strength), "")])
        at = [k for k, (strength, _) in enumerate(ordered) if strength == self.shown[key].strength]
        return {"label": self.labels[key], "shown": at[0] if at else 0, "sweep": sweep}


def gather(
    material: Material,
    shown: Mapping[Key, Shown],
    labels: Mapping[Key, str],
    values: pd.DataFrame,
    captions: Sequence[str],
    source: gallery.Source,
) -> Album:
    """The pictures and what is said of them.

    Args:
        material: all that was measured.
        shown: the strength of each method that the tables show.
        labels: what each run and method is called.
        values: `table.pair_values` at those strengths, by which cards are sorted.
        captions: identities of the metrics whose values stand below the pictures of a sweep.
        source: `gallery.source(material)`.
    """
    if not source.cells:
        return Album({}, gallery.NO_IMAGES)
    maker = _Cards(material, shown, labels, source.cells, _said(material, captions), _Shelf())
    inputs = source.pairs
    cards = [maker.card(row, inputs.get(str(row["uid"]))) for row in _some(maker).to_dict("records")]
    data = {"cards": cards, "methods": list(labels.values()), **_scores(material, labels, values, cards)}
    return Album({**data, "pictures": maker.shelf.made()}, _note(material, len(cards), bool(inputs)))


def _some(maker: _Cards) -> pd.DataFrame:
    """The pairs that fit the page, of each category in turn, in their order; without those that nothing was made of."""
    material, runs = maker.material, maker.cells.values()
    made = material.cells.loc[material.cells["status"] != "missing", "uid"]
    pairs = material.pairs[material.pairs["uid"].isin(made)]
    pictures = 2 * len(pairs) + sum(len(sweep) for mine in runs for sweep in mine.values())
    return gallery.choose(pairs, max(1, int(len(pairs) * min(1.0, MOST / max(pictures, 1)))))


def _said(material: Material, captions: Sequence[str]) -> dict[tuple[Any, ...], str]:
    """By run, method, uid, seed and strength: what an image scored."""
    rows = material.scores[material.scores["metric"].isin(list(captions))]
    specs = {identity: material.metrics[identity].spec for identity in captions}
    short = {identity: spec.partition("@")[0] for identity, spec in specs.items()}
    names = short if len(set(short.values())) == len(specs) else specs
    said: dict[tuple[Any, ...], str] = {}
    columns = ["run", "method", "uid", "seed", "strength", "metric", "value"]
    plain = [rows[name].astype(object).where(rows[name].notna(), None).to_list() for name in columns]
    for *key, metric, value in zip(*plain, strict=True):
        shown = "–" if value is None else text.number(value, 3)
        said[tuple(key)] = " · ".join(filter(None, [said.get(tuple(key), ""), f"{names[metric]} {shown}"]))
    return said


def _scores(
    material: Material, labels: Mapping[Key, str], values: pd.DataFrame, cards: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What cards are sorted by: `metrics`, and `scores[metric][method][card]`, null for none."""
    named = zip(values["metric"], values["run"], values["method"], values["uid"], strict=True)
    found = dict(zip(named, values["value"].to_list(), strict=True))
    uids = [str(uid) for uid in material.pairs["uid"]]
    at = {text.clean(uid): uid for uid in uids}
    scores = [
        [[_number(found.get((identity, *key, at[card["uid"]]), math.nan)) for card in cards] for key in labels]
        for identity in material.metrics
    ]
    told = [{"spec": text.clean(one.spec), "higher": one.higher_is_better} for one in material.metrics.values()]
    return {"metrics": told, "scores": scores}


def _number(value: float) -> float | None:
    """A number as JSON has it, with six digits; an infinite one is as large as it can be."""
    if math.isnan(value):
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else math.copysign(1e308, value)


def _encoded(picture: tuple[RunFolder, Cell] | tuple[None, ImageFile], exact: bool) -> str:
    try:
        if picture[0] is None:
            image = images.read(picture[1])
        else:
            image = images.decode(picture[0].image_bytes(picture[1]), picture[1].file)
    except TedbenchError:
        return ""
    buffer = io.BytesIO()
    lossless = exact and max(image.size) <= SIDE
    gallery.smaller(image, SIDE).save(buffer, "webp", lossless=lossless, quality=QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode()


def _note(material: Material, shown: int, inputs: bool) -> str:
    seeds = material.cells["seed"].dropna().nunique()
    notes = [f"{shown} of {len(material.pairs)} pairs."] if shown < len(material.pairs) else []
    notes += [f"The first of {seeds} seeds."] if seeds > 1 else []
    notes += [] if inputs else [gallery.NO_INPUTS]
    return " ".join([*notes, f"At most {SIDE} pixels wide and high; many are compressed."])
