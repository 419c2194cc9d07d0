"""What comes at a listening port, by malice or by broken devices: it is cut, and everybody else is served meanwhile.

While each attack runs, C-ECHO from another address is answered within a second, and memory grows by less than 100 MB.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from broker.dicom.statuses import Status
from broker.dicom.upper_layer.dimse import command_set
from broker.dicom.upper_layer.pdu import writer
from tests.bench import items
from tests.bus.certificates import Authority
from tests.dicom.codec.encoding import element, encoded, header
from tests.dicom.upper_layer.attacked import (
    RELEASE,
    Attacked,
    Client,
    associate_rq,
    attacked,
    command,
    echo_rq,
    find_rq,
    others_are_served,
    wait_for_others,
)
from tests.dicom.upper_layer.requests import DEFLATED, MPPS, WORKLIST, request
from tests.support import factory
from tests.support.waiting import DEADLINE, wait_until
from tests.support.worklist_query import identifier

pytestmark = pytest.mark.slow

EVERYTHING = encoded(identifier(PatientID="", StudyInstanceUID="", AccessionNumber=""))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attacked") / "worklist.sqlite"
    store = factory.open_store(path)
    items.fill(store, 3000, factory.soon().date())
    store.close()
    return path


@pytest.fixture(scope="module")
def target(database: Path) -> Iterator[Attacked]:
    """A port as it is by default, but less patient."""
    with attacked(database, association_timeout=2, message_timeout=2, send_timeout=2, idle_timeout=5) as started:
        yield started


@pytest.fixture(scope="module")
def patient(database: Path) -> Iterator[Attacked]:
    """A port on which nothing ends because its time is over."""
    hours = dict.fromkeys(("association_timeout", "message_timeout", "send_timeout", "idle_timeout"), 3600)
    with attacked(database, **hours) as started:
        yield started


def until_closed(target: Attacked, sockets: int) -> None:
    """Wait until what an attack left open is closed."""
    wait_until(lambda: target.sockets() <= sockets + 1, lambda: f"{target.sockets() - sockets} sockets to be closed")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: worklist\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"\x00" * 1000,
        b"\xff" * 70_000,
        random.Random(1).randbytes(5000),
        b"\x04\x00\x00\x00\x00\x10" + bytes(16),
        RELEASE,
        b"\x02\x00\x00\x00\x00\x04" + bytes(4),
    ],
    ids=["HTTP", "TLS", "zeros", "ones", "noise", "data too early", "release too early", "an answer"],
)
def test_what_is_not_a_request_closes_the_connection(patient: Attacked, sent: bytes) -> None:
    with others_are_served(patient), Client(patient.port) as client:
        client.send(sent)
        assert client.ended_within(DEADLINE)


def test_garbage_fills_no_log(target: Attacked) -> None:
    with others_are_served(target):
        before = len(target.lines("closed"))
        for number in range(300):
            with Client(target.port) as client:
                client.send(bytes([8 + number % 200]) * 20)
    assert len(target.lines("closed")) - before <= 40


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 7])
@pytest.mark.parametrize("known", [False, True], ids=["stranger", "device"])
def test_a_length_of_four_gigabytes_is_cut_at_the_header(target: Attacked, kind: int, known: bool) -> None:
    with others_are_served(target), Client(target.port, timeout=5) as client:
        if known:
            client.associate()
        client.send(struct.pack(">BxL", kind, 0xFFFFFFFF))
        client.send(bytes(1 << 24))
        assert client.ended_within(DEADLINE)


@pytest.mark.parametrize("parts", [200, 180], ids=["too long", "left unfinished"])
def test_messages_that_never_end_are_cut(target: Attacked, parts: int) -> None:
    """Thirty devices send twelve megabytes each, a bit more or a bit less than one may, at the same time."""
    sockets = target.sockets()

    def endless(number: int) -> None:
        with Client(target.port, f"127.0.0.{10 + number % 3}") as client:
            client.associate()
            client.send(writer.message(3, command(command_set.N_CREATE, MPPS, instance="1.2.3"), None, 0))
            part = struct.pack(">BxLLBB", 4, 65006, 65002, 3, 0) + bytes(65000)
            for _ in range(parts):
                client.send(part)

    with others_are_served(target):
        threads = [threading.Thread(target=endless, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    until_closed(target, sockets)


@pytest.mark.parametrize("size", [0, 2], ids=["empty", "tiny"])
def test_a_message_of_endless_small_pdus_is_cut(target: Attacked, size: int) -> None:
    with others_are_served(target), Client(target.port) as client:
        client.associate()
        client.send(writer.message(3, command(command_set.N_CREATE, MPPS, instance="1.2.3"), None, 0))
        part = (struct.pack(">BxLLBB", 4, 6 + size, 2 + size, 3, 0) + bytes(size)) * 1000

        def cut() -> bool:
            client.send(part)
            return client.ended_within(0.001)

        wait_until(cut, every=0)


def test_a_byte_now_and_then_does_not_hold_a_place(target: Attacked) -> None:
    """Slowloris: within the request, within a message, and whole messages that never end."""
    sockets = target.sockets()
    with others_are_served(target) as served, ExitStack() as stack:
        asking = [stack.enter_context(Client(target.port)) for _ in range(20)]
        within = [stack.enter_context(Client(target.port)).associate() for _ in range(20)]
        data = find_rq(EVERYTHING)
        wait_for_others(served)
        for position in range(35):
            for client in asking:
                client.send(associate_rq()[position : position + 1])
            for client in within:
                client.send(data[position : position + 1])
            time.sleep(0.1)
        assert all(client.ended_within(DEADLINE) for client in (*asking, *within))
    until_closed(target, sockets)


def test_hundreds_of_silent_connections_leave_room(target: Attacked) -> None:
    sockets = target.sockets()
    with others_are_served(target) as served, ExitStack() as stack:
        silent = []
        for number in range(400):
            silent.append(stack.enter_context(Client(target.port, f"127.0.0.{20 + number % 8}")))
        wait_for_others(served)
        assert all(client.ended_within(DEADLINE) for client in silent)
    until_closed(target, sockets)


def test_one_address_cannot_take_every_association(target: Attacked) -> None:
    with others_are_served(target) as served, ExitStack() as stack:
        kinds = []
        for _ in range(80):
            client = stack.enter_context(Client(target.port))
            client.send(associate_rq())
            kinds.append(client.pdu())
        assert [kind for kind, _ in kinds[:50]] == [2] * 50
        assert all(kind in (0, 3) for kind, _ in kinds[50:])
        assert {body for kind, body in kinds if kind == 3} == {b"\0\x02\x03\x02"}  # local limit exceeded, for now
        wait_for_others(served)


def test_a_silent_association_is_ended(target: Attacked) -> None:
    with others_are_served(target), Client(target.port, timeout=12) as client:
        client.associate()
        assert not client.ended_within(3)
        assert client.ended_within(DEADLINE)


def test_deflate_is_not_agreed_to(target: Attacked) -> None:
    with Client(target.port) as client:
        client.send(request((WORKLIST, [DEFLATED]), calling="XRAY_14"))
        kind, body = client.pdu()
        assert kind == 2
        assert b"\x21\x00" in body
        item = body[body.index(b"\x21\x00") :]
        assert item[4 + 2] == 4  # PS3.8 table 9-18: transfer syntaxes not supported
        client.send(find_rq(bytes(100)))
        assert client.pdu()[0] == 7  # a message in a context that was not accepted


def _deep(depth: int) -> bytes:
    data = element((0x10, 0x20), b"1 ")
    for _ in range(depth):
        item = header((0xFFFE, 0xE000), len(data)) + data
        data = header((0x40, 0x100), len(item)) + item
    return data


ODD: dict[str, Callable[[], bytes]] = {
    "deep": lambda: _deep(300),
    "wide": lambda: b"".join(element((0x11, number), b"") for number in range(2, 65_000)),
    "many items": lambda: header((0x40, 0x100), 8 * 100_000) + header((0xFFFE, 0xE000), 0) * 100_000,
    "truncated": lambda: EVERYTHING[:-3],
    "random": lambda: random.Random(3).randbytes(20_000),
    "a megabyte and more": lambda: element((0x10, 0x10), bytes(1 << 21)),
    "empty": lambda: b"",
    "endless name": lambda: element((0x10, 0x10), b"*a" * 30_000),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_an_odd_identifier_is_refused_and_never_everything(target: Attacked, kind: str) -> None:
    data = ODD[kind]()
    with others_are_served(target), Client(target.port, timeout=30) as client:
        client.associate()
        client.send(find_rq(data))
        [(status, _)] = client.answers()
        assert status in (Status.IDENTIFIER_DOES_NOT_MATCH, Status.UNABLE_TO_PROCESS)
        client.send(echo_rq(2))
        assert client.answers() == [(0, b"")]


def test_a_frozen_reader_is_left_and_costs_no_memory(target: Attacked) -> None:
    sockets = target.sockets()
    today = factory.soon()
    days = f"{today:%Y%m%d}-{today + timedelta(days=4):%Y%m%d}"
    step = {"ScheduledStationAETitle": "ST0*", "ScheduledProcedureStepID": "", "ScheduledProcedureStepStartDate": days}
    everybody = encoded(identifier(step, PatientID="", StudyInstanceUID="", AccessionNumber=""))
    with others_are_served(target), ExitStack() as stack:
        frozen = []
        for number in range(10):
            client = stack.enter_context(Client(target.port, f"127.0.0.{30 + number % 3}"))
            client.associate()
            sender = threading.Thread(target=client.send, args=(b"".join(find_rq(everybody, 1) for _ in range(200)),))
            sender.start()
            frozen.append((client, sender))
        until_closed(target, sockets)  # without a byte being read
        for client, sender in frozen:
            client.socket.shutdown(socket.SHUT_RDWR)
            sender.join()


def test_requests_sent_ahead_are_all_answered_in_their_order(target: Attacked) -> None:
    with others_are_served(target), Client(target.port, timeout=30) as client:
        client.associate()

        def send() -> None:
            for id in range(1, 200):
                client.send(find_rq(EVERYTHING, id) + echo_rq(id))

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(1, 200):
            assert client.answers()[-1][0] == 0
            assert client.answers() == [(0, b"")]
        sender.join()


@pytest.mark.parametrize("leave", ["abort", "reset", "close", "release"])
def test_devices_that_leave_in_the_middle_leave_nothing(target: Attacked, leave: str) -> None:
    sockets, threads = target.sockets(), target.threads()
    everybody = encoded(identifier({"ScheduledStationAETitle": "ST0*", "ScheduledProcedureStepID": ""}, PatientID=""))
    with others_are_served(target):
        for _ in range(40):
            with Client(target.port) as client:
                client.associate()
                client.send(find_rq(everybody))
                client.socket.recv(100)
                if leave == "abort":
                    client.send(writer.abort(0))
                elif leave == "release":
                    client.send(RELEASE)
                elif leave == "reset":
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until_closed(target, sockets)
    assert target.threads() <= max(threads, 25)


def test_storms_of_connections_pass(target: Attacked) -> None:
    sockets = target.sockets()
    with others_are_served(target):
        for number in range(600):
            with Client(target.port, f"127.0.0.{50 + number % 5}") as client:
                if number % 3 == 0:
                    client.send(associate_rq())
                elif number % 3 == 1:
                    client.send(associate_rq("STRANGER"))
                if number % 2:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until_closed(target, sockets)


def test_mutated_conversations_over_the_wire(target: Attacked) -> None:
    """What a device says, with bytes changed, lost, doubled; the port always ends or answers."""
    chance = random.Random(5)
    sockets = target.sockets()
    create = writer.message(3, command(command_set.N_CREATE, MPPS, instance="1.2.3"), EVERYTHING, 0)
    whole = associate_rq() + echo_rq() + find_rq(EVERYTHING, 2) + create + RELEASE
    with others_are_served(target):
        for _ in range(1000):
            data = bytearray(whole)
            for _ in range(chance.randrange(1, 8)):
                at = chance.randrange(len(data))
                match chance.randrange(4):
                    case 0:
                        data[at] = chance.randrange(256)
                    case 1:
                        del data[at : at + chance.randrange(1, 50)]
                    case 2:
                        data[at:at] = chance.randbytes(chance.randrange(1, 50))
                    case 3:
                        data[at:at] = data[at : at + 100]
            # A source port that comes up again too soon costs a second: the system repeats its SYN then.
            with Client(target.port, f"127.0.0.{60 + chance.randrange(20)}", timeout=5) as client:
                client.send(bytes(data))
    until_closed(target, sockets)


def served_over_tls(target: Attacked) -> None:
    """Get an association over TLS from an address of its own."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", target.tls_port), DEADLINE, ("127.0.0.3", 0)) as raw,
        context.wrap_socket(raw) as served,
    ):
        served.sendall(associate_rq())
        assert served.recv(1) == b"\x02"


def test_of_more_silent_clients_over_tls_than_there_is_room_for_the_oldest_give_way(
    database: Path, tmp_path: Path
) -> None:
    certificate, key = Authority(tmp_path).sign()
    tls = {"tls_port": 0, "tls_certificate": str(certificate), "tls_key": str(key)}
    with attacked(database, association_timeout=3600, **tls) as target, ExitStack() as stack:
        silent = [stack.enter_context(Client(target.tls_port, f"127.0.0.{20 + number % 4}")) for number in range(260)]
        assert silent[0].ended_within(DEADLINE)
        served_over_tls(target)
        assert silent[9].ended_within(DEADLINE)
        assert not silent[-1].ended_within(0.1)


def test_silent_clients_over_tls_do_not_delay_others(database: Path, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).sign()
    tls = {"tls_port": 0, "tls_certificate": str(certificate), "tls_key": str(key)}
    with attacked(database, association_timeout=5, **tls) as target:
        sockets = target.sockets()
        with others_are_served(target), ExitStack() as stack:
            silent = [
                stack.enter_context(Client(target.tls_port, f"127.0.0.{20 + number % 4}")) for number in range(250)
            ]
            for client in silent[::2]:
                client.send(b"\x16\x03\x01\x02\x00\x01")
            for client in silent[::5]:
                client.send(b"GET / HTTP/1.1\r\n\r\n")
            wait_until(lambda: target.sockets() >= sockets + 125, "the silent clients to be let in")
            served_over_tls(target)
            assert all(client.ended_within(DEADLINE) for client in silent)
        until_closed(target, sockets)
