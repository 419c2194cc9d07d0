"""A thousand clinics come back to one bus after a regional outage: their waits keep its load flat.

Simulated in virtual time: every clinic has the program's limiter, the program's poll, and a queue that grew while the
bus was away. The bus is the practice bus, called without HTTP.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from broker.app.bus import DELIVER_EVERY
from broker.bus.outbound.orders import order_bundle
from broker.bus.practice import PracticeBus
from broker.bus.profile import Profile
from broker.bus.transport.answers import Retry
from broker.bus.transport.dialect import n3
from broker.bus.transport.rate_limit import RateLimiter
from broker.domain.orders import BusRole, Order, OrderState, ScheduledStep
from tests.support.clock import ZONE
from tests.support.factory import KUZNETSOVA
from tests.support.practice import practice_bus

CLINICS = 1000
HOURS_AWAY = 6
WATCHED = 2 * 3600  # seconds after the bus has come back
RATE = 50  # requests a minute of each clinic
TAKES = 0.1  # seconds of a call
AWAY = Retry("cannot connect", uncertain=False)


@dataclass
class Region:
    """Everything that the clinics share: the clock, the bus, and whether that answers."""

    bus: PracticeBus
    returns_at: float
    now: float = 0.0
    asked: Counter[int] = field(default_factory=Counter)  # by minute of virtual time
    taken: int = 0


class SimulatedClinic:
    """One clinic: a limiter, a queue, and an order for every message."""

    def __init__(self, number: int, region: Region, chance: Callable[[], float], messages: int) -> None:
        self._region = region
        self._profile = Profile(str(UUID(int=number + 1)), f"1.2.643.5.1.13.13.12.2.{number}", ZONE)
        self._limiter = RateLimiter(RATE, lambda: region.now, chance)
        self._number = number
        # A queue grows while the bus is away, at times of its own.
        times = random.Random(number)
        self._queued_at = sorted(times.uniform(0, region.returns_at) for _ in range(messages))

    def poll(self) -> float:
        """Send what can be sent; give the seconds that it took."""
        took = 0.0
        while self._queued_at and self._queued_at[0] <= self._region.now and not self._limiter.waiting:
            if not self._limiter.take(1, self._limiter.polling_share):
                break
            self._region.asked[int(self._region.now // 60)] += 1
            took += TAKES
            seq = len(self._queued_at)
            if self._region.now < self._region.returns_at:
                self._limiter.failed(seq, AWAY)
                continue
            self._region.bus.transaction(n3(order_bundle(self._order(seq), self._profile)))
            self._region.taken += 1
            self._limiter.answered(seq)
            self._queued_at.pop(0)
        return took

    def _order(self, seq: int) -> Order:
        number = f"{self._number}-{seq}"
        return Order(
            id=seq,
            accession_number=number,
            study_instance_uid=f"1.2.{self._number + 1}.{seq}",
            requested_procedure_id=number,
            patient=replace(KUZNETSOVA, patient_id=number, snils="", policy=""),
            state=OrderState.SCHEDULED,
            procedure_code="WLB-KNEE",
            procedure_name="Рентгенография коленного сустава",
            modality="DX",
            steps=(ScheduledStep(datetime(2026, 11, 24, 9), ("XRAY_14",), id=seq),),
            authored_on=datetime(2026, 11, 24, 6, tzinfo=UTC),
            bus_role=BusRole.PLACER,
        )


def outage(clinics: int, messages: int, chance: Callable[[random.Random], Callable[[], float]]) -> Region:
    """Let the bus be away for hours and come back; give what it has seen since."""
    guids = [str(UUID(int=number + 1)) for number in range(clinics)]
    region = Region(practice_bus(organisations=guids, lenient=True), HOURS_AWAY * 3600.0)
    people = [SimulatedClinic(each, region, chance(random.Random(each)), messages) for each in range(clinics)]
    # Programs were not started in the same second.
    polls = [(random.Random(-number - 1).uniform(0, DELIVER_EVERY), number) for number in range(clinics)]
    heapq.heapify(polls)
    while polls[0][0] < region.returns_at + WATCHED:
        region.now, number = heapq.heappop(polls)
        took = people[number].poll()
        heapq.heappush(polls, (region.now + max(DELIVER_EVERY, took), number))
    return region


def load(region: Region) -> list[int]:
    """Return the requests of every minute since the bus came back, up to the last one that had any."""
    first = int(region.returns_at // 60)
    last = max(region.asked)
    return [region.asked[minute] for minute in range(first, last + 1)]


def jitter(source: random.Random) -> Callable[[], float]:
    return source.random


@pytest.mark.slow
def test_a_thousand_clinics_that_come_back_keep_the_load_flat() -> None:
    region = outage(CLINICS, 12, jitter)
    assert region.taken == CLINICS * 12
    assert len(region.bus.tasks()) == CLINICS * 12  # each once
    by_minute = load(region)
    hour = by_minute[:60]
    mean = sum(hour) / 60
    print(f"requests a minute: mean {mean:.0f}, most {max(hour)}, first {hour[0]}, drained in {len(by_minute)} min")
    assert max(hour) < 2 * mean


@pytest.mark.slow
def test_the_longer_the_bus_is_away_the_less_it_is_asked() -> None:
    region = outage(20, 12, jitter)
    away = [region.asked[minute] for minute in range(HOURS_AWAY * 60)]
    last_hour = sum(away[-60:])
    assert last_hour <= 20 * 4  # a clinic asks about twice an hour
    assert region.taken == 20 * 12
