"""Methods against each other: at one budget and at the strengths shown, beside one that was chosen as the reference.

One comparison is primary: every method against the reference, by one metric, at one budget of LPIPS; its p are adjusted
by Holm over the methods. All others are exploratory, and say so. What is primary is said by whoever asks for the
report, or follows from the run's configuration; never from how it came out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tedbench import differences
from tedbench.errors import UsageError
from tedbench.report import sweeps
from tedbench.report.shown import Key, Shown
from tedbench.report.table import LEVEL, Material
from tedbench.tradeoff import Tradeoff, tradeoff
from tedbench.types import MetricFacts

if TYPE_CHECKING:
    import numpy as np
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
class _Basis:
    """One metric's values, in the two forms that are compared."""

    facts: MetricFacts
    values: pd.DataFrame
    """A row a pair and strength."""
    curves: Tradeoff | None
    """None where there is no distance to match by, or it is this metric itself."""


def compare(material: Material, values: pd.DataFrame, shown: Mapping[Key, Shown], asked: Asked) -> Compared:
    """Compare the methods of some runs.

    Args:
        material: all that was measured.
        values: `table.pair_values(material)`.
        shown: the strength of each method that the tables show.
        asked: what is primary.

    Raises:
        UsageError: if the reference or the primary metric is not there.
    """
    import pandas as pd

    distance = next((key for key, facts in material.metrics.items() if facts.facts.get("family") == DISTANCE), "")
    primary, reference = _primary(material, asked.primary, distance), _reference(material, shown, asked.against)
    bases = [_basis(values, facts, distance) for facts in material.metrics.values()]
    budget, numbers, rows = math.nan, [], []
    for basis in bases:
        curves = basis.curves
        spent = _budget(curves, reference, shown, asked) if curves else None
        if curves is not None and spent is not None:
            budget = float(spent[0])
            numbers += list(_numbers(basis, curves, spent))
            rows += (
                list(_at_budget(basis, curves, spent, reference, shown))
                if reference is not None and reference in curves.grids
                else []
            )
        rows += list(_at_shown(basis, reference, shown)) if reference else []
    found = pd.DataFrame(rows, columns=list(DIFFERENCES))
    matched = found[(found["metric"] == primary) & (found["at"] == "budget")]["difference"].notna().any()
    return Compared(
        reference, primary, distance, budget, not math.isnan(asked.budget),
        pd.DataFrame(numbers, columns=list(NUMBERS)), _adjusted(found, primary, "budget" if matched else "shown"),
    )  # fmt: skip


def _primary(material: Material, spec: str, distance: str) -> str:
    specs = {identity: facts.spec for identity, facts in material.metrics.items()}
    if spec:
        found = [identity for identity, one in specs.items() if spec in (one, identity)]
        if not found:
            raise UsageError(f"--primary {spec} was not scored; scored: {', '.join(dict.fromkeys(specs.values()))}")
        return found[0]
    families = {str(facts.facts.get("family", "")): key for key, facts in [*material.metrics.items()][::-1]}
    others = [key for family, key in families.items() if family != DISTANCE]
    return next(iter([*(families[family] for family in FIRST if family in families), *others[::-1], distance]))


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


def _basis(values: pd.DataFrame, facts: MetricFacts, distance: str) -> _Basis:
    mine = values[values["metric"] == facts.identity]
    if not distance or facts.identity == distance or not len(mine):
        return _Basis(facts, mine, None)
    far = values[values["metric"] == distance]
    return _Basis(facts, mine, tradeoff(mine, far, facts.higher_is_better, facts.binary, LEVEL))


def _budget(
    curves: Tradeoff, reference: Key | None, shown: Mapping[Key, Shown], asked: Asked
) -> np.typing.NDArray[np.float64] | None:
    """LPIPS to compare at, in the data and in each resample."""
    import numpy as np

    if not curves.swept:
        return None
    if not math.isnan(asked.budget):
        return np.full(len(next(iter(curves.means.values()))[0]), asked.budget)
    key = reference if reference is not None and reference in curves.grids else curves.swept[0]
    return curves.budget(key, shown[key].strength)


def _numbers(basis: _Basis, curves: Tradeoff, spent: np.typing.NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    low, high = (float(end[0]) for end in curves.common())
    kind = "proportion" if basis.facts.binary else "height"
    for key in curves.grids:
        matched = curves.interval(curves.matched(key, spent), kind)  # type: ignore[arg-type]
        area = curves.interval(curves.area(key), kind)  # type: ignore[arg-type]
        front = curves.interval(curves.front[key], "share")
        yield {
            "run": key[0], "method": key[1], **_named(basis.facts), "budget": float(spent[0]),
            "matched": matched.mean, "matched_low": matched.low, "matched_high": matched.high,
            "area": area.mean, "area_low": area.low, "area_high": area.high, "from": low, "to": high,
            "front": front.mean, "front_low": front.low, "front_high": front.high,
        }  # fmt: skip


def _at_budget(
    basis: _Basis, curves: Tradeoff, spent: np.typing.NDArray[np.float64], reference: Key, shown: Mapping[Key, Shown]
) -> Iterator[dict[str, Any]]:
    """Each method less the reference where both spend the same; a row of nan where a method cannot."""
    grid, budget = curves.grids[reference], float(spent[0])
    theirs, own = curves.matched(reference, spent), grid.x[:, grid.at(shown[reference].strength)]
    moves = spent.std() > 0  # it is the reference's own mean, so each of its pairs has a part in it
    part = dict(zip(grid.uids, own, strict=True)) if moves else {}
    base = _pairs(curves, reference, budget, part)
    for key in curves.grids:
        if key == reference:
            continue
        found = curves.interval(curves.matched(key, spent) - theirs)
        versus = differences.paired(_pairs(curves, key, budget, part), base, LEVEL, basis.facts.binary)
        yield {
            **_versus(key, reference, basis.facts, "budget", versus), "budget": budget,
            "difference": found.mean, "low": found.low, "high": found.high, "interval": found.kind,
        }  # fmt: skip


def _pairs(curves: Tradeoff, key: Key, budget: float, part: Mapping[str, float]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    grid = curves.grids[key]
    own = np.array([part.get(uid, math.nan) for uid in grid.uids]) if part else None
    values = curves.pairs_at(key, budget, own)
    return pd.DataFrame({"uid": grid.uids, "image_id": grid.photos, "value": values})


def _at_shown(basis: _Basis, reference: Key, shown: Mapping[Key, Shown]) -> Iterator[dict[str, Any]]:
    base = _shown(basis.values, reference, shown[reference])
    for key, one in shown.items():
        mine = _shown(basis.values, key, one)
        if key != reference and len(mine) and len(base):
            versus = differences.paired(mine, base, LEVEL, basis.facts.binary)
            ends = versus.interval
            yield {
                **_versus(key, reference, basis.facts, "shown", versus), "budget": math.nan,
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
