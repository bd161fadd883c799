"""The text encoder learns to tell what a text says before any picture hangs on it, and is then held.

Stable Diffusion takes a text encoder that was trained before; this one reads the world's captions, and a linear map of
the mean of its last hidden states must say of each attribute which value was named, or that none was. The linear map is
thrown away. Trained together with the U-Net from nothing, the encoder leaves the finer words unbound for thousands of
steps: a colour changes an error by a hundredth of what a place does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tedbench.datasets import toy, toy_captions
from tedbench_methods.toy import pictures
from tedbench_methods.toy.training import Random, Recipe, Stage, train

if TYPE_CHECKING:
    from tedbench_methods.toy.denoiser import Denoiser

BATCH, RATE = 128, 1e-3


def school(model: Denoiser, recipe: Recipe, steps: int, count: int, work: Path) -> Stage:
    """Teach a denoiser's text encoder in place, in float32.

    Args:
        model: a denoiser; only its text encoder changes.
        recipe: the denoiser's, for seed and device.
        steps: of this training.
        count: pictures whose captions are read.
        work: folder of the training's state, in text.pt.
    """
    encoder: Any = model.networks["text_encoder"]
    sizes = [len(values) + 1 for values in toy.ATTRIBUTES.values()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        reader = nn.Linear(encoder.config.hidden_size, sum(sizes)).to(recipe.device)

    def loss(random: Random) -> Tensor:
        rng = random.numpy
        told = [pictures.told(int(index), rng) for index in rng.integers(count, size=BATCH)]
        wanted = torch.tensor([answers(scene, mention) for scene, mention, _ in told], device=recipe.device)
        found = reader(model.embed([text for *_, text in told]).mean(1)).split(sizes, dim=1)
        return torch.stack([nn.functional.cross_entropy(o, y) for o, y in zip(found, wanted.T, strict=True)]).sum()

    both = nn.ModuleDict({"text_encoder": encoder, "reader": reader})
    how = replace(recipe, cycles=(steps,), batch=BATCH, rate=RATE, bf16=False)
    record = train(both, loss, how, work / "text.pt", {"captions": f"{pictures.fingerprint()}-{count}"})
    encoder.requires_grad_(False)
    return Stage(how, record)


def answers(scene: toy.Scene, mention: list[str]) -> list[int]:
    """Of each attribute the number of the value that a text names; one more than there are where it names none."""
    named = {*mention, *toy_captions.ALWAYS} - ({"pose"} if scene.pose == "still" else set())
    return [
        values.index(getattr(scene, name)) if name in named else len(values) for name, values in toy.ATTRIBUTES.items()
    ]
