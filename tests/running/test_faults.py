"""Whatever methods do, every other cell is complete, and what went wrong is counted by kind."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tedbench import images, store
from tedbench.running import damage, local

FAULTY = """
import enum
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from tedbench import facts, images
from tedbench.types import Strength

SHARED = np.full(3, 100.0)  # as a model that several methods share


@dataclass(frozen=True)
class Honest:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5), low=0.0, high=1.0)

    def fit(self, pair, seed):
        return None

    def edit(self, pair, state, strengths, seed):
        x = images.to_uint8(images.read(pair.image)).astype(float)
        return [Image.fromarray(((1 - a) * x + a * SHARED).round().astype(np.uint8)) for a in strengths]


class Also(Honest):
    pass


class Raises(Honest):
    def edit(self, pair, state, strengths, seed):
        raise ValueError("no")


class Nan(Honest):
    def edit(self, pair, state, strengths, seed):
        first, second = super().edit(pair, state, strengths, seed)
        with np.errstate(invalid="ignore"):
            return [first, Image.fromarray(np.full((256, 256, 3), np.nan).astype(np.uint8))]


class Hangs(Honest):
    def edit(self, pair, state, strengths, seed):
        time.sleep(600)


class Leaks(Honest):
    def edit(self, pair, state, strengths, seed):
        held = []
        while sum(map(len, held)) < 3e8:
            held.append(bytearray(10**7))
        os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does where memory runs out


class Exits(Honest):
    def fit(self, pair, seed):
        os._exit(3)


class Writes(Honest):
    def fit(self, pair, seed):
        SHARED[:] = 0.0


class Narrow(Honest):
    def edit(self, pair, state, strengths, seed):
        first, second = super().edit(pair, state, strengths, seed)
        return [first, second.resize((200, 256))]


class Hungry(Honest):
    def edit(self, pair, state, strengths, seed):
        with Path("asked.txt").open("a") as file:
            print(len(strengths), file=file)
        if len(strengths) > 1:
            raise MemoryError
        return super().edit(pair, state, strengths, seed)


class Parental(Honest):
    def fit(self, pair, seed):
        import multiprocessing

        child = multiprocessing.get_context("fork").Process(target=Path("child.txt").touch)
        child.start()
        child.join()


class Sleepy(Honest):
    def fit(self, pair, seed):
        import subprocess

        subprocess.run(["sleep", "60"], check=False)


class Copies(Honest):
    def edit(self, pair, state, strengths, seed):
        os.fork()  # both go on, and give the same
        return super().edit(pair, state, strengths, seed)


class Forks(Honest):
    def edit(self, pair, state, strengths, seed):
        for raised in (SystemExit(3), SystemExit(0), ValueError()):
            if not (child := os.fork()):
                time.sleep(0.05)
                raise raised
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert code == (raised.code if isinstance(raised, SystemExit) else 1), code
        return super().edit(pair, state, strengths, seed)


class Closes(Honest):
    def edit(self, pair, state, strengths, seed):
        os.closerange(3, 100)
        return super().edit(pair, state, strengths, seed)


class Survived(Honest):
    def fit(self, pair, seed):
        if not os.fork():
            time.sleep(60)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)


class Once(Honest):
    def prepare(self):
        Path("loaded.txt").open("x").close()

    def fit(self, pair, seed):
        os._exit(3)


class Partly(Honest):
    def edit(self, pair, state, strengths, seed):
        black = [float(text) for text in os.environ["BLACK"].split()]
        edits = super().edit(pair, state, strengths, seed)
        return [Image.new("RGB", edit.size) if a in black else edit for a, edit in zip(strengths, edits)]


class Wordy(Honest):
    def fit(self, pair, seed):
        class Stage(enum.IntEnum):
            FIRST = 1

        facts.note(stage=Stage.FIRST)
        raise ValueError("x" * 10**6)


class Counted(Honest):
    def fit(self, pair, seed):
        with Path("calls.txt").open("a") as file:
            print(pair.uid, file=file)
"""

MODELS = """
import os
from dataclasses import dataclass
from pathlib import Path

from faulty import Honest


@dataclass(frozen=True)
class One(Honest):
    model: str = ""

    def prepare(self):
        with Path("loaded.txt").open("a") as file:
            print(type(self).__name__, self.model, os.getpid(), file=file)


class Two(One):
    pass
"""
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(cli: Cli, drawn: tuple[Path, Path], tmp_path: Path) -> Cli:
    """`tedbench run` of faulty methods on three pairs, into r."""
    (tmp_path / "faulty.py").write_text(FAULTY)

    def call(*arguments: str, out: str = "r") -> subprocess.CompletedProcess[str]:
        data = ("--dataset", "folder", "--data", "drawn/data", "--limit", "3")
        named = [part if part.startswith("-") else f"faulty:{part}" for part in arguments if not part.startswith("=")]
        methods = [one for part in named for one in (("--method", part) if not part.startswith("-") else (part,))]
        more = [part.removeprefix("=") for part in arguments if part.startswith("=")]
        return cli("run", *data, *methods, *more, "--out", out, cwd=tmp_path)

    return call


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_one_run_with_every_fault(run: Cli, tmp_path: Path, executor: str) -> None:
    if executor == "ray":
        pytest.importorskip("ray", reason="Ray is not installed; it is the extra [ray]", exc_type=ImportError)
    order = ("Honest", "Raises", "Nan", "Hangs", "Leaks", "Exits", "Writes", "Narrow", "Also")
    done = run(*order, "=--time-limit", "=1.5", "=--executor", f"={executor}")
    assert done.returncode == 0, done.stderr
    folder = store.open_run(tmp_path / "r")
    cells = folder.cell_list()
    status = {label: Counter(cell.status for cell in cells if cell.method == label) for label in order}
    whole, half, none = {"ok": 6}, {"ok": 3, "failed": 3}, {"failed": 6}
    assert status == {
        "Honest": whole, "Raises": none, "Nan": half, "Hangs": none, "Leaks": none, "Exits": none, "Writes": whole,
        "Narrow": none, "Also": whole,
    }  # fmt: skip
    errors = {cell.method: cell.error for cell in cells if cell.status == "failed"}
    assert "black" in errors["Nan"]
    assert "timed out after 3 s" in errors["Hangs"]
    assert "SIGKILL" in errors["Leaks"]
    assert "exit code 3" in errors["Exits"]
    assert "one size" in errors["Narrow"]
    assert "failures by kind: " in done.stderr
    for kind in ("6 ValueError", "6 timed out", "12 process ended", "3 black", "6 wrong size"):
        assert kind in done.stderr
    # Who wrote to what is shared has changed nobody's pictures but its own.
    by = {(c.method, c.uid, c.strength): folder.image_bytes(c) for c in cells if c.status == "ok"}
    mine = {key[1:]: data for key, data in by.items() if key[0] == "Honest"}
    assert {key[1:]: data for key, data in by.items() if key[0] == "Also"} == mine
    assert {key[1:]: data for key, data in by.items() if key[0] == "Writes"} != mine
    failed = next(cell for cell in cells if cell.method == "Raises")
    assert 'raise ValueError("no")' in json.loads((folder.path / failed.facts).read_text())["traceback"]
    events = [json.loads(line) for line in (folder.path / "events.jsonl").read_text().splitlines()]
    assert Counter(event["event"] for event in events) == {"begin": 1, "sweep": 27, "failed": 18, "end": 1}


def test_what_a_method_starts_works_and_ends_with_it(run: Cli, tmp_path: Path) -> None:
    """Also where it is the method that ends, and what it started holds on to the pipe."""
    began = time.monotonic()
    assert run("Parental", "Sleepy", "Survived", "=--time-limit", "=2", "=--limit", "=1").returncode == 0
    assert time.monotonic() - began < 30  # what lived on would hold the output open for a minute
    assert (tmp_path / "child.txt").exists()
    cells = store.open_run(tmp_path / "r").cell_list()
    assert [cell.error for cell in cells if cell.method == "Parental"] == ["", ""]
    assert all("timed out" in cell.error for cell in cells if cell.method == "Sleepy")
    assert all("SIGKILL" in cell.error for cell in cells if cell.method == "Survived")


@pytest.mark.parametrize("method", ["Copies", "Forks"])
def test_a_copy_that_a_method_forks_answers_for_nobody(method: str, run: Cli, tmp_path: Path) -> None:
    asked = ("=--seeds", "=0,1,2,3")
    assert run("Honest", *asked, out="honest").returncode == 0
    done = run(method, *asked)
    assert done.returncode == 0, done.stderr
    assert "Unpickling" not in done.stderr
    rows = [
        [(cell.uid, cell.seed, cell.strength, cell.status, cell.sha256) for cell in store.open_run(out).cell_list()]
        for out in (tmp_path / "honest", tmp_path / "r")
    ]
    assert rows[0] == rows[1]


def test_a_method_that_closes_our_pipe_is_a_row(run: Cli, tmp_path: Path) -> None:
    done = run("Closes", "Honest", "=--limit", "=1")
    assert "Traceback" not in done.stderr
    cells = store.open_run(tmp_path / "r").cell_list()
    assert Counter((cell.method, cell.status) for cell in cells) == {("Closes", "failed"): 2, ("Honest", "ok"): 2}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_process_starts_is_answered_after_that(number: signal.Signals) -> None:
    done = list[str]()

    def raising(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, raising)
    try:
        with pytest.raises(KeyboardInterrupt), local._undisturbed():
            signal.raise_signal(number)
            done.append("begun")
        assert signal.getsignal(number) is raising
    finally:
        signal.signal(number, before)
    assert done == ["begun"]


@pytest.mark.parametrize(("number", "code", "says"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_every_command_says_that_it_was_ended(number: str, code: int, says: str, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from tedbench import cli\n"
        "from tedbench.running import planning\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"planning.plan = lambda *_: signal.raise_signal(signal.{number})\n"
        "sys.argv = ['tedbench', 'plan', '--dataset', 'toy:dev:1', '--method', 'identity']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    told = f"tedbench: {says}; nothing half-written was kept\n"
    assert (done.returncode, done.stdout, done.stderr) == (code, "", told)


def test_a_run_keeps_its_time_limit_until_another_is_named(run: Cli, cli: Cli, tmp_path: Path) -> None:
    def again(*arguments: str) -> tuple[float, list[str]]:
        done = cli("run", *arguments, cwd=tmp_path)
        assert done.returncode == 9, done.stderr  # nothing was made
        folder = store.open_run(tmp_path / "r")
        return folder.run.config["time_limit"], [cell.error for cell in folder.cell_list()]

    file = 'time_limit = 0.5\ndataset = "folder"\ndata = "drawn/data"\nlimit = 1\n[[methods]]\nname = "faulty:Sleepy"\n'
    (tmp_path / "run.toml").write_text(file)
    out_of_time = ["timed out after 1 s; --time-limit allows more"] * 2
    assert again("run.toml", "--out", "r") == (0.5, out_of_time)
    assert again("r", "--retry-failed") == (0.5, out_of_time)
    assert again("r", "--retry-failed", "--time-limit", "1.5")[1] == [out_of_time[0].replace("1 s", "3 s")] * 2
    assert again("r")[0] == 1.5
    assert again("r", "--time-limit", "0")[0] == 0.0


def test_an_error_of_a_million_letters_is_no_million_bytes(run: Cli, tmp_path: Path) -> None:
    """And a number of a class that the method made in passing is a number."""
    assert run("Wordy", "=--limit", "=1").returncode == 9
    folder = store.open_run(tmp_path / "r")
    record = folder.path / folder.cell_list()[0].facts
    assert record.stat().st_size < 200_000
    said = json.loads(record.read_text())
    assert said["facts"] == {"stage": 1}
    assert said["traceback"].endswith("xxx\n")


def test_a_model_that_cannot_be_loaded_again_is_a_row(run: Cli, tmp_path: Path) -> None:
    assert run("Once", "Honest").returncode == 0
    cells = store.open_run(tmp_path / "r").cell_list()
    assert Counter(cell.status for cell in cells if cell.method == "Honest") == {"ok": 6}
    errors = [cell.error for cell in cells if cell.method == "Once"]
    assert "exit code 3" in errors[0]
    assert all("cannot be prepared: FileExistsError" in error for error in errors[2:])


def test_one_method_under_two_labels_is_done_once(run: Cli, tmp_path: Path) -> None:
    assert run("Counted", "Counted").returncode == 0
    assert len((tmp_path / "calls.txt").read_text().split()) == 3
    cells = store.open_run(tmp_path / "r").cell_list()
    assert Counter(cell.method for cell in cells if cell.status == "ok") == {"Counted": 6, "Counted-2": 6}
    assert '"left": 0' in (tmp_path / "r" / "events.jsonl").read_text().splitlines()[-1]
    assert damage.check(tmp_path / "r").damaged == []


def test_parts_that_failed_in_other_places_make_the_whole(
    run: Cli, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a part with an altered image is refused: in the whole, nobody would look at its content again."""
    for name, black in (("one", "0.5"), ("two", "0 0.25")):
        monkeypatch.setenv("BLACK", black)
        assert run("Partly", "=--strengths", "=0,0.25,0.5", out=name).returncode == 0
    done = cli("merge", "one", "two", "--out", "both", cwd=tmp_path)
    assert "both: 9 ok, 0 failed, 0 missing" in done.stdout, done.stderr
    assert damage.check(tmp_path / "both").damaged == []
    file = next((tmp_path / "two" / "images").rglob("*.png"))
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    done = cli("merge", "one", "two", "--out", "no", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 1)
    assert f"{file.name} is not what was written" in done.stderr
    assert not (tmp_path / "no").exists()


def test_memory_that_runs_out_halves_the_batch(run: Cli, tmp_path: Path) -> None:
    done = run("Hungry", "=--strengths", "=0,0.25,0.5,0.75,1")
    assert (done.returncode, done.stderr) == (0, "")
    asked = [int(line) for line in (tmp_path / "asked.txt").read_text().split()][:9]
    assert asked == [5, 3, 2, 1, 1, 1, 2, 1, 1]
    assert run("Honest", "=--strengths", "=0,0.25,0.5,0.75,1", out="whole").returncode == 0
    shas = [[cell.sha256 for cell in store.open_run(tmp_path / name).cell_list()] for name in ("r", "whole")]
    assert shas[0] == shas[1]


def test_fail_fast_ends_at_the_first(run: Cli, tmp_path: Path) -> None:
    done = run("Raises", "Honest", "--fail-fast")
    assert done.returncode == 9
    assert len(done.stderr.splitlines()) == 1
    assert "Raises/" in done.stderr
    cells = store.open_run(tmp_path / "r").cell_list()
    assert Counter(cell.status for cell in cells) == {"failed": 2, "missing": 10}


def test_shards_make_the_whole_and_others_are_refused(run: Cli, cli: Cli, tmp_path: Path) -> None:
    for k in (1, 2):
        assert run("Counted", f"=--shard={k}/2", "=--seeds", "=0,1", out=f"part{k}").returncode == 0
    assert run("Counted", "=--seeds", "=0,1", out="whole").returncode == 0
    calls = (tmp_path / "calls.txt").read_text().split()
    assert len(calls) == 12  # each sweep in one part, and again in the whole
    done = cli("merge", "part1", "part2", "--out", "merged", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "merged: 12 ok, 0 failed, 0 missing" in done.stdout
    rows = [
        [(c.uid, c.seed, c.strength, c.sha256, c.file) for c in store.open_run(tmp_path / name).cell_list()]
        for name in ("merged", "whole")
    ]
    assert rows[0] == rows[1]
    done = cli("run", "merged", cwd=tmp_path)
    assert "6 sweeps were done before" in done.stdout
    assert len((tmp_path / "calls.txt").read_text().split()) == 12
    assert run("Counted", "=--seeds", "=0", out="other").returncode == 0
    done = cli("merge", "part1", "other", "--out", "no", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "seeds is [0, 1] and [0]" in done.stderr
    assert run("Counted", "=--shard=2/2", "=--seeds", "=0,1", "=--threads=2", out="threaded").returncode == 0
    done = cli("merge", "part1", "threaded", "--out", "no", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "threads is 1 and 2" in done.stderr
    assert not (tmp_path / "no").exists()
    assert run("Counted", "=--shard=3/2").returncode == 2


def test_models_that_differ_are_never_loaded_side_by_side(run: Cli, tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(MODELS)
    named = ("one?model=a", "one?model=b", "two?model=a")
    methods = [f"=--method=models:{one[:3].capitalize()}{one[3:]}" for one in named]
    done = run(*methods)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in (tmp_path / "loaded.txt").read_text().splitlines()]
    by = {process: {model for _, model, where in lines if where == process} for process in {line[2] for line in lines}}
    assert all(len(models) == 1 for models in by.values()), lines
    assert [line[:2] for line in lines][:3] == [["One", "b"], ["One", "a"], ["Two", "a"]]
    assert lines[1][2] == lines[2][2]  # of one model, in one process


def test_a_copy_is_read_once_and_known_again(run: Cli, tmp_path: Path) -> None:
    assert run("Counted").returncode == 0
    shutil.copytree(tmp_path / "r", tmp_path / "copy")  # with other times
    journal = tmp_path / "copy" / "sweeps" / "done.jsonl"
    before = journal.read_text().count('"key"')
    assert run("Counted", out="copy").returncode == 0
    assert journal.read_text().count('"key"') == 2 * before  # how its files look now
    assert run("Counted", out="copy").returncode == 0
    assert journal.read_text().count('"key"') == 2 * before
    assert len((tmp_path / "calls.txt").read_text().split()) == 3


def test_what_is_damaged_is_told_from_what_is_not(run: Cli, tmp_path: Path) -> None:
    """A folder half copied, a truncated list, a picture altered in place: each is done again, and nothing else."""
    assert run("Counted").returncode == 0
    folder = store.open_run(tmp_path / "r")
    cells = folder.cell_list()
    first = {cell.file: folder.image_bytes(cell) for cell in cells}
    stat = (folder.path / cells[0].file).stat()
    (folder.path / cells[0].file).write_bytes(bytes(first[cells[0].file][:-4]) + b"abcd")  # as long as before
    os.utime(folder.path / cells[0].file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (folder.path / cells[2].file).unlink()
    journal = folder.path / "sweeps" / "done.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert [line for line in lines if b"clean" in line]
    kept = [line for line in lines if b"clean" not in line]
    journal.write_bytes(b"".join(kept[:2]) + kept[2][:100])
    done = run("Counted")
    assert "3 sweeps" not in done.stdout
    assert len((tmp_path / "calls.txt").read_text().split()) == 5  # two; of the third its record is whole
    assert {cell.file: folder.image_bytes(cell) for cell in folder.cell_list()} == first
    assert run("Counted").returncode == 0
    assert len((tmp_path / "calls.txt").read_text().split()) == 5
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_second_runner_is_refused_and_a_dead_one_is_not_in_the_way(run: Cli, tmp_path: Path) -> None:
    assert run("Honest").returncode == 0
    handle = os.open(tmp_path / "r" / "sweeps", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    done = run("Honest")
    assert done.returncode == 6
    assert "is being run by another process" in done.stderr
    os.close(handle)  # what the kernel does for a process that died
    assert run("Honest").returncode == 0


def test_plan_status_and_gc(run: Cli, cli: Cli, tmp_path: Path) -> None:
    assert run("Honest", "=--limit", "=1").returncode == 0
    done = cli("plan", "r", "--limit", "3", "--strengths", "0,0.5,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[1].split()
    assert row[:6] == ["Honest", "3", "9", "2", "0", "7"]
    assert "7 images are left" in done.stdout
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    assert cli("plan", "r", cwd=tmp_path).stdout.endswith("nothing is left\n")
    assert "not running, 2/2 images" in cli("status", "r", cwd=tmp_path).stdout
    assert "every sweep there is asked for" in cli("gc", "r", cwd=tmp_path).stdout
    assert {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()} == before
    assert run("Also", "=--limit", "=1").returncode == 0
    listed = cli("gc", "r", cwd=tmp_path)
    assert "Honest: 1 sweeps" in listed.stdout
    assert "kept; --delete removes them" in listed.stdout
    assert all(path.exists() for path in before)
    assert cli("gc", "r", "--delete", "--yes", cwd=tmp_path).returncode == 0
    folder = store.open_run(tmp_path / "r")
    assert sorted(path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*.png")) == sorted(
        cell.file for cell in folder.cell_list()
    )
    assert all(images.decode(folder.image_bytes(cell), cell.file) for cell in folder.cell_list())
