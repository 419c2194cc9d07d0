"""Mutated conversations in process: whatever comes, nothing is raised, nothing is left, and the connection ends.

20,000 here; a million by hand: FUZZ=1000000 python -m pytest tests/dicom/upper_layer/test_port_fuzz.py
"""

from __future__ import annotations

import logging
import os
import random
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from broker.dicom.devices.throttle import KeyedThrottle
from broker.dicom.upper_layer import connection as connection_module
from broker.dicom.upper_layer.answering import Reply, Request
from broker.dicom.upper_layer.connection import Connection
from broker.dicom.upper_layer.dimse import command_set
from broker.dicom.upper_layer.dimse.command_set import CommandSet
from broker.dicom.upper_layer.host import Host
from broker.dicom.upper_layer.limits import Limits
from broker.dicom.upper_layer.pdu import writer
from broker.dicom.upper_layer.table import AssociationState
from tests.dicom.upper_layer.attacked import RELEASE, associate_rq, command, echo_rq, find_rq
from tests.dicom.upper_layer.requests import MPPS, negotiator
from tests.support.waiting import at_most

ROUNDS = int(os.environ.get("FUZZ", "20000"))


class Handle:
    """A timer that never fires by itself."""

    def __init__(self, at: float) -> None:
        self._at = at

    def when(self) -> float:
        return self._at

    def cancel(self) -> None:
        pass


class Loop:
    """Enough of an event loop: what is to be done soon is done by `run`, and time stands still."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return 1000.0

    def call_at(self, when: float, _: Callable[[], None]) -> Handle:
        return Handle(when)

    def call_soon(self, fn: Callable[..., None], *args: Any) -> None:
        self._soon.append(lambda: fn(*args))

    call_soon_threadsafe = call_soon

    def run(self) -> None:
        for _ in range(10_000):
            if not self._soon:
                return
            self._soon.pop(0)()
        raise AssertionError("never done")


class Threads:
    """Does at once what would be done on a thread."""

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args))
        return done


class Transport:
    """Counts what is written and knows whether it was closed."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return ("10.0.0.1", 4000) if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent += data

    def abort(self) -> None:
        self.closed = True

    close = abort

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


class Services:
    """Answers anything."""

    def rejection(self, calling: str, called: str, address: str) -> tuple[int, int, int] | None:
        return (1, 1, 7) if called != "WORKLIST" else None

    def turned_away(self, *_: object) -> None:
        pass

    def at_once(self, request: Request) -> Reply | None:
        return Reply(0) if request.command.field == command_set.C_ECHO else None

    def answer(self, request: Request) -> Iterator[Reply]:
        if request.command.field == command_set.C_FIND:
            yield Reply(0xFF00, request.dataset[:1000])
        if len(request.dataset) % 7 == 3:
            raise ValueError("odd")
        yield Reply(0)

    def wants_sample(self, request: Request) -> bool:
        return False

    def sample(self, request: Request) -> None:
        pass


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Host:
    caplog.set_level(logging.CRITICAL, "broker.dicom.upper_layer")

    def fail(words: str, *_: object, **__: object) -> None:
        raise AssertionError(words)

    # What a connection did not foresee it says there; what the services below do is said elsewhere.
    monkeypatch.setattr(connection_module.log, "error", fail)
    made = Host(Services(), negotiator(), Limits(), KeyedThrottle(60.0, 30))
    made.loop = Loop()  # type: ignore[assignment]
    made.threads = Threads()  # type: ignore[assignment]
    return made


def conversation(chance: random.Random) -> bytes:
    """Make a proper conversation."""
    identifier = chance.randbytes(2 * chance.randrange(0, 200))
    parts = [echo_rq(), find_rq(identifier, 2)]
    parts.append(writer.message(3, command(command_set.N_CREATE, MPPS, 3, instance="1.2.3"), identifier, 64))
    parts.append(writer.message(3, command(command_set.N_SET, MPPS, 4, instance="1.2.3"), identifier, 0))
    cancel = command_set.write(CommandSet(command_set.C_CANCEL, 2, False))
    parts.append(writer.message(1, cancel, None, 0))
    chance.shuffle(parts)
    return associate_rq(most=chance.choice((0, 64, 4096))) + b"".join(parts) + RELEASE


def mutated(data: bytearray, chance: random.Random) -> None:
    """Change, lose, double, swap some bytes; lengths more often than others."""
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        if not data:
            return
        at = chance.randrange(len(data))
        match chance.randrange(6):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randrange(1, 60)]
            case 2:
                data[at:at] = chance.randbytes(chance.randrange(1, 60))
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 300)]
            case 4:
                data[at : at + 4] = struct.pack(">L", chance.choice((0, 1, 2, 5, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)))
            case 5:
                data[at] ^= 1 << chance.randrange(8)


def converse(host: Host, data: bytes, chance: random.Random) -> tuple[Connection, Transport]:
    """Send a conversation in pieces of any length, then leave."""
    connection, transport = Connection(host), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    at = 0
    while at < len(data) and not transport.closed:
        size = chance.choice((1, 3, 100, 5000, 1 << 18))
        connection.data_received(data[at : at + size])
        host.loop.run()  # type: ignore[attr-defined]
        at += size
    ended = connection._state
    if not transport.closed and chance.random() < 0.2:
        connection.pause_writing()
        connection.resume_writing()
    transport.closed = True
    connection.connection_lost(None)
    host.loop.run()  # type: ignore[attr-defined]
    assert ended in AssociationState
    return connection, transport


def test_a_proper_conversation_is_answered_in_full(host: Host) -> None:
    chance = random.Random(0)
    for _ in range(50):
        _, transport = converse(host, conversation(chance), chance)
        assert transport.sent.startswith(b"\x02")
        assert transport.sent.endswith(writer.RELEASE_RP_PDU)


@pytest.mark.slow
def test_mutated_conversations_leave_nothing_behind(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(ROUNDS):
        chance = random.Random(seed)
        data = bytearray(conversation(chance))
        mutated(data, chance)
        with at_most():
            connection, _ = converse(host, bytes(data), chance)
        assert (host.collected, host.connections, host.associations) == (0, {}, {}), seed
        assert connection._state in (AssociationState.STA1, AssociationState.STA13), seed
        assert not connection._responder.has_work, seed
        assert not connection._rest, seed
    assert not host._asking
    assert not host._connected_from
    assert not host._associated_from
    assert "Traceback" not in caplog.text
