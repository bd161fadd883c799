"""A folder at an address that fsspec knows, such as s3://bucket/NAME: listed, read, and written file by file.

What a reader finds there is whole: an object store shows an object when all of it has come; elsewhere a file is written
under another name and moved. What goes wrong becomes one line.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tedbench.errors import StoreError, TedbenchError, UsageError, short

WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "hf", "memory"}
"""Protocols at which a file that is being written is not seen."""
PARTIAL = ".partial"
AT_ONCE = 64
"""Files in one call, so that a lease is kept and a bar moves while many go."""


class Unreachable(StoreError):
    """The address did not answer, and may do so another time: a network that is down, a server that is busy."""


def is_address(text: str) -> bool:
    """Whether a text names an address rather than a path."""
    return "://" in text


class Address:
    """A folder at an address. Names of its files are relative to it, with `/`."""

    def __init__(self, text: str) -> None:
        """Find out who speaks its protocol; nothing is asked over the network yet.

        Raises:
            UsageError: if nobody does, or it names no folder.
        """
        from fsspec.core import url_to_fs

        if re.search(r"//[^/@]*:[^/@]*@", text):
            raise UsageError(
                f"{re.sub(r'//[^/@]*@', '//', text)} was named with a password, which would be written down with the "
                "run; put it where its protocol looks for it, or into ~/.config/fsspec"
            )
        self.text = text if text.endswith("://") else text.rstrip("/")
        try:
            # Listings that fsspec remembers are of yesterday: another machine writes there too.
            self._fs, path = url_to_fs(self.text, use_listings_cache=False)
        except ImportError as error:
            raise UsageError(f"{text}: {_to_install(text)}") from error
        except Exception as error:  # a backend may raise anything
            raise UsageError(
                f"{text} is no address that can be used ({short(error)}); e.g. s3://BUCKET/NAME"
            ) from error
        self._root = str(path).rstrip("/")
        self.name = self._root.rpartition("/")[2]
        if not self.name or self.name.startswith("."):
            raise UsageError(f"{text} names no folder; e.g. s3://BUCKET/NAME")
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._is_whole = bool(protocols & WHOLE)

    def __str__(self) -> str:
        return self.text

    @property
    def digest(self) -> str:
        """8 hex digits by which the address is told from others; a bucket of one server from another's of that name."""
        server = getattr(self._fs, "endpoint_url", None) or os.environ.get("AWS_ENDPOINT_URL", "")
        whole = f"{self._fs.unstrip_protocol(self._root)} {server}"
        return hashlib.sha256(whole.encode()).hexdigest()[:8]

    def sizes(self) -> dict[str, int]:
        """Every file there, and its size in bytes; none where there is no such folder.

        Raises:
            StoreError: if it cannot be asked, or there is no such bucket.
        """
        start = len(self._root.lstrip("/")) + 1
        with self._explained("read"):
            self._fs.invalidate_cache()
            found = self._fs.find(self._root, detail=True)
            sizes = {str(path).lstrip("/")[start:]: int(info["size"]) for path, info in found.items()}
        return {name: size for name, size in sizes.items() if name and not name.endswith(PARTIAL)}

    def get(self, files: Mapping[str, Path]) -> None:
        """Bring files here, each to a path whose folder is there; a file may be half if this raises.

        Raises:
            StoreError: if one cannot be read.
        """
        with self._explained("read"):
            for names in _parts(list(files)):
                self._fs.get([self._at(name) for name in names], [str(files[name]) for name in names])

    def put(self, files: Mapping[str, Path]) -> None:
        """Bring files there, in place of what is there under their names.

        Raises:
            StoreError: if one cannot be written; each of them is whole or as it was.
        """
        with self._explained("written"):
            for names in _parts(list(files)):
                there = [self._at(name) for name in names]
                self._put([str(files[name]) for name in names], there)

    def read(self, name: str) -> bytes:
        """A small file; empty where there is none.

        Raises:
            StoreError: if it cannot be read.
        """
        with self._explained("read"):
            try:
                return bytes(self._fs.cat_file(self._at(name)))
            except FileNotFoundError:
                return b""

    def write(self, name: str, data: bytes, new: bool = False) -> bool:
        """Write a small file.

        Args:
            name: of it.
            data: what it is to hold.
            new: write only where there is none; a store that does not know how writes in any case.

        Returns:
            Whether it was written.

        Raises:
            StoreError: if it cannot be written.
        """
        with self._explained("written"):
            self._make_room([self._at(name)])
            if new:
                try:
                    self._fs.pipe_file(self._at(name), data, mode="create")
                    return True
                except FileExistsError:
                    return False
                except (TypeError, NotImplementedError, OSError):  # stores that look like S3 and lack this part of it
                    pass
            self._fs.pipe_file(self._at(name), data)
        return True

    def remove(self, name: str) -> None:
        """Delete a file, if it is there.

        Raises:
            StoreError: if it cannot be deleted.
        """
        with self._explained("written"), suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def _put(self, files: list[str], there: list[str]) -> None:
        self._make_room(there)
        if self._is_whole:
            self._fs.put(files, there)
            return
        for file, target in zip(files, there, strict=True):
            self._fs.put_file(file, target + PARTIAL)
            self._fs.mv(target + PARTIAL, target)

    def _make_room(self, there: list[str]) -> None:
        if not self._is_whole:  # objects need no folders
            for folder in {path.rpartition("/")[0] for path in there}:
                self._fs.makedirs(folder, exist_ok=True)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except TedbenchError:
            raise
        except (PermissionError, FileNotFoundError) as error:
            raise StoreError(f"{self} cannot be {what} ({short(error)})") from error
        except Exception as error:  # each backend has a family of its own
            kind = StoreError if "Credentials" in type(error).__name__ else Unreachable
            raise kind(f"{self} cannot be {what} ({short(error)})") from error


def _to_install(text: str) -> str:
    """What to do about a protocol whose package is not there."""
    from fsspec.registry import known_implementations

    known: dict[str, Any] = known_implementations.get(text.partition("://")[0].rpartition("::")[2], {})
    package = str(known.get("class", "")).partition(".")[0]
    return (
        f"pip install {package}" if package not in ("", "fsspec") else str(known.get("err", "its package is missing"))
    )


def _parts(names: list[str]) -> Iterator[list[str]]:
    for at in range(0, len(names), AT_ONCE):
        yield names[at : at + AT_ONCE]
