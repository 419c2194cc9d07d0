"""A corrected card: its orders, devices and the region follow, former numbers lead to it, and everything is audited."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, Invalid, Stale
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order
from broker.domain.patients.details import NO_DETAILS, PatientDetails
from broker.domain.patients.patient_match import Likeness
from broker.domain.patients.people import Patient, PersonName
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries.patients import patient_index, patient_search
from broker.store.tables import orders, outbox, patient_details, patients
from broker.workflow import patient_consent, patient_correction, patient_merge, performed_steps, referrals
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, XRAY, draft, message, performed
from tests.workflow.test_patient_merge import register, rows

DOCTOR = Actor(ActorKind.PERSON, "belov", "Белов", frozenset({Role.RADIOLOGIST}))
GUID = "11111111-2222-3333-4444-555555555555"
OTHER_SNILS = "08765430300"


@pytest.fixture
def order(store: Store) -> Order:
    return register(store)


def card(store: Store, id: int) -> Patient:
    with store.read() as reader:
        found = patients.get(reader, id)
    assert found is not None
    return found


def amend(
    store: Store,
    patient: Patient,
    *kept: str,
    details: PatientDetails = NO_DETAILS,
    actor: Actor = REGISTRAR,
    **changes: Any,
) -> Patient:
    changed = replace(patient, **changes)
    return store.write(patient_correction.correct, changed, actor, CLINIC, details=details, kept_numbers=kept)


def audits(store: Store, action: str = "patient_amend") -> list[tuple[int | None, dict[str, Any]]]:
    found = rows(store, "SELECT order_id, action, details FROM audit ORDER BY seq")
    return [(row["order_id"], json.loads(row["details"])) for row in found if row["action"] == action]


def deliver(store: Store) -> None:
    store.write(lambda tx: tx.run("UPDATE outbox SET state = 'delivered'"))


def amendments(store: Store) -> list[int]:
    return [
        row["order_id"]
        for row in rows(
            store, "SELECT order_id FROM outbox WHERE kind = 'amend' AND state = 'pending' ORDER BY order_id"
        )
    ]


def test_a_correction_reaches_every_order_and_is_audited_with_what_was_before(store: Store, order: Order) -> None:
    second = register(store, replace(KUZNETSOVA, phone="+7 900 000-00-00"), comment="второе")
    deliver(store)
    known = card(store, order.patient.stored_id)
    after = amend(store, known, name=PersonName("Кузнецова", "Марина", "Павловна"), birth_date=date(1961, 12, 3))
    assert (after.name.middle, after.birth_date) == ("Павловна", date(1961, 12, 3))
    with store.read() as reader:
        assert all(orders.require(reader, id).patient == after for id in (order.id, second.id))
    assert amendments(store) == [order.id, second.id]
    changed = {"middle": ["Петровна", "Павловна"], "birth_date": ["1961-03-12", "1961-12-03"]}
    [of_card, *of_orders] = audits(store)
    assert of_card == (None, {"patient": known.patient_id, "changed": changed})
    assert [id for id, _ in of_orders] == [order.id, second.id]


def test_what_the_region_does_not_get_is_not_sent_there(store: Store, order: Order) -> None:
    deliver(store)
    amend(store, card(store, order.patient.stored_id), phone="+7 900 111-11-11")
    assert amendments(store) == []


def test_a_correction_in_one_order_reaches_the_regions_other_orders(store: Store, order: Order) -> None:
    second = register(store, comment="второе")
    deliver(store)
    changed = draft(patient=replace(second.patient, name=PersonName("Орлова", "Марина", "Петровна")), comment="второе")
    store.write(referrals.amend, second.id, second.revision, changed, REGISTRAR, CLINIC)
    assert amendments(store) == [order.id, second.id]


def test_the_former_number_leads_to_the_card_if_it_was_right_in_its_time(store: Store, order: Order) -> None:
    known = card(store, order.patient.stored_id)
    after = amend(store, known, "snils", snils=OTHER_SNILS)
    described = replace(KUZNETSOVA, policy="")
    with store.read() as reader:
        found = patient_index.match(reader, described)
        assert (found.patient, found.former) == (after, True)
        assert [each.id for each in patient_search.search(reader, "112-233-445 95").patients] == [after.id]
        [former] = patient_details.former_numbers(reader, [after.stored_id])[after.stored_id]
    assert (former.kind, former.number) == ("snils", KUZNETSOVA.snils)
    again = register(store, described, comment="по старому СНИЛС")
    assert (again.patient.id, again.patient.snils) == (after.id, OTHER_SNILS)
    back = amend(store, card(store, after.stored_id), snils=KUZNETSOVA.snils)
    with store.read() as reader:
        assert patient_index.match(reader, described).patient == back
        assert patient_details.former_numbers(reader, [back.stored_id]) == {}


def test_a_number_that_was_written_by_mistake_is_free_for_its_bearer(store: Store, order: Order) -> None:
    known = card(store, order.patient.stored_id)
    amend(store, known, snils="", policy="")
    bearer = replace(KUZNETSOVA, name=PersonName("Попова", "Анна"), policy="")
    with store.read() as reader:
        assert patient_index.match(reader, bearer).likeness is Likeness.NO_MATCH
    assert register(store, bearer).patient.snils == KUZNETSOVA.snils


def test_another_patients_number_an_older_look_and_who_may_not_are_refused(store: Store, order: Order) -> None:
    other = register(store, replace(KUZNETSOVA, name=PersonName("Попова", "Анна"), snils=OTHER_SNILS, policy=""))
    known = card(store, order.patient.stored_id)
    for changes, problems in (
        ({"snils": OTHER_SNILS}, {"snils": "other_patient"}),
        ({"snils": "11223344596"}, {"snils": "check_digit"}),
        ({"name": PersonName("", "Марина")}, {"family": "required"}),
        ({"birth_date": date(2990, 1, 1)}, {"birth_date": "future"}),
    ):
        with pytest.raises(Invalid) as caught:
            amend(store, known, **changes)
        assert caught.value.problems == problems
    with pytest.raises(Stale):
        amend(store, replace(known, revision=known.revision + 1), phone="1")
    with pytest.raises(Forbidden):
        amend(store, known, phone="1", actor=DOCTOR)
    assert card(store, other.patient.stored_id).snils == OTHER_SNILS
    assert audits(store) == []


def test_what_an_import_left_out_does_not_keep_from_correcting_the_rest(store: Store, order: Order) -> None:
    store.write(lambda tx: tx.run("UPDATE patient SET birth_date = ''"))
    known = card(store, order.patient.stored_id)
    assert amend(store, known, phone="+7 900 111-11-11").birth_date is None


def test_a_contradiction_that_the_correction_explains_waits_no_longer(store: Store, order: Order) -> None:
    step = performed("1.2", StepReference(order.study_instance_uid), patient_name="Орлова^Марина")
    store.write(performed_steps.start, step, message("c"), XRAY, CLINIC)
    ended = PerformedChange(PerformedState.COMPLETED, images=2)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", ended, message("f")), XRAY, CLINIC)
    assert rows(store, "SELECT conflict FROM performed_step_link")[0]["conflict"] == "patient_name"
    amend(store, card(store, order.patient.stored_id), name=PersonName("Орлова", "Марина", "Петровна"))
    assert rows(store, "SELECT conflict FROM performed_step_link")[0]["conflict"] == ""
    with store.read() as reader:
        assert outbox.has(reader, order.id, OutboxKind.IMAGES)


def test_address_and_passport_are_kept_move_with_a_merge_and_go_back_with_a_split(store: Store) -> None:
    one = register(store, replace(KUZNETSOVA, snils="", policy=""))
    two = register(store, replace(KUZNETSOVA, name=PersonName("Кузнецова", "Марина", "Петровн"), snils="", policy=""))
    details = PatientDetails("Тверь, Садовая, 5", "4510 000000")
    amend(store, two.patient, details=details)
    ids = one.patient.stored_id, two.patient.stored_id
    with store.read() as reader:
        assert patient_details.get(reader, ids[1]) == details
    trail = store.write(patient_merge.merge, *ids, (), (1, 1), REGISTRAR, CLINIC)
    with store.read() as reader:
        assert patient_details.get(reader, ids[0]) == details
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC)
    with store.read() as reader:
        assert (patient_details.get(reader, ids[0]), patient_details.get(reader, ids[1])) == (NO_DETAILS, details)


def test_after_the_consent_is_withdrawn_nothing_new_goes_to_the_region_until_it_is_given_again(
    store: Store, order: Order
) -> None:
    id = order.patient.stored_id
    store.write(patient_consent.give, id, REGISTRAR, CLINIC)
    store.write(patient_consent.withdraw, id, REGISTRAR, CLINIC)
    quiet = register(store, comment="второе")
    assert quiet.bus_role is BusRole.NONE
    with store.read() as reader:
        assert not outbox.has(reader, quiet.id, OutboxKind.ORDER)
    with pytest.raises(Invalid) as caught:
        register(store, comment="в другую клинику", owner=GUID, station_ae_titles=())
    assert caught.value.problems == {"owner": "no_consent"}
    store.write(patient_consent.give, id, REGISTRAR, CLINIC)
    assert register(store, comment="третье").bus_role is BusRole.PLACER
    with store.read() as reader:
        details = patient_details.get(reader, id)
    assert (details.consent_on, details.is_consent_withdrawn) == (date(2026, 11, 24), False)
    assert [len(audits(store, action)) for action in ("consent_given", "consent_withdrawn")] == [2, 1]
    with pytest.raises(Forbidden):
        store.write(patient_consent.withdraw, id, DOCTOR, CLINIC)
