"""The whole life of an order as one table, and the state that follows from everything that was performed for it. Pure.

A pair that is not in the table is not allowed. Nothing else in the program decides what may follow what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker.domain.errors import WrongState
from broker.domain.orders import Order, OrderState, StepState
from broker.domain.performed import PerformedState


class Event(StrEnum):
    """What can happen to an order."""

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
    # An abandoned study may be begun again, moved to another time, or given up.
    (S.DISCONTINUED, E.START): S.IN_PROGRESS,
    (S.DISCONTINUED, E.AMEND): S.SCHEDULED,
    (S.DISCONTINUED, E.CANCEL): S.CANCELLED,
    # The file of a script that had asked for it vanished and came back.
    (S.CANCELLED, E.RESTORE): S.SCHEDULED,
    # The radiation was real even if a registrar cancelled a second earlier: the modality is right.
    (S.CANCELLED, E.START): S.IN_PROGRESS,
    # A person marks it as made: its device does not report, or has not reported the end.
    (S.SCHEDULED, E.CLOSE): S.COMPLETED,
    (S.IN_PROGRESS, E.CLOSE): S.COMPLETED,
    (S.DISCONTINUED, E.CLOSE): S.COMPLETED,
    # What was done turns out to be somebody else's (a wrong worklist entry, a wrong link): the order still waits, or,
    # if it was cancelled before a modality took it up, is cancelled again.
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
    # … unless one of ours did it all the same; when that proves somebody else's, it waits for the other clinic again.
    (S.REFERRED, E.START): S.IN_PROGRESS,
    (S.IN_PROGRESS, E.REREFER): S.REFERRED,
    (S.COMPLETED, E.REREFER): S.REFERRED,
    (S.DISCONTINUED, E.REREFER): S.REFERRED,
}
del S, E

CLOSED = frozenset({OrderState.COMPLETED, OrderState.CANCELLED})


def after(state: OrderState, event: Event) -> OrderState:
    """Return the state that follows, or raise WrongState."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise WrongState(f"{event} while {state}") from None


def allowed(state: OrderState, event: Event) -> bool:
    """Return True if the event may happen in this state; the screens show or hide their buttons by it."""
    return (state, event) in TRANSITIONS


# ---- what follows from the performed steps ----

# Of several performed steps the first of these decides, with the scheduled step's state and the order's event: one that
# runs outweighs one that was completed, which outweighs one that was discontinued.
_BY_WEIGHT = (
    (PerformedState.IN_PROGRESS, StepState.STARTED, Event.PROGRESS),
    (PerformedState.COMPLETED, StepState.COMPLETED, Event.COMPLETE),
    (PerformedState.DISCONTINUED, StepState.DISCONTINUED, Event.DISCONTINUE),
)


@dataclass(frozen=True, slots=True)
class DerivedStatus:
    """What performed steps make of an order: its state, and those of its scheduled steps (by id) that were begun."""

    state: OrderState
    steps: Mapping[int, StepState]


def derive_status(order: Order, performed: Mapping[int, Collection[PerformedState]]) -> DerivedStatus:
    """Return the status that follows from the states of the performed steps of each scheduled step, by its id.

    An order is over only when all of its scheduled steps were begun and none runs. Nothing performed changes nothing.
    Raise WrongState where `TRANSITIONS` does not allow it.
    """
    steps = {id: _weightiest(states)[0] for id, states in performed.items() if states}
    everything = [state for states in performed.values() for state in states]
    if not everything:
        return DerivedStatus(order.state, steps)
    event = _weightiest(everything)[1] if all(performed.values()) else Event.PROGRESS
    begun = order.state
    if begun is not OrderState.IN_PROGRESS:
        begun = after(begun, Event.START)
    return DerivedStatus(after(begun, event), steps)


def _weightiest(states: Collection[PerformedState]) -> tuple[StepState, Event]:
    return next((step_state, event) for state, step_state, event in _BY_WEIGHT if state in states)
