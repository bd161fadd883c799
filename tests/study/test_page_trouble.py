"""The rater's page when things go wrong: slow and missing pictures, a network that fails, links that do not hold."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tedbench.study.bundle import Study
from tedbench.study.database import open_database
from tests.study import browsing
from tests.study.browsing import READY, Visit, answers, choose, link, press, ready, titled
from tests.study.conftest import serving_of, write_study

pytestmark = pytest.mark.slow
SHORT = {"per_rater": {"questions": 3, "repeats": 0, "checks": 0}}
FAILED = "Failed to load resource"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("trouble"), **SHORT)


@pytest.fixture(scope="module")
def site(study: Study) -> Iterator[Any]:
    with serving_of(study, study.path.parent / "answers.sqlite") as one:
        yield one


def started(site: Any) -> int:
    found: int = site.admin("GET", "/admin/api/progress").json["started"]
    return found


def failing(page: Any, address: str, times: int, late: bool = False) -> list[str]:
    """Let so many requests fail, before they reach the server or after: their bodies, and those that got through."""
    seen: list[str] = []

    def handle(route: Any) -> None:
        seen.append(route.request.post_data or "")
        if len(seen) > times:
            route.continue_()
        elif late:
            route.fetch()
            route.abort()
        else:
            route.abort()

    page.route(address, handle)
    return seen


def test_the_clock_starts_when_every_picture_is_there(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "slow")) as visit:
        page, held = visit.page, []
        page.route("**/images/*", lambda route: held.append(route) if len(held) < 1 else route.continue_())
        press(page, "Begin")
        titled(page, "Question 1 of 3")
        page.get_by_text("Loading the pictures").wait_for()
        page.wait_for_timeout(1200)  # all but one are there
        assert page.locator(READY).count() == 0 and not page.get_by_alt_text("Left result").is_visible()
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        assert page.locator("input:checked").count() == 0
        released = time.monotonic()
        held[0].continue_()
        ready(page, 1)
        page.wait_for_timeout(300)
        choose(page)
        took = time.monotonic() - released
        ready(page, 2)
    assert 300 <= int(answers(site, study, "slow")[0]["ms"]) <= took * 1000


def test_a_picture_that_fails_is_asked_for_again(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "lost"), expected=FAILED) as visit:
        page = visit.page
        failing(page, "**/images/*", times=1)
        press(page, "Begin")
        page.get_by_text("A picture could not be loaded").wait_for()
        page.wait_for_timeout(1000)
        assert page.locator(READY).count() == 0
        assert browsing.violations(page) == []
        again = time.monotonic()
        press(page, "Try again")
        ready(page, 1)
        choose(page)
        took = time.monotonic() - again
        ready(page, 2)
    assert int(answers(site, study, "lost")[0]["ms"]) <= took * 1000


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_is_kept_until_it_arrives_and_counts_once(browser: Any, site: Any, study: Study, late: bool) -> None:
    name = f"net{late}"
    with Visit(browser, link(site, name), expected=FAILED) as visit:
        page = visit.begin()
        sent = failing(page, "**/answers", times=1, late=late)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        said = page.get_by_text("The server cannot be reached. Your answer is kept here until it has arrived.")
        said.wait_for()
        page.keyboard.press("1")  # what was sent stands
        page.keyboard.press("Enter")
        assert page.locator("input:checked").get_attribute("value") == "right"
        if not late:
            assert answers(site, study, name) == []
            press(page, "Try now")
        ready(page, 2)
        assert len(sent) == 2 and sent[0] == sent[1]
    assert [(row["slot"], row["choice"]) for row in answers(site, study, name)] == [("0", "right")]


def test_a_page_that_cannot_ask_tries_again(browser: Any, site: Any) -> None:
    with Visit(browser, "about:blank", expected=FAILED) as visit:
        visit.url = site.url
        failing(visit.page, "**/api/study", times=1)
        visit.page.goto(site.url)
        visit.page.get_by_text("The server cannot be reached. Trying again in 1 s.").wait_for()
        titled(visit.page, "Before you begin")
        page = visit.begin()
        failing(page, "**/api/r/*", times=99)
        page.reload()
        page.get_by_text("The server cannot be reached").wait_for()
        assert browsing.violations(page) == []
        page.unroute("**/api/r/*")
        press(page, "Try now")
        ready(page, 1)


def test_a_beginning_whose_reply_was_lost_is_the_same_rater(browser: Any, site: Any) -> None:
    with Visit(browser, site.url, expected=FAILED) as visit:
        before = started(site)
        sent = failing(visit.page, "**/api/start", times=1, late=True)
        press(visit.page, "Begin")
        visit.page.get_by_text("You have not begun yet.").wait_for()
        visit.page.reload()  # the page forgets, the browser does not
        visit.begin()
        assert len(sent) == 2 and sent[0] == sent[1]
        assert started(site) == before + 1
        assert visit.page.evaluate("Object.keys(localStorage).filter((one) => one.includes('nonce'))") == []


def test_two_tabs_that_begin_are_one_rater(browser: Any, site: Any) -> None:
    with Visit(browser, site.url) as visit:
        before, other = started(site), visit.tab()
        titled(other, "Before you begin")
        visit.page.bring_to_front()
        page = visit.begin()
        other.bring_to_front()
        press(other, "Begin")
        ready(other, 1)
        assert other.url == page.url and started(site) == before + 1


def test_withdrawing_overtakes_an_answer_that_does_not_arrive(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "stuck"), expected=FAILED) as visit:
        page = visit.begin()
        failing(page, "**/answers", times=99)
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        page.get_by_text("Your answer is kept here").wait_for()
        lost = failing(page, "**/withdraw", times=1)
        press(page, "Stop and withdraw")
        press(page, "Withdraw and delete")
        titled(page, "You have withdrawn")
        assert len(lost) == 2 and answers(site, study, "stuck") == []


def test_who_thinks_better_of_withdrawing_goes_on(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "better"), expected=FAILED) as visit:
        page = visit.begin()
        choose(page)
        ready(page, 2)
        failing(page, "**/withdraw", times=99)
        press(page, "Stop and withdraw")
        press(page, "Withdraw and delete")
        page.get_by_text("The server cannot be reached").wait_for()
        press(page, "Go on with the study")
        ready(page, 2)
        page.unroute("**/withdraw")
        page.wait_for_timeout(1500)  # the next try would have been by now
        choose(page)
        ready(page, 3)
    assert len(answers(site, study, "better")) == 2


def test_a_consent_text_that_changed_is_read_again(browser: Any, tmp_path: Path) -> None:
    old = write_study(tmp_path / "old", **SHORT)
    new = write_study(tmp_path / "new", **SHORT, ethics={"consent": "Another text.", "consent_version": "2"})
    with serving_of(old, tmp_path / "old.sqlite") as one:
        port = int(one.url.rsplit(":", 1)[1])
        visit = Visit(browser, one.url, expected=FAILED)
        titled(visit.page, "Before you begin")
    with visit, serving_of(new, tmp_path / "new.sqlite", port=port) as two:
        press(visit.page, "Begin")
        visit.page.get_by_text("This text has changed").wait_for()
        visit.page.get_by_text("Another text.").wait_for()
        assert started(two) == 0
        page = visit.begin()
        page.goto(two.url)
        ready(page, 1)
        assert started(two) == 1


@pytest.mark.parametrize(
    ("query", "platform", "identifier"),
    [
        ("PROLIFIC_PID=P%2F1&STUDY_ID=T&SESSION_ID=S", "prolific", "P/1"),
        ("workerId=W1&assignmentId=S&hitId=T", "mturk", "W1"),
    ],
)
def test_a_platforms_names_reach_the_server_and_leave_the_address(
    browser: Any, site: Any, study: Study, query: str, platform: str, identifier: str
) -> None:
    with Visit(browser, f"{site.url}/?{query}") as visit:
        page = visit.begin()
        assert page.evaluate("location.search + location.hash") == "" and identifier not in page.url
    table = list(csv.DictReader(io.StringIO(site.admin("GET", "/admin/api/identities.csv").body.decode())))
    row = next(row for row in table if row["identifier"] == identifier)
    assert (row["platform"], row["session"], row["study"]) == (platform, "S", "T")
    assert row["rater"] == study.key.rater(platform, identifier)
    with Visit(browser, f"{site.url}/?{query}", expected=FAILED) as again:  # in another browser
        press(again.page, "Begin")
        again.page.get_by_text("You have begun already").wait_for()
        assert browsing.violations(again.page) == []


def test_a_preview_begins_nothing(browser: Any, site: Any) -> None:
    before = started(site)
    with Visit(browser, f"{site.url}/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=H") as visit:
        visit.page.get_by_text("This is a preview").wait_for()
        assert visit.page.get_by_role("button", name="Begin").is_disabled()
    assert started(site) == before


def test_a_personal_link_works_where_nobody_else_may_begin(browser: Any, study: Study, tmp_path: Path) -> None:
    place = tmp_path / "answers.sqlite"
    with closing(open_database(place, study)) as database:
        token = database.links(1)[0]
    with serving_of(study, place, open=False) as closed:
        with Visit(browser, closed.url) as visit:
            titled(visit.page, "The study is closed")
        with Visit(browser, f"{closed.url}/r/{token}") as visit:
            titled(visit.page, "Before you begin")
            visit.begin()
            assert visit.page.url == f"{closed.url}/r/{token}"
