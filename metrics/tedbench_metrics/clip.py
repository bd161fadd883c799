"""CLIP scores (Radford et al., arXiv 2103.00020) through open_clip: the raw cosine, in [-1, 1].

    ClipText         cos(E(edit), T(target text))
    ClipImage        cos(E(edit), E(source))
    ClipDirectional  cos(E(edit) − E(source), T(target text) − T(source text))        arXiv 2108.00946, eq. 2

E and T are of unit length. Nothing is scaled by 100 or 2.5, nothing clipped at 0: reports do that, if they want it.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from tedbench import images
from tedbench.errors import MetricError, MetricNote, NetworkError, UnknownName, UsageError, short
from tedbench.types import EditPair
from tedbench_metrics import models

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class Source:
    """Where a model comes from, and what of it moves the number."""

    name: str
    """For an identity: `ViT-L-14-openai-quickgelu`, or folder name and hash."""
    frame: str
    """How its preprocessing brings an image to size: `224-shortest-bicubic`."""
    size: int
    factory: tuple[tuple[str, Any], ...]
    """Arguments of `open_clip.create_model_from_pretrained`."""

    @property
    def arguments(self) -> dict[str, Any]:
        """`factory` as keyword arguments."""
        return dict(self.factory)


@dataclass(frozen=True)
class _Clip:
    at: ClassVar[str] = "model"
    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    family: ClassVar[str]
    convention: ClassVar[str]

    model: str = "ViT-L-14/openai"
    """`NAME/TAG` of open_clip, `hf-hub:ORG/NAME[@REV]`, `local-dir:PATH` or an existing folder."""
    batch: int = 32
    device: str = "auto"

    def __post_init__(self) -> None:
        models.check_batch(self.batch)
        models.check_device(self.device)

    @property
    def identity(self) -> str:
        """`clip-ViT-L-14-openai-quickgelu/224-shortest-bicubic/cos[/prefix=…]`."""
        source = resolve(self.model)
        return f"clip-{source.name}/{source.frame}/{self.convention}{self._suffix()}"

    @property
    def needs(self) -> frozenset[str]:
        """No optional field."""
        return frozenset()

    @property
    def facts(self) -> Mapping[str, str | float]:
        """Family, backbone, size, fit, convention and device."""
        source = resolve(self.model)
        return {
            "family": self.family, "backbone": source.name, "size": source.size, "fit": source.frame.split("-")[1],
            "convention": self.convention + self._suffix(), "device": models.pick_device(self.device),
            "custom": "yes" if models.is_local(self.model) else "",
        }  # fmt: skip

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        """One cosine per edit.

        Raises:
            MetricError: if the model or its weights are not there or do not fit, or a pair lacks a text.
            NetworkError: if they have to be fetched and cannot be.
            ImageError: if an image is no RGB Pillow image.

        Warns:
            MetricNote: for each text longer than the model reads.
        """
        models.check(pairs, images)
        if not pairs:
            return []
        device = models.pick_device(self.device)
        network = load(resolve(self.model), device)
        with models.inference(device):
            values: list[float] = self._values(network, pairs, images).tolist()
        return values

    def _suffix(self) -> str:
        return ""

    def _values(self, network: Network, pairs: Sequence[EditPair], edits: Sequence[Image]) -> Tensor:
        raise NotImplementedError

    def _sources(self, network: Network, pairs: Sequence[EditPair]) -> Tensor:
        files, which = models.distinct([pair.image for pair in pairs])
        return network.images([functools.partial(images.read, file) for file in files], self.batch)[which]

    def _edits(self, network: Network, edits: Sequence[Image]) -> Tensor:
        return network.images([functools.partial(_same, edit) for edit in edits], self.batch)


@dataclass(frozen=True)
class _ClipWithText(_Clip):
    prefix: str = ""
    """Put before every text: CLIPScore (arXiv 2104.08718) uses `A photo depicts `."""

    def _suffix(self) -> str:
        return f"/prefix={quote(self.prefix, safe='')}" if self.prefix else ""

    def _texts(self, network: Network, texts: Sequence[str]) -> Tensor:
        some, which = models.distinct([self.prefix + text for text in texts])
        return network.texts(some, self.batch, self.model)[which]


@dataclass(frozen=True)
class ClipText(_ClipWithText):
    """Cosine of the edit and its target text: how far the edit was made, not how well."""

    family: ClassVar[str] = "clip-text"
    convention: ClassVar[str] = "cos"

    def _values(self, network: Network, pairs: Sequence[EditPair], edits: Sequence[Image]) -> Tensor:
        texts = self._texts(network, [pair.target_text for pair in pairs])
        return (self._edits(network, edits) * texts).sum(1)


@dataclass(frozen=True)
class ClipImage(_Clip):
    """Cosine of the edit and its source: how much of the content was kept."""

    family: ClassVar[str] = "clip-image"
    convention: ClassVar[str] = "image-cos"

    def _values(self, network: Network, pairs: Sequence[EditPair], edits: Sequence[Image]) -> Tensor:
        return (self._edits(network, edits) * self._sources(network, pairs)).sum(1)


@dataclass(frozen=True)
class ClipDirectional(_ClipWithText):
    """Whether the picture changed in the direction in which the text did.

    An edit equal to its source, or a target text equal to the source text, has no direction: its value is 0.0.
    """

    family: ClassVar[str] = "clip-directional"
    convention: ClassVar[str] = "directional-cos"

    @property
    def needs(self) -> frozenset[str]:
        """`source_text`."""
        return frozenset({"source_text"})

    def _values(self, network: Network, pairs: Sequence[EditPair], edits: Sequence[Image]) -> Tensor:
        texts = self._texts(network, [_source_text(pair) for pair in pairs] + [pair.target_text for pair in pairs])
        step = self._edits(network, edits) - self._sources(network, pairs)
        return cosine(step, texts[len(pairs) :] - texts[: len(pairs)])


def cosine(a: Tensor, b: Tensor, shortest: float = 1e-5) -> Tensor:
    """Cosine of rows, 0 where a row has no direction.

    Args:
        a: (B, D).
        b: (B, D).
        shortest: differences of unit vectors shorter than this are rounding (float32), and count as none.
    """
    import torch

    norms = a.norm(dim=1), b.norm(dim=1)
    value = (a * b).sum(1) / (norms[0] * norms[1]).clamp(min=shortest**2)
    return torch.where((norms[0] < shortest) | (norms[1] < shortest), torch.zeros_like(value), value)


@dataclass(frozen=True)
class Network:
    """A loaded model with its own preprocessing and tokenizer."""

    model: Any
    preprocess: Any
    tokenizer: Any
    device: str

    def images(self, readers: Sequence[Any], batch: int) -> Tensor:
        """Unit features, (N, D), of the RGB images that the readers return."""
        import torch

        found = []
        for some in models.chunks(readers, batch):
            pixels = torch.stack([self.preprocess(read()) for read in some]).to(self.device)
            found.append(self.model.encode_image(pixels, normalize=True).float())
        return torch.cat(found)

    def texts(self, texts: Sequence[str], batch: int, name: str) -> Tensor:
        """Unit features, (N, D); warns of texts that are cut."""
        import torch

        _note_cut(self.tokenizer, texts, name)
        tokens = [self.tokenizer(list(some)).to(self.device) for some in models.chunks(texts, batch)]
        return torch.cat([self.model.encode_text(t, normalize=True).float() for t in tokens])


def resolve(model: str) -> Source:
    """What a model field means, without loading the model.

    Raises:
        UnknownName: if open_clip has no such name or tag.
        MetricError, NetworkError: as `models.resolve`.
    """
    if models.is_folder(model):
        return _from_folder(models.resolve(model, WEIGHTS))
    import open_clip

    name, slash, tag = model.partition("/")
    if not slash:
        raise UsageError(f"{model!r} is not NAME/TAG, hf-hub:ORG/NAME or a folder; try ViT-L-14/openai")
    config, pretrained = open_clip.get_model_config(name), open_clip.get_pretrained_cfg(name, tag)
    if config is None or not pretrained:
        raise UnknownName("open_clip model", model, (f"{n}/{t}" for n, t in open_clip.list_pretrained()))
    quick = bool(pretrained.get("quick_gelu"))
    label = f"{name}-{tag}" + ("-quickgelu" if quick or config.get("quick_gelu") else "")
    factory = (("model_name", name), ("pretrained", tag), ("force_quick_gelu", quick))
    return _source(label, config, pretrained, factory)


@functools.cache
def load(source: Source, device: str) -> Network:
    """Load a model, once a process.

    Raises:
        NetworkError: if weights of open_clip's list are neither in the cache nor to be had.
        MetricError: if the weights of a folder do not load in full.
    """
    import open_clip

    name = source.arguments["model_name"]
    local = name.startswith("local-dir:")
    try:
        with models.construction():
            model, preprocess = open_clip.create_model_from_pretrained(**source.arguments)
            tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip, the hub and torch raise a zoo of types
        if local:
            raise MetricError(f"CLIP model {source.name} does not load: {short(error, 140)}") from error
        raise NetworkError(
            f"weights of {source.name} are not in the cache and cannot be fetched ({short(error, 90)}); "
            "go online, or give local-dir:PATH"
        ) from error
    return Network(model.eval().requires_grad_(False).to(device), preprocess, tokenizer, device)


def _from_folder(folder: models.Folder) -> Source:
    file = folder.path / "open_clip_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        model, preprocess = config["model_cfg"], config.get("preprocess_cfg", {})
        return _source(folder.name, model, preprocess, (("model_name", f"local-dir:{folder.path}"),))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetricError(f"{folder.label}: no readable open_clip_config.json ({short(error, 90)})") from error


def _source(name: str, model: Any, preprocess: Any, factory: tuple[tuple[str, Any], ...]) -> Source:
    size = preprocess.get("size") or model["vision_cfg"]["image_size"]
    size = max(size) if isinstance(size, (list, tuple)) else int(size)
    frame = f"{size}-{preprocess.get('resize_mode') or 'shortest'}-{preprocess.get('interpolation') or 'bicubic'}"
    return Source(name, frame, size, factory)


def _note_cut(tokenizer: Any, texts: Sequence[str], name: str) -> None:
    # With room to spare, a text that fits gives the same tokens and then padding only.
    limit = int(tokenizer.context_length)
    short_, long = tokenizer(list(texts)), tokenizer(list(texts), context_length=4 * limit)
    padding = getattr(getattr(tokenizer, "tokenizer", None), "pad_token_id", None) or 0
    cut = (long[:, :limit] != short_).any(1) | (long[:, limit:] != padding).any(1)
    # One note a text, not one a call: who scores in chunks can then tell which were said already.
    for text in dict.fromkeys(text for text, is_cut in zip(texts, cut.tolist(), strict=True) if is_cut):
        shown = text if len(text) <= 60 else f"{text[:59]}…"
        warnings.warn(
            f"text {shown!r} exceeds the {limit} tokens of {Path(name).name} and was cut", MetricNote, stacklevel=2
        )


def _source_text(pair: EditPair) -> str:
    if not pair.source_text:
        raise MetricError(f"pair {pair.uid!r} has no source text; clip-directional needs one, add captions")
    return pair.source_text


def _same(edit: Image) -> Image:
    return edit
