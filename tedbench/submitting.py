"""A scored run becomes one archive that a stranger can verify: rows, provenance, scores, and images where allowed.

Input photos are never in it: a run has none. Paths of the machine are shortened, and `submission.json` says where.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tedbench import __version__, answers, archive, datasets, disk, licences
from tedbench.errors import ImageError, StoreError
from tedbench.licences import Decision
from tedbench.shortening import Shortener, shortened
from tedbench.store import RunFolder
from tedbench.types import Cell

ROWS = ("cells.jsonl", "metrics.json", "pairs.jsonl", "run.json", "scores.parquet")
_TO_DATA = (("dataset", "location"), ("config", "data"))
"""Where a run keeps the way to its data: one from its own folder, so nothing to others; empty means the default."""


@dataclass(frozen=True)
class Submitted:
    """What a submission holds."""

    out: Path
    files: int
    images: Decision
    cells: int
    missing: int
    failed: int
    shortened: tuple[str, ...]
    """Texts that held a path of the machine, by file and keys: `run.json command 3`."""


def submit(run: RunFolder, out: Path, images: bool | None = None) -> Submitted:
    """Pack a scored run into one zip; the same run gives the same bytes.

    Args:
        run: an opened run.
        out: the zip to make; it must not exist.
        images: whether images go in; None for what the data set's licence allows.

    Raises:
        StoreError: if the run is not scored, or its scores are of other images, or an image is not what the run wrote;
            or if `out` exists or cannot be written. Nothing is left behind then.
    """
    check_scored(run)
    check_identities(run)
    cells = run.cell_list()
    packed = _Packed(run, cells, licences.decide(datasets.licence_of(run.run.dataset), images), _shortener(run))
    files = archive.write(out, packed.files(), packed.said)
    missing, failed = (sum(cell.status == what for cell in cells) for what in ("missing", "failed"))
    return Submitted(out, files, packed.images, len(cells), missing, failed, tuple(packed.shortener.changed))


def _shortener(run: RunFolder) -> Shortener:
    folder, raw = run.path.resolve(), disk.read_json(run.path / "run.json")
    ways = [raw.get(table, {}).get(key) for table, key in _TO_DATA]
    return Shortener(run.path, folder, *((folder / way).resolve() for way in ways if isinstance(way, str) and way))


def check_scored(run: RunFolder) -> None:
    """Refuse a run whose scores are not there, or not those of its images.

    Raises:
        StoreError: with what to do.
    """
    if not run.metrics or not len(run.scores()):
        raise StoreError(f"{run.path} has no scores; run `tedbench score {run.path} --metrics …` first")
    scored = run.scored()
    for facts in run.metrics.values():
        if facts.identity not in scored:
            stale = facts in run.stale()
            why = "was scored on other images than are there now" if stale else "has no score for some images"
            how = f"tedbench score {run.path} --again --metrics {facts.spec}"
            raise StoreError(f"{run.path}: {facts.spec} {why}; score them anew: {how}")


def check_identities(run: RunFolder) -> None:
    """Refuse a metric whose identity holds a path: scores go by it, so it cannot be shortened in a copy.

    Raises:
        StoreError: naming the metric.
    """
    for facts in run.metrics.values():
        if shortened(facts.identity) != facts.identity:
            how = "score with a model that has a plain name, such as a server's --served-model-name"
            raise StoreError(f"the identity of {facts.spec} holds a path or host of this machine; {how}")


@dataclass
class _Packed:
    run: RunFolder
    cells: list[Cell]
    images: Decision
    shortener: Shortener

    def files(self) -> Iterator[tuple[str, bytes]]:
        """(name, content) of each file, sorted by name."""
        pictures = {cell.file: cell for cell in self.cells if cell.status == "ok" and self.images.included}
        beside = {cell.facts for cell in self.cells if cell.facts and (self.run.path / cell.facts).is_file()}
        said = (answers.path_of(self.run.path, identity) for identity in self.run.metrics)
        beside |= {path.relative_to(self.run.path).as_posix() for path in said if path.is_file()}
        for name in tqdm(sorted({*ROWS, *pictures, *beside}), desc="submit", unit="file", disable=None):
            if not archive.is_name(name):
                raise StoreError(f"{self.run.path}: {name!r} is no name that an archive may hold; rename the method")
            yield name, self._image(pictures[name]) if name in pictures else self._rows(name)

    def said(self) -> dict[str, Any]:
        """What submission.json says besides its files."""
        count = {what: sum(cell.status == what for cell in self.cells) for what in ("ok", "failed", "missing")}
        return {
            "format": 1,
            "tedbench": __version__,
            "run": self.run.run.name,
            "licence": datasets.licence_of(self.run.run.dataset),
            "images": {"included": self.images.included, "why": self.images.why},
            "cells": count,
            "shortened": self.shortener.changed,
        }

    def _image(self, cell: Cell) -> bytes:
        try:
            return self.run.image_bytes(cell)
        except ImageError as error:
            raise StoreError(f"{error}; nothing was packed. --no-images leaves images out") from error

    def _rows(self, name: str) -> bytes:
        path, before = self.run.path / name, len(self.shortener.changed)
        data = shorter = path.read_bytes()
        if name.endswith(".json"):
            shorter = disk.as_json(self._shorter(name, disk.read_json(path)))
        elif name.endswith(".jsonl") and name != "pairs.jsonl":  # the questions are the data set's own
            rows = enumerate(disk.read_lines(path), start=1)
            # As ASCII: an answer of a model can hold what UTF-8 cannot.
            shorter = b"".join(
                json.dumps(self.shortener.json(row, f"{name} {at}")).encode() + b"\n" for at, row in rows
            )
        return shorter if len(self.shortener.changed) > before else data

    def _shorter(self, name: str, value: dict[str, Any]) -> Any:
        if name == "metrics.json":  # an identity is a name: scores go by it
            named = self.shortener.json(value, name)
            return {identity: {**facts, "identity": identity} for identity, facts in named.items()}
        if name != "run.json":
            return self.shortener.json(value, name)
        for table, key in _TO_DATA:
            if value.get(table, {}).get(key):
                value[table][key] = ""
                self.shortener.changed.append(f"{name} {table} {key}, left out")
        return self.shortener.json(value, name, prose=False)
