"""The study's database: what it confirms stays, one process serves it, and what was promised to be deleted is."""

from __future__ import annotations

import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tedbench.errors import StoreError, UsageError
from tedbench.study import tables
from tedbench.study.bundle import Study
from tedbench.study.database import Database, Refused, open_database
from tedbench.study.desk import Desk

WHO = {"consent_version": "1", "platform": "prolific", "identifier": "P1", "session": "S", "study": "T"}
SHORT = {"per_rater": {"questions": 4, "repeats": 1, "checks": 1}}
DIES = """
import os, sys, pathlib, time
from tedbench.study import bundle
from tedbench.study.database import open_database
from tedbench.study.desk import Desk
study = bundle.open_study(pathlib.Path(sys.argv[1]))
database = open_database(sys.argv[2], study)
desk = Desk(study, database)
token = database.submit(lambda c: desk.start(c, {"consent_version": "1"})).result()
state = database.submit(lambda c: desk.state(c, token)).result()
said = {"slot": 0, "choices": {"overall": "left"}, "ms": 77}
def die(future):
    os.write(1, b"%d" % future.result()["slot"])
    os.kill(os.getpid(), 9)
database.submit(lambda c: desk.answer(c, token, said)).add_done_callback(die)
time.sleep(20)
"""


@pytest.fixture
def study(make_study: Callable[..., Study], tmp_path: Path) -> Study:
    return make_study(tmp_path, **SHORT)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "answers.sqlite")
    url: str = request.getfixturevalue("postgres")(f"d{abs(hash(str(tmp_path)))}")
    return url


@pytest.fixture
def database(study: Study, place: str) -> Iterator[Database]:
    made = open_database(place, study)
    yield made
    made.close()


def finish(desk: Desk, **said: str) -> str:
    """A rater who answers everything; their token."""
    submit = desk.database.submit
    token = submit(lambda c: desk.start(c, {**WHO, **said})).result(20)
    state = submit(lambda c: desk.state(c, token)).result(20)
    while state["state"] == "question":
        answer = {"slot": state["slot"], "choices": {"overall": "left"}, "ms": 9}
        state = submit(lambda c, answer=answer: desk.answer(c, token, answer)).result(20)
    return token


def test_what_was_confirmed_outlives_a_kill_in_the_same_moment(study: Study, place: str) -> None:
    command = [sys.executable, "-c", DIES, str(study.path), place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("1", -signal.SIGKILL), done.stderr
    database = open_database(place, study, create=False)
    assert [(one.slot, one.choice, one.ms) for one in database.answers()] == [(0, "left", 77)]
    desk = Desk(study, database)  # and its locks died with it
    assert database.submit(desk.progress).result(20)["started"] == 1
    database.close()


def test_what_comes_at_once_is_one_transaction_and_a_refusal_is_its_own(database: Database, study: Study) -> None:
    desk, held = Desk(study, database), threading.Event()
    commits: list[int] = []
    tables.sa.event.listen(database._engine, "commit", lambda _: commits.append(1))
    database.submit(lambda c: held.wait(20))  # what follows waits, and is taken together
    starts = [database.submit(lambda c, n=n: desk.start(c, {**WHO, "identifier": f"P{n // 2}"})) for n in range(20)]
    held.set()
    caught = [one.exception(20) for one in starts]
    assert [type(one) for one in caught] == [type(None), Refused] * 10
    assert len(commits) <= 3
    assert len(database.identities()) == 10


def test_a_failed_transaction_is_nobodys_and_memory_is_made_anew(database: Database, study: Study) -> None:
    desk = Desk(study, database)
    token = finish(desk)
    before, held = database.answers(), threading.Event()
    database.submit(lambda c: held.wait(20))
    good = database.submit(lambda c: desk.withdraw(c, token))
    bad = database.submit(lambda c: tables.add(c, tables.META, {"name": "study", "value": "twice"}))
    held.set()
    for future in (good, bad):
        error = future.exception(20)
        assert isinstance(error, Refused) and error.status == 503
    assert database.answers() == before
    assert database.submit(lambda c: desk.state(c, token)).result(20)["state"] == "done", "it did not withdraw"
    assert database.submit(desk.progress).result(20)["finished"] == 1


def test_a_lost_connection_costs_one_reply(study: Study, postgres: Callable[[str], str], tmp_path: Path) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = postgres(f"lost{abs(hash(str(tmp_path)))}")
    database = open_database(url, study)
    desk = Desk(study, database)
    token = finish(desk)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
    with psycopg.connect(url) as other:
        other.execute(cut + "pg_backend_pid()")
    start: Callable[[], Any] = lambda: database.submit(lambda c: desk.start(c, {"consent_version": "1"}))  # noqa: E731
    error = start().exception(20)
    assert isinstance(error, Refused) and error.status == 503
    assert start().result(20)
    assert database.submit(desk.progress).result(20)["started"] == 2, "who was refused has not begun"
    assert database.submit(lambda c: desk.state(c, token)).result(20)["state"] == "done"
    second = open_database(url, study)
    with pytest.raises(UsageError, match="served by another process"):
        Desk(study, second)
    second.close()
    database.close()


@pytest.mark.parametrize("seed", range(4))
def test_memory_is_what_the_database_says(study: Study, place: str, seed: int) -> None:
    rng, database = random.Random(seed), open_database(place, study)
    desk, tokens = Desk(study, database), list[str]()
    state: Callable[[Desk, str], Any] = lambda of, token: of.database.submit(lambda c: of.state(c, token)).result(20)  # noqa: E731
    for step in range(120):
        what = rng.random()
        if not tokens or what < 0.1:
            said = {**WHO, "identifier": f"P{step}"} if rng.random() < 0.5 else {"consent_version": "1"}
            tokens.append(database.submit(lambda c, said=said: desk.start(c, said)).result(20))
            continue
        token = rng.choice(tokens)
        if what < 0.13:
            database.submit(lambda c, token=token: desk.withdraw(c, token)).result(20)
        elif what < 0.15:
            database.submit(lambda c, token=token: desk.erase(c, desk.known(token))).result(20)
            tokens.remove(token)
        elif (now := state(desk, token))["state"] == "question":
            answer = {"slot": now["slot"], "choices": {"overall": rng.choice(["left", "right"])}, "ms": step}
            database.submit(lambda c, token=token, answer=answer: desk.answer(c, token, answer)).result(20)
    told, before = {token: state(desk, token) for token in tokens}, database.submit(desk.progress).result(20)
    database.close()
    anew = Desk(study, database := open_database(place, study))
    after = database.submit(anew.progress).result(20)
    assert {**after, "active": 0} == {**before, "active": 0}
    assert {token: state(anew, token) for token in tokens} == told
    database.close()


def test_a_second_process_is_refused(database: Database, study: Study, place: str) -> None:
    desk = Desk(study, database)
    second = open_database(place, study)
    with pytest.raises(UsageError, match="served by another process"):
        Desk(study, second)
    finish(desk)
    (rater,) = {one.rater for one in second.answers()}
    with pytest.raises(UsageError, match="served by another process"):
        second.erase(rater)
    database.close()
    second.erase(rater)
    assert second.answers() == []
    Desk(study, second)
    second.close()


def test_another_studys_database_is_refused(
    database: Database, make_study: Callable[..., Study], tmp_path: Path, place: str
) -> None:
    other = make_study(tmp_path / "other", **SHORT, title="Another")
    with pytest.raises(StoreError, match=f"answers to study {database.study.lock.tag}, not {other.lock.tag}"):
        open_database(place, other)


def test_what_is_no_database_of_ours_is_refused_and_left_alone(study: Study, tmp_path: Path) -> None:
    theirs = sqlite3.connect(tmp_path / "theirs.sqlite")
    theirs.execute("CREATE TABLE answers (x)")
    theirs.commit()
    theirs.close()
    (tmp_path / "text.sqlite").write_text("no database at all, but long enough to be read as one " * 9)
    for name in ("theirs.sqlite", "text.sqlite"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(StoreError, match=name):
            open_database(tmp_path / name, study)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(StoreError, match="is not there"):
        open_database(tmp_path / "none.sqlite", study, create=False)
    with pytest.raises(StoreError, match="cannot be written"):
        open_database(tmp_path / "no" / "folder.sqlite", study)
    for bad in ("mysql://x/y", "sqlite://", "postgresql://h:port/x"):
        with pytest.raises(UsageError):
            open_database(bad, study)
    with pytest.raises(StoreError) as caught:
        open_database("postgresql://me:hushhush@127.0.0.1:1/x?connect_timeout=2", study)
    assert "hushhush" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_database_is_its_owners_alone(study: Study, tmp_path: Path) -> None:
    database = open_database(tmp_path / "answers.sqlite", study)
    finish(Desk(study, database))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("answers.sqlite*")}
    assert set(modes) >= {"answers.sqlite", "answers.sqlite-wal", "answers.sqlite.lock"}
    assert set(modes.values()) == {0o600}
    database.close()


def test_neither_tokens_nor_deleted_identifiers_are_in_the_file(study: Study, tmp_path: Path) -> None:
    database = open_database(tmp_path / "answers.sqlite", study)
    desk = Desk(study, database)
    token = finish(desk, identifier="an-identifier-to-look-for")
    files = lambda: b"".join(path.read_bytes() for path in tmp_path.glob("answers.sqlite*"))  # noqa: E731
    assert b"an-identifier-to-look-for" in files() and token.encode() not in files()
    database.submit(lambda c: desk.withdraw(c, token)).result(20)
    database.close()
    assert b"an-identifier-to-look-for" not in files()


def test_identifiers_expire_and_nothing_else_does(study: Study, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_database(place, study)
    finish(Desk(study, database))
    (row,) = database.identities()
    assert row["expires"] > row["started"] and row["code"] == study.key.code(row["rater"])
    database.close()
    monkeypatch.setattr("tedbench.environment.now", lambda: row["expires"])
    database = open_database(place, study)
    Desk(study, database)
    assert database.identities() == [] and len(database.answers()) == 4
    assert database.export(row["rater"])["raters"][0]["platform"] == "prolific"
    database.close()


def test_export_and_erase_are_whole(database: Database, study: Study) -> None:
    desk = Desk(study, database)
    finish(desk)
    finish(desk, identifier="P2")
    rater = database.rater_by_identifier("prolific", "P1")
    held = database.export(rater)
    assert {name: len(rows) for name, rows in held.items()} == {
        "raters": 1,
        "identities": 1,
        "screens": 4,
        "answers": 4,
    }
    database.close()
    database.erase(rater)
    for ask in (lambda: database.export(rater), lambda: database.rater_by_identifier("prolific", "P1")):
        with pytest.raises(UsageError, match="no rater"):
            ask()
    assert len(database.answers()) == 4, "who else took part is still there"
    with pytest.raises(UsageError):
        database.erase("nobody")


def test_links_are_for_one_rater_each(database: Database, study: Study) -> None:
    first, second = database.links(2)
    assert first != second and min(map(len, (first, second))) >= 32
    desk = Desk(study, database, open=False)
    state: Callable[[str], Any] = lambda token: database.submit(lambda c: desk.state(c, token)).result(20)  # noqa: E731
    assert state(first) == {"state": "consent"}
    agreed = {"consent_version": "1", "token": first}
    for _ in range(2):
        assert database.submit(lambda c: desk.start(c, agreed)).result(20) == first
    assert state(first)["state"] == "question" and state(second) == {"state": "consent"}
    (later,) = database.links(1)  # made while a server runs
    assert state(later) == {"state": "consent"}
    progress = database.submit(desk.progress).result(20)
    assert (progress["started"], progress["links_unused"]) == (1, 2)
