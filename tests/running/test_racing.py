"""Two runners on one folder at the same moment: one works, the other is told so, and nothing is done twice."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tedbench import disk, store
from tedbench.errors import StoreError
from tedbench.running import runner

METHOD = """
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from tedbench import images
from tedbench.types import Strength


@dataclass(frozen=True)
class Counted:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5), low=0.0, high=1.0)
    gone: bool = False

    def prepare(self):
        if self.gone:
            raise RuntimeError("no model")

    def fit(self, pair, seed):
        with Path("calls.txt").open("a") as file:
            print(pair.uid, seed, file=file)
        time.sleep(0.02)

    def edit(self, pair, state, strengths, seed):
        x = images.to_uint8(images.read(pair.image)).astype(float)
        noise = np.random.default_rng(seed).normal(128, 40, x.shape)
        edits = [(1 - a) * x + a * noise for a in strengths]
        return [Image.fromarray(edit.clip(0, 255).round().astype(np.uint8)) for edit in edits]
"""
TEDBENCH = Path(sys.executable).with_name("tedbench")
ASKED = ("--dataset", "folder", "--data", "drawn/data", "--method", "racing:Counted", "--seeds", "0,1", "--limit", "4")
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def world(drawn: tuple[Path, Path], tmp_path: Path) -> Path:
    (tmp_path / "racing.py").write_text(METHOD)
    return tmp_path


def both(world: Path, *arguments: str) -> list[tuple[int, str]]:
    """Exit codes and complaints of two runs of the same command, started together; the one that ended well first."""
    command = [str(TEDBENCH), "run", *arguments]
    made = [
        subprocess.Popen(command, cwd=world, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [one.communicate(timeout=120)[1] for one in made]
    return sorted((one.returncode, text) for one, text in zip(made, told, strict=True))


def rows(folder: Path) -> list[tuple[object, ...]]:
    return [(c.uid, c.seed, c.strength, c.status, c.file, c.sha256) for c in store.open_run(folder).cell_list()]


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "images").rglob("*.png")}


def check_one_at_a_time(told: list[tuple[int, str]]) -> None:
    (first, _), (second, complaint) = told
    assert first == 0
    assert second in (0, 6)
    if second:
        assert len(complaint.splitlines()) == 1
        assert "is being run by another process" in complaint


@pytest.mark.slow
def test_two_processes_on_one_folder(world: Path) -> None:
    alone = subprocess.run([TEDBENCH, "run", *ASKED, "--out", "alone"], cwd=world, env=ENV, check=False)
    assert alone.returncode == 0
    for number in range(3):
        (world / "calls.txt").unlink()
        out = f"r{number}"
        check_one_at_a_time(both(world, *ASKED, "--out", out))
        assert rows(world / out) == rows(world / "alone")
        assert pictures(world / out) == pictures(world / "alone")
        calls = (world / "calls.txt").read_text().splitlines()
        assert len(calls) == len(set(calls)) == 8
        lines = (world / out / "sweeps" / "done.jsonl").read_text().splitlines()
        keys = [json.loads(line).get("key") for line in lines]
        assert len([key for key in keys if key]) == len({key for key in keys if key}) == 8
        assert not [path for path in (world / out).rglob("*") if "partial" in path.name]
    check_one_at_a_time(both(world, "r0", "--strengths", "0,0.5,1"))
    assert len((world / "calls.txt").read_text().splitlines()) == 16  # of r2, and each sweep once more
    assert {row[3] for row in rows(world / "r0")} == {"ok"}
    assert pictures(world / "alone").items() <= pictures(world / "r0").items()


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:  # noqa: BLE001  (of a fork: what pytest would do with it is not wanted)
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(0)


def test_folders_that_others_make_and_remove_are_held_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners that begin nothing remove what they made, under the eyes of others that are about to hold it."""
    out, inside = tmp_path / "deep" / "r", tmp_path / "inside"
    until, remove = time.monotonic() + 2, runner._remove_empty
    monkeypatch.setattr(runner, "_remove_empty", lambda _: remove((out / "sweeps", out)))  # whoever made them

    def work() -> None:
        entered = 0
        while time.monotonic() < until or not entered:
            try:
                with runner.opened(out, out):
                    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if another is inside
                    entered += 1
                    time.sleep(0.001)
                    inside.unlink()
            except StoreError as error:
                assert "being run by another process" in str(error)

    children = [forked(work) for _ in range(3)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]


def test_a_runner_that_begins_meanwhile_is_no_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in a folder may be another runner's, which wrote its run.json between two looks of this one."""
    look = os.listdir

    def begun_meanwhile(folder: Path) -> list[str]:
        for name in ("run.json", "pairs.jsonl"):
            (tmp_path / name).write_text("{}")
        return look(folder)

    monkeypatch.setattr(os, "listdir", begun_meanwhile)
    with runner.opened(tmp_path, tmp_path):
        pass
    assert sorted(look(tmp_path)) == ["pairs.jsonl", "run.json", "sweeps"]


def test_a_stranger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("too")
    for name, inside in (("r", "thesis.txt"), ("file", "file")):
        with pytest.raises(StoreError, match=f"holds '{inside}' and is no run"), runner.opened(tmp_path / name, Path()):
            pass
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["thesis.txt"]


def test_what_the_dead_had_half_written_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    (tmp_path / "images" / "m").mkdir(parents=True)
    (tmp_path / "run.json").write_text("{}")
    dead = [tmp_path / name for name in (".cells.jsonl.x.partial", ".run.json.y.partial", "images/m/.a.png.z.partial")]
    theirs = tmp_path / ".scores.parquet.w.partial"  # `tedbench score` may be at it
    for path in (*dead, theirs):
        path.write_text("half")
    with runner.opened(tmp_path, tmp_path):
        assert [path.exists() for path in (*dead, theirs)] == [False, False, False, True]


def test_who_looks_whether_a_folder_is_held_is_in_nobodys_way(tmp_path: Path) -> None:
    """As `tedbench status` does, for a moment."""
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    moment = threading.Timer(0.05, os.close, (handle,))
    moment.start()
    with disk.locked(tmp_path, "busy"):
        moment.join()
