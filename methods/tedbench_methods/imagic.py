"""Imagic: text-based real image editing with diffusion models (Kawar et al., arXiv 2210.09276).

    A   e_opt = argmin_e E_{t,ε} ‖ target(x_0, ε, t) − f_θ(x_t, t, e) ‖²,   from e = e_tgt, θ frozen     (equation 2)
    B   θ_opt = argmin_θ of the same loss, with e = e_opt held
    C   ē = η · e_tgt + (1 − η) · e_opt,   then sample from f_θopt under ē                              (equation 3)

The target is ε, v or x_0, as the model predicts it. The input is encoded once, the text once; times and noises of A and
B come from the pair and the seed. The shared model stays as it is: A and B work on a copy, and what it has learned is
returned. Presets, with what each source does not state marked as ours:

    paper-sd      Kawar et al., supplement, on Stable Diffusion: A 1000 steps at 2e-3, B 1500 at 5e-7, whole U-Net.
                  Ours: batch 1, Adam for B, 50 steps of DDIM, guidance 7.5.
    paper-imagen  Kawar et al., section 4.1, on Imagen's 64×64 model: A 100 at 1e-3, B 1500.
                  Ours: B's rate 5e-7, batch, sampling and guidance as above.
    community     diffusers' community pipeline: A 500 at 1e-3, B 1000 at 2e-6, whole U-Net, 50 steps, guidance 7.5.
    low-memory    Ours, for 12 GB with SD 1.5 at 512²: A 1000 at 2e-3, B 1500 at 1e-4 on LoRA of rank 4 (the rates of a
                  public port with LoRA), gradient checkpointing, bf16, four images of a sweep at once.
    toy           Ours, for the toy model: A 20 at 6e-2, B 60 at 1e-4, batch 4, 15 steps, guidance 2.
    check         Ours: a few steps, to see that all works.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from tedbench import facts, images
from tedbench.errors import UnknownName, UsageError
from tedbench.types import EditPair, Strength
from tedbench_methods.backbones import Backbone, Text, denoising_loss, interpolate
from tedbench_methods.backbones.method import Guided, check_strengths, noise
from tedbench_methods.backbones.sampling import Denoiser, generator, in_batches, sample
from tedbench_methods.backbones.tuning import (
    Descent,
    Optimizer,
    Scope,
    check_installed,
    copied,
    descend,
    learned,
    taught,
    unfreeze,
)
from tedbench_methods.fits import Fit, Shelf, made_for

Sampler = Literal["ddim", "ddpm"]
EDITING = ("sampler", "steps", "guidance", "batch", "extrapolate", "fits", "checkpointing")
"""Fields that do not move a fit."""


@dataclass(frozen=True)
class Imagic(Guided):
    """Reads `target_text`; its strength is η. One fit serves the whole sweep, which is sampled from one noise."""

    strength: ClassVar[Strength] = Strength(
        "eta", "η", default=0.7, grid=tuple(i / 10 for i in range(11)), low=0.0, high=1.0
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({
        "paper-sd": {},
        "paper-imagen": {"embedding_steps": 100, "embedding_rate": 1e-3},
        "community": {"embedding_steps": 500, "embedding_rate": 1e-3, "tuning_steps": 1000, "tuning_rate": 2e-6},
        "low-memory": {"tuning": "lora", "tuning_rate": 1e-4, "checkpointing": True, "dtype": "bf16", "batch": 4},
        "toy": {
            "embedding_steps": 20, "embedding_rate": 6e-2, "tuning_steps": 60, "tuning_rate": 1e-4, "fit_batch": 4,
            "steps": 15, "guidance": 2.0,
        },
        "check": {"embedding_steps": 3, "embedding_rate": 0.1, "tuning_steps": 3, "tuning_rate": 1e-4, "steps": 4},
    })  # fmt: skip
    embedding_steps: int = 1000
    """Of stage A; 0 keeps e_tgt."""
    embedding_rate: float = 2e-3
    """Adam's learning rate in stage A."""
    tuning_steps: int = 1500
    """Of stage B; 0 is the paper's ablation without fine-tuning."""
    tuning_rate: float = 5e-7
    """Adam's learning rate in stage B."""
    tuning: Scope = "whole"
    """What stage B moves: the whole network, or LoRA adapters (needs peft)."""
    rank: int = 4
    """Of the LoRA adapters."""
    fit_batch: int = 1
    """Times and noises drawn for each step of A and B."""
    optimizer: Optimizer = "adam"
    """Of stage B: adam, or adam8bit (needs bitsandbytes)."""
    checkpointing: bool = False
    """Compute activations twice instead of keeping them."""
    sampler: Sampler = "ddim"
    """The paper found DDIM slightly better."""
    extrapolate: bool = False
    """Allow η > 1."""
    fits: str = ""
    """Folder in which fits are kept and looked up; empty for none."""

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing.

        Raises:
            UsageError: for such settings.
        """
        super().__post_init__()
        if min(self.embedding_steps, self.tuning_steps) < 0 or min(self.fit_batch, self.rank) < 1:
            raise UsageError("imagic: steps of A and B start at 0, fit_batch and rank at 1")
        for rate in (self.embedding_rate, self.tuning_rate):
            if not 0 < rate < math.inf:
                raise UsageError(f"imagic: rate {rate} is no learning rate; give a small positive number, as 1e-3")
        for name, known in (("tuning", Scope), ("optimizer", Optimizer), ("sampler", Sampler)):
            if getattr(self, name) not in get_args(known):
                raise UnknownName(f"{name} of imagic", str(getattr(self, name)), get_args(known))

    def prepare(self) -> None:
        """Load the model, and refuse what would fail after a fit that took minutes."""
        super().prepare()
        check_installed(self.tuning if self.tuning_steps else "whole", self.optimizer)
        Shelf.check(self.fits)

    def fit(self, pair: EditPair, seed: int) -> Fit:
        """Stages A and B; from the folder of fits, if it is there."""
        backbone = self.backbone
        unmoved = (*EDITING, "model", "device", "dtype")  # of these the shelf looks at what they have become
        moving = {name: value for name, value in dataclasses.asdict(self).items() if name not in unmoved}
        shelf = Shelf(self.fits, {**moving, "class": type(self).__qualname__}, backbone, pair, seed)
        fit = shelf.find()
        if fit is None:
            started = time.perf_counter()
            fit = optimise(self, backbone, pair, seed)
            fit = dataclasses.replace(fit, seconds=time.perf_counter() - started)
            shelf.keep(fit)
        facts.note(loss={stage: loss.tolist() for stage, loss in fit.losses.items()}, fit_seconds=fit.seconds)
        return fit

    def edit(self, pair: EditPair, state: Fit, strengths: Sequence[float], seed: int) -> list[Image.Image]:
        """Stage C: one image an η, all at once, from one noise.

        Raises:
            UsageError: for an η below 0, or above 1 without `extrapolate`.
            MethodError: if the fit was made on another model, or for another pair.
        """
        check_strengths(strengths, self.strength, self.extrapolate)
        backbone = self.backbone
        state.check(backbone, pair)
        tuned = backbone.exchanged({
            name: taught(backbone.networks[name], weights) for name, weights in state.weights.items()
        })  # fmt: skip
        x_T = noise(backbone, pair, seed)
        e_tgt, e_opt = (e.map(lambda part: part.to(backbone.device)) for e in (state.e_tgt, state.e_opt))
        path = backbone.schedule.path(self.steps)

        def make(which: Sequence[int]) -> list[Image.Image]:
            n, text = len(which), interpolate(e_tgt, e_opt, [strengths[i] for i in which])
            ddpm = generator(pair, seed, "ddpm") if self.sampler == "ddpm" else None
            denoise = Denoiser(tuned, text, [self.guidance] * n)
            x = sample(denoise, x_T.expand(n, *x_T.shape[1:]), [path] * n, ddpm)
            return tuned.decode(x, e_tgt.repeat(n))

        return in_batches(len(strengths), self.batch, make)


def optimise(how: Imagic, backbone: Backbone, pair: EditPair, seed: int) -> Fit:
    """Stages A and B on copies of a model's networks.

    Returns:
        Both embeddings, what the networks learned (nothing without stage B), and the losses of A (`embedding`) and B
        (by network), each before its step.
    """
    image = images.read(pair.image)
    x_0, e_tgt = backbone.encode(image), backbone.embed([pair.target_text])
    masters = backbone.masters if how.tuning == "whole" else {}
    copies = {
        name: copied(network, how.checkpointing, masters.get(name)) for name, network in backbone.networks.items()
    }
    working = backbone.exchanged(copies)
    source, scaled = generator(pair, seed, "stage A"), backbone.dtype == torch.float16
    descent = Descent(how.embedding_steps, how.embedding_rate, how.fit_batch, scaled=scaled)
    e_opt, loss_a = optimise_embedding(working, x_0, e_tgt, descent, source)
    losses: dict[str, Tensor] = {"embedding": loss_a}
    weights: dict[str, Mapping[str, Tensor]] = {}
    descent = Descent(how.tuning_steps, how.tuning_rate, how.fit_batch, how.optimizer, scaled)
    for lesson in working.lessons(image, x_0, e_opt, e_tgt) if how.tuning_steps else ():
        moving = unfreeze(copies[lesson.name], how.tuning, how.rank, generator(pair, seed, f"LoRA {lesson.name}"))
        source = generator(pair, seed, f"stage B {lesson.name}")
        losses[lesson.name] = descend(moving, lesson.loss, backbone.schedule, lesson.shape, descent, source)
        weights[lesson.name] = learned(copies[lesson.name])
    return Fit(backbone.name, backbone.content, made_for(pair), e_tgt, e_opt, weights, losses)


def optimise_embedding(backbone: Backbone, x_0: Tensor, e_tgt: Text, how: Descent, source: Any) -> tuple[Text, Tensor]:
    """Stage A: e_opt, from e_tgt, with the model frozen.

    Args:
        backbone: with frozen networks.
        x_0: (1, …).
        e_tgt: a batch of 1; stays as it is.
        how: steps, rate and batch.
        source: a CPU generator of times and noises.

    Returns:
        e_opt, and the loss before each step, (steps,).
    """
    e = e_tgt.map(lambda part: part.detach().clone().requires_grad_(True))

    def loss(t: Tensor, eps: Tensor) -> Tensor:
        return denoising_loss(backbone, x_0, e, t, eps)

    losses = descend(list(e.parts.values()), loss, backbone.schedule, backbone.shape, how, source)
    return e.map(lambda part: part.detach()), losses
