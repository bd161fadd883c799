"""The primary metric against LPIPS once more, a panel a category or a seed: whether all of them say the same."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tedbench.report.curveplot import Line, legend, look
from tedbench.report.figure import STYLE, Drawn, forms, short, within
from tedbench.report.text import clean
from tedbench.types import MetricFacts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 12
"""Panels; a data set with more categories has the rest in curves_by_category.csv."""
ACROSS = 3


def draw(panels: Mapping[str, Sequence[Line]], facts: MetricFacts, against: MetricFacts | None) -> Drawn:
    """The figure; the same input gives the same bytes.

    Args:
        panels: the methods by title of the panel, at least one; the first `MOST` are drawn, and of each the methods
            with a curve.
        facts: the metric to draw.
        against: the horizontal axis, by the strength where None.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE | {"axes.spines.left": True}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return forms(_figure(dict(list(panels.items())[:MOST]), facts, against))


def _figure(panels: Mapping[str, Sequence[Line]], facts: MetricFacts, against: MetricFacts | None) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = math.ceil(len(panels) / ACROSS)
    swept = {k: line for lines in panels.values() for k, line in enumerate(lines) if line.swept}
    size = (3.2 * ACROSS, 2.5 * rows + 0.25 * math.ceil(len(swept) / 3) + 0.4)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    axes = figure.subplots(rows, ACROSS, squeeze=False, sharex=True, sharey=True).ravel()
    for ax, (title, lines) in zip(axes, panels.items(), strict=False):
        ax.set_title(short(clean(title), 30), loc="left", fontsize=9.5)
        for k, line in enumerate(lines):
            if line.swept:
                _line(ax, k, line, facts, against)
        ax.grid(color="#e6e8ea", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(labelbottom=True)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    axes[0].set_ylim(within(axes[0].get_ylim(), facts.low, facts.high))
    better = "higher" if facts.higher_is_better else "lower"
    figure.supylabel(f"{short(clean(facts.spec), 30)}  ({better} is better)", fontsize=9)
    figure.supxlabel(short(clean(against.spec), 30) if against else "strength", fontsize=9)
    legend(figure, swept)
    return figure


def _line(ax: Axes, k: int, line: Line, facts: MetricFacts, against: MetricFacts | None) -> None:
    curve = line.curves.get(facts.identity)
    far = line.curves.get(against.identity) if against else None
    if curve is None or (against and far is None):
        return
    spent = {point.strength: point.mean for point in far.points} if far else {}
    xs = [spent.get(point.strength, math.nan) if far else point.strength for point in curve.points]
    ys = [point.mean if math.isfinite(point.mean) else math.nan for point in curve.points]
    low, high = [point.low for point in curve.points], [point.high for point in curve.points]
    ax.fill_between(xs, low, high, color=look(k)["color"], alpha=0.12, linewidth=0)
    ax.plot(xs, ys, **{**look(k), "markersize": 3.2})
