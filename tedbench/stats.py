"""Means with intervals that know that pairs about one photo are not independent.

With n pairs on G photos (the clusters), of sizes m_g:

    ȳ = Σ y_i / n,   u_g = Σ_{i in g} (y_i − ȳ),   V = G/(G−1) · Σ_g u_g² / n²

`t`            ȳ ± t_{G−1} √V, the cluster-robust variance of a regression on a constant (Liang and Zeger 1986; Cameron
               and Miller 2015, sections II and VI.D for G−1 degrees of freedom); with one pair a photo, the plain t
               interval.
`bootstrap-t`  [ȳ − q_{1−α/2} √V, ȳ − q_{α/2} √V], q the quantiles of (ȳ* − ȳ)/√V* over resamples of whole photos (Efron
               1982; Cameron, Gelbach and Miller 2008): where values are skewed, √V and ȳ are correlated, and the t
               interval misses on one side. From 10 photos on, and where nearly every resample varies: of mostly equal
               values many do not, and the t interval is given.
`wilson`       Wilson's interval for the proportion p = ȳ of n* = n / (1 + ρ (Σ m_g² / n − 1)) independent pairs (Kish).
               ρ is the intraclass correlation by analysis of variance, within [0, 1], and 1 where all pairs agree and
               nothing shows it; below 10 photos, which hardly tell it, with the t quantile of G−1 degrees for the
               normal one. Of seeds averaged it is wider than need be: p (1 − p) is the spread of single images.

Which one is by rule, not by eye: see `interval`. How often they cover on TEdBench's numbers of pairs a photo is in
results/benchmarks/interval_coverage.json.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
SKEWED = 0.5
"""Sample skewness, in absolute value, from which a mean gets a bootstrap-t interval."""
RESAMPLES = 9999
FEW = 10
"""Photos below which a bootstrap has too few different resamples, and a correlation is hardly known."""


@dataclass(frozen=True)
class Interval:
    """A mean, and where the mean of such data would lie."""

    mean: float
    low: float
    """Lower end of the interval; nan where there is none."""
    high: float
    n: int
    """Values that went in."""
    clusters: int
    """Independent groups among them: photos, not pairs."""
    kind: str = "t"
    """`t`, `bootstrap-t` or `wilson`; empty without an interval."""


def interval(
    values: Sequence[float], clusters: Sequence[Hashable], level: float = LEVEL, proportion: bool = False
) -> Interval:
    """Mean with the interval that suits the data.

    Wilson's for a proportion; else the bootstrap-t where the sample skewness exceeds `SKEWED`, and the t interval.

    Args:
        values: n numbers, one a pair; of a proportion in [0, 1], since seeds may have been averaged.
        clusters: n labels; values that share one are taken as dependent.
        level: coverage, in (0, 1).
        proportion: whether the values are shares of images that are 0 or 1.

    Raises:
        ValueError: as `clustered_mean`; for a proportion also if a value is outside [0, 1].
    """
    if proportion:
        return clustered_proportion(values, clusters, level)
    y = np.asarray(values, dtype=np.float64)
    return (bootstrap_t if abs(skewness(y)) > SKEWED else clustered_mean)(values, clusters, level)


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable], level: float = LEVEL) -> Interval:
    """Mean and cluster-robust t interval.

    Args:
        values: n numbers. Infinite ones (the PSNR of equal images) make the mean infinite, or nan if both signs
            occur, and leave no interval.
        clusters: n labels; values that share one are taken as dependent.
        level: coverage, in (0, 1).

    Returns:
        The interval; its ends are nan with fewer than two clusters, and everything is nan without values.

    Raises:
        ValueError: if a value is NaN (drop and count them first), lengths differ, or `level` is not in (0, 1).
    """
    sample = _sample(values, clusters, level)
    return sample.without() if sample.bare else sample.around(sample.quantile * sample.error)


def clustered_proportion(values: Sequence[float], clusters: Sequence[Hashable], level: float = LEVEL) -> Interval:
    """Proportion and Wilson's interval on the effective number of pairs; arguments and errors as `interval`."""
    sample = _sample(values, clusters, level)
    if sample.n and not ((sample.y >= 0) & (sample.y <= 1)).all():
        raise ValueError("a proportion is of values between 0 and 1")
    if sample.bare:
        return sample.without()
    from scipy.stats import norm

    quantile = sample.quantile if len(sample.sizes) < FEW else float(norm.ppf((1 + level) / 2))
    low, high = wilson(sample.mean, sample.effective, quantile)
    return Interval(sample.mean, low, high, sample.n, len(sample.sizes), "wilson")


def wilson(p: float, n: float, quantile: float) -> tuple[float, float]:
    """Ends of Wilson's interval for a proportion of n independent values; n need not be whole."""
    q2 = quantile**2
    centre = (p + q2 / (2 * n)) / (1 + q2 / n)
    half = math.sqrt(q2 * (p * (1 - p) / n + q2 / (4 * n * n))) / (1 + q2 / n)
    # Rounding must not put the end beside the value that it is the end of.
    return min(max(0.0, centre - half), p), max(min(1.0, centre + half), p)


def bootstrap_t(
    values: Sequence[float], clusters: Sequence[Hashable], level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Mean and bootstrap-t interval over whole clusters, from draws that are the same each time.

    A resample that does not vary has no t; with more than (1 − level)/2 of those the quantiles are not known, and the
    t interval is given, and said to be one; so it is below `FEW` photos. Arguments and errors else as `clustered_mean`.
    """
    sample = _sample(values, clusters, level)
    ends = sample.quantiles(resamples)
    if ends is None:
        return clustered_mean(values, clusters, level)
    low, high = sample.mean - ends[1] * sample.error, sample.mean - ends[0] * sample.error
    return Interval(sample.mean, low, high, sample.n, len(sample.sizes), "bootstrap-t")


def skewed_quantiles(
    values: Sequence[float], clusters: Sequence[Hashable], level: float = LEVEL
) -> tuple[float, float] | None:
    """The quantiles of `bootstrap_t` for values that are skewed; None where they are not, or do not tell."""
    sample = _sample(values, clusters, level)
    return sample.quantiles(RESAMPLES) if abs(skewness(sample.y)) > SKEWED else None


@lru_cache(maxsize=8)
def resampled(clusters: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each cluster is drawn in each resample: (resamples, clusters); the same each time."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(np.float64)
    drawn.flags.writeable = False  # shared by all who ask
    return drawn


def numbered(clusters: Sequence[Hashable]) -> NDArray[np.int64]:
    """The number of each label, from 0, in the order of first occurrence."""
    labels = {label: k for k, label in enumerate(dict.fromkeys(clusters))}
    return np.array([labels[c] for c in clusters], dtype=np.int64)


def intraclass(y: NDArray[np.float64], index: NDArray[np.int64]) -> float:
    """Intraclass correlation by one-way analysis of variance, within [0, 1].

    Args:
        y: n finite values.
        index: the cluster of each, numbered from 0.

    Returns:
        The part of the variance that lies between clusters; nan where no cluster has two values, there is one cluster
        only, or nothing varies.
    """
    sizes = np.bincount(index).astype(np.float64)
    n, clusters = len(y), len(sizes)
    if clusters < 2 or n == clusters:
        return math.nan
    d = y - y.mean()
    total, between = float(d @ d), float(np.sum(np.bincount(index, weights=d) ** 2 / sizes))
    if math.sqrt(total / n) <= 1e-12 * max(1.0, float(np.abs(y).max())):
        return math.nan
    mean_between, mean_within = between / (clusters - 1), max(total - between, 0.0) / (n - clusters)
    size = (n - float(sizes @ sizes) / n) / (clusters - 1)
    found = (mean_between - mean_within) / (mean_between + (size - 1) * mean_within)
    return min(max(found, 0.0), 1.0)


def effective(sizes: NDArray[np.float64], correlation: float) -> float:
    """n* of the docstring at the top: independent pairs that would say as much about the mean.

    Args:
        sizes: pairs of each photo.
        correlation: ρ in [0, 1]; nan where it is not known, which is nan unless every photo has one pair.
    """
    n, squares = float(sizes.sum()), float(sizes @ sizes)
    return n if squares == n else n / (1 + correlation * (squares / n - 1))


def skewness(y: NDArray[np.float64]) -> float:
    """Third central moment over the cube of the standard deviation; 0 where there is none to speak of."""
    if not len(y) or not np.isfinite(y).all():
        return 0.0
    d = y - y.mean()
    spread = float(np.sqrt(np.mean(d**2)))
    return float(np.mean(d**3)) / spread**3 if spread > 1e-12 * max(1.0, float(np.abs(y).max())) else 0.0


def seed_means(scores: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Average the seeds within each pair, so that a pair counts once however many images it has.

    Args:
        scores: long form, with columns `value`, `seed` and those in `by`.
        by: what stays apart: run, method, strength, metric, uid, image_id ….

    Returns:
        One row per group with `value`, the mean over its seeds that have one (nan if none has).
    """
    grouped = scores.groupby(list(by), dropna=False, sort=False)["value"]
    return grouped.mean().reset_index()  # skips nan; nan of +inf with -inf


@dataclass(frozen=True)
class _Sample:
    """Values with the cluster of each, and what all three intervals need of them."""

    y: NDArray[np.float64]
    index: NDArray[np.int64]
    sizes: NDArray[np.float64]
    level: float

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def mean(self) -> float:
        return _mean(self.y)

    @property
    def bare(self) -> bool:
        """Whether no interval can be given."""
        return len(self.sizes) < 2 or not bool(np.isfinite(self.y).all())

    @property
    def error(self) -> float:
        """√V of the docstring at the top."""
        clusters = len(self.sizes)
        sums = np.bincount(self.index, weights=self.y - self.mean, minlength=clusters)
        return math.sqrt(clusters / (clusters - 1) * float(sums @ sums)) / self.n

    @property
    def correlation(self) -> float:
        """ρ as the docstring at the top has it."""
        found = intraclass(self.y, self.index)
        return found if not math.isnan(found) else float(self.n > len(self.sizes))

    @property
    def effective(self) -> float:
        """n*: independent pairs that would say as much about the mean."""
        return effective(self.sizes, self.correlation)

    @property
    def quantile(self) -> float:
        from scipy.stats import t

        return float(t.ppf((1 + self.level) / 2, len(self.sizes) - 1))

    def quantiles(self, resamples: int) -> tuple[float, float] | None:
        """Of (ȳ* − ȳ)/√V* over resamples, at (1 ± level)/2; None where too few vary, or clusters are few."""
        if self.bare or len(self.sizes) < FEW or self.error == 0:
            return None
        t = self.studentised(resampled(len(self.sizes), resamples))
        if len(t) < resamples * (1 + self.level) / 2:
            return None
        low, high = np.quantile(t, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)

    def studentised(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(ȳ* − ȳ)/√V* of each resample that has a V*."""
        clusters = len(self.sizes)
        sums = np.bincount(self.index, weights=self.y - self.mean, minlength=clusters)  # about ȳ, so that ȳ is 0
        n = weights @ self.sizes
        means = weights @ sums / n
        # Not multiplied out: the difference of large squares would leave a spread where there is none.
        squares = (weights * (sums - means[:, None] * self.sizes) ** 2).sum(1)
        errors = np.sqrt(clusters / (clusters - 1) * squares) / n
        there = errors > 1e-9 * self.error
        return np.asarray(means[there] / errors[there])

    def around(self, half: float) -> Interval:
        return Interval(self.mean, self.mean - half, self.mean + half, self.n, len(self.sizes))

    def without(self) -> Interval:
        return Interval(self.mean, math.nan, math.nan, self.n, len(self.sizes), "")


def _sample(values: Sequence[float], clusters: Sequence[Hashable], level: float) -> _Sample:
    y = np.asarray(values, dtype=np.float64)
    if len(y) != len(clusters):
        raise ValueError(f"{len(y)} values for {len(clusters)} clusters")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    if np.isnan(y).any():
        raise ValueError("NaN among the values; drop and count them first")
    index = numbered(clusters)
    return _Sample(y, index, np.bincount(index).astype(np.float64), level)


def _mean(y: NDArray[np.float64]) -> float:
    """Without numpy's warnings: nan of nothing, and of +inf with -inf."""
    if not len(y) or (np.isposinf(y).any() and np.isneginf(y).any()):
        return math.nan
    return float(y.mean())
