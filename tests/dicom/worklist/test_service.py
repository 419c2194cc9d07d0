"""A worklist query is answered with exactly what it asks for, or refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom.statuses import Status
from broker.dicom.worklist import attributes
from broker.domain.clinic.devices import Device
from broker.domain.orders import Priority
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store
from broker.store.tables import devices
from broker.workflow import patient_merge
from broker.workflow.referrals import referrals
from tests.dicom.worklist.asked import ask, numbers, query, register
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR

LEE = replace(KUZNETSOVA, name=PersonName("Ли", "Ен"), snils="", policy="")


def see_all(store: Store) -> None:
    """Let the X-ray see what is not its own when it names no station."""
    device = replace(factory.DEVICES[0], own_only=False)
    store.write(lambda tx: devices.put(tx, device))


@pytest.mark.parametrize(
    ("keys", "step", "found"),
    [
        ({}, {}, 2),
        ({"PatientName": "Кузнецова^*"}, {}, 1),
        ({"PatientName": "ли^ен"}, {}, 1),
        ({"PatientName": "??^??"}, {}, 0),
        ({"PatientID": "000001"}, {}, 1),
        ({"PatientID": "0000*"}, {}, 2),
        ({"PatientID": "9"}, {}, 0),
        ({"PatientSex": "M"}, {}, 0),
        ({"PatientBirthDate": "19610312"}, {}, 2),
        ({"RequestedProcedurePriority": "STAT"}, {}, 1),
        ({"AdmissionID": "5"}, {}, 0),
        ({}, {"Modality": "DX"}, 2),
        ({}, {"Modality": "CT"}, 0),
        ({}, {"ScheduledStationAETitle": "XRAY_14"}, 1),
        ({}, {"ScheduledStationAETitle": "FLG*"}, 2),
        ({}, {"ScheduledStationAETitle": "xray_14"}, 0),
        ({}, {"ScheduledPerformingPhysicianName": "Юдин*"}, 0),
        ({}, {"ScheduledProcedureStepStatus": "SCHEDULED"}, 2),
        ({}, {"ScheduledProcedureStepStartDate": "19990101"}, 0),
        ({}, {"ScheduledProcedureStepStartDate": "20200101-20991231"}, 2),
    ],
)
def test_keys_narrow_the_answer(store: Store, keys: dict[str, str], step: dict[str, str], found: int) -> None:
    register(store, station_ae_titles=("XRAY_14", "FLG_12"))
    register(store, LEE, station_ae_titles=("FLG_12",), priority=Priority.URGENT)
    see_all(store)
    assert len(numbers(ask(store, query(step, **keys)))) == found


def test_a_list_of_uid_finds_each(store: Store) -> None:
    one, other = register(store), register(store, LEE)
    register(store, LEE)
    uids = [one.study_instance_uid, other.study_instance_uid]
    found = numbers(ask(store, query(StudyInstanceUID=uids)))
    assert found == [one.accession_number, other.accession_number]


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ({"Modality": ["DX", "CT"]}, ["XRAY_14", "FLG_12"]),
        ({"Modality": ["M*", "CT"]}, ["MAMMO_9"]),
        ({"Modality": ["MG", "DX"]}, ["XRAY_14", "FLG_12", "MAMMO_9"]),
        ({"ScheduledStationAETitle": ["MAMMO_9", "FLG_12"]}, ["FLG_12", "MAMMO_9"]),
        ({"ScheduledStationAETitle": ["MAMMO_9", "NONE"]}, ["MAMMO_9"]),
        ({"ScheduledStationAETitle": ["MAMMO_9", "XRAY_*"], "Modality": ["DX", "MG"]}, ["XRAY_14", "MAMMO_9"]),
    ],
)
def test_a_list_of_kinds_or_stations_finds_each_and_names_the_station_that_was_asked_for(
    store: Store, step: dict[str, Any], found: list[str]
) -> None:
    store.write(lambda tx: devices.put(tx, Device("WORKSTATION", "Пульт", "DX", own_only=False)))
    register(store, station_ae_titles=("XRAY_14",))
    register(store, LEE, station_ae_titles=("FLG_12",), procedure_code="WLB-FLG1", laterality="")
    register(store, station_ae_titles=("MAMMO_9",), procedure_code="WLB-MMG4", laterality="")
    answers = ask(store, query({"ScheduledStationAETitle": "", **step}), "WORKSTATION")
    assert answers[-1].status.Status == Status.SUCCESS
    assert [
        each.identifier.ScheduledProcedureStepSequence[0].ScheduledStationAETitle
        for each in answers
        if each.identifier is not None
    ] == found


def test_only_what_was_asked_for_comes_back_and_all_of_it(store: Store) -> None:
    order = register(store)
    [answer, _] = ask(store, query({"ScheduledStationAETitle": "", "ScheduledStationName": ""}, Allergies=""))
    ds = answer.identifier
    assert ds is not None
    assert [element.keyword for element in ds] == [
        "SpecificCharacterSet",
        "AccessionNumber",
        "PatientName",
        "Allergies",
        "ScheduledProcedureStepSequence",
    ]
    step = ds.ScheduledProcedureStepSequence[0]
    assert [element.keyword for element in step] == ["ScheduledStationAETitle", "ScheduledStationName"]
    assert (ds.AccessionNumber, step.ScheduledStationName) == (order.accession_number, "Рентген")
    assert ds["Allergies"].is_empty


def test_type_1_attributes_are_never_empty(store: Store) -> None:
    register(store)
    ds = query({each.keyword: [] if "Sequence" in each.keyword else None for each in attributes.STEP})
    for each in attributes.TOP:
        if each.keyword != "ScheduledProcedureStepSequence":
            setattr(ds, each.keyword, [] if "Sequence" in each.keyword else None)
    [answer, _] = ask(store, ds)
    found = answer.identifier
    assert found is not None
    for part, table in ((found, attributes.TOP), (found.ScheduledProcedureStepSequence[0], attributes.STEP)):
        for attribute in table:
            assert attribute.keyword in part, attribute.keyword
            if attribute.type in ("1", "1C"):
                assert not part[attribute.keyword].is_empty, attribute.keyword
            for value in [part[attribute.keyword].value]:
                assert len(str(value)) <= attribute.length or not isinstance(value, str)


def test_a_zero_length_sequence_asks_for_the_whole_step(store: Store) -> None:
    register(store)
    ds = query()
    ds.ScheduledProcedureStepSequence = []
    [answer, _] = ask(store, ds)
    assert answer.identifier is not None
    assert len(answer.identifier.ScheduledProcedureStepSequence[0]) == len(attributes.STEP)


@pytest.mark.parametrize(
    ("ae_title", "key", "named"),
    [
        ("FLG_12", "", ["FLG_12", "ARM_3", "XRAY_14"]),
        ("XRAY_14", "ARM_3", ["ARM_3", "XRAY_14", "FLG_12"]),
        ("XRAY_14", ["NONE", "FLG_12"], ["FLG_12", "XRAY_14", "ARM_3"]),
    ],
)
def test_all_stations_of_a_step_are_named_the_one_that_asks_or_is_asked_for_first(
    store: Store, ae_title: str, key: str | list[str], named: list[str]
) -> None:
    store.write(lambda tx: devices.put(tx, Device("ARM_3", "С-дуга", "DX")))
    register(store, station_ae_titles=("ARM_3", "XRAY_14", "FLG_12"))
    [answer, _] = ask(store, query({"ScheduledStationAETitle": key}), ae_title)
    assert answer.identifier is not None
    assert list(answer.identifier.ScheduledProcedureStepSequence[0].ScheduledStationAETitle) == named


@pytest.mark.parametrize(
    ("keys", "step", "offending"),
    [
        ({}, {"ScheduledProcedureStepStartDate": "20260230"}, "ScheduledProcedureStepStartDate"),
        ({}, {"ScheduledProcedureStepStartDate": "-"}, "ScheduledProcedureStepStartDate"),
        ({}, {"ScheduledProcedureStepStartTime": "99"}, "ScheduledProcedureStepStartTime"),
        ({"PatientID": ["1", "2"]}, {}, "PatientID"),
    ],
)
def test_a_malformed_key_is_refused_with_the_element_that_offends(
    store: Store, keys: dict[str, Any], step: dict[str, str], offending: str
) -> None:
    register(store)
    [answer] = ask(store, query(step, **keys))
    assert answer.identifier is None
    assert answer.status.Status == Status.IDENTIFIER_DOES_NOT_MATCH
    assert answer.status.OffendingElement == Tag(offending)
    assert offending in answer.status.ErrorComment


def test_an_identifier_without_any_key_is_refused(store: Store) -> None:
    register(store)
    ds = Dataset()
    ds.QueryRetrieveLevel = "STUDY"
    [answer] = ask(store, ds)
    assert answer.status.Status == Status.IDENTIFIER_DOES_NOT_MATCH
    assert "OffendingElement" not in answer.status


def test_an_unsupported_key_is_reported_and_not_taken_for_a_match(store: Store) -> None:
    register(store)
    [answer, _] = ask(store, query(EthnicGroup="X"))
    assert answer.status.Status == Status.PENDING_WARNING
    assert answer.identifier is not None
    assert "EthnicGroup" not in answer.identifier


def test_the_query_retrieve_level_is_ignored(store: Store) -> None:
    register(store)
    answers = ask(store, query(QueryRetrieveLevel="STUDY"))
    assert len(numbers(answers)) == 1
    assert answers[0].status.Status == Status.PENDING


def test_what_is_over_or_cancelled_is_not_offered(store: Store) -> None:
    cancelled, done = register(store), register(store, LEE)
    store.write(referrals.cancel, cancelled.id, cancelled.revision, "", REGISTRAR, CLINIC)
    from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
    from broker.workflow.studies import performed_steps

    step = factory.performed("1.2", StepReference(done.study_instance_uid))
    store.write(performed_steps.start, step, factory.message("a"), factory.XRAY, CLINIC)
    assert numbers(ask(store, query())) == [done.accession_number]  # running: the device may ask again
    change = PerformedChange(PerformedState.COMPLETED)
    store.write(
        performed_steps.change, performed_steps.ChangeRequest("1.2", change, factory.message("b")), factory.XRAY, CLINIC
    )
    assert numbers(ask(store, query())) == []


@pytest.mark.parametrize(("term", "answered"), [("ISO_IR 144", "ISO_IR 144"), ("", "ISO_IR 192")])
def test_the_character_set_is_named_when_there_is_need(store: Store, term: str, answered: str) -> None:
    register(store)
    ds = query()
    if term:
        ds.SpecificCharacterSet = term
    [answer, _] = ask(store, ds)
    assert answer.identifier is not None
    assert answer.identifier.SpecificCharacterSet == answered
    plain = Dataset()
    plain.AccessionNumber = ""
    [answer, _] = ask(store, plain)
    assert answer.identifier is not None
    assert "SpecificCharacterSet" not in answer.identifier


def test_the_number_on_a_merged_cards_wristband_finds_what_the_patient_has(store: Store) -> None:
    one, two = register(store), register(store, LEE)
    see_all(store)
    both = [one.accession_number, two.accession_number]
    assert numbers(ask(store, query(PatientID=two.patient.patient_id))) == both[1:]
    cards = one.patient.stored_id, two.patient.stored_id
    trail = store.write(patient_merge.merge, *cards, (), (1, 1), REGISTRAR, CLINIC)
    assert numbers(ask(store, query(PatientID=two.patient.patient_id))) == both
    assert numbers(ask(store, query(PatientID=one.patient.patient_id))) == both
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC)
    assert numbers(ask(store, query(PatientID=two.patient.patient_id))) == both[1:]


def test_wildcards_over_merged_cards_numbers_find_what_the_patient_has_and_nobody_else(store: Store) -> None:
    """What is answered bears the number of now: by that the images are found, and the wristband is printed anew."""
    one, two = register(store), register(store, LEE)
    third = register(store, replace(LEE, name=PersonName("Зуева", "Анна"), birth_date=date(1950, 1, 1)))
    see_all(store)
    for cards in ((two, third), (one, two)):
        ids = [each.patient.stored_id for each in cards]
        store.write(patient_merge.merge, ids[0], ids[1], (), (1, 1), REGISTRAR, CLINIC)
    everything = [each.accession_number for each in (one, two, third)]
    for key in ("000003", "000003*", "*3", "00000?", "000*", "?00003", "000002", "00*2"):
        found = ask(store, query(PatientID=key))
        assert numbers(found) == everything, key
        assert {each.identifier.PatientID for each in found if each.identifier} == {"000001"}
    for key in ("000004", "000004*", "*4", "1*"):
        assert numbers(ask(store, query(PatientID=key))) == []
    assert numbers(ask(store, query(PatientID="000003*", AccessionNumber=two.accession_number))) == everything[1:2]


@pytest.mark.parametrize(
    ("patient", "name"),
    [
        (Patient(PersonName("Неизвестный", "№3"), None, Sex.MALE), "Неизвестный^№3"),
        (Patient(PersonName("Сухарто"), None, Sex.MALE, birth_year=1961), "Сухарто"),
        (Patient(PersonName("'т Хоофт", "Герард"), None, Sex.MALE), "'т Хоофт^Герард"),
        (
            Patient(PersonName("Иванова", "новорождённая", "мать Мария"), None, Sex.FEMALE),
            "Иванова^новорождённая^мать Мария",
        ),
    ],
)
def test_who_is_not_fully_known_is_answered_with_no_birth_date_and_never_with_half_of_one(
    store: Store, patient: Patient, name: str
) -> None:
    register(store, patient)
    answer = ask(store, query(PatientBirthDate="", PatientAge="", PatientSex=""))[0].identifier
    assert answer is not None
    assert (str(answer.PatientName), answer.PatientSex) == (name, str(patient.sex))
    assert "PatientBirthDate" in answer  # type 2
    assert not answer.PatientBirthDate
    assert not answer.get("PatientAge")
    assert numbers(ask(store, query(PatientName=name.partition("^")[0] + "*"))) != []
    assert numbers(ask(store, query(PatientBirthDate="19610101-19611231"))) == []  # PS3.4 C.2.2.2.5


def test_a_query_is_noted_on_the_devices_record_and_the_orders_card(store: Store) -> None:
    order = register(store)
    ask(store, query())
    store.write(lambda tx: None)  # what was queued before is committed with or before this
    with store.read() as reader:
        assert reader.value("SELECT summary FROM device_contact WHERE ae_title = 'XRAY_14'") == "1"
        assert (
            reader.value("SELECT ae_title FROM worklist_delivery WHERE step_id = ?", [order.steps[0].id]) == "XRAY_14"
        )
