"""What a method's strength buys: curves over it, and methods compared at equal fidelity.

A curve, for one method and metric, at every strength s that was asked for:

    ȳ(s) = 1/n Σ_p y(p, s),   y(p, s) = mean over the seeds k of y(p, k, s),   interval as in `tedbench.stats`

A matched comparison, for a budget b on a distance to the input d (LPIPS, say):

    s*(p, k) = max { s : d(p, k, s) ≤ b(p) },   v(p) = mean over k of y(p, k, s*(p, k)),   0 where s* does not exist

Nothing is interpolated: every number is of images that were made. Images that failed have no d and no y, so they are
never chosen, and a pair of which nothing is within budget is a failure, not a gap.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tedbench import stats

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
_IMAGE = ("run", "method", "uid", "image_id", "seed")


@dataclass(frozen=True)
class Point:
    """One strength of a curve."""

    strength: float
    """nan where whoever made the images did not say."""
    mean: float
    low: float
    """Lower end of the interval; nan where there is none."""
    high: float
    pairs: int
    """Pairs with a value, of `asked`."""
    asked: int
    failed: int
    """Images that were asked for and have no value: not made, or not scored."""


@dataclass(frozen=True)
class Curve:
    """One method and metric over the strength."""

    run: str
    """Empty where the scores do not say."""
    method: str
    metric: str
    """Its identity: numbers of two identities are never one curve."""
    points: tuple[Point, ...]
    """In order of strength."""


def curves(scores: pd.DataFrame, level: float = LEVEL, binary: Container[str] = ()) -> tuple[Curve, ...]:
    """The curve of every method and metric.

    Args:
        scores: long form as `RunFolder.scores()`, NaN where an image has no value, perhaps with a column `run`.
        level: coverage of the intervals, in (0, 1).
        binary: identities of the metrics whose values are 0 or 1: their means are proportions (`stats.interval`).

    Returns:
        One for each run, method and metric, in the order they come. A value that is infinite (the PSNR of equal
        images) makes its point infinite, without an interval.
    """
    named = scores if "run" in scores else scores.assign(run="")
    key = ["run", "method", "metric"]
    pairs = stats.seed_means(named, [*key, "strength", "uid", "image_id"])
    gone = named["value"].isna().groupby([named[name] for name in [*key, "strength"]], dropna=False, sort=False).sum()
    missing = {_plain(at): int(n) for at, n in zip(gone.index.to_list(), gone, strict=True)}
    made = []
    for at, mine in pairs.groupby(key, sort=False):
        run, method, metric = map(str, at)
        failed = {strength: missing[run, method, metric, strength] for strength in _strengths(mine)}
        made.append(Curve(run, method, metric, _points(mine, failed, level, metric in binary)))
    return tuple(made)


def split(
    scores: pd.DataFrame, by: Literal["category", "seed", "uid"], level: float = LEVEL, binary: Container[str] = ()
) -> dict[str, tuple[Curve, ...]]:
    """The curves of each category, seed or pair on its own; arguments else as `curves`.

    Returns:
        By the category, seed or uid, in order; rows that do not say are left out. A pair has no interval.
    """
    return {str(name): curves(mine, level, binary) for name, mine in scores.groupby(by, sort=True)}


def matched(
    outcome: pd.DataFrame,
    fidelity: pd.DataFrame,
    budget: float | Mapping[str, float],
    closer: Literal["lower", "higher"] = "lower",
    otherwise: float = 0.0,
) -> pd.DataFrame:
    """Each pair at its greatest strength within a budget (the equation at the top), seed by seed.

    Args:
        outcome: scores of the metric to compare by, long form; a row for every image that was asked for.
        fidelity: scores of one metric of the distance to the input, over the same images.
        budget: the largest distance allowed (the smallest closeness, for `closer="higher"`), or one for each uid.
        closer: whether lower or higher fidelity values mean closer to the input.
        otherwise: what stands for a value where nothing is within budget, or what is has no value: 0 for metrics
            that are 0 or 1. Give nan for others, and count the pairs that are left.

    Returns:
        A row for each method and pair, with (run,) method, uid, image_id; `value`, the mean over seeds (nan values
        left out); `within`, the share of seeds with a strength within budget; `strength`, their mean, nan where none
        has. The values go into `stats.interval`, and their differences between methods too.

    Raises:
        ValueError: if a score is there twice (two metrics in one frame, say), or a pair has no budget.
    """
    import pandas as pd

    key = [name for name in _IMAGE if name in outcome]
    here = ["uid", *(name for name in key if name != "uid"), "strength"]
    distance = fidelity[[*here, "value"]].rename(columns={"value": "distance"})
    both = outcome[[*here, "value"]].merge(distance, on=here, how="left", validate="one_to_one")
    limit = _limits(both["uid"], budget)
    allowed = both["distance"] <= limit if closer == "lower" else both["distance"] >= limit
    inside = both[allowed].sort_values("strength", na_position="first", kind="stable")
    chosen = inside.groupby(key, dropna=False, sort=False).tail(1).assign(within=1.0)
    every = both[key].drop_duplicates().merge(chosen[[*key, "strength", "value", "within"]], on=key, how="left")
    every = every.assign(value=every["value"].fillna(otherwise), within=every["within"].fillna(0.0))
    pair = [name for name in key if name != "seed"]
    found = [stats.seed_means(every.assign(value=every[name]), pair)["value"] for name in ("within", "strength")]
    means = stats.seed_means(every, pair)
    return pd.concat([means, found[0].rename("within"), found[1].rename("strength")], axis=1)


def _points(pairs: pd.DataFrame, failed: Mapping[float | None, int], level: float, binary: bool) -> tuple[Point, ...]:
    """The points of one curve.

    Args:
        pairs: a row a pair and strength.
        failed: images without a value, by strength in order; None for one that was not stated.
        level, binary: as `curves`.
    """
    asked, points = int(pairs["uid"].nunique()), []
    values, strengths, photos = (pairs[name].to_numpy() for name in ("value", "strength", "image_id"))
    for strength, lost in failed.items():
        here = (np.isnan(strengths) if strength is None else strengths == strength) & ~np.isnan(values)
        found = stats.interval(values[here].tolist(), photos[here].tolist(), level, binary)
        at = math.nan if strength is None else strength
        points.append(Point(at, found.mean, found.low, found.high, found.n, asked, lost))
    return tuple(points)


def _strengths(pairs: pd.DataFrame) -> list[float | None]:
    """In order; None, and last, for one that was not stated: nan is not equal to itself, and finds nothing."""
    found = np.sort(pairs["strength"].to_numpy(np.float64))
    return [None if math.isnan(strength) else float(strength) for strength in np.unique(found)]


def _plain(at: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*map(str, at[:-1]), None if math.isnan(at[-1]) else float(at[-1]))


def _limits(uids: pd.Series[str], budget: float | Mapping[str, float]) -> pd.Series[float]:
    if not isinstance(budget, Mapping):
        return uids.map(lambda _: float(budget))
    lacks = sorted(set(uids) - set(budget))
    if lacks:
        raise ValueError(f"no budget for pair {lacks[0]!r}; give one for each of the {uids.nunique()} pairs")
    return uids.map(lambda uid: float(budget[uid]))
