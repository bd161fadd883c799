"""How a toy CLIP learns: captions that name some attributes, and targets that know of which pictures they are true.

    l_ij   = s · cos(E(x_i), T(c_j))
    y_ij   = 1 if what c_j names agrees with x_i, else 0
    loss   = mean_i CE(softmax_j l_ij, y_ij / Σ_j y_ij) / 2  +  mean_j CE(softmax_i l_ij, y_ij / Σ_i y_ij) / 2
             + mean_i softplus(l_i,false twin - l_i,own)  +  reading

CLIP's loss (arXiv 2103.00020, figure 3) has the unit matrix for y; here "a dog" is true of every picture of one dog.
Hard negatives come in pairs: pictures that differ in one attribute, and with each caption one that differs in one word.

`reading` is the cross-entropy of one linear map, thrown away in the end, that tells the attributes from the features
of a picture, and from those of a text what it names. Without it a small thing is not learnt for long: while no text
tells of hats, the picture's features gain nothing by them, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tedbench.datasets import toy, toy_captions
from tedbench.datasets.toy import Scene
from tedbench_metrics import models
from tedbench_metrics.toy import clips, degrade, training
from tedbench_metrics.toy.album import NAMES, Album, label, neighbours, scene_of

ALWAYS = np.array([name in toy_captions.ALWAYS for name in NAMES])
FOCUS = np.array([0.5 if name in {"count", "background"} else 2.0 if name == "accessory" else 1.0 for name in NAMES])
FOCUS /= FOCUS.sum()
"""How often false twins are of each attribute: seldom where that is learnt at once, often where it takes long."""


@dataclass(frozen=True)
class Captions:
    """Texts, and what each claims."""

    texts: list[str]
    named: NDArray[np.bool_]
    """(M, 7): whether the text tells of the attribute."""
    labels: NDArray[np.int64]
    """(M, 7): the scene it was written for."""

    def true_of(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(B, M): whether all that a text names agrees with a picture of `labels` (B, 7)."""
        agree = labels[:, None, :] == self.labels[None]
        true: NDArray[np.bool_] = (agree | ~self.named[None]).all(2)
        return true


class Pupil(nn.Module):
    """A CLIP with the map that reads its features while it learns."""

    def __init__(self, kind: clips.Kind) -> None:
        super().__init__()
        self.clip: Any = clips.build(kind)
        self.sizes = [len(values) for values in toy.ATTRIBUTES.values()]
        with models.construction():
            torch.manual_seed(kind.plan.seed)
            self.map = nn.Linear(kind.embed, sum(self.sizes))

    def misread(self, features: Tensor, labels: Tensor, named: Tensor) -> Tensor:
        """Cross-entropy of the attributes, summed over them.

        Args:
            features: unit, (N, D).
            labels: (N, 7).
            named: (N, 7), bool: what can be told at all.
        """
        logits = torch.split(self.map(10 * features), self.sizes, dim=1)
        told = torch.where(named, labels, -1)
        each = [_told(one, wanted) for one, wanted in zip(logits, told.T, strict=True)]
        return torch.stack(each).sum()


@dataclass(frozen=True)
class Lesson:
    """The loss of one step, as `training.fit` wants it."""

    pupil: Pupil
    tokenizer: Any
    album: Album
    kind: clips.Kind
    plan: training.Plan
    device: str

    def __call__(self, dice: training.Dice) -> Tensor:
        """See the class."""
        groups = torch.randint(self.album.groups, (self.plan.batch // self.album.each,), generator=dice.torch)
        which = self.album.members(groups)
        labels = self.album.labels[which].numpy()
        captions = write(labels, self.album.each, self.kind.name, dice.numpy)
        images = self.album.pixels[which].float() / 255
        images, _ = degrade.shifted(images, self.album.boxes[which], dice.torch)
        images = degrade.mild(images, dice.torch, share=0.15).to(self.device)
        tokens = tokenize(self.tokenizer, captions.texts).to(self.device)
        with training.autocast(self.device, self.plan.bf16):
            x = clips.encode_images(self.pupil.clip, images)
        t = clips.encode_texts(self.pupil.clip, tokens)  # bfloat16 costs more than it saves on so small products
        logits = self.pupil.clip.logit_scale.exp().clamp(max=100) * x @ t.T
        true, named, told = (
            torch.from_numpy(v).to(self.device) for v in (captions.true_of(labels), captions.named, captions.labels)
        )
        seen = self.album.labels[which].to(self.device)
        reading = self.pupil.misread(x, seen, torch.ones_like(seen, dtype=torch.bool)) + self.pupil.misread(
            t, told, named
        )
        return symmetric(logits, true) + duels(logits) + reading


def symmetric(logits: Tensor, true: Tensor) -> Tensor:
    """CLIP's loss with several true answers a row; a text that is true of no picture is a negative only.

    Args:
        logits: (B, M).
        true: (B, M), bool; every row holds a true one.
    """
    to_text = _cross_entropy(logits, true)
    some = true.any(0)
    return (to_text + _cross_entropy(logits.T[some], true.T[some])) / 2


def duels(logits: Tensor) -> Tensor:
    """How badly each picture tells its own text from that text's false twin: mean of softplus(l_false - l_true).

    Args:
        logits: (B, 2 B); columns 2 i and 2 i + 1 are the true and the false text of picture i.
    """
    own = logits.view(len(logits), -1, 2).diagonal().T
    return nn.functional.softplus(own[:, 1] - own[:, 0]).mean()


def write(labels: NDArray[np.int64], each: int, style: str, rng: np.random.Generator) -> Captions:
    """Two texts a picture: one that is true of it, and the same with another value of one thing that it names.

    In half of the groups all pictures are told of in the same respects.
    """
    allowed = frozenset(toy.scenes(style))
    foci = rng.choice(len(NAMES), len(labels), p=FOCUS)
    named = np.stack([mention(rng, focus) for focus in foci])
    same, first = np.repeat(rng.random(len(labels) // each) < 0.5, each), np.arange(len(labels)) // each * each
    foci, named = np.where(same, foci[first], foci), np.where(same[:, None], named[first], named)
    found: list[tuple[str, NDArray[np.bool_], list[int]]] = []
    for row, focus, names in zip(labels, foci, named, strict=True):
        scene, wording = scene_of(row), int(rng.integers(toy_captions.WORDINGS[style]))
        for one in (scene, _twin(scene, NAMES[focus], names, allowed, rng)):
            found.append((_text(one, names, wording, style), names, label(one)))
    texts, all_named, all_labels = zip(*found, strict=True)
    return Captions(list(texts), np.stack(all_named), np.array(all_labels))


def mention(rng: np.random.Generator, focus: int) -> NDArray[np.bool_]:
    """Which attributes a text names: `focus` and what it must (half of the texts), all (a fifth), or any besides."""
    kind, named = rng.random(), ALWAYS.copy()
    named[focus] = True
    if kind >= 0.5:
        named |= (kind < 0.7) | (rng.random(len(NAMES)) < 0.5)
    return named


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """(N, `clips.CONTEXT`)."""
    return torch.tensor(tokenizer(list(texts), padding="max_length", max_length=clips.CONTEXT)["input_ids"])


def _twin(
    scene: Scene, focus: str, named: NDArray[np.bool_], allowed: frozenset[Scene], rng: np.random.Generator
) -> Scene:
    """Another in `focus`, or in something else that is named where the part has no such scene."""
    telling = {name for name, is_named in zip(NAMES, named, strict=True) if is_named}
    found = {name: one for name, one in neighbours(scene, allowed, rng) if name in telling}
    return found.get(focus, next(iter(found.values()), scene))


def _text(scene: Scene, named: NDArray[np.bool_], wording: int, style: str) -> str:
    return toy_captions.caption(
        scene, [n for n, is_named in zip(NAMES, named, strict=True) if is_named], wording, style
    )


def _told(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean over the rows that have an answer, 0 where none has."""
    losses = nn.functional.cross_entropy(logits, wanted, ignore_index=-1, reduction="sum")
    return losses / (wanted >= 0).sum().clamp(min=1)


def _cross_entropy(logits: Tensor, true: Tensor) -> Tensor:
    wanted = true / true.sum(1, keepdim=True)
    return nn.functional.cross_entropy(logits, wanted)
