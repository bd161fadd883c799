"""Scoring only where the edit must not change the picture: fill the inside of the mask with the source.

The mask is white (≥ 128) where the edit may change the picture. Filling happens twice: at the size of the edit, before
any resizing, so that no pixel from inside bleeds over the border through the resize filter, and again at the size of
the metric. What the edit shows inside the mask therefore cannot move the number, not by one bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tedbench import images
from tedbench.errors import MetricError, MetricNote, UsageError

if TYPE_CHECKING:
    from tedbench.types import EditPair

Region = Literal["all", "outside"]


def check_region(region: str) -> None:
    """Raise UsageError for a region that is neither `all` nor `outside`."""
    if region not in get_args(Region):
        raise UsageError(f"no region {region!r}; known: {', '.join(get_args(Region))}")


def suffix(region: Region) -> str:
    """The part of an identity that names the region; nothing for the whole picture."""
    return "/outside-mask" if region == "outside" else ""


def needs(region: Region) -> frozenset[str]:
    """The optional fields of a pair that a region reads."""
    return frozenset({"mask"}) if region == "outside" else frozenset()


def outside(pair: EditPair, size: int, rule: images.Fit) -> NDArray[np.bool_]:
    """Where the edit must not change the picture, (size, size); nowhere, if the mask covers it all.

    Raises:
        MetricError: if the pair has no mask.
    """
    mask = _mask(pair)
    source = images.read(pair.image)
    result: NDArray[np.bool_] = (
        np.asarray(_framed(mask, (size, size), rule, Image.Resampling.NEAREST, source.size)) < 128
    )
    return result


def note_covered(pairs: Sequence[EditPair], size: int) -> None:
    """Say of each of these pairs, once, that its mask leaves nothing to score.

    Warns:
        MetricNote: one per uid.
    """
    for uid in dict.fromkeys(pair.uid for pair in pairs):
        note = f"pair {uid!r}: the mask covers the whole picture at {size}²; not scored"
        warnings.warn(note, MetricNote, stacklevel=3)


def filled(pair: EditPair, edit: Image.Image, size: int, rule: images.Fit) -> Image.Image:
    """The edit at size², its inside replaced by the source."""
    images.to_uint8(edit)
    source, mask = images.read(pair.image), _mask(pair)
    native = (min(edit.size),) * 2 if rule == "crop" else edit.size
    whole = _framed(edit, native, rule, Image.Resampling.BICUBIC, edit.size)
    under = _framed(source, native, rule, Image.Resampling.BICUBIC, source.size)
    inside = _framed(mask, native, rule, Image.Resampling.NEAREST, source.size)
    clean = images.fit(Image.composite(under, whole, _binary(inside)), size, rule)
    kept = outside(pair, size, rule)
    both = np.where(kept[..., None], np.asarray(clean), np.asarray(images.fit(source, size, rule)))
    return Image.fromarray(both)


def _mask(pair: EditPair) -> Image.Image:
    if pair.mask is None:
        raise MetricError(f"pair {pair.uid!r} has no mask; region=outside needs one, use a data set with masks")
    return images.read_mask(pair.mask)


def _binary(mask: Image.Image) -> Image.Image:
    return Image.fromarray(np.where(np.asarray(mask) >= 128, 255, 0).astype(np.uint8))


def _framed(image: Image.Image, size: tuple[int, int], rule: images.Fit, filter: Any, like: Any) -> Image.Image:
    """As `images.fit`, for any filter and frame; a mask of another size than its image is first brought to that."""
    if image.size != like:
        image = image.resize(like, filter)
    if rule == "crop" and image.width != image.height:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return image if image.size == size else image.resize(size, filter)
