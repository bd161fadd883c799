"""The leaderboard: a row a method, every metric beside the others, what fidelity leaves of it, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tedbench.report import sweeps
from tedbench.report import table as tables
from tedbench.report.compared import Compared
from tedbench.report.shown import Key, Shown
from tedbench.report.table import Material

if TYPE_CHECKING:
    import pandas as pd

ENDS = ("", " low", " high")


def rows(
    material: Material, shown: Mapping[Key, Shown], table: pd.DataFrame, compared: Compared, cost: pd.DataFrame
) -> list[dict[str, Any]]:
    """A row a run and method, in the order of the runs.

    Returns:
        `label`, `run`, `method`, `said`, `strength`; `scores`: identity → row of `table`, for what was scored;
        `matched`, `area`, `front`: mean, low and high of the primary metric; `versus`: the primary difference to the
        reference; `failed`, `fit_seconds`, `edit_seconds`.
    """
    labels, found = sweeps.labels(material), []
    for key, one in shown.items():
        mine = _of(table, key)
        number = next(iter(_of(compared.numbers[compared.numbers["metric"] == compared.primary], key)), {})
        versus = next(iter(_of(compared.differences[compared.differences["role"] == "primary"], key)), {})
        spent = next(iter(_of(cost, key)), {})
        found.append({
            "label": labels[key], "run": key[0], "method": key[1], "said": one.said, "strength": one.strength,
            "scores": {row["metric"]: row for row in mine},
            **{name: _ends(number, name) for name in ("matched", "area", "front")},
            "versus": _ends(versus, "difference", ("difference", "low", "high")),
            "p_holm": versus.get("p_holm", math.nan), "reference": key == compared.reference,
            "failed": max((int(row["failed"]) for row in mine), default=0),
            "fit_seconds": spent.get("fit_seconds", math.nan), "edit_seconds": spent.get("edit_seconds", math.nan),
        })  # fmt: skip
    return found


def frame(found: Sequence[Mapping[str, Any]], material: Material, compared: Compared) -> pd.DataFrame:
    """The leaderboard as columns of numbers: of each metric mean, low and high, then what is about the primary one."""
    import pandas as pd

    names = column_names(material)
    flat = []
    for row in found:
        line = {"run": row["run"], "method": row["method"], "strength": row["strength"]}
        for identity, name in names.items():
            line |= _flat(name, row["scores"].get(identity, {}), ("mean", "low", "high"))
        primary = names[compared.primary]
        for place, title in _titles(primary, compared).items():
            line |= _flat(title, row[place])
        flat.append({**line, "p (Holm)": row["p_holm"],
                     **{name: row[name] for name in ("failed", "fit_seconds", "edit_seconds")}})  # fmt: skip
    return pd.DataFrame(flat)


def column_names(material: Material) -> dict[str, str]:
    """What the column of each metric is called: its spec, or its identity where two share a spec."""
    specs = [facts.spec for facts in material.metrics.values()]
    return {key: facts.spec if specs.count(facts.spec) == 1 else key for key, facts in material.metrics.items()}


def _titles(primary: str, compared: Compared) -> dict[str, str]:
    at = f"{primary} at LPIPS {compared.budget:.4g}"
    versus = f"{primary} less {compared.reference[1]}" if compared.reference else "difference"
    found = {"matched": at, "area": f"{primary} area", "front": f"{primary} front", "versus": versus}
    return found if (compared.numbers["metric"] == compared.primary).any() else {"versus": versus}


def _of(frame: pd.DataFrame, key: Key) -> list[dict[str, Any]]:
    return tables.records(frame[(frame["run"] == key[0]) & (frame["method"] == key[1])])


def _ends(row: Mapping[str, Any], name: str, columns: Sequence[str] | None = None) -> dict[str, float]:
    columns = columns or (name, f"{name}_low", f"{name}_high")
    found = zip(("mean", "low", "high"), columns, strict=True)
    return {end: float(row.get(column, math.nan)) for end, column in found}


def _flat(name: str, row: Mapping[str, Any], ends: Sequence[str] = ("mean", "low", "high")) -> dict[str, float]:
    return {name + suffix: row.get(end, math.nan) for suffix, end in zip(ENDS, ends, strict=True)}
