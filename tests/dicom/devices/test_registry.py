"""Strangers are recorded and offered for approval, and what devices send is kept without anybody's data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
)

from broker.dicom import services
from broker.dicom.devices import samples
from broker.dicom.scu import echo
from broker.dicom.server import DicomServer
from broker.domain.clinic.devices import Device
from broker.domain.clinic.turned_away import TurnedAway, TurnedAwayReason
from broker.store.database import Store
from broker.store.queries import device_registry
from broker.store.tables import devices
from broker.workflow import devices as registry
from tests.peers.dcmtk import EVERYTHING, STEP, findscu
from tests.support.factory import SYSTEM
from tests.support.modality import creation, ending
from tests.support.port import associated, serving
from tests.support.waiting import wait_until


@pytest.fixture
def refusing(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


def call(port: int, ae_title: str) -> bool:
    return echo.echo("WORKLIST", "127.0.0.1", port, ae_title).ok


def received(store: Store, ae_title: str, service: str = "") -> device_registry.DeviceContacts | None:
    """Return what is known of a device; with a service, wait until that is written down."""

    def known() -> device_registry.DeviceContacts | None:
        store.write(lambda tx: None)  # what was submitted before has been committed
        with store.read() as reader:
            return next((each for each in device_registry.contacts(reader) if each.device.ae_title == ae_title), None)

    if service:
        wait_until(lambda: (found := known()) and service in found.services, f"{ae_title} heard for {service}")
    return known()


@pytest.mark.parametrize("mode", ["refuse", "learn"])
def test_an_unknown_device_is_recorded_and_served_only_if_the_clinic_wants_it(store: Store, mode: str) -> None:
    with serving(store, unknown_devices=mode) as started:
        assert call(started.port, "NEW_CT") is (mode == "learn")
        service = "echo" if mode == "learn" else "refused"
        found = received(store, "NEW_CT", service)
        assert found
        assert found.device == Device("NEW_CT", "NEW_CT", "", address="127.0.0.1", approved=False)
        assert sorted(found.services) == [service]
        store.write(registry.put_device, Device("NEW_CT", "КТ", "CT", address="127.0.0.1"), SYSTEM)
        assert call(started.port, "NEW_CT")


def test_a_known_device_from_another_address_is_rejected_and_recorded(refusing: DicomServer, store: Store) -> None:
    store.write(registry.put_device, Device("CT_1", "КТ", "CT", address="10.9.9.9, 10.9.9.8"), SYSTEM)
    assert not call(refusing.port, "CT_1")
    found = received(store, "CT_1", "refused")
    assert found
    assert found.services["refused"].address == "127.0.0.1"
    assert found.turned_away == TurnedAway(TurnedAwayReason.ADDRESS)
    store.write(registry.put_device, Device("CT_1", "КТ", "CT", address="10.9.9.9, 127.0.0.1"), SYSTEM)
    assert call(refusing.port, "CT_1")


def test_a_learned_device_may_change_its_address_until_it_is_approved(store: Store) -> None:
    store.write(lambda tx: devices.learn(tx, "NEW_CT", "10.9.9.9"))
    with serving(store, unknown_devices="learn") as started:
        assert call(started.port, "NEW_CT")
    found = received(store, "NEW_CT")
    assert found
    assert found.device.address == "127.0.0.1"


def test_a_caller_that_tries_again_and_again_is_one_line_of_the_log(
    refusing: DicomServer, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        assert not call(refusing.port, "STRANGER")
    lines = [line for line in caplog.messages if "rejected" in line]
    assert len(lines) == 1
    assert "association of STRANGER at 127.0.0.1 rejected: unknown AE title" in lines[0]


def test_invented_ae_titles_fill_neither_the_log_nor_the_registry(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(services, "LINES_A_MINUTE", 3)
    monkeypatch.setattr(devices, "MAX_UNAPPROVED", 5)
    with serving(store) as refusing:
        for number in range(12):
            assert not call(refusing.port, f"FAKE_{number}")
    store.write(lambda tx: None)
    with store.read() as reader:
        assert sum(not each.device.approved for each in device_registry.contacts(reader)) <= 5
    assert sum("rejected" in line for line in caplog.messages) <= 3


def test_what_a_device_asks_and_reports_is_kept_without_patients(
    refusing: DicomServer, store: Store, tmp_path: Path
) -> None:
    station = f"{STEP}ScheduledStationAETitle=XRAY_14"
    for name in ("Кузнецова*", "Ли*"):  # the second comes too soon after the first to be kept
        findscu(refusing.port, *EVERYTHING, station, f"PatientName={name}", directory=tmp_path)
    with associated(refusing.port, ModalityPerformedProcedureStep) as assoc:
        assoc.send_n_create(creation(PatientName="Кузнецова^Марина"), ModalityPerformedProcedureStep, "1.2.3")
        assoc.send_n_set(ending(), ModalityPerformedProcedureStep, "1.2.3")
    store.write(lambda tx: None)
    with store.read() as reader:
        kept = devices.samples(reader)["XRAY_14"]
    assert {(each.service, each.which) for each in kept} == {
        (service, which) for service in ("worklist", "N-CREATE", "N-SET") for which in ("first", "latest")
    }
    assert len(kept) == 6
    assert "Кузнецова" not in json.dumps([each.attributes for each in kept], ensure_ascii=False)
    query, hidden = samples.restore(next(each.attributes for each in kept if each.service == "worklist"))
    assert query.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == "XRAY_14"
    assert hidden == ["PatientName"]


def test_a_query_that_is_refused_is_kept_too(refusing: DicomServer, store: Store, tmp_path: Path) -> None:
    findscu(refusing.port, *EVERYTHING, f"{STEP}ScheduledProcedureStepStartDate=20260230", directory=tmp_path)
    store.write(lambda tx: None)
    with store.read() as reader:
        query, _ = samples.restore(devices.samples(reader)["XRAY_14"][-1].attributes)
    assert query.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate == "20260230"


def test_a_message_of_which_no_sample_can_be_made_is_still_answered(
    refusing: DicomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(ds: Dataset) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(samples, "mask", fail)
    query = Dataset()
    query.PatientName = ""
    with associated(refusing.port, ModalityWorklistInformationFind) as assoc:
        statuses = [status.Status for status, _ in assoc.send_c_find(query, ModalityWorklistInformationFind)]
    assert statuses == [0]
