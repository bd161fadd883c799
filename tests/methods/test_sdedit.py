"""SDEdit: against diffusers' img2img where that is exact, and its definitions at both ends."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tedbench import images
from tedbench.errors import UsageError
from tedbench_methods import backbones
from tedbench_methods.anchors import Autoencoder, TextOnly
from tedbench_methods.backbones import sampling, tiny
from tedbench_methods.backbones.method import noise
from tedbench_methods.sdedit import SDEdit, start


def img2img_latents(name: str, x_0: torch.Tensor, generator: torch.Generator, text: str) -> torch.Tensor:
    import diffusers

    base = tiny.pipeline(name)
    xl = name == "tiny-sdxl"
    cls = diffusers.StableDiffusionXLImg2ImgPipeline if xl else diffusers.StableDiffusionImg2ImgPipeline
    more = {} if xl else {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    parts = {
        k: v for k, v in base.components.items() if k not in ("safety_checker", "feature_extractor", "image_encoder")
    }
    config = {k: v for k, v in base.scheduler.config.items() if not k.startswith("_")}
    parts["scheduler"] = diffusers.DDIMScheduler(
        **{k: v for k, v in config.items() if k in ("beta_start", "beta_end", "beta_schedule", "prediction_type")},
        clip_sample=False, set_alpha_to_one=backbones.load(name).schedule.clean_alpha_bar == 1, steps_offset=1,
    )  # fmt: skip
    pipe = cls(**parts, **more)
    pipe.set_progress_bar_config(disable=True)
    size = {"original_size": (64, 64), "target_size": (64, 64)} if xl else {}
    done = pipe(
        text, image=x_0, strength=0.5, num_inference_steps=50, guidance_scale=7.5, generator=generator,
        output_type="latent", **size,
    )  # fmt: skip
    return done.images


def test_from_img2imgs_own_start_it_is_img2img(tiny_name, pair) -> None:
    backbone = backbones.load(tiny_name)
    x_0 = backbone.encode(images.read(pair.image))
    x, path = start(backbone, x_0, noise(backbone, pair, 0), 0.481, 50)
    assert path[0] == pytest.approx(481)
    denoise = sampling.Denoiser(backbone, backbone.embed([pair.target_text]), [7.5])
    ours = sampling.sample(denoise, x, [path])
    theirs = img2img_latents(tiny_name, x_0, sampling.generator(pair, 0, "x_T"), pair.target_text)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-4)


def test_both_ends_are_the_round_trip_and_the_text_alone(tiny_name, pair) -> None:
    method = SDEdit(model=tiny_name, steps=5)
    zero, one = (method.edit(pair, method.fit(pair, 0), [t0], 0)[0] for t0 in (0.0, 1.0))
    assert zero == Autoencoder(model=tiny_name).edit(pair, None, [0.0], 0)[0]
    assert one == TextOnly(model=tiny_name, steps=5).edit(pair, None, [0.0], 0)[0]


def test_at_one_the_input_is_gone(pair_of) -> None:
    method = SDEdit(model="tiny-sd2", steps=3)
    pair = pair_of()
    other = pair_of(size=(70, 64))
    x, y = (method.edit(p, method.fit(p, 0), [0.9, 1.0], 0) for p in (pair, other))
    assert x[1] == y[1]
    assert x[0] != y[0]


def test_t0_is_continuous(pair_of) -> None:
    """Between two grid times the start moves too, and by little for a little more t0."""
    backbone, pair = backbones.load("tiny-sd1"), pair_of()
    x_0, eps = backbone.encode(images.read(pair.image)), noise(backbone, pair, 0)
    a, b, c = (start(backbone, x_0, eps, t0, 10)[0] for t0 in (0.5, 0.5001, 0.55))
    assert 0 < float((a - b).abs().max()) < 0.01 < float((a - c).abs().max())


@pytest.mark.parametrize("t0", [-0.1, 1.1, float("nan")])
def test_a_t0_outside_is_refused(t0: float, pair_of) -> None:
    method, pair = SDEdit(model="tiny-sd1", steps=2), pair_of()
    with pytest.raises(UsageError, match="outside"):
        method.edit(pair, method.fit(pair, 0), [0.5, t0], 0)


def test_inputs_of_any_size_come_out_at_the_models_size(pair_of) -> None:
    method = SDEdit(model="tiny-sd1", steps=2)
    for size in ((200, 64), (64, 64), (300, 301)):
        pair = pair_of(size=size)
        (edit,) = method.edit(pair, method.fit(pair, 0), [0.5], 0)
        assert (edit.size, edit.mode) == ((64, 64), "RGB")
        assert isinstance(edit, Image.Image)
