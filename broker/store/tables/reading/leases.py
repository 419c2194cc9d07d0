"""Leases: who writes about a study. One that has run out counts for nothing, and the next one takes its place."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

from broker.domain.actors import Actor
from broker.domain.reading.leases import Lease, LeasePurpose
from broker.store import rows
from broker.store.database import Reader, Row, Tx


def of_order(reader: Reader, order_id: int, now: datetime, purpose: LeasePurpose = LeasePurpose.REPORT) -> Lease | None:
    """Return who writes about an order at an instant (UTC), or None."""
    row = reader.one(
        "SELECT * FROM reading_lease WHERE order_id = ? AND purpose = ? AND until > ?",
        [order_id, purpose, now.isoformat()],
    )
    return _from_row(row) if row else None


def of_orders(reader: Reader, order_ids: Collection[int], now: datetime) -> list[Lease]:
    """Return who writes the reports of these orders at an instant (UTC)."""
    found = reader.rows(
        "SELECT * FROM reading_lease WHERE purpose = 'report' AND until > ?"
        " AND order_id IN (SELECT value FROM json_each(?))",
        [now.isoformat(), json.dumps(list(order_ids))],
    )
    return [_from_row(row) for row in found]


def take(tx: Tx, order_id: int, actor: Actor, until: datetime, purpose: LeasePurpose = LeasePurpose.REPORT) -> Lease:
    """Give an order to somebody until an instant, or prolong their lease, whose ever it was; return it."""
    before = of_order(tx, order_id, tx.now, purpose)
    since = before.since if before and before.reader == actor.name else tx.now
    lease = Lease(order_id, purpose, actor.name, actor.title or actor.name, since, until)
    values = {
        "order_id": order_id,
        "purpose": purpose,
        "reader": lease.reader,
        "reader_title": lease.reader_title,
        "since": since.isoformat(),
        "until": until.isoformat(),
    }
    rows.upsert(tx, "reading_lease", values, key=["order_id", "purpose"])
    return lease


def free(tx: Tx, order_id: int, login: str = "", purpose: LeasePurpose | None = None) -> bool:
    """End the leases of an order, of one person or of any, of one purpose or of all; return True if there was one."""
    return bool(
        tx.change(
            "DELETE FROM reading_lease WHERE order_id = ? AND (? = '' OR reader = ?) AND (? = '' OR purpose = ?)",
            [order_id, login, login, purpose or "", purpose or ""],
        )
    )


def _from_row(row: Row) -> Lease:
    since, until = datetime.fromisoformat(row["since"]), datetime.fromisoformat(row["until"])
    return Lease(row["order_id"], LeasePurpose(row["purpose"]), row["reader"], row["reader_title"], since, until)
