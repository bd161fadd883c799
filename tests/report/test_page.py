"""The page in a real browser: Debian's Chromium, driven by Playwright, checked by axe-core."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tedbench import datasets, importing, report, store
from tests.report.test_sweeps_and_gallery import FACTS, HOSTILE, LPIPS, SUCCESS, toy_run

pytestmark = pytest.mark.slow
SIZES = ((390, 844), (820, 1180), (1440, 900))
"""A telephone, a tablet, a desk: CSS pixels."""
MISSING = "chromium is not installed; continuous integration installs Debian's"
SCORED = Path(__file__).parents[2] / "results" / "tedbench-imagic-published"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a toy run whose method has a hostile name, with a rule."""
    base = tmp_path_factory.mktemp("page")
    knobs = {HOSTILE: {"name": "weight", "symbol": "η", "default": 0.5}}
    run = toy_run(base / "run", knobs, datasets.load("toy:dev:30"), fade=HOSTILE)
    scores = store.open_run(run).scores()
    turn = {uid: k / 100 for k, uid in enumerate(dict.fromkeys(scores["uid"]))}  # so that pairs differ
    moved = scores["value"].where(scores["metric"] != LPIPS, scores["value"] * scores["uid"].map(turn).astype(float))
    store.write_scores(store.open_run(run), scores.assign(value=moved).to_dict("records"), FACTS)
    report.write_report([run], base / "report", rules=["best@oracle-success"])
    return base / "report" / "index.html"


@pytest.fixture(scope="module")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the 40 released results of Imagic, with the scores that are committed."""
    base = tmp_path_factory.mktemp("real")
    source = importing.Source(real_data / "imagic", "imagic-published")
    importing.import_folder(source, datasets.load("tedbench", real_data), base / "run")
    for name in ("scores.parquet", "metrics.json"):
        shutil.copy(SCORED / name, base / "run")
    report.write_report([base / "run"], base / "report")
    return base / "report" / "index.html"


class Visit:
    """A page that was opened, and what it did that it should not."""

    def __init__(self, browser: Any, file: Path, size: tuple[int, int] = SIZES[2], scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", self._asked)
        self.file = file.resolve().as_uri()
        self.page.goto(self.file)

    def _asked(self, request: Any) -> None:
        if request.url != self.file and not request.url.startswith("data:"):
            self.said.append(f"request: {request.url}")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def column(self, table: str, name: str) -> list[str]:
        """The `data-v` of a column, row by row."""
        script = """([table, name]) => { const t = document.querySelector(table);
          const k = Array.from(t.tHead.rows[0].cells).findIndex((c) => c.textContent.trim().startsWith(name));
          return Array.from(t.tBodies[0].rows, (r) => r.cells[k].dataset.v ?? r.cells[k].textContent); }"""
        found: list[str] = self.page.evaluate(script, [table, name])
        return found

    def uids(self) -> list[str]:
        """Of the cards, in order."""
        found: list[str] = self.page.eval_on_selector_all(".card", "all => all.map((one) => one.dataset.uid)")
        return found


OUTSIDE = """() => Array.from(document.querySelectorAll("main *")).filter((one) => {
  if (one.closest(".scroll, nav, dialog, .strip") || !one.getClientRects().length) return false;
  const box = one.getBoundingClientRect();
  return box.right > window.innerWidth + 0.5 || box.left < -0.5 || (one.children.length === 0
    && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible");
}).map((one) => one.outerHTML.slice(0, 120))"""
OVERLAP = """() => { const boxes = Array.from(document.querySelectorAll("main > :not(nav):not(script):not(dialog)"))
  .filter((one) => one.getClientRects().length).map((one) => one.getBoundingClientRect());
  return boxes.slice(1).filter((box, k) => box.top < boxes[k].bottom - 1).length; }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("which", ["toy", "real"])
def test_it_stands_at_every_width_in_both_colour_schemes(
    which: str, size: tuple[int, int], scheme: str, browser: Any, request: pytest.FixtureRequest
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with Visit(browser, request.getfixturevalue(which), size, scheme) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert visit.page.evaluate(OUTSIDE) == []
        assert visit.page.evaluate(OVERLAP) == 0
        checked = Axe().run(visit.page).response
        assert len(checked["passes"]) > 15
        assert [v["id"] for v in checked["violations"] if v["impact"] in ("serious", "critical")] == []
        assert visit.said == []


def test_tables_sort_by_number_and_what_is_missing_comes_last(toy: Path, browser: Any) -> None:
    with Visit(browser, toy) as visit:
        for name in ("Mean", "95% interval"):
            head = visit.page.locator("#rules ~ .scroll table.sorts th button", has_text=name).first
            for direction in ("ascending", "descending"):
                head.click()
                found = visit.column("#rules ~ .scroll table.sorts", name)
                numbers = [float(one) for one in found if one]
                assert numbers == sorted(numbers, reverse=direction == "descending")
                assert found[len(numbers) :] == [""] * (len(found) - len(numbers))
                assert head.locator("xpath=..").get_attribute("aria-sort") == direction
        table = "#leaderboard ~ .scroll table.sorts"
        visit.page.locator(f"{table} th button", has_text="lpips-alex").first.click()
        planted = """(one) => Array.from(document.querySelector(one).tBodies[0].rows).forEach((row, k) => {
          row.cells[2].dataset.v = ["Infinity", "1", "-Infinity", "0"][k]; })"""
        visit.page.evaluate(planted, table)
        visit.page.locator(f"{table} th button").nth(2).click()
        first = [
            float(one)
            for one in visit.page.eval_on_selector_all(
                f"{table} >> nth=0 >> tbody tr td:nth-child(3)", "all => all.map((one) => one.dataset.v)"
            )
        ]
        assert first == sorted(first) or first == sorted(first, reverse=True)  # infinite ones have a place
        gains = visit.column("#rules ~ .scroll table.sorts", "Gain")
        assert "" in gains  # the fixed strength has none
        assert visit.said == []


def test_pictures_come_a_few_at_a_time_and_filters_choose_them(toy: Path, browser: Any) -> None:
    album = json.loads(re.findall(r'id="album">(.*?)</script>', toy.read_text(encoding="utf-8"))[0])
    cards = {card["uid"]: card for card in album["cards"]}
    metric = [one["spec"] for one in album["metrics"]].index("lpips-alex@64")
    distance = dict(zip(cards, album["scores"][metric][0], strict=True))
    with Visit(browser, toy) as visit:
        page = visit.page
        assert visit.uids() == list(cards)[:12]
        assert page.locator("main img").count() < len(album["pictures"]) / 2
        page.click("#more")
        page.click("#more")
        assert visit.uids() == list(cards) and len(cards) == 30
        assert page.locator("#more").is_hidden()
        page.select_option("select[name=order]", "worst")
        page.select_option("select[name=metric]", str(metric))
        page.select_option("select[name=method]", "0")
        assert visit.uids() == sorted(cards, key=lambda uid: -distance[uid])[:12]  # of LPIPS, the farthest
        page.select_option("select[name=order]", "best")
        assert visit.uids() == sorted(cards, key=lambda uid: distance[uid])[:12]
        category = next(iter(cards.values()))["category"]
        page.select_option("select[name=category]", category)
        wanted = [uid for uid in cards if cards[uid]["category"] == category]
        assert visit.uids() == sorted(wanted, key=lambda uid: distance[uid])
        assert visit.said == []


def test_a_picture_opens_its_whole_sweep_by_mouse_and_by_keyboard(toy: Path, browser: Any) -> None:
    with Visit(browser, toy, SIZES[0]) as visit:
        page, view = visit.page, visit.page.locator("#sweeps")
        button = page.locator(".card button.pic").first
        button.click()
        assert view.is_visible()
        first = view.locator("section").nth(1)
        assert first.locator("li").count() == 4  # every strength
        assert first.locator("li small").all_inner_texts()[::2] == ["η 0", "η 0.3", "η 0.5", "η 1"]
        assert "lpips-alex 0.000" in first.inner_text()
        loaded = (
            "all => all.every((one) => one.complete && one.naturalWidth === 64 && one.classList.contains('pixels'))"
        )
        page.wait_for_function(f"({loaded})(Array.from(document.querySelectorAll('#sweeps img')))")
        page.keyboard.press("Escape")
        assert view.is_hidden()
        assert button.evaluate("one => one === document.activeElement")
        page.keyboard.press("Enter")
        assert view.is_visible()
        view.locator("header button").click()
        assert view.is_hidden()
        assert visit.said == []


def test_a_hostile_name_stays_text_and_a_smuggled_script_would_not_run(toy: Path, browser: Any) -> None:
    with Visit(browser, toy) as visit:
        assert (
            "<script>alert(1)</script>" in visit.page.locator("#leaderboard ~ .scroll th[scope=row]").first.inner_text()
        )
        visit.page.locator(".card button.pic").first.click()
        assert "<script>" in visit.page.locator("#sweeps").inner_text()
        assert visit.said == []
        visit.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"x\" onerror=\"alert(1)\">')")
        visit.page.wait_for_timeout(200)
        refused = [one for one in visit.said if "Content Security Policy" in one]
        assert len(refused) == 2  # neither the address nor the script
        assert "1" not in visit.said  # alert would have said so


def test_success_is_in_the_leaderboard(toy: Path, browser: Any) -> None:
    with Visit(browser, toy) as visit:
        heads = visit.page.locator("#leaderboard ~ .scroll thead th").all_inner_texts()
        assert any(FACTS[SUCCESS].spec in head for head in heads)
