"""The pages as files: what they hold, what they may run, and the admin's page in a real browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tedbench.study import pages
from tedbench.study.bundle import Study
from tests.study import browsing
from tests.study.browsing import DESK, PHONE, SMALL, WIDE, Visit, press, titled
from tests.study.conftest import ADMIN, serving_of, write_study

SHORT = {"per_rater": {"questions": 3, "repeats": 0, "checks": 0}}
HOSTILE = '</script><script>alert(1)</script><!-- "${x}" & \u2028'
WRONG = "Failed to load resource"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("pages"), **SHORT)


@pytest.fixture(scope="module")
def site(study: Study) -> Iterator[Any]:
    with serving_of(study, study.path.parent / "answers.sqlite") as one:
        yield one


def blocks(html: str, tag: str) -> list[str]:
    """The contents of every element of a name, as a browser's parser ends them."""
    return re.findall(rf"<{tag}(?:\s[^>]*)?>(.*?)</{tag}", html, re.S | re.I)


def every(study: Study) -> dict[str, pages.Page]:
    public = study.public
    made = {"server": pages.rater(public), "static": pages.rater(public, "static", {"forms": 1})}
    return {**made, "admin": pages.admin(public.title)}


@pytest.mark.parametrize("kind", ["server", "static", "admin"])
def test_the_policy_admits_the_pages_own_script_and_nothing_else(study: Study, kind: str) -> None:
    page = every(study)[kind]
    html = page.html.decode()
    rules = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    for rule, content in (("script-src", blocks(html, "script")[-1]), ("style-src", blocks(html, "style")[0])):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert "unsafe" not in page.policy and "http" not in page.policy
    assert 'http-equiv="Content-Security-Policy"' in html
    assert not re.search(r'\s(?:on\w+|style)=|(?:src|href)="(?!data:,")', html.split("<script")[0])


@pytest.mark.parametrize("kind", ["server", "static", "admin"])
def test_scripts_make_no_html_of_texts(study: Study, kind: str) -> None:
    script = blocks(every(study)[kind].html.decode(), "script")[-1]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|srcdoc", script)


def test_the_page_says_what_a_rater_may_know_and_not_one_question(study: Study) -> None:
    html = pages.rater(study.public).html.decode()
    assert json.loads(blocks(html, "script")[0]) == pages.told(study.public)
    for one in study.public.questions:
        assert not any(word in html for word in (one.id, one.input, one.first, one.second))
    assert study.key.secret not in html


def test_hostile_words_of_a_study_stay_data(study: Study) -> None:
    public = dataclasses.replace(study.public, title=HOSTILE, consent=HOSTILE)
    html = pages.rater(public).html.decode()
    assert len(blocks(html, "script")) == 2  # its data, and its script
    assert json.loads(blocks(html, "script")[0])["consent"] == HOSTILE
    assert "<script>alert" not in html


def test_mturk_finds_one_variable_in_its_layout(study: Study) -> None:
    public = dataclasses.replace(study.public, consent=HOSTILE)
    layout = pages.fragment({**pages.told(public), "images": "https://example.org/"}).decode()
    assert re.findall(r"\$\{.*?\}", layout) == ["${form}"]
    assert json.loads(blocks(layout, "script")[0])["consent"] == HOSTILE
    assert not re.search(r"<(?:html|head|body|form)\b", layout)  # MTurk brings these


@pytest.mark.slow
@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_the_admins_page_is_accessible(browser: Any, site: Any, size: tuple[int, int], scheme: str) -> None:
    rater = held(site)
    with Visit(browser, f"{site.url}/admin", size, color_scheme=scheme, reduced_motion="reduce") as visit:
        page = visit.page
        titled(page, "Sign in")
        assert browsing.violations(page) == []
        page.keyboard.type(ADMIN)
        page.keyboard.press("Enter")
        titled(page, "Progress")
        page.get_by_label("Name of a rater").fill(rater)
        press(page, "Look up")
        page.locator("pre").wait_for()
        assert browsing.violations(page) == []
        assert page.evaluate(WIDE) == page.evaluate(SMALL) == []


def held(site: Any) -> str:
    """Have a rater answer everything: their opaque name."""
    before = set(names(site))
    site.finish(site.token())
    return (set(names(site)) - before).pop()


def names(site: Any) -> list[str]:
    rows = site.admin("GET", "/admin/api/answers.csv").body.decode().splitlines()[1:]
    return [row.split(",")[1] for row in rows]


@pytest.mark.slow
def test_the_token_stays_in_its_tab_and_a_wrong_one_is_told(browser: Any, site: Any) -> None:
    with Visit(browser, f"{site.url}/admin", expected=WRONG) as visit:
        page = visit.page
        assert page.get_by_label("Admin token").get_attribute("type") == "password"
        page.get_by_label("Admin token").fill("not the right token")
        press(page, "Sign in")
        page.get_by_text("This token is not the right one.").wait_for()
        page.get_by_label("Admin token").fill(ADMIN)
        press(page, "Sign in")
        titled(page, "Progress")
        assert page.evaluate("localStorage.length") == 0 and ADMIN not in page.url
        page.reload()
        titled(page, "Progress")
        titled(visit.tab(), "Sign in")  # another tab has nothing of it
        page.bring_to_front()
        press(page, "Sign out")
        titled(page, "Sign in")
        assert page.evaluate("sessionStorage.length") == 0


@pytest.mark.slow
def test_progress_is_asked_again_and_says_when_it_is_old(browser: Any, site: Any) -> None:
    with Visit(browser, f"{site.url}/admin", expected=WRONG) as visit:
        page = visit.page
        page.clock.install()
        page.reload()
        enter(page)
        finished = page.locator("dt:text-is('Finished') + dd")
        before = int(finished.inner_text())
        site.finish(site.token())
        page.clock.run_for(11_000)
        page.locator(f"dt:text-is('Finished') + dd:text-is('{before + 1}')").wait_for()
        page.route("**/progress", lambda route: route.abort())
        page.clock.run_for(11_000)
        page.get_by_text("The numbers are old.").wait_for()
        page.unroute("**/progress")
        site.finish(site.token())
        page.clock.run_for(11_000)
        page.locator(f"dt:text-is('Finished') + dd:text-is('{before + 2}')").wait_for()
        assert page.get_by_text("The numbers are old.").count() == 0


def enter(page: Any) -> None:
    page.get_by_label("Admin token").fill(ADMIN)
    press(page, "Sign in")
    titled(page, "Progress")


def downloaded(page: Any, name: str, tmp_path: Path) -> bytes:
    with page.expect_download() as waiting:
        press(page, name)
    waiting.value.save_as(tmp_path / "file")
    return (tmp_path / "file").read_bytes()


@pytest.mark.slow
def test_downloads_are_what_the_server_has_and_deleting_asks_first(browser: Any, site: Any, tmp_path: Path) -> None:
    rater = held(site)
    with Visit(browser, f"{site.url}/admin", expected=WRONG) as visit:
        page = visit.page
        enter(page)
        for name in ("answers.csv", "identities.csv"):
            assert downloaded(page, f"Download {name}", tmp_path) == site.admin("GET", f"/admin/api/{name}").body
        page.get_by_label("Name of a rater").fill(rater)
        press(page, "Look up")
        kept = json.loads(downloaded(page, "Export as JSON", tmp_path))
        assert kept == json.loads(page.locator("pre").inner_text())
        assert kept == site.admin("GET", f"/admin/api/raters/{rater}").json
        press(page, "Delete…")
        press(page, "Keep")
        assert rater in names(site)
        press(page, "Delete…")
        press(page, "Delete all of it")
        page.get_by_text("has been deleted").wait_for()
        assert rater not in names(site)
        press(page, "Look up")
        page.get_by_text("There is no such rater").wait_for()
