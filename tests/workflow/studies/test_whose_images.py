"""Images under the wrong patient never go to the region unseen, and what is odd is noted."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from broker.domain.actors import Actor, ActorKind
from broker.domain.errors import Invalid, Stale
from broker.domain.orders import Order, OrderState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.performed import WRONG_ENTRY, MppsOutcome, PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import board, order_card
from broker.store.tables import devices, orders, outbox
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps, step_links
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, XRAY, draft, message, performed

MAMMO = Actor(ActorKind.DEVICE, "MAMMO_9", "Маммограф")
DONE = PerformedChange(PerformedState.COMPLETED, images=2)
STOPPED = PerformedChange(PerformedState.DISCONTINUED)


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(), REGISTRAR, CLINIC)


def perform(store: Store, order: Order, name: str, patient_id: str = "", uid: str = "1.2") -> None:
    step = performed(uid, StepReference(order.study_instance_uid), patient_name=name, patient_id=patient_id)
    store.write(performed_steps.start, step, message(f"create {uid}"), XRAY, CLINIC)
    store.write(performed_steps.change, performed_steps.ChangeRequest(uid, DONE, message(f"final {uid}")), XRAY, CLINIC)


def kinds(store: Store, state: str = "pending") -> list[str]:
    with store.read() as reader:
        return [row["kind"] for row in reader.rows("SELECT kind FROM outbox WHERE state = ? ORDER BY seq", [state])]


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found


def test_images_of_another_patient_wait_for_a_person(store: Store, order: Order) -> None:
    perform(store, order, "Сидоров^Олег", "999999")
    assert kinds(store) == ["order"]
    with store.read() as reader:
        [doubtful] = board.doubtful(reader)
        assert doubtful.order.id == order.id
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    assert card.conflicts == {"1.2": "patient_name, patient_id"}
    seen = Confirmation(order.patient, ("patient_name", "patient_id"))
    store.write(step_links.confirm_patient, "1.2", order.id, REGISTRAR, CLINIC, seen)
    assert kinds(store) == ["order", "images"]
    with store.read() as reader:
        assert board.doubtful(reader) == []


def test_numbers_that_name_two_orders_wait_for_a_person(store: Store, order: Order) -> None:
    popov = Patient(PersonName("Попов", "Степан"), date(1938, 2, 17), Sex.MALE)
    other = store.write(referrals.register, draft(patient=popov, submission_id="other"), REGISTRAR, CLINIC)
    reference = StepReference(order.study_instance_uid, other.accession_number)
    store.write(performed_steps.start, performed("1.2", reference), message("create"), XRAY, CLINIC)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", DONE, message("final")), XRAY, CLINIC)
    assert "images" not in kinds(store)
    with store.read() as reader:
        [doubtful] = board.doubtful(reader)
    assert (doubtful.order.id, doubtful.fields) == (order.id, ("accession_number",))
    seen = Confirmation(order.patient, ("accession_number",))
    store.write(step_links.confirm_patient, "1.2", order.id, REGISTRAR, CLINIC, seen)
    assert "images" in kinds(store)


ONE_TRAIT = {
    "another": Patient(PersonName("Попов", "Степан"), date(1938, 2, 17), Sex.MALE),
    "a namesake with another number": replace(KUZNETSOVA, snils="08765430300", policy=""),
}


@pytest.mark.parametrize("whose", ONE_TRAIT)
@pytest.mark.parametrize(
    "reported",
    [
        {},
        {"patient_name": "Кузнецова^Марина^Петровна"},
        {"patient_name": "Кузнецова^Марина^Петровна", "patient_birth_date": "19610312", "patient_sex": "F"},
        {"patient_id": "777777"},
    ],
)
def test_one_step_for_orders_of_two_patients_waits_for_a_person(
    store: Store, order: Order, whose: str, reported: dict[str, str]
) -> None:
    other = store.write(referrals.register, draft(patient=ONE_TRAIT[whose], submission_id="other"), REGISTRAR, CLINIC)
    assert other.patient.id != order.patient.id
    references = StepReference(order.study_instance_uid), StepReference(other.study_instance_uid)
    store.write(performed_steps.start, performed("1.2", *references, **reported), message("create"), XRAY, CLINIC)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", DONE, message("final")), XRAY, CLINIC)
    assert "images" not in kinds(store)
    with store.read() as reader:
        doubtful = board.doubtful(reader)
    assert {each.order.id for each in doubtful} == {order.id, other.id}
    assert all("accession_number" in each.fields for each in doubtful)


def test_the_number_of_a_card_says_which_of_two_patients_was_examined(store: Store, order: Order) -> None:
    other = store.write(
        referrals.register, draft(patient=ONE_TRAIT["another"], submission_id="other"), REGISTRAR, CLINIC
    )
    references = StepReference(order.study_instance_uid), StepReference(other.study_instance_uid)
    step = performed("1.2", *references, patient_id=order.patient.patient_id)
    store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", DONE, message("final")), XRAY, CLINIC)
    with store.read() as reader:
        assert [each.order.id for each in board.doubtful(reader)] == [other.id]


@pytest.mark.parametrize(("number", "echoed", "noted"), [("К-17", "K-17", False), ("К-17", "K-18", True)])
def test_a_card_number_as_a_latin_device_was_given_it_is_noted_as_no_contradiction(
    store: Store, number: str, echoed: str, noted: bool
) -> None:
    patient = replace(KUZNETSOVA, patient_id=number)
    order = store.write(referrals.register, draft(patient=patient), REGISTRAR, CLINIC)
    perform(store, order, "Кузнецова^Марина^Петровна", echoed)
    with store.read() as reader:
        said = reader.rows("SELECT 1 FROM audit WHERE action = 'reference_conflict'")
        notes = [note.kind for note in devices.notes(reader).get("XRAY_14", ())]
    assert (bool(said), "mpps_conflict" in notes) == (noted, noted)


def test_one_step_for_several_orders_of_one_patient_waits_for_nobody(store: Store, order: Order) -> None:
    other = store.write(referrals.register, draft(submission_id="other"), REGISTRAR, CLINIC)
    references = StepReference(order.study_instance_uid), StepReference(other.study_instance_uid)
    store.write(performed_steps.start, performed("1.2", *references), message("create"), XRAY, CLINIC)
    with store.read() as reader:
        assert board.doubtful(reader) == []


@pytest.mark.parametrize(
    ("reported", "fields"),
    [
        ({"patient_name": "Двойников^Олег"}, {"patient_name"}),
        ({"patient_id": "X9", "patient_name": "Двойников^Олег"}, {"patient_name", "patient_id"}),
        ({"patient_birth_date": "19900101"}, {"patient_birth_date"}),
        ({"patient_sex": "M"}, {"patient_sex"}),
    ],
)
def test_a_person_links_what_contradicts_only_knowingly(
    store: Store, order: Order, reported: dict[str, str], fields: set[str]
) -> None:
    store.write(performed_steps.start, performed("1.2", **reported), message("create"), XRAY, CLINIC)
    with pytest.raises(Invalid) as raised:
        store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)
    assert raised.value.problems == dict.fromkeys(fields, "contradicts")
    assert now(store, order).state is OrderState.SCHEDULED
    with pytest.raises(Invalid):
        store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC, Confirmation(order.patient, ("patient",)))
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC, Confirmation(order.patient, tuple(fields)))
    assert now(store, order).state is OrderState.IN_PROGRESS
    with store.read() as reader:
        [row] = reader.rows("SELECT details FROM audit WHERE action = 'link'")
    assert all(field in row["details"] for field in fields)


def test_another_sex_on_the_device_waits_for_a_person(store: Store, order: Order) -> None:
    step = performed("1.2", StepReference(order.study_instance_uid), patient_sex="M")
    store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    with store.read() as reader:
        assert [each.fields for each in board.doubtful(reader)] == [("patient_sex",)]


def test_unlinking_them_lets_the_order_wait_again(store: Store, order: Order) -> None:
    perform(store, order, "Сидоров^Олег")
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.SCHEDULED
    assert kinds(store) == ["order"]
    perform(store, order, "Кузнецова^Марина", uid="1.3")
    assert kinds(store) == ["order", "images"]


def test_another_devices_word_is_noted(store: Store, order: Order) -> None:
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[2], for_others=True)))
    step = performed("1.2", StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    assert (
        store.write(
            performed_steps.change, performed_steps.ChangeRequest("1.2", STOPPED, message("theirs")), MAMMO, CLINIC
        ).outcome
        is MppsOutcome.ACCEPTED
    )
    with store.read() as reader:
        assert [note.kind for note in devices.notes(reader).get("MAMMO_9", [])] == ["mpps_foreign"]


def test_an_order_rescheduled_after_its_cancellation_stays_scheduled(store: Store, order: Order) -> None:
    store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    reference = StepReference(order.study_instance_uid)
    store.write(performed_steps.start, performed("1.2", reference), message("a"), XRAY, CLINIC)
    assert kinds(store, "dropped") == ["cancel"]  # it is done all the same: the region need not hear otherwise
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", STOPPED, message("b")), XRAY, CLINIC)
    later = draft(start=factory.soon(hours=1))
    store.write(referrals.amend, order.id, now(store, order).revision, later, REGISTRAR, CLINIC)
    store.write(performed_steps.start, performed("1.3", reference), message("c"), XRAY, CLINIC)
    wrong = PerformedChange(PerformedState.DISCONTINUED, discontinuation_code=WRONG_ENTRY)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.3", wrong, message("d")), XRAY, CLINIC)
    assert now(store, order).state is OrderState.SCHEDULED
    with store.read() as reader:
        assert [row.kind for row in outbox.heads(reader)] == ["order"]


MARRIED = {"patient_name": "Орлова^Марина", "patient_id": ""}
CORRECTIONS = [
    {"name": PersonName("Сидорова", "Нина")},
    {"name": PersonName("Кузнецова", "Марина", "Павловна")},
    {"birth_date": date(1961, 12, 3)},
    {"sex": Sex.OTHER},
    {"snils": ""},
]


def correct(store: Store, order: Order, changes: dict[str, Any]) -> None:
    """Let somebody correct the patient while another person looks."""
    corrected = draft(patient=replace(order.patient, **changes))
    store.write(referrals.amend, order.id, now(store, order).revision, corrected, REGISTRAR, CLINIC)


@pytest.mark.parametrize("changes", CORRECTIONS, ids=str)
def test_a_patient_who_was_corrected_after_the_look_is_not_linked_by_that_look(
    store: Store, order: Order, changes: dict[str, Any]
) -> None:
    store.write(performed_steps.start, performed("1.2", **MARRIED), message("create"), XRAY, CLINIC)
    seen = Confirmation(order.patient, ("patient_name",))
    correct(store, order, changes)
    with pytest.raises(Stale):
        store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC, seen)
    assert now(store, order).state is OrderState.SCHEDULED
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC, replace(seen, patient=now(store, order).patient))


@pytest.mark.parametrize("change", [{"birth_date": None, "birth_year": 1990}, {"mother": "Орлова Инна"}], ids=str)
def test_a_year_of_birth_or_a_mother_that_was_corrected_meanwhile_is_another_patient(
    store: Store, change: dict[str, Any]
) -> None:
    known = replace(KUZNETSOVA, birth_date=None, birth_year=1961, snils="", policy="")
    order = store.write(referrals.register, factory.draft(patient=known), REGISTRAR, CLINIC)
    store.write(performed_steps.start, performed("1.2", **MARRIED), message("create"), XRAY, CLINIC)
    seen = replace(order.patient, **change)
    with pytest.raises(Stale):
        store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC, Confirmation(seen, ("patient_name",)))


def test_a_phone_number_that_was_added_meanwhile_is_no_other_patient(store: Store, order: Order) -> None:
    store.write(performed_steps.start, performed("1.2", **MARRIED), message("create"), XRAY, CLINIC)
    correct(store, order, {"phone": "+7 900 000-00-00"})
    seen = Confirmation(order.patient, ("patient_name",))
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC, seen)


def test_a_patient_is_confirmed_for_what_was_shown_only(store: Store, order: Order) -> None:
    perform(store, order, "Орлова^Инна")
    for seen in (
        Confirmation(replace(order.patient, name=PersonName("Орлова", "Инна")), ("patient_name",)),
        Confirmation(order.patient),
    ):
        with pytest.raises((Stale, Invalid)):
            store.write(step_links.confirm_patient, "1.2", order.id, REGISTRAR, CLINIC, seen)
    assert "images" not in kinds(store)
