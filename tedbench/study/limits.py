"""How much one address or one rater may ask of the server: token buckets, in memory."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass

MOST = 20_000
"""Buckets kept; full ones go first, then the oldest."""


@dataclass(frozen=True)
class Rate:
    """So many at once, and so many a second after that."""

    burst: float
    per_second: float


@dataclass(frozen=True)
class Limits:
    """Every rate. A campus or a clinic may share an address, hence the large ones."""

    starts: Rate = Rate(300, 5.0)
    """Per address."""
    unknown: Rate = Rate(60, 1.0)
    """Links that nobody has, per address."""
    rater: Rate = Rate(40, 20.0)
    """Requests with one token."""
    admin: Rate = Rate(10, 1 / 6)
    """Wrong admin tokens, per address."""


class Buckets:
    """One bucket for each key. Not for several threads."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, key: str) -> float:
        """Seconds until one may be taken; 0 if it may be now."""
        return max(0.0, (1 - self._now(key)) / self._rate.per_second)

    def take(self, key: str) -> float:
        """Take one where one is left.

        Returns:
            0, or the seconds to wait, in which case nothing was taken.
        """
        wait = self.wait(key)
        if not wait:
            left = self._now(key) - 1
            self._left.pop(key, None)  # the dict's order is that of use
            self._left[key] = (left, self._clock())
            self._prune()
        return wait

    def _now(self, key: str) -> float:
        left, at = self._left.get(key, (self._rate.burst, 0.0))
        return min(self._rate.burst, left + (self._clock() - at) * self._rate.per_second)

    def _prune(self) -> None:
        if len(self._left) <= MOST:
            return
        for key in [key for key in self._left if self._now(key) >= self._rate.burst]:
            del self._left[key]
        for key in list(self._left)[: len(self._left) - MOST // 2]:
            del self._left[key]


def neighbourhood(host: str) -> str:
    """What counts as one address: of IPv6 the /64, which one household has whole."""
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
