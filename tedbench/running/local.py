"""The executor of one machine: a process for each method in turn, so that none takes the run down, or another's model.

A process that ends, hangs or runs out of memory loses the sweep in hand, which becomes a row that says so, and the next
one is made. On Linux it is forked, and starts in no time; elsewhere, and where whoever asks has threads, it is spawned.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tedbench import errors
from tedbench.contenders import Contender
from tedbench.errors import MethodError, TedbenchError
from tedbench.running import torch_threads, worker
from tedbench.running.packing import Packed, packed
from tedbench.running.worker import Outcome
from tedbench.types import EditPair

WAY = "fork" if sys.platform == "linux" else "spawn"
ALIVE = 1.0
"""Seconds between two looks at whether whoever asked still lives."""
_ONE_AT_A_TIME = threading.Lock()
"""Processes are made and buried singly: each would hold on to another's pipes, and take another's exit code."""


@dataclass(frozen=True)
class Task:
    """A sweep to be done."""

    at: int
    """Which contender."""
    place: int
    """By what whoever asks knows the sweep again."""
    pair: EditPair
    seed: int
    strengths: tuple[float, ...]


class Local:
    """Does sweeps one after the other, each method in a process of its own.

    Args:
        contenders: of the run.
        time_limit: seconds an image may take, its part of the fit included; 0 for no limit.
        threads: of torch, and of what else counts them, in the process; 0 for as many as it takes.
        way: `fork` or `spawn`; only the first keeps what libraries that are loaded here have counted.
    """

    def __init__(
        self, contenders: Sequence[Contender | Packed], time_limit: float = 0.0, threads: int = 0, way: str = WAY
    ) -> None:
        self._contenders = tuple(packed(one) if way == "spawn" and isinstance(one, Contender) else one
                                 for one in contenders)  # fmt: skip
        self._time_limit, self._threads, self._way = time_limit, threads, way
        self._process: Any = None
        """Head of a group of its own: what a method starts ends with it."""
        self._pipe: Connection | None = None
        self._at: int | None = None
        """The contender whose process it is."""
        self._loaded: set[int] = set()
        """Contenders that the process has loaded."""
        self._proved: set[int] = set()
        """Those that any process here has loaded."""

    def prepare(self, at: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Have methods load what they need, all of them before any is run.

        Returns:
            What each noted.

        Raises:
            TedbenchError: as a method is at fault; MethodError if its process ends meanwhile.
        """
        noted: dict[int, dict[str, Any]] = {}
        loads = {one: self._contenders[one].loads for one in at}
        # Two large models need not fit beside each other; the first method's comes last, and is there when it is run.
        for model in reversed(dict.fromkeys(loads.values())):
            if any(self._contenders[one].loads != model for one in self._loaded):
                self.close()
            noted |= {one: self._prepared(one) for one in at if loads[one] == model}
        return noted

    def _prepared(self, one: int) -> dict[str, Any]:
        self._for(None)
        said = self._ask(("prepare", one), 0.0)
        if isinstance(said, str):
            raise MethodError(f"method {self._contenders[one].label!r} cannot be prepared: {said}")
        self._note_loaded(one)
        told: dict[str, Any] = said
        return told

    def run(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Do tasks, in their order.

        Raises:
            KeyboardInterrupt: also where the method raised it.
        """
        for task in tasks:
            yield task, self.do(task)

    def do(self, task: Task) -> Outcome:
        """Do one; raises as `run`."""
        self._for(task.at)
        # To begin a process and load a model is no image's time.
        said = self._ask(("prepare", task.at), 0.0, task.at in self._proved) if task.at not in self._loaded else None
        if not isinstance(said, str):
            self._note_loaded(task.at)
            said = self._ask(("do", task), self._time_limit * len(task.strengths))
        return worker.lost(task.strengths, said) if isinstance(said, str) else said

    def open(self, over: threading.Event) -> bool:
        """Whether tasks can be done: here always, until it is over."""
        return not over.is_set()

    def stop(self) -> None:
        """End the process from another thread; the one that waits for it hears that it ended."""
        with suppress(OSError, ValueError, AttributeError):  # gone, buried, or not born yet
            _kill(self._process)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            with _ONE_AT_A_TIME:
                with suppress(OSError):
                    _kill(self._process)
                self._process.join()
                self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = self._at = None
        self._loaded = set()

    def _note_loaded(self, at: int) -> None:
        self._loaded.add(at)
        self._proved.add(at)

    def _for(self, at: int | None) -> None:
        """See to a process, for one contender alone; None for preparing, in one for all."""
        if self._process is None or (self._at is not None and at != self._at):
            self.close()
            self._start()
        self._at = at if at is not None else self._at

    def _start(self) -> None:
        context: Any = multiprocessing.get_context(self._way)
        with _undisturbed(), _ONE_AT_A_TIME, torch_threads.counted(self._threads if self._way == "spawn" else 0):
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(theirs, self._contenders, os.getpid(), self._threads), daemon=True
            )
            if self._way == "fork":
                torch_threads.before_fork()
            sys.stdout.flush()
            sys.stderr.flush()
            with warnings.catch_warnings():
                # Threads of libraries do not live on in the child, and hold nothing that it needs.
                warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
                self._process.start()
            theirs.close()

    def _ask(self, asked: tuple[str, Any], limit: float, forgiving: bool = False) -> Any:
        """What the process says; as text why it says nothing, or why what could be loaded before now cannot.

        Raises:
            TedbenchError, KeyboardInterrupt: as it was raised there.
        """
        pipe: Any = self._pipe
        began = time.monotonic()
        try:
            pipe.send(asked)
            while not pipe.poll(min(ALIVE, max(0.0, began + limit - time.monotonic())) if limit else ALIVE):
                if limit and time.monotonic() >= began + limit:
                    self.close()
                    return f"timed out after {time.monotonic() - began:.0f} s; --time-limit allows more"
                self._check_alive(pipe)
            kind, said = pipe.recv()
        except (EOFError, OSError):
            with _ONE_AT_A_TIME:
                self._process.join(5)
                why = _ended(self._process.exitcode)
            self.close()
            return why
        if kind == "interrupted":
            raise KeyboardInterrupt
        if kind == "unprepared" and forgiving:
            return said[1]
        if kind in ("raised", "unprepared"):
            raise raised(*said)
        return said

    def _check_alive(self, pipe: Any) -> None:
        """A process that is dead says nothing, though what it started may hold its end of the pipe open."""
        with _ONE_AT_A_TIME:
            alive = self._process.is_alive()
        if not alive and not pipe.poll(0):
            raise EOFError


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back to the end of the block: what they raise within the hooks of a fork is dropped."""
    if threading.current_thread() is not threading.main_thread():  # signals are answered in that one
        yield
        return
    held: list[int] = []
    before = {one: signal.signal(one, lambda number, _: held.append(number)) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)
        for number in held[:1]:
            signal.raise_signal(number)


def _kill(process: Any) -> None:
    """End a process, and those that it started and that stayed in its group."""
    with suppress(OSError):  # it has no group yet
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        more = ", as the kernel does where memory runs out" if name == "SIGKILL" else ""
        return f"the method's process was ended by {name}{more}"
    return f"the method's process ended with exit code {code}"


def raised(name: str, message: str) -> TedbenchError:
    """An error as it was raised in the process: of its class where that takes a message, else of the one above it."""
    kind = getattr(errors, name, MethodError)
    while kind.__init__ is not TedbenchError.__init__:
        kind = kind.__mro__[1]
    made: TedbenchError = kind(message)
    return made


def _serve(pipe: Connection, contenders: Sequence[Contender | Packed], asker: int, threads: int) -> None:
    """The process: answers until nobody asks any more."""
    with suppress(OSError):
        os.setpgid(0, 0)
    multiprocessing.current_process().daemon = False  # a method may start processes, as loaders of data do
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch_threads.after_fork()
    threading.Thread(target=_outlive_nobody, args=(asker,), daemon=True).start()
    if threads:  # for what is loaded later, torch too
        os.environ.update(dict.fromkeys(torch_threads.COUNTS, str(threads)))
    ready, mine = dict[int, Contender](), os.getpid()
    while True:
        try:
            kind, said = pipe.recv()
        except (EOFError, OSError):
            return
        answer = _answered(contenders, kind, said, ready, threads)
        if os.getpid() != mine:  # a copy that the method forked: what it said would pass for the answer of another task
            return
        with suppress(OSError):  # a method may have closed the pipe; to ask again tells
            pipe.send(answer)


def _answered(
    contenders: Sequence[Contender | Packed], kind: str, said: Any, ready: dict[int, Contender], threads: int
) -> tuple[str, Any]:
    at = said if kind == "prepare" else said.at
    try:
        torch_threads.pin(threads)
        one = contenders[at] if at not in ready else ready[at]
        one = one.unpacked() if isinstance(one, Packed) else one
        try:
            noted = {} if at in ready else worker.prepared(one)
        except TedbenchError as error:
            return "unprepared", (type(error).__name__, str(error))
        ready[at] = one
        torch_threads.pin(threads)  # again: to load it may have been what brought torch, or have set another number
        if kind == "prepare":
            return "prepared", noted
        return "done", _done(one, said, threads)
    except KeyboardInterrupt:
        return "interrupted", None
    except TedbenchError as error:
        return "raised", (type(error).__name__, str(error))


def _done(one: Contender, task: Task, threads: int) -> Outcome:
    late = "torch" not in sys.modules
    outcome = worker.do(one, task.pair, task.seed, task.strengths)
    # Torch takes no more threads than there are cores, whatever the environment says, until it is told.
    return worker.do(one, task.pair, task.seed, task.strengths) if late and torch_threads.pin(threads) else outcome


def _outlive_nobody(asker: int) -> None:
    while os.getppid() == asker:
        time.sleep(ALIVE)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
