"""Whatever words and beginnings of numbers of a patient are typed, the patient is found, or can be by typing on."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.patients import names
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store, Tx
from broker.store.queries import schedule
from broker.store.queries.patients import patient_search
from broker.store.tables.patients import patients
from broker.workflow import patient_merge
from tests.bench import search as bench
from tests.support import factory
from tests.support.clock import TODAY
from tests.support.factory import CLINIC, REGISTRAR

FAMILIES = ("Иванов", "Ивановский", "Петров", "Салтыков-Щедрин", "О'Хара", "Ли", "Константинопольский", "Ан")
GIVEN = ("Иван", "Ян", "Пётр", "Марина", "Ия", "Александр")
MOST_GROUPS = 5  # of digits that the search tells apart
MIDDLE = ("Иванович", "Александрович", "Юрьевна", "", "Оглы")


@dataclass(frozen=True)
class Known:
    """A card in use, and all numbers that lead to it."""

    id: int
    patient: Patient
    numbers: tuple[str, ...]


def person(number: int, chance: random.Random) -> Patient:
    name = PersonName(chance.choice(FAMILIES), chance.choice(GIVEN), chance.choice(MIDDLE))
    return Patient(
        name,
        date(1930, 1, 1) + timedelta(days=chance.randrange(30_000)),
        Sex.MALE,
        snils=f"{chance.randrange(10**11):011d}",
        policy=f"78{chance.randrange(10**14):014d}",
        phone=f"8 (9{number % 100:02d}) {chance.randrange(1000):03d}-{chance.randrange(100):02d}-11",
    )


@dataclass(frozen=True)
class Everybody:
    """A database, and who is in it."""

    store: Store
    people: list[Known] = field(repr=False)


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everybody]:
    """Some hundreds of people with few names; one in ten has a second card that was merged into the first."""
    store = factory.open_store(tmp_path_factory.mktemp("everybody") / "worklist.sqlite")
    chance = random.Random(4)

    def fill(tx: Tx) -> list[Known]:
        return [register(tx, number, chance) for number in range(1, 401)]

    yield Everybody(store, store.write(fill))
    store.close()


def register(tx: Tx, number: int, chance: random.Random) -> Known:
    patient, card = person(number, chance), f"{number:06d}"
    id = patients.add(tx, patient, card)
    accession_number = bench.add_visit(tx, id, datetime(2026, 1 + number % 11, 3, 9))
    numbers = [card, patient.snils, patient.policy, patient.phone, accession_number]
    if number % 10 == 0:
        second = replace(patient, snils="", policy="", phone=f"+7 812 {number:03d}-22-33")
        merged = patients.add(tx, second, f"B{number}/7")
        patient_merge.merge(tx, id, merged, (), (1, 1), REGISTRAR, CLINIC)
        numbers += [f"B{number}/7", second.phone]
    return Known(id, patient, tuple(numbers))


def pieces(known: Known, chance: random.Random) -> list[tuple[str, str]]:
    """Return some words and numbers of a patient, each as the beginning that is typed and as a whole, shuffled."""
    words = re.findall(r"[^\W\d_]+", names.fold(str(known.patient.name)))
    some_words = chance.sample(words, chance.randint(0, len(words)))
    some_numbers = chance.sample(known.numbers, chance.randint(0 if some_words else 1, 3))
    found = [(word[: chance.randint(1, len(word))], word) for word in some_words]
    for number in some_numbers:
        first = next(place for place, char in enumerate(number) if char.isdigit()) + 1
        beginning = number[: chance.randint(first, len(number))]
        written = chance.choice((str, lambda text: text.replace("-", ""), str.lower))
        found.append((written(beginning), written(number)))
    if chance.random() < 0.3 and known.patient.birth_date is not None:
        found.append((f"{known.patient.birth_date:%d.%m.%Y}",) * 2)
    chance.shuffle(found)
    groups = [part for _, whole in found for part in whole.split() if any(char.isdigit() for char in part)]
    return found if len(groups) < MOST_GROUPS else found[:1]  # the further line has a number more


@pytest.mark.slow
@settings(max_examples=150)
@given(which=st.integers(0, 399), seed=st.integers(0, 2**32))
def test_everybody_is_found_by_any_words_and_beginnings_of_numbers_or_by_typing_on(
    everybody: Everybody, which: int, seed: int
) -> None:
    known = everybody.people[which]
    chosen = pieces(known, random.Random(seed))
    with everybody.store.read() as reader:
        typed = " ".join(beginning for beginning, _ in chosen)
        found = patient_search.search(reader, typed)
        ids = [each.id for each in found.patients]
        assert known.id in ids or found.more, typed
        listed = schedule.studies(reader, typed, TODAY)
        assert known.id in {visit.order.patient.id for visit in listed.visits} or listed.more, typed
        if (
            known.id not in ids
        ):  # typing on, as people do: whole words, whole numbers, and the number that only they have
            whole = " ".join(each for _, each in chosen)
            further = f"{whole} {known.patient.name} {known.patient.snils}"
            assert known.id in [each.id for each in patient_search.search(reader, further).patients], further
