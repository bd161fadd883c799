"""DINO similarities (Caron et al., arXiv 2104.14294) through transformers.

DinoImage           cos(CLS(edit), CLS(source)), CLS after the final norm
StructureDistance   MSE(S(edit), S(source)), S_ij = cos(k_i, k_j), k the keys of the last attention layer, all heads
concatenated, CLS and patches (Tumanyan et al., arXiv 2201.00379, eq. 2 and 3)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tedbench import images
from tedbench.errors import MetricError, UsageError, short
from tedbench.types import EditPair
from tedbench_metrics import models

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class DinoImage:
    """Cosine of the CLS tokens of edit and source, by the model's own preprocessing."""

    at: ClassVar[str] = "model"
    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    model: str = "facebook/dino-vits16"
    """`[hf-hub:]ORG/NAME[@REV]`, `local-dir:PATH` or an existing folder."""
    batch: int = 32
    device: str = "auto"

    def __post_init__(self) -> None:
        models.check_batch(self.batch)
        models.check_device(self.device)

    @property
    def identity(self) -> str:
        """`dino-facebook--dino-vits16-HASH8/224-crop0-resample2-vitimageprocessor/cos`."""
        folder = models.resolve(self.model, WEIGHTS)
        return f"dino-{folder.name}/{_frame(processor(folder.path))}/cos"

    @property
    def needs(self) -> frozenset[str]:
        """No optional field."""
        return frozenset()

    @property
    def facts(self) -> Mapping[str, str | float]:
        """Family, backbone, fit, convention and device; `custom` for a folder of one's own."""
        folder = models.resolve(self.model, WEIGHTS)
        return {
            "family": "dino", "backbone": folder.name, "fit": _frame(processor(folder.path)), "convention": "cos",
            "device": models.pick_device(self.device),
            "custom": "yes" if models.is_local(self.model) else "",
        }  # fmt: skip

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        """One cosine per edit.

        Raises:
            MetricError: if the model or its weights are not there or do not load in full.
            NetworkError: if they have to be fetched and cannot be.
            ImageError: if an image is no RGB Pillow image.
        """
        models.check(pairs, images)
        if not pairs:
            return []
        device, folder = models.pick_device(self.device), models.resolve(self.model, WEIGHTS)
        network, prepare = load(folder, device), processor(folder.path)
        files, which = models.distinct([pair.image for pair in pairs])
        with models.inference(device):
            cls = functools.partial(_cls, network, prepare, device)
            sources = _batched(cls, [functools.partial(_read, file) for file in files], self.batch)[which]
            edits = _batched(cls, [functools.partial(_same, edit) for edit in images], self.batch)
            values: list[float] = (edits * sources).sum(1).tolist()
        return values


@dataclass(frozen=True)
class StructureDistance:
    """How far the layout of the edit is from the source's, whatever the appearance; 0 where they are equal."""

    at: ClassVar[str] = "model"
    higher_is_better: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 4.0)

    model: str = "facebook/dino-vitb8"
    """As `DinoImage.model`; the paper's is this one."""
    size: int = 224
    fit: images.Fit = "crop"
    batch: int = 8
    device: str = "auto"

    def __post_init__(self) -> None:
        images.check_fit(self.size, self.fit)
        models.check_batch(self.batch)
        models.check_device(self.device)

    @property
    def identity(self) -> str:
        """`structure-facebook--dino-vitb8-HASH8/224-crop-pillow-bicubic/keys-mse`."""
        folder = models.resolve(self.model, WEIGHTS)
        return f"structure-{folder.name}/{images.frame(self.size, self.fit)}/keys-mse"

    @property
    def needs(self) -> frozenset[str]:
        """No optional field."""
        return frozenset()

    @property
    def facts(self) -> Mapping[str, str | float]:
        """Family, backbone, size, fit, convention and device; `custom` for a folder of one's own."""
        return {
            "family": "structure", "backbone": models.resolve(self.model, WEIGHTS).name, "size": self.size,
            "fit": self.fit, "convention": "keys-mse", "device": models.pick_device(self.device),
            "custom": "yes" if models.is_local(self.model) else "",
        }  # fmt: skip

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        """One distance per edit.

        Raises:
            MetricError: as `DinoImage.score`, or if the model has no keys to be found.
            UsageError: if `size` is no multiple of the model's patches.
            NetworkError, ImageError: as `DinoImage.score`.
        """
        groups = models.by_image(pairs, images)
        if not pairs:
            return []
        device, folder = models.pick_device(self.device), models.resolve(self.model, WEIGHTS)
        network, prepare = load(folder, device), processor(folder.path)
        _check_patches(network, self.size)
        scores = [0.0] * len(pairs)
        with models.inference(device):
            for pair, where in groups:
                source = self._similarity(network, prepare, [_read(pair.image)], device)
                for some in models.chunks(where, self.batch):
                    edits = self._similarity(network, prepare, [images[i] for i in some], device)
                    for i, value in zip(some, (edits - source).square().mean((1, 2)).tolist(), strict=True):
                        scores[i] = value
        return scores

    def _similarity(self, network: Any, prepare: Any, pictures: Sequence[Image], device: str) -> Tensor:
        import torch

        pixels = np.stack([images.to_signed(images.fit(picture, self.size, self.fit)) for picture in pictures])
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (prepare.image_mean, prepare.image_std))
        return self_similarity(keys(network, (((torch.from_numpy(pixels) + 1) / 2 - mean) / std).to(device)))


def self_similarity(k: Tensor) -> Tensor:
    """Cosines of all pairs of tokens: (B, N, D) → (B, N, N); eq. 2."""
    unit: Tensor = k / k.norm(dim=2, keepdim=True).clamp(min=1e-8)
    return unit @ unit.transpose(1, 2)


def keys(network: Any, pixels: Tensor) -> Tensor:
    """Keys of the last attention layer, heads side by side: (B, 3, H, W) normalised → (B, N, D).

    Raises:
        MetricError: if the model has no key projection under a name we know.
    """
    names = ("k_proj", "key")
    projections = [m for name, m in network.named_modules() if name.rpartition(".")[2] in names]
    if not projections:
        raise MetricError(f"{type(network).__name__} has no key projection; take a ViT or DINOv2 model")
    caught: list[Tensor] = []
    hook = projections[-1].register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    try:
        _forward(network, pixels)
    finally:
        hook.remove()
    found: Tensor = caught[0].float()
    return found


@functools.cache
def load(folder: models.Folder, device: str) -> Any:
    """Load a vision transformer, once a process.

    Raises:
        MetricError: if weights are missing or do not fit; the unused pooler may be missing.
    """
    from transformers import AutoModel

    try:
        with models.construction():
            network, info = AutoModel.from_pretrained(folder.path, output_loading_info=True, local_files_only=True)
    except Exception as error:  # transformers raises a zoo of types on damaged folders
        raise MetricError(f"model {folder.label} does not load: {short(error, 140)}") from error
    missing = [key for key in info["missing_keys"] if not key.startswith("pooler.")]
    missing += [str(key) for key in info.get("mismatched_keys", ())]
    if missing:
        raise MetricError(
            f"model {folder.label}: {len(missing)} weights did not load ({sorted(missing)[0]} …); "
            "such a model is random: get its files anew"
        )
    return network.eval().requires_grad_(False).float().to(device)


def processor(path: Path) -> Any:
    """The model's own preprocessing, read anew when its file changes.

    Raises:
        MetricError: if the folder has none.
    """
    return _processor(path, tuple(models.sha256(file) for file in sorted(path.glob("*processor_config.json"))))


@functools.cache
def _processor(path: Path, digests: tuple[str, ...]) -> Any:
    del digests
    from transformers import AutoImageProcessor

    try:
        with models.construction():
            return AutoImageProcessor.from_pretrained(path, local_files_only=True)
    except Exception as error:  # as in load
        raise MetricError(f"{path.name}: no readable preprocessor_config.json ({short(error, 120)})") from error


def _cls(network: Any, prepare: Any, device: str, pictures: Sequence[Image]) -> Tensor:
    pixels = prepare(images=list(pictures), return_tensors="pt")["pixel_values"].to(device)
    token = _forward(network, pixels).last_hidden_state[:, 0].float()
    unit: Tensor = token / token.norm(dim=1, keepdim=True)
    return unit


def _forward(network: Any, pixels: Tensor) -> Any:
    # DINOv2 always interpolates its positions; ViT does so on request, which changes nothing at its own size.
    if "interpolate_pos_encoding" in inspect.signature(type(network.embeddings).forward).parameters:
        return network(pixel_values=pixels, interpolate_pos_encoding=True)
    return network(pixel_values=pixels)


def _batched(encode: Callable[[Sequence[Image]], Tensor], readers: Sequence[Any], batch: int) -> Tensor:
    import torch

    return torch.cat([encode([read() for read in some]) for some in models.chunks(readers, batch)])


def _frame(prepare: Any) -> str:
    size = dict(prepare.size) if prepare.size else {}
    edge = "x".join(dict.fromkeys(str(v) for v in size.values() if v))
    crop = int(bool(getattr(prepare, "do_center_crop", False)))
    return f"{edge}-crop{crop}-resample{int(prepare.resample)}-{type(prepare).__name__.lower()}"


def _check_patches(network: Any, size: int) -> None:
    patch = getattr(network.config, "patch_size", 1)
    if size % patch:
        raise UsageError(
            f"size {size} is no multiple of the model's {patch}-pixel patches; try {max(size // patch, 1) * patch}"
        )


def _read(file: Any) -> Image:
    return images.read(file)


def _same(edit: Image) -> Image:
    return edit
