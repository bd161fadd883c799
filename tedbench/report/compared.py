"""Methods against each other: at one budget and at the strengths shown, beside one that was chosen as the reference.

One comparison is primary: every method against the reference, by one metric, at one budget of LPIPS; its p are adjusted
by Holm over the methods. All others are exploratory, and say so. What is primary is said by whoever asks for the
report, or follows from the run's configuration; never from how it came out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tedbench import differences, stats
from tedbench.errors import UsageError
from tedbench.grids import Array
from tedbench.report import sweeps
from tedbench.report.shown import Key, Shown
from tedbench.report.table import LEVEL, Material
from tedbench.tradeoff import Tradeoff, tradeoff
from tedbench.types import MetricFacts

if TYPE_CHECKING:
    import pandas as pd

DISTANCE = "lpips"
"""Family of the metric that measures fidelity: of several, the first that was scored."""
FIRST = ("oracle-both", "clip-text", "clip-directional")
"""Families of which the first that was scored is primary, unless another is asked for."""
PRIMARY, EXPLORATORY = "primary", "exploratory"
NUMBERS = (
    "run", "method", "metric", "spec", "higher_is_better", "budget", "matched", "matched_low", "matched_high", "area",
    "area_low", "area_high", "from", "to", "front", "front_low", "front_high",
)  # fmt: skip
DIFFERENCES = (
    "run", "method", "against_run", "against", "metric", "spec", "higher_is_better", "at", "budget", "difference",
    "low", "high", "interval", "p", "p_holm", "role", "n", "photos", "unpaired", "detectable",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a comparison was declared to be; empty for what follows from the runs."""

    against: str = ""
    """The reference: a method, or RUN · METHOD as the tables name it."""
    primary: str = ""
    """Spec of the primary metric."""
    budget: float = math.nan
    """LPIPS at which methods are compared; nan for that of the reference at the strength shown."""


@dataclass(frozen=True)
class Compared:
    """What a comparison found."""

    reference: Key | None
    """None where there is one method only."""
    primary: str
    """Identity of the primary metric."""
    distance: str
    """Identity of the metric of fidelity; empty where none was scored."""
    budget: float
    """nan where nothing can be matched: no distance, or no method with a curve."""
    said: bool
    """Whether the budget was asked for."""
    numbers: pd.DataFrame
    """A row a swept method and metric: `NUMBERS`."""
    differences: pd.DataFrame
    """A row a method other than the reference, metric and place (`budget` or `shown`): `DIFFERENCES`."""


@dataclass(frozen=True)
class _Place:
    """Where methods are matched: one budget for all metrics, and who it is of."""

    reference: Key
    distance: str
    spent: Array
    """(1 + resamples,)"""
    own: Mapping[str, float]
    """By uid, what the reference spends: where the budget is its own mean. Empty where it was said."""


def compare(material: Material, values: pd.DataFrame, shown: Mapping[Key, Shown], asked: Asked) -> Compared:
    """Compare the methods of some runs.

    Args:
        material: all that was measured.
        values: `table.pair_values(material)`.
        shown: the strength of each method that the tables show.
        asked: what is primary.

    Raises:
        UsageError: if the reference, or its value of the primary metric, is not there; if it measured nothing at the
            budget.
    """
    import pandas as pd

    reference = _reference(material, shown, asked.against)
    base = reference or next(iter(shown))
    scored = _scored(values, base)
    distance = next((key for key in scored if material.metrics[key].facts.get("family") == DISTANCE), "")
    primary = _primary(material, scored, asked.primary, base)
    photos = list(dict.fromkeys(values.dropna(subset="value")["image_id"]))
    place = _place(values, distance, base, shown, asked, photos)
    numbers, rows = [], []
    for facts in material.metrics.values():
        mine = values[values["metric"] == facts.identity]
        if place is not None and facts.identity != distance:
            far = values[values["metric"] == distance]
            curves = tradeoff(mine, far, facts.higher_is_better, facts.binary, photos)
            numbers += list(_numbers(facts, curves, place))
            rows += list(_at_budget(facts, curves, place)) if reference in curves.grids else []
        rows += list(_at_shown(facts, mine, reference, shown)) if reference else []
    found = pd.DataFrame(rows, columns=list(DIFFERENCES))
    matched = found[(found["metric"] == primary) & (found["at"] == "budget")]["difference"].notna().any()
    return Compared(
        reference, primary, distance, float(place.spent[0]) if place else math.nan, not math.isnan(asked.budget),
        pd.DataFrame(numbers, columns=list(NUMBERS)), _adjusted(found, primary, "budget" if matched else "shown"),
    )  # fmt: skip


def _scored(values: pd.DataFrame, key: Key) -> list[str]:
    """Metrics that a method has a value of, as its run has them."""
    mine = values[(values["run"] == key[0]) & (values["method"] == key[1])].dropna(subset="value")
    return [str(identity) for identity in dict.fromkeys(mine["metric"])]


def _primary(material: Material, scored: Sequence[str], spec: str, base: Key) -> str:
    """Of the metrics that the reference has; the first of all where it has none."""
    specs = {identity: material.metrics[identity].spec for identity in scored}
    if spec:
        found = [identity for identity, one in specs.items() if spec in (one, identity)]
        if not found:
            there = ", ".join(dict.fromkeys(specs.values())) or "nothing"
            raise UsageError(f"--primary {spec} was not scored for {base[1]}; what was: {there}")
        return found[0]
    families = {str(material.metrics[key].facts.get("family", "")): key for key in reversed(scored)}
    others = [key for key in scored if material.metrics[key].facts.get("family") != DISTANCE]
    return next(
        iter([*(families[family] for family in FIRST if family in families), *others, *scored, *material.metrics])
    )


def _reference(material: Material, shown: Mapping[Key, Shown], name: str) -> Key | None:
    labels = sweeps.labels(material)
    if name:
        found = [key for key, label in labels.items() if name in (label, key[1])]
        if len(found) != 1:
            what = "is no method of these runs" if not found else f"is there {len(found)} times"
            raise UsageError(f"--against {name} {what}; name one of: {', '.join(labels.values())}")
        return found[0]
    swept = [key for key, one in shown.items() if one.of > 1]
    return next(iter([*swept, *shown])) if len(shown) > 1 else None


def _place(
    values: pd.DataFrame, distance: str, base: Key, shown: Mapping[Key, Shown], asked: Asked, photos: Sequence[str]
) -> _Place | None:
    """None where nothing can be matched: no LPIPS of the reference, or no method with a curve."""
    import numpy as np

    far = values[values["metric"] == distance]
    measured = tradeoff(far, far, photos=photos) if distance else None
    said = not math.isnan(asked.budget)
    if measured is None or base not in measured.grids or not measured.swept:
        if said:
            raise UsageError(
                f"--budget {asked.budget:g}: nothing to match by: it takes LPIPS, and a method with strengths"
            )
        return None
    grid = measured.grids[base]
    if not said:
        own = dict(zip(grid.uids, grid.x[:, grid.at(shown[base].strength)].tolist(), strict=True))
        return _Place(base, distance, measured.budget(base, shown[base].strength), own)
    low, high = (float(end[0]) for end in measured.ends(base))
    if not low <= asked.budget <= high:
        raise UsageError(f"--budget {asked.budget:g} is outside of what {base[1]} measured, {low:.4g} to {high:.4g}")
    return _Place(base, distance, np.full(len(measured.weights), asked.budget), {})


def _numbers(facts: MetricFacts, curves: Tradeoff, place: _Place) -> Iterator[dict[str, Any]]:
    low, high = (float(end[0]) for end in curves.common())
    for key in curves.grids:
        matched = curves.interval(curves.matched(key, place.spent), *_kind(facts, curves, key, place))
        area = curves.interval(curves.area(key), "proportion" if facts.binary else "height")
        front = curves.interval(curves.front[key], "share")
        yield {
            "run": key[0], "method": key[1], **_named(facts), "budget": float(place.spent[0]),
            "matched": matched.mean, "matched_low": matched.low, "matched_high": matched.high,
            "area": area.mean, "area_low": area.low, "area_high": area.high, "from": low, "to": high,
            "front": front.mean, "front_low": front.low, "front_high": front.high,
        }  # fmt: skip


def _kind(facts: MetricFacts, curves: Tradeoff, key: Key, place: _Place) -> tuple[Any, ...]:
    if facts.binary:
        return ("proportion",)
    pairs = _pairs(curves, key, place)
    return "height", (pairs["value"].to_numpy(), pairs["image_id"].to_list())


def _at_budget(facts: MetricFacts, every: Tradeoff, place: _Place) -> Iterator[dict[str, Any]]:
    """Each method less the reference where both spend the same, over the pairs that both have all values of.

    A row of nan where a method cannot.
    """
    for key, grid in every.grids.items():
        if key == place.reference:
            continue
        both = grid.complete(facts.binary) & every.grids[place.reference].complete(facts.binary)
        curves = replace(every, grids={one: every.grids[one] for one in (key, place.reference)}).only(both)
        mine, theirs = (curves.matched(one, place.spent) for one in (key, place.reference))
        pairs = {one: _pairs(curves, one, place) for one in (key, place.reference)}
        versus = differences.paired(pairs[key], pairs[place.reference], LEVEL, facts.binary)
        found = _difference(facts, curves, (mine, theirs), (pairs[key], pairs[place.reference]))
        yield {
            **_versus(key, place.reference, facts, "budget", versus), "budget": float(place.spent[0]),
            "difference": found.mean, "low": found.low, "high": found.high, "interval": found.kind,
            "unpaired": len(set(grid.uids) | set(every.grids[place.reference].uids)) - versus.interval.n,
        }  # fmt: skip


def _difference(
    facts: MetricFacts, curves: Tradeoff, heights: tuple[Array, Array], pairs: tuple[pd.DataFrame, pd.DataFrame]
) -> stats.Interval:
    mine, theirs = heights
    if not facts.binary:
        both = pairs[0].merge(pairs[1], on="uid", suffixes=("", "_b"))
        skew = (both["value"] - both["value_b"]).to_numpy(), both["image_id"].to_list()
        return curves.interval(mine - theirs, "height", skew)
    found = curves.interval(mine - theirs)
    if found.low == found.high:  # nothing varies, which is not to say that nothing could
        one, other = (curves.interval(values, "proportion") for values in heights)
        return differences.newcombe(one, other, curves.photos)
    return found


def _pairs(curves: Tradeoff, key: Key, place: _Place) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    grid = curves.grids[key]
    own = np.array([place.own.get(uid, math.nan) for uid in grid.uids]) if place.own else None
    values = curves.pairs_at(key, float(place.spent[0]), own)
    return pd.DataFrame({"uid": list(grid.uids), "image_id": grid.photos, "value": values})


def _at_shown(
    facts: MetricFacts, values: pd.DataFrame, reference: Key, shown: Mapping[Key, Shown]
) -> Iterator[dict[str, Any]]:
    base = _shown(values, reference, shown[reference])
    for key, one in shown.items():
        mine = _shown(values, key, one)
        if key != reference and len(mine) and len(base):
            versus = differences.paired(mine, base, LEVEL, facts.binary)
            ends = versus.interval
            yield {
                **_versus(key, reference, facts, "shown", versus), "budget": math.nan,
                "difference": ends.mean, "low": ends.low, "high": ends.high, "interval": ends.kind,
            }  # fmt: skip


def _shown(values: pd.DataFrame, key: Key, one: Shown) -> pd.DataFrame:
    mine = values[(values["run"] == key[0]) & (values["method"] == key[1])]
    mine = mine if math.isnan(one.strength) else mine[mine["strength"] == one.strength]
    return mine[["uid", "image_id", "value"]]


def _versus(key: Key, reference: Key, facts: MetricFacts, at: str, versus: differences.Difference) -> dict[str, Any]:
    return {
        "run": key[0], "method": key[1], "against_run": reference[0], "against": reference[1], **_named(facts),
        "at": at, "p": versus.p, "p_holm": math.nan, "role": EXPLORATORY, "n": versus.interval.n,
        "photos": versus.interval.clusters, "unpaired": versus.unpaired, "detectable": versus.detectable,
    }  # fmt: skip


def _adjusted(rows: pd.DataFrame, primary: str, place: str) -> pd.DataFrame:
    """The rows with the primary ones marked, and their p adjusted over the methods."""
    family = rows[(rows["metric"] == primary) & (rows["at"] == place)]
    holm = differences.holm({str(k): float(p) for k, p in family["p"].items()})
    rows = rows.copy()
    for k, p in holm.items():
        rows.loc[int(k), "role"] = PRIMARY
        rows.loc[int(k), "p_holm"] = p
    return rows


def _named(facts: MetricFacts) -> dict[str, Any]:
    return {"metric": facts.identity, "spec": facts.spec, "higher_is_better": facts.higher_is_better}
