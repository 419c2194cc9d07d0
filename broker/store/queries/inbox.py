"""Incoming referrals for the screens: those that wait, and the ledger of incoming messages.

Reads only.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime

from broker.domain.incoming import ArrivalKind, ArrivalRecord, IncomingReferral
from broker.domain.orders import OrderState, Priority
from broker.domain.patients import names
from broker.domain.patients.people import Patient, PersonName
from broker.store.database import Reader
from broker.store.queries.opinions.opinion_lists import ASKS
from broker.store.tables import clients, incoming
from broker.store.tables.patients import patients


@dataclass(frozen=True, slots=True)
class LateChange:
    """A study that its sender cancelled or changed too late, or that another clinic declined, or did nevertheless."""

    kind: ArrivalKind
    order_id: int
    accession_number: str
    patient: str  # «Фамилия И. О.»
    state: OrderState
    reason: str
    at: datetime
    item_id: int = 0  # in the ledger
    version: str = ""  # of its message
    replaced_by: str = ""  # accession number of the referral that was placed instead


def waiting(reader: Reader) -> list[IncomingReferral]:
    """Return the referrals that wait for a device and a time: the urgent ones first, then in the order of arrival.

    Requests for an opinion are none: what they are about is made.
    """
    rows = reader.rows(
        "SELECT * FROM incoming_referral WHERE state IN ('waiting', 'needs_attention')"
        f" AND NOT {ASKS} ORDER BY received_at, id"
    )
    found = [incoming.referral_from_row(row) for row in rows]
    return sorted(found, key=lambda referral: referral.priority is not Priority.URGENT)


def bearers_of_number(reader: Reader, referral: IncomingReferral) -> list[Patient]:
    """Return the patients of ours whom a local client knows by the number under which it now describes another one."""
    found = clients.cards_of_number(reader, referral.source, referral.bus_patient)
    return [card for id in found if (card := patients.get(reader, id))]


def count(reader: Reader) -> tuple[int, bool]:
    """Return the number of referrals that wait, and True if one of them is urgent."""
    row = reader.one(
        "SELECT count(*) AS waiting, coalesce(sum(json_extract(content, '$.priority') = 'urgent'), 0) AS urgent"
        f" FROM incoming_referral WHERE state IN ('waiting', 'needs_attention') AND NOT {ASKS}"
    )
    return (row["waiting"], row["urgent"] > 0) if row else (0, False)


def ledger(reader: Reader, limit: int = 200) -> list[ArrivalRecord]:
    """Return the newest rows of the ledger, the newest first."""
    return incoming.items(reader, "ORDER BY i.at DESC, i.id DESC LIMIT ?", [limit])


def troubled(reader: Reader, limit: int = 200) -> list[ArrivalRecord]:
    """Return the ledger's rows that need attention or are retried, the newest first."""
    return incoming.items(reader, "WHERE i.state <> 'taken' ORDER BY i.at DESC, i.id DESC LIMIT ?", [limit])


def item_json(reader: Reader, id: int) -> str:
    """Return the exact JSON of a row; empty if it was not stored or was deleted."""
    packed = reader.value("SELECT content FROM incoming_item WHERE id = ?", [id])
    return zlib.decompress(packed).decode("utf-8", "replace") if packed else ""


def too_late(reader: Reader) -> list[LateChange]:
    """Return the changes that came too late and are not acknowledged.

    These are cancellations of orders that have started, before or after; changes of accepted referrals; and our orders
    that the other clinic has cancelled: the patient still needs the study; and results on referrals that were cancelled
    here, or corrected without the other clinic's knowing, or that were set aside.
    """
    rows = reader.rows(
        "SELECT i.id AS item_id, i.version, i.kind, i.order_id, i.reason, i.at, o.accession_number, o.state,"
        " p.family, p.given, p.middle, NULL AS replaced_by"
        " FROM incoming_item i JOIN orders o ON o.id = i.order_id JOIN patient p ON p.id = o.patient_id"
        " WHERE i.kind = 'cancel' AND i.acknowledged = 0 AND i.order_id IS NOT NULL"
        " AND (o.state IN ('in_progress', 'completed', 'discontinued')"
        "  OR (o.state = 'cancelled' AND o.bus_role = 'placer' AND i.source = 'bus'))"
        " UNION ALL"
        " SELECT i.id, i.version, i.kind, i.order_id, i.reason, i.at, o.accession_number, o.state,"
        " p.family, p.given, p.middle, NULL"
        " FROM incoming_item i JOIN orders o ON o.id = i.order_id JOIN patient p ON p.id = o.patient_id"
        " WHERE i.state <> 'taken' AND i.kind = 'referral' AND i.order_id IS NOT NULL AND o.state <> 'cancelled'"
        " UNION ALL"
        " SELECT i.id, i.version, i.kind, i.order_id, i.reason, i.at, o.accession_number, o.state,"
        " p.family, p.given, p.middle,"
        " (SELECT json_extract(a.details, '$.replaced_by') FROM audit a WHERE a.order_id = o.id AND a.action = 'cancel'"
        "  ORDER BY a.seq DESC LIMIT 1)"
        " FROM incoming_item i JOIN orders o ON o.id = i.order_id JOIN patient p ON p.id = o.patient_id"
        " WHERE i.state = 'needs_attention' AND i.state <> 'taken' AND i.kind = 'result' AND i.order_id IS NOT NULL"
        " ORDER BY 6 DESC",
    )
    return [
        LateChange(
            kind=ArrivalKind(row["kind"]),
            order_id=row["order_id"],
            accession_number=row["accession_number"],
            patient=names.short(PersonName(row["family"], row["given"], row["middle"])),
            state=OrderState(row["state"]),
            reason=row["reason"],
            at=datetime.fromisoformat(row["at"]),
            item_id=row["item_id"],
            version=row["version"],
            replaced_by=row["replaced_by"] or "",
        )
        for row in rows
    ]


def referral(reader: Reader, id: int) -> IncomingReferral | None:
    """Return an incoming referral, or None."""
    row = reader.one("SELECT * FROM incoming_referral WHERE id = ?", [id])
    return incoming.referral_from_row(row) if row else None


def item(reader: Reader, id: int) -> ArrivalRecord | None:
    """Return a row of the ledger, or None."""
    found = incoming.items(reader, "WHERE i.id = ?", [id])
    return found[0] if found else None
