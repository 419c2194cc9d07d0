"""The life of an order is one table: complete, reachable, and the only judge."""

from __future__ import annotations

import pytest

from broker.domain import lifecycle
from broker.domain.errors import WrongState
from broker.domain.lifecycle import TRANSITIONS, Event
from broker.domain.model import OrderState


def test_every_state_can_be_reached_from_a_new_order() -> None:
    reached, frontier = {OrderState.SCHEDULED}, [OrderState.SCHEDULED]
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
def test_what_has_begun_can_be_neither_amended_nor_cancelled(state: OrderState) -> None:
    assert not lifecycle.allowed(state, Event.AMEND)
    assert not lifecycle.allowed(state, Event.CANCEL)


@pytest.mark.parametrize("state", list(OrderState))
def test_a_modality_may_always_begin(state: OrderState) -> None:
    # The radiation was real: its report is never turned away.
    assert lifecycle.after(state, Event.START) is OrderState.IN_PROGRESS
