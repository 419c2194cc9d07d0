"""Structured reports and documents over a real socket, sent by DCMTK: stored before success is answered."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from broker.dicom.server import DicomServer
from broker.domain.orders import Order
from broker.domain.studies import dose
from broker.domain.studies.dose import Quantity
from broker.domain.studies.received import HeldReason, ReceivedKind, StoredObject
from broker.store.database import Store
from broker.store.queries import device_registry
from broker.store.tables.studies import received_objects
from broker.workflow.referrals import referrals
from tests.support import dose_reports
from tests.support.factory import CLINIC, REGISTRAR, draft
from tests.support.port import associated, serving


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store, max_message=1 << 16, max_document=1 << 18) as running:
        yield running


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(), REGISTRAR, CLINIC)


def of(order: Order, ds: Dataset) -> Dataset:
    """Let a report be of an order's study and patient."""
    ds.StudyInstanceUID, ds.AccessionNumber = order.study_instance_uid, order.accession_number
    name = order.patient.name
    ds.PatientName = f"{name.family}^{name.given}^{name.middle}"
    ds.PatientID, ds.PatientBirthDate = order.patient.patient_id, f"{order.patient.birth_date:%Y%m%d}"
    ds.SpecificCharacterSet = "ISO_IR 192"
    return ds


def storescu(server: DicomServer, *files: Path, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = ["storescu", "-v", "-aet", "XRAY_14", "-aec", "WORKLIST", *options, "127.0.0.1", str(server.port)]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=60, check=False)


def send(server: DicomServer, ds: Dataset) -> tuple[int, str]:
    """Send an object; return the status and its comment."""
    with associated(server.port, ds.SOPClassUID) as assoc:
        answer = assoc.send_c_store(ds)
        return int(answer.Status), str(answer.get("ErrorComment", ""))


def of_order(store: Store, order: Order) -> list[StoredObject]:
    with store.read() as reader:
        return received_objects.of_order(reader, order.id)


def held(store: Store) -> list[StoredObject]:
    with store.read() as reader:
        return received_objects.held(reader)


def noted(store: Store) -> str:
    with store.read() as reader:
        return " ".join(
            f"{kind}: {text}"
            for row in reader.rows("SELECT * FROM device_note")
            for kind, text in [(row["kind"], row["text"])]
        )


def test_a_dose_report_sent_by_dcmtk_is_joined_with_its_order_by_the_study(
    server: DicomServer, store: Store, order: Order, tmp_path: Path
) -> None:
    ds = of(order, dose_reports.projection(1.07e-05))
    ds.AccessionNumber = ""
    done = storescu(server, dose_reports.write(ds, tmp_path / "dose.dcm"))
    assert "Success" in done.stdout + done.stderr
    [found] = of_order(store, order)
    assert found.received.kind is ReceivedKind.DOSE
    assert found.received.title == "X-Ray Radiation Dose Report"
    with store.read() as reader:
        reports = received_objects.dose_reports(reader, order.id)
    assert dose.of_study(reports).of(Quantity.DAP) == pytest.approx(10.7)


def test_a_report_of_another_study_uid_is_joined_by_the_exact_number_of_the_order(
    server: DicomServer, store: Store, order: Order
) -> None:
    ds = of(order, dose_reports.projection(1e-6))
    ds.StudyInstanceUID = UID("1.2.77")
    assert send(server, ds)[0] == 0
    assert len(of_order(store, order)) == 1


def test_a_report_that_names_no_order_is_kept_aside(server: DicomServer, store: Store) -> None:
    ds = dose_reports.projection(1e-6)
    ds.AccessionNumber = "NO-SUCH"
    assert send(server, ds)[0] == 0
    [found] = held(store)
    assert found.held is HeldReason.NO_ORDER


def test_a_report_of_another_patient_is_kept_aside_even_if_the_study_fits(
    server: DicomServer, store: Store, order: Order
) -> None:
    ds = of(order, dose_reports.projection(1e-6))
    ds.PatientName, ds.PatientID = "Сидоров^Пётр^Ильич", "999"
    assert send(server, ds)[0] == 0
    [found] = held(store)
    assert found.held is HeldReason.OTHER_PATIENT
    assert of_order(store, order) == []


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_the_same_report_again_is_answered_as_the_first_time_and_adds_nothing(
    server: DicomServer, store: Store, order: Order, syntax: str | None
) -> None:
    ds = of(order, dose_reports.projection(1e-6))
    assert send(server, ds) == (0, "")
    if syntax:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert send(server, ds) == (0, "")
    assert len(of_order(store, order)) == 1


def test_another_report_under_the_same_uid_is_refused_with_the_reason(
    server: DicomServer, store: Store, order: Order
) -> None:
    assert send(server, of(order, dose_reports.projection(1e-6)))[0] == 0
    answered, why = send(server, of(order, dose_reports.projection(2e-6)))
    assert answered == 0xC000
    assert "another object" in why
    assert len(of_order(store, order)) == 1


def test_a_report_that_is_too_long_is_refused_as_such_and_seen_with_the_device(
    server: DicomServer, store: Store, order: Order
) -> None:
    ds = of(order, dose_reports.projection(1e-6))
    ds.ImageComments = "x" * (1 << 17)
    with associated(server.port, ds.SOPClassUID) as assoc:
        assert int(assoc.send_c_store(ds).Status) == 0xA700
        short = of(order, dose_reports.projection(1e-6))
        assert int(assoc.send_c_store(short).Status) == 0  # the association goes on
    assert "object_too_long: report" in noted(store)


def test_a_document_may_be_longer_than_a_report(server: DicomServer, store: Store, order: Order) -> None:
    ds = of(order, dose_reports.projection(1e-6))
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID(dose_reports.ENCAPSULATED_PDF)
    del ds.ContentSequence
    ds.MIMETypeOfEncapsulatedDocument, ds.DocumentTitle = "application/pdf", "Протокол"
    ds.EncapsulatedDocument = b"%PDF-1.4 " + b"x" * ((1 << 17) - 9)
    assert send(server, ds)[0] == 0
    [found] = of_order(store, order)
    assert found.received.kind is ReceivedKind.DOCUMENT
    assert found.received.title == "Протокол"
    ds.EncapsulatedDocument = b"%PDF-1.4 " + b"x" * ((1 << 18) - 9)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.9.7")
    assert send(server, ds)[0] == 0xA700


def test_images_are_not_offered(server: DicomServer) -> None:
    with associated(server.port, "1.2.840.10008.5.1.4.1.1.1.1") as assoc:
        assert assoc.accepted_contexts == []


def test_nothing_is_offered_where_reports_are_not_accepted(store: Store) -> None:
    with serving(store, accepts_reports=False) as server, associated(server.port, dose_reports.XRAY_DOSE_SR) as assoc:
        assert assoc.accepted_contexts == []


@pytest.mark.parametrize("name", ["reportsi.dcm", "reportsi_with_empty_number_tags.dcm", "test-SR.dcm"])
def test_reports_of_other_makers_are_taken_as_they_are(server: DicomServer, store: Store, name: str) -> None:
    file = dose_reports.pydicom_file(name)
    done = storescu(server, file)
    assert "Success" in done.stdout + done.stderr
    [found] = held(store)
    assert found.received.kind is ReceivedKind.REPORT
    with store.read() as reader:
        kept = received_objects.dataset(reader, found.id)
    assert len(kept) > 500
    assert found.received.sop_instance_uid == pydicom.dcmread(file).SOPInstanceUID


def test_a_dataset_that_names_another_instance_is_refused(server: DicomServer, store: Store) -> None:
    ds = dose_reports.projection(1e-6)
    with associated(server.port, ds.SOPClassUID) as assoc:
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        answer = assoc.send_c_store(ds)
        assert int(answer.Status) == 0
    assert len(held(store)) == 1


def test_nothing_is_answered_with_success_that_could_not_be_stored(
    server: DicomServer, store: Store, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> int:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(received_objects, "add", broken)
        assert send(server, of(order, dose_reports.projection(1e-6)))[0] == 0xA700
    assert send(server, of(order, dose_reports.projection(1e-6)))[0] == 0


def test_the_last_report_is_a_contact_of_its_device(server: DicomServer, store: Store, order: Order) -> None:
    assert send(server, of(order, dose_reports.projection(1e-6)))[0] == 0
    store.write(lambda tx: None)  # after what was queued
    with store.read() as reader:
        [device] = [each for each in device_registry.approved(reader) if each.ae_title == "XRAY_14"]
        assert device
        assert reader.value("SELECT 1 FROM device_contact WHERE service = 'storage'")
