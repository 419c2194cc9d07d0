"""What may be asked of the region about a person who is typed, and what of the answer may be taken over."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.patients.people import NO_NAME, Patient, PersonName, Sex
from broker.domain.patients.region_people import (
    OFFERED,
    RegionPerson,
    RegionQuestion,
    answers,
    differences,
    may_be_taken,
    offer,
    patient_fields,
    question_about,
    united,
)
from tests.support.factory import KUZNETSOVA

TODAY = date(2026, 11, 30)
BARE = replace(KUZNETSOVA, snils="", policy="")
NOBODY = Patient(NO_NAME, None, Sex.OTHER)
people = st.builds(
    Patient,
    name=st.builds(
        PersonName,
        st.sampled_from(("", "Кузнецова", "Кузнецов", "К")),
        st.sampled_from(("", "Марина", "Мария")),
        st.sampled_from(("", "Петровна")),
    ),
    birth_date=st.sampled_from((None, date(1961, 3, 12), date(1961, 12, 3))),
    sex=st.sampled_from(Sex),
    snils=st.sampled_from(("", "11223344595", "08765430300")),
    policy=st.sampled_from(("", "7800000012345671")),
)


def person(patient: Patient = KUZNETSOVA, standing: str = "", id: str = "p1") -> RegionPerson:
    return RegionPerson(f"Patient/{id}", patient, standing)


@pytest.mark.parametrize(
    ("typed", "question"),
    [
        (KUZNETSOVA, RegionQuestion(snils="11223344595")),
        (replace(KUZNETSOVA, snils=""), RegionQuestion(policy="7800000012345671")),
        (BARE, RegionQuestion(name=KUZNETSOVA.name, birth_date=date(1961, 3, 12))),
        (replace(NOBODY, snils="11223344595"), RegionQuestion(snils="11223344595")),
        (replace(BARE, snils="112233445"), None),  # half a number, and who it will be is not clear yet
        (replace(BARE, snils="11223344594"), None),
        (replace(BARE, snils="00000000000"), None),
        (replace(BARE, birth_date=None), None),
        (replace(BARE, name=PersonName("Кузнецова", "новорождённая")), None),  # the region knows no such name
        (replace(BARE, birth_date=date(1900, 1, 1)), None),
        (replace(BARE, birth_date=date(2027, 1, 1)), None),
        (replace(BARE, name=PersonName("Кузнецова")), None),
        (replace(BARE, name=PersonName("К", "Марина")), None),
        (NOBODY, None),
    ],
)
def test_only_what_is_typed_to_its_end_is_asked(typed: Patient, question: RegionQuestion | None) -> None:
    assert question_about(typed, TODAY) == question


def test_a_bus_that_does_not_search_by_name_is_asked_by_numbers_only() -> None:
    assert question_about(BARE, TODAY, by_name=False) is None
    assert question_about(KUZNETSOVA, TODAY, by_name=False) == RegionQuestion(snils="11223344595")


def test_whom_a_lenient_server_adds_is_not_an_answer() -> None:
    by_number, by_name = RegionQuestion(snils="11223344595"), RegionQuestion(name=BARE.name, birth_date=BARE.birth_date)
    assert answers(by_number, KUZNETSOVA)
    assert not answers(by_number, replace(KUZNETSOVA, snils=""))
    assert answers(by_name, replace(BARE, name=replace(BARE.name, family="КУЗНЕЦОВА", middle="")))
    assert not answers(by_name, replace(BARE, name=replace(BARE.name, middle="Павловна")))
    assert not answers(by_name, replace(BARE, birth_date=date(1961, 12, 3)))


def test_records_of_one_person_that_several_clinics_made_are_one() -> None:
    without_policy = replace(KUZNETSOVA, policy="", name=replace(KUZNETSOVA.name, middle=""))
    [one] = united([person(without_policy), person(id="p2"), person(id="p3")])
    assert (one.reference, one.patient) == ("Patient/p1", KUZNETSOVA)
    other = replace(KUZNETSOVA, snils="08765430300", policy="")
    assert len(united([person(), person(other)])) == 2
    assert len(united([person(BARE), person(replace(BARE, sex=Sex.MALE))])) == 2
    assert len(united([person(), person(standing="deceased")])) == 2


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({"name": replace(KUZNETSOVA.name, family="Орлова")}, True),  # it changes with marriage; a person decides
        ({"name": replace(KUZNETSOVA.name, middle="Павловна")}, True),
        ({"name": replace(KUZNETSOVA.name, given="Мария")}, False),
        ({"birth_date": date(1961, 12, 3)}, False),
        ({"sex": Sex.MALE}, False),
        ({"snils": "08765430300"}, False),
    ],
)
def test_data_of_somebody_else_are_shown_and_cannot_be_taken(changes: dict[str, Any], may: bool) -> None:
    typed = replace(KUZNETSOVA, policy="", **changes)
    assert may_be_taken(person(), differences(typed, True, KUZNETSOVA)) is may


@pytest.mark.parametrize("standing", ["deceased", "replaced", "inactive"])
def test_a_record_that_is_not_in_use_cannot_be_taken(standing: str) -> None:
    assert not may_be_taken(person(standing=standing), ())


def test_a_sex_that_was_not_chosen_is_offered() -> None:
    typed = replace(NOBODY, snils="11223344595")
    assert offer(typed, False, KUZNETSOVA) == ("family", "given", "middle", "birth_date", "sex", "policy")
    assert "sex" not in offer(replace(typed, sex=Sex.FEMALE), True, KUZNETSOVA)


@given(typed=people, sex_known=st.booleans(), found=people)
def test_what_was_typed_is_never_offered_anew_and_nothing_is_both_offered_and_different(
    typed: Patient, sex_known: bool, found: Patient
) -> None:
    offered, differ = offer(typed, sex_known, found), differences(typed, sex_known, found)
    present = patient_fields(typed) | ({} if sex_known else {"sex": ""})
    assert all(not present[field] and patient_fields(found)[field] for field in offered)
    assert not set(offered) & set(differ)
    assert set(offered) | set(differ) <= set(OFFERED)
