"""What stands in the place of a name is one person's: another such, or a named person, is somebody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from broker.domain.patients import identity, names
from broker.domain.patients.people import Patient, Sex


def patient(name: str, card: str = "000001", born: date | None = None, sex: Sex = Sex.OTHER) -> Patient:
    return Patient(names.split(name), born, sex, patient_id=card, id=int(card))


@pytest.mark.parametrize(
    ("known", "reported"),
    [
        ("Неизвестный №1", "Неизвестный^№2"),
        ("Неизвестный №1", "Неизвестный^№12"),
        ("Неизвестный №12", "Неизвестный^№1"),
        ("Неизвестный мужчина 12", "Неизвестный^мужчина 1"),
        ("Неизвестный", "Неизвестный^№2"),
        ("Неизвестный №000001", "№000002"),
        ("Неизвестный №1", "Неизвестная^№1"),
        ("Неизвестный мужчина №1", "Неизвестный^подросток^№1"),
        ("Кузнецова Марина Петровна", "Неизвестный^№2"),
        ("Кузнецова Марина Петровна", "Неизвестный"),
        ("Smith John", "Неизвестный^№2"),
        ("Неизвестный №1", "Иванова^новорождённая"),
        ("Иванова новорождённая", "Неизвестная^№1"),
        ("Иванова новорождённая мать Мария", "Петрова^новорождённая^мать Мария"),
        ("Иванова новорождённая мать Мария", "Иванова^новорождённая^мать Анна"),
        ("Иванова новорождённая", "Петрова^новорождённая"),
        ("Иванова девочка 1", "Иванова^девочка 2"),
        ("Иванова девочка 1", "Иванова^мальчик 1"),
        ("Иванова новорождённая первая", "Иванова^новорождённая^вторая"),
        ("Кузнецова Марина Петровна", "Кузнецова^новорождённая^мать Марина"),
        ("Кузнецова", "Кузнецова^новорождённая"),
    ],
)
def test_two_of_different_words_are_two_people(known: str, reported: str) -> None:
    assert identity.contradictions(patient(known), reported, "", "") == ["patient_name"]


@pytest.mark.parametrize(
    ("known", "reported"),
    [
        ("Неизвестный №1", "Неизвестный^№1"),
        ("Неизвестный №1", "НЕИЗВЕСТНЫЙ №1"),
        ("Неизвестный №1", "Неизвестный^No1"),
        ("Неизвестный №1", "Неизвестный^No 1"),
        ("Неизвестный №000001", "Неизв.^№000001"),
        ("Неизвестный №000001", "№000001"),
        ("Неизвестная женщина №000001", "Неизв.^№000001"),
        ("Неизвестный №000001", "Неизвестный^№0000"),  # torn after 16 characters
        ("Неизвестный №000001", "Неизвестный"),  # a device that shows little
        ("Иванова новорождённая мать Мария", "Иванова^новорождённая^м"),
        ("Иванова новорождённая мать Мария", "Иванова^н^м"),
        ("Иванова новорождённая мать Мария", "Иванова^новорождённая^мать М"),
        ("Иванова новорождённая мать Мария", "Иванова"),
        ("Петров Иван", "Неизвестный^№000001"),  # under the number of this very card
        ("Неизвестный Марк Эрнстович", "Неизвестный^М"),  # a family name, and an initial
        ("Неизвестный Эрнст Иосифович", "Неизвестный"),
    ],
)
def test_what_a_device_shows_of_the_same_contradicts_nothing(known: str, reported: str) -> None:
    assert identity.contradictions(patient(known), reported, "", "") == []


def test_a_mother_is_not_her_child_even_under_her_number() -> None:
    mother, child = patient("Кузнецова Марина Петровна"), "Кузнецова^новорождённая^мать Марина"
    assert identity.contradictions(mother, child, "000001", "") == ["patient_name"]
    assert identity.contradictions(patient("Кузнецова Дарья"), child, "000001", "") == []  # named since


# ---- cards that were merged ----

KNOWN = patient("Кузнецова Марина Петровна", born=date(1961, 3, 12), sex=Sex.FEMALE)


@pytest.mark.parametrize(
    ("former", "report"),
    [
        ("Неизвестная женщина №000002", ("Сидорова^Ольга", "", "19990101", "F")),
        ("Неизвестная женщина №000002", ("SIDOROVA^OLGA", "", "19990101", "F")),
        ("Неизвестная женщина №000002", ("", "", "19990101", "")),
        ("Неизвестная женщина №000002", ("Неизвестная^№000003", "", "", "")),
        ("Кузнецова", ("Кузнецова^Ольга^Ильинична", "", "19990101", "M")),
        ("Кузнецова", ("Кузнецова", "", "19990101", "F")),
        ("Кузнецова", ("Кузнецова", "000002", "19610312", "M")),
    ],
)
def test_a_merged_card_of_which_little_was_known_lets_nobody_else_in(
    former: str, report: tuple[str, str, str, str]
) -> None:
    cards = KNOWN, patient(former, "000002")
    assert identity.contradictions_of_cards(cards, *report)
    assert identity.agreements_of_cards(cards, *report) == []


@pytest.mark.parametrize(
    "report",
    [
        ("Неизвестная^женщина №000002", "", "", ""),
        ("Неизв.^№000002", "000002", "19000101", "F"),
        ("Неизвестная^женщина №000002", "000002", "19610312", "F"),
        ("Кузнецова^Марина^Петровна", "000002", "19610312", "F"),
        ("", "000002", "", ""),
    ],
)
def test_what_a_device_was_given_of_a_merged_card_contradicts_nothing(report: tuple[str, str, str, str]) -> None:
    assert identity.contradictions_of_cards((KNOWN, patient("Неизвестная женщина №000002", "000002")), *report) == []


def test_what_agrees_and_what_does_not_contradict_is_one_and_the_same_card() -> None:
    former = replace(KNOWN, patient_id="000002", id=2, birth_date=date(1961, 12, 3))
    cards = KNOWN, former
    assert identity.contradictions_of_cards(cards, "", "000002", "19610312") == ["patient_id"]
    assert identity.agreements_of_cards(cards, "", "000002", "19610312") == []
    assert identity.agreements_of_cards(cards, "", "000002", "19611203") == ["patient_id"]


# ---- one name ----


@pytest.mark.parametrize("reported", ["Иванов^Пётр^Ильич", "Иванов Пётр Ильич", "ИВАНОВ^П"])
def test_who_bears_one_name_is_not_trusted_to_be_everybody_of_the_family(reported: str) -> None:
    known = patient("Иванов")
    assert identity.contradictions(known, reported, "X-5", "") == ["patient_id"]
    assert identity.contradictions(known, reported, "000001", "") == []
    assert identity.agreements(known, reported, "X-5") == []
