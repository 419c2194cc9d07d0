"""The bus's clock, by the header Date of its answers (RFC 9110, 6.6.1) and a monotonic clock between them.

A server without a network clock may be wrong by years. What is asked of the bus by time is asked by the bus's time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

TOLERATED = timedelta(minutes=10)  # of difference between our clock and the bus's


class BusClock:
    """What the bus says the time is; safe to use from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: tuple[datetime, float] | None = None  # the last Date, and when it came
        self._differs = False

    def note(self, date: datetime) -> None:
        """Note what the bus has said."""
        with self._lock:
            self._last = date, self._monotonic()

    def now(self) -> datetime | None:
        """Return the bus's time (UTC); None while it has not said any."""
        with self._lock:
            return self._last[0] + timedelta(seconds=self._monotonic() - self._last[1]) if self._last else None

    def ahead_of(self, own: datetime) -> timedelta:
        """Return how far the bus is ahead of this time by our clock; zero if that is tolerated, or not known."""
        now = self.now()
        ahead = now - own if now else timedelta()
        return ahead if abs(ahead) > TOLERATED else timedelta()

    def has_changed(self, *, differs: bool) -> bool:
        """Return True if the clocks differ now and did not before, or the other way round."""
        with self._lock:
            before, self._differs = self._differs, differs
            return before != differs
