"""How often a study's intervals cover, and how well its rules find careless raters.

    OMP_NUM_THREADS=1 python tests/benchmarks/study_coverage.py --out results/benchmarks/study_coverage.json

Three tables:

`rates`      One rate. Answers have photos and raters that lean by normal amounts on the logit scale; a rater gives 14
             answers, spread evenly over questions, unequally many a photo. Our interval (`crossed.rate`), plain Wilson
             as if answers were independent, the percentile interval of the pigeonhole bootstrap (Owen 2007: raters and
             photos resampled apart), and the largest of the three variances instead of our floor
             (MacKinnon, Nielsen and Webb), with cluster counts for degrees of freedom.
`whole`      A whole study of three methods through allocation, simulated raters (one in five careless, the honest lean
             to the left), exclusions and analysis: rates by pair, with and without exclusions, strengths of all methods
             and the side. The truth of a rate is its expectation over honest raters and photos; of strengths, what the
             same fit gives of these.
`detection`  Each rule's sensitivity and specificity (`detecting.measure`) in the default design.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t
from tqdm import tqdm

from tedbench import environment, stats
from tedbench.study import allocation, analysing, crossed, detecting, exclusions, simulating, strengths
from tedbench.study.bundle import GOLD, INSTRUCTED, MAIN, Key, Meant, Public, Result, Study
from tedbench.study.lock import LEFT, RIGHT, Contender, Lock, Sample
from tedbench.study.simulating import Crowd

PHOTOS, RATERS = (6, 12, 20, 40, 100), (20, 50, 200)
SPREADS = ((0.0, 0.0), (0.5, 0.5), (1.0, 0.5))
"""Standard deviations of photos and of raters, in logits."""
DIFFERENCES = (0.0, 1.0, 2.0)
"""In logits, before spread."""
ANSWERS, RESAMPLES = 14, 200
TEXTS = (1, 1, 1, 2, 2, 3, 3, 4, 1, 1, 2, 5)
"""Questions a photo, over and over."""
NEAR, FAR = {"A": 0.6, "B": 0.0, "C": -0.4}, {"A": 1.5, "B": 0.0, "C": -1.0}
STUDIES = (
    *((*size, spread, NEAR) for size in ((12, 60), (20, 100), (40, 100), (100, 200)) for spread in SPREADS),
    *((*size, SPREADS[0], FAR) for size in ((40, 100), (100, 200))),
)
"""Photos, raters, spread, strengths."""
CARELESS, SIDE = 0.2, 0.3
Values = NDArray[Any]


def drawn(rng: np.random.Generator, photos: int, raters: int, logit: float, crowd: Crowd) -> tuple[Values, ...]:
    """Answers, and the rater and photo of each."""
    photo = np.repeat(np.arange(photos), rng.choice(TEXTS, size=photos))
    rater = np.repeat(np.arange(raters), ANSWERS)
    rounds = -(-len(rater) // len(photo))
    p = photo[np.concatenate([rng.permutation(len(photo)) for _ in range(rounds)])[: len(rater)]]
    logits = logit + crowd.photos * rng.normal(size=photos)[p] + crowd.raters * rng.normal(size=raters)[rater]
    return (rng.random(len(p)) < 1 / (1 + np.exp(-logits))).astype(float), rater, p


def pigeonhole(rng: np.random.Generator, y: Values, rater: Values, photo: Values) -> tuple[float, float]:
    shape = (rater.max() + 1, photo.max() + 1)
    sums, sizes = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (rater, photo), y)
    np.add.at(sizes, (rater, photo), 1)
    r, p = (rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float) for n in shape)
    num, den = ((r @ table * p).sum(1) for table in (sums, sizes))
    low, high = np.quantile(num[den > 0] / den[den > 0], [0.025, 0.975])
    return float(low), float(high)


def largest(y: Values, rater: Values, photo: Values) -> tuple[float, float]:
    mean = float(y.mean())
    if not 0 < mean < 1:
        return math.nan, math.nan
    index = (rater, photo, rater * (photo.max() + 1) + photo)
    ids = [np.unique(one, return_inverse=True)[1] for one in index]
    v = [crossed._jackknife((y - mean) / len(y), one)[0] for one in ids]
    value = max(v[0], v[1], v[0] + v[1] - v[2])
    degrees = value**2 / sum(a**2 / one.max() for a, one in zip(v, ids, strict=True))
    degrees = max(degrees, min(ids[0].max(), ids[1].max()))
    n = min(len(y), mean * (1 - mean) / value)
    return stats.wilson(mean, n, float(t.ppf(0.975, degrees)))


def rate_row(photos: int, raters: int, spread: tuple[float, float], logit: float, runs: int) -> dict[str, float]:
    """Part of the studies in which each interval covers, and our interval's mean width."""
    crowd = Crowd(photos=spread[0], raters=spread[1], lapse=0)
    truth = simulating.expected(logit, crowd)
    rng = np.random.default_rng([photos, raters, int(10 * spread[0]), int(10 * logit)])
    hits, width = dict.fromkeys(("ours", "plain wilson", "pigeonhole", "largest"), 0), 0.0
    for _ in range(runs):
        y, r, p = drawn(rng, photos, raters, logit, crowd)
        ours = crossed.rate(y.tolist(), r.tolist(), p.tolist())
        width += (ours.high - ours.low) / runs
        plain = stats.wilson(ours.mean, len(y), 1.96)
        ends = ((ours.low, ours.high), plain, pigeonhole(rng, y, r, p), largest(y, r, p))
        for name, (low, high) in zip(hits, ends, strict=True):
            hits[name] += low <= truth <= high
    return {"truth": truth, **{name: n / runs for name, n in hits.items()}, "width of ours": width}


def designed(photos: int, raters: int) -> Study:
    """A study of three methods, as `building` lays it out, without pictures."""
    uids = [(f"u{at}-{k}", f"p{at}") for at in range(photos) for k in range(TEXTS[at % len(TEXTS)])]
    pairs = list(itertools.combinations("ABC", 2))
    share = 1 / len(uids) / len(pairs)
    nobody = Result("")
    main = [Meant(f"{u}{a}{b}", MAIN, u, p, Result(a), Result(b), share) for u, p in uids for a, b in pairs]
    gold = [Meant(f"g{k}", GOLD, "", "", nobody, nobody, expected=("first", "second")[k % 2]) for k in range(6)]
    told = [Meant(side, INSTRUCTED, "", "", nobody, nobody, expected=side) for side in (LEFT, RIGHT)]
    of = [Contender(label=x, run="", run_name="", method=x, seed=0, strength="", cells="") for x in "ABC"]
    lock = Lock(
        name="simulated", created="", version="", dataset="", dataset_sha256="", photos=photos, comparisons=len(main),
        contenders=tuple(of),
        sample=Sample(raters=raters), unasked=0, power={}, public_sha256="", key_sha256="",
    )  # fmt: skip
    public = Public("", lock.tag, (), lock.asking.choices, {}, lock.per_rater.questions, "", "1", (), 0, ())
    return Study(Path(), lock, public, Key("00", (*main, *gold, *told)))


def true_strengths(betas: dict[str, float], crowd: Crowd) -> dict[str, float]:
    """What the fit gives of the expected answers: with photos and raters that lean, nearer to 0 than β."""
    rows = []
    for (a, b), on_left in itertools.product(itertools.combinations("ABC", 2), (True, False)):
        side = crowd.side if on_left else -crowd.side
        won = simulating.expected(betas[a] - betas[b] + side, Crowd(photos=crowd.photos, raters=crowd.raters))
        n = round(2000 * won)
        rows += [(a, b, LEFT if on_left else RIGHT, on_left, 1.0)] * n
        rows += [(a, b, RIGHT if on_left else LEFT, on_left, 0.0)] * (2000 - n)
    frame = pd.DataFrame(rows, columns=["first", "second", "choice", "on_left", "value"])
    found = strengths.fit(frame.assign(rater=frame.index % 2, image_id=frame.index % 2), "ABC", "B")
    return {**dict(zip("ABC", found.table["strength"], strict=True)), "side": found.side}


def whole_row(
    photos: int, raters: int, spread: tuple[float, float], betas: dict[str, float], runs: int
) -> dict[str, Any]:
    crowd = Crowd(careless=CARELESS, side=SIDE, photos=spread[0], raters=spread[1])
    study = designed(photos, raters)
    forms = allocation.forms(study.lock.seed, study.lock.per_rater, study.key.questions, raters)
    rate = {(a, b): simulating.expected(betas[a] - betas[b], crowd) for a, b in itertools.combinations("ABC", 2)}
    beta = true_strengths(betas, crowd)
    hits: Counter[str] = Counter()
    for seed in range(runs):
        made = simulating.answered(study, forms, betas, seed, crowd)
        every = analysing.frame(study, made.answers)
        judged = exclusions.raters(every, study.lock.exclusions, study.lock.per_rater.questions, {})
        main = every[every["kind"] == MAIN]
        kept = main[~main["rater"].isin(judged.loc[judged["excluded"], "rater"])]
        for name, of in (("", kept), (", nobody excluded", main)):
            for row in analysing.rates(study, of, stats.LEVEL, None, confirmed=False).itertuples():
                pair = (str(row.first), str(row.second))
                hits[f"{pair[0]} against {pair[1]}{name}"] += row.low <= rate[pair] <= row.high
        fit = strengths.fit(kept, "ABC", "B")
        for label, low, high in zip(fit.table["label"], fit.table["low"], fit.table["high"], strict=True):
            hits[f"strength {label}"] += low <= beta[label] <= high
        hits["side"] += fit.side_low <= beta["side"] <= fit.side_high
    return {name: n / runs for name, n in sorted(hits.items())}


def in_range(found: list[float]) -> dict[str, float]:
    values = np.array(found)
    return {
        "cells": len(values), "mean": float(values.mean()), "least": float(values.min()), "most": float(values.max()),
        "part within .93 and .985": float(((values >= 0.93) & (values <= 0.985)).mean()),
    }  # fmt: skip


def summary(rates: list[dict[str, Any]], whole: list[dict[str, Any]]) -> dict[str, Any]:
    """Coverage over all cells, and over those of at least 20 photos."""
    many = [row for row in rates if row["photos"] >= 20]
    names = ("ours", "plain wilson", "pigeonhole", "largest")
    told: dict[str, Any] = {
        f"one rate, {name}, from 20 photos": in_range([row[name] for row in many]) for name in names
    }
    told["one rate, ours, below 20 photos"] = in_range([row["ours"] for row in rates if row["photos"] < 20])
    for name, want in (("rates", "against"), ("strengths", "strength")):
        cells = [v for row in whole for key, v in row["coverage"].items() if want in key and "nobody" not in key]
        told[f"whole study, {name}"] = in_range(cells)
    cells = [v for row in whole for key, v in row["coverage"].items() if "nobody" in key]
    told["whole study, rates, nobody excluded"] = in_range(cells)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--replications", type=int, default=1000, help="of one rate")
    parser.add_argument("--studies", type=int, default=300, help="replications of a whole study")
    asked = parser.parse_args()
    rates = []
    for of in tqdm(list(itertools.product(PHOTOS, RATERS, SPREADS, DIFFERENCES)), "rates", disable=None):
        named = dict(zip(("photos", "raters", "spread", "logit"), of, strict=True))
        rates.append({**named, **rate_row(*of, asked.replications)})
    whole = []
    for photos, raters, spread, betas in tqdm(STUDIES, "whole", disable=None):
        found = whole_row(photos, raters, spread, betas, asked.studies)
        whole.append({"photos": photos, "raters": raters, "spread": spread, "strengths": betas, "coverage": found})
    detection = detecting.measure(designed(40, 100), raters=4000)
    command = "OMP_NUM_THREADS=1 python tests/benchmarks/study_coverage.py"
    told = {
        "command": f"{command} --replications {asked.replications} --studies {asked.studies}",
        "replications": asked.replications, "studies": asked.studies, "answers of a rater": ANSWERS,
        "careless": CARELESS, "side": SIDE, "versions": environment.versions(), "summary": summary(rates, whole),
        "detection": detection.to_dict("records"), "whole": whole, "rates": rates,
    }  # fmt: skip
    text = json.dumps(told, indent=1)
    print(text) if asked.out is None else asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
