"""The toy model's autoencoder: diffusers' `AutoencoderTiny`, 64x64 pictures to 4x16x16 latents of about unit variance.

With y = D(E(x) + 0.05 ε) the loss is, over the picture and its halves k = 0, 1, 2,

    Σ_k |x_k − y_k| + |∇x_k − ∇y_k|   +   |x_3 − y_3|   +   0.05 Σ_c μ_c² + (σ_c − 1)²

x_3, means over 8x8 pixels, keeps the tone; μ_c and σ_c are a latent channel's mean and deviation over the batch. The
noise makes the decoder forgive what a denoiser leaves.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from tedbench_methods.toy import pictures
from tedbench_methods.toy.pictures import Pictures
from tedbench_methods.toy.training import Random, Recipe, Record, train

LATENTS = (4, 16, 16)
_WIDTH = 32
_NOISE = 0.05
_UNIT = 0.05
_CHUNK = 64
_HELD_OUT = 256


def build(seed: int) -> Any:
    """An untrained autoencoder; the same seed gives the same weights."""
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoencoderTiny(
            encoder_block_out_channels=(_WIDTH,) * 3, decoder_block_out_channels=(_WIDTH,) * 3,
            num_encoder_blocks=(1, 2, 2), num_decoder_blocks=(2, 2, 1), latent_channels=LATENTS[0],
        )  # fmt: skip


def trained(shown: Pictures, recipe: Recipe, work: Path) -> tuple[Any, Record]:
    """An autoencoder trained on pictures, its scaling factor one over the latents' deviation."""
    vae = build(recipe.seed).to(recipe.device, memory_format=torch.channels_last)
    identity = {"pictures": f"{pictures.fingerprint()}-{len(shown)}"}
    record = train(vae, partial(_loss, vae, shown, recipe), recipe, work / "autoencoder.pt", identity)
    vae.requires_grad_(False).eval()
    deviation = encoded(vae, shown[:1024], recipe.device).astype(np.float32).std()
    vae.register_to_config(scaling_factor=round(1 / float(deviation), 5))
    return vae, record


def loss(x: Tensor, y: Tensor) -> Tensor:
    """How far pictures (B, 3, H, W) in [-1, 1] are apart, at four scales."""
    total = torch.zeros((), device=x.device)
    for _ in range(3):
        total = total + functional.l1_loss(y, x) + _slopes(y - x)
        x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
    return total + functional.l1_loss(y, x)


def encoded(vae: Any, shown: Pictures, device: str) -> NDArray[np.float16]:
    """Scaled latents of pictures as they are and mirrored, (N, 2, 4, 16, 16); always float32 arithmetic."""
    latents = np.empty((len(shown), 2, *LATENTS), np.float16)
    for start in tqdm(range(0, len(shown), _CHUNK), "latents", disable=None):
        x = to_signed(shown[start : start + _CHUNK], device)
        with torch.no_grad():
            z = torch.stack([vae.encode(side).latents for side in (x, x.flip(-1))], 1)
        latents[start : start + len(x)] = (z * vae.config.scaling_factor).cpu().numpy()
    return latents


def cached(vae: Any, shown: Pictures, device: str, file: Path) -> NDArray[np.float16]:
    """The same, kept in a file."""
    if not file.exists():
        np.save(scratch := file.with_suffix(".partial.npy"), encoded(vae, shown, device))
        scratch.replace(file)
    return np.load(file)  # type: ignore[no-any-return]


def mark(vae: Any, shown: Pictures) -> str:
    """What tells the latents of these pictures, under this autoencoder, from others."""
    digest = hashlib.sha256(repr(vae.config.scaling_factor).encode())
    for weight in vae.state_dict().values():
        digest.update(weight.detach().float().cpu().contiguous().numpy().tobytes())
    return f"{digest.hexdigest()[:8]}-{pictures.fingerprint()}-{len(shown)}"


@torch.no_grad()
def quality(vae: Any, count: int, device: str) -> dict[str, float]:
    """Of pictures that training did not see: `psnr` in dB, and `tone`, how far means over 8x8 pixels are off in levels.

    Args:
        vae: the autoencoder.
        count: of pictures in the training, which come first.
        device: the autoencoder's.
    """
    shown = np.stack([pictures.draw(count + index) for index in range(_HELD_OUT)])
    x = to_signed(shown, device)
    parts = torch.tensor_split(x, len(x) // _CHUNK)
    y = torch.cat([vae.decode(vae.encode(part).latents).sample.clamp(-1, 1) for part in parts])
    off = 127.5 * (y - x)
    psnr = 10 * torch.log10(255**2 / off.square().mean((1, 2, 3))).mean()
    return {"psnr": psnr.item(), "tone": functional.avg_pool2d(off, 8).abs().mean().item()}


def to_signed(shown: Pictures, device: str) -> Tensor:
    """(B, H, W, 3) of 0..255 to (B, 3, H, W) in [-1, 1], channels last."""
    pixels = torch.from_numpy(np.array(shown)).permute(0, 3, 1, 2).to(device)
    return pixels.float() / 127.5 - 1


def _loss(vae: Any, shown: Pictures, recipe: Recipe, random: Random) -> Tensor:
    chosen = random.numpy.integers(len(shown), size=recipe.batch)
    mirrored = torch.from_numpy(random.numpy.random(recipe.batch) < 0.5)[:, None, None, None].to(recipe.device)
    x = to_signed(shown[chosen], recipe.device)
    x = torch.where(mirrored, x.flip(-1), x).contiguous(memory_format=torch.channels_last)
    with recipe.precision():
        z = vae.encode(x).latents.float()
        noise = torch.randn(z.shape, generator=random.torch).to(recipe.device)
        y = vae.decode(z + _NOISE * noise).sample
    return loss(x, y.float()) + _UNIT * _distance_from_unit(z)


def _distance_from_unit(z: Tensor) -> Tensor:
    return (z.mean((0, 2, 3)).square() + (z.std((0, 2, 3)) - 1).square()).sum()


def _slopes(off: Tensor) -> Tensor:
    """Mean size of the differences between neighbours: |∇x − ∇y| = |∇(x − y)|."""
    return off.diff(dim=-1).abs().mean() + off.diff(dim=-2).abs().mean()
