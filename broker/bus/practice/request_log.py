"""The log of the practice bus: the last requests with their bodies, and requests per second."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from typing import NamedTuple

MAX_REQUESTS = 1000  # stored
MAX_BYTES = 32 * 1024 * 1024  # of their bodies
MAX_SECONDS = 3600  # counted


class Recorded(NamedTuple):
    """One request: path below the base with its query as sent, status answered (0: none), the body's bytes.

    `organisation` is the GUID of who called, empty if unknown; `at` is UTC; `reason` is why it was refused, or
    how it deviates from the profile although it was accepted.
    """

    method: str
    path: str
    status: int
    body: bytes
    organisation: str
    at: datetime
    reason: str


class RequestLog:
    """Stores the last requests; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[Recorded] = deque()
        self._total = 0  # requests since the start
        self._bytes = 0
        self._seconds: dict[int, int] = {}

    def add(self, recorded: Recorded) -> None:
        """Add a request."""
        second = int(recorded.at.timestamp())
        with self._lock:
            self._total += 1
            self._requests.append(recorded)
            self._bytes += len(recorded.body)
            while len(self._requests) > MAX_REQUESTS or self._bytes > MAX_BYTES:
                self._bytes -= len(self._requests.popleft().body)
            self._seconds[second] = self._seconds.get(second, 0) + 1
            if len(self._seconds) > MAX_SECONDS:
                del self._seconds[min(self._seconds)]

    def all(self) -> list[Recorded]:
        """Return the remembered requests, oldest first."""
        with self._lock:
            return list(self._requests)

    def newest(self, number: int) -> list[tuple[int, Recorded]]:
        """Return the last requests, numbered from 1 since the start, newest first."""
        with self._lock:
            newest = reversed(self._requests)
            return [(self._total - i, recorded) for i, recorded in zip(range(number), newest, strict=False)]

    def get(self, number: int) -> Recorded | None:
        """Return the request of a number; None if it was dropped or never came."""
        with self._lock:
            i = number - self._total - 1
            return self._requests[i] if -len(self._requests) <= i < 0 else None

    @property
    def total(self) -> int:
        """Return how many requests ever came."""
        with self._lock:
            return self._total

    def per_second(self) -> dict[int, int]:
        """Return the requests by the second (Unix time) in which they came; seconds without any are left out."""
        with self._lock:
            return dict(self._seconds)
