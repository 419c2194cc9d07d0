"""Two cards of one person become one and two again: nothing is lost, nobody's number is two people's."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import BrokerError, Forbidden, Invalid, NotFound, Stale
from broker.domain.orders import BusRole, ImportedItem, Order
from broker.domain.patients.details import PatientDetails, combine
from broker.domain.patients.patient_match import Similarity
from broker.domain.patients.patient_merge import with_values
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import board, order_card, patient_cards
from broker.store.queries.patients import patient_history, patient_index, patient_search
from broker.store.tables import orders, outbox
from broker.store.tables.incoming import Arrival
from broker.store.tables.patients import patient_details, patient_merges, patients
from broker.store.tables.patients.patient_merges import PatientMerge
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow import patient_merge
from broker.workflow.patients import patient_consent
from broker.workflow.referrals import referrals, worklist_files
from broker.workflow.studies import external_results, performed_steps, step_links
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, XRAY, draft, message, performed

TWIN = replace(
    KUZNETSOVA, name=PersonName("Кузнецова", "Марина", "Петровн"), snils="", policy="", phone="+7 900 000-00-00"
)
STUDY = ExternalStudy("DiagnosticReport/1", "final", studied_on=date(2026, 10, 1), modality="CT", conclusion="Норма")
DONE = PerformedChange(PerformedState.COMPLETED, images=2)


def register(store: Store, patient: Patient = KUZNETSOVA, **changes: Any) -> Order:
    return store.write(referrals.register, draft(patient=patient, **changes), REGISTRAR, CLINIC)


def merge(store: Store, surviving: int, merged: int, *chosen: str, actor: Actor = REGISTRAR) -> PatientMerge:
    revisions = card(store, surviving).revision, card(store, merged).revision
    return store.write(patient_merge.merge, surviving, merged, chosen, revisions, actor, CLINIC)


def undo(store: Store, merge_id: int) -> tuple[str, ...]:
    with store.read() as reader:  # the person says that everything since is of the card that stays
        later = patient_merges.later_orders(reader, patient_merges.require(reader, merge_id))
    decided = dict.fromkeys(later, False)
    return store.write(patient_merge.undo_merge, merge_id, REGISTRAR, CLINIC, decided=decided)


def card(store: Store, id: int) -> Patient:
    with store.read() as reader:
        found = patients.get(reader, id)
    if found is None:
        raise NotFound(f"patient {id}")
    return found


def order_now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        return orders.require(reader, order.id)


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    with store.read() as reader:
        return reader.rows(sql)


def found(store: Store, typed: str) -> list[str]:
    with store.read() as reader:
        return [each.patient_id for each in patient_search.search(reader, typed).patients]


@pytest.fixture
def one(store: Store) -> Order:
    return register(store)


@pytest.fixture
def two(store: Store) -> Order:
    return register(store, TWIN)


def test_the_orders_the_studies_from_elsewhere_and_the_chosen_fields_are_the_surviving_cards(
    store: Store, one: Order, two: Order
) -> None:
    store.write(lambda tx: external_studies.put(tx, two.patient.stored_id, StoredStudy(STUDY, "1")))
    merge(store, one.patient.stored_id, two.patient.stored_id, "phone")
    kept = card(store, one.patient.stored_id)
    assert kept == replace(one.patient, phone="+7 900 000-00-00", revision=2)
    assert order_now(store, one).patient == order_now(store, two).patient == kept
    assert order_now(store, two).revision > two.revision
    with store.read() as reader:
        assert [each.reference for each in patient_history.external(reader, kept.stored_id).studies] == [
            "DiagnosticReport/1"
        ]
    assert [row["action"] for row in rows(store, "SELECT action FROM audit WHERE order_id IS NOT NULL ORDER BY seq")][
        2:
    ] == ["patient_merge"]


def test_nobody_finds_the_merged_card_any_more_but_its_number_leads_to_the_other(
    store: Store, one: Order, two: Order
) -> None:
    merge(store, one.patient.stored_id, two.patient.stored_id)
    for typed in ("кузнецова", "кузнецова марина петровн", "12.03.1961", two.patient.patient_id):
        assert found(store, typed) == [one.patient.patient_id]
    with store.read() as reader:
        numbered = replace(TWIN, patient_id=two.patient.patient_id)
        assert patient_index.match(reader, numbered).patients == (card(store, one.patient.stored_id),)
        assert patient_index.match(reader, TWIN).patients == (card(store, one.patient.stored_id),)
        assert patient_index.similar_cards(reader, card(store, one.patient.stored_id)) == []
    again = register(store, replace(TWIN, patient_id=two.patient.patient_id, name=KUZNETSOVA.name))
    assert again.patient.id == one.patient.id


def test_a_number_that_the_surviving_card_did_not_take_is_found_as_a_former_one(store: Store, two: Order) -> None:
    one = register(store, replace(KUZNETSOVA, name=PersonName("Кузнецова", "Марина", "Ивановна")))
    merge(store, two.patient.stored_id, one.patient.stored_id)
    assert card(store, two.patient.stored_id).snils == ""
    assert found(store, "112-233-445 95") == found(store, "7800 0000 1234 5671") == [two.patient.patient_id]


def test_a_number_that_is_taken_over_is_the_surviving_cards_alone(store: Store, one: Order, two: Order) -> None:
    merge(store, two.patient.stored_id, one.patient.stored_id, "snils", "policy")
    assert (card(store, two.patient.stored_id).snils, card(store, one.patient.stored_id).snils) == ("11223344595", "")
    assert found(store, "11223344595") == [two.patient.patient_id]


def test_the_insurer_is_chosen_as_any_field_and_comes_back_with_the_cards(store: Store) -> None:
    one = register(store, replace(KUZNETSOVA, insurer="78007"))
    name = PersonName("Кузнецова", "Марина", "Петровн")
    two = register(store, replace(KUZNETSOVA, name=name, snils="", policy="", insurer="77001"))
    done = merge(store, one.patient.stored_id, two.patient.stored_id, "insurer")
    assert card(store, one.patient.stored_id).insurer == "77001"
    undo(store, done.id)
    assert [card(store, each.patient.stored_id).insurer for each in (one, two)] == ["78007", "77001"]


def test_undone_everything_is_as_it_was(store: Store, one: Order, two: Order) -> None:
    store.write(lambda tx: external_studies.put(tx, two.patient.stored_id, StoredStudy(STUDY, "1")))
    before = state(store)
    undo(store, merge(store, one.patient.stored_id, two.patient.stored_id, "phone", "middle").id)
    assert state(store) == before
    assert [row["action"] for row in rows(store, "SELECT action FROM audit WHERE order_id = 2 ORDER BY seq")] == [
        "register",
        "patient_merge",
        "patient_split",
    ]


def test_undone_after_later_changes_what_came_since_stays(store: Store, one: Order, two: Order) -> None:
    trail = merge(store, one.patient.stored_id, two.patient.stored_id, "phone", "middle")
    since = register(store, replace(card(store, one.patient.stored_id), phone="+7 911 111-11-11"), comment="ещё одно")
    assert undo(store, trail.id) == ()
    kept = card(store, one.patient.stored_id)
    assert (kept.phone, kept.name.middle) == ("+7 911 111-11-11", "Петровна")  # typed since; as before the merge
    assert order_now(store, since).patient.id == order_now(store, one).patient.id == one.patient.id
    assert order_now(store, two).patient == replace(two.patient, revision=order_now(store, two).patient.revision)


def test_a_number_that_is_somebody_elses_by_now_does_not_come_back(store: Store, one: Order, two: Order) -> None:
    trail = merge(store, two.patient.stored_id, one.patient.stored_id)  # without its numbers
    other = register(store, replace(KUZNETSOVA, name=PersonName("Орлова", "Инна"), policy=""), other_than=(2,))
    assert other.patient.snils == "11223344595"
    assert undo(store, trail.id) == ("snils",)
    assert (card(store, one.patient.stored_id).snils, card(store, one.patient.stored_id).policy) == (
        "",
        "7800000012345671",
    )


@pytest.mark.parametrize(("field", "number"), [("snils", "08765430300"), ("policy", "7800000012345689")])
def test_two_valid_numbers_that_differ_are_never_merged(store: Store, one: Order, field: str, number: str) -> None:
    other = register(store, with_values(KUZNETSOVA, {"snils": "", "policy": ""} | {field: number}))
    assert other.patient.id != one.patient.id
    with pytest.raises(Invalid) as raised:
        merge(store, one.patient.stored_id, other.patient.stored_id, field)
    assert raised.value.problems == {field: "two_people"}


def test_what_changed_since_it_was_looked_at_is_not_merged(store: Store, one: Order, two: Order) -> None:
    with pytest.raises(Stale):
        store.write(patient_merge.merge, one.patient.stored_id, two.patient.stored_id, (), (1, 2), REGISTRAR, CLINIC)
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    with pytest.raises(Stale):  # the other way round, or once more
        merge(store, two.patient.stored_id, one.patient.stored_id)
    with pytest.raises(Stale):
        merge(store, one.patient.stored_id, two.patient.stored_id)
    with pytest.raises(Invalid):
        merge(store, one.patient.stored_id, one.patient.stored_id)
    undo(store, trail.id)
    with pytest.raises(Stale):
        undo(store, trail.id)


def test_a_form_that_was_open_on_the_merged_card_is_not_saved(store: Store, one: Order, two: Order) -> None:
    merge(store, one.patient.stored_id, two.patient.stored_id)
    with pytest.raises(Stale):
        register(store, two.patient)


def test_the_database_itself_gives_no_order_to_a_merged_card(store: Store, one: Order, two: Order) -> None:
    merge(store, one.patient.stored_id, two.patient.stored_id)
    with pytest.raises(Exception, match="no order belongs to a merged card"):
        store.write(lambda tx: tx.run("UPDATE orders SET patient_id = ?", [two.patient.id]))


@pytest.mark.parametrize("role", [Role.TECHNOLOGIST, Role.RADIOLOGIST, Role.ADMINISTRATOR])
def test_only_the_registry_merges_and_splits(store: Store, one: Order, two: Order, role: Role) -> None:
    actor = Actor(ActorKind.PERSON, "x", roles=frozenset({role}))
    with pytest.raises(Forbidden):
        merge(store, one.patient.stored_id, two.patient.stored_id, actor=actor)
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    with pytest.raises(Forbidden):
        store.write(patient_merge.undo_merge, trail.id, actor, CLINIC)
    with pytest.raises(Forbidden):
        store.write(patient_merge.declare_different, one.patient.stored_id, two.patient.stored_id, actor)


# ---- cards that look alike ----


def test_similar_cards_are_offered_with_the_reason_until_a_person_says_that_they_are_two_people(
    store: Store, one: Order, two: Order
) -> None:
    with store.read() as reader:
        [similar] = patient_index.similar_cards(reader, one.patient)
        assert (similar.patient, similar.similarity) == (two.patient, Similarity.LETTER)
    store.write(patient_merge.declare_different, two.patient.stored_id, one.patient.stored_id, REGISTRAR)
    with store.read() as reader:
        assert patient_index.similar_cards(reader, one.patient) == []
        assert patient_index.similar_cards(reader, two.patient) == []
        assert patient_index.match(reader, TWIN).patient == two.patient  # the fields describe that card and no other
        asked = replace(TWIN, id=one.patient.stored_id, name=KUZNETSOVA.name)
        assert two.patient not in patient_index.match(reader, asked).patients


def test_what_was_said_of_a_merged_card_holds_for_the_one_that_stayed(store: Store, one: Order, two: Order) -> None:
    third = register(store, replace(TWIN, name=PersonName("Кузнецова", "Марина", "Петров"), phone=""))
    store.write(patient_merge.declare_different, two.patient.stored_id, third.patient.stored_id, REGISTRAR)
    trail = merge(store, one.patient.stored_id, two.patient.stored_id, "middle")
    with store.read() as reader:
        assert patient_index.similar_cards(reader, card(store, one.patient.stored_id)) == []
        assert patient_index.similar_cards(reader, third.patient) == []
    undo(store, trail.id)


# ---- modalities ----


def perform(store: Store, order: Order, uid: str, **changes: Any) -> None:
    step = performed(uid, StepReference(order.study_instance_uid), **changes)
    store.write(performed_steps.start, step, message(f"create {uid}"), XRAY, CLINIC)


def conflicts(store: Store, order: Order) -> dict[str, str]:
    with store.read() as reader:
        found = order_card.card(reader, order.accession_number)
    assert found is not None
    return found.conflicts


def test_a_device_that_got_the_merged_cards_data_reports_the_same_patient(store: Store, one: Order, two: Order) -> None:
    perform(store, two, "1.2", patient_name="KUZNETSOVA^MARINA", patient_id=two.patient.patient_id)
    merge(store, one.patient.stored_id, two.patient.stored_id)
    later = register(store, card(store, one.patient.stored_id), comment="ещё одно")
    perform(store, later, "1.3", patient_name="KUZNETSOVA^MARINA", patient_id=two.patient.patient_id)
    assert conflicts(store, two) == conflicts(store, later) == {}
    change = performed_steps.ChangeRequest("1.2", DONE, message("final"))
    assert store.write(performed_steps.change, change, XRAY, CLINIC).refusal is None
    assert order_now(store, two).state == "completed"
    assert "reference_conflict" not in [row["action"] for row in rows(store, "SELECT action FROM audit")]


def test_a_contradiction_that_the_merge_explains_is_gone_and_comes_back_with_the_split(
    store: Store, one: Order, two: Order
) -> None:
    number = two.patient.patient_id
    perform(store, one, "1.2", patient_name="KUZNETSOVA^MARINA", patient_id=number)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", DONE, message("final")), XRAY, CLINIC)
    assert conflicts(store, one) == {"1.2": "patient_id"}
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    assert conflicts(store, one) == {}
    assert kinds(store, one) == ["order", "images"]
    undo(store, trail.id)
    assert conflicts(store, one) == {"1.2": "patient_id"}
    assert kinds(store, one) == ["order"]


def test_what_a_device_did_since_for_the_other_person_is_doubtful_after_the_split(
    store: Store, one: Order, two: Order
) -> None:
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    perform(store, two, "1.2", patient_name="KUZNETSOVA^MARINA", patient_id=one.patient.patient_id)
    undo(store, trail.id)
    assert conflicts(store, two) == {"1.2": "patient_id"}
    with store.read() as reader:
        assert [each.order.id for each in board.doubtful(reader)] == [two.id]


def test_a_contradiction_that_has_nothing_to_do_with_the_merge_stays(store: Store, one: Order, two: Order) -> None:
    perform(store, two, "1.2", patient_name="Сидоров^Олег")
    merge(store, one.patient.stored_id, two.patient.stored_id)
    assert conflicts(store, two) == {"1.2": "patient_name"}


def test_a_script_that_goes_on_writing_the_merged_card_neither_renames_the_patient_nor_loses_the_order(
    store: Store, one: Order
) -> None:
    item = ImportedItem(
        patient=replace(TWIN, patient_id="P1", phone=""),
        start=datetime(2026, 11, 24, 10, 15),
        station_ae_titles=("XRAY_14",),
        modality="DX",
        procedure_name="EXAM",
        study_instance_uid="1.2.3.1",
        attributes={"top": {}, "step": {}},
    )
    taken = store.write(worklist_files.sync, item, "/wl/1.wl", "1", factory.SYSTEM, CLINIC)
    order = rows(store, "SELECT patient_id FROM orders ORDER BY id DESC")[0]
    merge(store, one.patient.stored_id, order["patient_id"])
    again = replace(item, study_instance_uid="1.2.3.2", start=datetime(2026, 11, 24, 11, 15))
    assert store.write(worklist_files.sync, again, "/wl/1.wl", "2", factory.SYSTEM, CLINIC).order_id == taken.order_id
    assert taken.order_id is not None
    with store.read() as reader:
        moved = orders.require(reader, taken.order_id)
    assert (moved.patient.id, moved.patient.name) == (one.patient.id, KUZNETSOVA.name)
    assert "PatientName" not in moved.attributes["top"]
    other = replace(item, study_instance_uid="1.2.3.3")
    store.write(worklist_files.sync, other, "/wl/2.wl", "3", factory.SYSTEM, CLINIC)
    assert [row["n"] for row in rows(store, "SELECT count(*) AS n FROM patient")] == [2]


@pytest.mark.parametrize("name", [KUZNETSOVA.name, PersonName("Орлова", "Марина", "Петровна")])
def test_a_script_without_patient_ids_makes_no_new_card_of_a_merged_one(
    store: Store, one: Order, name: PersonName
) -> None:
    written = replace(KUZNETSOVA, snils="", policy="", name=name, birth_date=date(1961, 12, 3))
    item = ImportedItem(
        patient=written,
        start=datetime(2026, 11, 24, 10, 15),
        station_ae_titles=("XRAY_14",),
        modality="DX",
        procedure_name="EXAM",
        study_instance_uid="1.2.3.1",
        attributes={"top": {}, "step": {}},
    )
    taken = store.write(worklist_files.sync, item, "/wl/1.wl", "1", factory.SYSTEM, CLINIC)
    assert taken.order_id is not None
    with store.read() as reader:
        order = orders.require(reader, taken.order_id)
    merge(store, one.patient.stored_id, order.patient.stored_id)
    again = replace(item, start=datetime(2026, 11, 24, 11, 15))
    store.write(worklist_files.sync, again, "/wl/1.wl", "2", factory.SYSTEM, CLINIC)
    assert rows(store, "SELECT count(*) AS n FROM patient") == [{"n": 2}]
    assert (order_now(store, order).patient, order_now(store, order).steps[0].start.hour) == (one.patient, 11)


# ---- the region ----


def kinds(store: Store, order: Order) -> list[str]:
    sent = rows(store, "SELECT * FROM outbox WHERE state <> 'dropped' ORDER BY seq")
    return [row["kind"] for row in sent if row["order_id"] == order.id]


def deliver(store: Store, order: Order) -> None:
    with store.read() as reader:
        head = next(row.seq for row in outbox.heads(reader) if row.order_id == order.id)
    store.write(lambda tx: outbox.deliver(tx, head, {"task": f"T{order.id}"}, ""))


def test_the_region_learns_whose_order_it_is_where_it_has_the_order(store: Store, one: Order, two: Order) -> None:
    deliver(store, two)
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    assert (kinds(store, one), kinds(store, two)) == (["order"], ["order", "amend"])
    deliver(store, two)
    undo(store, trail.id)
    assert kinds(store, two) == ["order", "amend", "amend"]


def test_the_region_learns_what_the_surviving_card_got(store: Store, one: Order, two: Order) -> None:
    for order in (one, two):
        deliver(store, order)
    merge(store, two.patient.stored_id, one.patient.stored_id, "snils")
    assert kinds(store, two) == ["order", "amend"]


def test_what_another_clinic_ordered_only_that_clinic_can_correct(store: Store, one: Order, two: Order) -> None:
    store.write(lambda tx: tx.run("UPDATE orders SET bus_role = 'performer' WHERE id = ?", [two.id]))
    deliver(store, two)
    merge(store, one.patient.stored_id, two.patient.stored_id)
    assert order_now(store, two).bus_role is BusRole.PERFORMER
    assert kinds(store, two) == ["order"]


def test_an_answer_of_the_region_never_forgets_what_came_with_a_merged_card(
    store: Store, one: Order, two: Order
) -> None:
    store.write(lambda tx: external_studies.put(tx, two.patient.stored_id, StoredStudy(STUDY, "1")))
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    with pytest.raises(BrokerError):  # an answer that was on its way
        store.write(external_results.store_history, two.patient, [])
    store.write(external_results.store_history, one.patient, [])
    with store.read() as reader:
        assert len(patient_history.external(reader, one.patient.stored_id).studies) == 1
    undo(store, trail.id)
    with store.read() as reader:
        assert len(patient_history.external(reader, two.patient.stored_id).studies) == 1


def reported(store: Store, order: Order) -> list[str]:
    with store.read() as reader:
        return [each.reference for each in patient_history.external(reader, order.patient.stored_id).studies]


def test_a_result_that_came_after_the_merge_goes_back_with_its_order(store: Store, one: Order, two: Order) -> None:
    store.write(lambda tx: external_studies.put(tx, two.patient.stored_id, StoredStudy(STUDY, "1"), two.id))
    other = replace(STUDY, reference="DiagnosticReport/2", modality="DX")
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    for study, version in ((STUDY, "2"), (other, "1")):
        arrival = Arrival("bus", f"Task/{version}", version, b"")
        store.write(external_results.store_result, two.id, StoredStudy(study, version), arrival)
    undo(store, trail.id)
    assert (reported(store, one), sorted(reported(store, two))) == ([], ["DiagnosticReport/1", "DiagnosticReport/2"])


@pytest.fixture
def numberless(store: Store) -> Order:
    return register(store, replace(KUZNETSOVA, name=PersonName("Орлова", "Марина", "Петровна"), snils="", policy=""))


def test_studies_found_by_a_number_leave_the_card_with_the_number(store: Store, one: Order, numberless: Order) -> None:
    before, own = card(store, numberless.patient.stored_id), replace(STUDY, reference="DiagnosticReport/2")
    store.write(lambda tx: external_studies.put(tx, before.stored_id, StoredStudy(own, "1")))
    trail = merge(store, before.stored_id, one.patient.stored_id, "snils")
    asked = card(store, before.stored_id)
    store.write(external_results.store_history, asked, [StoredStudy(STUDY, "1"), StoredStudy(own, "1")])
    undo(store, trail.id)
    assert card(store, before.stored_id).snils == ""
    assert reported(store, numberless) == ["DiagnosticReport/2"]
    with pytest.raises(Stale):  # an answer that was on its way
        store.write(external_results.store_history, asked, [StoredStudy(STUDY, "1")])
    assert reported(store, numberless) == ["DiagnosticReport/2"]
    with store.read() as reader:
        assert not external_studies.is_fresh(reader, before.stored_id, 12, store.clock())


def test_after_a_merge_that_brings_a_number_the_bus_is_asked_again(store: Store, one: Order, numberless: Order) -> None:
    with_policy = register(store, replace(TWIN, name=PersonName("Орлова", "Анна"), policy="7800000012345689"))
    store.write(external_results.store_history, with_policy.patient, [])
    trail = merge(store, with_policy.patient.stored_id, numberless.patient.stored_id)
    with store.read() as reader:
        assert external_studies.is_fresh(reader, with_policy.patient.stored_id, 12, store.clock())
    undo(store, trail.id)
    store.write(external_results.store_history, numberless.patient, [])
    merge(store, numberless.patient.stored_id, one.patient.stored_id, "snils")
    with store.read() as reader:
        assert not external_studies.is_fresh(reader, numberless.patient.stored_id, 12, store.clock())


def test_the_allergies_of_the_card_that_leaves_leave_and_those_of_the_others_stay(store: Store) -> None:
    one = register(store, replace(KUZNETSOVA, allergies="йод"))
    two = register(store, replace(TWIN, allergies="пенициллин"))
    three = register(
        store, replace(TWIN, name=PersonName("Кузнецова", "Марина", "Петр"), allergies="латекс; пенициллин")
    )
    four = register(store, replace(TWIN, name=PersonName("Кузнецова", "Марина", "П"), allergies="йод"))
    id = one.patient.stored_id
    first, second, third = (merge(store, id, each.patient.stored_id) for each in (two, three, four))
    undo(store, first.id)
    assert card(store, id).allergies == "йод; латекс; пенициллин"
    undo(store, third.id)
    assert card(store, id).allergies == "йод; латекс; пенициллин"
    undo(store, second.id)
    assert card(store, id).allergies == "йод"


@pytest.mark.parametrize("turns", [(0, 1), (1, 0)])
def test_what_an_import_said_comes_back_in_whatever_order_two_merges_are_undone(
    store: Store, numberless: Order, turns: tuple[int, int]
) -> None:
    item = ImportedItem(
        patient=replace(KUZNETSOVA, snils="", policy="", patient_id="P1"),
        start=datetime(2026, 11, 24, 10, 15),
        station_ae_titles=("XRAY_14",),
        modality="DX",
        procedure_name="EXAM",
        study_instance_uid="1.2.3.1",
        attributes={
            "top": {
                "PatientName": {"vr": "PN", "Value": [{"Alphabetic": "X"}]},
                "PatientSex": {"vr": "CS", "Value": ["F"]},
            },
            "step": {},
        },
    )
    taken = store.write(worklist_files.sync, item, "/wl/1.wl", "1", factory.SYSTEM, CLINIC)
    assert taken.order_id is not None
    with store.read() as reader:
        order = orders.require(reader, taken.order_id)
    other = register(store, replace(TWIN, name=PersonName("Орлова", "Марина", "Павловна"), sex=Sex.MALE))
    trails = [
        merge(store, order.patient.stored_id, numberless.patient.stored_id, "family"),
        merge(store, order.patient.stored_id, other.patient.stored_id, "sex"),
    ]
    assert order_now(store, order).attributes["top"] == {}
    for turn in turns:
        undo(store, trails[turn].id)
    assert order_now(store, order).attributes == order.attributes


def test_of_a_report_that_both_cards_had_the_final_state_counts_until_they_are_split(
    store: Store, one: Order, two: Order
) -> None:
    partial = replace(STUDY, status="partial", conclusion="")
    store.write(lambda tx: external_studies.put(tx, one.patient.stored_id, StoredStudy(partial, "1")))
    store.write(lambda tx: external_studies.put(tx, two.patient.stored_id, StoredStudy(STUDY, "2"), two.id))
    before = state(store)
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    with store.read() as reader:
        [study] = patient_history.external(reader, one.patient.stored_id).studies
    assert study.status == "final"
    undo(store, trail.id)
    assert state(store) == before


# ---- whatever happens ----

NAMES = ["Кузнецова", "Кузнецов", "Орлова"]
SNILS = ["", "11223344595", "08765430300"]
Action = Callable[[Store], object]


def _people() -> st.SearchStrategy[Patient]:
    return st.builds(
        Patient,
        st.builds(PersonName, st.sampled_from(NAMES), st.just("Марина")),
        st.sampled_from([date(1961, 3, 12), date(1961, 12, 3)]),
        st.sampled_from([Sex.FEMALE, Sex.MALE]),
        snils=st.sampled_from(SNILS),
        phone=st.sampled_from(["", "1", "2"]),
    )


ids = st.integers(1, 4)
steps = st.one_of(
    st.tuples(st.just("register"), _people()),
    st.tuples(st.just("merge"), ids, ids, st.sets(st.sampled_from(["family", "snils", "phone"]))),
    st.tuples(st.just("undo"), ids),
    st.tuples(st.just("edit"), ids, st.sampled_from(["family", "snils", "phone"]), st.integers(0, 2)),
)


def _edit(store: Store, id: int, field: str, which: int) -> None:
    """Amend an order with another value in its patient's card, as a person does."""
    with store.read() as reader:
        order = orders.require(reader, id)
    patient = order.patient
    if field == "family":
        patient = replace(patient, name=replace(patient.name, family=NAMES[which]))
    else:
        patient = with_values(patient, {field: (SNILS if field == "snils" else ["", "1", "2"])[which]})
    changed = draft(patient=patient, start=order.steps[0].start)
    store.write(referrals.amend, order.id, order.revision, changed, REGISTRAR, CLINIC)


def _do(store: Store, step: tuple[Any, ...]) -> None:
    what, *given = step
    if what == "register":
        register(store, *given)
    elif what == "merge":
        merge(store, *given[:2], *given[2])
    elif what == "undo":
        undo(store, *given)
    else:
        _edit(store, *given)


def check(store: Store) -> None:
    """No order is a merged card's, and no number is two people's; a card in use never leads elsewhere."""
    with store.read() as reader:
        everybody = reader.rows("SELECT * FROM patient")
        stray = "SELECT o.id FROM orders o JOIN patient p ON p.id = o.patient_id WHERE p.merged_into IS NOT NULL"
        assert reader.rows(stray) == []
        for number in ("snils", "policy"):
            held = [row[number] for row in everybody if row[number]]
            assert len(held) == len(set(held))
        for row in everybody:
            assert (patients.surviving_id(reader, row["id"]) == row["id"]) == (row["merged_into"] is None)
            assert row["merged_into"] is None or not (row["snils"] or row["policy"])
            opened = reader.rows(
                "SELECT surviving_id FROM patient_merge WHERE merged_id = ? AND undone_at IS NULL", [row["id"]]
            )
            assert [each["surviving_id"] for each in opened] == ([row["merged_into"]] if row["merged_into"] else [])
            assert row["name_key"].startswith(row["family"].casefold())


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(steps, max_size=14))
def test_no_order_is_a_merged_cards_and_no_number_two_peoples(tmp_path_factory: Any, done: list[Any]) -> None:
    store = factory.open_store(tmp_path_factory.mktemp("merge") / "worklist.sqlite")
    try:
        for person in (KUZNETSOVA, replace(TWIN, phone="1"), replace(TWIN, name=PersonName("Орлова", "Марина"))):
            register(store, person)
        for step in done:
            with suppress(BrokerError):
                _do(store, step)
            check(store)
    finally:
        store.close()


def state(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return what a clinic keeps of people and orders, without what only grows: revisions, instants, trails."""
    grow = {"revision", "changed_at"}
    return {
        table: [{name: value for name, value in row.items() if name not in grow} for row in rows(store, sql)]
        for table, sql in {
            "patient": "SELECT * FROM patient ORDER BY id",
            "orders": "SELECT * FROM orders ORDER BY id",
            "scheduled_step": "SELECT * FROM scheduled_step ORDER BY id",
            "external_study": "SELECT * FROM external_study ORDER BY reference, patient_id",
            "performed_step_link": "SELECT * FROM performed_step_link ORDER BY 1, 2",
        }.items()
    }


@pytest.mark.slow
@settings(max_examples=60)
@given(_people(), _people(), st.sets(st.sampled_from(["family", "snils", "phone", "birth_date", "sex"])), st.data())
def test_merged_and_split_again_the_rows_are_as_they_were_whatever_happened_to_others(
    tmp_path_factory: Any, one: Patient, other: Patient, chosen: set[str], data: st.DataObject
) -> None:
    store = factory.open_store(tmp_path_factory.mktemp("merge") / "worklist.sqlite")
    try:
        bystander = register(store, replace(TWIN, name=PersonName("Зайцева", "Анна")))
        made = []
        for person in (one, other):
            try:
                made.append(register(store, person))
            except BrokerError:
                return
        if made[0].patient.id == made[1].patient.id:
            return
        store.write(lambda tx: external_studies.put(tx, made[1].patient.stored_id, StoredStudy(STUDY, "1")))
        perform(store, made[0], "1.2", patient_name="KUZNETSOVA^MARINA", patient_id=made[1].patient.patient_id)
        before = state(store)
        try:
            trail = merge(store, made[0].patient.stored_id, made[1].patient.stored_id, *chosen)
        except Invalid:
            assert "" != one.snils != other.snils != ""
            return
        check(store)
        if data.draw(st.booleans()):
            store.write(referrals.cancel, bystander.id, bystander.revision, "", REGISTRAR, CLINIC)
            before["orders"][0] |= {"state": "cancelled"}
            before["scheduled_step"][0] |= {"state": "CANCELLED"}
        assert undo(store, trail.id) == ()
        assert state(store) == before
        check(store)
    finally:
        store.close()


def test_cards_that_were_declared_two_peoples_are_merged_only_by_who_knows_of_it(
    store: Store, one: Order, two: Order
) -> None:
    ids = one.patient.stored_id, two.patient.stored_id
    store.write(patient_merge.declare_different, *ids, REGISTRAR)
    with pytest.raises(Invalid, match="declared_different"):
        merge(store, *ids)
    store.write(patient_merge.merge, *ids, (), (1, 1), REGISTRAR, CLINIC, knows_difference=True)


def test_an_order_that_came_after_the_look_does_not_move_unseen(store: Store, one: Order, two: Order) -> None:
    ids = one.patient.stored_id, two.patient.stored_id
    later = register(store, replace(TWIN, id=two.patient.id, patient_id=two.patient.patient_id), comment="later")
    revisions = card(store, ids[0]).revision, card(store, ids[1]).revision
    with pytest.raises(Stale):
        store.write(patient_merge.merge, *ids, (), revisions, REGISTRAR, CLINIC, order_ids=(one.id, two.id))
    seen = one.id, two.id, later.id
    store.write(patient_merge.merge, *ids, (), revisions, REGISTRAR, CLINIC, order_ids=seen)


def test_a_merge_is_undone_only_while_the_card_is_as_it_was_seen(store: Store, one: Order, two: Order) -> None:
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    seen = card(store, one.patient.stored_id)
    order = order_now(store, one)
    changed = draft(patient=replace(order.patient, phone="+7 900 111-11-11"))
    store.write(referrals.amend, order.id, order.revision, changed, REGISTRAR, CLINIC)
    with pytest.raises(Stale):
        store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC, revision=seen.revision)
    now = card(store, one.patient.stored_id).revision
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC, revision=now)


def test_an_order_that_was_closed_by_hand_is_not_doubted_after_the_split(store: Store, one: Order, two: Order) -> None:
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    moved = order_now(store, two)
    store.write(step_links.close, moved.id, moved.revision, REGISTRAR, CLINIC)
    undo(store, trail.id)
    assert rows(store, "SELECT conflict FROM performed_step_link") == [{"conflict": ""}]


# ---- what was ordered since the merge ----


@pytest.fixture
def unknown(store: Store) -> Order:
    return register(store, Patient(PersonName("Неизвестная"), None, Sex.FEMALE))


def test_a_split_asks_whose_the_orders_since_the_merge_are(store: Store, unknown: Order, one: Order) -> None:
    trail = merge(store, unknown.patient.stored_id, one.patient.stored_id)  # the unknown woman's card stays
    kept = card(store, unknown.patient.stored_id)
    hers, theirs = (register(store, kept, comment=comment) for comment in ("ей", "неизвестной"))
    with store.read() as reader:
        assert patient_merges.later_orders(reader, trail) == [hers.id, theirs.id]
        [former] = patient_cards.read(reader, kept.patient_id).former  # type: ignore[union-attr]
    assert [each.id for each in former.later] == [hers.id, theirs.id]
    for decided in (None, {}, {hers.id: True}):
        with pytest.raises(Invalid) as caught:
            store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC, decided=decided)
        assert caught.value.problems == {"orders": "undecided"}
    with pytest.raises(Stale):
        store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC, decided={unknown.id: True})
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC, decided={hers.id: True, theirs.id: False})
    assert order_now(store, hers).patient.id == order_now(store, one).patient.id == one.patient.id
    assert order_now(store, theirs).patient.id == unknown.patient.id
    [said] = rows(store, "SELECT * FROM audit WHERE action = 'patient_split' AND order_id IS NULL")
    assert json.loads(said["details"])["decided"] == {str(hers.id): True, str(theirs.id): False}


def test_the_region_learns_whose_a_later_order_is(store: Store, unknown: Order, one: Order) -> None:
    trail = merge(store, one.patient.stored_id, unknown.patient.stored_id)
    since = register(store, card(store, one.patient.stored_id), comment="ещё")
    store.write(lambda tx: tx.run("UPDATE outbox SET state = 'delivered'"))
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC, decided={since.id: True})
    amended = rows(store, "SELECT order_id FROM outbox WHERE kind = 'amend' AND state = 'pending' ORDER BY 1")
    assert [row["order_id"] for row in amended] == [unknown.id, since.id]


def test_orders_of_a_later_merge_are_not_asked_about(store: Store, one: Order, unknown: Order, two: Order) -> None:
    first = merge(store, one.patient.stored_id, unknown.patient.stored_id)
    merge(store, one.patient.stored_id, two.patient.stored_id)
    with store.read() as reader:
        assert patient_merges.later_orders(reader, first) == []
    store.write(patient_merge.undo_merge, first.id, REGISTRAR, CLINIC)
    assert order_now(store, two).patient.id == one.patient.id


def test_a_merge_of_an_earlier_version_asks_about_what_was_written_after_it(
    store: Store, one: Order, two: Order
) -> None:
    trail = merge(store, one.patient.stored_id, two.patient.stored_id)
    store.write(lambda tx: tx.run("UPDATE patient_merge SET moved = json_remove(moved, '$.present_orders')"))
    since = register(store, card(store, one.patient.stored_id), comment="ещё")
    store.write(
        lambda tx: tx.run("UPDATE orders SET authored_on = '2990-01-01T00:00:00+00:00' WHERE id = ?", [since.id])
    )
    with store.read() as reader:
        assert patient_merges.later_orders(reader, patient_merges.require(reader, trail.id)) == [since.id]


def details(store: Store, id: int) -> PatientDetails:
    with store.read() as reader:
        return patient_details.get(reader, id)


@pytest.mark.parametrize("surviving_said", [None, date(2026, 11, 20)])
def test_a_consent_that_was_withdrawn_on_the_merged_card_is_withdrawn_on_the_one_that_stays(
    store: Store, surviving_said: date | None
) -> None:
    one, other = register(store), register(store, TWIN)
    ids = one.patient.stored_id, other.patient.stored_id
    before = PatientDetails(address="Лесная, 1", consent_on=surviving_said)
    store.write(lambda tx: patient_details.put(tx, ids[0], before))
    store.write(patient_consent.withdraw, ids[1], REGISTRAR, CLINIC)
    made = merge(store, *ids)
    assert details(store, ids[0]).is_consent_withdrawn
    assert details(store, ids[0]).address == "Лесная, 1"
    undo(store, made.id)
    assert details(store, ids[0]) == before
    assert details(store, ids[1]).is_consent_withdrawn


def test_what_was_said_of_the_consent_since_a_merge_holds_after_it_is_undone(store: Store) -> None:
    one, other = register(store), register(store, TWIN)
    ids = one.patient.stored_id, other.patient.stored_id
    store.write(patient_consent.withdraw, ids[1], REGISTRAR, CLINIC)
    made = merge(store, *ids)
    store.write(patient_consent.give, ids[0], REGISTRAR, CLINIC)
    undo(store, made.id)
    assert details(store, ids[0]).consent_on is not None
    assert not details(store, ids[0]).is_consent_withdrawn


DAYS = st.none() | st.dates(date(2026, 1, 1), date(2026, 1, 4))
DETAILS = st.builds(PatientDetails, st.sampled_from(["", "Лесная, 1"]), st.sampled_from(["", "4001"]), DAYS, DAYS)


@given(DETAILS, DETAILS)
def test_of_two_cards_what_was_said_last_of_the_consent_holds(one: PatientDetails, other: PatientDetails) -> None:
    both = combine(one, other)
    said = [each for each in (one, other) if each.consent_said_on]
    last = max((each.consent_said_on for each in said if each.consent_said_on), default=None)
    assert both.consent_said_on == last
    assert both.is_consent_withdrawn == any(each.is_consent_withdrawn for each in said if each.consent_said_on == last)
    assert both.address == (one.address or other.address)
