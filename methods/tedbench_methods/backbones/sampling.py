"""Walking along a schedule: DDIM both ways, DDPM, guidance, noise from a seed, and sweeps as one batch.

    x_s = α_s x̂_0 + √(σ_s² − σ̃²) ε̂ + σ̃ z,    σ̃² = κ σ_s² (1 − SNR_t / SNR_s),    SNR = α²/σ²

with x̂_0 and ε̂ what the network says of x_t. κ = 0 is DDIM (Song et al. 2020, arXiv 2010.02502, equation 12), κ = 1
DDPM with the posterior's variance (equation 16 there, which is this where α² + σ² = 1).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from tedbench import facts
from tedbench.types import EditPair
from tedbench_methods.backbones.base import Backbone
from tedbench_methods.backbones.schedule import CLEAN, Schedule
from tedbench_methods.backbones.text import Text, cat


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A network under texts and guidance w: output = u + w (c − u), u without text and c with it (arXiv 2207.12598)."""

    backbone: Backbone
    text: Text
    """B texts."""
    guidance: Sequence[float]
    """B weights; 1 is no guidance."""

    @cached_property
    def nothing(self) -> Text:
        """The embedding of no text, made once."""
        return self.backbone.embed_nothing()

    def __call__(self, x_t: Tensor, t: Tensor, which: Sequence[int]) -> tuple[Tensor, Tensor]:
        """x̂_0 and ε̂ of x_t (b, …) at times t (b,), for those of the batch."""
        text, weights = self.text[which], [self.guidance[i] for i in which]
        known = t.clamp(min=0)  # the network knows no time before 0; `CLEAN` has the noise of 0, or none
        if all(w == 1 for w in weights):
            output = self.backbone.predict(x_t, known, text)
        else:
            twice, both = torch.cat([x_t, x_t]), cat([self.nothing.repeat(len(text)), text])
            output = self.backbone.predict(twice, torch.cat([known, known]), both)
            u, c = output.chunk(2)
            w = torch.tensor(weights, dtype=u.dtype, device=u.device).view(-1, *[1] * (u.ndim - 1))
            output = u + w * (c - u)
        return self.backbone.schedule.split(output, x_t, t)


@torch.no_grad()
def sample(
    denoise: Denoiser, x: Tensor, paths: Sequence[Sequence[float]], noise: torch.Generator | None = None
) -> Tensor:
    """Denoise a batch, each member along its own falling path of times and then to the clean end.

    Members with shorter paths join later, so that all arrive together.

    Args:
        denoise: the network under its texts.
        x: (B, …), member i at the noise of paths[i][0]; an empty path leaves it as it is.
        paths: B falling sequences of times.
        noise: a CPU generator makes this DDPM, with one noise a step for the whole batch; None is DDIM.
    """
    x = x.clone()
    for left in range(max(map(len, paths), default=0), 0, -1):
        which = [i for i, path in enumerate(paths) if len(path) >= left]
        t = torch.tensor([paths[i][-left] for i in which], dtype=torch.float64)
        s = torch.tensor([paths[i][1 - left] if left > 1 else CLEAN for i in which], dtype=torch.float64)
        x_0, eps = denoise(x[which], t, which)
        z = None if noise is None else normal((1, *x.shape[1:]), noise).to(x)
        x[which] = _step(denoise.backbone.schedule, (x_0, eps, z), t, s)
    return x


@torch.no_grad()
def encode(denoise: Denoiser, x: Tensor, path: Sequence[float]) -> Tensor:
    """Walk DDIM backwards, from the clean end to path[0], each ε̂ taken at the time and place where x is.

    An explicit Euler step of the ODE: nothing is cached or taken one step off, which would go round better and arrive
    elsewhere.

    Args:
        denoise: the network under its texts.
        x: (B, …) clean.
        path: falling times, as for `sample`; the same path leads back.
    """
    schedule, every = denoise.backbone.schedule, range(len(x))
    for t, s in itertools.pairwise([CLEAN, *reversed(path)]):
        now, then = (torch.full((len(x),), time, dtype=torch.float64) for time in (t, s))
        x_0, eps = denoise(x, now, every)
        x = _step(schedule, (x_0, eps, None), now, then)
    return x


def _step(schedule: Schedule, said: tuple[Tensor, Tensor, Tensor | None], t: Tensor, s: Tensor) -> Tensor:
    x_0, eps, z = said
    shape = (-1, *[1] * (x_0.ndim - 1))
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.coefficients(t), schedule.coefficients(s)
    if z is None:
        return alpha_s.to(x_0).view(shape) * x_0 + sigma_s.to(x_0).view(shape) * eps
    if bool((s == CLEAN).all()):  # DDPM ends in x̂_0 itself
        return x_0
    tilde = sigma_s * (1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2).clamp(min=0).sqrt()
    direction = (sigma_s**2 - tilde**2).clamp(min=0).sqrt()
    a, b, c = (value.to(x_0).view(shape) for value in (alpha_s, direction, tilde))
    return a * x_0 + b * eps + c * z


def generator(pair: EditPair, seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one pair and seed; every method that asks for one purpose gets the same noise.

    Purposes are `x_T` for the noise that sampling starts from, and others as methods need them. Pairs differ, since one
    noise for all of them would correlate their errors.
    """
    digest = hashlib.sha256(f"{seed}\0{pair.uid}\0{purpose}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def normal(shape: Sequence[int], source: torch.Generator) -> Tensor:
    """Standard normal float32 noise, drawn on the CPU, so that all devices agree."""
    return torch.randn(tuple(shape), generator=source)


def in_batches(n: int, size: int, make: Callable[[Sequence[int]], list[Image.Image]]) -> list[Image.Image]:
    """All images of a sweep, as one batch if memory allows, and a note of how it was split.

    Args:
        n: images in the sweep.
        size: most images in a batch; 0 for all.
        make: images of those indices.
    """
    made: list[Image.Image] = []
    batches: list[int] = []
    size = min(size or n, n)
    while len(made) < n:
        which = range(len(made), min(len(made) + size, n))
        try:
            made += make(which)
            batches.append(len(which))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size = (size + 1) // 2
            torch.cuda.empty_cache()
    facts.note(batches=batches, split=len(batches) > 1)
    return made
