"""Structured reports and documents that modalities have stored here, and the doses that they state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from broker.domain.actors import ActorKind
from broker.domain.audit import AuditAction
from broker.domain.errors import NotFound
from broker.domain.studies.dose import DoseReport, IrradiationEvent, Measured, Quantity
from broker.domain.studies.received import HeldReason, ReceivedKind, ReceivedObject, StoredObject
from broker.store import rows
from broker.store.database import Reader, Row, Tx

_TEXTS = (
    "sop_instance_uid",
    "sop_class_uid",
    "ae_title",
    "title",
    "study_instance_uid",
    "accession_number",
    "patient_name",
    "patient_id",
    "patient_birth_date",
    "patient_sex",
    "digest",
    "problem",
)
_SELECT = f"SELECT id, {', '.join(_TEXTS)}, kind, implicit, received_at, order_id, held FROM received_object "


def digest(reader: Reader, sop_instance_uid: str) -> str | None:
    """Return the digest of the object with this UID; None if there is none."""
    found = reader.value("SELECT digest FROM received_object WHERE sop_instance_uid = ?", [sop_instance_uid])
    return None if found is None else str(found)


def add(tx: Tx, received: ReceivedObject, order_id: int | None, held: HeldReason | None) -> int:
    """Insert an object that belongs to an order, or is held; return its id."""
    values = {name: getattr(received, name) for name in _TEXTS} | {
        "kind": received.kind,
        "implicit": int(received.implicit),
        "dataset": received.dataset,
        "received_at": tx.now.isoformat(),
        "order_id": order_id,
        "held": held or "",
    }
    return rows.insert(tx, "received_object", values)


def add_dose(tx: Tx, id: int, report: DoseReport) -> None:
    """Insert the doses that a received object states."""
    for event in report.events:
        low, high = event.kilovolts or (None, None)
        views = "\n".join(" ".join(each.split()) for each in event.views)
        row = [id, event.uid, views, low, high]
        tx.run("INSERT INTO dose_event (received_id, uid, views, kv_from, kv_to) VALUES (?, ?, ?, ?, ?)", row)
    stated = [("", report.totals), *((event.uid, event.values) for event in report.events)]
    for uid, values in stated:
        for position, each in enumerate(values):
            row = [id, uid, position, each.quantity, each.part, each.value, each.unit]
            tx.run("INSERT INTO dose_value VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def set_order(tx: Tx, id: int, order_id: int) -> None:
    """Let a held object belong to an order."""
    rows.update(tx, "received_object", {"order_id": order_id, "held": ""}, {"id": id})


def set_held(tx: Tx, id: int, held: HeldReason) -> None:
    """Say why an object belongs to no order now."""
    rows.update(tx, "received_object", {"held": held}, {"id": id})


def release(tx: Tx, id: int, held: HeldReason) -> None:
    """Let an object belong to no order, and say why."""
    rows.update(tx, "received_object", {"order_id": None, "held": held}, {"id": id})


def note_unlinked(tx: Tx, id: int, order_id: int) -> None:
    """Write that an object was taken away from an order."""
    tx.run("INSERT OR IGNORE INTO received_object_unlinked (received_id, order_id) VALUES (?, ?)", [id, order_id])


def forget_unlinked(tx: Tx, id: int, order_id: int) -> None:
    """Delete that an object was taken away from an order."""
    tx.run("DELETE FROM received_object_unlinked WHERE received_id = ? AND order_id = ?", [id, order_id])


def unlinked_from(reader: Reader, id: int) -> frozenset[int]:
    """Return the orders (ids) that an object was taken away from."""
    found = reader.rows("SELECT order_id FROM received_object_unlinked WHERE received_id = ?", [id])
    return frozenset(row["order_id"] for row in found)


def was_confirmed(reader: Reader, order_id: int, sop_instance_uid: str) -> bool:
    """Return True if it was a person who joined an object with an order."""
    return bool(
        reader.value(
            "SELECT 1 FROM audit WHERE order_id = ? AND action = ? AND actor_kind = ?"
            " AND details ->> '$.sop_instance_uid' = ? LIMIT 1",
            [order_id, AuditAction.OBJECT_JOINED, ActorKind.PERSON, sop_instance_uid],
        )
    )


def require(reader: Reader, id: int) -> StoredObject:
    """Return a received object; raise NotFound."""
    found = get(reader, id)
    if found is None:
        raise NotFound(f"received object {id}")
    return found


def get(reader: Reader, id: int) -> StoredObject | None:
    """Return a received object; None if there is none."""
    row = reader.one(_SELECT + "WHERE id = ?", [id])
    return None if row is None else _from_row(row)


def of_order(reader: Reader, order_id: int) -> list[StoredObject]:
    """Return the objects of an order, the oldest first."""
    return [_from_row(row) for row in reader.rows(_SELECT + "WHERE order_id = ? ORDER BY id", [order_id])]


def held(reader: Reader) -> list[StoredObject]:
    """Return the objects that belong to no order yet, the newest first."""
    return [_from_row(row) for row in reader.rows(_SELECT + "WHERE held <> '' ORDER BY id DESC")]


def dataset(reader: Reader, id: int) -> bytes:
    """Return an object's dataset as it came; raise NotFound."""
    found = reader.value("SELECT dataset FROM received_object WHERE id = ?", [id])
    if found is None:
        raise NotFound(f"received object {id}")
    return bytes(found)


def dose_reports(reader: Reader, order_id: int) -> list[DoseReport]:
    """Return the dose reports of an order, the oldest first; those whose doses could not be read are left out."""
    ids = reader.rows(
        "SELECT id FROM received_object WHERE order_id = ? AND kind = 'dose' AND problem = '' ORDER BY id", [order_id]
    )
    return [_dose_report(reader, row["id"]) for row in ids]


def orders_of_study(reader: Reader, study_instance_uid: str) -> list[int]:
    """Return the orders (ids) whose study this is: by their own UID, that under which a modality
    reported them, or that of a study of the archive that a person has taken for theirs.
    """
    found = reader.rows(
        "SELECT id FROM orders WHERE study_instance_uid = ?1 UNION"
        " SELECT s.order_id FROM performed_step_reference r"
        " JOIN performed_step_link l ON l.performed_step_id = r.performed_step_id"
        " JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE r.study_instance_uid = ?1 AND r.study_instance_uid <> '' UNION"
        " SELECT order_id FROM archive_discrepancy WHERE study_instance_uid = ?1 AND state = 'accepted' ORDER BY 1",
        [study_instance_uid],
    )
    return [row["id"] for row in found]


def orders_of_number(reader: Reader, accession_number: str) -> list[int]:
    """Return the orders (ids) that devices may know by this accession number, ours or the region's."""
    found = reader.rows(
        "SELECT id FROM orders WHERE accession_number = ?1 UNION"
        " SELECT id FROM orders WHERE request_number = ?1 AND request_number <> '' UNION"
        " SELECT id FROM orders WHERE bus_accession_number = ?1 AND bus_accession_number <> '' ORDER BY 1",
        [accession_number],
    )
    return [row["id"] for row in found]


def _dose_report(reader: Reader, id: int) -> DoseReport:
    values: dict[str, list[Measured]] = {}
    for row in reader.rows("SELECT * FROM dose_value WHERE received_id = ? ORDER BY event_uid, position", [id]):
        measured = Measured(Quantity(row["quantity"]), row["value"], row["unit"], row["part"])
        values.setdefault(row["event_uid"], []).append(measured)
    uids: Sequence[Row] = reader.rows("SELECT * FROM dose_event WHERE received_id = ? ORDER BY uid", [id])
    events = tuple(
        IrradiationEvent(
            row["uid"],
            tuple(values.get(row["uid"], ())),
            tuple(row["views"].split("\n")) if row["views"] else (),
            None if row["kv_from"] is None else (row["kv_from"], row["kv_to"]),
        )
        for row in uids
    )
    return DoseReport(tuple(values.get("", ())), events)


def _from_row(row: Row) -> StoredObject:
    received = ReceivedObject(
        **{name: row[name] for name in _TEXTS},
        kind=ReceivedKind(row["kind"]),
        implicit=bool(row["implicit"]),
    )
    held = HeldReason(row["held"]) if row["held"] else None
    return StoredObject(row["id"], received, datetime.fromisoformat(row["received_at"]), row["order_id"], held)
