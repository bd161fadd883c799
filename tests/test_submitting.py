from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tedbench import answers, datasets, importing, licences, scoring, store, submitting
from tedbench.config import MethodConfig, RunConfig
from tedbench.datasets import drawn as drawing
from tedbench.errors import StoreError
from tedbench.running import runner
from tedbench.shortening import Shortener, shortened
from tedbench.types import Dataset, DatasetInfo

HOME = "/" + "home/ann"  # in pieces, so that no test of what is committed finds a path here


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scored run over pictures whose licence allows them to be shared."""
    out = tmp_path_factory.mktemp("toy") / "run"
    config = RunConfig((MethodConfig("identity"),), dataset="toy:2", seeds=(0, 1))
    runner.run(config, out, ("tedbench", "run", "--data", f"{HOME}/my data", f"--out={HOME}/x/run", "../../ann/y"))
    scoring.score_run(store.open_run(out), runner.load(config), scoring.make_metrics(["ssim@64"]))
    return out


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A scored run over pictures that state no licence, and its data set."""
    place = tmp_path_factory.mktemp("theirs")
    data, edits = drawing.write(place / "drawn", n=3)
    dataset = datasets.load("folder", data)
    broken = sorted(importing.list_images(edits))[0]
    (edits / broken).write_bytes(b"not an image")
    importing.import_folder(importing.Source(edits, "m"), dataset, place / "run")
    scoring.score_run(store.open_run(place / "run"), dataset, scoring.make_metrics(["ssim@64"]))
    return place / "run", dataset


def submit(run: Path, out: Path, images: bool | None = None) -> submitting.Submitted:
    return submitting.submit(store.open_run(run), out, images)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as made:
        return {name: made.read(name) for name in made.namelist()}


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(toy, tmp_path / "a.zip")
    shutil.copytree(toy, tmp_path / "elsewhere" / "run")
    monkeypatch.chdir(tmp_path)
    submit(Path("elsewhere/run"), tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as made:
        assert made.testzip() is None
        names = made.namelist()
        assert names == [*sorted(set(names) - {"submission.json"}), "submission.json"]


def test_submission_json_names_every_file_by_its_hash(toy: Path, tmp_path: Path) -> None:
    submit(toy, tmp_path / "a.zip")
    files = contents(tmp_path / "a.zip")
    said = json.loads(files.pop("submission.json"))
    assert said["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
    }
    assert said["cells"] == {"ok": 4, "failed": 0, "missing": 0}
    whole = {path.relative_to(toy).as_posix() for path in toy.rglob("*") if path.is_file()}
    assert set(files) == whole - {"events.jsonl", "sweeps/done.jsonl"}  # of use to a runner alone


def test_images_go_in_where_a_licence_allows_it_or_when_asked_for(
    toy: Path, theirs: tuple[Path, Dataset], tmp_path: Path
) -> None:
    def packed(run: Path, images: bool | None) -> tuple[int, str]:
        out = tmp_path / f"{run.parent.name}-{images}.zip"
        done = submit(run, out, images)
        assert json.loads(contents(out)["submission.json"])["images"]["included"] == done.images.included
        return sum(name.startswith("images/") for name in contents(out)), done.images.why

    assert packed(toy, None) == (4, "the data set's licence, Apache-2.0, allows it")
    assert packed(toy, False)[0] == 0
    assert packed(theirs[0], None) == (0, "the data set states no licence")
    made, why = packed(theirs[0], True)
    assert made == sum(cell.status == "ok" for cell in store.open_run(theirs[0]).cell_list())
    assert "states no licence" in why and "answers for it" in why


def test_input_photos_masks_and_truths_never_go_in(theirs: tuple[Path, Dataset], tmp_path: Path) -> None:
    run, dataset = theirs
    submit(run, tmp_path / "a.zip", images=True)
    inputs = {pair.image.sha256 for pair in dataset.pairs} | {pair.mask.sha256 for pair in dataset.pairs if pair.mask}
    packed = {hashlib.sha256(data).hexdigest() for data in contents(tmp_path / "a.zip").values()}
    assert len(inputs) > 3 and not inputs & packed


def test_failed_cells_are_said(theirs: tuple[Path, Dataset], tmp_path: Path) -> None:
    assert submit(theirs[0], tmp_path / "a.zip").failed == 1


def damage_image(run: Path) -> None:
    Image.new("RGB", (64, 64)).save(next((run / "images").rglob("*.png")))


def forget_scores(run: Path) -> None:
    (run / "scores.parquet").unlink()


def lose_a_score(run: Path) -> None:
    scores = store.read_scores(run)
    scores.iloc[1:].to_parquet(run / "scores.parquet", index=False)


def change_a_row(run: Path) -> None:
    cells = store.open_run(run).cell_list()
    store.write_cells(run, [cells[1], cells[0], *cells[2:]])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage_image, "sha256 differs"),
        (forget_scores, "has no scores"),
        (lose_a_score, "no score for some images"),
        (change_a_row, "scored on other images"),
    ],
)
def test_what_could_not_be_verified_is_not_packed(toy, tmp_path, harm, message):  # type: ignore[no-untyped-def]
    shutil.copytree(toy, tmp_path / "run")
    harm(tmp_path / "run")
    with pytest.raises(StoreError, match=message):
        submit(tmp_path / "run", tmp_path / "out" / "a.zip")
    assert [path for path in tmp_path.rglob("*") if ".zip" in path.name] == []


def test_an_archive_is_never_replaced(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"mine")
    with pytest.raises(StoreError, match="exists already"):
        submit(toy, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"mine"


def test_no_path_of_the_machine_is_packed(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    raw = json.loads((run / "run.json").read_text())
    raw["dataset"]["location"] = "../../ann/data"
    raw["methods"]["identity"]["model"] = f"{HOME}/my models/sd15"
    raw["config"]["paths"] = {"identity": {"model": "../../ann/models/sd15"}}
    (run / "run.json").write_text(json.dumps(raw))
    record = sorted((run / "sweeps").rglob("*.json"))[0]
    said = json.loads(record.read_text()) | {"traceback": f'File "{HOME}/venv/a.py", line 3\nno {HOME}/m: gone\n'}
    record.write_text(json.dumps(said))
    done = submit(run, tmp_path / "a.zip")
    files = contents(tmp_path / "a.zip")
    assert [name for name, data in files.items() if b"ann" in data] == []
    packed = json.loads(files["run.json"])
    assert packed["command"] == ["tedbench", "run", "--data", "…/my data", "--out=…/run", "…/y"]
    assert packed["methods"]["identity"]["model"] == "…/sd15"
    assert packed["dataset"]["location"] == ""
    assert "run.json command 3" in done.shortened and "run.json dataset location, left out" in done.shortened
    assert any(re.search(r"/s0\.[0-9a-f]{8}\.json traceback$", what) for what in done.shortened)
    assert json.loads(files["submission.json"])["shortened"] == list(done.shortened)
    assert files["pairs.jsonl"] == (run / "pairs.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (f"{HOME}/data/dog.png: gone", "…/dog.png: gone"),
        (f"--data={HOME}/data", "--data=…/data"),
        (f"{HOME}", "…"),
        (f"file://{HOME}/a/b", "…/b"),
        ("~/a/b", "…/b"),
        ("~bob/a", "…/a"),
        ("../../ann/b c", "…/b c"),
        ("a/../../../ann/b", "…/b"),
        (r"C:\Users\ann\data", "…/data"),
        (f"PATH={HOME}/a:{HOME}/b", "PATH=…/a:…/b"),
        ("images/m/u.png", "images/m/u.png"),
        ("./data", "./data"),
        ("and/or a/b", "and/or a/b"),
        ("lpips-alex-0.1/256-crop", "lpips-alex-0.1/256-crop"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("http://gpu7:8000/v1", "http://…/v1"),
        ("http://10.1.2.3:8000/v1", "http://…/v1"),
        ("https://ann:secret@example.org/v1", "https://…/v1"),
        ("1 / 2", "1 / 2"),
        (f"no such file: {HOME}/My Secret Client/model v2/x.pt", "no such file: …/x.pt"),
        (f"{HOME}/My Secret Client/model v2/x.pt", "…/x.pt"),
        (f"crossfade?model={HOME}/my dir/deep/x", "crossfade?model=…/x"),
        (f"model={HOME}/x(1)/secret/y", "model=…/y"),
        (f"open('{HOME}/My Client/a b.pt', 'rb')", "open('…/a b.pt', 'rb')"),
        (f'File "{HOME}/My Client/a (1).py", line 3', 'File "…/a (1).py", line 3'),
        (f"copy {HOME}/a b/c to {HOME}/d e/f now", "copy …/c to …/f now"),
        (f"no {HOME}/My Client (old) x/m.pt: gone", "no …/m.pt: gone"),
        (f"/mnt/ann's stuff/{'x/y'}", "…/y"),
        (r"at \\server\share\ann\x", "at …/x"),
        (r"\\server\share", "…"),
        (r"toy?path=..\ann\m", "toy?path=…/m"),
        (r"'C:\\Users\\ann\\My Data\\x'", "'…/x'"),
        ("D:/data/ann/z", "…/z"),
        (f"ann@gpu7:{HOME}/x", "…/x"),
        ("ann@gpu7:/", "…"),
        ("from ann@gpu7:runs/x", "from …/x"),
        ("ann@gpu7.example.org: permission denied", "…: permission denied"),
        ("ssh://ann@host/home/x/y", "ssh://…/y"),
        ("ssh://ann@host", "ssh://…"),
        ("s3://bucket/deep/x", "s3://…/x"),
        ("no user ~ann here", "no user … here"),
        ("about ~5 s", "about ~5 s"),
        ("crossfade@toy: out of memory", "crossfade@toy: out of memory"),
        ("clip-text@hf-hub:org/name@main", "clip-text@hf-hub:org/name@main"),
        (f"clip-text@local-dir:{HOME}/m", "clip-text@local-dir:…/m"),
    ],
)
def test_paths_are_shortened_and_nothing_else(text: str, short: str) -> None:
    whole = shortened(text, prose=" " in text and not text.startswith("."))
    assert whole == short
    assert shortened(whole) == short


def test_a_home_with_a_space_is_one_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", f"{HOME} lee")
    assert shortened(f"cannot read {HOME} lee/m/x.bin at all") == "cannot read …/x.bin at all"


def test_folders_that_are_known_are_one_path_in_front_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, run = tmp_path / "my work [a]", tmp_path / "her run (b)"
    here.mkdir()
    monkeypatch.chdir(here)
    assert shortened(f"in {here}, not {here}/x.pt or {here}s") == f"in …, not …/x.pt or {shortened(f'{here}s')}"
    assert Shortener(run).json([f"no {run}/x.pt: gone", str(run)], "f") == ["no …/x.pt: gone", "…"]


def test_a_long_text_is_shortened_soon() -> None:
    text = " ".join([f"{HOME}/a", *["word"] * 20_000, "((((" * 2_000, f"{HOME}/b c/d"])
    started = time.perf_counter()
    assert "ann" not in shortened(text)
    assert time.perf_counter() - started < 5


def test_what_is_shortened_is_a_copy() -> None:
    value = {"a": [f"{HOME}/b"]}
    shortener = Shortener()
    assert shortener.json(value, "f") == {"a": ["…/b"]}
    assert value == {"a": [f"{HOME}/b"]} and shortener.changed == ["f a 0"]


@pytest.mark.parametrize(
    ("licence", "shared"),
    [
        ("Apache-2.0", True), ("CC BY 4.0", True), ("cc-by-sa-3.0", True), ("CC0-1.0", True), ("MIT, CC-BY-4.0", True),
        ("CC-BY-NC-4.0", True), ("", False), ("CC-BY-ND-4.0", False), ("proprietary", False), ("MIT, ask me", False),
    ],
)  # fmt: skip
def test_only_licences_under_which_changed_copies_may_be_shared(licence: str, shared: bool) -> None:
    assert licences.allows(licence) is shared
    assert licences.decide(licence, None).included is shared
    assert licences.decide(licence, True).included and not licences.decide(licence, False).included


def with_licences(folder: Path, column: str, values: list[str]) -> None:
    header, *rows = (folder / "manifest.csv").read_text().splitlines()
    filled = [f"{row},{values[at % len(values)]}" for at, row in enumerate(rows)]
    (folder / "manifest.csv").write_text("\n".join([f"{header},{column}", *filled]) + "\n")


@pytest.mark.parametrize(
    ("column", "values", "licence"),
    [
        ("licence", ["CC-BY-4.0"], "CC-BY-4.0"),
        ("license", ["MIT", "CC0-1.0"], "CC0-1.0, MIT"),
        ("licence", ["MIT", ""], ""),
    ],
)
def test_a_manifest_can_name_the_licence(drawn, column, values, licence):  # type: ignore[no-untyped-def]
    before = datasets.load("folder", drawn[0])
    with_licences(drawn[0], column, values)
    after = datasets.load("folder", drawn[0])
    assert (before.info.licence, after.info.licence) == ("", licence)
    assert before.info.sha256 == after.info.sha256 and before.pairs == after.pairs


def test_tedbench_states_none_and_the_toy_world_the_projects(real_data: Path) -> None:
    assert datasets.load("tedbench", real_data).info.licence == ""
    assert datasets.take(datasets.load("toy:3"), 2).info.licence == "Apache-2.0"


def test_a_run_from_before_the_licence_opens_and_goes_on(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    raw = json.loads((run / "run.json").read_text())
    assert raw["dataset"].pop("licence") == "Apache-2.0"
    (run / "run.json").write_text(json.dumps(raw))
    info = store.open_run(run).run.dataset
    assert isinstance(info, DatasetInfo) and info.licence == ""
    assert datasets.licence_of(info) == "Apache-2.0"
    assert submit(run, tmp_path / "a.zip").images.included
    ran = runner.run(RunConfig((MethodConfig("identity"),), dataset="toy:2", seeds=(0, 1)), run)
    assert (ran.kept, ran.redone, ran.ok) == (4, 0, 4)


def test_answers_of_a_judge_go_along_without_paths(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    identity = next(iter(store.open_run(run).metrics))
    path = answers.path_of(run, identity)
    path.parent.mkdir()
    path.write_text('{"text": "yes \\ud800", "model": "' + HOME + '/qwen"}\n')
    (path.parent / "stray.unfinished.jsonl").write_text("{}")
    submit(run, tmp_path / "a.zip")
    files = contents(tmp_path / "a.zip")
    assert [name for name in files if name.startswith("answers/")] == [f"answers/{path.name}"]
    assert json.loads(files[f"answers/{path.name}"]) == {"text": "yes \ud800", "model": "…/qwen"}


def test_an_identity_that_holds_a_path_is_refused(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    old, new = next(iter(store.open_run(run).metrics)), f"judge-{HOME}/qwen/greedy"
    (run / "metrics.json").write_text((run / "metrics.json").read_text().replace(old, new))
    scores = store.read_scores(run)
    scores.assign(metric=scores["metric"].str.replace(old, new)).to_parquet(run / "scores.parquet", index=False)
    with pytest.raises(StoreError, match="holds a path or host"):
        submit(run, tmp_path / "a.zip")
