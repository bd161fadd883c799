"""Who does the sweeps of a run: a process here, one for each of some devices, or workers of a cluster.

The number of threads moves the last bits of sums, so a run has one, wherever it is computed.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any

from tedbench import registry
from tedbench.contenders import Contender
from tedbench.errors import UsageError
from tedbench.running import onray
from tedbench.running.local import WAY, Local
from tedbench.running.pool import Executor, Pool
from tedbench.running.progress import How
from tedbench.running.torch_threads import COUNTS

EXECUTORS = ("local", "ray")


def make(made: Sequence[Contender], how: How, devices: Sequence[str] = (), time_limit: float = 0.0) -> Executor:
    """The executor of a run.

    Args:
        made: its methods.
        how: with the number of threads, see `threads`.
        devices: of this machine, each with a process of its own; a method's own device where none are named.
        time_limit: seconds an image may take; 0 for no limit.

    Raises:
        UsageError: if it is asked for what does not go together, or its cluster is not there.
        PluginError: if a method cannot be sent to a process that is not forked.
    """
    check(how, devices)
    if how.executor == "ray":
        return onray.OnRay(made, time_limit, how.threads, how.wanted)
    way = "spawn" if len(devices) > 1 else _way(how.threads)  # to fork where there are threads can hang
    slots = [Local(_on(made, device), time_limit, how.threads, way) for device in devices or ("",)]
    return Pool(slots) if len(slots) > 1 else slots[0]


def check(how: How, devices: Sequence[str] = ()) -> None:
    """Refuse what does not go together.

    Raises:
        UsageError: saying what.
    """
    if how.executor not in EXECUTORS:
        raise UsageError(f"no executor {how.executor!r}; known: {', '.join(EXECUTORS)}")
    if how.executor == "ray" and devices:
        raise UsageError("a list of devices is for this machine; --executor ray takes --workers and --gpus")
    if how.executor != "ray" and how.wanted != How().wanted:
        raise UsageError("--address, --workers and --gpus are of a cluster; add --executor ray")


def threads(how: How, before: Any) -> int:
    """How many threads a worker has.

    Args:
        how: where it may be asked for.
        before: what the run's folder says, in which the run began; None for a new one.
    """
    if how.threads:
        return how.threads
    if isinstance(before, int) and before > 0:
        return before
    return _count(os.environ.get("OMP_NUM_THREADS", "")) or (1 if how.executor == "ray" else cpus())


def cpus() -> int:
    """CPUs that this process may use."""
    known = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(known(0)) if known else os.cpu_count() or 1


def _count(text: str) -> int:
    """The first number of what may be a list, one a level; 0 where there is none."""
    first = text.partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0


def _way(threads: int) -> str:
    """How processes start: libraries that are loaded here have counted their threads, and a fork inherits that."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != threads:
        return "spawn"  # its pool, once there, takes no other number
    said = [_count(os.environ[name]) for name in COUNTS if name in os.environ]
    return WAY if all(count == threads for count in said or [cpus()]) else "spawn"


def _on(made: Sequence[Contender], device: str) -> list[Contender]:
    """The methods, on a device where they have one; what they are called and known by stays."""
    return [dataclasses.replace(one, method=_moved(one.method, device)) for one in made] if device else list(made)


def _moved(method: Any, device: str) -> Any:
    return dataclasses.replace(method, device=device) if "device" in registry.field_names(type(method)) else method
