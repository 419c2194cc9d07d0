"""The days that open boards show, each read once and laid out once for all boards that show it.

It does not check whether a person may look. Everything runs on the event loop and so needs no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import cached_property

from ui.board import attention, layout
from ui.board.attention import AttentionItem
from ui.board.layout import BoardDay, Lane
from ui.live import fetch
from ui.services import Services

# Seconds for which a reading is used. All boards ask within a second of a change; this bounds for how long they
# miss what the revision does not count, such as a change by hand with SQLite's own tools.
KEPT = 10.0
MOST = 8  # dates


class BoardPlan:
    """A day as it was read, laid out once for every filter and fold."""

    def __init__(self, day: BoardDay, zone: tzinfo) -> None:
        self.day = day
        self._zone = zone
        self._minute: datetime | None = None
        self._lanes: dict[tuple[str, frozenset[str]], Sequence[Lane]] = {}
        self._attention_items: dict[bool, Sequence[AttentionItem]] = {}

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many visits each filter shows."""
        return layout.counts(self.day)

    def lanes(self, now: datetime, show: str, unfolded: frozenset[str]) -> Sequence[Lane]:
        """Return the lanes as `layout.lanes` does, laid out once a minute of `now`."""
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute = minute
            self._lanes.clear()
        if (show, unfolded) not in self._lanes:
            self._lanes[show, unfolded] = layout.lanes(self.day, now, self._zone, show, unfolded)
        return self._lanes[show, unfolded]

    def attention_items(self, amend: bool) -> Sequence[AttentionItem]:
        """Return what must be looked at as `attention.attention_items` does."""
        if amend not in self._attention_items:
            self._attention_items[amend] = attention.attention_items(self.day, self._zone, amend)
        return self._attention_items[amend]


@dataclass(frozen=True, slots=True)
class _DayRead:
    """A read of a day that is under way or done."""

    begun: float  # by the loop's clock
    task: asyncio.Task[BoardPlan]

    def serves(self, now: float) -> bool:
        """Return True if another board may use it."""
        failed = self.task.done() and (self.task.cancelled() or self.task.exception() is not None)
        return not failed and now - self.begun < KEPT


class BoardCache:
    """Reads a day for the first board that asks after a change, and shares it with all others."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._revision = -1
        self._readings: dict[tuple[date, date], _DayRead] = {}

    async def plan(self, on: date, today: date) -> BoardPlan:
        """Return a day as it is now. Raise StoreError; CancelledError while the program stops."""
        now = asyncio.get_running_loop().time()
        # Taken before the read begins, so that what is kept under a revision is never older than it. Background
        # transactions notify when they change what a board shows (a device has received a visit in its worklist).
        revision = self._services.store.revision()
        if revision != self._revision:
            self._revision = revision
            self._readings.clear()
        reading = self._readings.get((on, today))
        if reading is None or not reading.serves(now):
            reading = _DayRead(now, asyncio.create_task(self._read(on, today)))
            self._readings.pop((on, today), None)
            while len(self._readings) >= MOST:
                self._readings.pop(next(iter(self._readings)))
            self._readings[on, today] = reading
        # Closing one tab meanwhile must not cancel the read for the others.
        return await asyncio.shield(reading.task)

    async def _read(self, on: date, today: date) -> BoardPlan:
        zone = self._services.clinic.zone
        return BoardPlan(await fetch(self._services, lambda reader: layout.read(reader, on, today, zone)), zone)
