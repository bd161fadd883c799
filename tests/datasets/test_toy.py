"""The toy world: pictures are pure functions of scene and seed, parts share nothing, captions say what they should."""

from __future__ import annotations

import ast
import inspect
import itertools
from dataclasses import asdict, replace

import numpy as np
import pytest

from tedbench.datasets import toy, toy_captions, toy_figures, toy_places
from tedbench.datasets.toy import ATTRIBUTES, Scene
from tedbench.datasets.toy_captions import ALWAYS, WORDS, caption
from tedbench.errors import UnknownName

DOG = Scene("dog", "brown", "sitting", "one", "hat", "grass", "large")
TRAINING = ("generator", "clip-a", "clip-b", "oracle")


def pixels(scene: Scene, seed: int, noise: bool = True) -> np.ndarray:
    return np.asarray(toy.draw(scene, seed, noise)).astype(int)


def test_a_picture_is_a_function_of_scene_and_seed() -> None:
    assert toy.draw(DOG, 3).tobytes() == toy.draw(DOG, 3).tobytes()
    assert toy.draw(DOG, 3).size == (64, 64) and toy.draw(DOG, 3).mode == "RGB"
    assert all((pixels(DOG, 3) != pixels(DOG, seed)).mean() > 0.5 for seed in (4, 5, 6))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_value_of_an_attribute_looks_different(name: str) -> None:
    values = [v for v in ATTRIBUTES[name] if v != "still" and toy.possible(replace(DOG, **{name: v}))]
    assert len(values) >= 2
    for first, second in itertools.combinations(values, 2):
        for seed in range(5):
            a, b = (pixels(replace(DOG, **{name: value}), seed, noise=False) for value in (first, second))
            assert (np.abs(a - b).max(axis=2) > 20).sum() >= 12, (first, second, seed)


def test_noise_is_light_and_centred() -> None:
    off = np.concatenate([(pixels(DOG, s) - pixels(DOG, s, noise=False)).ravel() for s in range(20)])
    assert 0.5 < off.std() < 3 and abs(off.mean()) < 0.1


def test_what_differs_between_counterfactuals_of_colour_lies_in_the_box() -> None:
    for index in range(60):
        scene, seed = toy.sample("oracle", index)
        other = replace(scene, colour="red" if scene.colour != "red" else "blue")
        rows, columns = np.nonzero(np.abs(pixels(scene, seed) - pixels(other, seed)).max(axis=2) > 30)
        left, top, right, bottom = toy.box(scene, seed)
        assert left - 1 <= columns.min() and columns.max() <= right + 1
        assert top - 1 <= rows.min() and rows.max() <= bottom + 1


def test_a_second_subject_leaves_the_first_where_it_is() -> None:
    one, two = replace(DOG, accessory="none"), replace(DOG, accessory="none", count="two")
    for seed in range(20):
        (a, b, c, d), (left, top, right, bottom) = toy.box(one, seed), toy.box(two, seed)
        assert left <= a and top <= b and right >= c and bottom >= d


def test_training_never_sees_the_combinations_of_the_benchmark() -> None:
    benchmark = set(toy.scenes("dev")) | set(toy.scenes("test"))
    assert not set(toy.scenes("dev")) & set(toy.scenes("test"))
    for part in TRAINING:
        assert not benchmark & set(toy.scenes(part)), part
    union = set().union(*(toy.scenes(part) for part in toy.PARTS))
    assert len(union) == 3 * 6 * 3 * 2 * 2 * 4 * 2 + 4 * 6 * 2 * 2 * 4 * 2


def test_no_two_parts_share_a_picture_seed() -> None:
    seeds = [toy.sample(part, index)[1] for part in toy.PARTS for index in (0, 1, 2**39, 2**40 - 1)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("part", toy.PARTS)
def test_every_part_knows_every_value(part: str) -> None:
    for name, values in ATTRIBUTES.items():
        assert {getattr(scene, name) for scene in toy.scenes(part)} == set(values)


def test_a_sample_is_of_its_part_and_repeats() -> None:
    for part in toy.PARTS:
        assert all(toy.sample(part, i)[0] in toy.scenes(part) for i in range(20))
        assert toy.sample(part, 7) == toy.sample(part, 7)
    with pytest.raises(UnknownName, match="clip-a"):
        toy.scenes("clip")


def test_captions_read_as_tedbench_ones_do() -> None:
    named = ("pose", "colour", "accessory", "background")
    assert caption(DOG, named) == "A photo of a sitting brown dog wearing a hat on grass."
    assert caption(DOG, ()) == "A photo of a dog."
    two = replace(DOG, count="two", accessory="none")
    assert caption(two, ("count", "accessory")) == "A photo of two dogs without hats."
    box = Scene("box", "red", "still", "two", "none", "road", "small")
    assert caption(box, ATTRIBUTES) == "A photo of two small red boxes without hats on a road."


@pytest.mark.parametrize("style", toy_captions.WORDINGS)
def test_a_caption_changes_with_what_it_names_and_with_nothing_else(style: str) -> None:
    rng = np.random.default_rng(0)
    for index in range(100):
        scene, _ = toy.sample("generator", index)
        mention = {name for name in ATTRIBUTES if rng.random() < 0.5} | ALWAYS
        for wording in range(toy_captions.WORDINGS[style]):
            text = caption(scene, mention, wording, style)
            for name in ATTRIBUTES:
                others = [replace(scene, **{name: value}) for value in ATTRIBUTES[name]]
                for other in others:
                    if other == scene or not toy.possible(other):
                        continue
                    assert (caption(other, mention, wording, style) != text) == (name in mention), (name, text)


def test_every_word_of_a_caption_is_known() -> None:
    for index, style in itertools.product(range(150), toy_captions.WORDINGS):
        scene, _ = toy.sample("test", index)
        for wording, mention in itertools.product(range(toy_captions.WORDINGS[style]), (ATTRIBUTES, ALWAYS, ())):
            words = caption(scene, mention, wording, style).lower().replace(".", "").split()
            assert set(words) <= set(WORDS)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownName, match="colour"):
        caption(DOG, ("color",))
    with pytest.raises(UnknownName, match="clip-b"):
        caption(DOG, (), style="clip")


@pytest.mark.parametrize("module", [toy, toy_captions, toy_figures, toy_places])
def test_the_world_needs_pillow_and_numpy_only(module: object) -> None:
    tree = ast.parse(inspect.getsource(module))
    found = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    allowed = {"numpy", "PIL", "tedbench", "__future__", "functools", "hashlib", "itertools", "collections", "math"}
    assert found <= allowed | {"dataclasses"}


def test_a_scene_is_its_attributes() -> None:
    assert tuple(asdict(DOG)) == tuple(ATTRIBUTES)
