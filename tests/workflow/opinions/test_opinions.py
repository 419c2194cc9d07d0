"""What becomes of requests for opinions: ours wait, hang, are answered and seen; others' never become orders."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.incoming import IncomingReferral, IncomingState
from broker.domain.opinions.requests import OpinionPartner, OpinionRequest, OpinionRules, OpinionState
from broker.domain.orders import Order, Priority
from broker.domain.reading.reports import ExternalStudy, ReportChange
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.queries.opinions import opinion_lists
from broker.store.tables import incoming
from broker.store.tables.incoming import Arrival
from broker.store.tables.opinions import requests
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.opinions import answering, asking
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.referrals import incoming_referrals, referrals
from broker.workflow.referrals.incoming_referrals import ReceiveOutcome
from broker.workflow.studies import performed_steps
from broker.workflow.studies.external_results import ExternalResultOutcome
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, XRAY, draft, message, performed

THEM = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61"
BUS = Actor(ActorKind.BUS, "bus", "Региональная шина")
DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
RULES = OpinionRules((OpinionPartner(THEM, understands=True),), hours=72, urgent_hours=24)
OURS = replace(CLINIC, opinions=RULES, sends_to_bus=True)
TEXT = ReportText("Суставная щель сужена.", "Гонартроз II ст.")
ANSWER = ExternalStudy("DiagnosticReport/r1", "final", THEM, conclusion="Перелома нет.")


@pytest.fixture
def order(store: Store) -> Order:
    made = store.write(referrals.register, draft(), REGISTRAR, OURS)
    step = performed("1.2.3.4", StepReference(study_instance_uid=made.study_instance_uid))
    store.write(performed_steps.start, step, message("create"), XRAY, OURS)
    change = performed_steps.ChangeRequest(
        "1.2.3.4", PerformedChange(PerformedState.COMPLETED, images=2), message("final")
    )
    store.write(performed_steps.change, change, XRAY, OURS)
    store.write(reports.sign, made.id, 0, TEXT, DOCTOR, OURS)
    return made


def ask(store: Store, order: Order, priority: Priority = Priority.ROUTINE, version: int = 1) -> OpinionRequest:
    return store.write(
        asking.ask, order.id, version, THEM, "Нет ли перелома?", priority, DOCTOR, OURS, is_confirmed=True
    )


def now(store: Store, asked: OpinionRequest) -> OpinionRequest:
    with store.read() as reader:
        return requests.require(reader, asked.stored_id)


def answer(store: Store, asked: OpinionRequest, study: ExternalStudy = ANSWER, at: str = "1") -> ExternalResultOutcome:
    return store.write(asking.receive_answer, asked.stored_id, StoredStudy(study), Arrival("bus", "Task/t9", at))


def came(store: Store, version: str = "1", automatic: bool = True, **changes: object) -> ReceiveOutcome:
    referral = IncomingReferral(
        task="t1",
        patient=KUZNETSOVA,
        requester=THEM,
        procedure_code="WLB-KNEE",
        procedure_name="Рентгенография коленного сустава",
        comment="Второе мнение: нет ли перелома?",
        asks_opinion=True,
    )
    given = replace(referral, **changes)  # type: ignore[arg-type]
    devices = {"DX": "XRAY_14"} if automatic else {}
    return store.write(incoming_referrals.receive, given, Arrival("bus", "Task/t1", version), BUS, OURS, devices)


def the_one(store: Store) -> IncomingReferral:
    with store.read() as reader:
        found = incoming.by_task(reader, "bus", "t1")
    assert found is not None
    return found


def orders_of(store: Store) -> int:
    with store.read() as reader:
        return int(reader.value("SELECT count(*) FROM orders") or 0)


@pytest.mark.parametrize(("priority", "hours"), [(Priority.ROUTINE, 72), (Priority.URGENT, 24)])
def test_a_request_hangs_after_its_own_time_until_it_is_answered(
    store: Store, order: Order, priority: Priority, hours: int
) -> None:
    asked = ask(store, order, priority)
    due = asked.asked_at + timedelta(hours=hours)
    assert not now(store, asked).hangs(due - timedelta(seconds=1), RULES)
    assert now(store, asked).hangs(due, RULES)
    with store.read() as reader:
        assert opinion_lists.count_of_ours(reader, asked.asked_at, RULES) == 0
        assert opinion_lists.count_of_ours(reader, due, RULES) == 1
    answer(store, asked)
    assert not now(store, asked).hangs(due, RULES)
    with store.read() as reader:
        assert opinion_lists.count_of_ours(reader, due, RULES) == 1  # until a doctor has seen it
    store.write(asking.heed, asked.stored_id, DOCTOR)
    with store.read() as reader:
        assert opinion_lists.count_of_ours(reader, due, RULES) == 0


def test_an_answer_without_a_report_says_that_somebody_works_on_it(store: Store, order: Order) -> None:
    asked = ask(store, order)
    assert answer(store, asked, replace(ANSWER, status="partial", conclusion="")) is ExternalResultOutcome.TAKEN
    assert now(store, asked).state is OpinionState.TAKEN
    answer(store, asked, at="2")
    assert now(store, asked).state is OpinionState.ANSWERED


def test_an_answer_that_is_corrected_is_to_be_seen_again(store: Store, order: Order) -> None:
    asked = ask(store, order)
    answer(store, asked)
    store.write(asking.heed, asked.stored_id, DOCTOR)
    assert answer(store, asked) is ExternalResultOutcome.KNOWN
    assert now(store, asked).heeded_at is not None
    answer(store, asked, replace(ANSWER, status="corrected", conclusion="Перелом есть."), at="2")
    after = now(store, asked)
    assert after.heeded_at is None
    assert after.answer is not None
    assert after.answer.conclusion == "Перелом есть."


def test_an_answer_changes_nothing_of_our_report(store: Store, order: Order) -> None:
    asked = ask(store, order)
    before = orders_of(store)
    answer(store, asked)
    with store.read() as reader:
        sql = "SELECT count(*) FROM outbox WHERE kind IN ('report', 'appended')"
        assert reader.value(sql) == 1
        assert reader.value("SELECT count(*) FROM report_version WHERE version > 1") == 0
    assert orders_of(store) == before


def test_a_request_needs_a_signed_report_as_the_doctor_saw_it(store: Store, order: Order) -> None:
    change = Revision(ReportChange.ADDITION, "Контроль через год.")
    store.write(reports.revise, order.id, 1, change, DOCTOR, OURS)
    with pytest.raises(Stale):
        ask(store, order)
    store.write(reports.revise, order.id, 2, Revision(ReportChange.WITHDRAWAL, "другой пациент"), DOCTOR, OURS)
    with pytest.raises(WrongState):
        ask(store, order, version=3)


def test_a_clinic_is_not_asked_twice_at_a_time(store: Store, order: Order) -> None:
    asked = ask(store, order)
    assert ask(store, order) == asked  # a double click
    with pytest.raises(WrongState):
        store.write(asking.ask, order.id, 1, THEM, "Другое?", Priority.ROUTINE, DOCTOR, OURS, is_confirmed=True)
    answer(store, asked)
    assert ask(store, order).number == 2


def test_only_doctors_ask_and_answer(store: Store, order: Order) -> None:
    with pytest.raises(Forbidden):
        store.write(asking.ask, order.id, 1, THEM, "?", Priority.ROUTINE, REGISTRAR, OURS, is_confirmed=True)
    came(store)
    with pytest.raises(Forbidden):
        store.write(answering.answer, the_one(store).stored_id, TEXT, the_one(store), REGISTRAR, OURS)


# ---- what others ask ----


def test_a_request_of_another_clinic_becomes_no_order_although_devices_take_what_comes(store: Store) -> None:
    assert came(store) is ReceiveOutcome.WAITING
    assert came(store, version="2", comment="Второе мнение: а сбоку?") is ReceiveOutcome.WAITING
    assert orders_of(store) == 0


def test_a_referral_of_the_same_kind_does_become_one(store: Store) -> None:
    assert came(store, asks_opinion=False, comment="Упала") is ReceiveOutcome.ORDERED
    assert orders_of(store) == 1


def test_a_referral_with_an_earlier_study_waits_for_a_person_who_may_give_it_to_the_doctors(store: Store) -> None:
    attached = ("снимки · 2026-11-20 · DX",)
    assert came(store, asks_opinion=False, comment="Упала", attached=attached) is ReceiveOutcome.WAITING
    store.write(answering.mark, the_one(store).stored_id, REGISTRAR)
    with store.read() as reader:
        assert inbox.waiting(reader) == []
        assert len(opinion_lists.waiting_for_us(reader)) == 1
    came(store, version="2", asks_opinion=False, comment="Упала вчера")  # what a person has said holds
    assert the_one(store).asks_opinion
    assert orders_of(store) == 0


def test_what_a_local_client_asks_is_no_request_and_no_order_either(store: Store) -> None:
    referral = replace(
        IncomingReferral(task="l1", patient=KUZNETSOVA, procedure_code="WLB-KNEE", comment="Второе мнение: ?"),
        procedure_name="Рентгенография коленного сустава",
        asks_opinion=True,
    )
    arrival = Arrival("мис", "Task/l1", "1")
    outcome = store.write(incoming_referrals.receive, referral, arrival, BUS, OURS, {"DX": "XRAY_14"})
    assert outcome is ReceiveOutcome.WAITING
    with store.read() as reader:
        assert [each.asks_opinion for each in inbox.waiting(reader)] == [False]


def test_an_answer_is_about_the_question_that_the_doctor_saw(store: Store) -> None:
    came(store)
    seen = the_one(store)
    came(store, version="2", comment="Второе мнение: а сбоку?")
    with pytest.raises(Stale):
        store.write(answering.answer, seen.stored_id, TEXT, seen, DOCTOR, OURS)
    with pytest.raises(Invalid):
        store.write(answering.answer, seen.stored_id, ReportText(), the_one(store), DOCTOR, OURS)
    store.write(answering.answer, seen.stored_id, TEXT, the_one(store), DOCTOR, OURS)
    assert the_one(store).state is IncomingState.ACCEPTED
    with pytest.raises(WrongState):
        store.write(answering.answer, seen.stored_id, ReportText("", "Иначе."), the_one(store), DOCTOR, OURS)
    assert factory.CLINIC.opinions.partners == ()  # answering needs no partner
