"""The connection to the bus: whether messages go out, or why not and until when."""

from __future__ import annotations

from datetime import datetime

from broker.store.database import Reader, Tx


def set_state(tx: Tx, state: str, reason: str, retry_at: datetime | None, *, answered: bool) -> None:
    """Store the connection state of the bus: `ok`, `waiting` (backing off) or `paused` (for an administrator)."""
    now = tx.now.isoformat()
    tx.run(
        "INSERT INTO bus_channel (id, state, reason, since, retry_at, answered_at)"
        " VALUES (1, :state, :reason, :now, :retry_at, CASE WHEN :answered THEN :now END)"
        " ON CONFLICT (id) DO UPDATE SET"
        " since = CASE WHEN state = excluded.state THEN since ELSE excluded.since END, state = excluded.state,"
        " reason = excluded.reason, retry_at = excluded.retry_at,"
        " answered_at = coalesce(excluded.answered_at, answered_at)",
        {
            "state": state,
            "reason": reason,
            "now": now,
            "retry_at": retry_at.isoformat() if retry_at else None,
            "answered": answered,
        },
    )


def state(reader: Reader) -> str:
    """Return the noted state of the connection to the bus: `ok`, `waiting` or `paused`."""
    return str(reader.value("SELECT state FROM bus_channel") or "ok")
