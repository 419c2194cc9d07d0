"""The port as modalities meet it: DCMTK's and pynetdicom's clients over real sockets."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
)

from broker.dicom.scu import echo
from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.domain.clinic.devices import Device
from broker.domain.orders import Order, OrderState
from broker.store.database import Store
from broker.store.tables import devices, orders
from broker.workflow.referrals import referrals
from tests.peers.dcmtk import EVERYTHING, STEP, findscu, tool
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.modality import creation, ending
from tests.support.port import associated, serving


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)


def test_echoscu_is_answered(server: DicomServer) -> None:
    command = [tool("echoscu"), "-aet", "XRAY_14", "-aec", "WORKLIST", "127.0.0.1", str(server.port)]
    assert subprocess.run(command, timeout=20, check=False).returncode == 0


@pytest.mark.parametrize(("term", "codec"), [("ISO_IR 192", "utf-8"), ("ISO_IR 144", "iso8859_5")])
def test_findscu_gets_the_cyrillic_name_intact(
    server: DicomServer, order: Order, tmp_path: Path, term: str, codec: str
) -> None:
    found = findscu(server.port, *EVERYTHING, f"SpecificCharacterSet={term}", directory=tmp_path)
    assert found.status == 0, found.words
    [match] = found.matches
    assert str(match.PatientName) == "Кузнецова^Марина^Петровна"
    assert match.AccessionNumber == order.accession_number
    assert "Кузнецова^Марина^Петровна".encode(codec) in found.raw[0]


def test_findscu_finds_by_station_date_and_name(server: DicomServer, order: Order, tmp_path: Path) -> None:
    def count(*keys: str) -> int:
        found = findscu(server.port, *EVERYTHING, *keys, "SpecificCharacterSet=ISO_IR 192", directory=tmp_path)
        assert found.status == 0, found.words
        return len(found.matches)

    today = f"{STEP}ScheduledProcedureStepStartDate={factory.soon():%Y%m%d}"
    assert count(f"{STEP}ScheduledStationAETitle=XRAY_14", today) == 1
    assert count(f"{STEP}ScheduledStationAETitle=MAMMO_9", today) == 0
    assert count("PatientName=кузнец*", today) == 1
    assert count(f"{STEP}ScheduledProcedureStepStartDate=19990101") == 0


@pytest.mark.parametrize("term", ["ISO_IR_192", "UTF-8", "utf-8", "ISO IR 192", "Not Supplied", "ISO 2022 IR 6"])
def test_bogus_character_set_terms_are_taken_as_meant(
    server: DicomServer, order: Order, tmp_path: Path, term: str
) -> None:
    found = findscu(server.port, "PatientName", f"SpecificCharacterSet={term}", directory=tmp_path)
    assert [str(match.PatientName) for match in found.matches] == ["Кузнецова^Марина^Петровна"]


def test_findscu_is_refused_over_a_malformed_date(server: DicomServer, order: Order, tmp_path: Path) -> None:
    found = findscu(server.port, *EVERYTHING, f"{STEP}ScheduledProcedureStepStartDate=20260230", directory=tmp_path)
    assert found.matches == []
    assert "DataSetDoesNotMatchSOPClass" in found.words, found.words


@pytest.mark.parametrize("options", [("-x=",), ("-xi",), ("-xb",), ("-pdu", "4096"), ("-pdu", "131072")])
def test_findscu_in_every_transfer_syntax_and_pdu_size(
    server: DicomServer, order: Order, tmp_path: Path, options: tuple[str, ...]
) -> None:
    # With -xb DCMTK prefers Big Endian, which we do not offer, and falls back to what it proposes beside it.
    found = findscu(server.port, *EVERYTHING, directory=tmp_path, options=options)
    assert len(found.matches) == 1, found.words


def test_findscu_cancels_after_the_first_of_many(server: DicomServer, store: Store, tmp_path: Path) -> None:
    for _ in range(30):
        store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    found = findscu(server.port, *EVERYTHING, directory=tmp_path, options=("--cancel", "1"))
    assert len(found.matches) <= 30
    assert echo.echo("WORKLIST", "127.0.0.1", server.port, "XRAY_14").ok


def test_a_modality_reports_a_study_from_begin_to_end(server: DicomServer, store: Store, order: Order) -> None:
    with associated(server.port, ModalityPerformedProcedureStep) as assoc:
        status, _ = assoc.send_n_create(creation(order.study_instance_uid), ModalityPerformedProcedureStep, "1.2.3")
        assert status.Status == Status.SUCCESS
        status, _ = assoc.send_n_set(ending(), ModalityPerformedProcedureStep, "1.2.3")
        assert status.Status == Status.SUCCESS
        status, _ = assoc.send_n_set(ending("DISCONTINUED"), ModalityPerformedProcedureStep, "1.2.3")
        assert (status.Status, status.ErrorID) == (Status.PROCESSING_FAILURE, 0xA710)
        status, _ = assoc.send_n_set(ending(), ModalityPerformedProcedureStep, "9.9.9")
        assert status.Status == Status.NO_SUCH_SOP_INSTANCE
        status, _ = assoc.send_n_create(creation(PatientID="2"), ModalityPerformedProcedureStep, "1.2.3")
        assert status.Status == Status.DUPLICATE_SOP_INSTANCE
    with store.read() as reader:
        done = orders.get(reader, order.id)
    assert done is not None
    assert done.state is OrderState.COMPLETED


def test_a_uid_that_we_made_goes_back_to_the_device(server: DicomServer, store: Store) -> None:
    with associated(server.port, ModalityPerformedProcedureStep) as assoc:
        status, _ = assoc.send_n_create(creation(), ModalityPerformedProcedureStep, None)
        assert status.Status == Status.SUCCESS
    with store.read() as reader:
        assert str(reader.value("SELECT sop_instance_uid FROM performed_step")).startswith(CLINIC.uid_root)


def test_unknown_callers_are_rejected_with_the_right_reason(server: DicomServer, store: Store) -> None:
    result = echo.echo("WORKLIST", "127.0.0.1", server.port, "STRANGER")
    assert not result.ok
    assert "Calling AE title not recognised" in result.words
    result = echo.echo("OTHER", "127.0.0.1", server.port, "XRAY_14")
    assert "Called AE title not recognised" in result.words
    store.write(lambda tx: devices.put(tx, Device("CT_1", "КТ", "CT", address="10.9.9.9")))
    assert not echo.echo("WORKLIST", "127.0.0.1", server.port, "CT_1").ok  # known, but from another address


def test_all_callers_are_rejected_while_the_registry_cannot_be_read(
    server: DicomServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(store, "read", fail)
    assert "Temporary congestion" in echo.echo("WORKLIST", "127.0.0.1", server.port, "STRANGER").words
    monkeypatch.undo()
    assert echo.echo("WORKLIST", "127.0.0.1", server.port, "XRAY_14").ok


def test_unknown_callers_are_learned_where_the_clinic_wants_it(store: Store) -> None:
    with serving(store, unknown_devices="learn") as server:
        assert echo.echo("WORKLIST", "127.0.0.1", server.port, "NEW_CT").ok
        store.write(lambda tx: None)
        with store.read() as reader:
            learned = devices.get(reader, "NEW_CT")
    assert learned is not None
    assert not learned.approved


@pytest.mark.parametrize("garbage", [b"\xff" * 50, b"GET / HTTP/1.1\r\n\r\n", b"\x08\x00"])
def test_an_identifier_that_is_not_a_dataset_never_brings_a_list(
    server: DicomServer, order: Order, garbage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_, **__: garbage)  # the client's encoder
    with associated(server.port, ModalityWorklistInformationFind) as assoc:
        answers = list(assoc.send_c_find(Dataset(), ModalityWorklistInformationFind))
    refusals = (Status.IDENTIFIER_DOES_NOT_MATCH, Status.UNABLE_TO_PROCESS)
    assert [status.Status in refusals for status, _ in answers] == [True]


def test_patients_never_appear_in_the_log(
    server: DicomServer, order: Order, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "broker")
    caplog.set_level("INFO", "pynetdicom")
    findscu(server.port, *EVERYTHING, "PatientName=Кузнецова*", directory=tmp_path)
    with associated(server.port, ModalityPerformedProcedureStep) as assoc:
        assoc.send_n_create(creation(order.study_instance_uid), ModalityPerformedProcedureStep, "1.2.3")
    assert "worklist query of XRAY_14" in caplog.text
    assert "Кузнецова" not in caplog.text
