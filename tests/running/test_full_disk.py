"""A disk that fills under a run: one line, nothing lost or half written; with room it goes on to the same bytes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tedbench import store
from tedbench.errors import StoreError
from tedbench.running import events, journal, runner

TEDBENCH = Path(sys.executable).with_name("tedbench")
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
DATA = ("--dataset", "folder", "--data", "drawn/data", "--limit", "4")
ASKED = (*DATA, "--method", "graining:Grain")
GRAINING = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from tedbench import images
from tedbench.types import Strength


@dataclass(frozen=True)
class Grain:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5, 1.0), low=0.0, high=1.0)

    def fit(self, pair, seed):
        return None

    def edit(self, pair, state, strengths, seed):
        x = images.to_uint8(images.read(pair.image)).astype(float)
        noise = np.random.default_rng(seed).normal(128, 60, x.shape)  # 190 kB or so as PNG
        edits = [(1 - a) * x + a * noise for a in strengths]
        return [Image.fromarray(edit.clip(0, 255).round().astype(np.uint8)) for edit in edits]


class Flat(Grain):
    def edit(self, pair, state, strengths, seed):
        return [Image.new("RGB", (256, 256), (seed, int(100 * a), 7)) for a in strengths]  # smaller than any list
"""


@pytest.fixture
def world(drawn: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder with a data set and methods."""
    (tmp_path / "graining.py").write_text(GRAINING)
    return tmp_path


@pytest.fixture
def whole(world: Path) -> Path:
    """An undisturbed run."""
    assert run(world, "whole").returncode == 0
    return world / "whole"


def run(world: Path, out: str, largest: int = 0, asked: tuple[str, ...] = ASKED) -> subprocess.CompletedProcess[str]:
    """`tedbench run`; files beyond a size cannot be written, as on a full disk: what fits is, the rest is an error."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    return subprocess.run(
        [TEDBENCH, "run", *asked, "--out", out],
        cwd=world,
        env={**ENV, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=limit if largest else None,
    )


def check_refused(done: subprocess.CompletedProcess[str], about: str, why: str) -> None:
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 1), done.stderr
    assert about in done.stderr
    assert why in done.stderr


def check_whole(folder: Path) -> None:
    """No temporary files, a journal of whole lines, and every image that it names is there."""
    assert not [path.name for path in folder.rglob("*") if "partial" in path.name]
    text = (folder / journal.NAME).read_bytes() if (folder / journal.NAME).exists() else b""
    assert text == b"" or text.endswith(b"\n")
    for entry in map(json.loads, text.splitlines()):
        for row in entry.get("cells", ()):
            assert (folder / row["file"]).stat().st_size == row["size"]


def check_same(one: Path, other: Path) -> None:
    shown = [{path.relative_to(folder): path.read_bytes() for path in (folder / "images").rglob("*") if path.is_file()}
             for folder in (one, other)]  # fmt: skip
    assert shown[0] == shown[1]
    rows = [[(c.uid, c.strength, c.status, c.file, c.sha256) for c in store.open_run(at).cell_list()]
            for at in (one, other)]  # fmt: skip
    assert rows[0] == rows[1]
    keys = [json.loads(line).get("key") for line in (other / journal.NAME).read_text().splitlines()]
    assert len([key for key in keys if key]) == 4


@pytest.mark.slow
def test_an_image_that_cannot_be_written(world: Path, whole: Path) -> None:
    check_refused(run(world, "r", 60_000), "/images/Grain/", "File too large")
    check_whole(world / "r")
    assert {cell.status for cell in store.open_run(world / "r").cell_list()} == {"missing"}
    assert run(world, "r").returncode == 0
    check_same(whole, world / "r")


@pytest.mark.slow
def test_a_journal_that_cannot_grow(world: Path) -> None:
    """Half a line fits: it must not stay, nor hide the next one."""
    flat = (*DATA, "--method", "graining:Flat", "--seeds")
    assert run(world, "r", asked=(*flat, "0,1,2")).returncode == 0
    path = world / "r" / journal.NAME
    before = path.read_bytes()
    line = len(before) // 12
    check_refused(run(world, "r", len(before) + 2 * line + line // 2, (*flat, "3")), journal.NAME, "File too large")
    check_whole(world / "r")
    now = path.read_bytes()
    assert now.startswith(before)
    assert now[len(before) :].count(b"key") == 2  # what was done before is kept
    rows = store.open_run(world / "r").cell_list()
    # The third had its record before its line was refused, and is taken from it.
    assert [cell.status for cell in rows] == ["ok"] * 9 + ["missing"] * 3
    done = run(world, "r", asked=(*flat, "3"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 sweeps were done before" in done.stdout
    assert run(world, "other", asked=(*flat, "3")).returncode == 0
    shas = [[cell.sha256 for cell in store.open_run(world / name).cell_list()] for name in ("r", "other")]
    assert shas[0] == shas[1]


def test_an_event_without_room_leaves_no_half_line(tmp_path: Path) -> None:
    code = f"""
import resource
from pathlib import Path
from tedbench.running import events
from tedbench.errors import StoreError
log = events.Log(Path({str(tmp_path)!r}))
log.write("begin")
resource.setrlimit(resource.RLIMIT_FSIZE, (120, resource.RLIM_INFINITY))
try:
    log.write("sweep", sweep="x" * 100)
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.write("end")
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=True)
    assert "events.jsonl cannot be written (File too large)" in done.stdout
    lines = [json.loads(line)["event"] for line in (tmp_path / events.NAME).read_text().splitlines()]
    assert lines == ["begin", "end"]


def test_the_first_error_is_told_and_rows_are_tried_after_it() -> None:
    """On a full disk the rows cannot be written either, and that is not the news."""
    tried = []

    def write() -> Any:
        tried.append(1)
        raise StoreError("cells.jsonl cannot be written (No space left on device)")

    def failing(error: BaseException) -> Callable[[], None]:
        def work() -> None:
            raise error

        return work

    expected = r"^an\.png cannot be written \(full\); what was done before is kept"
    with pytest.raises(StoreError, match=expected):
        runner._worked(failing(StoreError("an.png cannot be written (full)")), write)
    with pytest.raises(KeyboardInterrupt):
        runner._worked(failing(KeyboardInterrupt()), write)
    with pytest.raises(StoreError, match=r"cells\.jsonl"):
        runner._worked(lambda: None, write)
    assert len(tried) == 3


FILL = """
set -e
mount -t tmpfs -o size=$1 none small
code=0; "$2" run {asked} --out small/r >out.txt 2>err.txt || code=$?
echo $code >code.txt
cp -r small/r refused
mount -o remount,size=64m small
"$2" run {asked} --out small/r >again.txt 2>&1
cp -r small/r again
"""


@pytest.mark.slow
def test_a_file_system_that_is_full(world: Path, whole: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system of one's own: unshare -rm")
    (world / "small").mkdir()
    script = FILL.format(asked=" ".join(ASKED))
    command = ["unshare", "-rm", "sh", "-c", script, "sh", "1m", str(TEDBENCH)]
    done = subprocess.run(command, cwd=world, env=ENV, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    code, told = (world / "code.txt").read_text(), (world / "err.txt").read_text()
    assert (code, len(told.splitlines())) == ("6\n", 1), told
    assert "No space left on device" in told
    check_whole(world / "refused")
    check_whole(world / "again")
    check_same(whole, world / "again")
