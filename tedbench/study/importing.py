"""Answers from files: our CSV, MTurk's results, and Prolific's export, which has no answers but says whose count.

Which kind a file is follows from its columns. Nothing in a file is believed: a question, aspect or choice that the
study does not have is an error that names file, row and column.
"""

from __future__ import annotations

import base64
import binascii
import csv
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedbench.errors import DataError, short
from tedbench.study import answers as rows_of
from tedbench.study.answers import COLUMNS, Answer
from tedbench.study.bundle import Study

MTURK = ("WorkerId", "AssignmentId", "AssignmentStatus", "Input.form", "Answer.answers")
PROLIFIC = ("Participant id", "Status")
COUNTED = ("APPROVED", "AWAITING REVIEW")
"""Prolific's statuses with which a rater's answers count."""
LEFT_OUT = ("RETURNED", "TIMED-OUT", "REJECTED", "SCREENED OUT")
ACTIVE = "ACTIVE"
"""Still answering: what is there counts, as of anybody who has not finished."""
LONGEST = 24 * 3600 * 1000
"""Milliseconds; no answer takes longer."""
_Placed = tuple[Answer, str]
"""An answer, and where it stands."""
_Names = tuple[str, str]
"""A platform's participant as the server calls them, and as a page without a server does."""


@dataclass(frozen=True)
class Read:
    """What files said."""

    answers: tuple[Answer, ...]
    """Each screen and aspect of a rater once, by rater and slot."""
    notes: tuple[str, ...] = ()
    """What was counted once, left out or not known, in words."""
    statuses: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Rater → what Prolific says of them; `analysing` excludes `LEFT_OUT`."""


def read(paths: Sequence[Path], study: Study) -> Read:
    """Read answers from files of any kind that we know.

    Args:
        paths: of CSV files.
        study: that was answered.

    Raises:
        DataError: naming file, row and column of what is no answer to this study, or answers that contradict.
    """
    placed: list[_Placed] = []
    notes: list[str] = []
    statuses: dict[_Names, str] = {}
    for path in paths:
        header = _header(path)
        if set(COLUMNS) <= header:
            placed += [(one, f"{path}, row {at}") for at, one in enumerate(rows_of.from_csv(path), start=2)]
        elif set(MTURK) <= header:
            placed += _mturk(path, study, notes)
        elif set(PROLIFIC) <= header:
            statuses |= _prolific(path, study, notes)
        else:
            raise DataError(f"{path} is no file of answers; {_expected()}")
    _check(placed, study)
    kept = _once(placed, notes)
    _unique(kept)
    notes += _unmatched(statuses, kept)
    found = sorted((one for one, _ in kept), key=lambda one: (one.rater, one.slot, one.aspect))
    return Read(tuple(found), tuple(notes), {name: said for names, said in statuses.items() for name in names})


def checked(answers: Iterable[Answer], study: Study) -> tuple[Answer, ...]:
    """Answers from elsewhere, such as the database, held to what `read` asks of a file.

    Raises:
        DataError: as `read`, with the rater and the slot for the row.
    """
    placed = [(one, f"rater {one.rater}, slot {one.slot}") for one in answers]
    _check(placed, study)
    kept = _once(placed, [])
    _unique(kept)
    return tuple(one for one, _ in kept)


def _header(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return set(next(csv.reader(file), []))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({short(error)})") from error


def _expected() -> str:
    kinds = (("ours", COLUMNS), ("MTurk's results", MTURK), ("Prolific's export", PROLIFIC))
    return "columns expected: " + "; ".join(f"{name} {', '.join(columns)}" for name, columns in kinds)


def _check(placed: Iterable[_Placed], study: Study) -> None:
    """Whether the study could have got these answers."""
    tag, choices = study.lock.tag, study.lock.asking.choices
    aspects = [aspect.name for aspect in study.lock.asking.aspects]
    for one, place in placed:
        if one.study != tag:
            raise DataError(f"{place}: study is {one.study!r}; this one is {tag}: answers to another design")
        if not one.rater:
            raise DataError(f"{place}: rater is empty")
        if one.question not in study.key.by_id:
            raise DataError(f"{place}: question {one.question[:40]!r} is not in this study")
        if one.aspect not in aspects:
            raise DataError(f"{place}: aspect {one.aspect[:40]!r} is not in this study; it has {', '.join(aspects)}")
        if one.choice not in choices:
            raise DataError(f"{place}: choice {one.choice[:40]!r} is none of {', '.join(choices)}")
        if one.slot < 0:
            raise DataError(f"{place}: slot is {one.slot}; slots go from 0")
        if not 0 <= one.ms <= LONGEST:
            raise DataError(f"{place}: ms is {one.ms}; it is between 0 and {LONGEST}")


def _once(placed: Sequence[_Placed], notes: list[str]) -> list[_Placed]:
    """Each screen and aspect of a rater once; a file that is given twice does no harm."""
    seen: dict[tuple[str, int, str], _Placed] = {}
    again = 0
    for one, place in placed:
        before, there = seen.setdefault((one.rater, one.slot, one.aspect), (one, place))
        if there is place:
            continue
        if before != one:
            what = next(name for name in COLUMNS if getattr(before, name) != getattr(one, name))
            raise DataError(f"{place}: {what} contradicts {there}, which answers the same slot of the same rater")
        again += 1
    if again:
        notes.append(f"{again} answers stood there more than once and count once")
    return list(seen.values())


def _unique(placed: Sequence[_Placed]) -> None:
    """One slot of a rater shows one question, one way round."""
    shown: dict[tuple[str, int], tuple[str, bool]] = {}
    for one, place in placed:
        if shown.setdefault((one.rater, one.slot), (one.question, one.flipped)) != (one.question, one.flipped):
            raise DataError(f"{place}: question is another at slot {one.slot} than before; a slot shows one question")


def _mturk(path: Path, study: Study, notes: list[str]) -> list[_Placed]:
    """MTurk's results, one assignment a row; a worker's later assignments go on counting slots."""
    made: list[_Placed] = []
    slots: Counter[str] = Counter()
    seen: set[str] = set()
    rejected = 0
    for number, row in rows_of.rows(path, MTURK):
        place = f"{path}, row {number}"
        if row["AssignmentStatus"].lower() == "rejected":
            rejected += 1
            continue
        if row["AssignmentId"] in seen:
            raise DataError(f"{place}: AssignmentId {row['AssignmentId'][:40]!r} stands there twice")
        seen.add(row["AssignmentId"])
        if not row["WorkerId"]:
            raise DataError(f"{place}: WorkerId is empty")
        rater = study.key.rater("mturk", row["WorkerId"])
        form = _form(row["Input.form"], place)
        made += [(one, place) for one in _assignment(row, form, rater, slots[rater], study.lock.tag, place)]
        slots[rater] += len(form)
    if rejected:
        notes.append(f"{path.name}: {rejected} rejected assignments were left out")
    return made


def _form(cell: str, place: str) -> dict[int, tuple[str, bool]]:
    """Slot → (question, flipped) of the screens that a worker was given."""
    try:
        raw = json.loads(base64.b64decode(cell + "=" * (-len(cell) % 4), altchars=b"-_", validate=True))
        form = {int(one["slot"]): (str(one["question"]), bool(one["flipped"])) for one in raw}
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{place}: Input.form is not one of ours ({short(error)})") from error
    if len(form) != len(raw) or set(form) != set(range(len(form))):
        raise DataError(f"{place}: Input.form does not hold each slot from 0 on once")
    return form


def _assignment(
    row: Mapping[str, str], form: Mapping[int, tuple[str, bool]], rater: str, offset: int, tag: str, place: str
) -> Iterator[Answer]:
    try:
        screens = json.loads(row["Answer.answers"])
        found = [(_screen(one), dict(one["choices"])) for one in screens]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{place}: Answer.answers is not what our page sends ({short(error)})") from error
    if len({screen["slot"] for screen, _ in found}) != len(found):
        raise DataError(f"{place}: Answer.answers holds a slot twice")
    for screen, choices in found:
        if form.get(screen["slot"]) != (screen["question"], screen["flipped"]):
            raise DataError(f"{place}: Answer.answers has another question at slot {screen['slot']} than Input.form")
        for aspect, choice in choices.items():
            shown = {**screen, "slot": screen["slot"] + offset}
            yield Answer(study=tag, rater=rater, aspect=str(aspect), choice=str(choice), **shown)


def _screen(one: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: int(one[name]) for name in ("slot", "ms")}
    return {**numbers, "question": str(one["question"]), "flipped": bool(one["flipped"]), "at": str(one["at"])}


def _prolific(path: Path, study: Study, notes: list[str]) -> dict[_Names, str]:
    found: dict[_Names, str] = {}
    tag = study.lock.tag
    for number, row in rows_of.rows(path, PROLIFIC):
        status, participant = row["Status"].strip().upper(), row["Participant id"].strip()
        if status not in (known := (*COUNTED, *LEFT_OUT, ACTIVE)):
            raise DataError(f"{path}, row {number}: Status is {row['Status'][:40]!r}, none of {', '.join(known)}")
        if not participant:
            raise DataError(f"{path}, row {number}: Participant id is empty")
        # page/static.js has no secret, and hashes with the study's tag
        unkeyed = hashlib.sha256("\0".join((tag, "prolific", participant)).encode()).hexdigest()[:24]
        found[study.key.rater("prolific", participant), unkeyed] = status
    counts = Counter(found.values())
    out = ", ".join(f"{counts[status]} {status}" for status in LEFT_OUT if counts[status])
    if out:
        notes.append(f"{path.name}: not counted for their status: {out}")
    return found


def _unmatched(statuses: Mapping[_Names, str], placed: Sequence[_Placed]) -> list[str]:
    raters = {one.rater for one, _ in placed}
    missing = sum(raters.isdisjoint(names) and status in COUNTED for names, status in statuses.items())
    unknown = len(raters - {name for names in statuses for name in names}) if statuses else 0
    told = [f"{missing} participants of Prolific's export who count have no answers here"] if missing else []
    return told + ([f"{unknown} raters with answers are not in Prolific's export"] if unknown else [])
