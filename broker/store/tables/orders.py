"""Orders and their scheduled steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Literal

from broker.domain.errors import NotFound
from broker.domain.orders import BusRole, Order, OrderState, Priority, ScheduledStep, StepState
from broker.domain.patients.people import PersonName
from broker.domain.studies.performed import StepReference
from broker.store import rows
from broker.store.database import Reader, Row, Tx
from broker.store.tables.patients import patients

# An order has our accession number, and perhaps the region's and that of its Imaging Service Request, which several
# orders share, as they share the region's number of the first of them; each has an index.
HAS_NUMBER = (
    "id IN (SELECT id FROM orders WHERE accession_number = ?1"
    " UNION ALL SELECT id FROM orders WHERE bus_accession_number = ?1"
    " UNION ALL SELECT id FROM orders WHERE request_number = ?1 AND request_number <> ''"
    " UNION ALL SELECT id FROM orders WHERE request_number <> ''"
    " AND request_number IN (SELECT accession_number FROM orders WHERE bus_accession_number = ?1))"
)
_OWN_FIRST = f"SELECT id FROM orders WHERE {HAS_NUMBER} ORDER BY accession_number <> ?1, id LIMIT 1"

# Completed studies of ours without a signed report; the conditions of the index orders_unreported, word for word.
UNREPORTED = "o.state = 'completed' AND o.reported = 0 AND o.owner = ''"


def next_number(tx: Tx, name: str) -> int:
    """Increment a named counter and return it."""
    return int(
        tx.value(
            "INSERT INTO counter (name, value) VALUES (?, 1)"
            " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            [name],
        )
    )


def get(reader: Reader, id: int) -> Order | None:
    """Return an order with its patient and steps, or None."""
    found = get_many(reader, [id])
    return found[0] if found else None


def require(reader: Reader, id: int) -> Order:
    """Return an order with its patient and steps; raise NotFound."""
    order = get(reader, id)
    if order is None:
        raise NotFound(f"order {id}")
    return order


def count_up(tx: Tx, id: int) -> None:
    """Increment an order's revision: its patient has changed."""
    tx.run("UPDATE orders SET revision = revision + 1 WHERE id = ?", [id])


def of_patient(reader: Reader, patient_id: int) -> list[Order]:
    """Return all orders of a card, oldest first."""
    found = reader.rows("SELECT id FROM orders WHERE patient_id = ? ORDER BY id", [patient_id])
    return get_many(reader, [row["id"] for row in found])


def get_many(reader: Reader, ids: Sequence[int]) -> list[Order]:
    """Return the orders with these ids, in the ids' order; unknown ids are left out."""
    wanted = [json.dumps(list(ids))]
    found = reader.rows(
        "SELECT o.*, (SELECT bus_accession_number FROM orders"
        " WHERE accession_number = o.request_number AND o.request_number <> '') AS request_bus_number"
        " FROM orders o WHERE o.id IN (SELECT value FROM json_each(?))",
        wanted,
    )
    people = {
        row["id"]: row
        for row in reader.rows(
            "SELECT * FROM patient WHERE id IN (SELECT patient_id FROM orders WHERE id IN"
            " (SELECT value FROM json_each(?)))",
            wanted,
        )
    }
    steps: dict[int, list[ScheduledStep]] = {}
    for row in reader.rows(
        "SELECT s.*, (SELECT group_concat(ae_title, char(10)) FROM"
        " (SELECT ae_title FROM scheduled_step_station WHERE step_id = s.id ORDER BY position)) AS stations"
        " FROM scheduled_step s WHERE s.order_id IN (SELECT value FROM json_each(?)) ORDER BY s.id",
        wanted,
    ):
        steps.setdefault(row["order_id"], []).append(_step(row))
    by_id = {row["id"]: _order(row, people[row["patient_id"]], steps.get(row["id"], [])) for row in found}
    return [by_id[id] for id in ids if id in by_id]


def by_accession_number(reader: Reader, accession_number: str) -> Order | None:
    """Return the order with this accession number, ours or the region's, or None; of one request its first order."""
    id = reader.value(_OWN_FIRST, [accession_number])
    return get(reader, id) if id else None


def of_request(reader: Reader, order: Order) -> list[Order]:
    """Return the other orders of an order's Imaging Service Request, oldest first: those of the same shown number."""
    return [each for each in of_shown_number(reader, order.shown_number) if each.id != order.id]


def of_shown_number(reader: Reader, number: str) -> list[Order]:
    """Return the orders whose devices and labels bear this accession number, oldest first."""
    found = reader.rows(
        "SELECT id FROM orders WHERE (accession_number = ?1 AND request_number = '')"
        " OR (request_number = ?1 AND request_number <> '') ORDER BY id",
        [number],
    )
    return get_many(reader, [row["id"] for row in found])


def by_submission(reader: Reader, submission_id: str) -> tuple[Order, str] | None:
    """Return the order of an earlier submission with this id, and that submission's digest; None if there is none."""
    row = reader.one("SELECT id, submission_digest FROM orders WHERE submission_id = ?", [submission_id])
    order = get(reader, row["id"]) if row else None
    return (order, row["submission_digest"]) if row and order else None


def is_taken(reader: Reader, number: str, value: str, by_another_than: int | None = None) -> bool:
    """Return True if an order other than `by_another_than` has `value` as its `number` (accession_number, …)."""
    return owner(reader, number, value) not in (None, by_another_than)


def owner(reader: Reader, number: str, value: str) -> int | None:
    """Return the id of the order whose `number` (accession_number, study_instance_uid, …) is `value`, or None."""
    queries = {
        "accession_number": _OWN_FIRST,
        "study_instance_uid": "SELECT id FROM orders WHERE study_instance_uid = ?",
        "requested_procedure_id": "SELECT id FROM orders WHERE requested_procedure_id = ?",
        "sps_id": "SELECT order_id FROM scheduled_step WHERE sps_id = ?",
    }
    id = reader.value(queries[number], [value])
    return None if id is None else int(id)


def next_id(tx: Tx, table: Literal["orders", "scheduled_step"]) -> int:
    """Return the id of the order, or of the scheduled step, that is to be added next; ids are never used again."""
    return 1 + int(tx.value("SELECT seq FROM sqlite_sequence WHERE name = ?", [table]) or 0)


def add(tx: Tx, order: Order, submission_id: str, submission_digest: str) -> None:
    """Insert a new order with its steps, under the ids that they have from `next_id`."""
    rows.insert(
        tx,
        "orders",
        {
            "id": order.id,
            **_referral_columns(order),
            **_order_columns(order),
            "state_since": tx.now.isoformat(),
            "submission_id": submission_id or None,
            "submission_digest": submission_digest,
        },
    )
    for step in order.steps:
        add_step(tx, order.id, step)


def add_step(tx: Tx, order_id: int, step: ScheduledStep) -> None:
    """Insert a step of an order, under the id that it has from `next_id`."""
    rows.insert(
        tx,
        "scheduled_step",
        {
            "id": step.id,
            "order_id": order_id,
            "sps_id": step.sps_id,
            "start": step.start.isoformat(timespec="seconds"),
            "state": step.state,
            "state_since": tx.now.isoformat(),
            "attributes": _json(step.attributes),
        },
    )
    _set_stations(tx, step.id, step.station_ae_titles)


def update(tx: Tx, order: Order) -> None:
    """Update the referral part of an order and increment its revision."""
    rows.update(tx, "orders", _referral_columns(order), {"id": order.id}, also="revision = revision + 1")


def set_numbers(tx: Tx, order: Order) -> None:
    """Update an order's patient and numbers, and those of its steps: a script has changed them."""
    tx.run(
        "UPDATE orders SET accession_number = ?, request_number = ?, study_instance_uid = ?,"
        " requested_procedure_id = ?, patient_id = ? WHERE id = ?",
        [
            order.accession_number,
            order.request_number,
            order.study_instance_uid,
            order.requested_procedure_id,
            order.patient.stored_id,
            order.id,
        ],
    )
    for step in order.steps:
        tx.run("UPDATE scheduled_step SET sps_id = ? WHERE id = ?", [step.sps_id, step.id])


def set_attributes(tx: Tx, id: int, attributes: dict[str, Any]) -> None:
    """Update the passthrough attributes of an order; the caller increments the revision."""
    tx.run("UPDATE orders SET attributes = ? WHERE id = ?", [_json(attributes), id])


def forget(tx: Tx, patient_id: int, keywords: Sequence[str]) -> None:
    """Delete passthrough attributes with these DICOM keywords from a patient's orders: a person changed the field."""
    if keywords:
        places = [f'$.top."{keyword}"' for keyword in keywords]
        tx.run(
            f"UPDATE orders SET attributes = json_remove(attributes{', ?' * len(places)})"
            " WHERE patient_id = ? AND attributes <> ''",
            [*places, patient_id],
        )


def set_bus_accession_number(tx: Tx, order_id: int, value: str) -> bool:
    """Store the region's accession number (1 to 16 characters); return False without a change if another order has it.

    The revision stays: nothing that people edit has changed.
    """
    same_request = "request_number = (SELECT accession_number FROM orders WHERE id = ?2)"
    if tx.value(f"SELECT 1 FROM orders WHERE id <> ?2 AND NOT {same_request} AND {HAS_NUMBER}", [value, order_id]):
        return False
    tx.run("UPDATE orders SET bus_accession_number = ? WHERE id = ?", [value, order_id])
    # The other orders of its request are shown with it.
    tx.run(
        "INSERT INTO worklist_change (order_id) SELECT id FROM orders WHERE request_number <> ''"
        " AND request_number = (SELECT accession_number FROM orders WHERE id = ?)",
        [order_id],
    )
    return True


def reschedule(tx: Tx, step_id: int, start: datetime, station_ae_titles: Sequence[str]) -> None:
    """Move a step to another time or other stations; the deliveries to stations are cleared."""
    tx.run("UPDATE scheduled_step SET start = ? WHERE id = ?", [start.isoformat(timespec="seconds"), step_id])
    tx.run("DELETE FROM scheduled_step_station WHERE step_id = ?", [step_id])
    _set_stations(tx, step_id, station_ae_titles)
    tx.run("DELETE FROM worklist_delivery WHERE step_id = ?", [step_id])


def set_step_attributes(tx: Tx, step: ScheduledStep) -> None:
    """Update the passthrough attributes of a step; the caller increments the order's revision."""
    tx.run("UPDATE scheduled_step SET attributes = ? WHERE id = ?", [_json(step.attributes), step.id])


def set_state(tx: Tx, order_id: int, state: OrderState) -> None:
    """Set the state of an order and increment its revision, by which caches and open screens notice the change."""
    tx.run(
        "UPDATE orders SET state_since = CASE WHEN state = :state THEN state_since ELSE :now END, state = :state,"
        " revision = revision + 1 WHERE id = :id",
        {"state": state, "now": tx.now.isoformat(), "id": order_id},
    )


def set_step_state(tx: Tx, step_id: int, state: StepState) -> None:
    """Set the state of a scheduled step."""
    tx.run(
        "UPDATE scheduled_step SET state = ?, state_since = ? WHERE id = ?",
        [state, tx.now.isoformat(), step_id],
    )


# The first of these that is known decides; each has an index.
_NAMED = {
    "study_instance_uid": "o.study_instance_uid = ?2",
    "referenced_study_uids": "o.study_instance_uid IN (SELECT value FROM json_each(?3))",
    "sps_id": "s.sps_id = ?4",
    "accession_number": f"o.{HAS_NUMBER}",
    "requested_procedure_id": "o.requested_procedure_id = ?5",
}
_BY_NUMBER = ("sps_id", "accession_number", "requested_procedure_id")
_STEPS_NAMED = " UNION ALL ".join(
    f"SELECT '{name}' AS name, o.id AS order_id, s.id AS step_id, s.sps_id"
    f" FROM orders o JOIN scheduled_step s ON s.order_id = o.id WHERE {condition}"
    for name, condition in _NAMED.items()
)


def find_steps(
    reader: Reader, reference: StepReference, *, shared_uid: bool = False
) -> tuple[list[tuple[int, int]], list[str]]:
    """Return the (order id, step id) pairs that a modality's reference names, and the contradicting fields of it.

    The first known one decides: Study Instance UID, Scheduled Procedure Step ID, accession number, requested procedure
    id. An SPS ID selects one step of the order. Referenced studies name all orders of a group.
    `shared_uid`: other items of the same message have the same Study Instance UID, which then belongs to the images of
    a group and counts last (PS3.4 F.7.2.1.2 Note 2). A field contradicts if it names another order than the one found,
    and an accession number if several orders share it and nothing says which is meant: then all of them are returned.
    """
    found: dict[str, list[Row]] = {name: [] for name in _NAMED}
    values = (
        reference.accession_number,
        reference.study_instance_uid,
        json.dumps(reference.referenced_study_uids),
        reference.sps_id,
        reference.requested_procedure_id,
    )
    for row in reader.rows(_STEPS_NAMED, [value or None for value in values]):  # NULL matches nothing
        found[row["name"]].append(row)
    steps: list[tuple[int, int]] = []
    conflicts: list[str] = []
    for name in (*_BY_NUMBER, "referenced_study_uids", "study_instance_uid") if shared_uid else _NAMED:
        named = found[name]
        if not steps:
            if name == "accession_number":
                requested = {row["order_id"] for row in found["requested_procedure_id"]}
                named = [row for row in named if row["order_id"] in requested] or named
                if len({row["order_id"] for row in named}) > 1:
                    conflicts.append(name)
            exact = [row for row in named if reference.sps_id and row["sps_id"] == reference.sps_id]
            steps = [(row["order_id"], row["step_id"]) for row in exact or named]
        elif shared_uid and name.endswith(("uid", "uids")):
            continue  # names the group, or its other orders
        else:
            chosen, others = {order_id for order_id, _ in steps}, {row["order_id"] for row in named}
            # A shared accession number names the other orders of its request, too.
            if others - chosen and (name != "accession_number" or chosen - others):
                conflicts.append(name)
    return steps, conflicts


def _set_stations(tx: Tx, step_id: int, station_ae_titles: Sequence[str]) -> None:
    for position, ae_title in enumerate(dict.fromkeys(station_ae_titles)):
        tx.run(
            "INSERT INTO scheduled_step_station (step_id, ae_title, position) VALUES (?, ?, ?)",
            [step_id, ae_title, position],
        )


def _json(attributes: dict[str, Any]) -> str:
    return json.dumps(attributes, ensure_ascii=False) if attributes else ""


# Columns of the referral's fields that are not texts; a new text field of Order needs nothing in this module. All other
# columns are named in _order_columns.
_SPECIAL = frozenset({"id", "patient", "steps", "revision", "referrer", "request_bus_number"})
_FIXED = (
    "accession_number",
    "study_instance_uid",
    "requested_procedure_id",
    "state",
    "created_by",
    "bus_role",
    "requester",
    "owner",
    "attributes",
    "authored_on",
    "bus_accession_number",
    "request_number",
)
_REFERRAL = tuple(each.name for each in fields(Order) if each.name not in _SPECIAL and each.name not in _FIXED)


def _referral_columns(order: Order) -> dict[str, object]:
    return {name: getattr(order, name) for name in _REFERRAL} | {
        "referrer_family": order.referrer.family,
        "referrer_given": order.referrer.given,
        "referrer_middle": order.referrer.middle,
    }


def _order_columns(order: Order) -> dict[str, object]:
    return {name: getattr(order, name) for name in _FIXED} | {
        "patient_id": order.patient.stored_id,
        "attributes": _json(order.attributes),
        "authored_on": order.authored_on.isoformat(),
        "bus_accession_number": order.bus_accession_number or None,
        "requester": order.requester or "",
        "owner": order.owner or "",
    }


def _order(row: Row, patient: Row, steps: list[ScheduledStep]) -> Order:
    return Order(
        **{name: row[name] for name in (*_REFERRAL, *_FIXED)}
        | {
            "procedure_local": bool(row["procedure_local"]),
            "priority": Priority(row["priority"]),
            "state": OrderState(row["state"]),
            "bus_role": BusRole(row["bus_role"]),
            "attributes": json.loads(row["attributes"]) if row["attributes"] else {},
            "authored_on": datetime.fromisoformat(row["authored_on"]),
            "bus_accession_number": row["bus_accession_number"] or "",
            "requester": row["requester"] or None,
            "owner": row["owner"] or None,
        },
        id=row["id"],
        patient=patients.from_row(patient),
        referrer=PersonName(row["referrer_family"], row["referrer_given"], row["referrer_middle"]),
        steps=tuple(steps),
        revision=row["revision"],
        request_bus_number=row["request_bus_number"] or "",
    )


def _step(row: Row) -> ScheduledStep:
    return ScheduledStep(
        id=row["id"],
        sps_id=row["sps_id"],
        start=datetime.fromisoformat(row["start"]),
        state=StepState(row["state"]),
        station_ae_titles=tuple((row["stations"] or "").split("\n")) if row["stations"] else (),
        attributes=json.loads(row["attributes"]) if row["attributes"] else {},
    )
