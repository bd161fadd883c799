"""A study's folder: what raters may see apart from what they must not.

    study.lock             what the study is                                     (lock.Lock)
    public/study.json      wording, consent, questions as raters see them        (Public)
    public/images/X.png    pictures with names that say nothing
    key/key.json           which method is which, the checks' answers, secrets   (Key); not for the web

Names of pictures and questions come from a secret that lies in the key alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tedbench import disk, images
from tedbench.errors import StoreError, short
from tedbench.study import lock as locks
from tedbench.study.lock import Lock

PUBLIC, KEY, IMAGES = "public/study.json", "key/key.json", "public/images"
MAIN, GOLD, INSTRUCTED = "main", "gold", "instructed"
FIRST, SECOND = "first", "second"
IDENTICAL, NEAR = "identical", "near"


@dataclass(frozen=True)
class Shown:
    """What a rater may know of a question. `first` and `second` are no sides: which is left differs by rater."""

    id: str
    text: str
    """The target text, or what a check says to do."""
    input: str
    """Name of a picture in public/images."""
    first: str
    second: str


@dataclass(frozen=True)
class Result:
    """One picture of a question: whose it is."""

    label: str
    """Of the contender; empty for what no method made."""
    method: str = ""
    seed: int | None = None
    strength: float | None = None
    sha256: str = ""
    """Of the run's image, before it was brought to the study's size."""


@dataclass(frozen=True)
class Meant:
    """What a question is, which raters must not know."""

    id: str
    kind: str
    """`main`, `gold` (one picture is scrambled) or `instructed` (the text says which to choose)."""
    uid: str
    image_id: str
    first: Result
    second: Result
    share: float = 0.0
    """The part of all main answers that this question is to get; they sum to 1."""
    expected: str = ""
    """Of a check: `first` or `second`, or `left` or `right`, whichever pictures those are."""
    flags: tuple[str, ...] = ()
    """`identical` pixels, or `near`: hard to tell apart."""
    difference: float = 0.0
    """Mean absolute difference of the two pictures as shown, in [0, 1]."""


@dataclass(frozen=True)
class Unasked:
    """A comparison that cannot be shown, since an edit failed or is missing."""

    uid: str
    image_id: str
    first: str
    """Label."""
    second: str
    lost_by: str
    """Label of the method without a picture; empty where both have none."""
    why: str


@dataclass(frozen=True)
class Public:
    """public/study.json."""

    title: str
    study: str
    """`Lock.tag`, so that answers to another design are told apart."""
    aspects: tuple[Mapping[str, str], ...]
    choices: tuple[str, ...]
    words: Mapping[str, str]
    """What the choices besides left and right are called."""
    screens: int
    consent: str
    consent_version: str
    about: tuple[tuple[str, str], ...]
    """(what, text): approval, pay, withdrawal, contact, as far as they are stated."""
    size: int
    """Longer side of the pictures as files, in pixels."""
    questions: tuple[Shown, ...]


@dataclass(frozen=True)
class Key:
    """key/key.json."""

    secret: str
    """Hex; makes the names, the completion codes and the hashes of raters' identifiers."""
    questions: tuple[Meant, ...]
    unasked: tuple[Unasked, ...] = ()

    @cached_property
    def by_id(self) -> dict[str, Meant]:
        """Every question by its opaque name."""
        return {one.id: one for one in self.questions}

    def name(self, kind: str, *of: object) -> str:
        """An opaque name: 20 hex digits that nobody can make or undo without the secret.

        Args:
            kind: what is named; equal content of another kind has another name.
            of: what it is the name of.
        """
        return self._hash(kind, of)[:20]

    def rater(self, platform: str, identifier: str) -> str:
        """A platform's identifier as it is stored and exported: salted, but still personal data."""
        return self._hash("rater", (platform, identifier))[:24]

    def code(self, rater: str) -> str:
        """A rater's completion code."""
        return self._hash("code", (rater,))[:10].upper()

    def _hash(self, kind: str, of: Sequence[object]) -> str:
        content = "\0".join([kind, *map(str, of)])
        return hmac.new(bytes.fromhex(self.secret), content.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Study:
    """A study on disk, opened for reading."""

    path: Path
    lock: Lock
    public: Public
    key: Key
    shown: Mapping[str, Shown] = field(default_factory=dict)
    """By the question's name."""

    @property
    def main(self) -> tuple[Meant, ...]:
        """The questions that the study is about."""
        return tuple(one for one in self.key.questions if one.kind == MAIN)


def open_study(folder: Path) -> Study:
    """Open a study for reading.

    Raises:
        StoreError: if the folder is no study, or its public part or key is not what study.lock says.
    """
    lock = locks.read(folder)
    for name, file, wanted in (("public/", PUBLIC, lock.public_sha256), ("key/", KEY, lock.key_sha256)):
        found = public_digest(folder) if file == PUBLIC else file_digest(folder / KEY)
        if found != wanted:
            raise StoreError(f"{folder}: {name} is not what {locks.NAME} was made with; build the study anew")
    public, key, shown = _parts(folder)
    if public.study != lock.tag:
        raise StoreError(f"{folder}: {locks.NAME} was changed after the study was built; build the study anew")
    return Study(folder, lock, public, key, shown)


def public_digest(folder: Path) -> str:
    """Hex sha256 of everything under public/, names included.

    Raises:
        StoreError: if it cannot be read.
    """
    lines = []
    for path in sorted((folder / "public").rglob("*")):
        if path.is_file():
            lines.append(f"{path.relative_to(folder).as_posix()} {file_digest(path)}")
    return images.sha256("\n".join(lines).encode())


def file_digest(path: Path) -> str:
    """Hex sha256 of a file.

    Raises:
        StoreError: if it cannot be read.
    """
    try:
        return images.sha256(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error})") from error


def write(folder: Path, public: Public, key: Key, pictures: Mapping[str, bytes]) -> None:
    """Write everything of a study but its study.lock, which comes last.

    Args:
        folder: an empty one.
        public: what raters see.
        key: what they must not; its file is for its owner alone.
        pictures: name in public/images → PNG.

    Raises:
        StoreError: if the disk is full or read-only.
    """
    (folder / IMAGES).mkdir(parents=True)
    (folder / "key").mkdir(mode=0o700)
    for name, data in pictures.items():
        disk.write_atomic(folder / IMAGES / name, data)
    disk.write_json(folder / PUBLIC, dataclasses.asdict(public))
    disk.write_json(folder / KEY, dataclasses.asdict(key))
    (folder / KEY).chmod(0o600)


def _parts(folder: Path) -> tuple[Public, Key, dict[str, Shown]]:
    public, key = disk.read_json(folder / PUBLIC), disk.read_json(folder / KEY)
    try:
        shown = tuple(Shown(**one) for one in public["questions"])
        about = tuple((str(what), str(text)) for what, text in public["about"])
        lists = {name: tuple(public[name]) for name in ("aspects", "choices")}
        opened = Public(**{**public, **lists, "about": about, "questions": shown})
        unasked = tuple(Unasked(**one) for one in key["unasked"])
        found = Key(key["secret"], tuple(_meant(one) for one in key["questions"]), unasked)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{folder} is not a study of ours ({short(error)})") from error
    return opened, found, {one.id: one for one in shown}


def _meant(row: Mapping[str, Any]) -> Meant:
    results = {side: Result(**row[side]) for side in (FIRST, SECOND)}
    return Meant(**{**row, **results, "flags": tuple(row["flags"])})
