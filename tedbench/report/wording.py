"""What a report says of itself: how its numbers are made, and how they are to be read."""

from __future__ import annotations

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
    " ×100 and 2.5·max(cos, 0) show the same cosines as other papers do; CLIPScore proper also puts “A photo depicts ” "
    "before the text."
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
    "above. Looked: strengths a sweep whose images the rule needed. Unchosen: sweeps in which it chose nothing; those "
    "are failures of a success that is 0 or 1, else without a value. Gain: over the fixed strength, pair by pair. p: "
    "cluster sign-flip test, exploratory, not adjusted for the number of rules and metrics."
)


CURVES = (
    "Means over pairs at every strength, seeds averaged within a pair first, with the 95% interval of the vertical "
    "axis as a band. Left, where LPIPS was scored: at equal LPIPS a higher line is the better one (a lower one where "
    "lower is better); numbers are the strengths at its ends. Right: over the strength, the form of Fig. 9 of Imagic "
    "(arXiv 2210.09276). Nothing is averaged over strengths; curves.csv has every number."
)
