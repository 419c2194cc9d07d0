"""Use cases of the exchange with the region: resend what needs attention, resume after a pause."""

from __future__ import annotations

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import NotFound, Stale, WrongState
from broker.domain.messages import OTHER_PATIENT
from broker.domain.patients.incomplete import missing
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, bus_channel, orders, outbox
from broker.store.tables.patients import region_patients


def resend(tx: Tx, order_id: int, actor: Actor) -> int:
    """Put an order's messages that need attention back into the queue; return their number. Raise Forbidden."""
    permit(tx, actor, Permission.RESEND)
    count = outbox.resume(tx, order_id)
    audit.write(tx, actor, AuditAction.RESEND, order_id, messages=count)
    tx.notify()
    return count


def resend_message(tx: Tx, seq: int, actor: Actor) -> int:
    """Put a message that needs attention back into the queue, with the others of its order; return their number.

    Raise NotFound, Forbidden.
    """
    row = outbox.get(tx, seq)
    if row is None:
        raise NotFound(f"message {seq}")
    if row.order_id is not None:
        return resend(tx, row.order_id, actor)
    permit(tx, actor, Permission.RESEND)
    if row.opinion_id is not None:
        count = outbox.resume_for_opinion(tx, row.opinion_id)
        audit.write(tx, actor, AuditAction.RESEND, messages=count, opinion=row.opinion_id)
    else:
        count = outbox.resume_for_referral(tx, row.incoming_id or 0)
        audit.write(tx, actor, AuditAction.RESEND, messages=count, incoming=row.incoming_id)
    tx.notify()
    return count


def send_under_patient_in_region(tx: Tx, order_id: int, patient_revision: int, actor: Actor) -> None:
    """Send results that wait because the region has the order under other data: a person answers for them.

    `patient_revision` is that of the card which the person saw. Raise Stale if it has changed since, WrongState if the
    patient is not fully known or nothing waits for this, NotFound, Forbidden.
    """
    permit(tx, actor, Permission.RESEND)
    order = orders.require(tx, order_id)
    if order.patient.revision != patient_revision:
        raise Stale(f"patient {order.patient.patient_id}")
    if missing(order.patient) or not outbox.is_held(tx, order_id, OTHER_PATIENT):
        raise WrongState(f"no result of {order.accession_number} waits for the region's data of the patient")
    before = region_patients.get(tx, order_id)
    region_patients.confirm(tx, order_id, order.patient)
    outbox.resume(tx, order_id)
    sent = str(before.name) if before else ""
    audit.write(tx, actor, AuditAction.REGION_PATIENT_CONFIRMED, order_id, sent=sent, now=str(order.patient.name))
    tx.notify()


def resume_exchange(tx: Tx, actor: Actor) -> None:
    """Have the exchange try again now, after a pause (the token was refused) or before a wait is over.

    Raise Forbidden.
    """
    permit(tx, actor, Permission.RESEND)
    bus_channel.set_state(tx, "ok", "", None, answered=False)
    audit.write(tx, actor, AuditAction.EXCHANGE_GO_ON)
    tx.notify()
