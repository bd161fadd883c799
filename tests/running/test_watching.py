"""Who else is told how a run goes; read back with the libraries' own readers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
MINE = """
class Notes:
    def __init__(self, out):
        self.path = out / "watch.txt"

    def log(self, values, step):
        with self.path.open("a") as file:
            print(step, values["images/done"], values["images/failed"], file=file)

    def close(self):
        with self.path.open("a") as file:
            print("closed", file=file)


class Raises(Notes):
    def log(self, values, step):
        raise ValueError("not today")
"""


@pytest.fixture
def run(cli: Cli, drawn: tuple[Path, Path], tmp_path: Path) -> Cli:
    (tmp_path / "mine.py").write_text(MINE)

    def call(*watch: str, **env: str) -> subprocess.CompletedProcess[str]:
        named = [part for name in watch for part in ("--watch", name)]
        asked = ("--dataset", "folder", "--data", "drawn/data", "--limit", "3", "--method", "identity")
        return cli("run", *asked, *named, "--out", "r", cwd=tmp_path, **env)

    return call


def test_tensorboard_reads_what_was_done(run: Cli, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra [watch] is not installed")
    done = run("tensorboard")
    assert (done.returncode, done.stderr) == (0, "")
    code = (
        "import sys\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, TENSORS\n"
        "from tensorboard.util import tensor_util\n"
        "found = EventAccumulator('r/watch', size_guidance={TENSORS: 0})\n"
        "found.Reload()\n"
        "for name in ('images/done', 'images/failed'):\n"
        "    print(name, *[(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in found.Tensors(name)])\n"
    )
    read = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert read.stdout.splitlines() == [
        "images/done (1, 1.0) (2, 2.0) (3, 3.0)",
        "images/failed (1, 0.0) (2, 0.0) (3, 0.0)",
    ], read.stderr


@pytest.mark.slow
def test_wandb_keeps_a_run_offline(run: Cli, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the extra [watch] is not installed")
    done = run("wandb", WANDB_MODE="offline", HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    kept = list((tmp_path / "r/watch").rglob("run-*.wandb"))
    assert len(kept) == 1
    assert b"images/done" in kept[0].read_bytes()


def test_a_class_of_ones_own_and_one_that_raises(run: Cli, tmp_path: Path) -> None:
    done = run("mine:Raises", "mine:Notes")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "r/watch.txt").read_text() == "1 1 0\n2 2 0\n3 3 0\nclosed\n"
    assert (tmp_path / "r/events.jsonl").read_text().count('"unwatched"') == 1
    assert "ValueError: not today" in (tmp_path / "r/events.jsonl").read_text()


def test_nobody_is_told_unless_asked_for(run: Cli, tmp_path: Path) -> None:
    assert run().returncode == 0
    assert not (tmp_path / "r/watch").exists()
    done = run("tensorbord")
    assert done.returncode == 2
    assert done.stderr.startswith("tedbench: no watcher named 'tensorbord'. Did you mean 'tensorboard'?")
