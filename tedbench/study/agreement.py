"""How far raters agree with each other, and automatic metrics with raters.

Krippendorff's alpha for nominal values (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"): units u are
questions, values v which picture was chosen, `first` as in `Lock.pairs`. Of units with m_u ≥ 2 answers, n in all,

    α = 1 − (n − 1) · Σ_u (m_u² − Σ_v n_uv²)/(m_u − 1) / (n² − Σ_v n_v²)

A metric agrees with a decided answer where it scores the preferred picture better; equal scores count half. Beside it
stand a, how often two raters who answered one question agree, and a ceiling κ. Where a part p_u of raters prefers one
of two pictures, whatever is said of the question is right with max(p_u, 1 − p_u) at most, a_u = p_u² + (1 − p_u)², so

    E max(p, 1 − p) = E (1 + √(2 a_u − 1))/2 ≤ (1 + √(2 a − 1))/2 = κ                       (the root is concave)
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tedbench import stats, store
from tedbench.errors import StoreError
from tedbench.study import crossed
from tedbench.study.bundle import Result, Study
from tedbench.study.lock import Contender
from tedbench.types import MetricFacts

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 1000
RESULTS = ("first", "second", "same", "neither")


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha, with a percentile bootstrap over photos."""

    value: float
    """nan where no question has two answers, or all answers are equal."""
    low: float
    high: float
    questions: int
    """With at least two answers."""


def counts(main: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(questions, results) how often each was answered, and the photo of each question, numbered."""
    grouped = main.groupby("question", sort=True)
    flags = [(main["result"] == r).groupby(main["question"], sort=True).sum() for r in RESULTS]
    table = np.stack([one.to_numpy() for one in flags], axis=1)
    return table.astype(np.int64), crossed.numbered(grouped["image_id"].first().to_list())


def alpha(main: pd.DataFrame, level: float = stats.LEVEL, resamples: int = RESAMPLES) -> Alpha:
    """Alpha of main answers to one aspect."""
    if main.empty:
        return Alpha(*(math.nan,) * 3, 0)
    table, photos = counts(main)
    apart, values = _parts(table)
    # a photo's part is a sum, so that a resample of photos is a weighted sum of them
    by_photo = np.stack([np.bincount(photos, weights=one) for one in (apart, *values.T)], axis=1)
    clusters = len(by_photo)
    times = np.random.default_rng(0).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    drawn = times.astype(np.float64) @ by_photo
    found = _alpha(drawn[:, 0], drawn[:, 1:])
    found = found[np.isfinite(found)]
    bounded = clusters > 1 and len(found) > 0
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2]) if bounded else (math.nan, math.nan)
    return Alpha(nominal(table), float(low), float(high), int((table.sum(1) >= 2).sum()))


def nominal(table: NDArray[np.int64]) -> float:
    """Alpha of (units, values) counts of answers; nan where no unit has two, or all are equal."""
    apart, values = _parts(table)
    return float(_alpha(apart.sum(), values.sum(0)))


def _parts(table: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each unit: its answers that differ, in pairs over m − 1; and its counts, both 0 where m < 2."""
    m = table.sum(1)
    apart = (m**2 - (table**2).sum(1)) / np.maximum(m - 1, 1)
    return np.where(m >= 2, apart, 0.0), np.where((m >= 2)[:, None], table, 0).astype(np.float64)


def _alpha(apart: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    n = values.sum(-1)
    expected = n**2 - (values**2).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - (n - 1) * apart / expected, math.nan)


def together(decided: pd.DataFrame) -> float:
    """How often two raters agree on a question, each question with the weight of its answers; nan without pairs."""
    table, _ = counts(decided) if len(decided) else (np.zeros((0, len(RESULTS)), np.int64), None)
    n = table.sum(1)
    table, n = table[n >= 2], n[n >= 2]
    return float(np.average((table * (table - 1)).sum(1) / (n * (n - 1)), weights=n)) if len(n) else math.nan


def ceiling(agree: float) -> float:
    """What no metric passes in expectation where two raters agree so often: κ of the top of the file."""
    return (1 + math.sqrt(max(2 * agree - 1, 0.0))) / 2


def metrics(study: Study, main: pd.DataFrame, level: float = stats.LEVEL) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Agreement of each metric of the study's runs with the answers.

    Args:
        study: whose contenders' runs are looked for, relative to its folder.
        main: of `analysing.frame`, main answers.
        level: coverage of the intervals.

    Returns:
        A row an aspect and metric identity: aspect, metric, spec, higher_is_better, the fields of `crossed.Rate`
        (mean is the agreement, p against one half), unscored (decided answers without both scores), together and
        ceiling (of the same answers); and what was left out, in words.
    """
    import pandas as pd

    scores, facts, notes = _scores(study)
    made = []
    decided = main[main["decided"]]
    for aspect, answers in decided.groupby("aspect", sort=False):
        for identity, of in facts.items():
            better = answers["question"].map(_better(study, scores[identity], of.higher_is_better))
            there = answers[better.notna()]
            if there.empty:
                continue
            preferred = (there["left"] != there["flipped"]).astype(float)
            agree = 1 - (preferred - better[better.notna()].astype(float)).abs()
            rate = crossed.rate(agree.to_list(), there["rater"].to_list(), there["image_id"].to_list(), level)
            as_one = together(there)
            made.append({
                "aspect": aspect, "metric": identity, "spec": of.spec, "higher_is_better": of.higher_is_better,
                **vars(rate), "unscored": len(answers) - len(there), "together": as_one, "ceiling": ceiling(as_one),
            })  # fmt: skip
    names = ["aspect", "metric", "spec", "higher_is_better", *(one.name for one in dataclasses.fields(crossed.Rate))]
    return pd.DataFrame(made, columns=[*names, "unscored", "together", "ceiling"]), tuple(notes)


_Scores = dict[tuple[str, str, str, float | None, float | None], float]
"""By label, uid, method, seed and strength."""


def _scores(study: Study) -> tuple[dict[str, _Scores], dict[str, MetricFacts], list[str]]:
    scores: dict[str, _Scores] = {}
    facts: dict[str, MetricFacts] = {}
    notes = []
    for one in study.lock.contenders:
        try:
            run = store.open_run((study.path / one.run).resolve())
            changed = store.cells_digest(run.cell_list()) != one.cells
        except StoreError:
            notes.append(
                f"{one.label}: its scores are left out; {one.run}, seen from the study's folder, is no run now"
            )
            continue
        if changed:
            notes.append(f"{one.label}: its scores are left out; {one.run_name} is not the run that was shown")
            continue
        _read(run, one, scores, facts)
    return scores, facts, notes


def _read(run: store.RunFolder, one: Contender, scores: dict[str, _Scores], facts: dict[str, MetricFacts]) -> None:
    table, fresh = run.scores(), run.scored()
    for row in table[(table["method"] == one.method) & table["metric"].isin(fresh)].itertuples():
        key = (one.label, str(row.uid), str(row.method), _number(row.seed), _number(row.strength))
        scores.setdefault(str(row.metric), {})[key] = float(str(row.value))
        facts.setdefault(str(row.metric), run.metrics[str(row.metric)])


def _number(value: object) -> float | None:  # pandas has NA for a seed, nan for a strength
    return None if str(value) in ("<NA>", "nan", "None") else float(str(value))


def _better(study: Study, scores: _Scores, higher: bool) -> dict[str, float]:
    """Question → 1 where its own first picture is better scored, 0 where the second, 0.5 where equal."""

    def value(uid: str, of: Result) -> float:
        return scores.get((of.label, uid, of.method, _number(_nan(of.seed)), _number(_nan(of.strength))), math.nan)

    found = {}
    for one in study.main:
        first, second = value(one.uid, one.first), value(one.uid, one.second)
        if not math.isnan(first) and not math.isnan(second):  # of equal pictures both may be infinite
            found[one.id] = 0.5 if first == second else float((first > second) == higher)
    return found


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
