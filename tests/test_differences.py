from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.stats.multitest
from hypothesis import given
from hypothesis import strategies as st

from tedbench.differences import holm, paired, sign_flip

values = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=1, max_size=9)


def table(values: list[float], photos: list[str] | None = None, start: int = 0) -> pd.DataFrame:
    uids = [f"p{start + i}" for i in range(len(values))]
    return pd.DataFrame({"uid": uids, "image_id": photos or uids, "value": values})


@given(values, st.integers(1, 4))
def test_all_signs_are_tried(d: list[float], photos: int) -> None:
    g = [i % photos for i in range(len(d))]
    sums = [sum(v for v, c in zip(d, g, strict=True) if c == k) for k in sorted(set(g))]
    flipped = [abs(sum(s * v for s, v in zip(signs, sums, strict=True)))
               for signs in itertools.product((1, -1), repeat=len(sums))]  # fmt: skip
    assert sign_flip(d, g) == pytest.approx(np.mean([v >= abs(sum(sums)) - 1e-9 for v in flipped]))


def test_it_is_scipys_permutation_test() -> None:
    random = np.random.default_rng(1)
    d = random.normal(0.4, 1, size=40)
    found = scipy.stats.permutation_test(
        (d, np.zeros(40)), lambda a, b, axis: np.sum(a - b, axis=axis), permutation_type="samples",
        n_resamples=20000, vectorized=True, rng=2,
    )  # fmt: skip
    assert sign_flip(d.tolist(), range(40)) == pytest.approx(found.pvalue, abs=0.01)


def test_repeating_a_pair_of_a_photo_proves_nothing_more() -> None:
    d = np.random.default_rng(0).normal(0.5, 1, size=8).tolist()
    assert sign_flip(d * 3, list(range(8)) * 3) == sign_flip(d, range(8))
    assert sign_flip(d * 3, range(24)) < sign_flip(d, range(8))


@pytest.mark.parametrize("photos", [10, 39])
def test_it_is_wrong_as_often_as_it_says(photos: int) -> None:
    random = np.random.default_rng(5)
    g = np.repeat(np.arange(photos), 3)
    ps = [
        sign_flip((random.normal(size=photos)[g] + random.normal(size=len(g))).tolist(), g.tolist(), flips=499)
        for _ in range(1000)
    ]
    assert 0.03 <= np.mean(np.array(ps) <= 0.05) <= 0.07


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    found = holm({str(i): v for i, v in enumerate(p)})
    wanted = statsmodels.stats.multitest.multipletests(p, method="holm")[1]
    assert list(found.values()) == pytest.approx(wanted.tolist())


def test_holm_leaves_out_what_has_no_p() -> None:
    assert holm({"a": 0.02, "b": math.nan, "c": 0.5})["a"] == 0.04
    assert math.isnan(holm({"a": 0.02, "b": math.nan})["b"])
    assert holm({}) == {}


def test_pairs_are_matched_by_uid() -> None:
    a, b = table([3.0, 5.0, math.nan, 7.0]), table([1.0, 1.0, 1.0], start=1)[::-1]
    found = paired(a, b)
    assert found.interval.mean == (4 + 6) / 2
    assert found.interval.n == 2
    assert found.unpaired == 2
    assert found.p == 0.5


def test_an_equal_image_has_no_difference() -> None:
    found = paired(table([math.inf, 30.0, 31.0]), table([math.inf, 28.0, 30.0]))
    assert (found.interval.mean, found.interval.n, found.unpaired) == (1.5, 2, 1)


@pytest.mark.parametrize("wins", [1, 2, 3, 4])
def test_a_few_successes_do_not_prove_what_the_test_denies(wins: int) -> None:
    """Of mostly equal values a bootstrap draws many resamples without the few that are not."""
    found = paired(table([1.0] * wins + [0.0] * (39 - wins)), table([0.0] * 39), binary=True)
    assert found.interval.kind == "t"
    assert found.p > 0.1
    assert found.interval.low < 0.005


def test_cancelling_differences_prove_nothing() -> None:
    assert sign_flip([0.1, 0.1, 0.1, -0.3], range(4)) == 1


def test_a_pair_twice_is_refused() -> None:
    twice = pd.concat([table([1.0]), table([2.0])])
    with pytest.raises(ValueError, match="not a one-to-one"):
        paired(twice, table([1.0]))


def test_nothing_in_common() -> None:
    found = paired(table([1.0]), table([1.0], start=5))
    assert math.isnan(found.p)
    assert math.isnan(found.interval.mean)
    assert found.unpaired == 2
