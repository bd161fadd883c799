from __future__ import annotations

import contextlib
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tedbench import datasets, images, importing, store
from tedbench.errors import DataError, StoreError, UsageError
from tedbench.importing import Source
from tedbench.types import Dataset, EditPair, ImageFile


@pytest.fixture
def world(drawn: tuple[Path, Path]) -> tuple[Dataset, Path]:
    return datasets.load("folder", drawn[0]), drawn[1]


def pair(name: str, text: str) -> EditPair:
    return EditPair("u", ImageFile(name, "0" * 64), text, name)


def test_the_authors_rule() -> None:
    # Names as released; the second text has a full stop inside, only the last one goes.
    rule = importing.TEDBENCH_TEMPLATE
    assert importing.file_name(rule, pair("bird.png", "A bird looking backwards.")) == (
        "bird.png-A_bird_looking_backwards.png"
    )
    autumn = pair("tree_1.jpeg", "A photo of a tree. Taken in autumn.")
    assert importing.file_name(rule, autumn) == "tree_1.jpeg-A_photo_of_a_tree._Taken_in_autumn.png"


def test_every_released_name_is_explained(real_data: Path) -> None:
    loaded = datasets.load("tedbench", real_data)
    expected = set(importing.expected_files(Source(real_data / "imagic", "m"), loaded.pairs).values())
    assert len(expected) == 100
    released = importing.list_images(real_data / "imagic")
    assert len(released) == 40
    assert released <= expected


@given(st.text(max_size=30))
def test_no_template_raises_anything_but_ours(template: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(importing.file_name(template, pair("a.png", "A.")), str)


@pytest.mark.parametrize("template", ["{0}", "{}", "{img_name.__class__}", "{img_name[0]}", "{nope}", "{img_name"])
def test_templates_reach_only_their_fields(template: str) -> None:
    with pytest.raises(UsageError, match="--template"):
        importing.file_name(template, pair("a.png", "A."))


def test_a_whole_folder(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, edits = world
    found = importing.import_folder(Source(edits, "m"), dataset, tmp_path / "run")
    assert (found.ok, found.asked) == (len(dataset.pairs), len(dataset.pairs))
    assert not (found.missing or found.failed or found.extra)
    run = store.open_run(tmp_path / "run")
    for cell in run.cell_list():
        original = Image.open(edits / cell.source_file)
        stored = images.decode(run.image_bytes(cell), cell.file)
        assert np.array_equal(np.asarray(original.convert("RGB")), np.asarray(stored))


def test_what_is_missing_extra_or_broken_is_told(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, edits = world
    names = sorted(importing.list_images(edits))
    (edits / names[0]).unlink()
    (edits / names[1]).write_bytes(b"not an image")
    Image.new("RGB", (64, 64)).save(edits / "stray.png")
    found = importing.import_folder(Source(edits, "m"), dataset, tmp_path / "run")
    asked = len(dataset.pairs)
    assert (found.ok, len(found.missing), len(found.failed), found.extra) == (asked - 2, 1, 1, ("stray.png",))
    cells = store.open_run(tmp_path / "run").cells()
    assert len(cells) == asked
    assert cells["status"].value_counts().to_dict() == {"ok": asked - 2, "missing": 1, "failed": 1}
    assert (cells.loc[cells["status"] != "ok", "error"] != "").all()
    with pytest.raises(DataError, match="--strict"):
        importing.import_folder(Source(edits, "m", strict=True), dataset, tmp_path / "strict")
    assert not (tmp_path / "strict").exists()


def test_a_jpeg_called_png_is_stored_as_the_png_of_its_pixels(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, edits = world
    name = sorted(importing.list_images(edits))[0]
    Image.open(edits / name).convert("RGB").save(edits / name, format="JPEG")
    pixels = np.asarray(Image.open(edits / name))
    importing.import_folder(Source(edits, "m"), dataset, tmp_path / "run")
    run = store.open_run(tmp_path / "run")
    cell = next(cell for cell in run.cell_list() if cell.source_file == name)
    data = run.image_bytes(cell)
    assert images.is_png(data)
    assert np.array_equal(np.asarray(images.decode(data, name)), pixels)


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def manifest_rows(dataset: Dataset, edits: Path) -> list[dict[str, str]]:
    names = importing.expected_files(Source(edits, "m"), dataset.pairs)
    return [{"img_name": p.image.name, "target_text": p.target_text, "file": names[p.uid]} for p in dataset.pairs]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_manifest_and_a_template_give_the_same_run(world: tuple[Dataset, Path], tmp_path: Path, suffix: str) -> None:
    dataset, edits = world
    manifest = write_manifest(tmp_path / f"m{suffix}", manifest_rows(dataset, edits))
    importing.import_folder(Source(edits, "m", manifest=manifest), dataset, tmp_path / "a")
    importing.import_folder(Source(edits, "m"), dataset, tmp_path / "b")
    assert store.open_run(tmp_path / "a").cell_list() == store.open_run(tmp_path / "b").cell_list()


def test_pairs_left_out_of_a_manifest_are_missing(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, edits = world
    manifest = write_manifest(tmp_path / "m.csv", manifest_rows(dataset, edits)[:2])
    found = importing.import_folder(Source(edits, "m", manifest=manifest), dataset, tmp_path / "a")
    assert (found.ok, found.asked) == (2, len(dataset.pairs))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows, rows[0]], "second file"),
        (lambda rows: [{**rows[0], "file": "../outside.png"}, *rows[1:]], "outside"),
        (lambda rows: [{**rows[0], "file": "/etc/hostname"}, *rows[1:]], "hostname"),
        (lambda rows: [{**rows[0], "file": rows[1]["file"]}, *rows[1:]], "each needs its own"),
        (lambda rows: [{**rows[0], "target_text": "Nobody asked."}, *rows[1:]], "no pair"),
        (lambda rows: [{**rows[0], "target_text": "NaN"}, *rows[1:]], "target_text is blank"),
        (lambda rows: [{k: v for k, v in row.items() if k != "file"} for row in rows], "'file'"),
    ],
)
def test_bad_manifests_are_refused_whole(world, tmp_path, change, message) -> None:  # type: ignore[no-untyped-def]
    dataset, edits = world
    Image.new("RGB", (64, 64)).save(edits.parent / "outside.png")
    manifest = write_manifest(tmp_path / "m.csv", change(manifest_rows(dataset, edits)))
    with pytest.raises(DataError, match=message):
        importing.import_folder(Source(edits, "m", manifest=manifest), dataset, tmp_path / "run")
    assert not list(tmp_path.glob("*run*"))


def test_links_that_leave_the_folder_are_refused(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, edits = world
    name = sorted(importing.list_images(edits))[0]
    shutil.move(edits / name, tmp_path / "secret.png")
    (edits / name).symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="leaves"):
        importing.import_folder(Source(edits, "m"), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_file_cannot_answer_two_questions(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, edits = world
    with pytest.raises(DataError, match="each needs its own"):
        importing.import_folder(Source(edits, "m", template="{image_id}.png"), dataset, tmp_path / "run")


def test_a_folder_that_answers_nothing_says_what_was_expected(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, _ = world
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="--template"):
        importing.import_folder(Source(tmp_path / "empty", "m"), dataset, tmp_path / "run")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 81, "é"])
def test_method_names_are_folder_names(world: tuple[Dataset, Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--method"):
        importing.import_folder(Source(world[1], name), world[0], tmp_path / "run")


def test_a_run_is_not_overwritten(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    importing.import_folder(Source(world[1], "m"), world[0], tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(StoreError, match="exists already"):
        importing.import_folder(Source(world[1], "n"), world[0], tmp_path / "run")
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_what_a_generator_writes_into_a_picture_does_not_come_along(
    world: tuple[Dataset, Path], tmp_path: Path
) -> None:
    """Prompts, paths and keys stand in texts of a PNG; where the camera was, in its EXIF."""
    from PIL.PngImagePlugin import PngInfo

    dataset, edits = world
    files = sorted(edits.glob("*.png"))
    for file, where in zip(files, ("text", "exif", "tail"), strict=False):
        told, exif = PngInfo(), Image.Exif()
        if where == "text":
            told.add_text("parameters", "a cat, by the secret model of jane")
        if where == "exif":
            exif[0x010E] = "jane secret"
        with Image.open(file) as opened:
            opened.load()
            opened.save(file, pnginfo=told, exif=exif)
        if where == "tail":
            file.write_bytes(file.read_bytes() + b"jane secret")
    before = {file.name: images.pixel_sha256(images.decode(file.read_bytes(), file.name)) for file in files}
    bare = {file.name: file.read_bytes() for file in files[3:]}
    importing.import_folder(Source(edits, "m"), dataset, tmp_path / "run")
    run = store.open_run(tmp_path / "run")
    for cell in run.cell_list():
        data = run.image_bytes(cell)
        assert b"jane" not in data
        assert images.pixel_sha256(images.decode(data, cell.file)) == before[cell.source_file]
        if cell.source_file in bare:
            assert data == bare[cell.source_file]  # nothing to take out: bytes as they were
