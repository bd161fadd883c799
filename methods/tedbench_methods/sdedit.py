"""SDEdit: noise the input part of the way, and denoise it under the target text (Meng et al., arXiv 2108.01073).

    x_t0 = α_t0 · x_0 + σ_t0 · ε,    then denoise from t0 under the target text

t0 in [0, 1] is exact and continuous: α and σ are interpolated in log-SNR at time T · t0, and the first step is a
partial one to the next time of the sampler's grid. Both ends are defined: t0 = 0 is the autoencoder's round trip,
t0 = 1 starts from ε alone. Towards 0 the noise falls to that of time 0, σ of 0.03 in Stable Diffusion, and not below:
its schedule has no less. (diffusers' img2img rounds t0 to whole steps, and at 1 still adds the input.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from tedbench import images
from tedbench.types import EditPair, Strength
from tedbench_methods.backbones.base import Backbone
from tedbench_methods.backbones.method import Guided, check_strengths, noise
from tedbench_methods.backbones.sampling import Denoiser, in_batches, sample


@dataclass(frozen=True)
class SDEdit(Guided):
    """Reads `target_text`; its strength is t0. Deterministic DDIM, one noise for the whole sweep."""

    strength: ClassVar[Strength] = Strength(
        "noise level", "t0", default=0.6, grid=tuple(i / 10 for i in range(11)), low=0.0, high=1.0
    )

    def fit(self, pair: EditPair, seed: int) -> Tensor:  # noqa: ARG002
        """x_0, (1, …): the input as the model sees it."""
        return self.backbone.encode(images.read(pair.image)).cpu()

    def edit(self, pair: EditPair, state: Tensor, strengths: Sequence[float], seed: int) -> list[Image.Image]:
        """One image a t0, all at once.

        Raises:
            UsageError: for a t0 outside [0, 1].
        """
        check_strengths(strengths, self.strength)
        backbone = self.backbone
        x_0, eps, e_tgt = state.to(backbone.device), noise(backbone, pair, seed), backbone.embed([pair.target_text])

        def make(which: Sequence[int]) -> list[Image.Image]:
            text = e_tgt.repeat(len(which))
            starts = [start(backbone, x_0, eps, strengths[i], self.steps) for i in which]
            denoise = Denoiser(backbone, text, [self.guidance] * len(which))
            x = sample(denoise, torch.cat([x for x, _ in starts]), [path for _, path in starts])
            return backbone.decode(x, text)

        return in_batches(len(strengths), self.batch, make)


def start(backbone: Backbone, x_0: Tensor, eps: Tensor, t0: float, steps: int) -> tuple[Tensor, list[float]]:
    """x_t0, and the falling times from there.

    Args:
        backbone: whose schedule counts.
        x_0: (1, …).
        eps: (1, …).
        t0: in [0, 1].
        steps: of the whole grid; only those below t0 are walked.
    """
    schedule = backbone.schedule
    if t0 == 0:
        return x_0, []
    if t0 == 1:
        return eps, schedule.path(steps)
    t = schedule.time(t0)
    return schedule.add_noise(x_0, eps, torch.tensor([t], dtype=torch.float64)), schedule.path_from(t, steps)
