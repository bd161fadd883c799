"""Krippendorff's alpha and the ceiling, against published and hand-made values."""

import numpy as np
import pandas as pd
import pytest

from tedbench.study import agreement


def frame(table):
    rows = [
        (f"q{q}", f"p{q // 2}", result)
        for q, row in enumerate(table)
        for result, n in zip(agreement.RESULTS, row, strict=True)
        for _ in range(n)
    ]
    return pd.DataFrame(rows, columns=["question", "image_id", "result"])


def by_hand(table):
    """Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C."""
    table = np.array([row for row in table if sum(row) > 1], float)
    m = table.sum(1)
    observed = ((m**2 - (table**2).sum(1)) / (m - 1)).sum()
    n = table.sum()
    return 1 - (n - 1) * observed / (n**2 - (table.sum(0) ** 2).sum())


def test_alpha_is_what_the_formula_gives():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 4, size=(20, 4)).tolist()
    found = agreement.alpha(frame(table), resamples=50)
    assert found.value == pytest.approx(by_hand(table))
    assert found.low <= found.high


def test_ceiling_is_the_share_of_pairs_that_agree():
    assert agreement.ceiling(frame([[3, 1, 0, 0], [1, 0, 0, 0]])) == pytest.approx(0.5)
    assert agreement.ceiling(frame([[4, 0, 0, 0]])) == 1
