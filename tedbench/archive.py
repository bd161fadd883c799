"""One zip of plain files: the same files give the same bytes, and reading takes it for a stranger's.

Nothing in it is compressed (the images are already), so it is no bigger unpacked than it is, and no library's version
moves a byte. `submission.json`, last in it, names every other file with its size and sha256.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tedbench import disk
from tedbench.errors import Differs, StoreError, short

MANIFEST = "submission.json"
MOST = 2_000_000
"""Files; a full run has some 60,000."""
_PART = r"[\w+@%=,-][\w.+@%=,-]*"
_NAME = re.compile(
    rf"(?:run\.json|pairs\.jsonl|cells\.jsonl|metrics\.json|scores\.parquet|(?:images|sweeps|answers)(?:/{_PART})+)",
    re.ASCII,
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_BLOCK = 1 << 20
_BROKEN = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError, struct.error)


def is_name(name: str) -> bool:
    """Whether a file of a run is called so: relative, inside, without a component that is hidden or goes up."""
    return len(name) < 1000 and _NAME.fullmatch(name) is not None


def write(out: Path, files: Iterable[tuple[str, bytes]], said: Callable[[], Mapping[str, Any]]) -> int:
    """Write an archive whole or not at all.

    Args:
        out: the zip to make; it must not exist.
        files: (name, content), sorted by name.
        said: what `submission.json` says besides its files; asked when all of them were written.

    Returns:
        How many files it holds.

    Raises:
        StoreError: if `out` exists or cannot be written; nothing is left behind then.
    """
    if out.exists():
        raise StoreError(f"{out} exists already; choose another --out, or delete it first")
    with disk.explained(out):
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.absolute().parent) as place:
            scratch = Path(place, out.name)
            listed: dict[str, dict[str, str | int]] = {}
            with zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED) as made:
                for name, data in files:
                    _add(made, name, data)
                    listed[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                _add(made, MANIFEST, disk.as_json({**said(), "files": listed}))
            scratch.replace(out)
    return len(listed)


def unpack(path: Path, folder: Path) -> dict[str, Any]:
    """Unpack an archive that anyone may have made, and compare every file with what `submission.json` says.

    Args:
        path: the archive.
        folder: an empty folder.

    Returns:
        What `submission.json` says.

    Raises:
        StoreError: if it is no such archive, or holds what none does: links, names that leave it, names twice, more
            than it weighs, files that it does not name.
        Differs: if a file is not what it says.
    """
    with _opened(path) as made:
        entries = _entries(made, path)
        said = _manifest(made, entries, path)
        with disk.explained(folder):
            for name in tqdm(sorted(said["files"]), desc="unpack", unit="file", disable=None):
                _unpack_one(made, entries[name], folder / name, said["files"][name]["sha256"])
    return said


def _add(made: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    made.writestr(info, data)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as made:
            yield made
    except _BROKEN as error:
        raise StoreError(f"{path} is no whole submission ({short(error)}); ask for it anew") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error})") from error


def _entries(made: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    infos = made.infolist()
    if len(infos) > MOST or sum(info.file_size for info in infos) > path.stat().st_size:
        raise StoreError(f"{path} would unpack to more than it weighs; `tedbench submit` makes none such")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        fault = _fault(info) or ("is in it twice" if info.filename in entries else "")
        if fault:
            raise StoreError(f"{path}: {info.filename[:80]!r} {fault}; `tedbench submit` writes none such")
        entries[info.filename] = info
    return entries


def _fault(info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "is a link or another special file"
    if info.orig_filename != info.filename or not (is_name(info.filename) or info.filename == MANIFEST):
        return "is no file of a run"
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
        return "is compressed or encrypted"
    return ""


def _manifest(made: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], path: Path) -> dict[str, Any]:
    if MANIFEST not in entries:
        raise StoreError(f"{path} has no {MANIFEST}; make it with `tedbench submit`")
    try:
        said = json.loads(made.read(MANIFEST))
        listed = {str(name): (int(facts["bytes"]), str(facts["sha256"])) for name, facts in said["files"].items()}
        if said["format"] != 1:
            raise StoreError(f"{path} is of format {said['format']!r}; a newer tedbench may read it")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path}: {MANIFEST} is not one of ours ({short(error)})") from error
    odd = sorted(set(listed) ^ (set(entries) - {MANIFEST}))
    if odd:
        what = "is named there and not in it" if odd[0] in listed else "is in it and not named there"
        raise StoreError(f"{path}: {odd[0]!r} {what} ({MANIFEST}); ask for it anew")
    sizes = [name for name, (size, _) in sorted(listed.items()) if size != entries[name].file_size]
    if sizes:
        raise Differs(f"{path}: {sizes[0]} is not as big as {MANIFEST} says; ask for it anew")
    return dict(said)


def _unpack_one(made: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, sha256: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with made.open(info) as source, target.open("xb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != sha256:
        raise Differs(f"{info.filename} is not what {MANIFEST} says (sha256 differs); ask for it anew")
