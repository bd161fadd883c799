"""Imagic: its stages against plain torch written here, its ends, and what it must leave alone."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from tedbench import facts, images, registry
from tedbench.errors import MethodError, UsageError
from tedbench_methods import backbones
from tedbench_methods.backbones import sampling, tiny
from tedbench_methods.backbones.method import noise
from tedbench_methods.fits import Fit
from tedbench_methods.imagic import Imagic

STEPS = 5
FAST = {"embedding_steps": 3, "embedding_rate": 0.1, "tuning_steps": 3, "tuning_rate": 1e-4, "steps": 4}
LORA = {**FAST, "tuning": "lora", "rank": 2}


def weights_of(backbone) -> dict[str, bytes]:
    modules = {k: v for k, v in backbone.pipe.components.items() if isinstance(v, torch.nn.Module)}
    return {f"{m}.{k}": v.numpy().tobytes() for m, module in modules.items() for k, v in module.state_dict().items()}


def plain_adam(parameters, gradients, moments, step, rate):
    """Adam as its paper writes it (arXiv 1412.6980, algorithm 1)."""
    for p, g, (m, v) in zip(parameters, gradients, moments, strict=True):
        m.mul_(0.9).add_(0.1 * g)
        v.mul_(0.999).add_(0.001 * g * g)
        p.data -= rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)


class Plain:
    """Stages A and B in plain torch on diffusers' parts: no code of ours but the seed of the noise."""

    def __init__(self, name: str, pair, batch: int) -> None:
        self.pipe, self.pair, self.batch = tiny.pipeline(name), pair, batch
        for part in self.pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()
        side = images.fit(images.read(pair.image), 64)
        pixels = torch.from_numpy(np.array(side)).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            self.x_0 = self.pipe.vae.encode(pixels).latent_dist.mean * self.pipe.vae.config.scaling_factor
            encoded = self.pipe.encode_prompt(pair.target_text, device="cpu", num_images_per_prompt=1,
                                              do_classifier_free_guidance=False)  # fmt: skip
        self.e = [encoded[0], encoded[2]] if name == "tiny-sdxl" else [encoded[0]]
        self.alpha_bar = self.pipe.scheduler.alphas_cumprod
        self.v = self.pipe.scheduler.config.prediction_type == "v_prediction"

    def loss(self, e, source) -> torch.Tensor:
        t = torch.randint(1000, (self.batch,), generator=source)
        eps = torch.randn((self.batch, *self.x_0.shape[1:]), generator=source)
        a, g = (x.view(-1, 1, 1, 1) for x in (self.alpha_bar[t].sqrt(), (1 - self.alpha_bar[t]).sqrt()))
        extra = {}
        if len(e) == 2:
            ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]]).repeat(self.batch, 1)
            extra = {"added_cond_kwargs": {"text_embeds": e[1].repeat(self.batch, 1), "time_ids": ids}}
        hidden = e[0].repeat(self.batch, 1, 1)
        output = self.pipe.unet(a * self.x_0 + g * eps, t, encoder_hidden_states=hidden, **extra).sample
        target = a * eps - g * self.x_0 if self.v else eps
        return ((output - target) ** 2).mean()

    def descend(self, parameters, e, rate, purpose):
        source = sampling.generator(self.pair, 0, purpose)
        moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
        losses, first = [], None
        for step in range(1, STEPS + 1):
            loss = self.loss(e, source)
            gradients = torch.autograd.grad(loss, parameters)
            first = first or gradients
            plain_adam(parameters, gradients, moments, step, rate)
            losses.append(loss.item())
        return losses, first


@pytest.mark.parametrize("batch", [1, 3])
def test_both_stages_are_what_plain_torch_gives(tiny_name: str, batch: int, pair) -> None:
    """Gradients, losses and updates of 5 steps, to 1e-5; ε and v, one text embedding and two."""
    ours = Imagic(model=tiny_name, embedding_steps=STEPS, embedding_rate=2e-3, tuning_steps=STEPS, tuning_rate=5e-5,
                  fit_batch=batch)  # fmt: skip
    fit = ours.fit(pair, 0)
    plain = Plain(tiny_name, pair, batch)
    e = [part.clone().requires_grad_(True) for part in plain.e]
    losses, gradients = plain.descend(e, e, 2e-3, "stage A")
    np.testing.assert_allclose(fit.losses["embedding"], losses, rtol=1e-5)
    for part, expected in zip(fit.e_opt.parts.values(), e, strict=True):
        torch.testing.assert_close(part, expected.detach(), rtol=0, atol=1e-5)
        assert not torch.equal(part, fit.e_tgt.parts["hidden" if part.ndim == 3 else "pooled"])
    _same_gradients(tiny_name, pair, batch, gradients)

    held = [part.detach() for part in e]
    parameters = [p.requires_grad_(True) for p in plain.pipe.unet.parameters()]
    losses, _ = plain.descend(parameters, held, 5e-5, "stage B unet")
    np.testing.assert_allclose(fit.losses["unet"], losses, rtol=1e-5)
    gaps = [(fit.weights["unet"][k] - v).abs().flatten() for k, v in plain.pipe.unet.state_dict().items()]
    assert float(torch.cat(gaps).max()) < 2e-5  # 1.3e-5 was seen on another processor
    # What is left: single weights whose gradient is below Adam's own 1e-8, where float32 decides the sign.
    assert float((torch.cat(gaps) > 1e-6).float().mean()) < 1e-3


def _same_gradients(tiny_name, pair, batch, expected) -> None:
    backbone = backbones.load(tiny_name)
    x_0, e_tgt = backbone.encode(images.read(pair.image)), backbone.embed([pair.target_text])
    e = e_tgt.map(lambda part: part.clone().requires_grad_(True))
    source = sampling.generator(pair, 0, "stage A")
    t, eps = backbone.schedule.draw(batch, source), sampling.normal((batch, *backbone.shape), source)
    backbones.denoising_loss(backbone, x_0, e, t, eps).backward()
    for part, gradient in zip(e.parts.values(), expected, strict=True):
        assert float(gradient.abs().max()) > 1e-5
        torch.testing.assert_close(part.grad, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("how", [FAST, LORA], ids=["whole", "lora"])
def test_the_model_is_bit_for_bit_as_it_was(tiny_name: str, how, pair) -> None:
    backbone = backbones.load(tiny_name)
    before = weights_of(backbone)
    names = [name for name, _ in backbone.pipe.unet.named_modules()]
    method = Imagic(model=tiny_name, **how, checkpointing=True)
    state = method.fit(pair, 0)
    method.edit(pair, state, [0.0, 1.0], 0)
    assert weights_of(backbone) == before
    assert [name for name, _ in backbone.pipe.unet.named_modules()] == names  # no adapter stayed
    assert not any(p.requires_grad for p in backbone.pipe.unet.parameters())
    assert not backbone.pipe.unet.is_gradient_checkpointing


@pytest.mark.parametrize("how", [FAST, LORA], ids=["whole", "lora"])
def test_stage_b_moves_weights_and_the_edit_uses_them(how, pair) -> None:
    method = Imagic(model="tiny-sd2", **how)
    state = method.fit(pair, 0)
    if how is FAST:
        shared = backbones.load("tiny-sd2").networks["unet"].state_dict()
        moved = {k: float((v - shared[k]).abs().max()) for k, v in state.weights["unet"].items()}
        assert min(moved.values()) > 0
        assert max(moved.values()) < 4e-4  # Adam moves each by at most about its rate a step
    else:
        assert all("lora_" in name for name in state.weights["unet"])
        assert any(float(v.abs().max()) > 0 for k, v in state.weights["unet"].items() if "lora_B" in k)
    bare = dataclasses.replace(state, weights={})
    assert method.edit(pair, state, [0.5], 0) != method.edit(pair, bare, [0.5], 0)


def test_weights_move_at_the_papers_rate(pair) -> None:
    """5e-7 a step: under pure 16-bit weights this is nothing; masters are float32, also where it computes in bf16."""
    for dtype in ("fp32", "bf16"):
        method = Imagic(model="tiny-sd1", dtype=dtype, embedding_steps=0, tuning_steps=20)
        assert method.tuning_rate == 5e-7
        state = method.fit(pair, 0)
        backbone = backbones.load("tiny-sd1", "auto", dtype)
        shared = backbone.masters.get("unet") or backbone.networks["unet"].state_dict()
        for name, value in state.weights["unet"].items():
            assert value.dtype == torch.float32
            moved = (value - shared[name]).abs()
            assert 0 < float(moved.max()) <= 21 * 5e-7, name
        if dtype == "bf16":  # and in bf16 most of that would be lost
            rounded = {k: v.bfloat16() - shared[k].bfloat16() for k, v in state.weights["unet"].items()}
            stuck = sum(int((v == 0).sum()) for v in rounded.values())
            assert stuck > 0.9 * sum(v.numel() for v in rounded.values())


def test_the_ends_are_sampling_with_e_opt_and_e_tgt(tiny_name: str, pair) -> None:
    method = Imagic(model=tiny_name, **{**FAST, "tuning_steps": 0})
    backbone = backbones.load(tiny_name)
    state = method.fit(pair, 0)
    assert state.weights == {}
    ends = method.edit(pair, state, [0.0, 1.0], 0)
    both = backbones.Text({k: torch.cat([v, state.e_tgt.parts[k]]) for k, v in state.e_opt.parts.items()})
    denoise = sampling.Denoiser(backbone, both, [method.guidance] * 2)
    x_t = noise(backbone, pair, 0).repeat(2, 1, 1, 1)
    x = sampling.sample(denoise, x_t, [backbone.schedule.path(method.steps)] * 2)
    assert backbone.decode(x, both) == ends
    assert ends[0] != ends[1]


def test_a_fit_survives_disk_and_pickle(tiny_name: str, pair, tmp_path) -> None:
    for how in (FAST, LORA):
        method = Imagic(model=tiny_name, **how)
        state = method.fit(pair, 0)
        state.save(tmp_path / "deep" / "fit.safetensors")
        expected = method.edit(pair, state, [0.3, 0.9], 0)
        for again in (Fit.load(tmp_path / "deep" / "fit.safetensors"), pickle.loads(pickle.dumps(state))):
            assert method.edit(pair, again, [0.3, 0.9], 0) == expected
        assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["fit.safetensors"]


def test_fits_are_kept_under_what_moves_them(pair, pair_of, tmp_path) -> None:
    method = Imagic(model="tiny-sd1", **FAST, fits=str(tmp_path))
    first = method.fit(pair, 0)
    (kept,) = tmp_path.iterdir()
    with facts.noted() as noted:
        again = dataclasses.replace(method, steps=7, guidance=2.0, sampler="ddpm").fit(pair, 0)
    assert noted["fit_from"] == kept.name
    assert noted["loss"]["embedding"] == first.losses["embedding"].tolist()
    assert torch.equal(again.e_opt.parts["hidden"], first.e_opt.parts["hidden"])
    shorter, elsewhere = (dataclasses.replace(method, **one) for one in ({"tuning_steps": 2}, {"model": "tiny-sd2"}))
    for other, on, seed in (
        (method, pair, 1), (method, pair_of(target_text="A pizza."), 0), (method, pair_of(size=(70, 64)), 0),
        (shorter, pair, 0), (elsewhere, pair, 0),
    ):  # fmt: skip
        other.fit(on, seed)
    assert len(list(tmp_path.iterdir())) == 6


def test_broken_or_foreign_fits_are_refused(pair, tmp_path) -> None:
    method = Imagic(model="tiny-sd1", **FAST, fits=str(tmp_path))
    state = method.fit(pair, 0)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(MethodError, match="cannot be read"):
        method.fit(pair, 0)
    with pytest.raises(MethodError, match="made on tiny-sd1, the model is tiny-sd2"):
        Imagic(model="tiny-sd2", **FAST).edit(pair, state, [0.5], 0)
    strange = dataclasses.replace(state, weights={"unet": {"conv_in.weight": torch.zeros(1)}})
    with pytest.raises(MethodError, match="do not belong"):
        method.edit(pair, strange, [0.5], 0)


def test_pairs_in_the_order_of_the_data_set_get_their_own_fit(pair, pair_of) -> None:
    """Another image with one text, another text with one image: nothing is reused, nothing lingers."""
    method = Imagic(model="tiny-sd1", **FAST)
    alone = {uid: method.fit(pair_of(uid), 0).e_opt.parts["hidden"] for uid in ("c--x", "d--x")}
    method.fit(pair, 0)
    method.fit(pair_of(target_text="A pizza."), 0)
    for uid, expected in alone.items():
        assert torch.equal(method.fit(pair_of(uid), 0).e_opt.parts["hidden"], expected)
    one, two = (method.fit(pair_of(target_text=text), 0).e_opt.parts["hidden"] for text in ("A dog.", "A cat."))
    assert not torch.equal(one, two)


def test_the_seed_reaches_training_and_sampling(pair) -> None:
    method = Imagic(model="tiny-sd1", **FAST)
    first, again, other = (method.fit(pair, seed) for seed in (0, 0, 1))
    assert torch.equal(first.losses["unet"], again.losses["unet"])
    assert not torch.equal(first.losses["embedding"], other.losses["embedding"])
    assert not torch.equal(first.losses["unet"], other.losses["unet"])
    assert method.edit(pair, first, [0.5], 0) == method.edit(pair, again, [0.5], 0)
    assert method.edit(pair, first, [0.5], 0) != method.edit(pair, first, [0.5], 1)


def test_extrapolation_needs_a_flag(pair) -> None:
    method = Imagic(model="tiny-sd2", **FAST)
    state = method.fit(pair, 0)
    with pytest.raises(UsageError, match=r"eta 1.2 is outside \[0, 1\]"):
        method.edit(pair, state, [1.2], 0)
    beyond = dataclasses.replace(method, extrapolate=True)
    assert beyond.edit(pair, state, [1.0, 1.2], 0)[0] != beyond.edit(pair, state, [1.0, 1.2], 0)[1]
    with pytest.raises(UsageError, match="outside"):
        beyond.edit(pair, state, [-0.1], 0)


def test_ablations_are_switches(pair) -> None:
    method = Imagic(model="tiny-sd2", **FAST)
    state = method.fit(pair, 0)
    bare, ten = (dataclasses.replace(method, **one) for one in ({"tuning_steps": 0}, {"embedding_steps": 10}))
    images_ = {
        "whole": method.edit(pair, state, [0.5], 0)[0],
        "without B": bare.edit(pair, bare.fit(pair, 0), [0.5], 0)[0],
        "10 steps of A": ten.edit(pair, ten.fit(pair, 0), [0.5], 0)[0],
        "DDPM": dataclasses.replace(method, sampler="ddpm").edit(pair, state, [0.5], 0)[0],
    }
    assert len({image.tobytes() for image in images_.values()}) == len(images_)
    none = dataclasses.replace(method, embedding_steps=0).fit(pair, 0)
    assert torch.equal(none.e_opt.parts["hidden"], none.e_tgt.parts["hidden"])
    assert len(none.losses["embedding"]) == 0


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_splitting_a_sweep_changes_nothing_to_see(sampler: str, pair) -> None:
    method = Imagic(model="tiny-sd1", **FAST, sampler=sampler)
    state = method.fit(pair, 0)
    grid = method.strength.grid
    with facts.noted() as kept:
        whole = method.edit(pair, state, grid, 0)
    assert (kept["batches"], kept["split"]) == ([11], False)
    with facts.noted() as kept:
        split = dataclasses.replace(method, batch=4).edit(pair, state, grid, 0)
    assert (kept["batches"], kept["split"]) == ([4, 4, 3], True)
    gap = [np.abs(np.asarray(a, int) - np.asarray(b, int)).max() for a, b in zip(whole, split, strict=True)]
    assert max(gap) <= 1


def test_checkpointing_is_the_same_arithmetic(pair) -> None:
    plain, twice = (Imagic(model="tiny-sd1", **FAST, checkpointing=c).fit(pair, 0) for c in (False, True))
    for name, value in plain.weights["unet"].items():
        torch.testing.assert_close(value, twice.weights["unet"][name], rtol=0, atol=1e-6)


def test_presets_are_what_their_sources_say() -> None:
    def made(spec: str) -> Imagic:
        return registry.make("method", spec, model="tiny-sd1")

    paper, imagen, port = (made(f"imagic@{name}") for name in ("paper-sd", "paper-imagen", "community"))
    assert made("imagic") == paper
    for method, expected in ((paper, (1000, 2e-3, 1500, 5e-7)), (port, (500, 1e-3, 1000, 2e-6))):
        rates = (method.embedding_steps, method.embedding_rate, method.tuning_steps, method.tuning_rate)
        assert rates == expected
    assert (imagen.embedding_steps, imagen.embedding_rate, imagen.tuning_steps) == (100, 1e-3, 1500)
    low = made("imagic@low-memory")
    assert (low.tuning, low.checkpointing, low.dtype) == ("lora", True, "bf16")
    assert made("imagic@community?guidance=3").guidance == 3


@pytest.mark.parametrize("field", ["embedding_steps", "tuning_steps", "fit_batch", "rank", "steps", "batch"])
def test_settings_that_mean_nothing_are_refused(field: str) -> None:
    with pytest.raises(UsageError):
        Imagic(model="tiny-sd1", **{field: -1})


def test_low_memory_runs_in_bf16_on_lora(pair) -> None:
    method = registry.make("method", "imagic@low-memory?embedding_steps=2&tuning_steps=2&steps=2", model="tiny-sd1")
    with facts.noted() as kept:
        sweep = method.edit(pair, method.fit(pair, 0), [0.0, 0.25, 0.5, 0.75, 1.0], 0)
    assert len(sweep) == 5
    assert kept["dtype"] == "bfloat16"
    assert kept["batches"] == [4, 1]
