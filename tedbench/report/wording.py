"""What a report says of itself: how its numbers are made, and how they are to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tedbench.report import text

if TYPE_CHECKING:
    from tedbench.report.building import Report

WARNING = (
    "Read with care: the authors of Imagic and TEdBench write that CLIP and LPIPS are not suited to choosing η "
    "automatically, nor can they faithfully assess a method's editing performance."
)
HOW = (
    "Mean over pairs; seeds are averaged within a pair first. Intervals are at 95% and take photos as the independent "
    "units, since pairs about one photo are not: cluster-robust t; bootstrap-t over photos where the sample skewness "
    "exceeds 0.5; Wilson's on the effective number of pairs where an image is 0 or 1. table.csv says which. Pairs: "
    "scored / asked. Failed, missing and unscored count images. A failed edit is 0 where success is 0 or 1."
)
CLIP_HOW = (
    " ×100 and 2.5·max(cos, 0) show the same cosines as other papers do; CLIPScore proper also puts “A photo depicts ”"
    " before the text."
)
LEGEND = (
    "A match is a difference of at most half a unit of the last printed digit. It is called numerically consistent, "
    "with the number of our settings that were held against the same published number."
)
REPRODUCED = (
    " It is called reproduced only where two metrics of one published row match under one setting that the paper does "
    "not contradict, over all its pairs, with the paper itself read."
)
FIGURE = (
    "Dots: pairs. Diamond and bar: mean and 95% interval. Red lines: published values; dotted with * where quoted "
    "second-hand. Published values in an unknown scale or on another data set are not drawn."
)

RULES = (
    "Each swept method with its strength chosen by a rule, sweep by sweep, beside the fixed strength of the tables "
    "above. Looked: strengths a sweep whose images the rule needed. Unchosen: sweeps in which it chose nothing; those"
    " are failures of a success that is 0 or 1, else without a value. Best of N seeds: one seed's image a pair is "
    "kept, and Looked and Unchosen are of a pair, over its N seeds; it is not to be held against seeds that were "
    "averaged. Gain: over the fixed strength, pair by pair. p: cluster sign-flip test, exploratory, not adjusted for "
    "the number of rules and metrics."
)
CURVES = (
    "Means over pairs at every strength, seeds averaged within a pair first, with the 95% interval of the vertical "
    "axis as a band. Left, where LPIPS was scored: at equal LPIPS a higher line is the better one (a lower one where "
    "lower is better); numbers are the strengths at its ends. Right: over the strength, the form of Fig. 9 of Imagic "
    "(arXiv 2210.09276), whose range of 0.6 to 0.8 for η is shaded. Nothing is averaged over strengths; curves.csv has"
    " every number."
)
SPLIT = (
    "The primary metric once more, for each category and for each seed on its own. A category's band rests on its own "
    "photos only; bands of many categories overlap by chance."
)
COMPARED = (
    "Method less reference, over the pairs that both have every value of, with 95% intervals; p is of a sign-flip "
    "test that flips whole photos. At a budget, both are read off their curves at one mean LPIPS; where an outcome is"
    " 0 or 1 nothing is interpolated, and each pair of either is taken at its greatest strength within the budget, a "
    "failure where nothing is. The interval redoes that in each of 9,999 resamples of photos. One comparison is "
    "primary, its p adjusted by Holm over the methods; every other is exploratory: of 20 of those, one is below 0.05 "
    "by chance. Detectable: the true difference that this many pairs would find 4 times in 5, before Holm."
)
NUMBERS = (
    "Curves in one number. Matched: the height of a method's curve at the budget, inside what was measured only; of 0"
    " or 1 outcomes, the mean with each pair at its greatest strength within the budget. Area: the mean of that over "
    "the LPIPS that all swept methods share. Front: the part of the whole range of LPIPS on which the best point "
    "within budget is the method's; it depends on which methods are in the table. Intervals redo means, range and "
    "budget in 9,999 resamples of photos. numbers.csv has all."
)
COST = (
    "Measured by the run on its machine. Fit: once a pair and seed. Edit: one image, a sweep's time over its "
    "strengths. Memory: the most that a sweep held, with whatever the process had loaded before. Median and most over "
    "the sweeps."
)
WORTH = (
    "Correlation: how alike pairs on one photo are, 0 to 1. Effective: independent pairs that would say as much about"
    " the mean. Detectable: the shift of this mean that as many pairs would find four times in five. Variance of one "
    "image's value: between photos, between pairs on a photo, between seeds; – where the run cannot tell, and then "
    "the part to its left holds it too."
)


def board(report: Report) -> str:
    """What the leaderboard shows."""
    compared, name = report.compared, report.material.metrics[report.compared.primary].spec
    said = "A row a method, at the strength named; mean and 95% interval of each metric."
    if not (compared.numbers["metric"] == compared.primary).any():
        return said
    return (
        f"{said} At equal fidelity: {name} at LPIPS {text.number(compared.budget)}, {_source(report)}; the mean height "
        "of its curve over the LPIPS that all swept methods share; its share of the front of methods that have both."
    )


def primary(report: Report) -> str:
    """Which comparison is the primary one, and how it came to be that."""
    compared, name = report.compared, report.material.metrics[report.compared.primary].spec
    rows = compared.differences
    matched = ((rows["role"] == "primary") & (rows["at"] == "budget")).any()
    where = f"at LPIPS {text.number(compared.budget)}, {_source(report)}" if matched else "at the strengths shown"
    return f"Primary: {name} against {report.reference}, {where}."


def _source(report: Report) -> str:
    if report.compared.said:
        return "as asked"
    return f"what {report.reference} spends at the strength shown" if report.reference else "as shown"
