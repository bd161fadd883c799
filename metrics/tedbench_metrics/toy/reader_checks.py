"""How well the oracle reads pictures of combinations it never saw, and refuses what is none; where its threshold is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tedbench_metrics.toy import degrade, spoiled, strangers
from tedbench_metrics.toy.album import NAMES, Album
from tedbench_metrics.toy.reader import Reader

SEED = 909
"""Of the pictures that are refused in checks; training uses another."""


@dataclass(frozen=True)
class Quality:
    """What a check found."""

    accuracy: Mapping[str, float]
    """Part of the pictures whose attribute was read right."""
    confusion: Mapping[str, Tensor]
    """For each attribute, counts, (true, read)."""
    box: float
    """Mean distance of a side from where it is, in pixels."""
    refused: float
    """Part of the pictures refused, though they are the world's."""
    strangers: Mapping[str, float] = field(default_factory=dict)
    """Part refused of each kind of picture that is none of the world's."""


def threshold(reader: Reader, album: Album, wrong: float = 0.003) -> float:
    """The probability under which a part `wrong` of held-out pictures lies, half of them mildly degraded."""
    images = torch.cat([_floats(album), degraded(album)])
    return float(_of_world(reader, images).quantile(wrong))


def degraded(album: Album) -> Tensor:
    """An album's pictures, each mildly spoiled in some ways."""
    return degrade.mild(_floats(album), torch.Generator().manual_seed(SEED), share=0.3)


def on_pictures(reader: Reader, album: Album, images: Tensor) -> Quality:
    """Reading of an album's pictures, or of what was made of them."""
    readings = [reader.read(some) for some in torch.split(images, 256)]
    confusion = {}
    for i, name in enumerate(NAMES):
        read = torch.cat([one.probabilities[name] for one in readings]).argmax(1).cpu()
        n = len(reader.classes[name])
        confusion[name] = torch.bincount(album.labels[:, i] * n + read, minlength=n * n).reshape(n, n)
    boxes = torch.cat([one.box for one in readings]).cpu()
    accuracy = {name: float(counts.trace() / counts.sum()) for name, counts in confusion.items()}
    refused = torch.cat([one.refused for one in readings]).float().mean()
    return Quality(accuracy, confusion, float((boxes - album.boxes).abs().mean()), float(refused))


def refusals(reader: Reader, twins: Album, photographs: Tensor | None = None, count: int = 300) -> dict[str, float]:
    """Part refused of each kind of stranger and of each way to spoil a picture.

    Args:
        reader: with its threshold.
        twins: pictures of combinations it never saw, in groups of one seed.
        photographs: uint8, (N, 3, 64, 64).
        count: strangers a kind.
    """
    found: dict[str, float] = {}
    for name, maker in strangers.MAKERS.items():
        made = strangers.bank(count, SEED, {name: maker}).float() / 255
        found[name] = _part_refused(reader, made)
    drawn = spoiled.draw_from(twins, torch.arange(twins.groups))
    for name, spoiler in spoiled.SPOILERS.items():
        done = spoiler(drawn, torch.Generator().manual_seed(SEED))
        found[name] = _part_refused(reader, done.images[done.clear])
    if photographs is not None:
        found["photographs, never learnt from"] = _part_refused(reader, photographs.float() / 255)
    return found


def halves_of_twins(reader: Reader, twins: Album) -> dict[str, float]:
    """Part refused of half-and-half blends of two pictures of one seed, by the attribute in which they differ.

    Args:
        reader: with its threshold.
        twins: pictures of combinations it never saw, in groups whose first differs from the others in one attribute.
    """
    rows = torch.arange(len(twins))
    first = rows - rows % twins.each
    images = _floats(twins)
    refused = _of_world(reader, (images + images[first]) / 2) < reader.threshold
    differ = twins.labels != twins.labels[first]
    differ[:, NAMES.index("pose")] &= ~differ[:, NAMES.index("subject")]  # a ball does not sit
    return {
        f"half and half, another {name}": float(refused[differ[:, i]].float().mean()) for i, name in enumerate(NAMES)
    }


def _floats(album: Album) -> Tensor:
    return album.pixels.float() / 255


def _part_refused(reader: Reader, images: Tensor) -> float:
    return float((_of_world(reader, images) < reader.threshold).float().mean())


def _of_world(reader: Reader, images: Tensor) -> Tensor:
    return torch.cat([reader.read(some).of_world for some in torch.split(images, 256)]).cpu()
