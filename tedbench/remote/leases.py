"""held.json at an address: who works on the run there, so that two machines do not do one run at the same time.

An object store has no locks. Whoever works there writes a random token and the time, again and again; one that has not
been written for `STALE` seconds is of a process that died. Clocks of machines may differ by more than that: what looks
dead is watched for as long as a living one would take to write again.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from tedbench import disk
from tedbench.errors import StoreError, UsageError
from tedbench.remote.addresses import Address

NAME = "held.json"
STALE = 300.0
"""Seconds after which nobody is at work."""
EVERY = 30.0
"""Seconds between two signs of life; lists go up as often. `TEDBENCH_PUSH_SECONDS` asks for fewer."""
WATCHED = 1.5
"""How many such intervals what looks dead is watched."""


def every() -> float:
    """Seconds between two signs of life, as the user has it.

    Raises:
        UsageError: if that is no number above 0.
    """
    text = os.environ.get("TEDBENCH_PUSH_SECONDS", "")
    try:
        seconds = float(text or EVERY)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(f"TEDBENCH_PUSH_SECONDS={text}: seconds, above 0 and up to {EVERY:g}")
    return min(seconds, EVERY)


@dataclass
class Lease:
    """A right to work at an address.

    A token is kept beside the local copy, by which the next process here knows a lease of one that was killed here.
    """

    address: Address
    kept: Path
    """File with the token of the last process on this machine, which is dead: its lock is held by this one."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    every: float = field(default_factory=every)
    _said_at: float = 0.0
    _dead: str = ""
    """Token of a lease that was watched, and did not stir."""

    def take(self) -> None:
        """Take it, if nobody has it, or nobody has it any more.

        Raises:
            StoreError: if another is at work there, or the address cannot be written.
        """
        self._check_free()  # first, since not every store can write only where there is nothing
        if not self.address.write(NAME, self._said(), new=True):
            self._check_free()
            self.address.write(NAME, self._said())
        disk.write_atomic(self.kept, self.token.encode())
        self._check()
        self._said_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time for a sign of life."""
        return time.monotonic() - self._said_at >= self.every

    def keep(self) -> None:
        """Say that this process is still at work, if it is time for that.

        Raises:
            StoreError: if another has taken over, or the address cannot be written.
        """
        if self.is_due:
            self._check()
            self.address.write(NAME, self._said())
            self._said_at = time.monotonic()

    def drop(self) -> None:
        """Let others work there; raises as `Address.remove`."""
        if _held(self.address).token == self.token:
            self.address.remove(NAME)

    def _check_free(self) -> None:
        before = self.kept.read_text() if self.kept.exists() else ""
        held = _held(self.address)
        if held.token in ("", before, self._dead):
            return
        if held.age < STALE:
            raise StoreError(self._refused(held.age))
        if self._stirs(held):
            raise StoreError(self._refused(0.0))
        self._dead = held.token

    def _stirs(self, held: _Held) -> bool:
        """Whether who holds it says something new."""
        steps, asked = 15, f"{self.address.name}: is another at work?"
        for _ in tqdm(range(steps), desc=asked, delay=2, disable=None, leave=False):
            time.sleep(WATCHED * held.every / steps)
            if (now := _held(self.address)) != held:
                return bool(now.token)
        return False

    def _check(self) -> None:
        if _held(self.address).token != self.token:  # gone counts too: who took it may have done its work and left
            raise StoreError(
                f"{self.address}/{NAME} is not this process's: another has taken over, or somebody deleted it"
            )

    def _said(self) -> bytes:
        return disk.as_json({"token": self.token, "time": time.time(), "every": self.every})

    def _refused(self, age: float) -> str:
        return (
            f"{self.address} is being run from elsewhere, last sign of life {age:.0f} s ago; wait for it. If it is "
            f"dead, go on {STALE / 60:.0f} minutes after that, or delete {self.address}/{NAME}"
        )


@dataclass(frozen=True)
class _Held:
    """What held.json says."""

    token: str = ""
    """Empty where nobody holds the address, or in words nobody knows."""
    time: float = 0.0
    """When it was written, by the clock of whoever wrote it."""
    every: float = EVERY

    @property
    def age(self) -> float:
        """Seconds since then, by the clock of this machine."""
        return abs(time.time() - self.time)


def is_held(address: Address) -> bool:
    """Whether somebody is at work at an address, by the clocks; raises as `Address.read`."""
    held = _held(address)
    return bool(held.token) and held.age < STALE


def _held(address: Address) -> _Held:
    try:
        said = json.loads(address.read(NAME) or b"{}")
        every = float(said.get("every", EVERY))
        return _Held(str(said["token"]), float(said["time"]), every if 0 < every < EVERY else EVERY)
    except (AttributeError, ValueError, KeyError, TypeError):
        return _Held()
