"""Stable Diffusion 1.x, 2.x and XL, as diffusers loads them.

x_0 are the autoencoder's latents: (mean of q(z|image) − shift) · scaling factor. Texts are embedded by the pipeline's
own `encode_prompt`; what size, factor, prediction and schedule are is read off the model's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tedbench import facts, images, models
from tedbench.errors import MethodError
from tedbench_methods.backbones.base import Lesson, denoising_loss
from tedbench_methods.backbones.schedule import Schedule, from_diffusers
from tedbench_methods.backbones.text import Text


@dataclass(frozen=True, eq=False)
class StableDiffusion:
    """SD 1.x and 2.x: one text encoder, whose last hidden states are all that the U-Net reads of a text."""

    name: str
    content: str
    pipe: Any
    """A diffusers pipeline; only its parts are used, never its call."""
    device: torch.device
    dtype: torch.dtype
    masters: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """The U-Net's float32 weights as they were read, where it computes in 16 bits."""
    copies: Mapping[str, nn.Module] = field(default_factory=dict)
    """Networks that stand in for the shared ones."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The U-Net, shared or a copy."""
        return {"unet": self.pipe.unet, **self.copies}

    def exchanged(self, copies: Mapping[str, nn.Module]) -> Self:
        """The same model with another U-Net."""
        return replace(self, copies={**self.copies, **copies})

    @cached_property
    def schedule(self) -> Schedule:
        """Read off the scheduler's configuration."""
        return from_diffusers(self.pipe.scheduler)

    @property
    def size(self) -> int:
        """The U-Net's latent side times the autoencoder's factor."""
        return self.shape[-1] * int(self.pipe.vae_scale_factor)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of the latents."""
        config = self.pipe.unet.config
        sides = config.sample_size if isinstance(config.sample_size, list | tuple) else [config.sample_size]
        if len(set(sides)) != 1 or not isinstance(sides[0], int):
            raise MethodError(
                f"model {self.name!r} draws {config.sample_size} latents; only square ones are known here"
            )
        return int(config.in_channels), sides[0], sides[0]

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Text:
        """`hidden` (B, L, D)."""
        note_cut(self.pipe.tokenizer, texts)
        with models.quiet():
            hidden, _ = self.pipe.encode_prompt(list(texts), self.device, 1, do_classifier_free_guidance=False)
        return Text({"hidden": hidden.float()})

    def embed_nothing(self) -> Text:
        """The embedding of the empty text."""
        return self.embed([""])

    @torch.no_grad()
    def encode(self, image: Image.Image) -> Tensor:
        """Latents (1, C, h, w) of the largest centred square, at the model's size; the mean, no sample."""
        pixels = torch.from_numpy(images.to_signed(images.fit(image, self.size)))[None].to(self.device)
        found = self.pipe.vae.encode(pixels)
        z = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents  # AutoencoderKL, or Tiny
        factor, shift = self._scaling
        x_0: Tensor = (z - shift) * factor
        return x_0.float()

    @torch.no_grad()
    def decode(self, x_0: Tensor, text: Text) -> list[Image.Image]:  # noqa: ARG002
        """B RGB images; one at a time, since a batch of large ones needs more memory than the sweep itself.

        Raises:
            MethodError: if a value is not finite, which would become a black pixel without a word.
        """
        factor, shift = self._scaling
        decoded = [self.pipe.vae.decode(z[None] / factor + shift).sample[0] for z in x_0]
        return [_to_image(pixels) for pixels in decoded]

    def predict(self, x_t: Tensor, t: Tensor, text: Text) -> Tensor:
        """The U-Net's output, float32, (B, C, h, w)."""
        with self._precision():
            output: Tensor = self.networks["unet"](
                x_t, t.to(self.device, torch.float32), encoder_hidden_states=text.parts["hidden"],
                added_cond_kwargs=self._conditions(text), return_dict=False,
            )[0]  # fmt: skip
        return output.float()

    def lessons(self, image: Image.Image, x_0: Tensor, e_opt: Text, e_tgt: Text) -> list[Lesson]:  # noqa: ARG002
        """One: the U-Net, on the image's latents x_0, under e_opt."""
        return [Lesson("unet", self.shape, partial(denoising_loss, self, x_0, e_opt))]

    def _conditions(self, text: Text) -> dict[str, Tensor] | None:  # noqa: ARG002
        return None

    def _precision(self) -> AbstractContextManager[Any]:
        # Inputs and masters stay float32; autocast decides by operation. A network stored in 16 bits runs in them.
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    @cached_property
    def _scaling(self) -> tuple[float, float]:
        config = self.pipe.vae.config
        return float(config.scaling_factor), float(getattr(config, "shift_factor", None) or 0.0)


class StableDiffusionXL(StableDiffusion):
    """SDXL: two text encoders and their pooled embedding, which is text too; sizes and crop go in as time ids."""

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Text:
        """`hidden` (B, L, D1 + D2) and `pooled` (B, P)."""
        note_cut(self.pipe.tokenizer, texts)
        with models.quiet():
            hidden, _, pooled, _ = self.pipe.encode_prompt(
                list(texts), device=self.device, do_classifier_free_guidance=False
            )
        return Text({"hidden": hidden.float(), "pooled": pooled.float()})

    def embed_nothing(self) -> Text:
        """Zeros where the model was trained so (`force_zeros_for_empty_prompt`), else the empty text's embedding."""
        nothing = self.embed([""])
        return nothing.map(torch.zeros_like) if self.pipe.config.force_zeros_for_empty_prompt else nothing

    def _conditions(self, text: Text) -> dict[str, Tensor]:
        pooled = text.parts["pooled"]
        # Original size, corner of the crop, target size: neither enlarged nor cropped (arXiv 2307.01952, section 2.2).
        ids = torch.tensor([[self.size, self.size, 0, 0, self.size, self.size]], dtype=torch.float32)
        return {"text_embeds": pooled, "time_ids": ids.to(self.device).expand(len(pooled), -1)}


def note_cut(tokenizer: Any, texts: Sequence[str]) -> None:
    """Note the texts that are longer than the encoder's window, whose ends it does not see."""
    with models.quiet():
        lengths = [len(tokenizer(text).input_ids) for text in texts]
    cut = [text for text, length in zip(texts, lengths, strict=True) if length > tokenizer.model_max_length]
    if cut:
        facts.note(text_cut=cut)


def _to_image(pixels: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] to an 8-bit RGB image."""
    if not torch.isfinite(pixels).all():
        raise MethodError("the model gave values that are not finite; try fp32, a smaller rate or less guidance")
    unit = (pixels.float() / 2 + 0.5).clamp(0, 1)
    return Image.fromarray((unit * 255).round().byte().permute(1, 2, 0).cpu().numpy().astype(np.uint8))
