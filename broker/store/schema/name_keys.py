"""Keep the folded names of a database as this version of the program folds them.

What is searched for is folded by `names.fold` of today; keys that an earlier version has written would not be found.
"""

from __future__ import annotations

import sqlite3

from broker.domain.patients import names

_OTHER = "name_key <> fold(trim(family || ' ' || given || ' ' || middle)) OR given_key <> fold(given)"


def refresh(conn: sqlite3.Connection) -> None:
    """Rewrite the keys once after `names.fold` has changed; `conn` must be in autocommit mode.

    The version of the keys is in the file's header (`PRAGMA user_version`).
    """
    if conn.execute("PRAGMA user_version").fetchone()[0] == names.FOLD_VERSION:
        return
    conn.create_function("fold", 1, names.fold, deterministic=True)
    conn.execute("BEGIN IMMEDIATE")
    try:
        conn.execute(
            "UPDATE patient SET name_key = fold(trim(family || ' ' || given || ' ' || middle)), given_key = fold(given)"
            f" WHERE {_OTHER}"
        )
        conn.execute(f"PRAGMA user_version = {names.FOLD_VERSION:d}")
    except BaseException:
        conn.execute("ROLLBACK")
        raise
    conn.execute("COMMIT")
