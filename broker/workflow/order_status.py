"""What follows for an order from everything that was performed for it.

Runs inside the transactions of the use cases, and decides nothing that `lifecycle.TRANSITIONS` does not allow. It
checks no permission: the use case has done that.
"""

from __future__ import annotations

from collections.abc import Collection

from broker.domain import lifecycle
from broker.domain.audit import AuditAction
from broker.domain.clinic import Clinic
from broker.domain.lifecycle import DerivedStatus, Event, derive_status
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order, OrderState, StepState
from broker.domain.performed import PerformedState
from broker.store.database import Tx
from broker.store.tables import audit, orders, outbox, performed


def recompute_status(tx: Tx, order: Order, clinic: Clinic) -> None:
    """Bring an order and its scheduled steps in line with everything that was performed for them.

    `order` is as it was read in this transaction, without any change since.
    """
    states = {step.id: performed.states_of_step(tx, step.id) for step in order.steps}
    everything = {state for each in states.values() for state in each}
    if everything:
        status = derive_status(order, states)
        _apply_status(tx, order, status)
        _queue_messages(tx, order, status.state, everything, clinic)


def recompute_after_removal(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Recompute an order's status after a performed step was taken away from it; with none left it waits again.

    An order that was rescheduled or cancelled meanwhile stays as it is. A report that has not gone out yet does not go:
    it may be of the images that were taken away.
    """
    outbox.withdraw(tx, order_id, OutboxKind.REPORT)
    order = orders.require(tx, order_id)
    if order.state in (OrderState.SCHEDULED, OrderState.CANCELLED):
        return
    if not performed.states_of_order(tx, order_id):
        _put_back(tx, order)
        return
    for step in order.steps:
        if step.state is not StepState.SCHEDULED and not performed.states_of_step(tx, step.id):
            orders.set_step_state(tx, step.id, StepState.SCHEDULED)
    recompute_status(tx, orders.require(tx, order_id), clinic)
    if orders.require(tx, order_id).state is not OrderState.COMPLETED:
        outbox.withdraw(tx, order_id, OutboxKind.IMAGES)


def reopen(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Put an order back among those that wait, unless something else runs or was completed for it.

    One that was cancelled before a modality took it up is cancelled again.
    """
    if {PerformedState.IN_PROGRESS, PerformedState.COMPLETED} & set(performed.states_of_order(tx, order_id)):
        recompute_after_removal(tx, order_id, clinic)
    else:
        _put_back(tx, orders.require(tx, order_id))


def requeue_order(tx: Tx, order_id: int) -> None:
    """Queue again what an order's cancellation spared the region: it is wanted, or done, all the same."""
    if outbox.has(tx, order_id, OutboxKind.ORDER):
        outbox.reinstate(tx, order_id, OutboxKind.AMEND)
    else:
        outbox.reinstate(tx, order_id, OutboxKind.ORDER)


def _apply_status(tx: Tx, order: Order, status: DerivedStatus) -> None:
    for step in order.steps:
        if status.steps.get(step.id, step.state) is not step.state:
            orders.set_step_state(tx, step.id, status.steps[step.id])
    if status.state is not order.state:
        orders.set_state(tx, order.id, status.state)


def _queue_messages(
    tx: Tx, before: Order, state: OrderState, performed_states: Collection[PerformedState], clinic: Clinic
) -> None:
    """Queue what the region has to learn of an order's new state, and withdraw what is no longer true."""
    id = before.id
    if before.state is OrderState.CANCELLED:  # it is done all the same
        outbox.withdraw(tx, id, OutboxKind.CANCEL)
        requeue_order(tx, id)
    if clinic.sends_start and before.bus_role in _ORDERED and not outbox.has(tx, id, OutboxKind.STARTED):
        outbox.add(tx, id, OutboxKind.STARTED)
    if PerformedState.COMPLETED not in performed_states:  # an end that was only presumed has been overruled
        outbox.withdraw(tx, id, OutboxKind.IMAGES, OutboxKind.REPORT)
    if (
        state is OrderState.COMPLETED
        and clinic.sends_to_bus
        and before.bus_role
        and not outbox.has(tx, id, OutboxKind.IMAGES)
        and not performed.conflicts(tx, id)  # perhaps another patient's images: a person looks first
    ):
        outbox.add(tx, id, OutboxKind.IMAGES)


def _put_back(tx: Tx, order: Order) -> None:
    """Let an order wait again as it did before anything was performed for it."""
    cancelled = audit.newest(tx, order.id, _FATES) in (AuditAction.CANCEL, AuditAction.WITHDRAW)
    event = Event.RECANCEL if cancelled else Event.REREFER if order.owner else Event.REOPEN
    if not lifecycle.allowed(order.state, event):
        return  # it was rescheduled or cancelled meanwhile
    orders.set_state(tx, order.id, lifecycle.after(order.state, event))
    for step in order.steps:
        orders.set_step_state(tx, step.id, _WAITING[event])
    # What has gone out already cannot be called back: the bus has no word for it.
    outbox.withdraw(tx, order.id, OutboxKind.IMAGES, OutboxKind.REPORT, OutboxKind.STARTED)
    if event is Event.RECANCEL:
        outbox.withdraw(tx, order.id, OutboxKind.ORDER)
        if order.bus_role is BusRole.PERFORMER or outbox.has(tx, order.id, OutboxKind.ORDER):
            outbox.reinstate(tx, order.id, OutboxKind.CANCEL)


# What people (and scripts' files) last decided of an order. An amendment comes after a cancellation only when a
# modality had revived the order and it was then rescheduled.
_FATES = (AuditAction.CANCEL, AuditAction.WITHDRAW, AuditAction.RESTORE, AuditAction.AMEND)
_ORDERED = (BusRole.PLACER, BusRole.PERFORMER)
_WAITING = {
    Event.REOPEN: StepState.SCHEDULED,
    Event.RECANCEL: StepState.CANCELLED,
    Event.REREFER: StepState.REFERRED,
}
