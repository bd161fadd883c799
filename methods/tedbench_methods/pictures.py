"""The pairs that a method is tried on by its contract: drawn pictures, with every text, and a mask."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from PIL import Image

from tedbench import images
from tedbench.types import EditPair, ImageFile

SIZE = (96, 80)
"""Width and height of the pictures; not square, so that framing is tried too."""


def pictures() -> tuple[EditPair, ...]:
    """Pairs with every field, about two drawn pictures; uids `contract-0` to `contract-3`.

    The second has another picture and text than the first, the third its picture, the fourth its text: whatever is
    kept from one pair under its picture or its text alone is served to another.
    """
    texts = "A photo of a sitting dog.", "A photo of two trees in autumn."
    return _pair(0, 0, texts[0]), _pair(1, 1, texts[1]), _pair(2, 0, texts[1]), _pair(3, 1, texts[0])


def encoded_anew(pair: EditPair) -> EditPair:
    """The same pair, about the same picture in another file."""
    buffer = io.BytesIO()
    images.read(pair.image).save(buffer, format="PNG", compress_level=0)
    data = buffer.getvalue()
    return dataclasses.replace(pair, image=ImageFile(f"anew-{pair.image.name}", images.sha256(data), data=data))


def _pair(number: int, picture: int, target_text: str) -> EditPair:
    rng = np.random.default_rng(picture)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] / max(SIZE)
    pixels = np.stack([x, y, 1 - x], -1) * rng.uniform(60, 255, 3)
    pixels[20:50, 30:70] = rng.uniform(0, 255, 3)
    data = images.encode_png(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    uid, mask = f"contract-{number}", images.encode_png(Image.new("RGB", SIZE, "white"))
    return EditPair(
        uid, ImageFile(f"picture-{picture}.png", images.sha256(data), data=data), target_text, f"picture-{picture}",
        source_text="A photo.", instruction="Change it.",
        mask=ImageFile("mask.png", images.sha256(mask), data=mask),
    )  # fmt: skip
