"""Small models with random weights, in every form that a backbone takes: for checks and tests, never for pictures.

They have all parts of the real ones and are put together by the same classes, so that what runs on them runs on those;
only what they draw means nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from tedbench import models
from tedbench.errors import UnknownName

_WIDTH = 32
_SIDE = 16
"""Of the latents; pictures are four times as wide."""
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_SCHEDULE = {**_BETAS, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}


def pipeline(name: str) -> Any:
    """A diffusers pipeline; the same name gives the same weights.

    Raises:
        UnknownName: for another name.
    """
    if name not in MAKERS:
        raise UnknownName("tiny model", name, MAKERS)
    with models.quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MAKERS[name]()


def _sd1(**unet: Any) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=_vae(), text_encoder=_text_encoder(), tokenizer=_tokenizer(), unet=_unet(**unet),
        scheduler=DDIMScheduler(**_SCHEDULE), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def _sd2() -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    unet = _unet(use_linear_projection=True, attention_head_dim=(2, 4))
    return StableDiffusionPipeline(
        vae=_vae(), text_encoder=_text_encoder(), tokenizer=_tokenizer(), unet=unet,
        scheduler=DDIMScheduler(**_SCHEDULE, prediction_type="v_prediction"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    unet = _unet(
        cross_attention_dim=2 * _WIDTH, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + _WIDTH,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=_vae(scaling_factor=0.13025), text_encoder=_text_encoder(), text_encoder_2=_text_encoder(projects=True),
        tokenizer=_tokenizer(), tokenizer_2=_tokenizer(), unet=unet,
        scheduler=EulerDiscreteScheduler(**_BETAS, steps_offset=1, timestep_spacing="leading"),
    )  # fmt: skip


def _ip2p() -> Any:
    from diffusers import DDIMScheduler, StableDiffusionInstructPix2PixPipeline

    return StableDiffusionInstructPix2PixPipeline(
        vae=_vae(), text_encoder=_text_encoder(), tokenizer=_tokenizer(), unet=_unet(in_channels=8),
        scheduler=DDIMScheduler(**_SCHEDULE), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def _ledits() -> Any:
    # LEDITS++ masks by the cross-attention at a quarter of the latents' size, which the smaller networks do not have.
    return _sd1(
        block_out_channels=(16, 16, 32), down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )  # fmt: skip


MAKERS: dict[str, Callable[[], Any]] = {
    "tiny-sd1": _sd1,
    "tiny-sd2": _sd2,
    "tiny-sdxl": _sdxl,
    "tiny-ip2p": _ip2p,
    "tiny-ledits": _ledits,
}
"""SD 1.x (ε), SD 2.x (v), SDXL, InstructPix2Pix's 8-channel SD, and an SD 1.x that LEDITS++ can look into."""


def _unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    standard: dict[str, Any] = {
        "sample_size": _SIDE, "in_channels": 4, "out_channels": 4, "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": _WIDTH, "attention_head_dim": 4, "norm_num_groups": 8,
    }  # fmt: skip
    unet = UNet2DConditionModel(**{**standard, **options})
    for name, module in unet.named_modules():
        if name.endswith("attn2.to_v"):  # random networks hardly hear a text; checks need to see that it is heard
            module.weight.data.mul_(8)
    return unet


def _vae(scaling_factor: float = 0.18215) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, norm_num_groups=4, sample_size=4 * _SIDE,
        scaling_factor=scaling_factor,
    )  # fmt: skip


def _text_encoder(projects: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    size = len(_vocabulary())
    config = CLIPTextConfig(
        vocab_size=size, hidden_size=_WIDTH, intermediate_size=2 * _WIDTH, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, projection_dim=_WIDTH, bos_token_id=size - 2, eos_token_id=size - 1,
        pad_token_id=size - 1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(config).eval()


def _tokenizer() -> Any:
    from transformers import CLIPTokenizer

    vocabulary = {token: number for number, token in enumerate(_vocabulary())}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _vocabulary() -> list[str]:
    """One token a character: enough to tell texts apart."""
    from tokenizers.pre_tokenizers import ByteLevel

    characters = sorted(ByteLevel.alphabet())
    pairs = itertools.chain(characters, (f"{character}</w>" for character in characters))
    return [*pairs, "<|startoftext|>", "<|endoftext|>"]
