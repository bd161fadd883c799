"""Bradley–Terry and Davidson: against statsmodels, and where no maximum exists."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize

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


def likelihood(theta, frame, ties):
    """Minus log likelihood by the formula at the top of `strengths`, answer by answer: β_A, β_B, γ and log ν."""
    beta = dict(zip(LABELS, (*theta[:2], -theta[0] - theta[1]), strict=True))
    total = 0.0
    for row in frame.itertuples():
        left, right = (row.first, row.second) if row.on_left else (row.second, row.first)
        d = (beta[left] - beta[right] + theta[2]) / 2
        weights = {"left": np.exp(d), "right": np.exp(-d), "same": np.exp(theta[3]) if ties else 0.0}
        total -= np.log(weights[row.choice] / sum(weights.values()))
    return total


@pytest.mark.parametrize("ties", [0.0, 0.8])
def test_is_the_maximum_that_scipy_finds(ties):
    frame = answered(np.random.default_rng(3), ties=ties, n=600)
    found = strengths.fit(frame, LABELS, "C")
    best = minimize(likelihood, [0.0, 0.0, 0.0, 0.0], (frame, ties > 0), method="BFGS").x
    wanted = [best[0], best[1], -best[0] - best[1]]
    assert found.table["strength"].to_numpy() == pytest.approx(wanted, abs=1e-4)
    assert found.side == pytest.approx(best[2], abs=1e-4)
    assert found.ties == pytest.approx(np.exp(best[3]) if ties else 0, abs=1e-4)


def test_neither_is_a_tie_and_ties_count_half():
    frame = answered(np.random.default_rng(4), ties=0.8, n=900)
    other = frame.assign(choice=frame["choice"].replace("same", "neither"))
    one, two = (strengths.fit(of, LABELS, "B") for of in (frame, other))
    assert one.table["strength"].to_list() == two.table["strength"].to_list()
    assert one.ties == two.ties > 0
    won = one.table.set_index("label").loc["A"]
    d = won["strength"] - one.table["strength"][1]
    total = np.exp(d / 2) + np.exp(-d / 2) + one.ties
    assert won["win"] == pytest.approx((np.exp(d / 2) + one.ties / 2) / total)


def test_each_answer_its_own_cluster_has_the_sandwich_of_statsmodels():
    """Where every answer has a rater and a photo of its own, V is the jackknife of independent answers: HC."""
    frame = answered(np.random.default_rng(5), n=1500)
    frame = frame.assign(rater=np.arange(1500), image_id=np.arange(1500))
    sign = np.where(frame["on_left"], 1, -1)
    basis = {"A": (1, 0), "B": (0, 1), "C": (-1, -1)}
    x = np.array([np.subtract(basis[f], basis[s]) for f, s in zip(frame["first"], frame["second"], strict=True)])
    design = np.c_[x * sign[:, None], np.ones(len(x))]
    fit = sm.GLM(frame["choice"] == "left", design, sm.families.Binomial()).fit(cov_type="HC0")
    found = strengths.fit(frame, LABELS, "B")
    half = (found.table["high"] - found.table["low"]).to_numpy()[:2] / 2
    assert half == pytest.approx(1.96 * fit.bse.to_numpy()[:2], rel=0.01)
    assert (found.side_high - found.side_low) / 2 == pytest.approx(1.96 * fit.bse.to_numpy()[2], rel=0.01)


def test_labels_in_another_order_and_pairs_turned_round_change_nothing():
    frame = answered(np.random.default_rng(6), ties=0.5, n=600)
    found = strengths.fit(frame, LABELS, "B").table.set_index("label")
    turned = frame.rename(columns={"first": "second", "second": "first"})
    turned = turned.assign(on_left=~turned["on_left"], value=1 - turned["value"])
    again = strengths.fit(turned, ("C", "A", "B"), "B").table.set_index("label").loc[list(LABELS)]
    for column in found:
        assert again[column].to_numpy() == pytest.approx(found[column].to_numpy(), abs=1e-7)


@pytest.mark.parametrize("choice", ["left", "same"])
def test_where_a_side_or_a_tie_says_it_all_there_is_no_interval(choice):
    frame = answered(np.random.default_rng(7), n=90)
    value = 0.5 if choice == "same" else frame["on_left"].astype(float)
    found = strengths.fit(frame.assign(choice=choice, value=value), LABELS, "B")
    assert found.separated == ()
    assert found.table[["low", "high"]].isna().all(axis=None)
    assert np.isnan(found.side_low)
    assert found.table["strength"].abs().max() < 0.2
    assert (found.side > 2) == (choice == "left")
    assert (found.ties > 5) == (choice == "same")
