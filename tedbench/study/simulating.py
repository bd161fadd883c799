"""Raters with known preferences, for tests and benchmarks: who is careless is known too.

An honest rater prefers the first picture with probability σ(β_first − β_second + photo + rater ± side), + where it is
on the left, and clicks any button at a small lapse rate; of ties they make no use else. A photo and a rater each lean
by a normal amount for each pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tedbench.study import allocation
from tedbench.study.allocation import Screen
from tedbench.study.answers import Answer
from tedbench.study.bundle import MAIN, Meant, Study
from tedbench.study.exclusions import right
from tedbench.study.lock import LEFT, RIGHT

HONEST, RANDOM, SIDE, FAST = "honest", "random", "side", "fast"
KINDS = (RANDOM, SIDE, FAST)
"""Of careless raters."""


@dataclass(frozen=True)
class Crowd:
    """What simulated raters are like."""

    careless: float = 0.2
    """Part of the raters; each is `random`, always one `side`, or random and `fast`, with equal odds."""
    side: float = 0.0
    """Logits by which honest raters lean to the left."""
    photos: float = 0.0
    """Standard deviation between photos, in logits."""
    raters: float = 0.0
    """Standard deviation between raters, in logits."""
    lapse: float = 0.01
    """Part of an honest rater's screens that are clicked at random."""
    seconds: float = 5.0
    """Median of an honest rater's response times; a fast one's is 0.5."""


@dataclass(frozen=True)
class Rater:
    """One simulated rater."""

    name: str
    kind: str
    logit: Callable[[Meant], float]
    """How far an honest one prefers the first picture of a question, in logits, wherever it is shown."""


@dataclass(frozen=True)
class Simulated:
    """Answers, and the truth about who gave them."""

    answers: tuple[Answer, ...]
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Rater → `honest`, `random`, `side` or `fast`."""


def simulate(study: Study, strengths: Mapping[str, float], seed: int, raters: int, crowd: Crowd = Crowd()) -> Simulated:
    """Have a study answered, each rater seeing what `allocation.forms` gives.

    Args:
        study: to be answered.
        strengths: label → β, in logits.
        seed: of all that is random.
        raters: how many; nobody drops out.
        crowd: what they are like.
    """
    forms = allocation.forms(study.lock.seed, study.lock.per_rater, study.key.questions, raters)
    return answered(study, forms, strengths, seed, crowd)


def answered(
    study: Study, forms: list[list[Screen]], strengths: Mapping[str, float], seed: int, crowd: Crowd
) -> Simulated:
    """As `simulate`, of forms that were made before: making them takes longer than answering."""
    rng = np.random.default_rng(seed)
    careless = rng.permutation(len(forms)) < round(crowd.careless * len(forms))
    leans: dict[object, float] = {}
    made: list[Answer] = []
    kinds = {}
    for number, form in enumerate(forms):
        name = f"rater{number:05d}"
        kinds[name] = KINDS[int(rng.integers(len(KINDS)))] if careless[number] else HONEST
        logit = partial(_logit, rater=name, strengths=strengths, crowd=crowd, rng=rng, leans=leans)
        made += sitting(study, form, Rater(name, kinds[name], logit), crowd, rng)
    return Simulated(tuple(made), kinds)


def sitting(study: Study, form: list[Screen], rater: Rater, crowd: Crowd, rng: np.random.Generator) -> list[Answer]:
    """The answers of one rater to the screens of a form, all aspects."""
    always = (LEFT, RIGHT)[int(rng.integers(2))]
    made, tag = [], study.lock.tag
    for slot, screen in enumerate(form):
        ms = _milliseconds(0.5 if rater.kind == FAST else crowd.seconds, rng)
        for aspect in study.lock.asking.aspects:
            if rater.kind == SIDE:
                choice = always
            elif rater.kind == HONEST and rng.random() >= crowd.lapse:
                choice = _honest(study.key.by_id[screen.question], screen, rater, crowd, rng)
            else:
                choice = study.lock.asking.choices[int(rng.integers(len(study.lock.asking.choices)))]
            shown = (tag, rater.name, slot, screen.question, screen.flipped, aspect.name)
            made.append(Answer(*shown, choice, ms, "2026-01-01T00:00:00Z"))
    return made


def _honest(meant: Meant, screen: Screen, rater: Rater, crowd: Crowd, rng: np.random.Generator) -> str:
    if meant.kind != MAIN:
        return right(meant, screen.flipped)
    logit = rater.logit(meant) + crowd.side * (-1 if screen.flipped else 1)
    first = rng.random() < 1 / (1 + math.exp(-logit))
    return LEFT if first != screen.flipped else RIGHT


def _logit(
    meant: Meant, rater: str, strengths: Mapping[str, float], crowd: Crowd,
    rng: np.random.Generator, leans: dict[object, float],
) -> float:  # fmt: skip
    a, b = meant.first.label, meant.second.label
    low, high = sorted((a, b))
    sign = 1.0 if (a, b) == (low, high) else -1.0
    photo = leans.setdefault((meant.image_id, low, high), crowd.photos * float(rng.normal()))
    person = leans.setdefault((rater, low, high), crowd.raters * float(rng.normal()))
    return strengths[a] - strengths[b] + sign * (photo + person)


def _milliseconds(median: float, rng: np.random.Generator) -> int:
    return int(1000 * median * math.exp(0.4 * rng.normal()))


def expected(difference: float, crowd: Crowd) -> float:
    """The truth that a rate estimates: of honest raters, over photos, raters and both sides.

    Args:
        difference: β_first − β_second.
        crowd: as simulated.
    """
    x, weight = np.polynomial.hermite_e.hermegauss(80)
    logits = difference + math.hypot(crowd.photos, crowd.raters) * x[:, None] + crowd.side * np.array([1.0, -1.0])
    kept = float((weight / weight.sum()) @ (1 / (1 + np.exp(-logits))).mean(axis=1))
    return (1 - crowd.lapse) * kept + crowd.lapse / 2
