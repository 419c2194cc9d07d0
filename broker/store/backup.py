"""Copies of the live database."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from broker.store.database import StoreError


def copy_database(database: Path, target: Path) -> None:
    """Copy a database that is in use to `target`, and check the copy; `target` appears whole or not at all.

    Raise StoreError where the copy is not sound.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    source, copy = sqlite3.connect(database), sqlite3.connect(part)
    try:
        source.backup(copy, pages=1000)
        copy.execute("PRAGMA journal_mode=DELETE")
        verdict = copy.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            raise StoreError(f"the copy of the database is not sound: {verdict}")
    finally:
        copy.close()
        source.close()
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
