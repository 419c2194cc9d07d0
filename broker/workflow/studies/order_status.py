"""Recomputes the status of an order from all steps that were performed for it.

Called inside the transactions of the use cases, which have checked the permission. Only transitions of
`lifecycle.TRANSITIONS` are made.
"""

from __future__ import annotations

from collections.abc import Collection

from broker.domain import lifecycle
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.lifecycle import DerivedStatus, Event, derive_status
from broker.domain.messages import IMAGES_NOT_SEEN, OutboxKind
from broker.domain.orders import BusRole, Order, OrderState, StepState
from broker.domain.reading.reports import ReportDoubt
from broker.domain.studies.performed import PerformedState
from broker.store.database import Tx
from broker.store.tables import audit, orders, outbox
from broker.store.tables.reading import reports
from broker.store.tables.studies import archive, performed, performed_links


def recompute_status(tx: Tx, order: Order, clinic: Clinic) -> None:
    """Set the states of an order and its scheduled steps by what was performed for them, and queue messages.

    `order` was read in this transaction and has not changed since. Nothing changes if nothing was performed.
    """
    states = {step.id: performed.states_of_step(tx, step.id) for step in order.steps}
    for step in order.steps:  # a step that was taken back is not waited for
        if step.state is StepState.CANCELLED and not states[step.id] and len(states) > 1:
            del states[step.id]
    all_states = {state for each in states.values() for state in each}
    if all_states:
        status = derive_status(order, states)
        _apply_status(tx, order, status)
        _queue_messages(tx, order, status.state, all_states, clinic)


def recompute_dispute(tx: Tx, order: Order, clinic: Clinic) -> None:
    """Withdraw what was not sent yet of a performed order's images while it is open whose they are, else queue it.

    A signed report goes out again unless images have gone since; what was added it names, as any that was not sent.
    """
    if order.state is not OrderState.COMPLETED:
        return
    recompute_status(tx, order, clinic)
    if (
        outbox.has(tx, order.id, OutboxKind.IMAGES)
        and has_report(tx, order.id)
        and reports.doubt(tx, order.id) in (None, ReportDoubt.IMAGES_ADDED)
        and not performed_links.conflicts(tx, order.id)
        and not archive.is_disputed(tx, order.id)
    ):
        outbox.reinstate(tx, order.id, OutboxKind.REPORT)
        outbox.reinstate(tx, order.id, OutboxKind.APPENDED)


def queue_added_images(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Queue for the region that a report which it has is now about more images; a doctor looks at them first.

    Called after the audit line of the images. Nothing is queued while the report itself was not sent: it will name
    them.
    """
    if (
        clinic.sends_to_bus
        and reports.doubt(tx, order_id) is ReportDoubt.IMAGES_ADDED
        and outbox.may_be_known(tx, order_id, OutboxKind.REPORT)
        and not outbox.is_open(tx, order_id, OutboxKind.APPENDED)
    ):
        outbox.hold(tx, outbox.add(tx, order_id, OutboxKind.APPENDED), IMAGES_NOT_SEEN)


def recompute_after_removal(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Recompute an order's status after a performed step was unlinked from it; with none left it is scheduled again.

    An order that was rescheduled or cancelled meanwhile does not change. A report that was not sent yet is withdrawn:
    it may describe the images that were unlinked. Raise NotFound.
    """
    withdraw_report(tx, order_id)
    order = orders.require(tx, order_id)
    if order.state in (OrderState.SCHEDULED, OrderState.CANCELLED):
        return
    if not performed.states_of_order(tx, order_id):
        _return_to_waiting(tx, order)
        return
    for step in order.steps:
        if step.state is not StepState.SCHEDULED and not performed.states_of_step(tx, step.id):
            orders.set_step_state(tx, step.id, StepState.SCHEDULED)
    recompute_status(tx, orders.require(tx, order_id), clinic)
    if orders.require(tx, order_id).state is not OrderState.COMPLETED:
        outbox.withdraw(tx, order_id, OutboxKind.IMAGES)


def withdraw_results(tx: Tx, order_id: int) -> None:
    """Drop what was not sent yet of an order's images and its report; not that the report is withdrawn."""
    outbox.withdraw(tx, order_id, OutboxKind.IMAGES)
    withdraw_report(tx, order_id)


def withdraw_report(tx: Tx, order_id: int) -> None:
    """Drop what was not sent yet of an order's report, until a doctor has looked at its images."""
    if has_report(tx, order_id):  # else the message says that the report is withdrawn, which stays true
        outbox.withdraw(tx, order_id, OutboxKind.REPORT, OutboxKind.APPENDED)


def has_report(tx: Tx, order_id: int) -> bool:
    """Return True if an order's report is signed and was not withdrawn."""
    report = reports.signed(tx, order_id)
    return report is not None and not report.is_withdrawn


def reopen(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Schedule an order again, unless another step runs or was completed for it.

    An order that was cancelled before a modality started it is cancelled again. Raise NotFound.
    """
    if {PerformedState.IN_PROGRESS, PerformedState.COMPLETED} & set(performed.states_of_order(tx, order_id)):
        recompute_after_removal(tx, order_id, clinic)
    else:
        _return_to_waiting(tx, orders.require(tx, order_id))


def requeue_order(tx: Tx, order_id: int) -> None:
    """Queue again the messages that an order's cancellation withdrew: the order is wanted, or performed, after all."""
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
    """Queue the messages that follow from an order's new state, and withdraw those that are not true any more."""
    id = before.id
    if before.state is OrderState.CANCELLED:  # it is performed nevertheless
        outbox.withdraw(tx, id, OutboxKind.CANCEL)
        requeue_order(tx, id)
    is_disputed = archive.is_disputed(tx, id)
    is_doubtful = is_disputed or bool(performed_links.conflicts(tx, id))  # perhaps another patient's
    if (
        clinic.sends_start
        and before.bus_role in _ORDERED_ROLES
        and not outbox.has(tx, id, OutboxKind.STARTED)
        and not is_doubtful
    ):
        outbox.add(tx, id, OutboxKind.STARTED)
    # They would be about all that was made, or a provisional end was overruled.
    if is_doubtful or PerformedState.COMPLETED not in performed_states:
        withdraw_results(tx, id)
    if (
        state is OrderState.COMPLETED
        and clinic.sends_to_bus
        and before.bus_role
        and not outbox.has(tx, id, OutboxKind.IMAGES)
        and not is_doubtful
        and (not clinic.waits_for_images or _are_images_certain(tx, id))
    ):
        outbox.add(tx, id, OutboxKind.IMAGES)


def _are_images_certain(tx: Tx, order_id: int) -> bool:
    """Return True if the archive has an order's images, or a person said that none will come."""
    holding = archive.holding(tx, order_id)
    return holding is not None and (holding.exists or holding.waived)


def _return_to_waiting(tx: Tx, order: Order) -> None:
    """Return an order to its state before anything was performed for it."""
    cancelled = audit.newest(tx, order.id, _DECISIONS) in (AuditAction.CANCEL, AuditAction.WITHDRAW)
    event = Event.RECANCEL if cancelled else Event.REREFER if order.owner else Event.REOPEN
    if not lifecycle.allowed(order.state, event):
        return  # it was rescheduled or cancelled meanwhile
    orders.set_state(tx, order.id, lifecycle.after(order.state, event))
    archive.forget_holding(tx, order.id)
    for step in order.steps:
        orders.set_step_state(tx, step.id, _WAITING_STEP_STATES[event])
    # A message that was sent cannot be withdrawn: the bus has no call for it.
    withdraw_results(tx, order.id)
    outbox.withdraw(tx, order.id, OutboxKind.STARTED)
    if event is Event.RECANCEL:
        outbox.withdraw(tx, order.id, OutboxKind.ORDER)
        if order.bus_role is BusRole.PERFORMER or outbox.has(tx, order.id, OutboxKind.ORDER):
            outbox.reinstate(tx, order.id, OutboxKind.CANCEL)


# The decisions that people, and files of scripts, make about an order; the last one counts. An amendment comes after a
# cancellation only when a modality had revived the order and it was then rescheduled.
_DECISIONS = (AuditAction.CANCEL, AuditAction.WITHDRAW, AuditAction.RESTORE, AuditAction.AMEND)
_ORDERED_ROLES = (BusRole.PLACER, BusRole.PERFORMER)
_WAITING_STEP_STATES = {
    Event.REOPEN: StepState.SCHEDULED,
    Event.RECANCEL: StepState.CANCELLED,
    Event.REREFER: StepState.REFERRED,
}
