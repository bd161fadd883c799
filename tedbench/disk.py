"""Files that appear whole or not at all, folders too, and JSON in them; what the disk says becomes one line."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tedbench.errors import StoreError, short

LOOKS = 10
"""Before a folder is called held: `tedbench status` holds one for a moment to see whether it is."""
_HELD: set[int] = set()
"""Handles of locks that this process holds."""


@contextmanager
def new_folder(out: Path, replace: bool = False) -> Iterator[Path]:
    """A scratch folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not.

    Args:
        out: where the folder is to be.
        replace: whether a folder already there is exchanged; otherwise it is an error.

    Raises:
        StoreError: if `out` exists, or the disk is full or read-only.
    """
    if out.exists() and not replace:
        raise StoreError(f"{out} exists already; choose another --out, or delete it first")
    out = out.absolute()
    if out == Path.cwd() or out in Path.cwd().parents:
        raise StoreError(f"{out} is the folder you are in; choose another one to write to")
    with explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        with explained(out):
            yield scratch
            scratch.chmod(0o755)
            if out.exists():  # the old one steps aside first, so that at no moment both are gone
                out.replace(aside := scratch.with_suffix(".old"))
                scratch.replace(out)
                shutil.rmtree(aside)
            else:
                scratch.replace(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the disk says into one clear line."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error}); nothing was kept there") from error


def write_atomic(path: Path, data: bytes | Iterable[bytes], durable: bool = True) -> None:
    """Write a file whole or not at all.

    Args:
        path: of the file; its folder is there.
        data: what it is to hold, or its parts one after another.
        durable: whether it has reached the disk when this returns; else a power cut may leave it empty.

    Raises:
        StoreError: if the disk is full or read-only; a file that was there stays as it was.
    """
    with explained(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, busy: str = "") -> Iterator[None]:
    """Hold a folder: others that ask for it wait, or are refused with `busy` where they gave it.

    Raises:
        StoreError: `busy`, if it is held.
        FileNotFoundError: if it is not there, or was taken away meanwhile.
    """
    # The lock is on the folder itself: no file to leave behind, and the kernel drops it with a dead process.
    handle = os.open(folder, os.O_RDONLY)
    _HELD.add(handle)
    try:
        _lock(handle, wait=not busy)
        if not os.path.samestat(os.fstat(handle), folder.stat()):  # whoever held it has removed it: another's is there
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        yield
    except BlockingIOError as error:
        raise StoreError(busy) from error
    finally:
        _HELD.discard(handle)
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder; to look is in the way of one that asks for it for a moment only."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _lock(handle: int, wait: bool) -> None:
    for left in reversed(range(1 if wait else LOOKS)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            break
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.02)


def _let_go() -> None:
    for handle in _HELD:
        os.close(handle)
    _HELD.clear()


# A lock lives as long as any process has its handle: a child that outlives a killed parent must not keep it.
os.register_at_fork(after_in_child=_let_go)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; raises as `write_atomic`."""
    write_atomic(path, as_json(value))


def as_json(value: Any) -> bytes:
    """A value as indented JSON, numbers as they are; NaN and infinities are refused."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_json_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """One JSON object a line, a line at a time: there may be a million."""
    dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    for row in rows:
        yield dump(row).encode() + b"\n"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run's folder.

    Raises:
        StoreError: if it is gone, damaged, or no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({short(error)})") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path} does not hold a JSON object")
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one a line; raises as `read_json`."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({short(error)})") from error
