"""sweeps/done.jsonl: what was done, a line a sweep, by content. The last line of a key counts.

A line is appended and synced when all images of its sweep are written, so that it is the one sync a sweep needs. Images
may reach the disk later than their line does: what was appended since the last clean end is checked by content when the
run goes on, everything else by size and time. A line that a dead process left half written is cut off.
"""

from __future__ import annotations

import json
import os
import re
import threading
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tedbench import disk
from tedbench.errors import StoreError

NAME = "sweeps/done.jsonl"
_KEY = re.compile(rb'\{"key": "([0-9a-f]{32})", ')
_END = b"}\n"
_DIGITS = 16
"""Of a key, what is kept in memory: 64 bits. Two keys of a million share them once in 30 million runs, and then both
are done again and again, and none is taken for the other."""
LINE = 600
"""Bytes of a short entry, by which the table's first size is guessed."""
WINDOW = 1 << 16
"""Bytes read at a time: entries are mostly looked at in the order of writing."""
CLEAN = b'{"clean": true}\n'
Entry = dict[str, Any]
_DECODE = json.JSONDecoder().raw_decode


class Journal:
    """What was done in one run. In memory are some 50 bytes an entry, and no entry."""

    def __init__(self, out: Path) -> None:
        self.path = out / NAME
        self._places = _Places(self.path.stat().st_size // LINE if self.path.exists() else 0)
        self._clean = 0
        """Where the last clean end is."""
        self._file: Any = None
        self._read_from: Any = None
        self._window = (0, b"")
        """Place, and what stands from there on."""
        self._lock = threading.Lock()
        """Workers' threads look for the next sweep while what another did is written."""
        self._read()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return self.find(key) is not None

    def find(self, key: str) -> Entry | None:
        """The entry of a key, if there is one."""
        return self.look_up(key)[0]

    def look_up(self, key: str) -> tuple[Entry | None, bool]:
        """The entry of a key, if there is one, and whether it is settled.

        Settled is what was there at the last clean end, so that its images had reached the disk.
        """
        with self._lock:
            place = self._places.get(int(key[:_DIGITS], 16))
            entry = None if place is None else self._at(place)
        if place is None or entry is None or entry["key"] != key:
            return None, False
        return entry, place < self._clean

    def entries(self) -> Iterator[Entry]:
        """Every entry that counts, in the order of writing."""
        for place, line in self._lines():
            found = _KEY.match(line)
            if found and self._places.get(int(found[1][:_DIGITS], 16)) == place:
                entry = self._at(place)
                if entry is not None:
                    yield entry

    def append(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry, durably.

        Raises:
            StoreError: if the disk is full or read-only; what was there stays.
        """
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._lock:
            self._places.put(int(entry["key"][:_DIGITS], 16), self._write(line))

    def end(self) -> None:
        """Say that everything has reached the disk, after seeing to it."""
        with disk.explained(self.path):
            os.sync()
        self._clean = self._write(CLEAN)

    def close(self) -> None:
        """Let go of the file."""
        for one in (self._file, self._read_from):
            if one is not None:
                one.close()
        self._file = self._read_from = None

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
        return _decoded(self._line(place))

    def _line(self, place: int) -> bytes:
        """The line that begins at a place."""
        start, held = self._window
        end = held.find(b"\n", place - start) if start <= place else -1
        if end >= 0:
            return held[place - start : end]
        if self._read_from is None:
            self._read_from = self.path.open("rb", buffering=0)
        held, size = os.pread(self._read_from.fileno(), WINDOW, place), WINDOW
        while b"\n" not in held and len(held) == size:
            size *= 2
            held = os.pread(self._read_from.fileno(), size, place)
        self._window = (place, held)
        return held.partition(b"\n")[0]

    def _read(self) -> None:
        for place, line in self._lines():
            if line == CLEAN:
                self._clean = place
            elif (found := _KEY.match(line)) and line.endswith(_END):
                self._places.put(int(found[1][:_DIGITS], 16), place)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line with its place."""
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                place = 0
                for line in file:
                    yield place, line
                    place += len(line)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read ({error.strerror or error})") from error


class _Places:
    """Number of a key → place in the file: a table with open addressing, since a dict takes five times the memory."""

    def __init__(self, room: int) -> None:
        size = 1 << max(10, (2 * room).bit_length())
        self._slots, self._mask, self._n = array("Q", bytes(16 * size)), size - 1, 0

    def __len__(self) -> int:
        return self._n

    def get(self, key: int) -> int | None:
        """The place of a key, if it has one."""
        at = self._slot(key)
        return self._slots[at + 1] if self._slots[at] else None

    def put(self, key: int, place: int) -> None:
        """Note a place, the last one counts."""
        at = self._slot(key)
        if not self._slots[at]:
            self._n += 1
        self._slots[at], self._slots[at + 1] = key or 1, place
        if 2 * self._n > self._mask:
            self._grow()

    def _slot(self, key: int) -> int:
        """Where a key is, or would be; zero stands for none."""
        slots, mask, key = self._slots, self._mask, key or 1
        at = key & mask
        while slots[2 * at] and slots[2 * at] != key:
            at = (at + 1) & mask
        return 2 * at

    def _grow(self) -> None:
        old = self._slots
        self._slots, self._mask, self._n = array("Q", bytes(2 * 8 * len(old))), 2 * self._mask + 1, 0
        for at in range(0, len(old), 2):
            if old[at]:
                self.put(old[at], old[at + 1])


def read(line: bytes) -> tuple[Entry | None, str]:
    """The entry of a line, None where it is damaged; and its key, empty where that cannot be read either."""
    found = _KEY.match(line)
    return _decoded(line) if found and line.endswith(_END) else None, found[1].decode() if found else ""


def _decoded(line: bytes) -> Entry | None:
    try:
        entry = _DECODE(line.decode())[0]
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("cells"), list) else None


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
    return line == CLEAN or (_KEY.match(line) is not None and line.endswith(_END))


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
