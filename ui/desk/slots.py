"""Free times on a device's day. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from broker.domain.clinic.settings import OpeningHours
from broker.domain.orders import OrderState
from broker.store.queries.schedule import Visit

STEP = timedelta(minutes=5)
DEFAULT_MINUTES = 10  # of a procedure that is no longer in the directory
ROWS = 13  # that the sidebar shows
MAX_PAST = 3  # of them, visits that have passed


@dataclass(frozen=True)
class TimeSlot:
    """A row of the sidebar: a visit, or a free time."""

    start: datetime
    visit: Visit | None = None


@dataclass(frozen=True)
class DeviceDay:
    """The visits of one device on one day, by time, without the cancelled."""

    visits: tuple[Visit, ...]
    minutes: Mapping[str, int]  # procedure code -> minutes
    hours: OpeningHours

    @classmethod
    def of(cls, visits: Sequence[Visit], ae_title: str, minutes: Mapping[str, int], hours: OpeningHours) -> DeviceDay:
        """Return the day of the device with this AE title, out of the visits of all devices."""
        own = (
            each
            for each in visits
            if ae_title in each.station_ae_titles and each.order.state is not OrderState.CANCELLED
        )
        return cls(tuple(sorted(own, key=lambda visit: visit.start)), minutes, hours)

    def end(self, visit: Visit) -> datetime:
        """Return when a visit should be over."""
        return visit.start + timedelta(minutes=self.minutes.get(visit.order.procedure_code, DEFAULT_MINUTES))

    def overlapping(self, start: datetime, minutes: int, except_order: int = 0) -> Visit | None:
        """Return a visit that overlaps `minutes` from `start`, or None; not the order with the id `except_order`."""
        until = start + timedelta(minutes=minutes)
        for visit in self.visits:
            if visit.order.id != except_order and visit.start < until and start < self.end(visit):
                return visit
        return None

    def first_free(self, on: date, minutes: int, now: datetime, except_order: int = 0) -> datetime | None:
        """Return the start of the first free period of the day, from `now` on; None if the day is full."""
        start = self._earliest(on, now)
        while start.date() == on:
            if self.overlapping(start, minutes, except_order) is None:
                return start
            start += STEP
        return None

    def rows(self, on: date, minutes: int, now: datetime) -> tuple[int, list[TimeSlot], int]:
        """Return the sidebar: how many visits precede its rows, the rows, how many visits follow them."""
        over = [visit for visit in self.visits if on == now.date() and self._has_passed(visit, now)][:-MAX_PAST]
        slots = [TimeSlot(visit.start, visit) for visit in self.visits if visit not in over]
        start, closing = self._earliest(on, now), datetime.combine(on, time()) + self.hours.closes
        while start < closing and start.date() == on:
            meeting = self.overlapping(start, minutes)
            if meeting is None:
                slots.append(TimeSlot(start))
                start += timedelta(minutes=minutes)
            else:
                start = max(self.end(meeting), start + STEP)
                start += (datetime.min - start) % STEP
        slots.sort(key=lambda slot: slot.start)
        shown = slots[:ROWS]
        return len(over), shown, sum(slot.visit is not None for slot in slots[ROWS:])

    def _has_passed(self, visit: Visit, now: datetime) -> bool:
        if visit.order.state is OrderState.IN_PROGRESS:
            return False
        return visit.order.state is not OrderState.SCHEDULED or self.end(visit) < now - timedelta(hours=1)

    def _earliest(self, on: date, now: datetime) -> datetime:
        """Return the earliest time to offer: now, rounded up to a step, or the opening of a later day."""
        if on > now.date():
            return datetime.combine(on, time()) + self.hours.opens
        rounded = now.replace(second=0, microsecond=0)
        return rounded + (datetime.min - rounded) % STEP
