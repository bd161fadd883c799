from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from tedbench.stats import clustered_mean, seed_means

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


def test_coverage() -> None:
    random = np.random.default_rng(0)
    g = np.repeat(np.arange(30), 3)
    hits = 0
    for _ in range(1000):
        found = clustered_mean((random.normal(size=30)[g] + random.normal(size=90)).tolist(), g.tolist())
        hits += found.low <= 0 <= found.high
    assert 930 <= hits <= 970


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
