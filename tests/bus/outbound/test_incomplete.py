"""Somebody who is not fully known is on the worklist at once; the region is told as soon as the card is completed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from broker.bus.outbound.delivery import DeliverySummary
from broker.domain.errors import Forbidden, Invalid, NotFound, Stale
from broker.domain.messages import OutboxState
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store
from broker.store.tables import orders
from broker.store.tables.patients import patients
from broker.store.tables.worklist import IndexFilter, candidates
from broker.workflow import patient_correction, patient_merge
from broker.workflow.referrals import referrals
from tests.bus.clinic import ADMINISTRATOR, Clinic, numbers
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft

BORN = date(1961, 3, 12)
PETROV = PersonName("Петров", "Иван", "Олегович")
PEOPLE = {
    "unidentified": Patient(PersonName("Неизвестный", "№3"), None, Sex.MALE),
    "newborn": Patient(PersonName("Иванова", "новорождённая", "мать Мария"), BORN, Sex.FEMALE, mother="Иванова Мария"),
    "one name": Patient(PersonName("Сухарто"), BORN, Sex.MALE),
    "dash": Patient(PersonName("Сухарто", "—", "-"), BORN, Sex.MALE),
    "year": Patient(PETROV, None, Sex.MALE, birth_year=1961),
    "no date": Patient(PETROV, None, Sex.MALE),
}


def worklist(store: Store) -> list[int]:
    with store.read() as reader:
        return [each.order_id for each in candidates(reader, IndexFilter(), 10)]


def card(store: Store, order: Order) -> Patient:
    with store.read() as reader:
        return orders.require(reader, order.id).patient


def correct(clinic: Clinic, known: Patient, **changes: Any) -> Patient:
    after = replace(known, **changes)
    return clinic.store.write(patient_correction.correct, after, REGISTRAR, CLINIC, made_seen=clinic.made(known))


def complete(clinic: Clinic, order: Order) -> Patient:
    return correct(clinic, card(clinic.store, order), name=PETROV, birth_date=BORN)


@pytest.mark.parametrize("who", PEOPLE)
def test_only_the_message_waits_and_goes_by_itself_in_order(clinic: Clinic, who: str) -> None:
    order = clinic.register(patient=PEOPLE[who])
    assert worklist(clinic.store) == [order.id]
    clinic.perform(order)
    assert clinic.deliver() == DeliverySummary(needs_attention=1)
    assert clinic.calls() == []  # nothing is sent that would be refused
    assert [row.state for row in clinic.rows()] == [OutboxState.NEEDS_ATTENTION, OutboxState.PENDING]
    complete(clinic, order)
    assert clinic.deliver() == DeliverySummary(delivered=2)
    original, result = clinic.bus.tasks()
    assert numbers([original, result]) == [order.accession_number, f"{order.accession_number}/in-progress"]
    [patient] = clinic.bus.resources("Patient")
    assert (patient["name"][0]["family"], patient["birthDate"]) == ("Петров", "1961-03-12")


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("unidentified", "the patient is not identified; date of birth unknown"),
        ("newborn", "the newborn has no name yet"),
        ("one name", "the patient has one name only"),
        ("dash", "the patient has one name only"),
        ("year", "date of birth unknown"),
        ("no date", "date of birth unknown"),
    ],
)
def test_the_reason_says_what_is_missing(clinic: Clinic, who: str, reason: str) -> None:
    clinic.register(patient=PEOPLE[who])
    clinic.deliver()
    assert clinic.rows()[0].reason == reason


def test_a_part_of_what_is_missing_is_not_enough(clinic: Clinic) -> None:
    order = clinic.register(patient=PEOPLE["unidentified"])
    clinic.deliver()
    correct(clinic, card(clinic.store, order), name=PETROV, birth_year=1961)
    assert clinic.deliver() == DeliverySummary(needs_attention=1)
    assert clinic.rows()[0].reason == "date of birth unknown"


def test_a_referral_that_completes_the_card_lets_the_earlier_ones_go(clinic: Clinic) -> None:
    first = clinic.register(patient=PEOPLE["year"])
    clinic.deliver()
    known = card(clinic.store, first)
    second = clinic.register(patient=replace(known, birth_date=BORN, birth_year=None))
    assert clinic.deliver() == DeliverySummary(delivered=2)
    assert numbers(clinic.bus.tasks()) == [first.accession_number, second.accession_number]


def test_a_merge_with_a_known_card_lets_it_go(clinic: Clinic) -> None:
    known = clinic.register(patient=KUZNETSOVA).patient
    unknown = clinic.register(patient=PEOPLE["unidentified"])
    assert clinic.deliver() == DeliverySummary(delivered=1, needs_attention=1)
    ids = known.stored_id, unknown.patient.stored_id
    clinic.store.write(patient_merge.merge, *ids, (), (known.revision, unknown.patient.revision), REGISTRAR, CLINIC)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert [patient["birthDate"] for patient in clinic.bus.resources("Patient")] == ["1961-03-12"]


def test_what_the_region_has_already_is_amended_for_all_orders(clinic: Clinic) -> None:
    first, second = clinic.register(), clinic.register()
    clinic.deliver()
    correct(clinic, card(clinic.store, first), name=replace(KUZNETSOVA.name, family="Замужняя"))
    assert [row.kind for row in clinic.rows()] == ["order", "order", "amend", "amend"]
    assert card(clinic.store, second).name.family == "Замужняя"


def test_two_whom_nobody_knows_get_cards_and_numbers_of_their_own(clinic: Clinic) -> None:
    unknown = Patient(PersonName("Неизвестный"), None, Sex.MALE)
    found = [clinic.register(patient=unknown).patient for _ in range(2)]
    assert [str(each.name) for each in found] == [f"Неизвестный №{each.patient_id}" for each in found]
    assert found[0].patient_id != found[1].patient_id


def test_the_same_newborn_under_its_card_number_stays_one(clinic: Clinic) -> None:
    first = clinic.register(patient=PEOPLE["newborn"]).patient
    twin = clinic.register(patient=PEOPLE["newborn"], other_than=(first.stored_id,)).patient
    again = clinic.register(patient=replace(PEOPLE["newborn"], patient_id=first.patient_id)).patient
    assert first.id == again.id != twin.id


# ---- the correction of a card ----


def test_a_correction_is_refused_with_the_reason(clinic: Clinic) -> None:
    other = clinic.register(patient=KUZNETSOVA).patient
    known = clinic.register(patient=PEOPLE["unidentified"]).patient
    with pytest.raises(Invalid) as raised:
        correct(clinic, known, snils=other.snils)
    assert raised.value.problems == {"snils": "other_patient"}
    with pytest.raises(Invalid) as raised:
        correct(clinic, known, name=PersonName("", "Иван"), birth_date=date(2100, 1, 1))
    assert raised.value.problems == {"family": "required", "birth_date": "future"}
    with pytest.raises(Forbidden):
        clinic.store.write(patient_correction.correct, known, ADMINISTRATOR, CLINIC)
    with pytest.raises(NotFound):
        correct(clinic, known, id=4711)
    correct(clinic, known, name=PETROV)
    with pytest.raises(Stale):
        correct(clinic, known, birth_date=BORN)


def test_a_correction_that_changes_nothing_leaves_no_trail(clinic: Clinic) -> None:
    known = clinic.register().patient
    assert correct(clinic, known, phone=f" {known.phone} ") == known
    with clinic.store.read() as reader:
        assert reader.value("SELECT count(*) FROM audit WHERE action = 'patient_amend'") == 0


def test_a_correction_stands_in_the_trail_of_the_card_and_of_every_order(clinic: Clinic) -> None:
    order = clinic.register(patient=PEOPLE["unidentified"])
    complete(clinic, order)
    with clinic.store.read() as reader:
        trail = reader.rows("SELECT order_id FROM audit WHERE action = 'patient_amend' ORDER BY seq")
        known = patients.find_by(reader, "patient_id", order.patient.patient_id)
    assert [row["order_id"] for row in trail] == [None, order.id]
    assert known is not None
    assert known.name == PETROV
    amended = clinic.store.write(
        referrals.amend, order.id, order.revision, draft(patient=known), REGISTRAR, CLINIC
    )  # the referral's own revision has not changed
    assert amended.patient.birth_date == BORN
