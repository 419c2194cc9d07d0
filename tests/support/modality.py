"""What a modality reports by MPPS, and what the broker makes of it without a network."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from broker.dicom.codec import json_model
from broker.dicom.devices.registry import Caller, KnownDevices
from broker.dicom.mpps import service
from broker.domain.clinic.devices import Device
from broker.domain.clinic.settings import Clinic
from broker.store.database import Store
from broker.store.tables import devices
from tests.support import factory
from tests.support.factory import CLINIC

CALLER = Caller("XRAY_14", "10.0.0.1")


def creation(study_instance_uid: Any = "1.9.9", **changes: Any) -> Dataset:
    """Make what a modality sends when it begins, as the standard wants it; a change to None takes the attribute out."""
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ScheduledStepAttributesSequence": [scheduled(study_instance_uid)],
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
        "PerformedProcedureStepDiscontinuationReasonCodeSequence": [],
        "Modality": "DX",
        "StudyID": "",
        "PerformedProtocolCodeSequence": [],
        "PerformedSeriesSequence": [],
    }
    return dataset(values | changes)


def scheduled(study_instance_uid: Any = "1.9.9", **changes: Any) -> Dataset:
    """Make an item of the Scheduled Step Attributes Sequence; without changes it is a walk-in's."""
    values = {
        "StudyInstanceUID": study_instance_uid,
        "ReferencedStudySequence": [],
        "AccessionNumber": "",
        "RequestedProcedureID": "",
        "RequestedProcedureDescription": "",
        "ScheduledProcedureStepID": "",
        "ScheduledProcedureStepDescription": "",
        "ScheduledProtocolCodeSequence": [],
    }
    return dataset(values | changes)


def ending(status: Any = "COMPLETED", **changes: Any) -> Dataset:
    """Make what a modality sends when it has ended, as the standard wants it."""
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PerformedProcedureStepStatus": status,
        "PerformedProcedureStepEndDate": "20261124",
        "PerformedProcedureStepEndTime": "093400",
        "PerformedSeriesSequence": [series()],
    }
    return dataset(values | changes)


def series(images: int = 2, **changes: Any) -> Dataset:
    """Make an item of the Performed Series Sequence."""
    values = {
        "PerformingPhysicianName": "",
        "ProtocolName": "KNEE AP",
        "OperatorsName": "Юдин^К",
        "SeriesInstanceUID": "1.9.9.1",
        "SeriesDescription": "Колено",
        "RetrieveAETitle": "",
        "ReferencedImageSequence": [
            dataset(
                {"ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "ReferencedSOPInstanceUID": f"1.9.9.1.{n}"}
            )
            for n in range(1, images + 1)
        ],
        "ReferencedNonImageCompositeSOPInstanceSequence": [],
    }
    return dataset(values | changes)


def code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    """Make an item of a code sequence."""
    return dataset({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})


def dataset(values: Mapping[str, Any]) -> Dataset:
    """Make a dataset by keywords; None leaves an attribute out."""
    ds = Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def strict(store: Store) -> None:
    """Let the X-ray's messages be refused where they break the standard."""
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], strict_mpps=True, for_others=True)))


def notes(store: Store) -> dict[str, str]:
    """Return what was noted of the X-ray: kind -> text."""
    store.write(lambda tx: None)  # everything that was queued before is written now
    with store.read() as reader:
        return {note.kind: note.text for note in devices.notes(reader).get("XRAY_14", [])}


def on_the_wire(ds: Dataset) -> dict[str, Any]:
    """Send a dataset and read it as the port does."""
    if "SpecificCharacterSet" not in ds:
        ds = copy(ds)
        ds.SpecificCharacterSet = "ISO_IR 192"
    data = encode(ds, False, True)
    assert data is not None
    return json_model.read(data, False)


def registered(store: Store, caller: Caller) -> Device:
    """Return the device as the port hands it over."""
    return KnownDevices(store).or_default(caller.ae_title)


def create(store: Store, ds: Dataset, uid: str = "1.2.3", caller: Caller = CALLER) -> Dataset:
    return begin(store, ds, uid, caller)[0]


def begin(store: Store, ds: Dataset, uid: str, caller: Caller = CALLER, clinic: Clinic = CLINIC) -> tuple[Dataset, str]:
    pending = service.create(on_the_wire(ds), uid, caller, registered(store, caller), clinic)
    return pending.status(pending.submit(store)), pending.uid


def change(store: Store, ds: Dataset, uid: str = "1.2.3", caller: Caller = CALLER) -> Dataset:
    pending = service.change(on_the_wire(ds), uid, caller, registered(store, caller), CLINIC)
    return pending.status(pending.submit(store))


def outcomes(store: Store) -> list[str]:
    with store.read() as reader:
        return [row["outcome"] for row in reader.rows("SELECT outcome FROM performed_step_message ORDER BY id")]
