"""An exchange that is cut after any number of bytes, either way: when the line is whole again, the bus has it once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from broker.bus.transport.client import BusClient
from tests.bus.clinic import Clinic, numbers
from tests.bus.wire import Relay
from tests.support.practice import practice_bus

SAMPLE = 12  # offsets of each direction in the quick test
STEP = int(os.environ.get("CUT", "23"))  # between two offsets within a body; every one by hand: CUT=1
HEADER, END = 120, 20  # bytes at either end of which each is tried


@pytest.fixture
def relay(clinic: Clinic) -> Iterator[Relay]:
    """A relay before the practice bus; the clinic's exchange goes through it."""
    running = Relay(int(clinic.server.url.split(":")[2].split("/")[0]))
    yield running
    running.close()


def through(clinic: Clinic, relay: Relay) -> None:
    """Begin anew on a connection of its own, as after a start of the program."""
    for client in clinic.clients:
        client.close()
    clinic.clients = [BusClient(f"http://127.0.0.1:{relay.port}/imaging/api/fhir", lambda: clinic.token, 10.0)]
    clinic.delivery = clinic.delivery_with(1.0)


def whole(clinic: Clinic, relay: Relay) -> tuple[int, int]:
    """Deliver an order over a whole line; give the bytes of the request and of the answer."""
    through(clinic, relay)
    clinic.register()
    relay.sent = [0, 0]
    assert clinic.deliver().delivered == 1
    return relay.sent[0], relay.sent[1]


def cut_and_resume(clinic: Clinic, relay: Relay, towards_bus: int | None, towards_clinic: int | None) -> None:
    order = clinic.register()
    before = len(clinic.bus.tasks())
    through(clinic, relay)
    relay.cut = (towards_bus, towards_clinic)
    clinic.deliver()
    relay.cut = (None, None)
    through(clinic, relay)
    clinic.deliver_later()
    tasks = clinic.bus.tasks()
    assert numbers(tasks[before:]) == [order.accession_number], (towards_bus, towards_clinic)
    assert clinic.states(order) == ["delivered"]
    assert clinic.references(order).task == tasks[-1]["id"]
    assert clinic.references(order).acsn


@pytest.mark.slow
def test_an_exchange_cut_at_some_offsets_of_request_and_answer_leaves_one_order(clinic: Clinic, relay: Relay) -> None:
    request, answer = whole(clinic, relay)
    for offset in range(0, request, request // SAMPLE):
        cut_and_resume(clinic, relay, offset, None)
    for offset in (*range(0, answer, answer // SAMPLE), answer - 1):
        cut_and_resume(clinic, relay, None, offset)


@pytest.mark.slow
def test_an_exchange_cut_at_many_offsets_of_the_request_leaves_one_order(clinic: Clinic, relay: Relay) -> None:
    request, _ = whole(clinic, relay)
    for count, offset in enumerate(offsets(request)):
        fresh_bus(clinic, count)
        cut_and_resume(clinic, relay, offset, None)


@pytest.mark.slow
def test_an_exchange_cut_at_many_offsets_of_the_answer_leaves_one_order(clinic: Clinic, relay: Relay) -> None:
    _, answer = whole(clinic, relay)
    for count, offset in enumerate(offsets(answer)):
        fresh_bus(clinic, count)
        cut_and_resume(clinic, relay, None, offset)


def offsets(size: int) -> list[int]:
    """Return every STEP-th offset of a message, and every single one where its header, body and end meet."""
    return [at for at in range(size + 1) if at % STEP == 0 or at < HEADER or at > size - END]


def fresh_bus(clinic: Clinic, count: int) -> None:
    """Change the bus now and then: a full one answers no differently, but counting what it has takes longer."""
    if count % 100 == 0:
        numbers_of_its_own = f"B{count // 100:04d}-{{:04d}}"
        clinic.bus = clinic.server.bus = practice_bus(lenient=True, accession_format=numbers_of_its_own)
