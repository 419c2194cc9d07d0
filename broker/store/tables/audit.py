"""The audit trail: who did what, when; the database itself refuses to change or delete its rows."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.store.database import Reader, Tx


def write(tx: Tx, /, actor: Actor, action: AuditAction, order_id: int | None = None, **details: Any) -> None:
    """Insert a line, in the transaction of the change that it records."""
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


def newest(reader: Reader, order_id: int, actions: Collection[AuditAction]) -> AuditAction | None:
    """Return which of these actions was the last one on an order; None if there was none."""
    action = reader.value(
        "SELECT action FROM audit WHERE order_id = ? AND action IN (SELECT value FROM json_each(?))"
        " ORDER BY seq DESC LIMIT 1",
        [order_id, json.dumps(list(actions))],
    )
    return AuditAction(action) if action else None
