"""The oracle that ships: what it reads on pictures no training saw, what it refuses, and how it judges edits."""

from __future__ import annotations

import copy
import dataclasses
import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from tedbench import datasets, images
from tedbench.datasets import toy
from tedbench.errors import MetricError
from tedbench.types import EditPair, ImageFile
from tedbench_methods import backbones
from tedbench_metrics.oracle import OracleBoth, OraclePreservation, OracleRefused, OracleSuccess
from tedbench_metrics.toy import ORACLE
from tedbench_metrics.toy.reader import Reader, Reading

N = 1000


def opened(file: ImageFile | None) -> Image.Image:
    assert file is not None and file.data is not None
    return Image.open(io.BytesIO(file.data)).convert("RGB")


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader.load(ORACLE)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[toy.Scene, int, np.ndarray]]:
    sampled = [toy.sample("test", 5000 + i) for i in range(N)]
    return [(scene, seed, np.asarray(toy.draw(scene, seed))) for scene, seed in sampled]


@pytest.fixture(scope="module")
def pairs() -> tuple[EditPair, ...]:
    return datasets.load("toy:test:204").pairs


def read(reader: Reader, pictures: np.ndarray) -> Reading:
    return reader.read(torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255)


def refused(reader: Reader, pictures: list[np.ndarray]) -> float:
    return float(read(reader, np.stack(pictures)).refused.float().mean())


def test_every_attribute_is_read_on_combinations_that_training_never_saw(reader, drawn):
    reading = read(reader, np.stack([pixels for *_, pixels in drawn]))
    for name in toy.ATTRIBUTES:
        right = [a == getattr(scene, name) for a, (scene, *_) in zip(reading.values(name), drawn, strict=True)]
        assert np.mean(right) >= 0.99, name
    boxes = np.array([toy.box(scene, seed) for scene, seed, _ in drawn])
    assert np.abs(reading.box.numpy() - boxes).mean() < 1.5
    assert float(reading.refused.float().mean()) <= 0.05


def blends(drawn: list[tuple[toy.Scene, int, np.ndarray]]) -> list[np.ndarray]:
    return [(a[2].astype(int) + b[2]) // 2 for a, b in itertools.pairwise(drawn[:301])]


def test_pictures_of_another_world_are_refused(reader, drawn):
    rng = np.random.default_rng(17)
    some = [pixels for *_, pixels in drawn[:300]]
    strange = {
        "negatives": [255 - pixels for pixels in some],
        "uniform noise": [rng.integers(0, 256, (64, 64, 3)) for _ in some],
        "Gaussian noise": [np.clip(rng.normal(128, rng.uniform(10, 60), (64, 64, 3)), 0, 255) for _ in some],
        "blends": blends(drawn),
        "left and right halves": [
            np.concatenate([a[2][:, :32], b[2][:, 32:]], 1)
            for a, b in itertools.pairwise(drawn[:301])
            if a[0].background != b[0].background
        ],
        "flat": [np.full((64, 64, 3), rng.integers(0, 256, 3)) for _ in some],
    }
    for name, pictures in strange.items():
        assert refused(reader, [p.astype(np.uint8) for p in pictures]) >= 0.95, name


def test_photographs_are_refused(reader, real_data):
    files = sorted((real_data / "originals").iterdir())
    squares = [images.to_uint8(images.fit(Image.open(file).convert("RGB"), 64)) for file in files]
    assert len(squares) > 30 and refused(reader, squares) >= 0.95


def test_the_input_itself_changes_nothing_and_keeps_all(pairs):
    sources = [opened(pair.image) for pair in pairs]
    assert set(OracleSuccess().score(pairs, sources)) == {0.0}
    assert set(OraclePreservation().score(pairs, sources)) == {1.0}
    assert set(OracleBoth().score(pairs, sources)) == {0.0}
    assert set(OracleRefused().score(pairs, sources)) == {0.0}


def test_the_true_answer_succeeds_and_keeps_all(pairs):
    truths = [opened(pair.truth) for pair in pairs]
    for metric in (OracleSuccess(), OraclePreservation(), OracleBoth()):
        assert np.mean(metric.score(pairs, truths)) >= 0.97, metric.family


def test_another_picture_of_the_right_scene_succeeds_but_keeps_nothing_in_place(pairs):
    scenes = [toy.Scene(**dict(pair.keeps), **dict(pair.changes)) for pair in pairs]
    others = [toy.draw(scene, toy.picture_seed("test", 9000 + i)) for i, scene in enumerate(scenes)]
    assert np.mean(OracleSuccess().score(pairs, others)) >= 0.97
    assert np.mean(OracleBoth().score(pairs, others)) <= 0.1


def test_a_true_answer_through_the_autoencoder_is_still_right(pairs):
    """No method on the toy model can do better. Where the background changes, all that is kept is edges."""
    backbone = backbones.load("toy", "cpu")
    text = backbone.embed([""])
    decoded = [backbone.decode(backbone.encode(opened(pair.truth)), text)[0] for pair in pairs]
    right = np.array(OracleBoth().score(pairs, decoded))
    for category in {pair.category for pair in pairs}:
        assert right[[pair.category == category for pair in pairs]].mean() >= 0.9, category


def test_one_more_change_is_success_without_preservation(pairs):
    asked = [pair for pair in pairs if pair.category not in ("colour", "background")]
    made = []
    for pair in asked:
        scene = toy.Scene(**dict(pair.keeps), **dict(pair.changes))
        other = dataclasses.replace(scene, colour="red" if scene.colour != "red" else "blue")
        made.append(toy.draw(other, toy.picture_seed("test", int(pair.uid.split("-")[1]))))
    assert np.mean(OracleSuccess().score(asked, made)) >= 0.97
    assert np.mean(OraclePreservation().score(asked, made)) <= 0.03


def test_a_refused_edit_has_neither(pairs):
    half = [
        Image.fromarray(((np.asarray(opened(a.image), int) + np.asarray(opened(b.truth))) // 2).astype(np.uint8))
        for a, b in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]
    gone = np.array(OracleRefused().score(pairs, half)) == 1
    assert gone.mean() >= 0.7
    for metric in (OracleSuccess(), OraclePreservation(), OracleBoth()):
        assert not np.array(metric.score(pairs, half))[gone].any()


def test_half_the_input_and_half_the_true_answer_is_refused(pairs):
    """A crossfade of the two, which shows neither; half a red and half a black dog is a brown one, and may pass."""
    half = [
        Image.fromarray(((np.asarray(opened(pair.image), int) + np.asarray(opened(pair.truth))) // 2).astype(np.uint8))
        for pair in pairs
    ]
    gone = np.array(OracleRefused().score(pairs, half))
    other = np.array([pair.category != "colour" for pair in pairs])
    assert gone[other].mean() >= 0.95
    assert not np.array(OracleBoth().score(pairs, half))[gone == 1].any()


def test_both_is_success_and_preservation(pairs):
    edits = [opened(pair.truth if i % 2 else pair.image) for i, pair in enumerate(pairs)]
    success, kept, both = (
        np.array(m.score(pairs, edits)) for m in (OracleSuccess(), OraclePreservation(), OracleBoth())
    )
    assert (both == success * kept).all()


def test_larger_copies_are_judged_alike(pairs):
    truths = [opened(pair.truth) for pair in pairs[:30]]
    large = [truth.resize((256, 256), Image.Resampling.LANCZOS) for truth in truths]
    assert np.mean(np.array(OracleBoth().score(pairs[:30], truths)) == OracleBoth().score(pairs[:30], large)) >= 0.9


def test_batches_equal_singles(pairs):
    truths = [opened(pair.truth) for pair in pairs[:20]]
    metric = OracleBoth()
    assert metric.score(pairs[:20], truths) == [metric.score([p], [t])[0] for p, t in zip(pairs, truths, strict=False)]
    assert metric.score([], []) == []


def test_nothing_else_is_touched(pairs):
    from tedbench_metrics import oracle

    truths = [opened(pair.truth) for pair in pairs[:6]]
    before = copy.deepcopy(pairs[:6]), [truth.tobytes() for truth in truths], torch.get_rng_state()
    oracle.load.__wrapped__(ORACLE, "cpu")
    OracleBoth().score(pairs[:6], truths)
    assert (pairs[:6], [truth.tobytes() for truth in truths]) == before[:2]
    assert torch.equal(before[2], torch.get_rng_state())


def test_identity_names_the_weights_and_the_tolerances():
    assert OracleSuccess().identity.startswith("oracle-success/oracle-")
    assert OracleBoth().identity.endswith("/box5-psnr20-15")
    assert len({m().identity for m in (OracleSuccess, OraclePreservation, OracleBoth, OracleRefused)}) == 4


def test_other_data_sets_are_refused(pairs):
    plain = dataclasses.replace(pairs[0], changes=None, keeps=None)
    with pytest.raises(MetricError, match="toy world only"):
        OracleSuccess().score([plain], [opened(pairs[0].image)])
    with pytest.raises(MetricError, match="no weights"):
        OracleSuccess(model=str(ORACLE.parent)).score([pairs[0]], [opened(pairs[0].image)])
