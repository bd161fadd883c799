"""One metric and one method, as a stranger would write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from PIL import Image, ImageOps

from tedbench import images
from tedbench.types import EditPair, Strength


@dataclass(frozen=True)
class Brightness:
    """Mean of all channels of the edited image, in [0, 1]."""

    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[str]] = frozenset()
    facts: ClassVar[dict[str, str | float]] = {"family": "brightness"}
    at: ClassVar[str] = "size"
    size: int = 64
    rule: Literal["crop", "squash"] = "crop"

    @property
    def identity(self) -> str:
        """Name, version and framing."""
        return f"example-brightness-1/{images.frame(self.size, self.rule)}"

    def score(self, pairs: Sequence[EditPair], edits: Sequence[Image.Image]) -> list[float]:
        """Score each edit; the pairs are not read."""
        return [float(images.to_uint8(images.fit(edit, self.size, self.rule)).mean()) / 255 for edit in edits]


@dataclass(frozen=True)
class Negative:
    """Blends the input with its negative."""

    deterministic: ClassVar[bool] = True
    strength: ClassVar[Strength] = Strength("amount", "a", default=1.0, grid=(0.0, 0.5, 1.0), low=0.0, high=1.0)

    def fit(self, pair: EditPair, seed: int) -> None:
        """Learn nothing."""

    def edit(self, pair: EditPair, state: None, strengths: Sequence[float], seed: int) -> list[Image.Image]:
        """One blend a strength; no noise, so the seed is not read."""
        x = images.read(pair.image)
        return [Image.blend(x, ImageOps.invert(x), a) for a in strengths]
