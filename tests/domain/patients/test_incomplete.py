"""People of whom something is not known: who they are taken for, and what is to be completed for the region."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import validation
from broker.domain.patients import identity, incomplete, names, patient_match
from broker.domain.patients.incomplete import Missing
from broker.domain.patients.patient_match import Likeness, Similarity
from broker.domain.patients.people import Patient, PersonName, Sex
from tests.support.clock import TODAY

BORN = date(1961, 3, 12)
UNIDENTIFIED = [
    *(
        "Неизвестный",
        "Неизвестная",
        "неизвестный №3",
        "НЕИЗВЕСТНАЯ №12/4",
        "Неизвестный мужчина",
        "Неизвестная женщина 2",
    ),
    *("Неизвестный Неизвестный Неизвестный", "Неизвестный гражданин", "Неизвестный больной", "Неизвестный человек"),
    *("Неизвестное лицо мужского пола", "Неизвестный мужчина 40 лет", "Неизвестный по скорой", "Мужчина неизвестный"),
    *("Не установлен", "Не установлена женщина", "Без имени", "Личность не установлена", "Безымянный"),
    *("Неизвестно", "Неизв. 3", "Неопознанный 17", "Неустановленное лицо", "Неизвестный, мужчина, №3", "Unknown 7"),
]
NEWBORN = [
    *("Иванова новорождённая", "Иванова новорожденный", "Иванова девочка", "Иванова, девочка 2", "Иванов мальчик"),
    *("Иванова Н/Р", "Иванова н/р 2", "Иванова новор.", "Иванова плод первый", "Иванова двойня", "Иванова дочь"),
    *("Иванова I плод", "Иванов сын", "Иванов сын мать Мария", "Дочь Ивановой", "Иванов новорожд.", "Иванов младенец"),
    *("Новорождённый Ивановой", "Иванова новорождённая мать Мария", "Мамин-Сибиряк ребёнок"),
]
NAMED = [
    *("Неизвестный Эрнст Иосифович", "Неизвестная Анна", "Сухарто", "'т Хоофт Герард", "Иванова Мария Петровна"),
    *("Новорождественская Анна Петровна", "Новорождённов Пётр Ильич", "Иванов Младенец Петрович", "Ли Сын Ман"),
    *("Безымянный Пётр Ильич", "Мальчик Иван Петрович", "Плод Анна", "Неизвестнова Анна", "Без Анна Петровна"),
    *("Неизвестный Жан-Пьер", "Петрова-Младенец Анна"),
    *("Мальчиков Иван", "Девочкин Пётр Ильич", "Ребёнкина Анна", "Незнамов Иван"),
]


def patient(name: str, **changes: object) -> Patient:
    base = Patient(names.split(name), BORN, Sex.FEMALE, patient_id="000001", id=1)
    return replace(base, **changes)  # type: ignore[arg-type]


def described(known: Patient, **changes: object) -> Patient:
    return replace(known, id=None, patient_id="", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", UNIDENTIFIED)
def test_somebody_whom_nobody_knows_is_known_by_the_words(name: str) -> None:
    assert names.is_unidentified(names.split(name))
    assert not names.is_newborn(names.split(name))
    assert validation.patient_problems(patient(name), TODAY) == {}


@pytest.mark.parametrize("name", NEWBORN)
def test_a_newborn_without_a_name_is_known_by_the_words(name: str) -> None:
    assert names.is_newborn(names.split(name))
    assert not names.is_unidentified(names.split(name))
    assert validation.patient_problems(patient(name), TODAY) == {}


@pytest.mark.parametrize("name", NAMED)
def test_a_person_with_such_a_family_name_is_a_person(name: str) -> None:
    assert names.identifies(names.split(name))
    assert validation.patient_problems(patient(name), TODAY) == {}


@pytest.mark.parametrize(
    ("known", "found"),
    [
        (patient("Кузнецова Марина Петровна"), ()),
        (patient("Сухарто"), (Missing.ONE_NAME,)),
        (patient("Сухарто —"), (Missing.ONE_NAME,)),
        (Patient(PersonName("", "Сухарто"), BORN, Sex.MALE), (Missing.ONE_NAME,)),
        (patient("Кузнецова Марина", birth_date=None), (Missing.BIRTH_DATE,)),
        (patient("Кузнецова Марина", birth_date=None, birth_year=1961), (Missing.BIRTH_DATE,)),
        (patient("Сухарто", birth_date=None), (Missing.ONE_NAME, Missing.BIRTH_DATE)),
        (patient("Неизвестный №3", birth_date=None), (Missing.IDENTITY, Missing.BIRTH_DATE)),
        (patient("Иванова новорождённая"), (Missing.CHILD_NAME,)),
        (patient("'т Хоофт Герард"), ()),
    ],
)
def test_what_the_region_lacks_is_said(known: Patient, found: tuple[Missing, ...]) -> None:
    assert incomplete.missing(known) == found


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"birth_date": None}, {}),
        ({"birth_date": None, "birth_year": 1961}, {}),
        ({"birth_date": None, "birth_year": TODAY.year}, {}),
        ({"birth_date": None, "birth_year": TODAY.year + 1}, {"birth_date": "future"}),
        ({"birth_date": None, "birth_year": 1812}, {"birth_date": "too_old"}),
        ({"name": PersonName("Сухарто")}, {}),
        ({"name": PersonName("", "Сухарто")}, {"family": "required"}),
        ({"name": PersonName("'т Хоофт", "Герард")}, {}),
        ({"name": PersonName("’т Хоофт", "’Абд")}, {}),
        ({"name": PersonName("'", "Герард")}, {"family": "name_letters"}),
        ({"name": PersonName("Петров", "№3")}, {"given": "name_letters"}),
        ({"name": PersonName("Неизвестный", "3^4")}, {"given": "name_letters"}),
        ({"mother": "М" * 201}, {"mother": "too_long"}),
    ],
)
def test_they_can_be_registered(changes: dict[str, object], problems: dict[str, str]) -> None:
    assert validation.patient_problems(replace(patient("Ким Анна"), **changes), TODAY) == problems  # type: ignore[arg-type]


def test_an_unidentified_person_gets_a_number_of_its_own() -> None:
    def numbered(name: str) -> str:
        return str(incomplete.numbered(names.split(name), "004512"))

    assert numbered("Неизвестный") == "Неизвестный №004512"
    assert numbered("Неизвестная женщина") == "Неизвестная женщина №004512"
    assert numbered("Неизвестный №3") == "Неизвестный №3"
    assert numbered("Сухарто") == "Сухарто"
    assert numbered("Иванова новорождённая") == "Иванова новорождённая"
    assert str(incomplete.unidentified_name(Sex.FEMALE)) == "Неизвестная"
    assert str(incomplete.unidentified_name(None)) == "Неизвестный"


def test_a_newborn_bears_its_mothers_names() -> None:
    mother = PersonName("Иванова", "Мария", "Петровна")
    assert str(incomplete.newborn_name(mother, Sex.FEMALE)) == "Иванова новорождённая мать Мария"
    assert str(incomplete.newborn_name(PersonName("Иванова"), None)) == "Иванова новорождённый"
    assert names.is_newborn(incomplete.newborn_name(mother, Sex.MALE))


# ---- who is who ----


@pytest.mark.parametrize("name", [*UNIDENTIFIED, *NEWBORN])
@pytest.mark.parametrize("born", [BORN, None])
def test_two_under_what_stands_in_the_place_of_a_name_are_never_certainly_one(name: str, born: date | None) -> None:
    known = patient(name, birth_date=born)
    assert patient_match.match(described(known), [known]).patient is None


def test_two_whom_nobody_knows_are_not_even_similar() -> None:
    known = patient("Неизвестный №3", birth_date=None)
    assert patient_match.match(described(known), [known]).likeness is Likeness.NO_MATCH
    born = patient("Неизвестный №3")
    assert patient_match.match(described(born), [born]).likeness is Likeness.NO_MATCH
    assert patient_match.similar_cards(replace(born, id=2), [born]) == []


def test_a_card_number_finds_them_again() -> None:
    for name in ("Неизвестный №3", "Иванова новорождённая"):
        known = patient(name, birth_date=None)
        assert patient_match.match(replace(known, id=None), [known]).patient == known


def test_a_newborn_is_asked_about_once_it_may_have_a_name() -> None:
    known = patient("Иванова новорождённая мать Мария")
    for other in ("Иванова Дарья Олеговна", "Иванова новорождённая", "ИВАНОВА девочка"):
        assert patient_match.similarity(patient(other), known) is Similarity.NEWBORN
    assert patient_match.similarity(patient("Иванова Дарья", sex=Sex.MALE), known) is None
    assert patient_match.similarity(patient("Иванова Дарья", birth_date=date(1961, 3, 13)), known) is None
    assert patient_match.similarity(patient("Петрова Дарья"), known) is None


def test_one_name_with_a_birth_date_and_sex_is_asked_about_and_a_number_decides() -> None:
    for name in ("Сухарто", "Сухарто —"):
        known = patient(name)
        found = patient_match.match(described(known), [known])
        assert (found.likeness, found.patients) == (Likeness.SIMILAR, (known,))
        assert patient_match.similarity(described(known), known) is Similarity.ONE_NAME
        assert patient_match.match(replace(known, id=None), [known]).patient == known
        insured = replace(known, policy="7800000012345671")
        assert patient_match.match(described(insured), [insured]).patient == insured


def test_one_name_with_another_date_or_more_of_a_name_is_nobody_certain() -> None:
    known = patient("Сухарто")
    assert patient_match.match(described(known, birth_date=date(1962, 3, 12)), [known]).patient is None
    with_given = described(patient("Сухарто Иван"))
    assert patient_match.match(with_given, [known]).patient is None
    assert patient_match.similarity(with_given, known) is Similarity.GIVEN


years = st.sampled_from([None, 1961, 1962])
dates = st.sampled_from([None, BORN, date(1962, 3, 12)])


@given(dates, years, dates, years)
def test_an_unknown_birth_date_never_makes_certain(
    one: date | None, one_year: int | None, other: date | None, other_year: int | None
) -> None:
    known = patient("Близнецова Анна Петровна", birth_date=one, birth_year=None if one else one_year)
    person = described(known, birth_date=other, birth_year=None if other else other_year)
    found = patient_match.match(person, [known])
    assert (found.patient is not None) == (one is not None and one == other)
    if None in (one, other):
        differ = None not in (known.year_of_birth, person.year_of_birth) and known.year_of_birth != person.year_of_birth
        assert found.likeness is (Likeness.NO_MATCH if differ else Likeness.SIMILAR)
        assert differ or patient_match.similarity(person, known) is Similarity.PART_OF_DATE


def test_a_number_of_somebody_born_in_another_year_is_for_a_person_to_decide() -> None:
    known = patient("Близнецова Анна", birth_date=None, birth_year=1961, snils="11223344595")
    born = {"birth_date": date(1962, 1, 1), "birth_year": None}
    assert patient_match.match(described(known, **born), [known]).fields == ("birth_date",)
    assert patient_match.match(described(known, birth_date=BORN, birth_year=None), [known]).patient == known


# ---- what devices report ----


@pytest.mark.parametrize(
    ("known", "name", "number", "born", "found"),
    [
        (patient("Неизвестный №3"), "Неизвестный^№3", "000001", "", []),
        (patient("Неизвестный №3"), "Неизвестный^№3", "000002", "", ["patient_id"]),  # another one
        (patient("Неизвестный №3"), "Neizvestnyi^No3", "000001", "", []),
        (patient("Неизвестный №3"), "Neizvestnyi^No3", "000002", "", ["patient_id"]),
        (patient("Неизвестный №3"), "Петров^Иван", "000001", "", ["patient_name"]),
        (patient("Петров Иван"), "Неизвестный^№3", "000001", "", []),  # made before somebody knew him
        (patient("Петров Иван"), "Неизвестный^№3", "000002", "", ["patient_name", "patient_id"]),
        (patient("Иванова Анна"), "Иванова^новорождённая^мать Мария", "000001", "", []),
        (patient("Иванова новорождённая"), "Иванова^новорождённая", "000002", "", ["patient_id"]),  # a twin
        (patient("Сухарто"), "Сухарто", "X9", "", []),
        (patient("Сухарто"), "Сухарто^Иван", "000001", "", []),
        (patient("Сухарто"), "Сукарно", "000001", "", ["patient_name"]),
        (patient("Ким Анна", birth_date=None), "Ким^Анна", "000001", "19700101", []),
        (patient("Ким Анна", birth_date=None, birth_year=1950), "Ким^Анна", "000001", "19500101", []),
        (patient("Ким Анна", birth_date=None, birth_year=1950), "Ким^Анна", "000001", "19000101", []),
        (patient("Ким Анна", birth_date=None, birth_year=1950), "Ким^Анна", "000001", "1970", ["patient_birth_date"]),
    ],
)
def test_what_a_device_reports_of_them(known: Patient, name: str, number: str, born: str, found: list[str]) -> None:
    assert identity.contradictions(known, name, number, born) == found


def test_a_name_that_is_none_is_no_sure_agreement() -> None:
    assert identity.agreements(patient("Неизвестный №3"), "Неизвестный^№3", "000002") == []
    assert identity.agreements(patient("Неизвестный №3"), "Неизвестный^№3", "000001") == ["patient_id"]


@pytest.mark.parametrize("name", ["Неизвестный Неизвестный Неизвестный", "Иванова Н/Р"])
def test_a_made_up_birth_date_beside_no_name_makes_nobody_certain(name: str) -> None:
    known = patient(name, birth_date=date(1900, 1, 1))
    assert patient_match.match(described(known), [known]).patient is None


# ---- completing ----


def test_what_was_known_stays_when_less_is_typed_and_more_takes_its_place() -> None:
    known = patient("Ким Анна Ли", birth_date=None, birth_year=1961, mother="Ким Ольга")
    assert identity.merge(known, described(known, birth_date=BORN, birth_year=None)).born == BORN
    assert identity.merge(known, described(known, birth_year=None)).born == 1961
    dated = patient("Ким Анна Ли")
    assert identity.merge(dated, described(dated, birth_date=None, birth_year=1961)).born == BORN
    chosen = replace(dated, birth_date=None)
    assert identity.merge(dated, chosen).born is None  # a person has emptied it
    assert identity.merge(known, described(known, mother="")).mother == "Ким Ольга"


def test_an_import_fills_in_a_date_and_contradicts_a_year() -> None:
    known = patient("Ким Анна", birth_date=None, birth_year=1961)
    imported = patient("Ким Анна")
    assert identity.difference(imported, known) == ""
    assert identity.fill_in(known, imported).born == BORN
    assert identity.fill_in(known, replace(imported, birth_date=None)).born == 1961
    assert identity.difference(replace(imported, birth_date=date(1970, 1, 1)), known) == "date of birth"


def test_lists_and_small_devices_keep_what_tells_them_apart() -> None:
    unknown = names.split("Неизвестный №004512")
    assert names.short(unknown) == "Неизвестный №004512"
    assert names.short(names.split("Иванова девочка 2")) == "Иванова девочка 2"
    assert names.short(names.split("Неизвестный Эрнст Иосифович")) == "Неизвестный Э. И."
    assert [names.to_dicom(names.fit(unknown, length)) for length in (64, 16, 8)] == [
        *("Неизвестный^№004512", "Неизв.^№004512", "№004512")
    ]
