"""The figure: for each metric a strip of per-pair values, the mean with its interval, and what papers print."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from tedbench.report.table import SETTING, Material, pair_values
from tedbench.report.text import clean, setting_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOT, MEAN, LINE = "#7d8aa0", "#16324f", "#b4472e"
Drawn = dict[str, bytes]
"""A figure by kind: png, svg and pdf."""
STYLE: Any = {
    "svg.hashsalt": "tedbench", "font.family": "DejaVu Sans", "font.size": 9.0, "text.parse_math": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "xtick.color": "#444444",
    "axes.edgecolor": "#999999",
}  # fmt: skip


def draw(material: Material, table: pd.DataFrame, beside: pd.DataFrame) -> Drawn:
    """The figure; the same input gives the same bytes.

    Args:
        material: what was measured.
        table: `table.summary(material)`.
        beside: `published.compare(…)`; only numbers in a known scale and on this data set are drawn.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return forms(_figure(material, table, beside))


def _figure(material: Material, table: pd.DataFrame, beside: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    identities = list(dict.fromkeys(table["metric"]))
    rows = [int((table["metric"] == identity).sum()) for identity in identities]
    heights = [0.42 * n + 1.25 for n in rows]
    figure = Figure(figsize=(8, sum(heights)), layout=ConstrainedLayoutEngine(hspace=0.04, h_pad=0.08))
    axes = figure.subplots(len(rows), squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    values = pair_values(material)
    for ax, identity in zip(axes, identities, strict=True):
        mine = table[table["metric"] == identity]
        _strips(ax, mine, values[values["metric"] == identity])
        _published(ax, beside[(beside["metric"] == identity) & beside["comparable"] & (beside["scale"] == "1")])
        arrow = "higher is better" if material.metrics[identity].higher_is_better else "lower is better"
        ax.set_title(f"{short(clean(identity), 60)}   ({arrow})", loc="left", fontsize=9.5, pad=20)
        ax.set_yticks(range(len(mine)), [short(setting_label(row, table), 34) for row in mine.to_dict("records")])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(mine) - 0.5, -0.5)
        facts = material.metrics[identity]
        ax.set_xlim(within(ax.get_xlim(), facts.low, facts.high))
    return figure


def _strips(ax: Axes, table: pd.DataFrame, values: pd.DataFrame) -> None:
    for y, row in enumerate(table.to_dict("records")):
        mine = values
        for key in SETTING:
            mine = mine[mine[key].isna()] if _is_nan(row[key]) else mine[mine[key] == row[key]]
        x = mine["value"].to_numpy(dtype=np.float64)
        x = x[np.isfinite(x)]
        jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(x))
        ax.plot(x, y + jitter, "o", color=DOT, alpha=0.6, markersize=3, markeredgewidth=0)
        if math.isfinite(row["mean"]):
            if math.isfinite(row["low"]):
                ax.plot([row["low"], row["high"]], [y, y], color=MEAN, linewidth=2.2, solid_capstyle="butt")
            ax.plot([row["mean"]], [y], "D", color=MEAN, markersize=5.5, markeredgecolor="white")


def _published(ax: Axes, beside: pd.DataFrame) -> None:
    """Lines at the published values, each labelled once; labels of near values share two heights."""
    once = beside.drop_duplicates(["value", "published_row"]).sort_values("value")
    middle = sum(ax.get_xlim()) / 2
    for k, row in enumerate(once.to_dict("records")):
        style = "-" if row["verified"] else ":"
        ax.axvline(row["value"], color=LINE, linestyle=style, linewidth=1.1, zorder=0.5)
        digits = int(row["decimals"])
        label = f"{row['value']:.{digits}f} {row['arxiv_id'] or row['paper'][:12]}{'' if row['verified'] else ' *'}"
        left = row["value"] < middle  # labels grow towards the middle, so that none leaves the figure
        ax.annotate(
            clean(label), (row["value"], 1), xycoords=("data", "axes fraction"),
            xytext=(2 if left else -2, 2 + 9 * (k % 2)), textcoords="offset points", ha="left" if left else "right",
            fontsize=7, color=LINE, annotation_clip=False,
        )  # fmt: skip


def within(limits: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    """An axis cut to what a metric can be: intervals of few pairs reach far beyond it, and would flatten the rest."""
    first, last = max(limits[0], low), min(limits[1], high)
    margin = 0.04 * (last - first)
    return max(limits[0], first - margin), min(limits[1], last + margin)


def forms(figure: Figure) -> Drawn:
    """The figure in all its forms, on white, without the time of day."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    options: dict[str, dict[str, Any]] = {
        "png": {"dpi": 120}, "svg": {"metadata": {"Date": None}}, "pdf": {"metadata": {"CreationDate": None}},
    }  # fmt: skip
    drawn = {}
    for kind, option in options.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, facecolor="white", **option)
        drawn[kind] = buffer.getvalue()
    return drawn


def short(label: str, limit: int) -> str:
    """Cut in the middle: a label's end holds its strength."""
    return label if len(label) <= limit else f"{label[: limit // 2]}…{label[-limit // 2 + 1 :]}"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
