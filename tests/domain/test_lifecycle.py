"""The life of an order is one table: complete, reachable, and the only judge."""

from __future__ import annotations

import pytest

from broker.domain import lifecycle
from broker.domain.errors import WrongState
from broker.domain.lifecycle import TRANSITIONS, Event
from broker.domain.orders import OrderState


def test_every_state_can_be_reached_from_a_new_order() -> None:
    reached = {OrderState.SCHEDULED, OrderState.REFERRED}
    frontier = list(reached)
    while frontier:
        state = frontier.pop()
        for (source, _), target in TRANSITIONS.items():
            if source is state and target not in reached:
                reached.add(target)
                frontier.append(target)
    assert reached == set(OrderState)


@pytest.mark.parametrize("state", list(OrderState))
@pytest.mark.parametrize("event", list(Event))
def test_what_is_not_in_the_table_is_refused(state: OrderState, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert lifecycle.after(state, event) is TRANSITIONS[state, event]
        assert lifecycle.allowed(state, event)
    else:
        with pytest.raises(WrongState):
            lifecycle.after(state, event)
        assert not lifecycle.allowed(state, event)


@pytest.mark.parametrize("state", [OrderState.IN_PROGRESS, OrderState.COMPLETED])
def test_what_has_started_can_be_neither_amended_nor_cancelled(state: OrderState) -> None:
    assert not lifecycle.allowed(state, Event.AMEND)
    assert not lifecycle.allowed(state, Event.CANCEL)


@pytest.mark.parametrize("state", list(OrderState))
def test_a_modality_may_always_begin(state: OrderState) -> None:
    # The radiation was real: its report is never turned away.
    assert lifecycle.after(state, Event.START) is OrderState.IN_PROGRESS


def test_what_was_performed_for_another_patient_is_undone() -> None:
    for state in (OrderState.IN_PROGRESS, OrderState.COMPLETED, OrderState.DISCONTINUED):
        assert lifecycle.after(state, Event.REOPEN) is OrderState.SCHEDULED
        assert lifecycle.after(state, Event.RECANCEL) is OrderState.CANCELLED
    for state in (OrderState.SCHEDULED, OrderState.CANCELLED):  # there is nothing to undo
        assert not lifecycle.allowed(state, Event.REOPEN)
        assert not lifecycle.allowed(state, Event.RECANCEL)


def test_what_another_clinic_does_is_completed_by_its_result_alone() -> None:
    assert lifecycle.after(OrderState.REFERRED, Event.RESULT) is OrderState.COMPLETED
    assert not any(lifecycle.allowed(state, Event.RESULT) for state in OrderState if state is not OrderState.REFERRED)
    assert not lifecycle.allowed(OrderState.REFERRED, Event.CLOSE)
    assert lifecycle.after(OrderState.IN_PROGRESS, Event.REREFER) is OrderState.REFERRED


def test_a_person_closes_what_no_device_reports_but_not_what_is_over() -> None:
    open_states = {state for state in OrderState if lifecycle.allowed(state, Event.CLOSE)}
    assert open_states == {OrderState.SCHEDULED, OrderState.IN_PROGRESS, OrderState.DISCONTINUED}
