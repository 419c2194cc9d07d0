"""The session of a caller with the bus: who waits for whose failures, what people see of it, and how stopping ends."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import cast

import pytest

from broker.bus.transport.answers import TOO_MANY, Answer, Delivered, Paused, Retry
from broker.bus.transport.bus_clock import BusClock
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call
from broker.bus.transport.rate_limit import FIRST_WAIT, PAUSE, RateLimiter
from broker.bus.transport.session import RATE, STOPPING, WAITING, BusSession, NotSent, SessionPriority
from broker.store.database import Store
from broker.store.tables import bus_channel
from broker.workflow.outbox import resume_exchange
from tests.bus.clinic import ADMINISTRATOR
from tests.support.clock import Seconds

CALL = Call("GET", "/Task/1")
DOWN = Retry("cannot connect", uncertain=False)
BROKEN = Retry("HTTP 500")


class Bus:
    """Returns the same answer to every call."""

    url = "http://bus.example.org/fhir"

    def __init__(self) -> None:
        self.answer: Answer = Delivered()
        self.calls = 0
        self.clock = BusClock(lambda: 0.0)

    def call(self, call: Call) -> Answer:
        self.calls += 1
        return self.answer

    def abort_calls(self) -> None:
        """Nothing is under way."""


class Sessions:
    """Three callers of one bus."""

    def __init__(self, store: Store, rate: int = 100) -> None:
        self.store, self.bus, self.seconds = store, Bus(), Seconds()
        self.limiter = RateLimiter(rate, self.seconds, lambda: 1.0)
        self.delivery, self.polling, self.background = (
            BusSession(store, cast(BusClient, self.bus), self.limiter, priority) for priority in SessionPriority
        )

    @property
    def channel(self) -> str:
        with self.store.read() as reader:
            return bus_channel.state(reader)


@pytest.fixture
def sessions(store: Store) -> Sessions:
    return Sessions(store)


def test_a_poll_that_finds_no_connection_makes_everybody_wait(sessions: Sessions) -> None:
    sessions.polling.failed(DOWN)
    assert [each.blocked_reason() for each in (sessions.delivery, sessions.polling)] == [WAITING, WAITING]
    assert isinstance(sessions.background.request(CALL), NotSent)
    assert (sessions.channel, sessions.bus.calls) == ("waiting", 0)
    sessions.seconds.now += FIRST_WAIT
    assert [each.blocked_reason() for each in (sessions.delivery, sessions.polling)] == ["", ""]


def test_a_poll_whose_searches_fail_waits_alone_until_a_message_proves_the_bus_good(sessions: Sessions) -> None:
    sessions.polling.failed(BROKEN)
    assert [each.blocked_reason() for each in (sessions.delivery, sessions.polling)] == ["", WAITING]
    sessions.polling.begin()
    assert sessions.polling.blocked_reason() == WAITING
    sessions.delivery.succeeded(message=1)
    assert sessions.channel == "ok"
    sessions.polling.begin()
    assert sessions.polling.blocked_reason() == ""


def test_a_failure_in_the_background_delays_others_only_if_the_bus_asks_for_it(sessions: Sessions) -> None:
    for answer in (DOWN, BROKEN, Paused("token refused (HTTP 401)")):
        sessions.bus.answer = answer
        assert sessions.background.request(CALL) == answer
        assert (sessions.channel, sessions.delivery.blocked_reason()) == ("ok", "")
    sessions.bus.answer = Retry("HTTP 503", after=60.0)
    sessions.background.request(CALL)
    assert (sessions.channel, sessions.delivery.blocked_reason()) == ("waiting", WAITING)


@pytest.mark.parametrize("answer", [DOWN, Paused("token refused (HTTP 401)")])
def test_every_caller_resumes_if_a_person_wants_it_tried_now(sessions: Sessions, answer: Retry | Paused) -> None:
    sessions.delivery.failed(answer)
    sessions.polling.begin()
    assert sessions.polling.blocked_reason() == WAITING
    sessions.store.write(resume_exchange, ADMINISTRATOR)
    sessions.polling.begin()
    assert [each.blocked_reason() for each in (sessions.delivery, sessions.polling)] == ["", ""]


def test_a_wait_that_was_not_shown_is_not_ended_by_a_channel_that_was_good_before(sessions: Sessions) -> None:
    sessions.limiter.failed(1, DOWN)  # between the failure and its note
    sessions.polling.begin()
    assert sessions.delivery.blocked_reason() == WAITING


def test_an_answer_to_what_began_before_the_connection_failed_does_not_show_it_as_good(sessions: Sessions) -> None:
    epoch = sessions.limiter.epoch
    sessions.delivery.failed(DOWN, message=1, epoch=epoch)
    sessions.delivery.succeeded(message=2, epoch=epoch)
    assert sessions.channel == "waiting"


def test_a_call_that_is_aborted_by_stopping_proves_nothing_about_the_connection(sessions: Sessions) -> None:
    sessions.delivery.stop()
    recorded: list[int] = []
    assert sessions.delivery.failed(BROKEN, lambda tx: recorded.append(1), message=1) == 0
    assert (recorded, sessions.channel, sessions.polling.blocked_reason()) == ([1], "ok", "")
    assert sessions.delivery.admit() == STOPPING
    assert sessions.delivery.request(CALL) == NotSent(STOPPING, uncertain=False)


def test_what_was_admitted_and_not_used_is_given_back(store: Store) -> None:
    sessions = Sessions(store, rate=4)
    assert [sessions.delivery.admit(2), sessions.delivery.admit(2)] == ["", ""]
    sessions.delivery.request(CALL)
    sessions.delivery.release()
    assert [sessions.delivery.admit(1), sessions.delivery.admit(2)] == ["", RATE]  # half is left to polling
    assert sessions.polling.admit(10) == ""


def test_the_channel_is_written_when_it_changes_and_once_in_a_run(sessions: Sessions) -> None:
    reported: list[int] = []
    sessions.store.subscribe(lambda: reported.append(1))
    sessions.delivery.failed(DOWN)
    sessions.seconds.now += PAUSE
    sessions.delivery.begin()
    sessions.delivery.succeeded(message=1)
    sessions.delivery.succeeded(message=2)
    assert len(reported) == 2


@pytest.mark.parametrize(
    "answer", [Retry(TOO_MANY, uncertain=False), Retry(TOO_MANY, 30.0, False), Retry("HTTP 503", 30.0)]
)
@pytest.mark.parametrize("first", SessionPriority)
def test_after_the_bus_asks_to_wait_no_caller_calls_not_even_for_what_is_begun(
    sessions: Sessions, first: SessionPriority, answer: Retry
) -> None:
    by_priority = dict(zip(SessionPriority, (sessions.delivery, sessions.polling, sessions.background), strict=True))
    for session in (sessions.delivery, sessions.polling):
        assert not session.admit(3)  # they are about to call
    sessions.bus.answer = answer
    by_priority[first].request(CALL)  # and has not noted what became of it
    assert sessions.bus.calls == 1
    sessions.bus.answer = Delivered()
    for session in by_priority.values():
        assert isinstance(session.request(CALL), NotSent)
    assert sessions.bus.calls == 1
    sessions.seconds.now += (answer.after or 0) + FIRST_WAIT
    assert isinstance(sessions.polling.request(CALL), Delivered)


def test_a_bus_that_is_busy_by_itself_holds_nobody_who_has_begun(sessions: Sessions) -> None:
    assert not sessions.delivery.admit(3)
    sessions.bus.answer = BROKEN
    sessions.delivery.request(CALL)
    sessions.bus.answer = Delivered()
    assert isinstance(sessions.delivery.request(CALL), Delivered)


@pytest.mark.parametrize("days", [400, -400, 3650])
def test_a_clock_that_is_wrong_by_years_is_said_once_and_the_bus_is_believed(
    sessions: Sessions, caplog: pytest.LogCaptureFixture, days: int
) -> None:
    caplog.set_level(logging.INFO)
    own = sessions.store.clock()
    sessions.bus.clock.note(own + timedelta(days=days))
    for _ in range(3):
        sessions.delivery.request(CALL)
    assert sessions.polling.now() == own + timedelta(days=days)
    [said] = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert str(abs(days)) in said
    sessions.bus.clock.note(own + timedelta(minutes=2))
    sessions.delivery.request(CALL)
    assert "agrees with the bus's again" in caplog.text


def test_a_clock_that_is_a_few_minutes_off_is_not_worth_a_word(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    sessions.bus.clock.note(sessions.store.clock() + timedelta(minutes=9))
    sessions.delivery.request(CALL)
    assert "clock" not in caplog.text
