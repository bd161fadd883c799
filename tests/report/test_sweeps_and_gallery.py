"""What a report makes of sweeps and of pictures."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import io
import itertools
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tedbench import datasets, images, report, store
from tedbench.curves import Curve, Point
from tedbench.errors import UsageError
from tedbench.report import album, building, contact, curveplot, gallery, published, render, shown, table, text
from tedbench.report.gallery import Entry, Picture, Sweep, choose, larger, smaller, spread
from tedbench.types import Cell, Dataset, ImageFile, MetricFacts, Run

HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(1)</script>|`x`'\n\x1b[31m’η"
GRID = (0.0, 0.3, 0.5, 1.0)
LPIPS, SUCCESS = "lpips-alex-0.1/64-crop", "oracle/1"
FACTS = {
    LPIPS: MetricFacts("lpips-alex@64", LPIPS, False, 0.0, 1.7e308, {"family": "lpips"}),
    SUCCESS: MetricFacts("oracle-success", SUCCESS, True, 0.0, 1.0, {"family": "oracle", "values": "binary"}),
}
KNOBS = {"fade": {"name": "weight", "symbol": "η", "default": 0.5}}


def toy_run(folder: Path, knobs: dict[str, Any] = KNOBS, dataset: Dataset | None = None, **renamed: str) -> Path:
    """Crossfades from input to answer of four drawn pairs at `GRID`, and `still`, which has one strength."""
    questions = dataset or datasets.load("toy:dev:4")
    info, grids = questions.info, {"fade": GRID, "still": (0.0,)}
    name = renamed.get("fade", "fade")
    run = Run(folder.name, "", "run", info, {name: {}, "still": {}}, (), {}, {}, "", knobs=knobs)
    with store.new_folder(folder) as scratch:
        cells = []
        for pair, (method, grid) in itertools.product(questions.pairs, grids.items()):
            before, after = images.read(pair.image), images.read(pair.truth or pair.image)
            for seed, strength in itertools.product((0, 1), grid):
                blend = Image.blend(before, after, strength)
                data = images.encode_png(blend.rotate(180) if seed else blend)
                file = f"images/{method}/{images.sha256(pair.uid.encode())[:12]}/s{seed}-{strength}.png"
                (scratch / file).parent.mkdir(parents=True, exist_ok=True)
                (scratch / file).write_bytes(data)
                called = renamed.get(method, method)
                cells.append(Cell(pair.uid, pair.image_id, pair.category, called, seed, strength, "ok", file,
                                  images.sha256(data)))  # fmt: skip
        store.write_run(scratch, run, questions.pairs, cells)
    rows = [
        {"uid": c.uid, "image_id": c.image_id, "category": c.category, "method": c.method, "seed": c.seed,
         "strength": c.strength, "metric": m, "value": float(c.strength or 0) if m == LPIPS else float(c.strength == 1)}
        for c in cells for m in FACTS
    ]  # fmt: skip
    store.write_scores(store.open_run(folder), rows, FACTS)
    return folder


def files_of(*runs: Path) -> dict[str, bytes]:
    return render.files(building.build(table.gather(runs)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_run(tmp_path_factory.mktemp("toy") / "run")


@pytest.fixture(scope="module")
def files(run: Path) -> dict[str, bytes]:
    return files_of(run)


def album_in(page: str) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(r'<script type="application/json" id="album">(.*?)</script>', page)
    return json.loads(found[1]) if found else {}


def pictures_in(page: str) -> list[Image.Image]:
    found = [one for one in album_in(page).get("pictures", ()) if one]
    return [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB") for one in found]


def test_the_table_shows_the_default_strength_and_says_so(files: dict[str, bytes]) -> None:
    rows = list(csv.DictReader(io.StringIO(files["table.csv"].decode())))
    assert [(row["method"], row["strength"], row["shown"], row["strengths"]) for row in rows] == [
        ("fade", "0.5", "default", "4"), ("fade", "0.5", "default", "4"),
        ("still", "0.0", "only", "1"), ("still", "0.0", "only", "1"),
    ]  # fmt: skip
    assert {row["mean"] for row in rows if row["metric"] == LPIPS} == {"0.5", "0.0"}
    for name in ("index.html", "report.md"):
        assert "η 0.5, default of 4" in files[name].decode()
    assert "% fade: shown at" in files["table.tex"].decode()


def test_the_papers_range_of_eta_is_shaded_and_of_no_other_strength(files: dict[str, bytes], tmp_path: Path) -> None:
    assert "#f4ead2" in files["curves.svg"].decode()
    other = toy_run(tmp_path / "other", {"fade": {**KNOBS["fade"], "symbol": "w"}})
    assert "#f4ead2" not in files_of(other)["curves.svg"].decode()


def test_best_of_n_prints_n(run: Path) -> None:
    built = building.build(table.gather([run]), ["fixed?seed_by=oracle-success"])
    made = render.files(built)
    for name in ("index.html", "report.md"):
        assert "best of 2 seeds by oracle-success" in made[name].decode()


def test_without_a_known_default_the_middle_is_shown(run: Path, tmp_path: Path) -> None:
    for knobs, wanted in (({}, 0.3), ({"fade": {**KNOBS["fade"], "default": 0.7}}, 0.3)):
        material = table.gather([toy_run(tmp_path / f"r{len(knobs)}", knobs)])
        one = shown.choose(material)["r" + str(len(knobs)), "fade"]
        assert (one.strength, one.choice, one.of) == (wanted, "middle", 4)
    assert "fade: shown at" in report.terminal_table([run])
    assert "fade · 0.5" in report.terminal_table([run])


def test_a_run_of_one_strength_is_shown_as_it_is(run: Path) -> None:
    material = table.gather([run])
    still = dataclasses.replace(
        material,
        cells=material.cells[material.cells["method"] == "still"],
        scores=material.scores[material.scores["method"] == "still"],
    )
    built = building.build(still)
    pd.testing.assert_frame_equal(built.table.drop(columns=["shown", "strengths"]), table.summary(still))
    beside = published.compare(table.summary(still), published.load(), still.dataset)
    pd.testing.assert_frame_equal(built.beside, beside)
    assert "curves.png" not in render.files(built)


def test_rules_stand_beside_the_fixed_strength(run: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    rules = ("budget@0.3?metric=lpips-alex@64", "budget@-1?metric=lpips-alex@64", "best@oracle-success")
    report.write_report([run], tmp_path / "report", rules=rules)
    made = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    assert set(made) - set(files) == {"rules.csv", report.MARKER}
    rows = list(csv.DictReader(io.StringIO(made["rules.csv"].decode())))
    assert {row["method"] for row in rows} == {"fade"}  # `still` has nothing to choose
    found = {
        metric: [(row["rule"], row["mean"], row["n"], row["gain"]) for row in rows if row["spec"] == metric]
        for metric in ("lpips-alex@64", "oracle-success")
    }
    assert found["lpips-alex@64"] == [
        ("fixed", "0.5", "4", ""), (rules[0], "0.3", "4", "-0.2"), (rules[1], "", "0", ""),
        (rules[2], "1.0", "4", "0.5"),
    ]  # fmt: skip
    assert found["oracle-success"] == [  # nothing is within the second budget: that is a failure
        ("fixed", "0.0", "4", ""), (rules[0], "0.0", "4", "0.0"), (rules[1], "0.0", "4", "0.0"),
        (rules[2], "1.0", "4", "1.0"),
    ]  # fmt: skip
    assert {row["looked"] for row in rows if row["rule"] != "fixed"} == {"4.0"}
    assert {row["rule"] for row in rows if row["upper_bound"] == "True"} == {rules[2]}
    assert {row["interval"] for row in rows if row["spec"] == "oracle-success"} == {"wilson"}
    for name in ("index.html", "report.md"):
        assert "upper bound: it knows the outcome" in made[name].decode()
        assert "By rule" not in files[name].decode()
    with pytest.raises(UsageError, match="clip-text@x, which was not scored"):
        report.write_report([run], tmp_path / "other", rules=["gain@clip-text@x"])
    assert not (tmp_path / "other").exists()


def test_a_reference_run_has_a_section_of_its_own(run: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    """Other questions than the run's, so another place than the run's table, figures and curves.csv."""
    large = toy_run(tmp_path / "large", dataset=datasets.load("toy:dev:6"))
    with pytest.raises(UsageError, match="different lists of pairs"):
        report.write_report([run, large], tmp_path / "together")
    report.write_report([run], tmp_path / "report", large)
    made = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    same = {"table.csv", "table.tex", "curves.csv", "curves.svg", "scores.svg", "gallery.png"}
    assert {name for name in files if files[name] == made[name]} >= same
    assert set(made) - set(files) == {"reference.png", "reference.svg", "reference.pdf", report.MARKER}
    alone = render.files(building.build(table.gather([large])))
    assert made["reference.svg"] == alone["curves.svg"]
    for name in ("index.html", "report.md"):
        before, _, section = made[name].decode().partition("Reference run")
        assert "toy:dev:6: 6 pairs on 3 photos, 2 seeds" in section
        assert re.search(r"[>|] ?6/6 ?[<|]", section) and not re.search(r"[>|] ?6/6 ?[<|]", before)
    assert base64.b64encode(made["reference.svg"]).decode() in made["index.html"].decode()


def test_curves_csv_has_every_point(files: dict[str, bytes]) -> None:
    rows = list(csv.DictReader(io.StringIO(files["curves.csv"].decode())))
    assert len(rows) == 2 * (len(GRID) + 1)
    fade = [row for row in rows if row["method"] == "fade" and row["identity"] == LPIPS]
    assert [(row["strength"], row["mean"]) for row in fade] == [(str(s), str(s)) for s in GRID]
    assert {(row["metric"], row["symbol"], row["pairs"], row["asked"], row["failed"]) for row in fade} == {
        ("lpips-alex@64", "η", "4", "4", "0")
    }


def test_the_figure_names_methods_metrics_strengths_and_symbol(files: dict[str, bytes]) -> None:
    svg = files["curves.svg"].decode()
    said = set(re.findall(r"<!-- (.*?) -->", svg))
    assert {"fade", "still", "1 − lpips-alex@64", "strength η"} <= said
    assert any(label.startswith("oracle-success") for label in said)
    assert {"0", "1"} <= said  # the strengths at the ends
    with Image.open(io.BytesIO(files["curves.png"])) as image:
        assert image.width > 800


def some_lines(n: int, *metrics: str) -> list[curveplot.Line]:
    points = tuple(Point(s, s, math.nan, math.nan, 1, 1, 0) for s in (0.0, 1.0))
    return [curveplot.Line(f"m{k}", "η", {m: Curve("", f"m{k}", m, points) for m in metrics}) for k in range(n)]


def test_one_minus_a_metric_turns_its_interval_round() -> None:
    turned = curveplot._flip(Point(0.5, 0.2, 0.1, 0.4, 3, 4, 1))
    assert dataclasses.astuple(turned) == pytest.approx((0.5, 0.8, 0.6, 0.9, 3, 4, 1))


def test_no_two_methods_look_alike() -> None:
    looks = [curveplot.look(k) for k in range(40)]
    assert len({(look["color"], look["marker"]) for look in looks}) == 40
    assert len({look["color"] for look in looks[:7]}) == 7
    assert len({look["marker"] for look in looks[:7]}) == 7  # also without colours


@pytest.mark.parametrize("metrics", [(LPIPS,), (SUCCESS,), (LPIPS, SUCCESS)])
def test_any_metrics_can_be_drawn(metrics: tuple[str, ...]) -> None:
    facts = {key: FACTS[key] for key in metrics}
    for n in (1, 12):
        drawn = curveplot.draw(some_lines(n, *metrics), facts)
        assert drawn == curveplot.draw(some_lines(n, *metrics), facts)
        svg = drawn["svg"]
        assert ("1 − lpips" in svg.decode()) == (LPIPS in metrics)


def test_the_page_holds_the_runs_own_pixels(run: Path, files: dict[str, bytes]) -> None:
    page = files["index.html"].decode()
    there = {images.pixel_sha256(image) for image in pictures_in(page)}
    pairs = datasets.load("toy:dev:4").pairs
    for pair in pairs:
        assert images.pixel_sha256(images.read(pair.image)) in there
        assert pair.truth
        assert images.pixel_sha256(images.read(pair.truth)) in there
        assert pair.target_text in [card["text"] for card in album_in(page)["cards"]]
    opened = store.open_run(run)
    for cell in opened.cell_list():
        mine = images.pixel_sha256(images.decode(opened.image_bytes(cell), cell.file))
        assert (mine in there) == (cell.seed == 0)
    assert "The first of 2 seeds." in page


def test_the_sheet_enlarges_without_blur(run: Path, files: dict[str, bytes]) -> None:
    with Image.open(io.BytesIO(files["gallery.png"])) as opened:
        sheet = np.asarray(opened.convert("RGB"))
    pair = datasets.load("toy:dev:4").pairs[0]
    doubled = np.asarray(images.read(pair.image)).repeat(2, axis=0).repeat(2, axis=1)
    top = 2 * contact.LINE + 2 * contact.GAP
    assert np.array_equal(sheet[top : top + 128, contact.GAP : contact.GAP + 128], doubled)


def test_without_images_one_line_says_so(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "committed"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "images")
    made = files_of(copy)
    assert "gallery.png" not in made
    for name in ("index.html", "report.md"):
        assert made[name].decode().count(gallery.NO_IMAGES) == 1
    assert not album_in(made["index.html"].decode())


def test_an_image_that_is_gone_or_altered_is_said_not_shown(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(run, copy)
    for k, path in enumerate(sorted((copy / "images").rglob("*.png"))):
        path.write_bytes(b"other") if k % 2 else path.unlink()
    made = files_of(copy)
    assert len(pictures_in(made["index.html"].decode())) == 8  # inputs and answers; the script says of the others why
    data = album_in(made["index.html"].decode())
    assert {data["pictures"][one[1]] for card in data["cards"] for m in card["methods"] for one in m["sweep"]} == {""}


def test_inputs_of_another_data_set_are_not_shown(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = datasets.load("toy:dev:4")
    other = datasets.load("toy:test:4")
    swapped = tuple(dataclasses.replace(b, uid=a.uid) for a, b in zip(real.pairs, other.pairs, strict=True))
    monkeypatch.setattr(datasets, "load", lambda *_: Dataset(real.info, swapped))
    page = files_of(run)["index.html"].decode()
    assert all(card["given"] == [] for card in album_in(page)["cards"])
    assert len(pictures_in(page)) == 4 * (len(GRID) + 1)


def test_prompts_and_names_are_text(tmp_path: Path) -> None:
    drawn = datasets.load("toy:dev:2")
    pairs = tuple(
        dataclasses.replace(pair, uid=f"{k}{HOSTILE}", target_text=HOSTILE, category=HOSTILE)
        for k, pair in enumerate(drawn.pairs)
    )
    info = dataclasses.replace(drawn.info, source="hub")
    knobs = {HOSTILE: {"name": HOSTILE, "symbol": HOSTILE, "default": 0.5}}
    made = files_of(toy_run(tmp_path / "hostile", knobs, Dataset(info, pairs), fade=HOSTILE))
    page = made["index.html"].decode()
    assert re.findall("<script[^>]*>", page) == ['<script type="application/json" id="album">', "<script>"]  # ours
    assert "\x1b" not in page
    assert not re.search(r"<img(?![^>]* src=\"data:)", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert {card["text"] for card in album_in(page)["cards"]} == {text.clean(HOSTILE)}
    assert "<script" not in made["report.md"].decode()
    assert "<script" not in made["curves.svg"].decode()
    assert gallery.NO_INPUTS in page


def test_two_runs_are_told_apart(run: Path, tmp_path: Path) -> None:
    page = files_of(run, toy_run(tmp_path / "again"))["index.html"].decode()
    labels = [method["label"] for card in album_in(page)["cards"] for method in card["methods"]]
    assert labels.count("run · fade") == labels.count("again · fade") == 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=20), st.integers(1, 8))
def test_categories_share_the_gallery_evenly(categories: list[str | None], n: int) -> None:
    pairs = pd.DataFrame({"uid": range(len(categories)), "category": pd.Series(categories, dtype="object")})
    found = choose(pairs, n)
    assert len(found) == min(n, len(pairs))
    assert found["uid"].is_monotonic_increasing
    counts = {c: (found["category"].isna() if c is None else found["category"] == c).sum() for c in set(categories)}
    most = max(counts.values(), default=0)
    for category, count in counts.items():  # one that has fewer has no more to give
        assert count >= most - 1 or count == categories.count(category)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=20, unique=True), st.integers(2, 8))
def test_strengths_are_spread_from_end_to_end(strengths: list[int], n: int) -> None:
    found = spread([float(s) for s in strengths], n)
    assert found == sorted(set(found))
    assert len(found) == min(n, len(strengths))
    assert {found[0], found[-1]} == {min(strengths), max(strengths)}


@pytest.mark.parametrize("size", [(64, 64), (16, 30), (128, 128), (127, 5), (400, 300), (20, 3000)])
def test_sizes(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    small = smaller(image)
    assert max(small.size) <= gallery.SIDE
    assert (small.size == size) == (max(size) <= gallery.SIDE)
    big = larger(small)
    assert max(big.size) <= gallery.SIDE
    assert {tuple(c) for c in np.asarray(big).reshape(-1, 3)} <= {tuple(c) for c in np.asarray(small).reshape(-1, 3)}


def test_large_pictures_are_small_files_and_small_ones_exact() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    files = [images.encode_png(Image.fromarray(noise[:side, :side])) for side in (512, 128)]
    large, small = (ImageFile("a.png", images.sha256(data), data=data) for data in files)
    encoded = album._encoded((None, large), exact=True)
    assert len(encoded) < 40_000
    assert max(Image.open(io.BytesIO(base64.b64decode(encoded))).size) == album.SIDE
    with Image.open(io.BytesIO(base64.b64decode(album._encoded((None, small), exact=True)))) as kept:
        assert np.array_equal(np.asarray(kept.convert("RGB")), noise[:128, :128])
    assert album._encoded((None, ImageFile("b.png", "0" * 64, data=b"no picture")), exact=True) == ""


def test_a_sheet_of_long_texts_and_gaps_has_the_same_bytes_twice() -> None:
    blank = Picture("η 0.5", None, "failed")
    entry = Entry(HOSTILE * 20, HOSTILE * 20, "", (), (Sweep("m" * 300, (blank,) * 3), Sweep("", ())))
    one, other = contact.sheet([entry, dataclasses.replace(entry, sweeps=())]), contact.sheet([entry])
    assert hashlib.sha256(contact.sheet([entry])).digest() == hashlib.sha256(other).digest()
    assert Image.open(io.BytesIO(one)).width < 1200


def test_pairs_that_nobody_edited_do_not_take_a_place(run: Path) -> None:
    material = table.gather([run])
    first, *others = material.pairs["uid"]
    cells = material.cells.assign(status=material.cells["status"].where(material.cells["uid"] != first, "missing"))
    shown_there = gallery.gather(dataclasses.replace(material, cells=cells), {("run", "fade"): "fade"})
    assert [entry.uid for entry in shown_there.entries] == others


def test_a_failed_edit_is_a_failure_of_a_success_and_no_distance(tmp_path: Path) -> None:
    folder = toy_run(tmp_path / "run")
    opened = store.open_run(folder)
    scores = opened.scores()
    gone = [cell.uid == opened.cell_list()[0].uid and cell.method == "fade" for cell in opened.cell_list()]
    cells = [
        dataclasses.replace(cell, status="failed", error="no") if bad else cell
        for cell, bad in zip(opened.cell_list(), gone, strict=True)
    ]
    store.write_cells(folder, cells)
    bad_rows = (scores["uid"] == cells[0].uid) & (scores["method"] == "fade")
    rows = scores.assign(value=scores["value"].mask(bad_rows)).to_dict("records")
    store.write_scores(store.open_run(folder), rows, FACTS)
    material = table.gather([folder])
    at_one = material.scores[(material.scores["method"] == "fade") & (material.scores["strength"] == 1)]
    means = at_one.groupby("metric")["value"].agg(["mean", "count"])
    assert tuple(means.loc[SUCCESS]) == (0.75, 8)  # one of four pairs failed
    assert tuple(means.loc[LPIPS]) == (1.0, 6)
    found = table.summary(shown.only(material, shown.choose(material))).set_index(["method", "metric"])
    assert (found.loc[("fade", SUCCESS), "n"], found.loc[("fade", LPIPS), "n"]) == (4, 3)
    assert set(found.loc["fade", "failed"]) == {2}
    assert set(found["unscored"]) == {0}
