"""What is on the worklist: open scheduled steps, narrowed by an index as far as a query allows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.domain.model import Order, ScheduledStep
from broker.store import orders
from broker.store.database import Reader, Tx


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The part of a worklist query that indexes answer; None means "any". Datetimes are local and inclusive."""

    station_ae_title: str | None = None
    start_from: datetime | None = None
    start_to: datetime | None = None
    accession_number: str | None = None
    patient_id: str | None = None
    study_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One worklist item: a step and the order that it belongs to."""

    order: Order
    step: ScheduledStep


def find(reader: Reader, narrowing: Narrowing, limit: int) -> list[Item]:
    """Give the open items within a narrowing, earliest first, at most `limit`."""
    where, params = ["s.state IN ('SCHEDULED', 'STARTED')"], dict[str, Any]()
    for name, condition, value in (
        (
            "station",
            "s.id IN (SELECT step_id FROM scheduled_step_station WHERE ae_title = :station)",
            narrowing.station_ae_title,
        ),
        ("start_from", "s.start >= :start_from", _text(narrowing.start_from)),
        ("start_to", "s.start <= :start_to", _text(narrowing.start_to)),
        (
            "accession_number",
            "s.order_id = (SELECT id FROM orders WHERE accession_number = :accession_number)",
            narrowing.accession_number,
        ),
        ("uid", "s.order_id = (SELECT id FROM orders WHERE study_instance_uid = :uid)", narrowing.study_instance_uid),
        (
            "patient_id",
            "s.order_id IN (SELECT o.id FROM orders o JOIN patient p ON p.id = o.patient_id"
            " WHERE p.patient_id = :patient_id)",
            narrowing.patient_id,
        ),
    ):
        if value is not None:
            where.append(condition)
            params[name] = value
    rows = reader.rows(
        "SELECT s.id, s.order_id FROM scheduled_step s WHERE "
        + " AND ".join(where)
        + " ORDER BY s.start, s.id LIMIT :limit",
        {**params, "limit": limit},
    )
    by_id = {order.id: order for order in orders.get_many(reader, [row["order_id"] for row in rows])}
    return [
        Item(order, step)
        for row in rows
        for order in [by_id[row["order_id"]]]
        for step in order.steps
        if step.id == row["id"]
    ]


def note_delivery(tx: Tx, step_ids: list[int], ae_title: str) -> None:
    """Note that a device has these items on its list; only the first time counts."""
    added = 0
    for step_id in step_ids:
        added += tx.change(
            "INSERT OR IGNORE INTO worklist_delivery (step_id, ae_title, at)"
            " SELECT id, ?, ? FROM scheduled_step WHERE id = ?",
            [ae_title, tx.now.isoformat(), step_id],
        )
    if added:
        tx.announce()


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
