"""The edit that does nothing: the anchor that any method must beat.

    x_edit = x

It has the best fidelity there is and leaves the text unheard: the corner of every fidelity–editing plot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tedbench import images
from tedbench.types import EditPair, Strength

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Identity:
    """Returns the input as it is; reads no text and no seed."""

    strength: ClassVar[Strength] = Strength("none", "–", default=0.0, grid=(0.0,), low=0.0, high=0.0)
    """Nominal: there is nothing to turn."""
    deterministic: ClassVar[bool] = True

    def fit(self, pair: EditPair, seed: int) -> None:
        """Learn nothing."""

    def edit(self, pair: EditPair, state: None, strengths: Sequence[float], seed: int) -> list[Image]:  # noqa: ARG002
        """One copy of the input a strength: RGB, upright, in its own size.

        Raises:
            ImageError: if the input cannot be read.
        """
        return [images.read(pair.image).copy() for _ in strengths]
