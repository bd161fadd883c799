"""The oracle: whether an edit of a toy picture did what was asked, and nothing else. Each value is 0 or 1.

    success       every attribute asked for is read on the edit
    preservation  every attribute not asked about is still read on it, its subjects are where and as large as they
                  should be, and outside the mask it is the source: PSNR ≥ 20 dB, or 15 dB where the background is what
                  changes
    both          success · preservation
    refused       whether the oracle takes the edit for no picture of its world

A refused picture has neither success nor preservation. Where a subject must be: each of the box's centre, width and
height within 5 pixels (of 64) of what is read on the source, on the true answer, or anything between the two. A value
that the oracle misreads on the source itself counts as kept where it is read so again: an edit is not blamed for that.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tedbench import images
from tedbench.errors import MetricError
from tedbench.types import EditPair, ImageFile
from tedbench_metrics import models, regions
from tedbench_metrics.toy import ORACLE

if TYPE_CHECKING:
    from PIL.Image import Image

    from tedbench_metrics.toy.reader import Reader

SIDE = 64
BOX_TOLERANCE = 5.0
"""Pixels of 64."""
LEAST_PSNR = 20.0
"""dB, outside the mask, to the source."""
LEAST_PSNR_OF_SUBJECT = 15.0
"""Where the background changes, the subject alone is outside, and it is all edges: the toy model's autoencoder gives
true answers at least 17.9 dB there (dev split), and 25.6 elsewhere. A subject moved by 4 pixels mostly has 9 to 15."""
_BATCH = 256


@dataclass(frozen=True)
class Read:
    """What the oracle reads on one picture."""

    values: Mapping[str, str]
    box: NDArray[np.float64]
    """(4,): centre across and down, width, height; pixels of 64."""
    refused: bool


@dataclass(frozen=True)
class Case:
    """One edit before the oracle."""

    reader: Reader
    pair: EditPair
    edit: Image
    seen: Read

    @property
    def succeeded(self) -> bool:
        """Whether all that the pair asks for was read."""
        asked = self.pair.changes or ()
        return not self.seen.refused and all(self.seen.values.get(name) == value for name, value in asked)

    @property
    def preserved(self) -> bool:
        """Whether all else of the pair was kept, see the module."""
        return not self.seen.refused and self._kept() and self._placed() and self._same_outside()

    def _kept(self) -> bool:
        source = _read_file(self.reader, self.pair.image)
        kept = self.pair.keeps or ()
        return all(self.seen.values.get(name) in (value, source.values.get(name)) for name, value in kept)

    def _placed(self) -> bool:
        boxes = [_read_file(self.reader, file).box for file in (self.pair.image, _truth(self.pair))]
        low, high = np.minimum(*boxes) - BOX_TOLERANCE, np.maximum(*boxes) + BOX_TOLERANCE
        return bool(np.all((self.seen.box >= low) & (self.seen.box <= high)))

    def _same_outside(self) -> bool:
        outside = regions.outside(self.pair, SIDE, "crop")
        source, edit = (_pixels(image)[outside].astype(float) for image in (images.read(self.pair.image), self.edit))
        asked = {name for name, _ in self.pair.changes or ()}
        least = LEAST_PSNR_OF_SUBJECT if "background" in asked else LEAST_PSNR
        return not outside.any() or float(np.mean((source - edit) ** 2)) <= 255**2 / 10 ** (least / 10)


@dataclass(frozen=True)
class _Oracle:
    at: ClassVar[str] = "model"
    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    family: ClassVar[str]
    limits: ClassVar[str] = ""

    model: str = ""
    """Folder of another oracle; empty for the one that ships."""
    device: str = "auto"

    def __post_init__(self) -> None:
        models.check_device(self.device)

    @property
    def identity(self) -> str:
        """`oracle-success/oracle-1a2b3c4d/64-crop-pillow-bicubic`."""
        return f"{self.family}/{self._folder().name}/{images.frame(SIDE, 'crop')}{self.limits}"

    @property
    def needs(self) -> frozenset[str]:
        """What the toy world says of its questions: what must change, what must stay, mask and true answer."""
        return frozenset({"changes", "keeps", "mask", "truth"})

    @property
    def facts(self) -> Mapping[str, str | float]:
        """Family, backbone, size, fit, device, and that values are 0 or 1."""
        return {
            "family": self.family, "backbone": self._folder().name, "size": SIDE, "fit": "crop",
            "device": models.pick_device(self.device), "values": "binary",
        }  # fmt: skip

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        """One 0 or 1 per edit.

        Raises:
            MetricError: if a pair does not say what must change, or the oracle does not load.
            ImageError: if an image is no RGB Pillow image.
        """
        models.check(pairs, images)
        for pair in pairs:
            _check(pair)
        reader = load(self._folder().path, models.pick_device(self.device))
        reads = read(reader, images)
        return [float(self._holds(Case(reader, *each))) for each in zip(pairs, images, reads, strict=True)]

    def _folder(self) -> models.Folder:
        return models.resolve(self.model or f"local-dir:{ORACLE}", ("reader.safetensors",))

    def _holds(self, case: Case) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class OracleSuccess(_Oracle):
    """Whether every attribute asked for is there."""

    family: ClassVar[str] = "oracle-success"

    def _holds(self, case: Case) -> bool:
        return case.succeeded


@dataclass(frozen=True)
class OraclePreservation(_Oracle):
    """Whether everything else is as it was."""

    family: ClassVar[str] = "oracle-preservation"
    limits: ClassVar[str] = f"/box{BOX_TOLERANCE:g}-psnr{LEAST_PSNR:g}-{LEAST_PSNR_OF_SUBJECT:g}"

    def _holds(self, case: Case) -> bool:
        return case.preserved


@dataclass(frozen=True)
class OracleBoth(OraclePreservation):
    """Whether the edit was made and everything else kept: the answer to the question."""

    family: ClassVar[str] = "oracle-both"

    def _holds(self, case: Case) -> bool:
        return case.succeeded and case.preserved


@dataclass(frozen=True)
class OracleRefused(_Oracle):
    """Whether the edit is no picture of the toy world: blurred, broken, two pictures at once."""

    higher_is_better: ClassVar[bool] = False
    family: ClassVar[str] = "oracle-refused"

    def _holds(self, case: Case) -> bool:
        return case.seen.refused


def read(reader: Reader, edits: Sequence[Image]) -> list[Read]:
    """Read pictures of any size."""
    import torch

    found: list[Read] = []
    for some in models.chunks(edits, _BATCH):
        pixels = np.stack([_pixels(edit) for edit in some])
        reading = reader.read(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
        values = {name: reading.values(name) for name in reading.classes}
        boxes, refused = reading.box.double().cpu().numpy(), reading.refused.tolist()
        for i, box in enumerate(boxes):
            found.append(Read({name: each[i] for name, each in values.items()}, _centred(box), refused[i]))
    return found


@functools.cache
def load(folder: Path, device: str) -> Reader:
    """An oracle, once a process; raises as `Reader.load`."""
    from tedbench_metrics.toy.reader import Reader

    return Reader.load(folder, device)


_seen: dict[tuple[int, str], Read] = {}


def _read_file(reader: Reader, file: ImageFile) -> Read:
    key = (id(reader), file.sha256)
    if key not in _seen:
        _seen[key] = read(reader, [images.read(file)])[0]
    return _seen[key]


def _pixels(image: Image) -> NDArray[np.uint8]:
    return images.to_uint8(images.fit(image, SIDE))


def _centred(box: NDArray[np.float64]) -> NDArray[np.float64]:
    left, top, right, bottom = box
    return np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])


def _truth(pair: EditPair) -> ImageFile:
    if pair.truth is None:
        raise MetricError(f"pair {pair.uid!r} has no true answer; the oracle judges the toy world only")
    return pair.truth


def _check(pair: EditPair) -> None:
    if not pair.changes or not pair.keeps:
        raise MetricError(f"pair {pair.uid!r} does not say what must change; the oracle judges the toy world only")
    _truth(pair)
