"""A Latin name is read in every usual way of writing it, and is nobody else's."""

from __future__ import annotations

import iuliia
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.patients import identity, names, transliteration
from broker.domain.patients.people import Patient, PersonName
from broker.domain.patients.transliteration import Fit
from tests.support.factory import KUZNETSOVA

PEOPLE = (
    """
Кузнецова Марина Петровна|Сидоров Олег Иванович|Щербакова Юлия Сергеевна|Ёлкин Пётр Фёдорович|Цой Вячеслав Ким
Жумабаев Ерлан Қайратұлы|Хўжаев Шерзод Бахтиёрович|Мюллер Генрих Карлович|Попов Александр Юрьевич|Гусева Анна Львовна
Иванова Екатерина Максимовна|Петров Дмитрий Алексеевич|Соколова-Волкова Ксения Игоревна|Подъячев Артём Ильич
Чайковский Лев Эдуардович|Шостак Нина Ефимовна|Объедкова Зоя Кузьминична|Тхоржевский Савва Яковлевич
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
KNOWN = [names.split(each) for each in PEOPLE]
# The Uzbek scheme does not know all Russian letters.
SCHEMES = [iuliia.schemas.get(name) for name in iuliia.schemas.names() if name != "uz"]
schemes = st.sampled_from(SCHEMES)


def written_by(scheme: iuliia.Schema, text: str) -> str:
    """Return a text in Latin; what a scheme leaves as it is (ё, neighbours' letters) is left out or simplified."""
    written = scheme.translate(text.translate(names.RUSSIAN_LETTERS)).translate(str.maketrans("ёЁ", "eE"))
    return "".join(char for char in written if not names.is_cyrillic(char))


def in_latin(name: PersonName, scheme: iuliia.Schema) -> str:
    return names.to_dicom(PersonName(*(written_by(scheme, part) for part in (name.family, name.given, name.middle))))


@given(st.sampled_from(KNOWN), schemes, st.sampled_from(["upper", "title", "lower"]), st.booleans())
def test_a_name_as_any_scheme_writes_it_contradicts_nothing(
    name: PersonName, scheme: iuliia.Schema, case: str, carets: bool
) -> None:
    written = getattr(in_latin(name, scheme), case)()
    assert identity.contradictions(Patient(name, None, KUZNETSOVA.sex), written, "", "") == []
    blanks = written.replace("^", " ")
    assert identity.contradictions(Patient(name, None, KUZNETSOVA.sex), blanks, "", "") == []


letters = st.text("абвгдежзийклмнопрстуфхцчшщъыьэюяё", min_size=1, max_size=12).map(str.title)


@given(letters, schemes)
def test_any_word_fits_as_any_scheme_writes_it(word: str, scheme: iuliia.Schema) -> None:
    written = written_by(scheme, word)
    assert transliteration.fit(word, written) is Fit.WHOLE


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), schemes, st.sampled_from(["", "000001"]))
def test_somebody_else_in_latin_contradicts_also_with_the_patients_number(
    known: PersonName, other: PersonName, scheme: iuliia.Schema, number: str
) -> None:
    if known == other:
        return
    patient = Patient(known, None, KUZNETSOVA.sex, patient_id="000001")
    written = in_latin(other, scheme)
    for shown in (written, written.rpartition("^")[0], written.replace("^", " "), written.upper()):
        assert identity.contradictions(patient, shown, number, "") == ["patient_name"]


@pytest.mark.parametrize(
    ("known", "reported", "number", "contradicts"),
    [
        (KUZNETSOVA.name, "SIDOROV^OLEG", "000001", True),
        (KUZNETSOVA.name, "SIDOROV^O", "", True),
        (KUZNETSOVA.name, "SIDOROV", "", True),
        (KUZNETSOVA.name, "SIDOROV OLEG", "", True),
        (KUZNETSOVA.name, "KUZNETSOVA^OLGA", "", True),
        (KUZNETSOVA.name, "KUZNETSOVA^MARIIA", "000001", True),  # a sister
        (KUZNETSOVA.name, "KUZNETSOV^MARIN", "", True),
        (KUZNETSOVA.name, "KUZNECOVA^M", "", False),
        (KUZNETSOVA.name, "Kouznetsova^Marina", "", False),
        (KUZNETSOVA.name, "Kusnezowa^Marina^P.", "", False),
        (KUZNETSOVA.name, "KUZNETSO", "", False),
        (KUZNETSOVA.name, "MARINA KUZNETSOVA", "", False),
        (KUZNETSOVA.name, "KU?NETSOVA^MARINA", "", False),
        (KUZNETSOVA.name, "X^Y", "", False),
        (PersonName("Джонсон", "Джон"), "JOHNSON^JOHN", "000001", False),
        (PersonName("Хуссейн", "Мохаммед"), "HUSSAIN^MUHAMMAD", "000001", False),
        (PersonName("Хуссейн", "Мохаммед"), "SMITH^ADAM", "000001", True),
        (PersonName("Шмидт", "Юрген"), "SCHMIDT^JÜRGEN", "", False),
        (PersonName("Нгуен", "Тхи", "Хоа"), "NGUYỄN^THỊ^HOA", "", False),
        (PersonName("Smith", "John"), "Смит^Джон", "", False),
        (PersonName("Smith", "John"), "Сидоров^Олег", "", True),
    ],
)
def test_names_in_two_alphabets(known: PersonName, reported: str, number: str, contradicts: bool) -> None:
    patient = Patient(known, None, KUZNETSOVA.sex, patient_id="000001")
    found = identity.contradictions(patient, reported, number, "")
    assert found == (["patient_name"] if contradicts else [])
