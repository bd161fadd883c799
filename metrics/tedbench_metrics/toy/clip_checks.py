"""How well a toy CLIP tells two captions apart that differ in one word, on combinations that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tedbench.datasets import toy, toy_captions
from tedbench.datasets.toy import Scene
from tedbench_metrics.toy import clip_training, clips
from tedbench_metrics.toy.album import NAMES, Album, scene_of, with_value

POSSIBLE = frozenset(
    scene for part in toy.PARTS for scene in toy.scenes(part)
)  # false captions may be of any scene there is


@dataclass(frozen=True)
class Duel:
    """A picture with a true and a false caption."""

    picture: int
    true: str
    false: str


def accuracy(network: Any, album: Album, style: str, device: str, seed: int = 0) -> Mapping[str, Mapping[str, float]]:
    """Part of the duels won, for each attribute: `short` captions name little else, `long` ones what chance wants.

    Args:
        network: in eval mode.
        album: pictures of `dev`.
        style: of the captions.
        device: of the network.
        seed: of the captions.
    """
    images = _features(network, album, device)
    return {
        name: {
            kind: _won(network, images, duels(album, name, style, kind == "long", seed), device)
            for kind in ("short", "long")
        }
        for name in NAMES
    }


def duels(album: Album, name: str, style: str, long: bool, seed: int) -> list[Duel]:
    """One duel a picture that has another value of an attribute; the captions differ in that only."""
    rng = np.random.default_rng((seed, NAMES.index(name), long))
    found = (_duel(i, scene_of(row), name, style, long, rng) for i, row in enumerate(album.labels.tolist()))
    return [duel for duel in found if duel is not None]


def _duel(picture: int, scene: Scene, name: str, style: str, long: bool, rng: np.random.Generator) -> Duel | None:
    values = [v for v in rng.permutation(toy.ATTRIBUTES[name]) if v != getattr(scene, name)]
    changed = (with_value(scene, name, str(value), POSSIBLE, rng) for value in values)
    other = next((one for one in changed if one is not None), None)
    if other is None:
        return None
    mentioned = clip_training.mention(rng, NAMES.index(name))
    named = {n for n, is_named in zip(NAMES, mentioned, strict=True) if is_named and long} | {name}
    if other.pose != scene.pose and name != "pose":
        named -= {"pose"}
    wording = int(rng.integers(toy_captions.WORDINGS[style]))
    true, false = (toy_captions.caption(one, named, wording, style) for one in (scene, other))
    return Duel(picture, true, false)


@torch.inference_mode()
def _features(network: Any, album: Album, device: str) -> Tensor:
    parts = [part.float().to(device) / 255 for part in torch.split(album.pixels, 256)]
    return torch.cat([clips.encode_images(network, part) for part in parts])


@torch.inference_mode()
def _won(network: Any, images: Tensor, fought: list[Duel], device: str) -> float:
    tokenizer = clips.tokenizer()
    true, false = (
        clips.encode_texts(network, clip_training.tokenize(tokenizer, texts).to(device))
        for texts in ([duel.true for duel in fought], [duel.false for duel in fought])
    )
    x = images[[duel.picture for duel in fought]]
    return float(((x * true).sum(1) > (x * false).sum(1)).float().mean())
