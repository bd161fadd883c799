"""How well the rules of a study find careless raters, and how many honest ones they cost: by simulation.

Raters of known kinds sit through screens of the study's own design, and the rules of its study.lock judge them. Kinds:
`random` clicks any button, `side` always the left or always the right, `fast` any button in half a second; an `honest`
one answers checks rightly, prefers the better picture of any question with probability p, anew at each showing, and
clicks any button on one screen of a hundred.

Some of it can be had by hand, and tests hold the simulation to it. Of c two-sided checks, k of which exclude, and r
repeats that exclude if all are changed:

    random fails the checks       Σ_{j ≥ k} C(c, j)/2^c
    random changes all repeats    2^−r
    honest changes all repeats    (2 p (1 − p))^r                                              (lapses apart)
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tedbench.study import allocation, analysing, exclusions, simulating
from tedbench.study.bundle import MAIN, Meant, Study
from tedbench.study.exclusions import COLUMN
from tedbench.study.lock import Exclusions
from tedbench.study.simulating import HONEST, KINDS, Crowd, Rater

if TYPE_CHECKING:
    import pandas as pd

PREFERENCES = (0.6, 0.7, 0.8, 0.9)
FORMS, RATERS, SEED = 40, 1000, 0
"""Orders of screens that are made; simulated raters of each kind, who share them."""


def measure(study: Study, rules: Exclusions | None = None, raters: int = RATERS, seed: int = SEED) -> pd.DataFrame:
    """What each rule would do to simulated raters.

    Args:
        study: whose design and rules are tried.
        rules: others than those of study.lock.
        raters: of each kind.
        seed: of all that is random.

    Returns:
        A row a rule that is on, and `any` of all together. Columns rule; `caught: random`, `caught: side` and
        `caught: fast`, the share of such raters that it excludes (sensitivity); `kept: p = 0.6` and so on, the share of
        honest raters that it does not (specificity).
    """
    import pandas as pd

    rules = rules or study.lock.exclusions
    judged = _judged(study, rules, raters, seed)
    made = []
    for rule, column in {**COLUMN, "any": "excluded"}.items():
        if rule in ("status", "unfinished") or getattr(rules, rule, True) is None:
            continue  # the simulated finish, and no platform says anything of them
        share = judged.groupby("sort", sort=False)[column].mean()
        made.append({"rule": rule, **{name: 1 - of if "kept" in str(name) else of for name, of in share.items()}})
    return pd.DataFrame(made)


def _judged(study: Study, rules: Exclusions, raters: int, seed: int) -> pd.DataFrame:
    """`exclusions.raters` of simulated ones, with the column `sort`: what they are."""
    rng, crowd, answers = np.random.default_rng(seed), Crowd(), []
    sorts: dict[str, str] = {}
    forms = _forms(study)
    sat = [(f"caught: {kind}", kind, 0.5) for kind in KINDS]
    sat += [(f"kept: p = {p:g}", HONEST, p) for p in PREFERENCES]
    for sort, kind, p in sat:
        logit = math.log(p / (1 - p))
        for number in range(raters):
            one = Rater(f"{len(sorts):06d}", kind, partial(_always, logit))
            answers += simulating.sitting(study, forms[number % len(forms)], one, crowd, rng)
            sorts[one.name] = sort
    table = exclusions.raters(analysing.frame(study, answers), rules, study.lock.per_rater.questions, {})
    return table.assign(sort=table["rater"].map(sorts))


def _always(logit: float, _: Meant) -> float:
    return logit


def _forms(study: Study) -> list[list[allocation.Screen]]:
    """Orders of screens as the study has them, of no more questions than those need: rules do not look at which."""
    per_rater, main = study.lock.per_rater, study.main
    few = [dataclasses.replace(one, share=1.0) for one in main[: 4 * per_rater.new]]
    checks = [one for one in study.key.questions if one.kind != MAIN]
    return allocation.forms(study.lock.seed, per_rater, [*few, *checks], FORMS)
