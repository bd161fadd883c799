"""Several workers share the work: every task is done once, whoever is lost, and errors come to whoever asked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tedbench import config, contenders, datasets
from tedbench.errors import MethodError, UsageError
from tedbench.running import executing, runner
from tedbench.running.local import Local, Task
from tedbench.running.onray import Wanted
from tedbench.running.pool import Gone, Pool
from tedbench.running.progress import How
from tedbench.running.tallying import failure
from tedbench.running.worker import Outcome
from tedbench.types import EditPair, ImageFile

PAIR = EditPair("a", ImageFile("a.png", "0"), "b", "a")


def tasks(n: int) -> Iterator[Task]:
    return (Task(0, at, PAIR, 0, (0.5,)) for at in range(n))


class Fake:
    """Does what it is told; may close for good."""

    def __init__(self, do: Callable[[Task], Any], opens: int = 10**9) -> None:
        self._do, self.opens, self.stopped = do, opens, threading.Event()
        self.done: list[int] = []

    def open(self, over: threading.Event) -> bool:
        self.opens -= 1
        return self.opens >= 0 or over.wait(30) is None

    def prepare(self, at: Sequence[int]) -> dict[int, dict[str, Any]]:
        return {one: {"model": "m"} for one in at}

    def do(self, task: Task) -> Outcome:
        self._do(task)
        self.done.append(task.place)
        n = len(task.strengths)
        return Outcome(task.strengths, (b"png",) * n, ("",) * n)

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self.stopped.set()


def work(_: Task) -> None:
    time.sleep(0.001)


def test_all_share_and_each_task_is_done_once() -> None:
    slots = [Fake(work), Fake(work), Fake(work)]
    pool = Pool(slots)
    assert pool.prepare([0, 2]) == {0: {"model": "m"}, 2: {"model": "m"}}
    assert pool.prepare([]) == {}
    done = Counter(task.place for task, _ in pool.run(tasks(100)))
    pool.close()
    assert done == dict.fromkeys(range(100), 1)
    assert all(slot.done for slot in slots)
    assert list(pool.run(tasks(0))) == []


def test_a_lost_worker_is_replaced_or_not_and_nothing_is_missing() -> None:
    calls = iter(range(1000))

    def third(_: Task) -> None:
        if next(calls) % 3 == 0:
            raise Gone("lost")
        time.sleep(0.001)

    for opens in (1, 10**9):  # never again, or at once
        pool = Pool([Fake(work), Fake(third, opens)])
        outcomes = [(task.place, outcome.failed) for task, outcome in pool.run(tasks(30))]
        pool.close()
        assert sorted(outcomes) == [(at, 0) for at in range(30)]


def test_what_takes_three_workers_with_it_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    def deadly(task: Task) -> None:
        if task.place == 4:
            raise Gone("its node is gone")

    pool = Pool([Fake(deadly), Fake(deadly)])
    failed = {task.place: outcome.errors for task, outcome in pool.run(tasks(8)) if outcome.failed}
    pool.close()
    assert failed == {4: ("3 workers were lost with it, the last: its node is gone",)}
    assert failure(failed[4][0]) == "workers lost"
    told = [record.getMessage() for record in caplog.records]
    assert told == ["its node is gone; what it had in hand is done again"] * 2 + ["its node is gone"]


def test_when_all_are_gone_whoever_waits_decides_and_keeps_what_is_done() -> None:
    def dies(task: Task) -> None:
        if task.place >= 3:
            raise Gone("lost")

    told: list[float] = []

    def alone(seconds: float) -> None:
        told.append(seconds)
        if len(told) == 2:
            raise MethodError("nobody is left")

    pool = Pool([Fake(dies, 1), Fake(dies, 1)], alone)
    done = []
    with pytest.raises(MethodError, match="nobody is left"):
        for task, _ in pool.run(tasks(9)):
            done.append(task.place)
    pool.close()
    assert sorted(done) == [0, 1, 2]
    assert told[0] < told[1]


def test_what_is_done_comes_before_an_error() -> None:
    def fourth(task: Task) -> None:
        if task.place == 3:
            raise MethodError("no such device")

    slot = Fake(fourth)
    pool = Pool([slot])
    done = []
    with pytest.raises(MethodError, match="no such device"):
        for task, _ in pool.run(tasks(9)):
            time.sleep(0.1)
            done.append(task.place)
    pool.close()
    assert done == slot.done == [0, 1, 2]


def test_for_nothing_no_slot_is_waited_for() -> None:
    full = Fake(work, 0)
    pool = Pool([full])
    began = time.monotonic()
    assert pool.prepare([]) == {}
    assert list(pool.run(tasks(0))) == []
    pool.close()
    assert (full.opens, time.monotonic() - began < 1) == (0, True)


def test_only_the_thread_of_whoever_asked_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other seeds of a method that draws no noise too, which are found while tasks are looked for."""
    pool = Pool([Fake(work), Fake(work)])
    monkeypatch.setattr(executing, "make", lambda *_: pool)
    writers = list[str]()
    how = How(threads=1, finished=lambda _: writers.append(threading.current_thread().name))
    method = config.MethodConfig("identity")
    asked = config.RunConfig((method,), "toy:dev:4", seeds=(0, 1, 2))
    ran = runner.run(asked, tmp_path / "r", how=how)
    assert (ran.ok, ran.missing) == (12, 0)
    assert writers == [threading.current_thread().name] * 12


def test_an_error_ends_the_others_and_comes_to_whoever_asked() -> None:
    def wrong(_: Task) -> None:
        raise MethodError("no such device")

    long: Fake = Fake(lambda _: long.stopped.wait(30))
    pool = Pool([long, Fake(wrong)])
    began = time.monotonic()
    with pytest.raises(MethodError, match="no such device"):
        list(pool.run(tasks(5)))
    pool.close()
    assert time.monotonic() - began < 10
    assert [one.name for one in threading.enumerate() if "serve" in one.name] == []


FAULTY = """
import os
import time
from dataclasses import dataclass
from typing import ClassVar

from tedbench import images
from tedbench.types import Strength


@dataclass(frozen=True)
class Honest:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5), low=0.0, high=1.0)
    device: str = "auto"

    def fit(self, pair, seed):
        return None

    def edit(self, pair, state, strengths, seed):
        if self.device != "cpu":
            raise ValueError(self.device)
        return [images.read(pair.image)] * len(strengths)


class Hangs(Honest):
    def fit(self, pair, seed):
        time.sleep(600)


class Exits(Honest):
    def fit(self, pair, seed):
        os._exit(3)


class Counts(Honest):
    def fit(self, pair, seed):
        import torch

        raise ValueError(torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"])
"""


@pytest.fixture
def faulty(tmp_path: Path, drawn: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Contenders, and the tasks of all of them."""
    (tmp_path / "faulty_in_a_pool.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)

    def built(*names: str) -> tuple[Any, list[Task]]:
        made = contenders.build([config.MethodConfig(f"faulty_in_a_pool:{name}") for name in names])
        pairs = datasets.load("folder", drawn[0]).pairs[:2]
        return made, [
            Task(at, 2 * at + k, pair, 0, (0.0, 0.5)) for at in range(len(made)) for k, pair in enumerate(pairs)
        ]

    return built


@pytest.mark.slow
def test_two_processes_here_fail_as_one_does(faulty: Any) -> None:
    made, asked = faulty("Honest", "Hangs", "Exits", "Honest")
    executor = executing.make(made, How(threads=1), ("cpu", "cpu"), 1.0)
    try:
        said = {task.place: outcome.errors[0] for task, outcome in executor.run(iter(asked))}
    finally:
        executor.close()
    told = [said[place] for place in range(8)]
    assert told[:2] == told[6:] == ["", ""]
    assert [error.partition(" s;")[0] for error in told[2:4]] == ["timed out after 2"] * 2
    assert told[4:6] == ["the method's process ended with exit code 3"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_threads_are_what_was_asked_even_for_what_is_loaded_late(way: str, faulty: Any) -> None:
    made, asked = faulty("Counts")
    executor = Local(made, 0.0, 3, way)
    try:
        (_, outcome), *_ = executor.run(iter(asked[:1]))
    finally:
        executor.close()
    assert outcome.errors[0] == "ValueError: (3, '3', '3')"


def test_how_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert executing.threads(How(threads=7), 6) == 7
    assert executing.threads(How(), 6) == 6
    assert executing.threads(How(), None) == executing.threads(How(executor="ray"), "6") == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert executing.threads(How(), None) == executing.cpus()
    assert executing.threads(How(executor="ray"), None) == 1


def test_what_does_not_go_together_is_refused() -> None:
    for how, devices, said in (
        (How(executor="slurm"), (), "no executor 'slurm'; known: local, ray"),
        (How(executor="ray"), ("cpu", "cpu"), "a list of devices is for this machine"),
        (How(wanted=Wanted(workers=2)), (), "add --executor ray"),
    ):
        with pytest.raises(UsageError, match=said):
            executing.check(how, devices)
