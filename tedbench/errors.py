"""What a user can cause, one class each. The message is one line: what, what else, what next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TedbenchError(Exception):
    """Base of all errors a user can cause; the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class UsageError(TedbenchError):
    """Options that contradict each other, or a value that cannot be read."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that nothing answers to."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        shown = ", ".join(known[:24]) + (f" and {len(known) - 24} more" if len(known) > 24 else "")
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"no {kind} named {name!r}.{hint} Known: {shown or 'none'}")


class DataError(TedbenchError):
    """A data set that is not there, not whole, or not as released."""

    exit_code = 3


class ImageError(TedbenchError):
    """A file that is not an image we can score, or an array that is not an image."""

    exit_code = 4


class NetworkError(TedbenchError):
    """Something had to be fetched, and could not be."""

    exit_code = 5


class StoreError(TedbenchError):
    """A results folder that cannot be written or read."""

    exit_code = 6


class PluginError(TedbenchError):
    """A plug-in that does not import, clashes with another, or breaks its contract."""

    exit_code = 7


class MetricError(TedbenchError):
    """A metric that cannot be computed here, or must not be."""

    exit_code = 8


class MethodError(TedbenchError):
    """A method or its model that cannot work here: missing weights, no memory, an unfit configuration."""

    exit_code = 9


class Differs(TedbenchError):
    """A submission that says something else than what its own files, its data set or a new scoring say."""

    exit_code = 10


class Unverified(TedbenchError):
    """A submission of which something could be neither confirmed nor refuted here."""

    exit_code = 11


class MetricNote(UserWarning):
    """What a metric wants its reader to know: `warnings.warn("3 texts were cut", MetricNote)`. Kept with the scores."""


def short(error: BaseException, limit: int = 200) -> str:
    """The first line of an error's message, with its class where that says more: for one-line messages."""
    line = next((line.strip() for line in _said(error).splitlines() if line.strip()), "")
    text = line if isinstance(error, TedbenchError) else f"{type(error).__name__}: {line}".rstrip(": ")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _said(error: BaseException) -> str:
    """An error's message as a file or a terminal can hold it: half surrogate pairs become question marks."""
    try:
        return str(error).encode("utf-8", "replace").decode("utf-8")
    except Exception:  # noqa: BLE001  (a stranger's error can raise anything when it is asked what it says)
        return "(its message cannot be read)"
