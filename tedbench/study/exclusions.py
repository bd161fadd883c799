"""Whose answers count: the rules of study.lock, applied to each rater, and what each rule does alone and together.

failed_checks    checks answered wrongly in any aspect; `same` or `neither` is wrong
changed_repeats  questions answered otherwise when shown again, in every aspect: which picture, not which side
median_seconds   the median time of the rater's main screens and repeats
unfinished       fewer screens answered than the design has
status           what the platform says of the rater, where its export was given: returned, timed out, rejected,
                 screened out

Rules that read the answers to the questions themselves can tilt the rates: who prefers one method clearly changes less
on repeats than who does not, so excluding for a single change raises clear preferences. Checks and times do not look at
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tedbench.study.bundle import FIRST, MAIN, SECOND, Meant
from tedbench.study.importing import LEFT_OUT
from tedbench.study.lock import LEFT, RIGHT, Exclusions

if TYPE_CHECKING:
    import pandas as pd

RULES = ("failed_checks", "changed_repeats", "median_seconds", "unfinished", "status")
CHECK, REPEAT = "check", "repeat"


def right(meant: Meant, flipped: bool) -> str:
    """The side that answers a check rightly."""
    if meant.expected in (LEFT, RIGHT):
        return meant.expected
    return LEFT if (meant.expected == FIRST) != flipped else RIGHT


def raters(frame: pd.DataFrame, rules: Exclusions, screens: int, statuses: Mapping[str, str]) -> pd.DataFrame:
    """A row a rater: what the rules look at, and which of them exclude.

    Args:
        frame: of all answers, as `analysing.frame` gives it.
        rules: of study.lock.
        screens: of a rater who finishes.
        statuses: rater → what a platform says.

    Returns:
        Columns rater, screens, answers, checks, checks_failed, repeats, repeats_changed, median_seconds, left_share
        (of decided main screens and repeats; nan without), status, a column of truth values for each of `RULES`,
        excluded and why (names of rules, joined by `, `).
    """
    import pandas as pd

    every = pd.Index(sorted(frame["rater"].unique()), name="rater")
    shown = frame.groupby(["rater", "slot"])
    main = frame[frame["kind"].isin((MAIN, REPEAT))]
    table = pd.DataFrame(index=every)
    table["screens"] = frame.groupby("rater")["slot"].nunique()
    table["answers"] = frame.groupby("rater").size()
    checks = frame[frame["kind"] == CHECK].groupby(["rater", "slot"])["failed"].any()
    repeats = frame[frame["kind"] == REPEAT].groupby(["rater", "slot"])["changed"].all()
    for name, done, bad in (("checks", checks, "checks_failed"), ("repeats", repeats, "repeats_changed")):
        table[name] = done.groupby("rater").size()
        table[bad] = done.astype("int64").groupby("rater").sum()
    times = shown.agg(ms=("ms", "max"), kind=("kind", "first"))
    table["median_seconds"] = times[times["kind"] != CHECK].groupby("rater")["ms"].median() / 1000
    table["left_share"] = main[main["decided"]].groupby("rater")["left"].mean()
    counts = ["screens", "answers", "checks", "checks_failed", "repeats", "repeats_changed"]
    table[counts] = table[counts].fillna(0).astype("int64")
    table["status"] = [statuses.get(rater, "") for rater in every]
    return _judged(table.reset_index(), rules, screens)


def _judged(table: pd.DataFrame, rules: Exclusions, screens: int) -> pd.DataFrame:
    never = float("inf")
    table["failed_checks"] = table["checks_failed"] >= (rules.failed_checks or never)
    table["changed_repeats"] = table["repeats_changed"] >= (rules.changed_repeats or never)
    table["too_fast"] = table["median_seconds"] < (rules.median_seconds or 0.0)
    table["unfinished"] = (table["screens"] < screens) & rules.unfinished
    table["by_status"] = table["status"].isin(LEFT_OUT)
    flags = table[list(COLUMN.values())]
    table["excluded"] = flags.any(axis=1)
    table["why"] = [", ".join(rule for rule, hit in zip(COLUMN, row, strict=True) if hit) for row in flags.to_numpy()]
    return table


COLUMN = {
    "failed_checks": "failed_checks",
    "changed_repeats": "changed_repeats",
    "median_seconds": "too_fast",
    "unfinished": "unfinished",
    "status": "by_status",
}
"""Rule → the column of `raters` that says whom it excludes."""


def counted(table: pd.DataFrame, rules: Exclusions) -> pd.DataFrame:
    """What each rule does: columns rule, limit, excluded (by it at all), alone (by nothing else), answers.

    The last row, `any`, is of all rules together.
    """
    import pandas as pd

    flags = table[list(COLUMN.values())]
    made = []
    for rule, column in COLUMN.items():
        limit = getattr(rules, rule, "export")
        alone = flags[column] & (flags.sum(axis=1) == 1)
        told = "off" if limit is None or limit is False else str(limit)
        made.append(
            (rule, told, int(flags[column].sum()), int(alone.sum()), int(table.loc[flags[column], "answers"].sum()))
        )
    out = table["excluded"]
    made.append(("any", "", int(out.sum()), int(out.sum()), int(table.loc[out, "answers"].sum())))
    return pd.DataFrame(made, columns=["rule", "limit", "excluded", "alone", "answers"])


def picked(choice: str, flipped: bool) -> str:
    """Which picture a choice is of: `first`, `second`, or the choice itself where it is none."""
    if choice not in (LEFT, RIGHT):
        return choice
    return FIRST if (choice == LEFT) != flipped else SECOND
