"""From runs to a study's folder."""

from __future__ import annotations

import dataclasses
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tedbench import __version__, disk, environment
from tedbench.errors import DataError, UsageError
from tedbench.report import table as tables
from tedbench.study import asking, bundle, entering, power
from tedbench.study.asking import Asked
from tedbench.study.bundle import Key, Public
from tedbench.study.entering import Entrant
from tedbench.study.lock import NAME, WORDS, Choices, Contender, Lock, Primary, as_bytes
from tedbench.types import Dataset, DatasetInfo


@dataclass(frozen=True)
class Built:
    """What was built, and what to know of it."""

    lock: Lock
    flagged: Mapping[str, int]
    """`identical`, `near` → questions that are asked all the same."""
    checks: Mapping[str, int]
    """`gold`, `instructed` → how many there are to draw from."""
    sides: tuple[int, int]
    """The least and the most of any picture, in pixels."""


def build(folders: Sequence[Path], dataset: Dataset, out: Path, choices: Choices) -> Built:
    """Make a study.

    Args:
        folders: runs over one data set.
        dataset: with its photos.
        out: the study's folder, which must not be there yet.
        choices: what was chosen.

    Raises:
        StoreError: if a folder is no run, `out` exists or cannot be written.
        DataError: if the data set is not that of the runs.
        UsageError: if runs do not go together, methods or rules are not there, or there is too little to ask.
        ImageError: if a picture is gone or damaged.
    """
    material = tables.gather(folders, scored=bool(choices.rule))  # scores are read by rules alone
    if material.dataset.sha256 != dataset.info.sha256:
        raise DataError(f"the runs are over another list of pairs than {dataset.info.name} here; say where with --data")
    entrants = entering.enter(material, choices, out)
    choices = choices.model_copy(update={"primary": _primary(choices, [one.contender for one in entrants])})
    with disk.new_folder(out) as scratch:
        asked = asking.ask(entrants, dataset.pairs, choices, key := Key(secrets.token_hex(32), ()))
        _check_enough(asked, choices)
        lock = _lock(out.name, dataset.info, entrants, choices, asked)
        key = dataclasses.replace(key, questions=tuple(asked.meant), unasked=tuple(asked.unasked))
        bundle.write(scratch, _public(lock, asked), key, asked.files)
        digests = {
            "public_sha256": bundle.public_digest(scratch),
            "key_sha256": bundle.file_digest(scratch / bundle.KEY),
        }
        lock = lock.model_copy(update=digests)
        disk.write_atomic(scratch / NAME, as_bytes(lock))
    flagged = Counter(flag for one in asked.main for flag in one.flags)
    return Built(lock, flagged, Counter(one.kind for one in asked.meant if one.kind != bundle.MAIN), _sides(asked))


def _primary(choices: Choices, contenders: Sequence[Contender]) -> Primary:
    """The primary contrast, by default of the first two methods."""
    labels, aspects = [one.label for one in contenders], [one.name for one in choices.asking.aspects]
    chosen = choices.primary or Primary(first=labels[0], second=labels[1])
    chosen = chosen.model_copy(update={"aspect": chosen.aspect or aspects[0]})
    if chosen.aspect not in aspects:
        raise UsageError(
            f"the primary comparison is of {chosen.aspect!r}, which is not asked; asked: {', '.join(aspects)}"
        )
    for label in (chosen.first, chosen.second):
        if label not in labels:
            raise UsageError(f"the primary comparison has {label!r}, who does not take part; {', '.join(labels)} do")
    if chosen.first == chosen.second:
        raise UsageError(f"the primary comparison is of {chosen.first!r} with itself; name two methods")
    return chosen


def _check_enough(asked: Asked, choices: Choices) -> None:
    questions, new = len(asked.main), choices.per_rater.new
    if questions < new:
        raise UsageError(
            f"a rater is to see {new} new questions, but there are {questions}; ask fewer with --questions, "
            "or compare more pairs or methods"
        )
    if choices.per_rater.checks and len(asked.meant) == questions:
        raise UsageError("no picture lends itself to a check; build without them by --checks 0")


def _lock(name: str, info: DatasetInfo, entrants: Sequence[Entrant], choices: Choices, asked: Asked) -> Lock:
    return Lock(
        **{field: getattr(choices, field) for field in type(choices).model_fields},
        name=name,
        created=environment.now(),
        version=__version__,
        dataset=info.name,
        dataset_sha256=info.sha256,
        licence=info.licence,
        contenders=tuple(one.contender for one in entrants),
        comparisons=len(asked.main),
        photos=len({one.image_id for one in asked.main}),
        unasked=len(asked.unasked),
        power=power.estimate(_design(choices, asked)),
        public_sha256="",
        key_sha256="",
    )


def _design(choices: Choices, asked: Asked) -> power.Design:
    """Of the pair of methods with the fewest photos."""
    photos: dict[frozenset[str], set[str]] = {}
    for one in asked.main:
        photos.setdefault(frozenset((one.first.label, one.second.label)), set()).add(one.image_id)
    sample = choices.sample
    kept = max(1, round(sample.raters * (1 - sample.excluded)))
    answers = kept * choices.per_rater.new / len(photos)
    return power.Design(
        photos=min(len(each) for each in photos.values()),
        raters=kept,
        answers=answers,
        photo_correlation=sample.photo_correlation,
        rater_correlation=sample.rater_correlation,
    )


def _sides(asked: Asked) -> tuple[int, int]:
    sides = {asked.sides[one.uid] for one in asked.main}
    return min(sides), max(sides)


def _public(lock: Lock, asked: Asked) -> Public:
    ethics = lock.ethics
    kept = (
        "Your answers and how long each took. Where you come from a platform, its name for you is kept as a salted "
        f"hash, and as it is, for payment, for {ethics.retention_days} days."
    )
    told = (
        ("Approval", ethics.approval),
        ("Payment", ethics.pay),
        ("What is kept", kept),
        ("Withdrawal", ethics.withdrawal),
        ("Contact", ethics.contact),
    )
    return Public(
        title=lock.title,
        study=lock.tag,
        aspects=tuple(one.model_dump() for one in lock.asking.aspects),
        choices=lock.asking.choices,
        words={name: WORDS[name] for name in lock.asking.allow},
        screens=lock.per_rater.questions,
        consent=ethics.consent,
        consent_version=ethics.consent_version,
        about=tuple((what, text) for what, text in told if text),
        size=_sides(asked)[1],
        questions=tuple(asked.shown),
    )
