"""One sweep: a method fits one pair with one seed, then edits it at every strength. The unit that is done or redone.

Its images are written first, its record last: where a record stands whose images are what it says, the sweep is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tedbench import disk, facts, images, memory, ranges
from tedbench.contenders import Contender
from tedbench.errors import PluginError, StoreError, short
from tedbench.types import Cell, EditPair


@dataclass(frozen=True)
class Sweep:
    """One method on one pair with one seed."""

    contender: Contender
    pair: EditPair
    seed: int

    @property
    def record(self) -> str:
        """Path of its record inside the run folder."""
        return str(PurePosixPath("sweeps", self.contender.label, self.pair.uid, f"s{self.seed}.json"))

    def image(self, strength: float) -> str:
        """Path of one of its images inside the run folder."""
        name = f"s{self.seed}-{ranges.shown(strength)}.png"
        return str(PurePosixPath("images", self.contender.label, self.pair.uid, name))

    def blank(self, status: str, error: str) -> tuple[Cell, ...]:
        """A row a strength, without an image."""
        pair, label = self.pair, self.contender.label
        return tuple(
            Cell(pair.uid, pair.image_id, pair.category, label, self.seed, strength, status, error=error)
            for strength in self.contender.strengths
        )


@dataclass(frozen=True)
class Done:
    """A sweep that was done: its rows, and what it had to say."""

    cells: tuple[Cell, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _Made:
    pngs: tuple[bytes, ...]
    fit_seconds: float
    edit_seconds: float
    peak: memory.Peak


def done(sweep: Sweep, out: Path) -> Done | str:
    """What is on disk of a sweep, or why it is to be done: `new`, or `damaged` where it was done once."""
    if not (out / sweep.record).exists():
        return "new"
    try:
        record = disk.read_json(out / sweep.record)
        cells = tuple(Cell(**cell) for cell in record["cells"])
        found = Done(cells, dict(record["facts"]))
    except (StoreError, KeyError, TypeError, ValueError):
        return "damaged"
    whole = [cell.strength for cell in cells] == list(sweep.contender.strengths)
    return found if whole and all(_stands(cell, out) for cell in cells) else "damaged"


def run(sweep: Sweep, out: Path) -> Done:
    """Do a sweep and write it down. Whatever the method raises becomes rows; what the disk says is an error.

    Raises:
        StoreError: if the disk is full or read-only.
    """
    with facts.noted() as noted:
        try:
            made = _make(sweep)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (a method can raise anything, `sys.exit()` too; the run goes on)
            return _write_failed(sweep, noted, error, out)
    # A fit that was looked up says what making it took; finding it is no measure of a method.
    said = noted.get("fit_seconds")
    fit_seconds = said if isinstance(said, float) else made.fit_seconds
    cells = []
    for cell, strength, png in zip(sweep.blank("ok", ""), sweep.contender.strengths, made.pngs, strict=True):
        file = sweep.image(strength)
        _write(out / file, png)
        cell = dataclasses.replace(cell, fit_seconds=fit_seconds, edit_seconds=made.edit_seconds)
        cell = dataclasses.replace(cell, host_bytes=made.peak.host, device_bytes=made.peak.device)
        cells.append(dataclasses.replace(cell, file=file, sha256=images.sha256(png)))
    return _write_record(sweep, cells, kept(noted), "", out)


def repeat(sweep: Sweep, made: Done, out: Path) -> Done:
    """Another seed of a method that draws no noise: the same images again, and where they come from.

    Args:
        sweep: with the other seed.
        made: what the first seed gave, every image of it there.
        out: the run's folder.

    Raises:
        StoreError: if the disk is full or read-only, or an image has just been taken away.
    """
    cells = []
    for cell, strength in zip(made.cells, sweep.contender.strengths, strict=True):
        file = sweep.image(strength)
        with disk.explained(out / cell.file):
            data = (out / cell.file).read_bytes()
        _write(out / file, data)
        cells.append(dataclasses.replace(cell, seed=sweep.seed, file=file))
    return _write_record(sweep, cells, {"as_seed": made.cells[0].seed, **made.facts}, "", out)


def _write_failed(sweep: Sweep, noted: Mapping[str, Any], error: BaseException, out: Path) -> Done:
    trace = "".join(traceback.format_exception(error))
    return _write_record(sweep, sweep.blank("failed", short(error)), kept(noted), _text(trace), out)


def _write_record(sweep: Sweep, cells: Sequence[Cell], said: dict[str, Any], trace: str, out: Path) -> Done:
    done = Done(tuple(dataclasses.replace(cell, facts=sweep.record) for cell in cells), said)
    record = {"format": 1, "cells": [dataclasses.asdict(cell) for cell in done.cells], "facts": said}
    _write(out / sweep.record, disk.as_json({**record, "traceback": trace} if trace else record))
    return done


def _make(sweep: Sweep) -> _Made:
    method, pair, strengths = sweep.contender.method, sweep.pair, sweep.contender.strengths
    with contextlib.chdir("."):  # comes back here, wherever the method goes: the next photo's path may be relative
        forgotten, started = memory.forget(), time.perf_counter()
        state = method.fit(pair, sweep.seed)
        fitted = time.perf_counter()
        edits = list(method.edit(pair, state, strengths, sweep.seed))
        edited = time.perf_counter()
        if len(edits) != len(strengths):
            raise PluginError(f"{len(edits)} images for {len(strengths)} strengths; a method must give one each")
        peak = memory.peak(forgotten)
        return _Made(tuple(images.encode_png(edit) for edit in edits), fitted - started, edited - fitted, peak)


def _write(path: Path, data: bytes) -> None:
    with disk.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    disk.write_atomic(path, data)


def _stands(cell: Cell, out: Path) -> bool:
    if cell.status != "ok":
        return True
    try:
        return images.sha256((out / cell.file).read_bytes()) == cell.sha256
    except OSError:
        return False


def kept(noted: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as JSON holds them, and the names of those that it cannot hold as `unstorable`: no image is lost for one.

    Tuples become lists, numpy's numbers plain ones, and what is no finite number `nan`, `inf`, `-inf`.
    """
    plain, unstorable = {}, []
    for key, value in noted.items():
        name = _text(key)
        try:
            held = _as_json(value)
            disk.as_json({"facts": {name: held}})  # as deep as it will be written
        except Exception:  # noqa: BLE001  (a number of 5000 digits, a list that holds itself, an object that raises)
            unstorable.append(name)
        else:
            plain[name] = held
    return {**plain, "unstorable": unstorable} if unstorable else plain


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {_text(name): _as_json(item) for name, item in value.items()}
    single = value.item() if hasattr(value, "item") else None  # a number of numpy or torch
    if isinstance(single, bool | int | float | str):
        return _as_json(single)
    raise TypeError(type(value).__name__)


def _text(text: str) -> str:
    """Text that a file can hold: half surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
