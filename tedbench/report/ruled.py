"""Tables by rule: what each way to choose a strength is worth, beside the fixed strength that the other tables show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tedbench import choosing, differences, registry, stats
from tedbench.choosing import Choices
from tedbench.report.shown import Key, Shown
from tedbench.report.table import CELL, LEVEL, Material
from tedbench.rules import Fixed
from tedbench.types import MetricFacts

if TYPE_CHECKING:
    import pandas as pd

FIXED = "fixed"
COLUMNS = (
    "run", "method", "rule", "upper_bound", "best_of", "seed_by", "looked", "of", "strength", "metric", "spec",
    "higher_is_better", "mean", "low", "high", "interval", "n", "asked", "gain", "gain_low", "gain_high", "gain_n", "p",
    "unchosen", "sweeps", "shares_model",
)  # fmt: skip


@dataclass(frozen=True)
class _Ruled:
    """One rule's choices over one run's method."""

    spec: str
    choices: Choices
    values: Mapping[str, pd.DataFrame]
    """By metric, a row a pair, seeds averaged or one kept; a sweep without a choice is a failure, or has no value."""


def table(material: Material, specs: Sequence[str], shown: Mapping[Key, Shown]) -> pd.DataFrame:
    """A row for each swept method, rule and metric, with `COLUMNS`; empty where no rule is asked for.

    `gain` is what the rule adds to the fixed strength, pair by pair, over the `gain_n` pairs for which both have a
    value; `p` is of the sign-flip test, not adjusted. Of `sweeps`, the rule chose nothing in `unchosen`. The fixed
    strength comes first and is there whether asked for or not, its seeds averaged. Where `best_of` is N above 1, one of
    N seeds is kept by `seed_by`: `sweeps` are pairs, and `looked` and `of` are over the N seeds.

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
            facts = material.facts_of(run)
            asked = {FIXED: Fixed(), **rules}
            seen = _seen(material, mine)
            base, *others = (
                _applied(spec, rule, (seen, mine), facts, {method: one.strength}) for spec, rule in asked.items()
            )
            for ruled in (base, *others):
                rows += [_row(ruled, base, facts[m], one, len(material.pairs), facts) for m in ruled.values]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _seen(material: Material, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores as a rule sees them: an image that failed has none, though as an outcome it counts as a failure."""
    key = ["run", *CELL]
    failed = material.cells.loc[material.cells["status"] == "failed", key].drop_duplicates().assign(gone=True)
    gone = scores[key].merge(failed, on=key, how="left")["gone"].notna().to_numpy()
    return scores.assign(value=scores["value"].where(~gone)) if gone.any() else scores


def _applied(
    spec: str,
    rule: Any,
    scores: tuple[pd.DataFrame, pd.DataFrame],
    facts: Mapping[str, MetricFacts],
    defaults: Mapping[str, float],
) -> _Ruled:
    """A rule's choices by the first of the scores, and what they are worth by the second."""
    choices, values = choosing.choose(rule, scores[0], facts, defaults), {}
    for identity, of in scores[1].groupby("metric", sort=False):
        found = choosing.outcomes(choices, of, facts[str(identity)].of_failure)
        values[str(identity)] = stats.seed_means(found, ["run", "method", "uid", "image_id"])
    return _Ruled(spec, choices, values)


def _row(
    ruled: _Ruled, base: _Ruled, facts: MetricFacts, shown: Shown, asked: int, known: Mapping[str, MetricFacts]
) -> dict[str, Any]:
    values, chosen = ruled.values[facts.identity], ruled.choices.table
    there = values.dropna(subset="value")
    found = stats.interval(there["value"].to_list(), there["image_id"].to_list(), LEVEL, facts.binary)
    gained: dict[str, Any] = dict.fromkeys(("gain", "gain_low", "gain_high", "gain_n", "p"), math.nan)
    if ruled is not base:
        columns = ["uid", "image_id", "value"]
        versus = differences.paired(values[columns], base.values[facts.identity][columns], LEVEL, facts.binary)
        ends = {"gain": versus.interval.mean, "gain_low": versus.interval.low, "gain_high": versus.interval.high}
        gained = {**ends, "gain_n": versus.interval.n, "p": versus.p}
    return {
        "run": chosen["run"].iloc[0], "method": chosen["method"].iloc[0], "rule": ruled.spec,
        "upper_bound": ruled.choices.upper_bound, "best_of": ruled.choices.best_of, "seed_by": ruled.choices.seed_by,
        "looked": ruled.choices.looked, "of": shown.of * ruled.choices.best_of,
        "strength": float(chosen["strength"].mean()), "metric": facts.identity, "spec": facts.spec,
        "higher_is_better": facts.higher_is_better, "mean": found.mean, "low": found.low, "high": found.high,
        "interval": found.kind, "n": found.n, "asked": asked, **gained,
        "unchosen": int((~chosen["chosen"]).sum()), "sweeps": len(chosen),
        "shares_model": ", ".join(choosing.shared_models(ruled.choices, facts.identity, known)),
    }  # fmt: skip
