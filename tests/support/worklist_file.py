"""Worklist files as scripts write them, for tests."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

STEP_KEYWORDS = (
    "Modality",
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepID",
)


def dataset(**changes: Any) -> Dataset:
    """Make a worklist item; `changes` are keywords of either level, None takes one away."""
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "AccessionNumber": "A1",
        "PatientName": "Кузнецова^Марина^Петровна",
        "PatientID": "P1",
        "PatientBirthDate": "19610312",
        "PatientSex": "F",
        "StudyInstanceUID": "1.2.3.1",
        "RequestedProcedureDescription": "Рентгенография кисти",
        "RequestedProcedureID": "R1",
        "Modality": "DX",
        "ScheduledStationAETitle": "XRAY_14",
        "ScheduledProcedureStepStartDate": "20261124",
        "ScheduledProcedureStepStartTime": "101500",
        "ScheduledProcedureStepDescription": "Рентгенография кисти",
        "ScheduledProcedureStepID": "S1",
        **changes,
    }
    ds, step = Dataset(), Dataset()
    for keyword, value in values.items():
        in_step = keyword in STEP_KEYWORDS or keyword.startswith(("Scheduled", "CommentsOn", "PreMed"))
        if value is not None:
            setattr(step if in_step else ds, keyword, value)
    ds.ScheduledProcedureStepSequence = [step]
    return ds


def written(ds: Dataset, implicit: bool = False) -> bytes:
    """Write a dataset in DICOM's file format."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    whole = Dataset()
    whole.update(ds)
    whole.file_meta = meta
    file = BytesIO()
    dcmwrite(file, whole, enforce_file_format=True)
    return file.getvalue()


def wl(**changes: Any) -> bytes:
    """Make a worklist file's bytes."""
    return written(dataset(**changes))
