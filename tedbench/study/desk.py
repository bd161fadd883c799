"""What happens to a rater: they agree, see a screen, answer, see the next, are done; or they withdraw. No HTTP here.

Everything that changes runs in the database's one writing thread. What is in memory, who is there and what is shown to
whom, is what the database says: `restore` makes it anew.
"""

from __future__ import annotations

import asyncio
import datetime
import hmac
import re
import secrets
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tedbench import environment
from tedbench.study import tables
from tedbench.study.allocation import IDLE, Allocation, Screen
from tedbench.study.bundle import Study
from tedbench.study.database import Database, Operation, Refused, T, hashed
from tedbench.study.tables import ANSWERS, IDENTITIES, RATERS, SCREENS, sa

PLATFORMS = ("", "prolific", "mturk")
LONGEST = 200
"""Characters of a platform's identifier."""
NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
SLOWEST = 3_600_000
"""Milliseconds for one answer."""
State = dict[str, Any]


@dataclass
class Rater:
    """One who takes part, or has a link to."""

    id: str
    token_sha256: str
    number: int | None = None
    """In the order in which they began; none before they agreed."""
    finished: bool = False
    withdrawn: bool = False
    screens: list[Screen] = field(default_factory=list)
    answered: int = 0
    seen: float = 0.0
    """Of a clock that only goes forward."""


class Desk:
    """Every rater of a study. Its methods that take a connection run in the writing thread alone.

    Args:
        study: that is served.
        database: that holds it; here nobody has begun to write yet.
        open: whether somebody without a link may begin.
        idle: see `allocation.IDLE`.

    Raises:
        UsageError: when made, if another process serves the study already.
    """

    def __init__(self, study: Study, database: Database, open: bool = True, idle: float = IDLE) -> None:
        self.study, self.database, self.open, self._idle = study, database, open, idle
        self._by_token: dict[str, Rater] = {}
        self._by_id: dict[str, Rater] = {}
        self._next = self._finished = 0
        self._allocation = self._empty()
        database.begin(self.restore)

    @property
    def full(self) -> bool:
        """Whether as many have finished as were wanted."""
        return self._finished >= self.study.lock.sample.raters

    def restore(self, connection: sa.Connection) -> None:
        """Make anew what is in memory."""
        raters = {row.rater: _rater(row) for row in connection.execute(sa.select(RATERS).order_by(RATERS.c.number))}
        for row in connection.execute(sa.select(SCREENS).order_by(SCREENS.c.rater, SCREENS.c.slot)):
            raters[row.rater].screens.append(Screen(row.question, row.flipped))
        slots = sa.select(ANSWERS.c.rater, sa.func.count(ANSWERS.c.slot.distinct())).group_by(ANSWERS.c.rater)
        for rater, answered in connection.execute(slots):
            raters[rater].answered = answered
        now, allocation = time.monotonic(), self._empty()
        for one in raters.values():
            if one.number is not None and not one.withdrawn:
                allocation.restore(one.number, one.screens, one.answered, now)
        self._allocation, self._by_id = allocation, raters
        self._by_token = {one.token_sha256: one for one in raters.values()}
        self._next = max((one.number + 1 for one in raters.values() if one.number is not None), default=0)
        self._finished = sum(one.finished and not one.withdrawn for one in raters.values())

    def known(self, token: str) -> str:
        """The opaque name of who has this token, as far as memory knows; empty if nobody. Safe in any thread."""
        rater = self._by_token.get(hashed(token))
        return rater.id if rater else ""

    async def do(self, operation: Operation[T]) -> T:
        """Have the writing thread do something, and wait till the disk has it; raises as `Database.submit`'s future."""
        return await asyncio.wrap_future(self.database.submit(operation))

    def start(self, connection: sa.Connection, said: Mapping[str, Any]) -> str:
        """Somebody agrees to take part.

        Args:
            said: consent_version, and either token, of a personal link, or platform, identifier, session, study and
                nonce, a secret of the page: who lost the reply says the same again, and gets the same token.

        Returns:
            the rater's token.
        """
        platform, *named = (_word(said, name) for name in ("platform", "identifier", "session", "study"))
        token, nonce = _word(said, "token"), _word(said, "nonce")
        if said.get("consent_version") != self.study.public.consent_version:
            raise Refused(409, "the consent text has changed; reload the page and read it again")
        if token:
            return self._agree(connection, token)
        if not self.open:
            raise Refused(403, "this study is by invitation; use the link that you were sent")
        if platform not in PLATFORMS or bool(platform) != bool(named[0]):
            raise Refused(422, "a platform (prolific or mturk) and an identifier belong together")
        if nonce and not NONCE.fullmatch(nonce):
            raise Refused(422, "a nonce is 16 to 64 letters, digits, - and _")
        name, token = self._named(platform, named[0], nonce)
        if name not in self._by_id:
            return self._begin(connection, name, token, platform, named)
        if hmac.compare_digest(self._by_id[name].token_sha256, hashed(token)):
            return token
        raise Refused(409, "you have begun already; go on in the browser in which you began", begun=True)

    def state(self, connection: sa.Connection, token: str) -> State:
        """What a rater is to see now; a screen that is new is written down before it is shown."""
        return self._state(connection, self._find(connection, token))

    def answer(self, connection: sa.Connection, token: str, said: Mapping[str, Any]) -> State:
        """Take an answer, once, and say what comes next. One to an earlier screen changes nothing.

        Args:
            said: slot, choices (aspect → choice), ms.
        """
        rater = self._find(connection, token)
        slot, choices, ms = self._checked(said)
        if slot >= len(rater.screens) and not rater.withdrawn:
            raise Refused(422, f"screen {slot} has not been shown")
        if slot == rater.answered and not rater.withdrawn and rater.number is not None:
            now = environment.now()
            row = {"rater": rater.id, "slot": slot, "ms": ms, "at": now}
            each = [{**row, "aspect": aspect, "choice": choice} for aspect, choice in choices.items()]
            tables.add(connection, ANSWERS, *each)
            rater.answered += 1
            self._allocation.answered(rater.number, time.monotonic())
        return self._state(connection, rater)

    def withdraw(self, connection: sa.Connection, token: str) -> State:
        """A rater takes back all they said. That they were there stays known, so that they are not asked again."""
        rater = self._find(connection, token)
        if not rater.withdrawn:
            tables.forget(connection, rater.id, whole=False)
            tables.change(connection, rater.id, withdrawn=environment.now())
            self._leave(rater)
            rater.withdrawn, rater.screens, rater.answered = True, [], 0
        return {"state": "withdrawn"}

    def erase(self, connection: sa.Connection, name: str) -> State:
        """Delete all that is held about one rater."""
        rater = self._by_id.get(name)
        if rater is None:
            raise Refused(404, "no such rater")
        tables.forget(connection, name, whole=True)
        if not rater.withdrawn:
            self._leave(rater)
        del self._by_id[name], self._by_token[rater.token_sha256]
        return {"erased": name}

    def progress(self, connection: sa.Connection) -> State:
        """How far the study is."""
        here = [one for one in self._by_id.values() if one.number is not None]
        now, counts = time.monotonic(), self._allocation.counts.values()
        took = list(connection.execute(sa.select(ANSWERS.c.ms)).scalars())
        going = [one for one in here if not one.finished and not one.withdrawn]
        return {
            "started": len(here),
            "finished": self._finished,
            "withdrawn": sum(one.withdrawn for one in here),
            "active": sum(now - one.seen < self._idle for one in going),
            "answers": len(took),
            "planned": self.study.lock.sample.raters,
            "links_unused": len(self._by_id) - len(here),
            "least_answers": min(counts, default=0),
            "most_answers": max(counts, default=0),
            "median_seconds": statistics.median(took) / 1000 if took else None,
        }

    def _empty(self) -> Allocation:
        return Allocation(self.study.lock.seed, self.study.lock.per_rater, self.study.key.questions, self._idle)

    def _find(self, connection: sa.Connection, token: str) -> Rater:
        """Who has this token. A link made since the server started is in the database only."""
        found = self._by_token.get(hashed(token))
        if found is None:
            row = connection.execute(sa.select(RATERS).where(RATERS.c.token_sha256 == hashed(token))).first()
            if row is None:
                raise Refused(404, "no such link")
            found = self._keep(_rater(row))
        found.seen = time.monotonic()
        return found

    def _keep(self, rater: Rater) -> Rater:
        self._by_token[rater.token_sha256] = self._by_id[rater.id] = rater
        return rater

    def _agree(self, connection: sa.Connection, token: str) -> str:
        rater = self._find(connection, token)
        if rater.withdrawn:
            raise Refused(409, "you have withdrawn from this study")
        if rater.number is None:
            self._refuse_when_full()
            rater.number, self._next = self._next, self._next + 1
            version = self.study.public.consent_version
            tables.change(connection, rater.id, number=rater.number, started=environment.now(), consent_version=version)
        return token

    def _named(self, platform: str, identifier: str, nonce: str) -> tuple[str, str]:
        """A rater's name and token. From a nonce both can be made again, by who knows it and the study's secret."""
        key = self.study.key
        name = key.rater(platform, identifier or nonce) if platform or nonce else secrets.token_hex(12)
        return name, key.name("token", name, nonce) if nonce else secrets.token_urlsafe(24)

    def _begin(self, connection: sa.Connection, name: str, token: str, platform: str, named: list[str]) -> str:
        self._refuse_when_full()
        now = environment.now()
        rater = Rater(name, hashed(token), self._next, seen=time.monotonic())
        row = {"rater": name, "token_sha256": rater.token_sha256, "number": rater.number, "platform": platform}
        version = self.study.public.consent_version
        blank = {"finished": "", "withdrawn": ""}
        tables.add(connection, RATERS, {**row, **blank, "consent_version": version, "started": now})
        if platform:
            who = dict(zip(("identifier", "session", "study"), named, strict=True))
            tables.add(connection, IDENTITIES, {"rater": name, "platform": platform, **who, "expires": self._expiry()})
        self._keep(rater)
        self._next += 1
        return token

    def _refuse_when_full(self) -> None:
        if self.full:
            raise Refused(409, "this study has all the answers it needs; thank you", state="closed")

    def _expiry(self) -> str:
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=self.study.lock.ethics.retention_days)
        return end.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _leave(self, rater: Rater) -> None:
        if rater.number is not None:
            self._allocation.leave(rater.number, withdrawn=True)
        self._finished -= rater.finished

    def _state(self, connection: sa.Connection, rater: Rater) -> State:
        if rater.withdrawn:
            return {"state": "withdrawn"}
        if rater.number is None:
            return {"state": "closed" if self.full else "consent"}
        screen = self._allocation.current(rater.number, time.monotonic())
        if screen is None:
            return self._done(connection, rater)
        if rater.answered == len(rater.screens):
            row = {"question": screen.question, "flipped": screen.flipped, "shown_at": environment.now()}
            tables.add(connection, SCREENS, {"rater": rater.id, "slot": rater.answered, **row})
            rater.screens.append(screen)
        return {
            "state": "question",
            "slot": rater.answered,
            "of": self.study.public.screens,
            "screen": self._shown(screen),
        }

    def _shown(self, screen: Screen) -> dict[str, str]:
        one = self.study.shown[screen.question]
        left, right = (one.second, one.first) if screen.flipped else (one.first, one.second)
        return {"text": one.text, "input": one.input, "left": left, "right": right}

    def _done(self, connection: sa.Connection, rater: Rater) -> State:
        if not rater.finished:
            tables.change(connection, rater.id, finished=environment.now())
            rater.finished = True
            self._finished += 1
        code = self.database.code(rater.id)
        return {"state": "done", "code": code, "url": self.study.lock.completion.url.replace("{code}", code)}

    def _checked(self, said: Mapping[str, Any]) -> tuple[int, dict[str, str], int]:
        """An answer's form, whoever it is from."""
        slot, choices, ms = said.get("slot"), said.get("choices"), said.get("ms")
        aspects = {one["name"] for one in self.study.public.aspects}
        if type(slot) is not int or slot < 0:  # a bool is an int to isinstance
            raise Refused(422, "slot is a whole number from 0")
        if type(ms) is not int or not 0 <= ms <= SLOWEST:
            raise Refused(422, f"ms is a whole number from 0 to {SLOWEST}")
        if not isinstance(choices, dict) or set(choices) != aspects:
            raise Refused(422, f"choices must be of {', '.join(sorted(aspects))}")
        if any(type(one) is not str or one not in self.study.public.choices for one in choices.values()):
            raise Refused(422, f"a choice is one of {', '.join(self.study.public.choices)}")
        return slot, choices, ms


def _rater(row: Any) -> Rater:
    return Rater(row.rater, row.token_sha256, row.number, bool(row.finished), bool(row.withdrawn))


def _word(said: Mapping[str, Any], name: str) -> str:
    """A short text without control characters and half surrogate pairs, which databases refuse; missing is empty."""
    value = said.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise Refused(422, f"{name} is a text of at most {LONGEST} printable characters")
    return value
