"""Crossed intervals: against statsmodels, by hand, and by how often they cover."""

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binomtest
from statsmodels.regression.mixed_linear_model import VCSpec

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


def test_is_what_the_pigeonhole_bootstrap_has_beyond_independent_answers():
    """Every one of the 4^4 × 3^3 draws of raters and photos of a table of 4 by 3, with its probability."""
    rng = np.random.default_rng(7)
    psi = rng.normal(size=(4, 3)) + 2 * rng.normal(size=(4, 1)) + 2 * rng.normal(size=(1, 3))
    psi -= psi.mean()
    draws = [np.array([np.bincount(d, minlength=k) for d in itertools.product(range(k), repeat=k)]) for k in (4, 3)]
    moved = draws[0] @ psi @ draws[1].T
    rater, photo = (index.ravel() for index in np.indices(psi.shape))
    (v_r, _), (v_p, _), (v_rp, _) = (crossed._jackknife(psi.ravel(), at) for at in (rater, photo, np.arange(12)))
    # of clusters of equal size, the jackknife has G/(G − 1) for the bootstrap's 1
    s_r, s_p, s_rp = v_r * 3 / 4, v_p * 2 / 3, v_rp * 11 / 12
    assert moved.var() == pytest.approx(s_r * (1 - 1 / 3) + s_p * (1 - 1 / 4) + s_rp)
    assert crossed.variance(psi.ravel(), rater, photo).value == pytest.approx(max(v_rp, v_r + v_p - v_rp))


def test_is_near_a_crossed_mixed_model():
    """A linear model of the answers with normal raters and photos, fitted by statsmodels (restricted likelihood)."""
    y, r, p = crossing(np.random.default_rng(11), photos=15, raters=30, spread=1.0)
    parts = {"r": np.eye(30)[r], "p": np.eye(15)[p]}
    names = [[f"{name}{k}" for k in range(x.shape[1])] for name, x in parts.items()]
    components = VCSpec(["r", "p"], [[one] for one in names], [[x] for x in parts.values()])
    fit = sm.MixedLM(y, np.ones((len(y), 1)), np.zeros(len(y)), exog_vc=components).fit()
    found = crossed.variance((y - y.mean()) / len(y), r, p)
    assert found.value == pytest.approx(float(fit.bse_fe[0]) ** 2, rel=0.25)
    assert found.value > 2 * y.var() / len(y)


def test_independent_answers_are_the_least_that_an_interval_takes_them_for():
    rng = np.random.default_rng(5)
    for _ in range(50):
        y, r, p = crossing(rng, photos=6, raters=10, each=6, spread=0.0)
        psi = (y - y.mean()) / len(y)
        assert crossed.variance(psi, r, p).value >= (psi @ psi) * 0.999


def test_clusters_of_unequal_size_are_worth_fewer():
    """Kish: 100 answers on one photo and 1 on each of ten others are worth little more than one photo."""
    photo = np.r_[np.zeros(100, int), np.arange(1, 11)]
    psi = np.random.default_rng(6).normal(size=110)
    assert crossed._jackknife(psi - psi.mean(), photo)[1] == pytest.approx(110**2 / (100**2 + 10))
    found = crossed.rate((psi > 0).astype(float).tolist(), list(range(110)), photo.tolist())
    assert 1 <= found.df < 30
    assert 0 < found.low < found.mean < found.high < 1


def test_a_pull_to_one_side_does_not_widen_what_balance_takes_out():
    """Left is chosen 90 times of 100 whatever it shows; a rate over both sides hardly varies."""
    rng = np.random.default_rng(8)
    r, p = np.repeat(np.arange(40), 10), np.tile(np.arange(20), 20)
    left = np.tile([True, False], 200)
    y = np.where(rng.random(400) < 0.9, left, ~left).astype(float)
    plain, known = crossed.rate(y, r, p), crossed.rate(y, r, p, sides=left)
    assert known.mean == plain.mean
    assert known.high - known.low < 0.8 * (plain.high - plain.low)
    always = crossed.rate(left.astype(float), r, p, sides=left)
    assert always.low < 0.35
    assert always.high > 0.65


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
    assert binomtest(hits, runs, 0.93, "less").pvalue > 0.002, hits / runs
    assert binomtest(hits, runs, 0.985, "greater").pvalue > 0.002, hits / runs
    assert plain / runs < 0.8
