"""Bradley–Terry and Davidson: against statsmodels, and where no maximum exists."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from tedbench.study import strengths

LABELS = ("A", "B", "C")


def answered(rng, beta=(0.7, 0.0, -0.7), side=0.4, ties=0.0, n=3000):
    made = []
    for k in range(n):
        a, b = [(0, 1), (0, 2), (1, 2)][k % 3]
        on_left = bool(rng.integers(2))
        d = (beta[a] - beta[b]) * (1 if on_left else -1) + side
        p = np.array([np.exp(d / 2), np.exp(-d / 2), ties])
        choice = ("left", "right", "same")[rng.choice(3, p=p / p.sum())]
        value = 0.5 if choice == "same" else float((choice == "left") == on_left)
        made.append((LABELS[a], LABELS[b], choice, on_left, value, k % 50, k % 17))
    return pd.DataFrame(made, columns=["first", "second", "choice", "on_left", "value", "rater", "image_id"])


def test_is_the_logistic_regression_of_statsmodels():
    frame = answered(np.random.default_rng(0))
    sign = np.where(frame["on_left"], 1, -1)
    x = np.array(
        [[(f == m) - (s == m) for m in LABELS[:2]] for f, s in zip(frame["first"], frame["second"], strict=True)]
    )
    fit = sm.GLM(frame["choice"] == "left", np.c_[x * sign[:, None], np.ones(len(x))], sm.families.Binomial()).fit()
    a, b, side = fit.params
    found = strengths.fit(frame, LABELS, "C")
    want = np.array([a, b, 0]) - (a + b) / 3
    assert found.table["strength"].to_numpy() == pytest.approx(want, abs=1e-6)
    assert found.side == pytest.approx(side, abs=1e-6)


def test_davidson_recovers_what_was_planted():
    found = strengths.fit(answered(np.random.default_rng(1), ties=0.6, n=12000), LABELS, "B")
    assert found.table["strength"].to_numpy() == pytest.approx([0.7, 0, -0.7], abs=0.08)
    assert found.ties == pytest.approx(0.6, abs=0.08)
    assert found.table["win"][1] == 0.5
    assert (found.table["low"] < found.table["strength"]).all()


def test_who_always_wins_gets_a_finite_number_and_a_word():
    frame = answered(np.random.default_rng(2))
    won = frame["first"] == "A"
    frame.loc[won, "choice"] = np.where(frame.loc[won, "on_left"], "left", "right")
    frame.loc[won, "value"] = 1.0
    found = strengths.fit(frame, LABELS, "B")
    assert found.separated == ("A",)
    assert found.table["strength"].abs().max() < 10
    assert found.table["low"].isna().all()
