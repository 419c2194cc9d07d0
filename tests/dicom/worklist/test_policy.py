"""Which items a device sees, and how they are told to it: the switches of its record, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom.dataset import Dataset

from broker.dicom.devices.registry import Caller
from broker.dicom.statuses import Status
from broker.dicom.worklist import service
from broker.dicom.worklist.attributes import TOP, AnswerContext
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.devices import Device
from broker.domain.orders import Order, OrderState, ScheduledStep
from broker.domain.patients.people import Patient, PersonName
from broker.domain.studies import passthrough
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.tables import devices, orders
from broker.store.tables.worklist import WorklistItem
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.dicom.codec.encoding import encoded
from tests.support import factory
from tests.support.clock import Clock
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft
from tests.support.worklist_query import code, find, identifier

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)  # noon in the clinic


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite", clock=clock)
    yield opened
    opened.close()


def local(days: float = 0, hour: int = 12, minute: int = 30) -> datetime:
    return datetime(2026, 11, 24, hour, minute) + timedelta(days=days)


def register(store: Store, patient: Patient = KUZNETSOVA, **changes: Any) -> Order:
    changes.setdefault("start", local())
    return store.write(referrals.register, draft(patient=patient, **changes), REGISTRAR, CLINIC)


def setting(store: Store, ae_title: str = "XRAY_14", **changes: Any) -> None:
    with store.read() as reader:
        device = devices.get(reader, ae_title) or Device(ae_title, ae_title, "DX")
    store.write(lambda tx: devices.put(tx, replace(device, **changes)))


def ask(store: Store, ds: Dataset, ae_title: str = "XRAY_14") -> list[Dataset]:
    answers = list(find(ds, Caller(ae_title, "10.0.0.1"), store, CLINIC, "Клиника"))
    assert answers[-1].status.Status == Status.SUCCESS
    return [answer.identifier for answer in answers if answer.identifier is not None]


def seen(store: Store, ae_title: str = "XRAY_14", step: dict[str, Any] | None = None, **keys: Any) -> list[str]:
    return [str(ds.AccessionNumber) for ds in ask(store, identifier(step, **{"AccessionNumber": "", **keys}), ae_title)]


def noted(store: Store, ae_title: str = "XRAY_14") -> dict[str, str]:
    store.write(lambda tx: None)  # what was queued before is committed with or before this
    with store.read() as reader:
        return {note.kind: note.text for note in devices.notes(reader).get(ae_title, [])}


def perform(store: Store, order: Order, by: str, uid: str = "1.2.3", end: PerformedState | None = None) -> None:
    step = factory.performed(uid, StepReference(order.study_instance_uid), ae_title=by, station_ae_title=by)
    actor = Actor(ActorKind.DEVICE, by)
    store.write(performed_steps.start, step, factory.message(uid), actor, CLINIC)
    if end is not None:
        store.write(
            performed_steps.change,
            performed_steps.ChangeRequest(uid, PerformedChange(end), factory.message(uid + "end")),
            actor,
            CLINIC,
        )


# ---- whose items ----


def test_a_device_that_names_no_station_sees_its_own_items_only(store: Store) -> None:
    own = register(store).accession_number
    other = register(store, station_ae_titles=("FLG_12",)).accession_number
    assert seen(store) == [own]
    assert seen(store, step={"ScheduledStationAETitle": ""}) == [own]
    assert seen(store, step={"ScheduledStationAETitle": "*"}) == [own]
    # It may name another one if it may act for others: a workstation beside several devices does.
    setting(store, for_others=True)
    assert seen(store, step={"ScheduledStationAETitle": "FLG_12"}) == [other]
    assert seen(store, step={"ScheduledStationAETitle": "FLG*"}) == [other]
    setting(store, own_only=False)
    assert seen(store) == [own, other]


def test_a_device_that_is_not_registered_has_the_defaults(store: Store) -> None:
    register(store)
    assert seen(store, "STRANGER") == []
    store.write(lambda tx: devices.learn(tx, "NEW_CT", "10.0.0.9"))
    assert seen(store, "NEW_CT") == []
    assert seen(store, "NEW_CT", {"ScheduledStationAETitle": "XRAY_14"}) == []


# ---- which days ----


def test_a_device_sees_the_days_that_it_is_set_to_see(store: Store, clock: Clock) -> None:
    clock.now = NOW - timedelta(days=3)
    older, yesterday = register(store, start=local(-2, 23)), register(store, start=local(-1, 0))
    today, ahead = register(store), register(store, start=local(30, 23))
    beyond = register(store, start=local(31, 0))
    clock.now = NOW
    near = [each.accession_number for each in (yesterday, today, ahead)]
    assert seen(store) == near
    # A query that gives a date may look further ahead, and no further back.
    date = "ScheduledProcedureStepStartDate"
    assert seen(store, step={date: "20200101-20991231"}) == [*near, beyond.accession_number]
    assert seen(store, step={date: f"{local(-2):%Y%m%d}"}) == []
    setting(store, days_before=2, days_after=0)
    assert seen(store) == [older.accession_number, *near[:2]]
    setting(store, days_before=999_999, days_after=9_999_999)
    assert len(seen(store)) == 5


def test_the_day_is_the_clinics_own(store: Store, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)  # half past one of the 25th in Moscow
    night = register(store, start=datetime(2026, 11, 25, 2, 0))
    setting(store, days_before=0, days_after=0)
    assert seen(store) == [night.accession_number]
    assert seen(store, step={"ScheduledProcedureStepStartDate": "20261125"}) == [night.accession_number]


# ---- what has begun or ended ----


def test_completed_items_stay_as_long_as_the_device_wants_them(store: Store, clock: Clock) -> None:
    order, running = register(store), register(store, start=local(minute=45))
    perform(store, running, "XRAY_14", "1.2.4")
    perform(store, order, "XRAY_14", end=PerformedState.COMPLETED)
    assert seen(store) == [running.accession_number]
    setting(store, closed_hours=2)
    assert seen(store) == [order.accession_number, running.accession_number]
    assert seen(store, AccessionNumber=order.accession_number) == [order.accession_number]
    step = {"ScheduledProcedureStepStatus": "COMPLETED"}
    assert seen(store, step=step) == [order.accession_number]
    clock.now += timedelta(hours=2, seconds=1)
    assert seen(store) == [running.accession_number]


def test_an_abandoned_or_cancelled_item_never_stays(store: Store) -> None:
    setting(store, closed_hours=24)
    abandoned, cancelled = register(store), register(store)
    perform(store, abandoned, "XRAY_14", end=PerformedState.DISCONTINUED)
    store.write(referrals.cancel, cancelled.id, cancelled.revision, "", REGISTRAR, CLINIC)
    assert seen(store) == []


def test_an_item_on_several_stations_leaves_the_others_when_one_begins(store: Store) -> None:
    both = ("XRAY_14", "FLG_12")
    order = register(store, station_ae_titles=both)
    assert [seen(store, each) for each in both] == [[order.accession_number]] * 2
    perform(store, order, "FLG_12")
    assert seen(store, "FLG_12") == [order.accession_number]
    assert seen(store) == []
    assert seen(store, AccessionNumber=order.accession_number) == []
    # Who asks in a station's name is that station.
    setting(store, "MAMMO_9", own_only=False)
    assert seen(store, "FLG_12", {"ScheduledStationAETitle": "XRAY_14"}) == []
    assert seen(store, "XRAY_14", {"ScheduledStationAETitle": "FLG_12"}) == [order.accession_number]
    # A screen that is none of the item's stations goes on showing it.
    assert seen(store, "MAMMO_9", {"ScheduledStationAETitle": "*_1*"}) == [order.accession_number]
    # A second device that has begun too, appending to the study, has it again.
    perform(store, order, "XRAY_14", "1.2.4")
    assert seen(store) == [order.accession_number]


def test_an_item_on_one_station_stays_whichever_device_reports_it(store: Store) -> None:
    order = register(store)
    perform(store, order, "MPPS_GATE")
    assert seen(store) == [order.accession_number]


# ---- letters and lengths ----

ASEL = Patient(PersonName("Қасымова", "Әсел", "日"), KUZNETSOVA.birth_date, KUZNETSOVA.sex)
LONG = Patient(PersonName("Константинопольская", "Александра", "Владиславовна"), KUZNETSOVA.birth_date, KUZNETSOVA.sex)


@pytest.mark.parametrize(
    ("policy", "term", "name", "note"),
    [
        ("ISO_IR 192", "ISO_IR 192", "Қасымова^Әсел^日", ""),
        ("auto", "ISO_IR 192", "Қасымова^Әсел^日", ""),
        ("ISO_IR 144", "ISO_IR 144", "Касымова^Асел^?", "3 characters written otherwise"),
        ("latin", None, "Kasymova^Asel^?", "1 characters written otherwise"),
    ],
)
def test_a_name_is_sent_in_the_devices_character_set_and_changes_are_noted(
    store: Store, policy: str, term: str | None, name: str, note: str
) -> None:
    order = register(store, ASEL)
    setting(store, charset=policy)
    [ds] = ask(store, identifier())
    assert (str(ds.PatientName), ds.get("SpecificCharacterSet")) == (name, term)
    assert noted(store) == ({"charset": f"order {order.accession_number}: {note}"} if note else {})


def test_several_orders_make_one_note(store: Store) -> None:
    first, _ = register(store, ASEL), register(store, replace(ASEL, name=PersonName("Әбілова", "Гүл")))
    setting(store, charset="ISO_IR 144")
    for _ in range(2):
        assert len(ask(store, identifier())) == 2
    text = noted(store)["charset"]
    assert text == f"order {first.accession_number}: 3 characters written otherwise, and so for 1 other orders"
    with store.read() as reader:
        assert reader.value("SELECT count FROM device_note") == 2


def test_the_latin_policy_leaves_nothing_but_ascii(store: Store) -> None:
    register(store)
    setting(store, charset="latin", name="Рентген", room="каб. 14")
    ds = Dataset()
    for keyword in ("PatientName", "ReferringPhysicianName", "RequestedProcedureDescription", "InstitutionName"):
        setattr(ds, keyword, "")
    ds.ReasonForTheRequestedProcedure, ds.RequestedProcedureCodeSequence = "", []
    ds.ScheduledProcedureStepSequence = []
    [found] = ask(store, ds)
    assert "SpecificCharacterSet" not in found
    assert str(found.PatientName) == "Kuznetsova^Marina^Petrovna"
    assert str(found).isascii()


def test_names_and_descriptions_are_as_long_as_the_device_shows(store: Store) -> None:
    order = register(store, LONG)
    setting(store, longest=24)
    ds = identifier({"ScheduledProcedureStepDescription": ""}, RequestedProcedureDescription="")
    [found] = ask(store, ds)
    assert str(found.PatientName) == "Константинопольская^А^В"
    assert found.RequestedProcedureDescription == "Рентгенография коленного"
    assert noted(store)["cut"] == f"order {order.accession_number}: 3 texts shortened"
    # What it was shown it may ask for again.
    assert len(ask(store, identifier(PatientName="Константинопольская^А^В"))) == 1
    assert len(ask(store, identifier(PatientName="Константинопольская^Б^В"))) == 0


def test_a_name_of_question_marks_matches_no_patient_and_is_noted(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    register(store)
    assert ask(store, identifier(PatientName="?????????^??????")) == []
    assert "PatientName is question marks only" in caplog.text
    assert "undecodable_name" in noted(store)


# ---- the answer ----


@pytest.mark.parametrize(("zone", "offset"), [("Europe/Moscow", "+0300"), ("Europe/Berlin", "+0100"), ("UTC", "+0000")])
def test_the_clinics_offset_from_utc_is_returned_if_requested(store: Store, zone: str, offset: str) -> None:
    register(store)
    clinic = replace(CLINIC, zone=ZoneInfo(zone))
    query = identifier(TimezoneOffsetFromUTC="")
    answers = list(find(query, Caller("XRAY_14", "10.0.0.1"), store, clinic))
    assert answers[0].identifier is not None
    assert answers[0].identifier.TimezoneOffsetFromUTC == offset
    [ds] = ask(store, identifier())
    assert "TimezoneOffsetFromUTC" not in ds


def test_the_offset_is_that_of_the_items_own_day() -> None:
    attribute = next(each for each in TOP if each.keyword == "TimezoneOffsetFromUTC")
    step = ScheduledStep(datetime(2026, 7, 1, 9, 0), ("XRAY_14",), id=1)
    order = Order(1, "1", "1.2", "1", KUZNETSOVA, OrderState.SCHEDULED, "", "", "DX", (step,), NOW)
    assert attribute.value(WorklistItem(order, step), AnswerContext("X", zone=ZoneInfo("Europe/Berlin"))) == "+0200"
    assert attribute.value(WorklistItem(order, step), AnswerContext("X", zone=ZoneInfo("America/St_Johns"))) == "-0230"


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"CodeValue": "WLB-KNEE"}, 1),
        ({"CodeValue": "WLB-KNEE", "CodingSchemeDesignator": "99WLB"}, 1),
        ({"CodeValue": "WLB-*", "CodeMeaning": ""}, 1),
        ({"CodeValue": "", "CodingSchemeDesignator": ""}, 1),
        ({"CodeValue": "WLB-KNEE", "CodingSchemeDesignator": "DCM"}, 0),
        ({"CodeValue": "OTHER"}, 0),
    ],
)
@pytest.mark.parametrize("within_step", [True, False])
def test_code_sequences_are_matched_and_returned_by_what_is_asked_of_them(
    store: Store, keys: dict[str, str], found: int, within_step: bool
) -> None:
    register(store)
    keyword = "ScheduledProtocolCodeSequence" if within_step else "RequestedProcedureCodeSequence"
    ds = identifier({keyword: [code(**keys)]}) if within_step else identifier(None, **{keyword: [code(**keys)]})
    answers = ask(store, ds)
    assert len(answers) == found
    for answer in answers:
        holder = answer.ScheduledProcedureStepSequence[0] if within_step else answer
        assert {element.keyword for element in holder[keyword].value[0]} == set(keys)


def test_a_code_sequence_without_an_item_comes_back_whole(store: Store) -> None:
    register(store)
    [ds] = ask(store, identifier(RequestedProcedureCodeSequence=[]))
    reported = [element.keyword for element in ds.RequestedProcedureCodeSequence[0]]
    assert reported == ["CodeValue", "CodingSchemeDesignator", "CodeMeaning"]


@pytest.mark.parametrize(
    ("key", "found"), [("19610312", 1), ("1961.03.12", 1), ("19600101-19611231", 1), ("-1960", None), ("19620101-", 0)]
)
def test_a_birth_date_is_a_date(store: Store, key: str, found: int | None) -> None:
    register(store)
    answers = list(find(identifier(PatientBirthDate=key), Caller("XRAY_14", "x"), store, CLINIC))
    if found is None:
        assert answers[0].status.Status == Status.IDENTIFIER_DOES_NOT_MATCH
    else:
        assert len(answers) - 1 == found


def test_an_answer_is_truncated_at_the_limit_and_marked_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST", 3)
    numbers = [register(store, start=local(minute=minute)).accession_number for minute in range(40, 45)]
    answers = list(find(identifier(AccessionNumber=""), Caller("XRAY_14", "x"), store, CLINIC))
    assert [str(each.identifier.AccessionNumber) for each in answers if each.identifier] == numbers[:3]
    assert answers[-1].status.Status == Status.OUT_OF_RESOURCES
    assert len(answers[-1].status.ErrorComment) <= 64


def test_so_many_items_that_one_page_does_not_hold_them_are_all_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PAGE", 2)
    same = [register(store).accession_number for _ in range(3)]  # the same minute: their order is that of their ids
    later = [register(store, start=local(minute=minute)).accession_number for minute in (31, 31, 50, 59)]
    assert seen(store) == same + later
    assert seen(store, ReferringPhysicianName="Зимин*") == same + later
    monkeypatch.setattr(service, "MOST_EXAMINED", 4)
    answers = list(find(identifier(AdmissionID="X"), Caller("XRAY_14", "x"), store, CLINIC))
    assert [answer.status.Status for answer in answers] == [Status.OUT_OF_RESOURCES]


def test_a_device_that_leaves_before_the_end_has_only_what_it_was_sent(store: Store) -> None:
    first, _ = register(store), register(store)
    answers = find(identifier(), Caller("XRAY_14", "x"), store, CLINIC)
    next(answers)
    answers.close()
    store.write(lambda tx: None)
    with store.read() as reader:
        delivered = reader.rows("SELECT step_id FROM worklist_delivery")
    assert [row["step_id"] for row in delivered] == [first.steps[0].id]


def test_looking_at_a_devices_list_leaves_no_trace(store: Store) -> None:
    register(store, ASEL)
    setting(store, charset="ISO_IR 144")
    assert len(list(find(identifier(), Caller("XRAY_14", ""), store, CLINIC, noted=False))) == 2
    assert noted(store) == {}
    with store.read() as reader:
        for table in ("worklist_delivery", "device_contact"):
            assert reader.value(f"SELECT count(*) FROM {table}") == 0  # noqa: S608


# ---- what an import brought ----


def bring(store: Store, order: Order, top: dict[str, Any], step: dict[str, Any]) -> None:
    store.write(lambda tx: orders.set_attributes(tx, order.id, {passthrough.TOP: top, passthrough.STEP: step}))


def test_what_an_import_brought_is_answered_and_matched_as_it_was_written(store: Store) -> None:
    order = register(store)
    plain = register(store, start=local(minute=40))
    bring(
        store,
        order,
        {
            "PatientName": {"vr": "PN", "Value": [{"Alphabetic": "Kuznetsova^Marina", "Ideographic": "山田^太郎"}]},
            "PatientWeight": {"vr": "DS", "Value": ["70,5"]},
            "MedicalAlerts": {"vr": "LO", "Value": ["MRSA", "Stent"]},
            "AdmissionID": {"vr": "LO", "Value": ["ADM7"]},
            "RequestedProcedureID": {"vr": "SH", "Value": ["1"]},
            "AnatomicRegionSequence": {
                "vr": "SQ",
                "Value": [{"00080100": {"vr": "SH", "Value": ["T-A"]}, "00080104": {"vr": "LO"}}],
            },
            "RequestedProcedureCodeSequence": {"vr": "SQ"},
        },
        {"ScheduledProcedureStepID": {"vr": "SH", "Value": ["S1"]}, "PreMedication": {"vr": "LO", "Value": ["Нет"]}},
    )
    ds = identifier(
        {"ScheduledProcedureStepID": "", "PreMedication": "", "ScheduledProcedureStepDescription": ""},
        PatientWeight="",
        MedicalAlerts="",
        AdmissionID="",
        RequestedProcedureID="",
        AccessionNumber="",
        RequestedProcedureCodeSequence=[],
    )
    ds.AnatomicRegionSequence = [code(CodeValue="")]
    found, other = ask(store, ds)
    step = found.ScheduledProcedureStepSequence[0]
    assert str(found.PatientName) == "Kuznetsova^Marina=山田^太郎"
    assert (str(found["PatientWeight"].value), found.AdmissionID, found.RequestedProcedureID) == ("70,5", "ADM7", "1")
    assert list(found.MedicalAlerts) == ["MRSA", "Stent"]
    assert [element.keyword for element in found.AnatomicRegionSequence[0]] == ["CodeValue"]
    assert (step.ScheduledProcedureStepID, step.PreMedication) == ("S1", "Нет")
    assert "RequestedProcedureCodeSequence" not in found  # the script said none
    assert "AnatomicRegionSequence" not in other
    for keys, asked in (
        ({"AdmissionID": "ADM7"}, {}),
        ({"MedicalAlerts": ""}, {"ScheduledProcedureStepID": "S1"}),
        ({"RequestedProcedureID": "1"}, {}),
        ({"PatientName": "山田*"}, {}),
    ):
        assert seen(store, step=asked, **keys) == [order.accession_number]
    assert seen(store, AdmissionID="X") == []
    assert seen(store, RequestedProcedureID=plain.requested_procedure_id) == [plain.accession_number]
    assert seen(store, RequestedProcedureCodeSequence=[code(CodeValue="WLB-KNEE")]) == [plain.accession_number]


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "StudyInstanceUID", "RequestedProcedureID"])
def test_what_may_not_be_empty_is_ours_where_an_import_left_it_empty(store: Store, keyword: str) -> None:
    order = register(store)
    key: dict[str, Any] = {keyword: ""}
    [ours] = ask(store, identifier(**key))
    bring(store, order, {keyword: {"vr": ours[keyword].VR}}, {"ScheduledProcedureStepID": {"vr": "SH"}})
    [found] = ask(store, identifier(**key))
    assert found[keyword] == ours[keyword]
    assert found.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == order.steps[0].sps_id


def test_what_an_import_brought_survives_the_wire(store: Store) -> None:
    order = register(store)
    bring(
        store,
        order,
        {"PatientWeight": {"vr": "DS", "Value": ["70,5"]}, "MedicalAlerts": {"vr": "LO", "Value": ["а", "б"]}},
        {},
    )
    [found] = ask(store, identifier(PatientWeight="", MedicalAlerts=""))
    for implicit in (True, False):
        data = encoded(found, implicit)
        assert b"70,5" in data
        assert "а\\б".encode() in data
