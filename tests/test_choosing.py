from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tedbench import choosing, registry
from tedbench.errors import UsageError
from tedbench.report import ruled
from tedbench.report.shown import Shown
from tedbench.report.table import Material
from tedbench.rising import Bisect, Gain
from tedbench.rules import Best, Budget, Fixed, Rule, Sweep
from tedbench.types import MetricFacts

CHOOSES, REPORTS, LPIPS, BOTH = "clip-a/cos", "clip-b/cos", "lpips-0.1/64", "oracle-both/1"


def facts(spec: str, identity: str, **named: str) -> MetricFacts:
    return MetricFacts(spec, identity, not spec.startswith("lpips"), 0, 1, named)


METRICS = {
    CHOOSES: facts("clip-text@a", CHOOSES, backbone="a"),
    REPORTS: facts("clip-text@b", REPORTS, backbone="b"),
    LPIPS: facts("lpips-alex@256", LPIPS, backbone="alex"),
    BOTH: facts("oracle-both", BOTH, family="oracle-both", backbone="oracle", values="binary"),
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


cell = st.one_of(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), st.just(math.nan))
sweeps = st.lists(st.tuples(cell, cell, cell), min_size=3, max_size=3)  # a pair: three seeds at three strengths


def seeded(chooses: list[list[tuple[float, ...]]], lpips: list[list[tuple[float, ...]]]) -> pd.DataFrame:
    rows = [
        {"uid": f"p{p}", "image_id": "x", "method": "m", "seed": seed, "strength": at / 2, "metric": metric,
         "value": value}
        for metric, pairs in ((CHOOSES, chooses), (LPIPS, lpips)) for p, pair in enumerate(pairs)
        for seed, sweep in enumerate(pair) for at, value in enumerate(sweep)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(sweeps, sweeps), min_size=1, max_size=3), st.sampled_from(["clip-text@a", "lpips-alex@256"]))
def test_the_best_seed_is_what_looking_at_each_finds(
    pairs: list[tuple[list[tuple[float, ...]], list[tuple[float, ...]]]], by: str
) -> None:
    chooses, lpips = ([pair[i] for pair in pairs] for i in (0, 1))
    table = seeded(chooses, lpips)
    found = choosing.choose(Budget(0.35, seed_by=by), table, METRICS, {})
    assert found.table["uid"].tolist() == [f"p{p}" for p in range(len(pairs))]
    assert (found.best_of, found.seed_by, found.looked) == (3, by, 9)
    wanted: list[tuple[int, bool, float, float]] = []
    for clip, cost in zip(chooses, lpips, strict=True):
        within = [[at for at in range(3) if sweep[at] <= 0.35] for sweep in cost]
        chosen = {seed: one[-1] for seed, one in enumerate(within) if one}
        worth = {s: clip[s][at] if by == "clip-text@a" else -cost[s][at] for s, at in chosen.items()}
        there = {s: v for s, v in worth.items() if not math.isnan(v)}
        best = [s for s, v in there.items() if v == max(there.values())]
        kept = [*best, *chosen, 0][0]
        at = chosen.get(kept)
        wanted.append((kept, False, math.nan, 9.0) if at is None else (kept, True, at / 2, cost[kept][at]))
    got = choosing.outcomes(found, table[table["metric"] == LPIPS], otherwise=9.0)
    columns = ["seed", "chosen", "strength", "value"]
    pd.testing.assert_frame_equal(got[columns], pd.DataFrame(wanted, columns=columns), check_dtype=False)


def test_a_bound_of_n_seeds_is_what_any_image_of_the_pair_reaches() -> None:
    both = {"a1": [[0, 0, 0], [0, 1, 0]], "b1": [[0, 0, 0], [0, 0, 0]], "c1": [[1, 0, 0], [0, 0, 1]]}
    table = pd.DataFrame([
        {"uid": uid, "image_id": uid, "method": "m", "seed": seed, "strength": at / 2, "metric": BOTH, "value": value}
        for uid, pair in both.items() for seed, sweep in enumerate(pair) for at, value in enumerate(sweep)
    ])  # fmt: skip
    found = choosing.choose(Best(seed_by="oracle-both"), table, METRICS, {})
    values = choosing.outcomes(found, table).set_index("uid")["value"]
    assert values.to_dict() == {uid: max(itertools.chain(*pair)) for uid, pair in both.items()}
    assert found.upper_bound
    assert found.table["seed"].tolist() == [1, 0, 0]


def test_looks_are_counted_over_all_seeds() -> None:
    pair: list[tuple[float, ...]] = [(0.1, 0.3, 0.3), (0.1, 0.1, 0.3), (0.1, 0.1, 0.4)]
    table = seeded([pair], [pair])
    alone = choosing.choose(Gain("clip-text@a", 0.15), table, METRICS, {})
    kept = choosing.choose(Gain("clip-text@a", 0.15, seed_by="clip-text@a"), table, METRICS, {})
    assert (alone.table["looked"].tolist(), alone.best_of, alone.seed_by) == ([2, 3, 3], 1, "")
    assert kept.table[["seed", "strength", "looked", "seeds"]].to_numpy().tolist() == [[2, 1, 8, 3]]
    assert choosing.choose(Fixed(seed_by="clip-text@a"), table, METRICS, {"m": 0.5}).looked == 3


def test_one_stated_or_unstated_image_a_seed_is_chosen_among_too() -> None:
    table = seeded([[(0.1,), (0.3,), (0.2,)]], [[(0.1,), (0.3,), (0.2,)]])
    for strength in (0.0, math.nan):
        one = table.assign(strength=strength)
        assert choosing.choose(Fixed(seed_by="clip-text@a"), one, METRICS, {}).table["seed"].tolist() == [1]
        assert choosing.choose(Fixed(seed_by="lpips-alex@256"), one, METRICS, {}).table["seed"].tolist() == [0]


def test_a_seed_that_is_not_known_is_one_seed() -> None:
    alone = TABLE[TABLE["seed"] == 0]
    unknown = alone.assign(seed=pd.array([pd.NA] * len(alone), dtype="Int64"))
    for rule in (Budget(0.5), Budget(0.5, seed_by="clip-text@a")):
        found = choosing.choose(rule, unknown, METRICS, {})
        assert choosing.outcomes(found, unknown[unknown["metric"] == BOTH])["value"].tolist() == [0, 0]
        assert (found.table["seed"].isna().all(), found.best_of) == (True, 1)


def test_who_keeps_the_seed_is_read_too() -> None:
    found = choosing.choose(Fixed(0.5, seed_by="clip-text@a"), TABLE, METRICS, {})
    assert found.reads == (CHOOSES,)
    assert choosing.shared_models(found, CHOOSES, METRICS) == ["a"]
    with pytest.raises(UsageError, match="reads clip-text@c, which was not scored"):
        choosing.choose(Fixed(0.5, seed_by="clip-text@c"), TABLE, METRICS, {})


@dataclass(frozen=True)
class Strange:
    """A stranger's rule, which knows nothing of seeds."""

    upper_bound: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ()

    def choose(self, sweep: Sweep) -> int | None:
        return len(sweep.strengths) - 1


def test_a_rule_without_the_field_averages_seeds() -> None:
    assert isinstance(Strange(), Rule)
    found = choosing.choose(Strange(), TABLE, METRICS, {})
    assert (len(found.table), found.best_of, found.seed_by) == (4, 1, "")


@pytest.mark.parametrize("spec", ["fixed", "fixed@0.5", "budget@0.2", "best@oracle-both", "knee@clip-text@a",
    "trade@clip-text@a?price=2", "gain@clip-text@a", "share@clip-text@a", "bisect@clip-text@a"])  # fmt: skip
def test_every_rule_takes_the_field_in_its_spec(spec: str) -> None:
    rule = registry.make("rule", f"{spec}{'&' if '?' in spec else '?'}seed_by=clip-text@b")
    assert rule.seed_by == "clip-text@b"
    assert rule.reads == (*registry.make("rule", spec).reads, "clip-text@b")


def test_the_table_says_best_of_how_many_and_by_what() -> None:
    scored = TABLE.assign(run="r")
    material = Material({}, scored[["uid", "image_id"]].drop_duplicates(), scored.assign(status="ok"), scored, METRICS)
    specs = ("budget@0.5", "budget@0.5?seed_by=clip-text@a")
    made = ruled.table(material, specs, {("r", "m"): Shown(0.5, "default", 3, "")})
    rows = made[made["metric"] == CHOOSES].set_index("rule")
    assert rows["best_of"].to_dict() == {"fixed": 1, specs[0]: 1, specs[1]: 2}
    assert rows["seed_by"].to_dict() == {"fixed": "", specs[0]: "", specs[1]: "clip-text@a"}
    assert rows["looked"].to_dict() == {"fixed": 1, specs[0]: 3, specs[1]: 6}  # of both seeds' three
    assert rows["of"].to_dict() == {"fixed": 3, specs[0]: 3, specs[1]: 6}
    assert rows["sweeps"].to_dict() == {"fixed": 4, specs[0]: 4, specs[1]: 2}
    assert rows["shares_model"].to_dict() == {"fixed": "", specs[0]: "", specs[1]: "a"}


def test_whoever_reads_the_truth_is_an_upper_bound() -> None:
    for rule, knows in (
        (Best(), True), (Gain("oracle-both", 0.5), True), (Gain("clip-text@a"), False),
        (Fixed(0.5, seed_by="oracle-both"), True),
    ):  # fmt: skip
        assert choosing.choose(rule, TABLE, METRICS, {}).upper_bound == knows


def test_an_image_that_failed_is_not_chosen_though_its_success_is_0() -> None:
    """As `table.gather` gives scores: of a failed edit 0 where success is 0 or 1, and nothing of others."""
    key = ["uid", "seed", "strength"]
    failed = pd.DataFrame([("a1", 0, 0.0), ("b1", 0, 0.0), ("b1", 0, 0.5), ("b1", 0, 1.0)], columns=key)
    gone = TABLE[key].merge(failed.assign(gone=True), on=key, how="left")["gone"].notna().to_numpy()
    worth = TABLE["value"].where(TABLE["metric"] != BOTH, 0.0).where(TABLE["metric"] == BOTH)
    scored = TABLE.assign(run="r", value=TABLE["value"].where(~gone, worth))
    cells = scored[scored["metric"] == BOTH].assign(status="ok")
    cells["status"] = cells["status"].where(~gone[(scored["metric"] == BOTH).to_numpy()], "failed")
    material = Material({}, scored[["uid", "image_id"]].drop_duplicates(), cells, scored, METRICS)
    none = scored.assign(value=scored["value"].where(scored["metric"] != BOTH, 0.0))  # nothing succeeds: all are equal
    equal = Material({}, material.pairs, cells, none, METRICS)
    for one in (material, equal):
        made = ruled.table(one, ["best@oracle-both"], {("r", "m"): Shown(0.5, "default", 3, "")})
        rows = made[made["rule"] == "best@oracle-both"].set_index("metric")
        assert rows.loc[BOTH, "unchosen"] == 1 and rows.loc[BOTH, "n"] == 2  # b1 with seed 0: all of it failed
        assert rows.loc[LPIPS, "n"] == 2  # what is chosen is there, and b1 has another seed
    assert rows.loc[BOTH, "mean"] == 0


def test_a_metric_of_the_mask_knows_the_answer() -> None:
    for facts_there, needs, knows in (
        ({"family": "lpips", "convention": "outside"}, (), True), ({"family": "lpips", "convention": "all"}, (), False),
        ({"family": "mine"}, ("truth",), True), ({"family": "clip-directional"}, ("source_text",), False),
        ({"family": "oracle-both"}, (), True),
    ):  # fmt: skip
        assert MetricFacts("x", "x", True, 0, 1, facts_there, needs=needs).knows_the_answer == knows
