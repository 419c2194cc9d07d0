"""Which windows a person writes in: a lease ends when the last one is closed, not when the first one is."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from broker.domain.reading.leases import LeasePurpose


class Place(NamedTuple):
    """What somebody writes about."""

    order_id: int
    login: str
    purpose: LeasePurpose = LeasePurpose.REPORT


class WritingWindows:
    """The open windows (ids of clients) of each person and study; used on the event loop only."""

    def __init__(self) -> None:
        self._windows: defaultdict[Place, set[str]] = defaultdict(set)

    def open(self, place: Place, window: str) -> None:
        """Note that somebody writes in a window."""
        self._windows[place].add(window)

    def close(self, place: Place, window: str) -> bool:
        """Note that a window writes no more; return True if it was the last one there."""
        self._windows[place].discard(window)
        if self._windows[place]:
            return False
        del self._windows[place]
        return True
