"""Incoming referrals: received, given a device and a time, declined; and what their senders cancel or change.

Messages may come twice or in the wrong order: the newest version wins, and one that is not newer changes nothing.
Nothing here reads the bus, and nothing that came from the bus is sent back to it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from broker.domain import lifecycle, names
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic import Clinic
from broker.domain.devices import ProcedureType
from broker.domain.errors import Invalid, NotFound, Stale, WrongState
from broker.domain.identifiers import ACCESSION_NUMBER_LENGTH
from broker.domain.incoming import ArrivalKind, ArrivalState, IncomingReferral, IncomingState
from broker.domain.lifecycle import Event
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order, OrderState, ReferralDraft
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries import inbox, lookups
from broker.store.tables import audit, clients, incoming, orders, outbox
from broker.store.tables.incoming import Arrival
from broker.workflow import referrals

log = logging.getLogger(__name__)

BUS = "bus"  # the source of what the region sends; every other one is a local client
SYSTEM_PROCEDURE = "1.2.643.5.1.13.13.11.1471"
CHANGED_LATE = "changed after it was accepted"
CANCELLED_LATE = "cancelled too late"


class ReceiveOutcome(StrEnum):
    """What became of an incoming message."""

    WAITING = "waiting"  # for a person
    ORDERED = "ordered"  # scheduled at once, by rule
    CANCELLED = "cancelled"
    LATE = "late"  # a person must see to it
    NOTHING = "nothing"  # nothing is new in it


# ---- what the sender wants ----


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
    """Receive a referral, or its newer content; the same one again changes nothing.

    It waits for a person, unless `auto_accept` (modality -> AE title) names a device for what it asks and nothing is
    wrong with it. What has become an order already is left to people, who see the change. Raise Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    if incoming.is_stale(tx, arrival.source, arrival.reference, arrival.version):
        return ReceiveOutcome.NOTHING
    known = incoming.by_task(tx, arrival.source, referral.task)
    came = replace(
        referral,
        source=arrival.source,
        state=IncomingState.WAITING,
        order_id=None,
        id=known.id if known else 0,
        received_at=known.received_at if known else None,
    )
    tx.notify()
    incoming.overtake(tx, ArrivalKind.CANCEL, arrival.source, arrival.reference)  # it is asked for again
    if known and known.state is IncomingState.ACCEPTED:
        return _changed_late(tx, known, came, arrival, actor)
    incoming.put(tx, ArrivalKind.REFERRAL, arrival)
    same = known is not None and _content(known) == _content(came)
    if known and same and known.state is IncomingState.DECLINED:
        return ReceiveOutcome.NOTHING
    if known is None:
        came = replace(came, id=incoming.add(tx, came))
    else:
        incoming.update(tx, came)
    again = known is not None and same and known.state is IncomingState.WAITING
    if not again:
        audit.write(
            tx, actor, AuditAction.INCOMING, task=referral.task, source=arrival.source, requester=referral.requester
        )
    outcome = _by_rule(tx, came, actor, clinic, auto_accept, system_procedure)
    return ReceiveOutcome.NOTHING if again and outcome is ReceiveOutcome.WAITING else outcome


def receive_cancellation(
    tx: Tx, task: str, arrival: Arrival, reason: str, actor: Actor, clinic: Clinic, *, order_id: int | None = None
) -> ReceiveOutcome:
    """Receive the cancellation of a referral by its sender; or, with `order_id`, of an order of ours.

    What waits is cancelled, an order leaves the worklist, and nothing is sent back. What has begun stays, and people
    are warned. `reason` is the status that came. Raise Forbidden.
    """
    permit(tx, actor, Permission.CANCEL)
    if incoming.is_stale(tx, arrival.source, arrival.reference, arrival.version):
        return ReceiveOutcome.NOTHING
    known = incoming.by_task(tx, arrival.source, task)
    named = order_id or (known.order_id if known else None)
    order = orders.get(tx, named) if named else None
    if order and order_id and _cancelled_by_us(tx, order):
        return ReceiveOutcome.NOTHING
    incoming.overtake(tx, ArrivalKind.REFERRAL, arrival.source, arrival.reference)
    incoming.put(tx, ArrivalKind.CANCEL, arrival, reason=reason, order_id=order.id if order else None)
    tx.notify()
    outcome = ReceiveOutcome.CANCELLED
    if order and order.state is not OrderState.CANCELLED:
        outcome = _cancel(tx, order, arrival, reason, actor, clinic)
    if known and outcome is ReceiveOutcome.CANCELLED and known.state is not IncomingState.CANCELLED:
        incoming.update(tx, replace(known, state=IncomingState.CANCELLED))
        if not order:
            audit.write(tx, actor, AuditAction.INCOMING_CANCELLED, task=task, source=arrival.source, reason=reason)
    return outcome


def note_unreadable(tx: Tx, arrival: Arrival, reason: str, kind: ArrivalKind = ArrivalKind.REFERRAL) -> None:
    """Store what cannot be read, with the reason, for a person to look at; what is known of it stays as it was."""
    incoming.put(tx, kind, arrival, ArrivalState.NEEDS_ATTENTION, reason)
    tx.notify()


# ---- what people do ----


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
    """Create an order from a referral that waits; a second time return the order that was created.

    `draft` is what a person made of `draft_of`, `seen` the referral that it was made of, `repeats` as in
    `referrals.register`. Raise NotFound, Stale where its sender has changed it since, WrongState where it was cancelled
    or declined meanwhile, Invalid with the wrong fields, Forbidden, SessionEnded.
    """
    draft = replace(referrals.normalise(draft), submission_id="", owner=None)
    permit(tx, actor, Permission.REGISTER)
    known = _known(tx, incoming_id)
    if known.state is IncomingState.ACCEPTED and known.order_id:
        return orders.require(tx, known.order_id)
    if known.state is not IncomingState.WAITING:
        raise WrongState(f"accept while {known.state}")
    if seen is not None and _content(seen) != _content(known):
        raise Stale(f"incoming referral {incoming_id}")
    order = _ordered(tx, known, draft, actor, clinic, repeats)
    tx.notify()
    return order


def decline(tx: Tx, incoming_id: int, reason: str, actor: Actor, clinic: Clinic) -> None:
    """Decline what a waiting referral asks for.

    Here only: the wire profile has no message for it, so that somebody must call the clinic that refers. A content that
    changes afterwards waits again. Raise NotFound, WrongState, Forbidden, SessionEnded.
    """
    permit(tx, actor, Permission.CANCEL)
    known = _known(tx, incoming_id)
    if known.state is IncomingState.DECLINED:
        return
    if known.state not in (IncomingState.WAITING, IncomingState.NEEDS_ATTENTION):
        raise WrongState(f"decline while {known.state}")
    incoming.update(tx, replace(known, state=IncomingState.DECLINED))
    audit.write(tx, actor, AuditAction.DECLINE, task=known.task, source=known.source, reason=names.tidy(reason))
    tx.notify()


def acknowledge(tx: Tx, order_id: int, actor: Actor) -> int:
    """Note that a person has seen what came too late for an order; return the number of arrivals. Raise Forbidden."""
    permit(tx, actor, Permission.AMEND)
    count = incoming.acknowledge(tx, order_id)
    if count:
        audit.write(tx, actor, AuditAction.ACKNOWLEDGE_LATE, order_id)
        tx.notify()
    return count


def try_again(tx: Tx, item_id: int, actor: Actor) -> bool:
    """Let an arrival that needs attention be read again at the next poll; False if it needs none. Raise Forbidden."""
    permit(tx, actor, Permission.RESEND)
    item = inbox.item(tx, item_id)
    # A change that came too late was read well; reading it again would change nothing.
    again = item is not None and not item.order_id and incoming.try_again(tx, item_id)
    if again:
        audit.write(tx, actor, AuditAction.INCOMING_AGAIN, item=item_id)
        tx.notify()
    return again


# ---- what the screens show ----


def draft_of(
    referral: IncomingReferral,
    procedures: Iterable[ProcedureType],
    start: datetime,
    *,
    system_procedure: str = SYSTEM_PROCEDURE,
) -> ReferralDraft:
    """Return the draft that a person completes: `start` is local, no device is chosen, nothing has been checked.

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
    """Return our directory's procedure that a referral asks for, or None; another clinic's local code means nothing."""
    listed = list(procedures)
    if referral.procedure_code and referral.procedure_system == system_procedure:
        for procedure in listed:
            if not procedure.local and procedure.code == referral.procedure_code:
                return procedure
    name = names.fold(referral.procedure_name)
    return next((each for each in listed if name and names.fold(each.name) == name), None)


# ---- within the transactions ----


def _known(tx: Tx, incoming_id: int) -> IncomingReferral:
    known = inbox.referral(tx, incoming_id)
    if known is None:
        raise NotFound(f"incoming referral {incoming_id}")
    return known


def _content(referral: IncomingReferral) -> IncomingReferral:
    """Return what the sender wrote, without what we made of it."""
    return replace(
        referral, state=IncomingState.WAITING, order_id=None, id=0, problems={}, received_at=None, authored_on=None
    )


def _by_rule(
    tx: Tx,
    came: IncomingReferral,
    actor: Actor,
    clinic: Clinic,
    auto_accept: Mapping[str, str],
    system_procedure: str,
) -> ReceiveOutcome:
    """Schedule a referral at once if a rule says so and nothing is wrong with it."""
    procedure = None if came.problems else find_procedure(came, lookups.procedures(tx), system_procedure)
    ae_title = auto_accept.get(procedure.modality, "") if procedure else ""
    if procedure is None or not ae_title:
        return ReceiveOutcome.WAITING
    now = clinic.local(tx.now)
    draft = draft_of(came, [procedure], now, system_procedure=system_procedure)
    draft = referrals.normalise(replace(draft, station_ae_titles=(ae_title,)))
    try:
        _ordered(tx, came, draft, actor, clinic)
    except Invalid as error:  # the device is not approved, somebody else has the same СНИЛС here, …
        log.warning("incoming referral %d waits for a person: %s", came.id, error)
        incoming.update(tx, replace(came, problems=error.problems))
        return ReceiveOutcome.WAITING
    return ReceiveOutcome.ORDERED


def _ordered(
    tx: Tx, known: IncomingReferral, draft: ReferralDraft, actor: Actor, clinic: Clinic, repeats: str = ""
) -> Order:
    """Create the order of a referral, under the ids that its sender knows it by."""
    from_bus = known.source == BUS
    number = known.bus_accession_number
    refused = _refusal(tx, number)
    # A local client sends to the region itself, unless it is configured that we do it in its place.
    tells = clinic.sends_to_bus and not from_bus and clients.sends_to_bus(tx, known.source)
    role = BusRole.PERFORMER if from_bus else BusRole.PLACER if tells else BusRole.NONE
    usable = "" if refused else number
    order = referrals.create_order(
        tx,
        draft,
        "",
        actor,
        clinic,
        role,
        requester=known.requester,
        # A local client was given the number by us, when it asked.
        accession_number="" if from_bus else usable,
        bus_accession_number=usable if from_bus else "",
    )
    if from_bus:
        references = {
            "task": known.task,
            "service_request": known.service_request,
            "patient": known.bus_patient,
            "acsn": number,
        }
        outbox.set_references(tx, order.id, {name: id for name, id in references.items() if id})
    elif role is BusRole.PLACER:
        outbox.add(tx, order.id, OutboxKind.ORDER)
    incoming.update(tx, replace(known, state=IncomingState.ACCEPTED, order_id=order.id))
    details = referrals.repeat_of(repeats)
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


def _refusal(tx: Tx, number: str) -> str:
    """Return why the sender's accession number cannot go to a modality; "" if it can, or there is none."""
    if len(number) > ACCESSION_NUMBER_LENGTH:
        return f"longer than {ACCESSION_NUMBER_LENGTH} characters"
    if "\\" in number:  # PS3.5 6.2: it separates values
        return "it holds a backslash"
    return "another order has it" if number and orders.is_taken(tx, "accession_number", number) else ""


def _changed_late(
    tx: Tx, known: IncomingReferral, came: IncomingReferral, arrival: Arrival, actor: Actor
) -> ReceiveOutcome:
    """Store what the sender changed after the order was created; people decide what follows from it."""
    changed = sorted(
        name for name in IncomingReferral.__dataclass_fields__ if _member(known, name) != _member(came, name)
    )
    if not changed:
        incoming.put(tx, ArrivalKind.REFERRAL, arrival, order_id=known.order_id)
        return ReceiveOutcome.NOTHING
    incoming.put(tx, ArrivalKind.REFERRAL, arrival, ArrivalState.NEEDS_ATTENTION, CHANGED_LATE, known.order_id)
    incoming.update(tx, replace(came, state=known.state, order_id=known.order_id))
    audit.write(tx, actor, AuditAction.BUS_CHANGED_LATE, known.order_id, changed=changed)
    return ReceiveOutcome.LATE


def _member(referral: IncomingReferral, name: str) -> object:
    return getattr(_content(referral), name)


def _cancelled_by_us(tx: Tx, order: Order) -> bool:
    """Return True if the bus only repeats what we sent it about an order."""
    return order.state is OrderState.CANCELLED or outbox.has(tx, order.id, OutboxKind.CANCEL)


def _cancel(tx: Tx, order: Order, arrival: Arrival, reason: str, actor: Actor, clinic: Clinic) -> ReceiveOutcome:
    if lifecycle.allowed(order.state, Event.CANCEL):
        knows = arrival.source == BUS
        referrals.remove_from_worklist(tx, order, replace(clinic, sends_to_bus=clinic.sends_to_bus and not knows))
        audit.write(tx, actor, AuditAction.CANCEL, order.id, reason=reason)
        return ReceiveOutcome.CANCELLED
    incoming.put(tx, ArrivalKind.CANCEL, arrival, ArrivalState.NEEDS_ATTENTION, CANCELLED_LATE, order.id)
    audit.write(tx, actor, AuditAction.BUS_CANCELLED_LATE, order.id, status=reason)
    log.warning("order %s was cancelled by its sender after it had begun", order.accession_number)
    return ReceiveOutcome.LATE
