"""What curves come to in one number: methods at equal fidelity, each number with an interval.

Method m, measured at strengths s, has points (x̄_m(s), ȳ_m(s)): means over pairs, seeds averaged first, of a distance
to the input (LPIPS, say) and of an outcome. Its curve is the polygon through its points in order of x̄. Of outcomes that
are 0 or 1 nothing is interpolated: there y_m(b) is the mean over pairs of v_p(b), each pair taken at its greatest
strength within b (`tedbench.grids`), and one of which nothing is within b is a failure.

    matched   y_m(b) for a budget b within the measured range, min x̄_m ≤ b ≤ max x̄_m
    area      1/(U − L) ∫ y_m(b) db over [L, U], the range that all swept methods share: L = max_m min x̄_m,
              U = min_m max x̄_m
    front     F(b) = the best ȳ of all points of all methods with x̄ ≤ b. The part of [min x̄, max x̄] on which the point
              that F(b) is at belongs to m; of equals, to the one with less x̄. It adds up to 1

Intervals: [θ − q_{1−α/2} s, θ − q_{α/2} s], s = √(G/(G−1)) · sd(θ*), θ* over 9,999 resamples of whole photos, the same
for all methods; within each, everything is redone: means, order of points, range, and a budget that is itself a mean. q
are the quantiles of t_{G−1}; where the values of pairs are skewed (`stats.SKEWED`), those of a bootstrap-t. Of means of
0s and 1s, Wilson's on min(n, θ (1 − θ)/s²) values, on G where nothing varies. A number that more than (1 − level)/2 of
the resamples do not have gets no interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from tedbench import grids, stats
from tedbench.grids import Array, Grid, Key, Steps

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

KIND = "bootstrap-se"
"""What these intervals are called in `stats.Interval.kind`; `bootstrap-t` where values are skewed."""


@dataclass(frozen=True)
class Tradeoff:
    """An outcome against a distance, for some methods over the same pairs."""

    grids: Mapping[Key, Grid]
    photos: int
    higher_is_better: bool
    binary: bool
    """Whether the outcome of an image is 0 or 1."""
    level: float = stats.LEVEL

    @cached_property
    def weights(self) -> Array:
        """(1 + resamples, photos): how often each photo counts; first once each, as in the data."""
        once = np.ones((1, self.photos))
        return np.vstack([once, stats.resampled(self.photos)]) if self.photos > 1 else once

    @cached_property
    def means(self) -> dict[Key, tuple[Array, Array]]:
        """x̄ and ȳ of each method, (1 + resamples, S): first those of the data. nan where either has no value."""
        return {key: grid.means(self.weights) for key, grid in self.grids.items()}

    @cached_property
    def _ordered(self) -> dict[Key, tuple[Array, Array]]:
        """The points of each method in order of x̄, those that are not there last."""
        found = {}
        for key, (x, y) in self.means.items():
            order = np.argsort(x, axis=1, kind="stable")
            found[key] = np.take_along_axis(x, order, 1), np.take_along_axis(y, order, 1)
        return found

    @cached_property
    def _steps(self) -> dict[Key, Steps]:
        return {key: Steps(grid, self.higher_is_better, self.photos) for key, grid in self.grids.items()}

    @property
    def swept(self) -> list[Key]:
        """Methods with a curve."""
        return [key for key, grid in self.grids.items() if grid.swept]

    def only(self, uids: Collection[str]) -> Tradeoff:
        """The same for some of the pairs."""
        return replace(self, grids={key: grid.only(uids) for key, grid in self.grids.items()})

    def ends(self, key: Key) -> tuple[Array, Array]:
        """What a method measured: its least and greatest x̄."""
        x, _ = self.means[key]
        return np.fmin.reduce(x, axis=1), np.fmax.reduce(x, axis=1)

    def budget(self, key: Key, strength: float) -> Array:
        """What a method spends at one strength: its x̄ there, (1 + resamples,)."""
        return self.means[key][0][:, self.grids[key].at(strength)]

    def matched(self, key: Key, budget: Array | float) -> Array:
        """y(b) of a method, (1 + resamples,); nan where b is outside of what was measured."""
        x, y = self._ordered[key]
        b = np.broadcast_to(np.asarray(budget, dtype=np.float64), len(x))
        if self.binary:
            low, high = self.ends(key)
            return np.where((b >= low) & (b <= high), self._steps[key].height(b, self.weights), math.nan)
        j, weight, _ = _place(x, y, b)
        return _blend(y, j, weight)

    def common(self) -> tuple[Array, Array]:
        """L and U of the area; nan where nothing is swept."""
        ends = [self.ends(key) for key in self.swept]
        if not ends:
            return np.full(1, math.nan), np.full(1, math.nan)
        return np.max([low for low, _ in ends], axis=0), np.min([high for _, high in ends], axis=0)

    def area(self, key: Key) -> Array:
        """The mean height of a method's curve over the common range; nan where there is no such range."""
        low, high = self.common()
        x, y = self._ordered[key]
        if not self.grids[key].swept:
            return np.full(len(x), math.nan)
        if self.binary:
            return self._steps[key].mean_height(low, high, self.weights)
        left, right = (np.clip(side, low[:, None], high[:, None]) for side in (x[:, :-1], x[:, 1:]))
        run = x[:, 1:] - x[:, :-1]
        slope = np.divide(y[:, 1:] - y[:, :-1], run, out=np.zeros_like(run), where=run > 0)
        heights = y[:, :-1] + slope * ((left + right) / 2 - x[:, :-1])
        width = np.where(high > low, high - low, math.nan)
        return np.asarray(np.nansum((right - left) * heights, axis=1) / width)

    @cached_property
    def front(self) -> dict[Key, Array]:
        """Each method's share of the front, (1 + resamples,); nan where a value is infinite: no budget gets beyond."""
        keys = list(self.means)
        if any(np.isinf(grid.y).any() for grid in self.grids.values()):
            return {key: np.full(len(self.means[key][0]), math.nan) for key in keys}
        x = np.hstack([self.means[key][0] for key in keys])
        y = np.hstack([self.means[key][1] for key in keys]) * (1 if self.higher_is_better else -1)
        owner = np.repeat(np.arange(len(keys)), [self.means[key][0].shape[1] for key in keys])
        gone = np.isnan(x)
        last = np.fmax.reduce(x, axis=1, keepdims=True)
        x, y = np.where(gone, last, x), np.where(gone, -math.inf, y)
        order = np.lexsort((-y, x), axis=1)  # of points with one x̄ the best comes first
        x, y, owner = np.take_along_axis(x, order, 1), np.take_along_axis(y, order, 1), owner[order]
        best = np.maximum.accumulate(y, axis=1)
        rises = np.hstack([np.ones((len(y), 1), bool), y[:, 1:] > best[:, :-1]])
        holder = np.take_along_axis(owner, np.maximum.accumulate(np.where(rises, np.arange(y.shape[1]), 0), axis=1), 1)
        held, whole = np.diff(x, axis=1), x[:, -1] - x[:, 0]
        there = np.where(whole > 0, whole, math.nan)
        return {key: (held * (holder[:, :-1] == k)).sum(1) / there for k, key in enumerate(keys)}

    def pairs_at(self, key: Key, budget: float, own: Array | None = None) -> Array:
        """A value a pair whose mean is y(b), and whose spread is that of y(b): for tests on pairs.

        Between two points, (1−λ) y_p(s_j) + λ y_p(s_j+1) − m · ((1−λ) x_p(s_j) + λ x_p(s_j+1) − b_p), m the slope
        there: what a pair adds to y(b), also by moving the place where x̄ is b, to first order. Of 0 or 1, v_p(b).

        Args:
            key: the method.
            budget: b.
            own: (n,) b_p where b is the mean of a distance; b itself where it was said.

        Returns:
            (n,) in the order of the method's pairs; nan where b is outside, or a pair has no value there.
        """
        grid, (x, y) = self.grids[key], self.means[key]
        order = np.argsort(x[0], kind="stable")
        j, weight, slope = (one[0] for one in _place(x[:1, order], y[:1, order], np.array([budget])))
        if j < 0:
            return np.full(len(grid.uids), math.nan)
        if self.binary:
            return self._steps[key].pairs(budget)
        first, second = order[j], order[min(j + 1, len(order) - 1)]
        value, spent = (
            (1 - weight) * one[:, first] + (weight * one[:, second] if weight else 0.0) for one in (grid.y, grid.x)
        )
        return np.asarray(value - slope * (spent - (budget if own is None else own)) if slope else value)

    def interval(
        self,
        found: Array,
        what: Literal["height", "proportion", "share"] = "height",
        pairs: tuple[Array, Sequence[object]] | None = None,
    ) -> stats.Interval:
        """A number of this file with its interval.

        Args:
            found: (1 + resamples,).
            what: a height, or the difference of two; a mean of 0s and 1s; a share of the front.
            pairs: `pairs_at` (or a difference of two) and the photo of each, which tell whether a height is skewed.
        """
        value, there = float(found[0]), found[1:][np.isfinite(found[1:])]
        n = max((len(grid.uids) for grid in self.grids.values()), default=0)
        if not math.isfinite(value) or len(there) < 2 or len(there) < len(found[1:]) * (1 + self.level) / 2:
            return stats.Interval(value, math.nan, math.nan, n, self.photos, "")
        spread = float(there.std(ddof=1)) * math.sqrt(self.photos / (self.photos - 1))
        low, high, skewed = self._quantiles(pairs)
        ends = value - high * spread, value - low * spread
        if what == "proportion":
            worth = value * (1 - value) / spread**2 if spread else 0.0
            ends = stats.wilson(value, min(worth, n) or self.photos, high)
        if what == "share":
            ends = max(0.0, ends[0]), min(1.0, ends[1])
        return stats.Interval(value, *ends, n, self.photos, "bootstrap-t" if skewed else KIND)

    def _quantiles(self, pairs: tuple[Array, Sequence[object]] | None) -> tuple[float, float, bool]:
        """Of t_{G−1}, or of a bootstrap-t where the pairs are skewed and tell it."""
        from scipy.stats import t

        if pairs is not None:
            there = np.isfinite(pairs[0])
            labels = [photo for photo, finite in zip(pairs[1], there, strict=True) if finite]
            found = stats.skewed_quantiles(pairs[0][there].tolist(), labels, self.level)
            if found is not None:
                return (*found, True)
        end = float(t.ppf((1 + self.level) / 2, self.photos - 1))
        return -end, end, False


def tradeoff(
    outcome: pd.DataFrame,
    distance: pd.DataFrame,
    higher_is_better: bool = True,
    binary: bool = False,
    photos: Sequence[str] | None = None,
) -> Tradeoff:
    """Gather what the numbers are made of; methods without a pair that has both values are left out.

    Args:
        outcome: one value a pair and strength, seeds averaged (`stats.seed_means`): columns run, method, strength, uid,
            image_id, value; NaN for none. Infinite values (the PSNR of equal images) leave their point out.
        distance: the same of a distance to the input, of which less is closer.
        higher_is_better: of the outcome.
        binary: whether an image's outcome is 0 or 1.
        photos: those that are resampled, in order, so that several outcomes share resamples; by default those with an
            outcome.

    Raises:
        ValueError: if a pair has two values at one strength.
    """
    named = list(photos) if photos is not None else list(dict.fromkeys(outcome.dropna(subset="value")["image_id"]))
    return Tradeoff(grids.gather(outcome, distance, named), len(named), higher_is_better, binary)


def _place(x: Array, y: Array, b: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Where b lies among points in order of x: (index of the point below, weight of the next one, slope); −1 outside.

    Args:
        x, y: (R, S), nan last.
        b: (R,).
    """
    j = (x <= b[:, None]).sum(1) - 1
    last = (~np.isnan(x)).sum(1) - 1
    at = np.clip(j, 0, None)[:, None]
    then = np.minimum(at + 1, x.shape[1] - 1)
    x0, x1, y0, y1 = (np.take_along_axis(one, k, 1)[:, 0] for one, k in ((x, at), (x, then), (y, at), (y, then)))
    outside = (j < 0) | ((j == last) & (b > x0)) | np.isnan(b)
    inner = ~outside & (j < last)
    run = np.where(inner, x1 - x0, 1.0)
    weight, slope = np.where(inner, (b - x0) / run, 0.0), np.where(inner, (y1 - y0) / run, 0.0)
    return np.where(outside, -1, j), weight, slope


def _blend(y: Array, j: NDArray[np.int64], weight: Array) -> Array:
    at = np.clip(j, 0, None)[:, None]
    first = np.take_along_axis(y, at, 1)[:, 0]
    second = np.take_along_axis(y, np.minimum(at + 1, y.shape[1] - 1), 1)[:, 0]
    between = np.where(weight > 0, (1 - weight) * first + weight * np.where(weight > 0, second, 0.0), first)
    return np.where(j < 0, math.nan, between)
