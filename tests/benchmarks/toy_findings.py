"""What the reference run on ToyBench says: the questions of Imagic's figure 9, and ours, with intervals.

    tedbench run tests/benchmarks/toy_reference.toml --out results/toy-reference
    tedbench score results/toy-reference --metrics SPECS          SPECS as printed by `--specs`
    python tests/benchmarks/toy_findings.py results/toy-reference --out results/benchmarks/toy_findings.json

Budgets were fixed before the test split was run: 0.75, 1 and 1.5 times the mean LPIPS between the inputs and the true
answers of a category. Each pair takes its greatest strength within budget, else the input, which is a failure. Photos
are the clusters of every interval. All this tests the machinery; it says nothing of ViT-L on photographs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tedbench import curves, datasets, differences, images, scoring, stats, store
from tedbench.types import EditPair
from tedbench_methods import backbones

SPECS = ("lpips-alex@64", "clip-text@toy-clip-a", "clip-text@toy-clip-b", "oracle-success",
         "oracle-preservation", "oracle-both", "oracle-refused", "psnr@64?region=outside")  # fmt: skip
BUDGETS = (0.75, 1.0, 1.5)
ROUND_TRIP, NEAR = 0.05, 0.05
"""LPIPS at 64²: what the autoencoder may lose, set after its training; what Imagic at η = 0 may lose beyond it."""
DRAWS = 2000
LPIPS, CLIP, BOTH, SUCCESS, KEPT = "lpips-alex-0.1/64", "toy-clip-b", "oracle-both", "oracle-success", "oracle-pres"
IMAGIC, WITHOUT_B = "imagic", "imagic-without-b"
RIVALS = ("sdedit", "ddib", "crossfade", "text-only")
"""Methods and anchors that edit: what Imagic is compared with."""


class Scores:
    """The scores of a run, by short names of metrics."""

    def __init__(self, run: Path) -> None:
        self.all = store.open_run(run).scores()

    def of(self, metric: str, method: str | None = None) -> pd.DataFrame:
        """Rows of the one metric whose identity holds this text, perhaps of one method."""
        found = [name for name in self.all["metric"].unique() if metric in name]
        if len(found) != 1:
            raise SystemExit(f"metric {metric!r} was scored {len(found)} times, under {found}; score it once")
        rows: pd.DataFrame = self.all[self.all["metric"] == found[0]]
        return rows if method is None else rows[rows["method"] == method]

    def at(self, metric: str, method: str, strength: float) -> pd.DataFrame:
        """One row a pair: uid, image_id, value, seeds averaged; a pair of which no image has a value is left out."""
        rows = self.of(metric, method)
        rows = rows[np.isclose(rows["strength"], strength)]
        means: pd.DataFrame = stats.seed_means(rows, ["uid", "image_id"]).dropna(subset="value")
        return means


def interval(values: pd.DataFrame, proportion: bool = False) -> dict[str, Any]:
    return said(stats.interval(values["value"].to_list(), values["image_id"].to_list(), proportion=proportion))


def said(found: stats.Interval) -> dict[str, Any]:
    return {"mean": found.mean, "low": found.low, "high": found.high, "interval": found.kind, "n": found.n,
            "images": found.clusters}  # fmt: skip


def difference(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, Any]:
    both = a.merge(b, on=["uid", "image_id"], validate="one_to_one", suffixes=("", "_b"))  # pairs that both have
    return interval(both.assign(value=both["value"] - both["value_b"]))


def reconstruction(scores: Scores) -> dict[str, Any]:
    """(a) At η = 0 Imagic should be as near to the input as the autoencoder lets it; without stage B it should not."""
    ours, floor = scores.at(LPIPS, IMAGIC, 0.0), scores.at(LPIPS, "autoencoder", 0.0)
    bare = scores.at(LPIPS, WITHOUT_B, 0.0)
    apart = difference(ours, floor), difference(bare, ours)
    return {
        "autoencoder": interval(floor), "target of the round trip": ROUND_TRIP,
        "round trip holds": interval(floor)["mean"] <= ROUND_TRIP,
        "imagic at 0": interval(ours), "without B at 0": interval(bare),
        "imagic - autoencoder": apart[0], "holds": apart[0]["mean"] <= NEAR,
        "without B - imagic": apart[1], "without B holds": apart[1]["low"] > 0,
    }  # fmt: skip


def shape(scores: Scores) -> dict[str, Any]:
    """(b) LPIPS and CLIP over η, how far each is from its start, and up to where it has made a tenth of its way."""
    found: dict[str, Any] = {}
    for name in (LPIPS, CLIP, SUCCESS, KEPT, BOTH):
        rows = scores.of(name, IMAGIC)
        (curve,) = curves.curves(rows, binary=rows["metric"].unique() if name.startswith("oracle") else ())
        means = np.array([point.mean for point in curve.points])
        etas = [point.strength for point in curve.points]
        moved = (means - means[0]) / (means[-1] - means[0]) if means[-1] != means[0] else np.full(len(means), math.nan)
        flat = list(itertools.takewhile(lambda at: abs(at[1]) <= 0.1, zip(etas, moved, strict=True)))
        found[name] = {
            "eta": etas, "mean": means.tolist(), "low": [p.low for p in curve.points],
            "high": [p.high for p in curve.points], "share of the way": moved.tolist(),
            "flat up to": flat[-1][0] if flat else None,
            "from the start": [difference(scores.at(name, IMAGIC, eta), scores.at(name, IMAGIC, 0.0)) for eta in etas],
        }  # fmt: skip
    return found


def true_distances(pairs: Iterable[EditPair]) -> pd.DataFrame:
    """LPIPS between each input and its true answer: what the right answer costs."""
    ((_, metric),) = scoring.make_metrics([SPECS[0]], "cpu")
    pairs = list(pairs)
    values = metric.score(pairs, [images.read(pair.truth) for pair in pairs if pair.truth])
    return pd.DataFrame({"uid": [p.uid for p in pairs], "category": [p.category for p in pairs], "value": values})


def ceiling(pairs: Iterable[EditPair]) -> dict[str, Any]:
    """Part of the true answers that the oracle passes, drawn and through the autoencoder: what can be reached."""
    pairs = [pair for pair in pairs if pair.truth]
    backbone = backbones.load("toy", "cpu")
    drawn = [images.read(pair.truth) for pair in pairs if pair.truth]
    text = backbone.embed([""])
    made = {"drawn": drawn, "decoded": [backbone.decode(backbone.encode(one), text)[0] for one in drawn]}
    ((_, metric),) = scoring.make_metrics(["oracle-both"], "cpu")
    found = {}
    for name, edits in made.items():
        table = pd.DataFrame({
            "value": metric.score(pairs, edits), "image_id": [p.image_id for p in pairs],
            "category": [p.category for p in pairs],
        })  # fmt: skip
        found[name] = {"all": interval(table, True)} | {
            str(c): interval(some, True) for c, some in table.groupby("category")
        }
    return found


def at_budgets(scores: Scores, true: pd.DataFrame) -> dict[str, Any]:
    """(c) Success at budgets, for all methods, by category and over all, and how Imagic's differs from the others'.

    The primary comparison is of both success and preservation at budget 1: only there are p values adjusted (Holm).
    """
    cost = true.groupby("category")["value"].mean()
    found: dict[str, Any] = {"cost of the true answer": cost.to_dict()}
    for factor in BUDGETS:
        budget = {uid: factor * cost[category] for uid, category in zip(true["uid"], true["category"], strict=True)}
        for name in (BOTH, SUCCESS):
            chosen = curves.matched(scores.of(name), scores.of(LPIPS), budget)
            chosen = chosen.merge(true[["uid", "category"]], on="uid")
            by_method = {str(method): rows for method, rows in chosen.groupby("method")}
            found[f"{name} at {factor:g}"] = {
                method: {
                    "all": interval(rows, True), "within": float(rows["within"].mean()),
                    **{str(category): interval(some, True) for category, some in rows.groupby("category")},
                }
                for method, rows in by_method.items()
            }  # fmt: skip
            versus = {m: differences.paired(by_method[IMAGIC], by_method[m], binary=True) for m in RIVALS}
            adjusted = differences.holm({m: one.p for m, one in versus.items()})
            found[f"imagic - others, {name} at {factor:g}"] = {
                m: {**said(one.interval), "p": one.p}
                | ({"p, Holm": adjusted[m]} if (name, factor) == (BOTH, 1.0) else {})
                for m, one in versus.items()
            }
    return found


def untouched(scores: Scores) -> dict[str, Any]:
    """(d) The input as its own edit."""
    names = {"lpips": LPIPS, "success": SUCCESS, "preservation": KEPT}
    values = {name: scores.at(metric, "identity", 0.0)["value"] for name, metric in names.items()}
    return {name: {"least": float(v.min()), "most": float(v.max())} for name, v in values.items()}


def agreement(scores: Scores, true: pd.DataFrame) -> dict[str, Any]:
    """(e) AUC of the reporting CLIP for the oracle's verdict: along a sweep, across pairs, and between methods."""
    found: dict[str, Any] = {}
    clip = scores.of(CLIP).rename(columns={"value": "clip"})
    key = ["method", "uid", "image_id", "seed", "strength"]
    lpips = scores.of(LPIPS)[[*key, "value"]].rename(columns={"value": "lpips"})
    cost = true.groupby("category")["value"].mean()
    for name in (SUCCESS, BOTH):
        rows = scores.of(name).merge(clip[[*key, "clip"]], on=key).merge(lpips, on=key)
        rows = rows[~rows["method"].isin(["identity", "autoencoder", WITHOUT_B])].dropna(subset=["clip", "value"])
        within = rows.merge(true[["uid", "category"]], on="uid", suffixes=("", "_true"))
        within = within[within["lpips"] <= within["category_true"].map(cost)]
        chosen = within.sort_values("strength").groupby(["method", "uid", "seed"]).tail(1)
        found[name] = {
            "along a sweep": auc(rows, ["method", "uid", "seed"]),
            "across pairs": auc(rows, ["method", "strength", "seed"]),
            "between methods within budget 1": auc(chosen, ["uid", "seed"]),
        }
    return found


def auc(rows: pd.DataFrame, groups: list[str]) -> dict[str, float]:
    """Share of (failed, succeeded) couples inside a group that CLIP puts in the right order; ties count half.

    The interval resamples photos. A couple of one photo is drawn as often as the photo, one of two as the product.
    """
    photos = {photo: i for i, photo in enumerate(rows["image_id"].unique())}
    right, all_ = np.zeros((2, len(photos), len(photos)))
    for _, group in rows.groupby(groups):
        good, bad = group[group["value"] == 1], group[group["value"] == 0]
        if not len(good) or not len(bad):
            continue
        order = np.sign(good["clip"].to_numpy()[:, None] - bad["clip"].to_numpy()[None])
        at = np.ix_([photos[p] for p in good["image_id"]], [photos[p] for p in bad["image_id"]])
        np.add.at(right, at, (order + 1) / 2)
        np.add.at(all_, at, 1.0)
    return _resampled(right, all_)


def _resampled(right: NDArray[np.float64], all_: NDArray[np.float64]) -> dict[str, float]:
    n = len(all_)
    if not all_.sum():
        return {"auc": math.nan, "low": math.nan, "high": math.nan, "couples": 0.0}
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(float)
    inner = [np.diag(m) for m in (right, all_)]
    outer = [m - np.diag(d) for m, d in zip((right, all_), inner, strict=True)]
    sums = [np.einsum("di,ij,dj->d", weights, o, weights, optimize=True) + weights @ d
            for o, d in zip(outer, inner, strict=True)]  # fmt: skip
    low, high = np.nanquantile(sums[0] / np.where(sums[1] == 0, np.nan, sums[1]), [0.025, 0.975])
    return {
        "auc": float(right.sum() / all_.sum()),
        "low": float(low),
        "high": float(high),
        "couples": float(all_.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--specs", action="store_true", help="print what to score, and end")
    asked = parser.parse_args()
    if asked.specs or asked.run is None:
        print(",".join(SPECS))
        return
    scores, run = Scores(asked.run), store.open_run(asked.run)
    dataset = datasets.load(run.run.dataset.name)
    if dataset.info.sha256 != run.run.dataset.sha256:
        raise SystemExit(f"{asked.run} was made on other pictures than {dataset.info.name} has now; run it anew")
    true = true_distances(dataset.pairs)
    found = {
        "of": {
            "run": run.run.name, "dataset": dataset.info.name, "list sha256": dataset.info.sha256,
            "execution": run.run.execution, "metrics": list(run.metrics), "versions": run.run.versions,
        },
        "ceiling": ceiling(dataset.pairs),
        "a reconstruction": reconstruction(scores), "b shape": shape(scores), "c budgets": at_budgets(scores, true),
        "d identity": untouched(scores), "e agreement": agreement(scores, true),
    }  # fmt: skip
    text = json.dumps(found, indent=1)
    print(text) if asked.out is None else asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
