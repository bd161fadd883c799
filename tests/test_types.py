"""What the nouns promise: they are frozen, and equal when their content is."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from tedbench import types
from tedbench.types import Cell, EditPair, ImageFile, Method
from tedbench_methods.identity import Identity

NOUNS = [noun for noun in vars(types).values() if dataclasses.is_dataclass(noun) and isinstance(noun, type)]


def test_an_image_file_is_its_name_and_content_wherever_it_lies() -> None:
    here = ImageFile("a.png", "0" * 64, path=Path("here/a.png"))
    there = ImageFile("a.png", "0" * 64, data=b"bytes")
    assert here == there
    assert hash(here) == hash(there)
    assert here != dataclasses.replace(here, sha256="1" * 64)
    assert here != dataclasses.replace(here, name="b.png")
    assert "bytes" not in repr(there)


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
def test_every_noun_is_frozen(noun: type) -> None:
    assert noun.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_a_pair_cannot_be_changed() -> None:
    pair = EditPair("u", ImageFile("a.png", "0" * 64), "A cat.", image_id="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.target_text = "A dog."  # type: ignore[misc]


def test_a_cell_without_a_picture_is_still_a_whole_row() -> None:
    cell = Cell("u", "a", None, "m", seed=None, strength=None, status="failed", error="out of memory")
    assert (cell.file, cell.sha256, cell.fit_seconds) == ("", "", None)


def test_the_protocol_is_met_by_shape_not_by_descent() -> None:
    assert isinstance(Identity(), Method)
    assert Method not in Identity.__mro__
    assert not isinstance(object(), Method)


def test_types_imports_nothing_of_ours() -> None:
    nodes = ast.walk(ast.parse(Path(types.__file__).read_text(encoding="utf-8")))
    assert not [n for n in nodes if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("tedbench")]
