"""What modalities have stored of studies: reports, documents, and the dose of a study. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker.domain.orders import Order, OrderState
from broker.domain.studies import dose
from broker.domain.studies.dose import StudyDose
from broker.domain.studies.received import HeldReason, StoredObject
from broker.store.database import Reader
from broker.store.queries.patients import patient_index
from broker.store.queries.studies import dose_limits
from broker.store.tables import orders
from broker.store.tables.studies import received_objects


@dataclass(frozen=True, slots=True)
class HeldObject:
    """An object that belongs to no order yet, and the order that it names but does not belong to, where there is one.

    That order is another patient's, was cancelled, or the object was taken away from it (`is_unlinked`).
    """

    stored: StoredObject
    named: Order | None = None
    is_unlinked: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """What modalities have stored of an order: the objects, the oldest first, and the dose of their dose reports."""

    objects: tuple[StoredObject, ...] = ()
    dose: StudyDose = field(default_factory=StudyDose)


def of_order(reader: Reader, order_id: int) -> Received:
    """Return what modalities have stored of an order."""
    objects = tuple(received_objects.of_order(reader, order_id))
    return Received(objects, _dose(reader, order_id)) if objects else Received()


def doses(reader: Reader, order_ids: Sequence[int]) -> dict[str, StudyDose]:
    """Return the doses that dose reports state of these orders: accession number -> dose."""
    rows = reader.rows(
        "SELECT o.id, o.accession_number FROM orders o WHERE o.id IN (SELECT value FROM json_each(?)) AND EXISTS"
        " (SELECT 1 FROM received_object r WHERE r.order_id = o.id AND r.kind = 'dose')",
        [json.dumps(list(order_ids))],
    )
    return {row["accession_number"]: _dose(reader, row["id"]) for row in rows}


def _dose(reader: Reader, order_id: int) -> StudyDose:
    return dose_limits.check(reader, order_id, dose.of_study(received_objects.dose_reports(reader, order_id)))


def held(reader: Reader) -> tuple[HeldObject, ...]:
    """Return the objects that wait for a person, the newest first."""
    return tuple(_held(reader, each) for each in received_objects.held(reader))


def _held(reader: Reader, stored: StoredObject) -> HeldObject:
    unlinked = received_objects.unlinked_from(reader, stored.id)
    if stored.held is HeldReason.NO_ORDER and unlinked:
        return HeldObject(stored, orders.get(reader, max(unlinked)), is_unlinked=True)
    named = None if stored.held is HeldReason.SEVERAL_ORDERS else _named(reader, stored)
    if stored.held is HeldReason.NO_ORDER and named is not None and named.state is not OrderState.CANCELLED:
        named = None
    return HeldObject(stored, named)


def held_count(reader: Reader) -> int:
    """Return how many objects wait for a person."""
    return int(reader.value("SELECT count(*) FROM received_object WHERE held <> ''"))


def compared(reader: Reader, stored: StoredObject, number: str) -> tuple[Order, tuple[str, ...]] | None:
    """Return the order with this accession number, and in which fields its patient is another; None without one."""
    order = orders.by_accession_number(reader, number)
    if order is None:
        return None
    each = stored.received
    person = each.patient_name, each.patient_id, each.patient_birth_date, each.patient_sex
    return order, tuple(patient_index.contradictions(reader, order.patient, *person))


def _named(reader: Reader, stored: StoredObject) -> Order | None:
    each = stored.received
    ids = received_objects.orders_of_study(reader, each.study_instance_uid) if each.study_instance_uid else []
    ids = ids or (received_objects.orders_of_number(reader, each.accession_number) if each.accession_number else [])
    return orders.get(reader, ids[0]) if len(ids) == 1 else None
