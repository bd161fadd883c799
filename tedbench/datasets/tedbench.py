"""TEdBench as its authors released it: 100 questions about 40 files, 39 of them distinct (Imagic, arXiv 2210.09276).

`tedbench.json` beside this file lists every text and the digest of every image of the pinned commit. The images state
no licence and are not shipped: they are read from a folder (`input_list.json` and `originals/`) and checked.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tedbench import images
from tedbench.datasets import pairs as naming
from tedbench.datasets.manifest import read_json, read_text
from tedbench.errors import DataError, ImageError
from tedbench.naming import result_text
from tedbench.types import Dataset, DatasetInfo, EditPair, ImageFile

LIST = "input_list.json"
ORIGINALS = "originals"
RESULTS = "imagic"
"""Where the authors' own results lie, if they were fetched."""


@dataclass(frozen=True)
class Original:
    """What is on record of one original image."""

    sha256: str
    bytes: int
    width: int
    height: int
    pixel_sha256: str
    """Of the decoded RGB pixels, see `images.pixel_sha256`."""


@dataclass(frozen=True)
class Release:
    """The pinned release: where it lies, its texts in list order, and its digests."""

    repository: str
    commit: str
    folder: str
    list_sha256: str
    """Of `input_list.json` as released, with its CRLF line ends."""
    pairs: tuple[tuple[str, str], ...]
    """(img_name, target_text), typos kept."""
    originals: Mapping[str, Original]
    results: Mapping[str, str]
    """File name → digest, of those of the authors' results that are on record."""

    def image(self, name: str, folder: Path | None = None, data: bytes | None = None) -> ImageFile:
        """An original, with its bytes in a folder or given."""
        return ImageFile(name, self.originals[name].sha256, folder / name if folder else None, data)

    def image_id(self, name: str) -> str:
        """Name of the first original with the same content."""
        return naming.image_ids(self.image(other) for other in self.originals)[self.originals[name].sha256]


@functools.cache
def release() -> Release:
    """The manifest that ships with the package."""
    raw = json.loads((files(__package__) / "tedbench.json").read_text(encoding="utf-8"))
    raw["pairs"] = tuple((name, text) for name, text in raw["pairs"])
    raw["originals"] = {name: Original(**facts) for name, facts in raw["originals"].items()}
    return Release(**raw)


def result_name(img_name: str, target_text: str) -> str:
    """What the authors call a result: `{img_name}-{text without its final full stop, spaces as _}.png`."""
    return f"{img_name}-{result_text(target_text)}.png"


def default_folder(name: str = "tedbench") -> Path:
    """Where downloads go: `$XDG_CACHE_HOME/tedbench/NAME`, or under `~/.cache`. The folder need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "tedbench" / name


def find_folder(data: str | Path | None = None) -> Path:
    """The folder of the released files: `data`, else `$TEDBENCH_DATA`, else the default one.

    Raises:
        DataError: if it is not there, with the three ways to name one.
    """
    given = str(data) if data is not None else os.environ.get("TEDBENCH_DATA", "")
    folder = Path(given).expanduser().absolute() if given else default_folder()
    if folder.exists() if given else folder.is_dir():
        return folder
    origin = "" if not given else " (from --data)" if data is not None else " (from TEDBENCH_DATA)"
    raise DataError(
        f"no TEdBench data at {folder}{origin}; give a folder with --data, set TEDBENCH_DATA, "
        "or run 'tedbench data fetch'"
    )


def load(data: str | Path | None = None) -> Dataset:
    """The 100 pairs from a folder holding `input_list.json` and `originals/`.

    Raises:
        DataError: if the folder is not there, the list says something else than the released one (line ends do not
            matter), or originals are missing or altered.
    """
    folder = find_folder(data)
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; --data for tedbench is the folder that holds {LIST}")
    fault = _list_fault(folder / LIST)
    if fault:
        raise DataError(f"{fault}; see 'tedbench data verify', or get it anew by 'tedbench data fetch'")
    check_originals(folder / ORIGINALS)
    return build(folder / ORIGINALS, DatasetInfo("tedbench", "folder", release().commit, "", str(folder)))


def build(originals: Path, info: DatasetInfo, pairs: Iterable[tuple[str, str]] | None = None) -> Dataset:
    """A data set over TEdBench's originals.

    Args:
        originals: folder of the image files.
        info: all but the digest.
        pairs: (img_name, target_text); the released list by default.
    """
    keys = list(release().pairs if pairs is None else pairs)
    return assemble([(name, text, release().image(name, originals)) for name, text in keys], info)


def assemble(entries: list[tuple[str, str, ImageFile]], info: DatasetInfo) -> Dataset:
    """A data set from (img_name, target_text, image), with uids, clusters and the digest filled in."""
    uids = naming.make_uids([(name, text) for name, text, _ in entries])
    pairs = tuple(
        EditPair(uid, image, text, image_id=release().image_id(name))
        for uid, (name, text, image) in zip(uids, entries, strict=True)
    )
    return Dataset(DatasetInfo(info.name, info.source, info.revision, naming.digest(pairs), info.location), pairs)


def check_originals(folder: Path, names: Iterable[str] | None = None) -> None:
    """Compare originals with the manifest.

    Args:
        folder: where they lie.
        names: which are needed; all by default.

    Raises:
        DataError: naming all that are missing or altered.
    """
    faults = [fault for name in names or release().originals if (fault := _original_fault(folder, name))]
    if faults:
        raise DataError(f"{folder}: {'; '.join(faults)}; see 'tedbench data verify', or run 'tedbench data fetch'")


def verify(folder: Path) -> list[str]:
    """One line for every missing, extra or altered file; none if all is as released.

    Line ends and spacing of the list do not matter. The authors' results in `imagic/` are optional: those that are
    there are compared where a digest is on record, and named as extra if the release has no such result.
    """
    lines = [fault] if (fault := _list_fault(folder / LIST)) else []
    lines += verify_originals(folder / ORIGINALS) + _verify_results(folder / RESULTS)
    return lines + _extra(folder, {LIST, ORIGINALS, RESULTS})


def verify_originals(folder: Path) -> list[str]:
    """One line for every missing, extra or altered original."""
    lines = [f"{ORIGINALS}/{fault}" for name in release().originals if (fault := _original_fault(folder, name))]
    return lines + _extra(folder, release().originals, f"{ORIGINALS}/")


def _verify_results(folder: Path) -> list[str]:
    known = release().results
    lines = [
        f"{RESULTS}/{fault}"
        for name in known
        if (folder / name).exists() and (fault := _file_fault(folder / name, known[name]))
    ]
    return lines + _extra(folder, {result_name(*pair) for pair in release().pairs}, f"{RESULTS}/")


def _extra(folder: Path, known: Iterable[str], prefix: str = "") -> list[str]:
    found = sorted({path.name for path in folder.iterdir()} - set(known)) if folder.is_dir() else []
    why = {True: "unfinished download; 'tedbench data fetch' resumes it", False: "extra, not part of the release"}
    return [f"{prefix}{name}: {why[name.endswith('.part')]}" for name in found]


def _original_fault(folder: Path, name: str) -> str:
    return _file_fault(folder / name, release().originals[name].sha256)


def _file_fault(path: Path, known: str) -> str:
    if not path.is_file():
        return f"{path.name}: missing"
    try:
        found = images.file_from_path(path).sha256
    except ImageError as error:
        return str(error)
    return "" if found == known else f"{path.name}: altered (sha256 {found[:12]}…, released {known[:12]}…)"


def _list_fault(path: Path) -> str:
    if not path.is_file():
        return f"{LIST}: missing in {path.parent}"
    try:
        found = read_json(read_text(path), LIST)
    except DataError as error:
        return str(error)
    known = [{"img_name": name, "target_text": text} for name, text in release().pairs]
    if found == known:
        return ""
    if not isinstance(found, list) or len(found) != len(known):
        count = f"{len(found)} entries" if isinstance(found, list) else "no list"
        return f"{LIST}: not the released list: {count}, released {len(known)}"
    at = next(i for i, (have, want) in enumerate(zip(found, known, strict=True)) if have != want)
    return f"{LIST}: not the released list: entry {at + 1} is {str(found[at])[:120]}, released {known[at]}"
