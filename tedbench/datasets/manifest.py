"""Tables that users write (CSV, JSON Lines, JSON), read strictly: what is odd is named, never guessed.

A table has one row per line or object. A blank cell is empty, only spaces, or what spreadsheets and pandas write for
"nothing" (`nan`, `null`, `<NA>`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tedbench.errors import DataError, short
from tedbench.naming import is_file as is_file
from tedbench.naming import normal as normal
from tedbench.naming import safe_join as safe_join

SUFFIXES = (".csv", ".jsonl", ".json")
_NOTHING = {"", "nan", "null", "<na>"}


def is_blank(text: str) -> bool:
    """Whether a cell says nothing: empty, spaces, `nan`, `null` or `<NA>`."""
    return text.strip().casefold() in _NOTHING


def read_rows(path: Path, required: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a table; numbers become text, JSON's null an empty text.

    Args:
        path: a `.csv` (comma, header line), `.jsonl` or `.json` (list of objects) file in UTF-8, with or without BOM.
        required: columns that every row must fill.

    Raises:
        DataError: for a file that cannot be read, is no UTF-8 (naming line and byte), has no rows, lacks a column,
            names one twice, has cells too many or too few, or leaves a required cell blank (naming the row).
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".json": _json_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: not a table we read; save it as one of {', '.join(SUFFIXES)}")
    rows: list[dict[str, str]] = []
    for where, row in reader(read_text(path), path.name):
        number = f"{path.name}, row {len(rows) + 1} ({where})"
        for column in required:
            if column not in row:
                have = ", ".join(row) or "none"
                raise DataError(f"{number}: no column {column!r}; columns here: {have}. Add it to every row")
            if is_blank(row[column]):
                raise DataError(f"{number}: {column} is blank ({row[column]!r}); fill it in or delete the row")
        rows.append(row)
    if not rows:
        raise DataError(f"{path.name}: no rows; a table needs the columns {', '.join(required)} and at least one row")
    return rows


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without BOM and with its line ends as they are.

    Raises:
        DataError: if it cannot be read, or naming line and byte where it is no UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start + len(data) - len(error.object)
        line = data[:at].count(b"\n") + 1
        raise DataError(
            f"{path.name}, line {line}: byte 0x{data[at]:02x} at offset {at} is not UTF-8; save the file as UTF-8"
        ) from error


def read_json(text: str, where: str) -> Any:
    """Parse JSON, refusing an object that names a key twice.

    Raises:
        DataError: naming the place.
    """

    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        if len(set(keys)) < len(keys):
            raise DataError(f"{where}: an object names a key twice: {', '.join(keys)}")
        return dict(items)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({short(error)})") from error


def _csv_rows(text: str, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            where = f"line {reader.line_num}"
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                if len(set(header)) < len(header):
                    raise DataError(f"{name}: the header names a column twice: {', '.join(header)}")
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{name}, {where}: {len(cells)} cells where the header has {len(header)}; "
                    "put texts that hold a comma in double quotes"
                )
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: not valid CSV ({short(error)})") from error


def _jsonl_rows(text: str, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"line {number}"
            yield where, _as_row(read_json(line, f"{name}, {where}"), f"{name}, {where}")


def _json_rows(text: str, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    items = read_json(text, name)
    if not isinstance(items, list):
        raise DataError(f"{name}: expected a list of objects, got {type(items).__name__}")
    for number, item in enumerate(items, start=1):
        yield f"entry {number}", _as_row(item, f"{name}, entry {number}")


def _as_row(item: Any, where: str) -> dict[str, str]:
    if not isinstance(item, dict):
        raise DataError(f"{where}: expected an object, got {type(item).__name__}")
    row = {key: _as_text(value) for key, value in item.items()}
    try:
        "".join([*row, *row.values()]).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: a text holds half a surrogate pair, which no file can store; correct it") from error
    return row


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
