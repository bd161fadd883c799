"""LPIPS v0.1 (Zhang et al., arXiv 1801.03924): how far an edit is from its source in the features of a network.

    d(x, y) = Σ_l 1/(H_l W_l) Σ_hw w_l · (x̂_l,hw − ŷ_l,hw)²        (eq. 1; x̂: features of unit length per position)

The package `lpips` is used for the networks and the weights w_l; the sum is written out here so that the features of
a source are computed once for all of its edits. The value is the package's own to 1e-5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tedbench import images
from tedbench.errors import MetricError, NetworkError, UsageError, short
from tedbench.types import EditPair
from tedbench_metrics import models, regions

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

ALEX = Path(__file__).parent / "weights" / "lpips_alex_backbone.safetensors"
ALEX_SHA256 = "d6269584189ae964af5c45296f2ccdbc62aa88cb0ed0a1e9edc7a304ad7045e0"


@dataclass(frozen=True)
class _Lpips:
    at: ClassVar[str] = "size"
    higher_is_better: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    net: ClassVar[str]
    smallest: ClassVar[int]
    """Size under which nothing is left of a picture before the last layer."""

    size: int = 256
    fit: images.Fit = "crop"
    region: regions.Region = "all"
    backbone: str = ""
    """A safetensors file in place of the usual ImageNet weights, keys as in `lpips.LPIPS(net=…).net.state_dict()`."""
    batch: int = 16
    device: str = "auto"

    def __post_init__(self) -> None:
        images.check_fit(self.size, self.fit)
        regions.check_region(self.region)
        models.check_batch(self.batch)
        models.check_device(self.device)
        if self.size < self.smallest:
            raise UsageError(f"size {self.size} is too small for lpips-{self.net}; give at least {self.smallest}")

    @property
    def identity(self) -> str:
        """`lpips-alex-0.1/256-crop-pillow-bicubic[/outside-mask][/backbone-HASH8]`."""
        own = f"/backbone-{self._hash8}" if self.backbone else ""
        return f"lpips-{self.net}-0.1/{images.frame(self.size, self.fit)}{regions.suffix(self.region)}{own}"

    @property
    def needs(self) -> frozenset[str]:
        """`mask` where only the outside is scored."""
        return regions.needs(self.region)

    @property
    def facts(self) -> Mapping[str, str | float]:
        """Family, network, size, fit, region and device; `custom` with a backbone of one's own."""
        backbone = f"{self.net}-custom-{self._hash8}" if self.backbone else self.net
        return {
            "family": "lpips", "backbone": backbone, "size": self.size, "fit": self.fit, "convention": self.region,
            "device": models.pick_device(self.device), "custom": "yes" if self.backbone else "",
        }  # fmt: skip

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        """Distance of each edit to its source; 0 where they are equal, NaN where a mask leaves no outside.

        Raises:
            MetricError: if the weights are not there or not right, or a mask is missing.
            NetworkError: if weights have to be fetched and cannot be.
            ImageError: if an image is no RGB Pillow image.
            UsageError: if the device is not here.

        Warns:
            MetricNote: for each pair whose mask leaves no outside.
        """
        groups = models.by_image(pairs, images, self.region == "outside")
        device = models.pick_device(self.device)
        file = Path(self.backbone) if self.backbone else None
        network = load(self.net, file, models.sha256(file) if file else "", device)
        scores = [0.0] * len(pairs)
        with models.inference(device):
            for pair, where in groups:
                if self.region == "outside" and not regions.outside(pair, self.size, self.fit).any():
                    regions.note_covered([pairs[i] for i in where], self.size)
                    scores = [math.nan if i in where else score for i, score in enumerate(scores)]
                    continue
                for i, value in zip(where, self._group(network, pair, [images[i] for i in where], device), strict=True):
                    scores[i] = value
        return scores

    @property
    def _hash8(self) -> str:
        return models.sha256(Path(self.backbone))[:8]

    def _group(self, network: Any, pair: EditPair, edits: Sequence[Image], device: str) -> list[float]:
        # The source rides in the first batch; its features then serve every further one.
        outside, values, source = self._outside(pair, device), list[float](), None
        for some in models.chunks(edits, self.batch):
            arrays = [self._signed(pair, edit) for edit in some]
            if source is None:
                arrays.insert(0, images.to_signed(images.fit(images.read(pair.image), self.size, self.fit)))
            features = unit_features(network, _tensor(arrays, device))
            if source is None:
                source, features = [f[:1] for f in features], [f[1:] for f in features]
            values += distances(network, source, features, outside).tolist()
        return values

    def _signed(self, pair: EditPair, edit: Image) -> NDArray[np.float32]:
        if self.region == "outside":
            return images.to_signed(regions.filled(pair, edit, self.size, self.fit))
        return images.to_signed(images.fit(edit, self.size, self.fit))

    def _outside(self, pair: EditPair, device: str) -> Tensor | None:
        import torch

        if self.region == "all":
            return None
        return torch.from_numpy(regions.outside(pair, self.size, self.fit)).to(device)


@dataclass(frozen=True)
class LpipsAlex(_Lpips):
    """LPIPS with AlexNet, the authors' choice as a metric; its weights ship with the suite."""

    net: ClassVar[str] = "alex"
    smallest: ClassVar[int] = 31


@dataclass(frozen=True)
class LpipsVgg(_Lpips):
    """LPIPS with VGG-16; its weights come from torchvision (528 MB)."""

    net: ClassVar[str] = "vgg"
    smallest: ClassVar[int] = 16


@dataclass(frozen=True)
class LpipsSqueeze(_Lpips):
    """LPIPS with SqueezeNet 1.1; its weights come from torchvision (5 MB)."""

    net: ClassVar[str] = "squeeze"
    smallest: ClassVar[int] = 17


def unit_features(network: Any, x: Tensor) -> list[Tensor]:
    """Features of every layer, of unit length at each position.

    Args:
        network: an `lpips.LPIPS`.
        x: (B, 3, H, W) in [-1, 1].

    Returns:
        One (B, C_l, H_l, W_l) a layer.
    """
    import torch

    layers = network.net(network.scaling_layer(x))
    return [f / (torch.linalg.vector_norm(f, dim=1, keepdim=True) + 1e-10) for f in layers]


def distances(network: Any, source: list[Tensor], edits: list[Tensor], outside: Tensor | None) -> Tensor:
    """Equation 1 between one source and B edits.

    Args:
        network: an `lpips.LPIPS`.
        source: unit features, (1, C_l, H_l, W_l) each.
        edits: unit features, (B, C_l, H_l, W_l) each.
        outside: (H, W); the distance is then a map, brought to that size (bilinear, as the package's `spatial=True`)
            and averaged where this holds.

    Returns:
        (B,) in float32.
    """
    import torch

    squares = [(x - y).square_() for x, y in zip(source, edits, strict=True)]
    weights = [layer.model[-1].weight for layer in network.lins]
    if outside is None:
        terms = [d.mean((2, 3)) @ w[0, :, 0, 0] for d, w in zip(squares, weights, strict=True)]
        return torch.stack(terms).sum(0)
    total = torch.zeros(1, device=outside.device)
    for d, w in zip(squares, weights, strict=True):
        small = torch.nn.functional.conv2d(d, w)
        large = torch.nn.functional.interpolate(small, size=outside.shape, mode="bilinear", align_corners=False)
        total = total + large[:, 0, outside].mean(1)
    return total


@functools.cache
def load(net: str, backbone: Path | None, digest: str, device: str) -> Any:
    """An `lpips.LPIPS` with its weights, once a process.

    Args:
        net: `alex`, `vgg` or `squeeze`.
        backbone: safetensors file of the user's own; None for the usual one.
        digest: of that file, so that a changed file is loaded anew.
        device: where it goes.

    Raises:
        MetricError, NetworkError: as `LpipsAlex.score`.
    """
    del digest
    with models.construction():
        import lpips
        import torch

        network = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
        state = _state(net, backbone, list(network.net.state_dict()))
        try:
            network.net.load_state_dict(state)
        except RuntimeError as error:
            raise MetricError(f"the backbone is no {net} of the lpips package: {short(error, 120)}") from error
        return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def _tensor(arrays: Sequence[NDArray[np.float32]], device: str) -> Tensor:
    import torch

    return torch.from_numpy(np.stack(arrays)).to(device, memory_format=torch.channels_last)


def _state(net: str, backbone: Path | None, keys: Sequence[str]) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if net == "alex" and backbone is None and models.sha256(ALEX) != ALEX_SHA256:
        raise MetricError(f"{ALEX.name} is not the file that ships (sha256 differs); reinstall tedbench-editing")
    if net == "alex" or backbone is not None:
        try:
            return load_file(backbone or ALEX)
        except (OSError, SafetensorError) as error:
            raise MetricError(f"backbone {backbone} is no readable safetensors file ({short(error, 120)})") from error
    features = torch.load(_torchvision_file(net), map_location="cpu", weights_only=True)
    return {key: features["features." + key.partition(".")[2]] for key in keys}


def _torchvision_file(net: str) -> Path:
    """The weights file of torchvision, from its cache or fetched; its name ends in the first 8 digits of its sha256."""
    import torch
    from torchvision.models import SqueezeNet1_1_Weights, VGG16_Weights

    url: str = {"vgg": VGG16_Weights, "squeeze": SqueezeNet1_1_Weights}[net].IMAGENET1K_V1.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    prefix = file.stem.rpartition("-")[2]
    if not file.is_file():
        _fetch(url, file, prefix)
    if not models.sha256(file).startswith(prefix):
        raise MetricError(f"{file} is damaged: its sha256 does not begin with {prefix}; delete it and run again")
    return file


def _fetch(url: str, file: Path, prefix: str) -> None:
    import torch

    hint = f"put {file.name} into {file.parent}, or use lpips-alex, whose weights ship"
    if models.offline():
        raise NetworkError(f"{file.name} is not here and HF_HUB_OFFLINE is set; {hint}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=prefix, progress=False)
    except (OSError, RuntimeError) as error:
        raise NetworkError(f"{file.name} cannot be fetched ({short(error, 90)}); {hint}") from error
