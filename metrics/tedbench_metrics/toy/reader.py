"""The oracle: a small convolutional network that says what a toy picture shows, or that it is none.

It reads seven attributes and the box of the subjects, and refuses what the world does not draw: noise, photographs,
pictures that are two pictures at once. Most blends of a source and its true answer are refused; its card says how
many, by attribute.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tedbench.errors import MetricError, UsageError, short
from tedbench_metrics import models

SIDE = 64
WIDTHS = (32, 64, 96, 144)
WEIGHTS, CONFIG = "reader.safetensors", "config.json"


@dataclass(frozen=True)
class Reading:
    """What was read on B pictures."""

    probabilities: Mapping[str, Tensor]
    """For each attribute, (B, classes), each row of sum 1."""
    classes: Mapping[str, tuple[str, ...]]
    """What the columns of `probabilities` mean."""
    box: Tensor
    """(B, 4): left, top, right, bottom of the subjects, in pixels of 64."""
    of_world: Tensor
    """(B,): probability that the picture is one of the toy world's."""
    refused: Tensor
    """(B,), bool: whether `of_world` is under the threshold; the rest then means nothing."""

    def values(self, name: str) -> list[str]:
        """The most probable value of an attribute on each picture."""
        return [self.classes[name][int(i)] for i in self.probabilities[name].argmax(1)]


class Network(nn.Module):
    """Strided convolutions with residual blocks between, a hidden layer on the last maps, one linear map a question.

    `forward` maps (B, 3, 64, 64) in [0, 1] to (B, outputs): the logits of each attribute, box / 64, the logit of the
    world.
    """

    def __init__(self, classes: Mapping[str, int], widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.sizes = [*classes.values(), 4, 1]
        self.stem = nn.Conv2d(3, widths[0], 5, stride=2, padding=2, bias=False)
        stages = [_Stage(a, b) for a, b in itertools.pairwise(widths)]
        self.stages = nn.Sequential(_norm(widths[0]), nn.ReLU(), *stages)
        # The last maps are 4x4: kept whole, they tell where things are.
        self.hidden = nn.Linear(widths[-1] * 16, 160)
        self.heads = nn.Linear(160, sum(self.sizes))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        maps = self.stages(self.stem(images * 4 - 2))
        out: Tensor = self.heads(torch.relu(self.hidden(maps.flatten(1))))
        return out

    def split(self, outputs: Tensor) -> list[Tensor]:
        """The logits of each attribute, then box / 64, then the logit of the world."""
        return list(torch.split(outputs.float(), self.sizes, dim=1))


@dataclass(frozen=True)
class Reader:
    """A trained oracle."""

    network: Network
    classes: Mapping[str, tuple[str, ...]]
    threshold: float
    """Least probability at which a picture counts as one of the world's."""

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Reader:
        """Read what `save` wrote.

        Raises:
            MetricError: if the folder holds no such thing.
        """
        from safetensors.torch import load_file

        try:
            known = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            classes = {name: tuple(values) for name, values in known["classes"].items()}
            network = build(classes, tuple(known["widths"]), seed=0)
            network.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS).items()})
        except Exception as error:  # json, safetensors and torch raise a zoo of types
            raise MetricError(f"no oracle in folder {folder.name!r} ({short(error, 90)}); train one anew") from error
        return cls(network.eval().requires_grad_(False).to(device), classes, float(known["threshold"]))

    def save(self, folder: Path) -> None:
        """Write weights, in float16, and what is needed to use them."""
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        state = {key: value.detach().cpu().half().contiguous() for key, value in self.network.state_dict().items()}
        (folder / WEIGHTS).write_bytes(save(state))
        widths = [self.network.stem.out_channels, *(s.widths[1] for s in self.network.stages if isinstance(s, _Stage))]
        known = {"classes": self.classes, "threshold": self.threshold, "side": SIDE, "widths": widths}
        (folder / CONFIG).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    def read(self, images: Tensor) -> Reading:
        """Read pictures.

        Args:
            images: (B, 3, 64, 64) in [0, 1]; larger ones are for the caller to make smaller.

        Raises:
            UsageError: for another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (3, SIDE, SIDE):
            raise UsageError(f"the oracle reads (B, 3, {SIDE}, {SIDE}), not {tuple(images.shape)}; resize before")
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            *logits, box, world = self.network.split(self.network(images.to(device).float()))
        of_world = world[:, 0].sigmoid()
        probabilities = {name: one.softmax(1) for name, one in zip(self.classes, logits, strict=True)}
        return Reading(probabilities, self.classes, box * SIDE, of_world, of_world < self.threshold)


def build(classes: Mapping[str, tuple[str, ...]], widths: tuple[int, ...] = WIDTHS, seed: int = 303) -> Network:
    """A network with random weights, the same ones for a seed."""
    with models.construction():
        torch.manual_seed(seed)
        return Network({name: len(values) for name, values in classes.items()}, widths)


class _Stage(nn.Module):
    """Half the side, then one residual block."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.widths = before, after
        self.down = nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), _norm(after), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(after, after, 3, padding=1, bias=False), _norm(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False), _norm(after),
        )  # fmt: skip

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.down(maps)
        return torch.relu(maps + self.block(maps))


def _norm(width: int) -> Any:
    return nn.GroupNorm(width // 16, width)
