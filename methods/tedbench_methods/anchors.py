"""Cheap answers that any method must beat before it claims anything.

identity:    x                         the best fidelity there is; loads no model, so it has a file of its own
autoencoder: D(E(x))                   what the model's latents cost, before any edit
text-only:   G(text, ε)                the text heard, the input ignored
crossfade:   (1 − a) x + a G(text, ε)  pixels of both, blended
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from tedbench import images
from tedbench.types import EditPair, Strength
from tedbench_methods.backbones.method import Guided, OnModel, check_strengths, noise
from tedbench_methods.backbones.sampling import Denoiser, sample

NO_KNOB = Strength("none", "–", default=0.0, grid=(0.0,), low=0.0, high=0.0)
"""Nominal: there is nothing to turn."""


@dataclass(frozen=True)
class Autoencoder(OnModel):
    """The input through the model's autoencoder and back; reads no text and no seed."""

    strength: ClassVar[Strength] = NO_KNOB
    deterministic: ClassVar[bool] = True

    def fit(self, pair: EditPair, seed: int) -> None:
        """Learn nothing."""

    def edit(self, pair: EditPair, state: None, strengths: Sequence[float], seed: int) -> list[Image.Image]:  # noqa: ARG002
        """One copy of the round trip a strength."""
        backbone = self.backbone
        (decoded,) = backbone.decode(backbone.encode(images.read(pair.image)), backbone.embed([""]))
        return [decoded.copy() for _ in strengths]


@dataclass(frozen=True)
class TextOnly(Guided):
    """An image of the target text, drawn by DDIM from the noise that every method starts from; ignores the input."""

    strength: ClassVar[Strength] = NO_KNOB

    def fit(self, pair: EditPair, seed: int) -> None:
        """Learn nothing."""

    def edit(self, pair: EditPair, state: None, strengths: Sequence[float], seed: int) -> list[Image.Image]:  # noqa: ARG002
        """One copy of the drawn image a strength."""
        image = drawn(self, pair, seed)
        return [image.copy() for _ in strengths]


@dataclass(frozen=True)
class Crossfade(Guided):
    """Blends the pixels of the input with those of the text-only image; its strength is the latter's weight."""

    strength: ClassVar[Strength] = Strength(
        "weight", "a", default=0.5, grid=tuple(i / 10 for i in range(11)), low=0.0, high=1.0
    )

    def fit(self, pair: EditPair, seed: int) -> None:
        """Learn nothing."""

    def edit(self, pair: EditPair, state: None, strengths: Sequence[float], seed: int) -> list[Image.Image]:  # noqa: ARG002
        """One blend a weight, at the model's size; 0 is the input, 1 the text-only image.

        Raises:
            UsageError: for a weight outside [0, 1].
        """
        check_strengths(strengths, self.strength)
        other = images.to_uint8(drawn(self, pair, seed)).astype(np.float64)
        x = images.to_uint8(images.fit(images.read(pair.image), len(other))).astype(np.float64)
        return [Image.fromarray(np.rint((1 - a) * x + a * other).astype(np.uint8)) for a in strengths]


def drawn(how: Guided, pair: EditPair, seed: int) -> Image.Image:
    """The image a model draws for a pair's target text."""
    backbone = how.backbone
    text = backbone.embed([pair.target_text])
    denoise = Denoiser(backbone, text, [how.guidance])
    x = sample(denoise, noise(backbone, pair, seed), [backbone.schedule.path(how.steps)])
    return backbone.decode(x, text)[0]
