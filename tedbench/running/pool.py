"""Several workers at once: each takes the next sweep when it has done one; whoever asked hears in one thread.

A worker that is lost with its node gives its sweep back, and another does it. A sweep that takes `TRIES` workers with
it is a failure of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from tedbench.errors import MethodError
from tedbench.running import worker
from tedbench.running.local import Task
from tedbench.running.worker import Outcome

TRIES = 3
"""Workers that may be lost with one sweep."""
LOOK = 0.5
"""Seconds between two looks at what does not announce itself."""
_log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Does the sweeps of a run."""

    def prepare(self, at: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Have contenders load what they need; what each noted."""
        ...

    def run(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Do tasks, and give back what came of each, in any order."""
        ...

    def close(self) -> None:
        """End every process."""
        ...


class Slot(Protocol):
    """Where one sweep at a time is done: a `Local`, or a worker in a cluster."""

    def open(self, over: threading.Event) -> bool:
        """Wait until tasks can be done; False if it is over before."""
        ...

    def prepare(self, at: Sequence[int]) -> dict[int, dict[str, Any]]:
        """As `Executor.prepare`; raises Gone."""
        ...

    def do(self, task: Task) -> Outcome:
        """One sweep; raises Gone."""
        ...

    def stop(self) -> None:
        """End what is in hand, from another thread."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Gone(Exception):
    """A worker is lost, and what it had in hand: that is nobody's fault, and another may do it."""


class Pool:
    """An executor of several slots, each in a thread of its own.

    Args:
        slots: that share the work.
        alone: told, now and then, for how many seconds no slot has been open; ends the run by raising.
    """

    def __init__(self, slots: Sequence[Slot], alone: Callable[[float], None] = lambda _: None) -> None:
        self._slots, self._alone = tuple(slots), alone
        self._threads: dict[threading.Thread, Slot] = {}
        self._work: _Work[Any, Any] | None = None

    def prepare(self, at: Sequence[int]) -> dict[int, dict[str, Any]]:
        """As `Local.prepare`, in whichever slot is open first; the others see to it when they come to a method."""
        asked = iter([tuple(at)] if at else [])
        noted: dict[int, dict[str, Any]] = {}
        for _, said in self._each(asked, lambda slot, one: slot.prepare(one), _unprepared):
            noted |= said
        return noted

    def run(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Outcome]]:
        """As `Local.run`, in whatever order they are done."""
        return self._each(tasks, lambda slot, task: slot.do(task), _given_up)

    def close(self) -> None:
        """End every slot, whatever it does."""
        self._end()
        for slot in self._slots:
            slot.close()

    def _each(
        self, asked: Iterator[T], do: Callable[[Slot, T], R], lost: Callable[[T, str], R]
    ) -> Iterator[tuple[T, R]]:
        first = list(itertools.islice(asked, 1))
        if not first:
            return  # for nothing no slot need be open: a cluster may have no room
        work = self._work = _Work(itertools.chain(first, asked), do, lost, 2 * len(self._slots))
        self._threads = {threading.Thread(target=work.serve, args=(slot,), daemon=True): slot for slot in self._slots}
        for thread in self._threads:
            thread.start()
        try:
            yield from work.done(self._alone)
        finally:
            self._end()

    def _end(self) -> None:
        """Have every thread end: by itself where all is done, else with what it has in hand."""
        if self._work is None:
            return
        self._work.end()
        for thread, slot in self._threads.items():
            while thread.is_alive():
                if self._work.in_hand:
                    slot.stop()  # again and again: it may just have begun something
                thread.join(LOOK / 5)
        self._work = None


class _Work(Generic[T, R]):
    """Tasks that are shared out, and what came of them."""

    def __init__(self, asked: Iterator[T], do: Callable[[Slot, T], R], lost: Callable[[T, str], R], most: int) -> None:
        self._asked, self._do, self._lost = asked, do, lost
        self._most = most
        """Results that may lie about: who writes them need not be overtaken."""
        self._again: deque[tuple[T, int]] = deque()
        self._done: deque[tuple[T, R]] = deque()
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._open, self._alone_since = 0, time.monotonic()
        self.in_hand = 0

    def end(self) -> None:
        with self._changed:
            self._over.set()
            self._changed.notify_all()

    def serve(self, slot: Slot) -> None:
        """What a thread does."""
        try:
            while slot.open(self._over):
                with self._counted_open():
                    while (taken := self._take()) is not None and self._served(slot, *taken):
                        pass
                if taken is None:
                    return
        except BaseException as error:  # noqa: BLE001  (whoever asked raises it, in its own thread)
            self._error = self._error or error
            self.end()

    def done(self, alone: Callable[[float], None]) -> Iterator[tuple[T, R]]:
        """What came of tasks, as it comes; raises what a thread raised."""
        while True:
            with self._changed:
                if not (self._done or self._over.is_set()):
                    self._changed.wait(LOOK)
                given = self._done.popleft() if self._done else None
                self._changed.notify_all()
                ended, lonely = self._over.is_set(), not self._open and not self._over.is_set()
            if given is not None:
                yield given  # before any error: it is done
            elif self._error is not None:
                raise self._error
            elif ended:
                return
            elif lonely:
                alone(time.monotonic() - self._alone_since)

    def _served(self, slot: Slot, task: T, tries: int) -> bool:
        """Do a task; False if the slot is gone with it."""
        try:
            self._give(task, self._do(slot, task))
        except Gone as gone:
            if not self._over.is_set():
                again = "; what it had in hand is done again" if tries + 1 < TRIES else ""
                _log.warning("%s%s", gone, again)
            self._give_back(task, tries + 1, str(gone))
            return False
        return True

    def _take(self) -> tuple[T, int] | None:
        """The next task and how many workers were lost with it; None when nothing is left, or it is over."""
        with self._changed:
            while not self._over.is_set():
                taken = self._next() if len(self._done) < self._most else None
                if taken is not None:
                    self.in_hand += 1
                    return taken
                if not (self.in_hand or self._done):
                    self.end()
                    return None
                self._changed.wait(LOOK)
        return None

    def _next(self) -> tuple[T, int] | None:
        if self._again:
            return self._again.popleft()
        return next(((task, 0) for task in self._asked), None)

    def _give(self, task: T, result: R) -> None:
        with self._changed:
            self.in_hand -= 1
            self._done.append((task, result))
            self._changed.notify_all()

    def _give_back(self, task: T, tries: int, why: str) -> None:
        if tries >= TRIES:
            return self._give(task, self._lost(task, why))
        with self._changed:
            self.in_hand -= 1
            self._again.append((task, tries))
            self._changed.notify_all()
        return None

    @contextlib.contextmanager
    def _counted_open(self) -> Iterator[None]:
        with self._changed:
            self._open += 1
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._alone_since = time.monotonic()


def _given_up(task: Task, why: str) -> Outcome:
    return worker.lost(task.strengths, f"{TRIES} workers were lost with it, the last: {why}")


def _unprepared(_: Sequence[int], why: str) -> NoReturn:
    raise MethodError(f"{TRIES} workers were lost while methods were prepared, the last: {why}")
