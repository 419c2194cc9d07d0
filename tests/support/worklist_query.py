"""Queries of a modality to the worklist, and their answers without a network."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from pydicom.dataset import Dataset

from broker.dicom.devices.registry import Caller
from broker.dicom.worklist import response, service
from broker.dicom.worklist.service import FindResponse, ResponseRecorder
from broker.domain.clinic.settings import Clinic
from broker.store.database import Store


def identifier(step: Mapping[str, Any] | None = None, **keys: Any) -> Dataset:
    ds, item = Dataset(), Dataset()
    for part, values in ((ds, {"PatientName": "", **keys}), (item, step or {"ScheduledProcedureStepID": ""})):
        for keyword, value in values.items():
            setattr(part, keyword, value)
    ds.ScheduledProcedureStepSequence = [item]
    return ds


def code(**keys: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def find(
    query: Dataset, caller: Caller, store: Store, clinic: Clinic, institution: str = "", *, noted: bool = True
) -> Generator[FindResponse[Dataset], None, None]:
    """Ask the worklist for datasets, as they are before they are encoded."""
    return service.find(query, caller, store, clinic, ResponseRecorder(response.identifier), institution, noted=noted)
