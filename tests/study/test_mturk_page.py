"""MTurk's form in a real browser. Of MTurk only the transport is played: the page round the layout, and its results."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tedbench.study import allocation, bundle, importing, static
from tedbench.study.bundle import Study
from tests.study import browsing
from tests.study.browsing import PHONE, SMALL, WIDE, Visit, choose, press, ready, through, titled
from tests.study.conftest import write_study

pytestmark = pytest.mark.slow
IMAGES = "https://pictures.test/of/the/study"
TEXT = 'a "${bird}" & <b>ü</b> \u4e2d'
CHOSEN = {
    "per_rater": {"questions": 5, "repeats": 1, "checks": 1},
    "asking": {"aspects": [{"name": "a", "wording": "A?"}, {"name": "b", "wording": "B?"}], "allow": ["same"]},
}
FRAME = "https://frame.test/dynamic/hit"
SUBMIT = "https://www.mturk.com/mturk/externalSubmit"
ROUND = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Task</title>
<meta name="viewport" content="width=device-width"></head><body>
<form name="mturk_form" method="post" id="mturk_form" action="{submit}">
<input type="hidden" value="{assignment}" name="assignmentId" id="assignmentId">{layout}
<p><input type="submit" id="submitButton" value="Submit"></p></form></body></html>"""
BARE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Task</title></head>
<body>{layout}</body></html>"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("mturk"), text=TEXT, **CHOSEN)


@pytest.fixture(scope="module")
def batch(study: Study) -> Path:
    out = study.path.parent / "batch"
    static.mturk(study, out, 3, IMAGES)
    return out


def cells(batch: Path) -> list[str]:
    return [row["form"] for row in csv.DictReader(io.StringIO((batch / "input.csv").read_text()))]


class Task(Visit):
    """A worker at a task, in MTurk's frame."""

    def __init__(
        self,
        browser: Any,
        batch: Path,
        row: int,
        assignment: str,
        filled: bool = True,
        around: str = ROUND,
        **more: Any,
    ) -> None:
        super().__init__(browser, "about:blank", hosts=r"https://(pictures|frame|www\.mturk)\.", **more)
        layout = (batch / "layout.html").read_text(encoding="utf-8")
        if filled:
            layout = re.sub(r"\$\{(\w+)\}", lambda found: {"form": cells(batch)[row]}[found[1]], layout)
        html = around.replace("{submit}", SUBMIT).replace("{assignment}", assignment).replace("{layout}", layout)
        self.sent: list[dict[str, list[str]]] = []
        route = self.context.route
        route(f"{FRAME}*", lambda one: one.fulfill(body=html, content_type="text/html; charset=utf-8"))
        route(f"{IMAGES}/*", lambda one: one.fulfill(path=batch / "images" / one.request.url.rsplit("/", 1)[1]))
        route(SUBMIT, self._submitted)
        query = f"assignmentId={assignment}&hitId=H&workerId=W&turkSubmitTo=https%3A%2F%2Fwww.mturk.com"
        self.page.goto(f"{FRAME}?{query}")

    def _submitted(self, one: Any) -> None:
        self.sent.append(parse_qs(one.request.post_data, keep_blank_values=True))
        one.fulfill(body="Submitted", content_type="text/plain")


def results(path: Path, batch: Path, rows: list[tuple[int, str, dict[str, list[str]]]]) -> Path:
    """MTurk's results: (row of input.csv, worker, what the form sent)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["HITId", "AssignmentId", "WorkerId", "AssignmentStatus", "Input.form", "Answer.answers"])
        for row, worker, sent in rows:
            writer.writerow(["H", sent["assignmentId"][0], worker, "Submitted", cells(batch)[row], sent["answers"][0]])
    return path


def test_the_batch_holds_the_drawn_forms_in_one_column(study: Study, batch: Path) -> None:
    forms = allocation.forms(study.lock.seed, study.lock.per_rater, study.key.questions, 3)
    assert (batch / "input.csv").read_text().splitlines()[0] == "form"
    for cell, screens in zip(cells(batch), forms, strict=True):
        assert re.fullmatch(r"[\w-]+", cell)
        form = json.loads(base64.urlsafe_b64decode(cell + "=" * (-len(cell) % 4)))
        assert [(one["question"], one["flipped"]) for one in form] == [(s.question, s.flipped) for s in screens]
        assert {one["text"] for one in form} == {TEXT}
    assert {path.name for path in batch.iterdir()} == {"layout.html", "input.csv", "images"}
    assert all((study.path / bundle.IMAGES / path.name).is_file() for path in (batch / "images").iterdir())


def test_what_workers_send_is_read_and_mturks_own_button_waits(
    browser: Any, batch: Path, study: Study, tmp_path: Path
) -> None:
    sent = []
    with Task(browser, batch, 0, "A1") as task:
        page = task.page
        titled(page, "Before you begin")
        page.click("#submitButton")
        page.get_by_text("5 of 5 questions are to be answered").wait_for()
        assert task.begin().locator(".text").text_content() == TEXT
        page.keyboard.press("1")
        page.get_by_role("group", name="A?").get_by_label("Left").focus()
        page.keyboard.press("Enter")  # neither goes on, nor tries to send MTurk's form
        assert page.get_by_text("Not yet").count() == 0
        page.click("#submitButton")
        page.get_by_text("5 of 5 questions are to be answered").wait_for()
        page.get_by_role("group", name="B?").get_by_label("No difference").focus()
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        ready(page, 2)
        page.reload()
        ready(page, 2)
        through(page, "Right")
        assert task.sent == [] and browsing.violations(page) == []
        page.get_by_role("main").get_by_role("button", name="Submit").click()
        page.get_by_text("Submitted").wait_for()
        sent.append((0, "W1", task.sent[0]))
        assert set(task.sent[0]) == {"assignmentId", "answers"} and len(task.sent) == 1
    with Task(browser, batch, 1, "A2", around=BARE) as task:  # by the API the page brings its own form
        through(task.begin())
        press(task.page, "Submit")
        task.page.get_by_text("Submitted").wait_for()
        sent.append((1, "W2", task.sent[0]))
    read = importing.read([results(tmp_path / "results.csv", batch, sent)], study)
    forms = allocation.forms(study.lock.seed, study.lock.per_rater, study.key.questions, 3)
    for worker, screens, first in (("W1", forms[0], ("left", "same")), ("W2", forms[1], ("left", "left"))):
        rater = study.key.rater("mturk", worker)
        mine = [one for one in read.answers if one.rater == rater]
        assert [(one.slot, one.aspect) for one in mine] == [(k, aspect) for k in range(5) for aspect in "ab"]
        assert [(one.question, one.flipped) for one in mine[::2]] == [(s.question, s.flipped) for s in screens]
        rest = "right" if worker == "W1" else "left"
        assert [one.choice for one in mine] == [*first, *[rest] * 8]
        assert all(0 < one.ms < 10_000 for one in mine)


@pytest.mark.parametrize(("assignment", "filled"), [("ASSIGNMENT_ID_NOT_AVAILABLE", True), ("", False)])
def test_a_preview_starts_nothing(browser: Any, batch: Path, assignment: str, filled: bool) -> None:
    with Task(browser, batch, 0, assignment, filled=filled) as task:
        page = task.page
        page.get_by_text("This is a preview").first.wait_for()
        assert page.get_by_role("button", name="Begin").is_disabled()
        page.click("#submitButton")
        page.wait_for_timeout(300)
        assert task.sent == [] and page.evaluate("sessionStorage.length") == 0


def test_withdrawing_deletes_and_nothing_can_be_sent(browser: Any, batch: Path) -> None:
    with Task(browser, batch, 0, "A6") as task:
        page = task.page
        through(task.begin())
        assert json.loads(page.input_value("#answers"))
        press(page, "Stop and withdraw")
        press(page, "Withdraw and delete")
        titled(page, "You have withdrawn")
        page.click("#submitButton")
        page.get_by_text("Return the task instead").wait_for()
        assert task.sent == [] and page.input_value("#answers") == ""
        assert page.evaluate("sessionStorage.length") == 0


def test_another_assignment_begins_anew(browser: Any, batch: Path) -> None:
    with Task(browser, batch, 0, "A3") as task:
        choose(task.begin())
        ready(task.page, 2)
        task.page.goto(task.page.url.replace("A3", "A4"))
        titled(task.page, "Before you begin")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_on_a_phone(browser: Any, batch: Path, scheme: str) -> None:
    with Task(browser, batch, 2, "A5", size=PHONE, color_scheme=scheme, reduced_motion="reduce") as task:
        page = task.page
        page.evaluate("document.getElementById('submitButton').remove()")  # not ours to make large
        assert browsing.violations(page) == []
        task.begin()
        assert browsing.violations(page) == []
        assert page.evaluate(WIDE) == page.evaluate(SMALL) == []
