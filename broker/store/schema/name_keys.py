"""Keep the folded names of a database, of patients and in directories, as this version of the program folds them.

What is searched for is folded by `names.fold` of today; keys that an earlier version has written would not be found.
"""

from __future__ import annotations

import json
import sqlite3

from broker.domain.clinic.directory import Entry, entry_key
from broker.domain.patients import names

_OTHER = "name_key <> fold(trim(family || ' ' || given || ' ' || middle)) OR given_key <> fold(given)"


def refresh(conn: sqlite3.Connection) -> None:
    """Rewrite the keys once after `names.fold` has changed; `conn` must be in autocommit mode.

    The version of the keys is in the file's header (`PRAGMA user_version`).
    """
    if conn.execute("PRAGMA user_version").fetchone()[0] == names.FOLD_VERSION:
        return
    conn.create_function("fold", 1, names.fold, deterministic=True)
    conn.create_function("entry_key", 2, _entry_key, deterministic=True)
    conn.execute("BEGIN IMMEDIATE")
    try:
        conn.execute(
            "UPDATE patient SET name_key = fold(trim(family || ' ' || given || ' ' || middle)), given_key = fold(given)"
            f" WHERE {_OTHER}"
        )
        conn.execute(
            "UPDATE OR IGNORE patient_former_name SET name_key = fold(trim(family || ' ' || given || ' ' || middle))"
            " WHERE name_key <> fold(trim(family || ' ' || given || ' ' || middle))"
        )
        conn.execute(
            "UPDATE directory SET name_key = entry_key(name, details) WHERE name_key <> entry_key(name, details)"
        )
        conn.execute(f"PRAGMA user_version = {names.FOLD_VERSION:d}")
    except BaseException:
        conn.execute("ROLLBACK")
        raise
    conn.execute("COMMIT")


def _entry_key(name: str, details: str) -> str:
    return entry_key(Entry("", name, json.loads(details)))
