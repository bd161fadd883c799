"""The data sets: TEdBench, TEdBench++, ToyBench, and a folder of your own. Each gives the same nouns, checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from tedbench.datasets import captions as _captions
from tedbench.datasets import folder as _folder
from tedbench.datasets import hub as _hub
from tedbench.datasets import plusplus as _plusplus
from tedbench.datasets import tedbench as _tedbench
from tedbench.datasets import toybench as _toybench
from tedbench.datasets.download import GITHUB_RAW, PINNED, fetch
from tedbench.datasets.manifest import read_rows, safe_join
from tedbench.datasets.tedbench import default_folder
from tedbench.errors import DataError, TedbenchError, UnknownName, UsageError
from tedbench.types import Dataset, DatasetInfo

NAMES = ("tedbench", "tedbench++", "toy", "folder")
SOURCES = ("folder", "hub")

__all__ = [
    "GITHUB_RAW",
    "NAMES",
    "PINNED",
    "SOURCES",
    "Row",
    "default_folder",
    "fetch",
    "licence_of",
    "list_datasets",
    "load",
    "read_rows",
    "safe_join",
    "take",
    "verify",
]


@dataclass(frozen=True)
class Row:
    """A data set in a list."""

    name: str
    what: str
    pairs: int | None
    """None where that depends on the user's folder."""
    images: int | None
    """Distinct ones."""
    where: str
    """The folder it would be read from now, or how to get one."""


def load(
    name: str,
    data: str | Path | None = None,
    source: str = "folder",
    captions: str | Path | None = None,
    revision: str | None = None,
) -> Dataset:
    """Load a data set, checking every file it needs.

    Args:
        name: one of `NAMES`; `toy[:SPLIT][:N]` draws N questions of ToyBench's dev or test split.
        data: folder (for tedbench++ also the csv); else `$TEDBENCH_DATA`, else the folder of `tedbench data fetch`.
        source: `folder`, or `hub` for TEdBench's copy on the Hugging Face hub.
        captions: a file of source captions, see `tedbench.datasets.captions`.
        revision: branch, tag or commit of the hub's copy.

    Raises:
        UnknownName: for another name.
        UsageError: for a source that the data set has not.
        DataError: if files are missing, altered or wrong.
        NetworkError: if the hub is needed and cannot be reached.
    """
    check_name(name)
    check_source(source)
    if source == "hub" and name != "tedbench":
        raise UsageError(f"data set {name!r} has no hub source here; use source 'folder'")
    dataset = _hub.load(data, revision) if source == "hub" else _load_folder(name, data)
    return dataset if captions is None else _captions.add(dataset, captions)


def take(dataset: Dataset, n: int) -> Dataset:
    """The first pairs of a data set, marked as a part of it; the whole where it has no more than that.

    The digest of a part is made of the whole's and the number, so that captions do not move it, as they do not move
    the whole's.

    Raises:
        UsageError: if n is below 1.
    """
    if n < 1:
        raise UsageError(f"the first {n} pairs are none; take at least 1")
    if n >= len(dataset.pairs):
        return dataset
    part = f"first {n} of {len(dataset.pairs)} pairs"
    digest = hashlib.sha256(f"{dataset.info.sha256} {part}".encode()).hexdigest()
    return Dataset(replace(dataset.info, sha256=digest, part=part), dataset.pairs[:n])


def licence_of(info: DatasetInfo) -> str:
    """What the pictures of a recorded data set may be used under; runs older than that record keep the toy world's."""
    return info.licence or (_toybench.LICENCE if info.source == "drawn" else "")


def verify(name: str, data: str | Path | None = None) -> list[str]:
    """Compare the files of a data set with its release; for a folder of your own, try to load it.

    Returns:
        One line for every missing, extra or altered file; none if all is as released.

    Raises:
        UnknownName: for another name.
        DataError: if there is no folder to look at.
    """
    check_name(name)
    if name == "tedbench":
        return _tedbench.verify(_tedbench.find_folder(data))
    if name == "tedbench++":
        return _plusplus.verify(data)
    try:
        _load_folder(name, data)
    except TedbenchError as error:
        return [str(error)]
    return []


def list_datasets() -> list[Row]:
    """What can be loaded, and where it would be read from now."""
    images = len({facts.sha256 for facts in _tedbench.release().originals.values()})
    pairs = len(_tedbench.release().pairs)
    return [
        Row("tedbench", "TEdBench as released with Imagic (arXiv 2210.09276)", pairs, images, _where("tedbench")),
        Row(
            "tedbench++", "its extension by LEDITS++ (arXiv 2311.16711)", _plusplus.PAIRS, images, _where("tedbench++")
        ),
        Row("toy", "ToyBench: drawn scenes, true answers known; toy:dev, toy:test:240", _toybench.PAIRS, None, "drawn"),
        Row("folder", "your own: a folder with manifest.csv or an imagefolder", None, None, "--data FOLDER"),
    ]


def check_name(name: str) -> None:
    """Refuse what is no data set; raises UnknownName."""
    if name not in NAMES and not _toybench.is_name(name):
        raise UnknownName("data set", name, NAMES)


def check_source(source: str) -> None:
    """Refuse what data does not come from; raises UnknownName."""
    if source not in SOURCES:
        raise UnknownName("data source", source, SOURCES)


def _load_folder(name: str, data: str | Path | None) -> Dataset:
    if name == "tedbench":
        return _tedbench.load(data)
    if name == "tedbench++":
        return _plusplus.load(data)
    if _toybench.is_name(name):
        if data is not None:
            raise UsageError(f"data set {name!r} is drawn, not read; leave out --data")
        return _toybench.load(name)
    if data is None:
        raise DataError(f"data set 'folder' needs --data FOLDER: {_folder.NEEDS}")
    return _folder.load(data)


def _where(name: str) -> str:
    try:
        return str(_tedbench.find_folder() if name == "tedbench" else _plusplus.find_list())
    except DataError:
        return "not here: 'tedbench data fetch'" if name == "tedbench" else "not here: --data tedbench++.csv"
