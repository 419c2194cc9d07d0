"""Use cases of what modalities store here: structured reports and documents, each joined with the order it names.

Which order that is is never guessed: an object that names none, several, or another patient waits for a person.
"""

from __future__ import annotations

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import WrongState
from broker.domain.orders import Order
from broker.domain.patients import confirmation
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.dose import DoseReport
from broker.domain.studies.received import HeldReason, Receipt, ReceivedKind, ReceivedObject, StoredObject, match
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.queries.patients import patient_index
from broker.store.tables import audit, orders
from broker.store.tables.studies import received_objects
from broker.workflow.studies import archived_reports, effective_doses

MOST_MATCHED = 200  # held objects that are compared again, the newest


def receive(tx: Tx, received: ReceivedObject, dose: DoseReport | None, actor: Actor) -> Receipt:
    """Store an object that a modality sends, with the doses that it states, and join it with its order."""
    known = received_objects.digest(tx, received.sop_instance_uid)
    if known is not None:
        return Receipt.REPEATED if known == received.digest else Receipt.OTHER_CONTENT
    found = _order(tx, received)
    order_id, held = (None, found) if isinstance(found, HeldReason) else (found, None)
    if order_id and archived_reports.is_ours(tx, order_id, received.study_instance_uid, received.sop_instance_uid):
        return Receipt.REPEATED  # a document of ours, which the archive sends on
    id = received_objects.add(tx, received, order_id, held)
    if dose is not None:
        received_objects.add_dose(tx, id, dose)
        if order_id is not None:
            effective_doses.recalculate(tx, order_id)
    audit.write(
        tx,
        actor,
        AuditAction.OBJECT_RECEIVED,
        order_id,
        sop_instance_uid=received.sop_instance_uid,
        kind=received.kind,
        held=held or "",
    )
    tx.notify()
    return Receipt.STORED


def match_held(tx: Tx, actor: Actor) -> int:
    """Join held objects with orders that they name by now, by the rules of their receipt; return how many.

    A device may send its report before the order is typed, or before a person links its step.
    """
    joined = 0
    for stored in received_objects.held(tx)[:MOST_MATCHED]:
        found = _order(tx, stored.received)
        if found == stored.held:
            continue
        if isinstance(found, HeldReason):
            received_objects.set_held(tx, stored.id, found)
        else:
            joined += 1
            _join(tx, stored, found)
            uid = stored.received.sop_instance_uid
            audit.write(tx, actor, AuditAction.OBJECT_JOINED, found, sop_instance_uid=uid)
        tx.notify()
    return joined


def may_match(reader: Reader) -> bool:
    """Return True if `match_held` would change something; without a lock."""
    return any(_order(reader, each.received) != each.held for each in received_objects.held(reader)[:MOST_MATCHED])


def join(tx: Tx, id: int, order_id: int, actor: Actor, confirmed: Confirmation | None = None) -> Order:
    """Let a held object belong to an order, as this person says; return the order.

    `confirmed`: the patient as the person saw it, and the fields in which the two contradict each other; None: there
    was nothing to confirm. Raise NotFound, WrongState if it is held no more, Invalid with the fields that contradict
    and are not confirmed, Stale if the patient is another one by now, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    stored, order = received_objects.require(tx, id), orders.require(tx, order_id)
    if stored.held is None:
        raise WrongState(f"received object {id} belongs to an order")
    wrong = contradictions(tx, order, stored.received)
    confirmation.check(order.patient, wrong, confirmed)
    _join(tx, stored, order.id)
    audit.write(
        tx,
        actor,
        AuditAction.OBJECT_JOINED,
        order.id,
        sop_instance_uid=stored.received.sop_instance_uid,
        confirmed=", ".join(wrong),
    )
    tx.notify()
    return order


def _join(tx: Tx, stored: StoredObject, order_id: int) -> None:
    received_objects.set_order(tx, stored.id, order_id)
    if stored.received.kind is ReceivedKind.DOSE:
        effective_doses.recalculate(tx, order_id)


def contradictions(reader: Reader, order: Order, received: ReceivedObject) -> list[str]:
    """Return in which fields the patient of an object contradicts an order's."""
    person = received.patient_name, received.patient_id, received.patient_birth_date, received.patient_sex
    return patient_index.contradictions(reader, order.patient, *person)


def _order(reader: Reader, received: ReceivedObject) -> int | HeldReason:
    uid, number = received.study_instance_uid, received.accession_number
    found = match(
        received_objects.orders_of_study(reader, uid) if uid else [],
        received_objects.orders_of_number(reader, number) if number else [],
    )
    if isinstance(found, HeldReason):
        return found
    order = orders.require(reader, found)
    return HeldReason.OTHER_PATIENT if contradictions(reader, order, received) else order.id
