"""PSNR and SSIM: how far the pixels moved. Meaningful outside a mask; over a whole edited picture only as a check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tedbench import images
from tedbench.types import EditPair
from tedbench_metrics import models, regions

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
Outside = NDArray[np.bool_]


def psnr(source: Pixels, edit: Pixels, outside: Outside) -> float:
    """10 log10(255² / MSE) in dB, MSE over the pixels where `outside` holds and all three channels.

    Args:
        source: (H, W, 3) uint8.
        edit: as source.
        outside: (H, W).
    """
    error = float(np.mean((source[outside].astype(np.float64) - edit[outside]) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(source: Pixels, edit: Pixels, outside: Outside | None) -> float:
    """Wang et al. 2004 with its Gaussian window (sigma 1.5); the map's mean, over `outside` if given.

    Args: as `psnr`. Without `outside` the border of half a window is left out, as scikit-image does.
    """
    from skimage.metrics import structural_similarity

    mean, full = structural_similarity(
        source, edit, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2,
        full=True,
    )  # fmt: skip
    return float(mean) if outside is None else float(full[outside].mean())


@dataclass(frozen=True)
class _Pixels:
    at: ClassVar[str] = "size"
    higher_is_better: ClassVar[bool] = True
    family: ClassVar[str]

    size: int = 512
    fit: images.Fit = "crop"
    region: regions.Region = "all"

    def __post_init__(self) -> None:
        images.check_fit(self.size, self.fit)
        regions.check_region(self.region)

    @property
    def needs(self) -> frozenset[str]:
        """`mask` where only the outside is scored."""
        return regions.needs(self.region)

    @property
    def facts(self) -> Mapping[str, str | float]:
        """Family, size, fit and region."""
        return {"family": self.family, "size": self.size, "fit": self.fit, "convention": self.region, "device": "cpu"}

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        """One value per edit; NaN where only the outside is scored and the mask leaves none.

        Raises:
            MetricError: if only the outside is scored and a pair has no mask.
            ImageError: if an image is no RGB Pillow image.

        Warns:
            MetricNote: for each pair whose mask leaves no outside.
        """
        scores = [0.0] * len(pairs)
        for pair, where in models.by_image(pairs, images, self.region == "outside"):
            source = self._source(pair)
            outside = regions.outside(pair, self.size, self.fit) if self.region == "outside" else None
            if outside is not None and not outside.any():
                regions.note_covered([pairs[i] for i in where], self.size)
                scores = [math.nan if i in where else score for i, score in enumerate(scores)]
                continue
            for i in where:
                scores[i] = self._value(source, self._edit(pair, images[i]), outside)
        return scores

    def _source(self, pair: EditPair) -> Pixels:
        return images.to_uint8(images.fit(images.read(pair.image), self.size, self.fit))

    def _edit(self, pair: EditPair, edit: Image) -> Pixels:
        if self.region == "outside":
            return images.to_uint8(regions.filled(pair, edit, self.size, self.fit))
        return images.to_uint8(images.fit(edit, self.size, self.fit))

    def _value(self, source: Pixels, edit: Pixels, outside: Outside | None) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class Psnr(_Pixels):
    """Peak signal-to-noise ratio to the source, in dB. Identical pictures give infinity."""

    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    family: ClassVar[str] = "psnr"

    @property
    def identity(self) -> str:
        """`psnr/512-crop-pillow-bicubic[/outside-mask]`."""
        return f"psnr/{images.frame(self.size, self.fit)}{regions.suffix(self.region)}"

    def _value(self, source: Pixels, edit: Pixels, outside: Outside | None) -> float:
        return psnr(source, edit, np.ones(source.shape[:2], bool) if outside is None else outside)


@dataclass(frozen=True)
class Ssim(_Pixels):
    """Structural similarity to the source (Wang et al., IEEE TIP 2004), by scikit-image with the paper's window."""

    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    family: ClassVar[str] = "ssim"

    @property
    def identity(self) -> str:
        """`ssim-gaussian1.5/512-crop-pillow-bicubic[/outside-mask]`."""
        return f"ssim-gaussian1.5/{images.frame(self.size, self.fit)}{regions.suffix(self.region)}"

    def _value(self, source: Pixels, edit: Pixels, outside: Outside | None) -> float:
        return ssim(source, edit, outside)
