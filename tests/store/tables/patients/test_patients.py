"""Patients are found as one types, and only those."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from broker.domain.patients.patient_match import Likeness
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store
from broker.store.queries.patients import patient_index, patient_search
from broker.store.tables.patients import patients
from tests.support.factory import KUZNETSOVA

PEOPLE = [
    KUZNETSOVA,
    replace(KUZNETSOVA, name=PersonName("Кузьмина", "Алёна", "Сергеевна"), snils="", policy=""),
    replace(KUZNETSOVA, name=PersonName("Ёлкина", "Ольга", "Юрьевна"), snils="08765430300", policy="7800000012345689"),
    replace(KUZNETSOVA, name=PersonName("Ли", "Ен"), sex=Sex.MALE, snils="", policy=""),
    replace(KUZNETSOVA, name=PersonName("О'Коннор_%", "Анна"), snils="", policy=""),
]


@pytest.fixture
def people(store: Store) -> Store:
    for number, person in enumerate(PEOPLE):
        store.write(patients.add, person, f"{number:06d}")
    return store


def found(store: Store, typed: str) -> list[str]:
    with store.read() as reader:
        return [patient.name.family for patient in patient_search.search(reader, typed).patients]


@pytest.mark.parametrize(
    ("typed", "families"),
    [
        ("куз", ["Кузнецова", "Кузьмина"]),
        ("КУЗ", ["Кузнецова", "Кузьмина"]),
        ("куз мар", ["Кузнецова"]),
        ("куз петр", ["Кузнецова"]),
        ("елк", ["Ёлкина"]),
        ("Ёлк", ["Ёлкина"]),
        ("алена", ["Кузьмина"]),
        ("марина кузн", ["Кузнецова"]),
        ("ли", ["Ли"]),
        ("112-233", ["Кузнецова"]),
        ("11223344595", ["Кузнецова"]),
        ("7800 0000 1234 5671", ["Кузнецова"]),
        ("000002", ["Ёлкина"]),
        ("куз 12.03.1961", ["Кузнецова", "Кузьмина"]),
        ("куз 13.03.1961", []),
        ("%", []),
        ("_", []),
        ("", []),
        ("   ", []),
        ("нетакого", []),
        ("99.99.1961", []),
    ],
)
def test_search_finds_by_beginnings(people: Store, typed: str, families: list[str]) -> None:
    assert found(people, typed) == families


def test_search_uses_an_index(people: Store) -> None:
    with people.read() as reader:
        plan = reader.rows(
            "EXPLAIN QUERY PLAN SELECT * FROM patient WHERE name_key >= ? AND name_key < ? ORDER BY name_key",
            ["а", "б"],
        )
    assert "USING INDEX patient_name" in plan[0]["detail"]


def test_the_same_person_is_known_by_number_or_by_name_date_and_sex(people: Store) -> None:
    def same(**changes: object) -> Patient | None:
        with people.read() as reader:
            return patient_index.match(reader, replace(KUZNETSOVA, **changes)).patient  # type: ignore[arg-type]

    known = same()
    assert known is not None
    by_name = same(snils="", policy="", name=PersonName("КУЗНЕЦОВА", "марина", "Петровна"))
    assert by_name is not None
    assert by_name.id == known.id
    assert same(snils="", policy="", sex=Sex.MALE) is None
    # Another СНИЛС is another person, whatever the name.
    assert same(snils="12345678964", policy="") is None


@pytest.mark.parametrize(
    ("typed", "born"),
    [
        (PersonName("Кузнецва", "Марина"), date(1961, 3, 12)),
        (PersonName("Кузнецова", "Марина"), date(1961, 12, 3)),
        (PersonName("Кузнецва", "Марина", "Петровна"), date(1961, 12, 3)),
        (PersonName("Марина", "Кузнецова", "Петровна"), date(1961, 3, 12)),
        (PersonName("Кузнецова", "М", "П"), date(1961, 3, 12)),
        (PersonName("Кузнецова", "Марина", "Петровна"), date(1951, 3, 12)),
        (PersonName("Кузнецова", "Марина"), date(1951, 3, 12)),
        (PersonName("Кузнецова", "Марина"), date(1961, 3, 13)),
    ],
)
def test_who_was_typed_with_two_slips_is_offered_and_never_taken(people: Store, typed: PersonName, born: date) -> None:
    person = Patient(typed, born, Sex.FEMALE)
    with people.read() as reader:
        match = patient_index.match(reader, person)
    assert match.likeness is Likeness.SIMILAR
    assert KUZNETSOVA.name in [each.name for each in match.patients]
