import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tedbench import datasets, images
from tedbench.datasets import drawn
from tedbench.datasets.download import result_name
from tedbench.errors import DataError, UsageError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, value in {"a.png": 10, "b.png": 200}.items():
        Image.new("RGB", (20, 24), (value, 0, 0)).save(tmp_path / name)
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    return tmp_path


def write(folder: Path, rows: list[dict[str, str]], name: str = "manifest.csv") -> None:
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def row(name: str = "a.png", text: str = "A dog.", **more: str) -> dict[str, str]:
    return {"img_name": name, "target_text": text, **more}


def test_folder_loads(home: Path) -> None:
    write(home, [row(source_text="A cat.", mask="b.png"), row("copy.png", "A cow.", source_text="", mask="nan")])
    first, second = datasets.load("folder", home).pairs
    assert (first.uid, first.source_text, first.image_id) == ("a.png--a-dog", "A cat.", "a.png")
    assert first.mask == images.file_from_path(home / "b.png")
    assert (second.image.name, second.image_id, second.source_text, second.mask) == ("copy.png", "a.png", None, None)
    assert datasets.verify("folder", home) == []


def test_formats_of_the_manifest_agree(home: Path) -> None:
    rows = [row(uid="one", category="x", image_id="k"), row("b.png", "A cow.", uid="two", category="y", image_id="k")]
    write(home, rows)
    expected = datasets.load("folder", home)
    (home / "manifest.csv").unlink()
    (home / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert datasets.load("folder", home) == expected
    assert [(pair.uid, pair.category, pair.image_id) for pair in expected.pairs] == [
        ("one", "x", "k"),
        ("two", "y", "k"),
    ]
    write(home, rows)
    with pytest.raises(DataError, match="keep one"):
        datasets.load("folder", home)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([row(), row(text="NaN")], "row 2.*blank"),
        ([row(), row()], r"^manifest\.csv, rows 1 and 2 have the same question"),
        ([row(), row("copy.png")], r"^manifest\.csv, rows 1 and 2 have the same question"),
        ([row(uid="u"), row("b.png", uid="U")], "same uid"),
        ([row(uid="a/b")], r"^manifest\.csv, row 1: uid .* cannot name a file"),
        ([row("gone.png")], r"^manifest\.csv, row 1: gone\.png: no such file"),
        ([row(f"{'a' * 300}.png")], "row 1: a+.png: no such file"),
        ([row("../a.png")], r"row 1:.*'\.\.'"),
        ([row("/etc/hostname")], "absolute"),
        ([row("out/x.png")], "symbolic link"),
        ([row("text.png")], r"row 1: text\.png: does not decode"),
        ([row("")], "is empty"),
        ([row(mask="small.png")], "make them one size"),
        ([row(truth="text.png")], "does not decode"),
        ([{"picture": "a.png", "target_text": "x"}], "no column img_name"),
    ],
)
def test_what_is_wrong_is_named(home: Path, rows: list[dict[str, str]], says: str) -> None:
    (home / "text.png").write_text("I am no image")
    Image.new("RGB", (20, 20)).save(home / "small.png")
    (home / "out").symlink_to(home.parent)
    write(home, rows)
    with pytest.raises(DataError, match=says) as error:
        datasets.load("folder", home)
    assert datasets.verify("folder", home) == [str(error.value)]
    assert "\n" not in str(error.value)


def test_a_folder_without_table_is_told_what_it_needs(home: Path) -> None:
    for folder in (home, home / "gone", None):
        with pytest.raises(DataError, match=r"a folder needs manifest\.csv"):
            datasets.load("folder", folder)


@pytest.mark.parametrize("place", ["", "train"])
def test_imagefolder_equals_manifest(home: Path, place: str) -> None:
    rows = [row(source_text="A cat."), row("b.png", "A cow.", source_text="")]
    write(home, rows)
    expected = datasets.load("folder", home).pairs
    (home / "manifest.csv").unlink()
    folder = home / place
    folder.mkdir(exist_ok=True)
    for name in ("a.png", "b.png") if place else ():
        (home / name).rename(folder / name)
    write(folder, [{"file_name": r.pop("img_name"), **r} for r in rows], "metadata.csv")
    found = datasets.load("folder", home).pairs
    assert [(p.target_text, p.source_text, p.image.sha256) for p in found] == [
        (p.target_text, p.source_text, p.image.sha256) for p in expected
    ]
    assert [p.image.path for p in found] == [folder / "a.png", folder / "b.png"]


def test_imagefolder_with_mask_and_without_texts(home: Path) -> None:
    write(home, [{"file_name": "a.png", "target_text": "A dog.", "mask_file_name": "b.png"}], "metadata.csv")
    (pair,) = datasets.load("folder", home).pairs
    assert pair.mask == images.file_from_path(home / "b.png")
    write(home, [{"file_name": "a.png", "target_text": ""}], "metadata.csv")
    with pytest.raises(DataError, match=r"row 1.*target_text"):
        datasets.load("folder", home)


METADATA = [
    {"file_name": "a.png", "target_text": "None", "uid": "001", "category": "1", "source_text": "NA"},
    {"file_name": "b.png", "target_text": "007", "uid": "002", "category": "", "source_text": "1.50"},
]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_imagefolder_keeps_texts_as_written(home: Path, suffix: str) -> None:
    if suffix == "csv":
        write(home, METADATA, "metadata.csv")
    else:
        (home / "metadata.jsonl").write_text("\n".join(map(json.dumps, METADATA)))
    found = datasets.load("folder", home).pairs
    assert [(p.target_text, p.uid, p.category, p.source_text) for p in found] == [
        ("None", "001", "1", "NA"),
        ("007", "002", None, "1.50"),
    ]


def test_imagefolder_names_table_and_row(home: Path) -> None:
    for change, says in [
        ({"target_text": " "}, r"^metadata\.csv, row 2 .*target_text is blank"),
        ({"uid": "001"}, r"^metadata\.csv, rows 1 and 2 have the same uid"),
        ({"file_name": "../b.png"}, r"^metadata\.csv, row 2: .*'\.\.'"),
        ({"file_name": "gone.png"}, r"gone\.png|imagefolder"),
    ]:
        write(home, [METADATA[0], METADATA[1] | change], "metadata.csv")
        with pytest.raises(DataError, match=says):
            datasets.load("folder", home)


@pytest.mark.parametrize("table", ["manifest.csv", "metadata.csv"])
def test_a_symbolic_link_to_the_folder_is_the_folder(home: Path, table: str) -> None:
    inside = home / "real"
    inside.mkdir()
    (home / "a.png").rename(inside / "a.png")
    write(inside, [{"file_name": "a.png", "target_text": "A dog."}], table)
    (home / "link").symlink_to(inside)
    (linked,), (plain,) = (datasets.load("folder", home / name).pairs for name in ("link", "real"))
    assert (linked.uid, linked.image.name, linked.image.sha256) == (plain.uid, "a.png", plain.image.sha256)


def test_drawn_data_is_whole_and_repeats(tmp_path: Path) -> None:
    data, edits = drawn.write(tmp_path / "one", n=4, seed=3)
    again, other = drawn.write(tmp_path / "two", n=4, seed=3)
    dataset = datasets.load("folder", data)
    assert dataset.info.sha256 == datasets.load("folder", again).info.sha256
    assert len(dataset.pairs) == 6 and len({pair.image_id for pair in dataset.pairs}) == 4
    assert {path.name for path in edits.iterdir()} == {
        result_name(pair.image.name, pair.target_text) for pair in dataset.pairs
    }
    for pair in dataset.pairs:
        name = result_name(pair.image.name, pair.target_text)
        assert (edits / name).read_bytes() == (other / name).read_bytes()
        assert pair.mask and pair.truth and pair.source_text
        source, truth = (np.asarray(images.read(file)) for file in (pair.image, pair.truth))
        inside = np.asarray(images.read_mask(pair.mask)) >= 128
        assert np.array_equal(inside, (source != truth).any(axis=2)) and 0 < inside.mean() < 0.5
        error = np.abs(truth.astype(float) - np.asarray(Image.open(edits / name))).mean()
        assert 1 < error < 30
    assert datasets.load("folder", drawn.write(tmp_path / "three", n=4, seed=4)[0]).pairs != dataset.pairs
    with pytest.raises(UsageError):
        drawn.write(tmp_path, n=0)
