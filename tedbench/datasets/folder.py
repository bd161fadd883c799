"""A data set of your own: a folder with images and a table.

Either `manifest.csv`, `.jsonl` or `.json` with one row a question:

| column | |
|---|---|
| `img_name` (or `file_name`, `image`) | path of the photo inside the folder |
| `target_text` | what the edited photo should show |
| `source_text`, `instruction`, `category` | optional texts |
| `mask`, `truth` | optional paths: white where the edit may change the photo; the true answer |
| `uid`, `image_id` | optional; made from name and text, and from the photo's content, if absent |
| `licence` (or `license`) | optional: what the photo may be used under, as `CC-BY-4.0`; counts where all rows have it |

or what `datasets` calls an imagefolder: `metadata.csv` or `metadata.jsonl` with `file_name` (and `mask_file_name`,
`truth_file_name`) and the text columns above. Every image is opened once, so that no run fails half way.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tedbench import images
from tedbench.datasets import pairs as naming
from tedbench.datasets.manifest import SUFFIXES, is_blank, is_file, normal, read_rows, safe_join
from tedbench.errors import DataError, ImageError, TedbenchError, short
from tedbench.types import Dataset, DatasetInfo, EditPair, ImageFile

METADATA = ("metadata.csv", "metadata.jsonl")
IMAGE_COLUMNS = ("img_name", "file_name", "image")
NEEDS = "a folder needs manifest.csv with columns img_name and target_text, or an imagefolder's metadata.csv"


def load(data: str | Path) -> Dataset:
    """The pairs of a folder, in the order of its table.

    Raises:
        DataError: naming row and reason, for anything missing, blank, double, outside the folder or undecodable.
    """
    folder = Path(data).expanduser().absolute()
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; {NEEDS}")
    tables = [path for suffix in SUFFIXES if is_file(path := folder / f"manifest{suffix}")]
    if len(tables) > 1:
        raise DataError(f"{folder}: {' and '.join(path.name for path in tables)}; keep one")
    rows = _read(tables[0], tables[0].name, ("target_text",)) if tables else _imagefolder(folder)
    pairs = _pairs(folder, rows)
    info = DatasetInfo("folder", "folder", "", naming.digest(pairs), str(folder), licence=_licence(rows))
    return Dataset(info, pairs)


@dataclass(frozen=True)
class _Row:
    cells: dict[str, str]
    table: str
    """Its file, relative to the folder."""
    number: int
    """In that file, from 1."""

    def __str__(self) -> str:
        return f"{self.table}, row {self.number}"

    def text(self, column: str) -> str | None:
        text = self.cells.get(column, "")
        return None if is_blank(text) else text


def _licence(rows: list[_Row]) -> str:
    """All licences that the rows name, or none where a row names none: its photo may not be shared."""
    named = [row.text("licence") or row.text("license") or "" for row in rows]
    return ", ".join(sorted({name.strip() for name in named})) if all(named) else ""


def _read(path: Path, table: str, required: tuple[str, ...]) -> list[_Row]:
    return [_Row(cells, table, number) for number, cells in enumerate(read_rows(path, required), start=1)]


def _pairs(folder: Path, rows: list[_Row]) -> tuple[EditPair, ...]:
    open_file = _opener(folder)
    named = [_row_images(row, open_file) for row in rows]
    photos = [image for image, _, _ in named]
    texts = [row.cells["target_text"] for row in rows]
    _refuse_double(rows, [(photo.sha256, text) for photo, text in zip(photos, texts, strict=True)], "question")
    clusters = naming.image_ids(photos)
    uids = naming.make_uids([(photo.name, text) for photo, text in zip(photos, texts, strict=True)])
    uids = [row.text("uid") or uid for row, uid in zip(rows, uids, strict=True)]
    for row, uid in zip(rows, uids, strict=True):
        if not naming.is_file_name(uid):
            raise DataError(f"{row}: uid {uid!r} cannot name a file; use up to 160 of A-Z a-z 0-9 . _ -")
    _refuse_double(rows, [uid.lower() for uid in uids], "uid")
    return tuple(
        EditPair(
            uid,
            photo,
            text,
            image_id=row.text("image_id") or clusters[photo.sha256],
            mask=mask,
            truth=truth,
            source_text=row.text("source_text"),
            instruction=row.text("instruction"),
            category=row.text("category"),
        )
        for uid, row, text, (photo, mask, truth) in zip(uids, rows, texts, named, strict=True)
    )


def _opener(folder: Path) -> Callable[[str], tuple[ImageFile, tuple[int, int]]]:
    seen: dict[str, tuple[ImageFile, tuple[int, int]]] = {}

    def open_file(name: str) -> tuple[ImageFile, tuple[int, int]]:
        if name not in seen:
            path = safe_join(folder, name)
            if not is_file(path):
                raise DataError(f"{name}: no such file in {folder}")
            data = path.read_bytes()
            seen[name] = ImageFile(name, images.sha256(data), path), images.decode(data, name).size
        return seen[name]

    return open_file


def _row_images(
    row: _Row, open_file: Callable[[str], tuple[ImageFile, tuple[int, int]]]
) -> tuple[ImageFile, ImageFile | None, ImageFile | None]:
    column = next((column for column in IMAGE_COLUMNS if column in row.cells), None)
    if column is None:
        raise DataError(f"{row}: no column {' or '.join(IMAGE_COLUMNS)}; columns here: {', '.join(row.cells)}")
    try:
        photo, size = open_file(row.cells[column])
        mask = open_file(name) if (name := row.text("mask")) else None
        truth = open_file(name)[0] if (name := row.text("truth")) else None
    except (DataError, ImageError, OSError) as error:
        raise DataError(f"{row}: {short(error, 400)}") from error
    if mask and mask[1] != size:
        raise DataError(f"{row}: mask {mask[0].name} is {mask[1]}, its image {size}; make them one size")
    return photo, mask and mask[0], truth


def _refuse_double(rows: list[_Row], keys: list[Any], what: str) -> None:
    first: dict[Any, _Row] = {}
    for row, key in zip(rows, keys, strict=True):
        other = first.setdefault(key, row)
        if other is not row:
            shown = key if isinstance(key, str) else f"{key[1]!r} about the same image"
            both = f"rows {other.number} and {row.number}"
            where = f"{row.table}, {both}" if row.table == other.table else f"{other} and {row}"
            raise DataError(f"{where} have the same {what}: {shown}; delete or correct one")


def _imagefolder(folder: Path) -> list[_Row]:
    """The rows of all metadata files as they are written: `datasets`, which guesses types, only checks the images."""
    tables = sorted(
        path
        for name in METADATA
        for path in folder.rglob(name)
        if not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    )
    if not tables:
        raise DataError(f"{folder}: no manifest.csv and no metadata.csv; {NEEDS}")
    rows = [row for path in tables for row in _read_metadata(folder, path)]
    try:
        loaded = _load_imagefolder(folder)
    except TedbenchError:
        raise
    except Exception as error:  # datasets raises a zoo of types on files it cannot load
        raise DataError(f"{folder}: 'datasets' cannot load it as an imagefolder ({short(error)}); {NEEDS}") from error
    for row in rows:
        path = safe_join(folder, row.cells["file_name"]).resolve()
        if path not in loaded:
            raise DataError(f"{row}: {row.cells['file_name']}: 'datasets' does not load it as an image of this folder")
    return rows


def _read_metadata(folder: Path, path: Path) -> list[_Row]:
    """Its rows with paths relative to the folder, and columns named as in a manifest."""
    inside = path.parent.relative_to(folder)
    rows = []
    for row in _read(path, path.relative_to(folder).as_posix(), ("file_name", "target_text")):
        cells = {key if key == "file_name" else key.removesuffix("_file_name"): row.cells[key] for key in row.cells}
        if len(cells) < len(row.cells):
            raise DataError(f"{row}: the header names mask or truth twice: {', '.join(row.cells)}; keep one column")
        for key in ("file_name", "mask", "truth"):
            if not is_blank(cells.get(key, "")):
                cells[key] = _inside(folder, inside / cells[key], row)
        rows.append(replace(row, cells=cells))
    return rows


def _inside(folder: Path, path: Path, row: _Row) -> str:
    name = path.as_posix()
    try:
        safe_join(folder, name)
    except DataError as error:
        raise DataError(f"{row}: {error}") from error
    return normal(name)


def _load_imagefolder(folder: Path) -> set[Path]:
    """Resolved paths of the images that `datasets` finds."""
    import datasets

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # datasets leaves the metadata file open
        splits: Any = datasets.load_dataset("imagefolder", data_dir=str(folder), streaming=True)
        if len(splits) > 1:
            raise DataError(f"{folder}: holds the splits {', '.join(splits)}; give --data one of their folders")
        table = next(iter(splits.values()))
        for name, feature in (table.features or {}).items():
            if isinstance(feature, datasets.Image):
                table = table.cast_column(name, datasets.Image(decode=False))
        found = {Path(value["path"]).resolve() for row in table for value in row.values() if isinstance(value, dict)}
        del splits, table
        gc.collect()
    return found
