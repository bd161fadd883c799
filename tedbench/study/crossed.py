"""Intervals for answers in which raters and photos cross.

An estimate is a smooth function of answers; ψ_i is what answer i moves it by (for a mean, (y_i − ȳ)/n). Leaving out
whole clusters g of size n_g gives the delete-one jackknife

    V_c = (G_c − 1)/G_c · Σ_g (n/(n − n_g) · Σ_{i in g} ψ_i)²      c: raters R, photos P, rater and photo at once RP
    V   = max(V_1, V_R + V_P − V_RP)                               V_1: each answer a cluster of its own

(the sum of Cameron, Gelbach and Miller 2011; its jackknife as MacKinnon, Nielsen and Webb, "Jackknife inference with
two-way clustering", arXiv 2406.08880). The sum may turn out below V_1, which is what independent answers would have;
it is not let to. Quantiles are of t with

    ν = V² / Σ_c V_c²/(G*_c − 1),   at least min(G*_R, G*_P) − 1 and 1;   G*_c = n² / Σ_g n_g²

degrees of freedom (Satterthwaite 1946), G* being the clusters of equal size that would be worth as much (Kish 1965).

The pigeonhole bootstrap (Owen 2007), which draws raters and photos apart, has about V_R + V_P + V_RP: three times too
much where answers are independent, so that V is what is left of it without 2 V_RP.

A rate has Wilson's interval on n* = p (1 − p)/V answers. The side is no chance where it is balanced by design, so its
effect is taken from ψ (y less the mean of its side). Where answers do not differ, nothing shows how they depend, and n*
is the smaller number of clusters. p values invert that interval.

How often these intervals cover, and what others were tried: results/benchmarks/study_coverage.json.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tedbench import stats

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Variance:
    """V of an estimate, and its degrees of freedom."""

    value: float
    """nan with fewer than two raters or photos."""
    df: float

    def quantile(self, level: float) -> float:
        """Of t, two-sided."""
        from scipy.stats import t

        return float(t.ppf((1 + level) / 2, self.df))

    def p(self, distance: float, error: float) -> float:
        """Two-sided p of an estimate so far from its null value."""
        from scipy.stats import t

        return float(2 * t.sf(abs(distance) / error, self.df))


@dataclass(frozen=True)
class Rate:
    """A share of answers, with its crossed interval."""

    mean: float
    low: float
    high: float
    p: float
    """Of the test that it is one half; nan without an interval."""
    n: int
    raters: int
    photos: int
    effective: float
    """n*: independent answers that would say as much."""
    df: float


def numbered(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    """Clusters as numbers from 0."""
    return stats.numbered(labels)


def variance(psi: Values, raters: NDArray[np.int64], photos: NDArray[np.int64]) -> Variance:
    """V and ν as the top of the file has them.

    Args:
        psi: n influences, which sum to 0.
        raters, photos: n clusters each, numbered from 0 without gaps.
    """
    if not len(psi) or min(raters.max(), photos.max()) < 1:
        return Variance(math.nan, math.nan)
    cells = np.unique(raters * (photos.max() + 1) + photos, return_inverse=True)[1]
    found = [_jackknife(psi, index) for index in (raters, photos, cells)]
    (v_r, g_r), (v_p, g_p), (v_rp, _) = found
    value = max(_jackknife(psi, np.arange(len(psi)))[0], v_r + v_p - v_rp)
    spread = sum(v**2 / (g - 1) for v, g in found)
    least = max(1.0, min(g_r, g_p) - 1.0)
    return Variance(value, max(least, value**2 / spread) if spread > 0 else least)


def _jackknife(psi: Values, index: NDArray[np.int64]) -> tuple[float, float]:
    """V_c and G*_c."""
    sums, sizes = np.bincount(index, weights=psi), np.bincount(index)
    clusters, n = len(sizes), len(psi)
    value = (clusters - 1) / clusters * float(np.sum((n / (n - sizes) * sums) ** 2))
    return value, n**2 / float(sizes @ sizes)


def rate(
    values: Sequence[float],
    raters: Sequence[Hashable],
    photos: Sequence[Hashable],
    level: float = stats.LEVEL,
    sides: Sequence[Hashable] | None = None,
) -> Rate:
    """A share with its interval.

    Args:
        values: n numbers in [0, 1]: 1 for, 0 against, 0.5 a tie.
        raters, photos: whose answer each is, and on which photo.
        level: coverage, in (0, 1).
        sides: where what the values are for was shown, if that was balanced by design.

    Raises:
        ValueError: if lengths differ, or a value is outside [0, 1].
    """
    y, r, p = np.asarray(values, np.float64), numbered(raters), numbered(photos)
    side = np.zeros(len(y), np.int64) if sides is None else numbered(sides)
    if not len(y) == len(r) == len(p) == len(side):
        raise ValueError(f"{len(y)} values, {len(r)} raters, {len(p)} photos and {len(side)} sides")
    if not ((y >= 0) & (y <= 1)).all():
        raise ValueError("a share is of values between 0 and 1")
    n, counts = len(y), (int(r.max(initial=-1)) + 1, int(p.max(initial=-1)) + 1)
    mean = float(y.mean()) if n else math.nan
    if min(counts) < 2:
        return Rate(mean, *(math.nan,) * 3, n, *counts, math.nan, math.nan)
    apart = y - (np.bincount(side, weights=y) / np.bincount(side))[side]
    found = variance(apart / n, r, p)
    several = _effective(mean, apart, found.value, min(counts))
    low, high = stats.wilson(mean, several, found.quantile(level))
    return Rate(mean, low, high, found.p(mean - 0.5, 0.5 / math.sqrt(several)), n, *counts, several, found.df)


def _effective(mean: float, apart: Values, value: float, fewest: int) -> float:
    """n* of the top of the file; ties may make it larger than n, as they say more than a coin."""
    if np.ptp(apart) == 0 or not 0 < mean < 1:
        return float(fewest)
    return mean * (1 - mean) / value
