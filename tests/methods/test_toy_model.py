"""The toy model that ships: one door with the real ones, good enough to edit with, and small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tedbench import datasets, images, models
from tedbench.datasets import toy as world
from tedbench.datasets import toy_captions
from tedbench_methods import backbones, toy
from tedbench_methods.anchors import Autoencoder
from tedbench_methods.ddib import DDIB
from tedbench_methods.imagic import Imagic
from tedbench_methods.sdedit import SDEdit

ROOT = Path(__file__).parents[2]
MEGABYTES = 25


def psnr(a: Image.Image, b: Image.Image) -> float:
    return float(10 * np.log10(255**2 / np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)))


@pytest.fixture(scope="module")
def pipe():
    from diffusers import StableDiffusionPipeline

    with models.quiet():
        pipe = StableDiffusionPipeline.from_pretrained(
            toy.FOLDER, variant="fp16", dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_all_weights_of_the_toy_world_together_are_small():
    shipped = [*toy.FOLDER.rglob("*"), *(ROOT / "metrics/tedbench_metrics/weights").rglob("*")]
    files = [path for path in shipped if path.is_file() and "lpips" not in path.name]
    assert sum(path.stat().st_size for path in files) <= MEGABYTES * 1e6
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".ckpt", ".pkl")]


def test_its_card_says_how_it_was_made():
    card = (toy.FOLDER / "README.md").read_text(encoding="utf-8")
    for word in ("python -m tedbench_methods.toy", "steps", "seed", "thread", "license", "psnr"):
        assert word in card.lower(), word


def test_it_is_in_half_precision_and_safe(pipe):
    index = json.loads((toy.FOLDER / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    for part in ("unet", "vae", "text_encoder"):
        assert next(path.name for path in (toy.FOLDER / part).glob("*.safetensors")).endswith(".fp16.safetensors")
    assert next(pipe.unet.parameters()).dtype == torch.float32


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(pipe):
    made = [
        pipe("A photo of a red dog.", guidance_scale=3, num_inference_steps=10,
             generator=torch.Generator().manual_seed(seed)).images[0].tobytes()
        for seed in (1, 1, 2)
    ]  # fmt: skip
    assert made[0] == made[1] != made[2]


def test_our_backbone_and_diffusers_see_one_model(pipe):
    backbone = backbones.load("toy", "cpu", "fp32")
    assert (backbone.size, backbone.shape) == (64, (4, 16, 16))
    picture = world.draw(*world.sample("test", 3))
    x = images.to_signed(picture)
    with torch.inference_mode():
        z = pipe.vae.encode(torch.as_tensor(x).reshape(1, 3, 64, 64).float()).latents * pipe.vae.config.scaling_factor
    assert torch.allclose(backbone.encode(picture), z, atol=1e-5)


@pytest.mark.slow
def test_it_draws_what_it_is_told(pipe):
    from tedbench_metrics.toy import ORACLE  # as a judge of the test, not of the method
    from tedbench_metrics.toy.reader import Reader

    scenes = [world.sample("test", 700 + i)[0] for i in range(40)]
    texts = [toy_captions.caption(scene, world.ATTRIBUTES) for scene in scenes]
    seeds = [torch.Generator().manual_seed(i) for i in range(len(texts))]
    made = pipe(texts, guidance_scale=3, num_inference_steps=20, generator=seeds).images
    pixels = torch.from_numpy(np.stack([np.asarray(one) for one in made])).permute(0, 3, 1, 2).float() / 255
    reading = Reader.load(ORACLE).read(pixels)
    right = {
        name: np.mean([a == getattr(s, name) for a, s in zip(reading.values(name), scenes, strict=True)])
        for name in world.ATTRIBUTES
    }
    assert np.mean(list(right.values())) >= 0.90 and min(right.values()) >= 0.75, right


def test_ddib_between_equal_texts_is_the_round_trip_of_the_autoencoder():
    """The bridge there and back without guidance costs at most 1 dB more than the autoencoder itself."""
    pair = datasets.load("toy:dev:1").pairs[0]
    source = images.read(pair.image)
    import dataclasses

    same = dataclasses.replace(pair, target_text=pair.source_text)
    method = DDIB(model="toy", device="cpu", steps=100)
    (back,) = method.edit(same, method.fit(same, 0), [1.0], 0)
    (floor,) = Autoencoder(model="toy", device="cpu").edit(pair, None, [0.0], 0)
    assert psnr(back, source) >= psnr(floor, source) - 1


def test_sdedit_from_no_noise_is_the_round_trip():
    pair = datasets.load("toy:dev:1").pairs[0]
    method = SDEdit(model="toy", device="cpu", steps=10, guidance=3)
    (still,) = method.edit(pair, method.fit(pair, 0), [0.0], 0)
    (floor,) = Autoencoder(model="toy", device="cpu").edit(pair, None, [0.0], 0)
    assert still.tobytes() == floor.tobytes()


@pytest.mark.slow
def test_imagic_reconstructs_at_zero_and_leaves_the_input_at_one():
    pair = datasets.load("toy:dev:3").pairs[2]
    source = images.read(pair.image)
    method = Imagic(model="toy", device="cpu", **Imagic.presets["toy"])
    edits = method.edit(pair, method.fit(pair, 0), [0.0, 1.0], 0)
    assert psnr(edits[0], source) > psnr(edits[1], source) + 1
    assert psnr(edits[0], source) > 18
