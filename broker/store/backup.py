"""Backups of the live database."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from broker.store.database import StoreError


def copy_database(database: Path, target: Path) -> None:
    """Copy a database that is in use to `target`, and check the copy; `target` appears complete or not at all.

    Raise StoreError if the copy is damaged, OSError or sqlite3.Error if it cannot be written.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    source, copy = sqlite3.connect(database), sqlite3.connect(partial)
    try:
        source.backup(copy, pages=1000)
        copy.execute("PRAGMA journal_mode=DELETE")
        check_result = copy.execute("PRAGMA integrity_check").fetchone()[0]
        if check_result != "ok":
            raise StoreError(f"the copy of the database is not sound: {check_result}")
    finally:
        copy.close()
        source.close()
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
