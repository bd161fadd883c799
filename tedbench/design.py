"""What a set of questions can tell: how much pairs repeat each other, and what could have been found with them.

One value y_{gpk} an image: photo g, pair p on it, seed k. Random effects, nested:

    y_{gpk} = μ + a_g + b_{gp} + c_{gpk},   variances σ²_image, σ²_pair, σ²_seed

estimated by analysis of variance (Searle, Casella and McCulloch 1992, chapter 3), each at least 0. Of means over seeds:

    ρ = intraclass correlation of pairs on a photo,   n* = n / (1 + ρ (Σ m_g² / n − 1)) effective pairs,
    smallest detectable difference = (t_{1−α/2} + t_{power}) √V, t of G−1 degrees, V as in `tedbench.stats`

100 TEdBench pairs on 39 photos are n* ≈ 50 at ρ = 0.4.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tedbench import stats

if TYPE_CHECKING:
    import pandas as pd

POWER = 0.8


@dataclass(frozen=True)
class Design:
    """What n pairs on some photos are worth for one metric."""

    pairs: int
    photos: int
    correlation: float
    """ρ; nan where no photo has two pairs, or nothing varies."""
    effective: float
    """n*; nan where ρ is not known and some photo has two pairs."""
    detectable: float
    """The smallest true difference found with a chance of `POWER` at level 5%; nan with fewer than two photos, or where
    nothing varies, which would promise to find anything."""


@dataclass(frozen=True)
class Components:
    """Variances of one image's value; nan where the data cannot tell.

    With one seed a pair, `seed` is nan and `pair` holds both; with one pair a photo, `pair` is nan and `image` holds
    both.
    """

    image: float
    pair: float
    seed: float


def design(values: Sequence[float], clusters: Sequence[Hashable], level: float = stats.LEVEL) -> Design:
    """What these values, or differences between two methods, say of the questions they are about.

    Args:
        values: n finite numbers, one a pair.
        clusters: the photo of each.
        level: 1 less the significance level of the test that a difference should pass, in (0, 1).

    Raises:
        ValueError: as `stats.clustered_mean`.
    """
    found = stats.clustered_mean(values, clusters, level)
    y, index = np.asarray(values, dtype=np.float64), stats.numbered(clusters)
    sizes = np.bincount(index).astype(np.float64)
    correlation = stats.intraclass(y, index)
    effective = stats.effective(sizes, correlation) if found.n else 0.0
    detectable = math.nan
    if found.clusters > 1 and math.isfinite(found.high) and found.high - found.mean > 1e-12 * max(1.0, abs(found.mean)):
        from scipy.stats import t

        found_at, missed_at = (float(t.ppf(q, found.clusters - 1)) for q in ((1 + level) / 2, POWER))
        detectable = (found.high - found.mean) / found_at * (found_at + missed_at)
    return Design(found.n, found.clusters, correlation, effective, detectable)


def components(scores: pd.DataFrame) -> Components:
    """Where the variance of one method's values at one strength lies.

    Args:
        scores: columns image_id, uid, seed and value, one row an image; NaN values are left out.
    """
    there = scores.dropna(subset="value")
    if not len(there):
        return Components(math.nan, math.nan, math.nan)
    y, pairs = there["value"].to_numpy(dtype=np.float64), stats.numbered(there["uid"].to_list())
    photo_of_pair = stats.numbered(there.drop_duplicates("uid")["image_id"].to_list())  # as `pairs` counts them
    photos = photo_of_pair[pairs]
    m = np.bincount(pairs).astype(np.float64)
    size = np.bincount(photos).astype(np.float64)
    n, n_pairs, n_photos = len(y), len(m), len(size)
    pair_means, photo_means = np.bincount(pairs, weights=y) / m, np.bincount(photos, weights=y) / size
    within = float(((y - pair_means[pairs]) ** 2).sum())
    between_pairs = float((m * (pair_means - photo_means[photo_of_pair]) ** 2).sum())
    between_photos = float((size * (photo_means - y.mean()) ** 2).sum())
    # Expected sums of squares are linear in the variances; k are their coefficients (Henderson's method 1).
    k_photo = float(np.bincount(photo_of_pair, weights=m**2) @ (1 / size))
    k_all, k_images = float(m @ m) / n, float(size @ size) / n
    seed = within / (n - n_pairs) if n > n_pairs else math.nan
    noise = 0.0 if math.isnan(seed) else seed  # with one seed, what it adds cannot be told from the pair's own
    pair = math.nan
    if n_pairs > n_photos:
        pair = max(0.0, (between_pairs - (n_pairs - n_photos) * noise) / (n - k_photo))
    own = 0.0 if math.isnan(pair) else pair
    image = math.nan
    if n_photos > 1:
        image = max(0.0, (between_photos - (n_photos - 1) * noise - (k_photo - k_all) * own) / (n - k_images))
    return Components(image, pair, seed)
