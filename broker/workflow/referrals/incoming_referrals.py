"""Use cases of incoming referrals: receive, accept, decline; and what their senders cancel or change.

Messages may come twice or in the wrong order: one that is not newer than the known version changes nothing. What came
from the bus is not sent back to it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from broker.domain import lifecycle
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.devices import ProcedureType
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Invalid, NotFound, Stale, WrongState
from broker.domain.incoming import ArrivalKind, ArrivalState, IncomingReferral, IncomingState
from broker.domain.lifecycle import Event
from broker.domain.messages import OTHER_PATIENT, SENDERS_ENCOUNTER, OutboxKind
from broker.domain.orders import BusRole, Order, OrderState, ReferralDraft
from broker.domain.patients import names
from broker.domain.patients.identifiers import ACCESSION_NUMBER_LENGTH
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries import inbox, lookups
from broker.store.tables import audit, clients, incoming, orders, outbox
from broker.store.tables.incoming import Arrival
from broker.workflow.referrals import referrals

log = logging.getLogger(__name__)

BUS = "bus"  # the source of what the region sends; every other one is a local client
SYSTEM_PROCEDURE = "1.2.643.5.1.13.13.11.1471"
CHANGED_LATE = "changed after it was accepted"
CANCELLED_LATE = "cancelled too late"


class ReceiveOutcome(StrEnum):
    """The outcome of an incoming message."""

    WAITING = "waiting"  # for a person
    ORDERED = "ordered"  # accepted automatically
    CANCELLED = "cancelled"
    LATE = "late"  # too late: a person must decide
    NOTHING = "nothing"  # it brought nothing new


# ---- messages of the sender ----


def receive(
    tx: Tx,
    referral: IncomingReferral,
    arrival: Arrival,
    actor: Actor,
    clinic: Clinic,
    auto_accept: Mapping[str, str],
    *,
    system_procedure: str = SYSTEM_PROCEDURE,
) -> ReceiveOutcome:
    """Store a referral, or its newer content; the same one again changes nothing.

    A request for an opinion waits for a doctor, and never becomes an order. A referral waits for a person, unless
    `auto_accept` (modality -> AE title) names a device for its modality, it is complete,
    and its patient is like no other one of ours. If it has become an order already, the order does not change, and a
    person sees the difference. One that was declined waits again, also unchanged, unless its sender is still to learn
    of the refusal. Raise Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    if incoming.is_stale(tx, arrival.source, arrival.reference, arrival.version):
        return ReceiveOutcome.NOTHING
    known = incoming.by_task(tx, arrival.source, referral.task)
    received = replace(
        referral,
        source=arrival.source,
        state=IncomingState.WAITING,
        order_id=None,
        # A local client gets no answers to such requests. What a person has said to be one stays one.
        asks_opinion=(referral.asks_opinion and arrival.source == BUS) or (known is not None and known.asks_opinion),
        id=known.id if known else None,
        received_at=known.received_at if known else None,
    )
    tx.notify()
    incoming.overtake(tx, ArrivalKind.CANCEL, arrival.source, arrival.reference)  # it is asked for again
    if known and known.state is IncomingState.ACCEPTED:
        return _changed_late(tx, known, received, arrival, actor)
    incoming.put(tx, ArrivalKind.REFERRAL, arrival)
    same = known is not None and _content(known) == _content(received)
    declined = known is not None and same and known.state is IncomingState.DECLINED
    if known and declined and outbox.is_open_for_referral(tx, known.stored_id):
        return ReceiveOutcome.NOTHING  # its sender does not know yet, and asks for nothing new
    if known:
        outbox.withdraw_for_referral(tx, known.stored_id)  # it waits again, and may be accepted after all
    if known is None:
        received = replace(received, id=incoming.add(tx, received))
    else:
        incoming.update(tx, received)
    unchanged = known is not None and same and known.state is IncomingState.WAITING
    if not unchanged:
        audit.write(
            tx, actor, AuditAction.INCOMING, task=referral.task, source=arrival.source, requester=referral.requester
        )
    if declined:  # a person has refused it as it is, and decides again
        return ReceiveOutcome.WAITING
    if referral.asks_opinion or received.asks_opinion:  # never onto a worklist: the study is made
        return ReceiveOutcome.NOTHING if unchanged else ReceiveOutcome.WAITING
    outcome = _accept_automatically(tx, received, actor, clinic, auto_accept, system_procedure)
    return ReceiveOutcome.NOTHING if unchanged and outcome is ReceiveOutcome.WAITING else outcome


def receive_cancellation(
    tx: Tx,
    task: str,
    arrival: Arrival,
    status: str,
    actor: Actor,
    clinic: Clinic,
    *,
    order_id: int | None = None,
    reason: str = "",
) -> ReceiveOutcome:
    """Store the cancellation of a referral by its sender; or, with `order_id`, of an order of ours.

    A waiting referral is cancelled, an order leaves the worklist, and nothing is sent back. An order that has started
    stays, and people are warned. `status` and `reason` are what the sender wrote in its Task. Raise Forbidden.
    """
    permit(tx, actor, Permission.CANCEL)
    if incoming.is_stale(tx, arrival.source, arrival.reference, arrival.version):
        return ReceiveOutcome.NOTHING
    known = incoming.by_task(tx, arrival.source, task)
    if known and known.state is IncomingState.DECLINED and known.source == BUS:  # mostly by our message
        outbox.withdraw_for_referral(tx, known.stored_id)
        incoming.put(tx, ArrivalKind.REFERRAL, arrival)
        return ReceiveOutcome.NOTHING
    named = order_id or (known.order_id if known else None)
    order = orders.get(tx, named) if named else None
    if order and order_id and _cancelled_by_us(tx, order):
        return ReceiveOutcome.NOTHING
    incoming.overtake(tx, ArrivalKind.REFERRAL, arrival.source, arrival.reference)
    incoming.put(tx, ArrivalKind.CANCEL, arrival, reason=reason or status, order_id=order.id if order else None)
    tx.notify()
    outcome = ReceiveOutcome.CANCELLED
    if order and order.state is not OrderState.CANCELLED:
        outcome = _cancel(tx, order, arrival, status, reason, actor, clinic)
    if known and outcome is ReceiveOutcome.CANCELLED and known.state is not IncomingState.CANCELLED:
        incoming.update(tx, replace(known, state=IncomingState.CANCELLED))
        if not order:
            audit.write(
                tx,
                actor,
                AuditAction.INCOMING_CANCELLED,
                task=task,
                source=arrival.source,
                status=status,
                reason=reason,
            )
    return outcome


def note_unreadable(tx: Tx, arrival: Arrival, reason: str, kind: ArrivalKind = ArrivalKind.REFERRAL) -> None:
    """Store an arrival that cannot be read as needing attention, with the reason.

    A referral that waits is not taken as it was before; of one that has become an order, people are warned.
    """
    known = incoming.by_task(tx, arrival.source, arrival.reference.removeprefix("Task/"))
    incoming.put(tx, kind, arrival, ArrivalState.NEEDS_ATTENTION, reason, known.order_id if known else None)
    if known and known.state is IncomingState.WAITING:
        incoming.update(tx, replace(known, state=IncomingState.NEEDS_ATTENTION))
    tx.notify()


# ---- decisions of people ----


def accept(
    tx: Tx,
    incoming_id: int,
    draft: ReferralDraft,
    actor: Actor,
    clinic: Clinic,
    *,
    seen: IncomingReferral | None = None,
    repeats: str = "",
) -> Order:
    """Create an order from a waiting referral; a second call returns the order that was created.

    `draft` is `draft_of` as a person completed it, `seen` the referral that the person saw, `repeats` as in
    `referrals.register`. Raise NotFound, Stale if the sender has changed it since, WrongState if it was cancelled or
    declined meanwhile, Invalid with the wrong fields, Forbidden, SessionEnded.
    """
    draft = replace(referrals.normalise(draft), submission_id="", owner=None)
    permit(tx, actor, Permission.REGISTER)
    known = _require(tx, incoming_id)
    if known.state is IncomingState.ACCEPTED and known.order_id:
        return orders.require(tx, known.order_id)
    if known.state is not IncomingState.WAITING or known.asks_opinion:
        raise WrongState(f"accept while {'an opinion is asked' if known.asks_opinion else known.state}")
    if seen is not None and _content(seen) != _content(known):
        raise Stale(f"incoming referral {incoming_id}")
    order = _create_order(tx, known, draft, actor, clinic, repeats)
    tx.notify()
    return order


def decline(
    tx: Tx, incoming_id: int, reason: str, actor: Actor, clinic: Clinic, *, seen: IncomingReferral | None = None
) -> None:
    """Decline a waiting referral, and tell its sender.

    A local client asks for it itself, the region gets a message. If the sender changes the referral afterwards, or asks
    for it again after it has learnt of this, it waits again. `seen` is the referral that the person saw. Raise
    NotFound, Stale if the sender has changed it since, WrongState, Forbidden, SessionEnded.
    """
    known = _require(tx, incoming_id)
    permit(tx, actor, Permission.REPORT if known.asks_opinion else Permission.CANCEL)
    if known.state is IncomingState.DECLINED:
        return
    if known.state not in (IncomingState.WAITING, IncomingState.NEEDS_ATTENTION):
        raise WrongState(f"decline while {known.state}")
    if seen is not None and _content(seen) != _content(known):
        raise Stale(f"incoming referral {incoming_id}")
    reason = names.tidy(reason)
    incoming.update(tx, replace(known, state=IncomingState.DECLINED, decline_reason=reason))
    if clinic.sends_to_bus and known.source == BUS:
        outbox.add_for_referral(tx, known.stored_id, OutboxKind.DECLINE)
    audit.write(tx, actor, AuditAction.DECLINE, task=known.task, source=known.source, reason=reason)
    tx.notify()


def acknowledge(tx: Tx, item_id: int, version: str, actor: Actor) -> bool:
    """Note that a person has seen this version of an arrival that came too late for an order.

    Return False if there is nothing of it to see (any more), or a newer version has come. Raise Forbidden.
    """
    permit(tx, actor, Permission.AMEND)
    item = inbox.item(tx, item_id)
    if item is None or not incoming.acknowledge(tx, item_id, version):
        return False
    audit.write(tx, actor, AuditAction.ACKNOWLEDGE_LATE, item.order_id, item=item_id)
    tx.notify()
    return True


def retry(tx: Tx, item_id: int, actor: Actor) -> bool:
    """Have an arrival that needs attention read again at the next poll; return False if it needs none.

    Raise Forbidden.
    """
    permit(tx, actor, Permission.RESEND)
    item = inbox.item(tx, item_id)
    queued = item is not None and item.may_be_read_again and incoming.retry(tx, item_id)
    if queued:
        audit.write(tx, actor, AuditAction.INCOMING_AGAIN, item=item_id)
        tx.notify()
    return queued


def dismiss_result(tx: Tx, item_id: int, actor: Actor) -> bool:
    """Record that a result which was set aside is not wanted, as this person says; return False if it is not set aside.

    Raise Forbidden.
    """
    permit(tx, actor, Permission.AMEND)
    item = inbox.item(tx, item_id)
    if item is None or item.kind is not ArrivalKind.RESULT or not item.may_be_read_again:
        return False
    incoming.dismiss(tx, item_id)
    audit.write(tx, actor, AuditAction.ACKNOWLEDGE_LATE, item.order_id, item=item_id)
    tx.notify()
    return True


# ---- drafts for the desk ----


def draft_of(
    referral: IncomingReferral,
    procedures: Iterable[ProcedureType],
    start: datetime,
    *,
    system_procedure: str = SYSTEM_PROCEDURE,
) -> ReferralDraft:
    """Return the draft that a person completes: without a device, and not validated. `start` is local clinic time.

    The procedure is the one of our directory with the same official code, else with the same name, else none.
    """
    procedure = find_procedure(referral, procedures, system_procedure)
    return ReferralDraft(
        patient=replace(referral.patient, id=None, patient_id="", revision=0),
        procedure_code=procedure.code if procedure else "",
        station_ae_titles=(),
        start=start,
        **referral.referral_fields(),
    )


def find_procedure(
    referral: IncomingReferral, procedures: Iterable[ProcedureType], system_procedure: str = SYSTEM_PROCEDURE
) -> ProcedureType | None:
    """Return the procedure of our directory that a referral names, or None; other clinics' local codes are not used."""
    listed = list(procedures)
    if referral.procedure_code and referral.procedure_system == system_procedure:
        for procedure in listed:
            if not procedure.local and procedure.code == referral.procedure_code:
                return procedure
    name = names.fold(referral.procedure_name)
    return next((each for each in listed if name and names.fold(each.name) == name), None)


def is_same_request(one: IncomingReferral, other: IncomingReferral) -> bool:
    """Return True if two states of a referral ask for the same of the same patient."""
    return _content(one) == _content(other)


# ---- private parts ----


def _require(tx: Tx, incoming_id: int) -> IncomingReferral:
    known = inbox.referral(tx, incoming_id)
    if known is None:
        raise NotFound(f"incoming referral {incoming_id}")
    return known


def _content(referral: IncomingReferral) -> IncomingReferral:
    """Return the referral with only what its sender ordered, and for whom."""
    return replace(
        referral,
        state=IncomingState.WAITING,
        order_id=None,
        id=0,
        decline_reason="",
        problems={},
        received_at=None,
        authored_on=None,
        former_name="",
        former_snils="",
        former_policy="",
    )


def _accept_automatically(
    tx: Tx,
    received: IncomingReferral,
    actor: Actor,
    clinic: Clinic,
    auto_accept: Mapping[str, str],
    system_procedure: str,
) -> ReceiveOutcome:
    """Create the order of a complete referral if `auto_accept` names a device for its modality."""
    # With an earlier study comes perhaps a question about that study: a person decides whether another one is made.
    waits = received.problems or received.attached
    procedure = None if waits else find_procedure(received, lookups.procedures(tx), system_procedure)
    ae_title = auto_accept.get(procedure.modality, "") if procedure else ""
    if procedure is None or not ae_title:
        return ReceiveOutcome.WAITING
    now = clinic.local(tx.now)
    draft = draft_of(received, [procedure], now, system_procedure=system_procedure)
    # No person is asked here: a patient who is like one of ours waits.
    draft = referrals.normalise(replace(draft, station_ae_titles=(ae_title,), other_than=()))
    try:
        _create_order(tx, received, draft, actor, clinic)
    except Invalid as error:  # the device is not approved, the patient is like one of ours, …
        log.warning("incoming referral %d waits for a person: %s", received.id, error)
        incoming.update(tx, replace(received, problems=error.problems))
        return ReceiveOutcome.WAITING
    return ReceiveOutcome.ORDERED


def _create_order(
    tx: Tx, known: IncomingReferral, draft: ReferralDraft, actor: Actor, clinic: Clinic, repeats: str = ""
) -> Order:
    """Create the order of a referral, with the numbers and references of its sender."""
    from_bus = known.source == BUS
    number = known.bus_accession_number
    refused = _number_problem(tx, number)
    # A local client sends its orders to the region itself, unless we are configured to do so.
    sends = clinic.sends_to_bus and not from_bus and clients.sends_to_bus(tx, known.source)
    role = BusRole.PERFORMER if from_bus else BusRole.PLACER if sends else BusRole.NONE
    usable = "" if refused else number
    order = referrals.create_order(
        tx,
        draft,
        "",
        actor,
        clinic,
        role,
        requester=known.requester,
        # A local client's number is one that this program issued to it.
        accession_number="" if from_bus else usable,
        bus_accession_number=usable if from_bus else "",
    )
    if from_bus:
        references = {
            "task": known.task,
            "service_request": known.service_request,
            "patient": known.bus_patient,
            "acsn": number,
            SENDERS_ENCOUNTER: known.encounter,
        }
        outbox.set_references(tx, order.id, {name: id for name, id in references.items() if id})
    elif order.bus_role is BusRole.PLACER:
        outbox.add(tx, order.id, OutboxKind.ORDER)
    incoming.update(tx, replace(known, state=IncomingState.ACCEPTED, order_id=order.id))
    details = referrals.repeat_details(repeats)
    if refused:
        details["bus_number_refused"] = f"{number}: {refused}"
        log.error("order %s: the sender's number %s cannot be used: %s", order.accession_number, number, refused)
    audit.write(
        tx,
        actor,
        AuditAction.ACCEPT,
        order.id,
        accession_number=order.accession_number,
        task=known.task,
        source=known.source,
        **details,
    )
    return order


def _number_problem(tx: Tx, number: str) -> str:
    """Return why the sender's accession number cannot be used on modalities; "" if it can, or the sender has none."""
    if len(number) > ACCESSION_NUMBER_LENGTH:
        return f"longer than {ACCESSION_NUMBER_LENGTH} characters"
    if "\\" in number:  # PS3.5 6.2: it separates values
        return "it holds a backslash"
    return "another order has it" if number and orders.is_taken(tx, "accession_number", number) else ""


def _changed_late(
    tx: Tx, known: IncomingReferral, received: IncomingReferral, arrival: Arrival, actor: Actor
) -> ReceiveOutcome:
    """Store what the sender changed after the order was created, for a person to decide."""
    changed = sorted(
        name
        for name in IncomingReferral.__dataclass_fields__
        if _sent_field(known, name) != _sent_field(received, name)
    )
    if not changed:
        incoming.put(tx, ArrivalKind.REFERRAL, arrival, order_id=known.order_id)
        return ReceiveOutcome.NOTHING
    incoming.put(tx, ArrivalKind.REFERRAL, arrival, ArrivalState.NEEDS_ATTENTION, CHANGED_LATE, known.order_id)
    incoming.update(tx, replace(received, state=known.state, order_id=known.order_id))
    if known.order_id is not None:
        outbox.release_held(tx, known.order_id, OTHER_PATIENT)  # whose results they are is looked at again
    audit.write(tx, actor, AuditAction.BUS_CHANGED_LATE, known.order_id, changed=changed)
    return ReceiveOutcome.LATE


def _sent_field(referral: IncomingReferral, name: str) -> object:
    return getattr(_content(referral), name)


def _cancelled_by_us(tx: Tx, order: Order) -> bool:
    """Return True if the bus only reports a cancellation of ours."""
    return order.state is OrderState.CANCELLED or outbox.has(tx, order.id, OutboxKind.CANCEL)


def _cancel(
    tx: Tx, order: Order, arrival: Arrival, status: str, reason: str, actor: Actor, clinic: Clinic
) -> ReceiveOutcome:
    if lifecycle.allowed(order.state, Event.CANCEL):
        bus_knows = arrival.source == BUS
        silent = replace(clinic, sends_to_bus=clinic.sends_to_bus and not bus_knows)
        referrals.remove_from_worklist(tx, order, actor, silent)
        audit.write(tx, actor, AuditAction.CANCEL, order.id, status=status, reason=reason)
        return ReceiveOutcome.CANCELLED
    incoming.put(tx, ArrivalKind.CANCEL, arrival, ArrivalState.NEEDS_ATTENTION, CANCELLED_LATE, order.id)
    audit.write(tx, actor, AuditAction.BUS_CANCELLED_LATE, order.id, status=status, reason=reason)
    log.warning("order %s was cancelled by its sender after it had started", order.accession_number)
    return ReceiveOutcome.LATE
