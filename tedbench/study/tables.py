"""What a study's database holds, and what is asked of it.

    meta        which study this is
    raters      who takes part: an opaque name, the hash of their link's token, when they began and ended
    identities  a platform's own identifier, for payment; rows expire
    screens     which question each rater saw where, and which picture was on the left
    answers     what they said of it

Whoever needs SQLAlchemy takes `sa` from here, so that one line says what to install where it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tedbench.errors import UsageError
from tedbench.study.answers import Answer

try:
    import sqlalchemy as sa
except ImportError as missing:
    raise UsageError("a study's server needs more packages: pip install 'tedbench-editing[study]'") from missing

__all__ = ["sa"]
SCHEMA = 1
ALL = sa.MetaData()
NAME = sa.String(64)
WHEN = sa.String(20)
"""UTC, ISO 8601 to the second: as text it sorts as time does. Empty: not yet."""

META = sa.Table("meta", ALL, sa.Column("name", NAME, primary_key=True), sa.Column("value", sa.Text, nullable=False))
RATERS = sa.Table(
    "raters",
    ALL,
    sa.Column("rater", NAME, primary_key=True),
    sa.Column("token_sha256", NAME, nullable=False, unique=True),
    sa.Column("number", sa.Integer, unique=True),  # none before the rater has agreed
    sa.Column("platform", NAME, nullable=False),
    sa.Column("consent_version", sa.Text, nullable=False),
    sa.Column("started", WHEN, nullable=False),
    sa.Column("finished", WHEN, nullable=False),
    sa.Column("withdrawn", WHEN, nullable=False),
)
IDENTITIES = sa.Table(
    "identities",
    ALL,
    sa.Column("rater", NAME, primary_key=True),
    sa.Column("platform", NAME, nullable=False),
    sa.Column("identifier", sa.Text, nullable=False),
    sa.Column("session", sa.Text, nullable=False),
    sa.Column("study", sa.Text, nullable=False),  # the platform's own
    sa.Column("expires", WHEN, nullable=False),
)
SCREENS = sa.Table(
    "screens",
    ALL,
    sa.Column("rater", NAME, primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True),
    sa.Column("question", NAME, nullable=False),
    sa.Column("flipped", sa.Boolean, nullable=False),
    sa.Column("shown_at", WHEN, nullable=False),
)
ANSWERS = sa.Table(
    "answers",
    ALL,
    sa.Column("rater", NAME, primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True),
    sa.Column("aspect", NAME, primary_key=True),
    sa.Column("choice", NAME, nullable=False),
    sa.Column("ms", sa.Integer, nullable=False),
    sa.Column("at", WHEN, nullable=False),
)
PERSONAL = (ANSWERS, SCREENS, IDENTITIES)
"""What is deleted when a rater withdraws; that they did stays, without what they said."""


def answers(connection: sa.Connection, study: str) -> list[Answer]:
    """Every answer there is, rater by rater as they began, in the order of their screens.

    Args:
        study: tag of the lock.
    """
    same = (SCREENS.c.rater == ANSWERS.c.rater) & (SCREENS.c.slot == ANSWERS.c.slot)
    joined = ANSWERS.join(SCREENS, same).join(RATERS, RATERS.c.rater == ANSWERS.c.rater)
    columns = (ANSWERS.c.rater, ANSWERS.c.slot, SCREENS.c.question, SCREENS.c.flipped, ANSWERS.c.aspect)
    wanted = sa.select(*columns, ANSWERS.c.choice, ANSWERS.c.ms, ANSWERS.c.at).select_from(joined)
    rows = connection.execute(wanted.order_by(RATERS.c.number, ANSWERS.c.slot, ANSWERS.c.aspect))
    return [Answer(study, *row) for row in rows]


def identities(connection: sa.Connection) -> list[dict[str, Any]]:
    """Platforms' identifiers that have not expired, with when each rater ended."""
    columns = (IDENTITIES, RATERS.c.started, RATERS.c.finished)
    joined = IDENTITIES.join(RATERS, RATERS.c.rater == IDENTITIES.c.rater)
    found = connection.execute(sa.select(*columns).select_from(joined).order_by(RATERS.c.number))
    return [dict(row) for row in found.mappings()]


def held(connection: sa.Connection, rater: str) -> dict[str, Any]:
    """All that is held about one rater, but the hash of their token; empty lists where nothing is."""
    found: dict[str, Any] = {}
    for table in (RATERS, IDENTITIES, SCREENS, ANSWERS):
        rows = connection.execute(sa.select(table).where(table.c.rater == rater)).mappings()
        found[table.name] = [{k: v for k, v in row.items() if k != "token_sha256"} for row in rows]
    return found


def forget(connection: sa.Connection, rater: str, whole: bool) -> None:
    """Delete what a rater said and who they are.

    Args:
        whole: also that there ever was such a rater.
    """
    for table in (*PERSONAL, RATERS) if whole else PERSONAL:
        connection.execute(sa.delete(table).where(table.c.rater == rater))


def purge(connection: sa.Connection, now: str) -> None:
    """Delete identifiers that are to be kept no longer."""
    connection.execute(sa.delete(IDENTITIES).where(IDENTITIES.c.expires <= now))


def add(connection: sa.Connection, table: sa.Table, *rows: Mapping[str, Any]) -> None:
    """Insert rows."""
    connection.execute(sa.insert(table), [dict(row) for row in rows])


def change(connection: sa.Connection, rater: str, **to: Any) -> None:
    """Change columns of one rater."""
    connection.execute(sa.update(RATERS).where(RATERS.c.rater == rater).values(**to))
