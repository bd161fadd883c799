"""A study built from runs: who is compared with whom, on which pictures, and what raters could find out."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tedbench import datasets, environment, images, importing, scoring, store
from tedbench.datasets import drawn
from tedbench.datasets.download import result_name
from tedbench.errors import DataError, StoreError, UnknownName, UsageError
from tedbench.study import building, bundle, lock
from tedbench.study.bundle import MAIN, Study
from tedbench.types import Cell, Dataset, Run

FEW = {"questions": 7, "repeats": 1, "checks": 2}
GOOD, SMALL, BAD = "good", "small", "ugly"  # no word that hex digits could spell


def imported(edits: Path, dataset: Dataset, out: Path, method: str) -> Path:
    importing.import_folder(importing.Source(edits, method), dataset, out)
    return out


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three runs: of good edits; the same smaller and wider, two near and one equal; one missing and one broken."""
    folder = tmp_path_factory.mktemp("world")
    data, edits = drawn.write(folder, n=6)
    dataset = datasets.load("folder", data)
    small, bad = folder / "small", folder / "bad"
    small.mkdir()
    bad.mkdir()
    names = [result_name(pair.image.name, pair.target_text) for pair in dataset.pairs]
    for at, name in enumerate(names):
        edit = images.decode((edits / name).read_bytes(), name)
        edit.resize((160, 96), Image.Resampling.BICUBIC).save(small / name)
        pixels = np.asarray(edit).copy()
        pixels[:4, :4] ^= 1 if at == 1 else 0  # near: hardly to be seen
        Image.fromarray(pixels if at in (0, 1) else 255 - pixels).save(bad / name)  # the first is the same picture
    (bad / names[2]).unlink()
    (bad / names[3]).write_bytes(b"no picture")
    runs = {
        GOOD: imported(edits, dataset, folder / "runs" / GOOD, GOOD),
        SMALL: imported(small, dataset, folder / "runs" / SMALL, SMALL),
        BAD: imported(bad, dataset, folder / "runs" / BAD, BAD),
    }
    return {"runs": runs, "dataset": dataset, "uids": [pair.uid for pair in dataset.pairs]}


def build(world: dict[str, Any], out: Path, names: tuple[str, ...] = (GOOD, SMALL, BAD), **chosen: Any) -> Study:
    choices = lock.check({"per_rater": FEW, **chosen}, "test")
    building.build([world["runs"][name] for name in names], world["dataset"], out, choices)
    return bundle.open_study(out)


def shown(study: Study, name: str) -> Image.Image:
    return images.decode((study.path / bundle.IMAGES / name).read_bytes(), name)


def test_every_pair_on_every_question_once_and_failures_are_told(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s")
    pairs = list(itertools.combinations((GOOD, SMALL, BAD), 2))
    lost = set(world["uids"][2:4])
    wanted = {(uid, frozenset(pair)) for uid in world["uids"] for pair in pairs if not (uid in lost and BAD in pair)}
    asked = [(one.uid, frozenset((one.first.label, one.second.label))) for one in study.main]
    assert Counter(asked) == Counter(wanted)
    assert study.lock.comparisons == len(wanted)
    told = {(one.uid, one.lost_by) for one in study.key.unasked}
    assert told == {(uid, BAD) for uid in lost}
    assert study.lock.unasked == len(study.key.unasked) == 4
    assert any("no picture" in one.why or "decode" in one.why for one in study.key.unasked)


def test_pairs_of_methods_and_questions_get_equal_shares(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s")
    by_pair: Counter[frozenset[str]] = Counter()
    for one in study.main:
        by_pair[frozenset((one.first.label, one.second.label))] += one.share  # type: ignore[assignment]
    assert all(share == pytest.approx(1 / 3) for share in by_pair.values())


def test_balance_by_photo_gives_photos_equal_shares(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s", (GOOD, SMALL), balance="photo")
    by_photo: Counter[str] = Counter()
    for one in study.main:
        by_photo[one.image_id] += one.share  # type: ignore[assignment]
    texts = Counter(one.image_id for one in study.main)
    assert set(texts.values()) == {1, 2}  # else this would test nothing
    assert all(share == pytest.approx(1 / 6) for share in by_photo.values())


def test_pictures_are_of_one_size_and_show_what_the_runs_hold(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s")
    assert study.public.size == 96  # the shortest side of any result on each question
    for one in study.main:
        see = study.shown[one.id]
        for result, name in ((one.first, see.first), (one.second, see.second)):
            run = store.open_run(world["runs"][result.label])
            cell = next(cell for cell in run.cell_list() if cell.uid == one.uid)
            wanted = images.fit(images.decode(run.image_bytes(cell), "x"), 96)
            assert images.pixel_sha256(shown(study, name)) == images.pixel_sha256(wanted)
            assert result.sha256 == cell.sha256
        pair = next(pair for pair in world["dataset"].pairs if pair.uid == one.uid)
        assert see.text == pair.target_text
        assert images.pixel_sha256(shown(study, see.input)) == images.pixel_sha256(
            images.fit(images.read(pair.image), 96)
        )


def test_a_small_picture_shrinks_its_own_question_alone(world: dict[str, Any], tmp_path: Path) -> None:
    edits = tmp_path / "edits"
    edits.mkdir()
    run = store.open_run(world["runs"][GOOD])
    for at, cell in enumerate(run.cell_list()):
        one = images.decode(run.image_bytes(cell), cell.file)
        (one.resize((40, 40)) if at == 4 else one).save(edits / cell.source_file)
    run_folder = imported(edits, world["dataset"], tmp_path / "run", "few")
    choices = lock.check({"per_rater": FEW}, "test")
    building.build([run_folder, *list(world["runs"].values())[:2]], world["dataset"], tmp_path / "s", choices)
    study = bundle.open_study(tmp_path / "s")
    sides = {(one.uid, shown(study, study.shown[one.id].first).size[0]) for one in study.main}
    assert sides == {(uid, 40 if at == 4 else 96) for at, uid in enumerate(world["uids"])}


def test_what_raters_can_see_names_no_method(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s")
    text = (study.path / bundle.PUBLIC).read_text()
    said = [*world["runs"], *world["uids"], *(one.image_id for one in study.main), "sha256", "gold", "instructed"]
    assert not [word for word in said if word in text]
    for path in (study.path / "public").rglob("*"):
        assert not path.is_file() or path.suffix == ".json" or images.is_bare_png(path.read_bytes())
    firsts = Counter(one.first.label for one in study.main if {one.first.label, one.second.label} == {GOOD, SMALL})
    assert len(firsts) == 2  # the first picture is not always the same method's
    order = [study.key.by_id[one.id].kind for one in study.public.questions]
    assert order != sorted(order)
    assert (study.path / bundle.KEY).stat().st_mode & 0o077 == 0


def test_identical_and_near_pictures_are_flagged(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s", size=200)
    flags = {one.uid: one.flags for one in study.main if {one.first.label, one.second.label} == {GOOD, BAD}}
    assert flags[world["uids"][0]] == ("identical",)
    assert flags[world["uids"][1]] == ("near",)
    assert not any(flags[uid] for uid in world["uids"][4:])
    without = build(world, tmp_path / "t", size=200, leave_out=["identical", "near"])
    assert not any(one.flags for one in without.main)
    gone = [one for one in without.key.unasked if not one.lost_by]
    assert {one.uid for one in gone} == set(world["uids"][:2])


def test_checks_have_an_answer(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s", (GOOD, SMALL))
    golds = [one for one in study.key.questions if one.kind == bundle.GOLD]
    assert len(golds) >= 5
    for one in golds:
        see = study.shown[one.id]
        names = {"first": see.first, "second": see.second}
        whole = {one.expected: names[one.expected]}
        whole_pixels = np.asarray(shown(study, whole[one.expected])).astype(int)
        other = np.asarray(shown(study, names["second" if one.expected == "first" else "first"])).astype(int)
        assert np.abs(np.diff(other, axis=0)).mean() > 1.2 * np.abs(np.diff(whole_pixels, axis=0)).mean()
        # the same colours, tile by tile: nothing but their order tells them apart
        assert np.abs(np.sort(other.ravel()) - np.sort(whole_pixels.ravel())).mean() < 3
    told = [one for one in study.key.questions if one.kind == bundle.INSTRUCTED]
    assert {one.expected for one in told} == {"left", "right"}
    assert all(one.expected in study.shown[one.id].text.lower() for one in told)


def test_neither_leaves_instructions_alone(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s", (GOOD, SMALL), asking={"allow": ["same", "neither"]})
    kinds = {one.kind for one in study.key.questions}
    assert kinds == {MAIN, bundle.INSTRUCTED}


def test_two_builds_share_no_names_and_differ_in_nothing_else(world: dict[str, Any], tmp_path: Path) -> None:
    one, other = build(world, tmp_path / "a"), build(world, tmp_path / "b")
    names = [{q.id for q in study.public.questions} for study in (one, other)]
    assert not names[0] & names[1]
    said = [
        {(q.uid, q.kind, q.first.label, q.second.label, q.expected) for q in study.key.questions if q.kind == MAIN}
        for study in (one, other)
    ]
    assert said[0] == said[1]


def test_a_study_that_was_changed_does_not_open(world: dict[str, Any], tmp_path: Path) -> None:
    study = build(world, tmp_path / "s")
    path = study.path / lock.NAME
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "exclusions": {**raw["exclusions"], "failed_checks": None}}))
    with pytest.raises(StoreError, match="changed after the study was built"):
        bundle.open_study(study.path)
    path.write_text(json.dumps(raw))
    picture = next((study.path / bundle.IMAGES).iterdir())
    picture.write_bytes(picture.read_bytes() + b" ")
    with pytest.raises(StoreError, match="public"):
        bundle.open_study(study.path)


@pytest.mark.parametrize(
    ("chosen", "error", "said"),
    [
        ({"methods": ["good", "gone"]}, UnknownName, "no method named 'gone'"),
        ({"methods": ["good"]}, UsageError, "two methods or more"),
        ({"primary": {"first": "good", "second": "good"}}, UsageError, "with itself"),
        ({"primary": {"first": "good", "second": "gone"}}, UsageError, "'gone', who does not take part"),
        ({"primary": {"first": "good", "second": "ugly", "aspect": "x"}}, UsageError, "'x', which is not asked"),
        ({"per_rater": {"questions": 50}}, UsageError, "44 new questions, but there are 23"),
        ({"rule": "best@psnr@64"}, StoreError, "no scores"),
    ],
)
def test_what_cannot_be_built_leaves_nothing(
    world: dict[str, Any], tmp_path: Path, chosen: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        build(world, tmp_path / "s", **chosen)
    assert not list(tmp_path.iterdir())


def test_another_list_of_pairs_is_refused(world: dict[str, Any], tmp_path: Path) -> None:
    other = datasets.take(world["dataset"], 3)
    with pytest.raises(DataError, match="another list of pairs"):
        building.build(list(world["runs"].values()), other, tmp_path / "s", lock.check({"per_rater": FEW}, "test"))


def swept(dataset: Dataset, out: Path) -> Path:
    """A run of two methods at two strengths and two seeds: nearer and farther from the truth by turns."""
    cells = []
    for method, seed, strength in itertools.product(("a", "b"), (3, 4), (0.25, 0.75)):
        folder = out / "images" / method
        folder.mkdir(parents=True, exist_ok=True)
        for at, pair in enumerate(dataset.pairs):
            away = 10 + 40 * ((at + (strength > 0.5) + (method == "b")) % 2) + seed
            pixels = np.clip(np.asarray(images.read(pair.image)).astype(int) + away, 0, 255).astype(np.uint8)
            data = images.encode_png(Image.fromarray(pixels))
            name = f"images/{method}/{pair.uid}-{seed}-{strength}.png"
            (out / name).write_bytes(data)
            cells.append(Cell(pair.uid, pair.image_id, None, method, seed, strength, "ok", name, images.sha256(data)))
    knob = {"name": "eta", "symbol": "η", "default": 0.75}
    run = Run(
        "swept",
        environment.now(),
        "run",
        dataset.info,
        {"a": {}, "b": {}},
        (),
        {},
        {},
        "",
        knobs={"a": knob, "b": knob},
    )
    store.write_run(out, run, dataset.pairs, cells)
    scoring.score_run(store.open_run(out), dataset, scoring.make_metrics(("psnr@64",)))
    return out


def test_strengths_are_the_default_or_by_rule(world: dict[str, Any], tmp_path: Path) -> None:
    run = swept(world["dataset"], tmp_path / "swept")
    few = {"per_rater": {**FEW, "questions": 6}}
    building.build([run], world["dataset"], tmp_path / "plain", lock.check(few, "t"))
    plain = bundle.open_study(tmp_path / "plain")
    assert {one.first.strength for one in plain.main} == {0.75}
    assert {one.first.seed for one in plain.main} == {3}
    assert plain.lock.contenders[0].strength == "η 0.75, default of 2"
    building.build([run], world["dataset"], tmp_path / "rule", lock.check({**few, "rule": "best@psnr@64"}, "t"))
    ruled = bundle.open_study(tmp_path / "rule")
    order = [pair.uid for pair in world["dataset"].pairs]
    for one in ruled.main:
        for result in (one.first, one.second):
            nearer = 0.25 if (order.index(one.uid) + (result.label == "b")) % 2 == 0 else 0.75
            assert (result.seed, result.strength) == (3, nearer)  # the first seed, whatever the other would give
    assert "best@psnr@64 (upper bound" in ruled.lock.contenders[0].strength
    spec = "best@psnr@64?seed_by=psnr@64"
    building.build([run], world["dataset"], tmp_path / "seeds", lock.check({**few, "rule": spec}, "t"))
    seeds = bundle.open_study(tmp_path / "seeds")
    assert {one.first.seed for one in seeds.main} == {3}  # nearer than seed 4 everywhere
    assert seeds.lock.contenders[0].seed is None
