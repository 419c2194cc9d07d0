"""Which performed step was done for which scheduled steps, and what in it contradicts the patient."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from broker.domain.audit import AuditAction
from broker.domain.studies.performed import PerformedStep
from broker.store.database import Reader, Tx
from broker.store.tables.studies import performed


@dataclass(frozen=True, slots=True)
class StepLink:
    """A performed step as it is linked to one scheduled step of an order."""

    step: PerformedStep
    order_id: int
    scheduled_step_id: int
    conflict: tuple[str, ...]  # what contradicts the patient, until a person has looked
    at: datetime  # UTC


def link(tx: Tx, performed_step_id: int, scheduled_step_id: int, linked_by: str, conflict: str = "") -> bool:
    """Link what was done to what was scheduled; False when they were linked already.

    `conflict` names the fields that contradict the patient, until a person confirms the patient.
    """
    return bool(
        tx.change(
            "INSERT OR IGNORE INTO performed_step_link (performed_step_id, scheduled_step_id, linked_by, conflict, at)"
            " VALUES (?, ?, ?, ?, ?)",
            [performed_step_id, scheduled_step_id, linked_by, conflict, tx.now.isoformat()],
        )
    )


def conflicts(reader: Reader, order_id: int) -> dict[str, str]:
    """Return what contradicts the patient in what was done for an order: SOP Instance UID -> names of the fields."""
    found = reader.rows(
        "SELECT p.sop_instance_uid, max(l.conflict) AS conflict FROM performed_step_link l"
        " JOIN performed_step p ON p.id = l.performed_step_id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE s.order_id = ? AND l.conflict <> '' GROUP BY p.id ORDER BY p.id",
        [order_id],
    )
    return {row["sop_instance_uid"]: row["conflict"] for row in found}


def links_of_orders(reader: Reader, order_ids: Iterable[int]) -> list[StepLink]:
    """Return what was done for these orders, oldest link first."""
    found = reader.rows(
        "SELECT p.*, l.scheduled_step_id, l.conflict, l.at AS linked_at, s.order_id FROM performed_step_link l"
        " JOIN performed_step p ON p.id = l.performed_step_id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE s.order_id IN (SELECT value FROM json_each(?)) ORDER BY l.at, p.id, s.id",
        [json.dumps(list(order_ids))],
    )
    return [
        StepLink(
            performed.from_row(row),
            row["order_id"],
            row["scheduled_step_id"],
            tuple(row["conflict"].split(", ")) if row["conflict"] else (),
            datetime.fromisoformat(row["linked_at"]),
        )
        for row in found
    ]


def set_conflict(tx: Tx, performed_step_id: int, scheduled_step_id: int, conflict: str) -> None:
    """Write what contradicts the patient in a link over what was noted there; "" if nothing does."""
    tx.run(
        "UPDATE performed_step_link SET conflict = ? WHERE performed_step_id = ? AND scheduled_step_id = ?",
        [conflict, performed_step_id, scheduled_step_id],
    )


def resolve_conflict(tx: Tx, performed_step_id: int, scheduled_step_ids: Iterable[int]) -> None:
    """Clear a contradiction: a person has looked, and it is the same patient."""
    for scheduled_step_id in scheduled_step_ids:
        tx.run(
            "UPDATE performed_step_link SET conflict = '' WHERE performed_step_id = ? AND scheduled_step_id = ?",
            [performed_step_id, scheduled_step_id],
        )


def unlink(tx: Tx, performed_step_id: int, scheduled_step_ids: Iterable[int]) -> None:
    """Delete the links of a performed step to these scheduled steps."""
    for scheduled_step_id in scheduled_step_ids:
        tx.run(
            "DELETE FROM performed_step_link WHERE performed_step_id = ? AND scheduled_step_id = ?",
            [performed_step_id, scheduled_step_id],
        )


def was_unlinked(reader: Reader, order_id: int) -> bool:
    """Return True if a device has reported a step for an order that turned out not to be this order's.

    A person has unlinked it, or the device has said that the wrong worklist entry was selected.
    """
    return bool(
        reader.value(
            "SELECT 1 FROM audit a JOIN performed_step p ON p.sop_instance_uid = a.details ->> '$.sop_instance_uid'"
            " WHERE a.order_id = ?1 AND a.action IN (?2, ?3) AND p.source = 'modality' AND NOT EXISTS"
            " (SELECT 1 FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id"
            " WHERE l.performed_step_id = p.id AND s.order_id = ?1) LIMIT 1",
            [order_id, AuditAction.UNLINK, AuditAction.WRONG_ENTRY],
        )
    )


def linked_steps(reader: Reader, performed_step_id: int) -> list[tuple[int, int]]:
    """Return the (order id, scheduled step id) pairs that a performed step is linked to."""
    found = reader.rows(
        "SELECT s.order_id, s.id FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE l.performed_step_id = ? ORDER BY s.id",
        [performed_step_id],
    )
    return [(row["order_id"], row["id"]) for row in found]


def order_ids(reader: Reader, performed_step_id: int) -> list[int]:
    """Return the orders (ids) that a performed step is linked to, each once."""
    return list(dict.fromkeys(order_id for order_id, _ in linked_steps(reader, performed_step_id)))
