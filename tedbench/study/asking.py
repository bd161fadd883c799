"""The questions of a study, as raters see them and as they are meant: comparisons of two methods, and checks.

Every pair of methods is compared on every question of the data set for which both have a picture; where one has none,
the comparison is noted as not asked. Which picture is called the first is drawn, so that what raters see tells nothing.

Checks are of two kinds. `gold`: a result beside itself with its tiles in disorder. `instructed`: two results, and a
text that says what to choose. Where `neither` may be answered it may be true of a gold check, so there are none.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image
from tqdm import tqdm

from tedbench import images
from tedbench.study import pictures
from tedbench.study.bundle import FIRST, GOLD, INSTRUCTED, MAIN, SECOND, Key, Meant, Result, Shown, Unasked
from tedbench.study.entering import Entrant
from tedbench.study.lock import LEFT, NEITHER, RIGHT, Choices
from tedbench.types import EditPair

CHECKS = 12
"""Of each kind, where there is material for so many."""


@dataclass
class Asked:
    """What a study asks."""

    shown: list[Shown] = field(default_factory=list)
    meant: list[Meant] = field(default_factory=list)
    unasked: list[Unasked] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """Name → PNG; one content in one role is one file."""
    sides: dict[str, int] = field(default_factory=dict)
    """uid → side of all pictures about it, in pixels."""

    @property
    def main(self) -> list[Meant]:
        """Comparisons of methods."""
        return [one for one in self.meant if one.kind == MAIN]


@dataclass(frozen=True)
class _Two:
    """Two pictures beside each other, and whose they are."""

    pictures: tuple[Image.Image, Image.Image]
    results: tuple[Result, Result]

    def turned(self, rng: np.random.Generator) -> tuple[_Two, bool]:
        """In an order that is drawn, and whether it changed."""
        if rng.integers(2):
            return self, False
        return _Two(self.pictures[::-1], self.results[::-1]), True


def ask(entrants: Sequence[Entrant], pairs: Sequence[EditPair], choices: Choices, key: Key) -> Asked:
    """Make every question.

    Args:
        entrants: those who take part.
        pairs: of the data set, with their photos.
        choices: seed, size, what to leave out, how many checks.
        key: its secret names things.

    Raises:
        ImageError: if a picture is gone or damaged.
    """
    maker = _Maker(entrants, choices, key)
    for pair in tqdm(pairs, desc="questions", unit="pair", disable=None):
        maker.compare(pair)
    maker.share_out()
    by_uid = {pair.uid: pair for pair in pairs}
    if choices.per_rater.checks:
        maker.instruct()
    if choices.per_rater.checks and NEITHER not in choices.asking.allow:
        maker.scramble(by_uid)
    maker.asked.shown.sort(key=lambda one: one.id)  # an order of their own would tell what they are
    maker.asked.meant.sort(key=lambda one: one.id)
    return maker.asked


class _Maker:
    def __init__(self, entrants: Sequence[Entrant], choices: Choices, key: Key) -> None:
        self._entrants, self._choices, self._key = entrants, choices, key
        self._rng = np.random.default_rng([choices.seed, 10])
        self.asked = Asked()

    def compare(self, pair: EditPair) -> None:
        """All pairs of methods on one question of the data set."""
        whole = {one.contender.label: _read(one, pair.uid) for one in self._entrants if not one.lost(pair.uid)}
        self.asked.sides[pair.uid] = side = self._choices.size or pictures.side(one.size for one in whole.values())
        made = {label: images.fit(one, side) for label, one in whole.items()}
        for one, other in itertools.combinations(self._entrants, 2):
            labels = (one.contender.label, other.contender.label)
            gone = {who.contender.label: why for who in (one, other) if (why := who.lost(pair.uid))}
            if gone:
                by = next(iter(gone)) if len(gone) == 1 else ""
                why = "; ".join(f"{label}: {why}" for label, why in gone.items())
                self.asked.unasked.append(Unasked(pair.uid, pair.image_id, *labels, by, why))
                continue
            apart = pictures.difference(made[labels[0]], made[labels[1]])
            if apart.flag in self._choices.leave_out:
                self.asked.unasked.append(Unasked(pair.uid, pair.image_id, *labels, "", f"pictures are {apart.flag}"))
                continue
            two = _Two((made[labels[0]], made[labels[1]]), (_result(one, pair.uid), _result(other, pair.uid)))
            meant = Meant(self._key.name(MAIN, pair.uid, *labels), MAIN, pair.uid, pair.image_id, *two.results)
            flags = (apart.flag,) if apart.flag else ()
            self._add(replace(meant, flags=flags, difference=apart.mean), pair, two.turned(self._rng)[0])

    def share_out(self) -> None:
        """Every pair of methods gets as many answers; within it, every question or every photo does."""
        groups: dict[frozenset[str], list[Meant]] = {}
        for one in self.asked.main:
            groups.setdefault(_labels(one), []).append(one)
        photos = {pair: {one.image_id for one in mine} for pair, mine in groups.items()}
        for at, one in enumerate(self.asked.meant):
            mine = groups[_labels(one)]
            on_photo = sum(other.image_id == one.image_id for other in mine)
            by_photo = self._choices.balance == "photo"
            within = 1 / len(photos[_labels(one)]) / on_photo if by_photo else 1 / len(mine)
            self.asked.meant[at] = replace(one, share=within / len(groups))

    def instruct(self) -> None:
        """Checks whose text says what to choose."""
        every = "for every question " if len(self._choices.asking.aspects) > 1 else ""
        for at, main in enumerate(self._some(self.asked.main)):
            side = (LEFT, RIGHT)[at % 2]
            name = self._key.name(INSTRUCTED, main.id, side)
            shown = next(one for one in self.asked.shown if one.id == main.id)
            text = f"This is a check of your attention. Please choose {side.capitalize()} {every}here."
            self.asked.shown.append(replace(shown, id=name, text=text))
            self.asked.meant.append(Meant(name, INSTRUCTED, main.uid, main.image_id, main.first, main.second,
                                          expected=side))  # fmt: skip

    def scramble(self, pairs: Mapping[str, EditPair]) -> None:
        """Checks of a result beside itself in disorder, each of another question where there are enough."""
        done = 0
        for one, uid in self._in_turn([(one, uid) for uid in pairs for one in self._entrants if not one.lost(uid)]):
            whole = images.fit(_read(one, uid), self.asked.sides[uid])
            broken = pictures.scrambled(whole, self._rng)
            if broken is not None:
                two, turned = _Two((whole, broken), (_result(one, uid), Result(""))).turned(self._rng)
                name = self._key.name(GOLD, uid, one.contender.label)
                meant = Meant(name, GOLD, uid, pairs[uid].image_id, *two.results, expected=(FIRST, SECOND)[turned])
                self._add(meant, pairs[uid], two)
                done += 1
            if done == CHECKS:
                return

    def _add(self, meant: Meant, pair: EditPair, two: _Two) -> None:
        photo = self._file("input", images.fit(images.read(pair.image), self.asked.sides[pair.uid]))
        first, second = (self._file("result", picture) for picture in two.pictures)
        self.asked.shown.append(Shown(meant.id, pair.target_text, photo, first, second))
        self.asked.meant.append(replace(meant, first=two.results[0], second=two.results[1]))

    def _file(self, role: str, picture: Image.Image) -> str:
        name = f"{self._key.name(role, images.pixel_sha256(picture))}.png"
        if name not in self.asked.files:
            self.asked.files[name] = images.encode_png(picture)
        return name

    def _in_turn(self, places: Sequence[tuple[Entrant, str]]) -> list[tuple[Entrant, str]]:
        """In a drawn order in which each question of the data set comes once before any comes again."""
        seen: Counter[str] = Counter()
        ranked = []
        for at in self._rng.permutation(len(places)):
            uid = places[at][1]
            ranked.append((seen[uid], places[at]))
            seen[uid] += 1
        return [place for _, place in sorted(ranked, key=lambda one: one[0])]

    def _some(self, questions: Sequence[Meant]) -> Iterator[Meant]:
        for at in self._rng.permutation(len(questions))[:CHECKS]:
            yield questions[int(at)]


def _read(one: Entrant, uid: str) -> Image.Image:
    cell = one.cells[uid]
    return images.decode(one.run.image_bytes(cell), cell.file)


def _result(one: Entrant, uid: str) -> Result:
    cell = one.cells[uid]
    return Result(one.contender.label, cell.method, cell.seed, cell.strength, cell.sha256)


def _labels(one: Meant) -> frozenset[str]:
    return frozenset((one.first.label, one.second.label))
