"""The rater's page in a real browser, against the real server: what raters do, by keyboard, mouse and touch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tedbench.study.bundle import Study
from tests.study import conftest
from tests.study.browsing import (
    DESK,
    PHONE,
    SMALL,
    WIDE,
    Visit,
    answers,
    choose,
    link,
    pictures,
    press,
    ready,
    through,
    titled,
)
from tests.study.conftest import serving_of, write_study

pytestmark = pytest.mark.slow
HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)> & a ${bird} that\u202e flies"
SHORT = {"per_rater": {"questions": 5, "repeats": 1, "checks": 0}}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("one"), text=HOSTILE, **SHORT)


@pytest.fixture(scope="module")
def site(study: Study) -> Iterator[Any]:
    with serving_of(study, study.path.parent / "answers.sqlite") as one:
        yield one


def test_the_whole_study_by_keyboard(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "keys")) as visit:
        page, press_key = visit.page, visit.page.keyboard.press
        titled(page, "Before you begin")
        assert study.public.consent in page.locator("main").inner_text()
        press_key("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Begin"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        press_key("Enter")
        for number, keys in enumerate((["1"], ["ArrowRight"], ["2", "1"], ["ArrowLeft", "ArrowRight"]), start=1):
            ready(page, number)
            assert page.locator("input:checked").count() == 0
            press_key("Enter")  # nothing is chosen yet, so nothing happens
            for key in keys:
                press_key(key)
            assert page.locator("input:checked").count() == 1
            press_key("Enter")
        ready(page, 5)
        press_key("Tab")
        assert page.evaluate("document.activeElement.value") == "left"
        ring = page.locator("label", has=page.locator("input[value=left]"))
        assert ring.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
        press_key("ArrowDown")
        press_key("Tab")
        assert page.evaluate("document.activeElement.textContent").startswith("Next")
        press_key("Space")
        titled(page, "Thank you")
        assert page.locator("code").inner_text() == study.key.code(study.key.rater("prolific", "keys"))
    said = answers(site, study, "keys")
    assert [row["choice"] for row in said] == ["left", "right", "left", "right", "right"]
    assert [int(row["slot"]) for row in said] == list(range(5))


def test_by_touch_on_a_phone_without_scrolling(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "touch"), PHONE) as visit:
        page = visit.page
        page.get_by_role("button", name="Begin").tap()
        for number in range(1, 6):
            ready(page, number)
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
            assert page.evaluate(SMALL) == page.evaluate(WIDE) == []
            assert page.get_by_role("button", name="Next").is_disabled()
            page.get_by_alt_text(("Left", "Right")[number % 2] + " result").tap()  # the picture itself
            assert page.locator("input:checked").get_attribute("value") == ("left", "right")[number % 2]
            page.get_by_role("button", name="Next").tap()
        titled(page, "Thank you")
    assert [row["choice"] for row in answers(site, study, "touch")] == ["right", "left", "right", "left", "right"]


@pytest.mark.parametrize(("size", "dots"), [(PHONE, 3), (DESK, 1)])
def test_pictures_are_large_whole_multiples_side_by_side(browser: Any, site: Any, size: Any, dots: int) -> None:
    with Visit(browser, site.url, size) as visit:
        page = visit.begin()
        boxes = [page.get_by_alt_text(name).bounding_box() for name in ("Input photo", "Left result", "Right result")]
        first, left, right = boxes
        assert left["y"] == right["y"] > first["y"] + first["height"]
        assert left["x"] + left["width"] <= right["x"]
        words = page.locator(".text").bounding_box()
        assert words["y"] + words["height"] <= left["y"] and words["x"] > first["x"]
        times = left["width"] * dots / 24  # the pictures have 24 pixels
        assert times == pytest.approx(round(times), abs=1e-3) and times > 1
        assert all(box["width"] == box["height"] == left["width"] for box in boxes)
        assert page.get_by_alt_text("Left result").evaluate("i => getComputedStyle(i).imageRendering") == "pixelated"
        grown = 2 * (left["width"] + 24 / dots)  # one multiple more would not fit, in width or in height
        free = page.evaluate("innerHeight - document.getElementById('study').getBoundingClientRect().height")
        assert grown + 24 > size[0] or free < 2 * 24 / dots


def test_large_pictures_shrink_in_their_own_shape(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wide(*seed: int) -> bytes:
        Image.new("RGB", (800, 600), (seed[0] * 10 % 256, 90, 90)).save(file := io.BytesIO(), "PNG")
        return file.getvalue()

    monkeypatch.setattr(conftest, "picture", wide)  # the study says 24 pixels still
    study = write_study(tmp_path, **SHORT)
    with serving_of(study, tmp_path / "answers.sqlite") as site, Visit(browser, site.url) as visit:
        page = visit.begin()
        box = page.get_by_alt_text("Right result").bounding_box()
        assert box["width"] * 3 == pytest.approx(box["height"] * 4, rel=0.01)
        assert page.get_by_alt_text("Right result").evaluate("i => getComputedStyle(i).imageRendering") == "auto"
        used = page.evaluate("document.getElementById('study').getBoundingClientRect().height")
        assert 0 <= DESK[1] - used < 8  # as large as the window lets them
        page.set_viewport_size({"width": 700, "height": 1100})
        narrow = page.get_by_alt_text("Right result").bounding_box()
        assert 2 * narrow["width"] > 660


def test_a_reload_resumes_and_another_tab_does_no_harm(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "tabs")) as visit:
        page = visit.begin()
        choose(page, "Right")
        ready(page, 2)
        shown = pictures(page)
        page.reload()
        ready(page, 2)
        assert pictures(page) == shown
        other = visit.tab()  # the link from the platform leads to where one was
        ready(other, 2)
        assert other.url == page.url and pictures(other) == shown
        page.bring_to_front()
        choose(page, "Left")
        ready(page, 3)
        other.bring_to_front()
        choose(other, "Right")  # to a question that is answered: what counts stands, and the page goes on
        ready(other, 3)
        assert pictures(other) == pictures(page)
        through(other)
        page.bring_to_front()
        choose(page, "Right")
        titled(page, "Thank you")
    assert [row["choice"] for row in answers(site, study, "tabs")] == ["right", "left", "left", "left", "left"]


def test_back_leaves_the_study_and_coming_again_shows_the_current_question(browser: Any, site: Any) -> None:
    with Visit(browser, "about:blank") as visit:
        visit.url = site.url
        page = visit.page
        page.goto(site.url)
        press(page, "Begin")
        for number in (1, 2):
            ready(page, number)
            choose(page)
        ready(page, 3)
        assert page.evaluate("history.length") == 2  # this, and the page before
        page.go_back()
        assert page.url == "about:blank"
        page.go_forward()
        ready(page, 3)
        page.goto(site.url)  # nor does the address of the beginning begin again
        ready(page, 3)


def test_a_page_from_the_browsers_memory_asks_where_it_is(browser: Any, site: Any) -> None:
    with Visit(browser, site.url) as visit:
        page = visit.begin()
        other = visit.tab(page.url)
        ready(other, 1)
        page.bring_to_front()
        choose(page)
        ready(page, 2)
        other.bring_to_front()
        other.evaluate("() => { window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })); }")
        ready(other, 2)


def test_a_double_click_counts_once(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "twice")) as visit:
        page, before = visit.page, site.admin("GET", "/admin/api/progress").json["started"]
        page.get_by_role("button", name="Begin").dblclick()
        ready(page, 1)
        page.get_by_label("Right").check()
        page.get_by_role("button", name="Next").dblclick()
        ready(page, 2)
        page.wait_for_timeout(300)
        assert page.locator("h2").inner_text() == "Question 2 of 5"
        assert site.admin("GET", "/admin/api/progress").json["started"] == before + 1
    assert [row["choice"] for row in answers(site, study, "twice")] == ["right"]


def test_withdrawing_asks_first_and_deletes(browser: Any, site: Any, study: Study) -> None:
    with Visit(browser, link(site, "gone")) as visit:
        page = visit.begin()
        choose(page)
        ready(page, 2)
        press(page, "Stop and withdraw")
        assert page.evaluate("document.activeElement.textContent") == "Go on with the study"
        page.keyboard.press("2")  # the question behind does not hear it
        page.keyboard.press("Escape")
        page.locator("dialog").wait_for(state="detached")
        assert page.locator("input:checked").count() == 0
        assert len(answers(site, study, "gone")) == 1
        press(page, "Stop and withdraw")
        press(page, "Withdraw and delete")
        titled(page, "You have withdrawn")
        page.locator("dialog").wait_for(state="detached")
        assert answers(site, study, "gone") == []
        page.reload()
        titled(page, "You have withdrawn")


def test_a_hostile_text_is_text(browser: Any, site: Any) -> None:
    with Visit(browser, site.url) as visit:
        page = visit.begin()
        assert page.locator(".text").text_content() == HOSTILE
        assert page.locator("main script, main img:not([alt])").count() == 0


def test_nothing_is_left_of_a_visit_but_the_token(browser: Any, site: Any, tmp_path: Path) -> None:
    with Visit(browser, site.url) as visit:
        page = visit.begin()
        assert page.evaluate("Object.values(localStorage)") == [page.url.rsplit("/", 1)[1]]
        assert page.evaluate("sessionStorage.length") == 0 and page.context.cookies() == []
