"""A signed report comes into a real archive, under the study that is there only; an outage loses nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pypdf import PdfReader

from broker.dicom.scu.archive import STABLE, Archive, ArchiveAddress
from broker.dicom.scu.report_sender import ReportSender
from broker.documents.report_pdf import report_pdf
from broker.domain.orders import Order
from broker.domain.reading.reports import ReportChange
from broker.domain.studies.archived_reports import ArchivedReport, ArchivedReportReason, ArchivedReportState
from broker.store.database import Store
from broker.store.tables.reading import reports as reports_table
from broker.store.tables.studies import archive as archive_table
from broker.store.tables.studies import archived_reports as queue
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.referrals import referrals
from broker.workflow.studies import archived_reports
from tests.peers import orthanc
from tests.peers.test_orthanc_archive import send
from tests.support.clock import Seconds
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft
from tests.support.modality import change, create, creation, ending, scheduled
from tests.workflow.reading.test_reports import DOCTOR

pytestmark = pytest.mark.slow  # every test starts an Orthanc

SENDING = replace(CLINIC, archives_reports=True)
SAID = "Лёгкие без патологических изменений."
State, Reason = ArchivedReportState, ArchivedReportReason
MAKE_PDF = partial(report_pdf, clinic_name="Клиника на Заречной", zone=CLINIC.zone)


class Place:
    """A clinic with an archive that can be stopped and started again."""

    def __init__(self, store: Store, directory: Path, encoding: str = "Utf8") -> None:
        self.store, self.directory, self.encoding, self.clock = store, directory, encoding, Seconds()
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self.port = self._running.enter_context(orthanc.orthanc(self.directory, self.encoding))
        address = ArchiveAddress("ORTHANC", "127.0.0.1", self.port)
        self.sender = ReportSender(self.store, SENDING, address, "WORKLIST", MAKE_PDF, self.clock)
        self.archive = Archive(self.store, SENDING, address, "WORKLIST", self.clock)

    def stop(self) -> None:
        self._running.close()

    def documents(self) -> list[Any]:
        """Return what the archive has stored as documents."""
        found = []
        for path in (self.directory / "storage").rglob("*"):
            if path.is_file() and path.read_bytes()[128:132] == b"DICM":
                ds = dcmread(path)
                if ds.Modality == "DOC":
                    found.append(ds)
        return sorted(found, key=lambda ds: int(ds.InstanceNumber))

    def patients(self) -> set[str]:
        found = set()
        for path in (self.directory / "storage").rglob("*"):
            if path.is_file() and path.read_bytes()[128:132] == b"DICM":
                found.add(str(dcmread(path).PatientID))
        return found

    def queued(self, order: Order) -> list[ArchivedReport]:
        with self.store.read() as reader:
            return queue.of_order(reader, order.id)

    def again(self, order: Order) -> None:
        """Let a person send it again, so that nothing has to be waited for."""
        self.store.write(archived_reports.send_again, order.id, REGISTRAR)


@pytest.fixture
def place(store: Store, tmp_path: Path) -> Iterator[Place]:
    made = Place(store, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def latin(store: Store, tmp_path: Path) -> Iterator[Place]:
    made = Place(store, tmp_path, "Latin1")
    yield made
    made.stop()


def made(store: Store, patient_id: str = "") -> Order:
    """Register a study and let its device report that it was made."""
    patient = replace(KUZNETSOVA, patient_id=patient_id) if patient_id else KUZNETSOVA
    order = store.write(referrals.register, draft(patient=patient), REGISTRAR, CLINIC)
    create(store, creation(ScheduledStepAttributesSequence=[scheduled(order.study_instance_uid)]))
    change(store, ending())
    return order


def sign(store: Store, order: Order, said: str = SAID) -> None:
    store.write(reports.sign, order.id, 0, ReportText("Описание лёгких.", said), DOCTOR, SENDING)


def words_of(ds: Any) -> str:
    reader = PdfReader(io.BytesIO(ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength]))
    return " ".join("\n".join(page.extract_text() for page in reader.pages).split())


def test_the_report_is_found_under_the_study_of_its_images(store: Store, place: Place, tmp_path: Path) -> None:
    order = made(store)
    send(place.port, order, tmp_path, IssuerOfPatientID="КЛИНИКА", StudyID="77")
    sign(store, order)
    assert place.sender.look() == 1
    [ds] = place.documents()
    assert (ds.StudyInstanceUID, ds.PatientID) == (order.study_instance_uid, order.patient.patient_id)
    assert (ds.SOPClassUID, ds.Modality, ds.SpecificCharacterSet) == (
        "1.2.840.10008.5.1.4.1.1.104.1",
        "DOC",
        "ISO_IR 192",
    )
    assert (ds.BurnedInAnnotation, ds.ConversionType, ds.MIMETypeOfEncapsulatedDocument) == (
        "YES",
        "WSD",
        "application/pdf",
    )
    assert (ds.AccessionNumber, ds.StudyID, ds.PatientName) == (
        order.accession_number,
        "77",
        "Кузнецова^Марина^Петровна",
    )
    assert (SAID in words_of(ds), "Кузнецова Марина Петровна" in words_of(ds)) == (True, True)
    assert place.patients() == {order.patient.patient_id}
    assert place.queued(order)[0].state is State.STORED


def test_our_document_is_no_image(store: Store, place: Place, tmp_path: Path) -> None:
    order = made(store)
    send(place.port, order, tmp_path)
    place.archive.look()
    sign(store, order)
    assert place.sender.look() == 1
    place.clock.now += STABLE
    place.archive.look()
    with store.read() as reader:
        held = archive_table.holding(reader, order.id)
        assert reports_table.doubt(reader, order.id) is None
    assert held is not None
    assert held.images == 1


def test_nothing_goes_before_the_archive_knows_the_study(store: Store, place: Place, tmp_path: Path) -> None:
    order = made(store)
    sign(store, order)
    assert place.sender.look() == 0
    assert place.documents() == []
    [item] = place.queued(order)
    assert (item.state, item.reason) == (State.PENDING, Reason.NOT_THERE)
    send(place.port, order, tmp_path)
    place.again(order)
    assert place.sender.look() == 1


def test_sent_again_it_is_the_same_instance(store: Store, place: Place, tmp_path: Path) -> None:
    order = made(store)
    send(place.port, order, tmp_path)
    sign(store, order)
    assert place.sender.look() == 1
    place.again(order)
    assert place.sender.look() == 1
    assert len(place.documents()) == 1


def test_an_outage_loses_nothing(store: Store, place: Place, tmp_path: Path) -> None:
    order = made(store)
    send(place.port, order, tmp_path)
    place.stop()
    sign(store, order)
    assert place.sender.look() == 0
    assert place.queued(order)[0].reason is Reason.UNREACHABLE
    place.start()
    assert place.sender.look() == 1
    assert SAID in words_of(place.documents()[0])


def test_another_patients_study_under_the_same_uid_gets_nothing(store: Store, place: Place, tmp_path: Path) -> None:
    order = made(store)
    send(place.port, order, tmp_path, PatientID="999", PatientName="Зуев^Пётр", PatientBirthDate="19700101")
    sign(store, order)
    assert place.sender.look() == 0
    assert place.documents() == []
    assert (place.queued(order)[0].state, place.queued(order)[0].reason) == (State.PENDING, Reason.DISCREPANCY)
    send(place.port, order, tmp_path)
    place.again(order)
    assert place.sender.look() == 1
    [ds] = place.documents()
    assert ds.PatientID == order.patient.patient_id


def test_a_report_bears_the_number_under_which_the_archive_has_the_patient(
    store: Store, place: Place, tmp_path: Path
) -> None:
    order = made(store)
    send(place.port, order, tmp_path, PatientID="X-9")  # the device's own; the person is surely the same
    sign(store, order)
    assert place.sender.look() == 1
    assert place.documents()[0].PatientID == "X-9"
    assert place.patients() == {"X-9"}


def test_versions_are_further_instances_of_one_series(store: Store, place: Place, tmp_path: Path) -> None:
    order = made(store)
    send(place.port, order, tmp_path)
    sign(store, order)
    place.sender.look()
    added = Revision(ReportChange.ADDITION, "Динамики нет.")
    store.write(reports.revise, order.id, 1, added, DOCTOR, SENDING)
    assert place.sender.look() == 1
    first, second = place.documents()
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    assert second.DocumentTitle.startswith("Дополнение от ")
    assert "Динамики нет." in words_of(second)
    withdrawn = Revision(ReportChange.WITHDRAWAL, "Не тот пациент.")
    store.write(reports.revise, order.id, 2, withdrawn, DOCTOR, SENDING)
    assert place.sender.look() == 0
    assert len(place.documents()) == 2
    assert place.queued(order)[0].state is State.DROPPED


def test_an_archive_that_answers_without_cyrillic_gets_what_is_certain(
    store: Store, latin: Place, tmp_path: Path
) -> None:
    order = made(store)
    send(latin.port, order, tmp_path)
    sign(store, order)
    assert latin.sender.look() == 1
    [ds] = latin.documents()
    assert (ds.PatientName, ds.PatientID) == ("Кузнецова^Марина^Петровна", order.patient.patient_id)
    assert SAID in words_of(ds)
    assert latin.patients() == {order.patient.patient_id}


def test_a_number_that_may_have_lost_its_letters_waits_for_a_person(store: Store, latin: Place, tmp_path: Path) -> None:
    order = made(store, "К-17")
    send(latin.port, order, tmp_path)
    sign(store, order)
    assert latin.sender.look() == 0
    [item] = latin.queued(order)
    assert (item.state, item.reason) == (State.NEEDS_ATTENTION, Reason.NO_CYRILLIC)
    assert latin.patients() == {"К-17"}


def test_a_cyrillic_number_is_kept_where_the_archive_has_it(store: Store, place: Place, tmp_path: Path) -> None:
    order = made(store, "К-17")
    send(place.port, order, tmp_path)
    sign(store, order)
    assert place.sender.look() == 1
    assert place.patients() == {"К-17"}
