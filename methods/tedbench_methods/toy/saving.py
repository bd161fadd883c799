"""The trained parts become a folder in diffusers' layout, 16-bit, with a model card beside the weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from tedbench import models
from tedbench.errors import UsageError
from tedbench_methods.toy.denoiser import Denoiser


def check(out: Path) -> None:
    """Refuse a folder that holds something else than a model.

    Raises:
        UsageError: for such a folder, or a file.
    """
    if out.exists() and not (out.is_dir() and ((out / "model_index.json").exists() or not any(out.iterdir()))):
        raise UsageError(f"{out} holds something else than a model; give another --out")


def save(vae: Any, denoiser: Denoiser, card: str, out: Path) -> None:
    """Write a model, in the place of the one that is there.

    Args:
        vae: autoencoder.
        denoiser: its tokenizer, text encoder, U-Net and scheduler.
        card: text of README.md.
        out: the folder.

    Raises:
        UsageError: if the folder holds something else.
    """
    check(out)
    scratch = out.absolute().with_name(f".{out.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    with models.quiet():
        pipeline(vae, denoiser).save_pretrained(scratch, safe_serialization=True, variant="fp16")
    _read_as_float32(scratch / "text_encoder" / "config.json")
    (scratch / "README.md").write_text(card, encoding="utf-8")
    for file in scratch.rglob("*.safetensors"):  # written for their owner only
        file.chmod(0o644)
    shutil.rmtree(out, ignore_errors=True)
    scratch.replace(out)


def _read_as_float32(config: Path) -> None:
    """Let transformers widen the text encoder as diffusers widens the rest; it would keep what the file names."""
    config.write_text(config.read_text("utf-8").replace('"dtype": "float16"', '"dtype": "float32"'), "utf-8")


def pipeline(vae: Any, denoiser: Denoiser) -> Any:
    """A `StableDiffusionPipeline` of the parts, which are turned to 16 bits and moved to the CPU."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae, text_encoder=denoiser.networks["text_encoder"], tokenizer=denoiser.tokenizer,
        unet=denoiser.networks["unet"], scheduler=denoiser.scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    ).to("cpu", torch.float16)  # fmt: skip
