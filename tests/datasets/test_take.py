"""A part of a data set says that it is one, and is never taken for the whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tedbench import datasets
from tedbench.errors import UsageError


def test_a_part_is_the_first_pairs_and_says_so(drawn: tuple[Path, Path]) -> None:
    whole = datasets.load("folder", drawn[0])
    part = datasets.take(whole, 4)
    assert part.pairs == whole.pairs[:4]
    assert part.info.part == f"first 4 of {len(whole.pairs)} pairs"
    assert part.info.sha256 not in ("", whole.info.sha256, datasets.take(whole, 3).info.sha256)
    assert part == datasets.take(datasets.load("folder", drawn[0]), 4)
    assert whole.info.part == ""


@pytest.mark.parametrize("n", [9, 10, 1000])
def test_no_less_than_all_is_the_whole(drawn: tuple[Path, Path], n: int) -> None:
    whole = datasets.load("folder", drawn[0])
    assert datasets.take(whole, n) == whole


@pytest.mark.parametrize("n", [0, -1])
def test_none_is_refused(drawn: tuple[Path, Path], n: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        datasets.take(datasets.load("folder", drawn[0]), n)


def test_captions_do_not_move_the_digest_of_a_part(real_data: Path, tmp_path: Path) -> None:
    captions = {"name": "n", "version": "1", "dataset": "tedbench", "provenance": "p", "captions": {"dog.png": "a dog"}}
    name = datasets.load("tedbench", real_data).pairs[0].image.name
    (tmp_path / "c.json").write_text(json.dumps({**captions, "captions": {name: "x"}}))
    plain, told = (
        datasets.take(datasets.load("tedbench", real_data, captions=c), 4) for c in (None, tmp_path / "c.json")
    )
    assert told.pairs[0].source_text == "x"
    assert told.info.sha256 == plain.info.sha256
