"""What a study can tell, against simulated answers in which photos and raters cross."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from statsmodels.stats.proportion import proportion_confint

from tedbench import stats
from tedbench.study import power
from tedbench.study.power import Design

PHOTOS, RATERS, EACH = 30, 80, 10
PHOTO, RATER = 0.35, 0.25
"""Standard deviations, of a latent scale on which an answer's own is 1."""


def correlation(shared: float, p: float) -> float:
    """Of two answers that share a part of the latent variance: the phi of a bivariate normal cut at p."""
    total = 1 + PHOTO**2 + RATER**2
    cut = norm.ppf(p)
    both = multivariate_normal.cdf([cut, cut], cov=[[1, shared / total], [shared / total, 1]])
    return float((both - p**2) / (p * (1 - p)))


def answers(rng: np.random.Generator, p: float) -> np.ndarray:
    rater = np.repeat(np.arange(RATERS), EACH)
    photo = np.concatenate([rng.permutation(PHOTOS)[:EACH] for _ in range(RATERS)])
    latent = (
        PHOTO * rng.normal(size=PHOTOS)[photo] + RATER * rng.normal(size=RATERS)[rater] + rng.normal(size=len(photo))
    )
    return latent < norm.ppf(p) * math.sqrt(1 + PHOTO**2 + RATER**2)


@pytest.mark.parametrize("p", [0.5, 0.6, 0.75])
def test_the_variance_and_the_power_are_those_of_simulated_studies(p: float) -> None:
    rng = np.random.default_rng(7)
    means = np.array([answers(rng, p).mean() for _ in range(3000)])
    design = Design(PHOTOS, RATERS, RATERS * EACH, correlation(PHOTO**2, p), correlation(RATER**2, p))
    assert p * (1 - p) / design.effective == pytest.approx(means.var(), rel=0.1)
    ends = np.array([stats.wilson(mean, design.effective, 1.959964) for mean in means])
    found = ((ends[:, 0] > 0.5) | (ends[:, 1] < 0.5)).mean()
    assert power.power(design, p) == pytest.approx(found, abs=0.04)
    assert power.half_width(design, p) == pytest.approx((ends[:, 1] - ends[:, 0]).mean() / 2, rel=0.05)


def test_with_no_correlation_it_is_the_formula_of_independent_answers() -> None:
    design = Design(40, 100, 500, 0, 0)
    assert design.effective == pytest.approx(500)
    found = power.needed(design, 0.6)
    assert found is not None
    textbook = ((1.959964 * 0.5 + 0.841621 * math.sqrt(0.6 * 0.4)) / 0.1) ** 2
    assert found == pytest.approx(textbook, abs=1)


def test_needed_is_the_fewest() -> None:
    design = Design(60, 50, 400, 0.05, 0.05)
    for p in (0.65, 0.8):
        n = power.needed(design, p)
        assert n is not None
        assert power.power(design.with_answers(n), p) >= power.POWER > power.power(design.with_answers(n - 1), p)


def test_the_width_that_was_asked_for_is_that_of_wilson() -> None:
    n = power.needed_for_width(Design(40, 100, 500, 0, 0), 0.05)
    assert n is not None
    low, high = proportion_confint(n / 2, n, method="wilson")
    assert (high - low) / 2 == pytest.approx(0.05, abs=1e-4)
    assert power.needed_for_width(Design(4, 50, 400, 0.3, 0.05), 0.05) is None


def test_too_few_photos_are_said_to_be() -> None:
    design = Design(4, 50, 400, 0.3, 0.05)
    assert power.needed(design, 0.6) is None
    found = power.estimate(design)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert any("too few" in line for line in power.told(power.estimate(Design(4, 50, 400, 0.4, 0.05))))
