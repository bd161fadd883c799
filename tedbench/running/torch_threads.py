"""Threads that torch and other libraries compute with: their number, and what is to be done where a process forks.

A fork has the caller's thread alone, and copies of what counted the others. GNU's OpenMP waits for ever for threads
that are not there, and of torch's second pool the first thread to look makes a new one, while others find none.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What libraries read their number of threads from, once, when they are loaded."""
_PAUSE_HARD = 2
"""`omp_pause_hard` of OpenMP 5.0: let go of every thread; they are made again when something is computed."""


@contextmanager
def counted(threads: int) -> Iterator[None]:
    """Have processes that are made inside the block count their threads so from the start; 0 leaves that to them."""
    before = {name: os.environ.get(name) for name in COUNTS}
    os.environ.update(dict.fromkeys(COUNTS, str(threads)) if threads else {})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


def pin(threads: int) -> bool:
    """Have torch, where it is loaded, use so many threads; whether it used another number. 0 leaves it as it is."""
    torch = sys.modules.get("torch")
    if not threads or torch is None or torch.get_num_threads() == threads:
        return False
    torch.set_num_threads(threads)
    return True


def before_fork() -> None:
    """Let go of the threads with which torch has computed here, in the process and the thread that is about to fork."""
    if "torch" not in sys.modules:
        return
    for library in _gomp():
        with suppress(OSError, AttributeError):  # of before OpenMP 5.0
            ctypes.CDLL(library).omp_pause_resource_all(_PAUSE_HARD)


def after_fork() -> None:
    """Have torch make its pool anew, in the new process, before it has a second thread."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(torch.get_num_threads())


def _gomp() -> set[str]:
    """GNU's OpenMP, as it is loaded here; LLVM's and Intel's see to forks themselves."""
    with suppress(OSError):  # not on Linux
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
        parts = [line.split(maxsplit=5) for line in mapped.splitlines()]
        return {part[5] for part in parts if len(part) > 5 and "libgomp" in part[5].rpartition("/")[2]}
    return set()
