"""The machine's clock; only the composition root reads it and passes it on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

log = logging.getLogger(__name__)

TOLERANCE = 5.0  # seconds between the wall clock and the monotonic one; a larger difference means that it was set


def utc_now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)


class ClockWatch:
    """Notices when the wall clock is set: by a person, by NTP, or by a machine that slept (monotonic clocks sleep too).

    Safe to use from any thread. A daylight saving change does not set the clock: it counts UTC.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`wall` returns seconds since 1970, `monotonic` seconds since any fixed moment."""
        self._wall, self._monotonic = wall, monotonic
        self._lock = threading.Lock()
        self._offset = wall() - monotonic()
        self._times_set = 0

    def times_set(self) -> int:
        """Compare the two clocks now; return how often the wall clock has been set since this object was made.

        A job that relies on the clock stores the number and restarts when it changes.
        """
        with self._lock:
            offset = self._wall() - self._monotonic()
            change, self._offset = offset - self._offset, offset
            if abs(change) > TOLERANCE:
                self._times_set += 1
                log.warning("the clock was set by %+.0f s", change)
            return self._times_set
