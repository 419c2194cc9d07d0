"""Somebody says that images are in the archive (IAN): the archive is asked at once, and nothing else is believed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
)

from broker.dicom.scu.archive import STABLE, Archive
from broker.dicom.server import DicomServer, PortSettings
from broker.domain.orders import Order, OrderState
from broker.store.database import Store
from broker.store.tables import orders
from broker.workflow.referrals import referrals
from tests.support.clock import Seconds
from tests.support.factory import CLINIC, REGISTRAR, draft
from tests.support.modality import create, creation, dataset
from tests.support.pacs import Pacs, pacs, study

IAN = InstanceAvailabilityNotification


@pytest.fixture
def peer() -> Iterator[Pacs]:
    with pacs() as running:
        yield running


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def archive(store: Store, peer: Pacs, clock: Seconds) -> Archive:
    return Archive(store, CLINIC, peer.address, "WORKLIST", clock)


@pytest.fixture
def port(store: Store, archive: Archive) -> Iterator[int]:
    server = DicomServer(PortSettings(address="127.0.0.1", port=0), store, CLINIC, on_available=archive.note_available)
    server.start()
    yield server.port
    server.stop()


def days_asked(peer: Pacs) -> int:
    """Return how often studies of a day were asked for."""
    return sum(bool(key.get("StudyDate")) and not key.get("StudyInstanceUID") for key in peer.asked)


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(), REGISTRAR, CLINIC)


def notification(uid: str) -> Dataset:
    """Make what an archive says of a study (PS3.4 Table R.3.2-1)."""
    instance = dataset(
        {
            "ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
            "ReferencedSOPInstanceUID": "1.9.1",
            "InstanceAvailability": "ONLINE",
            "RetrieveAETitle": "PACS",
        }
    )
    series = dataset({"SeriesInstanceUID": "1.9", "ReferencedSOPSequence": [instance]})
    return dataset(
        {"ReferencedPerformedProcedureStepSequence": [], "StudyInstanceUID": uid, "ReferencedSeriesSequence": [series]}
    )


def send(port: int, uid: str) -> int | None:
    """Send a notification; return the status, or None where no context was accepted."""
    ae = AE(ae_title="XRAY_14")
    ae.add_requested_context(IAN)
    assoc = ae.associate("127.0.0.1", port, ae_title="WORKLIST")
    if not assoc.is_established:
        return None
    answer, _ = assoc.send_n_create(notification(uid), IAN, "1.2.3.4")
    assoc.release()
    return int(answer.Status)


def state(store: Store, order: Order) -> OrderState:
    with store.read() as reader:
        return orders.require(reader, order.id).state


def test_the_archive_is_asked_for_what_is_said_to_be_there(
    store: Store, archive: Archive, peer: Pacs, port: int, order: Order, clock: Seconds
) -> None:
    peer.holds(study(order))
    assert archive.look_at_available() == 0
    assert not peer.asked
    assert send(port, order.study_instance_uid) == 0
    archive.look_at_available()
    assert any(key.get("StudyInstanceUID") == order.study_instance_uid for key in peer.asked)
    peer.asked.clear()
    archive.look_at_available()  # once is enough
    assert not peer.asked
    clock.now += STABLE
    assert archive.look() == 1  # no more images have come meanwhile
    assert state(store, order) is OrderState.COMPLETED


def test_what_is_said_is_not_believed_without_the_archive(
    store: Store, archive: Archive, peer: Pacs, port: int, order: Order
) -> None:
    peer.holds()
    assert send(port, order.study_instance_uid) == 0
    archive.look_at_available()
    assert state(store, order) is OrderState.SCHEDULED


def test_a_uid_that_a_device_has_reported_leads_to_its_order(
    store: Store, archive: Archive, peer: Pacs, port: int, order: Order
) -> None:
    item = dataset({"StudyInstanceUID": "1.2.99", "AccessionNumber": order.accession_number})
    create(store, creation(ScheduledStepAttributesSequence=[item], PatientID=order.patient.patient_id))
    peer.holds(study(order, StudyInstanceUID="1.2.99"))
    assert send(port, "1.2.99") == 0
    archive.look_at_available()
    assert any(key.get("StudyInstanceUID") == "1.2.99" for key in peer.asked)


def test_a_study_that_is_no_orders_is_looked_for_among_those_of_these_days(
    archive: Archive, peer: Pacs, port: int
) -> None:
    archive.look()
    peer.asked.clear()
    archive.look()
    assert peer.asked == []  # these were looked for a moment ago
    assert send(port, "1.2.77") == 0
    archive.look_at_available()
    archive.look()
    assert peer.asked != []


def test_a_study_that_is_no_orders_is_looked_for_also_beside_one_that_is(
    archive: Archive, peer: Pacs, port: int, order: Order
) -> None:
    archive.look()
    for uid in (order.study_instance_uid, "1.2.77"):
        assert send(port, uid) == 0
    archive.look_at_available()
    peer.asked.clear()
    archive.look()
    assert days_asked(peer)


def test_a_study_of_a_cancelled_order_is_looked_for_among_those_without_one(
    store: Store, archive: Archive, peer: Pacs, port: int, order: Order
) -> None:
    archive.look()
    store.write(referrals.cancel, order.id, order.revision, "ошибка", REGISTRAR, CLINIC)
    peer.holds(study(order, PatientName="Чужая^Алла"))
    assert send(port, order.study_instance_uid) == 0
    peer.asked.clear()
    archive.look_at_available()
    assert not peer.asked
    archive.look()
    assert days_asked(peer)


def test_without_an_archive_it_is_not_offered(store: Store) -> None:
    server = DicomServer(PortSettings(address="127.0.0.1", port=0), store, CLINIC)
    server.start()
    try:
        assert send(server.port, "1.2.3") is None
    finally:
        server.stop()
