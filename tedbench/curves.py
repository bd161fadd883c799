"""What a method's strength buys: curves over it, and methods compared at equal fidelity.

A curve, for one method and metric, at every strength s that was asked for:

    ȳ(s) = 1/n Σ_p y(p, s),   y(p, s) = mean over the seeds k of y(p, k, s),   interval as in `tedbench.stats`

A matched comparison, for a budget b on a distance to the input d (LPIPS, say):

    s*(p, k) = max { s : d(p, k, s) ≤ b(p) },   v(p) = mean over k of y(p, k, s*(p, k)),   0 where s* does not exist

Nothing is interpolated: every number is of images that were made. Images that failed have no d and no y, so they are
never chosen, and a pair of which nothing is within budget is a failure, not a gap.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
    grouped = named.groupby(["run", "method", "metric"], sort=False)
    return tuple(
        Curve(str(run), str(method), str(metric), _points(group, level, metric in binary))
        for (run, method, metric), group in grouped
    )


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


def _points(group: pd.DataFrame, level: float, binary: bool) -> tuple[Point, ...]:
    asked = int(group["uid"].nunique())
    pairs = stats.seed_means(group, ["strength", "uid", "image_id"])
    missing = group["value"].isna().groupby(group["strength"], dropna=False).sum()
    points = []
    for (strength, mine), failed in zip(pairs.groupby("strength", dropna=False), missing, strict=True):
        there = mine.dropna(subset="value")
        found = stats.interval(there["value"].to_list(), there["image_id"].to_list(), level, binary)
        points.append(Point(float(strength), found.mean, found.low, found.high, found.n, asked, int(failed)))  # type: ignore[arg-type]
    return tuple(points)


def _limits(uids: pd.Series[str], budget: float | Mapping[str, float]) -> pd.Series[float]:
    if not isinstance(budget, Mapping):
        return uids.map(lambda _: float(budget))
    lacks = sorted(set(uids) - set(budget))
    if lacks:
        raise ValueError(f"no budget for pair {lacks[0]!r}; give one for each of the {uids.nunique()} pairs")
    return uids.map(lambda uid: float(budget[uid]))
