"""Rules that choose the strength without the truth: tuned on ToyBench's dev split, judged on its test split.

    tedbench run --dataset toy:dev:N --method NAME@toy --out DEV/NAME       as toy_reference.toml has them, seed 0
    tedbench score DEV/NAME --metrics SPECS                                 SPECS as printed by `--specs`
    python tests/benchmarks/toy_rules.py --pack DEV/NAME … --rows results/benchmarks/toy_rules_dev.parquet
    python tests/benchmarks/toy_rules.py --pack COPY --only clip-directional@toy-clip-a \\
        --rows results/benchmarks/toy_rules_test.parquet        COPY: the reference run, scored with that metric too
    python tests/benchmarks/toy_rules.py results/toy-reference --out results/benchmarks/toy_rules.json

Success is `oracle-both`. On dev the fixed strength is that of most success (the least of equals), and the rule is the
candidate of most success whose LPIPS is at most 0.01 above the fixed one's (the least LPIPS of equals), of those that
look at all strengths; likewise of those that look at 5 by halving. On test

    gap closed = (rule − fixed) / (best − fixed),    best: each image at the strength where it succeeds, if at any

with the ratio taken anew in each bootstrap resample of whole pictures. A sweep without a choice is a failure. No
candidate reads an oracle or a category. All this tests the machinery; it says nothing of ViT-L on photographs.

Not counted among the candidates: on the dev rows some 1,000 other settings were looked at first (levels, caps on LPIPS,
products, ratios, trades on other scales) and a logistic fit; `trade` was made a rule after that. Its form that looks at
5 strengths was made after the test split had been judged once without it, chosen on dev like all others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import toy_findings

from tedbench import choosing, registry, stats, store
from tedbench.choosing import Choices
from tedbench.types import MetricFacts

ROWS = Path(__file__).parents[2] / "results/benchmarks"
DEV, TEST = ROWS / "toy_rules_dev.parquet", ROWS / "toy_rules_test.parquet"
METHODS = ("imagic", "sdedit", "ddib", "crossfade")
LPIPS, BOTH = "lpips-alex@64", "oracle-both"
CHOOSING = ("clip-text@toy-clip-a", "clip-directional@toy-clip-a")
"""Of the CLIP that chooses; the other one reports."""
SPECS = (LPIPS, BOTH, *CHOOSING)
BEST = f"best@{BOTH}"
MARGIN, HALF, LOOKS = 0.01, 0.5, 5
"""The criterion: LPIPS above the fixed strength's, part of the gap, strengths that a halving rule may look at."""
ROUNDING = 1e-9
"""Thirds, of three seeds, do not always add up to 0."""
KEY = ["method", "uid", "image_id", "seed", "strength"]


def candidates() -> list[str]:
    """Specs of all rules tried, for each method alike."""
    found = [f"budget@{most:.2f}?metric={LPIPS}" for most in np.arange(0.06, 0.41, 0.02)]
    for metric in CHOOSING:
        found.append(f"knee@{metric}?cost={LPIPS}")
        for price in np.arange(0, 3.01, 0.25):
            found += [f"trade@{metric}?cost={LPIPS}&price={price:g}{most}" for most in ("", f"&most={LOOKS}")]
        for least in (0.01, 0.02, *np.arange(0.04, 0.61, 0.04)):
            found += [f"{name}@{metric}?least={least:.2f}" for name in ("gain", "bisect")]
        found += [f"share@{metric}?of={of:.1f}" for of in np.arange(0.3, 1.01, 0.1)]
    return found


def packed(folders: Iterable[Path], only: Sequence[str]) -> pd.DataFrame:
    """Scores of runs with these metrics, long form with a column `spec`; without pairs that a run did not reach."""
    found = []
    for run in map(store.open_run, folders):
        cells, scores = run.cells(), run.scores()
        scores["method"] = scores["method"].str.removesuffix("-toy")  # so `--method NAME@toy` calls it
        scores["spec"] = scores["metric"].map({name: facts.spec for name, facts in run.metrics.items()})
        missed = set(cells.loc[cells["status"] == "missing", "uid"])
        found.append(scores[scores["spec"].isin(only) & scores["method"].isin(METHODS) & ~scores["uid"].isin(missed)])
    return pd.concat(found, ignore_index=True)[[*KEY, "spec", "metric", "value"]]


def facts_of(rows: pd.DataFrame) -> dict[str, MetricFacts]:
    """By identity; of the four metrics, LPIPS alone is better lower."""
    named = rows[["metric", "spec"]].drop_duplicates().itertuples(index=False)
    return {name: MetricFacts(spec, name, spec != LPIPS, 0, 1, {}) for name, spec in named}


def reference_rows(run: Path) -> pd.DataFrame:
    """The reference run's rows as `packed`, with those that it was not scored with itself."""
    return pd.concat([packed([run], SPECS), pd.read_parquet(TEST)], ignore_index=True)


@dataclass(frozen=True)
class Applied:
    """What a rule is worth over one method's rows: tables of a row a pair, with `uid`, `image_id` and `value`."""

    spec: str
    choices: Choices
    success: pd.DataFrame
    lpips: pd.DataFrame

    @property
    def means(self) -> tuple[float, float]:
        """Success and LPIPS; the latter of pairs with a choice."""
        return float(self.success["value"].mean()), float(self.lpips["value"].mean())


def applied(spec: str, rows: pd.DataFrame) -> Applied:
    choices = choosing.choose(registry.make("rule", spec), rows, facts_of(rows), {})
    of = {name: rows[rows["spec"] == name] for name in (BOTH, LPIPS)}
    chosen = {BOTH: choosing.outcomes(choices, of[BOTH], 0.0), LPIPS: choosing.outcomes(choices, of[LPIPS])}
    success, lpips = (stats.seed_means(chosen[name], ["uid", "image_id"]) for name in (BOTH, LPIPS))
    return Applied(spec, choices, success.fillna({"value": 0.0}), lpips.dropna(subset="value"))


def best_fixed(rows: pd.DataFrame) -> str:
    """The fixed strength of most success; the least of equals."""
    means = rows[rows["spec"] == BOTH].groupby("strength")["value"].mean()
    return f"fixed@{means.idxmax():g}"


def tune(rows: pd.DataFrame) -> dict[str, Any]:
    """One method's fixed strength and rule on dev, and the best of the halving ones.

    Where no halving rule keeps to the LPIPS, it is the one of least LPIPS.
    """
    fixed, best = applied(best_fixed(rows), rows), applied(BEST, rows)
    most, gap = fixed.means[1] + MARGIN, best.means[0] - fixed.means[0]
    tried = {spec: applied(spec, rows).means for spec in candidates()}
    allowed = sorted((spec for spec in tried if tried[spec][1] <= most), key=lambda s: (-tried[s][0], tried[s][1]))
    halving = sorted((spec for spec in tried if halves(spec)), key=lambda s: tried[s][1])
    kinds = {kind: s for s in reversed(allowed) for kind in [s.partition("?")[0].partition("@")[0]]}  # the best is last
    few, all_looks = ([spec for spec in allowed if halves(spec) == short] for short in (True, False))
    shown = {fixed.spec: fixed.means, BEST: best.means, **{spec: tried[spec] for spec in kinds.values()}}
    return {
        "pairs": len(fixed.success), "images": int(fixed.success["image_id"].nunique()), "tried": len(tried),
        "within the LPIPS": len(allowed), "fixed": fixed.spec, "rule": all_looks[0],
        "gap closed on dev": (tried[all_looks[0]][0] - fixed.means[0]) / gap if gap else None,
        "halving": (few or halving)[0],
        "gap closed on dev by halving": (tried[(few or halving)[0]][0] - fixed.means[0]) / gap if gap else None,
        "halving within the LPIPS": bool(few),
        "of each kind the best within it": {
            spec: {"success": means[0], "lpips": means[1]} for spec, means in shown.items()
        },
    }  # fmt: skip


def halves(spec: str) -> bool:
    """Whether it looks at few strengths by halving."""
    return spec.startswith("bisect") or f"most={LOOKS}" in spec


def gap_closed(
    rule: pd.DataFrame, fixed: pd.DataFrame, best: pd.DataFrame, resamples: int = stats.RESAMPLES
) -> dict[str, Any]:
    """(rule − fixed)/(best − fixed) over the same pairs, with a percentile interval over whole pictures.

    Resamples without a gap have no ratio: they are left out and counted. Without a gap at all there are no numbers.
    """
    table = fixed.merge(rule, on=["uid", "image_id"], suffixes=("", "_rule"), validate="one_to_one")
    table = table.merge(best, on=["uid", "image_id"], suffixes=("", "_best"), validate="one_to_one")
    photo = stats.numbered(table["image_id"].to_list())
    sums = np.stack([np.bincount(photo, weights=table[name] - table["value"]) for name in ("value_rule", "value_best")])
    total, gap = sums.sum(axis=1)
    if gap <= 0:
        return {"closed": None, "low": None, "high": None, "resamples without a gap": resamples}
    drawn = stats.resampled(sums.shape[1], resamples) @ sums.T
    there = drawn[:, 1] > 0
    low, high = np.quantile(drawn[there, 0] / drawn[there, 1], [0.025, 0.975])
    return {"closed": float(total / gap), "low": float(low), "high": float(high),
            "resamples without a gap": int((~there).sum())}  # fmt: skip


def judged(one: Applied, fixed: Applied, best: Applied) -> dict[str, Any]:
    """A rule's figures, and the criterion clause by clause."""
    gap, looked = gap_closed(one.success, fixed.success, best.success), one.choices.table["looked"]
    lpips = toy_findings.difference(one.lpips, fixed.lpips)
    reached = {
        "half of the gap": gap["closed"] is not None and gap["closed"] >= HALF,
        "lower end above 0": gap["low"] is not None and gap["low"] > ROUNDING,
        "LPIPS": lpips["mean"] <= MARGIN,
    }
    if halves(one.spec):
        reached["looks"] = int(looked.max()) <= LOOKS * one.choices.best_of
    return {
        **figures(one), "success - fixed": toy_findings.difference(one.success, fixed.success),
        "lpips - fixed": lpips, "gap closed": gap, "reached": reached | {"all": all(reached.values())},
    }  # fmt: skip


def figures(one: Applied) -> dict[str, Any]:
    looked = one.choices.table["looked"]
    return {
        "rule": one.spec, "best of seeds": one.choices.best_of,
        "success": toy_findings.interval(one.success, True), "lpips": toy_findings.interval(one.lpips),
        "looked": {"mean": float(looked.mean()), "most": int(looked.max())},
        "without a choice": int((~one.choices.table["chosen"]).sum()),
    }  # fmt: skip


def judge(rows: pd.DataFrame, tuned: dict[str, Any]) -> dict[str, Any]:
    """What dev chose, on one method's test rows; then the same with the best of a pair's seeds kept."""
    found: dict[str, Any] = {}
    for by in (None, CHOOSING[0]):
        specs = {name: seeds_by(tuned[name], by) for name in ("fixed", "rule", "halving")}
        ours = {name: applied(spec, rows) for name, spec in specs.items()}
        best = applied(seeds_by(BEST, by and BOTH), rows)
        of = f"best of {best.choices.best_of} seeds, all alike" if by else "seeds averaged"
        found[of] = {
            "fixed": figures(ours["fixed"]), "best": figures(best),
            **{name: judged(ours[name], ours["fixed"], best) for name in ("rule", "halving")},
        }  # fmt: skip
    return found


def seeds_by(spec: str, by: str | None) -> str:
    return spec if by is None else f"{spec}{'&' if '?' in spec else '?'}seed_by={by}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="the reference run")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pack", type=Path, nargs="+", metavar="RUN", help="gather the scores of runs, and end")
    parser.add_argument("--rows", type=Path, help="where to put them")
    parser.add_argument("--only", action="append", choices=SPECS, help="of these metrics; all four unless it is said")
    parser.add_argument("--specs", action="store_true", help="print what to score, and end")
    parser.add_argument("--dev-only", action="store_true", help="tune, and do not look at the test split")
    asked = parser.parse_args()
    if asked.pack and not asked.rows:
        parser.error("--pack needs --rows")
    if asked.pack:
        packed(asked.pack, asked.only or SPECS).to_parquet(asked.rows, compression="zstd", index=False)
        return
    if asked.specs or asked.run is None:
        print(",".join(SPECS))
        return
    dev, run = pd.read_parquet(DEV), store.open_run(asked.run).run
    found: dict[str, Any] = {
        "of": {"run": run.name, "dataset": run.dataset.name, "list sha256": run.dataset.sha256,
               "metrics": {facts.spec: name for name, facts in facts_of(dev).items()}},
        "criterion": {"LPIPS above fixed": MARGIN, "part of the gap": HALF, "looks": LOOKS},
    }  # fmt: skip
    test = None if asked.dev_only else reference_rows(asked.run)
    for name in METHODS:
        tuned = tune(dev[dev["method"] == name])
        found[name] = {"dev": tuned}
        if test is not None:
            found[name] |= {"test": judge(test[test["method"] == name], tuned)}
    text = json.dumps(found, indent=1)
    print(text) if asked.out is None else asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
