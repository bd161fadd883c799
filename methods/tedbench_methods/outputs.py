"""Images made elsewhere, as a method: what another program wrote takes its place in a run beside ours.

    x_edit = the file that the template names

A folder and a naming template say which file answers which pair, seed and strength. Nothing is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tedbench import images, naming
from tedbench.errors import DataError, ImageError, UsageError
from tedbench.types import EditPair, ImageFile, Strength

if TYPE_CHECKING:
    from PIL.Image import Image

_NOMINAL = Strength("none", "–", default=0.0, grid=(0.0,), low=0.0, high=0.0)
_OPEN = Strength("strength", "s", default=0.0, grid=(), low=-math.inf, high=math.inf)


@dataclass(frozen=True)
class Outputs:
    """Reads an edited image per pair, and per seed and strength where the template names them."""

    at: ClassVar[str] = "folder"
    folder: str = ""
    """Where the images are; a relative path counts from where the program runs."""
    template: str = naming.TEDBENCH_TEMPLATE
    """How they are named: fields img_name, img_stem, text, target_text, uid, image_id, seed, strength."""

    def __post_init__(self) -> None:
        """Refuse a method without images, or a template without sense, before anything runs."""
        if not self.folder:
            raise UsageError("outputs needs the folder of the images: write outputs@FOLDER, or set folder")
        example = EditPair("uid", ImageFile("image.png", ""), "text", "image.png")
        self._name(example, 0, 0.0)

    @property
    def strength(self) -> Strength:
        """Nominal; where the template names `{strength}`, whatever is asked for, with no grid of its own."""
        return _OPEN if "strength" in naming.fields_of(self.template) else _NOMINAL

    @property
    def deterministic(self) -> bool:
        """Whether every seed has the same images."""
        return "seed" not in naming.fields_of(self.template)

    def prepare(self) -> None:
        """Refuse a folder that is not there, rather than miss its files one by one.

        Raises:
            DataError: if it is not there.
        """
        if not naming.is_folder(Path(self.folder)):
            raise DataError(f"outputs: no folder {self.folder}; relative ones count from where the program runs")

    def fit(self, pair: EditPair, seed: int) -> None:
        """Learn nothing."""

    def edit(self, pair: EditPair, state: None, strengths: Sequence[float], seed: int) -> list[Image]:  # noqa: ARG002
        """The image of each strength: RGB, upright, in its own size.

        Raises:
            DataError: if a file is not there, or lies outside the folder.
            ImageError: if it does not decode.
        """
        return [self._read(self._name(pair, seed, strength)) for strength in strengths]

    def _name(self, pair: EditPair, seed: int, strength: float) -> str:
        more = {"seed": seed, "strength": strength}
        return naming.normal(naming.file_name(self.template, pair, index=None, more=more, called="template"))

    def _read(self, name: str) -> Image:
        path = naming.safe_join(Path(self.folder), name)
        if not naming.is_file(path):
            raise DataError(f"no file {name!r} in {self.folder}; say how the images are named with template")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error
        return images.decode(data, name)
