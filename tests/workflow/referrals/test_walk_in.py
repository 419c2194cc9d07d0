"""A study that was done without a referral: a person says whose and what it was, and the region gets its result."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, Invalid, NotFound, Stale, WrongState
from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, OrderState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store
from broker.store.tables import orders, outbox
from broker.store.tables.studies import performed_links
from broker.workflow.referrals import referrals
from broker.workflow.studies import step_links
from tests.support.factory import CLINIC, REGISTRAR, draft, soon
from tests.support.modality import change, create, creation, ending

RADIOLOGIST = Actor(ActorKind.PERSON, "belov", "Белов", frozenset({Role.RADIOLOGIST}))


@pytest.fixture
def made(store: Store) -> str:
    """Let the X-ray make a study, days ago, under a UID of its own."""
    ago = soon() - timedelta(days=2)
    started = creation("1.9.9", PerformedProcedureStepStartDate=f"{ago:%Y%m%d}")
    create(store, started)
    change(store, ending())
    return "1.2.3"


def kinds(store: Store, order_id: int) -> list[OutboxKind]:
    with store.read() as reader:
        return [kind for kind in OutboxKind if outbox.has(reader, order_id, kind)]


def test_it_becomes_a_completed_order_of_which_only_the_result_is_sent(store: Store, made: str) -> None:
    order = store.write(referrals.register_walk_in, made, draft(station_ae_titles=("FLG_12",)), REGISTRAR, CLINIC)
    assert (order.state, order.bus_role) == (OrderState.COMPLETED, BusRole.WALK_IN)
    assert kinds(store, order.id) == [OutboxKind.IMAGES]
    # Where, when and under which UID is what the device told.
    assert order.steps[0].station_ae_titles == ("XRAY_14",)
    assert order.steps[0].start.date() == (soon() - timedelta(days=2)).date()
    assert order.study_instance_uid == "1.9.9"


def test_without_a_bus_nothing_is_sent(store: Store, made: str) -> None:
    order = store.write(referrals.register_walk_in, made, draft(), REGISTRAR, replace(CLINIC, sends_to_bus=False))
    assert (order.bus_role, kinds(store, order.id)) == (BusRole.NONE, [])


def test_pressed_twice_it_is_one(store: Store, made: str) -> None:
    store.write(referrals.register_walk_in, made, draft(), REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        store.write(referrals.register_walk_in, made, draft(), REGISTRAR, CLINIC)
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM orders") == 1


def test_a_uid_that_another_order_bears_is_not_taken(store: Store) -> None:
    other = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    create(store, creation(other.study_instance_uid), "1.2.4")
    change(store, ending(), "1.2.4")
    store.write(step_links.unlink, "1.2.4", other.id, REGISTRAR, CLINIC)
    order = store.write(referrals.register_walk_in, "1.2.4", draft(), REGISTRAR, CLINIC)
    assert order.study_instance_uid != other.study_instance_uid
    with store.read() as reader:
        assert [order_id for order_id, _ in performed_links.linked_steps(reader, 1)] == [order.id]
        [waits] = orders.get_many(reader, [other.id])
    assert waits.state is OrderState.SCHEDULED


def test_what_is_wrong_is_reported_and_nothing_is_stored(store: Store, made: str) -> None:
    with pytest.raises(Invalid):
        store.write(referrals.register_walk_in, made, draft(procedure_code=""), REGISTRAR, CLINIC)
    with pytest.raises(NotFound):
        store.write(referrals.register_walk_in, "9.9.9", draft(), REGISTRAR, CLINIC)
    with pytest.raises(Forbidden):
        store.write(referrals.register_walk_in, made, draft(), RADIOLOGIST, CLINIC)
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM orders") == 0


STRANGER = {"PatientName": "Сидоров^Олег", "PatientID": "9", "PatientBirthDate": "19900101", "PatientSex": "M"}
UNKNOWN = {"PatientName": "", "PatientBirthDate": "", "PatientSex": ""}


def test_a_study_of_another_person_is_registered_only_by_who_has_seen_what_contradicts(store: Store) -> None:
    create(store, creation("1.9.9", **STRANGER))
    change(store, ending())
    fields = ("patient_name", "patient_birth_date", "patient_sex")
    given = draft()
    with pytest.raises(Invalid) as caught:
        store.write(referrals.register_walk_in, "1.2.3", given, REGISTRAR, CLINIC)
    assert caught.value.problems == dict.fromkeys(fields, "contradicts")
    seen = Confirmation(replace(given.patient, name=PersonName("Орлова", "Инна")), fields)
    with pytest.raises(Stale):
        store.write(referrals.register_walk_in, "1.2.3", given, REGISTRAR, CLINIC, seen)
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM patient") == 0
    seen = Confirmation(given.patient, fields)
    order = store.write(referrals.register_walk_in, "1.2.3", given, REGISTRAR, CLINIC, seen)
    assert kinds(store, order.id) == [OutboxKind.IMAGES]


def test_a_number_that_the_device_made_up_contradicts_nothing_but_anothers_card_does(store: Store) -> None:
    known = store.write(referrals.register, draft(), REGISTRAR, CLINIC).patient
    popov = Patient(PersonName("Попов", "Степан"), date(1938, 2, 17), Sex.MALE)
    create(store, creation("1.9.9", **UNKNOWN, PatientID="7"))
    store.write(referrals.register_walk_in, "1.2.3", draft(patient=popov), REGISTRAR, CLINIC)
    create(store, creation("1.9.8", **UNKNOWN, PatientID=known.patient_id), "1.2.4")
    with pytest.raises(Invalid) as caught:
        store.write(referrals.register_walk_in, "1.2.4", draft(patient=popov), REGISTRAR, CLINIC)
    assert caught.value.problems == {"patient_id": "contradicts"}


def test_what_a_device_writes_for_a_name_is_asked_about_once(store: Store) -> None:
    create(store, creation("1.9.9", **{**UNKNOWN, "PatientName": "EMERGENCY^7", "PatientID": "7"}))
    given = draft()
    with pytest.raises(Invalid) as caught:
        store.write(referrals.register_walk_in, "1.2.3", given, REGISTRAR, CLINIC)
    assert caught.value.problems == {"patient_name": "contradicts"}
    seen = Confirmation(given.patient, ("patient_name",))
    assert store.write(referrals.register_walk_in, "1.2.3", given, REGISTRAR, CLINIC, seen)
