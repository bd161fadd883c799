"""How often a study's intervals cover.

    OMP_NUM_THREADS=1 python tests/benchmarks/study_coverage.py --out results/benchmarks/study_coverage.json

The truth is the expected rate over the population of photos and raters. Answers have photos and raters that lean by
normal amounts on the logit scale; a rater gives 14 answers, spread evenly over questions, unequally many a photo.
Of each setting: our interval (`crossed.rate`), plain Wilson as if answers were independent, and the percentile
interval of the pigeonhole bootstrap (Owen 2007), raters and photos resampled apart.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tedbench import environment, stats
from tedbench.study import crossed, simulating
from tedbench.study.simulating import Crowd

PHOTOS, RATERS = (6, 12, 39, 100), (20, 50, 200)
SPREADS = ((0.0, 0.0), (0.5, 0.5), (1.0, 0.5))
DIFFERENCES = (0.0, 1.0, 2.0)
"""In logits, before spread."""
ANSWERS, RESAMPLES = 14, 300
Values = NDArray[Any]


def drawn(rng: np.random.Generator, photos: int, raters: int, logit: float, crowd: Crowd) -> tuple[Values, ...]:
    """Answers, and the rater and photo of each."""
    photo = np.repeat(np.arange(photos), rng.choice([1, 1, 2, 3, 4, 5], size=photos))
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


def covered(photos: int, raters: int, spread: tuple[float, float], logit: float, runs: int) -> dict[str, float]:
    """Part of the studies in which each interval covers, and our interval's mean width."""
    crowd = Crowd(photos=spread[0], raters=spread[1], lapse=0)
    truth = simulating.expected(logit, crowd)
    rng = np.random.default_rng([photos, raters, int(10 * spread[0]), int(10 * logit)])
    hits, width = dict.fromkeys(("ours", "plain wilson", "raw pigeonhole"), 0), 0.0
    for _ in range(runs):
        y, r, p = drawn(rng, photos, raters, logit, crowd)
        ours = crossed.rate(y.tolist(), r.tolist(), p.tolist())
        width += (ours.high - ours.low) / runs
        ends = ((ours.low, ours.high), stats.wilson(ours.mean, len(y), 1.96), pigeonhole(rng, y, r, p))
        for name, (low, high) in zip(hits, ends, strict=True):
            hits[name] += low <= truth <= high
    return {"truth": truth, **{name: n / runs for name, n in hits.items()}, "width of ours": width}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--replications", type=int, default=1000)
    asked = parser.parse_args()
    found: dict[str, Any] = {"replications": asked.replications, "answers": ANSWERS, "versions": environment.versions()}
    rows = found["coverage"] = []
    for of in tqdm(list(itertools.product(PHOTOS, RATERS, SPREADS, DIFFERENCES)), "coverage", disable=None):
        named = dict(zip(("photos", "raters", "spread", "logit"), of, strict=True))
        rows.append({**named, **covered(*of, asked.replications)})
    text = json.dumps(found, indent=1)
    print(text) if asked.out is None else asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
