"""N-CREATE and N-SET are answered by the standard's statuses; success only for what is in the database."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom.devices.registry import Caller
from broker.dicom.mpps import parsing
from broker.dicom.mpps import rules as mpps_rules
from broker.dicom.statuses import MAY_NO_LONGER_BE_UPDATED, Status
from broker.domain.orders import Order, OrderState
from broker.domain.patients.identifiers import valid_uid
from broker.domain.studies.step_rules import Rule
from broker.store.database import Store, StoreError
from broker.store.queries import board
from broker.store.tables import devices, orders
from broker.store.tables.studies import performed
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.modality import (
    begin,
    change,
    code,
    create,
    creation,
    dataset,
    ending,
    notes,
    outcomes,
    scheduled,
    series,
    strict,
)


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)


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


TYPE_1 = [rule.keyword for rule in mpps_rules.RULES if rule.create == "1"]
TYPE_2 = [rule.keyword for rule in mpps_rules.RULES if rule.create == "2"]
STATUS = "PerformedProcedureStepStatus"


def empty(keyword: str) -> Any:
    return [] if keyword.endswith("Sequence") else ""


def test_what_keeps_to_the_standard_is_taken_by_a_strict_policy_without_a_note(store: Store, order: Order) -> None:
    strict(store)
    reason = code("110501", "Equipment failure")
    assert create(store, creation(order.study_instance_uid)).Status == Status.SUCCESS
    assert change(store, dataset({"PerformedProcedureStepDescription": "Колено"})).Status == Status.SUCCESS
    sequence = "PerformedProcedureStepDiscontinuationReasonCodeSequence"
    assert change(store, ending("DISCONTINUED", **{sequence: [reason]})).Status == Status.SUCCESS
    assert notes(store) == {}


@pytest.mark.parametrize("keyword", TYPE_1)
def test_strict_a_missing_type_1_attribute_is_0120_and_an_empty_one_0121(
    store: Store, order: Order, keyword: str
) -> None:
    strict(store)
    answered = create(store, creation(order.study_instance_uid, **{keyword: None}))
    assert (answered.Status, keyword in answered.ErrorComment) == (Status.MISSING_ATTRIBUTE, True)
    answered = create(store, creation(order.study_instance_uid, **{keyword: empty(keyword)}))
    assert (answered.Status, keyword in answered.ErrorComment) == (Status.MISSING_ATTRIBUTE_VALUE, True)
    assert state(store, order) is OrderState.SCHEDULED
    assert outcomes(store) == ["refused", "refused"]  # kept for people to see
    with store.read() as reader:
        assert [each.outcome for each in board.orphans(reader, order.authored_on)] == ["refused"]


@pytest.mark.parametrize("keyword", [keyword for keyword in TYPE_1 if keyword != STATUS])
def test_tolerant_a_step_is_kept_with_what_is_there_and_the_lack_is_noted(store: Store, keyword: str) -> None:
    assert create(store, creation(**{keyword: None})).Status == Status.SUCCESS
    assert f"{keyword} is missing" in notes(store)["mpps_create"]
    assert create(store, creation(**{keyword: empty(keyword)}), "1.2.4").Status == Status.SUCCESS
    assert f"{keyword} is empty" in notes(store)["mpps_create"]
    with store.read() as reader:
        assert performed.get(reader, "1.2.3") is not None
        assert performed.get(reader, "1.2.4") is not None


@pytest.mark.parametrize("keyword", TYPE_2)
def test_a_missing_type_2_attribute_is_refused_only_by_a_strict_policy(store: Store, keyword: str) -> None:
    assert create(store, creation(**{keyword: None})).Status == Status.SUCCESS
    assert f"{keyword} is missing" in notes(store)["mpps_create"]
    strict(store)
    assert create(store, creation(**{keyword: None}), "1.2.4").Status == Status.MISSING_ATTRIBUTE
    assert create(store, creation(**{keyword: empty(keyword)}), "1.2.5").Status == Status.SUCCESS


def test_what_an_item_of_a_sequence_lacks_is_found(store: Store) -> None:
    strict(store)
    for item, status, word in (
        (scheduled(""), Status.MISSING_ATTRIBUTE_VALUE, "StudyInstanceUID is empty"),
        (scheduled(AccessionNumber=None), Status.MISSING_ATTRIBUTE, "AccessionNumber is missing"),
        (scheduled(ReferencedStudySequence=[Dataset()]), Status.MISSING_ATTRIBUTE, "> ReferencedStudySequence"),
        (scheduled(ScheduledProtocolCodeSequence=[code("X1", "")]), Status.MISSING_ATTRIBUTE_VALUE, "Scheduled"),
    ):
        answered = create(store, creation(ScheduledStepAttributesSequence=[item]))
        assert (answered.Status, word in answered.ErrorComment) == (status, True), answered
    long = dataset({"LongCodeValue": "X" * 20, "CodingSchemeDesignator": "99WLB", "CodeMeaning": "long"})
    urn = dataset({"URNCodeValue": "urn:oid:1.2", "CodeMeaning": "urn"})
    item = scheduled(ScheduledProtocolCodeSequence=[long, urn])
    assert create(store, creation(ScheduledStepAttributesSequence=[item])).Status == Status.SUCCESS


def test_without_a_status_nothing_can_be_done(store: Store) -> None:
    assert create(store, creation(**{STATUS: None})).Status == Status.MISSING_ATTRIBUTE
    assert create(store, creation(**{STATUS: ""})).Status == Status.MISSING_ATTRIBUTE_VALUE
    assert create(store, dataset({STATUS: "IN PROGRESS"})).Status == Status.MISSING_ATTRIBUTE  # nothing else
    assert create(store, dataset({STATUS: "IN PROGRESS", "PatientID": "7"})).Status == Status.SUCCESS


@pytest.mark.parametrize("policy", ["strict", "tolerant"])
def test_a_step_may_only_begin_in_progress(store: Store, policy: str) -> None:
    if policy == "strict":
        strict(store)
    for wrong in ("COMPLETED", "DISCONTINUED", "in progress"):
        answered = create(store, creation(**{STATUS: wrong}))
        assert answered.Status == Status.INVALID_ATTRIBUTE_VALUE
    assert create(store, creation()).Status == Status.SUCCESS
    answered = change(store, ending("DONE"))
    assert (answered.Status, answered.AttributeIdentifierList) == (Status.INVALID_ATTRIBUTE_VALUE, Tag(STATUS))


def test_strict_a_step_may_not_be_made_another_one(store: Store) -> None:
    strict(store)
    create(store, creation())
    answered = change(store, ending(PatientID="666"))
    assert (answered.Status, answered.AttributeIdentifierList) == (
        Status.INVALID_ATTRIBUTE_VALUE,
        Tag("PatientID"),
    )
    answered = change(store, ending(CommentsOnThePerformedProcedureStep="never created"))
    assert answered.Status == Status.NO_SUCH_ATTRIBUTE
    assert change(store, ending(PatientID="000001", Modality="DX")).Status == Status.SUCCESS  # says the same again


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"PerformedProcedureStepEndDate": None}, "PerformedProcedureStepEndDate is empty"),
        ({"PerformedProcedureStepEndTime": ""}, "PerformedProcedureStepEndTime is empty"),
        ({"PerformedSeriesSequence": []}, "PerformedSeriesSequence is empty"),
        ({"PerformedSeriesSequence": [series(ProtocolName="")]}, "ProtocolName is empty"),
        ({"PerformedSeriesSequence": [series(SeriesInstanceUID=None)]}, "SeriesInstanceUID is missing"),
    ],
)
@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED"])
def test_an_unfinished_final_state_is_0121_when_strict_and_noted_when_not(
    store: Store, order: Order, status: str, changes: dict[str, Any], word: str
) -> None:
    strict(store)
    create(store, creation(order.study_instance_uid))
    answered = change(store, ending(status, **changes))
    assert (answered.Status, word in answered.ErrorComment) == (Status.MISSING_ATTRIBUTE_VALUE, True), answered
    assert state(store, order) is OrderState.IN_PROGRESS
    store.write(lambda tx: devices.put(tx, factory.DEVICES[0]))
    assert change(store, ending(status, **changes)).Status == Status.SUCCESS
    assert state(store, order) is OrderState(status.lower())
    assert word in "".join(notes(store).values())


def test_what_was_reported_before_the_end_counts_at_the_end(store: Store) -> None:
    strict(store)
    create(store, creation())
    change(store, dataset({"PerformedSeriesSequence": [series(images=0)]}))  # a series may hold no images
    assert change(store, ending(PerformedSeriesSequence=None)).Status == Status.SUCCESS


def test_a_retry_is_0000_and_other_content_0111(store: Store) -> None:
    assert create(store, creation()).Status == Status.SUCCESS
    assert create(store, creation()).Status == Status.SUCCESS
    assert create(store, creation(PatientID="2")).Status == Status.DUPLICATE_SOP_INSTANCE
    other = Caller("FLG_12", "10.0.0.2")
    assert create(store, creation(), caller=other).Status == Status.DUPLICATE_SOP_INSTANCE
    assert outcomes(store) == ["accepted", "repeated", "duplicate", "duplicate"]  # all of them are kept


def test_a_retry_after_the_end_is_still_a_retry(store: Store, order: Order) -> None:
    between = dataset({"PerformedProcedureStepDescription": "Колено"})
    create(store, creation(order.study_instance_uid))
    change(store, between)
    change(store, ending())
    assert create(store, creation(order.study_instance_uid)).Status == Status.SUCCESS
    assert change(store, between).Status == Status.SUCCESS
    assert change(store, ending()).Status == Status.SUCCESS
    assert state(store, order) is OrderState.COMPLETED
    assert outcomes(store)[3:] == ["repeated"] * 3


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
    answered, uid = begin(store, creation(), "")
    assert answered.Status == Status.SUCCESS
    assert valid_uid(uid)
    assert begin(store, creation(), "")[1] == uid  # a retry is the same step
    assert outcomes(store) == ["accepted", "repeated"]
    assert begin(store, creation(PatientID="2"), "")[1] != uid
    assert change(store, ending(), uid).Status == Status.SUCCESS
    assert valid_uid(begin(store, creation(), "", clinic=replace(CLINIC, uid_root=""))[1])


def test_a_uid_that_is_none_is_0117_only_when_strict(store: Store) -> None:
    assert create(store, creation(), "1.02.x").Status == Status.SUCCESS
    strict(store)
    assert create(store, creation(), "1.03.x").Status == Status.INVALID_SOP_INSTANCE


def test_what_may_not_be_changed_stays_as_created(store: Store) -> None:
    create(store, creation())
    change(store, ending(PatientID="666", Modality="CT"))
    with store.read() as reader:
        merged = performed.attributes(reader, "1.2.3")
    assert merged["00100020"]["Value"] == ["000001"]
    assert merged["00080060"]["Value"] == ["DX"]
    assert merged["00400252"]["Value"] == ["COMPLETED"]
    assert "Modality may not be changed; PatientID may not be changed" in notes(store)["mpps_set"]
    with store.read() as reader:  # the message itself is kept whole
        text = reader.value("SELECT attributes FROM performed_step_message ORDER BY id DESC LIMIT 1")
    assert json.loads(text)["00100020"]["Value"] == ["666"]


def test_a_reason_of_discontinuation_is_stored(store: Store) -> None:
    create(store, creation())
    reason = code("110501", "Equipment failure")
    change(store, ending("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=[reason]))
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
    assert step is not None
    assert (step.discontinuation_code, step.discontinuation_meaning) == ("110501", "Equipment failure")


def test_a_code_of_another_scheme_does_not_pass_for_dicoms(store: Store, order: Order) -> None:
    create(store, creation(order.study_instance_uid))
    reason = code("110514", "Our own words", "99XRAY")
    change(store, ending("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=[reason]))
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
    assert step is not None
    assert step.discontinuation_code == "99XRAY:110514"
    assert state(store, order) is OrderState.DISCONTINUED  # and not as after a wrong worklist entry


def test_a_database_that_refuses_is_0213_never_success(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(
        store, "_commit", lambda db, batch: [job.future.set_exception(StoreError("full")) for job in batch]
    )
    assert create(store, creation()).Status == Status.RESOURCE_LIMITATION
    assert change(store, ending()).Status == Status.RESOURCE_LIMITATION
    monkeypatch.setattr(store, "submit", full)  # or it is closed already
    assert create(store, creation()).Status == Status.RESOURCE_LIMITATION
    assert create(store, Dataset()).Status == Status.RESOURCE_LIMITATION
    assert change(store, Dataset()).Status == Status.RESOURCE_LIMITATION
    assert change(store, ending()).Status == Status.RESOURCE_LIMITATION


def test_odd_values_do_not_break_the_answer(store: Store) -> None:
    odd = creation(PerformedProcedureStepStartDate="tomorrow", PatientName="\\", Modality="D" * 40)
    assert create(store, odd).Status == Status.SUCCESS
    with store.read() as reader:
        step = performed.get(reader, "1.2.3")
    assert step is not None
    assert step.start is None


def test_the_table_names_attributes_that_there_are() -> None:
    def check(rules: tuple[Rule, ...]) -> None:
        for rule in rules:
            assert tag_for_keyword(rule.keyword), rule
            check(rule.items)

    check(mpps_rules.RULES)
    assert not [keyword for keyword in (*parsing.DOSES, *parsing.EXPOSURE_DOSES) if not Tag(keyword)]
