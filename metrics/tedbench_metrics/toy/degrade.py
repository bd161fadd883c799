"""What a picture may lose and still be read: blur, tone, noise, a smaller size and back, the blocks of a JPEG, a shift.

All functions map (B, 3, 64, 64) in [0, 1] to the same, and draw from a generator.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn


def mild(images: Tensor, g: torch.Generator, share: float = 0.5) -> Tensor:
    """Each kind of loss on a random `share` of the pictures.

    Args:
        images: (B, 3, 64, 64) in [0, 1].
        g: a generator on the CPU.
        share: part of the pictures that each kind befalls.
    """
    images = images.clone()
    for kind in (tone, rescaled, blurred, jpeg, noisy):
        hit = (torch.rand(len(images), generator=g) < share).nonzero().flatten()
        images[hit] = kind(images[hit], g)
    return images.clamp(0, 1)


def shifted(images: Tensor, boxes: Tensor, g: torch.Generator, most: int = 3) -> tuple[Tensor, Tensor]:
    """Pictures moved by up to `most` pixels, their edges repeated, and the boxes with them."""
    padded = nn.functional.pad(images, (most,) * 4, mode="replicate")
    dx, dy = (torch.randint(0, 2 * most + 1, (len(images),), generator=g) for _ in range(2))
    side = images.shape[-1]
    moved = [p[:, y : y + side, x : x + side] for p, x, y in zip(padded, dx.tolist(), dy.tolist(), strict=True)]
    step = torch.stack([dx, dy, dx, dy], 1).to(boxes) - most
    return torch.stack(moved), (boxes - step).clamp(0, side)


def tone(images: Tensor, g: torch.Generator) -> Tensor:
    """Light, contrast, gamma and the balance of colours, by a few percent."""
    b = len(images)
    gain = 1 + 0.08 * _signed((b, 1, 1, 1), g) + 0.03 * _signed((b, 3, 1, 1), g)
    gamma = 1 + 0.1 * _signed((b, 1, 1, 1), g)
    lift = 0.03 * _signed((b, 1, 1, 1), g)
    return (images.clamp(1e-4, 1) ** gamma.to(images) * gain.to(images) + lift.to(images)).clamp(0, 1)


def blurred(images: Tensor, g: torch.Generator, most: float = 1.0) -> Tensor:
    """A mixture of the picture and its blur with sigma 1."""
    weight = most * torch.rand(len(images), 1, 1, 1, generator=g).to(images)
    return images + weight * (gaussian(images, 1.0) - images)


def rescaled(images: Tensor, g: torch.Generator, least: int = 36) -> Tensor:
    """Down to a smaller size, the same for all, and back."""
    side = images.shape[-1]
    size = int(torch.randint(least, side, (), generator=g))
    small = nn.functional.interpolate(images, size=size, mode="area")
    return nn.functional.interpolate(small, size=side, mode="bicubic").clamp(0, 1)


def noisy(images: Tensor, g: torch.Generator, most: float = 0.03) -> Tensor:
    """Gaussian noise of up to `most`."""
    sigma = most * torch.rand(len(images), 1, 1, 1, generator=g)
    return (images + (sigma * torch.randn(images.shape, generator=g)).to(images)).clamp(0, 1)


def jpeg(images: Tensor, g: torch.Generator, coarsest: float = 0.12) -> Tensor:
    """Blocks of 8x8 rounded in the cosine basis, the more coarsely the finer the wave."""
    b, c, h, w = images.shape
    basis = cosines(8).to(images)
    blocks = images.reshape(b, c, h // 8, 8, w // 8, 8).transpose(3, 4)
    waves = basis @ blocks @ basis.T
    order = torch.arange(8).to(images)
    coarse = (0.25 + 0.75 * (order[:, None] + order) / 14) * coarsest
    step = coarse * (0.2 + 0.8 * torch.rand(b, 1, 1, 1, 1, 1, generator=g).to(images))
    back = basis.T @ ((waves / step).round() * step) @ basis
    return back.transpose(3, 4).reshape(b, c, h, w).clamp(0, 1)


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, edges repeated."""
    reach = math.ceil(3 * sigma)
    x = torch.arange(-reach, reach + 1).to(images)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    padded = nn.functional.pad(images, (reach,) * 4, mode="replicate")
    across = nn.functional.conv2d(padded, kernel, groups=images.shape[1])
    return nn.functional.conv2d(across, kernel.transpose(2, 3), groups=images.shape[1])


@functools.cache
def cosines(n: int) -> Tensor:
    """The orthonormal DCT-II, (n, n)."""
    k, x = torch.arange(n)[:, None].double(), torch.arange(n).double()
    basis = torch.cos(math.pi * (2 * x + 1) * k / (2 * n)) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis.float()


def _signed(shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=g) - 1
