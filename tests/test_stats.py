from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from tedbench import stats
from tedbench.stats import bootstrap_t, clustered_mean, clustered_proportion, interval, seed_means

numbers = st.floats(-100, 100).map(lambda x: round(x, 6))
samples = st.lists(st.tuples(numbers, st.integers(0, 5)), min_size=2, max_size=40).filter(
    lambda rows: len({c for _, c in rows}) > 1
)


def split(rows: list[tuple[float, int]]) -> tuple[list[float], list[int]]:
    return [y for y, _ in rows], [c for _, c in rows]


def ends(*args: object) -> tuple[float, float, float]:
    found = clustered_mean(*args)  # type: ignore[arg-type]
    return found.mean, found.low, found.high


@given(samples)
def test_equals_statsmodels(rows: list[tuple[float, int]]) -> None:
    y, g = split(rows)
    # statsmodels multiplies by G/(G-1)·(n-1)/(n-k); on a constant k = 1, and only G/(G-1) is left.
    fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": np.array(g)}, use_t=True)
    low, high = fit.conf_int(0.05)[0]
    assert ends(y, g) == pytest.approx((fit.params[0], low, high), rel=1e-9, abs=1e-7)


@given(samples, numbers, st.floats(0.01, 100))
def test_shift_and_scale(rows: list[tuple[float, int]], shift: float, scale: float) -> None:
    y, g = split(rows)
    mean, low, high = ends(y, g)
    moved = ends([scale * v + shift for v in y], g)
    assert moved == pytest.approx(tuple(scale * v + shift for v in (mean, low, high)), rel=1e-9, abs=1e-6)


@given(samples, st.randoms())
def test_order_does_not_matter(rows: list[tuple[float, int]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ends(*split(shuffled)) == pytest.approx(ends(*split(rows)), abs=1e-9)


@given(st.lists(numbers, min_size=2, max_size=30), st.sampled_from([0.5, 0.9, 0.95]))
def test_without_shared_photos_it_is_the_t_interval(y: list[float], level: float) -> None:
    found = clustered_mean(y, range(len(y)), level)
    error = np.std(y, ddof=1) / math.sqrt(len(y))
    half = scipy.stats.t.ppf((1 + level) / 2, len(y) - 1) * error
    assert (found.low, found.high) == pytest.approx((np.mean(y) - half, np.mean(y) + half), abs=1e-8)


def test_repeating_every_pair_does_not_narrow_the_interval() -> None:
    y, g = [1.0, 2.0, 4.0], ["a", "b", "c"]
    assert ends(y * 5, g * 5) == pytest.approx(ends(y, g))
    assert clustered_mean(y * 5, g * 5).n == 15
    assert clustered_mean(y * 5, g * 5).clusters == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gaussian", "exponential", "p=0.05", "p=0.7", "p=0.9"])
def test_coverage_on_the_photos_of_tedbench(kind: str) -> None:
    covered = runpy.run_path(str(Path(__file__).parent / "benchmarks/interval_coverage.py"))["covered"]
    found = covered(kind, 0.4, 2000, seed=1)
    assert 0.92 <= found["ours"] <= 0.97, found
    assert found["plain t"] < 0.9
    if kind in ("p=0.05", "p=0.9"):
        assert found["percentile bootstrap of photos"] < 0.92


def test_one_cluster_has_no_interval() -> None:
    found = clustered_mean([1.0, 3.0], ["a", "a"])
    assert found.mean == 2
    assert math.isnan(found.low) and math.isnan(found.high)


def test_infinite_values() -> None:
    found = clustered_mean([1.0, math.inf], ["a", "b"])
    assert found.mean == math.inf
    assert math.isnan(found.low) and math.isnan(found.high)
    assert math.isnan(clustered_mean([-math.inf, math.inf], ["a", "b"]).mean)


def test_nothing() -> None:
    found = clustered_mean([], [])
    assert math.isnan(found.mean)
    assert (found.n, found.clusters) == (0, 0)


@pytest.mark.parametrize(
    ("y", "g", "level"), [([math.nan], ["a"], 0.95), ([1.0], [], 0.95), ([1.0, 2.0], ["a", "b"], 1.0)]
)
def test_what_it_refuses(y: list[float], g: list[str], level: float) -> None:
    with pytest.raises(ValueError, match=r"NaN|values for|level"):
        clustered_mean(y, g, level)


def test_a_pair_with_many_seeds_counts_once() -> None:
    scores = pd.DataFrame(
        {"uid": ["a", "a", "a", "b", "c"], "seed": [0, 1, 2, 0, 0], "value": [1.0, 3.0, math.nan, 5.0, math.nan]}
    )
    found = seed_means(scores, ["uid"]).set_index("uid")["value"]
    assert found["a"] == 2
    assert found["b"] == 5
    assert math.isnan(found["c"])


def rows_of(sizes: list[int]) -> list[int]:
    return np.repeat(np.arange(len(sizes)), sizes).tolist()


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_a_proportion_without_shared_photos_is_wilsons(y: list[bool]) -> None:
    n, p = len(y), sum(y) / len(y)
    found = clustered_proportion(list(map(float, y)), range(n))
    q = scipy.stats.t.ppf(0.975, n - 1) if n < 10 else scipy.stats.norm.ppf(0.975)
    # the ends are where the score test with that quantile changes its mind
    for end in (found.low, found.high):
        if 0 < end < 1:
            assert abs(p - end) == pytest.approx(q * math.sqrt(end * (1 - end) / n), rel=1e-6)
    assert 0 <= found.low <= p <= found.high <= 1
    assert found.kind == "wilson"
    if n >= 10:
        wanted = proportion_confint(sum(y), n, method="wilson")
        assert (found.low, found.high) == pytest.approx((min(wanted[0], p), max(wanted[1], p)))


def test_photos_that_agree_with_themselves_count_once() -> None:
    once = clustered_proportion([0.0, 1.0, 1.0, 0.0, 1.0], range(5))
    many = clustered_proportion([0.0, 1.0, 1.0, 0.0, 1.0] * 4, list(range(5)) * 4)
    assert (many.low, many.high) == pytest.approx((once.low, once.high))
    assert (many.n, many.clusters) == (20, 5)


@pytest.mark.parametrize("all_", [0.0, 1.0])
def test_a_proportion_of_nothing_or_all_has_an_interval_of_photos(all_: float) -> None:
    few = clustered_proportion([all_] * 30, rows_of([10, 10, 10]))
    many = clustered_proportion([all_] * 30, range(30))
    assert few.high - few.low > many.high - many.low > 0
    assert all_ in (few.low, few.high)


def brute(y: list[float], g: list[int], draws: np.ndarray) -> tuple[float, float]:
    """Bootstrap-t by definition: each resample written out, with statsmodels' errors."""

    def error(values: list[float], groups: list[int]) -> float:
        return float(sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": groups}).bse[0])

    ts = []
    for weights in draws:
        values, groups, k = [], [], 0
        for cluster, times in enumerate(weights.astype(int)):
            for _ in range(times):  # a photo drawn twice is two photos
                values += [v for v, c in zip(y, g, strict=True) if c == cluster]
                groups += [k] * g.count(cluster)
                k += 1
        ts.append((np.mean(values) - np.mean(y)) / error(values, groups))
    low, high = np.quantile(ts, [0.025, 0.975])
    return np.mean(y) - high * error(y, g), np.mean(y) - low * error(y, g)


def test_bootstrap_t_is_what_it_says() -> None:
    random = np.random.default_rng(3)
    g = rows_of([1, 2, 3, 1, 2, 4, 1, 1, 2, 3])
    y = random.exponential(size=len(g)).tolist()
    found = bootstrap_t(y, g, resamples=300)
    assert (found.low, found.high) == pytest.approx(brute(y, g, stats.resampled(10, 300)), rel=1e-9)
    assert found.kind == "bootstrap-t"
    assert found == bootstrap_t(y, g, resamples=300)  # the same each time
    long_tail = bootstrap_t(np.exp(random.normal(size=60)).tolist(), range(60))
    assert long_tail.high - long_tail.mean > long_tail.mean - long_tail.low  # leans to where the tail is


@pytest.mark.parametrize("ones", [1, 2, 3])
def test_of_mostly_equal_values_no_bootstrap_is_given(ones: int) -> None:
    """A seventh or more of the resamples would have none of the ones: no spread, and no t."""
    y = [1.0] * ones + [0.0] * (39 - ones)
    assert bootstrap_t(y, range(39)) == clustered_mean(y, range(39))
    assert interval(y, range(39)).low < 0 < interval(y, range(39)).high


def test_few_photos_say_little() -> None:
    two = clustered_proportion([1.0, 0.0] * 15, rows_of([15, 15]))
    assert two.high - two.low > 0.8  # 30 pairs, but two photos
    skewed = [0.0, 0.1, 0.2, 0.1, 5.0]
    assert interval(skewed, range(5)) == clustered_mean(skewed, range(5))


@given(samples)
def test_the_mean_is_inside(rows: list[tuple[float, int]]) -> None:
    y, g = split(rows)
    found = bootstrap_t(y * 3, [c + 6 * k for k in range(3) for c in g], resamples=300)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9


def test_the_rule() -> None:
    flat, long_tail = list(np.linspace(-1, 1, 20)), list(np.linspace(0, 2, 20) ** 6)
    assert interval(flat, range(20)).kind == "t"
    assert interval(long_tail, range(20)).kind == "bootstrap-t"
    assert interval([0.0, 1.0] * 10, range(20), proportion=True).kind == "wilson"
    assert interval([2.0] * 20, range(20)).kind == "t"
    assert interval([1.0, math.inf], ["a", "b"]).kind == ""
    with pytest.raises(ValueError, match="between 0 and 1"):
        interval([0.0, 2.0], range(2), proportion=True)


@given(samples, numbers, st.floats(0.01, 100))
def test_bootstrap_t_moves_with_its_data(rows: list[tuple[float, int]], shift: float, scale: float) -> None:
    y, g = split(rows)
    found = bootstrap_t(y, g, resamples=200)
    moved = bootstrap_t([scale * v + shift for v in y], g, resamples=200)
    if found.kind == moved.kind == "bootstrap-t" and np.ptp(y) > 1e-3:
        wanted = scale * found.low + shift, scale * found.high + shift
        assert (moved.low, moved.high) == pytest.approx(wanted, rel=1e-5, abs=1e-5 * (1 + scale * np.abs(y).max()))
