"""Clients of our FHIR API: their accounts, the resources that they sent, and the state of their orders.

Tokens are stored as hashes. Resources are stored as the client sent them, but with our ids and references. The state of
an order is not stored with them but read from the order, see `client_orders`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from broker.domain.audit import BLIND, AuditAction
from broker.domain.incoming import IncomingState
from broker.domain.orders import OrderState
from broker.store.database import Reader, Row, Tx

Resource = dict[str, Any]

MAX_DEVIATIONS = 50  # kinds of them that are kept of a client


@dataclass(frozen=True, slots=True)
class Client:
    """A program that may send orders; `organisation` is the GUID of the clinic that it works for."""

    name: str
    organisation: str  # empty: this clinic
    send_to_bus: bool  # we report its orders to the region
    disabled: bool
    created_at: datetime
    last_contact_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClientOrder:
    """An order of a client, and its state; instants are UTC."""

    task: str  # id
    content: Resource  # the Task as it was stored
    updated_at: datetime  # when it was stored
    state: IncomingState
    state_at: datetime  # since when its referral, or its order, is in that state
    order_id: int | None  # None: it still waits
    order_state: OrderState | None
    accession_number: str  # of that order
    decline_reason: str  # why it was declined here; empty: it was not, or no reason was given
    images_at: datetime | None  # since when there are images to report; None: there are none
    report_at: datetime | None  # since when there is a report to send


# ---- accounts ----


def add(tx: Tx, name: str, token: str, organisation: str, *, send_to_bus: bool) -> None:
    """Insert a new client; `token` is the hash of its token."""
    tx.run(
        "INSERT INTO client (name, token, organisation, send_to_bus, created_at) VALUES (?, ?, ?, ?, ?)",
        [name, token, organisation, int(send_to_bus), tx.now.isoformat()],
    )


def get(reader: Reader, name: str) -> Client | None:
    """Return a client, or None."""
    row = reader.one("SELECT * FROM client WHERE name = ?", [name])
    return from_row(row) if row else None


def enabled(reader: Reader) -> list[tuple[str, Client]]:
    """Return the clients that may call, each with the hash of its token."""
    return [(row["token"], from_row(row)) for row in reader.rows("SELECT * FROM client WHERE disabled = 0")]


def set_token(tx: Tx, name: str, token: str) -> None:
    """Write the hash of a new token over the old one."""
    tx.run("UPDATE client SET token = ? WHERE name = ?", [token, name])


def set_disabled(tx: Tx, name: str, disabled: bool) -> None:
    """Disable or enable a client."""
    tx.run("UPDATE client SET disabled = ? WHERE name = ?", [int(disabled), name])


def note_contact(tx: Tx, name: str) -> None:
    """Note that a client has just called."""
    tx.run("UPDATE client SET last_contact_at = ? WHERE name = ?", [tx.now.isoformat(), name])


def sends_to_bus(reader: Reader, name: str) -> bool:
    """Return True if we report a client's orders to the region."""
    return bool(reader.value("SELECT send_to_bus FROM client WHERE name = ?", [name]))


# ---- deviations from the profile ----


@dataclass(frozen=True, slots=True)
class Deviation:
    """In what a client deviates from the profile, in Russian; how often, and when last (UTC)."""

    what: str
    times: int
    last_at: datetime


def note_deviations(tx: Tx, client: str, found: Iterable[str]) -> None:
    """Count in what a client has deviated from the profile once more; at most MAX_DEVIATIONS kinds of a client."""
    for what in found:
        tx.run(
            "INSERT INTO client_deviation (client, what, times, last_at)"
            " SELECT ?1, ?2, 1, ?3 WHERE EXISTS (SELECT 1 FROM client_deviation WHERE client = ?1 AND what = ?2)"
            " OR (SELECT count(*) FROM client_deviation WHERE client = ?1) < ?4"
            " ON CONFLICT (client, what) DO UPDATE SET times = times + 1, last_at = excluded.last_at",
            [client, what[:200], tx.now.isoformat(), MAX_DEVIATIONS],
        )


def deviations(reader: Reader, client: str) -> list[Deviation]:
    """Return in what a client deviates, the newest first."""
    rows = reader.rows("SELECT * FROM client_deviation WHERE client = ? ORDER BY last_at DESC, what", [client])
    return [Deviation(row["what"], row["times"], datetime.fromisoformat(row["last_at"])) for row in rows]


# ---- resources ----


def resource(reader: Reader, client: str, kind: str, id: str) -> Resource | None:
    """Return a resource that a client sent, or None."""
    text = reader.value(
        "SELECT content FROM client_resource WHERE client = ? AND kind = ? AND id = ?", [client, kind, id]
    )
    return dict(json.loads(text)) if text else None


def put(tx: Tx, client: str, content: Resource, keys: Iterable[str]) -> None:
    """Store a resource in place of its older version, with the keys under which it is found."""
    kind, id = content["resourceType"], content["id"]
    tx.run(
        "INSERT INTO client_resource (client, kind, id, content, updated_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (client, kind, id) DO UPDATE SET content = excluded.content, updated_at = excluded.updated_at",
        [client, kind, id, json.dumps(content, ensure_ascii=False), content["meta"]["lastUpdated"]],
    )
    tx.run("DELETE FROM client_key WHERE client = ? AND kind = ? AND id = ?", [client, kind, id])
    for key in dict.fromkeys(keys):
        tx.run("INSERT INTO client_key (client, kind, key, id) VALUES (?, ?, ?, ?)", [client, kind, key, id])


def named(reader: Reader, client: str, kind: str, keys: Collection[str]) -> list[str]:
    """Return the ids of a client's resources with one of these keys."""
    rows = reader.rows(
        "SELECT DISTINCT id FROM client_key WHERE client = ? AND kind = ?"
        " AND key IN (SELECT value FROM json_each(?)) ORDER BY id",
        [client, kind, json.dumps(list(keys))],
    )
    return [row["id"] for row in rows]


def cards_of_number(reader: Reader, client: str, patient: str) -> list[int]:
    """Return the cards (ids) with which other Patients of a client have got orders that share a number with this one.

    `patient` is the id of the client's resource; a card that was merged since is given as it was.
    """
    rows = reader.rows(
        "SELECT DISTINCT o.patient_id FROM client_key mine JOIN client_key other ON other.client = mine.client"
        " AND other.kind = mine.kind AND other.key = mine.key AND other.id <> mine.id"
        " JOIN client_key task ON task.client = mine.client AND task.kind = 'Task' AND task.key = 'for:' || other.id"
        " JOIN incoming_referral r ON r.source = mine.client AND r.task = task.id JOIN orders o ON o.id = r.order_id"
        " WHERE mine.client = ?1 AND mine.kind = 'Patient' AND mine.id = ?2 AND mine.key LIKE 'same:%'"
        " ORDER BY o.patient_id",
        [client, patient],
    )
    return [row["patient_id"] for row in rows]


# ---- orders ----

# Decisions of people about a study's images or its report.
_DECISIONS = "', '".join(
    (
        AuditAction.REPORT_SIGN,
        AuditAction.REPORT_UPHOLD,
        AuditAction.REPORT_ADD,
        AuditAction.REPORT_CORRECT,
        AuditAction.REPORT_WITHDRAW,
        AuditAction.UNLINK,
        AuditAction.WRONG_ENTRY,
    )
)
_BLIND = "', '".join(sorted(BLIND))
_AUDITED = " FROM audit a WHERE a.order_id = o.id AND a.action"
_LINKED = (
    " FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
    " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = o.id"
)
_ORDERS = (
    "SELECT t.id AS task, t.content, t.updated_at, r.state, r.decline_reason,"
    " coalesce(o.state_since, r.changed_at) AS state_at,"
    " o.id AS order_id, o.state AS order_state, o.state_since, o.accession_number,"
    f" (SELECT max(max(p.changed_at, l.at)){_LINKED} AND p.state = 'COMPLETED') AS made_at,"
    f" (SELECT count(*){_LINKED} AND l.conflict <> '') AS conflicts,"
    f" (SELECT max(a.at){_AUDITED} = '{AuditAction.CONFIRM_PATIENT}') AS confirmed_at,"
    " coalesce((SELECT max(v.signed_at) FROM report_version v WHERE v.order_id = o.id),"
    " (SELECT max(p.signed_at) FROM report p WHERE p.order_id = o.id AND p.state = 'signed')) AS signed_at,"
    f" (SELECT a.action{_AUDITED} IN ('{_DECISIONS}')"
    " ORDER BY a.seq DESC LIMIT 1) AS decision,"
    f" (SELECT max(a.at){_AUDITED} = '{AuditAction.REPORT_UPHOLD}') AS upheld_at"
    " FROM client_resource t JOIN incoming_referral r ON r.source = t.client AND r.task = t.id"
    " LEFT JOIN orders o ON o.id = r.order_id WHERE t.client = :client AND t.kind = 'Task'"
)


def client_orders(
    reader: Reader, client: str, *, tasks: Collection[str] | None = None, since: datetime | None = None
) -> list[ClientOrder]:
    """Return a client's orders: those of these Tasks, or all; with `since`, only those that may have changed."""
    conditions, values = "", {"client": client, "tasks": "", "since": ""}
    if tasks is not None:
        conditions += " AND t.id IN (SELECT value FROM json_each(:tasks))"
        values["tasks"] = json.dumps(list(tasks))
    if since is not None:
        # Every change that is reported sets one of these times or writes an audit row.
        conditions += (
            " AND (t.updated_at >= :since OR r.changed_at >= :since OR o.state_since >= :since"
            " OR EXISTS (SELECT 1 FROM audit a WHERE a.order_id = o.id AND a.at >= :since"
            f" AND a.action NOT IN ('{_BLIND}')))"
        )
        values["since"] = since.astimezone(UTC).isoformat(timespec="seconds")[:19]
    return [_client_order(row) for row in reader.rows(_ORDERS + conditions, values)]


def task_of_order(reader: Reader, client: str, order_id: int) -> str:
    """Return the id of an order's Task; "" if the order is not this client's."""
    return str(
        reader.value("SELECT task FROM incoming_referral WHERE source = ? AND order_id = ?", [client, order_id]) or ""
    )


def _client_order(row: Row) -> ClientOrder:
    completed = row["order_state"] == OrderState.COMPLETED and row["made_at"] and not row["conflicts"]
    images_at = max(row["state_since"], row["made_at"], row["confirmed_at"] or "") if completed else ""
    # After images were unlinked, a doctor must confirm the report.
    reported = completed and row["signed_at"] and row["decision"] not in (AuditAction.UNLINK, AuditAction.WRONG_ENTRY)
    report_at = max(row["signed_at"], row["upheld_at"] or "") if reported else ""
    return ClientOrder(
        task=row["task"],
        content=json.loads(row["content"]),
        updated_at=datetime.fromisoformat(row["updated_at"]),
        state=IncomingState(row["state"]),
        decline_reason=row["decline_reason"],
        state_at=datetime.fromisoformat(row["state_at"]),
        order_id=row["order_id"],
        order_state=OrderState(row["order_state"]) if row["order_state"] else None,
        accession_number=row["accession_number"] or "",
        images_at=datetime.fromisoformat(images_at) if images_at else None,
        report_at=datetime.fromisoformat(report_at) if report_at else None,
    )


def from_row(row: Row) -> Client:
    """Return the client of a row of `client`."""
    return Client(
        name=row["name"],
        organisation=row["organisation"],
        send_to_bus=bool(row["send_to_bus"]),
        disabled=bool(row["disabled"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        last_contact_at=datetime.fromisoformat(row["last_contact_at"]) if row["last_contact_at"] else None,
    )
