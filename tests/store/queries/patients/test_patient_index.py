"""Who of ours a person is who was described, looked up in a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from broker.domain.patients.patient_match import Likeness, PatientMatch
from broker.domain.patients.people import Patient, PersonName
from broker.store.database import Store
from broker.store.queries.patients import patient_index
from broker.store.tables.patients import patients
from tests.support import factory
from tests.support.factory import KUZNETSOVA

HERS = replace(KUZNETSOVA, snils="", policy="")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite")
    yield opened
    opened.close()


def know(store: Store, *people: Patient) -> list[int]:
    return [store.write(patients.add, each, f"{number:06d}") for number, each in enumerate(people, 1)]


def match(store: Store, person: Patient) -> PatientMatch:
    with store.read() as reader:
        return patient_index.match(reader, person)


@pytest.mark.parametrize(
    ("known", "typed"),
    [
        (("Кузнецова", "Марина", "Петровна"), ("Kuznetsova", "Marina")),
        (("Кузнецова", "Марина", "Петровна"), ("KUZNETSOVA", "MARINA", "PETROVNA")),
        (("Кузнецова", "Марина", "Петровна"), ("Marina", "Kuznetsova")),
        (("Юрьев", "Илья"), ("Yuryev", "Ilya")),
        (("Юрьев", "Илья"), ("Iurev", "Ilia")),
        (("Kuznetsova", "Marina"), ("Кузнецова", "Марина", "Петровна")),
        (("Kuznetsova", "Marina", "Petrovna"), ("Кузнецова", "Марина")),
        (("Yuryev", "Ilya"), ("Юрьев", "Илья")),  # not as in passports
        (("Jurieva", "Natalija"), ("Юрьева", "Наталия")),
        (("Saltykov-Schedrin", "Fyodor"), ("Салтыков-Щедрин", "Фёдор")),
    ],
)
@pytest.mark.parametrize("born", [None, date(1961, 3, 12), date(1961, 12, 3), date(1951, 3, 12), date(1961, 3, 13)])
def test_a_name_in_the_other_alphabet_is_similar_also_without_the_same_birth_date_and_never_certain(
    store: Store, known: tuple[str, ...], typed: tuple[str, ...], born: date | None
) -> None:
    [card] = know(store, replace(HERS, name=PersonName(*known)))
    found = match(store, replace(HERS, name=PersonName(*typed), birth_date=born))
    assert (found.likeness, [each.id for each in found.patients]) == (Likeness.SIMILAR, [card])


@pytest.mark.parametrize("typed", ["Kuznetsova Maria", "Kuznetsov Marina", "Petrova Marina", "Kuznetsova"])
def test_another_name_in_latin_letters_is_similar_to_nobody(store: Store, typed: str) -> None:
    know(store, HERS)
    found = match(store, replace(HERS, name=PersonName(*typed.split()), birth_date=None))
    assert found.likeness is Likeness.NO_MATCH


@pytest.mark.parametrize("typed", ["Кузнецова Мария", "Кузнецов Марина", "Петрова Марина"])
def test_another_name_than_a_card_in_latin_letters_has_is_similar_to_nobody(store: Store, typed: str) -> None:
    know(store, replace(HERS, name=PersonName("Kuznetsova", "Marina")))
    found = match(store, replace(HERS, name=PersonName(*typed.split()), birth_date=None))
    assert found.likeness is Likeness.NO_MATCH


def test_a_latin_name_and_quite_another_birth_date_are_somebody_else(store: Store) -> None:
    know(store, HERS)
    typed = replace(HERS, name=PersonName("Kuznetsova", "Marina", "Petrovna"), birth_date=date(1984, 8, 15))
    assert match(store, typed).likeness is Likeness.NO_MATCH


def test_a_patients_page_names_the_card_in_the_other_alphabet(store: Store) -> None:
    latin = replace(HERS, name=PersonName("Kuznetsova", "Marina"), birth_date=None)
    know(store, HERS, latin)
    with store.read() as reader:
        for id, other in ((1, 2), (2, 1)):
            card = patients.get(reader, id)
            assert card
            assert [each.patient.id for each in patient_index.similar_cards(reader, card)] == [other]
