"""Bring a database to the newest schema: the `.sql` files of this folder, in the order of their names, each once.

To add a migration:

1. Write `NNNN_what.sql` here, with the next number. It is one script of SQL statements, without BEGIN and COMMIT: each
   file runs in a transaction of its own, together with its record (sqlite-utils' `Migrations`).
2. Run `python -m tests.store.schema.snapshot`. It updates `tests/store/schema/golden.sql`, the schema as it is now, and
   writes a database of the new version for the test that migrates every past one.
3. Say in CHANGELOG.md what changes for people who update.

A file that was released is never edited, renamed or removed: databases exist that have run it. Files are data, so no
change of the program can change what a released migration does.

A database that has run a file which is not here was made by a newer version and is refused untouched; so is one that
was made before the first release, which cannot be updated.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import NamedTuple

from sqlite_utils import Database, Migrations

_SET = "worklist-broker"
_FILE = re.compile(r"(\d{4}_\w+)\.sql")
_UNRELEASED = frozenset({"m001_initial", "m002_both_ways", "m003_changes"})  # of the time before the first release


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


def migrate(conn: sqlite3.Connection, steps: Sequence[Migration] | None = None) -> None:
    """Run the migrations that the database has not run yet.

    `conn` must be in autocommit mode. A migration that fails leaves nothing behind, and those before it stay. Raise
    UnusableSchema, and change nothing, where the database is not one of an earlier version.
    """
    steps = migrations() if steps is None else steps
    db = Database(conn, execute_plugins=False)
    runner = Migrations(_SET)
    for step in steps:
        _add(runner, step)
    unknown = {done.name for done in runner.applied(db)} - {step.name for step in steps}
    if unknown & _UNRELEASED:
        raise UnusableSchema(
            "was made before the first release of the program and cannot be updated; "
            "move it and its -wal and -shm files away and start with a new one"
        )
    if unknown:
        raise UnusableSchema(
            f"was made by a newer version of the program ({', '.join(sorted(unknown))}); "
            "install that version, or put back the backup made before the update"
        )
    if runner.pending(db):  # else nothing is written
        runner.apply(db)


def _add(runner: Migrations, step: Migration) -> None:
    @runner(name=step.name)
    def run(db: Database) -> None:
        # One by one: executescript() would commit the transaction that the record belongs to.
        for statement in _statements(step.sql):
            db.conn.execute(statement)


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script, triggers whole."""
    statement = ""
    for piece in re.split(r"(?<=;)", script):
        statement += piece
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
