"""The nouns of the suite. Everything is a frozen dataclass or a Protocol; nothing of ours is imported here."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ImageFile:
    """An encoded image and where its bytes are.

    Two files are equal when name and content are, wherever they lie: that is what lets a folder, a download and a
    hub give one and the same list of pairs.
    """

    name: str
    """File name as released, with its ending: `bird.png` (whose content is a JPEG)."""
    sha256: str
    """Hex digest of the bytes as released; the content is checked against it on reading."""
    path: Path | None = field(default=None, compare=False)
    """Where the bytes are on disk; None if they are in `data`."""
    data: bytes | None = field(default=None, compare=False, repr=False)
    """The bytes themselves, for sources that have no files."""


@dataclass(frozen=True)
class EditPair:
    """One question of a benchmark: a photo and the text that says what the edited photo should show."""

    uid: str
    """Stable, readable, unique in its data set, and usable as a file name."""
    image: ImageFile
    target_text: str
    """What the edited image shows, with the authors' typos."""
    image_id: str
    """The cluster that statistics resample: pairs about the same photo share it, whatever its file is called."""
    source_text: str | None = None
    """What the input shows; None where the data set has no such text."""
    instruction: str | None = None
    """What to do to the input, for models that follow instructions."""
    mask: ImageFile | None = None
    """White where the edit may change the picture, black where it must not."""
    references: tuple[ImageFile, ...] = ()
    truth: ImageFile | None = None
    """The true answer as a picture, where it is known."""
    category: str | None = None
    changes: tuple[tuple[str, str], ...] | None = None
    """(attribute, value) that the edited image must show, where the data set can say so; the toy world can."""
    keeps: tuple[tuple[str, str], ...] | None = None
    """(attribute, value) that the edited image must still show."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a run must record of a data set to load it again and to know that it is the same."""

    name: str
    source: str
    """`folder`, `github`, `hub` or `drawn`."""
    revision: str
    """Commit or version of the source; empty where there is none."""
    sha256: str
    """Of the list of pairs (uids, texts, image hashes), so equal lists from unlike sources agree."""
    location: str = ""
    """Folder the pairs were read from; empty for a hub."""
    captions: str = ""
    """Name and version of the source captions that were added, if any."""
    part: str = ""
    """`first 4 of 100 pairs` where only some were taken; empty for the whole."""
    licence: str = ""
    """What the data set says its pictures may be used under; empty where it says nothing, as TEdBench does."""


@dataclass(frozen=True)
class Dataset:
    """A list of questions and where it came from."""

    info: DatasetInfo
    pairs: tuple[EditPair, ...]


@dataclass(frozen=True)
class Strength:
    """The knob that trades fidelity to the input for editing: Imagic's η, SDEdit's t0, DDIB's guidance."""

    name: str
    symbol: str
    default: float
    grid: tuple[float, ...]
    low: float
    high: float


@runtime_checkable
class Method(Protocol):
    """An editing method. Its fields are its configuration; what it learns is returned, never kept in `self`.

    Three class attributes are optional, and say what cannot be seen from outside: `needs`, a frozenset of the optional
    `EditPair` fields it cannot do without (`source_text`, `instruction`); `deterministic = True` for a method that
    draws no noise; `presets`, a mapping of name → fields, picked by `NAME@PRESET`. A method `prepare()`, also optional,
    loads what is slow to load: a run calls it before its first pair, and ends there if it raises. A
    method `revision()`, optional too, names the model by its content or commit without loading it, for what a sweep is
    known by.
    """

    @property
    def strength(self) -> Strength:
        """The knob of its curve; a class attribute in most methods."""
        ...

    def fit(self, pair: EditPair, seed: int) -> Any:
        """Whatever is learned from one pair before the strength is known; None if nothing is."""
        ...

    def edit(self, pair: EditPair, state: Any, strengths: Sequence[float], seed: int) -> Sequence[Image]:
        """One RGB image per strength, from the same noise."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A number per edited image. Its fields are its configuration."""

    higher_is_better: ClassVar[bool]
    range: ClassVar[tuple[float, float]]
    """Smallest and largest value it can take."""

    @property
    def identity(self) -> str:
        """Everything that moves the number, as a string. Numbers of two identities never share a column."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """Names of the optional `EditPair` fields that it reads: `source_text`, `mask`, `truth`."""
        ...

    @property
    def facts(self) -> Mapping[str, str | float]:
        """What a report compares by: `family` (lpips, clip-text …), and what it has of `backbone`, `size`, `fit`.

        `values` is `binary` where an image's value is 0 or 1, or the mean of several such answers: means are
        proportions then, with intervals of their own.
        """
        ...

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> Sequence[float]:
        """Score images[i], an edit of pairs[i], all at once. Images are RGB, of any size."""
        ...


Answer = Mapping[str, Any]
"""What was answered to one question, as it came and as JSON holds it."""


@runtime_checkable
class AskingMetric(Metric, Protocol):
    """A metric that asks somebody whose answers cost, and should be kept: a judge."""

    def score_with_answers(
        self, pairs: Sequence[EditPair], images: Sequence[Image], known: MutableMapping[str, Answer]
    ) -> tuple[Sequence[float], Sequence[Sequence[Answer]]]:
        """Score as `score` does, and tell by which answers.

        Args:
            pairs: one an image.
            images: RGB, of any size.
            known: answers by question, a text that names everything that moves the answer; what stands there is not
                asked again, and a new answer is put there as soon as it has come.

        Returns:
            The values, and for each image the answers that its value was made from.
        """
        ...


@dataclass(frozen=True)
class Cell:
    """One edited image, or the reason why there is none."""

    uid: str
    image_id: str
    category: str | None
    method: str
    seed: int | None
    """None where whoever made the image did not say."""
    strength: float | None
    status: str
    """`ok`, `failed` or `missing`; the last two are rows too, and count in every table."""
    file: str = ""
    """Path of the PNG inside the run folder."""
    sha256: str = ""
    source_file: str = ""
    """What an imported image was called, relative to the imported folder."""
    error: str = ""
    fit_seconds: float | None = None
    """Of the one fit that its whole sweep shares."""
    edit_seconds: float | None = None
    """Of the whole sweep, which is edited at once."""
    host_bytes: int | None = None
    """The most memory the process held while its sweep was made; None where it could not be told."""
    device_bytes: int | None = None
    """The most that torch had allocated on the accelerator meanwhile."""
    facts: str = ""
    """Path, inside the run folder, of the JSON with what its fit and its sweep had to say: losses, batches, model."""


@dataclass(frozen=True)
class MetricFacts:
    """What a report needs to know of a metric that it will not load."""

    spec: str
    """What the user typed: `lpips-alex@256`."""
    identity: str
    higher_is_better: bool
    low: float
    high: float
    facts: Mapping[str, str | float]
    notes: tuple[str, ...] = ()
    """What the metric had to say: texts that were cut, and the like."""
    unscored: Mapping[str, str] = field(default_factory=dict)
    """uid → why an image that is there has no value."""
    captions: str = ""
    """Name, version and hash of the source captions it was scored with."""
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    needs: tuple[str, ...] = ()
    """Optional fields of a pair that it reads; empty in older runs."""
    cells: str = ""
    """Digest of the cells that were scored: scores of other cells are scores of the past. Empty where not recorded."""

    @property
    def knows_the_answer(self) -> bool:
        """Whether it reads what no user of a method has: the true answer, or where the edit may be."""
        told = self.needs or (("mask",) if self.facts.get("convention") == "outside" else ())
        return bool({"truth", "mask", "references", "changes", "keeps"} & set(told)) or str(
            self.facts.get("family", "")
        ).startswith("oracle")

    @property
    def ends(self) -> tuple[str, str]:
        """The ends of its range to read; JSON has no infinity, so an open end is stored as the largest float."""
        low, high = (f"{end:g}" if abs(end) <= 1e300 else "∞" if end > 0 else "−∞" for end in (self.low, self.high))
        return low, high

    @property
    def binary(self) -> bool:
        """Whether an image's value is 0 or 1, or a mean of such answers, so that a mean of images is a proportion."""
        return self.facts.get("values") == "binary"

    @property
    def of_failure(self) -> float:
        """The value of an edit that failed: 0 for a success that is 0 or 1, else nan, as nobody knows."""
        return 0.0 if self.binary and self.higher_is_better else math.nan


@dataclass(frozen=True)
class Run:
    """Enough to run it again, and to know that it is the same."""

    name: str
    created: str
    kind: str
    """`import` or `run`."""
    dataset: DatasetInfo
    methods: Mapping[str, Mapping[str, Any]]
    """Name of each method configuration → its fields, or the origin of imported images."""
    command: tuple[str, ...]
    versions: Mapping[str, str]
    hardware: Mapping[str, str | int]
    git_commit: str
    execution: Mapping[str, Any] = field(default_factory=dict)
    """How it was computed, by method: code, model, device, dtype, threads, batches. Bytes are equal where these are."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """What was asked besides the methods: data set, limit, seeds; data, captions, paths from the run's folder."""
    knobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By method: name, symbol and default of its strength; nothing for images made elsewhere, and in older runs."""
    format: int = 1
