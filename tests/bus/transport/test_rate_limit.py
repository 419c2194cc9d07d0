"""When the exchange may send: the minute's requests, the line's waits, one message's own waits; without sleeping."""

from __future__ import annotations

import pytest

from broker.bus.transport.answers import Retry
from broker.bus.transport.rate_limit import FIRST_WAIT, MAX_WAIT, MESSAGE_FAULT_AFTER, PAUSE, RateLimiter
from broker.domain.messages import OutboxKind, OutboxRow, OutboxState
from tests.support.clock import NOW, Seconds

DOWN = Retry("cannot connect", uncertain=False)
BROKEN = Retry("HTTP 500")


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def row(seq: int) -> OutboxRow:
    return OutboxRow(seq, seq, OutboxKind.ORDER, OutboxState.PENDING, NOW)


def ready(limiter: RateLimiter, *seqs: int) -> list[int]:
    return [one.seq for one in limiter.due([row(seq) for seq in seqs])]


def test_the_wait_doubles_up_to_an_hour(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock, chance=lambda: 1.0)
    waits = []
    for _ in range(14):
        wait, alone = limiter.failed(1, DOWN)
        assert not alone
        waits.append(wait)
    assert waits[:4] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT, 8 * FIRST_WAIT]
    assert waits[-2:] == [MAX_WAIT, MAX_WAIT]


def test_a_thousand_failures_do_not_overflow(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock, chance=lambda: 1.0)
    assert [limiter.failed(1, DOWN)[0] for _ in range(2000)][-1] == MAX_WAIT


def test_the_wait_is_anywhere_in_the_upper_half_below_its_ceiling(clock: Seconds) -> None:
    assert RateLimiter(60, clock, chance=lambda: 0.5).failed(1, DOWN)[0] == FIRST_WAIT * 0.75
    assert RateLimiter(60, clock, chance=lambda: 0.0).failed(1, DOWN)[0] == FIRST_WAIT / 2


@pytest.mark.parametrize(("after", "wait"), [(90.0, 90.0), (0.0, FIRST_WAIT), (1e12, MAX_WAIT)])
def test_the_line_waits_at_least_as_long_as_the_bus_asks_and_never_over_an_hour(
    clock: Seconds, after: float, wait: float
) -> None:
    assert RateLimiter(60, clock, chance=lambda: 1.0).failed(1, Retry("HTTP 503", after)) == (wait, False)


def test_the_line_waits_by_the_monotonic_clock_and_an_answer_ends_it(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock, chance=lambda: 1.0)
    assert not limiter.waiting
    limiter.failed(1, DOWN)
    limiter.failed(1, DOWN)
    assert limiter.waiting
    clock.now += 2 * FIRST_WAIT
    assert not limiter.waiting
    limiter.answered(1)
    assert limiter.failed(1, DOWN)[0] == FIRST_WAIT
    limiter.answered(1)
    assert not limiter.waiting


def test_a_pause_ends_by_itself_or_when_a_person_wants(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock)
    assert limiter.pause() == PAUSE
    clock.now += PAUSE - 1
    assert limiter.waiting
    clock.now += 1
    assert not limiter.waiting
    limiter.pause()
    limiter.reset()
    assert not limiter.waiting


def test_no_more_requests_go_out_in_any_minute_than_allowed(clock: Seconds) -> None:
    limiter = RateLimiter(3, clock)
    for _ in range(3):
        assert limiter.has_room(1)
        limiter.note_request()
        clock.now += 10
    assert not limiter.has_room(1)
    clock.now += 29
    assert not limiter.has_room(1)
    clock.now += 1
    assert limiter.has_room(1)
    assert not limiter.has_room(2)
    limiter.note_request()
    assert not limiter.has_room(1)


def test_what_belongs_together_goes_out_in_an_empty_minute_even_at_one_a_minute(clock: Seconds) -> None:
    limiter = RateLimiter(1, clock)
    assert limiter.has_room(2)
    limiter.note_request()
    assert not limiter.has_room(1)


def test_a_message_that_fails_while_others_are_answered_waits_alone(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock, chance=lambda: 1.0)
    for _ in range(MESSAGE_FAULT_AFTER):
        assert limiter.failed(1, BROKEN)[1] is False  # it may well be the line
    assert ready(limiter, 1, 2, 3) == [2, 3, 1]
    limiter.answered(2)
    assert limiter.failed(1, BROKEN) == (2 * FIRST_WAIT, True)
    assert not limiter.waiting
    assert ready(limiter, 1, 3) == [3]
    clock.now += 2 * FIRST_WAIT
    assert ready(limiter, 1, 3) == [3, 1]
    limiter.answered(1)
    assert ready(limiter, 1, 3) == [1, 3]


@pytest.mark.parametrize("why", [DOWN, Retry("HTTP 429", 1.0, uncertain=False), Retry("HTTP 503", 5.0)])
def test_a_line_that_is_down_or_asks_for_a_wait_is_no_fault_of_the_message(clock: Seconds, why: Retry) -> None:
    limiter = RateLimiter(60, clock)
    for _ in range(MESSAGE_FAULT_AFTER + 2):
        assert limiter.failed(1, why)[1] is False
        limiter.answered(2)
    assert ready(limiter, 1, 2) == [1, 2]


def test_a_person_forgives_a_message_too(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock)
    for _ in range(MESSAGE_FAULT_AFTER + 1):
        limiter.failed(1, BROKEN)
        limiter.answered(2)
    assert ready(limiter, 1) == []
    limiter.reset()
    assert ready(limiter, 1) == [1]


def test_what_is_taken_is_counted_at_once_and_what_was_not_needed_is_given_back(clock: Seconds) -> None:
    limiter = RateLimiter(3, clock)
    assert limiter.take(2)
    assert not limiter.take(2)
    assert limiter.take(1)
    limiter.return_unused(1)
    assert limiter.take()


def test_what_is_sent_leaves_room_for_polling(clock: Seconds) -> None:
    limiter = RateLimiter(10, clock)
    assert limiter.polling_share == 5
    taken = 0
    while limiter.take(1, limiter.polling_share):
        taken += 1
    assert taken == 5
    for _ in range(5):
        assert limiter.take()
    assert not limiter.take()


@pytest.mark.parametrize(("rate", "share"), [(1, 0), (2, 1), (20, 10), (30, 10), (50, 10), (100, 20)])
def test_polling_has_room_for_a_referral_or_half_of_what_there_is(rate: int, share: int) -> None:
    assert RateLimiter(rate).polling_share == share


def test_one_failure_of_the_line_that_several_messages_meet_counts_once(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock, chance=lambda: 1.0)
    epoch = limiter.epoch
    assert limiter.failed(1, DOWN, epoch) == (FIRST_WAIT, False)
    assert limiter.failed(2, DOWN, epoch) == (FIRST_WAIT, False)
    assert limiter.failed(3, Retry("HTTP 429", 60.0, uncertain=False), epoch) == (60.0, False)
    clock.now += 60
    assert limiter.failed(1, DOWN, limiter.epoch) == (2 * FIRST_WAIT, False)


def test_an_answer_to_what_began_before_the_line_failed_does_not_end_the_wait(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock, chance=lambda: 1.0)
    epoch = limiter.epoch
    limiter.failed(1, DOWN, epoch)
    limiter.answered(2, epoch)
    assert limiter.waiting
    clock.now += FIRST_WAIT
    limiter.answered(2, limiter.epoch)
    assert limiter.failed(1, DOWN, limiter.epoch)[0] == FIRST_WAIT


def test_silence_is_measured_from_the_last_answer(clock: Seconds) -> None:
    limiter = RateLimiter(60, clock)
    assert limiter.seconds_since_contact == float("inf")
    limiter.note_contact()
    clock.now += 30
    assert limiter.seconds_since_contact == 30
    limiter.answered(1)
    assert limiter.seconds_since_contact == 0
