"""The schema, as a list of steps that only grows. A step that has been released is never edited.

Instants are UTC in ISO 8601; dates and times of the clinic's work are local. Folded keys (`*_key`) are made by
`domain.names.fold`, because SQLite folds ASCII only.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from broker.store.schema import m001, m002, m003

migrations = Migrations("worklist-broker")


@migrations()
def m001_initial(db: Database) -> None:
    """Make the tables of the first release."""
    for statement in m001.SQL.split(";;"):
        db.conn.execute(statement)


@migrations()
def m002_both_ways(db: Database) -> None:
    """Make the tables of what comes from elsewhere, of reports, of directories, and of local clients."""
    for statement in m002.SQL.split(";;"):
        db.conn.execute(statement)


@migrations()
def m003_changes(db: Database) -> None:
    """Write down what changes of what is kept elsewhere: devices, and all that worklist answers are made of."""
    for statement in m003.SQL.split(";;"):
        db.conn.execute(statement)
