"""Incoming referrals, the ledger of incoming messages, and the cursors of searches.

The ledger has one row for each resource and kind of message, with the newest version. Versions are texts that sort in
the order of change, see `is_newer`; `broker.bus.inbound` makes them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from broker.domain.incoming import (
    ANSWERS_FORMER_DATA,
    TO_BE_READ,
    ArrivalKind,
    ArrivalRecord,
    ArrivalState,
    IncomingReferral,
    IncomingState,
)
from broker.domain.orders import Priority
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Reader, Row, Tx


@dataclass(frozen=True, slots=True)
class Arrival:
    """An incoming message, identified by its source and its resource; `content` is its JSON for people to read."""

    source: str  # "bus", or the name of a local client
    reference: str  # "Task/<id>"
    version: str
    content: bytes = b""


_BUS = "bus"  # name of a row that is not a cursor but names the bus


# ---- referrals ----


def by_task(reader: Reader, source: str, task: str) -> IncomingReferral | None:
    """Return the referral of a Task of a source, or None."""
    row = reader.one("SELECT * FROM incoming_referral WHERE source = ? AND task = ?", [source, task])
    return referral_from_row(row) if row else None


def of_order(reader: Reader, order_id: int) -> IncomingReferral | None:
    """Return the referral that an order was created from, or None."""
    row = reader.one("SELECT * FROM incoming_referral WHERE order_id = ?", [order_id])
    return referral_from_row(row) if row else None


def add(tx: Tx, referral: IncomingReferral) -> int:
    """Insert a new referral; return its id."""
    return tx.run(
        "INSERT INTO incoming_referral (source, task, state, order_id, decline_reason, content, problems, received_at,"
        " changed_at) VALUES (:source, :task, :state, NULL, :decline_reason, :content, :problems, :now, :now)",
        {**_columns(referral), "source": referral.source, "task": referral.task, "now": tx.now.isoformat()},
    )


def update(tx: Tx, referral: IncomingReferral) -> None:
    """Update a referral's content, state, reason, problems and order, by its id."""
    tx.run(
        "UPDATE incoming_referral SET state = :state, order_id = :order_id, content = :content, problems = :problems,"
        " decline_reason = :decline_reason, changed_at = :now WHERE id = :id",
        {
            **_columns(referral),
            "order_id": referral.order_id,
            "id": referral.stored_id,
            "now": tx.now.isoformat(),
        },
    )


def own_order(reader: Reader, task: str, number: str) -> int | None:
    """Return the id of the order that we placed with this Task or this accession number, or None."""
    id = reader.value(
        "SELECT o.id FROM bus_reference r JOIN orders o ON o.id = r.order_id"
        " WHERE r.name = 'task' AND r.value = ? AND o.bus_role = 'placer'",
        [task],
    ) or reader.value("SELECT id FROM orders WHERE accession_number = ? AND bus_role = 'placer'", [number])
    return None if id is None else int(id)


# ---- the ledger ----


def is_newer(version: str, than: str) -> bool:
    """Return True if a version is newer than another one; versions without a time (`#…`) are newer if they differ."""
    if version.startswith("#") or than.startswith("#"):
        return version != than
    return version > than


def is_stale(reader: Reader, source: str, reference: str, version: str) -> bool:
    """Return True if this version, or a newer one, was processed; a failed one was not."""
    rows = reader.rows(
        "SELECT version, state FROM incoming_item WHERE source = ? AND reference = ? AND kind <> 'result'",
        [source, reference],
    )
    return any(
        not is_newer(version, row["version"]) and (row["state"] != ArrivalState.FAILED or version != row["version"])
        for row in rows
    )


def is_known(reader: Reader, source: str, reference: str, version: str) -> bool:
    """Return True if this version, or a newer one, is in the ledger, in any state."""
    rows = reader.rows(
        "SELECT version FROM incoming_item WHERE source = ? AND reference = ? AND kind <> 'result'",
        [source, reference],
    )
    return any(not is_newer(version, row["version"]) for row in rows)


def put(
    tx: Tx,
    kind: ArrivalKind,
    arrival: Arrival,
    state: ArrivalState = ArrivalState.TAKEN,
    reason: str = "",
    order_id: int | None = None,
    about: Patient | None = None,
) -> None:
    """Insert or update the row of a message; attempts at the same version are counted.

    `about`: whom a result names that is set aside. What a person has confirmed of it holds until it was read.
    """
    tx.run(
        "INSERT INTO incoming_item (source, reference, kind, version, state, reason, order_id, content, about,"
        " first_at, at)"
        " VALUES (:source, :reference, :kind, :version, :state, :reason, :order_id, :content, :about, :now, :now)"
        " ON CONFLICT (source, reference, kind) DO UPDATE SET"
        " attempts = CASE WHEN version = excluded.version THEN attempts + 1 ELSE 1 END, version = excluded.version,"
        " state = excluded.state, acknowledged = 0, reason = excluded.reason,"
        " order_id = coalesce(excluded.order_id, order_id),"
        " content = coalesce(excluded.content, content), at = excluded.at,"
        " about = CASE WHEN excluded.state = 'failed' THEN about ELSE excluded.about END,"
        " confirmed = CASE WHEN excluded.state = 'failed' THEN confirmed ELSE '' END",
        {
            "source": arrival.source,
            "reference": arrival.reference,
            "kind": kind,
            "version": arrival.version,
            "state": state,
            "reason": reason,
            "order_id": order_id,
            "content": zlib.compress(arrival.content) if arrival.content else None,
            "about": json.dumps(asdict(about), ensure_ascii=False, default=_plain) if about else "",
            "now": tx.now.isoformat(),
        },
    )


def overtake(tx: Tx, kind: ArrivalKind, source: str, reference: str) -> None:
    """Mark a row as taken, because a newer message of another kind has replaced it."""
    tx.run(
        "UPDATE incoming_item SET state = 'taken', acknowledged = 1, reason = ''"
        " WHERE source = ? AND reference = ? AND kind = ? AND (kind = 'cancel' OR state <> 'taken')",
        [source, reference, kind],
    )


def named(reader: Reader, source: str, reference: str, kind: ArrivalKind) -> ArrivalRecord | None:
    """Return the row of a resource and kind, or None."""
    found = items(reader, "WHERE i.source = ? AND i.reference = ? AND i.kind = ?", [source, reference, kind])
    return found[0] if found else None


def failed(reader: Reader, source: str, kind: ArrivalKind | None = None, limit: int = 50) -> list[ArrivalRecord]:
    """Return the rows that are to be retried, of one kind or of all, the oldest attempt first."""
    return items(
        reader,
        # The first condition is that of the partial index.
        "WHERE i.state <> 'taken' AND i.state = 'failed' AND i.source = ? AND i.kind = coalesce(?, i.kind)"
        " ORDER BY i.at LIMIT ?",
        [source, kind, limit],
    )


def retry(tx: Tx, id: int) -> bool:
    """Have a row that needs attention retried, with all attempts; return False if it needs none."""
    again = "UPDATE incoming_item SET state = 'failed', attempts = 0 WHERE id = ? AND state = 'needs_attention'"
    return tx.change(again, [id]) > 0


def confirm(tx: Tx, id: int, fields: Collection[str]) -> None:
    """Record that a result which was set aside is our patient's, although these fields contradict; it is retried."""
    confirmed = json.dumps(list(fields))
    tx.run("UPDATE incoming_item SET state = 'failed', attempts = 0, confirmed = ? WHERE id = ?", [confirmed, id])


def dismiss(tx: Tx, id: int) -> None:
    """Record that a person wants nothing of a row that needs attention."""
    tx.run("UPDATE incoming_item SET state = 'taken', acknowledged = 1, reason = '' WHERE id = ?", [id])


def forget_contents(tx: Tx, before: datetime) -> int:
    """Delete the JSON of rows before an instant, except those that are retried; return their number."""
    return tx.change(
        "UPDATE incoming_item SET content = NULL WHERE content IS NOT NULL AND at < ? AND state <> 'failed'",
        [before.isoformat()],
    )


# ---- changes that came too late ----


def acknowledge(tx: Tx, id: int, version: str) -> bool:
    """Record that a person has seen this version of what came too late for an order; return False if it is not open."""
    changed = tx.change(
        "UPDATE incoming_item SET state = 'taken', acknowledged = 1, reason = ''"
        " WHERE id = ? AND version = ? AND order_id IS NOT NULL"
        " AND (kind <> 'result' OR reason IN (SELECT value FROM json_each(?)))"
        " AND (state = 'needs_attention' OR (kind = 'cancel' AND acknowledged = 0))",
        [id, version, json.dumps(TO_BE_READ)],
    )
    return changed > 0


def answers_former_data(reader: Reader, order_id: int) -> bool:
    """Return True if a result on an order was made by its former data, and no person has read it."""
    sql = "SELECT 1 FROM incoming_item WHERE order_id = ? AND kind = 'result' AND state <> 'taken' AND reason = ?"
    return reader.value(sql, [order_id, ANSWERS_FORMER_DATA]) is not None


# ---- cursors ----


def cursor(reader: Reader, name: str) -> str:
    """Return the cursor of a search; "" if it has none yet."""
    return str(reader.value("SELECT value FROM bus_cursor WHERE name = ?", [name]) or "")


def set_cursor(tx: Tx, name: str, value: str) -> None:
    """Store the cursor of a search."""
    tx.run(
        "INSERT INTO bus_cursor (name, value, at) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value, at = excluded.at",
        [name, value, tx.now.isoformat()],
    )


def is_of(tx: Tx, bus: str) -> bool:
    """Store which bus and organisation the cursors belong to; return False, and delete them, if that has changed."""
    before = cursor(tx, _BUS)
    if before != bus:
        tx.run("DELETE FROM bus_cursor")
        set_cursor(tx, _BUS, bus)
    return before in ("", bus)


# ---- rows ----


def items(reader: Reader, rest: str, values: list[Any]) -> list[ArrivalRecord]:
    """Return the rows of the ledger that `rest` selects: the end of an SQL query, with its bound values."""
    rows = reader.rows(
        "SELECT i.id, i.source, i.reference, i.kind, i.version, i.state, i.attempts, i.reason, i.order_id,"
        " i.first_at, i.at, i.content IS NOT NULL AS kept, i.about, i.confirmed, o.accession_number"
        f" FROM incoming_item i LEFT JOIN orders o ON o.id = i.order_id {rest}",
        values,
    )
    return [
        ArrivalRecord(
            id=row["id"],
            source=row["source"],
            reference=row["reference"],
            kind=ArrivalKind(row["kind"]),
            version=row["version"],
            state=ArrivalState(row["state"]),
            attempts=row["attempts"],
            reason=row["reason"],
            order_id=row["order_id"],
            accession_number=row["accession_number"] or "",
            first_at=datetime.fromisoformat(row["first_at"]),
            at=datetime.fromisoformat(row["at"]),
            kept=bool(row["kept"]),
            about=_person(json.loads(row["about"])) if row["about"] else None,
            confirmed=tuple(json.loads(row["confirmed"])) if row["confirmed"] else (),
        )
        for row in rows
    ]


_OWN_COLUMNS = ("source", "task", "state", "order_id", "decline_reason", "problems", "received_at", "id")


def _columns(referral: IncomingReferral) -> dict[str, object]:
    content = {name: value for name, value in asdict(referral).items() if name not in _OWN_COLUMNS}
    return {
        "state": referral.state,
        "decline_reason": referral.decline_reason,
        "content": json.dumps(content, ensure_ascii=False, default=_plain),
        "problems": json.dumps(dict(referral.problems)),
    }


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _person(content: dict[str, Any]) -> Patient:
    born = content["birth_date"]
    values = {
        "name": PersonName(**content["name"]),
        "birth_date": date.fromisoformat(born) if born else None,
        "sex": Sex(content["sex"]),
        "id": None,  # the sender does not know whom of ours it means
    }
    return Patient(**content | values)


def referral_from_row(row: Row) -> IncomingReferral:
    """Return the referral of a row of `incoming_referral`."""
    content = json.loads(row["content"])
    authored = content["authored_on"]
    return IncomingReferral(
        **content
        | {
            "patient": _person(content["patient"]),
            "attached": tuple(content.get("attached", ())),
            "priority": Priority(content["priority"]),
            "requester": content["requester"] or None,
            "referrer": PersonName(**content["referrer"]),
            "authored_on": datetime.fromisoformat(authored) if authored else None,
            "source": row["source"],
            "task": row["task"],
            "state": IncomingState(row["state"]),
            "order_id": row["order_id"],
            "decline_reason": row["decline_reason"],
            "problems": json.loads(row["problems"]),
            "received_at": datetime.fromisoformat(row["received_at"]),
            "id": row["id"],
        }
    )
