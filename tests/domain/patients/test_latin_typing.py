"""Names that were typed with the keyboard in the wrong layout are understood; Latin names are left alone."""

from __future__ import annotations

import pytest

from broker.domain.patients import latin_typing


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("bdfyjd", "иванов"),
        ("Bdfyjd Bdfy Bdfyjdbx", "Иванов Иван Иванович"),
        ("VBHJYJDF", "МИРОНОВА"),
        ("gtnhjd", "петров"),
        ("cfknsrjd-otlhby", "салтыков-щедрин"),
        ("[f,b,ekkby", "хабибуллин"),
        ("`krbyf", "ёлкина"),
        ("Kb", "Ли"),
    ],
)
def test_a_name_in_the_other_layout_of_the_keyboard_is_understood(typed: str, meant: str) -> None:
    assert latin_typing.russian_layout(typed) == meant
    assert latin_typing.meant_in_russian(typed) == meant


@pytest.mark.parametrize(
    "typed",
    [
        *("", "Smith", "Johnson", "Schmidt", "Schwartz", "Nguyen", "Kim", "Lee", "Lynch", "Brandt", "Wright", "Flynn"),
        *(
            "Ivanov",
            "Ivanova",
            "Kuznetsova",
            "Petrov",
            "Muller",
            "Krzysztof",
            "Szczepanski",
            "Tkachenko",
            "Hrvoje",
            "Ng",
        ),
        *("иванов", "Иванов-Smith", "№3", "-", "Müller", "D2611-0003"),
    ],
)
def test_a_latin_name_is_not_taken_for_a_russian_one(typed: str) -> None:
    assert latin_typing.meant_in_russian(typed) == ""


def test_dates_and_numbers_beside_such_a_name_stay() -> None:
    assert latin_typing.russian_layout("bdfyjd 12.03.1961") == "иванов 12.03.1961"
    assert latin_typing.russian_layout("D2611-0003") == ""
