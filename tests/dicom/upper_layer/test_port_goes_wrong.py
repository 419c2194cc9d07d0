"""What really goes wrong with connections, as public issue threads tell it; each number is the list's.

The rest of the list is in `test_really_goes_wrong.py` and `test_mpps_goes_wrong.py`; devices that leave in the middle
of an answer (9) are in `test_worklist_server.py`, too.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from broker.dicom.scu import echo
from broker.dicom.server import DicomServer
from broker.dicom.worklist.attributes import STEP, TOP
from broker.store.database import Store
from tests.dicom.worklist.asked import register
from tests.peers.dcmtk import STEP as STEP_PATH
from tests.peers.dcmtk import findscu
from tests.support.port import associated, serving
from tests.support.waiting import wait_until


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


# 8. "Local limit exceeded": ten associations, held open by devices.
@pytest.mark.slow
def test_many_devices_may_hold_their_associations_open(server: DicomServer) -> None:
    with ExitStack() as stack:
        for _ in range(30):
            assert stack.enter_context(associated(server.port, ModalityWorklistInformationFind)).is_established
        assert echo.echo("WORKLIST", "127.0.0.1", server.port, "XRAY_14").ok


# 10. Works in the device's configurator, hangs in use: more return keys, and a C-CANCEL.
def test_all_return_keys_at_once_and_a_cancel(server: DicomServer, store: Store, tmp_path: Path) -> None:
    for _ in range(5):
        register(store)
    keys = [each.keyword for each in TOP if each.vr != "SQ"]
    keys += [f"{each.keyword}[0].CodeValue" for each in TOP if each.keyword.endswith("CodeSequence")]
    keys += [STEP_PATH + each.keyword for each in STEP if each.vr != "SQ"]
    keys += [f"{STEP_PATH}ScheduledProtocolCodeSequence[0].CodeMeaning"]
    found = findscu(server.port, *keys, directory=tmp_path)
    assert (found.status, len(found.matches)) == (0, 5), found.words
    cancelled = findscu(server.port, *keys, directory=tmp_path, options=("--cancel", "1"))
    assert cancelled.status == 0, cancelled.words
    assert echo.echo("WORKLIST", "127.0.0.1", server.port, "XRAY_14").ok


# 25. Half-open connections eat the limit until nothing answers.
@pytest.mark.parametrize(
    "sent", [b"", b"\x01", b"\x01\x00\x00\x00\x00\xd0\x00\x01"], ids=["nothing", "a byte", "a part"]
)
def test_silent_connections_are_closed_and_make_room(store: Store, sent: bytes) -> None:
    with (
        serving(store, max_associations=5, association_timeout=1.0, message_timeout=1.0) as server,
        ExitStack() as stack,
    ):
        for _ in range(8):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5)).sendall(sent)
        _until_served(server)


# 25. And so do devices that lost their cable in an association, or within a message.
@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", b"\x04", b"\x04\x00\x00\x00\x00\xd0\x00"], ids=["nothing", "a byte", "a part"])
def test_associations_that_fell_silent_are_ended_and_make_room(store: Store, sent: bytes) -> None:
    with serving(store, max_associations=2, idle_timeout=1.0, message_timeout=1.0) as server, ExitStack() as stack:
        for _ in range(2):
            assoc = stack.enter_context(associated(server.port, ModalityWorklistInformationFind))
            assoc.network_timeout = None  # the device's own: it is the port that has to end this
            assert assoc.dul.socket is not None
            assert assoc.dul.socket.socket is not None
            assoc.dul.socket.socket.sendall(sent)
        _until_served(server)


@pytest.mark.slow
# ApiMount the list: a PDU that says it is 4 GB long is not collected until memory ends, whoever sends it.
@pytest.mark.parametrize("kind", [b"\x01", b"\x04"], ids=["association request", "data"])
def test_a_pdu_with_a_huge_length_ends_the_connection(server: DicomServer, kind: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stranger:
        stranger.sendall(kind + b"\x00\xff\xff\xff\xff")
        with pytest.raises(ConnectionError):
            stranger.sendall(bytes(64 << 20))
    _until_served(server)


def _until_served(server: DicomServer) -> None:
    """Wait until a device gets in."""
    wait_until(
        lambda: echo.echo("WORKLIST", "127.0.0.1", server.port, "XRAY_14").ok, "a device that gets in", every=0.2
    )
