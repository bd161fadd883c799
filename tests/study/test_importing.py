"""Files of answers: MTurk's, Prolific's, and forged ones."""

import base64
import csv
import json
from pathlib import Path

import pytest

from tedbench.errors import DataError
from tedbench.study import answers, importing
from tedbench.study.bundle import MAIN, Key, Meant, Public, Result, Study
from tedbench.study.lock import Lock


def study():
    main = tuple(Meant(f"q{k}", MAIN, f"u{k}", f"p{k}", Result("A"), Result("B"), 0.5) for k in range(2))
    lock = Lock(
        name="s", created="", version="", dataset="d", dataset_sha256="", contenders=(), photos=2,
        comparisons=2, unasked=0, power={}, public_sha256="", key_sha256="",
    )  # fmt: skip
    return Study(Path(), lock, Public("", lock.tag, (), (), {}, 20, "", "1", (), 0, ()), Key("00", main))


def mturk(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(importing.MTURK)
        for worker, assignment, status, questions in rows:
            form = [{"slot": k, "question": q, "flipped": False} for k, q in enumerate(questions)]
            said = [{**one, "choices": {"overall": "left"}, "ms": 2000, "at": "x"} for one in form]
            cell = base64.urlsafe_b64encode(json.dumps(form).encode()).decode().rstrip("=")
            writer.writerow([worker, assignment, status, cell, json.dumps(said)])
    return path


def test_mturk_leaves_out_the_rejected_and_counts_slots_on(tmp_path):
    rows = [("W", "1", "Approved", ["q0"]), ("W", "2", "Submitted", ["q1"]), ("V", "3", "Rejected", ["q0"])]
    read = importing.read([mturk(tmp_path / "m.csv", rows)], study())
    assert [(one.rater, one.slot, one.question) for one in read.answers] == [
        (study().key.rater("mturk", "W"), 0, "q0"),
        (study().key.rater("mturk", "W"), 1, "q1"),
    ]
    assert "1 rejected" in read.notes[0]


def test_prolific_says_whose_answers_count(tmp_path):
    (tmp_path / "p.csv").write_text("Participant id,Status\nx,APPROVED\ny,RETURNED\n")
    read = importing.read([tmp_path / "p.csv"], study())
    assert read.statuses[study().key.rater("prolific", "y")] == "RETURNED"
    assert any("1 RETURNED" in note for note in read.notes)


@pytest.mark.parametrize(
    ("column", "value"),
    [("question", "zz"), ("aspect", "zz"), ("choice", "same"), ("study", "zz"), ("slot", "-1"), ("ms", "-5")],
)
def test_what_is_no_answer_is_named(tmp_path, column, value):
    row = {"study": study().lock.tag, "rater": "r", "slot": "0", "question": "q0", "flipped": "0"}
    row |= {"aspect": "overall", "choice": "left", "ms": "9", "at": "x", column: value}
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, answers.COLUMNS)
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(DataError, match=rf"a\.csv, row 2: {column}"):
        importing.read([tmp_path / "a.csv"], study())


def test_a_file_of_another_kind_is_told_what_is_expected(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="WorkerId"):
        importing.read([tmp_path / "x.csv"], study())
