from __future__ import annotations

import math

import pandas as pd
import pytest

from tedbench import choosing
from tedbench.errors import UsageError
from tedbench.rules import Best, Bisect, Budget, Fixed, Gain
from tedbench.types import MetricFacts

CHOOSES, REPORTS, LPIPS, BOTH = "clip-a/cos", "clip-b/cos", "lpips-0.1/64", "oracle-both/1"


def facts(spec: str, identity: str, **named: str) -> MetricFacts:
    return MetricFacts(spec, identity, not spec.startswith("lpips"), 0, 1, named)


METRICS = {
    CHOOSES: facts("clip-text@a", CHOOSES, backbone="a"),
    REPORTS: facts("clip-text@b", REPORTS, backbone="b"),
    LPIPS: facts("lpips-alex@256", LPIPS, backbone="alex"),
    BOTH: facts("oracle-both", BOTH, backbone="oracle", values="binary"),
}


def scores(**columns: dict[str, list[float]]) -> pd.DataFrame:
    """Metric → for each pair, the values along its sweep, at 0, 0.5 and 1; two seeds alike."""
    names = {"chooses": CHOOSES, "reports": REPORTS, "lpips": LPIPS, "both": BOTH}
    rows = [
        {"uid": uid, "image_id": uid[0], "method": "m", "seed": seed, "strength": at / 2, "metric": names[name],
         "value": value}
        for name, pairs in columns.items() for uid, sweep in pairs.items() for seed in (0, 1)
        for at, value in enumerate(sweep)
    ]  # fmt: skip
    return pd.DataFrame(rows)


TABLE = scores(
    chooses={"a1": [0.1, 0.3, 0.4], "b1": [0.1, 0.1, 0.5]},
    reports={"a1": [0.2, 0.5, 0.6], "b1": [0.2, 0.3, 0.7]},
    both={"a1": [0, 1, 0], "b1": [0, 0, 1]},
    lpips={"a1": [0.1, 0.2, 0.3], "b1": [0.4, 0.5, 0.6]},
)


def of(identity: str) -> pd.DataFrame:
    return TABLE[TABLE["metric"] == identity]


def test_each_sweep_gets_its_own() -> None:
    found = choosing.choose(Gain("clip-text@a", 0.15), TABLE, METRICS, {})
    assert found.table.groupby("uid")["strength"].unique().map(list).to_dict() == {"a1": [0.5], "b1": [1.0]}
    assert found.reads == (CHOOSES,)
    assert found.looked == 2.5
    assert choosing.outcomes(found, of(BOTH), 0.0)["value"].tolist() == [1, 1, 1, 1]
    assert sorted(choosing.outcomes(found, of(REPORTS))["value"].unique()) == [0.5, 0.7]


def test_nothing_within_budget_is_a_failure() -> None:
    found = choosing.choose(Budget(0.25), TABLE, METRICS, {})
    values = choosing.outcomes(found, of(BOTH), 0.0).groupby("uid")["value"].mean()
    assert values.to_dict() == {"a1": 1, "b1": 0}
    assert math.isnan(found.table.set_index("uid").loc["b1", "strength"].iloc[0])


def test_fixed_takes_the_methods_own() -> None:
    found = choosing.choose(Fixed(), TABLE, METRICS, {"m": 0.5})
    assert set(found.table["strength"]) == {0.5}
    assert found.looked == 1
    with pytest.raises(UsageError, match="no strength nan"):
        choosing.choose(Fixed(), TABLE, METRICS, {})


def test_one_image_is_its_own_choice_stated_or_not() -> None:
    alone = of(CHOOSES)[of(CHOOSES)["strength"] == 0]
    for strength in (0.0, math.nan):
        one = alone.assign(strength=strength)
        found = choosing.choose(Gain("clip-text@a"), one, METRICS, {})
        assert choosing.outcomes(found, one)["value"].tolist() == [0.1] * 4
        assert found.looked == 1


def test_a_sweep_that_failed_has_no_value_even_beside_unstated_strengths() -> None:
    failed = TABLE.assign(value=math.nan)
    found = choosing.choose(Best(), failed, METRICS, {})
    assert not found.table["chosen"].any()
    beside = of(BOTH).assign(strength=math.nan).drop_duplicates(["uid", "seed"])
    assert choosing.outcomes(found, beside)["value"].isna().all()


def test_what_the_rule_reads_must_have_been_scored_once() -> None:
    with pytest.raises(UsageError, match="reads clip-text@c, which was not scored; scored: clip-text@a"):
        choosing.choose(Gain("clip-text@c"), TABLE, METRICS, {})
    two = {**METRICS, "other": facts("clip-text@a", "other")}
    both = pd.concat([TABLE, of(CHOOSES).assign(metric="other")])
    with pytest.raises(UsageError, match="under 2 identities"):
        choosing.choose(Gain("clip-text@a"), both, two, {})
    assert choosing.choose(Gain("clip-text@a"), TABLE, two, {}).reads == (CHOOSES,)  # that of another run is not ours
    with pytest.raises(UsageError, match="not scored"):
        choosing.choose(Gain("clip-text@a"), of(LPIPS), METRICS, {})
    with pytest.raises(ValueError, match="two scores"):
        choosing.choose(Gain("clip-text@a"), pd.concat([TABLE, TABLE]), METRICS, {})


def test_who_chooses_should_not_report() -> None:
    found = choosing.choose(Bisect("clip-text@a"), TABLE, METRICS, {})
    assert choosing.shared_models(found, CHOOSES, METRICS) == ["a"]
    assert choosing.shared_models(found, REPORTS, METRICS) == []
    assert choosing.choose(Best(), TABLE, METRICS, {}).upper_bound
