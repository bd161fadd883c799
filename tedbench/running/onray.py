"""Workers on the machines of a Ray cluster (Moritz et al., 2018, arXiv:1712.05889); the only module that knows Ray.

A worker is an actor, see `elsewhere.Worker`. One that is lost with its node is replaced while there is room.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tedbench.contenders import Contender
from tedbench.errors import MethodError, UsageError, short
from tedbench.running import elsewhere
from tedbench.running.local import Task, raised
from tedbench.running.pool import LOOK, TRIES, Gone, Pool, Slot
from tedbench.running.worker import Outcome

PATIENCE = 120.0
"""Seconds without any worker after which a run ends."""
TOLD = 20.0
"""Seconds of that after which it is said."""
REACHED = 10.0
"""Seconds in which a cluster must answer."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """Which cluster, and what of it."""

    address: str = ""
    """`HOST:PORT` or `auto`; empty for one of this machine alone, which ends with the run."""
    workers: int = 0
    """How many; 0 for as many as there is room for."""
    gpus: float | None = None
    """That a worker takes, a part of one too; None for one where the cluster has any."""


class OnRay(Pool):
    """An executor on a cluster.

    Args:
        contenders: of the run.
        time_limit: as `Local` takes it.
        threads: of a worker, which takes as many CPUs.
        wanted: cluster, workers, GPUs.

    Raises:
        UsageError: if there is no Ray, no such cluster, or it is asked for what Ray does not give.
    """

    def __init__(self, contenders: Sequence[Contender], time_limit: float, threads: int, wanted: Wanted) -> None:
        home = elsewhere.home_of(contenders, time_limit, threads)
        self._ray, self._ours = _connected(wanted.address)
        try:
            takes = _takes(self._ray, threads, wanted.gpus)
            count = wanted.workers or room(self._ray.nodes(), takes)
            at = self._ray.put(home)
            slots = [_Slot(self._ray, at, takes) for _ in range(max(1, count))]
            super().__init__(slots, _patient(self._ray, takes))
        except BaseException:
            self._leave()
            raise

    def close(self) -> None:
        """End every worker, and leave the cluster."""
        super().close()
        self._leave()

    def _leave(self) -> None:
        if self._ours:
            with _as_it_was(signal.SIGTERM):
                self._ray.shutdown()


class _Actor(elsewhere.Worker):
    """It, where it asks Ray where it is."""

    def begin_here(self, home: elsewhere.Home) -> str:
        import ray

        place = f"Ray node {ray.util.get_node_ip_address()}"
        unlike = self.begin(home, place)
        return f"{place} has {unlike}" if unlike else ""


class _Slot(Slot):
    """A worker, or the place where the next one will be."""

    def __init__(self, ray: Any, home: Any, takes: Mapping[str, float]) -> None:
        self._ray, self._home, self._takes = ray, home, takes
        self._worker: Any = None
        self._begun: Any = None
        self._lost = 0
        """Workers that did not come to work, one after the other."""

    def open(self, over: threading.Event) -> bool:
        """Wait for a worker that is placed, and as here.

        Raises:
            MethodError: if it is unlike what is here, or ends again and again before it has begun.
        """
        while not over.is_set():
            if self._worker is None:
                actor = self._ray.remote(num_cpus=self._takes["CPU"], num_gpus=self._takes["GPU"])(_Actor)
                self._worker = actor.remote()
                self._begun = self._worker.begin_here.remote(self._home)
            if self._begun is None:
                return True
            if self._ray.wait([self._begun], timeout=LOOK)[0]:
                self._begin(over)
        return False

    def prepare(self, at: Sequence[int]) -> dict[int, dict[str, Any]]:
        """As `Local.prepare`."""
        noted: dict[int, dict[str, Any]] = self._asked("prepare", at)
        return noted

    def do(self, task: Task) -> Outcome:
        """As `Local.do`."""
        outcome: Outcome = self._asked("do", elsewhere.carried(task))
        return outcome

    def stop(self) -> None:
        """End the worker; the thread that waits for it hears that it is gone."""
        worker = self._worker
        with contextlib.suppress(Exception):  # gone, or the cluster is
            if worker is not None:
                self._ray.kill(worker)

    def close(self) -> None:
        """End the worker."""
        self.stop()
        self._worker = self._begun = None

    def _begin(self, over: threading.Event) -> None:
        try:
            unlike = self._ray.get(self._begun)
        except self._ray.exceptions.RayError as error:
            self.close()
            self._lost += 1
            if self._lost >= TRIES:
                raise MethodError(f"a Ray worker cannot begin: {_reason(error)}") from error
            over.wait(LOOK)
            return
        if unlike:
            raise MethodError(f"{unlike}; versions move numbers: install the same on every node")
        self._begun, self._lost = None, 0

    def _asked(self, name: str, said: Any) -> Any:
        try:
            kind, said = self._ray.get(self._worker.ask.remote(name, said))
        except self._ray.exceptions.RayTaskError as error:
            raise MethodError(f"a Ray worker failed: {_reason(error)}") from error
        except self._ray.exceptions.RayError as error:
            self.close()
            raise Gone(f"a Ray worker is lost ({type(error).__name__})") from error
        if kind == "interrupted":
            raise KeyboardInterrupt
        if kind == "raised":
            raise raised(*said)
        return said


def room(nodes: Sequence[Mapping[str, Any]], takes: Mapping[str, float]) -> int:
    """How many workers the nodes that live have room for."""
    wants = {name: amount for name, amount in takes.items() if amount}
    lives = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(min(int(has.get(name, 0) / amount + 1e-6) for name, amount in wants.items()) for has in lives)


def _connected(address: str) -> tuple[Any, bool]:
    """Ray, connected, and whether we are to leave it again."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when it is imported
    try:
        import ray
    except ImportError as error:
        raise UsageError("--executor ray needs Ray: pip install 'tedbench-editing[ray]', or leave it out") from error
    if ray.is_initialized():
        return ray, False
    _reach(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with warnings.catch_warnings(), _as_it_was(signal.SIGTERM):
            warnings.simplefilter("ignore")
            ray.init(address or "local", **quiet, **({} if address else {"include_dashboard": False}))
    except SystemExit:
        signal.raise_signal(signal.SIGTERM)  # which is what Ray takes it for while it starts; for us to answer
        raise
    except Exception as error:
        what = f"no Ray cluster answers at {address!r}" if address else "Ray does not start here"
        raise UsageError(f"{what} ({_reason(error)}); `ray start --head` starts one") from error
    return ray, True


def _reach(address: str) -> None:
    """Refuse a cluster that does not answer: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "//" in address:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({short(error)}); `ray start --head` starts one"
        ) from error


@contextlib.contextmanager
def _as_it_was(number: int) -> Iterator[None]:
    """Ray sets what a signal does, in whichever program it is used."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, before)


def _takes(ray: Any, threads: int, gpus: float | None) -> dict[str, float]:
    has = ray.cluster_resources().get("GPU", 0)
    gpus = (1.0 if has else 0.0) if gpus is None else gpus
    if gpus > 1 and not gpus.is_integer():
        raise UsageError(f"--gpus {gpus:g}: a worker takes whole GPUs, or a part of one, as 0.5")
    return {"CPU": threads, "GPU": gpus}


def _patient(ray: Any, takes: Mapping[str, float]) -> Callable[[float], None]:
    told = set[int]()

    def alone(seconds: float) -> None:
        if seconds < TOLD:
            told.clear()
        elif seconds >= PATIENCE:
            raise MethodError(
                f"no Ray worker for {seconds:.0f} s: {_lacks(ray, takes)}; take less with --threads or --gpus, or add "
                "nodes; what is done is kept"
            )
        elif not told:
            told.add(1)
            _log.warning("waiting for a Ray worker, up to %.0f s: %s", PATIENCE, _lacks(ray, takes))

    return alone


def _lacks(ray: Any, takes: Mapping[str, float]) -> str:
    lives = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    has = [", ".join(f"{one.get(name, 0):g} {name}" for name in takes) for one in lives]
    each = ", ".join(f"{amount:g} {name}" for name, amount in takes.items())
    return f"each takes {each}, and the nodes have {' | '.join(has) or 'gone'}"


def _reason(error: BaseException) -> str:
    """The last line of what Ray says, which is where the cause stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
