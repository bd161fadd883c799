"""What rot, a half copy or a heavy hand did to a run is named by `verify`; `run` then does that again, and no more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tedbench import store
from tedbench.config import MethodConfig, RunConfig, from_run
from tedbench.datasets import drawn as drawing
from tedbench.errors import Differs, StoreError
from tedbench.running import damage, journal, keeping, runner

COUNTED = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from tedbench import facts, images
from tedbench.types import Strength


@dataclass(frozen=True)
class Counted:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5), low=0.0, high=1.0)

    def fit(self, pair, seed):
        facts.note(loss=[0.5, 0.25], device="cpu")
        with Path("calls.txt").open("a") as file:
            print(pair.uid, seed, file=file)

    def edit(self, pair, state, strengths, seed):
        x = images.to_uint8(images.read(pair.image)).astype(float)
        noise = np.random.default_rng(seed).normal(128, 40, x.shape)
        edits = [(1 - a) * x + a * noise for a in strengths]
        return [Image.fromarray(edit.clip(0, 255).round().astype(np.uint8)) for edit in edits]
"""
OUT = Path("r")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder, with a run of four sweeps that are asked for and two that are not any more."""
    place = tmp_path_factory.mktemp("built")
    drawing.write(place / "drawn", n=6)
    (place / "damaging.py").write_text(COUNTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        patch.chdir(place)
        made(seeds=(7,), limit=2)
        made()
        calls()
    return place


@pytest.fixture
def world(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, which the journal takes for what it was."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    forget()
    return tmp_path


def made(seeds: tuple[int, ...] = (0,), limit: int = 4) -> runner.Ran:
    method = MethodConfig("damaging:Counted")
    return runner.run(RunConfig((method,), "folder", Path("drawn/data"), limit=limit, seeds=seeds), OUT)


def calls() -> list[str]:
    """Sweeps done since this was asked last."""
    lines = Path("calls.txt").read_text().splitlines() if Path("calls.txt").exists() else []
    Path("calls.txt").unlink(missing_ok=True)
    return lines


def named() -> list[str]:
    return [one.name for one in damage.check(OUT).damaged]


def pictures() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (OUT / "images").rglob("*.png")}


def entries() -> list[dict[str, object]]:
    return [json.loads(line) for line in (OUT / journal.NAME).read_text().splitlines()]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def forget() -> None:
    """As rot has it: neither size nor time tells. The journal gets the times that files have now."""
    lines = []
    for entry in entries():
        if "cells" in entry:
            for row in entry["cells"]:  # type: ignore[attr-defined]
                row["ctime_ns"] = (OUT / row["file"]).stat().st_ctime_ns if (OUT / row["file"]).exists() else 0
            entry["record_ctime_ns"] = (OUT / str(entry["record"])).stat().st_ctime_ns
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    (OUT / journal.NAME).write_text("".join(lines))


def check_mended(names: list[str], uids: list[str]) -> None:
    """What was named is done again, nothing else is, and all is as it was."""
    assert named() == names
    assert made().redone == len(uids)
    assert [line.split()[0] for line in calls()] == uids
    assert named() == []
    assert made().redone == 0
    assert calls() == []


def test_a_whole_run_passes(world: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_ctime_ns) for path in OUT.rglob("*") if path.is_file()}
    found = damage.check(OUT)
    assert (found.damaged, found.images, found.records) == ([], 12, 6)
    found.confirm()
    assert {path: (path.read_bytes(), path.stat().st_ctime_ns) for path in OUT.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", ["image", "record"])
def test_rot_that_size_and_time_do_not_tell(world: Path, kind: str) -> None:
    cell, first = store.open_run(OUT).cell_list()[3], pictures()
    name = cell.file if kind == "image" else cell.facts
    record = (OUT / cell.facts).read_bytes()
    flip(OUT / name, 300 if kind == "image" else record.index(b"0.25") + 2)
    forget()
    assert made().redone == 0  # nothing tells
    assert calls() == []
    with pytest.raises(Differs, match=r"1 thing is not as written; what is damaged is done again by: tedbench run r$"):
        damage.check(OUT).confirm()
    check_mended([name], [cell.uid])
    assert pictures() == first
    assert json.loads((OUT / cell.facts).read_text())["facts"] == json.loads(record)["facts"]


def test_what_is_gone_cut_or_no_picture(world: Path) -> None:
    cells, first = store.open_run(OUT).cell_list(), pictures()
    (OUT / cells[0].file).unlink()
    (OUT / cells[2].file).write_bytes(first[str(OUT / cells[2].file)][:-100])
    (OUT / cells[4].facts).write_text("{")
    expected = [cells[0].file, cells[2].file, cells[4].facts]
    check_mended(expected, [cells[0].uid, cells[2].uid, cells[4].uid])
    assert pictures() == first


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line[:40] + b"\x00" + line[41:],
        lambda line: line.replace(b'"how": {', b'"how": ['),
        lambda line: b"\xff" * len(line[:-1]) + b"\n",
        lambda line: line.replace(b'"host_bytes": ', b'"host_bytes": 9'),
        lambda line: line.replace(b'"device": "cpu"', b'"device": "gpu"'),
    ],
    ids=["its key", "its form", "all of it", "a number", "a fact"],
)
def test_a_line_of_the_journal(world: Path, spoil: Callable[[bytes], bytes]) -> None:
    cell, first, path = store.open_run(OUT).cell_list()[2], pictures(), OUT / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    (at,) = [at for at, line in enumerate(lines) if cell.facts.encode() in line]
    path.write_bytes(b"".join([*lines[:at], spoil(lines[at]), *lines[at + 1 :]]))
    assert path.read_bytes() != b"".join(lines)
    found = named()
    assert found
    assert {one.partition(" ")[0] for one in found} <= {journal.NAME, "cells.jsonl", cell.facts}
    made()
    lost = journal.read(spoil(lines[at]))[0] is None  # then its record says it all
    assert [line.split()[0] for line in calls()] == ([] if lost else [cell.uid])
    assert named() == []
    assert pictures() == first


def test_a_journal_that_is_lost(world: Path) -> None:
    """Records say what was done; what is altered or gone meanwhile is done again, and nothing else."""
    first, cells = pictures(), store.open_run(OUT).cell_list()
    (OUT / journal.NAME).unlink()
    flip(OUT / cells[0].file, 100)
    (OUT / cells[3].file).unlink()
    (OUT / cells[4].facts).write_text("{")
    made()
    assert [line.split()[0] for line in calls()] == [cells[0].uid, cells[3].uid, cells[4].uid]
    assert named() == []
    assert (made().redone, calls()) == (0, [])
    assert pictures() == first
    made(seeds=(7,), limit=2)
    assert calls() == []


def test_what_is_not_asked_for_any_more(world: Path) -> None:
    """Its own configuration makes it again; else `gc` drops it."""
    path = OUT / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[0])
    flip(OUT / entry["cells"][0]["file"], 100)
    assert named() == [entry["cells"][0]["file"]]
    assert "what it no longer asks for goes by: tedbench gc r --delete" in damage.check(OUT).mend()
    made()
    assert (calls(), named()) == ([], [entry["cells"][0]["file"]])
    made(seeds=(7,), limit=2)
    assert [line.split()[0] for line in calls()] == [entry["record"].split("/")[2]]
    assert named() == []
    made()
    with path.open("ab") as file:
        file.write(lines[0].replace(b'"how": {', b'"how": ['))  # the last line of a key counts, and this says nothing
    broken = [f"{journal.NAME} line {len(path.read_bytes().splitlines())}"]
    made()
    assert (calls(), named()) == ([], broken)
    found = keeping.unasked(from_run(store.open_run(OUT).run, OUT), OUT)
    assert found.lines == 1
    keeping.remove(found, OUT)
    assert named() == []
    assert sum("key" in one for one in entries()) == 4


def test_half_a_folder(world: Path) -> None:
    first = pictures()
    files = sorted(path for path in OUT.rglob("*") if path.is_file() and path.name != "run.json")
    for path in files[::2]:
        path.unlink()
    assert set(map(str, files[::2])) >= {
        str(OUT / name) for name in named() if " " not in name and name != journal.NAME
    }
    with pytest.raises(Differs):
        damage.check(OUT).confirm()
    made()
    made(seeds=(7,), limit=2)
    made()
    assert named() == []
    assert pictures() == first


def test_rows_questions_and_scores(world: Path, cli) -> None:  # type: ignore[no-untyped-def]
    cells, pairs = (OUT / name for name in ("cells.jsonl", "pairs.jsonl"))
    lines = cells.read_text().splitlines(keepends=True)
    cells.write_text("".join([lines[0].replace('"ok"', '"failed"'), *lines[1:]]))
    pairs.write_text("".join(pairs.read_text().splitlines(keepends=True)[1:]))
    check_mended(["pairs.jsonl", "cells.jsonl"], [])
    for path in (cells, pairs):
        path.write_text("{")
    check_mended(["cells.jsonl", "pairs.jsonl"], [])
    assert cli("score", OUT, "--metrics", "psnr@64").returncode == 0
    assert named() == []
    made(limit=3)
    (one,) = damage.check(OUT).damaged
    assert "psnr@64 was scored on other images" in one.why
    with pytest.raises(Differs, match=r"not as written; score it anew: tedbench score r --again"):
        damage.check(OUT).confirm()
    (OUT / "scores.parquet").write_bytes(b"PAR1")
    assert named() == ["scores.parquet"]


def test_a_run_whose_configuration_is_gone_is_given_it_again(world: Path) -> None:
    """Its journal says that it is a run: no image is made twice for a lost run.json."""
    (OUT / "run.json").write_text("{")
    with pytest.raises(Differs, match=r"delete r/run\.json and give the whole command again"):
        damage.check(OUT).confirm()
    (OUT / "run.json").unlink()
    assert named() == ["run.json"]
    assert made().kept == 4
    assert calls() == []
    assert named() == []
    with pytest.raises(StoreError, match="does not exist"):
        damage.check(Path("nowhere"))


def test_on_the_command_line(world: Path, cli) -> None:  # type: ignore[no-untyped-def]
    def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = cli("verify", *arguments, cwd=world)
        return done

    done = verify("r")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "r: 12 images and 6 records were looked at\nwhole\n"
    for path in (OUT / "images").rglob("*.png"):
        path.unlink()
    done = verify("r")
    assert done.returncode == 10
    assert len(done.stdout.splitlines()) == 12
    assert done.stdout.splitlines()[-1] == "  and 2 more"
    assert done.stdout.count(": is gone") == 10
    (told,) = done.stderr.splitlines()
    assert told.startswith(
        "tedbench: r: 12 things are not as written; what is damaged is done again by: tedbench run r;"
    )
    assert told.endswith("tedbench gc r --delete")
    done = verify("r", "--data", "drawn/data")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--data is for a submission's archive" in done.stderr
    assert verify("r", "--device", "cpu").returncode == 2


def test_an_imported_run(world: Path, cli) -> None:  # type: ignore[no-untyped-def]
    arguments = ("--dataset", "folder", "--data", "drawn/data", "--method", "m", "--out", "imported")
    assert cli("import", "drawn/edits", *arguments, cwd=world).returncode in (0, 3)
    folder = store.open_run(Path("imported"))
    assert damage.check(folder.path).damaged == []
    cell = next(cell for cell in folder.cell_list() if cell.status == "ok")
    flip(folder.path / cell.file, 200)
    found = damage.check(folder.path)
    assert [one.name for one in found.damaged] == [cell.file]
    with pytest.raises(Differs, match="import the images again"):
        found.confirm()


def test_a_run_of_an_earlier_version_is_looked_at_as_far_as_it_goes(world: Path) -> None:
    raw = json.loads((OUT / "run.json").read_text())
    (OUT / "run.json").write_text(json.dumps({**raw, "format": 1}))
    (OUT / journal.NAME).unlink()
    (OUT / "events.jsonl").unlink()
    cells = store.open_run(OUT).cell_list()
    assert named() == []
    (OUT / cells[1].facts).write_text("no")
    flip(OUT / cells[0].file, 200)
    assert named() == [cells[0].file, cells[1].facts]


def test_a_disk_that_cannot_be_written_to(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, os.strerror(30))

    cell = store.open_run(OUT).cell_list()[0]
    flip(OUT / cell.file, 200)
    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(Differs, match="cannot be written to: copy it"):
        damage.check(OUT).confirm()
