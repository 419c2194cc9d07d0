"""The state of an order, derived from everything that was performed for it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from broker.domain import lifecycle
from broker.domain.lifecycle import Event
from broker.domain.orders import Order, OrderState, StepState
from broker.domain.performed import PerformedState

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
    Raise WrongState where `lifecycle.TRANSITIONS` does not allow it.
    """
    steps = {id: _weightiest(states)[0] for id, states in performed.items() if states}
    everything = [state for states in performed.values() for state in states]
    if not everything:
        return DerivedStatus(order.state, steps)
    event = _weightiest(everything)[1] if all(performed.values()) else Event.PROGRESS
    begun = order.state
    if begun is not OrderState.IN_PROGRESS:
        begun = lifecycle.after(begun, Event.START)
    return DerivedStatus(lifecycle.after(begun, event), steps)


def _weightiest(states: Collection[PerformedState]) -> tuple[StepState, Event]:
    return next((step_state, event) for state, step_state, event in _BY_WEIGHT if state in states)
