"""SIGTERM, as a batch system or a container sends it, ends a command as Ctrl-C does: what is done is written down."""

from __future__ import annotations

import signal
from types import FrameType
from typing import ClassVar

from tedbench.errors import TedbenchError

_came: list[int] = []


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end."""

    exit_code: ClassVar[int] = 128 + signal.SIGTERM


class Interrupted(TedbenchError):
    """Ctrl-C, in a command that says how to go on."""

    exit_code = 130


class Ended(Interrupted):
    """SIGTERM, likewise."""

    exit_code = Terminated.exit_code


def on_sigterm() -> None:
    """Have SIGTERM raise `Terminated` in the main thread, from where this must be called."""
    signal.signal(signal.SIGTERM, _stop)


def is_terminated() -> bool:
    """Whether SIGTERM came: typer takes what it raises for Ctrl-C."""
    return bool(_came)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (how signal calls it)
    _came.append(number)
    raise Terminated
