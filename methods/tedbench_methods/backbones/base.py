"""What a method sees of a text-to-image model, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from tedbench_methods.backbones.schedule import Schedule
from tedbench_methods.backbones.text import Text


class Backbone(Protocol):
    """A text-to-image diffusion model: texts and images to tensors and back, and a network that predicts.

    x_0 is what the network diffuses: latents of an autoencoder, or pixels. The shared networks are frozen; whoever
    trains, trains copies, and works on the backbone with these in their place.
    """

    @property
    def name(self) -> str:
        """Which model this is, with a hash of its files or the hub's commit."""
        ...

    @property
    def content(self) -> str:
        """Hash of its files, wherever they lie: two models of equal content are one."""
        ...

    @property
    def size(self) -> int:
        """Side of its images in pixels."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one x_0, without the batch axis."""
        ...

    @property
    def schedule(self) -> Schedule:
        """Its noise schedule."""
        ...

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What methods may fine-tune, by name: one network, or those of a cascade."""
        ...

    @property
    def device(self) -> torch.device:
        """Where tensors are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in; everything else is float32."""
        ...

    @property
    def masters(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Network → its weights in float32, where it computes in 16 bits and has lost some of them; else empty."""
        ...

    def exchanged(self, copies: Mapping[str, nn.Module]) -> Backbone:
        """The same model with copies in the place of some networks; this one stays as it is."""
        ...

    def embed(self, texts: Sequence[str]) -> Text:
        """Embeddings of B texts."""
        ...

    def embed_nothing(self) -> Text:
        """The embedding that stands for no text in classifier-free guidance; a batch of 1."""
        ...

    def encode(self, image: Image.Image) -> Tensor:
        """x_0 of an RGB image of any size, (1, …) float32: the largest centred square, at the model's size."""
        ...

    def decode(self, x_0: Tensor, text: Text) -> list[Image.Image]:
        """B RGB images of `size`. Latent models ignore the text; the upper stages of a cascade read it."""
        ...

    def predict(self, x_t: Tensor, t: Tensor, text: Text) -> Tensor:
        """The network's raw output, float32, like x_t.

        Args:
            x_t: (B, …) float32.
            t: (B,) times, whole or not.
            text: B texts.
        """
        ...

    def lessons(self, image: Image.Image, x_0: Tensor, e_opt: Text, e_tgt: Text) -> Sequence[Lesson]:
        """What Imagic's stage B trains: one lesson, or one for each stage of a cascade.

        Args:
            image: the input; the upper stages of a cascade want it larger than `x_0`.
            x_0: `encode(image)`, made once.
            e_opt: optimised embedding, for the network that makes the image.
            e_tgt: target embedding, for those that enlarge it.
        """
        ...


@dataclass(frozen=True, eq=False)
class Lesson:
    """One network's share of fine-tuning: its name in `networks`, and the loss to bring down."""

    name: str
    shape: tuple[int, ...]
    """Of the noise, without the batch axis."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """Times (B,) and noise (B, *shape) → a scalar."""


def denoising_loss(backbone: Backbone, x_0: Tensor, text: Text, t: Tensor, eps: Tensor) -> Tensor:
    """‖target − output‖², the mean over everything: the loss a diffusion model is trained on, in its own terms.

    Args:
        backbone: whose network, schedule and conditioning count.
        x_0: (1, …).
        text: a batch of 1.
        t: (B,) times.
        eps: (B, …) noise.
    """
    schedule = backbone.schedule
    output = backbone.predict(schedule.add_noise(x_0, eps, t), t, text.repeat(len(t)))
    return torch.nn.functional.mse_loss(output, schedule.target(x_0, eps, t))
