"""The days of open boards: each is read and laid out once for all boards that show it.

Permissions are not checked here. Everything runs on the event loop, so no lock is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import cached_property

from ui.board import attention, layout
from ui.board.attention import AttentionItem
from ui.board.layout import BoardDay, DeviceColumn
from ui.live import read_in_thread
from ui.services import Services

# Seconds for which a reading is used. All boards ask within a second of a change; the limit is for changes that the
# revision does not count, such as those made by SQLite's own tools.
KEPT = 10.0
MAX_DAYS = 8  # dates


class BoardPlan:
    """A day, laid out once for every filter and fold."""

    def __init__(self, day: BoardDay, zone: tzinfo) -> None:
        self.day = day
        self._zone = zone
        self._minute: datetime | None = None
        self._columns: dict[tuple[str, frozenset[str]], Sequence[DeviceColumn]] = {}
        self._attention_items: dict[bool, Sequence[AttentionItem]] = {}

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many visits each filter shows."""
        return layout.counts(self.day)

    def columns(self, now: datetime, show: str, unfolded: frozenset[str]) -> Sequence[DeviceColumn]:
        """Return the columns as `layout.columns` does, laid out once a minute of `now`."""
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute = minute
            self._columns.clear()
        if (show, unfolded) not in self._columns:
            self._columns[show, unfolded] = layout.columns(self.day, now, self._zone, show, unfolded)
        return self._columns[show, unfolded]

    def attention_items(self, amend: bool) -> Sequence[AttentionItem]:
        """Return what needs attention as `attention.attention_items` does."""
        if amend not in self._attention_items:
            self._attention_items[amend] = attention.attention_items(self.day, self._zone, amend)
        return self._attention_items[amend]


@dataclass(frozen=True, slots=True)
class _DayRead:
    """A read of a day, in progress or done."""

    started: float  # by the loop's clock
    task: asyncio.Task[BoardPlan]

    def serves(self, now: float) -> bool:
        """Return True if another board may use it."""
        failed = self.task.done() and (self.task.cancelled() or self.task.exception() is not None)
        return not failed and now - self.started < KEPT


class BoardCache:
    """Reads a day for the first board that asks after a change, and shares it with all others."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._revision = -1
        self._readings: dict[tuple[date, date], _DayRead] = {}

    async def plan(self, on: date, today: date) -> BoardPlan:
        """Return a day as it is now. Raise StoreError; CancelledError while the program stops."""
        now = asyncio.get_running_loop().time()
        # Taken before the read starts, so that a cached day is never older than its revision. Background
        # transactions notify when they change what a board shows (a device has received a visit in its worklist).
        revision = self._services.store.revision()
        if revision != self._revision:
            self._revision = revision
            self._readings.clear()
        reading = self._readings.get((on, today))
        if reading is None or not reading.serves(now):
            reading = _DayRead(now, asyncio.create_task(self._read(on, today)))
            self._readings.pop((on, today), None)
            while len(self._readings) >= MAX_DAYS:
                self._readings.pop(next(iter(self._readings)))
            self._readings[on, today] = reading
        # Closing one tab meanwhile must not cancel the read for the others.
        return await asyncio.shield(reading.task)

    async def _read(self, on: date, today: date) -> BoardPlan:
        zone, due = self._services.clinic.zone, self._services.images_due()
        return BoardPlan(
            await read_in_thread(self._services, lambda reader: layout.read(reader, on, today, zone, due)), zone
        )
