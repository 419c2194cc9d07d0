"""What two cards of one person become: a person chooses by field, and two people are never made one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.patients import patient_merge
from broker.domain.patients.patient_merge import FIELDS
from broker.domain.patients.people import Patient, PersonName, Sex
from tests.support.factory import KUZNETSOVA

OTHER = replace(
    KUZNETSOVA, name=PersonName("Кузнецова", "Марина", "Петровн"), snils="", policy="", phone="+7 900 000-00-00"
)

snils = st.sampled_from(["", "11223344595", "08765430300", "11223344594"])  # the last one is mistyped
policies = st.sampled_from(["", "7800000012345671", "7800000012345689", "7800000012345670"])
cards = st.builds(
    Patient,
    name=st.builds(
        PersonName,
        st.sampled_from(["Кузнецова", "Соловьёва"]),
        st.sampled_from(["Марина", "Мария"]),
        st.sampled_from(["", "Петровна"]),
    ),
    birth_date=st.sampled_from([None, date(1961, 3, 12), date(1961, 12, 3)]),
    sex=st.sampled_from(Sex),
    snils=snils,
    policy=policies,
    insurer=st.sampled_from(["", "78007", "77001"]),
    phone=st.sampled_from(["", "1", "2"]),
    weight=st.sampled_from([None, 70.0, 71.5]),
    height=st.sampled_from([None, 168.0]),
    allergies=st.sampled_from(["", "йод", "пенициллин"]),
    pregnancy=st.sampled_from(["", "нет"]),
    patient_id=st.sampled_from(["000001", "000002"]),
)


def test_what_one_card_does_not_tell_is_taken_from_the_other() -> None:
    chosen = patient_merge.suggested(KUZNETSOVA, OTHER)
    assert chosen == {"phone"}
    assert patient_merge.combine(KUZNETSOVA, OTHER, chosen) == replace(KUZNETSOVA, phone="+7 900 000-00-00")


def test_a_mistyped_number_gives_way_to_a_valid_one() -> None:
    mistyped = replace(KUZNETSOVA, snils="11223344594")
    assert patient_merge.differing_numbers(mistyped, KUZNETSOVA) == ()
    assert patient_merge.suggested(mistyped, KUZNETSOVA) == {"snils"}


@pytest.mark.parametrize(("field", "number"), [("snils", "08765430300"), ("policy", "7800000012345689")])
def test_two_valid_numbers_that_differ_are_two_people(field: str, number: str) -> None:
    other = patient_merge.with_values(KUZNETSOVA, {field: number})
    assert patient_merge.differing_numbers(KUZNETSOVA, other) == (field,)


def test_nobody_chooses_between_two_allergies() -> None:
    one, other = replace(KUZNETSOVA, allergies="йод"), replace(OTHER, allergies="пенициллин")
    assert patient_merge.combine(one, other, ()).allergies == "йод; пенициллин"
    assert patient_merge.combine(one, other, {"allergies"}).allergies == "йод; пенициллин"
    assert patient_merge.combine(one, replace(other, allergies="Йод"), ()).allergies == "йод"


def test_spelling_is_no_difference() -> None:
    spelt = replace(KUZNETSOVA, name=PersonName("КУЗНЕЦОВА", "Марина", "Петровна"))
    assert all(field.same for field in patient_merge.compare(KUZNETSOVA, spelt))
    assert [field.name for field in patient_merge.compare(KUZNETSOVA, OTHER) if not field.same] == [
        "middle",
        "snils",
        "policy",
        "phone",
    ]


@given(cards, cards, st.sets(st.sampled_from(FIELDS)))
def test_a_merged_card_is_made_of_the_two_and_can_be_taken_back(
    surviving: Patient, merged: Patient, chosen: set[str]
) -> None:
    result = patient_merge.combine(surviving, merged, chosen)
    assert (result.id, result.patient_id) == (surviving.id, surviving.patient_id)
    for field in set(FIELDS) - {"allergies"}:
        source = merged if field in chosen else surviving
        assert patient_merge.value(result, field) == patient_merge.value(source, field)
    changed = patient_merge.changes(surviving, result)
    assert patient_merge.take_back(result, changed) == surviving


@given(cards, cards, cards)
def test_what_was_changed_since_a_merge_stays(surviving: Patient, merged: Patient, later: Patient) -> None:
    result = patient_merge.combine(surviving, merged, FIELDS)
    changed = patient_merge.changes(surviving, result)
    taken_back = patient_merge.take_back(later, changed)
    for field in FIELDS:
        touched = patient_merge.value(later, field) != patient_merge.value(result, field)
        expected = later if touched or field not in changed else surviving
        assert patient_merge.value(taken_back, field) == patient_merge.value(expected, field)


@given(cards, cards, cards, st.sets(st.sampled_from(FIELDS)), st.sets(st.sampled_from(FIELDS)), st.booleans())
def test_two_merges_can_be_taken_back_in_either_order(
    surviving: Patient, one: Patient, other: Patient, first: set[str], second: set[str], oldest_first: bool
) -> None:
    middle = patient_merge.combine(surviving, one, first)
    last = patient_merge.combine(middle, other, second)
    changed = [dict(patient_merge.changes(surviving, middle)), dict(patient_merge.changes(middle, last))]
    if oldest_first:
        present = patient_merge.take_back(last, changed[0], changed[1:])
        assert patient_merge.take_back(present, changed[1]) == surviving
    else:
        assert patient_merge.take_back(patient_merge.take_back(last, changed[1]), changed[0]) == surviving


def test_a_name_takes_the_place_of_what_stands_for_one_as_a_whole() -> None:
    unknown = Patient(PersonName("Иванова", "новорождённая", "мать Мария"), None, Sex.FEMALE, birth_year=2026)
    named = Patient(PersonName("Петрова", "Дарья"), date(2026, 11, 1), Sex.FEMALE)
    taken = patient_merge.suggested(unknown, named)
    assert {"family", "given", "middle", "birth_date"} <= taken
    result = patient_merge.combine(unknown, named, taken)
    assert (result.name, result.birth_date, result.birth_year) == (named.name, named.birth_date, None)
    assert patient_merge.suggested(named, unknown) == frozenset()


@pytest.mark.parametrize("corrected", [date(1962, 3, 4), None])
def test_an_undone_merge_gives_no_year_back_to_whose_birth_date_was_corrected_since(corrected: date | None) -> None:
    unknown = Patient(PersonName("Ким", "Анна"), None, Sex.FEMALE, birth_year=1961)
    dated = replace(unknown, birth_date=date(1961, 3, 12), birth_year=None)
    merged = patient_merge.combine(unknown, dated, {"birth_date"})
    present = replace(merged, birth_date=corrected)
    assert patient_merge.take_back(present, patient_merge.changes(unknown, merged)) == present


def test_merges_that_told_the_birth_date_more_exactly_are_undone_in_either_order() -> None:
    unknown = Patient(PersonName("Ким", "Анна"), None, Sex.FEMALE, birth_year=1961)
    one, other = (replace(unknown, birth_date=day, birth_year=None) for day in (date(1961, 3, 12), date(1961, 12, 3)))
    middle = patient_merge.combine(unknown, one, {"birth_date"})
    last = patient_merge.combine(middle, other, {"birth_date"})
    later = patient_merge.changes(middle, last)
    present = patient_merge.take_back(last, patient_merge.changes(unknown, middle), [later])
    assert (present.birth_date, present.birth_year) == (other.birth_date, None)
    assert patient_merge.take_back(present, later) == unknown


def test_an_undone_merge_gives_the_year_back() -> None:
    unknown = Patient(PersonName("Ким", "Анна"), None, Sex.FEMALE, birth_year=1961, mother="Ким Ольга")
    dated = replace(unknown, birth_date=date(1961, 3, 12), birth_year=None, mother="")
    merged = patient_merge.combine(unknown, dated, {"birth_date"})
    assert merged.born == date(1961, 3, 12)
    assert patient_merge.take_back(merged, patient_merge.changes(unknown, merged)) == unknown
