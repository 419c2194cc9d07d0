"""A thousand clinics come back to one bus after a regional outage, or start together: its load stays flat.

Simulated in virtual time: every clinic has the program's limiter, the program's searches and times of polling, and a
queue that grew while the bus was away. The bus is the practice bus, called without HTTP.
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

from broker.app import scheduler
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


POLL_EVERY = 60.0  # seconds, the default of bus.fetch_every
REFERRED = 600  # referrals of each clinic that wait for a result: two lists of ids in a poll
QUESTIONS_AN_HOUR = 20  # about patients who are being registered
WORKED = 1200  # seconds
TASK = "00000000-0000-4000-8000-{:012d}"


@dataclass(order=True)
class Asking:
    """Something that a clinic asks the bus at a time."""

    at: float
    clinic: int = field(compare=False)
    what: str = field(compare=False)  # referrals, results or patient


class AskingClinic:
    """One clinic that looks for news and asks about its patients: the searches that the program makes."""

    def __init__(self, number: int, region: Region) -> None:
        self.guid = str(UUID(int=number + 1))
        self._region = region
        self._limiter = RateLimiter(RATE, lambda: region.now)
        self._seen: set[str] = set()
        self.found = 0
        self.refused = 0
        listed = [f"Task/{TASK.format(number * REFERRED + each)}" for each in range(REFERRED)]
        us, since = f"Organization/{self.guid}", {"_lastUpdated": "ge2026-11-24T06:00:00Z"}
        self._searches: dict[str, list[tuple[str, dict[str, str]]]] = {
            "referrals": [
                ("Task", {"intent": "original-order", "owner": us} | since),
                ("Task", {"intent": "original-order", "requester": us} | since),
            ],
            "results": [
                ("Task", {"intent": "reflex-order", "requester": us} | since),
                ("Task", {"intent": "reflex-order", "based-on": ",".join(listed[-500:])} | since),
                ("Task", {"intent": "reflex-order", "based-on": ",".join(listed[:-500])} | since),
            ],
            "patient": [
                ("Patient", {"identifier": "11223344595"}),
                ("DiagnosticReport", {"subject": "Patient/1"}),
                *([("ImagingStudy", {"subject": "Patient/1"})] * 3),  # as many as what a report refers to
            ],
        }

    def ask(self, what: str) -> None:
        """Make the searches, as far as the minute has room for them."""
        for kind, parameters in self._searches[what]:
            if not self._limiter.take():
                self.refused += 1
                return
            self._region.asked[int(self._region.now)] += 1
            given = [{"name": name, "valueString": value} for name, value in parameters.items()]
            sent = {"resourceType": "Parameters", "parameter": given}
            answer = self._region.bus._service.search(kind, sent, self.guid)
            new = {entry["resource"]["id"] for entry in answer.get("entry", ())} - self._seen
            self._seen |= new
            self.found += len(new) if kind == "Task" and "owner" in parameters else 0


def working_time(clinics: int, *, spread: bool) -> tuple[Region, list[AskingClinic]]:
    """Let clinics start in the same second, and work for a while; their requests are counted by second."""
    guids = [str(UUID(int=number + 1)) for number in range(clinics)]
    region = Region(practice_bus(organisations=guids, lenient=True), 0.0)
    people = [AskingClinic(each, region) for each in range(clinics)]
    chance = random.Random(1)
    due = []
    for number in range(clinics):
        for what in ("referrals", "results"):
            due.append(Asking(chance.random() * POLL_EVERY if spread else POLL_EVERY, number, what))
        due += [Asking(chance.random() * WORKED, number, "patient") for _ in range(QUESTIONS_AN_HOUR * WORKED // 3600)]
    orders = sorted(
        (chance.random() * (WORKED - 180), number) for number in range(clinics)
    )  # one to the neighbour each
    heapq.heapify(due)
    while due[0].at < WORKED:
        each = heapq.heappop(due)
        region.now = each.at
        while orders and orders[0][0] <= region.now:
            _, number = orders.pop(0)
            region.bus.transaction(n3(order_to_neighbour(number, guids)))
        people[each.clinic].ask(each.what)
        if each.what != "patient":
            later = POLL_EVERY * (1 + chance.random() * scheduler._VARIES if spread else 1)
            heapq.heappush(due, Asking(each.at + later, each.clinic, each.what))
    return region, people


def order_to_neighbour(number: int, guids: list[str]) -> dict[str, object]:
    clinic = SimulatedClinic(number, Region(practice_bus(), 0.0), lambda: 0.5, 0)
    order = replace(clinic._order(1), owner=guids[(number + 1) % len(guids)])
    return order_bundle(order, clinic._profile)


@pytest.mark.slow
def test_a_thousand_clinics_that_start_together_poll_and_ask_at_a_flat_rate() -> None:
    region, people = working_time(CLINICS, spread=True)
    assert [each.found for each in people] == [1] * CLINICS  # what the neighbour ordered was found by everybody
    assert not any(each.refused for each in people)  # the rate of a clinic has room for all of it
    by_ten = [sum(region.asked[second] for second in range(at, at + 10)) for at in range(120, WORKED, 10)]
    mean = sum(by_ten) / len(by_ten)
    print(f"requests a second: mean {mean / 10:.0f}, most in ten seconds {max(by_ten) / 10:.0f}")
    assert max(by_ten) < 1.3 * mean
    assert min(by_ten) > 0.7 * mean
    assert mean / 10 < CLINICS * (5 / POLL_EVERY + QUESTIONS_AN_HOUR * 5 / 3600)


@pytest.mark.slow
def test_without_that_they_would_come_in_one_second_of_every_minute() -> None:
    region, _ = working_time(20, spread=False)
    assert region.asked[120] >= 20 * 5
