"""Curves and matched comparisons against plain loops."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tedbench.curves import Point, curves, matched
from tedbench.stats import clustered_mean

few = settings(max_examples=25, deadline=None)
STRENGTHS = (0.0, 0.25, 0.5, 1.0)
value = st.one_of(st.just(math.nan), st.integers(0, 20).map(lambda k: k / 20))
tables = st.lists(st.lists(value, min_size=8, max_size=8), min_size=1, max_size=6)
"""For each pair, eight values: two seeds at four strengths."""


def frame(table: list[list[float]], method: str = "m", metric: str = "d", **more: Any) -> pd.DataFrame:
    """Rows in long form; two pairs share a photo."""
    rows = [
        {"uid": f"p{p}", "image_id": f"i{p // 2}", "category": None, "method": method, "seed": k // 4,
         "strength": STRENGTHS[k % 4], "metric": metric, "value": v, **more}
        for p, values in enumerate(table) for k, v in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"seed": "Int64", "value": "float64"})


def same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, abs=1e-12)


def points_by_loop(table: list[list[float]], at: int) -> tuple[float, int, int]:
    """Mean, pairs with a value, images without one, at one strength."""
    means = []
    for values in table:
        there = [v for v in (values[at], values[4 + at]) if not math.isnan(v)]
        if there:
            means.append(sum(there) / len(there))
    failed = sum(math.isnan(values[at]) + math.isnan(values[4 + at]) for values in table)
    return (sum(means) / len(means) if means else math.nan), len(means), failed


@few
@given(tables)
def test_points_are_what_loops_give(table: list[list[float]]) -> None:
    (curve,) = curves(frame(table))
    assert [point.strength for point in curve.points] == list(STRENGTHS)
    for at, point in enumerate(curve.points):
        mean, pairs, failed = points_by_loop(table, at)
        assert same(point.mean, mean)
        assert (point.pairs, point.failed, point.asked) == (pairs, failed, len(table))


def test_the_interval_is_the_t_interval_where_no_photo_is_shared() -> None:
    y = [0.1, 0.4, 0.35, 0.8]
    scores = frame([[v] * 8 for v in y]).assign(image_id=lambda rows: rows["uid"])
    point = curves(scores, level=0.9)[0].points[2]
    half = scipy.stats.t.ppf(0.95, 3) * np.std(y, ddof=1) / 2
    assert (point.low, point.high) == pytest.approx((np.mean(y) - half, np.mean(y) + half))


def test_runs_methods_and_identities_stay_apart_and_in_order() -> None:
    parts = [("b", "m", "d"), ("a", "m", "d"), ("b", "n", "d"), ("b", "m", "e")]
    scores = pd.concat([frame([[0.5] * 8], method, metric, run=run) for run, method, metric in parts])
    found = [(curve.run, curve.method, curve.metric) for curve in curves(scores)]
    assert found == parts
    assert all(len(curve.points) == 4 for curve in curves(scores))


def test_a_strength_that_was_not_said_is_a_point_without_one() -> None:
    (curve,) = curves(frame([[0.5] * 8]).assign(strength=math.nan).drop_duplicates(["uid", "seed"]))
    (point,) = curve.points
    assert math.isnan(point.strength)
    assert (point.mean, point.pairs) == (0.5, 1)


def test_infinite_values_leave_no_interval() -> None:
    (curve,) = curves(frame([[math.inf] * 8, [1.0] * 8, [2.0] * 8]))
    assert curve.points[0] == Point(0.0, math.inf, pytest.approx(math.nan, nan_ok=True), curve.points[0].high, 3, 3, 0)


def test_nothing_scored_is_no_curve_and_nothing_made_a_curve_of_failures() -> None:
    assert curves(frame([[0.5] * 8]).head(0)) == ()
    (curve,) = curves(frame([[math.nan] * 8]))
    assert all((p.pairs, p.asked, p.failed) == (0, 1, 2) and math.isnan(p.mean) for p in curve.points)


def chosen_by_loop(d: list[float], y: list[float], seed: int, budget: float) -> tuple[float, float | None]:
    """Value and strength of one pair and seed."""
    best = None
    for at in range(4):
        if d[4 * seed + at] <= budget:
            best = at
    if best is None:
        return 0.0, None
    found = y[4 * seed + best]
    return (0.0 if math.isnan(found) else found), STRENGTHS[best]


@few
@given(st.lists(st.tuples(*[st.lists(value, min_size=8, max_size=8)] * 2), min_size=1, max_size=5), st.randoms())
def test_matched_is_what_loops_give(pairs: list[tuple[list[float], list[float]]], random: Any) -> None:
    distances, outcomes = [d for d, _ in pairs], [y for _, y in pairs]
    budgets = {f"p{p}": random.randint(0, 20) / 20 for p in range(len(pairs))}
    shuffled = frame(distances).sample(frac=1, random_state=random.randint(0, 99))
    found = matched(frame(outcomes, metric="y"), shuffled, budgets).set_index("uid")
    assert len(found) == len(pairs)
    for p, (d, y) in enumerate(pairs):
        seeds = [chosen_by_loop(d, y, seed, budgets[f"p{p}"]) for seed in (0, 1)]
        strengths = [s for _, s in seeds if s is not None]
        row = found.loc[f"p{p}"]
        assert row["value"] == pytest.approx(statistics.fmean(v for v, _ in seeds))
        assert row["within"] == len(strengths) / 2
        assert same(row["strength"], statistics.fmean(strengths) if strengths else math.nan)


@few
@given(tables, st.floats(0, 1))
def test_higher_is_closer_is_lower_of_the_negative(table: list[list[float]], budget: float) -> None:
    outcome, distance = frame([[float(k % 2) for k in range(8)]] * len(table), metric="y"), frame(table)
    negative = distance.assign(value=-distance["value"])
    one, other = matched(outcome, distance, budget), matched(outcome, negative, -budget, closer="higher")
    pd.testing.assert_frame_equal(one, other)


@few
@given(tables)
def test_a_larger_budget_never_turns_the_strength_down(table: list[list[float]]) -> None:
    outcome = frame(table, metric="y")
    small, large = (matched(outcome, frame(table), budget) for budget in (0.3, 0.7))
    assert (small["within"] <= large["within"]).all()
    whole = small["within"] == 1
    assert (small.loc[whole, "strength"] <= large.loc[whole, "strength"]).all()


def test_nothing_is_interpolated_and_none_is_a_failure() -> None:
    outcome = frame([[0, 0, 1, 1] * 2, [1, 1, 1, 1] * 2], metric="y")
    distance = frame([[0.0, 0.1, 0.2, 0.9] * 2, [0.6, 0.7, 0.8, 0.9] * 2])
    found = matched(outcome, distance, 0.5)
    assert found["value"].to_list() == [1.0, 0.0]  # p1 is never within budget, though it succeeds everywhere
    assert found["strength"].to_list()[0] == 0.5
    assert math.isnan(matched(outcome, distance, 0.5, otherwise=math.nan)["value"][1])


def test_methods_can_be_compared_pair_by_pair() -> None:
    distance = pd.concat([frame([[0.1] * 8] * 4, m) for m in "ab"])
    outcome = pd.concat([frame([[1.0] * 8] * 4, "a", "y"), frame([[1.0] * 8, [0.0] * 8] * 2, "b", "y")])
    found = matched(outcome, distance, 0.2).pivot(index=["uid", "image_id"], columns="method", values="value")
    difference = clustered_mean((found["a"] - found["b"]).to_list(), found.index.get_level_values("image_id").to_list())
    assert (difference.mean, difference.n, difference.clusters) == (0.5, 4, 2)


def test_images_of_no_stated_seed_or_strength_are_matched_too() -> None:
    blank = {"seed": pd.array([pd.NA], "Int64"), "strength": math.nan}
    outcome, distance = (frame([[v] * 8], metric=m).head(1).assign(**blank) for v, m in ((1.0, "y"), (0.1, "d")))
    found = matched(outcome, distance, 0.2)
    assert (found["value"][0], found["within"][0]) == (1.0, 1.0)
    assert math.isnan(found["strength"][0])


def test_what_cannot_be_matched() -> None:
    scores = frame([[0.5] * 8])
    with pytest.raises(ValueError, match="no budget for pair 'p0'"):
        matched(scores, scores, {"p1": 0.5})
    with pytest.raises(ValueError, match="not unique"):
        matched(pd.concat([scores, scores.assign(metric="e")]), scores, 0.5)
