"""TEdBench++: 127 questions about TEdBench's originals, from LEDITS++ (arXiv 2311.16711).

The list is `tedbench++.csv`. Its columns `skip`, `threshold`, `edit_guidance_scale`, `seed` and `steps` are that
method's own settings and are not read; `skip` does not mean "skip this row". The images are TEdBench's, so the
clusters are too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from tedbench import images
from tedbench.datasets import tedbench
from tedbench.datasets.manifest import read_rows
from tedbench.errors import DataError
from tedbench.types import Dataset, DatasetInfo

LIST = "tedbench++.csv"
LIST_SHA256 = "f7dbd67f402a3eaf369c8c9356d981679485168e51f5a9528d7572d8c3534737"
"""Of the list as first uploaded by its authors."""
PAIRS = 127
PAIRS_SHA256 = "3c29a476e9037a5314a4a4935843bb5c0a21a90275c59f60bfbaa08723c94475"
"""Of its (img_name, target_text), see `pairs_sha256`."""


def load(data: str | Path | None = None) -> Dataset:
    """The pairs of a `tedbench++.csv`, with TEdBench's originals.

    Args:
        data: the csv, or a folder that holds it; resolved as TEdBench's folder is if not given. The originals are
            looked for in `originals/` beside the csv, in TEdBench's own folder, then in `../tedbench/originals`.

    Raises:
        DataError: if the list or an original is missing or altered, or the list asks other questions than the
            recorded one (its order, line ends and other columns do not matter).
    """
    path = find_list(data)
    keys = _read(path)
    found = images.sha256(path.read_bytes())
    revision = "first upload" if found == LIST_SHA256 else f"not on record, sha256 {found[:12]}"
    originals = find_originals(path.parent)
    tedbench.check_originals(originals, dict.fromkeys(name for name, _ in keys))
    location = str(path.parent if data is None or Path(data).expanduser().is_dir() else path)
    return tedbench.build(originals, DatasetInfo("tedbench++", "folder", revision, "", location), keys)


def pairs_sha256(keys: Iterable[tuple[str, str]]) -> str:
    """Hex sha256 of the sorted (img_name, target_text) as compact ASCII JSON."""
    return hashlib.sha256(json.dumps(sorted(keys), separators=(",", ":")).encode()).hexdigest()


def find_list(data: str | Path | None = None) -> Path:
    """The csv file.

    Raises:
        DataError: if it is not there.
    """
    place = tedbench.find_folder(data)
    path = place / LIST if place.is_dir() else place
    if not path.is_file():
        raise DataError(f"no {LIST} in {place}; give --data the csv or its folder (Hub: AIML-TUDA/TEdBench_plusplus)")
    return path


def find_originals(folder: Path) -> Path:
    """The folder of TEdBench's originals, seen from the folder of the csv.

    Raises:
        DataError: if there is none.
    """
    own, sibling = folder / tedbench.ORIGINALS, folder.parent / "tedbench" / tedbench.ORIGINALS
    if own.is_dir():
        return own
    try:
        shared = tedbench.find_folder() / tedbench.ORIGINALS
    except DataError:
        shared = sibling
    for place in (shared, sibling):
        if place.is_dir():
            return place
    raise DataError(
        f"no originals for TEdBench++: not at {own}, {shared} or {sibling}; set TEDBENCH_DATA to TEdBench's folder, "
        "or run 'tedbench data fetch'"
    )


def verify(data: str | Path | None = None) -> list[str]:
    """One line for every missing, extra or altered file; none if all is as first uploaded (line ends do not matter)."""
    path = find_list(data)
    lines: list[str] = []
    try:
        _read(path)
        if images.sha256(path.read_bytes().replace(b"\r\n", b"\n")) != LIST_SHA256:
            lines.append(f"{path.name}: the same {PAIRS} pairs, but other columns are altered, or another upload")
    except DataError as error:
        lines.append(str(error))
    try:
        return lines + tedbench.verify_originals(find_originals(path.parent))
    except DataError as error:
        return [*lines, str(error)]


def _read(path: Path) -> list[tuple[str, str]]:
    """(img_name, target_text) of each row, all of the recorded list and no other."""
    keys = [(row["img_name"], row["target_text"]) for row in read_rows(path, ("img_name", "target_text"))]
    own = "to use your own list use --dataset folder"
    unknown = sorted({name for name, _ in keys} - set(tedbench.release().originals))
    if unknown:
        raise DataError(f"{path.name}: no TEdBench image is named {', '.join(unknown)}; correct img_name; {own}")
    twice = sorted({f"{name} {text!r}" for name, text in keys if keys.count((name, text)) > 1})
    if twice:
        raise DataError(f"{path.name}: asked twice: {'; '.join(twice)}; delete the second row")
    if pairs_sha256(keys) != PAIRS_SHA256:
        raise DataError(
            f"{path.name}: {len(keys)} rows that are not the recorded list of {PAIRS} (img_name, target_text); "
            f"get the whole list from its authors; {own}"
        )
    return keys
