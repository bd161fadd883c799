from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tedbench import datasets, registry
from tedbench.errors import DataError, ImageError, UsageError
from tedbench.types import EditPair, Method
from tedbench_methods.outputs import Outputs


@pytest.fixture
def pair(drawn: tuple[Path, Path]) -> EditPair:
    return datasets.load("folder", drawn[0]).pairs[0]


def test_it_reads_what_the_authors_would_have_written(drawn: tuple[Path, Path], pair: EditPair) -> None:
    method = registry.make("method", f"outputs@{drawn[1]}")
    assert isinstance(method, Method)
    assert method == Outputs(str(drawn[1]))
    (edit,) = method.edit(pair, method.fit(pair, 0), [0.0], 0)
    stem = pair.target_text.removesuffix(".").replace(" ", "_")
    assert np.array_equal(np.asarray(edit), np.asarray(Image.open(drawn[1] / f"{pair.image.name}-{stem}.png")))


def test_a_file_for_every_seed_and_strength(tmp_path: Path, pair: EditPair) -> None:
    method = Outputs(str(tmp_path), "{uid}/{seed}-{strength:.2f}.png")
    (tmp_path / pair.uid).mkdir()
    for seed in (0, 1):
        for level in (1, 2):
            Image.new("RGB", (20, 20), (100 * seed, 100 * level, 0)).save(
                tmp_path / pair.uid / f"{seed}-0.{level}0.png"
            )
    edits = method.edit(pair, None, [0.2, 0.1], 1)
    assert [edit.getpixel((0, 0)) for edit in edits] == [(100, 200, 0), (100, 100, 0)]


def test_its_knob_and_its_seeds_are_those_of_its_template() -> None:
    plain = Outputs("x")
    assert (plain.strength.low, plain.strength.high, plain.strength.grid) == (0.0, 0.0, (0.0,))
    assert plain.deterministic
    turned = Outputs("x", "{uid}-{strength}.png")
    assert turned.strength.low < -1e9 < 1e9 < turned.strength.high
    assert turned.strength.grid == ()
    assert turned.deterministic
    assert not Outputs("x", "{uid}-{seed}.png").deterministic


def test_what_is_not_there_is_named(tmp_path: Path, pair: EditPair) -> None:
    method = Outputs(str(tmp_path), "{uid}.png")
    with pytest.raises(DataError, match=rf"no file '{pair.uid}\.png'"):
        method.edit(pair, None, [0.0], 0)
    (tmp_path / f"{pair.uid}.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match="not a known image format"):
        method.edit(pair, None, [0.0], 0)


def test_a_folder_that_is_not_there_is_refused_before_its_files_are(tmp_path: Path) -> None:
    Outputs(str(tmp_path)).prepare()
    for gone in ("nowhere", "x" * 400):
        with pytest.raises(DataError, match="no folder"):
            Outputs(str(tmp_path / gone)).prepare()


@pytest.mark.parametrize("template", ["../{uid}.png", "/{uid}.png", "a/../../{uid}.png"])
def test_no_path_leaves_the_folder(tmp_path: Path, pair: EditPair, template: str) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / f"{pair.uid}.png")
    with pytest.raises(DataError, match="must lie inside"):
        Outputs(str(tmp_path / "in"), template).edit(pair, None, [0.0], 0)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, pair: EditPair) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "secret.png")
    (tmp_path / "in" / f"{pair.uid}.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="symbolic link"):
        Outputs(str(tmp_path / "in"), "{uid}.png").edit(pair, None, [0.0], 0)


@pytest.mark.parametrize("template", ["{index}.png", "{method}.png", "{uid.__class__}", "{uid", "{seed:q}"])
def test_a_template_without_sense_is_refused_when_it_is_made(template: str) -> None:
    with pytest.raises(UsageError, match="template"):
        Outputs("x", template)


def test_a_folder_is_needed() -> None:
    with pytest.raises(UsageError, match="outputs@FOLDER"):
        registry.make("method", "outputs")
