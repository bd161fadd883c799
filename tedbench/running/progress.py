"""How far a run is: what of it is done by content, what is left, and the doing of that."""

from __future__ import annotations

import dataclasses
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tedbench import store
from tedbench.errors import MethodError
from tedbench.running import events, sweeps
from tedbench.running.asked import Asked
from tedbench.running.journal import Entry, Journal
from tedbench.running.local import Task
from tedbench.running.onray import Wanted
from tedbench.running.pool import Executor
from tedbench.running.sweeps import Found, Sweep
from tedbench.running.tallying import Ran, Tally
from tedbench.running.watching import Watch
from tedbench.types import Cell

EVERY = 30.0
"""Seconds between two writings of cells.jsonl, or twenty times what the last one took: a large one takes seconds."""


@dataclass(frozen=True)
class How:
    """How a run is done; none of it moves a pixel."""

    retry_failed: bool = False
    """Whether images that failed in an earlier call are tried again."""
    fail_fast: bool = False
    """Whether the first failure ends the run."""
    threads: int = 0
    """Of torch in a worker; 0 for what the run has, else what `executing.threads` finds."""
    shard: tuple[int, int] = (1, 1)
    """(k, n): only the k-th of n parts is done."""
    executor: str = "local"
    """`local` or `ray`."""
    wanted: Wanted = dataclasses.field(default_factory=Wanted)
    """Of a cluster."""
    watch: tuple[str, ...] = ()
    """Who else is told how it goes, see `watching`."""
    finished: Callable[[Entry], None] | None = None
    """Told of each entry of the journal when it counts."""


class Progress:
    """The sweeps of a run, and which are left. In memory are two bytes a sweep, and what the journal needs."""

    def __init__(self, out: Path, todo: Asked, how: How) -> None:
        self.out, self.todo, self.asked = out, todo, how
        self.made, self.seeds = todo.made, len(todo.seeds)
        self.journal = Journal(out)
        self.left = array("H", bytes(2 * len(todo)))
        """By place in `todo`: images to be done."""
        self._twins = {at for at, one in enumerate(self.made) if one.key in {other.key for other in self.made[:at]}}
        """Contenders that are another under a second label: what that one makes is theirs."""
        self.images_left, self.images_failed = Counter[str](), Counter[str]()
        """Label → images to be done; those that failed, and will not be tried again."""
        self.how: dict[str, dict[str, list[Any]]] = {}
        """Label → fact of `sweeps.EXECUTION` → its distinct values."""
        self._noted: tuple[str, dict[str, Any]] = ("", {})
        self._unlisted: list[int] = []
        self.kept = self.kept_failed = self.redone = self.failed = 0

    def close(self) -> None:
        """Let go of the journal."""
        self.journal.close()

    def look(self) -> None:
        """Find out what is left."""
        out = str(self.out)
        bar = tqdm(self.todo, desc="look", unit="sweep", disable=None, delay=2, leave=False)
        for at, sweep in enumerate(bar):
            entry, settled = self.journal.look_up(sweep.key)
            if entry and settled and sweeps.stands(entry, sweep.contender.strengths, out):
                self.kept += 1
                self._note(sweep, entry["how"])
            else:
                self._look_closer(at, sweep)

    def _look_closer(self, at: int, sweep: Sweep) -> None:
        found, label = self._found(sweep), sweep.contender.label
        lacks = found.lacks(sweep.contender.strengths, self.asked.retry_failed)
        failed = sum(cell.status == "failed" and s not in lacks for s, cell in found.cells.items())
        self.images_failed[label] += failed
        if lacks:
            self.left[at] = len(lacks)
            self.images_left[label] += len(lacks)
            self.redone += found.damaged
        else:
            self.kept += 1
            self.kept_failed += failed > 0
            self._note(sweep, found.how)
            self._unlisted.append(at)

    def relist(self) -> None:
        """Have the journal say what it has lost and records say, and how a copy's files look; before rows are written.

        Without that, each run on a copy would read every image again to know it.
        """
        for sweep in map(self.todo.__getitem__, self._unlisted):
            entry = sweeps.relisted(sweep, self.out)
            if entry is not None and entry != self.journal.find(sweep.key):
                self._list(entry)

    def _list(self, entry: Entry) -> None:
        self.journal.append(entry)
        if self.asked.finished:
            self.asked.finished(entry)

    @property
    def busy(self) -> list[int]:
        """Contenders with something left to do in this call."""
        return sorted({self._which(at) for at in self._mine()})

    def work(self, executor: Executor) -> None:
        """Do what is left: first what must be made, then what another seed's images are, or another label's.

        Raises:
            MethodError: at the first failure, where that was asked for.
        """
        watch = Watch(self.asked.watch, self.out)
        with closing(watch):
            self.log = events.Log(self.out, watch)
            self._work(executor)

    def _work(self, executor: Executor) -> None:
        images, left = self.todo.images, self.images_left.total()
        self.log.write("begin", images=images, done=images - left, left=left, executor=self.asked.executor)
        self._due = time.monotonic() + EVERY
        self._bar = tqdm(total=images, initial=images - left, desc="run", unit="image", disable=None)
        with self._bar:
            self._do(executor, (at for at in self._mine() if not self._is_twin(at) and not self._repeats(at)))
            # What writes is done here, in one thread: an executor may look for its tasks in others.
            for at in self._mine():
                if self._repeats(at) and not self._is_twin(at):
                    self._repeat(at)
            self._do(executor, (at for at in self._mine() if not self._is_twin(at)))
            for at in self._mine():
                self._share(at)
            self._do(executor, self._mine())
        self.log.write("end", left=self.images_left.total())

    def cells(self) -> Iterator[Cell]:
        """Every row that is asked for, `missing` where nothing is done."""
        for at, sweep in enumerate(self.todo):
            there = self._found(sweep).cells if self.left[at] else self._rows(sweep)
            for strength in sweep.contender.strengths:
                yield there.get(strength) or sweep.cell(strength, "missing", "not run yet")

    def write(self) -> Ran:
        """Write cells.jsonl, and say what there is now."""
        tally = Tally()
        store.write_cells(self.out, tally.counted(self.cells()))
        counts = {"kept": self.kept, "kept_failed": self.kept_failed, "redone": self.redone}
        return Ran(
            out=self.out,
            asked=tally.status.total(),
            ok=tally.status["ok"],
            failed=tuple(tally.named),
            failed_sweeps=tally.failed_sweeps,
            failed_images=tally.status["failed"],
            kinds=tally.kinds,
            **counts,
        )

    def _do(self, executor: Executor, places: Iterator[int]) -> None:
        def tasks() -> Iterator[Task]:
            for at in places:
                sweep = self.todo[at]
                lacks = self._found(sweep).lacks(sweep.contender.strengths, self.asked.retry_failed)
                failed = f"{self.failed} failed, " if self.failed else ""
                self._bar.set_postfix_str(f"{failed}{sweep.contender.label} {sweep.pair.uid[:30]}", refresh=True)
                yield Task(self._which(at), at, sweep.pair, sweep.seed, lacks)

        for task, outcome in executor.run(tasks()):
            sweep = self.todo[task.place]
            found, entry = sweeps.write(sweep, outcome, self._found(sweep), self.out)
            self._enter(task.place, found, entry, len(task.strengths))
            self.failed += outcome.failed
            if outcome.failed:
                error = next(error for error in outcome.errors if error)
                self.log.write("failed", sweep=sweep.name, images=outcome.failed, error=error)
                if self.asked.fail_fast:
                    raise MethodError(f"{sweep.name}: {error}; --fail-fast ends here, the same without it goes on")

    def _repeats(self, at: int) -> bool:
        """Whether a sweep is another seed of a method that draws no noise."""
        return bool(at % self.seeds) and bool(getattr(self.todo[at].contender.method, "deterministic", False))

    def _which(self, at: int) -> int:
        return at // (len(self.todo) // len(self.made))

    def _is_twin(self, at: int) -> bool:
        return self._which(at) in self._twins

    def _share(self, at: int) -> None:
        """Count a twin's sweep as done where all that it is asked for was made in this call."""
        found = self._found(self.todo[at])
        if not found.lacks(self.todo[at].contender.strengths, retry_failed=False):
            self._count(at, found, self.left[at])

    def _repeat(self, at: int) -> None:
        """Take the first seed's images, where all are there."""
        first = at - at % self.seeds
        made = self._found(self.todo[first])
        sweep = self.todo[at]
        strengths = sweep.contender.strengths
        if self.left[first] or made.lacks(strengths, retry_failed=True):
            return
        lacks = self._found(sweep).lacks(strengths, self.asked.retry_failed)
        self._enter(at, *sweeps.repeat(sweep, made, self.out), len(lacks))

    def _enter(self, at: int, found: Found, entry: dict[str, Any], images: int) -> None:
        self._list(entry)
        self._count(at, found, images)
        if time.monotonic() > self._due:
            began = time.monotonic()
            store.write_cells(self.out, self.cells())
            self._due = time.monotonic() + max(EVERY, 20 * (time.monotonic() - began))

    def _count(self, at: int, found: Found, images: int) -> None:
        """Note that a sweep is done."""
        sweep = self.todo[at]
        self.left[at] = 0
        self.images_left[sweep.contender.label] -= images
        self._note(sweep, found.how)
        self._bar.update(images)
        self.log.write("sweep", sweep=sweep.name, key=sweep.key, images=images)

    def _found(self, sweep: Sweep) -> Found:
        """What of a sweep stands."""
        listed, settled = self.journal.look_up(sweep.key)
        entry = listed or sweeps.relisted(sweep, self.out)
        return sweeps.found(sweep, entry, self.out, settled) if entry else sweeps.NOTHING

    def _rows(self, sweep: Sweep) -> Mapping[float, Cell]:
        """The rows of a sweep that was looked at already."""
        return sweeps.rows(sweep, self.journal.look_up(sweep.key)[0])

    def _mine(self) -> Iterator[int]:
        """What is left of this call's shard; all seeds of a pair are of one."""
        k, n = self.asked.shard
        return (at for at, left in enumerate(self.left) if left and at // self.seeds % n == k - 1)

    def _note(self, sweep: Sweep, how: Mapping[str, Any]) -> None:
        if (sweep.contender.label, how) == self._noted:  # nearly always
            return
        self._noted = (sweep.contender.label, dict(how))
        kept = self.how.setdefault(sweep.contender.label, {})
        for name, value in how.items():
            if value not in kept.setdefault(name, []):
                kept[name].append(value)
