from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.anova import anova_lm

from tedbench.design import components, design
from tedbench.stats import clustered_mean

SIZES = [1] * 15 + [2] * 6 + [3] * 7 + [4] * 4 + [5] * 6 + [6]
"""Pairs a photo in TEdBench."""


def drawn(
    rng: np.random.Generator, sizes: list[int], seeds: int, image: float, pair: float, seed: float
) -> pd.DataFrame:
    rows = []
    for g, size in enumerate(sizes):
        a = math.sqrt(image) * rng.normal()
        for p in range(size):
            b = math.sqrt(pair) * rng.normal()
            for k in range(seeds):
                value = 5 + a + b + math.sqrt(seed) * rng.normal()
                rows.append({"image_id": f"g{g}", "uid": f"g{g}-{p}", "seed": k, "value": value})
    return pd.DataFrame(rows)


def test_the_correlation_is_that_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    table = drawn(rng, [4] * 12, 1, 1.0, 1.0, 0.0)
    found = anova_lm(sm.OLS.from_formula("value ~ C(image_id)", table).fit())
    between, within = found["mean_sq"]
    wanted = (between - within) / (between + 3 * within)
    got = design(table["value"].to_list(), table["image_id"].to_list())
    assert got.correlation == pytest.approx(wanted)
    assert got.effective == pytest.approx(48 / (1 + 3 * wanted))


def test_tedbench_is_worth_about_fifty() -> None:
    rng = np.random.default_rng(1)
    found = [design(t["value"].to_list(), t["image_id"].to_list())
             for t in (drawn(rng, SIZES, 1, 0.4, 0.6, 0.0) for _ in range(400))]  # fmt: skip
    assert np.mean([one.correlation for one in found]) == pytest.approx(0.4, abs=0.03)
    assert 46 <= np.median([one.effective for one in found]) <= 56


def test_the_components_come_back() -> None:
    rng = np.random.default_rng(2)
    found = [components(drawn(rng, SIZES, 3, 2.0, 1.0, 0.5)) for _ in range(300)]
    for name, wanted in (("image", 2.0), ("pair", 1.0), ("seed", 0.5)):
        assert np.mean([getattr(one, name) for one in found]) == pytest.approx(wanted, rel=0.07), name


def test_balanced_components_are_those_of_restricted_likelihood() -> None:
    table = drawn(np.random.default_rng(3), [3] * 10, 4, 2.0, 1.0, 0.5)
    model = sm.MixedLM.from_formula(
        "value ~ 1", table, groups="image_id", re_formula="1", vc_formula={"pair": "0 + C(uid)"}
    )
    fitted = model.fit(reml=True)
    found = components(table)
    assert found.image == pytest.approx(float(fitted.cov_re.iloc[0, 0]), rel=0.01)
    assert found.pair == pytest.approx(float(fitted.vcomp[0]), rel=0.01)
    assert found.seed == pytest.approx(float(fitted.scale), rel=0.01)


def test_what_cannot_be_told_is_nan() -> None:
    one_seed = components(drawn(np.random.default_rng(4), [2, 2, 1], 1, 1.0, 1.0, 1.0))
    assert math.isnan(one_seed.seed)
    assert one_seed.pair >= 0
    alone = components(drawn(np.random.default_rng(4), [1, 1, 1], 3, 1.0, 1.0, 1.0))
    assert math.isnan(alone.pair)
    assert alone.image >= 0
    assert math.isnan(components(pd.DataFrame(columns=["image_id", "uid", "seed", "value"])).image)


def test_what_is_detectable_is_found_four_times_of_five() -> None:
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(len(SIZES)), SIZES)
    noise = [rng.normal(size=len(SIZES))[g] + rng.normal(size=len(g)) for _ in range(1500)]
    size = float(np.mean([design(one.tolist(), g.tolist()).detectable for one in noise]))
    found = [clustered_mean((one + size).tolist(), g.tolist()).low > 0 for one in noise]
    assert 0.76 <= np.mean(found) <= 0.84


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.integers(1, 5))
def test_effective_pairs_lie_between_photos_and_pairs(values: list[float], photos: int) -> None:
    found = design(values, [i % photos for i in range(len(values))])
    sizes = np.bincount([i % photos for i in range(len(values))])
    if math.isnan(found.correlation):
        assert math.isnan(found.effective) == (found.photos < found.pairs)
    else:
        assert found.pairs**2 / np.sum(sizes**2) - 1e-9 <= found.effective <= found.pairs
    if found.photos == 1:
        assert math.isnan(found.detectable)


def test_nothing() -> None:
    found = design([], [])
    assert (found.pairs, found.effective) == (0, 0)
