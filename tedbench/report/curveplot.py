"""The curves as a figure: a row a metric; first against LPIPS, then over each kind of strength.

The second form is Fig. 9 of Imagic (arXiv 2210.09276): alignment and 1 − LPIPS over η.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tedbench.curves import Curve, Point
from tedbench.report.figure import STYLE, Drawn, forms, short, within
from tedbench.report.text import clean
from tedbench.types import MetricFacts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
"""Okabe and Ito's, told apart with every common colour blindness; yellow is left out, it does not show on white."""
MARKERS = "osD^vPXp*"
AGAINST = "lpips"
MOST_BESIDE = 9
"""Lines whose legend fits the place of a panel."""
TRADEOFF = {"η": (0.6, 0.8)}
"""By symbol of a strength: where its paper says that text and input are both kept best (Imagic, Fig. 9)."""
MOST_SYMBOLS = 4
"""Kinds of strength that get a column; the numbers of all are in curves.csv."""


@dataclass(frozen=True)
class Row:
    """One metric in the figure."""

    facts: MetricFacts
    flipped: bool = False
    """Whether 1 − value is drawn, so that up is closer to the input."""


@dataclass(frozen=True)
class Line:
    """One method in the figure."""

    label: str
    symbol: str
    curves: Mapping[str, Curve]
    """By metric identity."""

    @property
    def swept(self) -> bool:
        """Whether it has more than one strength."""
        return any(len(curve.points) > 1 for curve in self.curves.values())


def draw(lines: Sequence[Line], metrics: Mapping[str, MetricFacts]) -> Drawn:
    """The figure; the same input gives the same bytes.

    Args:
        lines: the methods, at least one of them swept.
        metrics: facts by identity, in the order of the rows.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE | {"axes.spines.left": True}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return forms(_figure(lines, metrics))


def _figure(lines: Sequence[Line], metrics: Mapping[str, MetricFacts]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows, against = _rows(metrics)
    symbols = list(dict.fromkeys(line.symbol for line in lines if line.swept))[:MOST_SYMBOLS]
    tradeoff = against is not None and len(rows) > 1
    columns = [*([None] if tradeoff else []), *symbols]
    size = (max(3.6 * len(columns), 6.0) + 0.6, 2.6 * len(rows) + 0.25 * math.ceil(len(lines) / 3) + 0.5)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    axes = figure.subplots(len(rows), len(columns), squeeze=False, sharey="row")
    for row, places in zip(rows, axes, strict=True):
        for symbol, ax in zip(columns, places, strict=True):
            if symbol is not None:
                _over_strength(ax, lines, row, symbol)
            elif against is not None and not row.flipped:
                _tradeoff(ax, lines, row, against)
            else:
                ax.set_axis_off()  # LPIPS against itself
        low, high = row.facts.low, row.facts.high
        places[0].set_ylim(within(places[0].get_ylim(), *((1 - high, 1 - low) if row.flipped else (low, high))))
        first = places[1] if tradeoff and row.flipped else places[0]
        first.set_ylabel(_name(row))
        first.tick_params(labelleft=True)
    legend(figure, dict(enumerate(lines)), axes[0, 0] if tradeoff and len(lines) <= MOST_BESIDE else None)
    return figure


def _rows(metrics: Mapping[str, MetricFacts]) -> tuple[list[Row], MetricFacts | None]:
    """The rows, and the LPIPS that all others are drawn against: the first there is; another one is a row like any."""
    against = next((facts for facts in metrics.values() if facts.facts.get("family") == AGAINST), None)
    others = [Row(facts) for facts in metrics.values() if facts is not against]
    return ([Row(against, flipped=True), *others] if against else others), against


def _tradeoff(ax: Axes, lines: Sequence[Line], row: Row, against: MetricFacts) -> None:
    for k, line in enumerate(lines):
        if row.facts.identity not in line.curves or against.identity not in line.curves:
            continue
        points = line.curves[row.facts.identity].points
        at = {point.strength: point.mean for point in line.curves[against.identity].points}
        xs = [at.get(point.strength, math.nan) if line.swept else next(iter(at.values())) for point in points]
        _line(ax, k, xs, points)
        if line.swept:
            _label_ends(ax, k, xs, points)
    ax.margins(0.09, 0.12)
    ax.set_xlabel(f"{short(clean(against.spec), 30)}  (left: closer to the input)")


def _over_strength(ax: Axes, lines: Sequence[Line], row: Row, symbol: str) -> None:
    for k, line in enumerate(lines):
        if line.swept and line.symbol == symbol and row.facts.identity in line.curves:
            points = line.curves[row.facts.identity].points
            _line(ax, k, [point.strength for point in points], [_flip(p) for p in points] if row.flipped else points)
    if symbol in TRADEOFF:
        ax.axvspan(*TRADEOFF[symbol], color="#f4ead2", linewidth=0, zorder=0)
    ax.set_xlabel(f"strength {clean(symbol)}".rstrip())


def _line(ax: Axes, k: int, xs: Sequence[float], points: Sequence[Point]) -> None:
    """Means with their band, or with a bar where there is only one; a mean that is infinite is left out."""
    style = look(k)
    ys = [point.mean if math.isfinite(point.mean) else math.nan for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    if len(points) == 1:
        ax.plot([xs[0], xs[0]], [low[0], high[0]], color=style["color"], linewidth=1.4, alpha=0.6)
    else:
        ax.fill_between(xs, low, high, color=style["color"], alpha=0.14, linewidth=0)
    ax.plot(xs, ys, **style)
    ax.grid(color="#e6e8ea", linewidth=0.6)
    ax.set_axisbelow(True)


def _label_ends(ax: Axes, k: int, xs: Sequence[float], points: Sequence[Point]) -> None:
    """The strength at both ends that can be drawn, outside of the line: methods often begin or end at one height."""
    drawn = [(x, p) for x, p in zip(xs, points, strict=True) if math.isfinite(x) and math.isfinite(p.mean)]
    if len(drawn) < 2:
        return
    rightmost = max(drawn[0][0], drawn[-1][0])
    for x, point in (drawn[0], drawn[-1]):
        right = x == rightmost
        ax.annotate(
            f"{point.strength:g}", (x, point.mean), xytext=(6 if right else -6, 0), textcoords="offset points",
            ha="left" if right else "right", va="center", fontsize=7.5, color=COLOURS[k % len(COLOURS)],
        )  # fmt: skip


def legend(figure: Figure, lines: Mapping[int, Line], empty: Axes | None = None) -> None:
    """By the number that gives a line its look; in the place that no panel needs, if there is one, else above."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=short(clean(line.label), 34), **look(k)) for k, line in lines.items()]
    if empty is not None:
        empty.legend(handles=handles, loc="center left", frameon=False, handlelength=3, labelspacing=0.7)
    else:
        figure.legend(handles=handles, loc="outside upper left", ncols=min(3, len(lines)), frameon=False)


def look(k: int) -> dict[str, Any]:
    """Colour and marker repeat after different numbers of lines, so that no two of 63 are alike."""
    style = "-" if k < len(COLOURS) else "--"
    return {
        "color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "linestyle": style, "markersize": 4.5,
        "linewidth": 1.5, "markeredgecolor": "white", "markeredgewidth": 0.5,
    }  # fmt: skip


def _flip(point: Point) -> Point:
    return replace(point, mean=1 - point.mean, low=1 - point.high, high=1 - point.low)


def _name(row: Row) -> str:
    spec = short(clean(row.facts.spec), 28)
    if row.flipped:
        return f"1 − {spec}"
    return f"{spec}  ({'higher' if row.facts.higher_is_better else 'lower'} is better)"
