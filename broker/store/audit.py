"""The audit trail: who did what, when; the database itself refuses to change or delete its rows."""

from __future__ import annotations

import json
from typing import Any

from broker.domain.model import Actor
from broker.store.database import Reader, Tx


def write(tx: Tx, actor: Actor, action: str, order_id: int | None = None, **details: Any) -> None:
    """Add a line in the transaction of the change that it tells of."""
    tx.run(
        "INSERT INTO audit (at, actor_kind, actor, actor_title, action, order_id, details)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            tx.now.isoformat(),
            actor.kind,
            actor.name,
            actor.title,
            action,
            order_id,
            json.dumps(details, ensure_ascii=False, default=str),
        ],
    )


def has(reader: Reader, order_id: int, action: str) -> bool:
    """Say whether this was ever done to an order."""
    return bool(reader.value("SELECT 1 FROM audit WHERE order_id = ? AND action = ?", [order_id, action]))
