"""What a run did, counted from its rows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tedbench.running.pool import TRIES
from tedbench.types import Cell

NAMED = 10
"""Failures that a summary names; all of them are in cells.jsonl."""


@dataclass(frozen=True)
class Ran:
    """What a run did."""

    out: Path
    asked: int
    """Images."""
    ok: int
    failed: tuple[str, ...]
    """One line for each of the first sweeps with failures, now or earlier."""
    failed_sweeps: int
    failed_images: int
    kept: int
    """Sweeps done by an earlier call."""
    kept_failed: int
    """Those of them with failures, which were not tried again."""
    redone: int
    """Sweeps done again, since their record or images were damaged."""
    kinds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Kind of failure → images."""

    @property
    def missing(self) -> int:
        """Images that were not tried yet: of other shards, or since the run was interrupted."""
        return self.asked - self.ok - self.failed_images


class Tally:
    """Rows, counted as they pass."""

    def __init__(self) -> None:
        self.status, self.kinds = Counter[str](), Counter[str]()
        self.named: list[str] = []
        self.failed_sweeps = 0

    def counted(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """The rows, one by one."""
        last = ""
        for cell in cells:
            self.status[cell.status] += 1
            if cell.status == "failed":
                self.kinds[failure(cell.error)] += 1
                name = f"{cell.method}/{cell.uid}/s{cell.seed}"
                if name != last:
                    self.failed_sweeps, last = self.failed_sweeps + 1, name
                    self.named += [f"{name}: {cell.error}"] if len(self.named) < NAMED else []
            yield cell


def failure(error: str) -> str:
    """The kind of a failure: an error's class, or what the suite calls it."""
    known = {
        "timed out": "timed out",
        "the method's process": "process ended",
        f"{TRIES} workers were lost": "workers lost",
        "ImageError: the image is black": "black",
        "the image is black": "black",
    }
    for start, kind in known.items():
        if error.startswith(start):
            return kind
    if "a sweep is of one size" in error or "each side needs" in error:
        return "wrong size"
    return error.partition(":")[0][:40]
