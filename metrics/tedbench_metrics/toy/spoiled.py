"""Pictures of the world made into pictures that it does not draw: negatives, blends of two, halves of two, and so on.

All map uint8 or float pictures as float (B, 3, 64, 64) in [0, 1]. The oracle learns to refuse them, and is checked on
them. What might still pass for a picture of the world is left out: see `Spoiled.clear`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tedbench.datasets import toy
from tedbench_metrics.toy import degrade
from tedbench_metrics.toy.album import NAMES, Album

SNOW = 2
FOREIGN = 40.0
"""Levels of 255, as a distance, from which a colour is none of the world's, whatever the light and the tint."""
_COLOUR = NAMES.index("colour")
_PALETTE = torch.tensor([toy._COLOURS[name] for name in toy.ATTRIBUTES["colour"]], dtype=torch.float32)
_COLOUR_ORDERS = ((0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1))


@dataclass(frozen=True)
class Drawn:
    """Pictures, and what a spoiler may need to know of them."""

    images: Tensor
    """(B, 3, 64, 64) in [0, 1]."""
    labels: Tensor
    """(B, 7)."""
    each: int
    """Pictures a group of one seed."""


@dataclass(frozen=True)
class Spoiled:
    """Pictures that are none of the world's."""

    images: Tensor
    clear: Tensor
    """(B,), bool: whether a picture differs enough from all that the world draws."""


Spoiler = Callable[[Drawn, torch.Generator], Spoiled]


def draw_from(album: Album, groups: Tensor) -> Drawn:
    """Pictures of some groups of an album."""
    which = album.members(groups)
    return Drawn(album.pixels[which].float() / 255, album.labels[which], album.each)


def spoil(drawn: Drawn, g: torch.Generator) -> Spoiled:
    """Each picture in one way, drawn by chance by the ways' shares."""
    shares = torch.tensor([SHARES.get(name, 1.0) for name in SPOILERS])
    which = shares.multinomial(len(drawn.images), replacement=True, generator=g)
    done = [way(drawn, g) for way in SPOILERS.values()]
    rows = torch.arange(len(which))
    return Spoiled(
        torch.stack([one.images for one in done])[which, rows], torch.stack([one.clear for one in done])[which, rows]
    )


def negative(drawn: Drawn, _: torch.Generator) -> Spoiled:
    """White becomes black."""
    return Spoiled(1 - drawn.images, _all(drawn))


def swapped(drawn: Drawn, g: torch.Generator) -> Spoiled:
    """Red, green and blue in another order; snow is too grey to tell."""
    order = torch.tensor(_COLOUR_ORDERS)[torch.randint(len(_COLOUR_ORDERS), (len(drawn.images),), generator=g)]
    images = drawn.images.gather(1, order[:, :, None, None].expand_as(drawn.images))
    return Spoiled(images, drawn.labels[:, NAMES.index("background")] != SNOW)


def upside_down(drawn: Drawn, _: torch.Generator) -> Spoiled:
    """The ground above."""
    return Spoiled(drawn.images.flip(2), _all(drawn))


def on_its_side(drawn: Drawn, _: torch.Generator) -> Spoiled:
    """A quarter turn."""
    return Spoiled(drawn.images.transpose(2, 3), _all(drawn))


def shuffled(drawn: Drawn, g: torch.Generator) -> Spoiled:
    """Squares of 16 pixels in another order."""
    b = len(drawn.images)
    tiles = drawn.images.reshape(b, 3, 4, 16, 4, 16).permute(0, 2, 4, 1, 3, 5).reshape(b, 16, 3, 16, 16)
    tiles = tiles[:, torch.randperm(16, generator=g)].reshape(b, 4, 4, 3, 16, 16)
    return Spoiled(tiles.permute(0, 3, 1, 4, 2, 5).reshape(drawn.images.shape), _all(drawn))


def drowned(drawn: Drawn, g: torch.Generator) -> Spoiled:
    """Noise of 0.2 to 0.6."""
    sigma = 0.2 + 0.4 * torch.rand(len(drawn.images), 1, 1, 1, generator=g)
    images = drawn.images + sigma * torch.randn(drawn.images.shape, generator=g)
    return Spoiled(images.clamp(0, 1), _all(drawn))


def melted(drawn: Drawn, _: torch.Generator) -> Spoiled:
    """Blur with a sigma of 5 pixels, in which no subject is left."""
    return Spoiled(degrade.gaussian(drawn.images, 5.0), _all(drawn))


def blended(drawn: Drawn, g: torch.Generator) -> Spoiled:
    """Two scenes with two seeds, a x + (1 - a) y, a from 0.3 to 0.7."""
    return _blend(drawn, _stranger(drawn, g), g)


def blended_twins(drawn: Drawn, g: torch.Generator) -> Spoiled:
    """The same for two scenes of one seed that differ in one attribute: a hat through which one sees, an orange dog.

    Half a red and half a black dog is a brown dog, which the world draws.
    """
    other = _twin(drawn, g)
    a = _weights(drawn, g)
    images = a * drawn.images + (1 - a) * drawn.images[other]
    differ = drawn.labels != drawn.labels[other]
    differ[:, _COLOUR] &= _foreign(drawn.labels, other, a.flatten())
    far = _somewhere_far(images, drawn.images) & _somewhere_far(images, drawn.images[other])
    return Spoiled(images, differ.any(1) & far)


def spliced(drawn: Drawn, g: torch.Generator) -> Spoiled:
    """Half of one picture and half of another, side by side or one above the other."""
    other = _stranger(drawn, g)
    b, _, _, side = drawn.images.shape
    cut = torch.randint(side // 2 - 10, side // 2 + 11, (b, 1), generator=g)
    first = (torch.arange(side)[None] < cut)[:, None]
    upright = torch.rand(b, 1, 1, 1, generator=g) < 0.5
    images = torch.where(torch.where(upright, first[:, :, None], first[..., None]), drawn.images, drawn.images[other])
    return Spoiled(images, _far(images, drawn.images) & _far(images, drawn.images[other]) & _places(drawn, other))


SPOILERS: dict[str, Spoiler] = {
    "negative": negative, "colours swapped": swapped, "upside down": upside_down, "on its side": on_its_side,
    "shuffled": shuffled, "heavy noise": drowned, "heavy blur": melted, "blend": blended,
    "blend of twins": blended_twins, "halves": spliced,
}  # fmt: skip
SHARES = {"blend": 2.0, "blend of twins": 10.0}
"""How often the oracle sees a way while it learns, beside 1 for the others: what is hard, more."""


def _blend(drawn: Drawn, other: Tensor, g: torch.Generator) -> Spoiled:
    a = _weights(drawn, g)
    images = a * drawn.images + (1 - a) * drawn.images[other]
    return Spoiled(images, _far(images, drawn.images) & _far(images, drawn.images[other]))


def _weights(drawn: Drawn, g: torch.Generator) -> Tensor:
    return 0.3 + 0.4 * torch.rand(len(drawn.images), 1, 1, 1, generator=g)


def _foreign(labels: Tensor, other: Tensor, a: Tensor) -> Tensor:
    """Whether a blend of two subjects' colours is far from every colour of the world."""
    first, second = _PALETTE[labels[:, _COLOUR]], _PALETTE[labels[other, _COLOUR]]
    mixed = a[:, None] * first + (1 - a[:, None]) * second
    return torch.cdist(mixed, _PALETTE).amin(1) >= FOREIGN


def _twin(drawn: Drawn, g: torch.Generator) -> Tensor:
    """For each picture the first of its group, from which it differs in one attribute; for that one, another."""
    rows = torch.arange(len(drawn.images))
    first = rows - rows % drawn.each
    another = first + torch.randint(1, max(2, drawn.each), first.shape, generator=g) % drawn.each
    return torch.where(rows == first, another, first)


def _stranger(drawn: Drawn, g: torch.Generator) -> Tensor:
    """For each picture, one of another group: the batch moved on by whole groups."""
    b = len(drawn.images)
    step = int(torch.randint(1, max(2, b // drawn.each), (), generator=g)) * drawn.each
    return (torch.arange(b) + step) % b


def _far(a: Tensor, b: Tensor, least: float = 0.015) -> Tensor:
    """Whether two pictures differ, on average over pixels."""
    return (a - b).abs().mean((1, 2, 3)) > least


def _somewhere_far(a: Tensor, b: Tensor, least: float = 0.1, pixels: int = 16) -> Tensor:
    """Whether two pictures differ in so many pixels."""
    return ((a - b).abs().amax(1) > least).sum((1, 2)) >= pixels


def _places(drawn: Drawn, other: Tensor) -> Tensor:
    """Halves of two pictures of one place may fit together."""
    at = NAMES.index("background")
    return drawn.labels[:, at] != drawn.labels[other, at]


def _all(drawn: Drawn) -> Tensor:
    return torch.ones(len(drawn.images), dtype=torch.bool)
