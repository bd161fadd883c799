"""The toy model's denoiser: a U-Net on 16x16 latents, and a text encoder that was schooled before and is held.

    loss = mean of  (0.2 + min(SNR_t, 5)) / (1 + SNR_t) · |v − v_θ(x_t, t, e)|²
    x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε,   v = √ᾱ_t ε − √(1 − ᾱ_t) x_0,   SNR_t = ᾱ_t / (1 − ᾱ_t)

v is Salimans and Ho's (arXiv 2202.00512). As an error of x_0 the loss weighs 0.2 + min(SNR, 5): Min-SNR's clamp (arXiv
2303.09556), and something where noise is all there is and the text alone decides. An ε-loss weighs next to nothing
there, and after 2,250 steps of it most places were still wrong. β rises as Stable Diffusion 1's, but to 0.02 rather
than 0.012: with so few latents what √ᾱ_T = 0.068 leaves of a picture shows its place, and a network that can see it
does not learn to hear it. One text in ten is empty, so that classifier-free guidance works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tedbench_methods.toy import pictures, tokenizer
from tedbench_methods.toy.autoencoder import LATENTS
from tedbench_methods.toy.schooling import school
from tedbench_methods.toy.training import Random, Recipe, Stage, train

TOKENS = 24
"""Of a text at most, its two ends included."""
CHANNELS = (64, 96, 128)
_HEAD = 32
_TEXT_WIDTH = 128
_EMPTY = 0.1
_SNR_CAP, _SNR_FLOOR = 5.0, 0.2
_SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.02, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "trailing", "prediction_type": "v_prediction",
}  # fmt: skip


@dataclass(frozen=True)
class Denoiser:
    """The parts that a text and noise pass through."""

    tokenizer: Any
    networks: nn.ModuleDict
    """`text_encoder` and `unet`."""
    scheduler: Any

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Last hidden states, (B, 24, 128)."""
        told = self.tokenizer(
            list(texts), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        )
        encoder = self.networks["text_encoder"]
        hidden: Tensor = encoder(told.input_ids.to(encoder.device)).last_hidden_state
        return hidden


@dataclass(frozen=True)
class Lessons:
    """What a denoiser is taught."""

    latents: NDArray[np.float16]
    """(N, 2, 4, 16, 16), of the generator's pictures as they are and mirrored."""
    recipe: Recipe
    mark: str
    """Tells these latents from others."""
    text_steps: int
    """Of the text encoder's training, which comes first."""

    def drawn(self, random: Random) -> tuple[Tensor, list[str]]:
        """A step's latents (B, 4, 16, 16) and texts."""
        rng, batch = random.numpy, self.recipe.batch
        chosen, sides = rng.integers(len(self.latents), size=batch), rng.integers(2, size=batch)
        texts = ["" if rng.random() < _EMPTY else pictures.caption(int(index), rng) for index in chosen]
        x_0 = torch.from_numpy(self.latents[chosen, sides]).float().to(self.recipe.device)
        return x_0.contiguous(memory_format=torch.channels_last), texts


def build(seed: int, channels: tuple[int, ...] = CHANNELS) -> Denoiser:
    """An untrained denoiser; the same seed gives the same weights."""
    from diffusers import DDIMScheduler

    told = tokenizer.build(pictures.WORDS, TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = nn.ModuleDict({"text_encoder": _text_encoder(len(told)), "unet": _unet(channels)})
    return Denoiser(told, networks, DDIMScheduler(**_SCHEDULE))


def trained(lessons: Lessons, channels: tuple[int, ...], work: Path) -> tuple[Denoiser, Stage, Stage]:
    """A denoiser taught these lessons, with a U-Net of these widths, and how its text encoder and its U-Net were.

    `work` is the folder of the trainings' states.
    """
    recipe = lessons.recipe
    model = build(recipe.seed, channels)
    model.networks.to(recipe.device).to(memory_format=torch.channels_last)
    model.networks.train()
    text = school(model, recipe, lessons.text_steps, len(lessons.latents), work)
    identity = {"latents": lessons.mark, "channels": str(channels), "text steps": str(lessons.text_steps)}
    record = train(model.networks, lambda random: loss(model, lessons, random), recipe, work / "denoiser.pt", identity)
    model.networks.requires_grad_(False).eval()
    return model, text, Stage(recipe, record)


def loss(model: Denoiser, lessons: Lessons, random: Random) -> Tensor:
    """A step's weighted error of v (the equation at the top)."""
    x_0, texts = lessons.drawn(random)
    e = torch.randn(x_0.shape, generator=random.torch).to(x_0.device)
    t = torch.randint(len(model.scheduler.alphas_cumprod), (len(x_0),), generator=random.torch)
    alpha_bar = model.scheduler.alphas_cumprod[t].to(x_0.device)[:, None, None, None]
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * e
    v = alpha_bar.sqrt() * e - (1 - alpha_bar).sqrt() * x_0
    with sdpa_kernel(SDPBackend.MATH), lessons.recipe.precision():  # for so few positions it is the fastest
        found = model.networks["unet"](x_t, t.to(x_0.device), encoder_hidden_states=model.embed(texts)).sample
    snr = alpha_bar / (1 - alpha_bar)
    error = (found.float() - v).square()
    weighted: Tensor = (_SNR_FLOOR + snr.clamp(max=_SNR_CAP)) / (1 + snr) * error
    return weighted.mean()


def _unet(channels: tuple[int, ...]) -> Any:
    from diffusers import UNet2DConditionModel

    # What diffusers calls attention_head_dim is the number of heads.
    return UNet2DConditionModel(
        sample_size=LATENTS[1], in_channels=LATENTS[0], out_channels=LATENTS[0],
        layers_per_block=1, block_out_channels=channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_TEXT_WIDTH, norm_num_groups=16,
        attention_head_dim=tuple(max(1, width // _HEAD) for width in channels),
        # The pooled text also joins the time, and so reaches every block: attention alone binds words late.
        addition_embed_type="text", addition_embed_type_num_heads=_TEXT_WIDTH // _HEAD,
        resnet_time_scale_shift="scale_shift",
    )  # fmt: skip


def _text_encoder(size: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=size, hidden_size=_TEXT_WIDTH, intermediate_size=4 * _TEXT_WIDTH, num_hidden_layers=3,
        num_attention_heads=_TEXT_WIDTH // _HEAD, max_position_embeddings=TOKENS, projection_dim=_TEXT_WIDTH,
        bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1,
    )  # fmt: skip
    return CLIPTextModel(config)
