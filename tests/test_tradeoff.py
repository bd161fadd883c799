"""Numbers of curves against numpy's interpolation, plain loops and simulation."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tedbench import stats
from tedbench.tradeoff import Tradeoff, tradeoff

few = settings(max_examples=40, deadline=None)
M, R = ("r", "m"), ("r", "r")
height = st.integers(0, 30).map(lambda k: k / 30)
curve = st.lists(st.tuples(height, height), min_size=2, max_size=6)
"""(distance, outcome) at each strength."""


def rows(method: str, table: Any, photos: list[str] | None = None) -> pd.DataFrame:
    """A row a pair and strength; `table` is (pairs, strengths)."""
    values = np.atleast_2d(np.asarray(table, dtype=float))
    return pd.DataFrame([
        {"run": "r", "method": method, "strength": float(s), "uid": f"p{p}",
         "image_id": photos[p] if photos else f"i{p}", "value": value}
        for p, line in enumerate(values) for s, value in enumerate(line)
    ])  # fmt: skip


def single(*curves: list[tuple[float, float]], binary: bool = False, higher: bool = True) -> Tradeoff:
    """Methods m0, m1 … of one pair, so that its values are the means."""
    x, y = (pd.concat([rows(f"m{k}", [point[at] for point in one]) for k, one in enumerate(curves)]) for at in (0, 1))
    return tradeoff(y, x, higher, binary)


def measured(n: int, sizes: list[int], seed: int, binary: bool = False) -> tuple[Tradeoff, dict[str, Any]]:
    """Two methods over pairs on photos of these sizes, with noise that pairs on a photo share."""
    rng = np.random.default_rng(seed)
    photos = [f"i{g}" for g, size in enumerate(sizes) for _ in range(size)]
    made: dict[str, Any] = {}
    for name, lift in (("m", 0.1), ("r", 0.0)):
        shared = np.repeat(rng.normal(0, 0.05, len(sizes)), sizes)[:, None]
        x = np.linspace(0.05, 0.6, n)[None] + shared + rng.normal(0, 0.03, (len(photos), n))
        y = np.linspace(0.2, 0.7, n)[None] + lift + 2 * shared + rng.normal(0, 0.1, (len(photos), n))
        made[name] = x, (rng.random(y.shape) < np.clip(y, 0, 1)).astype(float) if binary else y
    far = pd.concat([rows(name, x, photos) for name, (x, _) in made.items()])
    near = pd.concat([rows(name, y, photos) for name, (_, y) in made.items()])
    return tradeoff(near, far, binary=binary), {"photos": photos, **made}


def by_x(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    ordered = sorted(points, key=lambda point: point[0])
    return [x for x, _ in ordered], [y for _, y in ordered]


@few
@given(curve, height)
def test_a_matched_value_is_numpys_interpolation_inside_and_none_outside(points: Any, b: float) -> None:
    x, y = by_x(points)
    found = single(points).matched(("r", "m0"), b)[0]
    if not x[0] <= b <= x[-1]:
        assert math.isnan(found)
    elif x.count(b) > 1:  # a step straight up: the last of its points
        assert found == pytest.approx(y[len(x) - 1 - x[::-1].index(b)])
    else:
        assert found == pytest.approx(float(np.interp(b, x, y)), abs=1e-12)


def stepped(points: Any, b: float, worst: float = 0.0) -> float:
    """The outcome of one pair at its greatest strength within b."""
    inside = [y for x, y in points if x <= b]
    return inside[-1] if inside else worst


@few
@given(st.lists(curve, min_size=1, max_size=5), height, st.booleans())
def test_what_is_0_or_1_is_taken_pair_by_pair_at_a_measured_strength(pairs: Any, b: float, higher: bool) -> None:
    steps = min(len(one) for one in pairs)
    x, y = (rows("m", [[point[at] for point in one[:steps]] for one in pairs]) for at in (0, 1))
    found = tradeoff(y, x, higher, True).matched(("r", "m"), b)[0]
    means = x.groupby("strength")["value"].mean()
    if means.min() <= b <= means.max():
        wanted = [stepped(one[:steps], b, 0.0 if higher else 1.0) for one in pairs]
        assert found == pytest.approx(sum(wanted) / len(wanted))
    else:
        assert math.isnan(found)


@few
@given(curve, curve, st.booleans())
def test_area_is_the_mean_height_over_the_range_that_all_share(one: Any, other: Any, binary: bool) -> None:
    both = single(one, other, binary=binary)
    low, high = max(by_x(one)[0][0], by_x(other)[0][0]), min(by_x(one)[0][-1], by_x(other)[0][-1])
    assert [float(end[0]) for end in both.common()] == [low, high]
    for key, points in ((("r", "m0"), one), (("r", "m1"), other)):
        found = both.area(key)[0]
        if high <= low:
            assert math.isnan(found)
            continue
        x, y = by_x(points)
        fine = np.linspace(low, high, 4_001)
        fine = (fine[1:] + fine[:-1]) / 2
        heights = np.array([stepped(points, b) for b in fine]) if binary else np.interp(fine, x, y)
        assert found == pytest.approx(float(heights.mean()), abs=2e-3)


@few
@given(st.lists(curve, min_size=1, max_size=3), st.booleans())
def test_the_front_is_what_a_walk_along_the_budget_finds(curves: Any, higher: bool) -> None:
    found = single(*curves, higher=higher).front
    points = [(x, y if higher else -y, k) for k, one in enumerate(curves) for x, y in one]
    low, high = min(p[0] for p in points), max(p[0] for p in points)
    held = dict.fromkeys(range(len(curves)), 0.0)
    steps = sorted({p[0] for p in points})
    for b, following in itertools.pairwise(steps):
        inside = [p for p in points if p[0] <= b]
        top = max(y for _, y, _ in inside)
        first = min(x for x, y, _ in inside if y == top)
        owners = {k for x, y, k in inside if y == top and x == first}
        held[min(owners)] += (following - b) / (high - low)
    for k in range(len(curves)):
        share = found["r", f"m{k}"][0]
        assert math.isnan(share) if high == low else share == pytest.approx(held[k], abs=1e-9)


def test_points_without_a_value_are_left_out_and_lower_can_be_better() -> None:
    holes = single([(0.0, 0.9), (0.1, math.nan), (0.2, 0.5), (math.nan, 0.0)], higher=False)
    assert holes.matched(("r", "m0"), 0.1)[0] == pytest.approx(0.7)
    assert holes.front["r", "m0"][0] == 1.0
    infinite = single([(0.0, math.inf), (0.1, 2.0), (0.2, 1.0)])
    assert math.isnan(infinite.matched(("r", "m0"), 0.05)[0])  # the point at 0 has no finite mean
    assert infinite.matched(("r", "m0"), 0.15)[0] == pytest.approx(1.5)
    assert math.isnan(infinite.front["r", "m0"][0])


@pytest.mark.parametrize("binary", [False, True])
def test_every_resample_is_matched_anew(binary: bool) -> None:
    found, made = measured(6, [3, 1, 4, 2, 2, 5, 1, 2], 3, binary)
    counts = stats.resampled(8)
    labels = stats.numbered(made["photos"])
    budget = found.budget(R, 2.0)
    matched = found.matched(M, budget)
    for b in (0, 1, 7, 500):
        weight = np.ones(len(labels)) if b == 0 else counts[b - 1][labels]
        x, y = ((weight[:, None] * table).sum(0) / weight.sum() for table in made["m"])
        at = (weight * made["r"][0][:, 2]).sum() / weight.sum()
        assert budget[b] == pytest.approx(at)
        order = np.argsort(x)
        inside = x.min() <= at <= x.max()
        each = [stepped(list(zip(*line, strict=True)), at) for line in zip(*made["m"], strict=True)]
        wanted = (weight @ each / weight.sum() if binary else np.interp(at, x[order], y[order])) if inside else math.nan
        assert matched[b] == pytest.approx(wanted, nan_ok=True)


def test_values_of_pairs_have_the_mean_and_the_spread_of_the_matched_value() -> None:
    found, made = measured(6, [3, 1, 4, 2, 2, 5, 1, 2] * 5, 5)
    budget = found.budget(R, 2.0)
    values = found.pairs_at(M, float(budget[0]), made["r"][0][:, 2])
    assert values.mean() == pytest.approx(found.matched(M, budget)[0])
    linear = stats.clustered_mean(values.tolist(), made["photos"])
    whole = found.interval(found.matched(M, budget))
    assert whole.high - whole.low == pytest.approx(linear.high - linear.low, rel=0.1)


def test_an_interval_needs_photos_and_a_value_in_nearly_all_resamples() -> None:
    found, _ = measured(4, [2, 2, 2], 1)
    assert math.isfinite(found.interval(found.area(M)).low)
    beyond = found.interval(found.matched(M, float(found.means[M][0][0].max())))  # many resamples end before it
    assert math.isfinite(beyond.mean) and math.isnan(beyond.low)
    alone = single([(0.0, 0.1), (0.2, 0.4)])
    assert math.isnan(alone.interval(alone.area(("r", "m0"))).low)


def test_the_reference_is_not_favoured_where_steps_are_coarse() -> None:
    """Success rises with LPIPS alone, and the other's LPIPS lies a hair above the reference's at every strength."""
    rng = np.random.default_rng(0)
    base, photos = rng.uniform(0, 0.1, 300), [f"i{k // 3}" for k in range(300)]
    grid, luck = np.array([0.05, 0.25, 0.45]), rng.random(300)
    x = {name: base[:, None] + grid[None] + shift + rng.normal(0, 0.03, (300, 3))
         for name, shift in (("r", 0.0), ("m", 1e-4))}  # fmt: skip
    y = {name: (luck[:, None] < 2 * far).astype(float) for name, far in x.items()}
    far, near = (pd.concat([rows(name, one, photos) for name, one in made.items()]) for made in (x, y))
    found = tradeoff(near, far, binary=True)
    budget = found.budget(R, 1.0)
    assert abs(found.matched(M, budget)[0] - found.matched(R, budget)[0]) < 0.05


def test_skewed_heights_get_ends_that_are_not_alike() -> None:
    rng = np.random.default_rng(1)
    photos = [f"i{g}" for g, size in enumerate(TEDBENCH) for _ in range(size)]
    x = np.linspace(0.1, 0.5, 4)[None] + rng.normal(0, 0.02, (100, 4))
    y = np.exp(rng.normal(0, 1, 100))[:, None] * np.linspace(1, 2, 4)[None]
    found = tradeoff(rows("m", y, photos), rows("m", x, photos))
    height = found.matched(M, 0.3)
    straight = found.interval(height)
    skewed = found.interval(height, "height", (found.pairs_at(M, 0.3), photos))
    assert (straight.kind, skewed.kind) == ("bootstrap-se", "bootstrap-t")
    assert skewed.high - skewed.mean > 1.2 * (skewed.mean - skewed.low)


def test_no_success_is_not_certainty_of_none() -> None:
    photos = [f"i{k // 2}" for k in range(40)]
    x = rows("m", np.tile([0.1, 0.2], (40, 1)), photos)
    found = tradeoff(x.assign(value=0.0), x, binary=True)
    wide = found.interval(found.matched(("r", "m"), 0.15), "proportion")
    assert wide.low == 0.0 and 0.1 < wide.high < 0.25


TEDBENCH = [
    1, 5, 2, 3, 2, 2, 1, 4, 3, 1, 2, 6, 2, 3, 3, 2, 1, 2, 4, 3, 2, 1, 5, 2, 3, 3, 2, 4, 2, 1, 3, 2, 4, 2, 3, 2, 3, 2, 2,
]  # fmt: skip
"""39 photos with 100 pairs, about as uneven as TEdBench's."""


@pytest.mark.slow
@pytest.mark.parametrize("binary", [False, True])
def test_intervals_of_differences_at_one_budget_cover(binary: bool) -> None:
    """The truth is known: both methods' curves are the same straight line, `lift` apart."""
    assert (len(TEDBENCH), sum(TEDBENCH)) == (39, 100)
    inside = 0
    many = [measured(6, TEDBENCH * 20, 990 + k, binary)[0] for k in range(5)]
    lift = sum(float((one.matched(M, one.budget(R, 2.0)) - one.matched(R, one.budget(R, 2.0)))[0]) for one in many) / 5
    times = 300
    for seed in range(times):
        found, _ = measured(6, TEDBENCH, seed, binary)
        budget = found.budget(R, 2.0)
        ends = found.interval(found.matched(M, budget) - found.matched(R, budget))
        inside += ends.low <= lift <= ends.high
    assert inside / times >= 0.92  # 95%, less 2.4 standard errors of this many tries


def test_ten_thousand_resamples_of_a_full_table_take_less_than_ten_seconds() -> None:
    """Six methods at eleven strengths over 100 pairs, seeds averaged, six metrics; all numbers of all methods."""
    rng = np.random.default_rng(0)
    photos = [f"i{g}" for g, size in enumerate(TEDBENCH) for _ in range(size)]
    far = pd.concat([rows(f"m{k}", rng.random((100, 11)).cumsum(1) / 11, photos) for k in range(6)])
    started = time.process_time()
    for _ in range(6):
        found = tradeoff(far.assign(value=rng.random(len(far))), far)
        budget = found.budget(("r", "m0"), 5.0)
        for key in found.grids:
            for numbers in (found.matched(key, budget), found.area(key), found.front[key]):
                assert len(numbers) == 10_000
                found.interval(numbers)
    assert time.process_time() - started < 10
