"""TEdBench, TEdBench++, captions and the hub, against the real files."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tedbench import datasets, images
from tedbench.datasets import hub
from tedbench.datasets.tedbench import release, result_name
from tedbench.errors import DataError, NetworkError, UnknownName, UsageError

SHARED = Path(__file__).parents[3] / "shared" / "data"
REAL, PLUS = SHARED / "tedbench", SHARED / "tedbench-plusplus"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason="TEdBench's files are not beside the checkout")


@pytest.fixture(autouse=True)
def _no_ambient_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TEDBENCH_DATA", raising=False)
    monkeypatch.delenv("TEDBENCH_HUB_REVISION", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(REAL, tmp_path / "copy", ignore=shutil.ignore_patterns("imagic"), copy_function=shutil.copyfile)
    for folder in (tmp_path / "copy", tmp_path / "copy" / "originals"):
        folder.chmod(0o755)
    return tmp_path / "copy"


@needs_data
def test_manifest_says_what_the_files_say() -> None:
    known = release()
    listing = json.loads((REAL / "input_list.json").read_bytes())
    assert [(row["img_name"], row["target_text"]) for row in listing] == list(known.pairs)
    assert set(known.originals) == {path.name for path in (REAL / "originals").iterdir()}
    for name, facts in known.originals.items():
        data = (REAL / "originals" / name).read_bytes()
        image = images.decode(data, name)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (facts.sha256, facts.bytes)
        assert (*image.size, images.pixel_sha256(image)) == (facts.width, facts.height, facts.pixel_sha256)
    for name, digest in known.results.items():
        assert hashlib.sha256((REAL / "imagic" / name).read_bytes()).hexdigest() == digest


def test_manifest_counts() -> None:
    known = release()
    assert len(known.pairs) == 100 and len({text for _, text in known.pairs}) == 97
    assert len(known.originals) == 40 and len({facts.sha256 for facts in known.originals.values()}) == 39
    assert {name for name, _ in known.pairs} == set(known.originals) and len(known.results) == 40


@needs_data
def test_tedbench_loads_as_released() -> None:
    data = datasets.load("tedbench", REAL)
    assert [(pair.image.name, pair.target_text) for pair in data.pairs] == list(release().pairs)
    assert len({pair.uid for pair in data.pairs}) == 100 and len({pair.image_id for pair in data.pairs}) == 39
    birds = {pair.image_id for pair in data.pairs if pair.image.name in {"bird.png", "bird.jpeg"}}
    assert len(birds) == 1
    assert data.info.location == str(REAL) and data.info.revision == datasets.PINNED
    assert datasets.verify("tedbench", REAL) == []


@needs_data
def test_tedbench_folder_is_found_by_environment_or_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data.*TEDBENCH_DATA.*tedbench data fetch"):
        datasets.load("tedbench")
    datasets.default_folder("tedbench").parent.mkdir(parents=True)
    datasets.default_folder("tedbench").symlink_to(REAL)
    cached = datasets.load("tedbench")
    assert cached.info.location == str(tmp_path / "cache" / "tedbench" / "tedbench")
    monkeypatch.setenv("TEDBENCH_DATA", str(REAL))
    assert datasets.load("tedbench").pairs == cached.pairs
    monkeypatch.setenv("TEDBENCH_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="gone"):
        datasets.load("tedbench")


@needs_data
def test_line_ends_do_not_matter(copy: Path) -> None:
    listing = copy / "input_list.json"
    listing.write_bytes(listing.read_bytes().replace(b"\r\n", b"\n"))
    assert datasets.load("tedbench", copy).pairs == datasets.load("tedbench", REAL).pairs
    assert datasets.verify("tedbench", copy) == []


@needs_data
def test_every_altered_missing_or_extra_file_is_named(copy: Path) -> None:
    (copy / "originals" / "cat.jpeg").unlink()
    (copy / "originals" / "zebra.jpeg").write_bytes(b"no zebra")
    (copy / "originals" / "extra.png").write_bytes(b"")
    with pytest.raises(DataError, match="tedbench data verify") as error:
        datasets.load("tedbench", copy)
    assert "cat.jpeg: missing" in str(error.value) and "zebra.jpeg: altered" in str(error.value)
    *needed, extra = [line.split(" (")[0] for line in datasets.verify("tedbench", copy)]
    assert sorted(needed) == ["originals/cat.jpeg: missing", "originals/zebra.jpeg: altered"]
    assert extra.startswith("originals/extra.png: extra")


@needs_data
@pytest.mark.parametrize("change", ["typo", "short", "junk", "gone"])
def test_another_list_is_refused(copy: Path, change: str) -> None:
    listing = copy / "input_list.json"
    rows = json.loads(listing.read_bytes())
    rows[3]["target_text"] = "Another text."
    text = {"typo": json.dumps(rows), "short": json.dumps(rows[:50]), "junk": "{"}.get(change)
    listing.unlink() if text is None else listing.write_text(text)
    says = {"typo": "entry 4", "short": "50 entries", "junk": "not valid JSON", "gone": "missing"}[change]
    with pytest.raises(DataError, match=says):
        datasets.load("tedbench", copy)
    assert says in datasets.verify("tedbench", copy)[0]


@needs_data
def test_plusplus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = datasets.load("tedbench++", PLUS)  # finds ../tedbench/originals
    with (PLUS / "tedbench++.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["img_name"], row["target_text"]) for row in csv.DictReader(file)]
    assert [(pair.image.name, pair.target_text) for pair in data.pairs] == rows and len(rows) == 127
    ids = {pair.image.name: pair.image_id for pair in datasets.load("tedbench", REAL).pairs}
    assert all(pair.image_id == ids[pair.image.name] for pair in data.pairs)
    assert len({pair.uid for pair in data.pairs}) == 127 and any("’" in pair.target_text for pair in data.pairs)
    assert datasets.verify("tedbench++", PLUS) == []
    row = next(row for row in datasets.list_datasets() if row.name == "tedbench++")
    assert (row.pairs, row.images) == (127, len({pair.image_id for pair in data.pairs}))

    alone = tmp_path / "list.csv"
    shutil.copyfile(PLUS / "tedbench++.csv", alone)
    with pytest.raises(DataError, match="no originals"):
        datasets.load("tedbench++", alone)
    monkeypatch.setenv("TEDBENCH_DATA", str(REAL))
    assert datasets.load("tedbench++", alone).pairs == data.pairs
    assert datasets.load("tedbench++", alone).info.sha256 == data.info.sha256
    alone.write_text(alone.read_text(encoding="utf-8").replace("cat.jpeg", "kat.jpeg"), encoding="utf-8")
    with pytest.raises(DataError, match=r"kat\.jpeg"):
        datasets.load("tedbench++", alone)
    assert "kat.jpeg" in datasets.verify("tedbench++", alone)[0]


@needs_data
def test_plusplus_is_whole_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEDBENCH_DATA", str(REAL))
    whole = (PLUS / "tedbench++.csv").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "list.csv"
    for lines, count in [(whole[:4], 3), (whole[:-1], 126), ([*whole[:-1], whole[-1].replace(",", ",Not ", 1)], 127)]:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with pytest.raises(DataError, match=rf"list\.csv: {count} rows .* 127 .*--dataset folder") as error:
            datasets.load("tedbench++", path)
        assert "\n" not in str(error.value) and datasets.verify("tedbench++", path) == [str(error.value)]
    path.write_text("\r\n".join(whole) + "\r\n", encoding="utf-8", newline="")
    assert datasets.load("tedbench++", path).pairs == datasets.load("tedbench++", PLUS).pairs
    with (PLUS / "tedbench++.csv").open(encoding="utf-8", newline="") as source, path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["target_text", "img_name"], extrasaction="ignore")
        table.writeheader()
        table.writerows(csv.DictReader(source))
    assert datasets.load("tedbench++", path).pairs == datasets.load("tedbench++", PLUS).pairs
    (line,) = datasets.verify("tedbench++", path)
    assert "same 127 pairs" in line


@needs_data
def test_results_are_optional_but_compared(copy: Path) -> None:
    known = release()
    results = copy / "imagic"
    results.mkdir()
    good, bad = list(known.results)[:2]
    shutil.copyfile(REAL / "imagic" / good, results / good)
    other = next(name for pair in known.pairs if (name := result_name(*pair)) not in known.results)
    (results / other).write_bytes(b"no digest on record")
    assert datasets.verify("tedbench", copy) == []
    (results / bad).write_bytes(b"another picture")
    (results / "mine.png").write_bytes(b"")
    (results / f"{good}.part").write_bytes(b"")
    (copy / "input_list.json.part").write_bytes(b"")
    (copy / "notes.txt").write_bytes(b"")
    assert [line.split(" (")[0].split(";")[0].split(",")[0] for line in datasets.verify("tedbench", copy)] == [
        f"imagic/{bad}: altered",
        *sorted([f"imagic/{good}.part: unfinished download", "imagic/mine.png: extra"]),
        "input_list.json.part: unfinished download",
        "notes.txt: extra",
    ]


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'tedbench'\?"):
        datasets.load("tedbenc")
    with pytest.raises(UnknownName):
        datasets.verify("tedbenc")
    with pytest.raises(UnknownName):
        datasets.load("tedbench", tmp_path, source="hob")
    with pytest.raises(UsageError, match="hub"):
        datasets.load("folder", tmp_path, source="hub")
    assert tuple(row.name for row in datasets.list_datasets()) == datasets.NAMES


CAPTIONS = {"name": "ours", "version": "2", "dataset": "tedbench", "provenance": "two people, by hand"}


@needs_data
def test_captions_fill_source_texts(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({**CAPTIONS, "captions": {"cat.jpeg": "A cat on a chair."}}))
    plain, data = datasets.load("tedbench", REAL), datasets.load("tedbench", REAL, captions=path)
    for before, after in zip(plain.pairs, data.pairs, strict=True):
        assert after == replace(before, source_text="A cat on a chair." if after.image.name == "cat.jpeg" else None)
    assert data.info.captions == f"ours 2 {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    assert data.info.sha256 == plain.info.sha256


@needs_data
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"provenance": ""}, "provenance"),
        ({"version": None}, "version"),
        ({"dataset": "tedbench++"}, "captions are for"),
        ({"captions": {"dodo.png": "x"}}, r"dodo\.png"),
        ({"captions": {"cat.jpeg": "nan"}}, "blank"),
        ({"captions": []}, "map img_name"),
    ],
)
def test_captions_of_unclear_origin_are_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({**CAPTIONS, "captions": {"cat.jpeg": "A cat."}, **change}))
    with pytest.raises(DataError, match=says):
        datasets.load("tedbench", REAL, captions=path)


def rows_of_hub() -> list[tuple[str, bytes]]:
    """The released pairs out of order, one image encoded anew."""
    rows = [(text, (REAL / "originals" / name).read_bytes()) for name, text in release().pairs]
    rows[7] = (rows[7][0], images.encode_png(images.decode(rows[7][1], "x")))
    return rows[60:] + rows[:60][::-1]


@needs_data
def test_hub_copy_equals_folder(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = rows_of_hub()
    columns = {
        "original_image": [{"bytes": data, "path": None} for _, data in rows],
        "caption": [text for text, _ in rows],
        "edited_image": [{"bytes": b"not looked at", "path": None} for _ in rows],
    }
    kinds = {"original_image": "Image", "caption": "Value", "edited_image": "Image"}
    features = {
        name: {"_type": kind} | ({"dtype": "string"} if kind == "Value" else {}) for name, kind in kinds.items()
    }
    (tmp_path / "hub" / "data").mkdir(parents=True)
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "hub" / "data" / "val-00000-of-00001.parquet")
    folder, hubbed = datasets.load("tedbench", REAL), datasets.load("tedbench", tmp_path / "hub", source="hub")
    assert hubbed.pairs == folder.pairs and hubbed.info.sha256 == folder.info.sha256
    assert hubbed.info.source == "hub" and hubbed.info.location == str(tmp_path / "hub")
    for pair in hubbed.pairs:
        assert images.pixel_sha256(images.read(pair.image)) == release().originals[pair.image.name].pixel_sha256
    with pytest.raises(DataError, match="datasets"):
        datasets.load("tedbench", tmp_path, source="hub")


@needs_data
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[1:], "no row for"),
        (lambda rows: [rows[1], *rows[1:]], "row 2 .*met twice"),
        (lambda rows: [("Another text.", rows[0][1]), *rows[1:]], "row 1 .*not asked of this image"),
        (lambda rows: [(rows[0][0], b"no image"), *rows[1:]], "row 1 .*not in the release"),
        (lambda rows: [(rows[0][0], rows[9][1]), *rows[1:]], "row 1 "),
    ],
)
def test_hub_rows_are_the_released_ones_or_refused(change: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        hub.match(change(rows_of_hub()))  # type: ignore[operator]


def test_hub_without_network_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NetworkError, match="--data") as error:
        datasets.load("tedbench", source="hub")
    assert "\n" not in str(error.value)
