"""Tables to paste into a paper: tabulars for the package booktabs and a UTF-8 engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tedbench.report import board, text, wording
from tedbench.report.building import Report, partial_lines, shown_lines


def scores(report: Report) -> str:
    """The table of scores: a row a method and metric."""
    head = ["Method", "Metric", "Mean", r"95\% interval", "Median", "Pairs", "Failed", "Missing", "Photos"]
    body = []
    for row in report.table.to_dict("records"):
        label = text.latex(text.setting_label(row, report.table).replace(" · ", ", "))
        numbers = [text.number(row["mean"]), text.interval(row), text.number(row["median"])]
        counts = [f"{row['n']}/{row['asked']}", row["failed"], row["missing"], row["images"]]
        metric = f"{text.latex(row['metric'])} {_arrow(row['higher_is_better'])}"
        body.append([label, metric, *map(_number, (*numbers, *counts))])
    return _tabular(
        head, "llrrrrrrr", body, [*partial_lines(report), *shown_lines(report), wording.HOW, wording.WARNING]
    )


def leaderboard(report: Report) -> str:
    """A row a method, a column a metric, each mean with half of its interval's width where that is symmetric."""
    names = board.column_names(report.material)
    arrows = [_arrow(facts.higher_is_better) for facts in report.material.metrics.values()]
    head = [
        "Method",
        "Strength",
        *(f"{text.latex(name)} {arrow}" for name, arrow in zip(names.values(), arrows, strict=True)),
    ]
    body = []
    for row in report.board:
        found = [_cell(row["scores"].get(identity)) for identity in names]
        body.append([text.latex(row["label"].replace(" · ", ", ")), text.latex(row["said"]), *found])
    notes = [*shown_lines(report), wording.HOW, wording.WARNING]
    return _tabular(head, "ll" + "r" * len(names), body, notes)


def differences(report: Report) -> str:
    """Every comparison with the reference: primary ones first, with their p adjusted by Holm."""
    rows = report.compared.differences
    head = ["Method", "Metric", "At", "Difference", r"95\% interval", "$p$", "$p$ (Holm)", "Pairs", "Role"]
    body = []
    for row in rows.sort_values("role", ascending=False, kind="stable").to_dict("records"):
        at = f"LPIPS {text.number(row['budget'])}" if row["at"] == "budget" else "strength shown"
        shown = {"mean": row["difference"], "low": row["low"], "high": row["high"]}
        label = report.labels[str(row["run"]), str(row["method"])].replace(" · ", ", ")
        numbers = [
            text.signed(row["difference"]),
            text.interval(shown),
            text.number(row["p"]),
            text.number(row["p_holm"]),
        ]
        cells = [text.latex(label), f"{text.latex(row['spec'])} {_arrow(row['higher_is_better'])}", at]
        body.append([*cells, *map(_number, numbers), str(row["n"]), row["role"]])
    notes = [f"differences to {report.reference}"] if report.reference else []
    return _tabular(head, "lllrrrrrl", body, [*notes, wording.COMPARED])


def _tabular(head: Sequence[str], align: str, body: Sequence[Sequence[Any]], notes: Sequence[str]) -> str:
    # {} keeps a row that begins with [ from being read as an argument of \\.
    rows = [" & ".join(["{}" + cells[0], *map(str, cells[1:])]) + r" \\" for cells in body]
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule", *rows]
    return "\n".join([*(f"% {text.clean(note)}" for note in notes), *lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "--"
    return f"{_number(text.number(row['mean']))} {{\\scriptsize {_number(text.interval(row))}}}"


def _number(value: object) -> str:
    return text.latex(str(value).replace("−", "-"))


def _arrow(higher_is_better: object) -> str:
    return r"$\uparrow$" if higher_is_better else r"$\downarrow$"
