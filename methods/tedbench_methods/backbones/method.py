"""The fields that every method on a diffusion model has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from tedbench import facts, models
from tedbench.errors import UsageError
from tedbench.types import EditPair, Strength
from tedbench_methods.backbones.base import Backbone
from tedbench_methods.backbones.borrowed import Lender
from tedbench_methods.backbones.loading import check_dtype, load, revision
from tedbench_methods.backbones.sampling import generator, normal


@dataclass(frozen=True)
class OnModel:
    """A model, and where and how precisely it computes."""

    model: str = ""
    """Folder in diffusers' format, or hub id ORG/NAME@REVISION."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """What the network computes in: auto (bf16 on CUDA, else fp32), fp32, bf16 or fp16."""

    def __post_init__(self) -> None:
        """Refuse what can be refused before a model is loaded."""
        models.check_device(self.device)
        check_dtype(self.dtype)

    @property
    def backbone(self) -> Backbone:
        """The shared model, loaded once a process; which one it is becomes a fact of the cells."""
        backbone = load(self.model, self.device, self.dtype)
        note_execution(backbone)
        return backbone

    def prepare(self) -> None:
        """Load the model, so that what cannot work fails before the first pair, and no fit is timed with it."""
        _ = self.backbone

    def revision(self) -> str:
        """The model by its content or commit, found but not loaded."""
        return revision(self.model)


@dataclass(frozen=True)
class Sampling(OnModel):
    """How images are drawn from the model."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({
        "check": {"steps": 4}, "toy": {"steps": 50},
    })  # fmt: skip
    steps: int = 50
    """Of the sampler, from pure noise to the clean end."""
    batch: int = 0
    """Most images of a sweep computed at once; 0 for all of them. Halved where memory runs out."""

    def __post_init__(self) -> None:
        """Refuse settings that no model allows."""
        super().__post_init__()
        if self.steps < 1 or self.batch < 0:
            raise UsageError(f"steps {self.steps} and batch {self.batch}: steps start at 1, batch at 0 (all at once)")

    def prepare(self) -> None:
        """Load the model, and refuse a number of steps that it does not allow."""
        self.backbone.schedule.path(self.steps)


@dataclass(frozen=True)
class Guided(Sampling):
    """Sampling with one guidance for every image."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({
        "check": {"steps": 4}, "toy": {"steps": 15, "guidance": 3.0},
    })  # fmt: skip
    guidance: float = 7.5
    """Weight w of classifier-free guidance; 1 is none."""

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        if not math.isfinite(self.guidance):
            raise UsageError(f"guidance {self.guidance} is no weight; give a finite number, as 7.5")


def note_execution(model: Backbone | Lender) -> None:
    """Note what decides about bytes: model, device, dtype, threads."""
    precision = str(model.dtype).removeprefix("torch.")
    facts.note(model=model.name, device=str(model.device), dtype=precision, threads=torch.get_num_threads())


def noise(backbone: Backbone, pair: EditPair, seed: int) -> Tensor:
    """x_T of a pair and seed, (1, …), the same for every method on this model."""
    return normal((1, *backbone.shape), generator(pair, seed, "x_T")).to(backbone.device)


def check_strengths(strengths: Sequence[float], knob: Strength, beyond: bool = False) -> None:
    """Refuse strengths outside a knob's range.

    Args:
        strengths: as they were asked for.
        knob: with its range.
        beyond: whether the user allowed them to go above it.

    Raises:
        UsageError: naming the first one outside.
    """
    for strength in strengths:
        if not knob.low <= strength <= (float("inf") if beyond else knob.high) or not math.isfinite(strength):
            raise UsageError(f"{knob.name} {float(strength)!r} is outside [{knob.low:g}, {knob.high:g}]")
