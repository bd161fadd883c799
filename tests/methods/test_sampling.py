"""Sampling against diffusers' own pipelines and schedulers, on the same noise."""

from __future__ import annotations

import warnings

import pytest
import torch

from tedbench import facts, models
from tedbench_methods import backbones
from tedbench_methods.backbones import sampling, tiny
from tedbench_methods.backbones.method import noise
from tedbench_methods.backbones.sampling import Denoiser, in_batches

TEXTS = ["A photo of a sitting dog.", "Two kissing parrots."]


def diffusers_latents(name: str, x_T: torch.Tensor, text: str, steps: int, guidance: float) -> torch.Tensor:
    from diffusers import DDIMScheduler

    pipe = tiny.pipeline(name)
    config = {k: v for k, v in pipe.scheduler.config.items() if not k.startswith("_")}
    with models.quiet():
        pipe.scheduler = DDIMScheduler.from_config({"clip_sample": False, **config})
    pipe.set_progress_bar_config(disable=True)
    done = pipe(
        text, num_inference_steps=steps, guidance_scale=guidance, latents=x_T, output_type="latent",
        height=64, width=64,
    )  # fmt: skip
    return done.images


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_ddim_is_diffusers_own_pipeline(tiny_name, pair, guidance: float) -> None:
    backbone = backbones.load(tiny_name)
    x_T = noise(backbone, pair, 3)
    denoise = Denoiser(backbone, backbone.embed([TEXTS[0]]), [guidance])
    ours = sampling.sample(denoise, x_T, [backbone.schedule.path(10)])
    theirs = diffusers_latents(tiny_name, x_T, TEXTS[0], 10, guidance)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tiny_name", ["tiny-sd1", "tiny-sd2"])
def test_ddpm_is_diffusers_own_scheduler(tiny_name, pair_of) -> None:
    from diffusers import DDPMScheduler

    backbone = backbones.load(tiny_name)
    pair = pair_of()
    text = backbone.embed([TEXTS[1]])
    x = x_T = noise(backbone, pair, 0)
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    oracle = DDPMScheduler(**config, steps_offset=1, timestep_spacing="leading",
                           prediction_type=backbone.schedule.prediction)  # fmt: skip
    oracle.set_timesteps(10)
    source = sampling.generator(pair, 0, "ddpm")
    for t in oracle.timesteps:
        with torch.no_grad():
            output = backbone.predict(x, t[None], text)
        x = oracle.step(output, t, x, generator=source).prev_sample
    ours = sampling.sample(
        Denoiser(backbone, text, [1.0]), x_T, [backbone.schedule.path(10)], sampling.generator(pair, 0, "ddpm")
    )
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


def test_members_of_a_batch_walk_their_own_paths_as_they_would_alone(pair_of) -> None:
    backbone = backbones.load("tiny-sd2")
    schedule = backbone.schedule
    text = backbone.embed([TEXTS[0], TEXTS[1], TEXTS[0]])
    paths = [schedule.path(6), schedule.path_from(402.5, 6), []]
    x = noise(backbone, pair_of(), 0).repeat(3, 1, 1, 1) * torch.tensor([1.0, 0.5, 2.0]).view(3, 1, 1, 1)
    weights = [3.0, 1.0, 5.0]
    together = sampling.sample(Denoiser(backbone, text, weights), x, paths)
    for i in range(3):
        alone = sampling.sample(Denoiser(backbone, text[[i]], [weights[i]]), x[[i]], [paths[i]])
        torch.testing.assert_close(together[[i]], alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(together[2], x[2])  # an empty path


def test_noise_comes_from_seed_pair_and_purpose_alone(pair_of) -> None:
    backbone = backbones.load("tiny-sd1")
    one, other = pair_of(), pair_of("b--stands")
    before = torch.random.get_rng_state()
    x = noise(backbone, one, 0)
    assert torch.equal(x, noise(backbone, one, 0))
    assert not torch.equal(x, noise(backbone, one, 1))
    assert not torch.equal(x, noise(backbone, other, 0))
    assert not torch.equal(x, sampling.normal(x.shape, sampling.generator(one, 0, "something else")))
    assert torch.equal(before, torch.random.get_rng_state())
    assert abs(float(x.mean())) < 0.1
    assert 0.9 < float(x.std()) < 1.1


def test_a_sweep_is_halved_until_it_fits_and_says_so() -> None:
    from PIL import Image

    def make(which):  # an accelerator with room for three
        if len(which) > 3:
            raise torch.OutOfMemoryError
        return [Image.new("RGB", (16, 16), (i, 0, 0)) for i in which]

    with facts.noted() as kept:
        made = in_batches(11, 0, make)
    assert [image.getpixel((0, 0))[0] for image in made] == list(range(11))
    assert kept == {"batches": [3, 3, 3, 2], "split": True}
    with facts.noted() as kept:
        in_batches(2, 0, make)
    assert kept == {"batches": [2], "split": False}


def test_memory_that_is_too_small_for_one_is_an_error() -> None:
    def make(which):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError), warnings.catch_warnings():
        in_batches(3, 0, make)
