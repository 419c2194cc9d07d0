"""Requests that are not served here are refused by the statuses of PS3.7, and the association goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pynetdicom.sop_class import ModalityPerformedProcedureStepRetrieve  # type: ignore[attr-defined]

from broker.dicom.server import DicomServer
from broker.dicom.upper_layer.dimse import command_set
from broker.dicom.upper_layer.pdu import writer
from broker.store.database import Store
from broker.store.tables.studies import performed
from tests.dicom.upper_layer.attacked import ECHO, Client, command, echo_rq
from tests.dicom.upper_layer.requests import IMPLICIT, MPPS, WORKLIST, request
from tests.support.port import serving

C_STORE, C_MOVE = 0x0001, 0x0021
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
RETRIEVE = str(ModalityPerformedProcedureStepRetrieve)
CONTEXTS = {1: WORKLIST, 3: MPPS, 5: ECHO, 7: RETRIEVE}


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


@pytest.fixture
def client(server: DicomServer) -> Iterator[Client]:
    with Client(server.port) as connected:
        connected.send(request(*((uid, [IMPLICIT]) for uid in CONTEXTS.values())))
        assert connected.pdu()[0] == 2
        yield connected


def ask(client: Client, context_id: int, field: int, sop_class: str, dataset: bytes | None = b"") -> int:
    sent = command(field, sop_class, has_dataset=dataset is not None, instance="1.2.3.4")
    client.send(writer.message(context_id, sent, dataset, 0))
    return client.answers()[-1][0]


@pytest.mark.parametrize("field", [0x0002, 0x0FFE, 0x0160, 0x7FFF])
def test_a_command_that_nothing_knows_is_an_unrecognised_operation(client: Client, field: int) -> None:
    assert ask(client, 1, field, WORKLIST) == 0x0211
    client.send(echo_rq())
    assert client.answers() == [(0, b"")]


@pytest.mark.parametrize("field", [C_STORE, C_MOVE, command_set.N_ACTION, command_set.N_DELETE])
def test_an_operation_of_another_service_is_unrecognised(client: Client, field: int) -> None:
    assert ask(client, 1, field, WORKLIST) == 0x0211


@pytest.mark.parametrize("field", [command_set.N_CREATE, command_set.N_SET])
def test_a_step_is_not_made_or_changed_where_steps_are_only_read(client: Client, store: Store, field: int) -> None:
    assert ask(client, 7, field, RETRIEVE) == 0x0211
    with store.read() as reader:
        assert performed.get(reader, "1.2.3.4") is None


@pytest.mark.parametrize(
    ("context_id", "field", "named", "status"),
    [
        (3, command_set.N_CREATE, CT_STORAGE, 0x0118),
        (3, command_set.N_SET, CT_STORAGE, 0x0118),
        (3, command_set.N_GET, CT_STORAGE, 0x0118),
        (3, command_set.N_CREATE, WORKLIST, 0x0119),
        (3, command_set.N_SET, WORKLIST, 0x0119),
        (1, command_set.C_FIND, CT_STORAGE, 0x0122),
    ],
)
def test_a_sop_class_that_is_not_the_contexts_is_refused(
    client: Client, store: Store, context_id: int, field: int, named: str, status: int
) -> None:
    assert ask(client, context_id, field, named, None if field == command_set.N_GET else b"") == status
    with store.read() as reader:
        assert performed.get(reader, "1.2.3.4") is None


def test_the_retrieve_class_may_name_the_step_that_it_reads(client: Client) -> None:
    assert ask(client, 7, command_set.N_GET, MPPS, None) == 0x0112  # there is none, but it was asked for


def test_a_cancel_with_the_wrong_element_ends_no_association(client: Client) -> None:
    right = command_set.write(command_set.CommandSet(command_set.C_CANCEL, 1, False))
    wrong = right.replace(b"\0\0\x20\x01", b"\0\0\x10\x01")
    assert wrong != right
    client.send(writer.message(1, wrong, None, 0))
    client.send(echo_rq())
    assert client.answers() == [(0, b"")]
