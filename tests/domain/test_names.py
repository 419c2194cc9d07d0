"""Names are folded, written for DICOM and read back without loss."""

from __future__ import annotations

import pytest

from broker.domain import names
from broker.domain.model import PersonName


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ёлкин", "елкин"), ("ИВАНОВ", "иванов"), (" Иванов  Иван ", "иванов иван"), ("И\u0306ошкар", "йошкар")],
)
def test_names_that_people_take_for_equal_fold_to_the_same(one: str, other: str) -> None:
    assert names.fold(one) == names.fold(other)


@pytest.mark.parametrize(
    "name", [PersonName("Иванов", "Иван", "Иванович"), PersonName("Ли", "Ен"), PersonName("Сухарто")]
)
def test_a_name_survives_dicom(name: PersonName) -> None:
    assert names.from_dicom(names.to_dicom(name)) == name


def test_delimiters_inside_a_name_cannot_forge_components() -> None:
    assert names.to_dicom(PersonName("Иванов^Пётр", "И\\ван", "=")) == "Иванов Пётр^И ван"


def test_a_typed_name_is_split_and_shortened() -> None:
    assert names.split("Мамедов Али Гасан оглы") == PersonName("Мамедов", "Али", "Гасан оглы")
    assert names.short(PersonName("Иванов", "Иван", "Иванович")) == "Иванов И. И."
    assert names.short(PersonName("Ли", "Ен")) == "Ли Е."
    assert names.from_dicom("ZUEV PETR") == PersonName("ZUEV", "PETR")


def test_control_characters_are_taken_out() -> None:
    assert names.tidy("Ива\u200bнов\x00\n Пётр") == "Иванов Пётр"
