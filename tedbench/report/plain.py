"""The table of a report as plain text, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tedbench.report import text
from tedbench.report.building import Report, partial_lines, shown_lines


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


def _cited(row: Mapping[Any, Any]) -> str:
    marks = ("*" if not row["verified"] else "") + ("?" if not row["comparable"] else "")
    value = text.number(row["value"], int(row["decimals"]))
    return f"{value}{marks} ({text.clean(row['arxiv_id'] or row['paper'])})"


def _footnotes(report: Report) -> list[str]:
    lines = [*partial_lines(report), *shown_lines(report)]
    if not report.beside["verified"].all():
        lines.append("* quoted second-hand")
    if not report.beside["comparable"].all():
        lines.append("? not comparable: scale or data set of the published number unclear, or ours is a part of it")
    return lines
