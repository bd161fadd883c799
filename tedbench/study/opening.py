"""How a study's database is found, made and recognised."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tedbench.errors import StoreError, UsageError
from tedbench.study import tables
from tedbench.study.bundle import Study
from tedbench.study.database import BUSY, said_by
from tedbench.study.tables import META, sa

PRAGMAS = ("synchronous=FULL", "secure_delete=ON")
"""What was answered survives a power cut; what was deleted is overwritten."""


def engine(place: str | Path, create: bool) -> tuple[sa.Engine, Path | None]:
    """Connect to nothing yet, but know how.

    Returns:
        (engine, the file where it is SQLite).

    Raises:
        UsageError: if the place cannot be understood.
        StoreError: if there is no such file and none is to be made.
    """
    url = _url(place)
    if url.get_backend_name() == "postgresql":
        return sa.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True), None
    file = Path(url.database or "").resolve()
    _make_file(file, create)
    made = sa.create_engine(sa.URL.create("sqlite", database=str(file)), connect_args={"timeout": BUSY})
    sa.event.listen(made, "connect", _pragmas)
    return made, file


def prepare(engine: sa.Engine, study: Study) -> None:
    """Make the tables where there are none, and refuse those of another study.

    Raises:
        StoreError: if they are another study's or something else's, or the database cannot be reached.
    """
    shown = engine.url.render_as_string()
    try:
        with engine.begin() as connection:
            found = set(sa.inspect(connection).get_table_names())
            if META.name not in found:
                _make(connection, study, found, shown)
            meta = {row.name: row.value for row in connection.execute(sa.select(META))}
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"{shown} cannot be used ({said_by(error)})") from error
    if meta.get("schema") != str(tables.SCHEMA):
        raise StoreError(f"{shown} was made by another version of this suite; use that, or another database")
    if meta.get("study") != study.lock.tag:
        raise StoreError(f"{shown} holds answers to study {meta.get('study')}, not {study.lock.tag}; use another one")
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # the file keeps it, so only now that it is ours


def _make(connection: sa.Connection, study: Study, found: set[str], shown: str) -> None:
    if ours := sorted(found & set(tables.ALL.tables)):
        raise StoreError(f"{shown} has a table {ours[0]!r} that is not ours; use an empty database")
    tables.ALL.create_all(connection)
    rows = {"study": study.lock.tag, "schema": str(tables.SCHEMA)}
    tables.add(connection, META, *({"name": name, "value": value} for name, value in rows.items()))


def _url(place: str | Path) -> sa.URL:
    text = str(place)
    if "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        url = sa.make_url(text.replace("postgres://", "postgresql://", 1))
    except (sa.exc.ArgumentError, ValueError) as error:
        raise UsageError("the database's URL cannot be read; for example postgresql://user@host/name") from error
    if url.get_backend_name() not in ("postgresql", "sqlite"):
        raise UsageError(f"no database {url.get_backend_name()!r}; known: a file for SQLite, postgresql://, sqlite:///")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise UsageError("a study's database must outlive its server; give a file, such as answers.sqlite")
    return url


def _make_file(file: Path, create: bool) -> None:
    """An empty file for its owner alone: SQLite would let others read it."""
    if file.exists():
        return
    if not create:
        raise StoreError(f"{file} is not there; `tedbench study serve` makes it")
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(f"{file} cannot be written ({error.strerror or error})") from error


def _pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
