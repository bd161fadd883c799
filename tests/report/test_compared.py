"""Comparisons of methods against what was planted, and the cases that a reader found wrong."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tedbench import differences, report, stats, store
from tedbench.errors import UsageError
from tedbench.report import building, cautions, compared, render, table
from tedbench.report.compared import Asked, Compared
from tedbench.types import Cell, DatasetInfo, EditPair, ImageFile, MetricFacts, Run

LPIPS, CLIP, SUCCESS, PSNR = "lpips/1", "clip/1", "both/1", "psnr/1"
FACTS = {
    LPIPS: MetricFacts("lpips-alex@64", LPIPS, False, 0.0, 1.7e308, {"family": "lpips"}),
    CLIP: MetricFacts("clip-text@a", CLIP, True, -1.0, 1.0, {"family": "clip-text"}),
    SUCCESS: MetricFacts("oracle-both", SUCCESS, True, 0.0, 1.0, {"family": "oracle-both", "values": "binary"}),
    PSNR: MetricFacts("psnr@64", PSNR, True, 0.0, 1.7e308, {"family": "psnr"}),
}
GRID = (0.0, 0.5, 1.0)
Value = Callable[[str, int, int, float], float]
"""(method, pair, seed, strength) → value."""


def make(
    folder: Path, values: dict[str, Value], methods: tuple[str, ...] = ("a", "b"), n: int = 24,
    failed: Callable[[str, int, float], bool] = lambda *_: False, seeds: tuple[int, ...] = (0, 1),
) -> Path:  # fmt: skip
    """A run of n pairs on n/2 photos."""
    knobs = {name: {"name": "eta", "symbol": "η", "default": 0.5} for name in methods}
    info = DatasetInfo("made", "folder", "", "0" * 64)
    run = Run(folder.name, "", "run", info, {name: {} for name in methods}, (), {}, {}, "", knobs=knobs)
    pairs = [EditPair(f"p{k:02}", ImageFile("a.png", "1" * 64), "x", f"i{k // 2}") for k in range(n)]
    cells = [
        Cell(pair.uid, pair.image_id, None, name, seed, at, "failed" if failed(name, k, at) else "ok")
        for k, pair in enumerate(pairs) for name in methods for seed in seeds for at in GRID
    ]  # fmt: skip
    with store.new_folder(folder) as scratch:
        store.write_run(scratch, run, pairs, cells)
    rows = [
        {"uid": c.uid, "image_id": c.image_id, "category": None, "method": c.method, "seed": c.seed,
         "strength": c.strength, "metric": metric,
         "value": math.nan if c.status != "ok" else value(c.method, int(c.uid[1:]), c.seed or 0, c.strength or 0.0)}
        for c in cells for metric, value in values.items()
    ]  # fmt: skip
    store.write_scores(store.open_run(folder), rows, {metric: FACTS[metric] for metric in values})
    return folder


def noise(pair: int, salt: int) -> float:
    return float(np.random.default_rng(1000 * salt + pair).normal())


def far(method: str, pair: int, seed: int, at: float) -> float:
    return 0.1 + 0.4 * at + 0.02 * noise(pair, 1) + 0.01 * seed


def clip(method: str, pair: int, seed: int, at: float) -> float:
    return 0.2 + 0.3 * at + 0.03 * noise(pair, 2) + (0.05 + 0.02 * noise(pair, 3)) * (method == "b")


def success(method: str, pair: int, seed: int, at: float) -> float:
    return float(0.5 * noise(pair, 4) + at + 0.5 * (method == "b") > 0.5)


PLAIN = {LPIPS: far, CLIP: clip, SUCCESS: success}


def compare(*runs: Path, asked: Asked | None = None) -> Compared:
    return building.build(table.gather(runs), asked=asked).compared


def row(found: Compared, spec: str, at: str, method: str = "b") -> dict[str, Any]:
    rows = found.differences
    mine = rows[(rows["spec"] == spec) & (rows["at"] == at) & (rows["method"] == method)]
    (one,) = mine.to_dict("records")
    return {str(k): v for k, v in one.items()}


def test_one_comparison_is_primary_and_the_rest_say_that_they_are_not(tmp_path: Path) -> None:
    found = compare(make(tmp_path / "run", PLAIN, ("a", "b", "c")))
    assert (found.reference, found.primary, found.distance) == (("run", "a"), SUCCESS, LPIPS)
    rows = found.differences
    first = rows[rows["role"] == "primary"]
    assert set(zip(first["method"], first["spec"], first["at"], strict=True)) == {
        ("b", "oracle-both", "budget"), ("c", "oracle-both", "budget"),
    }  # fmt: skip
    assert first["p_holm"].to_list() == pytest.approx(list(differences.holm(dict(enumerate(first["p"]))).values()))  # type: ignore[arg-type]
    assert rows[rows["role"] != "primary"]["p_holm"].isna().all()
    assert row(found, "clip-text@a", "budget")["difference"] == pytest.approx(0.05, abs=0.015)


def test_a_budget_that_was_said_has_the_p_of_its_neighbours(tmp_path: Path) -> None:
    """0.1, 0.2 and 0.35 repeated ten thousand times have a spread that is not 0, by rounding."""
    run = make(tmp_path / "run", PLAIN)
    found = [row(compare(run, asked=Asked(budget=b)), "clip-text@a", "budget") for b in (0.2, 0.200000001, 0.35)]
    assert found[0]["p"] == found[1]["p"]
    assert found[0]["detectable"] == pytest.approx(found[1]["detectable"], rel=1e-4)
    for one in found:
        assert (one["p"] < 0.05) == (one["low"] > 0)


def test_the_budget_is_the_references_whatever_else_was_scored(tmp_path: Path) -> None:
    plain = compare(make(tmp_path / "plain", PLAIN))
    infinite = {**PLAIN, PSNR: lambda m, k, s, at: math.inf if at == 0.5 else 20 - 10 * at}
    found = compare(make(tmp_path / "infinite", infinite))
    assert found.budget == plain.budget == pytest.approx(0.305, abs=0.01)
    assert set(found.numbers["spec"]) == {"clip-text@a", "oracle-both", "psnr@64"}
    pages = render.files(building.build(table.gather([tmp_path / "infinite"])))
    assert "At LPIPS" in pages["index.html"].decode()


def test_pairs_that_failed_for_one_are_left_out_for_both_and_said(tmp_path: Path) -> None:
    """b is a, but failed on the harder half, at a strength that no table shows."""
    hard = [k for k in range(24) if noise(k, 2) < 0]
    values = {LPIPS: far, CLIP: lambda m, k, s, at: clip("a", k, s, at)}
    run = make(tmp_path / "run", values, failed=lambda m, k, at: m == "b" and at == 0.0 and k in hard)
    found = row(compare(run, asked=Asked(budget=0.2)), "clip-text@a", "budget")
    assert found["difference"] == pytest.approx(0.0, abs=1e-9)
    assert (found["n"], found["unpaired"]) == (24 - len(hard), len(hard))
    built = building.build(table.gather([run]), asked=Asked(budget=0.2))
    said = {one.about: one.said for one in built.cautions}
    assert f"{len(hard)} of them (clip-text@a)" in said["unpaired"]
    assert f"b: {2 * len(hard)} of {24 * 6} images over all strengths failed" in said["failed edits"]


def test_a_failed_edit_with_rules_and_numbers_of_plain_type(tmp_path: Path) -> None:
    run = make(tmp_path / "run", PLAIN, failed=lambda m, k, at: m == "b" and k == 0)
    material = table.gather([run])
    assert material.scores["value"].dtype == np.float64
    report.write_report([run], tmp_path / "out", rules=["best@oracle-both", "budget@0.2?metric=lpips-alex@64"])
    assert (tmp_path / "out" / "report.md").is_file()
    assert row(compare(run), "oracle-both", "budget")["n"] == 24
    assert row(compare(run), "clip-text@a", "budget")["n"] == 23


def test_the_primary_metric_and_the_distance_are_the_references(tmp_path: Path) -> None:
    mine = make(tmp_path / "mine", {LPIPS: far, CLIP: clip}, ("a",))
    theirs = make(tmp_path / "theirs", PLAIN, ("b",))
    found = compare(mine, theirs)
    assert found.primary == CLIP
    assert row(found, "clip-text@a", "budget")["role"] == "primary"
    with pytest.raises(UsageError, match="--primary oracle-both was not scored for a"):
        compare(mine, theirs, asked=Asked(primary="oracle-both"))
    assert compare(mine, theirs, asked=Asked(against="b", primary="oracle-both")).primary == SUCCESS


def test_two_identities_of_lpips_do_not_meet(tmp_path: Path) -> None:
    other = "lpips/2"
    FACTS[other] = MetricFacts("lpips-alex@64", other, False, 0.0, 1.7e308, {"family": "lpips"})
    one = make(tmp_path / "one", {LPIPS: far, CLIP: clip}, ("a", "c"))
    two = make(tmp_path / "two", {other: far, CLIP: clip}, ("b",))
    built = building.build(table.gather([one, two]))
    found = built.compared
    assert found.distance == LPIPS and row(found, "clip-text@a", "budget", "c")["n"] == 24
    numbers = found.numbers.set_index("method")
    assert set(numbers.index) == {"a", "c"} and numbers["area"].notna().all()
    assert numbers["front"].sum() == pytest.approx(1)
    said = [one.said for one in built.cautions]
    assert any("lpips-alex@64 was scored in 2 ways" in line for line in said)
    assert any("two · b: no value of lpips-alex@64" in line for line in said)


def test_without_equal_fidelity_a_caution_says_so(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {LPIPS: lambda m, k, s, at: far(m, k, s, at) + (m == "b"), CLIP: clip})
    built = building.build(table.gather([run]))
    rows = built.compared.differences
    assert (rows[rows["role"] == "primary"]["at"] == "shown").all()
    assert any("at the strengths shown" in one.said for one in built.cautions)
    with pytest.raises(UsageError, match=r"--budget 3 is outside of what a measured"):
        compare(run, asked=Asked(budget=3.0))
    bare = make(tmp_path / "bare", {CLIP: clip})
    with pytest.raises(UsageError, match="nothing to match by"):
        compare(bare, asked=Asked(budget=0.2))
    assert compare(bare).numbers.empty
    with pytest.raises(UsageError, match="--against nobody is no method"):
        compare(run, asked=Asked(against="nobody"))


def test_always_against_never_is_not_certain(tmp_path: Path) -> None:
    run = make(tmp_path / "run", {LPIPS: far, SUCCESS: lambda m, k, s, at: float(m == "b")})
    for at in ("budget", "shown"):
        found = row(compare(run), "oracle-both", at)
        assert found["difference"] == 1.0 and found["interval"] == "newcombe"
        assert 0.5 < found["low"] < 0.9
    alike = stats.interval([0.0] * 24, list(range(24)), 0.95, True)
    assert differences.newcombe(alike, alike, 24).low < -0.1


def test_csv_text_is_no_formula(tmp_path: Path) -> None:
    run = make(tmp_path / "run", PLAIN, ("=HYPERLINK(1)", "@SUM(1)"))
    made = render.files(building.build(table.gather([run])))
    for name in ("table.csv", "leaderboard.csv", "differences.csv", "curves.csv", "cost.csv"):
        cells = [cell for line in csv.reader(io.StringIO(made[name].decode())) for cell in line]
        assert not [cell for cell in cells if cell[:1] in "=@+" and cell]
        assert "'=HYPERLINK(1)" in cells
    assert "'-" not in made["differences.csv"].decode()  # numbers stay numbers


def test_seeds_that_runs_do_not_share_are_said(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", PLAIN, ("a",)), make(tmp_path / "two", PLAIN, ("b",), seeds=(5, 6))
    built = building.build(table.gather([one, two]))
    assert any("share no seed" in caution.said for caution in built.cautions)
    svg = render.files(built)["curves_by_seed.svg"].decode()
    assert "<!-- one · a -->" in svg and "<!-- two · b -->" in svg  # the legend is of all panels
    assert cautions.SEEDS == 3 and compared.PRIMARY == "primary"
