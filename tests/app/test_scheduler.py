"""Jobs run as planned, and go on when somebody sets the clock."""

from __future__ import annotations

import logging
import random
import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import apscheduler.schedulers.base
import apscheduler.triggers.interval
import pytest

from broker.app.clock import ClockWatch
from broker.app.scheduler import Job, Schedule, trigger
from tests.support.clock import NOW, RunningClock
from tests.support.waiting import DEADLINE, wait_until


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> RunningClock:
    """The clock by which the scheduler plans."""
    running = RunningClock()

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return running().astimezone(tz)  # type: ignore[arg-type]

    for module in (apscheduler.schedulers.base, apscheduler.triggers.interval):
        monkeypatch.setattr(module, "datetime", Datetime)
    monkeypatch.setattr(Schedule, "WATCH_EVERY", 0.05)
    return running


def watch(wall: RunningClock) -> ClockWatch:
    return ClockWatch(lambda: wall().timestamp())


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-1, 1])
def test_jobs_go_on_when_the_clock_is_set(wall: RunningClock, caplog: pytest.LogCaptureFixture, hours: int) -> None:
    caplog.set_level(logging.WARNING)
    ran = threading.Semaphore(0)
    running = Schedule([Job("tick", ran.release, every=0.2)], ZoneInfo("Europe/Moscow"), watch(wall))
    running.start()
    try:
        assert ran.acquire(timeout=DEADLINE)
        wall.advance(hours=hours)
        wait_until(lambda: "the clock was set" in caplog.text, "the watch over the clock")
        while ran.acquire(blocking=False):
            pass
        assert ran.acquire(timeout=DEADLINE)
        assert ran.acquire(timeout=DEADLINE)
    finally:
        running.stop()


def test_a_daily_job_waits_for_its_hour(wall: RunningClock) -> None:
    at = NOW + timedelta(hours=2)
    ran = threading.Event()
    running = Schedule([Job("daily", ran.set, daily_at=at.time())], UTC, watch(wall))
    running.start()
    try:
        running.replan()
        [job] = running._scheduler.get_jobs()
        assert job.next_run_time == at
        assert not ran.is_set()
        wall.advance(hours=2)
        assert ran.wait(DEADLINE)
    finally:
        running.stop()


def test_the_polls_of_a_region_whose_servers_start_together_do_not_come_together(wall: RunningClock) -> None:
    random.seed(1)
    now = wall()
    job = Job("poll", lambda: None, every=60.0, spread=True)
    first = [trigger(job, UTC).get_next_fire_time(None, now) for _ in range(300)]
    waits = sorted((each - now).total_seconds() for each in first)
    assert 0 <= waits[0] < 10
    assert 50 < waits[-1] <= 67
    assert 23 < waits[150] < 43
    again = [trigger(job, UTC).get_next_fire_time(now, now) - now for _ in range(100)]
    assert all(timedelta(seconds=60) <= each <= timedelta(seconds=66) for each in again)
    assert len(set(again)) > 90
