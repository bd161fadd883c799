"""What a report says, as its templates read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from tedbench.report import board, provenance, published, text, wording
from tedbench.report import table as tables
from tedbench.report.album import Album
from tedbench.report.building import Report, partial_lines
from tedbench.report.compared import PRIMARY
from tedbench.report.gallery import Gallery

if TYPE_CHECKING:
    import pandas as pd

FIGURES = {"curves", "curves_by_category", "curves_by_seed", "reference"}


def of(
    report: Report, reference: Report | None, pictures: Gallery, album: Album, drawn: Collection[str]
) -> dict[str, Any]:
    """Everything the templates need.

    Args:
        report: the numbers.
        reference: of a run over other questions.
        pictures: for the sheet of Markdown.
        album: for the page.
        drawn: names of the figures that there are.
    """
    material, table, beside = report.material, report.table, report.beside
    info, scores = material.dataset, _scores(report, "scores")
    legend = wording.LEGEND + (wording.REPRODUCED if (beside["verdict"] == published.REPRODUCED).any() else "")
    order = ["family", "published_row", "method", "metric", "strength"]
    swept = {name: name in drawn for name in FIGURES}
    return {
        "title": f"Editing scores on {info.name}", "info": info, "asked": len(material.pairs),
        "photos": int(material.pairs["image_id"].nunique()), "methods": provenance.caption_lines(material),
        "partial": partial_lines(report), "warning": wording.WARNING, "cautions": report.cautions,
        "how": wording.HOW + (wording.CLIP_HOW if scores["clip"] else ""), "legend": legend,
        "figure_text": wording.FIGURE, "scores": scores, "rules": _ruled(report), "rules_text": wording.RULES,
        "beside": _labelled(beside.sort_values(order, kind="stable"), table),
        "categories": _labelled(tables.by_category(report.at), table),
        "failures": _labelled(tables.failures(material), table), "data_lines": provenance.data_lines(material),
        "metrics": [{"identity": key, "lines": provenance.metric_lines(material, key)} for key in material.metrics],
        "runs": [{"name": name, "lines": provenance.run_lines(material, name)} for name in material.runs],
        "board": _board(report), "compared": _compared(report), "costs": _named(report, report.cost),
        "worth": _named(report, report.worth), "cost_text": wording.COST, "worth_text": wording.WORTH,
        "reference": _reference(reference, swept["reference"]) if reference else None,
        "swept": swept, "curves_text": wording.CURVES, "split_text": wording.SPLIT, "gallery": pictures, "album": album,
    }  # fmt: skip


def _scores(report: Report, place: str) -> dict[str, Any]:
    """What the table of scores shows, and the heading that names it."""
    table = report.table
    rows = tables.records(table)
    return {
        "place": place, "rows": [{**row, "said": report.chosen[row["run"], row["method"]].said} for row in rows],
        "clip": bool(table["mean_x100"].notna().any()), "many_runs": table["run"].nunique() > 1,
        "strengths": bool(table["strength"].notna().any()), "unscored": bool(table["unscored"].any()),
    }  # fmt: skip


def _board(report: Report) -> dict[str, Any]:
    """The leaderboard, and which of its columns hold anything."""
    names, compared = board.column_names(report.material), report.compared
    columns = [
        {"identity": key, "name": name, "higher": report.material.metrics[key].higher_is_better}
        for key, name in sorted(names.items(), key=lambda one: one[0] != compared.primary)
    ]
    return {
        "rows": report.board, "columns": columns, "primary": names[compared.primary],
        "higher": report.material.metrics[compared.primary].higher_is_better, "budget": compared.budget,
        "matched": bool((compared.numbers["metric"] == compared.primary).any()), "reference": report.reference,
        "said": any(row["said"] for row in report.board), "text": wording.board(report),
        "timed": bool(report.cost["edit_seconds"].notna().any()),
        "failed": any(row["failed"] for row in report.board),
    }  # fmt: skip


def _compared(report: Report) -> dict[str, Any]:
    """Numbers of curves and differences, the primary metric first."""
    compared, swept = report.compared, {key for key, one in report.chosen.items() if one.of > 1}
    numbers = [
        {**row, "is_primary": row["metric"] == compared.primary,
         **{name: {"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
            for name in ("matched", "area", "front")}}
        for row in _named(report, compared.numbers)
        if (row["run"], row["method"]) in swept or (row["metric"] == compared.primary and row["front"] > 0)
    ]  # fmt: skip
    differences = [
        {**row, "ends": {"mean": row["difference"], "low": row["low"], "high": row["high"]}}
        for row in _named(report, compared.differences)
        if row["n"] or row["role"] == PRIMARY
    ]
    return {
        "numbers": sorted(numbers, key=lambda row: not row["is_primary"]), "reference": report.reference,
        "differences": sorted(differences, key=lambda row: row["role"] != PRIMARY), "budget": compared.budget,
        "text": wording.COMPARED, "numbers_text": wording.NUMBERS,
        "said": wording.primary(report) if compared.reference else "",
    }  # fmt: skip


def _ruled(report: Report) -> list[dict[str, Any]]:
    return [
        {**row, "marks": _marks(row),
         "gained": {"mean": row["gain"], "low": row["gain_low"], "high": row["gain_high"]}}
        for row in _named(report, report.ruled)
    ]  # fmt: skip


def _marks(row: Mapping[str, Any]) -> str:
    marks = ["upper bound: it knows the outcome"] if row["upper_bound"] else []
    marks += [f"best of {row['best_of']} seeds by {row['seed_by']}"] if row["best_of"] > 1 else []
    return "; ".join(marks + ([f"{row['shares_model']} both chooses and reports"] if row["shares_model"] else []))


def _reference(report: Report, swept: bool) -> dict[str, Any]:
    """A run over other questions: its table, and whether it has curves."""
    material, pairs, seeds = report.material, report.material.pairs, report.material.cells["seed"].nunique()
    counted = f"{seeds} seed{'s' * (seeds > 1)}" if seeds else "seeds not stated"
    said = (
        f"{', '.join(material.runs)} was made before, on {material.dataset.name}: {len(pairs)} pairs on "
        f"{pairs['image_id'].nunique()} photos, {counted}. It is another list of questions "
        "than the one above: the two tables stand beside each other and are not compared."
    )
    return {"said": said, "scores": _scores(report, "reference"), "swept": swept, "partial": partial_lines(report)}


def _named(report: Report, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with the label of their run and method."""
    return [{**row, "label": report.labels[row["run"], row["method"]]} for row in tables.records(frame)]


def _labelled(frame: pd.DataFrame, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with run, method and strength in their label, as far as the table has several."""
    return [{**row, "label": text.setting_label(row, table)} for row in tables.records(frame)]
