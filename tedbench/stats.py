"""Means with intervals that know that pairs about one photo are not independent.

ȳ = Σ y_i / n,   u_g = Σ_{i in g} (y_i − ȳ),   V = G/(G−1) · Σ_g u_g² / n²,   ȳ ± t_{G−1} √V

with n pairs on G photos (the clusters). It is the cluster-robust variance of a regression on a constant (Liang and
Zeger 1986; Cameron and Miller 2015, sections II and VI.D for G−1 degrees of freedom); with one pair a photo it is
the plain t interval.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


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


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Interval:
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
    y = np.asarray(values, dtype=np.float64)
    if len(y) != len(clusters):
        raise ValueError(f"{len(y)} values for {len(clusters)} clusters")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    if np.isnan(y).any():
        raise ValueError("NaN among the values; drop and count them first")
    labels = {label: k for k, label in enumerate(dict.fromkeys(clusters))}
    if not np.isfinite(y).all() or not len(y):
        return Interval(_mean(y), math.nan, math.nan, len(y), len(labels))
    mean = float(y.mean())
    half = _half_width(y - mean, np.array([labels[c] for c in clusters]), level)
    return Interval(mean, mean - half, mean + half, len(y), len(labels))


def seed_means(scores: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Average the seeds within each pair, so that a pair counts once however many images it has.

    Args:
        scores: long form, with columns `value`, `seed` and those in `by`.
        by: what stays apart: run, method, strength, metric, uid, image_id ….

    Returns:
        One row per group with `value`, the mean over its seeds that have one (nan if none has).
    """
    grouped = scores.groupby(list(by), dropna=False, sort=False)["value"]
    return grouped.agg(lambda v: _mean(v.dropna().to_numpy(dtype=np.float64))).reset_index()


def _half_width(deviations: NDArray[np.float64], index: NDArray[np.int64], level: float) -> float:
    n_clusters = int(index.max()) + 1
    if n_clusters < 2:
        return math.nan
    from scipy.stats import t

    sums = np.bincount(index, weights=deviations, minlength=n_clusters)
    error = math.sqrt(n_clusters / (n_clusters - 1) * float(sums @ sums)) / len(deviations)
    return float(t.ppf((1 + level) / 2, n_clusters - 1)) * error


def _mean(y: NDArray[np.float64]) -> float:
    """Without numpy's warnings: nan of nothing, and of +inf with -inf."""
    if not len(y) or (np.isposinf(y).any() and np.isneginf(y).any()):
        return math.nan
    return float(y.mean())
