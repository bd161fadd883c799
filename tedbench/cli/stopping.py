"""SIGTERM, as a batch system or a container sends it, ends a command as Ctrl-C does: what is done is written down."""

from __future__ import annotations

import signal
from types import FrameType

from tedbench.errors import TedbenchError

INTERRUPTED = 130
"""Exit code after Ctrl-C, typer's own too; no command of ours returns it otherwise."""
TERMINATED = 128 + signal.SIGTERM
_came: list[int] = []
"""SIGTERM, each time: typer takes what it raises for Ctrl-C, and says no more of it."""


class Stopped(TedbenchError):
    """A command that Ctrl-C or SIGTERM ended.

    Args:
        told: what is kept, and how to go on.
    """

    def __init__(self, told: str) -> None:
        super().__init__(f"{'terminated' if _came else 'interrupted'}; {told}")
        self.exit_code = TERMINATED if _came else INTERRUPTED


def on_sigterm() -> None:
    """Have SIGTERM raise KeyboardInterrupt in the main thread, from where this must be called."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (how signal calls it)
    _came.append(number)
    raise KeyboardInterrupt
