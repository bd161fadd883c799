"""What an analysis says in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tedbench.study.analysing import Analysis
from tedbench.study.lock import Lock
from tedbench.study.strengths import Strengths

TEXTS: Mapping[str, str] = {
    "figure": (
        "Share of answers that preferred the method on the left (blue) and on the right (ochre); grey: no difference, "
        "or neither. The dot is the rate of the left one, ties for half, with its 95% interval. * primary comparison."
    ),
    "rates": (
        "An answer counts once: repeats and checks do not count here. A rate is the share of answers that preferred "
        "the first method, ties for half. Intervals let raters and photos vary at once (two-way clustered jackknife); "
        "an interval that takes answers as independent is too narrow, and is not shown. p is of the test against 50%; "
        "Holm's is over all comparisons but a primary one that was analysed as planned."
    ),
    "lost": (
        "Comparisons that could not be asked, since an edit failed, count in the last column as lost by whoever "
        "failed, and as a tie where both did or where the pictures were left out for being alike."
    ),
    "strengths": (
        "Strengths are of the Bradley–Terry model (Davidson's where ties are allowed) with an effect of the side; β is "
        "in logits around the mean of all methods, and the win rate is against the method named. A crowd whose members "
        "differ has strengths nearer to 0 than any one of its members."
    ),
    "exclusions": (
        "Rules were fixed in study.lock. “Alone” counts raters whom no other rule excludes."
    ),
    "detection": (
        "What the rules would do in this design, measured on simulated raters: the share excluded of careless ones, "
        "who click at random, always on one side, or in half a second (sensitivity), and the share kept of honest ones "
        "who prefer the better picture with probability p (specificity)."
    ),
    "consistency": "A repeat shows an earlier question again, mirrored. Clicking at random gives 50%.",
    "sides": (
        "Share of answers that chose the left picture, of those that chose one. Each pair is shown either way round "
        "equally often, so a pull to one side moves rates towards 50%, and not towards a method."
    ),
    "alpha": (
        "Krippendorff's alpha (nominal) over the questions: 1 where all who saw a question agree, 0 where they agree "
        "as chance would have it. Intervals resample photos."
    ),
    "metrics": (
        "How often a metric scored the preferred picture better, over decided answers; equal scores count half. "
        "“Raters” is how often two raters of one question agree. The ceiling is what the best answer to each question "
        "would reach, at most, where raters agree as often as that. Imagic's authors warn that CLIP and LPIPS cannot "
        "faithfully assess an edit."
    ),
}  # fmt: skip


def headline(analysis: Analysis) -> str:
    """The primary comparison in one sentence, or what there is instead."""
    rows = analysis.rates[analysis.rates["primary"]].to_dict("records")
    row: Mapping[Any, Any] = rows[0] if rows else analysis.rates.to_dict("records")[0]
    if not row["n"]:
        return f"No answers compare {row['first']} with {row['second']} yet."
    of = f"{row['n']} answers from {row['raters']} raters on {row['photos']} photos"
    rate = f"{row['first']} was preferred to {row['second']} in {percent(row['mean'])} of answers"
    if math.isnan(row["low"]):
        return f"{rate} ({of}; too few raters or photos for an interval)."
    told = "" if row["low"] <= 0.5 <= row["high"] else ", not by chance alone"
    if row["low"] <= 0.5 <= row["high"]:
        told = ": no preference is shown"
    return f"{rate} (95% interval {percent(row['low'])} to {percent(row['high'])}; {of}){told}."


def percent(value: float) -> str:
    """A share to read."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}%"


def fitted(one: Strengths) -> list[str]:
    """What stands below a table of strengths."""
    lines = [f"pull of the left side: {one.side:+.2f} logits [{one.side_low:+.2f}, {one.side_high:+.2f}]"]
    if one.ties:
        lines.append(f"ties: ν = {one.ties:.2f}")
    if one.separated:
        lines.append(
            f"without bounds: {', '.join(one.separated)} won or lost every time; half a win is added to each pair"
        )
    return lines


def design(lock: Lock) -> list[tuple[str, str]]:
    """What study.lock fixed: (what, how)."""
    each, sample, primary = lock.per_rater, lock.sample, lock.primary
    rules = {name: value for name, value in lock.exclusions.model_dump().items() if value not in (None, False)}
    return [
        ("Methods", "; ".join(f"{one.label} ({one.run_name}{', ' + one.strength if one.strength else ''}"
                              f"{'' if one.seed is None else f', seed {one.seed}'})" for one in lock.contenders)),
        ("Data set", f"{lock.dataset}, {lock.photos} photos, {lock.comparisons} questions, {lock.unasked} not asked"),
        ("Primary comparison", f"{primary.first} against {primary.second}, {primary.aspect}" if primary else "none"),
        ("Raters", f"{sample.raters}; stopping: {sample.stopping}"),
        ("Screens a rater", f"{each.questions}: {each.new} new, {each.repeats} repeats, {each.checks} checks"),
        ("Balance", f"every {lock.balance} equally often within each pair of methods; sides by seed {lock.seed}"),
        ("Answers", ", ".join(lock.asking.choices)),
        ("Exclusions", "; ".join(f"{name} {value}" for name, value in rules.items()) or "none"),
        ("Made", f"{lock.created}, tedbench {lock.version}, design {lock.tag}"),
    ]  # fmt: skip


def ethics(lock: Lock) -> list[tuple[str, str]]:
    """What raters were told and promised; what is not stated is said to be."""
    told = lock.ethics
    return [
        ("Approval", told.approval or "not stated"),
        ("Consent", f"version {told.consent_version}"),
        ("Pay", told.pay or "not stated"),
        ("Withdrawal", told.withdrawal or "not stated"),
        ("Identifiers kept", f"{told.retention_days} days"),
        ("Contact", told.contact or "not stated"),
    ]
