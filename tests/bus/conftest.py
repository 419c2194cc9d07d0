"""What the tests of the bus share: a practice bus for each file, a clinic with an exchange, servers on real sockets."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker.bus.practice import PracticeBus, PracticeServer
from broker.bus.transport.client import BusClient
from broker.store.database import Store
from tests.bus.clinic import Clinic, practising
from tests.bus.wire import Handler, Server
from tests.support.clock import Clock
from tests.support.practice import practice_bus


@pytest.fixture(scope="module")
def server() -> Iterator[PracticeServer]:
    with practising(practice_bus()) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_clinic(store: Store, server: PracticeServer) -> Iterator[Callable[[PracticeBus], Clinic]]:
    opened: list[Clinic] = []

    def open_one(bus: PracticeBus) -> Clinic:
        opened.append(Clinic(store, bus, server))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def clinic(open_clinic: Callable[[PracticeBus], Clinic]) -> Clinic:
    """A clinic before a bus that is not strict about dictionaries."""
    return open_clinic(practice_bus(lenient=True))


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(handler: Handler, tls: ssl.SSLContext | None = None) -> Server:
        running.append(Server(handler, tls))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., BusClient]]:
    opened: list[BusClient] = []

    def open_client(
        url: str | Server, timeout: float = 5.0, token: Callable[[], str] = lambda: "secret", **transport: Any
    ) -> BusClient:
        address = url if isinstance(url, str) else f"http://127.0.0.1:{url.port}/fhir"
        opened.append(BusClient(address, token, timeout, **transport))
        return opened[-1]

    yield open_client
    for one in opened:
        one.close()
