"""Each method's settings for the toy model, chosen on ToyBench's dev split, with the same number of trials for each.

    OMP_NUM_THREADS=1 python tests/benchmarks/toy_tuning.py --out results/benchmarks/toy_tuning.json [--only imagic]

Six settings a method, written down before any was run. What counts is the share of pairs that the oracle passes on both
success and preservation, each at its greatest strength whose LPIPS is within the mean cost of a true answer of its
category, as `toy_findings.py` asks of the test split at budget 1; ties go to the sum over its three budgets. A run that
was cut off goes on: runs are kept under --work.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from tedbench import config, curves, datasets, images, runner, scoring, store

DATASET = "toy:dev:24"
METRICS = ("lpips-alex@64", "oracle-both")
BUDGETS = (0.75, 1.0, 1.5)
SAMPLED = "steps=15"
GRIDS: dict[str, tuple[tuple[str, ...], tuple[float, ...] | None]] = {
    "text-only": (tuple(f"guidance={g}" for g in (1.5, 2, 3, 4, 5, 7.5)), None),
    "crossfade": (tuple(f"guidance={g}" for g in (1.5, 2, 3, 4, 5, 7.5)), None),
    "sdedit": (tuple(f"guidance={g}" for g in (1.5, 2, 3, 4, 5, 7.5)), None),
    "ddib": (("", "steps=25", "steps=50", "steps=10", "steps=20", "steps=35"), tuple(1 + i / 2 for i in range(11))),
    "imagic": (tuple(f"embedding_rate={a}&tuning_rate={b}" for a in (0.06, 0.12) for b in (5e-5, 1e-4, 2e-4)), None),
}  # fmt: skip
"""Method → six settings, and its strengths where its own grid has not eleven."""
FITTED = "embedding_steps=20&tuning_steps=60&fit_batch=4&guidance=2"


def spec(name: str, settings: str) -> str:
    wanted = [*([FITTED] if name == "imagic" else []), *([SAMPLED] if "steps=" not in settings else []), settings]
    return f"{name}?{'&'.join(part for part in wanted if part)}"


def scored(name: str, settings: str, strengths: tuple[float, ...] | None, out: Path) -> pd.DataFrame:
    method = config.MethodConfig(spec(name, settings), label=name, strengths=strengths)
    asked = config.override(config.RunConfig((method,), dataset=DATASET), config.Flags(device="cpu"))
    runner.run(asked, out)
    scoring.score_run(store.open_run(out), runner.load(asked), scoring.make_metrics(METRICS, "cpu"))
    return store.open_run(out).scores()


def budgets() -> dict[str, float]:
    """uid → mean LPIPS between input and true answer of the pair's category."""
    pairs = datasets.load(DATASET).pairs
    ((_, metric),) = scoring.make_metrics(METRICS[:1], "cpu")
    costs = metric.score(pairs, [images.read(pair.truth) for pair in pairs if pair.truth])
    table = pd.DataFrame({"uid": [p.uid for p in pairs], "category": [p.category for p in pairs], "cost": costs})
    return dict(zip(table["uid"], table.groupby("category")["cost"].transform("mean"), strict=True))


def shares(scores: pd.DataFrame, cost: dict[str, float]) -> dict[str, float]:
    """Share of pairs passed at each budget."""
    lpips, both = (scores[scores["metric"].str.startswith(name)] for name in ("lpips", "oracle-both"))
    found = {}
    for factor in BUDGETS:
        limits = {uid: factor * value for uid, value in cost.items()}
        found[f"{factor:g}"] = float(curves.matched(both, lpips, limits)["value"].mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("results/toy-tuning"))
    parser.add_argument("--only", action="append", choices=GRIDS)
    asked = parser.parse_args()
    cost = budgets()
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    for name in asked.only or GRIDS:
        settings, strengths = GRIDS[name]
        trials = {
            spec(name, one): shares(scored(name, one, strengths, asked.work / f"{name}-{i}"), cost)
            for i, one in enumerate(settings)
        }
        best = max(trials, key=lambda one: (trials[one]["1"], sum(trials[one].values())))
        found[name] = {"chosen": best, "trials": trials}
        asked.out.write_text(json.dumps({"dataset": DATASET, **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
