"""Two nodes of a Ray cluster on this machine, one killed in mid-run: the bytes are those of the local executor."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tedbench import config, contenders, datasets, store
from tedbench.errors import UsageError
from tedbench.running import elsewhere, local, onray

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
# Says in which process it works: its own, its worker's and its node's, which are one another's children. Waits until as
# many are at work as it is told.
SLOW = """
import os
import time
from pathlib import Path

from dataclasses import dataclass
from typing import ClassVar

from tedbench import images
from tedbench.types import Strength


def note(what, pair):
    worker = os.getppid()
    node = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]
    with Path("where.txt").open("a") as file:
        print(what, os.getpid(), worker, node, pair.uid, os.environ.get("CUDA_VISIBLE_DEVICES", "all"), file=file)


def at_work():
    return len({line.split()[1] for line in Path("where.txt").read_text().splitlines()})


def wait(pair):
    note("begin", pair)
    end = time.monotonic() + 240
    while at_work() < int(Path("wanted.txt").read_text()) and time.monotonic() < end:
        time.sleep(0.05)


@dataclass(frozen=True)
class Brisk:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5), low=0.0, high=1.0)
    device: str = "auto"

    def fit(self, pair, seed):
        wait(pair)

    def edit(self, pair, state, strengths, seed):
        time.sleep(0.1)
        photo = images.read(pair.image)
        note("end", pair)
        return [photo.point(lambda value: int((1 - a) * value)) for a in strengths]
"""
# Sums many products in torch, as a network does, without the seconds that one takes to load.
HEAVY = """
import time

import numpy as np
import torch
from PIL import Image
from slow import Brisk, note, wait

from tedbench import facts, images


class Slow(Brisk):
    def fit(self, pair, seed):
        wait(pair)
        time.sleep(1.0)
        facts.note(threads=torch.get_num_threads(), device=self.device)
        return torch.randn(3, 3, 31, 31, generator=torch.Generator().manual_seed(seed))

    def edit(self, pair, state, strengths, seed):
        x = torch.tensor(np.array(images.read(pair.image))).permute(2, 0, 1).float()
        y = torch.nn.functional.conv2d(x[None], state, padding=15)[0]
        edits = [(x + 100 * a * y / y.std()).clamp(0, 255).byte().permute(1, 2, 0).numpy() for a in strengths]
        note("end", pair)
        return [Image.fromarray(edit) for edit in edits]
"""
# What Ray does with the signal, without what it starts.
RAY = """
import signal
import sys
import time
from pathlib import Path


def is_initialized():
    return False


def init(*_, **__):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    Path("begun.txt").touch()
    time.sleep(60)
"""
ASKED = ("--dataset", "toy:dev:8", "--strengths", "0.2,0.8", "--threads", "1")
BRISK = ("--method", "slow:Brisk")
BOTH = ("--method", "heavy:Slow", *BRISK, "--device", "cpu")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes, with a CPU each and what they take for a GPU."""
    pytest.importorskip("ray", reason="Ray is not installed; it is the extra [ray]", exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        small = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=small)
        try:
            made.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 * 2**20)
            yield made
        finally:
            made.shutdown()


def begin(where: Path, *arguments: str, patch: str = "pass", wanted: int = 1) -> subprocess.Popen[str]:
    """`tedbench run`, with a line of code before it, in a group of processes of its own."""
    (where / "slow.py").write_text(SLOW)
    (where / "heavy.py").write_text(HEAVY)
    (where / "wanted.txt").write_text(str(wanted))
    imports = "import signal, sys; from tedbench import cli; from tedbench.running import onray"
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background job is born deaf to it
    program = f"{imports}; {heard}; sys.argv[0] = 'tedbench'; {patch}; cli.main()"
    return subprocess.Popen([sys.executable, "-c", program, "run", *ASKED, *arguments], cwd=where, env=ENV, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip


def noted(where: Path) -> list[tuple[str, int, int, int, str, str]]:
    lines = (where / "where.txt").read_text().splitlines() if (where / "where.txt").exists() else []
    return [(what, int(own), int(worker), int(node), uid, gpu)
            for what, own, worker, node, uid, gpu in map(str.split, lines)]  # fmt: skip


def wait_until(true: Any, running: subprocess.Popen[str], limit: float = 240.0) -> None:
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, "waited in vain"
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)


def contents(run: Path) -> tuple[list[Any], dict[str, bytes]]:
    folder = store.open_run(run)
    rows = [(c.uid, c.method, c.seed, c.strength, c.status, c.file, c.sha256) for c in folder.cell_list()]
    return rows, {str(path.relative_to(run)): path.read_bytes() for path in sorted((run / "images").rglob("*.png"))}


def lives(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.slow
def test_a_node_is_killed_in_mid_run_and_no_byte_differs(cluster: Any, tmp_path: Path) -> None:
    (victim,) = cluster.worker_nodes
    raylet = victim.all_processes["raylet"][0].process.pid

    def in_hand_after_some_work() -> bool:
        there = [line for line in noted(tmp_path) if line[3] == raylet]
        elsewhere = [line for line in noted(tmp_path) if line[3] != raylet]
        ended = all("end" in [line[0] for line in lines] for lines in (there, elsewhere))
        return ended and there[-1][0] == "begin"

    running = begin(
        tmp_path, *BOTH, "--executor", "ray", "--address", cluster.address, "--gpus", "0.5", "--out", "spread", wanted=2
    )
    try:
        wait_until(in_hand_after_some_work, running)
        cluster.remove_node(victim, allow_graceful=False)
        out, told = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 0, told
    assert "a Ray worker is lost" in told
    assert "0 failed" in out
    where = noted(tmp_path)
    there, others = ({what: {line[4] for line in where if line[0] == what and (line[3] == raylet) == here}
                      for what in ("begin", "end")} for here in (True, False))  # fmt: skip
    (lost,) = there["begin"] - there["end"]
    assert lost in others["end"]
    assert {line[5] for line in where} == {"0"}  # of each node the first
    alone = begin(tmp_path, *BOTH, "--out", "alone")
    _, told = alone.communicate(timeout=120)
    assert alone.returncode == 0, told
    assert contents(tmp_path / "spread") == contents(tmp_path / "alone")
    assert {row[4] for row in contents(tmp_path / "alone")[0]} == {"ok"}
    runs = [store.open_run(tmp_path / name).run for name in ("spread", "alone")]
    assert [run.config["threads"] for run in runs] == [1, 1]
    assert [run.execution["Slow"]["threads"] for run in runs] == [[1], [1]]
    assert runs[0].execution == runs[1].execution


@pytest.mark.slow
def test_two_processes_here_and_no_byte_differs(tmp_path: Path) -> None:
    both = begin(tmp_path, *BRISK, "--out", "both", "--device", "cpu,cpu", wanted=2)
    _, told = both.communicate(timeout=120)
    assert (both.returncode, told) == (0, "")
    where = noted(tmp_path)
    assert len({line[1] for line in where}) == 2
    assert len([line for line in where if line[0] == "end"]) == len({line[4] for line in where})
    alone = begin(tmp_path, *BRISK, "--out", "alone")
    _, told = alone.communicate(timeout=120)
    assert (alone.returncode, told) == (0, "")
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["two processes", "ray"])
def test_ctrl_c_leaves_nobody_behind(executor: str, tmp_path: Path) -> None:
    if executor == "ray":
        pytest.importorskip("ray", reason="Ray is not installed; it is the extra [ray]", exc_type=ImportError)
        running = begin(tmp_path, *BRISK, "--out", "r", "--executor", "ray", "--workers", "1")
    else:
        running = begin(tmp_path, *BRISK, "--out", "r", "--device", "cpu,cpu", wanted=2)
    events = tmp_path / "r" / "events.jsonl"
    wait_until(lambda: events.exists() and '"sweep"' in events.read_text(), running)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert told.splitlines() == ["tedbench: interrupted; what is done is kept, go on with: tedbench run r"]
    processes = {process for line in noted(tmp_path) for process in line[1:4] if process not in (1, os.getpid())}
    end = time.monotonic() + 10
    while any(map(lives, processes)) and time.monotonic() < end:
        time.sleep(0.1)
    assert [process for process in processes if lives(process)] == []
    assert "ok" in {row[4] for row in contents(tmp_path / "r")[0]}


@pytest.mark.slow
def test_a_cluster_without_room_is_waited_for_and_then_said(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; it is the extra [ray]", exc_type=ImportError)
    asked = (*BRISK, "--out", "r", "--executor", "ray", "--gpus", "0.5")
    running = begin(tmp_path, *asked, patch="onray.TOLD, onray.PATIENCE = 1.0, 3.0")
    _, told = running.communicate(timeout=60)
    first, second = told.splitlines()
    assert first.startswith("waiting for a Ray worker, up to 3 s: each takes 1 CPU, 0.5 GPU, and the nodes have ")
    assert second.startswith("tedbench: no Ray worker for 3 s: each takes 1 CPU, 0.5 GPU, and the nodes have ")
    assert running.returncode == 9
    assert not (tmp_path / "r").exists()


def test_without_ray_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('as where it is not installed')")
    running = begin(tmp_path, *BRISK, "--out", "r", "--executor", "ray", patch="sys.path.insert(0, '.')")
    _, told = running.communicate(timeout=60)
    assert (running.returncode, len(told.splitlines())) == (2, 1)
    assert "pip install 'tedbench-editing[ray]'" in told
    assert not (tmp_path / "r").exists()


def test_sigterm_while_ray_starts_is_answered_as_ever(tmp_path: Path) -> None:
    """Ray has it its own way while it starts, which a batch system would take for a failure."""
    (tmp_path / "ray.py").write_text(RAY)
    running = begin(tmp_path, *BRISK, "--out", "r", "--executor", "ray", patch="sys.path.insert(0, '.')")
    wait_until((tmp_path / "begun.txt").exists, running)
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert (running.returncode, told) == (143, "tedbench: terminated; nothing begun\n")
    assert not (tmp_path / "r").exists()


def test_a_cluster_that_does_not_answer_is_said_at_once(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; it is the extra [ray]", exc_type=ImportError)
    running = begin(tmp_path, *BRISK, "--out", "r", "--executor", "ray", "--address", "127.0.0.1:1")
    _, told = running.communicate(timeout=60)
    assert (running.returncode, len(told.splitlines())) == (2, 1)
    assert "no Ray cluster answers at '127.0.0.1:1'" in told


def test_a_run_goes_on_with_the_threads_it_began_with(cli: Any, tmp_path: Path) -> None:
    def threads() -> Any:
        return store.open_run(tmp_path / "r").run.config["threads"]

    first = begin(tmp_path, *BRISK, "--out", "r", "--limit", "1", "--threads", "3")
    assert (first.communicate(timeout=60)[1], threads()) == ("", 3)
    (tmp_path / "where.txt").unlink()
    cli("run", "r", "--limit", "2", cwd=tmp_path)  # with OMP_NUM_THREADS, which a run's own number overrules
    assert (len(noted(tmp_path)), threads()) == (2, 3)


def test_a_worker_that_is_unlike_home_takes_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = contenders.build([config.MethodConfig("identity")])
    home = elsewhere.home_of(made, 0.0, 1)
    assert elsewhere.Worker().begin(home, "there") == ""
    other = dataclasses.replace(home, versions={**home.versions, "torch": "1.0"})
    torch = home.versions["torch"]
    assert elsewhere.Worker().begin(other, "there") == f"torch {torch} for 1.0"
    edited = dataclasses.replace(home, contenders=(dataclasses.replace(home.contenders[0], code="0" * 64),))
    worker = elsewhere.Worker()
    worker.begin(edited, "Ray node 192.0.2.1")
    kind, (error, message) = worker.ask("prepare", (0,))
    worker._local.close()
    assert (kind, error) == ("raised", "MethodError")
    assert message.startswith("on Ray node 192.0.2.1: the code of method 'identity' is not what the run began with")


def test_tasks_carry_their_pictures(drawn: tuple[Path, Path]) -> None:
    pair = datasets.load("folder", drawn[0]).pairs[0]
    task = local.Task(0, 0, pair, 0, (0.5,))
    sent = elsewhere.carried(task).pair.image
    assert (sent.path, sent) == (None, pair.image)
    assert sent.data == pair.image.path.read_bytes()
    pair.image.path.write_bytes(b"another")  # whoever reads it there says so, as here
    assert elsewhere.carried(task).pair.image.path == pair.image.path
    assert pair.image.data is None


def test_room() -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0}}, {"Alive": True, "Resources": {"CPU": 3.0}},
             {"Alive": False, "Resources": {"CPU": 64.0}}]  # fmt: skip
    assert onray.room(nodes, {"CPU": 1, "GPU": 0.0}) == 7
    assert onray.room(nodes, {"CPU": 1, "GPU": 0.5}) == 4
    assert onray.room(nodes, {"CPU": 2, "GPU": 0.1}) == 2


@pytest.mark.parametrize("gpus", [1.5, float("inf")])
def test_a_worker_takes_whole_gpus_or_a_part_of_one(gpus: float) -> None:
    with pytest.raises(UsageError, match="takes whole GPUs, or a part of one"):
        onray._takes(SimpleNamespace(cluster_resources=dict), 1, gpus)
