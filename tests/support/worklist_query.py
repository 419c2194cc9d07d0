"""Queries of a modality to the worklist, and their answers without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset


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
