"""The outbox: messages to the region, in order, and the attempts to deliver them.

A row is added in the transaction of the change that it reports. Delivery reads `heads`: the oldest undelivered row of
every order or incoming referral, so that no message overtakes an earlier one, except that corrections go before
results. The bytes of the last attempt are stored for some time, for people to read.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from datetime import datetime

from broker.domain.messages import CONSENT_WITHDRAWN, BusReferences, OutboxKind, OutboxRow, OutboxState
from broker.store.database import Reader, Row, Tx

MAX_ANSWER = 4000  # characters of an answer of the bus that are stored


def add(tx: Tx, order_id: int, kind: OutboxKind) -> int:
    """Queue a message about an order; return its `seq`."""
    return tx.run(
        "INSERT INTO outbox (order_id, kind, state, created_at) VALUES (?, ?, 'pending', ?)",
        [order_id, kind, tx.now.isoformat()],
    )


def add_for_referral(tx: Tx, incoming_id: int, kind: OutboxKind) -> int:
    """Queue a message about an incoming referral that has no order; return its `seq`."""
    return tx.run(
        "INSERT INTO outbox (incoming_id, kind, state, created_at) VALUES (?, ?, 'pending', ?)",
        [incoming_id, kind, tx.now.isoformat()],
    )


def add_for_opinion(tx: Tx, opinion_id: int, kind: OutboxKind) -> int:
    """Queue a message about a request of ours for an opinion; return its `seq`."""
    return tx.run(
        "INSERT INTO outbox (opinion_id, kind, state, created_at) VALUES (?, ?, 'pending', ?)",
        [opinion_id, kind, tx.now.isoformat()],
    )


def withdraw_for_opinion(tx: Tx, opinion_id: int) -> bool:
    """Drop the message that asks for an opinion, unless the bus may have it; return True if it was dropped."""
    sql = (
        "UPDATE outbox SET state = 'dropped' WHERE opinion_id = ? AND state IN ('pending', 'needs_attention')"
        " AND uncertain = 0"
    )
    return tx.change(sql, [opinion_id]) > 0


def resume_for_opinion(tx: Tx, opinion_id: int) -> int:
    """Put the rows of a request of ours that need attention back into the queue; return their number."""
    sql = "UPDATE outbox SET state = 'pending' WHERE opinion_id = ? AND state = 'needs_attention'"
    return tx.change(sql, [opinion_id])


def add_amendment(tx: Tx, order_id: int, order_revision: int) -> None:
    """Queue an amendment up to this revision of the order; an unsent earlier amendment is extended instead."""
    waiting = tx.change(
        "UPDATE outbox SET order_revision = ? WHERE order_id = ? AND kind = 'amend'"
        " AND state IN ('pending', 'needs_attention') AND uncertain = 0",
        [order_revision, order_id],
    )
    if not waiting:
        seq = add(tx, order_id, OutboxKind.AMEND)
        tx.run("UPDATE outbox SET order_revision = ? WHERE seq = ?", [order_revision, seq])


def withdraw_amendment(tx: Tx, order_id: int, order_revision: int) -> None:
    """Drop an amendment up to this revision of the order, unless the bus may have it."""
    tx.run(
        "UPDATE outbox SET state = 'dropped' WHERE order_id = ? AND kind = 'amend' AND order_revision <= ?"
        " AND state IN ('pending', 'needs_attention') AND uncertain = 0",
        [order_id, order_revision],
    )


def heads(reader: Reader, limit: int = 500) -> list[OutboxRow]:
    """Return the first undelivered row of each order, incoming referral or opinion, if it is pending, oldest first.

    At most `limit`. Results come last: whose they are is corrected before they are sent. A correction that waits for
    the patient's consent holds back nothing, for what takes something back needs none.
    """
    rows = reader.rows(
        # Written so that only the index of open rows is read, however many rows were delivered.
        "SELECT * FROM outbox WHERE state = 'pending' AND seq IN"
        " (SELECT coalesce(min(seq) FILTER (WHERE kind NOT IN ('images', 'report', 'appended')), min(seq))"
        " FROM outbox WHERE state IN ('pending', 'needs_attention')"
        " AND NOT (kind = 'amend' AND state = 'needs_attention' AND reason = ?)"
        " GROUP BY order_id, incoming_id, opinion_id)"
        " ORDER BY seq LIMIT ?",
        [CONSENT_WITHDRAWN, limit],
    )
    return [from_row(row) for row in rows]


def newest_with_patient(reader: Reader, order_id: int) -> int:
    """Return the `seq` of the newest delivered message that bears an order's patient, as far as it is kept; 0 if none.

    Of a walk-in that is the first of its results.
    """
    found = reader.value(
        "SELECT seq FROM outbox WHERE order_id = ? AND state = 'delivered' AND sent IS NOT NULL"
        " AND kind NOT IN ('cancel', 'started') ORDER BY kind IN ('order', 'amend') DESC,"
        " CASE WHEN kind IN ('order', 'amend') THEN -seq ELSE seq END LIMIT 1",
        [order_id],
    )
    return int(found or 0)


def delivered(reader: Reader, order_id: int, kind: OutboxKind) -> int:
    """Return the `seq` of an order's newest delivered message of a kind, as far as it is kept; 0 if there is none."""
    sql = "SELECT max(seq) FROM outbox WHERE order_id = ? AND kind = ? AND state = 'delivered' AND sent IS NOT NULL"
    return int(reader.value(sql, [order_id, kind]) or 0)


def has(reader: Reader, order_id: int, kind: OutboxKind) -> bool:
    """Return True if an order has a message of this kind that was not dropped."""
    return bool(
        reader.value("SELECT 1 FROM outbox WHERE order_id = ? AND kind = ? AND state <> 'dropped'", [order_id, kind])
    )


def may_be_known(reader: Reader, order_id: int, kind: OutboxKind) -> bool:
    """Return True if the bus has a message of this kind, or may have it."""
    return bool(
        reader.value(
            "SELECT 1 FROM outbox WHERE order_id = ? AND kind = ? AND (state = 'delivered' OR uncertain = 1)",
            [order_id, kind],
        )
    )


def mark_uncertain(tx: Tx, seq: int, body: bytes = b"", order_revision: int | None = None) -> None:
    """Note, before sending, that the bus may have a row from now on; after a crash its Task is searched for.

    `body` is the bytes to be sent, rendered from the order in `order_revision`.
    """
    packed = zlib.compress(body) if body else None
    tx.run(
        "UPDATE outbox SET uncertain = 1, sent = coalesce(?, sent), order_revision = coalesce(?, order_revision)"
        " WHERE seq = ?",
        [packed, order_revision, seq],
    )


def forget_sent(tx: Tx, before: datetime) -> int:
    """Delete the JSON of delivered, dropped and unsupported rows created before an instant; return their number.

    Their attempts and answers stay.
    """
    return tx.change(
        "UPDATE outbox SET sent = NULL WHERE sent IS NOT NULL AND created_at < ?"
        " AND state NOT IN ('pending', 'needs_attention')",
        [before.isoformat()],
    )


def content_stamp(reader: Reader, seq: int) -> tuple[object, ...] | None:
    """Return a value that changes whenever the content of a message changes; None if there is no such row of an order.

    One query of the revisions and numbers of everything that a message is rendered from.
    """
    row = reader.one(
        "SELECT b.state, b.uncertain, b.attempts, o.revision, o.state AS order_state, o.accession_number,"
        " o.study_instance_uid, o.bus_accession_number, o.patient_id, p.revision AS patient_revision,"
        " (SELECT json_group_array(name || '=' || value) FROM bus_reference r WHERE r.order_id = o.id) AS bus_ids,"
        " (SELECT json_group_array(s.id || ' ' || s.state || ' ' || s.start || ' ' || s.images || ' ' || s.changed_at)"
        "  FROM performed_step s WHERE s.id IN (SELECT l.performed_step_id FROM performed_step_link l"
        "  JOIN scheduled_step c ON c.id = l.scheduled_step_id WHERE c.order_id = o.id)) AS performed,"
        " (SELECT json_group_array(t.id || ' ' || t.state || ' ' || t.revision) FROM report t"
        "  WHERE t.order_id = o.id) AS reports,"
        " (SELECT max(v.version) FROM report_version v WHERE v.order_id = o.id) AS report_version,"
        " (SELECT json_array(r.bus_id, r.family, r.given, r.middle, r.birth_date, r.sex, r.snils, r.policy)"
        "  FROM region_patient r WHERE r.order_id = o.id) AS in_region,"
        " (SELECT i.changed_at FROM incoming_referral i WHERE i.order_id = o.id) AS sent_here,"
        " (SELECT json_array(a.study_instance_uid, a.images) FROM archive_study a WHERE a.order_id = o.id) AS archived,"
        " (SELECT d.consent_withdrawn_on FROM patient_details d WHERE d.patient_id = o.patient_id) AS withdrawn"
        " FROM outbox b JOIN orders o ON o.id = b.order_id JOIN patient p ON p.id = o.patient_id WHERE b.seq = ?",
        [seq],
    )
    return tuple(row.values()) if row else None


def hold(tx: Tx, seq: int, reason: str) -> None:
    """Have a row that was not sent yet wait for a person, with the reason."""
    tx.run("UPDATE outbox SET state = 'needs_attention', reason = ? WHERE seq = ?", [reason, seq])


def hold_patient(tx: Tx, patient_id: int, reason: str, *, without: Collection[OutboxKind]) -> None:
    """Have what is queued of a patient's orders wait for a person, with the reason, without messages of some kinds.

    Nor does a report that is withdrawn wait.
    """
    tx.run(
        "UPDATE outbox SET state = 'needs_attention', reason = ? WHERE state = 'pending'"
        " AND kind NOT IN (SELECT value FROM json_each(?))"
        " AND NOT (kind IN ('report', 'appended') AND 'withdrawal' = (SELECT v.change FROM report_version v"
        " WHERE v.order_id = outbox.order_id ORDER BY v.version DESC LIMIT 1))"
        " AND order_id IN (SELECT id FROM orders WHERE patient_id = ?)",
        [reason, json.dumps(list(without)), patient_id],
    )


def release_patient(tx: Tx, patient_id: int, reason: str) -> None:
    """Put what waits for this reason of a patient's orders back into the queue."""
    tx.run(
        "UPDATE outbox SET state = 'pending', reason = '' WHERE state = 'needs_attention' AND reason = ?"
        " AND order_id IN (SELECT id FROM orders WHERE patient_id = ?)",
        [reason, patient_id],
    )


def release_held(tx: Tx, order_id: int, reason: str) -> None:
    """Put an order's messages that wait for a reason which begins so back into the queue."""
    tx.run(
        "UPDATE outbox SET state = 'pending' WHERE order_id = ? AND state = 'needs_attention'"
        " AND substr(reason, 1, ?) = ?",
        [order_id, len(reason), reason],
    )


def is_held(reader: Reader, order_id: int, reason: str) -> bool:
    """Return True if a message of an order waits for a person for a reason that begins so."""
    return bool(
        reader.value(
            "SELECT 1 FROM outbox WHERE order_id = ? AND state = 'needs_attention' AND substr(reason, 1, ?) = ?",
            [order_id, len(reason), reason],
        )
    )


def release(tx: Tx, order_id: int, kind: OutboxKind) -> bool:
    """Put an order's rows of a kind that wait for a person back into the queue; return False if there is none open."""
    tx.run(
        "UPDATE outbox SET state = 'pending', reason = ''"
        " WHERE order_id = ? AND kind = ? AND state = 'needs_attention'",
        [order_id, kind],
    )
    return is_open(tx, order_id, kind)


def is_open(reader: Reader, order_id: int, kind: OutboxKind) -> bool:
    """Return True if an order has a message of this kind that was not delivered yet."""
    return bool(
        reader.value(
            "SELECT 1 FROM outbox WHERE order_id = ? AND kind = ? AND state IN ('pending', 'needs_attention')",
            [order_id, kind],
        )
    )


def has_unsent(reader: Reader, order_id: int, kind: OutboxKind) -> bool:
    """Return True if an order has a message of this kind that is open and that the bus cannot have yet."""
    return bool(
        reader.value(
            "SELECT 1 FROM outbox WHERE order_id = ? AND kind = ? AND state IN ('pending', 'needs_attention')"
            " AND uncertain = 0",
            [order_id, kind],
        )
    )


def send_under_next_number(tx: Tx, seq: int, order_id: int) -> None:
    """Drop a row of a report, under whose number the bus has something else, and queue it under the next number."""
    tx.run("UPDATE outbox SET state = 'dropped', uncertain = 0 WHERE seq = ?", [seq])
    add(tx, order_id, OutboxKind.APPENDED)


def report_version(reader: Reader, row: OutboxRow) -> int:
    """Return the number of a row's message about a report: 1, and one more for each `appended` row up to this one.

    Those are queued where images were added or a doctor revised the report; dropped ones count, too.
    """
    return 1 + int(
        reader.value(
            "SELECT count(*) FROM outbox WHERE order_id = ? AND kind = 'appended' AND seq <= ?", [row.order_id, row.seq]
        )
        or 0
    )


def referral_stamp(reader: Reader, seq: int) -> tuple[object, ...] | None:
    """Return a value that changes whenever a message about an incoming referral changes; None if there is none."""
    row = reader.one(
        "SELECT b.state, b.uncertain, b.attempts, r.state AS referral_state, r.decline_reason, r.changed_at"
        " FROM outbox b JOIN incoming_referral r ON r.id = b.incoming_id WHERE b.seq = ?",
        [seq],
    )
    return tuple(row.values()) if row else None


def opinion_stamp(reader: Reader, seq: int) -> tuple[object, ...] | None:
    """Return a value that changes whenever a message about an opinion changes; None if there is none."""
    row = reader.one(
        "SELECT b.state, b.uncertain, b.attempts, q.outcome, q.task, o.revision, p.revision AS patient_revision,"
        " o.patient_id, (SELECT max(v.version) FROM report_version v WHERE v.order_id = o.id) AS report_version,"
        " (SELECT d.consent_withdrawn_on FROM patient_details d WHERE d.patient_id = o.patient_id) AS withdrawn,"
        " r.state AS referral_state, r.changed_at"
        " FROM outbox b LEFT JOIN opinion_request q ON q.id = b.opinion_id LEFT JOIN orders o ON o.id = q.order_id"
        " LEFT JOIN patient p ON p.id = o.patient_id LEFT JOIN incoming_referral r ON r.id = b.incoming_id"
        " WHERE b.seq = ?",
        [seq],
    )
    return tuple(row.values()) if row else None


def deliver(tx: Tx, seq: int, references: Mapping[str, str], answer: str) -> None:
    """Record that the bus has accepted a row, and the ids of its resources (name -> id)."""
    row = tx.one("SELECT order_id FROM outbox WHERE seq = ?", [seq])
    assert row is not None
    tx.run(
        "UPDATE outbox SET state = 'delivered', uncertain = 0, attempts = attempts + 1, reason = '',"
        " delivered_at = ? WHERE seq = ?",
        [tx.now.isoformat(), seq],
    )
    if row["order_id"] is not None:
        set_references(tx, row["order_id"], references)
    _attempt(tx, seq, "delivered", "", answer)


def unsupported(tx: Tx, seq: int, reason: str, answer: str = "") -> None:
    """Mark a row as unsupported by this bus; it is shown to people and blocks nothing."""
    tx.run("UPDATE outbox SET state = 'unsupported', uncertain = 0, reason = ? WHERE seq = ?", [reason, seq])
    _attempt(tx, seq, "unsupported", reason, answer)


def is_uncorrected(reader: Reader, order_id: int) -> bool:
    """Return True if the bus takes no corrections and has older data of an order than we have."""
    newest = "SELECT state FROM outbox WHERE order_id = ? AND kind = 'amend' ORDER BY seq DESC LIMIT 1"
    return bool(reader.value(newest, [order_id]) == OutboxState.UNSUPPORTED)


def lacks_correction(reader: Reader, order_id: int) -> bool:
    """Return True if the bus has older data of an order than we have, for whatever reason."""
    newest = "SELECT state FROM outbox WHERE order_id = ? AND kind = 'amend' ORDER BY seq DESC LIMIT 1"
    return reader.value(newest, [order_id]) not in (None, OutboxState.DELIVERED, OutboxState.DROPPED)


def retry_later(tx: Tx, seq: int, reason: str, answer: str, *, uncertain: bool) -> None:
    """Note a failed attempt; `uncertain`: the bus may have the message nevertheless."""
    tx.run(
        "UPDATE outbox SET attempts = attempts + 1, reason = ?, uncertain = ? WHERE seq = ?",
        [reason, int(uncertain), seq],
    )
    _attempt(tx, seq, "retry", reason, answer)


def mark_needs_attention(tx: Tx, seq: int, reason: str, answer: str, *, uncertain: bool = False) -> None:
    """Mark a row as needing attention, with the reason; its order waits until a person or an amendment resumes it.

    `uncertain`: the bus may have it nevertheless, so its Task is searched for before it is sent again.
    """
    tx.run(
        "UPDATE outbox SET state = 'needs_attention', uncertain = ?, attempts = attempts + 1, reason = ? WHERE seq = ?",
        [int(uncertain), reason, seq],
    )
    _attempt(tx, seq, "needs_attention", reason, answer)


def resume(tx: Tx, order_id: int) -> int:
    """Put an order's rows that need attention back into the queue; return their number."""
    return tx.change("UPDATE outbox SET state = 'pending' WHERE order_id = ? AND state = 'needs_attention'", [order_id])


def resume_for_referral(tx: Tx, incoming_id: int) -> int:
    """Put an incoming referral's rows that need attention back into the queue; return their number."""
    return tx.change(
        "UPDATE outbox SET state = 'pending' WHERE incoming_id = ? AND state = 'needs_attention'", [incoming_id]
    )


def withdraw_for_referral(tx: Tx, incoming_id: int) -> None:
    """Drop the messages about an incoming referral that are not true any more, unless the bus may have them."""
    tx.run(
        "UPDATE outbox SET state = 'dropped' WHERE incoming_id = ? AND state IN ('pending', 'needs_attention')"
        " AND uncertain = 0",
        [incoming_id],
    )


def is_open_for_referral(reader: Reader, incoming_id: int) -> bool:
    """Return True while a message about an incoming referral is still to be sent, or may not have arrived."""
    return bool(
        reader.value(
            "SELECT 1 FROM outbox WHERE incoming_id = ? AND state IN ('pending', 'needs_attention') LIMIT 1",
            [incoming_id],
        )
    )


def resume_patient(tx: Tx, patient_id: int) -> None:
    """Put the rows of a patient's orders that need attention back into the queue: the patient's data are others now."""
    tx.run(
        "UPDATE outbox SET state = 'pending' WHERE state = 'needs_attention'"
        " AND order_id IN (SELECT id FROM orders WHERE patient_id = ?)",
        [patient_id],
    )


def drop_refused(tx: Tx, order_id: int) -> bool:
    """Drop the messages of a cancelled order if the bus refused the order and has nothing of it; return True if so."""
    known = tx.value(
        "SELECT 1 FROM outbox WHERE order_id = ? AND"
        " (state = 'delivered' OR uncertain = 1 OR (state = 'pending' AND kind = 'order'))",
        [order_id],
    )
    if known:
        return False
    open_rows = "UPDATE outbox SET state = 'dropped' WHERE order_id = ? AND state IN ('needs_attention', 'pending')"
    return tx.change(open_rows, [order_id]) > 0


def withdraw(tx: Tx, order_id: int, *kinds: OutboxKind) -> bool:
    """Drop messages that are not true any more, unless the bus may have them; return True if one was dropped."""
    return (
        tx.change(
            "UPDATE outbox SET state = 'dropped' WHERE order_id = ? AND kind IN (SELECT value FROM json_each(?))"
            " AND state IN ('pending', 'needs_attention') AND uncertain = 0",
            [order_id, json.dumps(kinds)],
        )
        > 0
    )


def reinstate(tx: Tx, order_id: int, kind: OutboxKind) -> None:
    """Queue again the last message of a kind if it was dropped; do nothing otherwise."""
    newest = tx.value(
        "SELECT state FROM outbox WHERE order_id = ? AND kind = ? ORDER BY seq DESC LIMIT 1", [order_id, kind]
    )
    if newest == "dropped" or (newest == "unsupported" and kind is OutboxKind.CANCEL):
        add(tx, order_id, kind)


def get(reader: Reader, seq: int) -> OutboxRow | None:
    """Return one row, or None."""
    row = reader.one("SELECT * FROM outbox WHERE seq = ?", [seq])
    return from_row(row) if row else None


def set_references(tx: Tx, order_id: int, references: Mapping[str, str]) -> None:
    """Store the ids of an order's resources on the bus (task, service_request, patient, acsn, …); "" is left out."""
    for name, value in references.items():
        if value:
            tx.run(
                "INSERT INTO bus_reference (order_id, name, value) VALUES (?, ?, ?)"
                " ON CONFLICT (order_id, name) DO UPDATE SET value = excluded.value",
                [order_id, name, value],
            )


def references(reader: Reader, order_id: int) -> BusReferences:
    """Return the ids of an order's resources on the bus."""
    values = {
        row["name"]: row["value"]
        for row in reader.rows("SELECT name, value FROM bus_reference WHERE order_id = ?", [order_id])
    }
    return BusReferences(
        task=values.pop("task", ""),
        service_request=values.pop("service_request", ""),
        patient=values.pop("patient", ""),
        acsn=values.pop("acsn", ""),
        extra=values,
    )


def from_row(row: Row) -> OutboxRow:
    """Return the OutboxRow of a row of its table."""
    return OutboxRow(
        seq=row["seq"],
        order_id=row["order_id"],
        kind=OutboxKind(row["kind"]),
        state=OutboxState(row["state"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        attempts=row["attempts"],
        uncertain=bool(row["uncertain"]),
        reason=row["reason"],
        delivered_at=datetime.fromisoformat(row["delivered_at"]) if row["delivered_at"] else None,
        incoming_id=row["incoming_id"],
        opinion_id=row["opinion_id"],
        order_revision=row["order_revision"],
    )


def _attempt(tx: Tx, seq: int, outcome: str, reason: str, answer: str) -> None:
    tx.run(
        "INSERT INTO outbox_attempt (seq, at, outcome, reason, answer) VALUES (?, ?, ?, ?, ?)",
        [seq, tx.now.isoformat(), outcome, reason, answer[:MAX_ANSWER]],
    )
