"""New databases of tests are copies of one that has run the migrations: thousands of tests open one each."""

from __future__ import annotations

import sqlite3
import threading

from broker.store.schema import migrate, name_keys

_lock = threading.Lock()
_migrated: sqlite3.Connection | None = None


def migrate_by_copy(conn: sqlite3.Connection) -> None:
    """Do what `migrate.migrate` does; where the database is empty, by copying one that is migrated already."""
    global _migrated
    if conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        migrate.migrate(conn)
        return
    with _lock:
        if _migrated is None:
            _migrated = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            migrate.migrate(_migrated)
            name_keys.refresh(_migrated)
        _migrated.backup(conn)
