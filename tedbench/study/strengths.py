"""Strengths of methods from answers about pairs, with the side as an effect of its own.

    P(left) ∝ exp((β_l − β_r + γ)/2),   P(right) ∝ exp(−(β_l − β_r + γ)/2),   P(tie) ∝ ν

without ties Bradley and Terry (1952), with them Davidson (1970); γ is the pull of the left side (Davidson and
Beaver 1977). `neither` is a tie, as it is in rates. Strengths β sum to 0. Intervals take each answer's influence, H⁻¹
times its score, and `crossed.variance`. The β are of the whole crowd: where photos and raters differ, they lie nearer
to 0 than a single rater's.

A maximum exists where every method can be reached from every other by wins and ties (Ford 1957), unless the side or a
tie explains all there is: where everybody clicked left, γ grows without end. Where there is none, half a win of either
method on either side is added to each pair that was compared, ends are nan, and `separated` names the methods outside
the largest set in which Ford's condition holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tedbench import stats
from tedbench.study import crossed

if TYPE_CHECKING:
    import pandas as pd

STEPS = 100
ENDLESS = 15.0
"""Logits; what grows so far (odds of 3 million to 1) has no maximum."""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Strengths:
    """What a fit found."""

    table: pd.DataFrame
    """A row a method: label, strength, low, high (of β against the mean of all), win, win_low, win_high (probability
    against the reference, a tie for half, on neither side)."""
    side: float
    """γ: logits towards the left."""
    side_low: float
    side_high: float
    ties: float
    """ν; 0 without ties."""
    answers: int
    separated: tuple[str, ...] = ()
    """Methods whose strength the answers do not bound; their numbers come from the added half wins."""


def fit(main: pd.DataFrame, labels: Sequence[str], reference: str, level: float = stats.LEVEL) -> Strengths:
    """Fit strengths to the answers of one aspect.

    Args:
        main: of `analysing.frame`, main answers only.
        labels: of the methods, at least two.
        reference: whom `win` is against.
        level: coverage of the intervals.
    """
    import pandas as pd

    apart = _separated(main, labels)
    theta, scores, hessian, bounded = _fitted(*_data(main, labels), bool(apart))
    influence = scores[: len(main)] @ np.linalg.inv(hessian)
    raters, photos = (crossed.numbered(main[name].to_list()) for name in ("rater", "image_id"))
    tied = len(theta) > len(labels)
    basis = _basis(len(labels))
    at = list(labels).index(reference)

    def ends(contrast: Values) -> tuple[float, float, float]:
        found = crossed.variance(influence @ contrast, raters, photos)
        half = math.nan if not bounded or math.isnan(found.value) else found.quantile(level) * math.sqrt(found.value)
        value = float(contrast @ theta)
        return value, value - half, value + half

    nu = math.exp(theta[-1]) if tied else 0.0
    made = []
    for k, label in enumerate(labels):
        mean = ends(_padded(basis[k], len(theta)))
        against = ends(_padded(basis[k] - basis[at], len(theta)))
        made.append((label, *mean, *(_won(d, nu) for d in against)))
    columns = ["label", "strength", "low", "high", "win", "win_low", "win_high"]
    side = ends(np.eye(len(theta))[len(labels) - 1])
    return Strengths(pd.DataFrame(made, columns=columns), *side, nu, len(main), apart)


def _fitted(x: Values, outcome: Values, weight: Values, apart: bool) -> tuple[Values, Values, Values, bool]:
    """What `_newton` gives, and whether it is a maximum of the answers alone."""
    tied = bool((outcome == 0).any())
    if not apart:
        found = _newton(x, outcome, weight, tied)
        if np.abs(found[0]).max() < ENDLESS:
            return *found, True
    return *_newton(*_with_halves(x, outcome, weight), tied), False


def _won(difference: float, nu: float) -> float:
    """Probability of a win and half a tie at a difference in logits."""
    win, lose = math.exp(difference / 2), math.exp(-difference / 2)
    return (win + nu / 2) / (win + lose + nu)


def _basis(methods: int) -> Values:
    """(methods, methods − 1): strengths that sum to 0, from free parameters."""
    return np.vstack([np.eye(methods - 1), -np.ones(methods - 1)])


def _padded(contrast: Values, size: int) -> Values:
    return np.concatenate([contrast, np.zeros(size - len(contrast))])


def _data(main: pd.DataFrame, labels: Sequence[str]) -> tuple[Values, Values, Values]:
    """Design (left less right, and 1 for the side), outcome (1 left, −1 right, 0 tie) and weights."""
    index = {label: k for k, label in enumerate(labels)}
    basis = _basis(len(labels))
    d = basis[[index[one] for one in main["first"]]] - basis[[index[one] for one in main["second"]]]
    choice = main["choice"].to_numpy()
    outcome = (choice == "left").astype(float) - (choice == "right")
    # the value is 1 where the pair's first method was chosen; a tie says nothing of sides, so `on_left` does
    d = d * np.where(main["on_left"], 1.0, -1.0)[:, None]
    return np.column_stack([d, np.ones(len(d))]), outcome, np.ones(len(d))


def _separated(main: pd.DataFrame, labels: Sequence[str]) -> tuple[str, ...]:
    """Methods outside the largest set in which each can be reached from each by wins and ties."""
    from scipy.sparse.csgraph import connected_components

    index = {label: k for k, label in enumerate(labels)}
    beats = np.zeros((len(labels), len(labels)))
    for first, second, value in zip(main["first"], main["second"], main["value"], strict=True):
        beats[index[first], index[second]] += value
        beats[index[second], index[first]] += 1 - value
    sets, member = connected_components(beats, directed=True, connection="strong")
    if sets == 1:
        return ()
    largest = int(np.argmax(np.bincount(member)))
    outside = [label for label, at in zip(labels, member, strict=True) if at != largest]
    return tuple(labels) if len(outside) >= len(labels) - 1 else tuple(outside)


def _with_halves(x: Values, outcome: Values, weight: Values) -> tuple[Values, Values, Values]:
    """Half a win on either side of each pair that was compared, in each of its orders."""
    pairs = np.unique(np.vstack([x, x * np.r_[-np.ones(x.shape[1] - 1), 1.0]]), axis=0)
    more = np.repeat([1.0, -1.0], len(pairs))
    return np.vstack([x, pairs, pairs]), np.r_[outcome, more], np.r_[weight, np.full(len(more), 0.25)]


def _newton(x: Values, outcome: Values, weight: Values, tied: bool) -> tuple[Values, Values, Values]:
    """Parameters (β, γ, log ν with ties), the score of each answer, and minus the Hessian."""
    n, k = x.shape
    # (n, outcome left/right/tie, parameter): what each parameter adds to the logarithm of each weight
    z = np.zeros((n, 3, k + 1))
    z[:, 0, :k], z[:, 1, :k], z[:, 2, k] = x / 2, -x / 2, 1.0
    z = z if tied else z[:, :2, :k]
    chosen = np.where(outcome == 1, 0, np.where(outcome == -1, 1, 2))
    theta = np.zeros(z.shape[2])
    for _ in range(STEPS):
        scores, hessian = _derivatives(z, chosen, weight, theta)
        step = np.linalg.solve(hessian + 1e-12 * np.eye(len(theta)), scores.sum(0))
        theta = theta + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    return theta, *_derivatives(z, chosen, weight, theta)


def _derivatives(z: Values, chosen: NDArray[np.intp], weight: Values, theta: Values) -> tuple[Values, Values]:
    logits = z @ theta
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    mean = np.einsum("no,nok->nk", p, z)
    scores = weight[:, None] * (z[np.arange(len(z)), chosen] - mean)
    centred = z - mean[:, None]
    return scores, np.einsum("n,no,noj,nok->jk", weight, p, centred, centred)
