"""Any image-to-image pipeline of diffusers, by name and configuration.

    [[methods]]
    name = "diffusers"
    model = "FOLDER"
    pipeline = "StableDiffusionImg2ImgPipeline"
    knob = "strength"                     # of the call; "invert.skip" is an argument of a first call, `invert`
    fraction_of = "num_inference_steps"
    call = { prompt = "{target_text}", image = "{image}", num_inference_steps = 50 }

Presets, `diffusers@NAME`, stand in `pipeline_presets.py` with their sources. Every strength begins with the same noise,
and with a copy of the pipeline as it was loaded or as its first call left it; only weights are shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from PIL import Image

from tedbench import facts, images
from tedbench.errors import UsageError
from tedbench.types import EditPair, Strength
from tedbench_methods import templates
from tedbench_methods.anchors import NO_KNOB
from tedbench_methods.backbones import borrowed
from tedbench_methods.backbones.method import OnModel, check_strengths, note_execution
from tedbench_methods.backbones.sampling import generator
from tedbench_methods.pipeline_calls import Calls, check_names
from tedbench_methods.pipeline_presets import PIPELINES


@dataclass(frozen=True)
class Pipeline(OnModel):
    """Reads the texts that its templates name; its strength is one argument of a call."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PIPELINES
    pipeline: str = ""
    """Class in diffusers, or `module:Class`."""
    call: Mapping[str, Any] = field(default_factory=dict)
    """Arguments. Texts may hold {target_text}, {source_text}, {instruction}; the value "{image}" is the input."""
    first: str = ""
    """Method called before; empty for none."""
    first_call: Mapping[str, Any] = field(default_factory=dict)
    """Its arguments, as in `call`."""
    knob: str = ""
    """Argument that the strength is passed in, `FIRST.ARGUMENT` for one of the first call; empty if there is none."""
    low: float = 0.0
    high: float = 1.0
    default: float = 0.5
    grid: tuple[float, ...] = ()
    """Empty for eleven strengths from low to high."""
    fraction_of: str = ""
    """Argument, a number of steps, that the knob is a fraction of. Where that is no whole step, nothing is edited, and
    the answer is the autoencoder's round trip."""
    scheduler: str = ""
    """Class in diffusers; empty for the model's own."""
    scheduler_config: Mapping[str, Any] = field(default_factory=dict)
    """What to change in the configuration of `scheduler`."""
    size: int = 0
    """Side of the input in pixels; 0 for the model's."""

    def __post_init__(self) -> None:
        """Refuse what can be refused without loading anything.

        Raises:
            UsageError: for settings that contradict each other, or templates that cannot be filled.
        """
        super().__post_init__()
        wrong = next((what for what, so in self._contradictions() if so), "")
        if wrong:
            raise UsageError(f"diffusers: {wrong}")
        templates.fields([self.call, self.first_call])
        if self.size:
            images.check_fit(self.size, "crop")

    def _contradictions(self) -> list[tuple[str, bool]]:
        of, argument = self.turned
        given, (low, high) = self.first_call if of else self.call, (self.low, self.high)
        values, rises = (self.default, *self.grid), list(self.grid) == sorted(set(self.grid))
        return [
            (f"no pipeline named; set pipeline=CLASS, or pick @{', @'.join(PIPELINES)}", not self.pipeline),
            ("first_call has arguments, but first names no method", bool(self.first_call and not self.first)),
            (f"the knob is an argument of {of!r}, but first is {self.first!r}", bool(of) and of != self.first),
            (f"{argument} is the knob, and set besides; keep one", argument in given),
            ("fraction_of wants a knob of the call itself", bool(self.fraction_of) and (bool(of) or not argument)),
            ("scheduler_config wants the scheduler named", bool(self.scheduler_config and not self.scheduler)),
            ("a generator is made from pair and seed; set none", "generator" in {**self.call, **self.first_call}),
            (f"default and grid must lie in [{low:g}, {high:g}]", not all(low <= value <= high for value in values)),
            ("the grid must rise", not rises),
        ]

    @property
    def strength(self) -> Strength:
        """As declared."""
        if not self.knob:
            return NO_KNOB
        name, width = self.turned[1], self.high - self.low
        grid = self.grid or tuple(self.low + width * i / 10 for i in range(11))
        return Strength(name, name, self.default, grid, self.low, self.high)

    @property
    def turned(self) -> tuple[str, str]:
        """The method whose argument the knob is, empty for the call, and that argument, empty if there is no knob."""
        method, _, argument = self.knob.rpartition(".")
        return method, argument

    @property
    def reads(self) -> frozenset[str]:
        """The texts of a pair that the pipeline is given."""
        return templates.fields([self.call, self.first_call])

    @property
    def needs(self) -> frozenset[str]:
        """Those of them that a pair may lack."""
        return self.reads - {"target_text"}

    @property
    def lender(self) -> borrowed.Lender:
        """The shared pipeline, loaded once a process; which one it is becomes a fact of the cells."""
        check_names(self, borrowed.pipeline_class(self.pipeline))
        lender = borrowed.lender(self.model, self.pipeline, self.device, self.dtype)
        note_execution(lender)
        return lender

    def prepare(self) -> None:
        """Load the model, and refuse arguments that the pipeline does not have."""
        _ = self.lender

    def fit(self, pair: EditPair, seed: int) -> None:  # noqa: ARG002
        """Learn nothing, and refuse a pair that cannot be edited.

        Raises:
            DataError: if it lacks a text that is read.
        """
        templates.texts_of(pair, self.reads)

    def edit(self, pair: EditPair, state: None, strengths: Sequence[float], seed: int) -> list[Image.Image]:  # noqa: ARG002
        """One image a strength, one after the other.

        Raises:
            UsageError: for a strength out of range, or an argument that the pipeline does not have.
            DataError: if the pair lacks a text that is read.
            MethodError: if the pipeline gives no picture, or wrote to weights.
        """
        check_strengths(strengths, self.strength)
        texts, lender = templates.texts_of(pair, self.reads), self.lender
        image = images.fit(images.read(pair.image), self.size or lender.size)
        calls = Calls(self, pair, seed, texts, image)
        with lender.lent(generator(pair, seed, "global").initial_seed()) as pipe:
            calls.prepare(pipe)
            made = [calls.edit(borrowed.copied(pipe), strength) for strength in strengths]
        no_step = [float(strength) for strength, (_, steps) in zip(strengths, made, strict=True) if steps == 0]
        facts.note(batches=[1] * len(made), split=False, text=", ".join(sorted(self.reads)), no_step=no_step)
        return [edited for edited, _ in made]
