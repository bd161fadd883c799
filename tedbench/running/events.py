"""events.jsonl: what happened in a run and when, a line an event, for whoever watches or wonders later."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tedbench import disk, environment
from tedbench.running.watching import Watch

NAME = "events.jsonl"


class Log:
    """The log of one run. Lines are appended whole; none is worth a sync of its own."""

    def __init__(self, out: Path, watch: Watch | None = None) -> None:
        self._path, self._watch = out / NAME, watch

    def write(self, event: str, **more: Any) -> None:
        """Append an event.

        Args:
            event: `begin`, `sweep`, `failed` or `end`; `unwatched` where a watcher raised.
            more: what JSON can hold.

        Raises:
            StoreError: if the disk is full or read-only.
        """
        line = json.dumps({"at": environment.now(), "event": event, "process": os.getpid(), **more}, ensure_ascii=False)
        with disk.explained(self._path):
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                _append(handle, line.encode() + b"\n")
            finally:
                os.close(handle)
        broken = self._watch.see(event, more) if self._watch is not None else ""
        if broken:
            self.write("unwatched", error=broken)


def _append(handle: int, line: bytes) -> None:
    place = os.fstat(handle).st_size
    try:
        while line:
            line = line[os.write(handle, line) :]
    except OSError:
        os.ftruncate(handle, place)  # the next line would be read as the rest of half a one
        raise
