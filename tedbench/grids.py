"""One method's pairs at all its strengths, as arrays, and what is weighted out of them.

x[p, s], y[p, s]     distance to the input and outcome of pair p at strength s, seeds averaged; nan for none
means                x̄(s), ȳ(s) under weights of the photos
steps                of outcomes that are 0 or 1: v_p(b) = y[p, s*], s* = max { s : x[p, s] ≤ b }, and the worst value
                     where nothing is within b: each pair at its greatest strength within budget
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, str]
"""Run and method."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """One method's pairs at all its strengths."""

    strengths: Array
    """(S,), in ascending order; nan where it was not stated."""
    uids: tuple[str, ...]
    photos: NDArray[np.int64]
    """(n,) the photo of each pair, numbered over all methods."""
    x: Array
    """(n, S) distance to the input; nan where there is no value."""
    y: Array
    """(n, S) the outcome."""

    @property
    def swept(self) -> bool:
        """Whether it has a curve."""
        return len(self.strengths) > 1

    def at(self, strength: float) -> int:
        """The index of a strength; 0 for one that was not stated."""
        near = np.flatnonzero(np.isclose(self.strengths, strength, rtol=1e-9, atol=1e-12))
        return int(near[0]) if len(near) else 0

    def complete(self, binary: bool) -> set[str]:
        """Pairs with every value: of 0 or 1 outcomes with every outcome, as a failed edit has no distance."""
        needed = self.y if binary else np.hstack([self.x, self.y])
        gone = np.isnan(needed).sum(1).tolist()
        return {uid for uid, holes in zip(self.uids, gone, strict=True) if not holes}

    def only(self, uids: Collection[str]) -> Grid:
        """The same for some of its pairs."""
        kept = np.array([uid in uids for uid in self.uids], dtype=bool)
        names = tuple(uid for uid in self.uids if uid in uids)
        return replace(self, uids=names, photos=self.photos[kept], x=self.x[kept], y=self.y[kept])

    def means(self, weights: Array) -> tuple[Array, Array]:
        """x̄ and ȳ, (R, S); nan where either has no value, or an infinite one.

        Args:
            weights: (R, photos).
        """
        found = []
        for table in (self.x, self.y):
            sums, counts = np.zeros((2, weights.shape[1], table.shape[1]))
            np.add.at(sums, self.photos, np.where(np.isfinite(table), table, 0.0))
            np.add.at(counts, self.photos, ~np.isnan(table))
            n = weights @ counts
            mean = np.divide(weights @ sums, n, out=np.full_like(n, math.nan), where=n > 0)
            found.append(np.where(np.isinf(table).any(0), math.nan, mean))
        gone = np.isnan(found[0]) | np.isnan(found[1])
        return np.where(gone, math.nan, found[0]), np.where(gone, math.nan, found[1])


@dataclass(frozen=True)
class Steps:
    """v_p(b) of all pairs of a method, summed by photo; outcomes are 1 for success here."""

    grid: Grid
    higher_is_better: bool
    photos: int

    @cached_property
    def _good(self) -> Array:
        """(n, S) success; nan where there is no outcome."""
        return self.grid.y if self.higher_is_better else 1 - self.grid.y

    @cached_property
    def _there(self) -> NDArray[np.bool_]:
        """(n, S) images that can be chosen."""
        return ~(np.isnan(self.grid.x) | np.isnan(self._good))

    @cached_property
    def _counts(self) -> Array:
        """(photos,) pairs with an outcome."""
        scored = ~np.isnan(self._good).all(1)
        return np.bincount(self.grid.photos, weights=scored, minlength=self.photos).astype(np.float64)

    @cached_property
    def _heights(self) -> tuple[Array, Array, Array]:
        """Budgets b_k in order, (B,); by photo Σ v_p on [b_k, b_k+1), and its integral from b_0 to b_k, (photos, B)."""
        x = np.where(self._there, self.grid.x, math.inf)
        later = np.minimum.accumulate(x[:, ::-1], axis=1)[:, ::-1]
        until = np.hstack(
            [later[:, 1:], np.full((len(x), 1), math.inf)]
        )  # a greater strength is within budget from here
        pair, strength = np.nonzero(self._there & (x < until))
        breaks = np.unique(x[np.isfinite(x)])
        changes = np.zeros((self.photos, len(breaks) + 1))  # the last one is never reached
        worth, photo = self._good[pair, strength], self.grid.photos[pair]
        np.add.at(changes, (photo, np.searchsorted(breaks, x[pair, strength])), worth)
        np.add.at(changes, (photo, np.searchsorted(breaks, until[pair, strength])), -worth)
        heights: Array = np.cumsum(changes[:, : len(breaks)], axis=1).round(12)  # what came and went leaves exactly 0
        area = np.zeros_like(heights)
        area[:, 1:] = np.cumsum(heights[:, :-1] * np.diff(breaks), axis=1)
        return breaks, heights, area

    def height(self, budget: Array, weights: Array) -> Array:
        """The mean of v_p(b), (R,), for budgets (R,) and weights (R, photos)."""
        breaks, heights, _ = self._heights
        k = np.searchsorted(breaks, budget, side="right") - 1
        found = np.where(k < 0, 0.0, (weights * heights[:, np.clip(k, 0, None)].T).sum(1)) / (weights @ self._counts)
        return np.asarray(found if self.higher_is_better else 1 - found)

    def mean_height(self, low: Array, high: Array, weights: Array) -> Array:
        """The mean of that over budgets from low to high, (R,); nan where there are none between."""
        width = np.where(high > low, high - low, math.nan)
        total = self._integral(high, weights) - self._integral(low, weights)
        found = total / width / (weights @ self._counts)
        return np.asarray(found if self.higher_is_better else 1 - found)

    def _integral(self, budget: Array, weights: Array) -> Array:
        breaks, heights, area = self._heights
        k = np.clip(np.searchsorted(breaks, budget, side="right") - 1, 0, None)
        beyond = np.clip(budget - breaks[k], 0, None)
        return np.asarray((weights * (area[:, k] + heights[:, k] * beyond).T).sum(1))

    def pairs(self, budget: float) -> Array:
        """v_p(b), (n,); nan for a pair without an outcome."""
        within = self._there & (self.grid.x <= budget)
        last = within.shape[1] - 1 - np.argmax(within[:, ::-1], axis=1)
        good = np.where(within.any(1), self._good[np.arange(len(last)), last], 0.0)
        found = np.where(np.isnan(self._good).all(1), math.nan, good)
        return np.asarray(found if self.higher_is_better else 1 - found)


def gather(outcome: pd.DataFrame, distance: pd.DataFrame, photos: Sequence[str]) -> dict[Key, Grid]:
    """The grids of all methods that have a pair with both values.

    Args:
        outcome: one value a pair and strength, seeds averaged (`stats.seed_means`): columns run, method, strength, uid,
            image_id, value; NaN for none.
        distance: the same of a distance to the input, of which less is closer.
        photos: all that there are, in the order in which they are numbered.

    Raises:
        ValueError: if a pair has two values at one strength.
    """
    key = ["run", "method", "strength", "uid", "image_id"]
    far = distance[[*key, "value"]].rename(columns={"value": "distance"})
    both = outcome[[*key, "value"]].merge(far, on=key, how="left", validate="one_to_one")
    numbers = {photo: k for k, photo in enumerate(photos)}
    both = both[both["image_id"].isin(numbers)]
    found = {(str(run), str(method)): _grid(mine, numbers) for (run, method), mine in
             both.groupby(["run", "method"], sort=False)}  # fmt: skip
    return {key: grid for key, grid in found.items() if (np.isfinite(grid.x) & np.isfinite(grid.y)).any()}


def _grid(rows: pd.DataFrame, numbers: dict[str, int]) -> Grid:
    pairs = rows.drop_duplicates("uid")
    uids = pairs["uid"].to_list()
    strengths = np.unique(rows["strength"].to_numpy(np.float64))  # nan comes last, once
    at = {uid: k for k, uid in enumerate(uids)}
    column = np.searchsorted(strengths, rows["strength"].to_numpy(np.float64))
    line = [at[uid] for uid in rows["uid"]]
    tables = []
    for name in ("distance", "value"):
        table = np.full((len(uids), len(strengths)), math.nan)
        table[line, column] = rows[name].to_numpy(dtype=np.float64, na_value=math.nan)
        tables.append(table)
    return Grid(strengths, tuple(uids), np.array([numbers[i] for i in pairs["image_id"]], np.int64), *tables)
