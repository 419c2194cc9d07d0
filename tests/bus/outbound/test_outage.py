"""Days without the bus, in virtual time: everything in order per order, nothing lost, nothing doubled, drained soon."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from broker.bus.outbound.delivery import DeliverySummary
from broker.bus.practice import PracticeBus
from broker.bus.transport.answers import Answer, Retry
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call
from broker.domain.orders import Order
from tests.bus.clinic import Clinic, numbers
from tests.support.clock import NOW, Clock
from tests.support.practice import practice_bus

LATENCY = 0.02  # seconds
RATE = 1_000_000  # requests per minute: what the region allows is not what is measured


def outage(clinic: Clinic, hours: int, messages: int) -> tuple[list[Order], list[Order]]:
    """Let the clinic work for so long without a bus; give its orders, and those of them that were cancelled."""
    now = NOW - timedelta(hours=hours)
    clinic.server.stop()
    made: list[Order] = []
    cancelled: list[Order] = []
    queued = 0
    for hour in range(hours):
        now += timedelta(hours=1)
        clinic.store.clock = Clock(now)
        while queued < messages * (hour + 1) // hours:
            made.append(clinic.register())
            queued += 1
            if len(made) % 3 == 0:
                clinic.cancel(made[-1])
                cancelled.append(made[-1])
                queued += 1
            elif len(made) % 3 == 1:
                clinic.perform(made[-1], f"1.2.3.{len(made)}")
                queued += 1
        for _ in range(3):
            assert clinic.deliver_later(1200) == DeliverySummary(stopped="waiting")
    return made, cancelled


def drained(clinic: Clinic) -> tuple[DeliverySummary, float]:
    clinic.server.start()
    clinic.now += 3600
    began = time.monotonic()
    summary = clinic.deliver()
    return summary, time.monotonic() - began


def check(clinic: Clinic, made: list[Order], cancelled: list[Order]) -> None:
    """See that the bus holds every message once, and had those of each order in order."""
    rows = clinic.rows()
    assert {str(row.state) for row in rows} == {"delivered"}
    tasks = clinic.bus.tasks()
    held = numbers(tasks)
    assert len(held) == len(set(held))
    assert {number for number in held if "/" not in number} == {order.accession_number for order in made}
    assert len([number for number in held if "/" in number]) == len(rows) - len(made) - len(cancelled)
    assert {task["identifier"][0]["value"] for task in tasks if task["status"] == "cancelled"} == {
        order.accession_number for order in cancelled
    }
    delivered = defaultdict(list)
    with clinic.store.read() as reader:
        for attempt in reader.rows(
            "SELECT b.order_id, b.seq FROM outbox_attempt a JOIN outbox b USING (seq)"
            " WHERE a.outcome = 'delivered' ORDER BY a.id"
        ):
            delivered[attempt["order_id"]].append(attempt["seq"])
    assert len(delivered) == len(made)
    assert all(seqs == sorted(set(seqs)) for seqs in delivered.values())


def open_slow(open_clinic: Callable[[PracticeBus], Clinic]) -> Clinic:
    """Open a clinic before a bus with latency, with the workers that the program has."""
    clinic = open_clinic(practice_bus(lenient=True, latency=LATENCY))
    clinic.workers = 4
    clinic.restarted(timeout=30.0, rate=RATE)
    return clinic


@pytest.mark.slow
def test_after_a_day_without_the_bus_everything_goes_out_once_and_in_order(
    open_clinic: Callable[[PracticeBus], Clinic],
) -> None:
    clinic = open_slow(open_clinic)
    made, cancelled = outage(clinic, hours=24, messages=72)
    summary, _ = drained(clinic)
    assert summary == DeliverySummary(delivered=len(clinic.rows()))
    check(clinic, made, cancelled)


@pytest.mark.slow
def test_after_72_hours_without_the_bus_5000_messages_go_out_once_and_in_order(
    open_clinic: Callable[[PracticeBus], Clinic], record_property: Any
) -> None:
    clinic = open_slow(open_clinic)
    made, cancelled = outage(clinic, hours=72, messages=5000)
    messages = len(clinic.rows())
    summary, seconds = drained(clinic)
    record_property("seconds", seconds)
    print(f"{messages} messages in {seconds:.1f} s at {LATENCY * 1000:.0f} ms: {messages / seconds:.0f} a second")
    assert messages >= 5000
    assert summary == DeliverySummary(delivered=messages)
    check(clinic, made, cancelled)


class Poisoned(BusClient):
    """A client of a bus that fails at everything about one order."""

    number = ""

    def call(self, call: Call) -> Answer:
        if Poisoned.number in call.body.decode() and "_search" not in call.path:
            return Retry("HTTP 500")
        return super().call(call)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_one_poison_message_among_a_hundred_blocks_only_its_order(clinic: Clinic, workers: int) -> None:
    made = [clinic.register() for _ in range(100)]
    bad = made[17]
    clinic.cancel(bad)
    Poisoned.number = bad.accession_number
    clinic.workers = workers
    clinic.restarted(Poisoned, rate=RATE)
    for _ in range(6):
        clinic.deliver_later()
    assert clinic.states(bad) == ["pending", "pending"]
    assert sorted(numbers(clinic.bus.tasks())) == sorted(o.accession_number for o in made if o is not bad)
    assert clinic.shown().channel == "ok"
    Poisoned.number = "none"
    clinic.deliver_later()
    assert clinic.states(bad) == ["delivered", "delivered"]
