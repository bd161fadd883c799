"""The anchors are what their equations say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tedbench import images, registry
from tedbench.errors import UsageError
from tedbench_methods import backbones
from tedbench_methods.anchors import Autoencoder, Crossfade, TextOnly
from tedbench_methods.backbones import tiny


def test_the_autoencoder_is_diffusers_own_round_trip(tiny_name, pair) -> None:
    pipe = tiny.pipeline(tiny_name)
    pixels = torch.from_numpy(images.to_signed(images.fit(images.read(pair.image), 64)))[None]
    with torch.no_grad():
        decoded = pipe.vae.decode(pipe.vae.encode(pixels).latent_dist.mode()).sample
    theirs = np.asarray(pipe.image_processor.postprocess(decoded)[0]).astype(int)
    ours = np.asarray(Autoencoder(model=tiny_name).edit(pair, None, [0.0], 0)[0]).astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_text_only_hears_the_text_and_ignores_the_input(pair, pair_of) -> None:
    method = TextOnly(model="tiny-sd2", steps=3)
    (image,) = method.edit(pair, None, [0.0], 0)
    assert image == method.edit(pair_of(size=(64, 100)), None, [0.0], 0)[0]
    assert image != method.edit(pair_of(target_text="A pizza."), None, [0.0], 0)[0]
    assert image != method.edit(pair, None, [0.0], 1)[0]


def test_crossfade_blends_the_input_with_text_only(pair) -> None:
    x = images.to_uint8(images.fit(images.read(pair.image), 64)).astype(float)
    g = np.asarray(TextOnly(model="tiny-sd1", steps=3).edit(pair, None, [0.0], 0)[0]).astype(float)
    sweep = Crossfade(model="tiny-sd1", steps=3).edit(pair, None, [0.0, 0.25, 1.0], 0)
    for a, image in zip([0.0, 0.25, 1.0], sweep, strict=True):
        assert np.abs(np.asarray(image) - ((1 - a) * x + a * g)).max() <= 0.5
    with pytest.raises(UsageError, match="outside"):
        Crossfade(model="tiny-sd1").edit(pair, None, [1.5], 0)


def test_all_start_from_one_noise(pair) -> None:
    """Crossfade at 1, SDEdit at 1 and text-only are one picture, since methods share the noise of a pair and seed."""
    specs = {"text-only?steps=3": 0.0, "crossfade?steps=3": 1.0, "sdedit?steps=3": 1.0}
    pictures = set()
    for spec, strength in specs.items():
        method = registry.make("method", spec, model="tiny-sdxl")
        (image,) = method.edit(pair, method.fit(pair, 5), [strength], 5)
        pictures.add(image.tobytes())
    assert len(pictures) == 1


def test_copies_are_apart(pair) -> None:
    first, second = TextOnly(model="tiny-sd1", steps=2).edit(pair, None, [0.0, 0.0], 0)
    first.paste("red", (0, 0, 8, 8))
    assert first != second


def test_the_model_is_shared() -> None:
    methods = [registry.make("method", name, model="tiny-sd1") for name in ("autoencoder", "sdedit", "imagic")]
    assert len({id(method.backbone) for method in methods}) == 1
    assert backbones.load("tiny-sd1") in backbones.loaded()
