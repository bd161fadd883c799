"""How often intervals cover the truth, simulated on TEdBench's own numbers of pairs a photo.

    OMP_NUM_THREADS=1 python tests/benchmarks/interval_coverage.py --out results/benchmarks/interval_coverage.json

100 pairs on 39 photos, as the released list has them. Values are Gaussian, skewed (exponential; log-normal with σ = 1)
or 0 and 1 (beta-binomial), with an intraclass correlation ρ. Of each kind of data: our interval, as `stats.interval`
chooses it; the plain t interval, as if pairs were independent; and the percentile bootstrap of whole photos.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from tqdm import tqdm

from tedbench import environment, stats

SIZES = [1] * 15 + [2] * 6 + [3] * 7 + [4] * 4 + [5] * 6 + [6]
"""Pairs a photo in TEdBench."""
PHOTO = np.repeat(np.arange(len(SIZES)), SIZES)
CORRELATIONS = (0.0, 0.2, 0.4, 0.7)
PROPORTIONS = (0.05, 0.7, 0.9)
Values = NDArray[np.float64]


def shared(rng: np.random.Generator, rho: float) -> Values:
    """Standard normal values, of which those of one photo correlate by rho."""
    return np.sqrt(rho) * rng.normal(size=len(SIZES))[PHOTO] + np.sqrt(1 - rho) * rng.normal(size=len(PHOTO))


def drawn(kind: str, rng: np.random.Generator, rho: float) -> tuple[Values, float]:
    """One sample, and the mean that it comes from."""
    if kind == "gaussian":
        return shared(rng, rho), 0.0
    if kind == "exponential":
        between, within = rng.exponential(size=len(SIZES))[PHOTO] - 1, rng.exponential(size=len(PHOTO)) - 1
        return np.sqrt(rho) * between + np.sqrt(1 - rho) * within, 0.0
    if kind == "log-normal":
        return np.exp(shared(rng, rho)), float(np.exp(0.5))
    p = float(kind.removeprefix("p="))
    by_photo = (
        rng.beta(p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho, size=len(SIZES)) if rho else np.full(len(SIZES), p)
    )
    return (rng.random(len(PHOTO)) < by_photo[PHOTO]).astype(np.float64), p


def plain_t(y: Values) -> tuple[float, float]:
    half = float(scipy.stats.t.ppf(0.975, len(y) - 1) * y.std(ddof=1) / np.sqrt(len(y)))
    return float(y.mean()) - half, float(y.mean()) + half


def percentile(y: Values, weights: Values) -> tuple[float, float]:
    means = weights @ np.bincount(PHOTO, weights=y) / (weights @ np.array(SIZES, float))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def covered(kind: str, rho: float, replications: int, seed: int = 0) -> dict[str, float]:
    """Part of the replications in which each interval covers the truth, and our interval's mean width."""
    rng = np.random.default_rng([seed, int(rho * 100), *kind.encode()])
    weights = rng.multinomial(len(SIZES), np.full(len(SIZES), 1 / len(SIZES)), size=1000).astype(float)
    clusters = PHOTO.tolist()
    hits, width = {"ours": 0, "plain t": 0, "percentile bootstrap of photos": 0}, 0.0
    for _ in range(replications):
        y, truth = drawn(kind, rng, rho)
        ours = stats.interval(y.tolist(), clusters, proportion=kind.startswith("p="))
        width += (ours.high - ours.low) / replications
        ends = ((ours.low, ours.high), plain_t(y), percentile(y, weights))
        for name, (low, high) in zip(hits, ends, strict=True):
            hits[name] += low <= truth <= high
    return {**{name: n / replications for name, n in hits.items()}, "width of ours": width}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--replications", type=int, default=2000)
    asked = parser.parse_args()
    kinds = ("gaussian", "exponential", "log-normal", *(f"p={p}" for p in PROPORTIONS))
    todo = [(kind, rho) for kind in kinds for rho in CORRELATIONS]
    found: dict[str, Any] = {"replications": asked.replications, "sizes": SIZES, "versions": environment.versions()}
    for kind, rho in tqdm(todo, "coverage", disable=None):
        found.setdefault(kind, {})[f"{rho:g}"] = covered(kind, rho, asked.replications)
    text = json.dumps(found, indent=1)
    print(text) if asked.out is None else asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
