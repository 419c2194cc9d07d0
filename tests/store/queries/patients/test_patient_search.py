"""Everybody is found by whatever people type of them, however many others there are."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dicom.worklist import name_matching
from broker.domain.patients import names
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store, Tx
from broker.store.queries import schedule
from broker.store.queries.patients import number_lookup, patient_search, typed_query
from broker.store.queries.patients.number_lookup import Column, Lookup
from broker.store.tables.patients import patients
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.clock import TODAY
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR

IVANOV = Patient(
    PersonName("Иванов", "Ярослав", "Юрьевич"),
    date(1938, 2, 17),
    Sex.MALE,
    snils="08765430300",
    policy="7800000012345689",
    phone="8 (903) 123-45-67",
)
SALTYKOV = Patient(PersonName("Салтыков-Щедрин", "Фёдор"), date(1961, 3, 12), Sex.MALE, phone="2-34-56")
OLD = date(1950, 1, 1), Sex.MALE
OHARA = Patient(PersonName("О'Хара", "Анна", "Сергеевна"), date(2001, 1, 9), Sex.FEMALE)


@pytest.fixture
def people(store: Store) -> Store:
    for patient, number in ((KUZNETSOVA, "004512"), (IVANOV, "A-77/2"), (SALTYKOV, "000003"), (OHARA, "000004")):
        store.write(patients.add, patient, number)
    return store


def found(store: Store, typed: str, limit: int = 8) -> list[str]:
    with store.read() as reader:
        return [patient.name.family for patient in patient_search.search(reader, typed, limit).patients]


def crowd(store: Store, count: int, family: str = "Иванов", given: str = "Иван") -> None:
    """Add namesakes who stand before everybody else in the alphabet, and in the table."""

    def add(tx: Tx) -> None:
        for number in range(count):
            middle = "а" + "".join(chr(ord("а") + int(digit)) for digit in f"{number:05d}")
            patients.add(tx, Patient(PersonName(family, given, middle), date(1950, 1, 1), Sex.MALE), f"C{number}")

    store.write(add)


def add_numbered(store: Store, beginning: str, count: int = 30) -> None:
    """Add people whose card numbers begin so."""

    def add(tx: Tx) -> None:
        for number in range(count):
            patients.add(tx, Patient(PersonName("Иванов", "Иван", f"Ч{number}"), *OLD), f"{beginning}{number:03d}")

    store.write(add)


@pytest.mark.parametrize(
    ("typed", "family"),
    [
        # every word, in any order, with any signs
        ("ярослав", "Иванов"), ("юрьевич", "Иванов"), ("ю я и", "Иванов"), ("Иванов Я.Ю.", "Иванов"),
        ("иванов,ярослав", "Иванов"), ("щедрин", "Салтыков-Щедрин"), ("салтыков–щ", "Салтыков-Щедрин"),
        ("федор салт", "Салтыков-Щедрин"), ("О’Хара", "О'Хара"), ("oʼхара", "О'Хара"), ("хара анна", "О'Хара"),
        # every form of the birth date, alone and beside words
        ("17.02.1938", "Иванов"), ("17021938", "Иванов"), ("17/02/1938", "Иванов"), ("17,02,1938", "Иванов"),
        ("17.02.38", "Иванов"), ("1938-02-17", "Иванов"), ("17 02 1938", "Иванов"), ("9.1.01", "О'Хара"),
        ("иванов ярослав 17021938", "Иванов"), ("ива 17/2/38", "Иванов"), ("иванов 1938", "Иванов"),
        ("1938 ярослав", "Иванов"),
        # every number, with any dashes and blanks
        ("087-654-303 00", "Иванов"), ("08765430300", "Иванов"), ("087 654", "Иванов"), ("087–654", "Иванов"),
        ("087\u2011654\u2011303\u00a000", "Иванов"), ("087−654−303\u202f00", "Иванов"), ("087\u2043654", "Иванов"),
        ("7800 0000 1234 5689", "Иванов"), ("+7 903 123-45-67", "Иванов"), ("89031234567", "Иванов"),
        ("903123", "Иванов"), ("(903) 123 45", "Иванов"), ("23456", "Салтыков-Щедрин"), ("2-34-56", "Салтыков-Щедрин"),
        ("004512", "Кузнецова"), ("4512", "Кузнецова"), ("a77/2", "Иванов"), ("А-77", "Иванов"),
    ],
)  # fmt: skip
def test_a_patient_is_found_by_anything_that_is_typed_of_him(people: Store, typed: str, family: str) -> None:
    assert found(people, typed) == [family]


@pytest.mark.parametrize("typed", ["", "%", "_", "'", '"', "иванов 1939", "ярослав 18.02.1938", "31.02.1938 иванов",
                                   "OR", "иванов NOT ярослав", "нетакого", "-", "*", "1" * 400])  # fmt: skip
def test_what_fits_nobody_finds_nobody(people: Store, typed: str) -> None:
    assert found(people, typed) == []


@pytest.mark.parametrize(
    "write",
    ["{}", "K26110001", "k2611 0001", "k2611–0001", "л2611-0001"],
    ids=["as it is", "-", "blank", "dash", "keys"],
)
def test_an_order_is_found_by_its_number_with_any_dashes_and_keys(store: Store, write: str) -> None:
    order = store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    typed = write.format(order.accession_number)
    assert found(store, typed) == ["Кузнецова"]
    with store.read() as reader:
        studies = schedule.studies(reader, typed, TODAY)
    assert [visit.order.id for visit in studies.visits] == [order.id]
    assert studies.numbered


@pytest.mark.parametrize(
    "typed",
    ["иванов ярослав", "ярослав иванов", "ива яро", "я ива", "иванов юрьевич", "иванов 17.02.1938", "иванов 1938"],
)
def test_nobody_is_out_of_reach_behind_his_namesakes(people: Store, typed: str) -> None:
    crowd(people, 2000)
    assert found(people, typed) == ["Иванов"]


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("неизвестный", "7"),
        ("неизвестный №3", "7"),
        ("неизвестный 3", "7"),
        ("сухарто 1961", "8"),  # of the birth date only the year is known
        ("сухарто", "8"),
        ("т хоофт", "9"),
        ("'т хоофт", "9"),
        ("иванова девочка 2", "10"),
        ("иванова мария", "10"),
    ],
)
def test_who_is_not_fully_known_is_found_as_well(people: Store, typed: str, number: str) -> None:
    for name, year, card in (
        (PersonName("Неизвестный", "№3"), None, "7"),
        (PersonName("Сухарто"), 1961, "8"),
        (PersonName("'т Хоофт", "Герард"), None, "9"),
        (PersonName("Иванова", "девочка 2", "мать Мария"), None, "10"),
    ):
        people.write(patients.add, Patient(name, None, Sex.OTHER, birth_year=year), card)
    with people.read() as reader:
        assert [each.patient_id for each in patient_search.search(reader, typed).patients] == [number]


def test_a_year_that_is_found_out_to_be_a_date_is_found_by_the_date(people: Store) -> None:
    known = Patient(PersonName("Сухарто"), None, Sex.MALE, birth_year=1961)
    id = people.write(patients.add, known, "8")
    people.write(patients.update, id, replace(known, birth_date=date(1962, 3, 12), birth_year=None))
    assert [found(people, typed) for typed in ("сухарто 1961", "сухарто 1962")] == [[], ["Сухарто"]]


def test_a_number_beside_words_finds_its_bearer_whatever_others_have_such_numbers(people: Store) -> None:
    crowd(people, 30)
    add_numbered(people, "112")
    people.write(patients.add, Patient(PersonName("Яковлев", "Ян"), *OLD), "112999")
    assert found(people, "яковлев 112") == found(people, "112 ян яковлев") == ["Яковлев"]


@pytest.mark.parametrize("typed", ["иван", "иванова", "иванов мария", "иванова 1990", "иванова 7"])
def test_a_mother_is_found_behind_any_number_of_men_and_newborns(people: Store, typed: str) -> None:
    crowd(people, 150)
    newborn = Patient(PersonName("Иванова", "новорождённая", "мать Мария"), date(1990, 5, 6), Sex.FEMALE)
    mother = Patient(PersonName("Иванова", "Мария", "Яковлевна"), date(1990, 5, 6), Sex.FEMALE)
    # The last card is the first that the words find, and «Иванов» stands before «Иванова».
    people.write(patients.add, mother, "7M")
    for number in range(150):
        people.write(patients.add, newborn, f"7N{number}")
    with people.read() as reader:
        mothers = patient_search.mothers(reader, typed)
    assert [str(each.name) for each in mothers.patients] == ["Иванова Мария Яковлевна"]


@pytest.mark.parametrize("typed", ["1", "12", "12.", "12.0", "12.03", "12.03.", "12.03.1", "12.03.19", "12.03.196"])
def test_a_date_that_is_being_typed_beside_a_name_hides_nobody(people: Store, typed: str) -> None:
    assert found(people, f"кузнецова {typed}") == ["Кузнецова"]


def test_where_more_are_found_than_shown_it_is_said(people: Store) -> None:
    crowd(people, 20)
    with people.read() as reader:
        many = patient_search.search(reader, "иванов", 8)
        one = patient_search.search(reader, "иванов ярослав", 8)
        all_of_them = patient_search.search(reader, "иванов", 21)
    assert (len(many.patients), many.more) == (8, True)
    assert (len(one.patients), one.more) == (1, False)
    assert (len(all_of_them.patients), all_of_them.more) == (21, False)


def test_whole_words_of_the_family_name_come_first(people: Store) -> None:
    for family in ("Ивановский", "Иванова"):
        patient = Patient(PersonName(family, "Пётр", "Иванович"), date(1950, 1, 1), Sex.MALE)
        people.write(patients.add, patient, family)
    assert found(people, "иванов") == ["Иванов", "Иванова", "Ивановский"]


def test_a_patient_whose_name_or_birth_date_changes_is_found_by_the_new_one_only(people: Store) -> None:
    with people.read() as reader:
        known = patients.find_by(reader, "snils", "08765430300")
    assert known is not None
    changed = replace(known, name=PersonName("Петров", "Ярослав"), birth_date=date(1939, 1, 1))
    people.write(patients.update, known.stored_id, changed)
    assert found(people, "ярослав 1939") == found(people, "петров ярослав") == ["Петров"]
    assert found(people, "иванов") == found(people, "ярослав 1938") == found(people, "юрьевич") == []
    people.write(lambda tx: tx.run("DELETE FROM patient WHERE id = ?", [known.stored_id]))
    assert found(people, "ярослав") == []
    people.write(lambda tx: tx.run("INSERT INTO patient_search (patient_search) VALUES ('integrity-check')"))


@pytest.mark.slow
def test_studies_of_everybody_who_matches_are_found_and_it_is_said_when_there_are_more(store: Store) -> None:
    for number in range(60):  # namesakes
        patient = Patient(PersonName("Иванов", "Иван", chr(ord("а") + number // 8) * (number % 8 + 1)), *OLD)
        store.write(referrals.register, factory.draft(patient=patient), REGISTRAR, CLINIC)
    with store.read() as reader:
        assert len(schedule.studies(reader, "иванов", TODAY).visits) == 60
        some = schedule.studies(reader, "иван иванов", TODAY, 50)
    assert (len(some.visits), some.more) == (50, True)


@pytest.mark.parametrize("typed", ["K2611-0001", "k2611 0001", "л26110001"])
def test_all_orders_that_share_a_number_are_found_by_it_however_it_is_typed(store: Store, typed: str) -> None:
    sharing = replace(CLINIC, shares_accession_numbers=True)
    first = store.write(referrals.register, factory.draft(), REGISTRAR, sharing)
    other = store.write(referrals.register_another, first.id, factory.draft(), REGISTRAR, sharing)
    with store.read() as reader:
        found_studies = schedule.studies(reader, typed, TODAY)
    assert {visit.order.id for visit in found_studies.visits} == {first.id, other.id}
    assert found_studies.numbered


def add_order(store: Store, patient: Patient, days: int) -> None:
    draft = factory.draft(patient=patient, start=factory.soon(days=days))
    store.write(referrals.register, draft, REGISTRAR, CLINIC)


@pytest.mark.slow
def test_a_study_is_found_behind_any_number_of_namesakes_without_one(people: Store) -> None:
    crowd(people, 2500, "Яковлев", "Ян")
    add_order(people, Patient(PersonName("Яковлев", "Ян", "Янович"), *OLD), 0)
    with people.read() as reader:
        for typed in ("яковлев", "ян яковлев", "яковлев ян янович", "яковлев 1950"):
            found = schedule.studies(reader, typed, TODAY)
            assert [visit.order.patient.name.middle for visit in found.visits] == ["Янович"], typed
            assert not found.more


def test_where_more_studies_match_than_are_listed_the_last_ones_are_among_them(store: Store) -> None:
    for number in range(12):
        add_order(store, Patient(PersonName("Иванов", "Иван", "я" * (number + 1)), *OLD), 12 - number)
    with store.read() as reader:
        found = schedule.studies(reader, "иванов", TODAY, 5)
    assert [len(visit.order.patient.name.middle) for visit in found.visits] == [1, 2, 3, 4, 5]
    assert found.more


@pytest.mark.parametrize("typed", ["иванов 112", "112 иванов", "иванов иван 112", "иванов 1129 112"])
def test_a_number_beside_a_common_name_finds_its_bearer_among_many_with_either(people: Store, typed: str) -> None:
    crowd(people, 300)
    add_numbered(people, "113", 300)
    people.write(patients.add, Patient(PersonName("Иванов", "Иван", "Яковлевич"), *OLD), "112999")
    with people.read() as reader:
        found_patients = patient_search.search(reader, typed)
    assert [patient.patient_id for patient in found_patients.patients] == ["112999"]
    assert not found_patients.more


def test_two_numbers_narrow_down_and_a_number_in_groups_is_one(people: Store) -> None:
    assert found(people, "087 7800") == found(people, "иванов 087 7800") == ["Иванов"]
    assert found(people, "иванов 087 654") == found(people, "иванов 8 903 123") == ["Иванов"]
    assert found(people, "087 7801") == found(people, "иванов 087 7801") == []


@pytest.mark.parametrize("typed", ["иванов 8 9 0 3", "иванов 0 8 7 6 5", "иванов 0 8 7 65", "0 8 7 6 5"])
def test_digits_that_are_typed_one_by_one_are_a_number(people: Store, typed: str) -> None:
    assert found(people, typed) == ["Иванов"]
    for reading in typed_query.readings(typed):
        assert reading.dates or all(len(number) > 1 for number in reading.numbers), reading


@pytest.mark.parametrize("typed", ["7 8 (903) 12 ярослав", "8 (903) 12 0 ярослав", "0 8 (903) 123-45 иванов"])
def test_one_digit_beside_a_number_in_groups_hides_nobody(people: Store, typed: str) -> None:
    assert found(people, typed) == ["Иванов"]


@pytest.mark.parametrize("typed", ["иванов 1938 087", "иванов 7800 1938", "иванов 12 780 17.02.1938"])
def test_year_and_date_beside_numbers_are_read_as_what_fits(people: Store, typed: str) -> None:
    people.write(patients.add, Patient(PersonName("Иванов", "Пётр"), *OLD, phone="8 912 000-00-00"), "12")
    assert found(people, typed) == ([] if " 12 " in typed else ["Иванов"])


@pytest.mark.parametrize(
    ("typed", "family"),
    [
        ("kuznetsova marina", "Кузнецова"), ("KUZNETSOVA", "Кузнецова"), ("kuz mar", "Кузнецова"),
        ("kuznecova", "Кузнецова"), ("Ivanov Yaroslav Yuryevich", "Иванов"), ("ivanov iaroslav iurevich", "Иванов"),
        ("KУЗHEЦOBA", "Кузнецова"), ("saltykov-shchedrin fyodor", "Салтыков-Щедрин"), ("shedrin", ""),
        ("kuznetsova 1961", "Кузнецова"), ("ivanov 17.02.1938", "Иванов"), ("ivanov 087", "Иванов"), ("ivanova", ""),
    ],
)  # fmt: skip
def test_a_cyrillic_name_is_found_by_latin_letters(people: Store, typed: str, family: str) -> None:
    assert found(people, typed) == ([family] if family else [])


@pytest.mark.parametrize(
    ("typed", "family"),
    [
        ("bdfyjd", "Иванов"),
        ("BDFYJD ZHJCKFD", "Иванов"),
        ("bdfyjd 1938", "Иванов"),
        ("bdfyjd 17.02.1938", "Иванов"),
        ("rep", "Кузнецова"),
        ("cfknsrjd", "Салтыков-Щедрин"),
    ],
)
def test_a_name_that_was_typed_in_the_other_layout_is_found(people: Store, typed: str, family: str) -> None:
    assert found(people, typed) == [family]


@pytest.mark.parametrize(
    ("typed", "family"),
    [
        ("хрущёва", "Khrushcheva"),
        ("хрущева анна 12.03.1961", "Hruscheva"),
        ("хрущёва анна", "Hruscheva"),
        ("анна хру", "Hruscheva"),
        ("юрьев 1961", "Yuryev"),
        ("алекс", "Alexeeva"),
        ("алек", "Alexeeva"),
    ],
)
def test_a_card_in_latin_letters_is_found_by_the_cyrillic_name(people: Store, typed: str, family: str) -> None:
    for number, name in enumerate((("Khrushcheva", "Olga"), ("Hruscheva", "Anna"), ("Yuryev",), ("Alexeeva", "Vera"))):
        people.write(patients.add, replace(OHARA, name=PersonName(*name), birth_date=date(1961, 3, 12)), f"L{number}")
    assert family in found(people, typed)
    assert "Khrushcheva" not in found(people, "хрущёва анна")


@pytest.mark.parametrize("typed", ["KOTOBA", "kotoba", "Котова", "kotova", "KOTOBA MAPTA", "котова mapta"])
def test_a_name_of_look_alikes_all_through_is_the_cyrillic_one(people: Store, typed: str) -> None:
    people.write(patients.add, Patient(PersonName("Котова", "Марта"), *OLD), "77")
    assert found(people, typed) == ["Котова"]


@pytest.mark.parametrize("column", number_lookup.COLUMNS, ids=lambda column: column.key[:40])
def test_every_lookup_of_a_number_goes_by_an_index(people: Store, column: Column) -> None:
    lookup = Lookup(column, "1", "number")
    with people.read() as reader:
        plan = reader.rows(f"EXPLAIN QUERY PLAN {lookup.cards()}", lookup.params)
    assert [row["detail"].split()[0] for row in plan] == ["SEARCH"], plan


@pytest.mark.parametrize(
    "typed", ["куз", "куз мар 12.03.1961", "кузнецова 780", "112 780", "112-233", "kuznetsova", "куз 12"]
)
def test_no_search_scans_the_patients(people: Store, typed: str) -> None:
    with people.read() as reader:
        for each in patient_search.selections(reader, typed, 9):
            sql = " ".join(("EXPLAIN QUERY PLAN SELECT p.* FROM", each.source, "WHERE", each.where, each.order))
            plan = [row["detail"] for row in reader.rows(sql, dict(each.params))]
            assert not [step for step in plan if step.startswith("SCAN") and step.split()[1] in ("p", "x", "o")], plan


@pytest.mark.parametrize(
    ("family", "typed"),
    [
        ("О'Хара", "о’хара"), ("О’Хара", "О'ХАРА"), ("О`Хара", "оʼхара"), ("Салтыков–Щедрин", "салтыков-щедрин"),
        ("Салтыков-Щедрин", "САЛТЫКОВ—ЩЕДРИН"), ("Ёлкина", "елкина"), ("Елкина", "ёлкина"), ("Әхмәтов", "ахматов"),
        ("Ахматов", "әхмәтов"), ("Петpов", "петров"), ("Петров", "петpов"), ("Ґалаган", "галаган"), ("Böhm", "BOHM"),
    ],
)  # fmt: skip
def test_the_desk_and_a_device_find_a_name_in_the_same_spellings(store: Store, family: str, typed: str) -> None:
    store.write(patients.add, Patient(PersonName(family, "Анна"), date(1950, 1, 1), Sex.FEMALE), "1")
    assert found(store, typed) == [family]
    assert name_matching.matches(typed, f"{family}^Анна")
    assert found(store, typed[:4]) == [family]
    assert name_matching.matches(f"{typed[:4]}*", f"{family}^Анна")


LETTERS = "абвгийкмоуыьяёңәғіїў-'’ʼ ÀàéŁoOcC"


@pytest.mark.slow
@given(st.text(LETTERS, min_size=1, max_size=12), st.text(LETTERS, min_size=1, max_size=12), st.randoms())
def test_the_words_of_any_name_find_its_bearer(
    tmp_path_factory: pytest.TempPathFactory, family: str, given_name: str, chance: random.Random
) -> None:
    name = PersonName(names.tidy(family), names.tidy(given_name))
    if not name.family:
        return
    store = factory.open_store(tmp_path_factory.mktemp("search") / "worklist.sqlite")
    try:
        store.write(patients.add, Patient(name, date(1950, 1, 1), Sex.MALE), "1")
        words = re.findall(r"[^\W\d_]+", names.fold(str(name)))
        chance.shuffle(words)
        typed = " ".join(word[: chance.randint(1, len(word))].upper() for word in words)
        assert len(found(store, typed)) == bool(words)
    finally:
        store.close()
