"""FID, which refuses: there are too few images for it to mean anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tedbench.errors import MetricError
from tedbench.types import EditPair

if TYPE_CHECKING:
    from PIL.Image import Image

REASON = (
    "FID is not computed here: it fits a 2048-dimensional Gaussian to the images, the rank of a covariance from about "
    "100 images is under 100, and the estimate is biased upwards by an amount that differs between methods "
    "(arXiv 1911.07023); thousands of images are needed. Use lpips-alex, dino or structure-distance instead"
)


@dataclass(frozen=True)
class Fid:
    """Heusel et al., arXiv 1706.08500. Here so that who looks for it finds the reason.

    Raises:
        MetricError: always, on construction.
    """

    higher_is_better: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __post_init__(self) -> None:
        raise MetricError(REASON)

    @property
    def identity(self) -> str:
        """Never reached."""
        raise MetricError(REASON)

    @property
    def needs(self) -> frozenset[str]:
        """Never reached."""
        raise MetricError(REASON)

    @property
    def facts(self) -> Mapping[str, str | float]:
        """Never reached."""
        raise MetricError(REASON)

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:  # noqa: ARG002
        """Never reached."""
        raise MetricError(REASON)
