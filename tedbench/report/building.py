"""The numbers of a report, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tedbench.report import board, cautions, compared, cost, published, ruled, shown, sweeps, text, worth
from tedbench.report import table as tables
from tedbench.report.compared import Asked, Compared
from tedbench.report.table import Material

if TYPE_CHECKING:
    import pandas as pd

    from tedbench.curves import Curve

SLOW = ("ruled", "compared", "curves", "worth")
"""Parts that take seconds each."""


@dataclass(frozen=True)
class Report:
    """Everything that is written, still as numbers."""

    material: Material
    """All that was measured."""
    at: Material
    """The same at the strength of each method that the tables show."""
    chosen: Mapping[shown.Key, shown.Shown]
    table: pd.DataFrame
    """A row a method and metric: `table.COLUMNS`."""
    beside: pd.DataFrame
    """Published numbers: `published.compare`."""
    rules: Sequence[str]
    """Specs of the rules that were named."""
    asked: Asked

    @cached_property
    def ruled(self) -> pd.DataFrame:
        """What each rule is worth: `ruled.COLUMNS`; empty where none was named.

        Raises:
            UsageError, UnknownName, PluginError: as a rule is at fault.
        """
        return ruled.table(self.material, self.rules, self.chosen)

    @cached_property
    def compared(self) -> Compared:
        """Methods against each other.

        Raises:
            UsageError: as the reference, the primary metric or the budget is at fault.
        """
        return compared.compare(self.material, tables.pair_values(self.material), self.chosen, self.asked)

    @cached_property
    def cost(self) -> pd.DataFrame:
        """Seconds and memory: `cost.COLUMNS`."""
        return cost.table(self.material)

    @cached_property
    def labels(self) -> dict[shown.Key, str]:
        """What each run and method is called."""
        return sweeps.labels(self.material)

    @property
    def reference(self) -> str:
        """What the method that others are compared with is called; empty where there is none."""
        key = self.compared.reference
        return self.labels[key] if key else ""

    @cached_property
    def values(self) -> pd.DataFrame:
        """A value a pair, at the strengths shown."""
        return tables.pair_values(self.at)

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """Of every method and metric."""
        return sweeps.measured(self.material)

    @cached_property
    def worth(self) -> pd.DataFrame:
        """What the questions are worth: `worth.COLUMNS`."""
        return worth.table(self.at, self.chosen)

    @cached_property
    def board(self) -> list[dict[str, Any]]:
        """The leaderboard: `board.rows`."""
        return board.rows(self.material, self.chosen, self.table, self.compared, self.cost)

    @cached_property
    def cautions(self) -> list[cautions.Caution]:
        """What to know before believing it."""
        return cautions.gather(self.material, self.chosen, self.table, self.ruled, self.compared)


def build(material: Material, rules: Sequence[str] = (), asked: Asked | None = None) -> Report:
    """Compute the table of a report; what takes longer is computed when it is asked for.

    Args:
        material: what was measured.
        rules: specs of rules that choose a strength.
        asked: what is primary; by default what follows from the runs.
    """
    chosen = shown.choose(material)
    at = shown.only(material, chosen)
    table = tables.summary(at)
    keys = list(zip(table["run"], table["method"], strict=True))
    before = table.columns.get_loc("part")
    table.insert(before, "shown", [chosen[key].choice for key in keys])  # type: ignore[arg-type]
    table.insert(before, "strengths", [chosen[key].of for key in keys])  # type: ignore[arg-type]
    beside = published.compare(table, published.load(), material.dataset)
    return Report(material, at, chosen, table, beside, tuple(rules), asked or Asked())


def shown_lines(report: Report) -> list[str]:
    """A line on each method that was swept: which of its strengths the tables show."""
    return [f"{report.labels[key]}: shown at {one.said} strengths" for key, one in report.chosen.items() if one.of > 1]


def partial_lines(report: Report) -> list[str]:
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
