"""SIGTERM, as a batch system or a container sends it, ends a command as Ctrl-C does: what is done is written down."""

from __future__ import annotations

import signal
from types import FrameType
from typing import ClassVar


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end."""

    exit_code: ClassVar[int] = 128 + signal.SIGTERM


def on_sigterm() -> None:
    """Have SIGTERM raise `Terminated` in the main thread, from where this must be called."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (how signal calls it)
    raise Terminated
