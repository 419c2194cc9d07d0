"""N-CREATE and N-SET are answered by the standard's statuses; success only for what is in the database."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom import mpps
from broker.dicom.statuses import MAY_NO_LONGER_BE_UPDATED, Status
from broker.dicom.worklist import Caller
from broker.domain.identifiers import valid_uid
from broker.domain.model import Order, OrderState
from broker.store import orders, performed
from broker.store.database import Store, StoreError
from broker.workflow import procedure, referral
from tests import factory
from tests.factory import CLINIC, REGISTRAR

CALLER = Caller("XRAY_14", "10.0.0.1")


@pytest.fixture
def order(store: Store) -> Order:
    return referral.register(store, factory.draft(), REGISTRAR, CLINIC)


def creation(study_instance_uid: str = "1.9.9", **changes: Any) -> Dataset:
    """Make what a modality sends when it begins; a change to None takes the attribute out."""
    ds = Dataset()
    item = Dataset()
    item.StudyInstanceUID = study_instance_uid
    item.AccessionNumber = ""
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ScheduledStepAttributesSequence": [item],
        "PatientName": "Кузнецова^Марина",
        "PatientID": "000001",
        "PerformedProcedureStepID": "PPS1",
        "PerformedStationAETitle": "XRAY_14",
        "PerformedProcedureStepStartDate": "20261124",
        "PerformedProcedureStepStartTime": "093000",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "Modality": "DX",
        **changes,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def ending(status: str = "COMPLETED", **changes: Any) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PerformedProcedureStepStatus = status
    ds.PerformedProcedureStepEndDate = "20261124"
    ds.PerformedProcedureStepEndTime = "093400"
    series = Dataset()
    series.OperatorsName = "Юдин^К"
    series.ReferencedImageSequence = [Dataset(), Dataset()]
    ds.PerformedSeriesSequence = [series]
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def create(store: Store, ds: Dataset, uid: str = "1.2.3") -> Dataset:
    return mpps.create(ds, uid, CALLER, store, CLINIC)[0]


def change(store: Store, ds: Dataset, uid: str = "1.2.3") -> Dataset:
    return mpps.change(ds, uid, CALLER, store, CLINIC)


def state(store: Store, order: Order) -> OrderState:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found.state


def test_a_study_runs_its_course(store: Store, order: Order) -> None:
    assert create(store, creation(order.study_instance_uid)).Status == Status.SUCCESS
    assert state(store, order) is OrderState.IN_PROGRESS
    assert change(store, Dataset()).Status == Status.SUCCESS  # legal, and says nothing
    assert change(store, ending()).Status == Status.SUCCESS
    assert state(store, order) is OrderState.COMPLETED
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
    assert step is not None
    assert (step.operator, step.images, f"{step.end:%H:%M}") == ("Юдин К", 2, "09:34")


@pytest.mark.parametrize("keyword", mpps.CREATE_TYPE_1)
def test_a_missing_type_1_attribute_is_0120_and_an_empty_one_0121(store: Store, order: Order, keyword: str) -> None:
    answered = create(store, creation(order.study_instance_uid, **{keyword: None}))
    assert (answered.Status, answered.OffendingElement) == (Status.MISSING_ATTRIBUTE, Tag(keyword))
    empty = [] if keyword.endswith("Sequence") else ""
    answered = create(store, creation(order.study_instance_uid, **{keyword: empty}))
    assert (answered.Status, answered.OffendingElement) == (Status.MISSING_ATTRIBUTE_VALUE, Tag(keyword))
    assert state(store, order) is OrderState.SCHEDULED
    with store.read() as reader:  # what could not be used is kept for people to see
        kept = reader.rows("SELECT outcome FROM performed_step_message")
    assert [row["outcome"] for row in kept] == ["refused", "refused"]


def test_a_step_may_only_begin_in_progress(store: Store) -> None:
    answered = create(store, creation(PerformedProcedureStepStatus="COMPLETED"))
    assert answered.Status == Status.INVALID_ATTRIBUTE_VALUE
    assert create(store, creation()).Status == Status.SUCCESS
    assert change(store, ending("DONE")).Status == Status.INVALID_ATTRIBUTE_VALUE


def test_a_retry_is_0000_and_other_content_0111(store: Store) -> None:
    assert create(store, creation()).Status == Status.SUCCESS
    assert create(store, creation()).Status == Status.SUCCESS
    assert create(store, creation(PatientID="2")).Status == Status.DUPLICATE_SOP_INSTANCE


def test_an_unknown_step_is_0112(store: Store) -> None:
    assert change(store, ending()).Status == Status.NO_SUCH_SOP_INSTANCE


def test_a_final_step_is_0110_with_error_id_a710(store: Store) -> None:
    create(store, creation())
    change(store, ending())
    assert change(store, ending()).Status == Status.SUCCESS  # the same once more: our answer was lost
    answered = change(store, ending("DISCONTINUED"))
    assert (answered.Status, answered.ErrorID) == (Status.PROCESSING_FAILURE, MAY_NO_LONGER_BE_UPDATED)
    assert len(answered.ErrorComment) <= 64


def test_a_uid_is_made_where_the_device_sent_none(store: Store) -> None:
    answered, uid = mpps.create(creation(), "", CALLER, store, CLINIC)
    assert answered.Status == Status.SUCCESS
    assert valid_uid(uid)
    assert change(store, ending(), uid).Status == Status.SUCCESS


def test_what_may_not_be_changed_stays_as_created(store: Store) -> None:
    create(store, creation())
    change(store, ending(PatientID="666", Modality="CT"))
    with store.read() as reader:
        merged = performed.attributes(reader, "1.2.3")
    assert merged["00100020"]["Value"] == ["000001"]
    assert merged["00080060"]["Value"] == ["DX"]
    assert merged["00400252"]["Value"] == ["COMPLETED"]


def test_a_reason_for_giving_up_is_kept(store: Store) -> None:
    create(store, creation())
    reason = Dataset()
    reason.CodeValue, reason.CodingSchemeDesignator, reason.CodeMeaning = "110501", "DCM", "Equipment failure"
    change(store, ending("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=[reason]))
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
    assert step is not None
    assert (step.discontinuation_code, step.discontinuation_meaning) == ("110501", "Equipment failure")


def test_a_database_that_refuses_is_0213_never_success(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(procedure, "start", full)
    assert create(store, creation()).Status == Status.RESOURCE_LIMITATION


def test_odd_values_do_not_break_the_answer(store: Store) -> None:
    odd = creation(PerformedProcedureStepStartDate="tomorrow", PatientName="\\", Modality="D" * 40)
    assert create(store, odd).Status == Status.SUCCESS
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
    assert step is not None
    assert step.start is None
