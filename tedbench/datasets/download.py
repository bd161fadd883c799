"""Download TEdBench from its authors' repository: pinned, checked, resumed, and written in one step.

Bytes go to `NAME.part` first; a file under its final name is whole and, where a digest is on record, the released one.
"""

from __future__ import annotations

import functools
import http.client
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from tedbench import images
from tedbench.datasets import tedbench
from tedbench.datasets.tedbench import RESULTS as RESULTS
from tedbench.datasets.tedbench import result_name as result_name
from tedbench.errors import DataError, NetworkError, UsageError, short

GITHUB_RAW = "https://raw.githubusercontent.com/imagic-editing/imagic-editing.github.io"
PINNED = "e711b1e515d4f1e297eecd031e55c4d0070cb41c"
_CHUNK = 1 << 16
_TIMEOUT = 20.0


@dataclass(frozen=True)
class Item:
    """One file to get."""

    path: str
    """Relative to the release's folder, here and there."""
    sha256: str | None
    """None where no digest is on record."""


def fetch(
    name: str,
    folder: str | Path,
    base_url: str = GITHUB_RAW,
    revision: str = PINNED,
    results: bool = False,
    progress: bool = True,
) -> list[str]:
    """Download `input_list.json` and `originals/`; files that are there and right are kept.

    Args:
        name: `tedbench`; the other data sets have no pinned source.
        folder: where to write; made if absent.
        base_url: `{base_url}/{revision}/tedbench/…` is fetched.
        revision: commit. Files are checked against the pinned release whatever it is.
        results: also the authors' 100 results, to `imagic/`.
        progress: show a bar if the output is a terminal.

    Returns:
        One line for each file that could not be verified, as no digest of it is on record.

    Raises:
        NetworkError: if the source cannot be reached; what has come is kept and resumed by the next call.
        DataError: if a file is not the released one; nothing is left under its name.
        UsageError: for another data set.
    """
    if name != "tedbench":
        raise UsageError(f"{name!r} cannot be fetched: only tedbench has a pinned source; give a folder with --data")
    target = Path(folder).expanduser().absolute()
    url = f"{base_url.rstrip('/')}/{revision}/{tedbench.release().folder}"
    unverified = []
    for item in tqdm(items(results), desc="tedbench", unit="file", disable=None if progress else True):
        try:
            _get(f"{url}/{urllib.parse.quote(item.path)}", target / item.path, item.sha256)
        except OSError as error:
            raise DataError(f"{target / item.path}: cannot be written ({error.strerror or error})") from error
        if item.sha256 is None:
            unverified.append(f"not verified (no hash on record): {item.path}")
    return unverified


def items(results: bool = False) -> list[Item]:
    """The files of the release: the list, the originals and, if asked, the results."""
    known = tedbench.release()
    listed = [Item(tedbench.LIST, known.list_sha256)]
    listed += [Item(f"{tedbench.ORIGINALS}/{name}", facts.sha256) for name, facts in known.originals.items()]
    if results:
        names = [result_name(*pair) for pair in known.pairs]
        listed += [Item(f"{RESULTS}/{name}", known.results.get(name)) for name in names]
    return listed


def _get(url: str, target: Path, sha256: str | None) -> None:
    if target.is_file() and (sha256 is None or images.sha256(target.read_bytes()) == sha256):
        return
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    while True:
        resumed = part.exists() and part.stat().st_size > 0
        if not _is(part, sha256):
            _download(url, part)
        if sha256 is None or _is(part, sha256):
            part.replace(target)
            return
        found = images.sha256(part.read_bytes())
        part.unlink()
        if not resumed:  # a stale part may be to blame: try once more from the start
            raise DataError(
                f"{url}: not the released file (sha256 {found[:12]}…, released {sha256[:12]}…); "
                "nothing was kept; try again, or give a folder with --data"
            )


def _is(path: Path, sha256: str | None) -> bool:
    return sha256 is not None and path.is_file() and images.sha256(path.read_bytes()) == sha256


def _download(url: str, part: Path) -> None:
    """Append what is missing of `url` to `part`, or write it anew where the server does not resume."""
    start = part.stat().st_size if part.exists() else 0
    try:
        with _open(url, start) as answer:
            resumes = answer.status == 206 and (answer.headers["Content-Range"] or "").startswith(f"bytes {start}-")
            if start and not resumes and answer.status == 206:
                raise NetworkError(f"{url}: the server sent another range than asked; delete {part.name}, try again")
            length = answer.headers["Content-Length"]
            with part.open("ab" if resumes else "wb") as file:
                got = _copy(answer, file)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            part.unlink()
            return _download(url, part)
        raise NetworkError(f"{url}: the server answered {error.code} {error.reason}; {_HINT}") from error
    if length is not None and got < int(length):
        raise NetworkError(f"{url}: the connection broke after {got} of {length} bytes; run it again to resume")
    return None


_HINT = "fetching needs the network; without it, give a folder with --data"


def _open(url: str, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "tedbench", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={start}-"} if start else {}))
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NetworkError(f"{urllib.parse.urlsplit(url).netloc} cannot be reached ({reason}); {_HINT}") from error
    return answer


def _copy(answer: http.client.HTTPResponse, file: BinaryIO) -> int:
    def read() -> bytes:
        try:
            return answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise NetworkError(f"the connection broke ({short(error)}); run it again to resume; {_HINT}") from error

    return sum(file.write(chunk) for chunk in iter(functools.partial(read), b""))
