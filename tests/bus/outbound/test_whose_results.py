"""Results go to the region as the patient's to whom they belong now, or wait for a person."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from broker.bus.outbound import outcomes
from broker.bus.outbound.messages import read
from broker.bus.outbound.orders import amendment_bundle
from broker.bus.outbound.outcomes import Accepted
from broker.domain.audit import AuditAction
from broker.domain.errors import Forbidden, Stale, WrongState
from broker.domain.messages import OTHER_PATIENT
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Tx
from broker.store.queries import order_card
from broker.store.tables import orders, outbox
from broker.store.tables.patients import patients
from broker.workflow import outbox as exchange
from broker.workflow import patient_correction, patient_merge
from broker.workflow.reading import reports
from tests.bus.clinic import Clinic
from tests.bus.outbound.test_added_images import DOCTOR, TEXT
from tests.bus.samples import PROFILE
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR

UNKNOWN = Patient(PersonName("Неизвестная"), None, Sex.FEMALE)
OTHER = PersonName("Петрова", "Ольга", "Ивановна")


def now(clinic: Clinic, order: Order) -> Order:
    with clinic.store.read() as reader:
        return orders.require(reader, order.id)


def correct(clinic: Clinic, order: Order, *, kept: tuple[str, ...] = (), **changes: Any) -> None:
    patient = replace(now(clinic, order).patient, **changes)
    seen = clinic.made(patient)
    clinic.store.write(patient_correction.correct, patient, REGISTRAR, CLINIC, kept_numbers=kept, made_seen=seen)


def sign(clinic: Clinic, order: Order) -> None:
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)


def send(clinic: Clinic, order: Order) -> None:
    patient = now(clinic, order).patient
    clinic.store.write(exchange.send_under_patient_in_region, order.id, patient.revision, REGISTRAR)


def queue(clinic: Clinic, order: Order) -> list[tuple[str, str]]:
    return [(str(row.kind), str(row.state)) for row in clinic.rows(order)]


def reason(clinic: Clinic, order: Order) -> str:
    with clinic.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    return card.attention_reason


def patients_of_results(clinic: Clinic, order: Order) -> list[str]:
    """Return the family names of the region's patients under whom the results of an order are there."""
    people = {f"Patient/{each['id']}": each["name"][0]["family"] for each in clinic.bus.resources("Patient")}
    results = (
        each for each in clinic.bus.tasks() if each["identifier"][0]["value"].startswith(f"{order.accession_number}/")
    )
    return [people[each["for"]["reference"]] for each in results]


def delivered_as_another(clinic: Clinic) -> Order:
    """Merge an unknown woman's card with Кузнецова's, deliver her order, and take the cards apart again."""
    known = clinic.register().patient
    order = clinic.register(patient=UNKNOWN)
    ids = known.stored_id, order.patient.stored_id
    revisions = (known.revision, order.patient.revision)
    trail = clinic.store.write(patient_merge.merge, *ids, (), revisions, REGISTRAR, CLINIC)
    clinic.deliver()
    clinic.store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC)
    return now(clinic, order)


def test_they_do_not_go_as_a_patient_from_whom_the_card_was_split(clinic: Clinic) -> None:
    order = delivered_as_another(clinic)
    clinic.perform(order)
    clinic.deliver()
    assert queue(clinic, order)[1:] == [("amend", "unsupported"), ("images", "needs_attention")]
    assert reason(clinic, order) == "the patient is not identified; date of birth unknown"
    with pytest.raises(WrongState):  # nobody can say that the region's patient is the right one
        send(clinic, order)
    correct(clinic, order, name=OTHER, birth_date=date(1980, 2, 3))
    clinic.deliver()
    assert ("images", "needs_attention") in queue(clinic, order)
    assert reason(clinic, order) == f"{OTHER_PATIENT}: Кузнецова Марина Петровна, 12.03.1961"
    assert patients_of_results(clinic, order) == []


def test_they_go_once_the_cards_are_found_to_be_one_persons_after_all(clinic: Clinic) -> None:
    order = delivered_as_another(clinic)
    clinic.perform(order)
    clinic.deliver()
    with clinic.store.read() as reader:
        known = patients.find_by(reader, "snils", KUZNETSOVA.snils)
    assert known is not None
    ids = known.stored_id, order.patient.stored_id
    clinic.store.write(patient_merge.merge, *ids, (), (known.revision, order.patient.revision), REGISTRAR, CLINIC)
    clinic.deliver()
    assert patients_of_results(clinic, order) == ["Кузнецова"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": OTHER},
        {"birth_date": date(1961, 3, 13)},
        {"sex": Sex.MALE},
        {"snils": "08765430300"},
        {"snils": ""},
    ],
)
def test_images_and_report_of_a_corrected_patient_wait_for_a_person(clinic: Clinic, changes: dict[str, Any]) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.perform(order)
    correct(clinic, order, **changes)
    sign(clinic, order)
    clinic.deliver()
    assert queue(clinic, order)[1:] == [
        ("images", "needs_attention"),
        ("amend", "unsupported"),
        ("report", "pending"),
    ]
    assert reason(clinic, order).startswith(OTHER_PATIENT)
    clinic.store.write(exchange.resend, order.id, REGISTRAR)
    clinic.deliver()
    assert patients_of_results(clinic, order) == []


def test_a_person_who_has_asked_the_region_sends_them(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    correct(clinic, order, name=OTHER)
    clinic.perform(order)
    sign(clinic, order)
    clinic.deliver()
    seen = now(clinic, order).patient.revision
    with pytest.raises(Stale):
        clinic.store.write(exchange.send_under_patient_in_region, order.id, seen - 1, REGISTRAR)
    with pytest.raises(Forbidden):
        clinic.store.write(exchange.send_under_patient_in_region, order.id, seen, DOCTOR)
    send(clinic, order)
    clinic.deliver()
    assert queue(clinic, order)[-2:] == [("images", "delivered"), ("report", "delivered")]
    with clinic.store.read() as reader:
        said = reader.rows("SELECT details FROM audit WHERE action = ?", [AuditAction.REGION_PATIENT_CONFIRMED])
    assert "Кузнецова" in said[0]["details"]
    assert "Петрова" in said[0]["details"]
    with pytest.raises(WrongState):
        send(clinic, order)


def test_what_was_confirmed_is_asked_again_of_a_patient_who_is_corrected_again(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    correct(clinic, order, name=OTHER)
    clinic.perform(order)
    clinic.deliver()
    send(clinic, order)
    correct(clinic, order, birth_date=date(1980, 2, 3))
    clinic.deliver()
    assert reason(clinic, order).startswith(f"{OTHER_PATIENT}: Петрова")


def test_they_go_once_a_newer_order_has_told_the_region_of_the_patient(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    correct(clinic, order, name=OTHER)
    clinic.perform(order)
    clinic.deliver()
    clinic.register(patient=now(clinic, order).patient)
    clinic.deliver()
    assert patients_of_results(clinic, order) == ["Петрова"]


def test_what_was_completed_or_was_right_in_its_time_holds_nothing(clinic: Clinic) -> None:
    order = clinic.register(patient=replace(KUZNETSOVA, name=replace(KUZNETSOVA.name, middle=""), snils=""))
    clinic.deliver()
    correct(clinic, order, name=KUZNETSOVA.name, snils=KUZNETSOVA.snils, phone="1", weight=70.0)
    correct(clinic, order, policy="", kept=("policy",))
    clinic.perform(order)
    sign(clinic, order)
    clinic.deliver()
    assert patients_of_results(clinic, order) == ["Кузнецова", "Кузнецова"]


def test_a_walk_ins_report_does_not_go_as_another_patient(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.store.write(lambda tx: tx.run("UPDATE orders SET bus_role = 'walk_in' WHERE id = ?", [order.id]))
    clinic.store.write(lambda tx: tx.run("UPDATE outbox SET state = 'dropped'"))
    clinic.perform(order)
    clinic.deliver()
    assert patients_of_results(clinic, order) == ["Кузнецова"]
    correct(clinic, order, name=OTHER)
    sign(clinic, order)
    clinic.deliver()
    assert queue(clinic, order)[-1] == ("report", "needs_attention")


def test_an_order_that_an_earlier_version_has_sent_is_known_by_its_message(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.store.write(lambda tx: tx.run("DELETE FROM region_patient"))
    correct(clinic, order, name=OTHER)
    clinic.perform(order)
    clinic.deliver()
    assert reason(clinic, order).startswith(f"{OTHER_PATIENT}: Кузнецова")


def test_the_region_is_corrected_before_it_gets_results(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.perform(order)
    correct(clinic, order, name=OTHER)
    assert queue(clinic, order)[1:] == [("images", "pending"), ("amend", "pending")]
    with clinic.store.read() as reader:
        assert [row.kind for row in outbox.heads(reader)] == ["amend"]


def test_a_correction_that_the_region_took_lets_the_results_go(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.perform(order)
    correct(clinic, order, name=OTHER)
    clinic.store.write(lambda tx: _take_correction(tx, order))
    clinic.deliver()
    assert queue(clinic, order)[1:] == [("images", "delivered"), ("amend", "delivered")]


def _take_correction(tx: Tx, order: Order) -> None:
    """Do what the delivery of a correction does on a bus that takes them."""
    [row] = outbox.heads(tx)
    bundle = amendment_bundle(orders.require(tx, order.id), outbox.references(tx, order.id), PROFILE)
    outbox.mark_uncertain(tx, row.seq, json.dumps(bundle).encode())
    message = read(tx, row.seq, PROFILE)
    assert message is not None
    outcomes._delivered(tx, message, Accepted())
