"""The local copy of a run at an address: a run needs a lock, appended files and syncs, which object stores lack.

CACHE/runs/HASH/NAME        the run's folder, as any other
CACHE/runs/HASH/.synced     sha256 of each small file when it was last the same here and there
CACHE/runs/HASH/.running    a folder that whoever runs it holds

Lists of what is done are united, entry by entry: neither what another machine did nor what this one has not sent yet is
lost. What comes is checked by content before it counts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedbench import answers, disk, store
from tedbench.errors import StoreError
from tedbench.remote import leases
from tedbench.remote.addresses import Address
from tedbench.remote.uniting import Union, is_inside
from tedbench.running import events, journal
from tedbench.running.journal import Entry

SCORES = ("scores.parquet", "metrics.json")
SMALL = ("run.json", "pairs.jsonl", "cells.jsonl", events.NAME, *SCORES)
SCRATCH = ".scratch."


@dataclass(frozen=True)
class Copy:
    """The local copy of an address."""

    address: Address
    folder: Path
    """The run's folder; it need not be there."""

    @property
    def home(self) -> Path:
        """Folder of the run's folder."""
        return self.folder.parent

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the one who runs it, on this machine.

        Raises:
            StoreError: if another process is.
        """
        lock = _made(self.home / ".running")
        with disk.locked(lock, f"{self.address} is being run by another process on this machine; wait for it"):
            yield

    def fetch(self, with_sweeps: bool = True, alive: Callable[[], None] = lambda: None) -> list[Entry]:
        """Bring what is at the address and not here; for who runs it.

        Args:
            with_sweeps: images and records too, not only the small files.
            alive: called now and then.

        Returns:
            Entries that the address lacks, or some of whose files it lacks.

        Raises:
            StoreError: if the address cannot be read or holds something else, or the disk cannot be written.
        """
        with disk.locked(_made(self.home)):
            return self._fetch(self.address.sizes(), with_sweeps, alive)

    def refresh(self, with_sweeps: bool = True) -> bool:
        """Bring what is there for who only reads: while it is run here, the copy is newer; raises as `fetch`.

        Returns:
            Whether there is a run: a copy may outlive what it was of.
        """
        with disk.locked(_made(self.home)):
            if disk.is_held(self.home / ".running"):
                return (self.folder / "run.json").exists()
            there = self.address.sizes()
            self._fetch(there, with_sweeps, lambda: None)
        return "run.json" in there

    def push_small(self, names: Sequence[str] = ()) -> None:
        """Send small files that have changed here since they were last the same.

        Args:
            names: which of them; all by default.

        Raises:
            StoreError: if the address cannot be written.
        """
        with disk.locked(_made(self.home)), self._scratch() as scratch:
            known, changed = self._synced(), {}
            for name in names or self.small():
                copied = scratch / name.replace("/", "-")
                shutil.copyfile(self.folder / name, copied)  # it may be appended to meanwhile
                if known.get(name) != (sha256 := _sha256(copied)):
                    known[name], changed[name] = sha256, copied
            self.address.put(changed)
            if changed:
                disk.write_json(self.home / ".synced", known)

    def small(self) -> list[str]:
        """Small files that are here."""
        found = [name for name in SMALL if (self.folder / name).is_file()]
        return found + sorted(f"{answers.FOLDER}/{path.name}" for path in self.folder.glob(f"{answers.FOLDER}/*.jsonl"))

    def _fetch(self, there: Mapping[str, int], with_sweeps: bool, alive: Callable[[], None]) -> list[Entry]:
        strange = [name for name in there if not name.startswith(("images/", "sweeps/")) and name != leases.NAME]
        if strange and "run.json" not in there:
            raise StoreError(f"{self.address} holds {strange[0]!r} and is no run; choose another address")
        for left in self.home.glob(f"{SCRATCH}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with self._scratch() as scratch:
            self._bring_small([name for name in there if _is_small(name)], scratch)
            if not with_sweeps:
                return []
            if journal.NAME in there:
                self.address.get({journal.NAME: scratch / journal.NAME})
            return Union(self.address, there, self.folder).join(scratch, alive)

    def _bring_small(self, names: Sequence[str], scratch: Path) -> None:
        come = {name: scratch / name.replace("/", "-") for name in names}
        self.address.get(come)
        known, before = self._synced(), self._scores()
        both = []
        for name, theirs in come.items():
            both += [name] * self._settle(name, theirs, known)
        if "scores.parquet" in both:
            self._add_scores(*before)
        if come:
            disk.write_json(self.home / ".synced", known)

    def _settle(self, name: str, theirs: Path, known: dict[str, Any]) -> bool:
        """Keep ours, theirs or both; whether both have changed since they were last the same."""
        ours, base, sha256 = self.folder / name, known.get(name), _sha256(theirs)
        known[name] = sha256
        mine = _sha256(ours) if ours.is_file() else None
        if mine is not None and sha256 in (mine, base):
            return False
        both = mine not in (None, base)
        if both and (name == events.NAME or name.endswith(".unfinished.jsonl")):
            _unite(theirs, ours)
        _made(ours.parent)
        theirs.replace(ours)
        return both

    def _scores(self) -> tuple[Any, Any]:
        if not (self.folder / "scores.parquet").is_file() or not (self.folder / "run.json").is_file():
            return None, {}
        return store.read_scores(self.folder), store.RunFolder(self.folder).metrics

    def _add_scores(self, scores: Any, facts: Any) -> None:
        """Scores of metrics that were scored here alone, beside those that came."""
        run = store.open_run(self.folder)
        alone = {identity: one for identity, one in facts.items() if identity not in run.metrics}
        if alone:
            store.write_scores(run, scores[scores["metric"].isin(set(alone))].to_dict("records"), alone)

    def _synced(self) -> dict[str, Any]:
        path = self.home / ".synced"
        return disk.read_json(path) if path.exists() else {}

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with disk.explained(self.home), tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self.home) as name:
            _made(Path(name) / "sweeps")
            yield Path(name)


def of(address: Address) -> Copy:
    """Where the copy of an address is: under TEDBENCH_CACHE, else XDG_CACHE_HOME/tedbench, else ~/.cache/tedbench."""
    own, cache = os.environ.get("TEDBENCH_CACHE", ""), os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    home = Path(own).absolute() if own else base / "tedbench"
    return Copy(address, home / "runs" / address.digest / address.name)


def _is_small(name: str) -> bool:
    return name in SMALL or (is_inside(name, answers.FOLDER) and name.endswith(".jsonl"))


def _unite(theirs: Path, ours: Path) -> None:
    """Add to their lines those of ours that they lack."""
    there = theirs.read_bytes().splitlines(keepends=True)
    added = set(ours.read_bytes().splitlines(keepends=True)) - set(there)
    more = [line for line in ours.read_bytes().splitlines(keepends=True) if line in added]
    theirs.write_bytes(b"".join(there + more))


def _made(folder: Path) -> Path:
    with disk.explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
