"""Two lists of what was done become one, entry by entry, and the files of what comes are checked by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from tedbench import disk
from tedbench.errors import StoreError
from tedbench.remote.addresses import PARTIAL, Address
from tedbench.running import journal, sweeps
from tedbench.running.journal import Entry, Journal

AT_ONCE = 16
"""Sweeps whose files come together."""


@dataclass(frozen=True)
class Union:
    """What is at an address joins what is here."""

    address: Address
    there: Mapping[str, int]
    """Its files and their sizes in bytes."""
    folder: Path
    """The run's folder here."""

    def join(self, fetched: Path, alive: Callable[[], None]) -> list[Entry]:
        """Bring what they have done and we have not.

        Args:
            fetched: a folder with their `journal.NAME`.
            alive: called now and then.

        Returns:
            Entries that the address lacks, or some of whose files it lacks.

        Raises:
            StoreError: if the address cannot be read, or the disk cannot be written.
        """
        journal.mend(self.folder)
        with Journal(self.folder) as mine, Journal(fetched) as theirs:
            settled, before = all(mine.look_up(one["key"])[1] for one in mine.entries()), len(mine)
            bar = tqdm(total=len(theirs), desc=f"fetch {self.address.name}", unit="sweep", delay=2, disable=None)
            with bar:
                for some in _parts(entry for entry in theirs.entries() if _is_ours(entry)):
                    alive()
                    self._bring(some, mine)
                    bar.update(len(some))
            if settled and len(mine) > before:
                mine.end()
            return [one for one in mine.entries() if not self._is_there(one, theirs.find(one["key"]))]

    def _bring(self, some: Sequence[Entry], mine: Journal) -> None:
        wanted = [(one, self._lacks(one, ours)) for one in some if _counts(one, ours := mine.find(one["key"]))]
        come: dict[str, Path] = {}
        for entry, lacks in wanted:
            said = sizes(entry)
            come |= {name: _beside(self.folder / name) for name in lacks if self.there.get(name) == said[name]}
        for path in come.values():
            with disk.explained(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        self.address.get(come)
        for entry, lacks in wanted:
            bad = {name for name in lacks if not self._take(entry, name, come)}
            new = len(bad) < len(lacks) or not _is_same(entry, mine.find(entry["key"]))
            if new and entry["record"] not in bad:
                mine.append(self._looked(entry, bad))

    def _lacks(self, entry: Entry, ours: Entry | None) -> list[str]:
        if _is_same(entry, ours):  # checked by content when it came; only what has gone since comes again
            return [name for name, size in sizes(entry).items() if not _has_size(self.folder / name, size)]
        return [name for name in sizes(entry) if not _is_it(self.folder / name, entry, name)]

    def _take(self, entry: Entry, name: str, come: Mapping[str, Path]) -> bool:
        """Put a file that came in its place, if it is what the entry says; else its sweep is done again."""
        if name not in come:
            return False
        with disk.explained(self.folder / name):
            if not _is_it(come[name], entry, name):
                come[name].unlink(missing_ok=True)
                return False
            come[name].replace(self.folder / name)
        return True

    def _looked(self, entry: Entry, bad: Collection[str]) -> Entry:
        """An entry by whose times this machine knows the files again; what is bad keeps those of another."""
        rows = [
            {**row, **sweeps.look_of(self.folder / row["file"])}
            if row["status"] == "ok" and row["file"] not in bad
            else row
            for row in entry["cells"]
        ]
        record = {"record_ctime_ns": sweeps.look_of(self.folder / entry["record"])["ctime_ns"]}
        return {**entry, **(record if "record_ctime_ns" in entry else {}), "cells": rows}

    def _is_there(self, ours: Entry, theirs: Entry | None) -> bool:
        return _is_same(ours, theirs) and all(self.there.get(name) == size for name, size in sizes(ours).items())


def sizes(entry: Entry) -> dict[str, int]:
    """Files of an entry, inside the run folder, and their sizes in bytes."""
    found = {row["file"]: int(row["size"]) for row in entry["cells"] if row["status"] == "ok"}
    return {**found, entry["record"]: int(entry["record_size"])}


def is_inside(name: str, *folders: str) -> bool:
    """Whether a file is in one of a run's folders: anybody may write at an address, names that lead out too."""
    parts = PurePosixPath(name).parts
    return len(parts) > 1 and parts[0] in folders and ".." not in parts


def _is_ours(entry: Entry) -> bool:
    """Whether an entry is as we write them."""
    try:
        return all(is_inside(name, "images", "sweeps") for name in sizes(entry))
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _counts(theirs: Entry, ours: Entry | None) -> bool:
    """Whether their entry is ours too, or has as many images or more."""
    return ours is None or _is_same(theirs, ours) or _images(theirs) >= _images(ours)


def _is_same(one: Entry, other: Entry | None) -> bool:
    """Whether two entries say the same, on whatever machine."""
    return other is not None and _bare(one) == _bare(other)


def _bare(entry: Entry) -> Entry:
    rows = [{name: value for name, value in row.items() if name != "ctime_ns"} for row in entry["cells"]]
    return {**{name: value for name, value in entry.items() if name != "record_ctime_ns"}, "cells": rows}


def _images(entry: Entry) -> int:
    return sum(row["status"] == "ok" for row in entry["cells"])


def _is_it(path: Path, entry: Entry, name: str) -> bool:
    """Whether a file is what an entry says of one: by its hash; a record of before by its key."""
    if not _has_size(path, sizes(entry)[name]):
        return False
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if name == entry["record"]:  # another machine's of this sweep may be as long: what took 1.2 s there took 1.3 s here
        return sha256 == entry["record_sha256"] if "record_sha256" in entry else _is_record(path, entry["key"])
    return sha256 in {row["sha256"] for row in entry["cells"] if row.get("file") == name}


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _is_record(path: Path, key: str) -> bool:
    try:
        return bool(disk.read_json(path).get("key") == key)
    except StoreError:
        return False


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{PARTIAL}")  # the runner removes such, where a process was killed


def _parts(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    entries = iter(entries)
    while some := list(islice(entries, AT_ONCE)):
        yield some
