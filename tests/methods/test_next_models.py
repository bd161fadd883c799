"""The interface takes a flow-matching model and a pixel cascade without a word changed in any method.

Both are toys in what they draw, and whole in what they are: a velocity network on a straight path from image to noise
(as SD3 and FLUX), and a 16×16 pixel model whose 64×64 stage hears the target text (as Imagen and DeepFloyd IF).
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tedbench import images
from tedbench_methods import backbones, ddib, sdedit
from tedbench_methods.backbones import Lesson, Schedule, Text, denoising_loss, sampling
from tedbench_methods.backbones.method import noise
from tedbench_methods.imagic import Imagic


class Flow(Schedule):
    """x_t = (1 − u) x_0 + u ε with u = t / T; the network gives v = ε − x_0 (arXiv 2210.02747, 2403.03206)."""

    T = 1000

    def coefficients(self, t):
        u = t.to("cpu", torch.float64).clamp(min=0) / self.T
        return 1 - u, u

    def path(self, steps):
        return [self.T * (1 - i / steps) for i in range(steps)]

    def draw(self, n, generator):
        return self.T * torch.sigmoid(torch.randn(n, generator=generator, dtype=torch.float64))

    def target(self, x_0, epsilon, t):
        return epsilon - x_0

    def split(self, output, x_t, t):
        alpha, sigma = self.like(x_t, t)
        return x_t - sigma * output, x_t + alpha * output


class Net(nn.Module):
    """Hears time and text; a few weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(channels)
            self.mix, self.hear = nn.Conv2d(channels, 3, 3, padding=1), nn.Linear(5, 3)

    def forward(self, x, t, e):
        heard = self.hear(torch.cat([e, t.float()[:, None] / 1000], 1))
        return torch.tanh(self.mix(x)) + heard[:, :, None, None]


@dataclass(frozen=True, eq=False)
class Cascade:
    """16×16 pixels, then a network that enlarges them to 64×64 under the target text."""

    device: torch.device
    dtype: torch.dtype
    copies: dict = field(default_factory=dict)
    name, content, size, shape, schedule = "toy-cascade", "toy", 64, (3, 16, 16), Flow()
    masters = {}  # noqa: RUF012
    shared = {"base": Net(3), "upper": Net(6)}  # noqa: RUF012

    @property
    def networks(self):
        return {**self.shared, **self.copies}

    def exchanged(self, copies):
        return dataclasses.replace(self, copies={**self.copies, **copies})

    def embed(self, texts):
        numbers = [[hash_ % 7 / 3 - 1 for hash_ in map(ord, (text + "    ")[:4])] for text in texts]
        return Text({"hidden": torch.tensor(numbers)})

    def embed_nothing(self):
        return self.embed([""])

    def encode(self, image):
        return torch.from_numpy(images.to_signed(images.fit(image, 16)))[None]

    def decode(self, x_0, text):
        low = nn.functional.interpolate(x_0, 64)
        with torch.no_grad():
            high = low + self._enlarge(low, low, torch.zeros(len(low)), text)
        pixels = ((high.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(one) for one in pixels]

    def predict(self, x_t, t, text):
        return self.networks["base"](x_t, t, text.parts["hidden"])

    def lessons(self, image, x_0, e_opt, e_tgt):
        large = torch.from_numpy(images.to_signed(images.fit(image, 64)))[None]
        low = nn.functional.interpolate(x_0, 64)

        def upper(t, eps):
            x_t = self.schedule.add_noise(large, eps, t)
            said = self._enlarge(x_t, low.expand_as(x_t), t, e_tgt.repeat(len(t)))
            return nn.functional.mse_loss(said, self.schedule.target(large, eps, t))

        return [
            Lesson("base", self.shape, lambda t, eps: denoising_loss(self, x_0, e_opt, t, eps)),
            Lesson("upper", (3, 64, 64), upper),
        ]

    def _enlarge(self, x, low, t, text):
        return self.networks["upper"](torch.cat([x, low], 1), t, text.parts["hidden"])


@pytest.fixture
def cascade(monkeypatch) -> str:
    """Its name, as a user gives it: `module:Class`."""
    import sys

    monkeypatch.setitem(sys.modules, "toy_cascade_for_tests", sys.modules[__name__])
    return "toy_cascade_for_tests:Cascade"


def test_imagic_fine_tunes_every_stage_of_a_cascade(cascade, pair) -> None:
    method = Imagic(model=cascade, embedding_steps=4, embedding_rate=0.1, tuning_steps=4, tuning_rate=1e-2, steps=4)
    before = {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in Cascade.shared.items()}
    state = method.fit(pair, 0)
    assert set(state.weights) == {"base", "upper"}
    assert set(state.losses) == {"embedding", "base", "upper"}
    for name, weights in state.weights.items():
        assert all(not torch.equal(v, Cascade.shared[name].state_dict()[k]) for k, v in weights.items())
        assert all(torch.equal(v, before[name][k]) for k, v in Cascade.shared[name].state_dict().items())
    sweep = method.edit(pair, state, method.strength.grid, 0)
    assert {edit.size for edit in sweep} == {(64, 64)}
    assert len({edit.tobytes() for edit in sweep}) > 5
    without = method.edit(pair, dataclasses.replace(state, weights={"base": state.weights["base"]}), [0.5], 0)
    assert without != method.edit(pair, state, [0.5], 0)  # the upper stage's weights count


def test_sdedit_and_ddib_walk_a_straight_path(cascade, pair) -> None:
    for method in (sdedit.SDEdit(model=cascade, steps=4), ddib.DDIB(model=cascade, steps=4)):
        sweep = method.edit(pair, method.fit(pair, 0), method.strength.grid, 0)
        assert len({edit.tobytes() for edit in sweep}) == len(sweep)
    backbone = backbones.load(cascade)
    x_0, eps = backbone.encode(images.read(pair.image)), noise(backbone, pair, 0)
    x, path = sdedit.start(backbone, x_0, eps, 0.25, 4)
    torch.testing.assert_close(x, 0.75 * x_0 + 0.25 * eps)
    assert path == [250.0]


def test_a_step_on_a_flow_is_eulers() -> None:
    """x_s = x_t + (s − t) v, the update that flow-matching pipelines make."""
    backbone = Cascade(torch.device("cpu"), torch.float32)
    text = backbone.embed(["A dog."])
    x = x_t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    path = backbone.schedule.path(5)
    for t, s in itertools.pairwise([*path, 0.0]):
        with torch.no_grad():
            x = x + (s - t) / 1000 * backbone.predict(x, torch.tensor([t]), text)
    ours = sampling.sample(sampling.Denoiser(backbone, text, [1.0]), x_t, [path])
    np.testing.assert_allclose(ours, x, atol=1e-5)


def test_a_flow_of_a_gaussian_is_encoded_at_first_order() -> None:
    class Gaussian:
        schedule = Flow()
        mean, variance = 0.7, 0.3

        def embed(self, texts):
            return Text({"hidden": torch.zeros(len(texts), 1)})

        def predict(self, x_t, t, text):
            a, g = self.schedule.like(x_t, t)
            eps = g * (x_t - a * self.mean) / (a * a * self.variance + g * g)
            x_0 = self.mean + a * self.variance * (x_t - a * self.mean) / (a * a * self.variance + g * g)
            return eps - x_0

    model = Gaussian()
    x_0 = torch.randn(1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = (x_0 - model.mean) / model.variance**0.5  # at u = 1 nothing but the standardised value is left
    errors = [float((ddib.bridge(model, x_0, "", steps) - exact).abs().mean()) for steps in (25, 50, 100, 200)]
    assert all(0.45 <= b / a <= 0.6 for a, b in itertools.pairwise(errors)), errors
