"""Free time on a device's day. Pure; nothing here books anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from broker.domain.orders import OrderState
from broker.store.queries.journal import Visit

OPENING = time(8)  # when a day that has not begun is offered from; a person may type an earlier time
CLOSING = time(20)
STEP = timedelta(minutes=5)
USUAL = 10  # minutes of a procedure that is no longer in the directory
ROWS = 13  # that the aside shows at a time
OVER_KEPT = 3  # of them, visits that are over


@dataclass(frozen=True)
class Slot:
    """A line of the aside: somebody's visit, or a free time."""

    start: datetime
    visit: Visit | None = None


@dataclass(frozen=True)
class DayOnDevice:
    """What a device has on a day, by time, without the cancelled."""

    visits: tuple[Visit, ...]
    minutes: Mapping[str, int]  # procedure code -> minutes

    @classmethod
    def of(cls, visits: Sequence[Visit], ae_title: str, minutes: Mapping[str, int]) -> DayOnDevice:
        """Take a device's part of a day."""
        own = (
            each
            for each in visits
            if ae_title in each.station_ae_titles and each.order.state is not OrderState.CANCELLED
        )
        return cls(tuple(sorted(own, key=lambda visit: visit.start)), minutes)

    def end(self, visit: Visit) -> datetime:
        """Say when a visit should be over."""
        return visit.start + timedelta(minutes=self.minutes.get(visit.order.procedure_code, USUAL))

    def meets(self, start: datetime, minutes: int, but: int = 0) -> Visit | None:
        """Give the visit that overlaps this stretch, or None; `but` is an order that does not count."""
        until = start + timedelta(minutes=minutes)
        for visit in self.visits:
            if visit.order.id != but and visit.start < until and start < self.end(visit):
                return visit
        return None

    def first_free(self, on: date, minutes: int, now: datetime, but: int = 0) -> datetime | None:
        """Find the first free stretch of the day, from now on; None where the day is full."""
        start = _begin(on, now)
        while start.date() == on:
            if self.meets(start, minutes, but) is None:
                return start
            start += STEP
        return None

    def rows(self, on: date, minutes: int, now: datetime) -> tuple[int, list[Slot], int]:
        """Lay out the aside: how many visits are left out before it, its lines, how many visits follow behind it."""
        over = [visit for visit in self.visits if on == now.date() and self._over(visit, now)][:-OVER_KEPT]
        slots = [Slot(visit.start, visit) for visit in self.visits if visit not in over]
        start, closing = _begin(on, now), datetime.combine(on, CLOSING)
        while start < closing and start.date() == on:
            meeting = self.meets(start, minutes)
            if meeting is None:
                slots.append(Slot(start))
                start += timedelta(minutes=minutes)
            else:
                start = max(self.end(meeting), start + STEP)
                start += (datetime.min - start) % STEP
        slots.sort(key=lambda slot: slot.start)
        shown = slots[:ROWS]
        return len(over), shown, sum(slot.visit is not None for slot in slots[ROWS:])

    def _over(self, visit: Visit, now: datetime) -> bool:
        if visit.order.state is OrderState.IN_PROGRESS:
            return False
        return visit.order.state is not OrderState.SCHEDULED or self.end(visit) < now - timedelta(hours=1)


def _begin(on: date, now: datetime) -> datetime:
    """Give the earliest time to offer: now, rounded up, or the opening of another day."""
    if on > now.date():
        return datetime.combine(on, OPENING)
    rounded = now.replace(second=0, microsecond=0)
    return rounded + (datetime.min - rounded) % STEP
