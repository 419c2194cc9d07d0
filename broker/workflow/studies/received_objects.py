"""Use cases of what modalities store here: structured reports and documents, each joined with the order it names.

Which order that is is never guessed: an object that names none, several, or another patient waits for a person.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import WrongState
from broker.domain.orders import Order, OrderState
from broker.domain.patients import confirmation
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.dose import DoseReport
from broker.domain.studies.performed import StepSource
from broker.domain.studies.received import HeldReason, Receipt, ReceivedKind, ReceivedObject, StoredObject, match
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.queries.patients import patient_index
from broker.store.tables import audit, orders
from broker.store.tables.studies import performed, performed_links, received_objects
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
    if order_id and _is_disclaimed(tx, order_id):
        order_id, held = None, HeldReason.NO_ORDER
    id = received_objects.add(tx, received, order_id, held)
    if held is HeldReason.NO_ORDER and not isinstance(found, HeldReason):
        received_objects.note_unlinked(tx, id, found)
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
        found = _order(tx, stored.received, stored.id)
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
    return any(
        _order(reader, each.received, each.id) != each.held for each in received_objects.held(reader)[:MOST_MATCHED]
    )


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


def take_away(tx: Tx, order: Order, study_uids: Collection[str], source: StepSource, actor: Actor) -> None:
    """Take from an order what was stored of studies that are not its own, as a person or the device says.

    It waits for a person who says whose it is, and its dose counts no more. With no performed step left, so does what
    was joined by its number alone; what a person has joined by another study's UID stays. What a person had closed
    (`source`) names no study: of that nothing is taken. Called after the step was unlinked.
    """
    if source is not StepSource.MANUAL:
        is_all = not performed.states_of_order(tx, order.id)
        for stored in received_objects.of_order(tx, order.id):
            is_by_person = received_objects.was_confirmed(tx, order.id, stored.received.sop_instance_uid)
            if stored.received.study_instance_uid in study_uids or (is_all and not is_by_person):
                received_objects.note_unlinked(tx, stored.id, order.id)
                _release(tx, stored, order.id, HeldReason.NO_ORDER, actor)
    effective_doses.remeasure(tx, order.id)


def follow_step(tx: Tx, order: Order, study_uids: Collection[str], confirmed: Collection[str], actor: Actor) -> None:
    """Join what was stored of a performed step's studies with the order to which a person has linked the step.

    `confirmed`: the fields in which the step's patient contradicts the order's, as the person has seen them. Where an
    object contradicts in more, or may be another order's too, it goes on waiting. Called after the step was linked.
    """
    for stored in received_objects.held(tx):
        if stored.received.study_instance_uid in study_uids:
            received_objects.forget_unlinked(tx, stored.id, order.id)
            named = _named(tx, stored.received, stored.id)
            if named == order.id and set(contradictions(tx, order, stored.received)) <= set(confirmed):
                _join(tx, stored, order.id)
                uid, fields = stored.received.sop_instance_uid, ", ".join(confirmed)
                audit.write(tx, actor, AuditAction.OBJECT_JOINED, order.id, sop_instance_uid=uid, confirmed=fields)
    effective_doses.remeasure(tx, order.id)


def release_of_cancelled(tx: Tx, order_id: int, actor: Actor) -> None:
    """Let what was stored of an order that was cancelled wait for a person: something was made nevertheless.

    It is joined again by itself if the order is restored, or a device performs it.
    """
    for stored in received_objects.of_order(tx, order_id):
        _release(tx, stored, order_id, HeldReason.NO_ORDER, actor)
    effective_doses.remeasure(tx, order_id)


def release_contradicting(tx: Tx, order_ids: Sequence[int], actor: Actor, *, confirmed_too: bool) -> None:
    """Let what contradicts the patients of these orders by now wait for a person.

    `confirmed_too`: the patient is another one, so what a person has confirmed was confirmed of somebody else.
    """
    for order_id in order_ids:
        for stored in received_objects.of_order(tx, order_id):
            is_confirmed = received_objects.was_confirmed(tx, order_id, stored.received.sop_instance_uid)
            if is_confirmed and not confirmed_too:
                continue
            if contradictions(tx, orders.require(tx, order_id), stored.received):
                _release(tx, stored, order_id, HeldReason.OTHER_PATIENT, actor)
        effective_doses.remeasure(tx, order_id)


def _release(tx: Tx, stored: StoredObject, order_id: int, held: HeldReason, actor: Actor) -> None:
    received_objects.release(tx, stored.id, held)
    uid = stored.received.sop_instance_uid
    audit.write(tx, actor, AuditAction.OBJECT_TAKEN_AWAY, order_id, sop_instance_uid=uid, held=held)
    tx.notify()


def _join(tx: Tx, stored: StoredObject, order_id: int) -> None:
    received_objects.set_order(tx, stored.id, order_id)
    if stored.received.kind is ReceivedKind.DOSE:
        effective_doses.recalculate(tx, order_id)


def contradictions(reader: Reader, order: Order, received: ReceivedObject) -> list[str]:
    """Return in which fields the patient of an object contradicts an order's."""
    person = received.patient_name, received.patient_id, received.patient_birth_date, received.patient_sex
    return patient_index.contradictions(reader, order.patient, *person)


def _order(reader: Reader, received: ReceivedObject, id: int | None = None) -> int | HeldReason:
    found = _named(reader, received, id)
    if isinstance(found, HeldReason):
        return found
    order = orders.require(reader, found)
    if order.state is OrderState.CANCELLED:
        return HeldReason.NO_ORDER
    return HeldReason.OTHER_PATIENT if contradictions(reader, order, received) else order.id


def _named(reader: Reader, received: ReceivedObject, id: int | None) -> int | HeldReason:
    """Return the order that an object names, without those that it was taken away from; or why none."""
    uid, number = received.study_instance_uid, received.accession_number
    others = received_objects.unlinked_from(reader, id) if id is not None else frozenset[int]()
    return match(
        [each for each in received_objects.orders_of_study(reader, uid) if each not in others] if uid else [],
        [each for each in received_objects.orders_of_number(reader, number) if each not in others] if number else [],
    )


def _is_disclaimed(reader: Reader, order_id: int) -> bool:
    """Return True if all that was performed for an order turned out not to be its own: perhaps this object is not."""
    return not performed.states_of_order(reader, order_id) and performed_links.was_unlinked(reader, order_id)
