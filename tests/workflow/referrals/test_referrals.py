"""Referrals are registered once, changed by one hand at a time, and told to the region in the same transaction."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Duplicate, Forbidden, Invalid, SessionEnded, Stale, WrongState
from broker.domain.messages import OutboxKind
from broker.domain.orders import OrderState
from broker.domain.patients.people import PersonName
from broker.domain.studies.performed import StepReference
from broker.security.sessions import actor_of, sign_in, sign_out
from broker.security.throttle import Throttle
from broker.store.database import Store
from broker.store.queries import exchange_state, order_card
from broker.store.tables import outbox
from broker.workflow import accounts
from broker.workflow import outbox as delivery
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM, draft


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    with store.read() as reader:
        return reader.rows(sql)


def test_a_referral_becomes_an_order_a_worklist_entry_an_audit_line_and_a_message(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    assert order.state is OrderState.SCHEDULED
    assert order.accession_number == f"K{factory.soon():%y%m}-0001"
    assert order.study_instance_uid.startswith(CLINIC.uid_root)
    assert order.steps[0].station_ae_titles == ("XRAY_14",)
    assert order.patient.patient_id == "000001"
    assert [row["action"] for row in rows(store, "SELECT * FROM audit")] == ["register"]
    assert [row["kind"] for row in rows(store, "SELECT * FROM outbox")] == ["order"]


def test_the_same_submission_makes_one_referral_however_often_and_parallel(store: Store) -> None:
    made: list[int] = []
    asked = draft(submission_id="form 1")
    threads = [
        threading.Thread(target=lambda: made.append(store.write(referrals.register, asked, REGISTRAR, CLINIC).id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [made[0]] * 8
    assert len(rows(store, "SELECT * FROM orders")) == len(rows(store, "SELECT * FROM outbox")) == 1


def test_a_submission_that_comes_back_with_other_content_is_refused(store: Store) -> None:
    store.write(referrals.register, draft(submission_id="form 1"), REGISTRAR, CLINIC)
    with pytest.raises(Duplicate):
        store.write(referrals.register, draft(submission_id="form 1", comment="other"), REGISTRAR, CLINIC)


def test_one_of_several_namesakes_is_taken_by_number_or_chosen_by_a_person_and_never_by_being_the_first(
    store: Store,
) -> None:
    bare = replace(KUZNETSOVA, snils="", policy="")
    for snils in ("11223344595", "08765430300"):
        store.write(referrals.register, draft(patient=replace(bare, snils=snils)), REGISTRAR, CLINIC)
    with pytest.raises(Invalid) as caught:
        store.write(referrals.register, draft(patient=bare, submission_id="form 1"), REGISTRAR, CLINIC)
    assert caught.value.problems == {"patient": "several"}
    assert len(rows(store, "SELECT * FROM orders")) == 2
    answered = draft(patient=bare, submission_id="form 1", other_than=(1, 2))
    third = store.write(referrals.register, answered, REGISTRAR, CLINIC)
    assert third.patient.patient_id == "000003"
    # Sent again after a lost answer, with the question answered or not, it is the same referral.
    assert store.write(referrals.register, answered, REGISTRAR, CLINIC).id == third.id
    assert store.write(referrals.register, replace(answered, other_than=None), REGISTRAR, CLINIC).id == third.id


def test_somebody_new_who_was_registered_meanwhile_is_not_registered_twice(store: Store) -> None:
    bare = replace(KUZNETSOVA, snils="", policy="")
    first = store.write(referrals.register, draft(patient=bare), REGISTRAR, CLINIC)
    again = store.write(referrals.register, draft(patient=bare, other_than=()), REGISTRAR, CLINIC)
    assert again.patient.id == first.patient.id


def test_who_bears_a_number_of_somebody_known_is_no_new_patient_whatever_was_said(store: Store) -> None:
    store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    other = replace(KUZNETSOVA, name=PersonName("Сидорова", "Анна"), policy="")
    with pytest.raises(Invalid) as caught:
        store.write(referrals.register, draft(patient=other, other_than=(1,)), REGISTRAR, CLINIC)
    assert caught.value.problems == {"snils": "other_patient"}


def test_all_wrong_fields_are_named_at_once_and_nothing_is_written(store: Store) -> None:
    wrong = draft(
        patient=replace(KUZNETSOVA, name=PersonName("", "", ""), snils="11223344594", policy="1"),
        procedure_code="NO-SUCH",
        station_ae_titles=("NOWHERE",),
        start=factory.soon() - timedelta(days=2),
        diagnosis_code="колено",
    )
    with pytest.raises(Invalid) as raised:
        store.write(referrals.register, wrong, REGISTRAR, CLINIC)
    assert raised.value.problems == {
        "family": "required",
        "snils": "check_digit",
        "policy": "length",
        "procedure": "unknown",
        "device": "unknown",
        "date": "past",
        "diagnosis": "icd10",
    }
    assert rows(store, "SELECT * FROM patient") == rows(store, "SELECT * FROM audit") == []


def test_a_device_of_another_modality_is_refused(store: Store) -> None:
    with pytest.raises(Invalid) as raised:
        store.write(referrals.register, draft(station_ae_titles=("MAMMO_9",)), REGISTRAR, CLINIC)
    assert raised.value.problems == {"device": "other_modality"}


def test_a_known_patient_is_not_doubled_and_not_emptied(store: Store) -> None:
    first = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    typed = replace(KUZNETSOVA, name=PersonName("кузнецова", "Марина", "Петровна"), snils="", policy="")
    second = store.write(referrals.register, draft(patient=typed), REGISTRAR, CLINIC)
    assert second.patient.id == first.patient.id
    assert second.patient.snils == KUZNETSOVA.snils


def test_a_number_of_another_patient_never_renames_that_patient(store: Store) -> None:
    store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    other = replace(KUZNETSOVA, name=PersonName("Сидорова", "Анна"), policy="")
    with pytest.raises(Invalid) as raised:
        store.write(referrals.register, draft(patient=other), REGISTRAR, CLINIC)
    assert raised.value.problems == {"snils": "other_patient"}
    assert [row["family"] for row in rows(store, "SELECT family FROM patient")] == ["Кузнецова"]


def test_a_cyrillic_letter_in_a_diagnosis_code_is_taken_for_the_latin_one(store: Store) -> None:
    assert store.write(referrals.register, draft(diagnosis_code="м17.1"), REGISTRAR, CLINIC).diagnosis_code == "M17.1"


def test_a_name_in_two_alphabets_is_stored_listed_and_sent_in_one(store: Store) -> None:
    patient = replace(factory.KUZNETSOVA, name=PersonName("Кузнeцова", "Mарина", "Петpовна"), mother="Ивaнова")
    draft = factory.draft(patient=patient, referrer=PersonName("Зимин", "Aндрей", ""))
    order = store.write(referrals.register, draft, REGISTRAR, CLINIC)
    assert order.patient.name == factory.KUZNETSOVA.name
    assert (order.patient.mother, str(order.referrer)) == ("Иванова", "Зимин Андрей")


def test_an_amendment_of_what_has_changed_meanwhile_is_refused(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    later = draft(start=factory.soon(hours=1), station_ae_titles=("FLG_12",))
    changed = store.write(referrals.amend, order.id, order.revision, later, REGISTRAR, CLINIC)
    assert changed.steps[0].station_ae_titles == ("FLG_12",)
    assert changed.accession_number == order.accession_number
    with pytest.raises(Stale):
        store.write(referrals.amend, order.id, order.revision, draft(comment="late"), REGISTRAR, CLINIC)


def test_an_amendment_puts_what_the_bus_refused_back_into_the_queue(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    with store.read() as reader:
        head = outbox.heads(reader)[0]
    store.write(lambda tx: outbox.mark_needs_attention(tx, head.seq, "полис не найден", "{}"))
    with store.read() as reader:
        assert outbox.heads(reader) == []
    store.write(referrals.amend, order.id, order.revision, draft(comment="поправлено"), REGISTRAR, CLINIC)
    with store.read() as reader:
        assert [row.seq for row in outbox.heads(reader)] == [head.seq]


def test_a_cancelled_order_leaves_the_worklist_and_the_region_learns_it_in_order(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    cancelled = store.write(referrals.cancel, order.id, order.revision, "пациент не пришёл", REGISTRAR, CLINIC)
    assert cancelled.state is OrderState.CANCELLED
    assert [row["kind"] for row in rows(store, "SELECT kind FROM outbox ORDER BY seq")] == ["order", "cancel"]
    with pytest.raises(WrongState):
        store.write(referrals.amend, order.id, cancelled.revision, draft(), REGISTRAR, CLINIC)
    with store.read() as reader:
        assert [row.kind for row in outbox.heads(reader)] == [OutboxKind.ORDER]  # never the cancellation first


def test_a_referral_that_the_bus_refused_and_never_had_is_cancelled_without_a_message(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    with store.read() as reader:
        seq = outbox.heads(reader)[0].seq
    store.write(lambda tx: outbox.mark_needs_attention(tx, seq, "полис не найден", ""))
    store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    assert [row["state"] for row in rows(store, "SELECT state FROM outbox")] == ["dropped"]
    with store.read() as reader:
        assert outbox.heads(reader) == []
        assert exchange_state.current(reader).needs_attention == ()


def test_what_has_started_cannot_be_cancelled(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    step = factory.performed("1.2.3", StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, factory.message(), factory.XRAY, CLINIC)
    with store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    with pytest.raises(WrongState):
        store.write(referrals.cancel, order.id, card.order.revision, "", REGISTRAR, CLINIC)


def test_without_a_bus_nothing_is_queued(store: Store) -> None:
    store.write(referrals.register, draft(), REGISTRAR, replace(CLINIC, sends_to_bus=False))
    assert not rows(store, "SELECT * FROM outbox")


@pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.ADMINISTRATOR])
def test_roles_that_may_not_register_are_refused_in_the_verb(store: Store, role: Role) -> None:
    with pytest.raises(Forbidden):
        store.write(referrals.register, draft(), Actor(ActorKind.PERSON, "x", roles=frozenset({role})), CLINIC)


def test_a_page_that_outlived_its_session_cannot_save(store: Store) -> None:
    store.write(
        accounts.add_account,
        accounts.new_account("orlova", "Орлова", frozenset({Role.REGISTRAR}), "long enough"),
        SYSTEM,
    )
    actor = actor_of(store, sign_in(store, Throttle(), "Orlova", "long enough", "127.0.0.1", 12))
    assert actor is not None
    store.write(referrals.register, draft(), actor, CLINIC)
    store.write(sign_out, actor)
    with pytest.raises(SessionEnded):
        store.write(referrals.register, draft(), actor, CLINIC)


def test_resending_queues_an_orders_messages_that_need_attention(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    with store.read() as reader:
        seq = outbox.heads(reader)[0].seq
    store.write(lambda tx: outbox.mark_needs_attention(tx, seq, "нет", ""))
    assert store.write(delivery.resend, order.id, REGISTRAR) == 1
    with store.read() as reader:
        assert len(outbox.heads(reader)) == 1
