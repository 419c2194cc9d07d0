"""When the exchange may send: the minute's requests, the line's waits, one message's own waits; without sleeping."""

from __future__ import annotations

import pytest

from broker.bus.transport.answers import Retry
from broker.bus.transport.rate_limit import FIRST_WAIT, LONGEST_WAIT, PATIENCE, PAUSE, Pace
from broker.domain.messages import OutboxKind, OutboxRow, OutboxState
from tests.support.clock import NOW, Seconds

DOWN = Retry("cannot connect", uncertain=False)
BROKEN = Retry("HTTP 500")


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def row(seq: int) -> OutboxRow:
    return OutboxRow(seq, seq, OutboxKind.ORDER, OutboxState.PENDING, NOW)


def ready(pace: Pace, *seqs: int) -> list[int]:
    return [one.seq for one in pace.ready([row(seq) for seq in seqs])]


def test_the_wait_doubles_up_to_an_hour(clock: Seconds) -> None:
    pace = Pace(60, clock, chance=lambda: 1.0)
    waits = []
    for _ in range(14):
        wait, alone = pace.failed(1, DOWN)
        assert not alone
        waits.append(wait)
    assert waits[:4] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT, 8 * FIRST_WAIT]
    assert waits[-2:] == [LONGEST_WAIT, LONGEST_WAIT]


def test_a_thousand_failures_do_not_overflow(clock: Seconds) -> None:
    pace = Pace(60, clock, chance=lambda: 1.0)
    assert [pace.failed(1, DOWN)[0] for _ in range(2000)][-1] == LONGEST_WAIT


def test_the_wait_is_anywhere_in_the_upper_half_below_its_ceiling(clock: Seconds) -> None:
    assert Pace(60, clock, chance=lambda: 0.5).failed(1, DOWN)[0] == FIRST_WAIT * 0.75
    assert Pace(60, clock, chance=lambda: 0.0).failed(1, DOWN)[0] == FIRST_WAIT / 2


@pytest.mark.parametrize(("after", "wait"), [(90.0, 90.0), (0.0, FIRST_WAIT), (1e12, LONGEST_WAIT)])
def test_the_line_waits_at_least_as_long_as_the_bus_asks_and_never_over_an_hour(
    clock: Seconds, after: float, wait: float
) -> None:
    assert Pace(60, clock, chance=lambda: 1.0).failed(1, Retry("HTTP 503", after)) == (wait, False)


def test_the_line_waits_by_the_monotonic_clock_and_an_answer_ends_it(clock: Seconds) -> None:
    pace = Pace(60, clock, chance=lambda: 1.0)
    assert not pace.waiting
    pace.failed(1, DOWN)
    pace.failed(1, DOWN)
    assert pace.waiting
    clock.now += 2 * FIRST_WAIT
    assert not pace.waiting
    pace.answered(1)
    assert pace.failed(1, DOWN)[0] == FIRST_WAIT
    pace.answered(1)
    assert not pace.waiting


def test_a_pause_ends_by_itself_or_when_a_person_wants(clock: Seconds) -> None:
    pace = Pace(60, clock)
    assert pace.pause() == PAUSE
    clock.now += PAUSE - 1
    assert pace.waiting
    clock.now += 1
    assert not pace.waiting
    pace.pause()
    pace.forgive()
    assert not pace.waiting


def test_no_more_requests_go_out_in_any_minute_than_allowed(clock: Seconds) -> None:
    pace = Pace(3, clock)
    for _ in range(3):
        assert pace.has_room(1)
        pace.note_request()
        clock.now += 10
    assert not pace.has_room(1)
    clock.now += 29
    assert not pace.has_room(1)
    clock.now += 1
    assert pace.has_room(1)
    assert not pace.has_room(2)
    pace.note_request()
    assert not pace.has_room(1)


def test_what_belongs_together_goes_out_in_an_empty_minute_even_at_one_a_minute(clock: Seconds) -> None:
    pace = Pace(1, clock)
    assert pace.has_room(2)
    pace.note_request()
    assert not pace.has_room(1)


def test_a_message_that_fails_while_others_are_answered_waits_alone(clock: Seconds) -> None:
    pace = Pace(60, clock, chance=lambda: 1.0)
    for _ in range(PATIENCE):
        assert pace.failed(1, BROKEN)[1] is False  # it may well be the line
    assert ready(pace, 1, 2, 3) == [2, 3, 1]
    pace.answered(2)
    assert pace.failed(1, BROKEN) == (2 * FIRST_WAIT, True)
    assert not pace.waiting
    assert ready(pace, 1, 3) == [3]
    clock.now += 2 * FIRST_WAIT
    assert ready(pace, 1, 3) == [3, 1]
    pace.answered(1)
    assert ready(pace, 1, 3) == [1, 3]


@pytest.mark.parametrize("why", [DOWN, Retry("HTTP 429", 1.0, uncertain=False), Retry("HTTP 503", 5.0)])
def test_a_line_that_is_down_or_asks_for_a_wait_is_no_fault_of_the_message(clock: Seconds, why: Retry) -> None:
    pace = Pace(60, clock)
    for _ in range(PATIENCE + 2):
        assert pace.failed(1, why)[1] is False
        pace.answered(2)
    assert ready(pace, 1, 2) == [1, 2]


def test_a_person_forgives_a_message_too(clock: Seconds) -> None:
    pace = Pace(60, clock)
    for _ in range(PATIENCE + 1):
        pace.failed(1, BROKEN)
        pace.answered(2)
    assert ready(pace, 1) == []
    pace.forgive()
    assert ready(pace, 1) == [1]


def test_what_is_taken_is_counted_at_once_and_what_was_not_needed_is_given_back(clock: Seconds) -> None:
    pace = Pace(3, clock)
    assert pace.take(2)
    assert not pace.take(2)
    assert pace.take(1)
    pace.give_back(1)
    assert pace.take()


def test_what_is_sent_leaves_room_for_what_is_fetched(clock: Seconds) -> None:
    pace = Pace(10, clock)
    assert pace.share == 5
    taken = 0
    while pace.take(1, pace.share):
        taken += 1
    assert taken == 5
    for _ in range(5):
        assert pace.take()
    assert not pace.take()


@pytest.mark.parametrize(("rate", "share"), [(1, 0), (2, 1), (20, 10), (30, 10), (50, 10), (100, 20)])
def test_what_is_fetched_has_room_for_a_referral_or_half_of_what_there_is(rate: int, share: int) -> None:
    assert Pace(rate).share == share


def test_one_failure_of_the_line_that_several_messages_meet_counts_once(clock: Seconds) -> None:
    pace = Pace(60, clock, chance=lambda: 1.0)
    mark = pace.mark
    assert pace.failed(1, DOWN, mark) == (FIRST_WAIT, False)
    assert pace.failed(2, DOWN, mark) == (FIRST_WAIT, False)
    assert pace.failed(3, Retry("HTTP 429", 60.0, uncertain=False), mark) == (60.0, False)
    clock.now += 60
    assert pace.failed(1, DOWN, pace.mark) == (2 * FIRST_WAIT, False)


def test_an_answer_to_what_began_before_the_line_failed_does_not_end_the_wait(clock: Seconds) -> None:
    pace = Pace(60, clock, chance=lambda: 1.0)
    mark = pace.mark
    pace.failed(1, DOWN, mark)
    pace.answered(2, mark)
    assert pace.waiting
    clock.now += FIRST_WAIT
    pace.answered(2, pace.mark)
    assert pace.failed(1, DOWN, pace.mark)[0] == FIRST_WAIT


def test_silence_is_measured_from_the_last_answer(clock: Seconds) -> None:
    pace = Pace(60, clock)
    assert pace.silence == float("inf")
    pace.heard()
    clock.now += 30
    assert pace.silence == 30
    pace.answered(1)
    assert pace.silence == 0
