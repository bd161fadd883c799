"""sweeps/done.jsonl: what was done, a line a sweep, by content. The last line of a key counts.

A line is appended and synced when all images of its sweep are written, so that it is the one sync a sweep needs. Images
may reach the disk later than their line does: what was appended since the last clean end is checked by content when the
run goes on, everything else by size and time. A line that a dead process left half written is cut off.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tedbench import disk
from tedbench.errors import StoreError

NAME = "sweeps/done.jsonl"
_KEY = re.compile(rb'\{"key": "([0-9a-f]{32})".*\}\n\Z')
CLEAN = b'{"clean": true}\n'
Entry = dict[str, Any]


class Journal:
    """What was done in one run. In memory are keys and places alone."""

    def __init__(self, out: Path) -> None:
        self.path = out / NAME
        self._places: dict[bytes, int] = {}
        self._clean = 0
        """Where the last clean end is."""
        self._file: Any = None
        self._map: Any = None
        self._read()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def find(self, key: str) -> Entry | None:
        """The entry of a key, if there is one."""
        place = self._places.get(bytes.fromhex(key))
        return None if place is None else self._at(place)

    def is_settled(self, key: str) -> bool:
        """Whether an entry was there at the last clean end, so that its images had reached the disk."""
        return self._places[bytes.fromhex(key)] < self._clean

    def entries(self) -> Iterator[Entry]:
        """Every entry that counts, in the order of writing."""
        for place in sorted(self._places.values()):
            entry = self._at(place)
            if entry is not None:
                yield entry

    def append(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry, durably.

        Raises:
            StoreError: if the disk is full or read-only; what was there stays.
        """
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        self._places[bytes.fromhex(entry["key"])] = self._write(line)

    def end(self) -> None:
        """Say that everything has reached the disk, after seeing to it."""
        with disk.explained(self.path):
            os.sync()
        self._clean = self._write(CLEAN)

    def close(self) -> None:
        """Let go of the file."""
        for one in (self._file, self._map):
            if one is not None:
                one.close()
        self._file = self._map = None

    def _write(self, line: bytes) -> int:
        with disk.explained(self.path):
            file = self._opened()
            place: int = file.seek(0, os.SEEK_END)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):  # closing writes what is left in the buffer, and may fail as well
                    file.close()
                self._file = None
                os.truncate(self.path, place)  # a half line would hide the next one
                raise
        return place

    def _opened(self) -> Any:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=1 << 16)
        return self._file

    def _at(self, place: int) -> Entry | None:
        """The entry at a place; None where somebody has damaged it, which is as if nothing were done."""
        if self._map is None or place >= len(self._map):
            self._remap()
        end = self._map.find(b"\n", place) if self._map is not None else 0
        return read(self._map[place : end + 1])[0] if self._map is not None else None

    def _remap(self) -> None:
        """Look at the file as it is now; it only grows."""
        if self._map is not None:
            self._map.close()
        with self.path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _read(self) -> None:
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                place = 0
                for line in file:
                    self._note(line, place)
                    place += len(line)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read ({error.strerror or error})") from error

    def _note(self, line: bytes, place: int) -> None:
        if line == CLEAN:
            self._clean = place
        elif found := _KEY.match(line):
            self._places[bytes.fromhex(found[1].decode())] = place


def read(line: bytes) -> tuple[Entry | None, str]:
    """The entry of a line, None where it is damaged; and its key, empty where that cannot be read either."""
    found = _KEY.match(line)
    try:
        entry = json.loads(line) if found else None
    except ValueError:
        entry = None
    whole = isinstance(entry, dict) and isinstance(entry.get("cells"), list)
    return entry if whole else None, found[1].decode() if found else ""


def mend(out: Path) -> None:
    """Cut off a line that a dead process left half written, and drop what is no line at all. Before anybody reads.

    A line whose form alone is right is left: parsing each would take longer than all else, and the next line of its
    key counts in its place.

    Raises:
        StoreError: if the disk is full or read-only.
    """
    path = out / NAME
    if not path.exists():
        return
    with disk.explained(path), path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        whole = _end_of_lines(file, size)
        if whole < size:
            file.truncate(whole)
        file.seek(0)
        if all(map(_is_line, file)):
            return
        file.seek(0)
        kept = b"".join(line for line in file if _is_line(line))
    disk.write_atomic(path, kept)


def _is_line(line: bytes) -> bool:
    return line == CLEAN or _KEY.match(line) is not None


def _end_of_lines(file: Any, size: int) -> int:
    """Place after the last newline."""
    step, at = 1 << 16, size
    while at > 0:
        start = max(0, at - step)
        file.seek(start)
        found = file.read(at - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        at = start
    return 0
