"""Names are folded, written for DICOM and read back without loss."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.patients import names
from broker.domain.patients.people import PersonName


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ёлкин", "елкин"),
        ("ИВАНОВ", "иванов"),
        (" Иванов  Иван ", "иванов иван"),
        ("И\u0306ошкар", "йошкар"),
        ("Люкceмбypг", "Люксембург"),  # Latin c, e, y and p
        ("ИBAHOB", "иванов"),  # Latin B, A, H, O and B behind one Cyrillic letter
        ("Cоколова Мaрия", "соколова мария"),
        ("О’Коннор", "О'Коннор"),
        ("ОʼКоннор", "O`Коннор"),  # a Latin O before the apostrophe
        ("О′Хара", "О‘Хара"),
        ("Салтыкова–Щедрина", "Салтыкова-Щедрина"),
        ("Салтыкова\u2011Щедрина", "Салтыкова - Щедрина"),
        ("Салтыкова−Щедрина", "Салтыкова\u2010Щедрина"),
        ("Мөхәммәтов", "Мохамматов"),
        ("Кайратұлы Қуаныш", "Кайратулы Куаныш"),
        ("Ґонта Ігор", "Гонта Игор"),
        ("Һаҙыева Ҡәҙриә", "Хазыева Казриа"),
        ("Аҕаҥаева Ӕхсӕр", "Аганаева Ахсар"),
        ("Магӏомед Ӏиса", "Магомед иса"),
        ("Ӷеӡба Еӊай Ҝазым", "Гедзба Енай Казым"),
        ("Nguyễn", "Nguyen"),
        ("Schröder Łucja", "Schroder Lucja"),
        ("Ива\u0301нов", "Иванов"),
    ],
)
def test_names_that_people_take_for_equal_fold_to_the_same(one: str, other: str) -> None:
    assert names.fold(one) == names.fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Андрей", "Андреи"), ("Салтыкова-Щедрина", "Салтыкова Щедрина"), ("Шишкин", "Щишкин"), ("Cox", "Сох")],
)
def test_letters_that_tell_people_apart_are_not_folded(one: str, other: str) -> None:
    assert names.fold(one) != names.fold(other)


def test_latin_names_stay_latin() -> None:
    assert names.fold("Cox") == "cox"
    assert names.fold("Мэри Cox") == "мэри cox"  # each word for itself


@given(st.text("абвёй AaBcCeEoOpPxXyYЁ 'ʼ`-–−іїәөҡĐłễ\u0301", max_size=12))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert names.fold(names.fold(text)) == names.fold(text)


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


@pytest.mark.parametrize(
    ("longest", "shown"),
    [
        (64, "Константинопольская^Александра^Владиславовна"),
        (44, "Константинопольская^Александра^Владиславовна"),
        (43, "Константинопольская^Александра^В"),
        (31, "Константинопольская^А^В"),
        (22, "Константинопольская^А"),
        (20, "Константинопольская"),
        (12, "Константиноп"),
    ],
)
def test_a_name_shrinks_by_component(longest: int, shown: str) -> None:
    name = PersonName("Константинопольская", "Александра", "Владиславовна")
    assert names.to_dicom(names.fit(name, longest)) == shown
    assert len(shown) <= longest


@given(
    st.builds(PersonName, *[st.text("абвг -", max_size=30).map(str.strip)] * 3).filter(lambda name: name.family),
    st.integers(8, 64),
)
def test_a_shrunk_name_fits_and_still_begins_with_the_family_name(name: PersonName, longest: int) -> None:
    shown = names.to_dicom(names.fit(name, longest))
    assert 0 < len(shown) <= longest
    assert names.to_dicom(name).startswith(shown.split("^")[0])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Рентгенография", "Рентгенография"),
        ("Рентгенография кисти и стопы", "Рентгенография кисти"),
        ("Рентгенография коленного сустава", "Рентгенография"),
        ("Рентгенокинематография", "Рентгенокинематограф"),
        ("А рентгенокинематография", "А рентгенокинематогр"),
    ],
)
def test_a_description_is_cut_at_a_word_where_that_leaves_most_of_it(text: str, shown: str) -> None:
    assert names.cut(text, 20) == shown


def test_whoever_changes_what_fold_returns_raises_the_version_of_stored_keys() -> None:
    letters = [chr(code) for code in (*range(0x20, 0x530), *range(0x2010, 0x2016), 0x2019, 0x2212, 0x1E9E, 0xFB01)]
    folded = "\n".join(names.fold(f"а{letter} {letter} a{letter}") for letter in letters)
    digest = hashlib.sha256(folded.encode()).hexdigest()[:12]
    assert (names.FOLD_VERSION, digest) == (3, "3774f46f8ce9")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Петpов", "Петров"),  # Latin p
        ("Ивaн", "Иван"),
        ("CАЛТЫКОВ", "САЛТЫКОВ"),
        ("Heстеров", "Нестеров"),
        ("Салтыков-Щeдрин", "Салтыков-Щедрин"),
        ("Иванов-Smith", "Иванов-Smith"),  # two words
        ("Kotova", "Kotova"),
        ("Müller", "Müller"),
        ("№3", "№3"),
        (" - ", ""),
    ],
)
def test_no_word_of_a_name_is_stored_in_two_alphabets(typed: str, stored: str) -> None:
    assert names.stored(typed) == stored
    assert names.stored(stored) == stored
    assert names.fold(stored) == names.fold(typed.strip(" -"))
