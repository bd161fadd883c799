"""The study's server under load: so many raters at once, each with a connection of its own and 1 to 3 s an answer.

    python tests/benchmarks/study_load.py --out results/benchmarks/study_load.json

Server, database and raters share one machine, which makes it slower, not faster. Latency is from the first byte of an
answer sent to the last byte of the reply, which comes only once the disk has the answer. What was acknowledged is
counted against the rows in the database, read without our code: each answer carries milliseconds drawn at random.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import runpy
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tedbench import environment
from tedbench.study import allocation
from tedbench.study.bundle import Study

HELP = runpy.run_path(str(Path(__file__).parent.parent / "study/conftest.py"))
RETRY = 0.25
"""Seconds before a rater tries again."""
METHODS, PHOTOS = 3, 39


@dataclass
class Rater:
    """One browser."""

    number: int
    port: int
    rng: random.Random
    leaves_at: int
    """Slot at which they close the page."""
    think: tuple[float, float]
    comes_after: float = 0.0
    """Seconds."""
    acknowledged: set[tuple[int, str, int]] = field(default_factory=set)
    """Slot, choice, milliseconds."""
    latencies: list[float] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    end: str = ""
    _wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def live(self) -> None:
        """From the consent to the end."""
        await asyncio.sleep(self.comes_after)
        who = {"platform": "prolific", "identifier": f"P{self.number}", "nonce": f"nonce-of-rater-{self.number:04}"}
        begun = await self.insist("POST", "/api/start", {"consent_version": "1", **who})
        state = await self.insist("GET", path := f"/api/r/{begun['token']}")
        while state["state"] == "question" and state["slot"] < self.leaves_at:
            await asyncio.sleep(self.rng.uniform(*self.think))
            slot, choice, ms = state["slot"], self.rng.choice(["left", "right"]), self.rng.randrange(3_600_000)
            said = {"slot": slot, "choices": {"overall": choice}, "ms": ms}
            state = await self.insist("POST", f"{path}/answers", said, timed=True)
            self.acknowledged.add((slot, choice, ms))
        self.end = state["state"]
        self._hang_up()

    async def insist(self, method: str, path: str, body: Any = None, timed: bool = False) -> Any:
        """Ask till it is granted, as the page does."""
        while True:
            began = time.perf_counter()
            try:
                status, said = await asyncio.wait_for(self._ask(method, path, body), 20)
            except (OSError, EOFError, TimeoutError):
                self._hang_up()
                status, said = 0, b""
            if timed and status:
                self.latencies.append(time.perf_counter() - began)
            self.tries[str(status)] += 1
            if status == 200:
                return json.loads(said)
            if status in range(400, 500) and status != 429:
                raise RuntimeError(f"{method} {path}: {status} {said!r}")
            await asyncio.sleep(RETRY)

    async def _ask(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        if self._wire is None or self._wire[0].at_eof():
            self._hang_up()
            self._wire = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._wire
        said = b"" if body is None else json.dumps(body).encode()
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head.split()[1]), await reader.readexactly(int(length.split(b":")[1]))

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire[1].close()
            self._wire = None


def query(place: str, said: str) -> list[tuple[Any, ...]]:
    """Rows of a database, asked without our code."""
    if "://" in place:
        import psycopg

        with psycopg.connect(place) as connection:
            return list(connection.execute(said).fetchall())
    database = sqlite3.connect(place)
    try:
        return database.execute(said).fetchall()
    finally:
        database.close()


def kept(study: Study, raters: list[Rater], place: str) -> dict[str, int]:
    """What was acknowledged against the rows there are: lost, and rows that are there twice or were never confirmed."""
    name = {one.number: study.key.rater("prolific", f"P{one.number}") for one in raters}
    said = Counter((name[one.number], *answer) for one in raters for answer in list(one.acknowledged))
    found = Counter(query(place, "SELECT rater, slot, choice, ms FROM answers"))
    return {"acknowledged": said.total(), "lost": (said - found).total(), "surplus": (found - said).total()}


def balance(study: Study, place: str) -> dict[str, int]:
    """Largest difference of answers: between questions, between pairs of methods, between sides of one question.

    A rater's second look at a question is a repeat, and does not count.
    """
    told = "FROM screens s JOIN answers a ON a.rater = s.rater AND a.slot = s.slot ORDER BY s.rater, s.slot"
    questions, sides = dict.fromkeys((one.id for one in study.main), 0), Counter[str]()
    pairs, seen = Counter[frozenset[str]](), set()
    for rater, question, flipped in query(place, f"SELECT s.rater, s.question, s.flipped {told}"):
        if question in questions and (rater, question) not in seen:
            seen.add((rater, question))
            questions[question] += 1
            sides[question] += -1 if flipped else 1
            pairs[frozenset((study.key.by_id[question].first.label, study.key.by_id[question].second.label))] += 1
    spread = {name: max(of.values()) - min(of.values()) for name, of in (("questions", questions), ("pairs", pairs))}
    return {**spread, "sides": max(map(abs, sides.values()))}


@dataclass(frozen=True)
class Load:
    """What comes at the server."""

    raters: int = 200
    think: tuple[float, float] = (1.0, 3.0)
    """Seconds between two answers of a rater, uniform."""
    within: float = 0.0
    """Seconds within which they come; 0: all at once."""
    leave: float = 0.0
    """Part of the raters who close the page before the end, at a screen drawn uniformly."""
    kill_after: float = 0.0
    """Seconds after which the server is killed (SIGKILL) and started anew; 0: never."""
    idle: float = allocation.IDLE


def run(study: Study, place: str, load: Load) -> dict[str, Any]:
    """One load: how long answers took in seconds, what became of them, and how balanced they are."""
    server = HELP["launch"](study, place, idle=load.idle)
    port, found = urlsplit(server.url).port, dict[str, Any]()
    raters = [_rater(study, load, number, port) for number in range(load.raters)]

    def killed() -> None:
        nonlocal server
        time.sleep(load.kill_after)
        server.stop(signal.SIGKILL)
        server.process.stdout.close()
        found["lost when it was killed"] = kept(study, raters, place)["lost"]
        server = HELP["launch"](study, place, idle=load.idle, port=port)

    began = time.perf_counter()
    late = asyncio.run(_crowd(raters, killed if load.kill_after else None))
    found["our own delay, p95"] = float(np.quantile(late, 0.95))
    found["seconds"] = time.perf_counter() - began
    found["exit"] = server.stop()
    server.process.stdout.close()
    took = np.concatenate([one.latencies for one in raters])
    quantiles = {f"p{100 * q:g}": float(np.quantile(took, q)) for q in (0.5, 0.95, 0.99, 1)}
    ends = dict(Counter(one.end for one in raters))
    replies = dict(sum((one.tries for one in raters), Counter()))
    said = {"answers_a_second": len(took) / found["seconds"], "ends": ends, "replies": replies}
    return {**found, **quantiles, **said, **kept(study, raters, place), "balance": balance(study, place)}


def _rater(study: Study, load: Load, number: int, port: int) -> Rater:
    rng = random.Random(number)
    screens = study.public.screens
    leaves = rng.randrange(screens) if rng.random() < load.leave else screens
    return Rater(number, port, rng, leaves, load.think, rng.uniform(0, load.within))


async def _crowd(raters: list[Rater], during: Callable[[], None] | None) -> list[float]:
    """All of them live. Returns by how many seconds the machine woke us later than asked, twenty times a second."""
    late: list[float] = []
    watch = asyncio.create_task(_watch(late))
    living = asyncio.gather(*(one.live() for one in raters))
    if during:
        await asyncio.to_thread(during)
    await living
    watch.cancel()
    return late


async def _watch(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.05)
        late.append(time.perf_counter() - began - 0.05)


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, Callable[[str], str]]]:
    """How a new database of a name is had, of each kind that is here."""
    made: dict[str, Callable[[str], str]] = {"sqlite": lambda name: str(folder / f"{name}.sqlite")}
    programs = HELP["postgres_programs"]()
    if programs is None:
        yield made
        return
    with HELP["postgres_server"](programs) as new:
        yield {**made, "postgresql": new}


LOADS = {
    "steady": (Load(), {"questions": 28, "repeats": 3, "checks": 3}),
    "killed": (Load(kill_after=12.0), {"questions": 14, "repeats": 2, "checks": 2}),
    "leaving": (Load(within=30.0, leave=0.3, idle=8.0), {"questions": 14, "repeats": 2, "checks": 2}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "command": "python tests/benchmarks/study_load.py --out results/benchmarks/study_load.json",
        "hardware": environment.hardware(),
        "versions": {name: version(name) for name in ("fastapi", "uvicorn", "sqlalchemy", "psycopg")},
        "commit": environment.git_commit(),
        "at": environment.now(),
        "methods": METHODS,
        "photos": PHOTOS,
        "loads": {},
    }
    with tempfile.TemporaryDirectory() as scratch, databases(Path(scratch)) as kinds:
        for kind, new in kinds.items():
            for name, (load, per_rater) in LOADS.items():
                study = HELP["write_study"](Path(scratch) / kind / name, METHODS, PHOTOS, per_rater=per_rater)
                got = {"per_rater": per_rater, "load": asdict(load), **run(study, new(name), load)}
                found["loads"][f"{kind}, {name}"] = got
    text = json.dumps(found, indent=1)
    print(text) if asked.out is None else asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
