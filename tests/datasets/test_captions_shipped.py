"""The source captions that ship: complete, attributed, and never added unasked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import tedbench.datasets
from tedbench import datasets

FILE = Path(tedbench.datasets.__file__).parent / "source_captions" / "tedbench-observed.json"


def test_every_original_has_one_and_its_provenance_is_told() -> None:
    raw = json.loads(FILE.read_text(encoding="utf-8"))
    manifest = json.loads((FILE.parent.parent / "tedbench.json").read_text(encoding="utf-8"))
    assert set(raw["captions"]) == set(manifest["originals"])
    assert "published no source texts" in raw["provenance"]
    assert raw["version"]


def test_a_caption_is_no_target_text() -> None:
    raw = json.loads(FILE.read_text(encoding="utf-8"))
    targets = {text for _, text in json.loads((FILE.parent.parent / "tedbench.json").read_text())["pairs"]}
    assert not targets & set(raw["captions"].values())


def test_captions_come_only_when_asked_for(real_data: Path) -> None:
    plain = datasets.load("tedbench", real_data)
    assert all(pair.source_text is None for pair in plain.pairs)
    assert plain.info.captions == ""
    captioned = datasets.load("tedbench", real_data, captions="tedbench-observed")
    assert all(pair.source_text for pair in captioned.pairs)
    assert captioned.info.captions == f"tedbench-observed 1 {hashlib.sha256(FILE.read_bytes()).hexdigest()[:8]}"
    assert captioned.info.sha256 == plain.info.sha256  # the questions are the same
