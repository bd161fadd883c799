"""The figure of a study, after Imagic's figure 8: for each pair of methods, the share of answers preferring each."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from tedbench.report.figure import STYLE, Drawn, forms, short
from tedbench.report.text import clean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIRST, TIE, SECOND, INK = "#2f6690", "#d5d9de", "#c98a3b", "#1d2329"
"""Colours that people who see no red or no green tell apart, and that differ in grey."""
HEIGHT = 0.62


def draw(rates: pd.DataFrame, wordings: dict[str, str]) -> Drawn:
    """The figure; the same input gives the same bytes.

    Args:
        rates: of `analysing.rates`.
        wordings: aspect → what was asked.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return forms(_figure(rates, wordings))


def _figure(rates: pd.DataFrame, wordings: dict[str, str]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    groups = {str(name): mine for name, mine in rates.groupby("aspect", sort=False)}
    heights = [0.55 * len(mine) + 1.1 for mine in groups.values()]
    figure = Figure(figsize=(8, sum(heights)), layout=ConstrainedLayoutEngine(hspace=0.05, h_pad=0.08))
    axes = figure.subplots(len(groups), squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for ax, (aspect, mine) in zip(axes, groups.items(), strict=True):
        for at, row in enumerate(mine.to_dict("records")):
            _bar(ax, at, row)
        _frame(ax, len(mine), wordings.get(aspect, aspect))
    return figure


def _bar(ax: Axes, at: int, row: dict[Any, Any]) -> None:
    """Shares from left to right, and the rate with its interval; dashed where nobody answered."""
    if not row["n"]:
        ax.text(0.5, at, "no answers", ha="center", va="center", color=INK)
    else:
        tie = row["share_same"] + row["share_neither"]
        left = 0.0
        for share, colour in ((row["share_first"], FIRST), (tie, TIE), (row["share_second"], SECOND)):
            ax.barh(at, share, left=left, height=HEIGHT, color=colour, linewidth=0)
            left += share
        _rate(ax, at, row)
    ax.text(-0.015, at, short(clean(row["first"]), 24), ha="right", va="center", fontweight="bold", color=FIRST)
    ax.text(1.015, at, short(clean(row["second"]), 24), ha="left", va="center", fontweight="bold", color="#8a5a1c")


def _rate(ax: Axes, at: int, row: dict[Any, Any]) -> None:
    if not math.isnan(row["low"]):
        ends = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        ax.errorbar(row["mean"], at, xerr=ends, fmt="o", color=INK, ecolor=INK, capsize=4, markersize=4,
                    elinewidth=1.4, markerfacecolor="white")  # fmt: skip
    else:
        ax.plot(row["mean"], at, "o", color=INK, markersize=4, markerfacecolor="white")
    told = f"{100 * row['mean']:.0f}%" + (" *" if row["primary"] else "")
    ax.text(0.012, at, told, ha="left", va="center", color="white", fontweight="bold", fontsize=8.5)


def _frame(ax: Axes, rows: int, wording: str) -> None:
    ax.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set(xlim=(0, 1), ylim=(rows - 0.5, -0.6), yticks=[])
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    ax.set_title(f"“{short(clean(wording), 80)}”", loc="left", fontsize=9.5)
