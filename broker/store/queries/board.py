"""What the board shows besides visits: steps and messages without an order, or of a doubtful one.

Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from broker.domain.orders import Order
from broker.domain.patients.people import PersonName
from broker.domain.studies.performed import PerformedStep
from broker.store.database import Reader
from broker.store.tables import orders
from broker.store.tables.studies import performed


@dataclass(frozen=True, slots=True)
class UnlinkedStep:
    """A study that a modality made without an order."""

    step: PerformedStep
    device_name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OrphanMessage:
    """A modality's message without a step: about a step that was not created here, or refused."""

    sop_instance_uid: str
    ae_title: str
    device_name: str
    operation: str  # N-CREATE | N-SET
    outcome: str  # unknown | refused
    state: str  # its status, as the device sent it
    at: datetime  # UTC


@dataclass(frozen=True, slots=True)
class DoubtfulStep:
    """A study whose patient contradicts the order that it is linked to; nothing of it goes to the region yet."""

    step: PerformedStep
    order: Order
    device_name: str
    fields: tuple[str, ...] = ()  # what contradicts: of the patient, or a number that names another order


def unlinked(reader: Reader, since: datetime) -> list[UnlinkedStep]:
    """Return the studies made without an order since an instant, newest first.

    An expired step does not count if its device reported series without images: no images need an order then.
    """
    rows = reader.rows(
        "SELECT p.*, coalesce(d.name, p.ae_title) AS device_name FROM performed_step p"
        " LEFT JOIN device d ON d.ae_title = p.ae_title WHERE p.created_at >= ? AND p.source = 'modality'"
        " AND NOT EXISTS (SELECT 1 FROM performed_step_link l WHERE l.performed_step_id = p.id)"
        " AND NOT (p.state = 'DISCONTINUED' AND p.images = 0"
        " AND EXISTS (SELECT 1 FROM performed_series e WHERE e.performed_step_id = p.id)) ORDER BY p.id DESC",
        [since.isoformat()],
    )
    return [
        UnlinkedStep(performed.from_row(row), row["device_name"], datetime.fromisoformat(row["created_at"]))
        for row in rows
    ]


def doubtful(reader: Reader) -> list[DoubtfulStep]:
    """Return the studies whose patient, as the device named it, is perhaps not the order's; oldest first."""
    rows = reader.rows(
        "SELECT p.*, s.order_id, max(l.conflict) AS conflict, coalesce(d.name, p.ae_title) AS device_name"
        " FROM performed_step_link l"
        " JOIN performed_step p ON p.id = l.performed_step_id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " LEFT JOIN device d ON d.ae_title = p.ae_title WHERE l.conflict <> ''"
        " GROUP BY p.id, s.order_id ORDER BY p.id"
    )
    found = {order.id: order for order in orders.get_many(reader, list({row["order_id"] for row in rows}))}
    return [
        DoubtfulStep(
            performed.from_row(row), found[row["order_id"]], row["device_name"], tuple(row["conflict"].split(", "))
        )
        for row in rows
    ]


def orphans(reader: Reader, since: datetime) -> list[OrphanMessage]:
    """Return the messages since an instant that no step is known for, the newest of every step, newest first."""
    rows = reader.rows(
        "SELECT m.sop_instance_uid, m.ae_title, coalesce(d.name, m.ae_title) AS device_name, m.operation, m.outcome,"
        " m.status, m.at, max(m.id) AS newest"
        " FROM performed_step_message m LEFT JOIN device d ON d.ae_title = m.ae_title"
        " WHERE m.outcome IN ('unknown', 'refused') AND m.at >= ? AND NOT EXISTS"
        " (SELECT 1 FROM performed_step p WHERE p.sop_instance_uid = m.sop_instance_uid)"
        " GROUP BY m.sop_instance_uid ORDER BY newest DESC",
        [since.isoformat()],
    )
    return [
        OrphanMessage(
            sop_instance_uid=row["sop_instance_uid"],
            ae_title=row["ae_title"],
            device_name=row["device_name"],
            operation=row["operation"],
            outcome=row["outcome"],
            state=row["status"],
            at=datetime.fromisoformat(row["at"]),
        )
        for row in rows
    ]


class UncorrectedReferral(NamedTuple):
    """A referral that was corrected here after it had gone to another clinic, which does not know of it."""

    accession_number: str
    patient: PersonName


def uncorrected(reader: Reader) -> list[UncorrectedReferral]:
    """Return the referrals that wait at another clinic with data that were corrected here since; oldest first."""
    rows = reader.rows(
        "SELECT o.accession_number, p.family, p.given, p.middle FROM orders o JOIN patient p ON p.id = o.patient_id"
        " WHERE o.state = 'referred' AND (SELECT b.state FROM outbox b WHERE b.order_id = o.id AND b.kind = 'amend'"
        " ORDER BY b.seq DESC LIMIT 1) = 'unsupported' ORDER BY o.id"
    )
    return [
        UncorrectedReferral(row["accession_number"], PersonName(row["family"], row["given"], row["middle"]))
        for row in rows
    ]
