"""Source captions: what the input photos show, for methods and metrics that need it.

TEdBench has no such texts: whoever adds them says where they come from, and every table that used them names them.
One file ships, `tedbench-observed`; its provenance says who looked at the photos, and how. A captions file is JSON:

    {"name": "blip2-opt-2.7b", "version": "1", "dataset": "tedbench",
     "provenance": "BLIP-2 OPT-2.7B, greedy, no prompt, 2024-05-01",
     "captions": {"dog2_standing.png": "a dog standing on grass", …}}

Captions go by img_name; pairs that have a source text keep theirs, and images without a caption go without.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tedbench import images
from tedbench.datasets.manifest import is_blank, read_json, read_text
from tedbench.errors import DataError
from tedbench.types import Dataset

_FIELDS = ("name", "version", "dataset", "provenance")


def add(dataset: Dataset, path: str | Path) -> Dataset:
    """The data set with source texts filled in from a captions file.

    Its `info.captions` reads `NAME VERSION HASH`, with the first eight hex digits of the file's sha256.

    Raises:
        DataError: if the file lacks a field, is for another data set, or names an image that this one has not.
    """
    path = _find(Path(path).expanduser())
    facts = _read(path)
    if facts["dataset"] != dataset.info.name.removesuffix("++"):  # TEdBench++ asks about TEdBench's own photos
        raise DataError(f"{path.name}: captions are for {facts['dataset']!r}, the data set is {dataset.info.name!r}")
    captions: dict[str, str] = facts["captions"]
    unknown = sorted(set(captions) - {pair.image.name for pair in dataset.pairs})
    if unknown:
        raise DataError(f"{path.name}: {dataset.info.name} has no image named {', '.join(unknown)}; correct the names")
    pairs = tuple(
        replace(pair, source_text=captions.get(pair.image.name)) if pair.source_text is None else pair
        for pair in dataset.pairs
    )
    # The digest stays: with or without captions these are the same questions, and runs of both may share a table.
    content = images.sha256(path.read_bytes())[:8]  # two files that bear one name and version stay apart
    info = replace(dataset.info, captions=f"{facts['name']} {facts['version']} {content}")
    return Dataset(info, pairs)


def _find(path: Path) -> Path:
    shipped = Path(__file__).parent / "source_captions" / f"{path.name}.json"
    return shipped if path.parent == Path() and not path.exists() and shipped.exists() else path


def _read(path: Path) -> dict[str, Any]:
    facts = read_json(read_text(path), path.name)
    if not isinstance(facts, dict):
        raise DataError(f"{path.name}: expected an object with {', '.join(_FIELDS)} and captions")
    for key in _FIELDS:
        if not isinstance(facts.get(key), str) or is_blank(facts[key]):
            raise DataError(f"{path.name}: {key} is missing or no text; a captions file says {', '.join(_FIELDS)}")
    captions = facts.get("captions")
    if not isinstance(captions, dict) or not captions:
        raise DataError(f"{path.name}: 'captions' must map img_name to text")
    for name, text in captions.items():
        if not isinstance(text, str) or is_blank(text):
            raise DataError(f"{path.name}: the caption of {name} is blank or no text; write one or delete the entry")
    return facts
