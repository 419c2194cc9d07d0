"""Odd association requests are answered lawfully; whoever is turned away is on the list of devices with the reason."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.dicom.server import DicomServer
from broker.domain.clinic.turned_away import TurnedAway, TurnedAwayReason
from broker.store.database import Store
from broker.store.queries import device_registry
from tests.dicom.upper_layer.requests import BIG, IMPLICIT, WORKLIST, request
from tests.peers.dcmtk import tool
from tests.support.port import serving
from tests.support.waiting import wait_until

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MPPS = "1.2.840.10008.3.1.2.3.3"
R = TurnedAwayReason


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


def answer(server: DicomServer, data: bytes) -> bytes:
    """Send an association request as it is; return the PDU that answers it."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as sock:
        sock.sendall(data)
        head = sock.recv(6, socket.MSG_WAITALL)
        return head + sock.recv(struct.unpack(">L", head[2:])[0], socket.MSG_WAITALL)


def titled(data: bytes, *, called: bytes = b"WORKLIST", calling: bytes = b"XRAY_14", pad: bytes = b" ") -> bytes:
    return data[:10] + called.ljust(16, pad) + calling.ljust(16, pad) + data[42:]


def results(accept: bytes) -> dict[int, int]:
    """Return the result of each presentation context of an A-ASSOCIATE-AC."""
    assert accept[0] == 2, accept.hex()
    found, at = {}, 74
    while at < len(accept):
        kind, length = struct.unpack_from(">BxH", accept, at)
        if kind == 0x21:
            found[accept[at + 4]] = accept[at + 6]
        at += 4 + length
    return found


def turned_away(store: Store, ae_title: str = "XRAY_14") -> TurnedAway | None:
    with store.read() as reader:
        [device] = [each for each in device_registry.contacts(reader) if each.device.ae_title == ae_title]
    return device.turned_away


def without_transfer_syntaxes(data: bytes) -> bytes:
    """Take the transfer syntaxes out of the only context of a request."""
    at = data.index(b"\x20\x00", 74)
    (length,) = struct.unpack_from(">H", data, at + 2)
    context = data[at + 4 : at + 4 + length]
    (abstract,) = struct.unpack_from(">H", context, 6)
    kept = context[: 8 + abstract]
    body = data[6:at] + struct.pack(">BxH", 0x20, len(kept)) + kept + data[at + 4 + length :]
    return data[:2] + struct.pack(">L", len(body)) + body


def test_titles_padded_with_nul_are_the_titles(server: DicomServer) -> None:
    data = titled(request((WORKLIST, [IMPLICIT])), pad=b"\0")
    assert results(answer(server, data)) == {1: 0}


def test_a_context_with_an_even_number_is_served(server: DicomServer) -> None:
    data = request((WORKLIST, [IMPLICIT]))
    at = data.index(b"\x20\x00", 74) + 4
    assert results(answer(server, data[:at] + b"\x02" + data[at + 1 :])) == {2: 0}


def test_a_context_without_transfer_syntaxes_is_refused_and_the_others_are_served(
    server: DicomServer, store: Store
) -> None:
    assert results(answer(server, without_transfer_syntaxes(request((WORKLIST, [IMPLICIT]))))) == {1: 4}
    wait_until(lambda: turned_away(store) == TurnedAway(R.TRANSFER_SYNTAX, ()))


@pytest.mark.parametrize(
    ("called", "calling", "reason"),
    [
        (b"", b"XRAY_14", 7),
        (b"\0", b"XRAY_14", 7),
        (b"WORKLIST", b"", 3),
        (b"WORKLIST", "РЕНТГЕН".encode("cp1251"), 3),
        (b"WORK\\LIST", b"XRAY_14", 7),
        (b"ORTHANC", b"XRAY_14", 7),
    ],
)
def test_a_title_that_is_none_is_rejected_by_the_reason_of_the_standard(
    server: DicomServer, called: bytes, calling: bytes, reason: int
) -> None:
    assert answer(server, titled(request((WORKLIST, [IMPLICIT])), called=called, calling=calling)).hex() == (
        f"030000000004000101{reason:02x}"
    )


@pytest.mark.parametrize("calling", [b"", b"\0", b"    ", b"CT\x07", "РЕНТГЕН".encode("cp1251"), b"A\\B"])
def test_who_calls_without_a_usable_title_is_on_the_list_by_its_address(
    server: DicomServer, store: Store, calling: bytes
) -> None:
    def found() -> list[tuple[str, TurnedAway]]:
        with store.read() as reader:
            return [(each.address, each.turned_away) for each in device_registry.untitled(reader)]

    answer(server, titled(request((WORKLIST, [IMPLICIT])), calling=calling))
    came = calling.strip(b" \0").decode("latin_1")
    wait_until(lambda: found() == [("127.0.0.1", TurnedAway(R.UNTITLED, (came,)))])
    # Once it has a title it is known by that.
    answer(server, request((WORKLIST, [IMPLICIT]), calling="NEW_CT"))
    wait_until(lambda: found() == [])


def test_a_request_that_breaks_off_before_its_titles_is_on_the_list_by_its_address(
    server: DicomServer, store: Store
) -> None:
    answer(server, b"\x01\0\0\0\0\x04\0\x01\0\0")
    wait_until(lambda: untitled_reasons(store) == [R.UNREADABLE])


def untitled_reasons(store: Store) -> list[TurnedAwayReason]:
    with store.read() as reader:
        return [each.turned_away.reason for each in device_registry.untitled(reader)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (request((CT_STORAGE, [IMPLICIT])), TurnedAway(R.SERVICE, ("storage",))),
        (request((CT_STORAGE, [IMPLICIT]), (STUDY_ROOT_FIND, [IMPLICIT])), TurnedAway(R.SERVICE, ("query", "storage"))),
        (request(("1.2.840.10008.1.20.1", [IMPLICIT])), TurnedAway(R.SERVICE, ("commitment",))),
        (request(("1.2.3.4", [IMPLICIT])), TurnedAway(R.SERVICE, ("1.2.3.4",))),
        (request((WORKLIST, [BIG])), TurnedAway(R.TRANSFER_SYNTAX, (BIG,))),
        (request((WORKLIST, [IMPLICIT]), called="ORTHANC"), TurnedAway(R.CALLED, ("ORTHANC",))),
        (request((WORKLIST, [IMPLICIT]), application="1.2.3"), TurnedAway(R.PROTOCOL, ())),
        (request((WORKLIST, [IMPLICIT]))[:-1] + b"", None),
    ],
)
def test_who_is_turned_away_is_on_the_list_with_the_reason(
    server: DicomServer, store: Store, data: bytes, expected: TurnedAway | None
) -> None:
    if expected is None:  # a request whose lengths do not add up
        data, expected = data[:2] + struct.pack(">L", len(data) - 6) + data[6:], TurnedAway(R.UNREADABLE, ())
    answer(server, data)
    wait_until(lambda: turned_away(store) == expected)


def test_who_is_not_known_is_recorded_with_the_reason_too(server: DicomServer, store: Store) -> None:
    def found() -> list[TurnedAway | None]:
        with store.read() as reader:
            return [x.turned_away for x in device_registry.contacts(reader) if x.device.ae_title == "NEW_CT"]

    answer(server, request((CT_STORAGE, [IMPLICIT]), calling="NEW_CT"))
    wait_until(found)
    answer(server, request((WORKLIST, [IMPLICIT]), calling="NEW_CT"))
    wait_until(lambda: found() == [TurnedAway(R.UNKNOWN, ())])


def test_what_a_device_asks_for_beside_what_is_served_turns_nobody_away(server: DicomServer, store: Store) -> None:
    assert results(answer(server, request((CT_STORAGE, [IMPLICIT]), (WORKLIST, [IMPLICIT])))) == {1: 3, 3: 0}
    answer(server, request((CT_STORAGE, [IMPLICIT]), calling="FLG_12"))
    wait_until(lambda: turned_away(store, "FLG_12"))
    assert turned_away(store) is None


def test_storescu_is_noted(server: DicomServer, store: Store, tmp_path: Path) -> None:
    command = [tool("storescu"), "-aet", "XRAY_14", "-aec", "WORKLIST", "127.0.0.1", str(server.port), str(tmp_path)]
    (tmp_path / "none").write_bytes(b"")
    subprocess.run(command, timeout=20, check=False, capture_output=True)
    command[0] = tool("findscu")
    subprocess.run([*command[:-1], "-S", "-k", "PatientName"], timeout=20, check=False, capture_output=True)
    wait_until(lambda: turned_away(store) == TurnedAway(R.SERVICE, ("query",)))
