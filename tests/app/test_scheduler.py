"""Jobs run as planned, and go on when somebody sets the clock."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import apscheduler.schedulers.base
import apscheduler.triggers.interval
import pytest

from broker.app import scheduler
from broker.app.scheduler import Job, Schedule


@pytest.mark.parametrize("hours", [-1, 1])
def test_jobs_go_on_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    shift = [timedelta()]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + shift[0]  # type: ignore[arg-type]

    for module in (apscheduler.schedulers.base, apscheduler.triggers.interval):
        monkeypatch.setattr(module, "datetime", Clock)
    monkeypatch.setattr(scheduler, "time_now", lambda: time.time() + shift[0].total_seconds())
    monkeypatch.setattr(Schedule, "WATCH_EVERY", 0.05)
    ran = threading.Semaphore(0)
    running = Schedule([Job("tick", ran.release, every=0.2)], ZoneInfo("Europe/Moscow"))
    running.start()
    try:
        assert ran.acquire(timeout=3)
        shift[0] = timedelta(hours=hours)
        time.sleep(0.3)
        while ran.acquire(blocking=False):
            pass
        assert ran.acquire(timeout=3)
        assert ran.acquire(timeout=3)
    finally:
        running.stop()


def test_a_daily_job_waits_for_its_hour() -> None:
    now = datetime.now(UTC)
    ran = threading.Event()
    running = Schedule([Job("daily", ran.set, daily_at=(now + timedelta(hours=2)).time())], UTC)
    running.start()
    running.plan_anew()
    assert not ran.wait(0.2)
    running.stop()
