from __future__ import annotations

import base64
import csv
import html.parser
import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tedbench import report, store
from tedbench.errors import StoreError, UsageError
from tedbench.report import building, render, table, text
from tedbench.types import Cell, DatasetInfo, EditPair, ImageFile, MetricFacts, Run

HOSTILE = "<script>alert(1)</script>|`x`*_&%$#{}~^\\\"'\n\t[a](b)’η\x1b[31m"
LPIPS = "lpips-alex-0.1/256-crop-pillow-bicubic"
CLIP = "clip-ViT-B-32/224-shortest-bicubic/cos"
FACTS = {
    LPIPS: MetricFacts(
        "lpips-alex@256", LPIPS, False, 0.0, 1.7e308, {"family": "lpips", "size": 256, "fit": "crop"}, ("a note",)
    ),
    CLIP: MetricFacts("clip-text", CLIP, True, -1.0, 1.0, {"family": "clip-text", "backbone": "ViT-B-32"}),
}


def make_run(folder: Path, method: str = "imagic-published", info_hash: str = "0" * 64, scored: bool = True) -> Path:
    """A run of 6 pairs on 3 photos at two strengths, of which the last pair failed."""
    run = Run(
        folder.name, "2026-01-01T00:00:00Z", "run", DatasetInfo("tedbench", "folder", "e711b1e", info_hash),
        {method: {"steps": 50, "origin": HOSTILE}}, ("tedbench", "run", HOSTILE), {"python": "3"}, {"cores": 2}, "abc",
    )  # fmt: skip
    uids = [f"{k}--{HOSTILE}" for k in range(6)]
    pairs = [EditPair(u, ImageFile("a.png", "1" * 64), HOSTILE, f"i{k // 2}") for k, u in enumerate(uids)]
    cells = [
        Cell(u, f"i{k // 2}", "a|b" if k < 3 else None, method, 0, eta, "ok" if k < 5 else "failed", error=HOSTILE)
        for k, u in enumerate(uids) for eta in (0.6, 0.8)
    ]  # fmt: skip
    with store.new_folder(folder) as scratch:
        store.write_run(scratch, run, pairs, cells)
    rows = [
        {"uid": c.uid, "image_id": c.image_id, "category": c.category, "method": method, "seed": 0, "strength":
         c.strength, "metric": m, "value": math.nan if c.status != "ok" else (hash_of(c.uid) + 1) / 10 + 1e-17}
        for c in cells for m in FACTS
    ]  # fmt: skip
    if scored:
        store.write_scores(store.open_run(folder), rows, FACTS)
    return folder


def hash_of(uid: str) -> int:
    return int(uid[0])


def refill(run: store.RunFolder, value: float) -> None:
    rows = [{str(k): v for k, v in row.items()} for row in run.scores().assign(value=value).to_dict("records")]
    store.write_scores(run, rows, FACTS)


class Reader(html.parser.HTMLParser):
    """Elements, text, and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.stack: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "link", "img"):
            self.stack.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("report")
    runs = [make_run(base / "one"), make_run(base / "two", HOSTILE)]
    files = report.write_report(runs, base / "out")
    assert sorted(files) == sorted((base / "out").iterdir())
    return base / "out"


def test_the_page_is_whole_escaped_and_needs_no_network(written: Path) -> None:
    page = (written / "index.html").read_text(encoding="utf-8")
    reader = Reader(page)
    assert reader.stack == []
    assert reader.tags.count("script") == 1  # ours
    assert "\x1b" not in page
    assert "<script>alert(1)</script>" in reader.text
    assert all(link.startswith(("data:", "#")) for link in reader.links)
    assert {link for link in reader.links if link.startswith("#")} <= {
        f"#{one}" for one in re.findall(r' id="(\w+)"', page)
    }
    assert not re.search(r"url\(|@import|https?://", page)
    assert "not suited to choosing η" in reader.text
    assert "5/6" in reader.text
    assert "partial: 5 of 6 pairs" in reader.text
    assert "quoted second-hand" in reader.text
    assert "a note" in reader.text
    assert not re.search("reproduced", reader.text)


def test_the_embedded_figure_is_the_svg(written: Path) -> None:
    page = (written / "index.html").read_text(encoding="utf-8")
    found = re.search(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page)
    assert found
    svg = base64.b64decode(found[1])
    assert svg == (written / "scores.svg").read_bytes()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    with Image.open(written / "scores.png") as image:
        assert image.width > 800


def test_markdown_tables_keep_their_columns(written: Path) -> None:
    lines = (written / "report.md").read_text(encoding="utf-8").splitlines()
    blocks = [[line for line in block.splitlines() if line.startswith("|")] for block in "\n".join(lines).split("\n\n")]
    seen = 0
    for block in (block for block in blocks if block):
        widths = {len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", line))) for line in block}
        assert len(widths) == 1, block[0]
        seen += 1
    assert seen == 9  # leaderboard, numbers, differences, scores, published, categories, cost, failures, design
    assert "<script" not in "\n".join(lines)
    assert "`" not in re.sub(r"\\`", "", "\n".join(lines))


def test_latex_has_no_bare_specials(written: Path) -> None:
    lines = (written / "table.tex").read_text(encoding="utf-8").splitlines()
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(body) == 4  # each method at one of its strengths
    for line in body:
        assert line.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", line)) == 8
        assert not re.search(r"(?<!\\)[%#_]|\^|~", line)
        depth = 0
        for brace in re.findall(r"(?<!\\)[{}]", line):
            depth += 1 if brace == "{" else -1
            assert depth >= 0
        assert depth == 0
    assert any("partial" in line for line in lines if line.startswith("%"))


def test_the_csv_has_every_digit(written: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((written / "table.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 4
    assert {(row["strength"], row["shown"], row["strengths"]) for row in rows} == {("0.6", "middle", "2")}
    assert {row["method"] for row in rows} == {"imagic-published", HOSTILE}
    everything = table.summary(table.gather([written.parent / "one", written.parent / "two"]))
    expected = everything[everything["strength"] == 0.6]
    assert [float(row["low"]) for row in rows] == expected["low"].to_list()
    assert rows[0]["n"] == "5"
    assert rows[0]["asked"] == "6"


def test_the_same_runs_give_the_same_bytes(written: Path) -> None:
    runs = [written.parent / "one", written.parent / "two"]
    report.write_report(runs, written.parent / "again")
    for file in written.iterdir():
        assert file.read_bytes() == (written.parent / "again" / file.name).read_bytes(), file.name


def test_the_terminal_table(written: Path) -> None:
    shown = report.terminal_table([written.parent / "one"])
    head, *lines = shown.splitlines()
    assert head.split() == ["method", "metric", "mean", "95%", "interval", "median", "pairs", "published"]
    ours = [line for line in lines if line.startswith("imagic-published · 0.6")]
    assert len(ours) == 4  # two metrics, two footnotes
    assert ours[2:] == [
        "imagic-published · 0.6: partial: 5 of 6 pairs",
        "imagic-published · 0.6: 1 of 6 images failed",
    ]
    assert "0.537* (2309.10556)" in shown
    assert "0.63? (2411.16819)" in shown
    assert "5/6" in shown
    assert "\x1b" not in report.terminal_table([written.parent / "two"])


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    report.write_report([run], tmp_path / "out")
    report.write_report([run], tmp_path / "out")
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(StoreError, match=r"mine\.txt"):
        report.write_report([run], tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("kept")
    for out in (tmp_path / "other", run, tmp_path / "other" / "thesis.tex"):
        with pytest.raises(StoreError, match="no report of ours"):
            report.write_report([run], out)
    assert (tmp_path / "other" / "thesis.tex").read_text() == "kept"
    assert store.open_run(run).cells() is not None


def test_a_broken_marker_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("[]")
    with pytest.raises(StoreError, match=r"report\.json"):
        report.write_report([run], tmp_path / "out")


def test_a_report_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    report.write_report([run], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="No space left"):
        report.write_report([run], tmp_path / "out")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_what_cannot_be_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        report.write_report([tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(StoreError, match="tedbench score"):
        report.write_report([make_run(tmp_path / "raw", scored=False)], tmp_path / "out")
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", info_hash="1" * 64)]
    with pytest.raises(UsageError, match="report them apart"):
        report.write_report(runs, tmp_path / "out")
    with pytest.raises(UsageError, match="no run"):
        report.write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_run_named_twice_counts_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert len(table.gather([run, run]).runs) == 1


def test_a_metric_nothing_has_a_value_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    opened = store.open_run(run)
    refill(opened, math.nan)
    report.write_report([run], tmp_path / "out")
    assert "0/6" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_infinite_scores(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    opened = store.open_run(run)
    refill(opened, math.inf)
    files = render.files(building.build(table.gather([run])))
    assert "∞" in files["index.html"].decode()


def test_the_marker_says_what_it_was_made_from(written: Path) -> None:
    marker = json.loads((written / "report.json").read_text(encoding="utf-8"))
    assert marker["runs"] == ["one", "two"]
    assert marker["dataset"] == "0" * 64


@given(st.text(max_size=40))
def test_escapes_keep_one_line_and_no_control_characters(foreign: str) -> None:
    for escape in (text.clean, text.markdown, text.latex):
        assert escape(foreign).isprintable()
    assert not re.search(r"(?<!\\)(\\\\)*[|`<]", text.markdown(foreign).replace("&lt;", ""))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.51649, "0.5165"), (21.534, "21.53"), (-0.5, "−0.5000"), (math.nan, "–"), (math.inf, "∞"), (-math.inf, "−∞")],
)
def test_numbers(value: float, shown: str) -> None:
    assert text.number(value) == shown


def test_real_results_say_that_they_are_a_part(real_data: Path, tmp_path: Path) -> None:
    from tedbench import datasets, importing

    loaded = datasets.load("tedbench", real_data)
    imported = importing.Source(real_data / "imagic", "imagic-published")
    importing.import_folder(imported, loaded, tmp_path / "run")
    run = store.open_run(tmp_path / "run")
    rows = [
        {**{k: getattr(c, k) for k in ("uid", "image_id", "category", "method", "seed", "strength")},
         "metric": LPIPS, "value": 0.5 if c.status == "ok" else math.nan}
        for c in run.cell_list()
    ]  # fmt: skip
    store.write_scores(run, rows, {LPIPS: FACTS[LPIPS]})
    shown = report.terminal_table([tmp_path / "run"])
    assert "40/100" in shown
    assert "partial: 40 of 100 pairs" in shown
