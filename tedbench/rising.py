"""Rules that choose the least strength at which one metric has risen enough; `tedbench.rules` says what a rule is.

    gain     the least i with v(i) − v(0) ≥ least; the last where none has it
    share    the least i with v(i) − v(0) ≥ of · max_j (v(j) − v(0))
    bisect   `gain`, taking v to rise with the strength: it looks at the first strength, then at halves of what is left

Of a metric of which lower is better, gains are counted downwards. Without v(0) there is no gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from tedbench.errors import UsageError
from tedbench.rules import Seeded, Sweep, metric_said


@dataclass(frozen=True)
class Rising(Seeded):
    """What the rules share that wait for one metric to rise."""

    upper_bound: ClassVar[bool] = False
    at: ClassVar[str] = "metric"
    metric: str = ""
    """Spec of what should rise: `clip-text@MODEL`, `clip-directional@MODEL`."""

    def __post_init__(self) -> None:
        """It is of a metric."""
        metric_said(type(self).__name__.lower(), "metric", self.metric)

    @property
    def reads(self) -> tuple[str, ...]:
        """What should rise."""
        return self._reads(self.metric)


@dataclass(frozen=True)
class Gain(Rising):
    """The least strength that gains enough."""

    least: float = 0.1

    def choose(self, sweep: Sweep) -> int | None:
        """It stops at the first strength that will do, so that greater ones need not be made."""
        last = None
        for at in range(len(sweep.strengths)):
            gained = sweep.gain(self.metric, at)
            if gained >= self.least:
                return at
            last = last if math.isnan(gained) else at
            if last is None:
                break  # the first strength has no value
        return last


@dataclass(frozen=True)
class Share(Rising):
    """The least strength that gains a share of all that the sweep gains."""

    of: float = 0.8

    def __post_init__(self) -> None:
        """A share is of a metric, and of at most all."""
        super().__post_init__()
        if not 0 < self.of <= 1:
            raise UsageError(f"rule share: of {self.of:g} is not above 0 and at most 1")

    def choose(self, sweep: Sweep) -> int | None:
        """The first strength where nothing rises."""
        found = sweep.worth(self.metric)
        if 0 not in found:
            return None
        most = max(found.values()) - found[0]
        return min(i for i, value in found.items() if value - found[0] >= self.of * most)


@dataclass(frozen=True)
class Bisect(Rising):
    """As `gain`, for a handful of images."""

    least: float = 0.1
    most: int = 5
    """Strengths a sweep that it may look at, the first among them."""

    def __post_init__(self) -> None:
        """It needs the first strength and one more."""
        super().__post_init__()
        if self.most < 2:
            raise UsageError(f"rule bisect: most {self.most} is too few; it looks at the first strength and another")

    def choose(self, sweep: Sweep) -> int | None:
        """The least strength seen to gain enough; the last where none was; a failed image gains nothing.

        The last strength is chosen unseen where nothing below gained enough, and is then counted, as it must be made.
        """
        if math.isnan(sweep(self.metric, 0)):
            return None
        low, high = 0, len(sweep.strengths) - 1  # low gains too little; high is the answer until a lesser one is seen
        while high - low > 1 and len(sweep.asked | {high}) < self.most:
            middle = (low + high) // 2
            if sweep.gain(self.metric, middle) >= self.least:
                high = middle
            else:
                low = middle
        sweep.asked.add(high)
        return high
