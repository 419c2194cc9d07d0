"""The whole life of an order as one table, and the state that follows from everything that was performed for it. Pure.

A pair that is not in the table is not allowed. Nothing else in the program decides what may follow what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker.domain.errors import WrongState
from broker.domain.orders import Order, OrderState, StepState
from broker.domain.studies.performed import PerformedState


class Event(StrEnum):
    """An event in the life of an order."""

    AMEND = "amend"
    CANCEL = "cancel"
    START = "start"
    PROGRESS = "progress"
    COMPLETE = "complete"
    DISCONTINUE = "discontinue"
    CLOSE = "close"
    REOPEN = "reopen"
    RECANCEL = "recancel"
    RESTORE = "restore"
    RESULT = "result"
    REREFER = "rerefer"


S, E = OrderState, Event
TRANSITIONS: dict[tuple[OrderState, Event], OrderState] = {
    (S.SCHEDULED, E.AMEND): S.SCHEDULED,
    (S.SCHEDULED, E.CANCEL): S.CANCELLED,
    (S.SCHEDULED, E.START): S.IN_PROGRESS,
    (S.IN_PROGRESS, E.PROGRESS): S.IN_PROGRESS,
    (S.IN_PROGRESS, E.COMPLETE): S.COMPLETED,
    (S.IN_PROGRESS, E.DISCONTINUE): S.DISCONTINUED,
    # IHE RAD TF-1, append case: another performed step for what is already running or done.
    (S.IN_PROGRESS, E.START): S.IN_PROGRESS,
    (S.COMPLETED, E.START): S.IN_PROGRESS,
    # A discontinued study may be started again, rescheduled, or cancelled.
    (S.DISCONTINUED, E.START): S.IN_PROGRESS,
    (S.DISCONTINUED, E.AMEND): S.SCHEDULED,
    (S.DISCONTINUED, E.CANCEL): S.CANCELLED,
    # The worklist file of a script was removed and came back.
    (S.CANCELLED, E.RESTORE): S.SCHEDULED,
    # The modality performed it although it was cancelled just before.
    (S.CANCELLED, E.START): S.IN_PROGRESS,
    # A person marks it as performed: its device does not report, or has not reported the end.
    (S.SCHEDULED, E.CLOSE): S.COMPLETED,
    (S.IN_PROGRESS, E.CLOSE): S.COMPLETED,
    (S.DISCONTINUED, E.CLOSE): S.COMPLETED,
    # What was performed belongs to another patient (wrong worklist entry, wrong link): the order is scheduled again,
    # or cancelled again if it had been cancelled before a modality started it.
    (S.IN_PROGRESS, E.REOPEN): S.SCHEDULED,
    (S.COMPLETED, E.REOPEN): S.SCHEDULED,
    (S.DISCONTINUED, E.REOPEN): S.SCHEDULED,
    (S.IN_PROGRESS, E.RECANCEL): S.CANCELLED,
    (S.COMPLETED, E.RECANCEL): S.CANCELLED,
    (S.DISCONTINUED, E.RECANCEL): S.CANCELLED,
    # Another clinic does it: its modalities do not report to us, its report arrives by the bus.
    (S.REFERRED, E.AMEND): S.REFERRED,
    (S.REFERRED, E.CANCEL): S.CANCELLED,
    (S.REFERRED, E.RESULT): S.COMPLETED,
    # … unless one of our modalities performed it; if that was a mistake, it is referred again.
    (S.REFERRED, E.START): S.IN_PROGRESS,
    (S.IN_PROGRESS, E.REREFER): S.REFERRED,
    (S.COMPLETED, E.REREFER): S.REFERRED,
    (S.DISCONTINUED, E.REREFER): S.REFERRED,
}
del S, E

CLOSED = frozenset({OrderState.COMPLETED, OrderState.CANCELLED})


def after(state: OrderState, event: Event) -> OrderState:
    """Return the state after an event; raise WrongState if the event is not allowed."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise WrongState(f"{event} while {state}") from None


def allowed(state: OrderState, event: Event) -> bool:
    """Return True if an event is allowed in a state; screens show or hide buttons by it."""
    return (state, event) in TRANSITIONS


# ---- what follows from the performed steps ----

# Of several performed steps the first of these decides, with the scheduled step's state and the order's event: one that
# runs outweighs one that was completed, which outweighs one that was discontinued.
_BY_PRECEDENCE = (
    (PerformedState.IN_PROGRESS, StepState.STARTED, Event.PROGRESS),
    (PerformedState.COMPLETED, StepState.COMPLETED, Event.COMPLETE),
    (PerformedState.DISCONTINUED, StepState.DISCONTINUED, Event.DISCONTINUE),
)


@dataclass(frozen=True, slots=True)
class DerivedStatus:
    """The state of an order, and the states of its scheduled steps that were started (by id)."""

    state: OrderState
    steps: Mapping[int, StepState]


def derive_status(order: Order, performed: Mapping[int, Collection[PerformedState]]) -> DerivedStatus:
    """Return the status that follows from the states of the performed steps of each scheduled step, by its id.

    An order ends only after all of its scheduled steps were started and none runs. Without performed steps it does not
    change. Raise WrongState where `TRANSITIONS` does not allow it.
    """
    steps = {id: _decisive(states)[0] for id, states in performed.items() if states}
    all_states = [state for states in performed.values() for state in states]
    if not all_states:
        return DerivedStatus(order.state, steps)
    event = _decisive(all_states)[1] if all(performed.values()) else Event.PROGRESS
    started = order.state
    if started is not OrderState.IN_PROGRESS:
        started = after(started, Event.START)
    return DerivedStatus(after(started, event), steps)


def _decisive(states: Collection[PerformedState]) -> tuple[StepState, Event]:
    return next((step_state, event) for state, step_state, event in _BY_PRECEDENCE if state in states)
