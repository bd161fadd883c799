"""events.jsonl: what happened in a run and when, a line an event, for whoever watches or wonders later."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tedbench import disk, environment

NAME = "events.jsonl"


class Log:
    """The log of one run. Lines are appended whole; none is worth a sync of its own."""

    def __init__(self, out: Path) -> None:
        self._path = out / NAME

    def write(self, event: str, **more: Any) -> None:
        """Append an event.

        Args:
            event: `begin`, `sweep`, `failed` or `end`.
            more: what JSON can hold.

        Raises:
            StoreError: if the disk is full or read-only.
        """
        line = json.dumps({"at": environment.now(), "event": event, "process": os.getpid(), **more}, ensure_ascii=False)
        with disk.explained(self._path), self._path.open("ab") as file:
            file.write(line.encode() + b"\n")
