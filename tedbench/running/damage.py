"""What of a run's folder is gone or altered: each file against what cells.jsonl, the journal and the scores say of it.

`tedbench run` knows a file again by its size and the time of its inode, and rot changes neither. What is found altered
here is given a new time, its content as it is: the next `run` then looks at the content, and does that sweep again.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from tedbench import disk, images, store
from tedbench.errors import Differs, ImageError, StoreError, short
from tedbench.running import events, journal, sweeps
from tedbench.running.journal import Entry, Journal
from tedbench.store import RunFolder
from tedbench.types import Cell, Run

T = TypeVar("T")
SOON = 2.0
"""Seconds before progress shows."""


@dataclass(frozen=True)
class Damage:
    """A file that is not what it was."""

    name: str
    """Inside the run folder."""
    why: str
    of_scores: bool = False
    """Whether scoring mends it, and not the making of images."""


@dataclass
class Checked:
    """What was looked at, and what is wrong with it."""

    folder: Path
    run: Run | None = None
    """None where run.json cannot be read."""
    images: int = 0
    records: int = 0
    has_journal: bool = False
    damaged: list[Damage] = field(default_factory=list)
    unasked: int = 0
    """Sweeps with damage that the run no longer asks for."""
    unmarked: int = 0
    """Files whose time could not be set, so that `run` may take them for whole."""

    def confirm(self) -> None:
        """Return if all is well.

        Raises:
            Differs: saying how much is not, and what to do.
        """
        if self.damaged:
            n = len(self.damaged)
            raise Differs(f"{self.folder}: {n} {'thing is' if n == 1 else 'things are'} not as written; {self.mend()}")

    def mend(self) -> str:
        """What to do about it."""
        told = [] if all(one.of_scores for one in self.damaged) else [self._made_again()]
        if any(one.of_scores for one in self.damaged):
            told.append(f"score it anew: tedbench score {shlex.quote(str(self.folder))} --again --metrics …")
        return "; then ".join(told)

    def _made_again(self) -> str:
        folder = shlex.quote(str(self.folder))
        if self.run is None:
            return f"delete {folder}/run.json and give the whole command again: tedbench run … --out {folder}"
        if self.run.kind != "run":
            return "import the images again: tedbench import … --out NEW"
        if not self.has_journal and not (self.folder / events.NAME).exists():
            return "it has no journal to go on by: fetch it, or run it, again"
        if self.unmarked:
            return (
                f"it cannot be written to: copy it to where it can be, verify that, then tedbench run COPY of {folder}"
            )
        lines = any(one.name.startswith(f"{journal.NAME} ") for one in self.damaged)
        more = f"; what it no longer asks for goes by: tedbench gc {folder} --delete" if self.unasked or lines else ""
        return f"what is damaged is done again by: tedbench run {folder}{more}"


def check(folder: Path) -> Checked:
    """Look at every file of a run, those of other configurations too.

    Args:
        folder: of a run that was made, imported or unpacked here.

    Raises:
        StoreError: if it is no run.
    """
    if not (folder / journal.NAME).exists() and not (folder / "run.json").exists():
        store.open_run(folder)  # raises
    found = Checked(folder, has_journal=(folder / journal.NAME).exists())
    found.run = _read(found, "run.json", lambda: store.open_run(folder).run)
    cells = _read(found, "cells.jsonl", lambda: RunFolder(folder).cell_list())
    _check_pairs(found, cells or [])
    if found.has_journal:
        _check_journal(found, cells or [])
    else:
        if (folder / events.NAME).exists():
            found.damaged.append(Damage(journal.NAME, "is gone"))
        _check_cells(found, cells or [])
    _check_scores(found, cells is not None)
    return found


def _read(found: Checked, name: str, how: Callable[[], T]) -> T | None:
    try:
        return how()
    except StoreError as error:
        why = "cannot be read" if (found.folder / name).exists() else "is gone"
        found.damaged.append(Damage(name, f"{why}: {short(error)}" if why != "is gone" else why))
        return None


def _check_pairs(found: Checked, cells: Iterable[Cell]) -> None:
    pairs = _read(found, "pairs.jsonl", lambda: disk.read_lines(found.folder / "pairs.jsonl"))
    if pairs is None:
        return
    known = {row.get("uid") for row in pairs if isinstance(row, dict)}
    lost = next((cell.uid for cell in cells if cell.uid not in known), None)
    if lost is not None:
        found.damaged.append(Damage("pairs.jsonl", f"lacks {lost}"))


def _check_journal(found: Checked, cells: Iterable[Cell]) -> None:
    """The journal's own lines, then all that they speak of, then the rows of cells.jsonl."""
    with closing(Journal(found.folder)) as done:
        keys, broken = lines(found.folder)
        found.damaged += [Damage(f"{journal.NAME} line {at}", "cannot be read") for at in broken]
        asked, before = {cell.facts for cell in cells}, len(found.damaged)
        for record, key in _shown(keys.items()):
            entry = done.find(key)
            if entry is not None and entry.get("record") == record:  # else another label's, made later, says it all
                _check_entry(found, entry)
            found.unasked += bool(asked) and record not in asked and len(found.damaged) > before
            before = len(found.damaged)
        odd = [cell for cell in cells if cell.status != "missing" and not _is_in(cell, done, keys)]
    if odd:
        first = f"{odd[0].method}/{odd[0].uid}/s{odd[0].seed} {odd[0].strength}"
        found.damaged.append(Damage("cells.jsonl", f"{len(odd)} rows are not in the journal, such as {first}"))


def lines(folder: Path) -> tuple[dict[str, str], list[int]]:
    """Of a run's journal: record → key of each sweep that has a line, and the numbers of lines that nobody can read."""
    keys: dict[str, str] = {}
    broken: dict[Any, int] = {}
    with (folder / journal.NAME).open("rb") as file:
        for number, line in enumerate(file, start=1):
            entry, key = journal.read(line)
            if entry is not None:
                broken.pop(key, None)  # it was done again: the last line of a key counts
                keys[str(entry.get("record"))] = key
            elif line != journal.CLEAN:
                broken[key or number] = number
    return keys, sorted(broken.values())


def _check_entry(found: Checked, entry: Entry) -> None:
    found.records += 1
    record = str(entry.get("record"))
    why = sweeps.record_fault(found.folder / record, entry)
    if why:
        _damaged(found, record, why)
    for row in entry["cells"]:
        if row.get("status") == "ok":
            _check_image(found, str(row.get("file")), str(row.get("sha256")))


def _is_in(cell: Cell, done: Journal, keys: dict[str, str]) -> bool:
    entry = done.find(keys[cell.facts]) if cell.facts in keys else None
    rows = [row for row in (entry or {"cells": []})["cells"] if row.get("strength") == cell.strength]
    return sweeps.plain(rows) == [sweeps.kept_of(cell)]


def _check_cells(found: Checked, cells: list[Cell]) -> None:
    """What was imported, unpacked or made by an earlier version has its rows only."""
    for cell in _shown(cells):
        if cell.status == "ok":
            _check_image(found, str(cell.file), str(cell.sha256))
    for name in dict.fromkeys(str(cell.facts) for cell in cells if cell.facts):
        found.records += 1
        _read(found, name, partial(disk.read_json, found.folder / name))


def _check_image(found: Checked, name: str, sha256: str) -> None:
    found.images += 1
    try:
        data = (found.folder / name).read_bytes()
    except OSError as error:
        _damaged(found, name, "is gone" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})")
        return
    if images.sha256(data) != sha256:
        _damaged(found, name, "is not what was written (sha256 differs)")
        return
    try:
        images.decode(data, name)
        why = "" if images.is_png(data) else "is no PNG"
    except ImageError as error:
        why = short(error)
    if why:
        _damaged(found, name, why)


def _damaged(found: Checked, name: str, why: str) -> None:
    found.damaged.append(Damage(name, why))
    found.unmarked += found.has_journal and not _mark(found.folder / name)


def _mark(path: Path) -> bool:
    """Have `run` look at a file's content, by giving its inode a new time; whether that could be done."""
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode))  # its mode is what it was
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _check_scores(found: Checked, has_cells: bool) -> None:
    run = RunFolder(found.folder)
    for name, how in (("metrics.json", lambda: run.metrics), ("scores.parquet", run.scores)):
        try:
            how()
        except StoreError as error:
            found.damaged.append(Damage(name, short(error), of_scores=True))
            return
    for facts in run.stale() if has_cells and run.metrics else ():
        why = f"{facts.spec} was scored on other images than are there now"
        found.damaged.append(Damage("scores.parquet", why, of_scores=True))


def _shown(things: Collection[T]) -> Iterator[T]:
    yield from tqdm(things, desc="verify", unit="sweep", delay=SOON, disable=None)
