"""How often something may be done for each of many callers, in bounded memory.

Callers choose their own names, so whatever is done once a name needs a limit of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable


class Seldom:
    """Says yes at most once in `seconds` for a key, and for new keys at most `most` times in that span."""

    def __init__(self, seconds: float, most: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._monotonic = seconds, most, monotonic
        self._lock = threading.Lock()
        self._last: dict[Hashable, float] = {}
        self._held_back = 0

    def now(self, key: Hashable) -> bool:
        """Say whether it may be done for this key now, and count it as done if so."""
        with self._lock:
            now = self._monotonic()
            if now - self._last.get(key, -self._seconds) < self._seconds:
                return False
            if len(self._last) >= self._most:
                self._last = {each: at for each, at in self._last.items() if now - at < self._seconds}
            if len(self._last) >= self._most:
                self._held_back += 1
                return False
            self._last[key] = now
            return True

    def due(self, key: Hashable) -> bool:
        """Say whether it would be done for this key now; nothing is counted."""
        return self._monotonic() - self._last.get(key, -self._seconds) >= self._seconds

    def held_back(self) -> int:
        """Give how often a key was refused for want of room since this was asked last."""
        with self._lock:
            held, self._held_back = self._held_back, 0
            return held
