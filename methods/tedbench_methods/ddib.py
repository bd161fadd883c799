"""DDIB: out of the source text and into the target text, along one ODE (Su et al., arXiv 2203.08382).

    x_T = DDIM backwards from x_0 under the source text, without guidance
    edit = DDIM from x_T under the target text, with guidance w

Each ε is taken where the path is, at its own time; nothing is cached. Guidance while decoding is the strength, from 1
to 5 in Imagic's comparison (arXiv 2210.09276, section 4.3). TEdBench has no source texts: they come from the data set,
from a captions file, or from a captioner, and a run says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image
from torch import Tensor

from tedbench import facts, images
from tedbench.errors import DataError
from tedbench.types import EditPair, Strength
from tedbench_methods.backbones.base import Backbone
from tedbench_methods.backbones.method import Sampling, check_strengths
from tedbench_methods.backbones.sampling import Denoiser, encode, in_batches, sample


@dataclass(frozen=True)
class DDIB(Sampling):
    """Reads `source_text` and `target_text`; its strength is the guidance w of decoding. Draws no noise."""

    strength: ClassVar[Strength] = Strength(
        "guidance", "w", default=3.0, grid=(1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0), low=0.0, high=30.0
    )
    deterministic: ClassVar[bool] = True
    captioner: str = ""
    """Folder or hub id of a BLIP model that writes the source texts the data set lacks."""

    @property
    def needs(self) -> frozenset[str]:
        """A source text, unless a captioner writes it."""
        return frozenset() if self.captioner else frozenset({"source_text"})

    def prepare(self) -> None:
        """Load the model and the captioner."""
        super().prepare()
        if self.captioner:
            from tedbench_methods.backbones.captioner import load

            load(self.captioner, self.device)

    def fit(self, pair: EditPair, seed: int) -> Tensor:  # noqa: ARG002
        """x_T, (1, …).

        Raises:
            DataError: if the pair has no source text, and no captioner is named.
        """
        source_text = self._source_text(pair)
        backbone = self.backbone
        return bridge(backbone, backbone.encode(images.read(pair.image)), source_text, self.steps).cpu()

    def edit(self, pair: EditPair, state: Tensor, strengths: Sequence[float], seed: int) -> list[Image.Image]:  # noqa: ARG002
        """One image a guidance, all at once from one x_T.

        Raises:
            UsageError: for a guidance outside the range.
        """
        check_strengths(strengths, self.strength)
        backbone = self.backbone
        x, e_tgt = state.to(backbone.device), backbone.embed([pair.target_text])
        path = backbone.schedule.path(self.steps)

        def make(which: Sequence[int]) -> list[Image.Image]:
            text, n = e_tgt.repeat(len(which)), len(which)
            denoise = Denoiser(backbone, text, [strengths[i] for i in which])
            return backbone.decode(sample(denoise, x.expand(n, *x.shape[1:]), [path] * n), text)

        return in_batches(len(strengths), self.batch, make)

    def _source_text(self, pair: EditPair) -> str:
        if pair.source_text is not None:
            facts.note(source_text=pair.source_text, source_text_by="data set or captions file")
            return pair.source_text
        if not self.captioner:
            raise DataError(
                f"{pair.uid} has no source text, which DDIB starts from; give --captions FILE, or --set captioner=MODEL"
            )
        from tedbench_methods.backbones.captioner import load

        blip = load(self.captioner, self.device)
        text = blip.caption(images.read(pair.image))
        facts.note(source_text=text, source_text_by=blip.name)
        return text


def bridge(backbone: Backbone, x_0: Tensor, source_text: str, steps: int) -> Tensor:
    """x_T of x_0 (1, …) along the ODE under a text, without guidance."""
    denoise = Denoiser(backbone, backbone.embed([source_text]), [1.0])
    return encode(denoise, x_0, backbone.schedule.path(steps))
