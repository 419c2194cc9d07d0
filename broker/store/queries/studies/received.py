"""What modalities have stored of studies: reports, documents, and the dose of a study. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from broker.domain.orders import Order, OrderState
from broker.domain.studies import dose
from broker.domain.studies.dose import StudyDose
from broker.domain.studies.received import HeldReason, ReceivedKind, StoredObject
from broker.store.database import Reader
from broker.store.queries.patients import patient_index
from broker.store.queries.studies import dose_limits
from broker.store.tables import orders
from broker.store.tables.reading import reads, reports
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
    """What modalities have stored of an order: the objects, the oldest first, and the dose of their dose reports.

    `is_hidden`: readers do not know each other's findings yet, so what a report or document says is not shown to any.
    """

    objects: tuple[StoredObject, ...] = ()
    dose: StudyDose = field(default_factory=StudyDose)
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class ObjectToOpen:
    """An object that is opened, and the study that it belongs to."""

    stored: StoredObject
    order: Order
    others: frozenset[str]  # SOP Instance UIDs of what else was stored of the study
    is_hidden: bool  # as in `Received`
    is_reported: bool  # the study's report is signed


def of_order(reader: Reader, order_id: int) -> Received:
    """Return what modalities have stored of an order."""
    objects = tuple(received_objects.of_order(reader, order_id))
    if not objects:
        return Received()
    is_hidden = _is_hidden(reader, order_id)
    if is_hidden:
        objects = tuple(_untitled(each) if _has_findings(each) else each for each in objects)
    return Received(objects, _dose(reader, order_id), is_hidden)


def to_open(reader: Reader, id: int) -> ObjectToOpen | None:
    """Return an object and its study; None if there is none, or it belongs to no study."""
    stored = received_objects.get(reader, id)
    if stored is None or stored.order_id is None:
        return None
    return ObjectToOpen(
        stored=stored,
        order=orders.require(reader, stored.order_id),
        others=frozenset(
            each.received.sop_instance_uid
            for each in received_objects.of_order(reader, stored.order_id)
            if each.id != stored.id
        ),
        is_hidden=_has_findings(stored) and _is_hidden(reader, stored.order_id),
        is_reported=reports.signed(reader, stored.order_id) is not None,
    )


def _has_findings(stored: StoredObject) -> bool:
    return stored.received.kind is not ReceivedKind.DOSE


def _untitled(stored: StoredObject) -> StoredObject:
    return replace(stored, received=replace(stored.received, title=""))


def _is_hidden(reader: Reader, order_id: int) -> bool:
    """Return True if a study's report will be made of reads, and is not signed yet."""
    if reports.signed(reader, order_id) is not None:
        return False
    return reads.needed(reader, order_id) > 1 or any(each.given_at for each in reads.of_order(reader, order_id))


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
