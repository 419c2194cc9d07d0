"""Bring a database to the newest schema: the `.sql` files of this folder, in the order of their names, each once.

To add a migration:

1. Write `NNNN_what.sql` here, with the next number. It is one script of SQL statements, without BEGIN and COMMIT: each
   file runs in a transaction of its own, together with its row in the table `migration`.
2. Run `python -m tests.store.schema.snapshot`. It updates `tests/store/schema/golden.sql`, the schema as it is now, and
   writes a database of the new version for the test that migrates every past one.
3. Say in CHANGELOG.md what changes for people who update.

A file that was released is never edited, renamed or removed: databases exist that have run it. Files are data, so no
change of the program can change what a released migration does.

A database that has run a file which is not here was made by a newer version and is refused untouched; so is one that
was made before the first release, for which there is no way on.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from typing import NamedTuple

_FILE = re.compile(r"(\d{4}_\w+)\.sql")
_APPLIED = "CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL) STRICT"
_UNRELEASED = "_sqlite_migrations"  # the table in which unreleased versions kept their migrations


class Migration(NamedTuple):
    """One step of the schema."""

    name: str  # of its file, without ".sql"
    sql: str


class UnusableSchema(Exception):
    """The database was made by a version that this one cannot continue; the text says which and what to do."""


def migrations() -> list[Migration]:
    """Return all migrations, oldest first."""
    files = sorted(resources.files(__package__).iterdir(), key=lambda file: file.name)
    return [Migration(match[1], file.read_text("utf-8")) for file in files if (match := _FILE.fullmatch(file.name))]


def migrate(conn: sqlite3.Connection, now: datetime, steps: Sequence[Migration] | None = None) -> None:
    """Run the migrations that the database has not run yet; `now` (UTC) is noted with each.

    `conn` must be in autocommit mode. A migration that fails leaves nothing behind, and those before it stay. Raise
    UnusableSchema, and change nothing, where the database is not one of an earlier version.
    """
    steps = migrations() if steps is None else steps
    applied = _applied(conn)
    if unknown := sorted(applied - {step.name for step in steps}):
        raise UnusableSchema(
            f"was made by a newer version of the program ({', '.join(unknown)}); "
            "install that version, or put back the backup made before the update"
        )
    for step in steps:
        if step.name not in applied:
            _run(conn, step, now)


def _applied(conn: sqlite3.Connection) -> set[str]:
    tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if _UNRELEASED in tables:
        raise UnusableSchema(
            "was made before the first release of the program and cannot be updated; "
            "move it and its -wal and -shm files away and start with a new one"
        )
    return {name for (name,) in conn.execute("SELECT name FROM migration")} if "migration" in tables else set()


def _run(conn: sqlite3.Connection, step: Migration, now: datetime) -> None:
    try:
        # executescript() commits what is open before it begins, so the transaction begins in the script itself.
        conn.executescript(f"BEGIN IMMEDIATE; {_APPLIED};\n{step.sql}")
        conn.execute("INSERT INTO migration (name, applied_at) VALUES (?, ?)", [step.name, now.isoformat()])
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
