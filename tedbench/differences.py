"""Two methods on the same pairs: by how much they differ, and whether chance would do it.

    d_p = a_p − b_p over pairs p that both have,   s_g = Σ_{p on photo g} d_p,   T = |Σ_g s_g|

Under the null hypothesis that the methods may be exchanged photo by photo, every choice of signs ε_g = ±1 is as likely
as ours: p is the part of them with |Σ_g ε_g s_g| ≥ T (the cluster sign-flip test; Canay, Romano and Shaikh 2017). All
choices are tried up to 14 photos; beyond, 9,999 of them, always the same, and ours counts as one more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tedbench import design, stats

if TYPE_CHECKING:
    import pandas as pd

FLIPS = 9999
EXACT = 14
"""Photos up to which all choices of signs are tried."""


@dataclass(frozen=True)
class Difference:
    """What lies between a method and the one it is compared with."""

    interval: stats.Interval
    """Of a − b."""
    p: float
    """Of the cluster sign-flip test, two-sided; nan without pairs."""
    unpaired: int
    """Pairs for which one of the two has no finite value. They are left out."""
    detectable: float
    """The smallest true difference that as many pairs would probably find (`design.Design.detectable`)."""


def paired(a: pd.DataFrame, b: pd.DataFrame, level: float = stats.LEVEL, binary: bool = False) -> Difference:
    """Compare two methods pair by pair.

    Args:
        a, b: columns uid, image_id and value, one row a pair (seeds averaged: `stats.seed_means`); NaN for no value.
            Where a failure should count as one, give it the value of a failure first.
        level: coverage of the interval, in (0, 1).
        binary: whether the values are of images that are 0 or 1. Most differences are 0 then, and the interval is t:
            a bootstrap would draw many resamples without the few that are not. Where all are equal, it is `newcombe`'s.

    Raises:
        ValueError: if a pair stands in a table twice.
    """
    both = a.merge(b, on="uid", how="outer", suffixes=("", "_b"), validate="one_to_one")
    finite = np.isfinite(both["value"].to_numpy(np.float64)) & np.isfinite(both["value_b"].to_numpy(np.float64))
    there = both[finite]
    d = (there["value"] - there["value_b"]).to_list()
    photos = there["image_id"].to_list()
    seen = int((both["value"].notna() | both["value_b"].notna()).sum())
    interval = (stats.clustered_mean if binary else stats.interval)(d, photos, level)
    if binary and interval.low == interval.high:  # nothing varies, which is not to say that nothing could
        one, other = (stats.interval(there[name].to_list(), photos, level, True) for name in ("value", "value_b"))
        interval = newcombe(one, other, interval.clusters)
    worth = design.design(d, photos, level)
    return Difference(interval, sign_flip(d, photos), seen - len(there), worth.detectable)


def newcombe(a: stats.Interval, b: stats.Interval, clusters: int) -> stats.Interval:
    """The difference of two proportions from their own intervals (Newcombe 1998, method 10): too wide for pairs."""
    d = a.mean - b.mean
    low = d - math.hypot(a.mean - a.low, b.high - b.mean)
    high = d + math.hypot(a.high - a.mean, b.mean - b.low)
    return stats.Interval(d, low, high, min(a.n, b.n), clusters, "newcombe")


def sign_flip(differences: Sequence[float], clusters: Sequence[Hashable], flips: int = FLIPS) -> float:
    """The cluster sign-flip test (see the top of the file), two-sided.

    Args:
        differences: one a pair, finite.
        clusters: the photo of each.
        flips: choices of signs that are tried with more than `EXACT` photos.

    Returns:
        p in (0, 1]; nan without differences, or if one is not finite.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not len(d) or not np.isfinite(d).all():
        return math.nan
    sums = np.bincount(stats.numbered(clusters), weights=d)
    # the same sum, added in another order, is not smaller
    observed = abs(float(sums.sum())) - 1e-12 * float(np.abs(sums).sum())
    if len(sums) <= EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sums))))
        return float(np.mean(np.abs(signs @ sums) >= observed))
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(flips, len(sums)))
    return float((1 + np.sum(np.abs(signs @ sums) >= observed)) / (1 + flips))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Adjust p values by Holm (1979), in the order given: the family holds at α where an adjusted one is at most α.

    nan stays nan and does not count in the family.
    """
    ranked = sorted((value, name) for name, value in p.items() if not math.isnan(value))
    adjusted, running = dict.fromkeys(p, math.nan), 0.0
    for rank, (value, name) in enumerate(ranked):
        running = max(running, min(1.0, (len(ranked) - rank) * value))
        adjusted[name] = running
    return adjusted
