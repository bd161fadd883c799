"""study.lock: what a study was to be, fixed before the first answer; what departs from it is exploratory."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from tedbench import disk, images
from tedbench.datasets.manifest import read_text
from tedbench.errors import StoreError, UsageError, short

NAME = "study.lock"
LEFT, RIGHT, SAME, NEITHER = "left", "right", "same", "neither"
Allowed = Literal["same", "neither"]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
WORDS = {SAME: "No difference", NEITHER: "Neither shows the edit"}
OVERALL = "overall"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Aspect(_Model):
    """One thing that is asked about two pictures."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
    wording: Text


PAPER = (Aspect(name=OVERALL, wording="Choose the better editing result."),)
"""What Imagic's raters were asked (section 4.2 and appendix C)."""
SPLIT = (
    Aspect(name="text", wording="Which result shows better what the text says?"),
    Aspect(name="preservation", wording="Which result keeps more of the input?"),
)


class Asking(_Model):
    """What a rater is asked on every screen."""

    aspects: tuple[Aspect, ...] = Field(default=PAPER, min_length=1, max_length=4)
    allow: tuple[Allowed, ...] = ()
    """Answers besides left and right: `same`, no difference; `neither`, neither shows the edit."""

    @property
    def choices(self) -> tuple[str, ...]:
        """What an answer may be."""
        return (LEFT, RIGHT, *self.allow)


class PerRater(_Model):
    """The screens of one rater: so many in all, of which some repeat an earlier one, mirrored, and some are checks."""

    questions: int = Field(default=20, ge=1, le=200)
    repeats: int = Field(default=3, ge=0, le=20)
    checks: int = Field(default=3, ge=0, le=20)

    @model_validator(mode="after")
    def _fits(self) -> PerRater:
        if self.new < max(1, self.repeats):
            raise ValueError(
                f"{self.questions} questions leave {self.new} for new ones beside {self.repeats} repeats and "
                f"{self.checks} checks; ask more, or repeat and check less"
            )
        return self

    @property
    def new(self) -> int:
        """Screens that are neither repeats nor checks."""
        return self.questions - self.repeats - self.checks


class Sample(_Model):
    """How many are asked, and when that ends."""

    raters: int = Field(default=100, ge=1, le=100_000)
    stopping: Text = "when so many raters have finished; answers are not looked at before"
    photo_correlation: float = Field(default=0.1, ge=0, lt=1)
    """Of two answers on one photo, assumed for the power estimate; the analysis does not use it."""
    rater_correlation: float = Field(default=0.05, ge=0, lt=1)
    """Of two answers of one rater, likewise."""
    excluded: float = Field(default=0.15, ge=0, lt=1)
    """Part of the raters that is expected to be excluded, likewise."""


class Exclusions(_Model):
    """Whose answers do not count. None switches a rule off."""

    failed_checks: int | None = Field(default=1, ge=1)
    """So many checks answered wrongly, or more."""
    changed_repeats: int | None = Field(default=3, ge=1)
    """So many repeats answered otherwise than before, or more: by default all of them. Who always clicks on one side
    changes every mirrored repeat; an honest rater who prefers A with p = .7 changes all three with probability .07."""
    median_seconds: float | None = Field(default=1.0, gt=0)
    """A median response time below this."""
    unfinished: bool = False
    """Whether raters who left before their last screen are excluded."""


class Primary(_Model):
    """The one comparison that the study was made for; every other is exploratory."""

    first: Text
    second: Text
    aspect: str = ""
    """By default the first that is asked."""


class Ethics(_Model):
    """What raters are told and promised. Empty fields are printed as not stated."""

    approval: str = ""
    """Number of an ethics board's approval, or why none is needed."""
    consent_version: str = "1"
    consent: str = (
        "You will see photographs, a text, and two edited versions of each photograph, and choose between them. "
        "Taking part is voluntary; you may stop at any time."
    )
    pay: str = ""
    withdrawal: str = "You can withdraw your answers at any time with the button at the foot of every page."
    retention_days: int = Field(default=180, ge=1, le=3650)
    """Days after which a platform's identifier, kept for payment, is deleted."""
    contact: str = ""


class Completion(_Model):
    """What a rater gets at the end."""

    code: str = ""
    """One code for all; empty: each rater has one of their own."""
    url: str = ""
    """Where the rater goes back to; `{code}` is replaced."""


class Choices(_Model):
    """What whoever makes a study may choose: the keys of a study's TOML file."""

    title: Text = "Which edit is better?"
    seed: int = Field(default=0, ge=0)
    balance: Literal["question", "photo"] = "question"
    """What is asked equally often within each pair of methods: every question, or every photo."""
    methods: tuple[Text, ...] = ()
    """Labels of those that take part; empty: every method of the runs."""
    size: int | None = Field(default=None, ge=images.MIN_SIDE, le=4096)
    """Side of every picture as it is shown, in pixels; by default the shortest of any result on a question."""
    leave_out: tuple[Literal["identical", "near"], ...] = ()
    """Questions not to ask: of identical pictures, of pictures hard to tell apart. They count as ties, and are told."""
    rule: str = ""
    """Spec of the rule that chooses the strength; empty: the method's default, as in reports."""
    asking: Asking = Asking()
    per_rater: PerRater = PerRater()
    sample: Sample = Sample()
    exclusions: Exclusions = Exclusions()
    primary: Primary | None = None
    """By default the first two methods."""
    ethics: Ethics = Ethics()
    completion: Completion = Completion()


class Contender(_Model):
    """One method of a study."""

    label: str
    run: str
    """Path of its run, relative to the study's folder."""
    run_name: str
    method: str
    seed: int | None
    strength: str
    """What is shown of it: `η 0.7, default of 11`, or the rule."""
    cells: str
    """Digest of the run's cells, so that another run is not taken for it."""


class Lock(Choices):
    """The whole of study.lock."""

    format: Literal[1] = 1
    name: str
    created: str
    version: str
    """Of the suite."""
    dataset: str
    dataset_sha256: str
    licence: str = ""
    """What the data set says its pictures may be used under; empty where it says nothing."""
    contenders: tuple[Contender, ...]
    comparisons: int
    """Questions that can be asked: a pair of methods on one input and text."""
    photos: int
    unasked: int
    """Comparisons that cannot be, since an edit failed."""
    power: dict[str, Any]
    """What `power.estimate` gave."""
    public_sha256: str
    """Of everything raters see."""
    key_sha256: str

    @property
    def tag(self) -> str:
        """Twelve hex digits of the design: answers carry them, so that answers to another design are told apart."""
        said = self.model_dump(mode="json", exclude={"public_sha256", "key_sha256"})
        return images.sha256(json.dumps(said, sort_keys=True).encode())[:12]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every pair of methods, the primary one first and in its order."""
        labels = [one.label for one in self.contenders]
        every = [(a, b) for at, a in enumerate(labels) for b in labels[at + 1 :]]
        if self.primary is None:
            return every
        first = (self.primary.first, self.primary.second)
        return [first, *(pair for pair in every if set(pair) != set(first))]


def choices_from(path: Path) -> dict[str, Any]:
    """The keys of a TOML file, not yet checked.

    Raises:
        UsageError: if it is no TOML.
        DataError: if it cannot be read.
    """
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML ({short(error)})") from error


def check(raw: dict[str, Any], called: str) -> Choices:
    """What was chosen, checked.

    Args:
        raw: nested, as JSON or TOML has it.
        called: what the user calls it, for errors.

    Raises:
        UsageError: naming the key, what is wrong, and what else there is.
    """
    try:
        return Choices.model_validate_json(json.dumps(raw))  # strict JSON: lists become tuples, "1" no number
    except (ValidationError, TypeError, ValueError) as error:
        raise UsageError(f"{called}: {_first(error)}") from error


def read(folder: Path) -> Lock:
    """The study.lock of a study's folder.

    Raises:
        StoreError: if the folder is no study.
    """
    path = folder / NAME
    if not path.is_file():
        raise StoreError(f"{folder} has no {NAME}; make a study with `tedbench study build RUN --out {folder}`")
    try:
        return Lock.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{path} is not one of ours ({_first(error)})") from error


def as_bytes(lock: Lock) -> bytes:
    """As it is written."""
    return disk.as_json(lock.model_dump(mode="json"))


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return short(error)
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"no key {key!r}; known: {', '.join(_known(first['loc'][:-1]))}"
    said = first["msg"].removeprefix("Value error, ")
    return f"{key}: {said}" if key else said


def _known(place: tuple[Any, ...]) -> list[str]:
    """The keys of the table at a place in the file."""
    inner = Choices.model_fields[str(place[0])].annotation if place else Choices
    return sorted(inner.model_fields) if isinstance(inner, type) and issubclass(inner, BaseModel) else ["name, wording"]
