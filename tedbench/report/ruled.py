"""Tables by rule: what each way to choose a strength is worth, beside the fixed strength that the other tables show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tedbench import choosing, differences, registry, stats
from tedbench.choosing import Choices
from tedbench.report.shown import Key, Shown
from tedbench.report.table import LEVEL, Material
from tedbench.rules import Fixed

if TYPE_CHECKING:
    import pandas as pd

FIXED = "fixed"
COLUMNS = (
    "run", "method", "rule", "upper_bound", "looked", "of", "strength", "metric", "spec", "higher_is_better", "mean",
    "low", "high", "interval", "n", "asked", "gain", "gain_low", "gain_high", "p", "shares_model",
)  # fmt: skip


@dataclass(frozen=True)
class _Ruled:
    """One rule's choices over one run's method."""

    spec: str
    choices: Choices
    values: Mapping[str, pd.DataFrame]
    """By metric, a row a pair, seeds averaged; a sweep without a choice is a failure, or has no value."""


def table(material: Material, specs: Sequence[str], shown: Mapping[Key, Shown]) -> pd.DataFrame:
    """A row for each swept method, rule and metric, with `COLUMNS`; empty where no rule is asked for.

    `gain` is what the rule adds to the fixed strength, pair by pair; `p` is of the sign-flip test, not adjusted. The
    fixed strength comes first and is there whether asked for or not.

    Raises:
        UsageError, UnknownName, PluginError: if a rule cannot be made, or reads what was not scored.
    """
    import pandas as pd

    rules = {spec: registry.make("rule", spec) for spec in specs if spec != FIXED}
    rows = []
    if specs:
        for (run, method), one in shown.items():
            if one.of < 2:
                continue
            mine = material.scores[(material.scores["run"] == run) & (material.scores["method"] == method)]
            base = _applied(FIXED, Fixed(one.strength), mine, material)
            for ruled in (base, *(_applied(spec, rule, mine, material) for spec, rule in rules.items())):
                rows += [_row(ruled, base, metric, one, material) for metric in ruled.values]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _applied(spec: str, rule: Any, scores: pd.DataFrame, material: Material) -> _Ruled:
    choices, values = choosing.choose(rule, scores, material.metrics, {}), {}
    for identity, of in scores.groupby("metric", sort=False):
        facts = material.metrics[str(identity)]
        found = choosing.outcomes(choices, of, 0.0 if facts.binary else math.nan)
        values[str(identity)] = stats.seed_means(found, ["run", "method", "uid", "image_id"])
    return _Ruled(spec, choices, values)


def _row(ruled: _Ruled, base: _Ruled, metric: str, shown: Shown, material: Material) -> dict[str, Any]:
    facts, values, chosen = material.metrics[metric], ruled.values[metric], ruled.choices.table
    there = values.dropna(subset="value")
    found = stats.interval(there["value"].to_list(), there["image_id"].to_list(), LEVEL, facts.binary)
    versus = differences.paired(values[["uid", "image_id", "value"]], base.values[metric][["uid", "image_id", "value"]])
    itself = ruled is base
    return {
        "run": chosen["run"].iloc[0], "method": chosen["method"].iloc[0], "rule": ruled.spec,
        "upper_bound": ruled.choices.upper_bound, "looked": ruled.choices.looked, "of": shown.of,
        "strength": float(chosen["strength"].mean()), "metric": metric, "spec": facts.spec,
        "higher_is_better": facts.higher_is_better, "mean": found.mean, "low": found.low, "high": found.high,
        "interval": found.kind, "n": found.n, "asked": len(material.pairs),
        "gain": math.nan if itself else versus.interval.mean,
        "gain_low": math.nan if itself else versus.interval.low,
        "gain_high": math.nan if itself else versus.interval.high, "p": math.nan if itself else versus.p,
        "shares_model": ", ".join(choosing.shared_models(ruled.choices, metric, material.metrics)),
    }  # fmt: skip
