"""A data set of your own: a folder with images and a table.

Either `manifest.csv`, `.jsonl` or `.json` with one row a question:

| column | |
|---|---|
| `img_name` (or `file_name`, `image`) | path of the photo inside the folder |
| `target_text` | what the edited photo should show |
| `source_text`, `instruction`, `category` | optional texts |
| `mask`, `truth` | optional paths: white where the edit may change the photo; the true answer |
| `uid`, `image_id` | optional; made from name and text, and from the photo's content, if absent |

or what `datasets` calls an imagefolder: `metadata.csv` or `metadata.jsonl` with `file_name` (and `mask_file_name`,
`truth_file_name`) and the text columns above. Every image is opened once, so that no run fails half way.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tedbench import images
from tedbench.datasets import pairs as naming
from tedbench.datasets.manifest import SUFFIXES, is_blank, read_rows, safe_join
from tedbench.errors import DataError, ImageError, TedbenchError, short
from tedbench.types import Dataset, DatasetInfo, EditPair, ImageFile

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
    tables = [path for suffix in SUFFIXES if (path := folder / f"manifest{suffix}").is_file()]
    if len(tables) > 1:
        raise DataError(f"{folder}: {' and '.join(path.name for path in tables)}; keep one")
    rows = read_rows(tables[0], ("target_text",)) if tables else _imagefolder(folder)
    pairs = _pairs(folder, rows)
    return Dataset(DatasetInfo("folder", "folder", "", naming.digest(pairs), str(folder)), pairs)


def _pairs(folder: Path, rows: list[dict[str, str]]) -> tuple[EditPair, ...]:
    open_file = _opener(folder)
    named = [_row_images(row, number, open_file) for number, row in enumerate(rows, start=1)]
    photos = [image for image, _, _ in named]
    _refuse_double([(photo.sha256, row["target_text"]) for photo, row in zip(photos, rows, strict=True)], "question")
    clusters = naming.image_ids(photos)
    uids = naming.make_uids([(photo.name, row["target_text"]) for photo, row in zip(photos, rows, strict=True)])
    uids = [_text(row, "uid") or uid for row, uid in zip(rows, uids, strict=True)]
    for number, uid in enumerate(uids, start=1):
        if not naming.is_file_name(uid):
            raise DataError(f"row {number}: uid {uid!r} cannot name a file; use up to 160 of A-Z a-z 0-9 . _ -")
    _refuse_double([uid.lower() for uid in uids], "uid")
    return tuple(
        EditPair(
            uid,
            photo,
            row["target_text"],
            image_id=_text(row, "image_id") or clusters[photo.sha256],
            mask=mask,
            truth=truth,
            source_text=_text(row, "source_text"),
            instruction=_text(row, "instruction"),
            category=_text(row, "category"),
        )
        for uid, row, (photo, mask, truth) in zip(uids, rows, named, strict=True)
    )


def _opener(folder: Path) -> Callable[[str], tuple[ImageFile, tuple[int, int]]]:
    seen: dict[str, tuple[ImageFile, tuple[int, int]]] = {}

    def open_file(name: str) -> tuple[ImageFile, tuple[int, int]]:
        if name not in seen:
            path = safe_join(folder, name)
            if not path.is_file():
                raise DataError(f"{name}: no such file in {folder}")
            data = path.read_bytes()
            seen[name] = ImageFile(name, images.sha256(data), path), images.decode(data, name).size
        return seen[name]

    return open_file


def _row_images(
    row: dict[str, str], number: int, open_file: Callable[[str], tuple[ImageFile, tuple[int, int]]]
) -> tuple[ImageFile, ImageFile | None, ImageFile | None]:
    column = next((column for column in IMAGE_COLUMNS if column in row), None)
    if column is None:
        raise DataError(f"row {number}: no column {' or '.join(IMAGE_COLUMNS)}; columns here: {', '.join(row)}")
    try:
        photo, size = open_file(row[column])
        mask = open_file(name) if (name := _text(row, "mask")) else None
        truth = open_file(name)[0] if (name := _text(row, "truth")) else None
    except (DataError, ImageError, OSError) as error:
        raise DataError(f"row {number}: {short(error, 400)}") from error
    if mask and mask[1] != size:
        raise DataError(f"row {number}: mask {mask[0].name} is {mask[1]}, its image {size}; make them one size")
    return photo, mask and mask[0], truth


def _text(row: dict[str, str], column: str) -> str | None:
    text = row.get(column, "")
    return None if is_blank(text) else text


def _refuse_double(keys: list[Any], what: str) -> None:
    first: dict[Any, int] = {}
    for number, key in enumerate(keys, start=1):
        if key in first:
            shown = key if isinstance(key, str) else f"{key[1]!r} about the same image"
            raise DataError(f"rows {first[key]} and {number} have the same {what}: {shown}; delete or correct one")
        first[key] = number


def _imagefolder(folder: Path) -> list[dict[str, str]]:
    if not any(folder.glob("metadata.*")) and not any(folder.glob("*/metadata.*")):
        raise DataError(f"{folder}: no manifest.csv and no metadata.csv; {NEEDS}")
    try:
        rows = _load_imagefolder(folder)
    except TedbenchError:
        raise
    except Exception as error:  # datasets raises a zoo of types on files it cannot load
        raise DataError(f"{folder}: 'datasets' cannot load it as an imagefolder ({short(error)}); {NEEDS}") from error
    for number, row in enumerate(rows, start=1):
        if is_blank(row.get("target_text", "")):
            raise DataError(f"row {number} ({row.get('image')}): target_text is missing or blank; add it to metadata.*")
    return rows


def _load_imagefolder(folder: Path) -> list[dict[str, str]]:
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
        rows = [{key: _cell(folder, value) for key, value in row.items()} for row in table]
        del splits, table
        gc.collect()
    return rows


def _cell(folder: Path, value: Any) -> str:
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    path = Path(value["path"])
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
