"""Which strength of a sweep the tables show: a mean over strengths would be of no method anybody runs.

The method's default where the sweep holds it, else the middle of the sweep (the lower of two).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tedbench.report.table import Material

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, str]
"""Run and method."""


@dataclass(frozen=True)
class Shown:
    """What the tables show of a method."""

    strength: float
    """nan where none was stated."""
    choice: str
    """`default`, `middle`, or `only`."""
    of: int
    """Strengths in the sweep."""
    symbol: str
    """`η`, `t0`; empty where it is not recorded."""

    @property
    def said(self) -> str:
        """`η 0.7, default of 11`; only the strength where there is one, nothing where there is none."""
        if math.isnan(self.strength):
            return ""
        number = f"{self.strength:g}" if self.choice == "only" else f"{self.symbol} {self.strength:g}".strip()
        return number if self.choice == "only" else f"{number}, {self.choice} of {self.of}"


def choose(material: Material) -> dict[Key, Shown]:
    """What is shown of each run and method."""
    chosen = {}
    for key, cells in material.cells.groupby(["run", "method"], sort=False):
        run, method = str(key[0]), str(key[1])
        chosen[run, method] = _one(cells["strength"].dropna().unique().tolist(), knob(material, run, method))
    return chosen


def only(material: Material, chosen: Mapping[Key, Shown]) -> Material:
    """The material with each method at the strength that is shown."""
    return replace(material, cells=_at(material.cells, chosen), scores=_at(material.scores, chosen))


def knob(material: Material, run: str, method: str) -> Mapping[str, Any]:
    """What the run recorded of a method's strength; nothing for images made elsewhere, and in older runs."""
    return material.runs[run].knobs.get(method, {})


def _one(strengths: Sequence[float], knob: Mapping[str, Any]) -> Shown:
    ordered, symbol = sorted(strengths), str(knob.get("symbol", ""))
    if len(ordered) < 2:
        return Shown(ordered[0] if ordered else math.nan, "only", len(ordered), symbol)
    if knob.get("default") in ordered:
        return Shown(float(knob["default"]), "default", len(ordered), symbol)
    return Shown(ordered[(len(ordered) - 1) // 2], "middle", len(ordered), symbol)


def _at(rows: pd.DataFrame, chosen: Mapping[Key, Shown]) -> pd.DataFrame:
    keys = zip(rows["run"], rows["method"], rows["strength"], strict=True)
    wanted = {key: one.strength for key, one in chosen.items() if one.of > 1}
    return rows[[wanted.get((str(run), str(method)), strength) == strength or (str(run), str(method)) not in wanted
                 for run, method, strength in keys]]  # fmt: skip
