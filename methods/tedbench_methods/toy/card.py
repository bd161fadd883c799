"""The model card: what the toy model is, and how these weights were made."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tedbench import environment
from tedbench_methods.toy import pictures
from tedbench_methods.toy.training import Stage

_LAST = 500
_TEXT = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---
# Toy model

A Stable Diffusion in small, for the toy world of TEdBench's suite: 64x64 drawn pictures of animals and things, and
English sentences about them. It knows nothing else, and its pictures are of no use outside the suite's tests and
ToyBench. All parts were trained from nothing on pictures that the suite draws itself; no photo, no text of others and
no pre-trained network took part.

    StableDiffusionPipeline.from_pretrained(FOLDER, variant="fp16", safety_checker=None)

## Parts

`AutoencoderTiny`, {vae_parameters:,} parameters; `UNet2DConditionModel`, {unet_parameters:,}; `CLIPTextModel`,
{text_parameters:,}; a tokenizer with one token for each of the world's {words} words. The pooled text joins the time
embedding too (diffusers' `addition_embed_type` text). The U-Net predicts v (Salimans and Ho, arXiv 2202.00512), with
the noise schedule of Stable Diffusion 1 up to β = 0.02; latents are 4x16x16. Weights are averages over the last steps,
in 16 bits.

## Training

Data: the first {count:,} pictures of the world's part `{part}` (fingerprint {fingerprint}), each also mirrored, and
random captions of what they show. Combinations of attributes that the benchmark asks about are in no picture of that
part.

Made by `python -m tedbench_methods.toy`, whose defaults make the model that ships. The text encoder first learnt to
tell which attributes a caption names, and was held while the U-Net learnt.

{table}

Losses are means over a fifth of the steps, at most {few}. Autoencoder on pictures that it has not seen: PSNR
{psnr:.2f} dB; means over 8x8 pixels are off by {tone:.2f} of 255 levels on average.

Made {when} on {hardware}; {versions}. Code: {commit}.
"""


def text(stages: Mapping[str, Stage], parameters: Mapping[str, int], count: int, quality: Mapping[str, float]) -> str:
    """README.md of a trained model.

    Args:
        stages: by what was trained, in order.
        parameters: how many `vae`, `unet` and `text` have.
        count: of pictures.
        quality: the autoencoder's `psnr` and `tone`.
    """
    numbers = {f"{name}_parameters": number for name, number in parameters.items()}
    device = next(iter(stages.values())).recipe.device
    return _TEXT.format(
        **numbers, **quality, table=_table(stages), few=_LAST, count=count, part=pictures.PART,
        words=len(pictures.WORDS), fingerprint=pictures.fingerprint(), when=environment.now(),
        hardware=_hardware(device), versions=_versions(), commit=environment.git_commit() or "not in a checkout",
    )  # fmt: skip


def _table(stages: Mapping[str, Stage]) -> str:
    columns = [_column(stage) for stage in stages.values()]
    rows = [("", *stages), ["---"] * (len(stages) + 1)]
    rows += [(name, *(column[name] for column in columns)) for name in columns[0]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _column(stage: Stage) -> dict[str, str]:
    recipe, record = stage.recipe, stage.record
    losses = record.losses
    few = max(1, min(_LAST, len(losses) // 5))
    return {
        "steps": " + ".join(f"{steps:,}" for steps in recipe.cycles),
        "batch": str(recipe.batch),
        "peak learning rate": f"{recipe.rate:g}",
        "arithmetic": "bfloat16, weights float32" if recipe.bf16 else "float32",
        "seed": str(recipe.seed),
        "minutes": f"{record.seconds / 60:.0f}",
        "loss at first": _mean(losses[:few]),
        "loss at last": _mean(losses[-few:]),
    }


def _mean(losses: list[float]) -> str:
    return f"{sum(losses) / len(losses):.4f}" if losses else "none"


def _hardware(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{environment.hardware()['cpu'] or environment.hardware()['machine']}, {torch.get_num_threads()} thread(s)"


def _versions() -> str:
    found = environment.versions()
    return ", ".join(f"{name} {found[name]}" for name in ("python", "torch", "diffusers", "transformers"))
