"""Simulated raters do what they are said to; what rules do to them is what can be had by hand."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from tedbench.study import allocation, analysing, detecting, exclusions, simulating
from tedbench.study.bundle import MAIN, Study
from tedbench.study.lock import Exclusions
from tedbench.study.simulating import FAST, HONEST, RANDOM, SIDE, Crowd

BETA = {"A": 1.0, "B": 0.0, "C": -0.5}
RATERS = 800


def within(found: float, truth: float, n: int) -> bool:
    """Whether a share of n lies within four standard errors of its truth."""
    return abs(found - truth) <= 4 * math.sqrt(max(truth * (1 - truth), 1 / n) / n)


def shown(study: Study, raters: int) -> list[list[allocation.Screen]]:
    return allocation.forms(study.lock.seed, study.lock.per_rater, study.key.questions, raters)


@pytest.fixture
def study(make_study: Callable[..., Study], tmp_path: Path) -> Study:
    return make_study(tmp_path, photos=20)


def test_kinds_are_as_many_as_asked_and_do_what_they_are_called(study: Study) -> None:
    crowd, forms = Crowd(careless=0.3), shown(study, 200)
    made = simulating.answered(study, forms, BETA, 0, crowd)
    kinds = Counter(made.kinds.values())
    assert kinds[HONEST] == 140
    assert min(kinds[RANDOM], kinds[SIDE], kinds[FAST]) > 5
    said, times = defaultdict(set), defaultdict(list)
    for one in made.answers:
        said[one.rater].add(one.choice)
        times[made.kinds[one.rater]].append(one.ms)
    assert {len(said[rater]) for rater, kind in made.kinds.items() if kind == SIDE} == {1}
    assert np.median(times[FAST]) == pytest.approx(500, rel=0.1)
    assert np.median(times[HONEST]) == pytest.approx(5000, rel=0.1)
    assert simulating.answered(study, forms, BETA, 0, crowd) == made == simulating.simulate(study, BETA, 0, 200, crowd)
    assert simulating.answered(study, forms, BETA, 1, crowd) != made


def test_honest_raters_prefer_with_the_odds_that_were_planted(study: Study) -> None:
    crowd = Crowd(careless=0, side=0.5, lapse=0.02)
    made = simulating.simulate(study, BETA, 3, 300, crowd)
    won: dict[tuple[str, str, bool], list[bool]] = defaultdict(list)
    for one in made.answers:
        meant = study.key.by_id[one.question]
        if meant.kind == MAIN:
            first = exclusions.picked(one.choice, one.flipped) == "first"
            won[meant.first.label, meant.second.label, one.flipped].append(first)
        elif one.choice != exclusions.right(meant, one.flipped):
            won["failed", "", False].append(True)
    assert len(won.pop(("failed", "", False))) < 0.02 * 300 * 3
    for (a, b, flipped), values in won.items():
        logit = BETA[a] - BETA[b] + (-0.5 if flipped else 0.5)
        truth = 0.98 / (1 + math.exp(-logit)) + 0.01
        assert within(float(np.mean(values)), truth, len(values)), (a, b, flipped)


def test_photos_and_raters_lean_and_the_truth_is_their_mean() -> None:
    crowd = Crowd(photos=0.8, raters=0.6, side=0.4, lapse=0.03)
    rng = np.random.default_rng(1)
    logits = 0.7 + 0.8 * rng.normal(size=10**6) + 0.6 * rng.normal(size=10**6) + 0.4 * rng.choice([-1, 1], size=10**6)
    drawn = 0.97 * (1 / (1 + np.exp(-logits))).mean() + 0.015
    assert simulating.expected(0.7, crowd) == pytest.approx(drawn, abs=1e-3)
    assert simulating.expected(0.0, crowd) == pytest.approx(0.5)


@pytest.mark.parametrize("limit", [1, 2])
def test_rules_find_what_probability_says(make_study: Callable[..., Study], tmp_path: Path, limit: int) -> None:
    rules = Exclusions(failed_checks=limit, changed_repeats=3)
    study = make_study(tmp_path, photos=20, exclusions=rules.model_dump())
    found = detecting.measure(study, raters=RATERS, seed=5).set_index("rule")
    fails = 1 - binom.cdf(limit - 1, 3, 0.5)
    assert within(found.loc["failed_checks", "caught: random"], fails, RATERS)
    assert within(found.loc["changed_repeats", "caught: random"], 1 / 8, RATERS)
    assert within(found.loc["any", "caught: random"], 1 - (1 - fails) * 7 / 8, RATERS)
    assert found.loc["changed_repeats", "caught: side"] == 1  # repeats are mirrored
    assert found.loc["median_seconds", "caught: fast"] == 1
    assert found.loc["median_seconds", "caught: random"] == 0
    for p in detecting.PREFERENCES:
        q = 0.99 * p + 0.005  # a lapse clicks either side
        assert within(found.loc["changed_repeats", f"kept: p = {p}"], 1 - (2 * q * (1 - q)) ** 3, RATERS)
        lapsed = 1 - binom.cdf(limit - 1, 3, 0.005)
        assert within(found.loc["failed_checks", f"kept: p = {p}"], 1 - lapsed, RATERS)


def test_rules_that_are_off_are_not_measured(study: Study) -> None:
    rules = Exclusions(failed_checks=None, median_seconds=None)
    found = detecting.measure(study, rules, raters=40)
    assert found["rule"].to_list() == ["changed_repeats", "any"]
    assert found.iloc[0, 1:].to_list() == found.iloc[1, 1:].to_list()
    assert ((found.iloc[:, 1:] >= 0) & (found.iloc[:, 1:] <= 1)).all(axis=None)
    again = detecting.measure(study, rules, raters=40)
    assert again.equals(found)


def test_more_buttons_are_clicked_at_random_and_fail_more_checks(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = make_study(tmp_path, photos=20, asking={"allow": ["same", "neither"]})
    found = detecting.measure(study, raters=400).set_index("rule")
    assert within(found.loc["failed_checks", "caught: random"], 1 - (1 / 4) ** 3, 400)
    made = simulating.simulate(study, BETA, 0, 100, Crowd(careless=1))
    clicked = {one.choice for one in made.answers if made.kinds[one.rater] == RANDOM}
    assert clicked == {"left", "right", "same", "neither"}


def test_what_is_measured_agrees_with_a_simulated_study(study: Study) -> None:
    """The careless of a whole study are found as often as `detecting` says, give or take chance."""
    caught: Counter[tuple[str, bool]] = Counter()
    forms = shown(study, 100)
    for seed in range(4):
        made = simulating.answered(study, forms, BETA, seed, Crowd(careless=0.5))
        table = exclusions.raters(analysing.frame(study, made.answers), study.lock.exclusions, 20, {})
        for rater, out in zip(table["rater"], table["excluded"], strict=True):
            caught[made.kinds[rater], bool(out)] += 1
    found = detecting.measure(study, raters=RATERS).set_index("rule")
    for kind in (RANDOM, SIDE, FAST):
        n = caught[kind, True] + caught[kind, False]
        assert within(caught[kind, True] / n, found.loc["any", f"caught: {kind}"], n)
