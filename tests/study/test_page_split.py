"""The rater's page with two questions on a screen and four choices to each: the most it has to hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tedbench.study.bundle import Study
from tests.study import browsing
from tests.study.browsing import DESK, PHONE, SMALL, WIDE, Visit, answers, choose, link, press, ready, through, titled
from tests.study.conftest import serving_of, write_study

pytestmark = pytest.mark.slow
SPLIT = {
    "per_rater": {"questions": 3, "repeats": 0, "checks": 0},
    "asking": {
        "aspects": [{"name": "text", "wording": "Which shows the text?"}, {"name": "kept", "wording": "Which keeps?"}],
        "allow": ["same", "neither"],
    },
    "completion": {"url": "https://example.org/back?cc={code}"},
}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("split"), **SPLIT)


@pytest.fixture(scope="module")
def split_site(split: Study) -> Iterator[Any]:
    with serving_of(split, split.path.parent / "answers.sqlite") as one:
        yield one


@pytest.mark.parametrize("size", [(320, 568), (844, 390)])
def test_where_all_does_not_fit_the_results_and_the_choices_do(browser: Any, split_site: Any, size: Any) -> None:
    with Visit(browser, split_site.url, size) as visit:
        page = visit.begin()
        assert page.evaluate("document.documentElement.scrollHeight > innerHeight")
        assert page.evaluate(WIDE) == []
        picture = page.get_by_alt_text("Left result").bounding_box()
        first = page.locator("fieldset").first.locator("label").first.bounding_box()
        assert first["y"] + first["height"] - picture["y"] <= size[1]
        assert picture["width"] == {320: 144, 844: 216}[size[0]]  # multiples of 24: the width's, the height's limit


def test_split_questions_want_every_aspect(browser: Any, split_site: Any, split: Study) -> None:
    with Visit(browser, link(split_site, "split"), permissions=["clipboard-read", "clipboard-write"]) as visit:
        page = visit.begin()
        following = page.get_by_role("button", name="Next")
        page.keyboard.press("3")
        assert following.is_disabled()
        page.keyboard.press("Enter")
        page.keyboard.press("4")
        page.keyboard.press("Enter")
        ready(page, 2)
        page.get_by_role("group", name="Which keeps?").get_by_label("Right").click()
        page.keyboard.press("1")  # where the focus is
        assert following.is_disabled()
        page.get_by_role("group", name="Which shows the text?").get_by_label("No difference").check()
        following.click()
        ready(page, 3)
        choose(page, "Neither shows the edit")
        titled(page, "Thank you")
        press(page, "Copy")
        page.get_by_text("Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == page.locator("code").inner_text()
        back = page.get_by_role("link", name="Go back").get_attribute("href")
        assert back == "https://example.org/back?cc=" + page.locator("code").inner_text()
    said = [(row["slot"], row["aspect"], row["choice"]) for row in answers(split_site, split, "split")]
    assert said == [
        ("0", "kept", "neither"), ("0", "text", "same"), ("1", "kept", "left"), ("1", "text", "same"),
        ("2", "kept", "neither"), ("2", "text", "neither"),
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_every_view_is_accessible(browser: Any, split_site: Any, size: tuple[int, int], scheme: str) -> None:
    with Visit(browser, split_site.url, size, color_scheme=scheme, reduced_motion="reduce") as visit:
        page = visit.page

        def seen(heading: str) -> None:
            titled(page, heading)
            assert browsing.violations(page) == []
            assert page.evaluate(WIDE) == page.evaluate(SMALL) == []

        seen("Before you begin")
        visit.begin()
        seen("Question 1 of 3")
        page.keyboard.press("1")
        page.keyboard.press("2")
        seen("Question 1 of 3")
        through(page)
        seen("Thank you")
        press(page, "Stop and withdraw")
        seen("Withdraw from the study?")
        press(page, "Withdraw and delete")
        seen("You have withdrawn")
        page.goto(f"{split_site.url}/r/nobody")
        seen("This link is not known")
        visit.said.clear()  # the console tells of the 404
