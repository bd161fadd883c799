"""The analysis recovers what was planted, through the real allocation."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tedbench.study import allocation, analysing, answers, importing, simulating
from tedbench.study.bundle import GOLD, MAIN, Key, Meant, Public, Result, Study, Unasked
from tedbench.study.exclusions import COLUMN
from tedbench.study.lock import Contender, Lock, Primary, Sample
from tedbench.study.simulating import Crowd

PHOTOS = [1, 1, 1, 2, 2, 3, 3, 4, 1, 1, 2, 5]
STRENGTHS = {"A": 0.6, "B": 0.0, "C": -0.4}


def study(labels=("A", "B", "C"), unasked=(), raters=60, **choices):
    uids = [(f"u{photo}-{k}", f"p{photo}") for photo, n in enumerate(PHOTOS) for k in range(n)]
    pairs = [(a, b) for at, a in enumerate(labels) for b in labels[at + 1 :]]
    share = 1 / (len(uids) * len(pairs))
    main = [
        Meant(f"q{uid}{a}{b}", MAIN, uid, photo, Result(a), Result(b), share) for uid, photo in uids for a, b in pairs
    ]
    gold = [Meant(f"g{k}", GOLD, f"u{k}", f"p{k}", Result(""), Result(""), expected="first") for k in range(4)]
    contenders = tuple(Contender(label=x, run="", run_name="", method=x, seed=0, strength="", cells="") for x in labels)
    lock = Lock(
        name="s", created="", version="", dataset="d", dataset_sha256="", contenders=contenders, photos=len(PHOTOS),
        comparisons=len(main), unasked=len(unasked), power={}, public_sha256="", key_sha256="",
        primary=Primary(first="A", second="B"), sample=Sample(raters=raters), **choices,
    )  # fmt: skip
    public = Public("", lock.tag, (), (), {}, 20, "", "1", (), 0, ())
    return Study(Path(), lock, public, Key("00", tuple(main + gold), tuple(unasked)))


def test_a_csv_says_what_the_answers_said(tmp_path):
    made = simulating.simulate(study(), STRENGTHS, 1, 60)
    (tmp_path / "a.csv").write_bytes(answers.as_csv(made.answers))
    read = importing.read([tmp_path / "a.csv", tmp_path / "a.csv"], study())
    assert Counter(read.answers) == Counter(made.answers)
    assert "more than once" in read.notes[0]


def test_each_answer_counts_once_and_in_the_order_of_the_lock():
    made = simulating.simulate(study(), STRENGTHS, 2, 60)
    found = analysing.analyse(study(), made.answers)
    assert found.answers["kind"].value_counts().to_dict() == {"main": 60 * 14, "repeat": 180, "check": 180}
    assert found.rates_all["n"].sum() == 60 * 14
    by_id = study().key.by_id
    for (first, second), row in found.rates_all.set_index(["first", "second"]).iterrows():
        main = [one for one in made.answers if {first, second} == {r.label for r in _results(by_id, one)}]
        assert row["n"] <= len(main)
        assert row["share_first"] + row["share_second"] == pytest.approx(1)
    assert found.confirmatory
    assert math.isnan(found.rates["p_holm"][0])


def _results(by_id, one):
    return (by_id[one.question].first, by_id[one.question].second)


def test_departures_make_it_exploratory():
    made = simulating.simulate(study(), STRENGTHS, 3, 59)
    other = study().lock.exclusions.model_copy(update={"failed_checks": None})
    options = analysing.Options(exclusions=other, primary=("A", "C", "overall"))
    found = analysing.analyse(study(), made.answers, options)
    assert [text.split()[0] for text in found.departures] == ["exclusion", "59", "the"]


def test_failures_count_as_lost_by_who_failed():
    lost = [Unasked(f"x{k}", "p0", "B", "A", "B", "failed") for k in range(25)]
    made = simulating.simulate(study(), STRENGTHS, 4, 60)
    row = analysing.analyse(study(unasked=lost), made.answers).rates.iloc[0]
    assert row["mean_lost"] == pytest.approx((row["mean"] * 26 + 25) / 51)


def test_careless_raters_are_found_and_honest_ones_kept():
    caught, honest = Counter(), Counter()
    for seed in range(6):
        made = simulating.simulate(study(), STRENGTHS, seed, 60)
        table = analysing.analyse(study(), made.answers).raters.set_index("rater")
        for rater, kind in made.kinds.items():
            caught[kind, bool(table.loc[rater, "excluded"])] += 1
            honest[kind, bool(table.loc[rater, COLUMN["median_seconds"]])] += 1
    assert caught["side", False] == 0  # each fails a check: their sides alternate
    assert caught["fast", False] == 0
    assert honest["honest", True] == 0
    assert caught["honest", True] / (caught["honest", True] + caught["honest", False]) < 0.2


@pytest.mark.slow
def test_recovers_planted_preferences():
    crowd = Crowd(careless=0.2, side=0.3, photos=0.6, raters=0.6)
    one = study()
    forms = allocation.forms(one.lock.seed, one.lock.per_rater, one.key.questions, 60)
    hits, runs = 0, 200
    for seed in range(runs):
        made = simulating.answered(one, forms, STRENGTHS, seed, crowd)
        for row in analysing.analyse(one, made.answers).rates.itertuples():
            truth = simulating.expected(STRENGTHS[row.first] - STRENGTHS[row.second], crowd)
            hits += row.low <= truth <= row.high
    error = 2.6 * np.sqrt(0.95 * 0.05 / runs)
    assert 0.93 - error <= hits / runs / 3 <= 0.985 + error, hits / runs / 3
