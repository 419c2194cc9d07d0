"""Corrections that complete or rename a person, and those that make another person of a card."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from broker.domain.patients.correction import contradictions
from broker.domain.patients.people import Patient, PersonName, Sex

MARINA = Patient(PersonName("Кузнецова", "Марина", "Петровна"), date(1961, 3, 12), Sex.FEMALE, snils="11223344595")


def named(family: str, given: str = "", middle: str = "") -> dict[str, Any]:
    return {"name": PersonName(family, given, middle)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        named("Петрова", "Марина", "Петровна"),  # by marriage
        named("Кузнецова", "Марина"),
        named("КУЗНЕЦОВА", "марина", "петровна"),
        {"snils": "08765430300", "policy": "7800000012345671"},
        {"phone": "1", "weight": 70.0, "allergies": "йод"},
        {"birth_date": None},
        {"sex": Sex.OTHER},
    ],
)
def test_what_is_completed_or_renamed_is_the_same_person(changes: dict[str, Any]) -> None:
    assert contradictions(MARINA, replace(MARINA, **changes)) == ()
    assert contradictions(replace(MARINA, **changes), MARINA) == ()


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        (named("Кузнецова", "Мария", "Петровна"), ("name",)),  # a sister
        (named("Кузнецова", "Марина", "Павловна"), ("name",)),
        (named("Петрова", "Ольга", "Ивановна"), ("name",)),
        ({"birth_date": date(1961, 12, 3)}, ("birth_date",)),
        ({"birth_date": None, "birth_year": 1962}, ("birth_date",)),
        ({"sex": Sex.MALE}, ("sex",)),
        ({**named("Петрова", "Марина", "Петровна"), "birth_date": date(1962, 3, 12)}, ("name", "birth_date")),
        ({**named("Петрова", "Марина", "Петровна"), "birth_date": None}, ("name",)),  # nothing else proves a marriage
    ],
)
def test_another_given_name_birth_date_or_sex_is_another_person(
    changes: dict[str, Any], fields: tuple[str, ...]
) -> None:
    assert contradictions(MARINA, replace(MARINA, **changes)) == fields


@pytest.mark.parametrize("stood", [named("Неизвестная"), named("Кузнецова", "новорождённая", "мать Мария")])
def test_a_name_that_is_found_out_is_no_contradiction(stood: dict[str, Any]) -> None:
    unknown = replace(MARINA, **stood, birth_date=None, snils="")
    assert contradictions(unknown, MARINA) == ()
    assert contradictions(unknown, replace(MARINA, sex=Sex.MALE)) == ("sex",)


def test_one_name_is_completed_by_a_name_that_contains_it() -> None:
    one = replace(MARINA, name=PersonName("Марина", "-"))
    assert contradictions(one, MARINA) == ()
    assert contradictions(one, replace(MARINA, name=PersonName("Петрова", "Ольга"))) == ("name",)
