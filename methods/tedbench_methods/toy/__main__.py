"""`python -m tedbench_methods.toy --out FOLDER`: draw pictures, train the autoencoder, then the denoiser, and save.

Stopped at any moment and called again with the same options, it goes on, to the same bytes.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tedbench import models
from tedbench.errors import TedbenchError
from tedbench_methods.toy import autoencoder, card, denoiser, pictures, saving
from tedbench_methods.toy.pictures import Pictures
from tedbench_methods.toy.training import Recipe, Stage


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train; an error a user can cause becomes one line."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        _check(options)
        make(options)
    except TedbenchError as error:
        raise SystemExit(f"error: {error}") from error


def make(options: argparse.Namespace) -> None:
    """All stages, each from where it stands."""
    work = options.work or options.out.with_name(f"{options.out.name}-work")
    first, second = _recipes(options)
    shown = pictures.cached(work, options.pictures, options.processes)
    vae, vae_record = autoencoder.trained(shown, first, work)
    logging.info("autoencoder: %s", quality := autoencoder.quality(vae, len(shown), options.device))
    lessons = _lessons(vae, shown, options, second, work)
    model, text, unet = denoiser.trained(lessons, tuple(options.channels), work)
    stages = {"autoencoder": Stage(first, vae_record), "text encoder": text, "U-Net": unet}
    told = card.text(stages, _parameters(vae, model), len(shown), quality)
    saving.save(vae, model, told, options.out)
    logging.info("saved to %s", options.out)


def _recipes(options: argparse.Namespace) -> tuple[Recipe, Recipe]:
    common = {"seed": options.seed, "device": options.device, "bf16": not options.fp32}
    common |= {"save_every": options.save_every}
    return (
        Recipe((options.vae_steps,), options.vae_batch, options.vae_rate, **common),
        Recipe(tuple(options.steps), options.batch, options.rate, **common),
    )


def _lessons(vae: Any, shown: Pictures, options: argparse.Namespace, recipe: Recipe, work: Path) -> denoiser.Lessons:
    mark = autoencoder.mark(vae, shown)
    latents = autoencoder.cached(vae, shown, recipe.device, work / f"latents-{mark}.npy")
    return denoiser.Lessons(latents, recipe, mark, options.text_steps)


def _parameters(vae: Any, model: denoiser.Denoiser) -> dict[str, int]:
    parts = {"vae": vae, "unet": model.networks["unet"], "text": model.networks["text_encoder"]}
    return {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}


def _check(options: argparse.Namespace) -> None:
    """What would otherwise fail after hours."""
    saving.check(options.out)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    options.device = models.choose_device(options.device, gpus, mps=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tedbench_methods.toy", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the model")
    add("--work", type=Path, help="folder of pictures, latents and states; OUT-work where none is given")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--pictures", type=_count, default=40_000, help="pictures to learn from")
    add("--processes", type=_count, default=2, help="that draw the pictures")
    add("--vae-steps", type=_count, default=4_000)
    add("--vae-batch", type=_count, default=16)
    add("--vae-rate", type=float, default=1e-3)
    add("--text-steps", type=_count, default=500, help="of the text encoder, before the denoiser")
    add(
        "--steps",
        type=_count,
        nargs="+",
        default=[4_000, 8_000],
        help="of the denoiser, by cycles of its learning rate",
    )
    add("--batch", type=_count, default=32)
    add("--rate", type=float, default=6e-4)
    add("--channels", type=_count, nargs=3, default=denoiser.CHANNELS, help="widths of the U-Net, multiples of 32")
    add("--seed", type=int, default=0)
    add("--fp32", action="store_true", help="compute in float32 throughout")
    add("--save-every", type=_count, default=250, help="steps between two states")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


if __name__ == "__main__":
    main()
