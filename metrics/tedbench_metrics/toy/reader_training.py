"""How the oracle learns: attributes and box on pictures of the world, to refuse on strangers.

The latter is outlier exposure (Hendrycks et al., arXiv 1812.04606):

    loss = Σ_attributes CE  +  10 |box / 64 - box^ / 64|  +  2 BCE(of world)

A picture that was mildly degraded is still the world's: an autoencoder's round trip must be read, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tedbench_metrics.toy import degrade, spoiled, training
from tedbench_metrics.toy.album import Album
from tedbench_metrics.toy.reader import Network


@dataclass(frozen=True)
class Lesson:
    """The loss of one step, as `training.fit` wants it."""

    network: Network
    album: Album
    strangers: Tensor
    """uint8, (N, 3, 64, 64)."""
    plan: training.Plan
    device: str

    def __call__(self, dice: training.Dice) -> Tensor:
        """See the class."""
        g = dice.torch
        images, labels, boxes = self._pictures(self.plan.batch, g)
        others, clear = self._others(self.plan.batch // 2, g)
        everything = torch.cat([images, others]).to(self.device)
        with training.autocast(self.device, self.plan.bf16):
            outputs = self.network(everything)
        *logits, box, world = self.network.split(outputs)
        b = len(images)
        reads = [nn.functional.cross_entropy(o[:b], y) for o, y in zip(logits, labels.to(self.device).T, strict=True)]
        places = nn.functional.l1_loss(box[:b], boxes.to(self.device) / images.shape[-1])
        return sum(reads, 10 * places) + 2 * _refusal(world[:, 0], b, clear.to(self.device))

    def _pictures(self, count: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        which = torch.randint(len(self.album), (count,), generator=g)
        images, boxes = degrade.shifted(self.album.pixels[which].float() / 255, self.album.boxes[which], g)
        return degrade.mild(images, g, share=0.3), self.album.labels[which], boxes

    def _others(self, count: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two thirds spoiled pictures of the world, one third of nothing in particular; some of them degraded."""
        few = count // 3
        which = torch.randint(len(self.strangers), (few,), generator=g)
        groups = torch.randint(self.album.groups, (max(1, (count - few) // self.album.each),), generator=g)
        done = spoiled.spoil(spoiled.draw_from(self.album, groups), g)
        images = torch.cat([self.strangers[which].float() / 255, done.images])
        clear = torch.cat([torch.ones(few, dtype=torch.bool), done.clear])
        return degrade.mild(images, g, share=0.15), clear


def _refusal(world: Tensor, pictures: int, clear: Tensor) -> Tensor:
    weights = torch.cat([torch.ones(pictures, device=world.device), clear.float()])
    wanted = (torch.arange(len(world), device=world.device) < pictures).float()
    return nn.functional.binary_cross_entropy_with_logits(world, wanted, weights)
