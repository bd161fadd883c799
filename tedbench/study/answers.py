"""Answers as rows, and as the CSV that the server, the static page and the analysis share.

An answer says which side was chosen and whether the question's first picture was on the left: what the pictures are is
in the key. A rater who sees a question twice was shown it again on purpose.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from tedbench.errors import DataError
from tedbench.report import text as texts


@dataclass(frozen=True)
class Answer:
    """What one rater said of one aspect on one screen."""

    study: str
    """`Lock.tag` of the design that was answered."""
    rater: str
    """Opaque: a salted hash of the platform's identifier, or a random name."""
    slot: int
    """Place of the screen, from 0."""
    question: str
    """Opaque name."""
    flipped: bool
    """False: the first picture was on the left; True: on the right."""
    aspect: str
    choice: str
    """`left`, `right`, `same` or `neither`."""
    ms: int
    """Milliseconds from both pictures being there to the answer."""
    at: str
    """When it came, UTC, ISO 8601 to the second."""


COLUMNS = tuple(one.name for one in fields(Answer))
IDENTITIES = ("rater", "platform", "identifier", "session", "study", "started", "finished", "code", "expires")
"""Columns of the file for payment: `Database.identities`."""


def as_csv(answers: Iterable[Answer]) -> bytes:
    """As CSV with `COLUMNS`."""
    return _csv(COLUMNS, map(astuple, answers))


def identities_csv(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Platforms' own identifiers as CSV with `IDENTITIES`."""
    return _csv(IDENTITIES, ([row[name] for name in IDENTITIES] for row in rows))


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Text that a spreadsheet would take for a formula stands behind an apostrophe: some is what strangers wrote."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode()


def from_csv(path: Path) -> list[Answer]:
    """The answers in a CSV of ours.

    Raises:
        DataError: naming file, row and column of what cannot be read.
    """
    return [_answer(row, f"{path}, row {number}") for number, row in rows(path, COLUMNS)]


def rows(path: Path, wanted: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file as dicts, each with its number in the file (the header is row 1).

    Raises:
        DataError: if it cannot be read, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error})") from error
    header = next(csv.reader(io.StringIO(text, newline="")), [])
    missing = [name for name in wanted if name not in header]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {', '.join(header)[:200] or 'none'}")
    return [(number, {k: v or "" for k, v in row.items() if k}) for number, row in enumerate(found, start=2)]


def _answer(row: dict[str, str], place: str) -> Answer:
    flipped = {"0": False, "1": True, "false": False, "true": True}.get(row["flipped"].lower())
    if flipped is None:
        raise DataError(f"{place}: flipped is {row['flipped']!r}; it is 0 or 1")
    plain = {name: row[name].removeprefix("'") for name in ("study", "rater", "question", "aspect", "choice", "at")}
    return Answer(flipped=flipped, slot=_whole(row, "slot", place), ms=_whole(row, "ms", place), **plain)


def _whole(row: dict[str, str], name: str, place: str) -> int:
    try:
        return int(row[name])
    except ValueError as error:
        raise DataError(f"{place}: {name} is {row[name]!r}, no whole number") from error


def cell(value: object) -> object:
    """A value as it stands in a CSV file: a text that a spreadsheet would take for a formula behind an apostrophe."""
    return int(value) if isinstance(value, bool) else texts.cell(value)
