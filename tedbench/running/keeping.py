"""Runs as folders: what no configuration asks for any more, and parts of one run put together."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tedbench import disk, images, store
from tedbench.config import RunConfig
from tedbench.errors import StoreError, UsageError
from tedbench.running import damage, planning, runner, sweeps
from tedbench.running.journal import Entry, Journal
from tedbench.store import RunFolder
from tedbench.types import Cell

RANK = {"ok": 0, "failed": 1, "missing": 2}


@dataclass(frozen=True)
class Unasked:
    """Sweeps that the run's configuration does not refer to."""

    entries: tuple[Entry, ...]
    lines: int = 0
    """Damaged ones of the journal, which say nothing any more."""

    @property
    def files(self) -> list[str]:
        """Their images and records, inside the run folder."""
        return [name for one in self.entries for name in (*_images(one), one["record"])]

    @property
    def bytes(self) -> int:
        """Of their images."""
        return sum(int(row.get("size", 0)) for one in self.entries for row in one["cells"])

    @property
    def by_method(self) -> dict[str, int]:
        """Label under which they were made → sweeps."""
        labels = [one["record"].split("/")[1] for one in self.entries]
        return {label: labels.count(label) for label in dict.fromkeys(labels)}


def unasked(config: RunConfig, out: Path) -> Unasked:
    """What a run's configuration does not refer to.

    Args:
        config: of the run, `config.from_run`.
        out: its folder.

    Raises:
        StoreError, DataError, UsageError, UnknownName, PluginError: as `runner.run`.
    """
    asked = {sweep.key for sweep in planning.asked(config, out)}
    with Journal(out) as journal:
        entries = tuple(entry for entry in journal.entries() if entry["key"] not in asked)
    return Unasked(entries, len(damage.lines(out)[1]) if journal.path.exists() else 0)


def remove(found: Unasked, out: Path) -> None:
    """Delete them. The journal forgets them first, so that no line is without its images.

    Raises:
        StoreError: if a runner is at work there, or the disk cannot be written.
    """
    gone, files = {one["key"] for one in found.entries}, set(found.files)
    with runner.opened(out.absolute(), out):
        with Journal(out) as journal:
            kept = [entry for entry in journal.entries() if entry["key"] not in gone]
        disk.write_atomic(journal.path, disk.as_json_lines(kept))
        still = {name for entry in kept for name in (*_images(entry), entry["record"])}
        with disk.explained(out):
            for name in sorted(files - still):
                (out / name).unlink(missing_ok=True)
            for folder in sorted({(out / name).parent for name in files}, reverse=True):
                if not any(folder.iterdir()):
                    folder.rmdir()


@dataclass(frozen=True)
class Fits:
    """What methods keep in a run's folder of what they learned."""

    files: tuple[Path, ...]
    bytes: int


def fits(out: Path) -> Fits:
    """The fits that a run keeps."""
    files = tuple(sorted(path for path in (out / store.FITS).rglob("*") if path.is_file()))
    return Fits(files, sum(path.stat().st_size for path in files))


def remove_fits(out: Path) -> None:
    """Delete them; no image is made again for that, and one that is made later fits anew.

    Raises:
        StoreError: if a runner is at work there, or the disk cannot be written.
    """
    with runner.opened(out.absolute(), out), disk.explained(out):
        for path in fits(out).files:
            path.unlink()


def merge(folders: Sequence[Path], out: Path) -> RunFolder:
    """Put parts of one run, such as its shards, together in a new folder.

    Raises:
        UsageError: if there are fewer than two, or they were asked for different things.
        StoreError: if one is no run or is damaged, `out` exists, or the disk cannot be written.
    """
    if len(folders) < 2:
        raise UsageError("merge takes two runs or more")
    runs = [store.open_run(folder) for folder in folders]
    for other in runs[1:]:
        _check_same(runs[0], other)
    with disk.new_folder(out) as scratch:
        with Journal(scratch) as journal:
            for run in runs:
                _take(run.path, journal, scratch)
            journal.end()
        shutil.copyfile(runs[0].path / "pairs.jsonl", scratch / "pairs.jsonl")
        store.write_cells(scratch, _rows(runs))
        disk.write_json(scratch / "run.json", dataclasses.asdict(_united(runs, out)))
    return store.open_run(out)


def _take(folder: Path, journal: Journal, out: Path) -> None:
    """Copy what another has not done, or not done well."""
    with Journal(folder) as theirs:
        for entry in tqdm(theirs.entries(), desc=f"merge {folder.name}", total=len(theirs), unit="sweep", disable=None):
            mine = journal.find(entry["key"])
            if mine is None:
                journal.append(_copied(entry, folder, out))
            elif better := _better(mine, entry):
                journal.append(_completed(mine, better, folder, out))


def _check_same(one: RunFolder, other: RunFolder) -> None:
    if {one.run.kind, other.run.kind} != {"run"} or {one.run.format, other.run.format} != {runner.FORMAT}:
        raise UsageError(f"{one.path} and {other.path}: only runs of `tedbench run`, of this version, can be merged")
    facts = [_facts(run) for run in (one, other)]
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        ours, theirs = (fact.get(name) for fact in facts)
        if ours != theirs:
            raise UsageError(
                f"{one.path} and {other.path} were asked for different things: {name} is {str(ours)[:60]} and "
                f"{str(theirs)[:60]}; report them apart"
            )


def _facts(run: RunFolder) -> dict[str, Any]:
    about = run.run
    codes = {f"code of {label}": kept.get("code") for label, kept in about.execution.items()}
    models = {f"model of {label}": kept.get("model") for label, kept in about.execution.items() if kept.get("model")}
    fields = {f"{label} {key}": value for label, of in about.methods.items() for key, value in of.items()}
    asked = {name: about.config.get(name) for name in ("seeds", "threads")}  # both move pixels
    return {"the list of pairs": about.dataset.sha256, **asked, **fields, **codes, **models}


def _united(runs: Sequence[RunFolder], out: Path) -> Any:
    first = runs[0].run
    execution: dict[str, dict[str, list[Any]]] = {}
    for run in runs:
        for label, kept in run.run.execution.items():
            mine = execution.setdefault(label, {})
            for name, values in kept.items():
                mine[name] = list(mine.get(name, [])) + [one for one in values if one not in mine.get(name, [])]
    return dataclasses.replace(first, name=out.name, execution=execution)


def _rows(runs: Sequence[RunFolder]) -> list[Cell]:
    """The best of each row, in the order of the first run."""
    best: dict[tuple[Any, ...], Cell] = {}
    for run in runs:
        for cell in run.cell_list():
            key = (cell.uid, cell.method, cell.seed, cell.strength)
            if key not in best or RANK[cell.status] < RANK[best[key].status]:
                best[key] = cell
    return list(best.values())


def _better(mine: Entry, theirs: Entry) -> list[dict[str, Any]]:
    """Rows of images that the one has and the other has not."""
    there = {row["strength"] for row in mine["cells"] if row["status"] == "ok"}
    return [row for row in theirs["cells"] if row["status"] == "ok" and row["strength"] not in there]


def _copied(entry: Entry, source: Path, out: Path) -> Entry:
    rows = [_row_copied(row, source, out) for row in entry["cells"]]
    fault = sweeps.record_fault(source / entry["record"], entry)
    if fault:
        raise _damaged(source, entry["record"], fault)
    record = out / entry["record"]
    with disk.explained(record):
        record.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / entry["record"], record)
    return {**entry, "record_ctime_ns": sweeps.look_of(record)["ctime_ns"], "cells": rows}


def _completed(entry: Entry, better: Sequence[dict[str, Any]], source: Path, out: Path) -> Entry:
    """An entry with images that it lacked; what its own method noted stays."""
    rows = {row["strength"]: row for row in entry["cells"]}
    rows |= {row["strength"]: _row_copied(row, source, out) for row in better}
    placed = [rows[strength] for strength in sorted(rows)]
    record = out / entry["record"]
    data = disk.as_json({**disk.read_json(record), "cells": sweeps.plain(placed)})
    disk.write_atomic(record, data, durable=False)
    return {**entry, "record_size": len(data), "record_sha256": images.sha256(data),
            "record_ctime_ns": sweeps.look_of(record)["ctime_ns"], "cells": placed}  # fmt: skip


def _row_copied(row: dict[str, Any], source: Path, out: Path) -> dict[str, Any]:
    """A row with its image, which must be what was written: nobody looks at its content again."""
    if row["status"] != "ok":
        return row
    try:
        data = (source / row["file"]).read_bytes()
    except OSError as error:
        raise _damaged(source, row["file"], "is gone or cannot be read") from error
    if images.sha256(data) != row["sha256"]:
        raise _damaged(source, row["file"], "is not what was written (sha256 differs)")
    target = out / row["file"]
    with disk.explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return {**row, **sweeps.look_of(target)}


def _damaged(run: Path, name: str, why: str) -> StoreError:
    checked = f"tedbench verify {shlex.quote(str(run))}"
    return StoreError(f"{run}/{name} {why}; mend it first: {checked}, then what made it again")


def _images(entry: Entry) -> list[str]:
    return [row["file"] for row in entry["cells"] if row["status"] == "ok"]
