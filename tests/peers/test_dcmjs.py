"""A modality that is not built on pynetdicom: npm's dcmjs-dimse asks the worklist and reports what it did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.dicom.server import DicomServer
from broker.dicom.statuses import MAY_NO_LONGER_BE_UPDATED, Status
from broker.domain.orders import Order, OrderState
from broker.store.database import Store
from broker.store.tables import orders
from broker.store.tables.studies import performed
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.modality import strict
from tests.support.port import serving

pytestmark = pytest.mark.slow

CLIENT = Path(__file__).parent / "dcmjs"
IMAGE = "1.2.840.10008.5.1.4.1.1.1.1"


def node() -> str:
    """Return Node's path; without it or the package the test is skipped, in CI it fails."""
    found = shutil.which("node")
    lacking = "" if found else "node is missing: apt-get install nodejs npm"
    if found and not (CLIENT / "node_modules" / "dcmjs-dimse").is_dir():
        lacking = "dcmjs-dimse is missing: npm ci --prefix tests/peers/dcmjs"
    if lacking:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lacking)
    return str(found)


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)


def send(server: DicomServer, *requests: dict[str, Any], calling: str = "XRAY_14") -> list[dict[str, Any]]:
    """Send requests over one association; give the answers."""
    asked = {"host": "127.0.0.1", "port": server.port, "calling": calling, "called": "WORKLIST", "requests": requests}
    done = subprocess.run(
        [node(), str(CLIENT / "client.js")],
        input=json.dumps(asked).encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    result = json.loads(done.stdout)
    assert result["error"] == "", result
    answers: list[dict[str, Any]] = result["answers"]
    return answers


def creation(study_instance_uid: str, **changes: Any) -> dict[str, Any]:
    """Make what a modality sends when it begins, in dcmjs' naturalised form."""
    scheduled = {
        "StudyInstanceUID": study_instance_uid,
        "ReferencedStudySequence": [],
        "AccessionNumber": "",
        "RequestedProcedureID": "",
        "RequestedProcedureDescription": "",
        "ScheduledProcedureStepID": "",
        "ScheduledProcedureStepDescription": "",
        "ScheduledProtocolCodeSequence": [],
    }
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "ScheduledStepAttributesSequence": [scheduled],
        "PatientName": "Кузнецова^Марина",
        "PatientID": "000001",
        "PatientBirthDate": "19610312",
        "PatientSex": "F",
        "ReferencedPatientSequence": [],
        "PerformedProcedureStepID": "PPS1",
        "PerformedStationAETitle": "XRAY_14",
        "PerformedStationName": "",
        "PerformedLocation": "",
        "PerformedProcedureStepStartDate": "20261124",
        "PerformedProcedureStepStartTime": "093000",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "PerformedProcedureStepDescription": "",
        "PerformedProcedureTypeDescription": "",
        "ProcedureCodeSequence": [],
        "PerformedProcedureStepEndDate": "",
        "PerformedProcedureStepEndTime": "",
        "Modality": "DX",
        "StudyID": "",
        "PerformedProtocolCodeSequence": [],
        "PerformedSeriesSequence": [],
        **changes,
    }


def ending(status: str = "COMPLETED") -> dict[str, Any]:
    series = {
        "PerformingPhysicianName": "",
        "ProtocolName": "KNEE AP",
        "OperatorsName": "Юдин^К",
        "SeriesInstanceUID": "1.9.9.1",
        "SeriesDescription": "Колено",
        "RetrieveAETitle": "",
        "ReferencedImageSequence": [
            {"ReferencedSOPClassUID": IMAGE, "ReferencedSOPInstanceUID": f"1.9.9.1.{number}"} for number in (1, 2)
        ],
        "ReferencedNonImageCompositeSOPInstanceSequence": [],
    }
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PerformedProcedureStepStatus": status,
        "PerformedProcedureStepEndDate": "20261124",
        "PerformedProcedureStepEndTime": "093400",
        "PerformedSeriesSequence": [series],
    }


def state(store: Store, order: Order) -> OrderState:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found.state


def test_its_contact_is_noted_and_it_finds_its_patient_by_station_date_and_name(
    server: DicomServer, order: Order
) -> None:
    keys = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "кузнецова*",
        "PatientID": "",
        "AccessionNumber": "",
        "StudyInstanceUID": "",
        "ScheduledProcedureStepSequence": [
            {
                "ScheduledStationAETitle": "XRAY_14",
                "ScheduledProcedureStepStartDate": f"{factory.soon():%Y%m%d}",
                "ScheduledProcedureStepID": "",
            }
        ],
    }
    echo, found = send(server, {"service": "echo"}, {"service": "worklist", "keys": keys})
    assert echo["status"] == Status.SUCCESS
    assert found["status"] == Status.SUCCESS
    [item] = found["datasets"]
    assert item["AccessionNumber"] == order.accession_number
    assert item["StudyInstanceUID"] == order.study_instance_uid
    assert "Кузнецова^Марина^Петровна" in json.dumps(item["PatientName"], ensure_ascii=False)


def test_it_reports_a_study_to_a_strict_policy_from_begin_to_end(
    server: DicomServer, store: Store, order: Order
) -> None:
    strict(store)
    begin = {"service": "create", "uid": "1.2.3", "attributes": creation(order.study_instance_uid)}
    end = {"service": "set", "uid": "1.2.3", "attributes": ending()}
    assert [answer["status"] for answer in send(server, begin, begin, end, end)] == [Status.SUCCESS] * 4
    assert state(store, order) is OrderState.COMPLETED
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
        kept = [row["outcome"] for row in reader.rows("SELECT outcome FROM performed_step_message ORDER BY id")]
        assert step is not None
        [series] = performed.series(reader, step.stored_id)
    assert kept == ["accepted", "repeated", "accepted", "repeated"]
    assert (step.patient_name, step.operator, step.images) == ("Кузнецова^Марина", "Юдин К", 2)
    assert (series.description, series.images) == ("Колено", 2)


def test_errors_are_reported(server: DicomServer, store: Store, order: Order) -> None:
    uid = "1.2.3"
    begin = {"service": "create", "uid": uid, "attributes": creation(order.study_instance_uid)}
    other = {"service": "create", "uid": uid, "attributes": creation(order.study_instance_uid, PatientID="2")}
    done = {
        "service": "create",
        "uid": "1.2.4",
        "attributes": creation("1.9", PerformedProcedureStepStatus="COMPLETED"),
    }
    end = {"service": "set", "uid": uid, "attributes": ending()}
    stop = {"service": "set", "uid": uid, "attributes": ending("DISCONTINUED")}
    unknown = {"service": "set", "uid": "9.9", "attributes": ending()}
    answers = send(server, begin, other, done, end, stop, unknown)
    assert [answer["status"] for answer in answers] == [
        Status.SUCCESS,
        Status.DUPLICATE_SOP_INSTANCE,
        Status.INVALID_ATTRIBUTE_VALUE,
        Status.SUCCESS,
        Status.PROCESSING_FAILURE,
        Status.NO_SUCH_SOP_INSTANCE,
    ]
    assert "may no longer be updated" in answers[4]["comment"]
    assert MAY_NO_LONGER_BE_UPDATED == 0xA710
    strict(store)
    lacking = {"service": "create", "uid": "1.2.5", "attributes": creation("")}
    [answer] = send(server, lacking)
    assert (answer["status"], "StudyInstanceUID is empty" in answer["comment"]) == (
        Status.MISSING_ATTRIBUTE_VALUE,
        True,
    )


def test_it_gets_a_uid_where_it_has_none_and_the_step_back(server: DicomServer, store: Store, order: Order) -> None:
    [begun_at] = send(server, {"service": "create", "uid": "", "attributes": creation(order.study_instance_uid)})
    assert begun_at["status"] == Status.SUCCESS
    with store.read() as reader:
        made = reader.value("SELECT sop_instance_uid FROM performed_step")
    assert begun_at["uid"] == made
    got, unknown = send(
        server,
        {"service": "get", "uid": made, "keywords": ["PatientID", "PerformedProcedureStepStatus"]},
        {"service": "get", "uid": "9.9", "keywords": ["PatientID"]},
    )
    assert got["status"] == Status.SUCCESS
    assert got["datasets"][0]["PatientID"] == "000001"
    assert got["datasets"][0]["PerformedProcedureStepStatus"] == "IN PROGRESS"
    assert unknown["status"] == Status.NO_SUCH_SOP_INSTANCE
