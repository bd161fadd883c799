"""One report in five forms: HTML, Markdown, CSV, LaTeX, and plain text for the terminal."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedbench.report import (
    contact,
    curveplot,
    figure,
    gallery,
    provenance,
    published,
    ruled,
    shown,
    sweeps,
    text,
    wording,
)
from tedbench.report import table as tables
from tedbench.report.table import Material

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

    from tedbench.curves import Curve


@dataclass(frozen=True)
class Report:
    """Everything that is written, still as numbers."""

    material: Material
    """All that was measured."""
    at: Material
    """The same at the strength of each method that the tables show."""
    chosen: Mapping[shown.Key, shown.Shown]
    table: pd.DataFrame
    beside: pd.DataFrame
    ruled: pd.DataFrame
    """What each rule is worth; empty where none was named."""


def build(material: Material, rules: Sequence[str] = ()) -> Report:
    """Compute the tables of a report."""
    chosen = shown.choose(material)
    at = shown.only(material, chosen)
    table = tables.summary(at)
    keys = list(zip(table["run"], table["method"], strict=True))
    before = table.columns.get_loc("part")
    table.insert(before, "shown", [chosen[key].choice for key in keys])  # type: ignore[arg-type]
    table.insert(before, "strengths", [chosen[key].of for key in keys])  # type: ignore[arg-type]
    beside = published.compare(table, published.load(), material.dataset)
    return Report(material, at, chosen, table, beside, ruled.table(material, rules, chosen))


def files(report: Report, reference: Report | None = None) -> dict[str, bytes]:
    """File name → content; of a reference run over other questions, the table and the curves, in a place of its own."""
    material = report.material
    pictures, found = gallery.gather(material, sweeps.labels(material)), sweeps.measured(material)
    curves = _curves(material, found, "curves")
    figures = _two("scores", figure.draw(report.at, report.table, report.beside)) | curves
    figures |= {"gallery.png": contact.sheet(pictures.entries)} if pictures.entries else {}
    context = {**_context(report), "gallery": pictures, "swept": bool(curves), "curves_text": wording.CURVES}
    other = _curves(reference.material, sweeps.measured(reference.material), "reference") if reference else {}
    context["reference"] = _reference(reference, bool(other)) if reference else None
    figures |= other
    places = ("scores", "curves", "reference")
    embedded = {name: base64.b64encode(figures.get(f"{name}.svg", b"")).decode() for name in places}
    return {
        "index.html": _html_environment().get_template("page.html.j2").render(**context, svg=embedded).encode(),
        "report.md": _markdown_environment().get_template("report.md.j2").render(**context).encode(),
        "curves.csv": sweeps.frame(material, found).to_csv(index=False, lineterminator="\n").encode(),
        "table.csv": report.table.to_csv(index=False, lineterminator="\n").encode(),
        "table.tex": latex_table(report).encode(),
        **({"rules.csv": report.ruled.to_csv(index=False, lineterminator="\n").encode()} if len(report.ruled) else {}),
        **figures,
    }


def _curves(material: Material, found: Sequence[Curve], name: str) -> dict[str, bytes]:
    """The curves in both forms; nothing where no method was swept."""
    swept = sweeps.lines(material, found, sweeps.labels(material))
    return _two(name, curveplot.draw(swept, material.metrics)) if swept else {}


def _two(name: str, drawn: tuple[bytes, bytes]) -> dict[str, bytes]:
    return {f"{name}.png": drawn[0], f"{name}.svg": drawn[1]}


def latex_table(report: Report) -> str:
    """The table as a tabular; needs the package booktabs and a UTF-8 engine."""
    head = ["Method", "Metric", "Mean", r"95\% interval", "Median", "Pairs", "Failed", "Missing", "Photos"]
    body = []
    for row in report.table.to_dict("records"):
        arrow = r"$\uparrow$" if row["higher_is_better"] else r"$\downarrow$"
        label = text.latex(text.setting_label(row, report.table).replace(" · ", ", "))
        numbers = [text.number(row["mean"]), text.interval(row), text.number(row["median"])]
        counts = [f"{row['n']}/{row['asked']}", row["failed"], row["missing"], row["images"]]
        cells = [label, f"{text.latex(row['metric'])} {arrow}"]
        body.append(cells + [text.latex(str(cell).replace("−", "-")) for cell in (*numbers, *counts)])
    notes = [f"% {line}" for line in (*_partial(report), *_shown(report), wording.HOW, wording.WARNING)]
    # {} keeps a row that begins with [ from being read as an argument of \\.
    rows = [" & ".join(["{}" + cells[0], *cells[1:]]) + r" \\" for cells in body]
    lines = [r"\begin{tabular}{llrrrrrrr}", r"\toprule", " & ".join(head) + r" \\", r"\midrule", *rows]
    return "\n".join([*(text.clean(note) for note in notes), *lines, r"\bottomrule", r"\end{tabular}", ""])


def terminal_table(report: Report) -> str:
    """The table as plain aligned text, with published values beside ours."""
    beside = report.beside
    head = ["method", "metric", "mean", "95% interval", "median", "pairs", "published"]
    ambiguous = set(report.table.groupby("spec")["metric"].nunique().loc[lambda n: n > 1].index)
    rows = []
    for row in report.table.to_dict("records"):
        same = beside[(beside["run"] == row["run"]) & (beside["method"] == row["method"])]
        same = same[same["metric"] == row["metric"]].drop_duplicates("published_row")
        metric = row["metric"] if row["spec"] in ambiguous else row["spec"]
        numbers = [text.number(row["mean"]), text.interval(row), text.number(row["median"])]
        cited = ", ".join(_cited(one) for one in same.to_dict("records"))
        label = text.setting_label(row, report.table)
        rows.append([label, text.clean(metric), *numbers, f"{row['n']}/{row['asked']}", cited])
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    align = [str.ljust, str.ljust, str.rjust, str.rjust, str.rjust, str.rjust, str.ljust]
    lines = ["  ".join(a(c, w) for a, c, w in zip(align, row, widths, strict=True)).rstrip() for row in [head, *rows]]
    return "\n".join([*lines, *_footnotes(report)])


def _cited(row: Mapping[str, Any]) -> str:
    marks = ("*" if not row["verified"] else "") + ("?" if not row["comparable"] else "")
    value = text.number(row["value"], int(row["decimals"]))
    return f"{value}{marks} ({text.clean(row['arxiv_id'] or row['paper'])})"


def _footnotes(report: Report) -> list[str]:
    lines = [*_partial(report), *_shown(report)]
    if not report.beside["verified"].all():
        lines.append("* quoted second-hand")
    if not report.beside["comparable"].all():
        lines.append("? not comparable: scale or data set of the published number unclear, or ours is a part of it")
    return lines


def _shown(report: Report) -> list[str]:
    """A line on each method that was swept: which of its strengths the table shows."""
    named = sweeps.labels(report.material)
    return [f"{named[key]}: shown at {one.said} strengths" for key, one in report.chosen.items() if one.of > 1]


def _partial(report: Report) -> list[str]:
    """Lines on what the table does not rest on: pairs not asked, pairs without a score, images that failed."""
    part = report.material.dataset.part
    lines: dict[str, None] = {f"partial: {part} of {report.material.dataset.name}": None} if part else {}
    short = report.table[report.table["n"] < report.table["asked"]]
    for row in short.to_dict("records"):
        label = text.setting_label(row, report.table)
        lines[f"{label}: partial: {row['n']} of {row['asked']} pairs"] = None
    for row in report.table[report.table["failed"] > 0].to_dict("records"):
        label, images = text.setting_label(row, report.table), row["asked"] * max(row["seeds"], 1)
        lines[f"{label}: {row['failed']} of {images} images failed"] = None
    return list(lines)


def _context(report: Report) -> dict[str, Any]:
    material, table, beside = report.material, report.table, report.beside
    info, scores = material.dataset, _scores(report, "scores")
    legend = wording.LEGEND + (wording.REPRODUCED if (beside["verdict"] == published.REPRODUCED).any() else "")
    order = ["family", "published_row", "method", "metric", "strength"]
    return {
        "title": f"Editing scores on {info.name}", "info": info, "asked": len(material.pairs),
        "photos": int(material.pairs["image_id"].nunique()), "methods": provenance.caption_lines(material),
        "partial": _partial(report), "warning": wording.WARNING,
        "how": wording.HOW + (wording.CLIP_HOW if scores["clip"] else ""), "legend": legend,
        "figure_text": wording.FIGURE, "scores": scores, "rules": _ruled(report), "rules_text": wording.RULES,
        "beside": _labelled(beside.sort_values(order, kind="stable"), table),
        "categories": _labelled(tables.by_category(report.at), table),
        "failures": _labelled(tables.failures(material), table), "data": provenance.data_lines(material),
        "metrics": [{"identity": key, "lines": provenance.metric_lines(material, key)} for key in material.metrics],
        "runs": [{"name": name, "lines": provenance.run_lines(material, name)} for name in material.runs],
    }  # fmt: skip


def _scores(report: Report, place: str) -> dict[str, Any]:
    """What the table of scores shows, and the heading that names it."""
    table = report.table
    return {
        "place": place, "rows": _rows(report), "clip": bool(table["mean_x100"].notna().any()),
        "many_runs": table["run"].nunique() > 1, "strengths": bool(table["strength"].notna().any()),
        "unscored": bool(table["unscored"].any()),
    }  # fmt: skip


def _ruled(report: Report) -> list[dict[str, Any]]:
    named = sweeps.labels(report.material)
    rows = [{str(k): v for k, v in row.items()} for row in report.ruled.to_dict("records")]
    return [
        {**row, "label": named[row["run"], row["method"]], "marks": _marks(row),
         "gained": {"mean": row["gain"], "low": row["gain_low"], "high": row["gain_high"]}}
        for row in rows
    ]  # fmt: skip


def _marks(row: Mapping[str, Any]) -> str:
    marks = ["upper bound: it knows the outcome"] if row["upper_bound"] else []
    return "; ".join(marks + ([f"{row['shares_model']} both chooses and reports"] if row["shares_model"] else []))


def _reference(report: Report, swept: bool) -> dict[str, Any]:
    """A run over other questions: its table, and whether it has curves."""
    material, pairs, seeds = report.material, report.material.pairs, report.material.cells["seed"].nunique()
    said = (
        f"{', '.join(material.runs)} was made before, on {material.dataset.name}: {len(pairs)} pairs on "
        f"{pairs['image_id'].nunique()} photos, {seeds} seed{'s' * (seeds > 1)}. It is another list of questions "
        "than the one above: the two tables stand beside each other and are not compared."
    )
    return {"said": said, "scores": _scores(report, "reference"), "swept": swept, "partial": _partial(report)}


def _rows(report: Report) -> list[dict[str, Any]]:
    rows = [{str(k): v for k, v in row.items()} for row in report.table.to_dict("records")]
    return [{**row, "said": report.chosen[row["run"], row["method"]].said} for row in rows]


def _labelled(frame: pd.DataFrame, table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
    return [{**row, "label": text.setting_label(row, table)} for row in rows]


def _html_environment() -> jinja2.Environment:
    import jinja2

    return _with_filters(jinja2.Environment(autoescape=True, finalize=_one_line, **_options()))


def _one_line(value: object) -> object:
    return text.clean(value) if type(value) is str else value  # not what is marked as HTML already


def _markdown_environment() -> jinja2.Environment:
    import jinja2

    # Every expression passes through the Markdown escape, as every one of the page passes through HTML's.
    return _with_filters(jinja2.Environment(autoescape=False, finalize=text.markdown, **_options()))


def _options() -> dict[str, Any]:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return {"loader": loader, "undefined": jinja2.StrictUndefined, "trim_blocks": True, "keep_trailing_newline": True}


def _with_filters(environment: jinja2.Environment) -> jinja2.Environment:
    named = {"number": text.number, "signed": text.signed, "interval": text.interval, "strength": _strength}
    environment.filters.update(named)
    return environment


def _strength(value: Any) -> str:
    return text.strength(math.nan if value is None else value)
