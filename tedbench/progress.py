"""How far a run is: what of it is done by content, what is left, and the doing of that."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tedbench import events, store, sweeps
from tedbench.errors import MethodError
from tedbench.journal import Journal
from tedbench.local import Task
from tedbench.onray import Wanted
from tedbench.pool import Executor
from tedbench.sweeps import Asked, Found, Sweep
from tedbench.types import Cell

EVERY = 30.0
"""Seconds between two writings of cells.jsonl."""


@dataclass(frozen=True)
class How:
    """How a run is done; none of it moves a pixel."""

    retry_failed: bool = False
    """Whether images that failed in an earlier call are tried again."""
    fail_fast: bool = False
    """Whether the first failure ends the run."""
    time_limit: float = 0.0
    """Seconds an image may take, its part of the fit included; 0 for no limit."""
    threads: int = 0
    """Of torch in a worker; 0 for what the run has, else what `executing.threads` finds."""
    shard: tuple[int, int] = (1, 1)
    """(k, n): only the k-th of n parts is done."""
    executor: str = "local"
    """`local` or `ray`."""
    wanted: Wanted = dataclasses.field(default_factory=Wanted)
    """Of a cluster."""


@dataclass(frozen=True)
class Ran:
    """What a run did."""

    out: Path
    asked: int
    """Images."""
    ok: int
    failed: tuple[str, ...]
    """One line for each sweep with failures, now or earlier."""
    failed_images: int
    kept: int
    """Sweeps done by an earlier call."""
    kept_failed: int
    """Those of them with failures, which were not tried again."""
    redone: int
    """Sweeps done again, since their record or images were damaged."""
    kinds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Kind of failure → images."""


class Progress:
    """The sweeps of a run, and what is left of each. In memory are what is asked and what is left, not what is done."""

    def __init__(self, out: Path, todo: Asked, how: How) -> None:
        self.out, self.todo, self.asked = out, todo, how
        self.made, self.seeds = todo.made, len(todo.seeds)
        self.journal, self.log = Journal(out), events.Log(out)
        self.left: dict[int, tuple[float, ...]] = {}
        """Place in `todo` → strengths to be done."""
        self.how: dict[str, dict[str, list[Any]]] = {}
        """Label → fact of `sweeps.EXECUTION` → its distinct values."""
        self.kept = self.kept_failed = self.redone = 0
        self.failures = False
        """Whether any sweep that is asked for has failures."""

    def close(self) -> None:
        """Let go of the journal."""
        self.journal.close()

    def look(self) -> None:
        """Find out what is left."""
        self.left, self.kept, self.kept_failed, self.redone = {}, 0, 0, 0
        out = str(self.out)
        for at, sweep in enumerate(self.todo):
            entry = self.journal.find(sweep.key)
            if entry and self.journal.is_settled(sweep.key) and sweeps.stands(entry, sweep.contender.strengths, out):
                self.kept += 1
                self._note(sweep, entry["how"])
                continue
            found = self._found(at)
            self.failures |= any(cell.status == "failed" for cell in found.cells.values())
            lacks = found.lacks(sweep.contender.strengths, self.asked.retry_failed)
            if lacks:
                self.left[at] = lacks
                self.redone += found.damaged
            else:
                self.kept += 1
                self.kept_failed += any(cell.status == "failed" for cell in found.cells.values())
                self._note(sweep, found.how)

    @property
    def busy(self) -> list[int]:
        """Contenders with something left to do in this call."""
        labels = {self.todo[at].contender.label for at in self.left if self._mine(at)}
        return [at for at, one in enumerate(self.made) if one.label in labels]

    def work(self, executor: Executor) -> None:
        """Do what is left: first what must be made, then what another seed's images are.

        Raises:
            MethodError: at the first failure, where that was asked for.
        """
        images = self.todo.images
        before = images - sum(map(len, self.left.values()))
        mine = [at for at in self.left if self._mine(at)]
        made, again = [at for at in mine if not self._repeats(at)], [at for at in mine if self._repeats(at)]
        self.log.write("begin", images=images, done=before, left=images - before, executor=self.asked.executor)
        self._written = time.monotonic()
        self._bar = tqdm(total=images, initial=before, desc="run", unit="image", disable=None)
        with self._bar:
            self._do(executor, made)
            self._do(executor, [at for at in again if not self._repeat(at)])
        self.log.write("end", left=sum(map(len, self.left.values())))

    def cells(self) -> Iterator[Cell]:
        """Every row that is asked for, `missing` where nothing is done."""
        for at, sweep in enumerate(self.todo):
            found, left = sweeps.rows(sweep, self.journal.find(sweep.key)), self.left.get(at, ())
            for strength in sweep.contender.strengths:
                gone = strength in left and (strength not in found or found[strength].status == "ok")
                cell = None if gone else found.get(strength)
                yield cell or sweep.cell(strength, "missing", "not run yet")

    def summary(self) -> Ran:
        """What there is now."""
        counts: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        lines: dict[str, str] = {}
        for cell in self.cells():
            counts[cell.status] += 1
            if cell.status == "failed":
                kinds[failure(cell.error)] += 1
                lines.setdefault(f"{cell.method}/{cell.uid}/s{cell.seed}", cell.error)
        return Ran(
            out=self.out,
            asked=sum(counts.values()),
            ok=counts["ok"],
            failed=tuple(f"{name}: {error}" for name, error in lines.items()),
            failed_images=counts["failed"],
            kept=self.kept,
            kept_failed=self.kept_failed,
            redone=self.redone,
            kinds=kinds,
        )

    def _do(self, executor: Executor, places: Sequence[int]) -> None:
        numbers = {one.label: at for at, one in enumerate(self.made)}

        def tasks() -> Iterator[Task]:
            for at in places:
                sweep = self.todo[at]
                self._bar.set_postfix_str(f"{sweep.contender.label} {sweep.pair.uid[:30]}", refresh=True)
                yield Task(numbers[sweep.contender.label], at, sweep.pair, sweep.seed, self.left[at])

        for task, outcome in executor.run(tasks()):
            sweep = self.todo[task.place]
            found, entry = sweeps.write(sweep, outcome, self._found(task.place), self.out)
            self._enter(task.place, found, entry)
            if outcome.failed:
                error = next(error for error in outcome.errors if error)
                self.log.write("failed", sweep=sweep.name, images=outcome.failed, error=error)
                if self.asked.fail_fast:
                    raise MethodError(f"{sweep.name}: {error}; --fail-fast ends here, the same without it goes on")

    def _repeats(self, at: int) -> bool:
        """Whether a sweep is another seed of a method that draws no noise."""
        return bool(at % self.seeds) and bool(getattr(self.todo[at].contender.method, "deterministic", False))

    def _repeat(self, at: int) -> bool:
        """Take the first seed's images, where all are there."""
        first = at - at % self.seeds
        made = self._found(first)
        strengths = self.todo[at].contender.strengths
        if first in self.left or any(made.cells[s].status != "ok" for s in strengths):
            return False
        self._enter(at, *sweeps.repeat(self.todo[at], made, self.out))
        return True

    def _enter(self, at: int, found: Found, entry: dict[str, Any]) -> None:
        self.journal.append(entry)
        images = len(self.left.pop(at))
        self._note(self.todo[at], found.how)
        self._bar.update(images)
        self.log.write("sweep", sweep=self.todo[at].name, key=self.todo[at].key, images=images)
        if time.monotonic() - self._written > EVERY:
            store.write_cells(self.out, self.cells())
            self._written = time.monotonic()

    def _found(self, at: int) -> Found:
        sweep = self.todo[at]
        entry = self.journal.find(sweep.key)
        return sweeps.found(sweep, entry, self.out, self.journal.is_settled(sweep.key)) if entry else sweeps.NOTHING

    def _mine(self, at: int) -> bool:
        """Whether it is of this call's shard; all seeds of a pair are of one."""
        k, n = self.asked.shard
        return at // self.seeds % n == k - 1

    def _note(self, sweep: Sweep, how: Mapping[str, Any]) -> None:
        kept = self.how.setdefault(sweep.contender.label, {})
        for name, value in how.items():
            if value not in kept.setdefault(name, []):
                kept[name].append(value)


def failure(error: str) -> str:
    """The kind of a failure: an error's class, or what the suite calls it."""
    known = {
        "timed out": "timed out",
        "the method's process": "process ended",
        "ImageError: the image is black": "black",
        "the image is black": "black",
    }
    for start, kind in known.items():
        if error.startswith(start):
            return kind
    if "a sweep is of one size" in error or "each side needs" in error:
        return "wrong size"
    return error.partition(":")[0][:40]
