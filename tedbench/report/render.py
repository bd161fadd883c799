"""A report in all its forms: one page, Markdown, CSV, LaTeX, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tedbench.report import (
    album,
    board,
    contact,
    context,
    curveplot,
    figure,
    gallery,
    latex,
    page,
    splitplot,
    sweeps,
    text,
)
from tedbench.report import table as tables
from tedbench.report.building import Report

if TYPE_CHECKING:
    import pandas as pd

    from tedbench.curves import Curve
    from tedbench.report.curveplot import Line

SPLITS: tuple[sweeps.By, ...] = ("category", "seed")


def files(report: Report, reference: Report | None = None) -> dict[str, bytes]:
    """File name → content; of a reference run over other questions, the table and the curves, in a place of its own."""
    there = gallery.source(report.material)
    pictures = gallery.gather(report.material, report.labels, there=there)
    captions = list(dict.fromkeys(filter(None, (report.compared.distance, report.compared.primary))))
    shelf = album.gather(report.material, report.chosen, report.labels, report.values, captions, there)
    split = {name: _split(report, name) for name in SPLITS}
    drawn = {"scores": figure.draw(report.at, report.table, report.beside), "curves": _curves(report, report.curves)}
    drawn |= {f"curves_by_{name}": _panels(report, found) for name, found in split.items()}
    if reference:
        drawn["reference"] = _curves(reference, reference.curves)
    figures = {f"{name}.{kind}": content for name, forms in drawn.items() for kind, content in forms.items()}
    told = context.of(report, reference, pictures, shelf, {name for name, forms in drawn.items() if forms})
    by = {
        f"curves_by_{name}.csv": as_csv(sweeps.split_frame(report.material, found, name))
        for name, found in split.items()
        if found
    }
    return {
        "index.html": page.html(told, {name: forms for name, forms in drawn.items() if forms}),
        "report.md": page.markdown(told),
        **_tables(report), "curves.csv": as_csv(sweeps.frame(report.material, report.curves)), **by,
        "table.tex": latex.scores(report).encode(), "leaderboard.tex": latex.leaderboard(report).encode(),
        **({"differences.tex": latex.differences(report).encode()} if len(report.compared.differences) else {}),
        **({"gallery.png": contact.sheet(pictures.entries)} if pictures.entries else {}), **figures,
    }  # fmt: skip


def _tables(report: Report) -> dict[str, bytes]:
    """The tables that have a row."""
    found = {
        "table": report.table, "leaderboard": board.frame(report.board, report.material, report.compared),
        "numbers": report.compared.numbers, "differences": report.compared.differences, "design": report.worth,
        "categories": tables.by_category(report.at), "cost": report.cost, "rules": report.ruled,
        "failures": tables.failures(report.material),
    }  # fmt: skip
    return {f"{name}.csv": as_csv(frame) for name, frame in found.items() if len(frame)}


def as_csv(frame: pd.DataFrame) -> bytes:
    """As CSV; text that a spreadsheet would take for a formula stands behind an apostrophe."""
    import pandas as pd

    safe = {
        name: [text.cell(value) for value in frame[name]]
        for name in frame.columns
        if not pd.api.types.is_numeric_dtype(frame[name])
    }
    return frame.assign(**safe).to_csv(index=False, lineterminator="\n").encode()


def _curves(report: Report, found: Sequence[Curve]) -> figure.Drawn:
    """The curves in all forms; nothing where no method was swept."""
    swept = sweeps.lines(report.material, found, report.labels)
    return curveplot.draw(swept, report.material.metrics) if swept else {}


def _split(report: Report, by: sweeps.By) -> dict[str, tuple[Curve, ...]]:
    """The curves of each category or seed; nothing where there is only one, or no method was swept."""
    material = report.material
    if not any(one.of > 1 for one in report.chosen.values()) or material.scores[by].nunique() < 2:
        return {}
    return sweeps.split(material, by)


def _panels(report: Report, found: Mapping[str, Sequence[Curve]]) -> figure.Drawn:
    material, compared = report.material, report.compared
    every: dict[str, list[Line]] = {name: sweeps.lines(material, mine, report.labels) for name, mine in found.items()}
    panels = {name: lines for name, lines in every.items() if lines}
    if not panels:
        return {}
    against = material.metrics[compared.distance] if compared.distance not in ("", compared.primary) else None
    return splitplot.draw(panels, material.metrics[compared.primary], against)
