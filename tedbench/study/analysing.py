"""From answers to what they say: exclusions, rates of preference, sides, repeats and times.

An answer counts into a rate once: the first time a rater saw the question. Repeats count into consistency, checks into
exclusions. The rate of a pair is the share that preferred its first method plus half of `same` and `neither`, among all
answers. It estimates the expected rate over photos and raters like these, each side equally often.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tedbench import stats
from tedbench.differences import holm
from tedbench.study import agreement, crossed, exclusions, strengths
from tedbench.study.answers import Answer
from tedbench.study.bundle import FIRST, MAIN, SECOND, Study
from tedbench.study.exclusions import CHECK, REPEAT
from tedbench.study.lock import LEFT, RIGHT, Exclusions

if TYPE_CHECKING:
    import pandas as pd

_ENDS = ("mean", "low", "high")
Contrast = tuple[str, str, str]
"""First, second, aspect."""


@dataclass(frozen=True)
class Options:
    """What an analysis may do otherwise than study.lock says; each is a departure."""

    exclusions: Exclusions | None = None
    """Other rules than those of study.lock."""
    primary: Contrast | None = None
    """Another contrast."""
    level: float = stats.LEVEL


@dataclass(frozen=True)
class Analysis:
    """All there is to print. Frames hold numbers unrounded."""

    answers: pd.DataFrame
    """Every answer, as `frame` gives it."""
    raters: pd.DataFrame
    """`exclusions.raters`."""
    rules: pd.DataFrame
    """`exclusions.counted`."""
    rates: pd.DataFrame
    """A row an aspect and pair, raters excluded by rule: see `rates`."""
    rates_all: pd.DataFrame
    """The same with nobody excluded."""
    times: pd.DataFrame
    """first, second, n, and quartiles of seconds: q1, median, q3. The first row is of all pairs, names empty."""
    sides: pd.DataFrame
    """kind (main, repeat, check), n, share of left among decided answers, low, high."""
    repeats: crossed.Rate
    """Share of repeats (a question and aspect) answered as before."""
    strengths: Mapping[str, strengths.Strengths]
    """By aspect; the reference is the second method of the first of `Lock.pairs`. Aspects that lack a method's answers
    are not there."""
    alphas: Mapping[str, agreement.Alpha]
    """By aspect."""
    metrics: pd.DataFrame
    """`agreement.metrics`."""
    notes: tuple[str, ...] = ()
    """What was left out."""
    departures: tuple[str, ...] = field(default=())
    """From study.lock; with any, nothing is confirmatory."""

    @property
    def confirmatory(self) -> bool:
        """Whether the primary contrast is what was planned."""
        return not self.departures


def analyse(
    study: Study, answers: Iterable[Answer], options: Options = Options(), statuses: Mapping[str, str] | None = None
) -> Analysis:
    """Analyse the answers to a study.

    Args:
        study: that was answered.
        answers: checked, as `importing.read` or `importing.checked` gives them.
        options: what departs from study.lock.
        statuses: rater → Prolific's status.
    """
    lock = study.lock
    rules = options.exclusions or lock.exclusions
    every = frame(study, answers)
    raters = exclusions.raters(every, rules, lock.per_rater.questions, statuses or {})
    kept = every[~every["rater"].isin(raters.loc[raters["excluded"], "rater"])]
    again = kept[kept["kind"] == REPEAT]
    main = kept[kept["kind"] == MAIN]
    metrics, notes = agreement.metrics(study, main, options.level)
    departures = _departures(study, options, every, raters)
    primary = options.primary or _planned(study)
    return Analysis(
        every,
        raters,
        exclusions.counted(raters, rules),
        rates(study, main, options.level, primary, confirmed=not departures),
        rates(study, every[every["kind"] == MAIN], options.level, primary, confirmed=False),
        times(main),
        sides(kept, options.level),
        crossed.rate(
            (~again["changed"]).astype(float).tolist(), [*again["rater"]], [*again["image_id"]], options.level
        ),
        _strengths(study, main, options.level),
        {str(name): agreement.alpha(one, options.level) for name, one in main.groupby("aspect")},
        metrics,
        (*notes, *_partly(study, every)),
        departures,
    )


def frame(study: Study, answers: Iterable[Answer]) -> pd.DataFrame:
    """Answers with what the key says of them, by rater, slot and aspect.

    Returns:
        Columns of `answers.Answer` and kind (main, repeat, check), uid, image_id, first, second (labels in the order
        of `Lock.pairs`), result (first, second, same, neither, in that order), value (1, 0 or 0.5), left, on_left
        (whether `first` was shown there), decided, failed (of a check) and changed (of a repeat).
    """
    import pandas as pd

    order = {frozenset(pair): pair for pair in study.lock.pairs}
    made = []
    before: dict[tuple[str, str, str], str] = {}
    for one in sorted(answers, key=lambda one: (one.rater, one.slot, one.aspect)):
        meant = study.key.by_id[one.question]
        picked = exclusions.picked(one.choice, one.flipped)
        place = (one.rater, one.question, one.aspect)
        check = meant.kind != MAIN
        kind = CHECK if check else REPEAT if place in before else MAIN
        pair = (meant.first.label, meant.second.label)
        wanted = pair if check else order.get(frozenset(pair), pair)
        result = picked if wanted == pair else {FIRST: SECOND, SECOND: FIRST}.get(picked, picked)
        failed = check and one.choice != exclusions.right(meant, one.flipped)
        changed = kind == REPEAT and before[place] != picked
        before.setdefault(place, picked)
        value = {FIRST: 1.0, SECOND: 0.0}.get(result, 0.5)
        on_left = (wanted == pair) != one.flipped
        more = (kind, meant.uid, meant.image_id, *wanted, result, value, one.choice == LEFT, on_left)
        made.append((*vars(one).values(), *more, one.choice in (LEFT, RIGHT), failed, changed))
    names = ["kind", "uid", "image_id", "first", "second", "result", "value", "left"]
    names += ["on_left", "decided", "failed", "changed"]
    flags = dict.fromkeys(("left", "on_left", "decided", "failed", "changed"), "bool")
    return pd.DataFrame(made, columns=[*Answer.__dataclass_fields__, *names]).astype(flags)


def rates(study: Study, main: pd.DataFrame, level: float, primary: Contrast | None, confirmed: bool) -> pd.DataFrame:
    """How often each method of each pair was preferred.

    Args:
        study: that was answered.
        main: of `frame`, main answers.
        level: coverage of the intervals.
        primary: the contrast to mark.
        confirmed: whether it was planned, and all else as planned; it then stands outside Holm's family.

    Returns:
        A row an aspect and pair: aspect, first, second, the fields of `crossed.Rate` (mean is the rate), share_first,
        share_second, share_same, share_neither, unasked (comparisons that could not be asked), mean_lost, low_lost and
        high_lost (the same with those counted as lost by the method that failed, with the weight of a question that
        was asked), primary, and p_holm (over all rows, but for a primary one that is confirmed: nan).
    """
    import pandas as pd

    made = []
    for aspect in study.lock.asking.aspects:
        for first, second in study.lock.pairs:
            here = main[(main["aspect"] == aspect.name) & (main["first"] == first) & (main["second"] == second)]
            found = crossed.rate(
                here["value"].tolist(), [*here["rater"]], [*here["image_id"]], level, [*here["on_left"]]
            )
            shares = {f"share_{r}": float((here["result"] == r).mean()) for r in (FIRST, SECOND, "same", "neither")}
            lost = _with_lost(study, found, first, second)
            of = {"aspect": aspect.name, "first": first, "second": second}
            made.append({**of, **vars(found), **shares, **lost, "primary": primary == (first, second, aspect.name)})
    table = pd.DataFrame(made)
    others = {str(at): float(row["p"]) for at, row in table.iterrows() if not (confirmed and row["primary"])}
    adjusted = holm(others)
    table["p_holm"] = [adjusted.get(str(at), math.nan) for at in table.index]
    return table


def _with_lost(study: Study, found: crossed.Rate, first: str, second: str) -> dict[str, float]:
    """The rate with failures counted: those are known, so that its ends move as it does."""
    pair = {first, second}
    lost = [one.lost_by for one in study.key.unasked if {one.first, one.second} == pair]
    asked = sum({one.first.label, one.second.label} == pair for one in study.main)
    won = sum(1.0 if by == second else 0.0 if by == first else 0.5 for by in lost)
    every = asked + len(lost)
    ends = {name: (getattr(found, name) * asked + won) / every if every else math.nan for name in _ENDS}
    return {"unasked": len(lost), **{f"{name}_lost": value for name, value in ends.items()}}


def times(main: pd.DataFrame) -> pd.DataFrame:
    """Quartiles of the seconds of a screen, of all pairs (names empty) and of each."""
    import pandas as pd

    screens = main.groupby(["rater", "slot"], as_index=False).agg(
        ms=("ms", "max"), first=("first", "first"), second=("second", "first")
    )
    made = []
    for names, ms in [(("", ""), screens["ms"]), *screens.groupby(["first", "second"])["ms"]]:
        made.append((*names, len(ms), *(float(q) for q in (ms / 1000).quantile([0.25, 0.5, 0.75]))))
    return pd.DataFrame(made, columns=["first", "second", "n", "q1", "median", "q3"])


def sides(kept: pd.DataFrame, level: float) -> pd.DataFrame:
    """Share of left among decided answers, of main questions, repeats and checks apart."""
    import pandas as pd

    made = []
    for kind in (MAIN, REPEAT, CHECK):
        here = kept[(kept["kind"] == kind) & kept["decided"]]
        # a check is no photo: its questions are what repeats
        groups = here["question" if kind == CHECK else "image_id"]
        found = crossed.rate(here["left"].astype(float).tolist(), [*here["rater"]], [*groups], level)
        made.append({"kind": kind, **vars(found)})
    return pd.DataFrame(made)


def _strengths(study: Study, main: pd.DataFrame, level: float) -> dict[str, strengths.Strengths]:
    labels, reference = [one.label for one in study.lock.contenders], study.lock.pairs[0][1]
    there = {aspect: one for aspect, one in main.groupby("aspect") if {*one["first"], *one["second"]} == {*labels}}
    return {str(aspect): strengths.fit(one, labels, reference, level) for aspect, one in there.items()}


def _planned(study: Study) -> Contrast | None:
    planned = study.lock.primary
    aspect = planned.aspect or study.lock.asking.aspects[0].name if planned else ""
    return (planned.first, planned.second, aspect) if planned else None


def _departures(study: Study, options: Options, every: pd.DataFrame, raters: pd.DataFrame) -> tuple[str, ...]:
    lock, told, planned = study.lock, [], _planned(study)
    for rule, value in lock.exclusions.model_dump().items():
        now = getattr(options.exclusions or lock.exclusions, rule)
        if now != value:
            told.append(f"exclusion {rule} is {now}; study.lock says {value}")
    told += _stopped(lock.sample.raters, lock.per_rater.questions, every, raters)
    if planned is None:
        told.append("no comparison is primary in study.lock")
    elif options.primary not in (None, planned):
        told.append(f"the contrast is {_said(options.primary or planned)}, not the primary one, {_said(planned)}")
    return tuple(told)


def _said(contrast: Contrast) -> str:
    return f"{contrast[0]} against {contrast[1]} ({contrast[2]})"


def _stopped(wanted: int, screens: int, every: pd.DataFrame, raters: pd.DataFrame) -> list[str]:
    """Whether as many finished as was planned, and nobody began after that.

    Who had begun by then may go on, so that a study may well hold a few more.
    """
    done = raters.loc[(raters["screens"] >= screens) & ~raters["by_status"], "rater"]
    at = every.groupby("rater")["at"].agg(["min", "max"])
    ends = at.loc[at.index.isin(done), "max"].sort_values(kind="stable")
    if len(ends) < wanted:
        kept = int((~raters["excluded"]).sum())
        return [f"{len(ends)} raters finished, of {len(raters)} who answered ({kept} kept); study.lock plans {wanted}"]
    others = at.drop(ends.index[:wanted])
    late = int((others["min"] >= ends.iloc[wanted - 1]).sum())
    return [f"{late} raters began after {wanted} had finished, where study.lock says to stop"] if late else []


def _partly(study: Study, every: pd.DataFrame) -> tuple[str, ...]:
    """Screens on which not every aspect was answered: what is there counts, and what is not is told."""
    answered = every.groupby(["rater", "slot"]).size()
    lacking = int((answered < len(study.lock.asking.aspects)).sum())
    return (f"{lacking} of {len(answered)} screens lack an answer to some of what was asked",) if lacking else ()
