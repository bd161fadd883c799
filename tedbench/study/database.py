"""A study's database: SQLite in a file, or PostgreSQL by its URL.

One process serves a study. In it one thread writes: what came in while it was busy is one transaction, and nobody hears
of a success before the disk has it (group commit). SQLite runs in WAL mode with synchronous=FULL.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tedbench import environment
from tedbench.errors import StoreError, UsageError, short
from tedbench.study import tables
from tedbench.study.answers import Answer
from tedbench.study.bundle import Study
from tedbench.study.tables import sa

T = TypeVar("T")
Operation = Callable[[sa.Connection], T]
BATCH = 256
HOUR = 3600.0
BUSY = 10.0
"""Seconds that SQLite waits for another process, such as one that makes links."""
LOCK = 0x7EDBE9C4
"""Number of PostgreSQL's advisory lock."""
log = logging.getLogger(__name__)


class Refused(Exception):
    """What a rater may not do: an answer, not a fault. An operation raises it before it writes anything.

    Args:
        status: HTTP's number for the reason.
        message: what the rater is told.
        more: what else the answer says.
    """

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.more = status, more


class Database:
    """A study's database, opened. `open_database` makes one."""

    def __init__(self, engine: sa.Engine, study: Study, file: Path | None) -> None:
        self.study = study
        self._engine, self._file = engine, file
        self._queue: queue.Queue[tuple[Operation[Any], Future[Any]] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._writer: sa.Connection | None = None
        self._restore: Operation[None] = lambda _: None
        self._lock_file: int | None = None
        self._purged = 0.0

    def answers(self) -> list[Answer]:
        """Every answer there is."""
        with self._reading() as connection:
            return tables.answers(connection, self.study.lock.tag)

    def identities(self) -> list[dict[str, Any]]:
        """Platforms' own identifiers, as far as they have not expired: for payment.

        Returns:
            rows of rater, platform, identifier, session, study, expires, started, finished, code.
        """
        with self._reading() as connection:
            rows = tables.identities(connection)
        return [{**row, "code": self.code(row["rater"]) if row["finished"] else ""} for row in rows]

    def export(self, rater: str) -> dict[str, Any]:
        """All that is held about one rater, by table.

        Raises:
            UsageError: if there is no such rater.
        """
        with self._reading() as connection:
            found = tables.held(connection, rater)
        if not found["raters"]:
            raise UsageError(f"no rater {rater!r} in this study; `tedbench study answers` lists them")
        return found

    def rater_by_identifier(self, platform: str, identifier: str) -> str:
        """The opaque name of a platform's rater.

        Raises:
            UsageError: if nobody of that identifier took part.
        """
        rater = self.study.key.rater(platform, identifier)
        self.export(rater)
        return rater

    def erase(self, rater: str) -> None:
        """Delete all that is held about one rater. For when no server runs; a running one does it on DELETE.

        Raises:
            UsageError: if there is no such rater, or a server runs.
        """
        self.export(rater)
        self._hold()
        try:
            with self._failing(), self._engine.connect() as connection:
                connection.detach()  # PostgreSQL's lock ends with the session, which a pool would keep
                self._advisory(connection)
                with connection.begin():
                    tables.forget(connection, rater, whole=True)
        finally:
            self._let_go()

    def links(self, n: int) -> list[str]:
        """Tokens of so many raters to come, each a link of their own. A running server takes them up."""
        tokens = [secrets.token_urlsafe(24) for _ in range(n)]
        blank = {"number": None, "platform": "", "consent_version": "", "started": "", "finished": "", "withdrawn": ""}
        rows = [{**blank, "rater": secrets.token_hex(12), "token_sha256": hashed(token)} for token in tokens]
        with self._failing(), self._engine.begin() as connection:
            tables.add(connection, tables.RATERS, *rows)
        return tokens

    def code(self, rater: str) -> str:
        """The completion code of a rater."""
        return self.study.lock.completion.code or self.study.key.code(rater)

    def begin(self, restore: Operation[None]) -> None:
        """Become the one process that serves this study.

        Args:
            restore: rebuilds what is in memory from the database; called now, and after a transaction has failed.

        Raises:
            UsageError: if another process serves it already.
        """
        self._hold()
        self._restore = restore
        try:
            with self._failing():
                self._connected()
        except BaseException:
            self._let_go()
            raise
        self._thread = threading.Thread(target=self._write, name="study-database", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Have the writing thread do something; the future resolves when it is durable.

        The future raises `Refused` where the operation does, and `Refused(503)` where the database failed.
        """
        future: Future[T] = Future()
        self._queue.put((operation, future))
        return future

    def close(self) -> None:
        """Finish what was submitted, and let go of the database."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._drop()
        self._engine.dispose()
        self._let_go()

    def _write(self) -> None:
        while True:
            batch = self._batch()
            if batch is None:
                return
            self._commit(batch)
            if time.monotonic() - self._purged > HOUR:
                self._purged = time.monotonic()
                self._commit([(lambda c: tables.purge(c, environment.now()), Future())])

    def _batch(self) -> list[tuple[Operation[Any], Future[Any]]] | None:
        """What waits; None when there will be no more."""
        taken: list[tuple[Operation[Any], Future[Any]]] = []
        with suppress(queue.Empty):
            one = self._queue.get(timeout=HOUR / 60)
            while one is not None:
                taken.append(one)
                if len(taken) == BATCH:
                    return taken
                one = self._queue.get_nowait()
            if not taken:
                return None
            self._queue.put(None)  # these first, then the end
        return taken

    def _commit(self, batch: list[tuple[Operation[Any], Future[Any]]]) -> None:
        wanted = [(operation, future) for operation, future in batch if future.set_running_or_notify_cancel()]
        said: list[Callable[[], None]] = []
        try:
            connection = self._connected()
            with connection.begin():
                said = [_outcome(connection, operation, future) for operation, future in wanted]
        except Exception:  # whatever it was: nothing of this batch is kept, and memory is made anew
            log.exception("a transaction failed")
            self._drop()
            for _, future in wanted:
                future.set_exception(Refused(503, "the database cannot be reached; please try again in a moment"))
            return
        for tell in said:
            tell()

    def _connected(self) -> sa.Connection:
        """The writing connection. PostgreSQL's lock is this session's own: no lock, no writing."""
        if self._writer is None:
            self._writer = self._engine.connect()
            self._advisory(self._writer)
            with self._writer.begin():
                tables.purge(self._writer, environment.now())
                self._restore(self._writer)
            self._purged = time.monotonic()
        return self._writer

    def _drop(self) -> None:
        if self._writer is not None:
            with suppress(sa.exc.SQLAlchemyError):
                self._writer.invalidate()
                self._writer.close()
            self._writer = None

    def _hold(self) -> None:
        if self._file is None:
            return
        try:
            self._lock_file = os.open(f"{self._file}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._file}.lock cannot be written ({error.strerror or error})") from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._let_go()
            raise _taken(str(self._file)) from error

    def _let_go(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _advisory(self, connection: sa.Connection) -> None:
        if self._file is None:
            held = connection.execute(sa.select(sa.func.pg_try_advisory_lock(LOCK))).scalar()
            connection.commit()
            if not held:
                raise _taken(self._engine.url.render_as_string())

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._failing(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"{self._engine.url.render_as_string()}: {said_by(error)}") from error


def hashed(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def said_by(error: Exception) -> str:
    """One line of what the database said."""
    return short(getattr(error, "orig", None) or error)


def open_database(place: str | Path, study: Study, create: bool = True) -> Database:
    """Open a study's database; `opening` does it.

    Args:
        place: path of an SQLite file, or a URL: postgresql://user:password@host/name, sqlite:///path.
        study: whose answers it holds.
        create: whether to make one where there is none.

    Raises:
        UsageError: if the place cannot be understood.
        StoreError: if it cannot be opened, is another study's, or is missing and not to be made.
    """
    from tedbench.study import opening

    engine, file = opening.engine(place, create)
    try:
        opening.prepare(engine, study)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, study, file)


def _outcome(connection: sa.Connection, operation: Operation[T], future: Future[T]) -> Callable[[], None]:
    try:
        result = operation(connection)
    except Refused as refusal:
        caught = refusal  # the name in `except` ends with its block
        return lambda: future.set_exception(caught)
    return lambda: future.set_result(result)


def _taken(place: str) -> UsageError:
    return UsageError(f"{place} is served by another process; one process serves a study, so stop that one first")
