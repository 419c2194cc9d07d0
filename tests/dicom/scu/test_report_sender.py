"""What an archive answers decides whether a report is stored, tried again, or waits for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from broker.dicom.scu.archive import ArchiveAddress
from broker.dicom.scu.report_sender import TRIES, ReportSender
from broker.domain.orders import Order
from broker.domain.reading.reports import ReportChange
from broker.domain.studies.archived_reports import ArchivedReport, ArchivedReportReason, ArchivedReportState
from broker.store.database import Store
from broker.store.tables.studies import archived_reports as queue
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.referrals import referrals
from broker.workflow.studies import archived_reports
from tests.support.clock import Seconds
from tests.support.factory import CLINIC, REGISTRAR, draft
from tests.support.modality import change, create, creation, ending, scheduled
from tests.workflow.reading.test_reports import DOCTOR

SENDING = replace(CLINIC, archives_reports=True)
State = ArchivedReportState
Reason = ArchivedReportReason
Outcome = tuple[State, Reason]


class Peer:
    """An archive that has the order's study and answers C-STORE as a test wants."""

    def __init__(self, order: Order, takes_documents: bool = True) -> None:
        self.order, self.status, self.stored = order, 0x0000, list[Dataset]()
        self.hangs_up = False
        self.on_find: Callable[[], object] = lambda: None
        ae = AE(ae_title="PACS")
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        if takes_documents:
            ae.add_supported_context(EncapsulatedPDFStorage)
        handlers: list[evt.EventHandlerType] = [(evt.EVT_C_FIND, self._find), (evt.EVT_C_STORE, self._store)]
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert self._server is not None
        self.port = int(self._server.server_address[1])

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.on_find()
        self.on_find = lambda: None
        wanted = event.identifier
        if wanted.get("StudyInstanceUID") or wanted.get("AccessionNumber"):
            ds = Dataset()
            ds.SpecificCharacterSet, ds.QueryRetrieveLevel = "ISO_IR 192", "STUDY"
            ds.StudyInstanceUID, ds.AccessionNumber = self.order.study_instance_uid, self.order.accession_number
            ds.PatientName, ds.PatientID = "Кузнецова^Марина^Петровна", self.order.patient.patient_id
            ds.PatientBirthDate, ds.StudyDate = "19610312", f"{self.order.steps[0].start:%Y%m%d}"
            yield 0xFF00, ds
        yield 0x0000, None

    def _store(self, event: evt.Event) -> Any:
        self.stored.append(event.dataset)
        if self.hangs_up:
            event.assoc.abort()
        answer = Dataset()
        answer.Status = self.status
        if self.status >= 0xA000:
            answer.ErrorComment = "disk full"
        return answer


@pytest.fixture
def order(store: Store) -> Order:
    """A study with a signed report that waits for the archive."""
    made = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    create(store, creation(ScheduledStepAttributesSequence=[scheduled(made.study_instance_uid)]))
    change(store, ending())
    store.write(reports.sign, made.id, 0, ReportText("Описание", "Норма"), DOCTOR, SENDING)
    return made


@pytest.fixture
def peer(order: Order) -> Iterator[Peer]:
    made = Peer(order)
    yield made
    made.stop()


def sender(store: Store, port: int, clock: Seconds | None = None) -> ReportSender:
    address = ArchiveAddress("PACS", "127.0.0.1", port)
    return ReportSender(store, SENDING, address, "WORKLIST", lambda signed: b"%PDF-1.7 odd", clock or Seconds())


def queued(store: Store, order: Order) -> ArchivedReport:
    with store.read() as reader:
        return queue.of_order(reader, order.id)[0]


def make_due(store: Store) -> None:
    store.write(lambda tx: tx.run("UPDATE archive_report SET next_at = queued_at"))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, (State.STORED, Reason.NONE)),
        (0xB000, (State.STORED, Reason.NONE)),
        (0xB006, (State.STORED, Reason.NONE)),
        (0xB007, (State.STORED, Reason.NONE)),
        (0x0111, (State.STORED, Reason.NONE)),
        (0xA700, (State.PENDING, Reason.BUSY)),
        (0x0110, (State.PENDING, Reason.BUSY)),
        (0xA900, (State.NEEDS_ATTENTION, Reason.REFUSED)),
        (0xC000, (State.NEEDS_ATTENTION, Reason.REFUSED)),
        (0x0124, (State.NEEDS_ATTENTION, Reason.REFUSED)),
    ],
)
def test_the_status_decides_what_becomes_of_a_report(
    store: Store, order: Order, peer: Peer, status: int, outcome: Outcome
) -> None:
    peer.status = status
    sender(store, peer.port).look()
    item = queued(store, order)
    assert (item.state, item.reason) == outcome
    if status >= 0xC000:
        assert item.detail == "C000 disk full"


@pytest.mark.slow
def test_an_archive_that_fails_without_a_reason_is_tried_a_few_times_only(
    store: Store, order: Order, peer: Peer
) -> None:
    peer.status = 0x0110
    sending = sender(store, peer.port)
    for _ in range(TRIES):
        make_due(store)
        sending.look()
    assert queued(store, order).state is State.NEEDS_ATTENTION
    peer.status = 0x0000
    store.write(archived_reports.send_again, order.id, DOCTOR)
    assert sending.look() == 1
    assert len({ds.SOPInstanceUID for ds in peer.stored}) == 1


def test_after_a_lost_answer_the_same_instance_goes_again(store: Store, order: Order, peer: Peer) -> None:
    peer.hangs_up, clock = True, Seconds()
    sending = sender(store, peer.port, clock)
    assert sending.look() == 0
    item = queued(store, order)
    assert (item.state, item.reason, item.may_be_there) == (State.PENDING, Reason.UNREACHABLE, True)
    peer.hangs_up = False
    make_due(store)
    assert sending.look() == 0  # it is left alone for a moment
    clock.now += 5
    assert sending.look() == 1
    first, second = (ds.SOPInstanceUID for ds in peer.stored)
    assert first == second


def test_an_archive_without_documents_is_said_and_what_waits_goes_later(store: Store, order: Order) -> None:
    refusing = Peer(order, takes_documents=False)
    clock = Seconds()
    assert sender(store, refusing.port, clock).look() == 0
    refusing.stop()
    assert (queued(store, order).state, queued(store, order).reason) == (State.PENDING, Reason.NO_DOCUMENTS)
    taking = Peer(order)
    assert sender(store, taking.port, clock).look() == 1
    taking.stop()


def test_a_report_that_is_withdrawn_while_the_archive_is_asked_is_not_sent(
    store: Store, order: Order, peer: Peer
) -> None:
    withdrawal = Revision(ReportChange.WITHDRAWAL, "Не тот пациент")
    peer.on_find = lambda: store.write(reports.revise, order.id, 1, withdrawal, DOCTOR, SENDING)
    assert sender(store, peer.port).look() == 0
    assert peer.stored == []
    with store.read() as reader:
        assert not any(each.may_be_there for each in queue.of_order(reader, order.id))


def test_a_document_of_odd_length_is_padded_and_says_its_length(store: Store, order: Order, peer: Peer) -> None:
    sender(store, peer.port).look()
    [ds] = peer.stored
    assert (ds.EncapsulatedDocument, ds.EncapsulatedDocumentLength) == (b"%PDF-1.7 odd", 12)
    assert (ds.SeriesNumber, ds.InstanceNumber, ds.VerificationFlag) == (9001, 1, "VERIFIED")


def test_a_lost_answer_ends_the_look_also_if_the_library_still_takes_the_association_for_open(
    store: Store, order: Order, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, tries = Seconds(), list[Dataset]()

    def lose(_: Association, ds: Dataset) -> Dataset:
        tries.append(ds)
        return Dataset()

    monkeypatch.setattr(Association, "send_c_store", lose)
    sending = sender(store, peer.port, clock)
    for _ in range(2):
        assert sending.look() == 0
        make_due(store)
    assert len(tries) == 1
