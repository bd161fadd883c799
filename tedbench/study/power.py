"""How much a study can tell, before anybody is asked.

A pair of methods gets n answers, of P photos and R raters in about equal parts. With the correlation of two answers on
one photo ρ_P and of one rater ρ_R, a rate p has variance

    V = p (1 − p) · (ρ_P/P + ρ_R/R + (1 − ρ_P − ρ_R)/n)          two crossed random effects; Owen 2007, section 3

and stands for n* = p (1 − p)/V independent answers, on which its Wilson interval is. A difference is found with the
probability that a normal estimate around p is outside the quantile of the level around one half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from tedbench import stats

RATES = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
POWER = 0.8
HALVES = (0.05, 0.075, 0.1, 0.15)
SAID = 0.7
"""The rate that words speak of: about what the paper found."""
MOST = 10_000_000
"""Answers beyond which nobody goes."""
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Design:
    """What is known of a pair's answers beforehand."""

    photos: int
    raters: int
    """Those who are kept."""
    answers: float
    """Of the pair, from those who are kept."""
    photo_correlation: float
    rater_correlation: float

    @property
    def effective(self) -> float:
        """n*: independent answers that would say as much."""
        rest = 1 - self.photo_correlation - self.rater_correlation
        return 1 / (
            self.photo_correlation / self.photos
            + self.rater_correlation / min(self.raters, max(self.answers, 1))
            + max(rest, 0.0) / self.answers
        )

    def with_answers(self, answers: float) -> Design:
        """The same with so many answers, raters in proportion."""
        raters = max(1, round(self.raters * answers / self.answers))
        return Design(self.photos, raters, answers, self.photo_correlation, self.rater_correlation)


def half_width(design: Design, p: float, level: float = stats.LEVEL) -> float:
    """Half the interval's width to be expected at a rate."""
    low, high = stats.wilson(p, design.effective, _quantile(level))
    return (high - low) / 2


def power(design: Design, p: float, level: float = stats.LEVEL) -> float:
    """Probability that the interval excludes one half where the rate is p."""
    n, z = design.effective, _quantile(level)
    # Wilson's interval leaves out one half where |p̂ − ½| is beyond z · ½/√n.
    edge, error = z * 0.5 / math.sqrt(n), math.sqrt(p * (1 - p) / n)
    if error == 0:
        return float(abs(p - 0.5) > edge)
    return (1 - _NORMAL.cdf((0.5 + edge - p) / error)) + _NORMAL.cdf((0.5 - edge - p) / error)


def needed(design: Design, p: float, wanted: float = POWER, level: float = stats.LEVEL) -> int | None:
    """Answers of a pair with which p is told from one half with so much probability.

    Args:
        design: whose photos stay; raters grow with the answers.
        p: the rate.
        wanted: power, in (0, 1).
        level: of the interval.

    Returns:
        the number; None where no number will do, since the photos are too few.
    """
    return _fewest(lambda n: power(design.with_answers(n), p, level) >= wanted)


def needed_for_width(design: Design, half: float, p: float = 0.5, level: float = stats.LEVEL) -> int | None:
    """Answers of a pair with which the interval of a rate p is expected to reach no farther than so much either way.

    Args:
        design: as `needed`.
        half: of the interval's width, in (0, 0.5).
        p: the rate; one half is the worst.
        level: of the interval.

    Returns:
        as `needed`.
    """
    return _fewest(lambda n: half_width(design.with_answers(n), p, level) <= half)


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The least number up to `MOST` that is enough, where all above it are; None for none."""
    low, high = 0, MOST
    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def estimate(design: Design, rates: Sequence[float] = RATES) -> dict[str, Any]:
    """What study.lock keeps of it.

    Returns:
        the design, `effective`, `detects` (the smallest rate above one half found with power .8; null for none),
        `rows`: rate, half_width, power, needed (answers a pair for power .8; null where photos are too few), and
        `widths`: half_width, needed (answers with which it is reached at a rate of one half; null likewise).
    """
    rows = [
        {"rate": p, "half_width": half_width(design, p), "power": power(design, p), "needed": needed(design, p)}
        for p in rates
    ]
    widths = [{"half_width": half, "needed": needed_for_width(design, half)} for half in HALVES]
    found = {"effective": design.effective, "detects": _detects(design)}
    return {**asdict(design), **found, "rows": rows, "widths": widths}


def told(found: Mapping[str, Any]) -> list[str]:
    """An estimate in words.

    Args:
        found: of `estimate`.
    """
    row = next(row for row in found["rows"] if row["rate"] == SAID)
    detects = f"{100 * found['detects']:.0f}%" if found["detects"] else "none"
    lines = [
        f"power: {found['answers']:.0f} answers a pair of methods from {found['raters']} raters who are kept, worth "
        f"{found['effective']:.0f} independent ones; {100 * SAID:.0f}% ± {100 * row['half_width']:.0f} points; "
        f"smallest rate told from 50% with probability {POWER:g}: {detects}"
    ]
    if row["needed"] is None:
        lines.append(
            f"power: {found['photos']} photos are too few to tell {100 * SAID:.0f}% from 50%, however many answer"
        )
    return lines


def _detects(design: Design) -> float | None:
    return next((k / 1000 for k in range(501, 1000) if power(design, k / 1000) >= POWER), None)


def _quantile(level: float) -> float:
    return _NORMAL.inv_cdf((1 + level) / 2)
