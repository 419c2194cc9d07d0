"""Rows written from mappings and columns read back, so that a table's columns are listed in one place.

Names of tables and columns come from the code of `broker.store`, never from outside; values are always bound.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from broker.store.database import Tx


def insert(tx: Tx, table: str, values: Mapping[str, object]) -> int:
    """Insert a row, column -> value; return its id."""
    return tx.run(f"INSERT INTO {table} ({_names(values)}) VALUES ({_marks(values)})", list(values.values()))


def update(tx: Tx, table: str, values: Mapping[str, object], where: Mapping[str, object], also: str = "") -> int:
    """Write these columns of the rows that equal `where`; return how many there were.

    `also` are further assignments in SQL, such as `revision = revision + 1`.
    """
    assignments = [f'"{name}" = ?' for name in values] + ([also] if also else [])
    conditions = " AND ".join(f'"{name}" = ?' for name in where)
    return tx.change(
        f"UPDATE {table} SET {', '.join(assignments)} WHERE {conditions}", [*values.values(), *where.values()]
    )


def upsert(
    tx: Tx, table: str, values: Mapping[str, object], key: Collection[str], once: Collection[str] = (), also: str = ""
) -> None:
    """Insert a row, or write it over the one with the same `key`; columns in `once` keep what they had first."""
    over = [f'"{name}" = excluded."{name}"' for name in values if name not in key and name not in once]
    assignments = over + ([also] if also else [])
    tx.run(
        f"INSERT INTO {table} ({_names(values)}) VALUES ({_marks(values)})"
        f" ON CONFLICT ({_names(key)}) DO UPDATE SET {', '.join(assignments)}",
        list(values.values()),
    )


def instant(text: str | None) -> datetime | None:
    """Return the instant (UTC) or local time that a column holds, or None if it is NULL or empty."""
    return datetime.fromisoformat(text) if text else None


def _names(columns: Collection[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _marks(columns: Collection[str]) -> str:
    return ", ".join("?" for _ in columns)
