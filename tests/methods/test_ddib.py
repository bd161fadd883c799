"""DDIB's encoding against the exact map of a Gaussian, and its contract about source texts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from tedbench import facts, images
from tedbench.errors import DataError, UsageError
from tedbench_methods import backbones
from tedbench_methods.backbones import sampling
from tedbench_methods.backbones.schedule import from_diffusers
from tedbench_methods.backbones.text import Text
from tedbench_methods.ddib import DDIB, bridge

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


class Gaussian:
    """A model that knows exactly what it models: every value is N(mean, variance), independently."""

    mean, variance = 0.7, 0.3

    def __init__(self, prediction: str, to_one: bool = False) -> None:
        self.schedule = from_diffusers(
            DDIMScheduler(
                **BETAS, clip_sample=False, set_alpha_to_one=to_one, steps_offset=1, prediction_type=prediction
            )
        )

    def embed(self, texts):
        return Text({"hidden": torch.zeros(len(texts), 1)})

    def predict(self, x_t, t, text):
        alpha, sigma = self.schedule.like(x_t, t)
        eps = sigma * (x_t - alpha * self.mean) / (alpha**2 * self.variance + sigma**2)
        return eps if self.schedule.prediction == "epsilon" else alpha * eps - sigma * (x_t - sigma * eps) / alpha


def recursion(x: np.ndarray, steps: int) -> np.ndarray:
    """The Euler recursion of DDIM's ODE in plain numpy, float64: ε at the place and time where x is."""
    alpha_bar = DDIMScheduler(**BETAS).alphas_cumprod.double().numpy()
    times = [0, *(1 + i * (1000 // steps) for i in range(steps))]
    for t, s in itertools.pairwise(times):
        a, g = math.sqrt(alpha_bar[t]), math.sqrt(1 - alpha_bar[t])
        eps = g * (x - a * Gaussian.mean) / (a * a * Gaussian.variance + g * g)
        x = math.sqrt(alpha_bar[s]) * (x - g * eps) / a + math.sqrt(1 - alpha_bar[s]) * eps
    return x


def exact(model: Gaussian, x_0: torch.Tensor, t: float) -> torch.Tensor:
    """The flow of the probability-flow ODE for a Gaussian: standardised values stay what they are."""
    (a, a_0), (g, g_0) = model.schedule.coefficients(torch.tensor([t, -1.0]))
    spread = [torch.sqrt(x**2 * model.variance + y**2) for x, y in ((a, g), (a_0, g_0))]
    return a * model.mean + spread[0] / spread[1] * (x_0 - a_0 * model.mean)


@pytest.fixture
def x_0() -> torch.Tensor:
    return torch.randn(1, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_encoding_is_the_recursion(prediction: str, x_0: torch.Tensor) -> None:
    found = bridge(Gaussian(prediction), x_0, "", 50)
    np.testing.assert_allclose(found.numpy(), recursion(x_0.numpy(), 50), rtol=0, atol=1e-6)


@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_encoding_comes_to_the_exact_map_at_first_order(prediction: str, to_one: bool, x_0: torch.Tensor) -> None:
    model = Gaussian(prediction, to_one)
    errors = []
    for steps in (25, 50, 100, 200):
        last = model.schedule.path(steps)[0]
        errors.append(float((bridge(model, x_0, "", steps) - exact(model, x_0, last)).abs().mean()))
    ratios = [after / before for before, after in itertools.pairwise(errors)]
    assert all(0.45 <= ratio <= 0.6 for ratio in ratios), (errors, ratios)


@pytest.mark.parametrize("to_one", [False, True])
def test_encoding_by_v_is_encoding_by_epsilon(to_one: bool, x_0: torch.Tensor) -> None:
    by_eps, by_v = (bridge(Gaussian(name, to_one), x_0, "", 100) for name in ("epsilon", "v_prediction"))
    torch.testing.assert_close(by_v, by_eps, rtol=0, atol=1e-9)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_going_round_comes_back_better_with_more_steps(prediction: str, x_0: torch.Tensor) -> None:
    model = Gaussian(prediction)

    def round_trip(steps: int) -> float:
        x_t = bridge(model, x_0, "", steps)
        denoise = sampling.Denoiser(model, model.embed([""]), [1.0])
        back = sampling.sample(denoise, x_t, [model.schedule.path(steps)])
        # The clean end of this schedule still has the noise of time 0.
        return float((back - x_0).abs().mean())

    errors = [round_trip(steps) for steps in (25, 50, 100, 200)]
    assert errors[-1] < 0.03
    assert all(after < 0.62 * before for before, after in itertools.pairwise(errors)), errors


def test_decoding_is_sampling_from_what_was_encoded(tiny_name, pair) -> None:
    method = DDIB(model=tiny_name, steps=4)
    backbone = backbones.load(tiny_name)
    state = method.fit(pair, 0)
    assert torch.equal(state, bridge(backbone, backbone.encode(images.read(pair.image)), pair.source_text, 4))
    sweep = method.edit(pair, state, [1.0, 5.0], 0)
    denoise = sampling.Denoiser(backbone, backbone.embed([pair.target_text]).repeat(2), [1.0, 5.0])
    x = sampling.sample(denoise, state.repeat(2, 1, 1, 1), [backbone.schedule.path(4)] * 2)
    assert backbone.decode(x, denoise.text) == sweep
    assert sweep[0] != sweep[1]


def test_the_source_text_matters_and_guidance_does_not_touch_encoding(pair, pair_of) -> None:
    other = pair_of(source_text="A chair sawed in half.")
    method = DDIB(model="tiny-sd2", steps=4)
    assert not torch.equal(method.fit(pair, 0), method.fit(other, 0))
    assert torch.equal(method.fit(pair, 0), method.fit(pair, 1))


def test_a_missing_source_text_is_refused_and_a_given_one_is_on_record(pair, pair_of) -> None:
    method = DDIB(model="tiny-sd1", steps=2)
    with pytest.raises(DataError, match=r"no source text.*--captions"):
        method.fit(pair_of(source_text=None), 0)
    assert method.needs == {"source_text"}
    with facts.noted() as kept:
        method.fit(pair, 0)
    assert kept["source_text"] == pair.source_text
    assert kept["source_text_by"] == "data set or captions file"
    with pytest.raises(UsageError, match="outside"):
        method.edit(pair, method.fit(pair, 0), [-1.0], 0)


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory):
    """A tiny random BLIP, saved as a real one is."""
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder = tmp_path_factory.mktemp("blip") / "tiny-blip"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "photo", "of", "dog", "grass", "on"]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        text = {"vocab_size": len(words), "hidden_size": 16, "encoder_hidden_size": 16, "intermediate_size": 32,
                "projection_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64,
                "bos_token_id": 5, "pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3}  # fmt: skip
        vision = {"hidden_size": 16, "intermediate_size": 32, "projection_dim": 16, "num_hidden_layers": 1,
                  "num_attention_heads": 2, "image_size": 32, "patch_size": 16}  # fmt: skip
        model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision, projection_dim=16))
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def test_a_captioner_writes_the_missing_text_and_is_named(blip, pair_of) -> None:
    method = DDIB(model="tiny-sd1", steps=2, captioner=str(blip))
    assert method.needs == frozenset()
    pair = pair_of(source_text=None)
    with facts.noted() as kept:
        state = method.fit(pair, 0)
    assert kept["source_text"]
    assert kept["source_text_by"].startswith("tiny-blip-")
    assert torch.equal(state, DDIB(model="tiny-sd1", steps=2).fit(pair_of(source_text=kept["source_text"]), 0))
    with facts.noted() as kept:  # a text that is there is never replaced
        method.fit(pair_of(), 0)
    assert kept["source_text_by"] == "data set or captions file"


def test_a_captioner_keeps_the_contract(blip) -> None:
    from tedbench_methods.contract import Contract

    findings = Contract(DDIB(model="tiny-sd1", steps=2, captioner=str(blip))).findings()
    assert [finding for finding in findings if finding.kept is False] == []
