"""A small study on disk, a server of it in a process of its own, and a PostgreSQL of the tests' own."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

from tedbench import disk, images
from tedbench.study import bundle, lock
from tedbench.study.bundle import GOLD, INSTRUCTED, MAIN, Key, Meant, Public, Result, Shown, Study
from tedbench.study.lock import Choices, Contender, Lock

ADMIN = "a-token-of-the-tests-own"
SECRET = "5e" * 32
SERVE = """
import json, sys
from tedbench.study import bundle, serving
folder, place, said = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
serving.serve(bundle.open_study(__import__("pathlib").Path(folder)), place, serving.Site(**said),
              ready=lambda url: print(url, flush=True))
"""


def picture(*seed: int) -> bytes:
    """A PNG of 24 × 24 pixels that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def results(a: str, b: str, turn: int) -> tuple[Result, Result]:
    """First and second, which are no order of the methods."""
    return (Result(a, a), Result(b, b)) if turn % 2 else (Result(b, b), Result(a, a))


def questions(key: Key, labels: list[str], photos: int, texts: int = 1) -> tuple[Meant, ...]:
    """Every pair of methods on every text of every photo, four scrambled pictures and two instructions."""
    pairs = [(a, b) for at, a in enumerate(labels) for b in labels[at + 1 :]]
    share = 1 / (len(pairs) * photos * texts)
    main = [
        Meant(key.name("question", uid, a, b), MAIN, uid, f"photo{photo}", *results(a, b, photo), share)
        for photo in range(photos)
        for uid in (f"photo{photo}-text{text}" for text in range(texts))
        for a, b in pairs
    ]
    nobody = Result("")
    gold = [
        Meant(key.name("gold", n), GOLD, "photo0-text0", "photo0", nobody, nobody, expected=("first", "second")[n % 2])
        for n in range(4)
    ]
    told = [
        Meant(key.name("told", side), INSTRUCTED, "photo0-text0", "photo0", nobody, nobody, expected=side)
        for side in ("left", "right")
    ]
    return (*main, *gold, *told)


def shown(key: Key, one: Meant, text: str) -> Shown:
    first, second = (f"{key.name('picture', one.id, side)}.png" for side in ("first", "second"))
    return Shown(one.id, text, f"{key.name('input', one.image_id)}.png", first, second)


def lock_of(chosen: Choices, labels: list[str], key: Key, photos: int) -> Lock:
    contenders = tuple(
        Contender(label=a, run="runs/a", run_name="a", method=a, seed=0, strength="1", cells="") for a in labels
    )
    return Lock(
        **dict(chosen), name="small", created="2026-01-01T00:00:00Z", version="0", dataset="drawn", dataset_sha256="",
        contenders=contenders, comparisons=sum(one.kind == MAIN for one in key.questions), photos=photos, unasked=0,
        power={}, public_sha256="", key_sha256="",
    )  # fmt: skip


def public_of(of: Lock, key: Key, text: str) -> Public:
    aspects = tuple({"name": one.name, "wording": one.wording} for one in of.asking.aspects)
    words = {one: lock.WORDS[one] for one in of.asking.allow}
    return Public(
        of.title, of.tag, aspects, of.asking.choices, words, of.per_rater.questions, of.ethics.consent,
        of.ethics.consent_version, (), 24, tuple(shown(key, one, text) for one in key.questions),
    )  # fmt: skip


def write_study(
    into: Path, methods: int = 3, photos: int = 6, text: str = "a drawn bird that flies", **choices: Any
) -> Study:
    """Write a study to `into`/study, as `tedbench study build` would, and open it.

    Args:
        into: a folder.
        methods: how many there are: A, B, C, …
        photos: how many, of one text each.
        text: of every question.
        choices: keys of a study's TOML file, such as per_rater={"questions": 8, "repeats": 1, "checks": 1}.
    """
    folder, labels = into / "study", [chr(ord("A") + k) for k in range(methods)]
    bare = Key(SECRET, ())
    key = Key(SECRET, questions(bare, labels, photos))
    of = lock_of(lock.check(choices, "a test's study"), labels, key, photos)
    public = public_of(of, key, text)
    names = sorted({name for one in public.questions for name in (one.input, one.first, one.second)})
    bundle.write(folder, public, key, {name: picture(at) for at, name in enumerate(names)})
    digests = {
        "public_sha256": bundle.public_digest(folder),
        "key_sha256": images.sha256((folder / bundle.KEY).read_bytes()),
    }
    disk.write_atomic(folder / lock.NAME, lock.as_bytes(of.model_copy(update=digests)))
    return bundle.open_study(folder)


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request; a body that is no bytes is sent as JSON."""
        said = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        try:
            connection.request(method, path, said, {name.replace("_", "-"): value for name, value in headers.items()})
            got = connection.getresponse()
            return Reply(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    def raw(self, said: bytes, wait: float = 5.0) -> bytes:
        """Send bytes as they are; all that comes back until the server hangs up, or says nothing for `wait` seconds."""
        where, got = urlsplit(self.url), b""
        with socket.create_connection((where.hostname, where.port), timeout=wait) as wire:
            try:
                wire.sendall(said)
                while piece := wire.recv(65536):
                    got += piece
            except (TimeoutError, ConnectionError):
                pass
        return got

    def admin(self, method: str, path: str, token: str = ADMIN) -> Reply:
        return self.ask(method, path, Authorization=f"Bearer {token}")

    def start(self, **said: str) -> Reply:
        return self.ask("POST", "/api/start", {"consent_version": "1", **said})

    def token(self, **said: str) -> str:
        begun = self.start(**said)
        assert begun.status == 200, begun
        return str(begun.json["token"])

    def state(self, token: str) -> Any:
        return self.ask("GET", f"/api/r/{quote(token)}").json

    def answer(self, token: str, slot: int, choice: str = "left", **more: Any) -> Reply:
        said = {"slot": slot, "choices": {"overall": choice}, "ms": 1500, **more}
        return self.ask("POST", f"/api/r/{token}/answers", said)

    def finish(self, token: str) -> Any:
        """Answer whatever there is to answer."""
        state = self.state(token)
        while state["state"] == "question":
            state = self.answer(token, state["slot"], ("left", "right")[state["slot"] % 2]).json
        return state

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """The exit status."""
        self.process.send_signal(how)
        return self.process.wait(20)


def launch(study: Study, place: str | Path, **site: Any) -> Served:
    """Start a server and wait till it listens."""
    said = {"port": 0, "admin_token": ADMIN, **site}
    command = [sys.executable, "-c", SERVE, str(study.path), str(place), json.dumps(said)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, f"the server ended with {process.wait(20)}"
    return Served(url, process)


@contextmanager
def serving_of(study: Study, place: str | Path, **site: Any) -> Iterator[Served]:
    """A server as long as the block lasts."""
    one = launch(study, place, **site)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.stop(signal.SIGKILL)
        assert one.process.stdout is not None
        one.process.stdout.close()


def postgres_programs() -> Path | None:
    """Where PostgreSQL's programs are, the newest first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def postgres_server(programs: Path) -> Iterator[Callable[[str], str]]:
    """A PostgreSQL that only this machine's socket reaches: gives the URL of a new database of a name."""
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it will not run as root
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if as_user:
        shutil.chown(folder, "postgres")

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs / program), *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120)

    run("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "study", "--no-sync", "--locale=C.UTF-8")
    run("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", f"-h '' -k {folder}", "start")

    def new(name: str) -> str:
        run("createdb", "-h", str(folder), "-U", "study", name)
        return f"postgresql://study@/{name}?host={folder}"

    try:
        yield new
    finally:
        run("pg_ctl", "-D", f"{folder}/data", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def make_study() -> Callable[..., Study]:
    """`make_study(tmp_path, methods=3, photos=6, **choices)`: a study in a folder, opened."""
    return write_study


@pytest.fixture
def served() -> Callable[..., AbstractContextManager[Served]]:
    """`with served(study, place, **site) as one`: a server in a process of its own."""
    return serving_of


@pytest.fixture(scope="session")
def helpers() -> ModuleType:
    """This file, for fixtures that outlive a test."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    from tests.study import browsing  # here, as a benchmark takes this file for its helpers, and is no test

    with browsing.chromium() as one:
        yield one


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """`postgres(name)`: URL of a new database of that name."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs are not installed (apt-get install postgresql)")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    with postgres_server(programs) as new:
        yield new
