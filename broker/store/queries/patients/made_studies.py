"""What was made or written of a patient under the data that the card has: people see it before these become others.

Reads only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from broker.domain.orders import Order
from broker.store.database import Reader
from broker.store.tables import orders


@dataclass(frozen=True, slots=True)
class MadeStudy:
    """An order that something was performed for, or that has a report."""

    order: Order
    on: date  # local
    reported: tuple[str, ...]  # names (PN) under which devices and the archive have it; empty: they did not say
    has_report: bool  # signed, or a draft


def of_patients(reader: Reader, patient_ids: Iterable[int]) -> list[MadeStudy]:
    """Return what was made or written of these patients, the newest study first."""
    rows = reader.rows(
        "SELECT o.id, (SELECT min(c.start) FROM scheduled_step c WHERE c.order_id = o.id) AS planned,"
        " (SELECT min(p.start) FROM performed_step p WHERE p.start <> '' AND p.id IN (SELECT l.performed_step_id"
        f"  {_LINKS})) AS started,"
        " (SELECT json_group_array(DISTINCT p.patient_name) FROM performed_step p WHERE p.source <> 'manual'"
        f"  AND p.patient_name <> '' AND p.id IN (SELECT l.performed_step_id {_LINKS})) AS reported,"
        " EXISTS (SELECT 1 FROM report t WHERE t.order_id = o.id) AS has_report"
        " FROM orders o WHERE o.patient_id IN (SELECT value FROM json_each(?))"
        f" AND (EXISTS (SELECT 1 {_LINKS}) OR EXISTS (SELECT 1 FROM report t WHERE t.order_id = o.id))",
        [json.dumps(list(patient_ids))],
    )
    by_id = {order.id: order for order in orders.get_many(reader, [row["id"] for row in rows])}
    found = [
        MadeStudy(
            by_id[row["id"]],
            date.fromisoformat((row["started"] or row["planned"])[:10]),
            tuple(json.loads(row["reported"])),
            bool(row["has_report"]),
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.on, each.order.id), reverse=True)


_LINKS = "FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = o.id"
