"""Performed steps as modalities report them: started, changed and, where their device falls silent, expired.

A modality's message is always stored as it came, so the use cases for messages return an outcome instead of raising.
A step that cannot be matched to an order is stored unlinked: a person must find out which order its study belongs to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import Order
from broker.domain.patients.identity import same_id
from broker.domain.studies.performed import (
    ANOTHER_DEVICE,
    WRONG_ENTRY,
    Message,
    MppsOutcome,
    PerformedChange,
    PerformedState,
    PerformedStep,
)
from broker.domain.studies.step_rules import Attributes, ChangeRules, Problem, Validation
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries.patients import patient_index
from broker.store.tables import audit, devices, orders
from broker.store.tables.patients import patients as cards
from broker.store.tables.studies import performed, performed_links
from broker.workflow.studies import effective_doses, order_status, received_objects

FINAL = (PerformedState.COMPLETED, PerformedState.DISCONTINUED)
ANOTHER_ORDER = "accession_number"  # what contradicts where the numbers of a message name orders of several patients


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """What a modality reports of a step (MPPS N-SET), and the rules for its message; None: every change is accepted.

    `notes` are (kind, text) of mistakes in it that are tolerated independently of the rules.
    """

    sop_instance_uid: str
    change: PerformedChange
    message: Message
    rules: ChangeRules | None = None
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """The outcome of a change: the reason of a refusal, None otherwise, and (kind, text) of tolerated mistakes."""

    outcome: MppsOutcome
    refusal: Problem | None = None
    notes: tuple[tuple[str, str], ...] = ()


def start(tx: Tx, step: PerformedStep, message: Message, actor: Actor, clinic: Clinic) -> MppsOutcome:
    """Store a step that a modality has started and link it to the orders that it names (MPPS N-CREATE).

    Return ACCEPTED, REPEATED for the same message again, or DUPLICATE for another message with a known UID; only
    ACCEPTED changes anything but the record of messages. Raise Forbidden.
    """
    permit(tx, actor, Permission.PERFORM)
    outcome = MppsOutcome.ACCEPTED
    if performed.get(tx, step.sop_instance_uid):
        same = performed.was_accepted(tx, step.sop_instance_uid, "N-CREATE", actor.name, message.digest)
        outcome = MppsOutcome.REPEATED if same else MppsOutcome.DUPLICATE
    _record(tx, step.sop_instance_uid, "N-CREATE", actor, outcome, message, f"N-CREATE {outcome}")
    if outcome is not MppsOutcome.ACCEPTED:
        return outcome
    id = performed.add(tx, step, message.json())
    performed.add_series(tx, id, step.series)
    performed.add_doses(tx, id, step.doses)
    affected = _link_references(tx, id, step, actor)
    for order, conflicts in affected:
        order_status.recompute_status(tx, order, clinic)
        audit.write(tx, actor, AuditAction.START, order.id, sop_instance_uid=step.sop_instance_uid)
        if conflicts:
            _note_conflict(tx, order, step, conflicts, actor)
    if not affected:
        audit.write(tx, actor, AuditAction.START_UNLINKED, sop_instance_uid=step.sop_instance_uid)
    tx.notify()
    return outcome


def change(tx: Tx, request: ChangeRequest, actor: Actor, clinic: Clinic) -> ChangeResult:
    """Store what a modality reports of a step (MPPS N-SET): its progress, or its end if the status is final.

    A step that was discontinued because the wrong worklist entry was selected is unlinked from its orders: they are
    scheduled again, and a person must find out whose images these are. Attributes that an N-SET may not change are
    stored with the message only. Raise Forbidden; what is wrong with the message is in the result.
    """
    permit(tx, actor, Permission.PERFORM)
    uid, change, message = request.sop_instance_uid, request.change, request.message
    step, known = performed.with_attributes(tx, uid)
    notes: tuple[tuple[str, str], ...] = ()
    if step is not None and _is_open(step):
        found = Validation()
        if request.rules is not None:
            found = request.rules.validate(message.attributes, known, ends=_is_final(change))
        if found.refusal is not None:
            return ChangeResult(refuse(tx, uid, "N-SET", found.refusal.text, message, actor), found.refusal)
        notes = (*found.notes, *request.notes)
    outcome = _classify(tx, step, uid, message, actor)
    kept = replace(message, notes=message.notes + notes)
    _record(tx, uid, "N-SET", actor, outcome, kept, f"N-SET {change.state or 'without a status'} {outcome}")
    if step is not None and outcome is MppsOutcome.ACCEPTED:
        _apply(tx, step, known, request, actor, clinic)
        tx.notify()
    elif outcome is MppsOutcome.UNKNOWN:
        unknown = AuditAction.FINISH_UNKNOWN if _is_final(change) else AuditAction.PROGRESS_UNKNOWN
        audit.write(tx, actor, unknown, sop_instance_uid=uid)
        tx.notify()
    return ChangeResult(outcome, notes=notes)


def refuse(tx: Tx, uid: str, operation: str, why: str, message: Message, actor: Actor) -> MppsOutcome:
    """Store a message that cannot be used (`operation`: N-CREATE or N-SET), and the reason; nothing else changes.

    Return REFUSED. Raise Forbidden.
    """
    permit(tx, actor, Permission.PERFORM)
    _record(tx, uid, operation, actor, MppsOutcome.REFUSED, message, f"{operation} refused")
    audit.write(tx, actor, AuditAction.MPPS_REFUSED, sop_instance_uid=uid, operation=operation, why=why)
    tx.notify()
    return MppsOutcome.REFUSED


def expire_step(tx: Tx, uid: str, not_after: datetime, actor: Actor, clinic: Clinic) -> bool:
    """End a step whose device has stopped reporting; return True if it was still running.

    `not_after` is an instant (UTC): a step about which its device sent a message later does not change. What the device
    reports afterwards still counts. Raise Forbidden.
    """
    permit(tx, actor, Permission.PERFORM)
    running = {step.sop_instance_uid: (step, at) for step, at in performed.running(tx)}
    if uid not in running or running[uid][1] > not_after:
        return False
    step, at = running[uid]
    performed.end_provisionally(tx, uid, PerformedState.DISCONTINUED)
    last = f"{at.astimezone(clinic.zone):%d.%m.%Y %H:%M}"
    devices.note(tx, step.ae_title, "mpps_unfinished", f"a step was not ended, its last message came at {last}")
    for order_id in performed_links.order_ids(tx, step.stored_id):
        order_status.recompute_status(tx, orders.require(tx, order_id), clinic)
        audit.write(tx, actor, AuditAction.EXPIRE, order_id, sop_instance_uid=uid, ae_title=step.ae_title)
    tx.notify()
    return True


# ---- within the transactions ----


def _apply(
    tx: Tx, step: PerformedStep, known: Attributes, request: ChangeRequest, actor: Actor, clinic: Clinic
) -> None:
    """Write an accepted change into its step, and recompute the status of its orders."""
    change, rules, attributes = request.change, request.rules, request.message.attributes
    after = _with_change(step, change, other_device=actor.name != step.ae_title)
    performed.update(tx, after, {**known, **(rules.table.settable(attributes) if rules else attributes)})
    if change.series is not None:
        performed.set_series(tx, step.stored_id, change.series)
    performed.set_doses(tx, step.stored_id, change.doses or {})
    is_held = _is_final(change) and not _may_end(tx, step, actor)
    if is_held:
        devices.note(tx, actor.name, "mpps_held", f"it ended a step that {step.ae_title} had started")
    elif actor.name != step.ae_title:
        devices.note(tx, actor.name, "mpps_foreign", f"it reported a step that {step.ae_title} had started")
    uid, affected, wrong_entry = (
        step.sop_instance_uid,
        performed_links.order_ids(tx, step.stored_id),
        _is_wrong_entry(after, change) and not is_held,
    )
    if is_held or (change.state is not None and step.provisional):
        _hold(tx, step, affected, is_held)
    uids = {each.study_instance_uid for each in performed.references(tx, step.stored_id) if each.study_instance_uid}
    if wrong_entry:
        performed_links.unlink(
            tx, step.stored_id, [step_id for _, step_id in performed_links.linked_steps(tx, step.stored_id)]
        )
    action = AuditAction.FINISH if _is_final(change) else AuditAction.PROGRESS
    for order_id in affected:
        if wrong_entry:
            received_objects.take_away(tx, orders.require(tx, order_id), uids, step.source, actor)
            order_status.reopen(tx, order_id, clinic)
        else:
            order_status.recompute_status(tx, orders.require(tx, order_id), clinic)
        audit.write(tx, actor, action, order_id, sop_instance_uid=uid, state=change.state)
        if wrong_entry:
            audit.write(tx, actor, AuditAction.WRONG_ENTRY, order_id, sop_instance_uid=uid)
        else:
            order_status.queue_added_images(tx, order_id, clinic)
            effective_doses.remeasure(tx, order_id)


def _may_end(tx: Tx, step: PerformedStep, actor: Actor) -> bool:
    """Return True if a device has begun a step, or performs it under another AE title, or may act for others."""
    if actor.name in (step.ae_title, step.station_ae_title):
        return True
    device = devices.get(tx, actor.name)
    return device is not None and device.for_others


def _hold(tx: Tx, step: PerformedStep, order_ids: Sequence[int], is_held: bool) -> None:
    """Let the orders of a step wait for a person who looks which device has ended it, or no longer."""
    for link in performed_links.links_of_orders(tx, order_ids):
        if link.step.stored_id == step.stored_id and (ANOTHER_DEVICE in link.conflict) is not is_held:
            left = [each for each in link.conflict if each != ANOTHER_DEVICE]
            noted = [*left, ANOTHER_DEVICE] if is_held else left
            performed_links.set_conflict(tx, step.stored_id, link.scheduled_step_id, ", ".join(noted))


def _is_final(change: PerformedChange) -> bool:
    return change.state in FINAL


def _classify(tx: Tx, step: PerformedStep | None, uid: str, message: Message, actor: Actor) -> MppsOutcome:
    if step is None:
        return MppsOutcome.UNKNOWN
    if performed.last_accepted(tx, uid, "N-SET") == message.digest:
        return MppsOutcome.REPEATED
    if _is_open(step):
        return MppsOutcome.ACCEPTED
    late = performed.was_accepted(tx, uid, "N-SET", actor.name, message.digest)
    return MppsOutcome.REPEATED if late else MppsOutcome.FINAL


def _is_open(step: PerformedStep) -> bool:
    """Return True if a step may be changed: it runs, or its end is provisional and the device may overrule it."""
    return step.state is PerformedState.IN_PROGRESS or step.provisional


def _with_change(step: PerformedStep, change: PerformedChange, *, other_device: bool) -> PerformedStep:
    """Return the step after a change; `other_device`: another device reports it than the one that started the step.

    A modality with two AE titles may end under the second a step that it started under the first; another device may do
    so by mistake. Both are accepted, but the end is provisional: the device that started the step may overrule it. What
    a device does that may not act for others waits for a person besides: `_hold`.
    """
    reported = {
        name: value
        for name in ("state", "end", "operator", "discontinuation_code", "discontinuation_meaning", "images")
        if (value := getattr(change, name)) is not None
    }
    if step.provisional and change.state is not None:  # the overruled end takes its reason with it
        step = replace(step, discontinuation_code="", discontinuation_meaning="")
    provisional = step.provisional if change.state is None else other_device and change.state in FINAL
    return replace(step, **reported, provisional=provisional)


def _is_wrong_entry(after: PerformedStep, change: PerformedChange) -> bool:
    """Return True if this change, not an earlier one, reports that the wrong worklist entry was selected."""
    is_new = change.state is not None or change.discontinuation_code is not None
    return is_new and after.state is PerformedState.DISCONTINUED and after.discontinuation_code == WRONG_ENTRY


def _link_references(tx: Tx, id: int, step: PerformedStep, actor: Actor) -> list[tuple[Order, list[str]]]:
    """Link a step to every scheduled step that it names; return the orders, each with the fields that contradict it.

    Where the patient contradicts, or the numbers name two orders or orders of two patients, the link bears it, and
    nothing goes to the region until a person has looked.
    """
    uids = Counter(reference.study_instance_uid for reference in step.references)
    affected: dict[int, tuple[Order, list[str]]] = {}  # each order is read once: nothing here changes one
    links: list[tuple[int, int, list[str]]] = []  # order, scheduled step, what contradicts
    for reference in step.references:
        found, conflicts = orders.find_steps(tx, reference, shared_uid=uids[reference.study_instance_uid] > 1)
        for order_id in dict.fromkeys(order_id for order_id, _ in found):
            if order_id not in affected:
                affected[order_id] = orders.require(tx, order_id), []
            named = [step_id for each, step_id in found if each == order_id]
            links += [(order_id, step_id, conflicts) for step_id in _of_device(affected[order_id][0], named, step)]
    bearer = cards.find_by(tx, "patient_id", step.patient_id) if step.patient_id else None
    of_several = len({order.patient.id for order, _ in affected.values()}) > 1
    for order_id, step_id, conflicts in links:
        order, known = affected[order_id]
        wrong = [*conflicts, *patient_index.contradictions_of(tx, order.patient, step)]
        # One examination is one person's; whose, only the number of a card says surely.
        is_anyones = of_several and (bearer is None or bearer.id != order.patient.id)
        if is_anyones and ANOTHER_ORDER not in wrong:
            wrong.append(ANOTHER_ORDER)
        if not wrong:  # otherwise what the archive has may be this order's, and the step another's
            performed.remove_archived(tx, [step_id])
        performed_links.link(tx, id, step_id, actor.name, ", ".join(wrong))
        known += [name for name in wrong if name not in known]
    for order, conflicts in affected.values():
        if not step.patient_id or "patient_id" in conflicts:
            continue
        # Without a card of its own it may be the order's number as the device was given it: K-17 for К-17.
        is_theirs = bearer.id == order.patient.id if bearer else same_id(order.patient.patient_id, step.patient_id)
        if not is_theirs:
            conflicts.append("patient_id")
    return list(affected.values())


def _of_device(order: Order, named: list[int], step: PerformedStep) -> list[int]:
    """Return the scheduled steps (ids) of an order that a device means: of several, those that are planned on it.

    All of them if none is: the device took over what was planned on another one.
    """
    here = [
        each.id
        for each in order.steps
        if each.id in named and {step.ae_title, step.station_ae_title} & set(each.station_ae_titles)
    ]
    return here if len(named) > 1 and here else named


def _note_conflict(tx: Tx, order: Order, step: PerformedStep, conflicts: Iterable[str], actor: Actor) -> None:
    named, number = ", ".join(conflicts), order.accession_number
    audit.write(
        tx, actor, AuditAction.REFERENCE_CONFLICT, order.id, sop_instance_uid=step.sop_instance_uid, conflicts=named
    )
    devices.note(tx, step.ae_title, "mpps_conflict", f"a step for {number} names another order or patient by {named}")


def _record(
    tx: Tx, uid: str, operation: str, actor: Actor, outcome: MppsOutcome, message: Message, summary: str
) -> None:
    """Store a message as it came, its device's last contact, and the mistakes in it that were tolerated."""
    performed.record_message(tx, uid, operation, actor.name, outcome, message)
    if message.address:
        devices.note_contact(tx, actor.name, "mpps", message.address, summary)
    for kind, text in message.notes:
        devices.note(tx, actor.name, kind, text)
