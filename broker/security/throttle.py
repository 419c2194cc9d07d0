"""Slowing down guesses of passwords and tokens."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple


class Limit(NamedTuple):
    """How many misses are free, and the longest wait in seconds after more of them."""

    free: int
    longest: float


class ThrottleLimits(NamedTuple):
    """The limits for one login from one address, a login from anywhere, and an address with any login."""

    pair: Limit
    login: Limit
    address: Limit


SIGN_IN = ThrottleLimits(Limit(3, 300.0), Limit(10, 5.0), Limit(20, 5.0))
SIGN_IN_HALF_LIFE = 600.0  # seconds
MAX_KEYS = 10_000


class Throttle:
    """Slows guessing down: after some misses every further one doubles the wait, up to the longest.

    Strict for one login from one address, gentle for a login from anywhere and for an address with any login: a caller
    cannot lock out other people, nor everybody behind the same proxy. Misses are forgotten with time. Kept in memory on
    the monotonic clock: bounded, and no use to somebody who sets the clock.
    """

    def __init__(
        self,
        limits: ThrottleLimits = SIGN_IN,
        half_life: float = SIGN_IN_HALF_LIFE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Slow guesses down by `limits`; after `half_life` seconds half of the misses are forgotten."""
        self._limits, self._half_life, self._clock = limits, half_life, clock
        self._lock = threading.Lock()
        self._misses: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()  # key -> (misses, when last)

    def wait(self, login: str, address: str) -> int:
        """Return the whole seconds that must still pass before another attempt; 0 when it is free."""
        with self._lock:
            waits = (self._left(key, *limit) for key, limit in zip(_keys(login, address), self._limits, strict=True))
            return max(0, math.ceil(max(waits)))

    def miss(self, login: str, address: str) -> None:
        """Count a failed attempt."""
        with self._lock:
            for key in _keys(login, address):
                misses = self._remembered(key)
                self._misses.pop(key, None)
                self._misses[key] = (misses + 1, self._clock())
            while len(self._misses) > MAX_KEYS:
                self._misses.popitem(last=False)

    def forget(self, login: str, address: str) -> None:
        """Forgive after a success; the address keeps its misses with other logins."""
        pair, anywhere, everybody = _keys(login, address)
        with self._lock:
            misses = self._remembered(pair)
            self._misses.pop(pair, None)
            for key in (anywhere, everybody):
                if key in self._misses:
                    left = self._remembered(key) - misses
                    self._misses[key] = (max(left, 0.0), self._misses[key][1])

    def _left(self, key: tuple[str, ...], free: int, longest: float) -> float:
        misses = self._remembered(key)
        if misses < free:
            return 0.0
        return self._misses[key][1] + min(float(2 ** (misses - free)), longest) - self._clock()

    def _remembered(self, key: tuple[str, ...]) -> float:
        misses, at = self._misses.get(key, (0.0, 0.0))
        halvings = int((self._clock() - at) // self._half_life)
        return misses * float(0.5**halvings)


def _keys(login: str, address: str) -> tuple[tuple[str, ...], ...]:
    return ("pair", login, address), ("login", login), ("address", address)
