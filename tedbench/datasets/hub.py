"""TEdBench from the Hugging Face hub (`bahjat-kawar/tedbench`), or from a local copy that `datasets` can load.

The hub's rows have no file names. Each is matched to the released list by its text and its picture (digest of the
bytes, else of the pixels), so the pin is by content: every text and image is the released one, or loading fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tedbench import images
from tedbench.datasets.tedbench import assemble, release
from tedbench.errors import DataError, NetworkError, TedbenchError, short
from tedbench.types import Dataset, DatasetInfo, ImageFile

REPOSITORY = "bahjat-kawar/tedbench"
COLUMNS = ("original_image", "caption")
_OFFLINE = f"loading {REPOSITORY} needs the network; give a folder with --data, or use --source folder"


def load(data: str | Path | None = None, revision: str | None = None) -> Dataset:
    """The 100 pairs in the order of the released list, with the bytes in memory.

    Args:
        data: folder of a local copy; the hub if not given.
        revision: branch, tag or commit on the hub; `$TEDBENCH_HUB_REVISION`, else `main`.

    Raises:
        NetworkError: if the hub is needed and cannot be reached.
        DataError: if a row is not of the release, or one of the release is not met exactly once.
    """
    if data is not None:
        place, commit = Path(data).expanduser().absolute(), ""
        if not place.is_dir():
            raise DataError(f"no folder {place}; with source 'hub', --data is a local copy of {REPOSITORY}")
        rows = _rows(str(place), None)
    else:
        place, commit = None, resolve(revision or os.environ.get("TEDBENCH_HUB_REVISION") or "main")
        rows = _rows(REPOSITORY, commit)
    return assemble(match(rows), DatasetInfo("tedbench", "hub", commit, "", str(place or "")))


def resolve(revision: str) -> str:
    """The commit that a branch or tag of the hub's repository stands for now.

    Raises:
        NetworkError: at once under HF_HUB_OFFLINE, else if the hub does not answer within ten seconds.
        DataError: if the hub knows no such revision.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise NetworkError(f"HF_HUB_OFFLINE is set, and {_OFFLINE}")
    try:
        found = huggingface_hub.HfApi().dataset_info(REPOSITORY, revision=revision, timeout=10)
    except HfHubHTTPError as error:
        raise DataError(f"the hub refuses {REPOSITORY} at {revision!r}: {short(error)}") from error
    except Exception as error:  # the client's errors depend on its version
        raise NetworkError(f"the hub cannot be reached ({short(error, 80)}); {_OFFLINE}") from error
    return str(found.sha)


def match(rows: Iterable[tuple[str, bytes]]) -> list[tuple[str, str, ImageFile]]:
    """Find each (caption, image bytes) in the released list.

    Returns:
        (img_name, target_text, image) in list order; the digest is the released one.

    Raises:
        DataError: naming rows that match nothing or twice, and entries that no row met.
    """
    known = release()
    entries = {(known.originals[name].sha256, text): (name, text) for name, text in known.pairs}
    by_pixels = {facts.pixel_sha256: facts.sha256 for facts in known.originals.values()}
    released = set(by_pixels.values())
    met: dict[tuple[str, str], bytes] = {}
    faults = []
    for number, (text, data) in enumerate(rows, start=1):
        content = images.sha256(data)
        if content not in released:
            content = by_pixels.get(_pixels(data, number), "")
        entry = entries.get((content, text))
        if entry is None or entry in met:
            why = "image not in the release" if not content else "not asked of this image" if not entry else "met twice"
            faults.append(f"row {number} ({text!r}): {why}")
        else:
            met[entry] = data
    faults += [f"no row for {name} {text!r}" for name, text in known.pairs if (name, text) not in met]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise DataError(f"not TEdBench as released: {'; '.join(faults[:5])}{more}; try --source folder")
    return [(name, text, known.image(name, data=met[name, text])) for name, text in known.pairs]


def _pixels(data: bytes, number: int) -> str:
    try:
        return images.pixel_sha256(images.decode(data, f"row {number}"))
    except TedbenchError:
        return ""


def _rows(place: str, commit: str | None) -> Iterator[tuple[str, bytes]]:
    import datasets

    try:
        # A local copy is streamed: nothing is written to the cache.
        table: Any = datasets.load_dataset(place, split="val", revision=commit, streaming=commit is None)
        missing = [column for column in COLUMNS if column not in (table.column_names or ())]
        if not missing:
            table = table.select_columns(list(COLUMNS)).cast_column(COLUMNS[0], datasets.Image(decode=False))
            rows = [(row["caption"], row["original_image"]) for row in table]
    except (OSError, RuntimeError) as error:
        if commit is not None:
            raise NetworkError(f"{REPOSITORY} cannot be fetched ({short(error, 80)}); {_OFFLINE}") from error
        raise DataError(f"{place}: not a copy of {REPOSITORY} ({short(error)})") from error
    except Exception as error:  # datasets raises a zoo of types on files it cannot load
        raise DataError(f"{place}: 'datasets' cannot load a split 'val' ({short(error)})") from error
    if missing:
        raise DataError(f"{place}: no column {', '.join(missing)}; expected a copy of {REPOSITORY}")
    for number, (text, image) in enumerate(rows, start=1):
        if not isinstance(text, str) or not isinstance(image, dict):
            raise DataError(f"{place}: row {number} has no text or no image")
        yield text, image["bytes"] if image.get("bytes") is not None else Path(image["path"]).read_bytes()
