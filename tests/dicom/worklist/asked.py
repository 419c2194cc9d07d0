"""A worklist that is asked without a network."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from broker.dicom.devices.registry import Caller
from broker.dicom.statuses import Status
from broker.dicom.worklist.service import FindResponse
from broker.domain.orders import Order
from broker.domain.patients.people import Patient
from broker.store.database import Store
from broker.workflow.referrals import referrals
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft
from tests.support.worklist_query import find


def register(store: Store, patient: Patient = KUZNETSOVA, **changes: Any) -> Order:
    return store.write(referrals.register, draft(patient=patient, **changes), REGISTRAR, CLINIC)


def query(step: dict[str, Any] | None = None, **keys: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in {"PatientName": "", "AccessionNumber": "", **keys}.items():
        setattr(ds, keyword, value)
    item = Dataset()
    for keyword, value in (step or {"ScheduledProcedureStepID": ""}).items():
        setattr(item, keyword, value)
    ds.ScheduledProcedureStepSequence = [item]
    return ds


def ask(store: Store, ds: Dataset, ae_title: str = "XRAY_14") -> list[FindResponse[Dataset]]:
    return list(find(ds, Caller(ae_title, "10.0.0.1"), store, CLINIC, "Клиника"))


def numbers(answers: list[FindResponse[Dataset]]) -> list[str]:
    assert answers[-1].status.Status == Status.SUCCESS
    return [str(answer.identifier.AccessionNumber) for answer in answers if answer.identifier is not None]
