"""Who sees what: balanced however raters take turns, nearly so when they leave, and the same after a restart."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tedbench.study.allocation import APART, Allocation, Screen, forms, kinds
from tedbench.study.bundle import GOLD, INSTRUCTED, MAIN, Meant, Result
from tedbench.study.lock import PerRater

QUICK = settings(max_examples=25, deadline=None)


def asked(methods: int, photos: int, texts: Sequence[int] = (1,), by_photo: bool = False) -> list[Meant]:
    """All pairs of methods on so many texts of each photo, with shares as `building` gives them, and checks."""
    pairs = list(itertools.combinations("ABCDEFGH"[:methods], 2))
    of = [texts[photo % len(texts)] for photo in range(photos)]
    main = []
    for photo, text, (a, b) in ((p, t, ab) for p in range(photos) for t in range(of[p]) for ab in pairs):
        share = 1 / photos / of[photo] if by_photo else 1 / sum(of)
        first, second = (a, b) if (photo + text) % 2 else (b, a)
        name, uid = f"{photo}.{text}.{a}{b}", f"{photo}.{text}"
        main.append(Meant(name, MAIN, uid, f"p{photo}", Result(first), Result(second), share / len(pairs)))
    nobody = Result("")
    gold = [Meant(f"g{n}", GOLD, "", "", nobody, nobody, expected=("first", "second")[n % 2]) for n in range(6)]
    told = [Meant(f"t{side}", INSTRUCTED, "", "", nobody, nobody, expected=side) for side in ("left", "right")]
    return [*main, *gold, *told]


@dataclass
class Crowd:
    """Raters who take turns at random; an oracle that counts by itself."""

    questions: list[Meant]
    per_rater: PerRater
    seed: int = 0
    idle: float = 1e9
    now: float = 0.0
    screens: dict[int, list[Screen]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.allocation = Allocation(self.seed, self.per_rater, self.questions, self.idle)
        self.by_id = {one.id: one for one in self.questions}

    def step(self, number: int) -> bool:
        """One answer; False when there was nothing to answer."""
        self.now += 1
        screen = self.allocation.current(number, self.now)
        if screen is None:
            return False
        self.allocation.answered(number, self.now)
        self.screens.setdefault(number, []).append(screen)
        return True

    def run(self, raters: int, at_once: int, leave: float = 0.0) -> None:
        """Until so many have finished; of all who begin a part leaves at a screen drawn uniformly."""
        rng, here, begun, to_finish = np.random.default_rng([self.seed, raters]), dict[int, int](), 0, raters
        while here or to_finish:
            while to_finish and len(here) < at_once:
                leaves = bool(rng.random() < leave)
                here[begun] = int(rng.integers(self.per_rater.questions)) if leaves else self.per_rater.questions + 1
                begun, to_finish = begun + 1, to_finish - (not leaves)
            number = int(rng.choice(list(here)))
            here[number] -= 1
            if here[number] < 0 or not self.step(number):
                del here[number]

    def new(self) -> list[tuple[int, Screen]]:
        """Answers to a main question that its rater had not seen before."""
        found, seen = [], set()
        for number, screens in self.screens.items():
            for one in screens:
                if self.by_id[one.question].kind == MAIN and (number, one.question) not in seen:
                    seen.add((number, one.question))
                    found.append((number, one))
        return found

    def spread(self) -> dict[str, int]:
        questions = Counter({one.id: 0 for one in self.questions if one.kind == MAIN})
        pairs, sides = Counter[frozenset[str]](), Counter[str]()
        for _, one in self.new():
            questions[one.question] += 1
            pairs[frozenset((self.by_id[one.question].first.label, self.by_id[one.question].second.label))] += 1
            sides[one.question] += -1 if one.flipped else 1
        ranges = {name: max(n.values()) - min(n.values()) for name, n in (("questions", questions), ("pairs", pairs))}
        return {**ranges, "sides": max(map(abs, sides.values()))}


sizes = st.sampled_from([(2, 30, (1,)), (3, 8, (1,)), (3, 12, (1, 2)), (4, 10, (1,)), (5, 6, (1, 1, 3))])
few = st.sampled_from([PerRater(questions=12, repeats=2, checks=2), PerRater(questions=6, repeats=1, checks=0)])


@QUICK
@given(sizes, few, st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_who_finishes_leaves_balance_within_one(
    of: tuple[int, int, tuple[int, ...]], per_rater: PerRater, raters: int, at_once: int, seed: int
) -> None:
    crowd = Crowd(asked(*of), per_rater, seed)
    crowd.run(raters, at_once)
    assert len(crowd.new()) == raters * per_rater.new
    assert all(n <= 1 for n in crowd.spread().values()), crowd.spread()
    counts = Counter(one.question for _, one in crowd.new())
    assert crowd.allocation.counts == {one.id: counts[one.id] for one in crowd.questions if one.kind == MAIN}


@pytest.mark.slow
@pytest.mark.parametrize("of", [(3, 20, (1, 2)), (4, 39, (1,)), (3, 39, (2,))])
def test_when_three_in_ten_leave_questions_stay_within_two(of: tuple[int, int, tuple[int, ...]]) -> None:
    worst = Counter[str]()
    for seed in range(3):
        crowd = Crowd(asked(*of), PerRater(), seed, idle=60.0)
        crowd.run(50, 20, leave=0.3)
        worst |= Counter(crowd.spread())
    assert worst["questions"] <= 2 and worst["pairs"] <= 4 and worst["sides"] <= 2, worst


@QUICK
@given(sizes, st.integers(0, 999), st.integers(1, 12))
def test_what_one_rater_sees(of: tuple[int, int, tuple[int, ...]], seed: int, raters: int) -> None:
    per_rater, questions = PerRater(questions=20, repeats=3, checks=3), asked(*of)
    by_id = {one.id: one for one in questions}
    for number, mine in enumerate(forms(seed, per_rater, questions, raters)):
        order = kinds(seed, number, per_rater)
        assert Counter(order) == {"main": 14, "repeat": 3, "check": 3} and order[0] == "main"
        of_kind = {kind: [one for one, k in zip(mine, order, strict=True) if k == kind] for kind in set(order)}
        assert all((by_id[one.question].kind == MAIN) == (k != "check") for one, k in zip(mine, order, strict=True))
        assert len({one.question for one in of_kind["main"]}) == 14, "nothing is new twice"
        assert len({one.question for one in of_kind["repeat"]}) == 3
        flips = [one.flipped for one in of_kind["main"]]
        assert abs(len(flips) - 2 * sum(flips)) <= 6
        for at, one in enumerate(mine):
            if order[at] == "repeat":
                before = [k for k in range(at) if mine[k].question == one.question]
                assert len(before) == 1 and mine[before[0]].flipped != one.flipped, "mirrored, and once"
                assert at - before[0] > min(APART, 1), "not at once"


@QUICK
@given(st.integers(0, 999), st.integers(0, 999), st.integers(1, 10), st.integers(0, 10), st.integers(0, 10))
def test_kinds_count_right_whatever_is_asked(seed: int, number: int, new: int, repeats: int, checks: int) -> None:
    repeats = min(new, repeats)
    per_rater = PerRater(questions=new + repeats + checks, repeats=repeats, checks=checks)
    order = kinds(seed, number, per_rater)
    assert Counter(order) == +Counter({"main": new, "repeat": repeats, "check": checks})
    assert order[0] == "main" and order == kinds(seed, number, per_rater)
    for at, kind in enumerate(order):
        if kind == "repeat":
            assert order[:at].count("main") > order[:at].count("repeat"), "there is something to repeat"


def test_sides_of_checks_and_of_raters_are_even() -> None:
    questions = asked(3, 30)
    by_id = {one.id: one for one in questions}
    made = forms(1, PerRater(questions=20, repeats=0, checks=6), questions, 60)
    for mine in made:
        right = Counter()
        for one in mine:
            if (meant := by_id[one.question]).kind == GOLD:
                right["right" if (meant.expected == "first") == one.flipped else "left"] += 1
            elif meant.kind == INSTRUCTED:
                right[meant.expected] += 1
        assert right["left"] == right["right"] == 3, "who always clicks on one side fails half the checks"
    leans = [sum(1 - 2 * one.flipped for one in mine if by_id[one.question].kind == MAIN) for mine in made]
    assert max(map(abs, leans)) <= 4 and np.mean(np.abs(leans)) <= 2


def test_by_photo_every_photo_gets_as_many_answers() -> None:
    per_rater = PerRater(questions=10, repeats=0, checks=0)
    for by_photo in (False, True):
        crowd = Crowd(asked(3, 12, (1, 3), by_photo), per_rater)
        crowd.run(72, 10)
        texts = Counter[str](one.image_id for one in crowd.questions if one.kind == MAIN)
        got = Counter[str](crowd.by_id[one.question].image_id for _, one in crowd.new())
        wanted = {photo: 720 / 12 if by_photo else 720 * n / sum(texts.values()) for photo, n in texts.items()}
        assert all(abs(got[photo] - n) <= 3 for photo, n in wanted.items()), (by_photo, got)


def test_another_photo_comes_next_and_hardly_any_comes_twice() -> None:
    crowd = Crowd(asked(3, 30), PerRater(questions=14, repeats=0, checks=0))
    crowd.run(30, 10)
    photos = [[crowd.by_id[one.question].image_id for one in mine] for mine in crowd.screens.values()]
    assert np.mean([a == b for mine in photos for a, b in itertools.pairwise(mine)]) < 0.02
    assert np.mean([len(set(mine)) for mine in photos]) > 13.5


def test_what_a_withdrawn_rater_said_is_asked_of_others() -> None:
    crowd = Crowd(asked(3, 8), PerRater(questions=10, repeats=1, checks=1))
    for number in (0, 1):
        while crowd.step(number):
            pass
    counts = crowd.allocation.counts
    crowd.allocation.leave(1, withdrawn=True)
    mine = Counter(one.question for number, one in crowd.new() if number == 1)
    assert crowd.allocation.counts == {name: n - mine[name] for name, n in counts.items()}
    del crowd.screens[1]
    crowd.run(2, 2)  # number 0 has finished, and number 1 begins anew
    assert crowd.spread()["questions"] <= 1


@QUICK
@given(st.integers(0, 99), st.integers(1, 8), st.integers(0, 60))
def test_a_restart_shows_the_same_screens_and_keeps_the_counts(seed: int, raters: int, steps: int) -> None:
    per_rater, questions = PerRater(questions=10, repeats=2, checks=2), asked(3, 10)
    crowd, rng = Crowd(questions, per_rater, seed), np.random.default_rng(seed)
    for number in rng.integers(raters, size=steps).tolist():
        crowd.step(number)
    shown = {number: crowd.allocation.current(number, crowd.now) for number in range(raters)}
    anew = Allocation(seed, per_rater, questions)
    for number in range(raters):
        done = crowd.screens.get(number, [])
        anew.restore(number, [*done, *([shown[number]] if shown[number] else [])], len(done), crowd.now)
    assert anew.counts == crowd.allocation.counts
    assert {number: anew.current(number, crowd.now) for number in range(raters)} == shown


def test_stopping_between_answers_does_not_unbalance() -> None:
    per_rater, questions = PerRater(questions=10, repeats=1, checks=1), asked(3, 10)
    crowd = Crowd(questions, per_rater)
    for _ in range(5):
        for number in range(12):
            crowd.step(number)
    before, crowd.allocation = crowd.allocation, Allocation(0, per_rater, questions)
    for number, mine in crowd.screens.items():
        crowd.allocation.restore(number, mine, len(mine), crowd.now)
    assert crowd.allocation.counts == before.counts
    for _ in range(6):
        for number in range(12):
            crowd.step(number)
    assert crowd.spread()["questions"] <= 1 and crowd.spread()["pairs"] <= 1


def test_who_does_nothing_holds_nothing_and_may_come_back() -> None:
    questions, per_rater = asked(2, 10), PerRater(questions=10, repeats=0, checks=0)
    allocation = Allocation(0, per_rater, questions, idle=60)
    screen = allocation.current(0, 0.0)
    assert screen is not None and allocation.counts[screen.question] == 1
    allocation.current(1, 61.0)
    assert sum(allocation.counts.values()) == 1, "the open screen of who left counts no more"
    assert allocation.current(0, 62.0) == screen
    allocation.answered(0, 63.0)
    assert sum(allocation.counts.values()) == 2, "their answer does"
