"""A run at an address: worked on in its local copy, and sent up as it goes.

A thread sends the files of each finished sweep, and every half minute the lists that name them: a list never names what
is not there yet. If this machine dies, another goes on with all but the last half minute; if the network does, the work
waits in the local copy.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tedbench import disk
from tedbench.errors import StoreError, short
from tedbench.remote import copies
from tedbench.remote.addresses import AT_ONCE, Address, Unreachable, is_address
from tedbench.remote.copies import SCORES, SCRATCH, Copy
from tedbench.remote.leases import Lease
from tedbench.remote.uniting import sizes
from tedbench.running import journal
from tedbench.running.journal import Entry, Journal

PATIENCE = 8
"""Intervals without an answer, after which the run ends; with 30 s each, before the lease is stale."""
SHARE = 0.1
"""Of the time at most is spent on sending lists, which grow."""


class Mirror:
    """Sends up what a run does. `sweep` is called by who runs; all else happens in a thread of its own."""

    def __init__(self, copy: Copy, lease: Lease) -> None:
        self.folder, self.address = copy.folder, copy.address
        self._copy, self._lease = copy, lease
        self._waiting: deque[tuple[Entry, int]] = deque()
        """Entries to be sent, each with the bytes of the journal whose entries are sent when it is."""
        self._listed = 0
        """Bytes of the journal whose entries have all been sent."""
        self._lock, self._wake, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._next = 0.0
        """When the lists are sent again."""
        self.failed: StoreError | None = None

    def start(self, behind: Sequence[Entry]) -> None:
        """Begin to send; first what an earlier call had not sent."""
        self._waiting.extend((entry, 0) for entry in behind[:-1])
        self._waiting.extend((entry, self._journal_size()) for entry in behind[-1:])
        self._listed = 0 if behind else self._journal_size()
        self._wake.set()
        self._thread.start()

    def sweep(self, entry: Entry) -> None:
        """A sweep is finished: its files are here, and it is in the journal.

        Raises:
            StoreError: if nothing could be sent for a while; then the run had better end.
        """
        if self.failed:
            raise self.failed
        with self._lock:
            self._waiting.append((entry, self._journal_size()))
        self._wake.set()

    def end(self) -> None:
        """Send all that is left, and see whether it has come.

        Raises:
            StoreError: if it cannot be sent.
        """
        self._stop.set()
        self._wake.set()
        self._thread.join()
        if self.failed:
            raise self.failed
        try:
            self._send_files()
            self._check()
            self._listed = self._journal_size()
            self._send_lists()
        except StoreError as error:
            self.failed = self._explained(error)
            raise self.failed from error

    def _work(self) -> None:
        answered = time.monotonic()
        while not self._stop.is_set():
            self._wake.wait(min(1.0, self._lease.every))
            self._wake.clear()
            try:
                self._lease.keep()
                self._send_files()
                self._send_due()
                answered = time.monotonic()
            except Exception as error:  # noqa: BLE001  (who runs must hear of it, whatever it is)
                # A network that is down for a minute must not end the work of a day.
                if not isinstance(error, Unreachable) or time.monotonic() - answered > PATIENCE * self._lease.every:
                    self.failed = self._explained(error)
                    return
                self._stop.wait(1.0)

    def _send_files(self) -> None:
        while self._waiting:
            with self._lock:
                some = list(islice(self._waiting, AT_ONCE))
            self._lease.keep()
            self._send([entry for entry, _ in some])
            self._listed = max(self._listed, some[-1][1])
            with self._lock:
                for _ in some:
                    self._waiting.popleft()
            self._send_due()

    def _send(self, entries: Sequence[Entry]) -> None:
        files = {name: self.folder / name for entry in entries for name in sizes(entry)}
        self.address.put({name: path for name, path in files.items() if path.is_file()})

    def _send_due(self) -> None:
        if time.monotonic() >= self._next:
            self._send_lists()

    def _send_lists(self) -> None:
        began = time.monotonic()
        if (self.folder / "run.json").exists():
            self._copy.push_small()
            if self._listed:
                self._send_journal()
        self._next = time.monotonic() + max(self._lease.every, (time.monotonic() - began) / SHARE)

    def _send_journal(self) -> None:
        home = self._copy.home
        with disk.explained(home), tempfile.TemporaryDirectory(prefix=SCRATCH, dir=home) as scratch:
            copied = Path(scratch) / "done.jsonl"
            with (self.folder / journal.NAME).open("rb") as source, copied.open("wb") as target:
                shutil.copyfileobj(source, target)
                target.truncate(min(self._listed, target.tell()))
            self.address.put({journal.NAME: copied})

    def _check(self) -> None:
        """Send again what is not there as it should be.

        Raises:
            StoreError: if it does not come.
        """
        lacking: list[Entry] = []
        for _ in range(2):
            there = self.address.sizes()
            with Journal(self.folder) as done:
                lacking = [entry for entry in done.entries() if not self._has_come(entry, there)]
            if not lacking:
                return
            for at in range(0, len(lacking), AT_ONCE):
                self._lease.keep()
                self._send(lacking[at : at + AT_ONCE])
        raise StoreError(f"{self.address} does not keep what is written: {len(lacking)} sweeps have not come whole")

    def _has_come(self, entry: Entry, there: dict[str, int]) -> bool:
        files = {name: self.folder / name for name in sizes(entry)}
        return all(there.get(name) == path.stat().st_size for name, path in files.items() if path.is_file())

    def _journal_size(self) -> int:
        path = self.folder / journal.NAME
        return path.stat().st_size if path.exists() else 0

    def _explained(self, error: Exception) -> StoreError:
        told = error if isinstance(error, StoreError) else short(error)
        return StoreError(f"{told}; all that is done is kept in {self.folder}, go on with: tedbench run {self.address}")


@dataclass(frozen=True)
class Place:
    """Where a run works."""

    folder: Path
    finished: Callable[[Entry], None] | None = None
    """Wants to be told of each finished sweep."""


@contextmanager
def working(run: str) -> Iterator[Place]:
    """Work on a run; if it is at an address, alone: what is done is sent as it goes, and all of it at the end.

    Args:
        run: a path, or an address.

    Raises:
        StoreError: if another is at work there, or the address cannot be read or written.
    """
    if not is_address(run):
        yield Place(Path(run))
        return
    address = Address(run)
    copy = copies.of(address)
    with copy.running():
        lease = Lease(address, copy.home / ".token")
        lease.take()
        mirror = Mirror(copy, lease)
        try:
            mirror.start(copy.fetch(alive=lease.keep))
            try:
                yield Place(copy.folder, mirror.sweep)
            finally:
                mirror.end()
        finally:
            if not mirror.failed:
                with suppress(StoreError):  # it grows stale by itself
                    lease.drop()


@contextmanager
def scoring(run: str) -> Iterator[Path]:
    """A run's folder, whose scores are sent to its address at the end, if it has one.

    Raises:
        StoreError: if the address cannot be read or written.
    """
    if not is_address(run):
        yield Path(run)
        return
    copy = copies.of(Address(run))
    copy.refresh()
    check_begun(run, copy.folder)
    yield copy.folder
    copy.refresh(with_sweeps=False)  # somebody may have scored it meanwhile
    copy.push_small([name for name in copy.small() if name in SCORES or "/" in name])


def folder_of(run: str | Path) -> Path:
    """Where a run is on this machine, or would be: the path itself, or the local copy of an address."""
    return copies.of(Address(str(run))).folder if is_address(str(run)) else Path(run)


def local(run: str | Path, with_sweeps: bool = True, begun: bool = True) -> Path:
    """A run's folder: the path itself, or the local copy of an address as it is now.

    Args:
        run: a path, or an address.
        with_sweeps: whether images and records are needed.
        begun: whether there must be a run at the address.

    Raises:
        StoreError: if the address cannot be read, or holds no run.
    """
    if not is_address(str(run)):
        return Path(run)
    copy = copies.of(Address(str(run)))
    there = copy.refresh(with_sweeps)
    if begun and not there and (copy.folder / "run.json").exists():
        raise StoreError(f"{run} has no run.json any more; its copy here, {copy.folder}, can be read as a folder")
    if begun:
        check_begun(str(run), copy.folder)
    return copy.folder


def check_begun(run: str, folder: Path) -> None:
    """Refuse an address without a run.

    Raises:
        StoreError: if its local copy has none.
    """
    if is_address(run) and not (folder / "run.json").exists():
        raise StoreError(f"{run} has no run.json; make a run with `tedbench run --out {run}`")
