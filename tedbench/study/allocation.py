"""Which question a rater sees next, so that coverage stays balanced whoever drops out.

A rater's screens are of three kinds in an order drawn for them: new questions, mirrored repeats of earlier ones, and
checks. Of new ones a rater holds a claim on as many as remain to be asked; at every step the claims are given back and
made anew on the questions with the fewest answers and claims for their share, of equal ones on that whose pair of
methods has the fewest. While nobody leaves, the answers and claims of any two questions, and of any two pairs, of equal
share therefore differ by one at most, unless a rater is to see nearly every question. Of what is claimed, that with the
fewest answers comes first, so that little is lacking where a rater leaves; what they held falls to those who go on.

Sides: each question's first picture is on the left as often as on the right, give or take one; among what may be asked,
a question whose side keeps the rater balanced goes first.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tedbench.study.bundle import GOLD, INSTRUCTED, MAIN, Meant
from tedbench.study.lock import LEFT, RIGHT, PerRater

Numbers = NDArray[np.int64]
REPEAT, CHECK = "repeat", "check"
APART = 3
"""Screens between a question and its repeat, where the plan has room."""
IDLE = 120.0
"""Seconds after which a rater who does nothing holds no claim; coming back is welcome, and costs nobody anything."""


@dataclass(frozen=True)
class Screen:
    """A question as one rater sees it."""

    question: str
    flipped: bool
    """Whether the first picture is on the right."""


@dataclass
class _Rater:
    number: int
    kinds: tuple[str, ...]
    screens: list[Screen] = field(default_factory=list)
    answered: int = 0
    """Screens answered: they are answered in order."""
    claims: list[int] = field(default_factory=list)
    open: tuple[int, int] | None = None
    """(index of the main question that is shown, 1 if it is flipped), while it counts as claimed."""
    last: float = 0.0


def kinds(seed: int, number: int, per_rater: PerRater) -> tuple[str, ...]:
    """The kinds of a rater's screens in order: `main`, `repeat`, `check`.

    Repeats come in the later part, so that something is there to repeat; checks never first.

    Args:
        seed: of the study.
        number: of the rater, from 0.
        per_rater: how many of each.
    """
    rng = np.random.default_rng([seed, number, 1])
    n = per_rater.questions
    checks = set((1 + rng.permutation(n - 1)[: per_rater.checks]).tolist())
    rest = [at for at in range(n) if at not in checks]
    least = min(per_rater.new, max(per_rater.repeats, math.ceil(len(rest) / 2)))
    repeats = {rest[least + int(k)] for k in rng.permutation(len(rest) - least)[: per_rater.repeats]}
    return tuple(REPEAT if at in repeats else CHECK if at in checks else MAIN for at in range(n))


class Allocation:
    """What has been shown to whom. Not for several threads at once; its owner sees to that."""

    def __init__(self, seed: int, per_rater: PerRater, questions: Sequence[Meant], idle: float = IDLE) -> None:
        self._seed, self._per_rater, self._idle = seed, per_rater, idle
        self._main = [one for one in questions if one.kind == MAIN]
        self._index = {one.id: at for at, one in enumerate(self._main)}
        self._gold = [one for one in questions if one.kind == GOLD]
        self._instructed = [one for one in questions if one.kind == INSTRUCTED]
        self._share = np.array([one.share for one in self._main])
        self._pair = _numbered([tuple(sorted((one.first.label, one.second.label))) for one in self._main])
        self._uid, self._photo = (_numbered([getattr(one, k) for one in self._main]) for k in ("uid", "image_id"))
        self._pair_share = np.bincount(self._pair, self._share)
        self._sides = np.zeros((len(self._main), 2), dtype=np.int64)
        """Main questions answered or shown: first picture left, right."""
        self._claims = np.zeros(len(self._main), dtype=np.int64)
        self._raters: dict[int, _Rater] = {}
        self._looked = -math.inf

    @property
    def counts(self) -> dict[str, int]:
        """Answers and open screens of every main question, repeats not counted."""
        return {one.id: int(self._sides[at].sum()) for at, one in enumerate(self._main)}

    def restore(self, number: int, screens: Sequence[Screen], answered: int, now: float) -> None:
        """Take up a rater who was there before, from what was written down.

        Args:
            number: of the rater.
            screens: in order; all are answered, or all but the last.
            answered: how many are.
            now: seconds, of any clock that only goes forward.
        """
        rater = _Rater(number, kinds(self._seed, number, self._per_rater), list(screens), answered, last=now)
        self._raters[number] = rater
        for at, screen in enumerate(screens):
            if rater.kinds[at] == MAIN:
                side = (self._index[screen.question], int(screen.flipped))
                self._sides[side] += 1
                rater.open = side if at >= answered else None

    def current(self, number: int, now: float) -> Screen | None:
        """The screen that a rater is to answer, a new one where the last is answered; None after the last."""
        rater = self._raters.get(number)
        if rater is None:
            rater = self._raters[number] = _Rater(number, kinds(self._seed, number, self._per_rater))
        rater.last = now
        self._release_idle(now)
        if rater.answered < len(rater.screens):
            return rater.screens[-1]
        if len(rater.screens) == len(rater.kinds):
            return None
        kind = rater.kinds[len(rater.screens)]
        screen = self._check(rater) if kind == CHECK else self._repeat(rater) if kind == REPEAT else self._new(rater)
        rater.screens.append(screen)
        return screen

    def answered(self, number: int, now: float) -> None:
        """The current screen of a rater has its answer."""
        rater = self._raters[number]
        rater.last, rater.answered, at = now, rater.answered + 1, len(rater.screens) - 1
        if rater.kinds[at] == MAIN and rater.open is None:  # had been given up, and came back
            self._sides[self._index[rater.screens[at].question], int(rater.screens[at].flipped)] += 1
        rater.open = None

    def leave(self, number: int, withdrawn: bool = False) -> None:
        """A rater goes: what they hold falls to others; where they withdrew, what they answered too."""
        rater = self._raters.get(number)
        if rater is None:
            return
        self._give_back(rater)
        if withdrawn:
            for at, screen in enumerate(rater.screens[: rater.answered]):
                if rater.kinds[at] == MAIN:
                    self._sides[self._index[screen.question], int(screen.flipped)] -= 1
            del self._raters[number]

    def _release_idle(self, now: float) -> None:
        if now < self._looked + self._idle / 100:  # not at every step, as there may be thousands
            return
        self._looked = now
        for rater in self._raters.values():
            if (rater.claims or rater.open) and now - rater.last > self._idle:
                self._give_back(rater)

    def _give_back(self, rater: _Rater) -> None:
        self._unclaim(rater)
        if rater.open is not None:
            self._sides[rater.open] -= 1
            rater.open = None

    def _unclaim(self, rater: _Rater) -> None:
        self._claims[rater.claims] -= 1
        rater.claims = []

    def _new(self, rater: _Rater) -> Screen:
        self._unclaim(rater)
        rng = np.random.default_rng([self._seed, rater.number, 2, len(rater.screens)])
        before = [self._index[s.question] for at, s in enumerate(rater.screens) if rater.kinds[at] == MAIN]
        left = sum(kind == MAIN for kind in rater.kinds[len(rater.screens) :])
        asked = np.bincount(self._uid[before], minlength=len(self._main))[self._uid]
        order = self._lacking(before, asked, rng)
        claims = [int(at) for at in order[:left] if at not in before] or [int(order[0])]
        chosen = self._first(np.array(claims), rater, before, asked)
        flipped = self._flipped(chosen, rater, rng)
        rater.claims = [at for at in claims if at != chosen]
        self._claims[rater.claims] += 1
        rater.open = (chosen, int(flipped))
        self._sides[rater.open] += 1
        return Screen(self._main[chosen].id, flipped)

    def _lacking(self, before: list[int], asked: Numbers, rng: np.random.Generator) -> Numbers:
        """Questions as they should be claimed, one after the other; what a rater has seen before comes last.

        Sainte-Laguë's rule, among questions and then among pairs of methods: with equal shares, the fewest first.
        """
        held, draw = self._sides.sum(1) + self._claims, rng.random(len(self._main))
        wanted = (held + 0.5) / self._share
        wanted[before] = math.inf
        grouped, sizes = np.lexsort((draw, asked, wanted, self._pair)), np.bincount(self._pair)
        turn = np.empty(len(held))
        turn[grouped] = np.arange(len(held)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # place within the pair
        lacking = (np.bincount(self._pair, held)[self._pair] + turn + 0.5) / self._pair_share[self._pair]
        return np.lexsort((draw, asked, lacking, wanted))

    def _first(self, claims: Numbers, rater: _Rater, before: list[int], asked: Numbers) -> int:
        """What this rater should see first: another photo, the other side, what has the fewest answers."""
        answers, lean = self._sides.sum(1), np.sign(self._lean(rater))
        again = self._photo[claims] == (self._photo[before[-1]] if before else -1)
        behind = np.sign(self._sides[claims, 0] - self._sides[claims, 1])
        misfit = (behind == -lean) & (behind != 0)
        pair = (np.bincount(self._pair, answers) / self._pair_share)[self._pair[claims]]
        place = np.random.default_rng([self._seed, rater.number, 3]).random(len(self._main))  # the same at every step
        keys = (place[claims], answers[claims] / self._share[claims], pair, misfit, asked[claims] + again)
        return int(claims[np.lexsort(keys)[0]])

    def _lean(self, rater: _Rater) -> int:
        """Main screens of a rater with the first picture left, less those with it right."""
        flips = [s.flipped for at, s in enumerate(rater.screens) if rater.kinds[at] == MAIN]
        return len(flips) - 2 * sum(flips)

    def _flipped(self, at: int, rater: _Rater, rng: np.random.Generator) -> bool:
        behind = int(self._sides[at, 0] - self._sides[at, 1]) or self._lean(rater)
        return behind > 0 if behind else bool(rng.integers(2))

    def _repeat(self, rater: _Rater) -> Screen:
        rng = np.random.default_rng([self._seed, rater.number, 4, len(rater.screens)])
        repeated = {s.question for at, s in enumerate(rater.screens) if rater.kinds[at] == REPEAT}
        old = [s for at, s in enumerate(rater.screens) if rater.kinds[at] == MAIN and s.question not in repeated]
        apart = [s for s in old if s not in rater.screens[-APART:]] or old
        chosen = apart[int(rng.integers(len(apart)))]
        return Screen(chosen.question, not chosen.flipped)

    def _check(self, rater: _Rater) -> Screen:
        """Scrambled pictures and instructions in turn; the right answer left and right in turn."""
        done = sum(kind == CHECK for kind in rater.kinds[: len(rater.screens)])
        rng = np.random.default_rng([self._seed, rater.number, 5])
        turn = rng.integers(2, size=2)
        side = (LEFT, RIGHT)[(int(turn[0]) + done) % 2]
        pool = self._instructed if (int(turn[1]) + done // 2 + done) % 2 and self._instructed else self._gold
        pool = pool or self._instructed
        seen = {s.question for s in rater.screens}
        fit = [one for one in pool if one.expected in (side, "first", "second")] or pool
        fresh = [one for one in fit if one.id not in seen] or fit
        one = fresh[int(rng.integers(len(fresh)))]
        if one.expected in (LEFT, RIGHT):
            return Screen(one.id, bool(rng.integers(2)))
        return Screen(one.id, (one.expected == "first") == (side == RIGHT))


def _numbered(names: Sequence[Hashable]) -> Numbers:
    """Equal names, equal numbers from 0."""
    numbers = {name: at for at, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def forms(seed: int, per_rater: PerRater, questions: Sequence[Meant], raters: int) -> list[list[Screen]]:
    """The screens of so many raters, none of whom drops out: for pages that no server stands behind."""
    allocation, made = Allocation(seed, per_rater, questions, idle=math.inf), []
    for number in range(raters):
        mine: list[Screen] = []
        while (screen := allocation.current(number, 0.0)) is not None:
            mine.append(screen)
            allocation.answered(number, 0.0)
        made.append(mine)
    return made
