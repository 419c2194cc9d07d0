"""A Latin name is read in every usual way of writing it, and is nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import iuliia
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.patients import identity, names, patient_match, transliteration
from broker.domain.patients.patient_match import Likeness, Similarity
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


PLAIN = st.text("абвгдежзийклмнопрстуфхцчшщъыьэюяё", min_size=3, max_size=12).map(str.title)
generated = st.one_of(st.sampled_from(KNOWN), st.builds(PersonName, PLAIN, PLAIN, st.one_of(st.just(""), PLAIN)))
# Letters that a person types who sees Cyrillic ones.
LOOK_ALIKE = str.maketrans("АВСЕНКМОРТХУ", "ABCEHKMOPTXY")


@given(generated, schemes, st.sampled_from([str.upper, str.title, str.lower]), st.permutations((0, 1)), st.booleans())
def test_who_is_registered_in_latin_is_similar_to_the_cyrillic_card_and_never_certain(
    name: PersonName, scheme: iuliia.Schema, case: Callable[[str], str], order: tuple[int, int], whole: bool
) -> None:
    family, given_name, middle = (case(written_by(scheme, part)) for part in (name.family, name.given, name.middle))
    first, second = [(family, given_name)[at] for at in order]
    card = replace(KUZNETSOVA, name=name, id=1, patient_id="000001", snils="", policy="")
    typed = replace(card, name=PersonName(first, second, middle if whole else ""), id=None, patient_id="")
    if not (names.stated(first) and names.stated(second)) or not names.identifies(name):
        return
    found = patient_match.match(typed, [card])
    assert (found.likeness, found.patients) == (Likeness.SIMILAR, (card,))
    assert patient_match.match(replace(card, patient_id=""), [replace(typed, id=2, patient_id="2")]).patient is None


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), schemes)
def test_somebody_else_in_latin_is_not_similar(known: PersonName, other: PersonName, scheme: iuliia.Schema) -> None:
    written = PersonName(*(written_by(scheme, part) for part in (other.family, other.given, other.middle)))
    card = replace(KUZNETSOVA, name=known, id=1, snils="", policy="")
    found = patient_match.similarity(replace(card, name=written, id=None), card)
    assert found is (Similarity.SPELLING if known == other else None)


letters_alike = st.text("АВСЕНКМОРТХУ", min_size=2, max_size=10)


@given(letters_alike, letters_alike, st.sampled_from([str.upper, str.title]))
def test_a_name_of_latin_letters_that_look_like_cyrillic_ones_is_similar(
    family: str, given_name: str, case: Callable[[str], str]
) -> None:
    card = replace(KUZNETSOVA, name=PersonName(family.title(), given_name.title()), id=1, snils="", policy="")
    alike = PersonName(case(family.translate(LOOK_ALIKE)), case(given_name.translate(LOOK_ALIKE)))
    found = patient_match.match(replace(card, name=alike, id=None, patient_id=""), [card])
    assert (found.likeness, found.patients) == (Likeness.SIMILAR, (card,))


@pytest.mark.parametrize("written", ["KOTOBA", "Kotova", "KOTOVA"])
def test_kotova_is_similar_in_every_letters(written: str) -> None:
    card = replace(KUZNETSOVA, name=PersonName("Котова", "Марина", "Петровна"))
    assert patient_match.similarity(card, replace(card, name=PersonName(written, "MAPИНА"))) is Similarity.SPELLING
    assert patient_match.similarity(card, replace(card, name=PersonName(written, "Marina"))) is Similarity.SPELLING
