"""Rules that choose the strength of an edit, pair by pair. Each is a small plug-in, named by an entry point.

A rule sees one sweep: strengths s_0 < … < s_n and, for those it asks about, values of metrics; v(i) is that at s_i.

    fixed    the strength that was said, else the method's own default
    budget   the greatest i with v(i) ≤ most, for a distance to the input (v(i) ≥ most, where higher is closer)
    best     argmax v: with a metric that knows the truth, an upper bound and no method
    knee     argmax of y'(i) − x'(i), gain less cost, both scaled to [0, 1] over the sweep: where the curve leaves the
             chord between its ends farthest (the idea of Kneedle: Satopää et al. 2011)
    trade    argmax of y(i) − price · x(i), gain less cost in the metrics' own units: one price for all sweeps; of a few
             strengths where `most` says so: first, last, middle, then halves beside the best so far

Rules that wait for one metric to rise stand in `tedbench.rising`.

Which way a metric points is its own fact: of a metric of which lower is better, gains are counted downwards. A strength
whose image failed has no value, and no rule that saw it chooses it; without v(0) there is no gain. A sweep without a
choice counts as a failure. What each rule asked for is counted: who looks at every strength needs them all made.

Seeds are averaged, unless a rule's `seed_by` names a metric: of a pair's N seeds it keeps the one whose chosen image is
best by it. That is best of N, and is printed so; what it looked at is counted over all N.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from tedbench.errors import UsageError

LPIPS = "lpips-alex@256"


@dataclass
class Sweep:
    """One pair and seed at all strengths, as a rule sees it; it remembers what was asked."""

    strengths: tuple[float, ...]
    """In ascending order."""
    default: float
    """The strength that is shown of the method: its own, where the sweep holds it; nan where it is not known."""
    values: Callable[[str, int], float]
    """(spec of a metric, index of a strength) → value; nan for none."""
    higher_is_better: Callable[[str], bool]
    """By spec of a metric."""
    asked: set[int] = field(default_factory=set)
    """Indices of the strengths whose image a rule needed."""

    def __call__(self, metric: str, at: int) -> float:
        """The value at a strength, which is counted from now on."""
        self.asked.add(at)
        return self.values(metric, at)

    def all(self, metric: str) -> dict[int, float]:
        """The values at all strengths that have one, by index."""
        found = {at: self(metric, at) for at in range(len(self.strengths))}
        return {at: value for at, value in found.items() if not math.isnan(value)}

    def worth(self, metric: str) -> dict[int, float]:
        """The finite ones (not the PSNR of an equal image), turned so that higher is better."""
        sign = 1 if self.higher_is_better(metric) else -1
        return {at: sign * value for at, value in self.all(metric).items() if math.isfinite(value)}

    def gain(self, metric: str, at: int) -> float:
        """What a strength gains on the first one; nan where either has no value."""
        change = self(metric, at) - self(metric, 0)
        return change if self.higher_is_better(metric) else -change


@runtime_checkable
class Rule(Protocol):
    """Chooses a strength. Its fields are its configuration.

    It may have a field `seed_by` as ours do: `choosing` keeps one seed a pair by it, so that a rule need not.
    """

    upper_bound: ClassVar[bool]
    """Whether it may look at what no user of a method has: the outcome itself."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Specs of the metrics that it asks for."""
        ...

    def choose(self, sweep: Sweep) -> int | None:
        """The index of a strength; None where there is none to choose."""
        ...


@dataclass(frozen=True)
class Seeded:
    """What ours share: what becomes of a pair's seeds."""

    seed_by: str = field(default="", kw_only=True)
    """Spec of the metric by which the best seed is kept; empty: all are, averaged."""

    def _reads(self, *metrics: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(spec for spec in (*metrics, self.seed_by) if spec))


@dataclass(frozen=True)
class Fixed(Seeded):
    """One strength for all."""

    upper_bound: ClassVar[bool] = False
    at: ClassVar[str] = "strength"
    strength: float = math.nan
    """nan for the method's own default."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Nothing, but for the seeds."""
        return self._reads()

    def choose(self, sweep: Sweep) -> int | None:
        """The index of that strength.

        Raises:
            UsageError: if the sweep does not have it.
        """
        wanted = sweep.default if math.isnan(self.strength) else self.strength
        near = [i for i, s in enumerate(sweep.strengths) if math.isclose(s, wanted, rel_tol=1e-9, abs_tol=1e-12)]
        if not near:
            shown = ", ".join(f"{s:g}" for s in sweep.strengths)
            raise UsageError(f"rule fixed: no strength {wanted:g} among {shown}; name one of these: fixed@STRENGTH")
        sweep.asked.add(near[0])
        return near[0]


@dataclass(frozen=True)
class Budget(Seeded):
    """The greatest strength within a distance to the input."""

    upper_bound: ClassVar[bool] = False
    at: ClassVar[str] = "most"
    most: float = 0.3
    """The largest distance allowed, or the smallest closeness where higher is closer."""
    metric: str = LPIPS

    @property
    def reads(self) -> tuple[str, ...]:
        """The distance."""
        return self._reads(self.metric)

    def choose(self, sweep: Sweep) -> int | None:
        """None where nothing is within budget."""
        sign = -1 if sweep.higher_is_better(self.metric) else 1
        inside = [i for i, value in sweep.all(self.metric).items() if sign * value <= sign * self.most]
        return max(inside, default=None)


@dataclass(frozen=True)
class Best(Seeded):
    """The strength that does best, by a metric that should know the truth; the least of equals."""

    upper_bound: ClassVar[bool] = True
    at: ClassVar[str] = "metric"
    metric: str = "oracle-both"

    @property
    def reads(self) -> tuple[str, ...]:
        """What is to be great."""
        return self._reads(self.metric)

    def choose(self, sweep: Sweep) -> int | None:
        """The first of equals."""
        found = sweep.worth(self.metric)
        return min((i for i, v in found.items() if v == max(found.values())), default=None)


@dataclass(frozen=True)
class Knee(Seeded):
    """Where the gain is large for what it costs."""

    upper_bound: ClassVar[bool] = False
    at: ClassVar[str] = "gain"
    gain: str = ""
    """Spec of what should rise: `clip-text@MODEL`."""
    cost: str = LPIPS

    def __post_init__(self) -> None:
        """It is of two metrics."""
        metric_said(type(self).__name__.lower(), "gain", self.gain)

    @property
    def reads(self) -> tuple[str, ...]:
        """Cost and gain."""
        return self._reads(self.cost, self.gain)

    def choose(self, sweep: Sweep) -> int | None:
        """The first of equals; the first strength where nothing moves."""
        closeness, gain = sweep.worth(self.cost), sweep.worth(self.gain)
        both = sorted(closeness.keys() & gain.keys())
        if not both:
            return None
        kept, gained = (_scaled([values[i] for i in both]) for values in (closeness, gain))
        above = [a + b for a, b in zip(kept, gained, strict=True)]  # y' − x', since x' is 1 less what is kept
        return both[above.index(max(above))]


@dataclass(frozen=True)
class Trade(Knee):
    """Where the gain exceeds its price by most."""

    price: float = 1.0
    """What a unit of cost must bring: a sweep that gains little at that price keeps near to the input."""

    most: int = 0
    """Strengths a sweep that it may look at: first, last and middle, then halves beside the best so far; 0 for all."""

    def __post_init__(self) -> None:
        """It is of two metrics, and looks at three strengths or more."""
        super().__post_init__()
        if self.most and self.most < 3:
            raise UsageError(
                f"rule trade: most {self.most} is too few; it looks at first, middle and last; 0 is for all"
            )

    def choose(self, sweep: Sweep) -> int | None:
        """The first of equals."""
        last = len(sweep.strengths) - 1
        worth = {at: self._worth(sweep, at) for at in ({0, last // 2, last} if self.most else range(last + 1))}
        while len(worth) < self.most:
            best = max(sorted(worth), key=worth.__getitem__)
            sides = [
                max((at for at in worth if at < best), default=best),
                min((at for at in worth if at > best), default=best),
            ]
            widest = max(sides, key=lambda side: abs(side - best))
            if abs(widest - best) < 2:
                break
            worth[(widest + best) // 2] = self._worth(sweep, (widest + best) // 2)
        there = [at for at in sorted(worth) if worth[at] > -math.inf]
        return max(there, key=worth.__getitem__, default=None)

    def _worth(self, sweep: Sweep, at: int) -> float:
        """Least where a value is not there, or not finite."""
        signs = [1 if sweep.higher_is_better(metric) else -1 for metric in (self.gain, self.cost)]
        found = signs[0] * sweep(self.gain, at) + self.price * signs[1] * sweep(self.cost, at)
        return found if math.isfinite(found) else -math.inf


def _scaled(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]


def metric_said(rule: str, name: str, spec: str) -> None:
    """Refuse a rule without the metric it is of."""
    if not spec:
        raise UsageError(f"rule {rule}: no metric named; give {rule}@clip-text@MODEL, say, or {rule}?{name}=SPEC")
