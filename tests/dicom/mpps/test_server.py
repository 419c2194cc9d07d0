"""Performed procedure steps over real sockets: what the client really gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
)

from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.domain.orders import Order
from broker.domain.studies.performed import PerformedState
from broker.store.database import Store
from broker.store.tables.studies import performed
from broker.workflow.referrals import referrals
from tests.support import factory, image_references
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.modality import creation, ending, notes, strict
from tests.support.port import associated, serving


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)


def report(server: DicomServer, create: Dataset, change: Dataset | None = None) -> list[Dataset]:
    """Send an N-CREATE and an N-SET; give the statuses."""
    with associated(server.port, ModalityPerformedProcedureStep) as assoc:
        reported = [assoc.send_n_create(create, ModalityPerformedProcedureStep, "1.2.3")[0]]
        if change is not None:
            reported.append(assoc.send_n_set(change, ModalityPerformedProcedureStep, "1.2.3")[0])
    return reported


def test_a_step_is_given_back_over_the_wire(server: DicomServer, store: Store, order: Order) -> None:
    report(server, creation(order.study_instance_uid), ending())
    with associated(server.port, ModalityPerformedProcedureStepRetrieve) as assoc:
        status, ds = assoc.send_n_get([], ModalityPerformedProcedureStepRetrieve, "1.2.3")
        assert status.Status == Status.SUCCESS
        assert ds is not None
        assert (str(ds.PatientName), ds.PerformedProcedureStepStatus) == ("Кузнецова^Марина", "COMPLETED")
        assert len(ds.PerformedSeriesSequence[0].ReferencedImageSequence) == 2

        asked = [Tag("PatientID"), Tag("CommentsOnRadiationDose"), Tag("PerformedProcedureStepStatus")]
        status, ds = assoc.send_n_get(asked, ModalityPerformedProcedureStepRetrieve, "1.2.3")
        assert status.Status == Status.ATTRIBUTES_NOT_SUPPORTED
        assert ds is not None
        assert [element.keyword for element in ds] == ["PatientID", "PerformedProcedureStepStatus"]

        status, ds = assoc.send_n_get([], ModalityPerformedProcedureStepRetrieve, "9.9")
        assert (status.Status, ds) == (Status.NO_SUCH_SOP_INSTANCE, None)


def test_a_strict_refusal_names_the_attribute(server: DicomServer, store: Store) -> None:
    strict(store)
    [status] = report(server, creation(PatientSex=None))
    assert (status.Status, status.ErrorComment) == (Status.MISSING_ATTRIBUTE, "PatientSex is missing")
    _, status = report(server, creation(), ending(PatientID="666"))
    assert (status.Status, status.AttributeIdentifierList) == (Status.INVALID_ATTRIBUTE_VALUE, Tag("PatientID"))


def test_a_dose_that_cannot_be_read_costs_nothing_else(server: DicomServer, store: Store) -> None:
    end = ending(TotalNumberOfExposures=2)
    end.add_new(Tag("EntranceDoseInmGy"), "OB", "много".encode("iso8859_5"))  # as DS the client would not encode it
    statuses = report(server, creation(), end)
    assert [status.Status for status in statuses] == [Status.SUCCESS] * 2
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
        assert step is not None
        assert [(dose.keyword, dose.value) for dose in performed.doses(reader, step.stored_id)] == [
            ("TotalNumberOfExposures", 2)
        ]


@pytest.mark.slow
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_step_with_a_hundred_thousand_images_is_taken(
    server: DicomServer, store: Store, order: Order, monkeypatch: pytest.MonkeyPatch, syntax: UID
) -> None:
    report(server, creation(order.study_instance_uid))
    data = image_references.ending([25_000] * 4, syntax.is_implicit_VR)
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_, **__: data)  # the client's encoder
    for _ in range(2):  # a repetition after a lost answer is none of another step
        with associated(server.port, ModalityPerformedProcedureStep, syntax=syntax) as assoc:
            status, _ = assoc.send_n_set(Dataset(), ModalityPerformedProcedureStep, "1.2.3")
            assert status.Status == Status.SUCCESS
    monkeypatch.undo()
    with store.read() as reader:
        step = performed.require(reader, "1.2.3")
        assert (step.state, step.images) == (PerformedState.COMPLETED, 100_000)
        assert [series.images for series in performed.series(reader, step.stored_id)] == [25_000] * 4
        kept = reader.value("SELECT sum(length(attributes)) FROM performed_step_message")
        assert kept < len(data) // 5
    with associated(server.port, ModalityPerformedProcedureStepRetrieve) as assoc:
        status, ds = assoc.send_n_get([], ModalityPerformedProcedureStepRetrieve, "1.2.3")
        assert status.Status == Status.ATTRIBUTES_NOT_SUPPORTED  # so many are not listed
        assert ds is not None
        assert len(ds.PerformedSeriesSequence) == 4
        asked = [Tag("PerformedProcedureStepStatus")]
        assert assoc.send_n_get(asked, ModalityPerformedProcedureStepRetrieve, "1.2.3")[0].Status == Status.SUCCESS


def test_images_that_were_packed_are_given_back(
    server: DicomServer, store: Store, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(server, creation(order.study_instance_uid))
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_, **__: image_references.ending([1200]))
    with associated(server.port, ModalityPerformedProcedureStep) as assoc:
        assert assoc.send_n_set(Dataset(), ModalityPerformedProcedureStep, "1.2.3")[0].Status == Status.SUCCESS
    monkeypatch.undo()
    with associated(server.port, ModalityPerformedProcedureStepRetrieve) as assoc:
        status, ds = assoc.send_n_get([], ModalityPerformedProcedureStepRetrieve, "1.2.3")
        assert status.Status == Status.SUCCESS
        assert ds is not None
        images = ds.PerformedSeriesSequence[0].ReferencedImageSequence
        assert len({image.ReferencedSOPInstanceUID for image in images}) == 1200


def test_a_message_that_cannot_be_read_is_noted_for_people(
    server: DicomServer, store: Store, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(server, creation(order.study_instance_uid))
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_, **__: image_references.ending([3])[:-5])
    with associated(server.port, ModalityPerformedProcedureStep) as assoc:
        status, _ = assoc.send_n_set(Dataset(), ModalityPerformedProcedureStep, "1.2.3")
        assert status.Status == Status.PROCESSING_FAILURE
    assert notes(store)["mpps_unreadable"].startswith("N-SET: (0040,0340) says")
