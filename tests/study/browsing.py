"""A browser for the tests of the pages: Debian's Chromium, and a visit that notices what a page should not do."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tedbench.study.bundle import Study

PHONE, DESK = (390, 844), (1280, 800)
"""CSS pixels."""
MISSING = "chromium is not installed; continuous integration installs Debian's"
OTHER_HOST = "study.test"
"""A name of this machine to the browser, without https: there, `crypto.subtle` is missing."""
READY = "fieldset:not([disabled])"
WIDE = """() => Array.from(document.querySelectorAll("#study *")).filter((one) => one.getClientRects().length
  && !one.closest(".unseen, .title, pre") && one.getBoundingClientRect().right > window.innerWidth + 0.5)
  .map((one) => one.outerHTML.slice(0, 120))"""
SMALL = """() => Array.from(document.querySelectorAll("button, label:has([type=radio]), a, input.line"))
  .filter((one) => one.getClientRects().length && one.getBoundingClientRect().height < 44)
  .map((one) => one.outerHTML.slice(0, 120))"""


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    known = f"--host-resolver-rules=MAP {OTHER_HOST} 127.0.0.1"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", known])
        yield opened
        opened.close()


class Visit:
    """Somebody's browser at one page. When the block ends, the page has complained of nothing but `expected`.

    Args:
        browser: of `chromium`.
        url: where to go; no request may leave its host.
        size: of the window.
        scheme: light or dark.
        expected: what the console may say, a regular expression: of failures that the test makes.
        hosts: which else may be asked, a regular expression.
        more: of Playwright's `new_context`.
    """

    def __init__(
        self, browser: Any, url: str, size: tuple[int, int] = DESK, expected: str = "$^", hosts: str = "$^", **more: Any
    ) -> None:
        touch = {"has_touch": True, "is_mobile": True, "device_scale_factor": 3} if size == PHONE else {}
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **touch, **more)
        self.context.set_default_timeout(10_000)
        self.url, self._expected, self._hosts = url, expected, hosts
        self.said: list[str] = []
        self.page = self.tab()

    def tab(self, url: str | None = None) -> Any:
        """Another tab of the same browser."""
        page = self.context.new_page()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        page.on("request", self._asked)
        page.goto(self.url if url is None else url)
        return page

    def _asked(self, request: Any) -> None:
        host = "/".join(self.url.split("/")[:3])
        if not request.url.startswith((f"{host}/", "data:", "blob:")) and not re.match(self._hosts, request.url):
            self.said.append(f"request: {request.url}")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert [one for one in self.said if not re.search(self._expected, one)] == []

    def begin(self) -> Any:
        """Agree; the first question is ready."""
        press(self.page, "Begin")
        ready(self.page)
        return self.page


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name).click()


def ready(page: Any, number: int | None = None) -> None:
    """Wait till a question, of this number, can be answered."""
    if number is not None:
        titled(page, f"Question {number} of")
    page.locator(READY).first.wait_for()


def titled(page: Any, heading: str) -> None:
    page.get_by_role("heading", level=2, name=heading).wait_for()


def choose(page: Any, choice: str = "Left") -> None:
    """Choose for every aspect, and go on."""
    number = slot(page)
    for group in page.locator(READY).all():
        group.get_by_label(choice).check()
    press(page, "Next")
    page.get_by_role("heading", level=2, name=f"Question {number + 1} of").wait_for(state="detached")


def slot(page: Any) -> int:
    """Of the question that is shown, from 0."""
    return int(page.locator("h2").first.inner_text().split()[1]) - 1


def through(page: Any, choice: str = "Left") -> None:
    """Answer all that is left."""
    page.locator(f"{READY}, h2:text('Thank you')").first.wait_for()
    while page.locator("fieldset").count():
        ready(page)
        choose(page, choice)
        page.locator(f"{READY}, h2:text('Thank you')").first.wait_for()


def pictures(page: Any) -> list[str]:
    """Names of the pictures that are shown: input, left, right."""
    found: list[str] = page.eval_on_selector_all("img", "all => all.map((one) => one.src.split('/').pop())")
    return found


def violations(page: Any) -> list[str]:
    """What axe-core finds, of any impact."""
    from axe_playwright_python.sync_playwright import Axe

    checked = Axe().run(page).response
    assert len(checked["passes"]) > 10
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in checked["violations"]]


def link(site: Any, name: str) -> str:
    """Where a participant of this name begins."""
    return f"{site.url}/?PROLIFIC_PID={name}&STUDY_ID=T&SESSION_ID=S"


def answers(site: Any, study: Study, name: str) -> list[dict[str, str]]:
    """What the server has of a participant, in order."""
    table = csv.DictReader(io.StringIO(site.admin("GET", "/admin/api/answers.csv").body.decode()))
    mine = [row for row in table if row["rater"] == study.key.rater("prolific", name)]
    return sorted(mine, key=lambda row: (int(row["slot"]), row["aspect"]))
