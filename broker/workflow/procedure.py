"""What modalities do: start, progress, finish; and the person's hand where they did it without a referral: link.

A modality's message is kept as it came whatever becomes of it, so these verbs report an outcome instead of raising.
What cannot be matched to an order is kept unlinked: a study was made, and somebody must find whose it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from broker.domain import lifecycle
from broker.domain.errors import NotFound, WrongState
from broker.domain.lifecycle import Event
from broker.domain.model import (
    Actor,
    Clinic,
    Message,
    MppsOutcome,
    OrderState,
    OutboxKind,
    PerformedChange,
    PerformedState,
    PerformedStep,
    StepState,
)
from broker.failpoint import COMMITTED_NOT_ANSWERED, reach
from broker.security import Permission, permit
from broker.store import audit, orders, outbox, performed
from broker.store.database import Store, Tx


def start(store: Store, step: PerformedStep, message: Message, actor: Actor, clinic: Clinic) -> MppsOutcome:
    """Keep that a modality has begun a study, and move the orders that it names (MPPS N-CREATE)."""

    def verb(tx: Tx) -> MppsOutcome:
        permit(tx, actor, Permission.PERFORM)
        outcome = MppsOutcome.ACCEPTED
        if performed.get(tx, step.sop_instance_uid):
            same = performed.was_accepted(tx, step.sop_instance_uid, "N-CREATE", actor.name, message.digest)
            outcome = MppsOutcome.REPEATED if same else MppsOutcome.DUPLICATE
        _record(tx, step.sop_instance_uid, "N-CREATE", actor, outcome, message)
        if outcome is not MppsOutcome.ACCEPTED:
            return outcome
        id = performed.add(tx, step, message.attributes)
        touched: dict[int, None] = {}
        for reference in step.references:
            for order_id, step_id in orders.find_steps(tx, reference):
                performed.link(tx, id, step_id, actor.name)
                touched[order_id] = None
        for order_id in touched:
            _settle(tx, order_id, actor, clinic)
            audit.write(tx, actor, "start", order_id, sop_instance_uid=step.sop_instance_uid)
        if not touched:
            audit.write(tx, actor, "start_unlinked", sop_instance_uid=step.sop_instance_uid)
        tx.announce()
        return outcome

    outcome = store.write(verb)
    reach(COMMITTED_NOT_ANSWERED)
    return outcome


def progress(
    store: Store, uid: str, change: PerformedChange, message: Message, actor: Actor, clinic: Clinic
) -> MppsOutcome:
    """Keep what a modality says of a running step (MPPS N-SET without a final status)."""
    return _change(store, uid, change, message, actor, clinic, "progress")


def finish(
    store: Store, uid: str, change: PerformedChange, message: Message, actor: Actor, clinic: Clinic
) -> MppsOutcome:
    """Keep that a modality has completed or discontinued a step (MPPS N-SET with a final status)."""
    if change.state not in (PerformedState.COMPLETED, PerformedState.DISCONTINUED):
        raise ValueError("a step is finished by COMPLETED or DISCONTINUED")
    return _change(store, uid, change, message, actor, clinic, "finish")


def refuse(store: Store, uid: str, operation: str, why: str, message: Message, actor: Actor) -> None:
    """Keep a modality's message that cannot be used (N-CREATE or N-SET), with the reason; nothing else changes."""

    def verb(tx: Tx) -> None:
        permit(tx, actor, Permission.PERFORM)
        performed.record_message(tx, uid, operation, actor.name, "refused", message.digest, message.attributes)
        audit.write(tx, actor, "mpps_refused", sop_instance_uid=uid, operation=operation, why=why)

    store.write(verb)


def link(store: Store, sop_instance_uid: str, order_id: int, actor: Actor, clinic: Clinic) -> None:
    """Say which order a study belongs to that a modality made without naming one.

    Raise NotFound, WrongState when the step belongs to an order already, Forbidden.
    """

    def verb(tx: Tx) -> None:
        permit(tx, actor, Permission.LINK)
        step = performed.get(tx, sop_instance_uid)
        order = orders.get(tx, order_id)
        if step is None or order is None:
            raise NotFound(f"performed step {sop_instance_uid}" if step is None else f"order {order_id}")
        if performed.linked_steps(tx, step.id):
            raise WrongState(f"performed step {sop_instance_uid} belongs to an order already")
        for scheduled in order.steps:
            performed.link(tx, step.id, scheduled.id, actor.name)
        _settle(tx, order.id, actor, clinic)
        audit.write(tx, actor, "link", order.id, sop_instance_uid=sop_instance_uid)
        tx.announce()

    store.write(verb)


def _change(
    store: Store, uid: str, change: PerformedChange, message: Message, actor: Actor, clinic: Clinic, action: str
) -> MppsOutcome:
    def verb(tx: Tx) -> MppsOutcome:
        permit(tx, actor, Permission.PERFORM)
        step = performed.get(tx, uid)
        if step is None:
            outcome = MppsOutcome.UNKNOWN
        elif performed.last_accepted(tx, uid, "N-SET") == message.digest:
            outcome = MppsOutcome.REPEATED
        elif step.state is not PerformedState.IN_PROGRESS:
            outcome = MppsOutcome.FINAL
        else:
            outcome = MppsOutcome.ACCEPTED
        _record(tx, uid, "N-SET", actor, outcome, message)
        if step is None or outcome is not MppsOutcome.ACCEPTED:
            if outcome is MppsOutcome.UNKNOWN:
                audit.write(tx, actor, f"{action}_unknown", sop_instance_uid=uid)
            return outcome
        attributes: dict[str, Any] = {**performed.attributes(tx, uid), **message.attributes}
        performed.update(tx, _changed(step, change), attributes)
        for order_id in dict.fromkeys(order_id for order_id, _ in performed.linked_steps(tx, step.id)):
            _settle(tx, order_id, actor, clinic)
            audit.write(tx, actor, action, order_id, sop_instance_uid=uid, state=change.state)
        tx.announce()
        return outcome

    outcome = store.write(verb)
    reach(COMMITTED_NOT_ANSWERED)
    return outcome


def _changed(step: PerformedStep, change: PerformedChange) -> PerformedStep:
    said = {
        name: value
        for name in ("state", "end", "operator", "discontinuation_code", "discontinuation_meaning", "images")
        if (value := getattr(change, name)) is not None
    }
    return replace(step, **said)


def _settle(tx: Tx, order_id: int, actor: Actor, clinic: Clinic) -> None:
    """Bring an order and its scheduled steps in line with everything that was performed for them.

    One that runs outweighs one that was completed, which outweighs one that was given up.
    """
    order = orders.get(tx, order_id)
    assert order is not None
    for step in order.steps:
        states = performed.states_of_step(tx, step.id)
        if states:
            orders.set_step_state(tx, step.id, _STEP_STATES[_weightiest(states)])
    states = performed.states_of_order(tx, order_id)
    if not states:
        return
    now = _weightiest(states)
    state = order.state
    if state is not OrderState.IN_PROGRESS:
        state = lifecycle.after(state, Event.START)
    waiting = any(not performed.states_of_step(tx, step.id) for step in order.steps)
    if now is PerformedState.IN_PROGRESS or waiting:
        event = Event.PROGRESS
    else:
        event = Event.COMPLETE if now is PerformedState.COMPLETED else Event.DISCONTINUE
    state = lifecycle.after(state, event)
    if state is not order.state:
        orders.set_state(tx, order_id, state)
    if (
        state is OrderState.COMPLETED
        and clinic.tells_bus
        and outbox.has(tx, order_id, OutboxKind.ORDER)
        and not outbox.has(tx, order_id, OutboxKind.IMAGES)
    ):
        outbox.add(tx, order_id, OutboxKind.IMAGES)


_WEIGHT = (PerformedState.IN_PROGRESS, PerformedState.COMPLETED, PerformedState.DISCONTINUED)
_STEP_STATES = {
    PerformedState.IN_PROGRESS: StepState.STARTED,
    PerformedState.COMPLETED: StepState.COMPLETED,
    PerformedState.DISCONTINUED: StepState.DISCONTINUED,
}


def _weightiest(states: list[PerformedState]) -> PerformedState:
    return min(states, key=_WEIGHT.index)


def _record(tx: Tx, uid: str, operation: str, actor: Actor, outcome: MppsOutcome, message: Message) -> None:
    performed.record_message(tx, uid, operation, actor.name, outcome, message.digest, message.attributes)
