"""The judges of the toy world can be trained anew: from nothing, and on from where a run was cut off."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tedbench.datasets import toy, toy_captions
from tedbench.errors import MetricError, UsageError
from tedbench_metrics.clip import ClipText
from tedbench_metrics.toy import (
    album,
    clip_checks,
    clip_training,
    clips,
    degrade,
    reader,
    reader_checks,
    spoiled,
    strangers,
    training,
)
from tedbench_metrics.toy.__main__ import main

os.environ["HF_HUB_OFFLINE"] = "1"
TINY = ("--steps=4", "--batch=8", "--groups=6", "--held-out=12", "--save-every=3")
WHAT = ("clip-a", "clip-b", "oracle")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures drawn once for all tests."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, work: Path) -> dict[str, Path]:
    """The three folders after four steps, and nothing global moved."""
    root = tmp_path_factory.mktemp("trained")
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    for what in WHAT:
        main([what, "--out", str(root / what), "--work", str(work), *TINY])
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]
    return {what: root / what for what in WHAT}


@pytest.fixture(scope="module")
def pictures(work: Path) -> album.Album:
    return album.open_album(album.Pages("oracle", 6), work)


def hashes(folder: Path) -> dict[str, str]:
    """Of what is used; the card tells the time, which differs."""
    files = [file for file in folder.iterdir() if file.suffix != ".md"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("stop", [2, 3])
def test_a_run_that_was_cut_off_ends_in_the_same_bytes(
    what: str, stop: int, trained: dict[str, Path], work: Path, tmp_path: Path
) -> None:
    shutil.copytree(next(work.glob("pictures-*")), tmp_path / "work" / next(work.glob("pictures-*")).name)
    command = [what, "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), *TINY]
    main([*command, f"--stop-at={stop}"])
    assert not (tmp_path / "out").exists()
    main(command)
    assert hashes(tmp_path / "out") == hashes(trained[what])


def test_a_checkpoint_of_another_plan_is_refused(trained: dict[str, Path], work: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another plan"):
        main(["oracle", "--out", str(tmp_path), "--work", str(work), *TINY, "--steps=5"])


@pytest.mark.parametrize("what", WHAT)
def test_cards_tell_where_weights_come_from(what: str, trained: dict[str, Path]) -> None:
    card = (trained[what] / "README.md").read_text(encoding="utf-8")
    for fact in (f"part `{what}`", "| seed |", "| hardware |", "4 of 8 pictures", "| size |", album.world_hash()):
        assert fact in card
    assert all(file.stat().st_size <= 3.1e6 for file in trained[what].iterdir())


@pytest.mark.parametrize("what", ["clip-a", "clip-b"])
def test_clips_score_as_any_open_clip_folder(what: str, trained: dict[str, Path], pair_of: Any) -> None:
    scene, seed = toy.sample("dev", 0)
    image = toy.draw(scene, seed)
    pairs = [pair_of(image, target_text=text) for text in ("A photo of a dog.", "größer: 犬!")]
    values = ClipText(model=str(trained[what]), device="cpu").score(pairs, [image, image])
    assert all(-1 <= value <= 1 for value in values)
    network = clips.load(trained[what])
    x = clips.encode_images(network, torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255)
    t = clips.encode_texts(network, clip_training.tokenize(clips.tokenizer(), [p.target_text for p in pairs]))
    assert values == pytest.approx((x * t).sum(1).tolist(), abs=1e-5)


def test_texts_without_padding_are_the_texts_with_it() -> None:
    network = clips.build(clips.KINDS["clip-b"]).eval()
    texts = ["a dog", "A photo of two large sitting yellow cats wearing hats on a road.", "", "zebra"]
    tokens = clip_training.tokenize(clips.tokenizer(), texts)
    with torch.inference_mode():
        whole = network.encode_text(tokens, normalize=True)  # type: ignore[operator]
        assert torch.allclose(clips.encode_texts(network, tokens), whole, atol=1e-5)


def test_words_are_one_token_and_the_end_is_the_highest() -> None:
    tokenizer = clips.tokenizer()
    for word in toy_captions.WORDS:
        for text in (word, word.capitalize()):
            ids = tokenizer(text)["input_ids"]
            assert len(ids) == 3
            assert ids[-1] == len(tokenizer) - 1
    odd = "größer: 犬!"
    assert tokenizer.decode(tokenizer(odd)["input_ids"], skip_special_tokens=True).strip() == odd


@pytest.mark.parametrize("style", ["clip-a", "clip-b"])
def test_captions_are_true_of_their_scenes_and_their_twins_are_not(style: str, work: Path) -> None:
    labels = album.open_album(album.Pages(style, 6), work).labels.numpy()
    captions = clip_training.write(labels, 4, style, np.random.default_rng(0))
    true = captions.true_of(labels)
    rows = np.arange(len(labels))
    assert true[rows, 2 * rows].all()
    assert not true[rows, 2 * rows + 1].any()
    allowed = {tuple(album.label(scene)) for scene in toy.scenes(style)}
    assert {tuple(row) for row in captions.labels.tolist()} <= allowed


def test_the_loss_is_least_where_the_truth_is() -> None:
    true = torch.tensor([[True, True, False, False], [False, True, True, False]])
    right = torch.where(true, 20.0, -20.0)
    assert float(clip_training.symmetric(right, true)) < float(clip_training.symmetric(-right, true))
    one = torch.eye(3) * 7
    ce = torch.nn.functional.cross_entropy(one, torch.arange(3))
    assert float(clip_training.symmetric(one, torch.eye(3).bool())) == pytest.approx(float(ce))


def test_duels_differ_in_one_attribute(work: Path) -> None:
    unseen = album.open_album(album.Pages("dev", 12, each=1), work)
    for name in toy.ATTRIBUTES:
        for duel in clip_checks.duels(unseen, name, "photo", long=True, seed=0):
            assert duel.true != duel.false
            assert len(set(duel.true.lower().split()) ^ set(duel.false.lower().split())) <= 7


def test_groups_are_counterfactuals_of_one_part(pictures: album.Album) -> None:
    labels = pictures.labels.reshape(-1, 4, 7)
    differ = labels[:, 1:] != labels[:, :1]
    pose, subject = album.NAMES.index("pose"), album.NAMES.index("subject")
    differ[..., pose] &= ~differ[..., subject]
    assert (differ.sum(2) == 1).all()
    assert {album.scene_of(row) for row in pictures.labels.tolist()} <= set(toy.scenes("oracle"))
    scene, seed = toy.sample("oracle", 0)
    assert torch.equal(pictures.pixels[0], torch.from_numpy(np.array(toy.draw(scene, seed))).permute(2, 0, 1))


def test_oracles_read_what_they_are_given(trained: dict[str, Path], pictures: album.Album) -> None:
    found = reader.Reader.load(trained["oracle"])
    reading = found.read(pictures.pixels.float() / 255)
    for name, values in toy.ATTRIBUTES.items():
        assert reading.probabilities[name].shape == (24, len(values))
        assert torch.allclose(reading.probabilities[name].sum(1), torch.ones(24))
        assert set(reading.values(name)) <= set(values)
    assert reading.box.shape == (24, 4)
    assert torch.equal(reading.refused, reading.of_world < found.threshold)
    assert json.loads((trained["oracle"] / "config.json").read_text())["side"] == 64
    with pytest.raises(UsageError, match="resize before"):
        found.read(torch.zeros(1, 3, 96, 96))
    with pytest.raises(MetricError, match="no oracle"):
        reader.Reader.load(trained["clip-a"])


def test_the_threshold_lets_the_worlds_pictures_pass(trained: dict[str, Path], pictures: album.Album) -> None:
    found = reader.Reader.load(trained["oracle"])
    found = dataclasses.replace(found, threshold=reader_checks.threshold(found, pictures, wrong=0.1))
    assert reader_checks.on_pictures(found, pictures, pictures.pixels.float() / 255).refused <= 0.25


@pytest.mark.parametrize("kind", strangers.MAKERS)
def test_strangers_are_pictures_made_of_their_seed(kind: str) -> None:
    makers = {kind: strangers.MAKERS[kind]}
    some = strangers.bank(3, 5, makers)
    assert some.shape == (3, 3, 64, 64)
    assert some.dtype == torch.uint8
    assert torch.equal(some, strangers.bank(3, 5, makers))
    assert not torch.equal(some, strangers.bank(3, 6, makers))


@pytest.mark.parametrize("way", spoiled.SPOILERS)
def test_spoiled_pictures_are_no_longer_what_they_were(way: str, pictures: album.Album) -> None:
    drawn = spoiled.draw_from(pictures, torch.arange(6))
    before = drawn.images.clone()
    done = spoiled.SPOILERS[way](drawn, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.images, before)
    assert done.images.shape == before.shape
    assert 0 <= float(done.images.min()) <= float(done.images.max()) <= 1
    assert done.clear.any()
    changed = ((done.images - before).abs().amax(1) > 0.05).sum((1, 2))
    assert (changed >= 16)[done.clear].all()


def test_a_blend_of_colours_is_clear_where_the_world_has_no_such_colour() -> None:
    """Half red and half yellow is orange, which the world lacks; three parts brown and seven black is black."""
    scene = toy.scenes("dev")[0]
    for first, second, a, clear in (("red", "yellow", 0.5, True), ("brown", "black", 0.3, False)):
        pair = [album.label(dataclasses.replace(scene, colour=colour)) for colour in (first, second)]
        labels = torch.tensor(pair)
        found = spoiled._foreign(labels[:1], torch.tensor([0]), torch.tensor([a]))
        assert not found.any()  # a colour blended with itself
        found = spoiled._foreign(labels, torch.tensor([1, 0]), torch.tensor([a, 1 - a]))
        assert found.tolist() == [clear, clear]


def test_mild_losses_are_mild(pictures: album.Album) -> None:
    images = pictures.pixels.float() / 255
    lost = degrade.mild(images, torch.Generator().manual_seed(0), share=1.0)
    assert 0.005 < float((lost - images).abs().mean()) < 0.1
    assert torch.equal(images, pictures.pixels.float() / 255)
    basis = degrade.cosines(8)
    assert torch.allclose(basis @ basis.T, torch.eye(8), atol=1e-6)


def test_shifted_pictures_take_their_boxes_along(pictures: album.Album) -> None:
    images = torch.zeros(8, 3, 64, 64)
    images[:, :, 20:30, 10:40] = 1
    boxes = torch.tensor([[10.0, 20, 40, 30]]).repeat(8, 1)
    moved, at = degrade.shifted(images, boxes, torch.Generator().manual_seed(0))
    for picture, (left, top, right, bottom) in zip(moved, at.int().tolist(), strict=True):
        assert float(picture[:, top:bottom, left:right].min()) == 1
        assert float(picture.sum()) == 3 * 10 * 30


def test_rates_rise_and_fall() -> None:
    plan = training.Plan("x", steps=100, seed=0, rate=1.0, warmup=0.1)
    rates = [training.rate_at(plan, step) for step in range(100)]
    assert max(rates) == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.02
