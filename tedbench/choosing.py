"""Rules applied to scored runs: which strength each sweep gets, and what that is worth.

Every sweep is asked on its own; one of a single image has nothing to choose. Values at the chosen strengths are looked
up, never interpolated; a sweep without a choice, or whose image has no value, has none. A rule with `seed_by` keeps one
sweep a pair, the one whose chosen image is best by that metric: best of N seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tedbench.errors import UsageError
from tedbench.rules import Rule, Sweep
from tedbench.types import MetricFacts

if TYPE_CHECKING:
    import pandas as pd

SWEEP = ("run", "method", "uid", "image_id", "seed")


@dataclass(frozen=True)
class Choices:
    """What a rule chose."""

    table: pd.DataFrame
    """A row a sweep, or a pair where one of its seeds is kept: those of `SWEEP` that the scores have; `chosen`, whether
    anything was; its `strength` (nan for none, or one that was not stated); `looked`, how many strengths' images the
    rule needed, over all seeds that it chose among; `seeds`, how many those were: 1 where each stands for itself."""
    reads: tuple[str, ...]
    """Identities of the metrics that it read, that by which a seed is kept among them."""
    upper_bound: bool
    """Whether it knew the outcome: by what it is, or by a metric that reads the truth."""
    seed_by: str = ""
    """Spec of the metric by which one seed a pair is kept; empty where none is left out."""

    @property
    def best_of(self) -> int:
        """N of best of N: the most seeds of a pair of which one is kept; 1 where none is left out."""
        return int(self.table["seeds"].max()) if len(self.table) else 1

    @property
    def looked(self) -> float:
        """Mean number of strengths a row that were needed."""
        return float(self.table["looked"].mean())


def choose(
    rule: Rule, scores: pd.DataFrame, metrics: Mapping[str, MetricFacts], defaults: Mapping[str, float]
) -> Choices:
    """Ask a rule about every sweep.

    Args:
        rule: as `registry.make("rule", SPEC)` gives it.
        scores: long form as `RunFolder.scores()`, perhaps with a column `run`; NaN where an image has no value, also
            where it failed: a rule chooses among what is there.
        metrics: by identity, as `RunFolder.metrics`; of those that the scores have no row of, none is read.
        defaults: the strength shown of each method; a method that is not there has none.

    Raises:
        UsageError: if a metric that the rule reads was not scored, or was scored under two identities; if a sweep does
            not have the strength that was said.
        ValueError: if an image has two scores of one metric (two runs in one frame that does not name them, say).
    """
    import pandas as pd

    there = {name: facts for name, facts in metrics.items() if (scores["metric"] == name).any()}
    seed_by: str = getattr(rule, "seed_by", "")  # not of the Protocol: a stranger's rule need not have it
    read = dict.fromkeys((*rule.reads, seed_by) if seed_by else rule.reads)
    identities = {spec: _identity(spec, there) for spec in read}
    key = [name for name in SWEEP if name in scores]
    if scores.duplicated([*key, "strength", "metric"]).any():
        raise ValueError("an image has two scores of one metric; name the runs in a column `run`")
    rows = []
    for at, group in scores.groupby(key, dropna=False, sort=False):
        values = {(m, s): v for m, s, v in zip(group["metric"], group["strength"], group["value"], strict=True)}
        strengths = tuple(sorted({float(s) for _, s in values if not math.isnan(s)}))
        named = dict(zip(key, at, strict=True))

        def value(spec: str, index: int, values: Mapping[tuple[str, float], float] = values,
                  strengths: Sequence[float] = strengths) -> float:  # fmt: skip
            return values.get((identities[spec], strengths[index]), math.nan)

        if len(strengths) > 1:
            default = defaults.get(str(named["method"]), math.nan)
            sweep = Sweep(strengths, default, value, lambda spec: there[identities[spec]].higher_is_better)
            index = rule.choose(sweep)
            strength, looked = (math.nan if index is None else strengths[index]), len(sweep.asked)
        else:
            index, strength, looked = 0, strengths[0] if strengths else math.nan, 1
        rows.append({**named, "chosen": index is not None, "strength": strength, "looked": looked, "seeds": 1})
    table = pd.DataFrame(rows, columns=[*key, "chosen", "strength", "looked", "seeds"])
    table = table.astype({name: scores[name].dtype for name in key})  # a seed that is not known has no type of its own
    told = rule.upper_bound or any(metrics[identity].knows_the_answer for identity in identities.values())
    found = Choices(table, tuple(identities.values()), told, seed_by)
    return _best_seeds(found, scores, there[identities[seed_by]]) if seed_by else found


def outcomes(choices: Choices, scores: pd.DataFrame, otherwise: float = math.nan) -> pd.DataFrame:
    """Scores of one metric at the chosen strengths: a row a sweep, with a column `value`.

    Args:
        choices: over the same sweeps.
        scores: of one metric, long form.
        otherwise: the value of a sweep without a choice: 0 where that is a failure, nan where a failure has no value.

    Raises:
        ValueError: if `scores` has a sweep's strength twice (two metrics in one frame, say).
    """
    key = [name for name in SWEEP if name in choices.table]
    wanted = scores[[*key, "strength", "value"]]
    found = choices.table.merge(wanted, on=[*key, "strength"], how="left", validate="one_to_one")
    return found.assign(value=found["value"].where(found["chosen"], otherwise))


def _best_seeds(choices: Choices, scores: pd.DataFrame, by: MetricFacts) -> Choices:
    """A row a pair: its seed of the best value; a seed without one only where none has one, and then a chosen one."""
    pair = [name for name in SWEEP if name in choices.table and name != "seed"]
    value = outcomes(choices, scores[scores["metric"] == by.identity])["value"].to_numpy()
    ranked = choices.table.assign(worth=value if by.higher_is_better else -value)
    ranked[["looked", "seeds"]] = ranked.groupby(pair, dropna=False)[["looked", "seeds"]].transform("sum")
    ranked = ranked.sort_values(["worth", "chosen", "seed"], ascending=[False, False, True], na_position="last")
    kept = ranked.groupby(pair, dropna=False).head(1).sort_index()
    return replace(choices, table=kept.drop(columns="worth").reset_index(drop=True))


def shared_models(choices: Choices, reporting: str, metrics: Mapping[str, MetricFacts]) -> list[str]:
    """Models that both chose and report: a number that a rule has raised by looking at it says little.

    Args:
        choices: of a rule.
        reporting: identity of the metric that reports.
        metrics: by identity.
    """
    model = str(metrics[reporting].facts.get("backbone", ""))
    if model and any(metrics[one].facts.get("backbone") == model for one in choices.reads):
        return [model]
    return [metrics[reporting].spec] if reporting in choices.reads else []


def _identity(spec: str, metrics: Mapping[str, MetricFacts]) -> str:
    found = [identity for identity, facts in metrics.items() if facts.spec == spec]
    if not found:
        scored = ", ".join(dict.fromkeys(facts.spec for facts in metrics.values())) or "nothing"
        raise UsageError(f"a rule reads {spec}, which was not scored; scored: {scored}; see `tedbench score`")
    if len(found) > 1:
        raise UsageError(
            f"{spec} was scored under {len(found)} identities ({', '.join(found)}); report such runs apart"
        )
    return found[0]
