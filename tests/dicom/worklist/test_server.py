"""Devices that stop listening in the middle of an answer: by C-CANCEL, by release, by abort, by going dark."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from broker.dicom.scu import echo
from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.dicom.worklist import response, service
from broker.store.database import Store
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.port import associated, serving
from tests.support.waiting import wait_until
from tests.support.worklist_query import identifier

ITEMS, PACE = 200, 0.02  # answers, and seconds that each takes: nobody waits for all of them


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


@pytest.fixture
def written(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """A long list that is told slowly; gives what has been written of it so far."""
    for _ in range(ITEMS):
        store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    made: list[Dataset] = []
    real = response.identifier

    def slowly(*args: object) -> Dataset:
        time.sleep(PACE)
        made.append(real(*args))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(response, "identifier", slowly)
    return made


def still_serves(server: DicomServer) -> bool:
    return echo.echo("WORKLIST", "127.0.0.1", server.port, "FLG_12").ok


def answers_of(assoc: Association) -> Iterator[tuple[Dataset, Dataset | None]]:
    return assoc.send_c_find(identifier(), ModalityWorklistInformationFind, msg_id=7)


@pytest.fixture
def threads() -> Iterator[None]:
    """What an association started ends with it."""
    before = set(threading.enumerate())
    yield
    wait_until(lambda: not [each for each in threading.enumerate() if each not in before])


@pytest.mark.usefixtures("threads")
def test_a_cancel_ends_the_list_with_fe00(server: DicomServer, store: Store, written: list[Dataset]) -> None:
    with associated(server.port, ModalityWorklistInformationFind) as assoc:
        statuses = []
        for status, _ in answers_of(assoc):
            statuses.append(status.Status)
            if len(statuses) == 3:
                assoc.send_c_cancel(7, assoc.accepted_contexts[0].context_id)
        assert statuses[-1] == Status.CANCEL
        assert len(statuses) <= len(written) + 1 < ITEMS
        assert next(iter(answers_of(assoc)))[0].Status == Status.PENDING  # the association lives on
        assoc.abort()
    store.write(lambda tx: None)
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM worklist_delivery") < ITEMS
    server.stop()


@pytest.mark.usefixtures("threads")
def test_an_abort_after_the_first_answer_ends_the_thread(server: DicomServer, written: list[Dataset]) -> None:
    with associated(server.port, ModalityWorklistInformationFind) as assoc:
        next(iter(answers_of(assoc)))
        assoc.abort()
    assert still_serves(server)
    wait_until(lambda: not server.associations)
    assert len(written) < ITEMS
    server.stop()


@pytest.mark.usefixtures("threads")
def test_a_device_that_goes_dark_in_the_middle_ends_the_thread(server: DicomServer, written: list[Dataset]) -> None:
    with associated(server.port, ModalityWorklistInformationFind) as assoc:
        next(iter(answers_of(assoc)))
        assert assoc.dul.socket is not None
        assoc.dul.socket.close()
    assert still_serves(server)
    wait_until(lambda: not server.associations)
    assert len(written) < ITEMS
    server.stop()


@pytest.mark.usefixtures("threads")
def test_a_release_in_the_middle_is_answered(server: DicomServer, written: list[Dataset]) -> None:
    with associated(server.port, ModalityWorklistInformationFind) as assoc:
        next(iter(answers_of(assoc)))
        assoc.release()
        assert assoc.is_released
    assert len(written) < ITEMS
    assert still_serves(server)
    wait_until(lambda: not server.associations)
    server.stop()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_both_transfer_syntaxes_are_spoken_in_both_directions(server: DicomServer, store: Store, syntax: str) -> None:
    store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    ae = AE(ae_title="XRAY_14")
    ae.add_requested_context(ModalityWorklistInformationFind, syntax)
    assoc = ae.associate("127.0.0.1", server.port, ae_title="WORKLIST")
    try:
        assert assoc.accepted_contexts[0].transfer_syntax == [syntax]
        query = identifier(
            PatientName="Кузнецова*", SpecificCharacterSet="ISO_IR 192", RequestedProcedureCodeSequence=[]
        )
        (status, found), (last, _) = assoc.send_c_find(query, ModalityWorklistInformationFind)
        assert (status.Status, last.Status) == (Status.PENDING, Status.SUCCESS)
        assert found is not None
        assert str(found.PatientName) == "Кузнецова^Марина^Петровна"
        assert found.RequestedProcedureCodeSequence[0].CodeValue == "WLB-KNEE"
    finally:
        assoc.release()


def test_an_unreadable_database_is_reported_without_hanging(
    server: DicomServer, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk I/O error at Кузнецова")

    monkeypatch.setattr(service, "search", broken)
    with associated(server.port, ModalityWorklistInformationFind) as assoc:
        statuses = [status.Status for status, _ in assoc.send_c_find(identifier(), ModalityWorklistInformationFind)]
    assert statuses == [Status.UNABLE_TO_PROCESS]
    assert "OSError" in caplog.text
    assert "Кузнецова" not in caplog.text
