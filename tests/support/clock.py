"""The clock of all tests: it is 24 November 2026, 09:47 in Moscow, until a test moves its own.

No test reads the machine's calendar (`tests/test_clock.py` sees to it). Where the program runs as a process of its own
it lives by that calendar, and a test of it takes its dates from what the program says.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Moscow")
NOW = datetime(2026, 11, 24, 9, 47, tzinfo=ZONE).astimezone(UTC)
TODAY = date(2026, 11, 24)  # in ZONE


class Clock:
    """A wall clock that stands still until a test moves it; a call returns an aware UTC datetime."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        """Move it by what `timedelta` takes; back if that is negative."""
        self.now += timedelta(**delta)


def instant(at: str, on: date = TODAY) -> datetime:
    """Return a local time such as "09:47" as a UTC instant."""
    return datetime.combine(on, datetime.strptime(at, "%H:%M").time(), ZONE).astimezone(UTC)


def local(at: str, on: date = TODAY) -> datetime:
    """Return a local time such as "09:47", naive."""
    return instant(at, on).astimezone(ZONE).replace(tzinfo=None)


class Seconds:
    """Seconds of a monotonic clock, or since 1970, that pass when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class RunningClock:
    """A wall clock that runs from NOW on by the monotonic one, and that a test may set."""

    def __init__(self) -> None:
        self._set = NOW - timedelta(seconds=time.monotonic())

    def __call__(self) -> datetime:
        return self._set + timedelta(seconds=time.monotonic())

    def advance(self, **delta: float) -> None:
        """Set it forward by what `timedelta` takes; back if that is negative."""
        self._set += timedelta(**delta)
