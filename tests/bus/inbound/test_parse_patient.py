"""A person of the bus is read as of today, and never taken for somebody who differs in a lasting trait."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.bus.inbound import parse_patient
from broker.bus.profile import POLICY, SNILS, oid
from broker.domain.patients.people import Patient, PersonName, Sex
from tests.bus import strangers

TODAY = date(2026, 11, 24)
ANNA = Patient(PersonName("Близнецова", "Анна", "Петровна"), date(1961, 3, 12), Sex.FEMALE, snils="11223344595")
OTHER_SNILS, OTHER_POLICY = "08765430300", "7800000012345671"
NUMBERS = {"snils": OTHER_SNILS, "policy": OTHER_POLICY}


def differ(theirs: Patient, ours: Patient = ANNA) -> list[str]:
    return parse_patient.contradictions(strangers.person(theirs), ours, TODAY)


def test_the_same_person_does_not_contradict_itself() -> None:
    assert differ(ANNA) == []


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        ({"birthDate": "1961"}, []),
        ({"birthDate": "1961-03"}, []),
        ({"birthDate": "1900-01-01"}, []),  # stands for "unknown"
        ({"birthDate": "1987"}, ["birth_date"]),
        ({"birthDate": "1961-04"}, ["birth_date"]),
        ({"name": [{"text": "Близнецова Анна Петровна"}]}, []),
        ({"name": [{"text": "Сидоров Олег Петрович"}]}, ["given"]),
    ],
)
def test_a_part_of_a_date_and_a_name_in_one_text_are_compared_too(members: dict[str, Any], fields: list[str]) -> None:
    assert parse_patient.contradictions(strangers.person(ANNA, **members), ANNA, TODAY) == fields


@pytest.mark.parametrize(
    ("theirs", "fields"),
    [
        (replace(ANNA, name=replace(ANNA.name, given="Алла"), snils=OTHER_SNILS), ["snils", "given"]),  # a twin
        (replace(ANNA, snils=OTHER_SNILS), ["snils"]),
        (replace(ANNA, birth_date=date(1961, 3, 13), snils=""), ["birth_date"]),
        (replace(ANNA, sex=Sex.MALE, snils=""), ["sex"]),
        (replace(ANNA, name=replace(ANNA.name, given="Алла")), ["given"]),  # under her own number: a person decides
    ],
)
def test_one_trait_that_does_not_change_makes_another_person(theirs: Patient, fields: list[str]) -> None:
    assert differ(theirs) == fields


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        ({"name": [{"family": "Близнецова", "given": ["Анна", "Сергеевна"]}]}, ["middle"]),
        ({"name": [{"family": "Иванова", "given": ["Анна", "Сергеевна"]}]}, ["middle"]),
        ({"name": [{"text": "Иванова Анна Сергеевна"}]}, ["middle"]),
        ({"name": [{"family": "Иванова", "given": ["Анна", "Петровна"]}]}, []),  # married
        ({"name": [{"family": "Близнецова", "given": ["Анна", "Питровна"]}]}, []),  # a slip
        ({"name": [{"family": "Близнецова", "given": ["Анна", "П."]}]}, []),
        ({"name": [{"family": "Bliznetsova", "given": ["Анна", "Petrovna"]}]}, []),
        ({"name": [{"family": "Близнецова", "given": ["Анна"]}]}, []),
    ],
)
def test_without_a_number_another_patronymic_makes_another_person(members: dict[str, Any], fields: list[str]) -> None:
    ours = replace(ANNA, snils="", policy="", name=replace(ANNA.name, middle="Петровна"))
    assert parse_patient.contradictions(strangers.person(ours, **members), ours, TODAY) == fields
    numbered = replace(ours, snils=ANNA.snils)
    assert parse_patient.contradictions(strangers.person(numbered, **members), numbered, TODAY) == []


NEWBORN = replace(ANNA, name=PersonName("Близнецова", "новорождённая", "мать Анна"), snils="")


@pytest.mark.parametrize(
    ("ours", "members", "fields"),
    [
        (NEWBORN, {}, ["given"]),  # who that is, is not known here
        (ANNA, {"name": [{"family": "Близнецова", "given": ["новорождённая"]}]}, []),  # an older name of hers there
        (replace(ANNA, name=PersonName("Близнецова")), {}, []),
        (replace(ANNA, birth_date=None, birth_year=1961), {}, []),
        (replace(ANNA, birth_date=None, birth_year=1961), {"birthDate": "1961"}, []),
        (replace(ANNA, birth_date=None, birth_year=1960), {}, ["birth_date"]),
        (replace(ANNA, birth_date=None, birth_year=1960), {"birthDate": "1961-03"}, ["birth_date"]),
        (replace(ANNA, birth_date=None), {}, []),
        (ANNA, {"name": [{"family": "Близнецова", "given": ["-"]}]}, []),
    ],
)
def test_who_is_not_fully_known_is_compared_by_what_is(
    ours: Patient, members: dict[str, Any], fields: list[str]
) -> None:
    assert parse_patient.contradictions(strangers.person(ANNA, **members), ours, TODAY) == fields


@pytest.mark.parametrize(
    "theirs",
    [
        replace(ANNA, name=replace(ANNA.name, family="Замужняя")),
        replace(ANNA, snils=""),
        replace(ANNA, policy=OTHER_POLICY),  # of which we know none
        replace(ANNA, birth_date=None),
        replace(ANNA, name=PersonName("БЛИЗНЕЦОВА", "АHHA")),  # Latin look-alikes
    ],
)
def test_what_people_change_or_nobody_has_said_is_no_contradiction(theirs: Patient) -> None:
    assert differ(theirs) == []


people = st.builds(
    Patient,
    st.builds(
        PersonName,
        st.sampled_from(["Иванова", "Ким"]),
        st.sampled_from(["Анна", "Алла", ""]),
        st.sampled_from(["", "Петровна", "П.", "Сергеевна"]),
    ).filter(lambda name: name.given or not name.middle),
    st.sampled_from([None, date(1961, 3, 12), date(1961, 12, 3)]),
    st.sampled_from(Sex),
    st.sampled_from(["", "11223344595", OTHER_SNILS]),
    st.sampled_from(["", OTHER_POLICY]),
)


@given(people, people)
def test_two_valid_numbers_of_one_kind_are_two_people_whatever_else_agrees(one: Patient, other: Patient) -> None:
    two = bool(one.snils and other.snils and one.snils != other.snils)
    assert ("snils" in differ(other, one)) == two


@given(people, people)
def test_who_contradicts_whom_does_not_depend_on_who_asks(one: Patient, other: Patient) -> None:
    assert differ(one, other) == differ(other, one)


def numbered(**members: Any) -> list[dict[str, Any]]:
    """Return two identifiers: one with these members, and the one in force."""
    old = {"system": oid(SNILS), "value": OTHER_SNILS, **members}
    return [old, {"system": oid(SNILS), "value": ANNA.snils}]


@pytest.mark.parametrize(
    "members",
    [
        {"use": "old"},
        {"period": {"end": "2026-11-23"}},
        {"period": {"end": "2025"}},
        {"period": {"end": "2026-10"}},
        {"value": "000-000-000 00"},
        {"value": "11111111145"},
    ],
)
def test_a_number_that_is_over_or_was_never_one_is_not_the_persons(members: dict[str, Any]) -> None:
    person = strangers.person(ANNA, identifier=numbered(**members))
    assert parse_patient.number(person, SNILS, TODAY) == ANNA.snils


@pytest.mark.parametrize(
    "period", [{}, {"end": "2026-11-24"}, {"end": "2026"}, {"start": "2020"}, "always", {"end": 7}]
)
def test_a_period_that_is_not_over_keeps_the_number(period: Any) -> None:
    person = strangers.person(ANNA, identifier=numbered(period=period))
    assert parse_patient.number(person, SNILS, TODAY) == OTHER_SNILS


@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)), st.sampled_from([4, 7, 10]))
def test_a_period_is_over_on_the_day_after_its_end(end: date, precision: int) -> None:
    person = strangers.person(ANNA, identifier=numbered(period={"end": f"{end}"[:precision]}))
    assert parse_patient.number(person, SNILS, end) == OTHER_SNILS
    assert parse_patient.number(person, SNILS, end + timedelta(days=366)) == ANNA.snils


def test_a_zero_policy_is_none() -> None:
    person = strangers.person(ANNA, identifier=[{"system": oid(POLICY), "value": "0" * 16}])
    assert parse_patient.number(person, POLICY, TODAY) == ""


def test_a_former_name_does_not_win_over_the_one_in_force() -> None:
    former = {"family": "Бывшая", "given": ["Анна"], "period": {"end": "2020-01-01"}}
    person = strangers.person(ANNA, name=[former, {"family": "Близнецова", "given": ["Анна"], "use": "official"}])
    assert parse_patient.name(person, TODAY).family == "Близнецова"


@pytest.mark.parametrize(
    ("members", "standing"),
    [
        ({}, ""),
        ({"active": True, "deceasedBoolean": False, "link": [{"type": "seealso"}]}, ""),
        ({"active": False}, "inactive"),
        ({"link": [{"type": "replaced-by", "other": {"reference": "Patient/p9"}}]}, "replaced"),
        ({"deceasedBoolean": True}, "deceased"),
        ({"deceasedDateTime": "2026-01-02", "active": False}, "deceased"),
    ],
)
def test_what_the_other_clinic_says_of_the_record_itself_is_heeded(members: dict[str, Any], standing: str) -> None:
    assert parse_patient.standing(strangers.person(ANNA, **members)) == standing


@pytest.mark.parametrize(
    ("assigner", "insurer"),
    [
        ({"display": "1.2.643.5.1.13.2.1.1.635.77001"}, "77001"),  # as live clients send it
        ({"display": "Городская страховая"}, "Городская страховая"),
        ({"identifier": {"system": "urn:oid:1.2.643.5.1.13.2.1.1.635", "value": "77001"}}, "77001"),
        ({}, ""),
        ("77001", ""),
        ({"display": 77001}, ""),
        (None, ""),
    ],
)
def test_the_insurer_is_the_assigner_of_the_policy_that_is_read(assigner: Any, insurer: str) -> None:
    numbers = [
        {"system": oid(SNILS), "value": ANNA.snils, "assigner": {"display": "СФР"}},
        {"system": oid(POLICY), "value": "7800000012345689", "use": "old", "assigner": {"display": "Прежняя"}},
        {"system": oid(POLICY), "value": OTHER_POLICY, "assigner": assigner},
    ]
    assert parse_patient.insurer(strangers.person(ANNA, identifier=numbers), TODAY) == insurer


def test_another_insurer_makes_nobody_another_person() -> None:
    ours = replace(ANNA, policy=OTHER_POLICY, insurer="78007")
    numbers = [{"system": oid(POLICY), "value": OTHER_POLICY, "assigner": {"display": "77001"}}]
    assert parse_patient.contradictions(strangers.person(ours, identifier=numbers), ours, TODAY) == []
