"""Files of answers: MTurk's, Prolific's, and forged ones."""

import base64
import csv
import hashlib
import json
from pathlib import Path

import pytest

from tedbench.errors import DataError
from tedbench.study import allocation, analysing, answers, importing, simulating, static
from tedbench.study.answers import Answer
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


SHORT = {"questions": 8, "repeats": 2, "checks": 2}
BETA = {"A": 0.8, "B": 0.0, "C": -0.5}


@pytest.fixture
def real(make_study, tmp_path):
    """A study on disk: three methods, six photos, two aspects, raters of eight screens."""
    two = {"aspects": [{"name": "a", "wording": "A?"}, {"name": "b", "wording": "B?"}], "allow": ["same"]}
    return make_study(tmp_path, per_rater=SHORT, asking=two, sample={"raters": 5})


def simulated(study, raters=5):
    return simulating.simulate(study, BETA, 0, raters).answers


def test_a_batch_of_mturk_comes_back_as_it_was_answered(real, tmp_path):
    """`static.mturk` writes the batch; MTurk gives each row of it back with what the page put into its field."""
    static.mturk(real, tmp_path / "batch", 5, "https://example.org/")
    given = simulated(real)
    by_slot = {(one.rater, one.slot): {} for one in given}
    for one in given:
        by_slot[one.rater, one.slot][one.aspect] = one
    with (tmp_path / "batch/input.csv").open() as file, (tmp_path / "results.csv").open("w", newline="") as results:
        writer = csv.writer(results)
        writer.writerow(["HITId", *importing.MTURK])
        for k, row in enumerate(csv.DictReader(file)):
            said = []
            for slot in range(8):
                here = by_slot[f"rater{k:05d}", slot]
                one = here["a"]
                choices = {name: answer.choice for name, answer in here.items()}
                of = {"question": one.question, "flipped": one.flipped, "ms": one.ms, "at": one.at}
                said.append({"slot": slot, "choices": choices, **of})
            writer.writerow([f"H{k}", f"W{k}", f"S{k}", "Submitted", row["form"], json.dumps(said)])
    read = importing.read([tmp_path / "results.csv"], real)
    names = {real.key.rater("mturk", f"W{k}"): f"rater{k:05d}" for k in range(5)}
    back = [Answer(**{**vars(one), "rater": names[one.rater]}) for one in read.answers]
    assert sorted(back, key=str) == sorted(given, key=str)
    assert read.notes == ()


def test_a_rater_of_the_static_page_sends_a_csv(real, tmp_path):
    """Forms as the exported folder has them, answered, each rater's file as the page writes it."""
    static.export(real, tmp_path / "site", 5)
    forms = allocation.forms(real.lock.seed, real.lock.per_rater, real.key.questions, 5)
    given, paths = simulated(real), []
    for k, form in enumerate(forms):
        told = json.loads((tmp_path / f"site/forms/{k + 1}.json").read_text())
        assert [(one["question"], one["flipped"]) for one in told] == [(one.question, one.flipped) for one in form]
        mine = [one for one in given if one.rater == f"rater{k:05d}"]
        assert {(one.slot, one.question) for one in mine} == {(one["slot"], one["question"]) for one in told}
        paths.append(tmp_path / f"answers-{k}.csv")
        paths[-1].write_bytes(answers.as_csv(mine))
    assert sorted(importing.read(paths, real).answers, key=str) == sorted(given, key=str)


def test_prolifics_statuses_exclude_raters_of_server_and_page_alike(real, tmp_path):
    given = simulated(real, 3)
    tag = real.lock.tag
    names = {
        "rater00000": real.key.rater("prolific", "ann"),
        "rater00001": hashlib.sha256(f"{tag}\0prolific\0bob".encode()).hexdigest()[:24],  # as the page without server
        "rater00002": "somebody",
    }
    (tmp_path / "a.csv").write_bytes(answers.as_csv(Answer(**{**vars(x), "rater": names[x.rater]}) for x in given))
    lines = ["Submission id,Participant id,Status", "1,ann,rejected", "2,bob,TIMED-OUT", "3,cy,APPROVED", "4,di,ACTIVE"]
    (tmp_path / "prolific.csv").write_text("\n".join(lines) + "\n")
    read = importing.read([tmp_path / "a.csv", tmp_path / "prolific.csv"], real)
    assert read.notes == (
        "prolific.csv: not counted for their status: 1 TIMED-OUT, 1 REJECTED",
        "1 participants of Prolific's export who count have no answers here",
        "1 raters with answers are not in Prolific's export",
    )
    found = analysing.analyse(real, read.answers, statuses=read.statuses)
    table = found.raters.set_index("rater")
    assert table["by_status"].to_dict() == {
        names["rater00000"]: True, names["rater00001"]: True, "somebody": False,
    }  # fmt: skip
    assert found.rules.set_index("rule").loc["status", "excluded"] == 2


@pytest.mark.parametrize(
    ("status", "participant", "said"), [("Odd", "x", "Status"), ("APPROVED", " ", "Participant id")]
)
def test_an_export_of_prolific_that_says_nothing_known_is_refused(tmp_path, status, participant, said):
    (tmp_path / "p.csv").write_text(f"Participant id,Status\nx,APPROVED\n{participant},{status}\n")
    with pytest.raises(DataError, match=rf"p\.csv, row 3: {said}"):
        importing.read([tmp_path / "p.csv"], study())


def one(**changed):
    of = {"study": study().lock.tag, "rater": "r", "slot": 0, "question": "q0", "flipped": False, "aspect": "overall"}
    return Answer(**{**of, "choice": "left", "ms": 9, "at": "x", **changed})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"choice": "right"}, "choice contradicts"),
        ({"ms": 10}, "ms contradicts"),
        ({"at": "y"}, "at contradicts"),
        ({"question": "q1"}, "question contradicts"),
        ({"flipped": True}, "flipped contradicts"),
    ],
)
def test_rows_that_contradict_are_refused_wherever_they_stand(tmp_path, changed, said):
    (tmp_path / "a.csv").write_bytes(answers.as_csv([one(), one(slot=1, question="q1")]))
    (tmp_path / "b.csv").write_bytes(answers.as_csv([one(**changed)]))
    with pytest.raises(DataError, match=rf"b\.csv, row 2: {said} .*a\.csv, row 2"):
        importing.read([tmp_path / "a.csv", tmp_path / "b.csv"], study())
    with pytest.raises(DataError, match=f"rater r, slot 0: {said}"):
        importing.checked([one(), one(**changed)], study())


def test_a_slot_shows_one_question_to_all_aspects(real, tmp_path):
    first, second = real.main[0].id, real.main[1].id
    of = {"study": real.lock.tag, "rater": "r", "slot": 0, "flipped": False, "choice": "left", "ms": 9, "at": "x"}
    forged = [Answer(**of, question=first, aspect="a"), Answer(**of, question=second, aspect="b")]
    (tmp_path / "a.csv").write_bytes(answers.as_csv(forged))
    with pytest.raises(DataError, match="row 3: question is another at slot 0"):
        importing.read([tmp_path / "a.csv"], real)


def test_an_empty_rater_and_endless_times_are_refused():
    for changed, said in (({"rater": ""}, "rater is empty"), ({"ms": 10**9}, "ms is 1000000000")):
        with pytest.raises(DataError, match=said):
            importing.checked([one(**changed)], study())


FORM = [{"slot": 0, "question": "q0", "flipped": False}]
SAID = [{**FORM[0], "choices": {"overall": "left"}, "ms": 9, "at": "x"}]


@pytest.mark.parametrize(
    ("form", "said", "message"),
    [
        ("%%%", json.dumps(SAID), "Input.form is not one of ours"),
        ([{"slot": 1, "question": "q0", "flipped": False}], json.dumps(SAID), "does not hold each slot"),
        (FORM, "not json", "Answer.answers is not what our page sends"),
        (FORM, json.dumps(SAID).replace("9", "Infinity"), "Answer.answers is not what our page sends"),
        (FORM, json.dumps([{"slot": 0}]), "Answer.answers is not what our page sends"),
        (FORM, json.dumps(SAID * 2), "holds a slot twice"),
        (FORM, json.dumps(SAID).replace("q0", "q1"), "another question at slot 0 than Input.form"),
        (FORM, json.dumps(SAID).replace("false", "true"), "another question at slot 0 than Input.form"),
        (FORM, json.dumps(SAID).replace("left", "same"), "choice 'same' is none of"),
    ],
)
def test_a_forged_row_of_mturk_is_refused(tmp_path, form, said, message):
    cell = form if isinstance(form, str) else base64.urlsafe_b64encode(json.dumps(form).encode()).decode()
    with (tmp_path / "m.csv").open("w", newline="") as file:
        csv.writer(file).writerows([importing.MTURK, ["W", "1", "Submitted", cell, said]])
    with pytest.raises(DataError, match=rf"m\.csv, row 2: .*{message}"):
        importing.read([tmp_path / "m.csv"], study())


def test_an_assignment_that_stands_there_twice_is_refused(tmp_path):
    rows = [("W", "1", "Approved", ["q0"]), ("V", "1", "Approved", ["q0"])]
    with pytest.raises(DataError, match=r"row 3: AssignmentId '1' stands there twice"):
        importing.read([mturk(tmp_path / "m.csv", rows)], study())
