"""A study without a server: a folder for any web host, whose page runs in a real browser; MTurk's batch."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tedbench.errors import StoreError, UsageError
from tedbench.study import allocation, answers, bundle, importing, static
from tedbench.study.bundle import Study
from tests.study import browsing
from tests.study.browsing import PHONE, READY, SMALL, WIDE, Visit, choose, pictures, press, ready, through, titled
from tests.study.conftest import SECRET, write_study

SHORT = {"per_rater": {"questions": 5, "repeats": 1, "checks": 2}}
CODE = {"completion": {"code": "C0DE", "url": "https://example.org/back?cc={code}"}}
SPLIT = {"asking": {"aspects": [{"name": "a", "wording": "A?"}, {"name": "b", "wording": "B?"}], "allow": ["same"]}}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """Any web host; what is in the folder stands in a sub-folder of its site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder.parent)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{folder.name}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("static"), text="<b>a ${bird}</b> ü", **SHORT, **CODE)


@pytest.fixture(scope="module")
def site(study: Study) -> Iterator[str]:
    out = study.path.parent / "web" / "sub"
    static.export(study, out, 6)
    with hosted(out) as url:
        yield url


def drawn(study: Study, raters: int) -> list[list[allocation.Screen]]:
    return allocation.forms(study.lock.seed, study.lock.per_rater, study.key.questions, raters)


def test_forms_are_the_drawn_ones_and_say_nothing_more(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()  # an empty folder will do
    static.export(study, out, 3)
    used = set()
    for number, screens in enumerate(drawn(study, 3), start=1):
        form = json.loads((out / "forms" / f"{number}.json").read_bytes())
        assert [(one["question"], one["flipped"]) for one in form] == [(s.question, s.flipped) for s in screens]
        for one in form:
            assert set(one) == {"slot", "question", "flipped", "text", "input", "left", "right"}
            shown = study.shown[one["question"]]
            sides = (one["right"], one["left"]) if one["flipped"] else (one["left"], one["right"])
            assert (*sides, one["input"]) == (shown.first, shown.second, shown.input)
            used |= {one["input"], one["left"], one["right"]}
    assert {path.name for path in (out / "images").iterdir()} == used
    assert all((out / "images" / n).read_bytes() == (study.path / bundle.IMAGES / n).read_bytes() for n in used)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {"index.html", *(f"forms/{n}.json" for n in (1, 2, 3)), *(f"images/{n}" for n in used)}
    data = re.findall(r'"data">(.*?)</script>', (out / "index.html").read_text())[0]
    told = data + "".join(path.read_text() for path in (out / "forms").iterdir())
    assert not any(f'"{word}"' in told for word in ("main", "gold", "instructed", "A", "B", "C", "kind", "expected"))
    assert not any(SECRET.encode() in path.read_bytes() for path in out.rglob("*") if path.is_file())


@pytest.mark.parametrize("make", ["export", "mturk"])
def test_nothing_is_written_over_and_nothing_half(study: Study, tmp_path: Path, make: str) -> None:
    def write(out: Path, of: Study = study, raters: int = 1) -> None:
        static.export(of, out, raters) if make == "export" else static.mturk(of, out, raters, "https://example.org")

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(UsageError, match="not empty"):
            write(tmp_path / name)
    with pytest.raises(UsageError, match="at least one"):
        write(tmp_path / "none", raters=0)
    broken = write_study(tmp_path / "broken", **SHORT)
    for path in (broken.path / bundle.IMAGES).iterdir():
        path.unlink()
    with pytest.raises(StoreError, match="cannot be"):
        write(tmp_path / "out", of=broken)
    assert {path.name for path in tmp_path.iterdir()} == {"full", "file", "broken"}
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "url", ["http://example.org/", "example.org", "https://", "https://example.org/?a=1", "[https"]
)
def test_mturk_wants_an_https_address_for_pictures(study: Study, tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"https://example\.org/pictures/"):
        static.mturk(study, tmp_path / "out", 1, url)


def test_a_task_that_mturk_would_not_take_is_refused(tmp_path: Path) -> None:
    many = {"per_rater": {"questions": 100, "repeats": 0, "checks": 0}}
    study = write_study(tmp_path, photos=40, text="long " * 100, **many)
    with pytest.raises(UsageError, match="MTurk takes"):
        static.mturk(study, tmp_path / "out", 1, "https://example.org/")


def file_of(page: Any, folder: Path) -> Path:
    """Download what was answered."""
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download your answers").click()
    waiting.value.save_as(folder / waiting.value.suggested_filename)
    return folder / str(waiting.value.suggested_filename)


def said(read: importing.Read) -> list[tuple[int, str, bool, str]]:
    return [(one.slot, one.question, one.flipped, one.choice) for one in read.answers]


@pytest.mark.slow
def test_a_rater_with_a_platforms_name_answers_reloads_and_downloads(
    browser: Any, site: str, study: Study, tmp_path: Path
) -> None:
    with Visit(browser, f"{site}?form=2&PROLIFIC_PID=person-7&STUDY_ID=T") as visit:
        page = visit.begin()
        assert "person" not in page.url and page.locator(".text").text_content() == "<b>a ${bird}</b> ü"
        for keys in (("1", "Enter"), ("ArrowRight", "Enter")):
            ready(page)
            for key in keys:
                page.keyboard.press(key)
        ready(page, 3)
        shown = pictures(page)
        page.reload()
        ready(page, 3)
        assert pictures(page) == shown
        through(page, "Right")
        assert page.locator("code").inner_text() == "C0DE"
        assert page.get_by_role("link", name="Go back").get_attribute("href") == "https://example.org/back?cc=C0DE"
        assert browsing.violations(page) == []
        file = file_of(page, tmp_path)
    (tmp_path / "prolific.csv").write_text("Participant id,Status\nperson-7,APPROVED\n")
    read = importing.read([file, tmp_path / "prolific.csv"], study)
    sides = ["left", "right", "right", "right", "right"]
    wanted = [(k, s.question, s.flipped, sides[k]) for k, s in enumerate(drawn(study, 6)[1])]
    assert said(read) == wanted
    rater = hashlib.sha256(f"{study.lock.tag}\0prolific\0person-7".encode()).hexdigest()[:24]
    assert read.statuses[rater] == "APPROVED" and read.notes == ()
    assert {one.rater for one in read.answers} == {rater} and file.name == f"answers-{rater}.csv"
    assert "person" not in file.read_text()
    assert answers.as_csv(read.answers) == file.read_bytes()  # as the server would write it


@pytest.mark.slow
def test_without_a_number_the_page_asks_and_without_https_names_are_random(
    browser: Any, site: str, study: Study, tmp_path: Path
) -> None:
    unsafe = site.replace("127.0.0.1", browsing.OTHER_HOST)
    with Visit(browser, f"{unsafe}?PROLIFIC_PID=person-8", PHONE) as visit:
        page = visit.page
        assert page.evaluate("window.isSecureContext") is False
        number = page.get_by_label("Your participant number")
        for wrong in ("7", "0", "1.5", "x"):
            number.fill(wrong)
            press(page, "Continue")
            page.get_by_text("no number from 1 to 6").wait_for()
        assert browsing.violations(page) == [] and page.evaluate(SMALL) == page.evaluate(WIDE) == []
        number.fill("6")
        number.press("Enter")
        through(visit.begin())
        file = file_of(page, tmp_path)
    read = importing.read([file], study)
    assert [one.question for one in read.answers] == [s.question for s in drawn(study, 6)[5]]
    hashed = hashlib.sha256(f"{study.lock.tag}\0prolific\0person-8".encode()).hexdigest()[:24]
    assert len(read.answers[0].rater) == 24 and read.answers[0].rater != hashed


@pytest.mark.slow
def test_tabs_agree_withdrawing_deletes_and_a_new_rater_has_a_new_name(browser: Any, site: str, tmp_path: Path) -> None:
    with Visit(browser, f"{site}?form=1") as visit:
        page, other = visit.page, visit.tab()
        titled(other, "Before you begin")
        page.bring_to_front()
        visit.begin()
        choose(page)
        ready(page, 2)
        other.bring_to_front()
        press(other, "Begin")
        ready(other, 2)
        page.bring_to_front()
        choose(page, "Right")
        ready(page, 3)
        other.bring_to_front()
        choose(other)
        ready(other, 3)
        through(other)
        name = file_of(other, tmp_path).name
        press(other, "Stop and withdraw")
        press(other, "Withdraw and delete")
        titled(other, "You have withdrawn")
        assert other.evaluate("localStorage.length") == 0
        other.reload()
        titled(other, "Before you begin")
        press(other, "Begin")
        through(other)
        assert file_of(other, tmp_path).name != name


@pytest.mark.slow
@pytest.mark.parametrize(
    "refuses",
    [
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('forbidden'); } })",
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }",
    ],
)
def test_a_browser_that_keeps_nothing_is_told_and_still_works(
    browser: Any, site: str, study: Study, tmp_path: Path, refuses: str
) -> None:
    with Visit(browser, "about:blank") as visit:
        visit.url = site
        visit.page.add_init_script(refuses)
        visit.page.goto(f"{site}?form=3")
        visit.page.get_by_text("This browser keeps nothing").wait_for()
        through(visit.begin())
        assert len(importing.read([file_of(visit.page, tmp_path)], study).answers) == 5


@pytest.mark.slow
def test_a_formula_in_a_form_stays_text_and_a_missing_form_is_told(browser: Any, study: Study, tmp_path: Path) -> None:
    out = tmp_path / "web" / "sub"
    static.export(study, out, 2)
    form = json.loads((out / "forms" / "1.json").read_bytes())
    form[0]["question"], form[1]["question"] = '=HYPERLINK("x")', "a,b"
    (out / "forms" / "1.json").write_text(json.dumps(form))
    (out / "forms" / "2.json").unlink()
    with hosted(out) as url, Visit(browser, f"{url}?form=1", expected="404") as visit:
        through(visit.begin())
        rows = list(csv.DictReader(io.StringIO(file_of(visit.page, tmp_path).read_text())))
        assert [row["question"] for row in rows[:2]] == ['\'=HYPERLINK("x")', "a,b"]
        visit.page.goto(f"{url}?form=2")
        visit.page.get_by_text("The host of this page answered 404").wait_for()
        assert visit.page.locator(READY).count() == 0
