"""From runs to one row per run, method, strength and metric: means, intervals, and what is not there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedbench import stats, store
from tedbench.errors import StoreError, UsageError
from tedbench.store import RunFolder
from tedbench.types import DatasetInfo, MetricFacts, Run

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
SETTING = ["run", "method", "strength"]
CELL = ["method", "uid", "seed", "strength"]
COLUMNS = (
    "run", "method", "strength", "metric", "spec", "family", "backbone", "size", "fit", "convention", "custom",
    "higher_is_better", "mean", "low", "high", "interval", "median", "n", "asked", "failed", "missing", "unscored",
    "images", "seeds", "mean_x100", "mean_clipscore", "published_as", "model", "part",
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What a report is made of: one data set, one or more runs over it."""

    runs: Mapping[str, Run]
    """By a name that is unique in the report."""
    pairs: pd.DataFrame
    """The questions, as `RunFolder.pairs()`."""
    cells: pd.DataFrame
    """As `RunFolder.cells()`, with a column `run`."""
    scores: pd.DataFrame
    """As `RunFolder.scores()`, with a column `run`."""
    metrics: Mapping[str, MetricFacts]
    """By identity."""
    opened: Mapping[str, RunFolder] = field(default_factory=dict)
    """The folders of the runs, for their pictures."""

    def facts_of(self, run: str) -> Mapping[str, MetricFacts]:
        """What one run knows of its metrics: reasons and notes are its own, though another has the same identity."""
        return self.opened[run].metrics if run in self.opened else self.metrics

    @property
    def dataset(self) -> DatasetInfo:
        """The data set that all runs share."""
        return next(iter(self.runs.values())).dataset


def gather(folders: Sequence[Path], scored: bool = True) -> Material:
    """Read runs for one report.

    Args:
        folders: of runs.
        scored: whether a run without scores is refused.

    Raises:
        StoreError: if a folder is no run, or has not been scored as it is now.
        UsageError: if there is no run, or the runs are not over one data set.
    """
    import pandas as pd

    if not folders:
        raise UsageError("no run to report on; name one or more run folders")
    opened = _named([store.open_run(folder) for folder in dict.fromkeys(f.resolve() for f in folders)])
    for name, one in opened.items():
        if scored and (not one.metrics or not len(one.scores())):
            raise StoreError(f"run {name!r} has no scores; run `tedbench score {one.path}` first")
        for facts in one.stale() if scored else ():
            raise StoreError(
                f"run {name!r}: {facts.spec} was scored on other images than are there now; score them anew: "
                f"tedbench score {one.path} --metrics {facts.spec}"
            )
    runs = {name: one.run for name, one in opened.items()}
    check_one_dataset(runs)
    cells = {name: one.cells() for name, one in opened.items()}
    return Material(
        runs,
        next(iter(opened.values())).pairs(),
        pd.concat([mine.assign(run=name) for name, mine in cells.items()], ignore_index=True),
        pd.concat([_with_failures(opened[name], cells[name]).assign(run=name) for name in cells], ignore_index=True),
        {identity: facts for one in reversed(opened.values()) for identity, facts in one.metrics.items()},
        opened,
    )


def _with_failures(run: RunFolder, cells: pd.DataFrame) -> pd.DataFrame:
    """Scores in which an edit that failed has the value of a failure, where a metric knows one."""
    scores = run.scores()
    failed = cells.loc[cells["status"] == "failed", CELL].drop_duplicates().assign(gone=True)
    worth = scores["metric"].map({name: facts.of_failure for name, facts in run.metrics.items()}).astype("float64")
    gone = scores.merge(failed, on=CELL, how="left")["gone"].notna().to_numpy()
    return scores.assign(value=scores["value"].where(~gone, worth)) if gone.any() else scores


def check_one_dataset(runs: Mapping[str, Run]) -> None:
    """Refuse to put numbers over different questions into one table.

    Raises:
        UsageError: naming two runs that differ.
    """
    first, *others = runs.items()
    for name, run in others:
        if run.dataset.sha256 != first[1].dataset.sha256:
            raise UsageError(
                f"runs {first[0]!r} and {name!r} are over different lists of pairs ({first[1].dataset.name} "
                f"{first[1].dataset.sha256[:12]}, {run.dataset.name} {run.dataset.sha256[:12]}); report them apart"
            )


def pair_values(material: Material) -> pd.DataFrame:
    """One value per pair: columns run, method, strength, metric, uid, image_id, category, value (mean over seeds)."""
    return stats.seed_means(material.scores, [*SETTING, "metric", "uid", "image_id", "category"])


def summary(material: Material) -> pd.DataFrame:
    """The table: a row for each run, method, strength and metric, with `COLUMNS`.

    `n` of `asked` pairs have a value; `failed` and `missing` count images, `unscored` images that are there but have
    no value of this metric. `images` is the number of distinct photos, the clusters of the interval.
    """
    import pandas as pd

    values, rows = pair_values(material), []
    by_setting = dict(list(values.groupby([*SETTING, "metric"], dropna=False, sort=False)))
    made = material.cells.loc[material.cells["status"] == "ok", ["run", *CELL]]
    scored = (
        material.scores.dropna(subset="value")
        .merge(made, on=["run", *CELL])
        .groupby([*SETTING, "metric"], dropna=False, sort=False)
        .size()
    )
    counted = {_key(k): n for k, n in scored.items()}
    lookup = {_key(k): group for k, group in by_setting.items()}
    for setting, cells in material.cells.groupby(SETTING, dropna=False, sort=False):
        run, method, strength = str(setting[0]), str(setting[1]), setting[2]
        for identity, facts in material.metrics.items():
            key = _key((run, method, strength, identity))
            if key not in lookup:
                continue
            row = {"run": run, "method": method, "strength": strength, **_facts(facts), **_numbers(lookup[key], facts)}
            count = cells["status"].value_counts()
            row |= {"asked": len(material.pairs), "seeds": int(cells["seed"].nunique())}
            row |= {"failed": int(count.get("failed", 0)), "missing": int(count.get("missing", 0))}
            row["unscored"] = int(count.get("ok", 0)) - int(counted.get(key, 0))
            row["published_as"] = str(material.runs[run].methods.get(method, {}).get("published_as") or "")
            row["model"] = ", ".join(material.runs[run].execution.get(method, {}).get("model", ()))
            row["part"] = material.runs[run].dataset.part
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(
        ["run", "method", "metric", "strength"], kind="stable", ignore_index=True
    )


def by_category(material: Material) -> pd.DataFrame:
    """Means within each category: run, method, strength, metric, category, mean, low, high, n, asked, images."""
    import pandas as pd

    rows = []
    values = pair_values(material).dropna(subset="category")
    for key, every in values.groupby([*SETTING, "metric", "category"], dropna=False, sort=True):
        group, binary = every.dropna(subset="value"), material.metrics[str(key[3])].binary
        found = stats.interval(group["value"].to_list(), group["image_id"].to_list(), LEVEL, binary)
        counts = {"n": found.n, "asked": every["uid"].nunique(), "images": found.clusters}
        numbers = {"mean": found.mean, "low": found.low, "high": found.high, **counts}
        rows.append({**dict(zip([*SETTING, "metric", "category"], key, strict=True)), **numbers})
    return pd.DataFrame(rows, columns=[*SETTING, "metric", "category", "mean", "low", "high", "n", "asked", "images"])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dicts with text for names."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def failures(material: Material) -> pd.DataFrame:
    """Cells without an image, and images without a score: run, method, uid, seed, strength, status, error."""
    columns = ["run", "method", "uid", "seed", "strength", "status", "error"]
    bad = material.cells[material.cells["status"] != "ok"][columns]
    import pandas as pd

    there = material.cells[material.cells["status"] == "ok"][columns[:5]]
    empty = material.scores[material.scores["value"].isna()].merge(there, on=columns[:5])
    empty = empty.assign(
        status="unscored", error=[_why(material, *row) for row in empty[["run", "metric", "uid"]].to_numpy()]
    )
    return pd.concat([bad, empty[columns]], ignore_index=True) if len(empty) else bad.reset_index(drop=True)


def _why(material: Material, run: str, metric: str, uid: str) -> str:
    facts = material.facts_of(run)[metric]
    return f"{facts.spec}: {facts.unscored.get(uid, 'no value')}"


def _numbers(group: pd.DataFrame, facts: MetricFacts) -> dict[str, Any]:
    there = group.dropna(subset="value")
    y = there["value"].to_list()
    found = stats.interval(y, there["image_id"].to_list(), LEVEL, facts.binary)
    family = str(facts.facts.get("family", ""))
    return {
        "mean": found.mean, "low": found.low, "high": found.high, "interval": found.kind, "n": found.n,
        "images": found.clusters,
        "median": float(there["value"].median()) if y else math.nan,
        "mean_x100": 100 * found.mean if family.startswith("clip") else math.nan,
        "mean_clipscore": sum(2.5 * max(v, 0.0) for v in y) / len(y) if y and family == "clip-text" else math.nan,
    }  # fmt: skip


def _facts(facts: MetricFacts) -> dict[str, Any]:
    named = {key: facts.facts.get(key, "") for key in ("family", "backbone", "size", "fit", "convention", "custom")}
    return {"metric": facts.identity, "spec": facts.spec, "higher_is_better": facts.higher_is_better, **named}


def _key(key: Any) -> tuple[Any, ...]:
    """NaN is not equal to itself, so a strength that was not stated becomes None."""
    return tuple(None if isinstance(part, float) and math.isnan(part) else part for part in key)


def _named(opened: Sequence[RunFolder]) -> dict[str, RunFolder]:
    named: dict[str, RunFolder] = {}
    for one in opened:
        name, k = one.run.name, 2
        while name in named:
            name, k = f"{one.run.name} ({k})", k + 1
        named[name] = one
    return named
