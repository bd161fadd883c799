"""What toy_rules.json says is what its script makes of the committed rows, and what a plainer computation finds."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tedbench import registry
from tedbench.rules import Trade

ROOT = Path(__file__).parents[1]
SAID = json.loads((ROOT / "results/benchmarks/toy_rules.json").read_text(encoding="utf-8"))
METHODS = ("imagic", "sdedit", "ddib", "crossfade")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tests/benchmarks")  # it imports its neighbour
        return importlib.import_module("toy_rules")


@pytest.fixture(scope="module")
def dev(script: ModuleType) -> pd.DataFrame:
    return pd.read_parquet(script.DEV)


@pytest.fixture(scope="module")
def reference(script: ModuleType) -> pd.DataFrame:
    rows: pd.DataFrame = script.reference_rows(ROOT / "results/toy-reference")
    return rows


def table(rows: pd.DataFrame, method: str, spec: str) -> pd.DataFrame:
    """A sweep a row, a strength a column."""
    rows = rows[(rows["method"] == method) & (rows["spec"] == spec)]
    return rows.pivot_table(index=["uid", "image_id", "seed"], columns="strength", values="value")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) if isinstance(a, float) else bool(a == b)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_dev_chooses_what_is_said(script: ModuleType, dev: pd.DataFrame, method: str) -> None:
    assert same(json.loads(json.dumps(script.tune(dev[dev["method"] == method]))), SAID[method]["dev"])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_test_says_what_is_said(script: ModuleType, reference: pd.DataFrame, method: str) -> None:
    found = script.judge(reference[reference["method"] == method], SAID[method]["dev"])
    assert same(json.loads(json.dumps(found)), SAID[method]["test"])


@pytest.mark.parametrize("method", METHODS)
def test_fixed_and_best_are_plain_means(
    script: ModuleType, dev: pd.DataFrame, reference: pd.DataFrame, method: str
) -> None:
    means = table(dev, method, script.BOTH).mean()
    fixed = min(s for s in means.index if math.isclose(means[s], means.max()))
    assert SAID[method]["dev"]["fixed"] == f"fixed@{fixed:g}"
    both, lpips = (table(reference, method, spec) for spec in (script.BOTH, script.LPIPS))
    found = SAID[method]["test"]["seeds averaged"]
    assert len(both) == 612 and not both.isna().any(axis=None)
    assert math.isclose(found["fixed"]["success"]["mean"], both[fixed].mean(), abs_tol=1e-12)
    assert math.isclose(found["fixed"]["lpips"]["mean"], lpips[fixed].mean(), abs_tol=1e-12)
    assert math.isclose(found["best"]["success"]["mean"], both.max(axis=1).mean(), abs_tol=1e-12)
    three = SAID[method]["test"]["best of 3 seeds, all alike"]
    assert math.isclose(three["best"]["success"]["mean"], both.max(axis=1).groupby("uid").max().mean(), abs_tol=1e-12)
    judge = table(reference, method, script.CHOOSING[0])[fixed]
    kept = judge.groupby("uid").idxmax()
    assert math.isclose(three["fixed"]["success"]["mean"], both[fixed].loc[list(kept)].mean(), abs_tol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_rule_is_a_plain_argmax(script: ModuleType, reference: pd.DataFrame, method: str) -> None:
    rule = registry.make("rule", SAID[method]["dev"]["rule"])
    assert isinstance(rule, Trade)
    both, lpips, gain = (table(reference, method, spec) for spec in (script.BOTH, script.LPIPS, rule.gain))
    at = (gain - rule.price * lpips).to_numpy().argmax(axis=1)
    found = SAID[method]["test"]["seeds averaged"]["rule"]
    for name, values in (("success", both), ("lpips", lpips)):
        mean = values.to_numpy()[np.arange(len(at)), at].mean()
        assert math.isclose(found[name]["mean"], mean, rel_tol=1e-9, abs_tol=1e-12)
    assert found["looked"] == {"mean": 11.0, "most": 11}


@pytest.mark.parametrize("method", METHODS)
def test_the_verdict_follows_from_the_figures(method: str) -> None:
    for part in SAID[method]["test"].values():
        for name in ("rule", "halving"):
            one = part[name]
            fixed, best = (part[of]["success"]["mean"] for of in ("fixed", "best"))
            ratio, low = one["gap closed"]["closed"], one["gap closed"]["low"]
            if ratio is not None:
                assert math.isclose(ratio, (one["success"]["mean"] - fixed) / (best - fixed), rel_tol=1e-9)
                assert low <= ratio <= one["gap closed"]["high"]
            assert one["reached"]["half of the gap"] == (ratio is not None and ratio >= 0.5)
            assert one["reached"]["lower end above 0"] == (low is not None and low > 1e-9)
            assert one["reached"]["LPIPS"] == (one["lpips"]["mean"] - part["fixed"]["lpips"]["mean"] <= 0.01)
            clauses = {key: value for key, value in one["reached"].items() if key != "all"}
            assert one["reached"]["all"] == all(clauses.values())
        assert part["halving"]["looked"]["most"] <= 5 * part["halving"]["best of seeds"]


def test_the_rows_are_of_the_reference_runs_settings(
    script: ModuleType, dev: pd.DataFrame, reference: pd.DataFrame
) -> None:
    for method in METHODS:
        ours, theirs = (rows[rows["method"] == method] for rows in (dev, reference))
        assert set(ours["strength"]) == set(theirs["strength"])
        assert set(ours["spec"]) == set(theirs["spec"]) == set(script.SPECS)
        assert not ours["value"].isna().any()
        identities = [set(rows[["spec", "metric"]].itertuples(index=False, name=None)) for rows in (ours, theirs)]
        assert identities[0] == identities[1]
    assert not set(dev["uid"]) & set(reference["uid"])


def test_no_candidate_knows_the_truth(script: ModuleType) -> None:
    for spec in script.candidates():
        rule = registry.make("rule", spec)
        assert set(rule.reads) <= {script.LPIPS, *script.CHOOSING}
        assert not rule.upper_bound


def test_the_gap_closed_is_the_ratio_of_each_resample(script: ModuleType) -> None:
    rng = np.random.default_rng(1)
    photos = [f"g{i}" for i in rng.integers(0, 12, 40)]
    fixed, rule = rng.integers(0, 2, 40), rng.integers(0, 2, 40)
    best = np.maximum(np.maximum(fixed, rule), rng.integers(0, 2, 40))
    tables = [
        pd.DataFrame({"uid": [f"u{i}" for i in range(40)], "image_id": photos, "value": v.astype(float)})
        for v in (rule, fixed, best)
    ]
    found = script.gap_closed(*tables, resamples=200)
    labels, ratios = list(dict.fromkeys(photos)), []
    for counts in script.stats.resampled(len(labels), 200):
        drawn = [i for label, n in zip(labels, counts, strict=True) for i in np.flatnonzero(
            np.array(photos) == label).tolist() * int(n)]  # fmt: skip
        ratios.append((rule[drawn].mean() - fixed[drawn].mean()) / (best[drawn].mean() - fixed[drawn].mean()))
    assert math.isclose(found["closed"], (rule.mean() - fixed.mean()) / (best.mean() - fixed.mean()))
    assert np.allclose([found["low"], found["high"]], np.quantile(ratios, [0.025, 0.975]))
    nothing = script.gap_closed(tables[1], tables[1], tables[1], resamples=200)
    assert nothing == {"closed": None, "low": None, "high": None, "resamples without a gap": 200}
