"""A throttle for each of many keys, in bounded memory.

Callers choose their own names, so whatever is done once for each name needs a limit of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable


class KeyedThrottle:
    """Allows something once in `seconds` for a key, and for at most `most` new keys in that span.

    `monotonic` gives seconds; tests replace it.
    """

    def __init__(self, seconds: float, most: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._monotonic = seconds, most, monotonic
        self._lock = threading.Lock()
        self._last: dict[Hashable, float] = {}
        self._suppressed = 0

    def allow(self, key: Hashable) -> bool:
        """Return True if it may be done for this key now, and count it as done then."""
        with self._lock:
            now = self._monotonic()
            if now - self._last.get(key, -self._seconds) < self._seconds:
                return False
            if len(self._last) >= self._most:
                self._last = {each: at for each, at in self._last.items() if now - at < self._seconds}
            if len(self._last) >= self._most:
                self._suppressed += 1
                return False
            self._last[key] = now
            return True

    def would_allow(self, key: Hashable) -> bool:
        """Return True if `allow` might; nothing is counted."""
        return self._monotonic() - self._last.get(key, -self._seconds) >= self._seconds

    def suppressed(self) -> int:
        """Return how often a key was refused for want of room since this was called last."""
        with self._lock:
            suppressed, self._suppressed = self._suppressed, 0
            return suppressed
