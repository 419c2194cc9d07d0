"""The queue of signed reports for the image archive: what waits, what is there, what needs a person."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timedelta

from broker.domain.studies.archived_reports import ArchivedReport, ArchivedReportReason, ArchivedReportState
from broker.store import rows
from broker.store.database import Reader, Row, Tx

Reason = ArchivedReportReason


def add(tx: Tx, order_id: int, version: int) -> None:
    """Queue a version of a report, once; an older one that is surely not there is replaced by it."""
    drop_pending(tx, order_id, Reason.REPLACED, before=version)
    tx.run(
        "INSERT INTO archive_report (order_id, version, state, next_at, queued_at)"
        " VALUES (?, ?, 'pending', ?, ?) ON CONFLICT DO NOTHING",
        [order_id, version, tx.now.isoformat(), tx.now.isoformat()],
    )
    make_due(tx, order_id)


def make_due(tx: Tx, order_id: int) -> None:
    """Let what waits of an order's report be tried now: what it has waited for may have come."""
    tx.run(
        "UPDATE archive_report SET next_at = ? WHERE order_id = ? AND state = 'pending'", [tx.now.isoformat(), order_id]
    )


def drop_pending(tx: Tx, order_id: int, reason: Reason, *, before: int) -> None:
    """Send no version before this one that has not been stored."""
    tx.run(
        "UPDATE archive_report SET state = 'dropped', reason = ?, detail = ''"
        " WHERE order_id = ? AND version < ? AND state IN ('pending', 'needs_attention')",
        [reason, order_id, before],
    )


def of_order(reader: Reader, order_id: int) -> list[ArchivedReport]:
    """Return what was queued of an order's report, the newest version first."""
    found = reader.rows("SELECT * FROM archive_report WHERE order_id = ? ORDER BY version DESC", [order_id])
    return [_from_row(row) for row in found]


def stored_in(reader: Reader, uids: Collection[str]) -> dict[str, int]:
    """Return how many documents of ours are in each of these studies of the archive, by Study Instance UID."""
    found = reader.rows(
        "SELECT s.study_instance_uid AS uid, count(*) AS number FROM archive_report r"
        " JOIN archive_study s ON s.order_id = r.order_id WHERE r.stored_at IS NOT NULL"
        " AND s.study_instance_uid IN (SELECT value FROM json_each(?)) GROUP BY 1",
        [json.dumps(list(uids))],
    )
    return dict.fromkeys(uids, 0) | {row["uid"]: row["number"] for row in found}


def due(reader: Reader, now: datetime, limit: int) -> list[ArchivedReport]:
    """Return what is to be tried now, the longest due first."""
    found = reader.rows(
        "SELECT * FROM archive_report WHERE state = 'pending' AND next_at <= ? ORDER BY next_at, id LIMIT ?",
        [now.isoformat(), limit],
    )
    return [_from_row(row) for row in found]


def begin(tx: Tx, id: int) -> bool:
    """Note that a report is about to be sent: from now on it may be there. Return False if it is to be sent no more."""
    state = tx.value("SELECT state FROM archive_report WHERE id = ?", [id])
    if state != ArchivedReportState.PENDING:
        return False
    tx.run("UPDATE archive_report SET uncertain = 1 WHERE id = ?", [id])
    return True


def put_off(tx: Tx, id: int, reason: Reason, detail: str, wait: timedelta, *, surely_not_there: bool) -> None:
    """Note that an attempt was in vain, and try again later."""
    tx.run(
        "UPDATE archive_report SET reason = ?, detail = ?, attempts = attempts + 1, next_at = ?,"
        " uncertain = CASE WHEN ? THEN 0 ELSE uncertain END WHERE id = ? AND state = 'pending'",
        [reason, detail, (tx.now + wait).isoformat(), int(surely_not_there), id],
    )


def note_reason(tx: Tx, id: int, reason: Reason) -> None:
    """Note why a report waits, without an attempt."""
    tx.run("UPDATE archive_report SET reason = ?, detail = '' WHERE id = ? AND state = 'pending'", [reason, id])


def give_to_person(tx: Tx, id: int, reason: Reason, detail: str) -> None:
    """Let a report wait for a person."""
    tx.run(
        "UPDATE archive_report SET state = 'needs_attention', reason = ?, detail = ?"
        " WHERE id = ? AND state = 'pending'",
        [reason, detail, id],
    )


def set_stored(tx: Tx, id: int) -> None:
    """Note that the archive has a report; also one that was replaced while it was on its way."""
    tx.run(
        "UPDATE archive_report SET state = CASE state WHEN 'pending' THEN 'stored' ELSE state END, uncertain = 0,"
        " reason = CASE state WHEN 'pending' THEN '' ELSE reason END, detail = '', stored_at = ? WHERE id = ?",
        [tx.now.isoformat(), id],
    )


def queue_again(tx: Tx, id: int) -> None:
    """Send a report again, at once."""
    now = tx.now.isoformat()
    tx.run(
        "UPDATE archive_report SET state = 'pending', reason = '', detail = '', attempts = 0, next_at = ?,"
        " queued_at = ? WHERE id = ?",
        [now, now, id],
    )


def drop(tx: Tx, order_id: int, version: int, reason: Reason) -> None:
    """Note that nothing is sent for a version."""
    now = tx.now.isoformat()
    tx.run(
        "INSERT INTO archive_report (order_id, version, state, reason, next_at, queued_at)"
        " VALUES (?, ?, 'dropped', ?, ?, ?) ON CONFLICT DO NOTHING",
        [order_id, version, reason, now, now],
    )


def _from_row(row: Row) -> ArchivedReport:
    return ArchivedReport(
        id=row["id"],
        order_id=row["order_id"],
        version=row["version"],
        state=ArchivedReportState(row["state"]),
        reason=Reason(row["reason"]),
        detail=row["detail"],
        attempts=row["attempts"],
        uncertain=bool(row["uncertain"]),
        queued_at=datetime.fromisoformat(row["queued_at"]),
        stored_at=rows.instant(row["stored_at"]),
    )
