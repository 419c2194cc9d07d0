"""What follows for an order from everything that was performed for it.

Runs inside the transactions of the verbs; it decides nothing that `lifecycle.TRANSITIONS` does not allow, and it
checks no permission: whoever calls has done that.
"""

from __future__ import annotations

from broker.domain import lifecycle
from broker.domain.clinic import Clinic
from broker.domain.lifecycle import Event
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order, OrderState, StepState
from broker.domain.performed import PerformedState
from broker.store.database import Tx
from broker.store.tables import audit, orders, outbox, performed


def settle(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Bring an order and its scheduled steps in line with everything that was performed for them.

    One that runs outweighs one that was completed, which outweighs one that was given up.
    """
    settle_read(tx, _get(tx, order_id), clinic)


def settle_read(tx: Tx, order: Order, clinic: Clinic) -> None:
    """Do it for an order as it was read in this transaction, without any change since."""
    order_id = order.id
    states = {step.id: performed.states_of_step(tx, step.id) for step in order.steps}
    for step in order.steps:
        if states[step.id] and (step_state := _STEP_STATES[_weightiest(states[step.id])]) is not step.state:
            orders.set_step_state(tx, step.id, step_state)
    everything = [state for each in states.values() for state in each]
    if not everything:
        return
    now = _weightiest(everything)
    state = order.state
    if state is OrderState.CANCELLED:  # it is done all the same: what has not been told yet is not true any more
        outbox.withdraw(tx, order_id, OutboxKind.CANCEL)
        tell_again(tx, order_id)
    if state is not OrderState.IN_PROGRESS:
        state = lifecycle.after(state, Event.START)
    if now is PerformedState.IN_PROGRESS or not all(states.values()):  # or some step was not begun yet
        event = Event.PROGRESS
    else:
        event = Event.COMPLETE if now is PerformedState.COMPLETED else Event.DISCONTINUE
    state = lifecycle.after(state, event)
    if state is not order.state:
        orders.set_state(tx, order_id, state)
    if clinic.sends_start and order.bus_role in _ORDERED and not outbox.has(tx, order_id, OutboxKind.STARTED):
        outbox.add(tx, order_id, OutboxKind.STARTED)
    if PerformedState.COMPLETED not in everything:  # what somebody said in its device's place has been overruled
        outbox.withdraw(tx, order_id, OutboxKind.IMAGES, OutboxKind.REPORT)
    if (
        state is OrderState.COMPLETED
        and clinic.sends_to_bus
        and order.bus_role
        and not outbox.has(tx, order_id, OutboxKind.IMAGES)
        and not performed.conflicts(tx, order_id)  # perhaps another patient's images: a person looks first
    ):
        outbox.add(tx, order_id, OutboxKind.IMAGES)


def resettle(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Do the same after something was taken away from an order; with nothing left it waits again.

    One that was planned anew or cancelled meanwhile stays as it is. A report that has not gone yet does not go: it may
    be of the images that were taken away.
    """
    outbox.withdraw(tx, order_id, OutboxKind.REPORT)
    if _get(tx, order_id).state in (OrderState.SCHEDULED, OrderState.CANCELLED):
        return
    if any(performed.states_of_step(tx, step.id) for step in _get(tx, order_id).steps):
        _reset_steps(tx, order_id)
        settle(tx, order_id, clinic)
        if _get(tx, order_id).state is not OrderState.COMPLETED:
            outbox.withdraw(tx, order_id, OutboxKind.IMAGES)
    else:
        _reopen(tx, order_id)


def reopen(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Put an order back among those that wait, unless something else runs or was completed for it.

    One that was cancelled before a modality took it up is cancelled again.
    """
    if set(performed.states_of_order(tx, order_id)) & {PerformedState.IN_PROGRESS, PerformedState.COMPLETED}:
        resettle(tx, order_id, clinic)
    else:
        _reopen(tx, order_id)


def _reopen(tx: Tx, order_id: int) -> None:
    order = _get(tx, order_id)
    cancelled = audit.newest(tx, order_id, _FATES) in ("cancel", "withdraw")
    event = Event.RECANCEL if cancelled else Event.REREFER if order.owner else Event.REOPEN
    if not lifecycle.allowed(order.state, event):
        return  # it was planned anew or cancelled meanwhile
    orders.set_state(tx, order_id, lifecycle.after(order.state, event))
    for step in order.steps:
        orders.set_step_state(tx, step.id, _WAITING[event])
    # What has gone out already cannot be called back: the bus has no word for it.
    outbox.withdraw(tx, order_id, OutboxKind.IMAGES, OutboxKind.REPORT, OutboxKind.STARTED)
    if event is Event.RECANCEL:
        outbox.withdraw(tx, order_id, OutboxKind.ORDER)
        if order.bus_role is BusRole.PERFORMER or outbox.has(tx, order_id, OutboxKind.ORDER):
            outbox.reinstate(tx, order_id, OutboxKind.CANCEL)


def tell_again(tx: Tx, order_id: int) -> None:
    """Queue anew what its cancellation spared the region of an order that is wanted, or done, all the same."""
    if outbox.has(tx, order_id, OutboxKind.ORDER):
        outbox.reinstate(tx, order_id, OutboxKind.AMEND)
    else:
        outbox.reinstate(tx, order_id, OutboxKind.ORDER)


def _reset_steps(tx: Tx, order_id: int) -> None:
    for step in _get(tx, order_id).steps:
        if step.state is not StepState.SCHEDULED and not performed.states_of_step(tx, step.id):
            orders.set_step_state(tx, step.id, StepState.SCHEDULED)


def _get(tx: Tx, order_id: int) -> Order:
    order = orders.get(tx, order_id)
    assert order is not None
    return order


# What people (and scripts' files) last decided of an order. An amendment comes after a cancellation only when a
# modality had revived the order and it was then planned anew.
_FATES = ("cancel", "withdraw", "restore", "amend")
_ORDERED = (BusRole.PLACER, BusRole.PERFORMER)
_WAITING = {
    Event.REOPEN: StepState.SCHEDULED,
    Event.RECANCEL: StepState.CANCELLED,
    Event.REREFER: StepState.REFERRED,
}
_WEIGHT = (PerformedState.IN_PROGRESS, PerformedState.COMPLETED, PerformedState.DISCONTINUED)
_STEP_STATES = {
    PerformedState.IN_PROGRESS: StepState.STARTED,
    PerformedState.COMPLETED: StepState.COMPLETED,
    PerformedState.DISCONTINUED: StepState.DISCONTINUED,
}


def _weightiest(states: list[PerformedState]) -> PerformedState:
    return min(states, key=_WEIGHT.index)
