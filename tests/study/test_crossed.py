"""Crossed intervals: against statsmodels, by hand, and by how often they cover."""

import numpy as np
import pytest
import statsmodels.api as sm

from tedbench import stats
from tedbench.study import crossed


def crossing(rng, photos=12, raters=40, each=14, spread=0.7):
    r = np.repeat(np.arange(raters), each)
    p = np.concatenate([rng.permutation(np.tile(np.arange(photos), 2))[:each] for _ in range(raters)])
    logits = spread * rng.normal(size=photos)[p] + spread * rng.normal(size=raters)[r]
    return (rng.random(len(r)) < 1 / (1 + np.exp(-logits))).astype(float), r, p


def test_one_way_parts_are_the_jackknife_done_by_hand():
    y, r, p = crossing(np.random.default_rng(0))
    psi = (y - y.mean()) / len(y)
    for index in (r, p):
        without = np.array([y[index != g].mean() for g in np.unique(index)])
        groups = len(without)
        wanted = (groups - 1) / groups * np.sum((without - y.mean()) ** 2)
        assert crossed._jackknife(psi, index)[0] == pytest.approx(wanted)


def test_is_near_the_two_way_sandwich_where_clusters_are_many():
    y, r, p = crossing(np.random.default_rng(1), photos=60, raters=300)
    fit = sm.OLS(y, np.ones_like(y)).fit(cov_type="cluster", cov_kwds={"groups": np.column_stack([r, p])})
    found = crossed.variance((y - y.mean()) / len(y), r, p)
    assert found.value == pytest.approx(float(fit.cov_params()[0, 0]), rel=0.05)


def test_answers_that_all_agree_have_an_interval_that_is_no_point():
    found = crossed.rate([1.0] * 60, [k % 10 for k in range(60)], [k % 6 for k in range(60)])
    assert found.high == 1.0
    assert 0.4 < found.low < 0.8
    assert found.effective == 6


def test_p_is_the_level_at_which_the_interval_ends_at_one_half():
    y, r, p = crossing(np.random.default_rng(2), spread=1.2)
    y = np.maximum(y, np.random.default_rng(3).random(len(y)) < 0.15)
    found = crossed.rate(y.tolist(), r.tolist(), p.tolist())
    again = crossed.rate(y.tolist(), r.tolist(), p.tolist(), level=1 - found.p)
    assert min(abs(again.low - 0.5), abs(again.high - 0.5)) < 1e-9


def test_one_rater_or_photo_gives_no_interval():
    assert np.isnan(crossed.rate([1.0, 0.0], ["a", "a"], ["x", "y"]).low)
    assert np.isnan(crossed.rate([], [], []).mean)


def test_covers_where_wilson_does_not():
    rng, hits, plain, runs = np.random.default_rng(4), 0, 0, 600
    for _ in range(runs):
        y, r, p = crossing(rng)
        found = crossed.rate(y.tolist(), r.tolist(), p.tolist())
        low, high = stats.wilson(found.mean, len(y), 1.96)
        hits, plain = hits + (found.low <= 0.5 <= found.high), plain + (low <= 0.5 <= high)
    error = 2.6 * np.sqrt(0.95 * 0.05 / runs)
    assert 0.93 - error <= hits / runs <= 0.985 + error
    assert plain / runs < 0.8
