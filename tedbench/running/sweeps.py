"""One sweep: a method fits one pair with one seed, then edits it at every strength that is not there yet.

Its images are written first, its record next, its line in the journal last: what has a line is done. Images carry the
sweep's key, so that those of another configuration stay beside them and are told apart. Where the journal itself is
lost, or lines of it, records say what was done.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tedbench import disk, images, keys, ranges
from tedbench.contenders import Contender
from tedbench.errors import short
from tedbench.running.journal import Entry
from tedbench.running.worker import Outcome
from tedbench.types import Cell, EditPair

EXECUTION = ("model", "device", "dtype", "threads", "batches")
"""Noted facts that say how a sweep was computed; a run keeps their distinct values."""
KEPT = ("strength", "status", "file", "sha256", "error", "fit_seconds", "edit_seconds", "host_bytes", "device_bytes")
"""Of a cell, what an entry keeps; the rest is the question's and the method's."""
LOOK = ("size", "ctime_ns")
"""What an entry says of an image's file, see `look_of`."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One method on one pair with one seed."""

    contender: Contender
    pair: EditPair
    seed: int
    question: str
    """`keys.of_question` of the pair."""

    @property
    def key(self) -> str:
        """What moves its pixels, see `keys.of_sweep`."""
        return keys.of_sweep(self.contender.key, self.question, self.seed)

    @property
    def name(self) -> str:
        """For people: `imagic/dog.png--a-cat/s0`."""
        return f"{self.contender.label}/{self.pair.uid}/s{self.seed}"

    @property
    def record(self) -> str:
        """Path of its record inside the run folder."""
        return str(PurePosixPath("sweeps", f"{self.name}.{self.key[: keys.SHOWN]}.json"))

    def image(self, strength: float) -> str:
        """Path of one of its images inside the run folder."""
        name = f"{self.name}-{ranges.shown(strength)}.{self.key[: keys.SHOWN]}.png"
        return str(PurePosixPath("images", name))

    def cell(self, strength: float, status: str, error: str = "") -> Cell:
        """A row without an image."""
        pair, label = self.pair, self.contender.label
        return Cell(pair.uid, pair.image_id, pair.category, label, self.seed, strength, status, error=error)


@dataclass(frozen=True)
class Found:
    """What is on disk of a sweep."""

    cells: Mapping[float, Cell]
    """By strength, those that stand: images that are what they were, and failures."""
    how: Mapping[str, Any]
    """Facts of `EXECUTION`."""
    damaged: bool = False
    """Whether anything that was done is gone or altered."""

    def lacks(self, strengths: Sequence[float], retry_failed: bool) -> tuple[float, ...]:
        """The strengths that are to be done."""
        there = {s for s, cell in self.cells.items() if cell.status == "ok" or not retry_failed}
        return tuple(strength for strength in strengths if strength not in there)


NOTHING = Found({}, {})


def stands(entry: Entry, strengths: Sequence[float], out: str) -> bool:
    """Whether an entry has an image for each strength, and all its files look as they did: the common case, and quick.

    Args:
        entry: settled, see `Journal.look_up`.
        strengths: that are asked for.
        out: the run's folder.
    """
    try:
        stat = os.stat(f"{out}/{entry['record']}")  # noqa: PTH116  (a third of a Path's time)
        if stat.st_size != entry["record_size"] or stat.st_ctime_ns != entry["record_ctime_ns"]:
            return False
        there = set()
        for row in entry["cells"]:
            stat = os.stat(f"{out}/{row['file']}")  # noqa: PTH116
            if stat.st_size != row["size"] or stat.st_ctime_ns != row["ctime_ns"]:
                return False
            there.add(row["strength"])
        return there.issuperset(strengths)
    except (OSError, KeyError, TypeError, ValueError):
        return False


def found(sweep: Sweep, entry: Entry, out: Path, settled: bool) -> Found:
    """What of an entry stands.

    Args:
        sweep: whose entry it is.
        entry: of the journal.
        out: the run's folder.
        settled: whether size and time tell that a file is what it was; else its content does.
    """
    try:
        if record_fault(out / entry["record"], entry):
            return dataclasses.replace(NOTHING, damaged=True)
        kept = {}
        for row in entry["cells"]:
            if row["status"] != "ok" or _stands(out / row["file"], row, settled):
                kept[float(row["strength"])] = _cell(sweep, row, entry["record"])
        return Found(kept, dict(entry["how"]), len(kept) < len(entry["cells"]))
    except (OSError, KeyError, TypeError, ValueError):
        return dataclasses.replace(NOTHING, damaged=True)


def record_fault(path: Path, entry: Entry) -> str:
    """In what a record is not what its entry says; empty if in nothing."""
    try:
        data = path.read_bytes()
        if len(data) != entry["record_size"]:
            return f"has {len(data)} bytes, and not {entry['record_size']}"
        digest = images.sha256(data)
        if digest != entry.get("record_sha256", digest):  # entries of before have none
            return "is not what was written (sha256 differs)"
        said = json.loads(data)
        told = (said["key"], said["cells"], _how(said["facts"]))
        return "" if told == (entry["key"], plain(entry["cells"]), entry["how"]) else "is not its journal's"
    except FileNotFoundError:
        return "is gone"
    except (AttributeError, OSError, KeyError, TypeError, ValueError) as error:
        return f"cannot be read ({short(error)})"


def relisted(sweep: Sweep, out: Path) -> Entry | None:
    """An entry made anew of what stands of a sweep's record, where the journal has lost it; None where nothing does."""
    try:
        data = (out / sweep.record).read_bytes()
        said = json.loads(data)
        cells = [{**row, **_look_again(out, row)} for row in said["cells"]]
        how = _how(said["facts"])
        if said["key"] != sweep.key or not cells:
            return None
    except (AttributeError, OSError, KeyError, TypeError, ValueError):
        return None
    return _entry(sweep, data, how, cells, out)


def rows(sweep: Sweep, entry: Entry | None) -> dict[float, Cell]:
    """The rows of an entry, by strength, whether they stand or not."""
    try:
        return {float(row["strength"]): _cell(sweep, row, entry["record"]) for row in entry["cells"]} if entry else {}
    except (KeyError, TypeError, ValueError):
        return {}


def write(sweep: Sweep, outcome: Outcome, before: Found, out: Path) -> tuple[Found, Entry]:
    """Write what a sweep gave, beside what stands of it.

    Args:
        sweep: that was done.
        outcome: at the strengths that were asked for.
        before: what stands.
        out: the run's folder.

    Returns:
        What is there now, and the entry that makes it count.

    Raises:
        StoreError: if the disk is full or read-only.
    """
    rows = {strength: kept_of(cell) for strength, cell in before.cells.items()}
    for strength, data, error in zip(outcome.strengths, outcome.images, outcome.errors, strict=True):
        cell = sweep.cell(strength, "ok" if data is not None else "failed", error)
        if data is not None:
            cell = dataclasses.replace(cell, file=sweep.image(strength), sha256=images.sha256(data))
            _write(out / cell.file, data)
        measured: dict[str, Any] = {"fit_seconds": outcome.fit_seconds, "edit_seconds": outcome.edit_seconds,
                    "host_bytes": outcome.peak.host, "device_bytes": outcome.peak.device}  # fmt: skip
        rows[strength] = kept_of(dataclasses.replace(cell, **measured) if data is not None else cell)
    return _entered(sweep, [rows[s] for s in sorted(rows)], outcome.facts, outcome.traceback, out)


def repeat(sweep: Sweep, made: Found, out: Path) -> tuple[Found, Entry]:
    """Another seed of a method that draws no noise: the same images again, and where they come from.

    Args:
        sweep: with the other seed.
        made: what the first seed gave, every image of it there.
        out: the run's folder.

    Raises:
        StoreError: if the disk is full or read-only, or an image has just been taken away.
    """
    rows, seed, said = [], None, dict[str, Any](made.how)
    for strength, cell in sorted(made.cells.items()):
        file, seed = sweep.image(strength), cell.seed
        with disk.explained(out / cell.file):
            data = (out / cell.file).read_bytes()
        _write(out / file, data)
        rows.append(kept_of(dataclasses.replace(cell, file=file)))
        said = disk.read_json(out / cell.facts).get("facts", said)
    return _entered(sweep, rows, {"as_seed": seed, **said}, "", out)


def _entered(
    sweep: Sweep, rows: list[dict[str, Any]], facts: Mapping[str, Any], trace: str, out: Path
) -> tuple[Found, Entry]:
    record = disk.as_json({"format": 2, "key": sweep.key, "cells": rows, "facts": dict(facts),
                           **({"traceback": trace} if trace else {})})  # fmt: skip
    _write(out / sweep.record, record)
    how = _how(facts)
    placed = [{**row, **look_of(out / row["file"])} if row["status"] == "ok" else row for row in rows]
    cells = {float(row["strength"]): _cell(sweep, row, sweep.record) for row in rows}
    return Found(cells, how), _entry(sweep, record, how, placed, out)


def _entry(sweep: Sweep, record: bytes, how: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], out: Path) -> Entry:
    return {"key": sweep.key, "record": sweep.record, "record_size": len(record),
            "record_sha256": images.sha256(record), "record_ctime_ns": look_of(out / sweep.record)["ctime_ns"],
            "how": how, "cells": cells}  # fmt: skip


def _cell(sweep: Sweep, row: Mapping[str, Any], record: str) -> Cell:
    blank = sweep.cell(float(row["strength"]), row["status"])
    return dataclasses.replace(blank, **{name: row[name] for name in KEPT if name in row}, facts=record)


def kept_of(cell: Cell) -> dict[str, Any]:
    """What records and the journal keep of a cell."""
    every = {name: getattr(cell, name) for name in KEPT}
    return {name: value for name, value in every.items() if value not in (None, "")}


def plain(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an entry as its record has them, on whatever disk the images are."""
    return [{name: value for name, value in row.items() if name not in LOOK} for row in rows]


def _how(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in EXECUTION if name in facts}


def look_of(path: Path) -> dict[str, int]:
    """By what an entry knows a file again without reading it."""
    with disk.explained(path):
        stat = path.stat()
    return {"size": stat.st_size, "ctime_ns": stat.st_ctime_ns}


def _look_again(out: Path, row: Mapping[str, Any]) -> dict[str, int]:
    """See `look_of`; of an image that is not what its row says, what no file looks like."""
    if row["status"] != "ok":
        return {}
    path = out / row["file"]
    whole = path.is_file() and images.sha256(path.read_bytes()) == row["sha256"]
    return look_of(path) if whole else {"size": 0, "ctime_ns": 0}


def _stands(path: Path, row: Mapping[str, Any], settled: bool) -> bool:
    try:
        stat = path.stat()
        if stat.st_size != row["size"]:
            return False
        same = settled and bool(stat.st_ctime_ns == row["ctime_ns"])
        return same or bool(images.sha256(path.read_bytes()) == row["sha256"])
    except OSError:
        return False


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all; the journal's sync comes later, and content tells whether this had reached the disk."""
    with disk.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    disk.write_atomic(path, data, durable=False)
