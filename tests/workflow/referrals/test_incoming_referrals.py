"""Referrals from elsewhere become one order each, and what their senders cancel or change is heeded or shown."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.default_procedures import PROCEDURES
from broker.domain.errors import Forbidden, Invalid, NotFound, Stale, WrongState
from broker.domain.incoming import ANSWERS_CANCELLED, ArrivalKind, ArrivalState, IncomingReferral, IncomingState
from broker.domain.messages import SENDERS_ENCOUNTER
from broker.domain.orders import BusRole, Order, OrderState, Priority
from broker.domain.patients.people import NO_NAME, Patient, PersonName
from broker.domain.studies.performed import StepReference
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.tables import clients, incoming, orders, outbox
from broker.store.tables.incoming import Arrival
from broker.workflow.referrals import incoming_referrals, referrals
from broker.workflow.referrals.incoming_referrals import ReceiveOutcome
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.alike import ALIKE, alike
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM

BUS = Actor(ActorKind.BUS, "bus", "Региональная шина")
THEM = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61"
KNEE = IncomingReferral(
    task="t1",
    patient=KUZNETSOVA,
    requester=THEM,
    service_request="s1",
    encounter="e1",
    bus_patient="p1",
    bus_accession_number="ODII0000000042",
    procedure_code="A06.04.005",
    procedure_system=incoming_referrals.SYSTEM_PROCEDURE,
    procedure_name="Рентгенография коленного сустава",
    referrer=PersonName("Петров", "Пётр"),
    diagnosis_code="M17.1",
    comment="Упал",
    laterality="L",
    authored_on=datetime(2026, 11, 24, 6, tzinfo=UTC),
)
STRAIGHT = {"DX": "XRAY_14"}


def arrival(version: str = "1", **changes: Any) -> Arrival:
    return replace(Arrival("bus", "Task/t1", version, b"{}"), **changes)


def take(store: Store, came: IncomingReferral = KNEE, version: str = "1", **rule: str) -> ReceiveOutcome:
    return store.write(incoming_referrals.receive, came, arrival(version), BUS, CLINIC, rule)


def take_cancellation(store: Store, version: str = "2", **own: Any) -> ReceiveOutcome:
    return store.write(incoming_referrals.receive_cancellation, "t1", arrival(version), "cancelled", BUS, CLINIC, **own)


def waiting(store: Store) -> list[IncomingReferral]:
    with store.read() as reader:
        return inbox.waiting(reader)


def form(known: IncomingReferral, **changes: Any) -> Any:
    draft = incoming_referrals.draft_of(known, PROCEDURES, factory.soon(minutes=20))
    return replace(draft, station_ae_titles=("XRAY_14",), **changes)


def accept(store: Store) -> Order:
    [known] = waiting(store)
    return store.write(incoming_referrals.accept, known.stored_id, form(known), REGISTRAR, CLINIC)


def reread(store: Store, order: Order) -> Order:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    with store.read() as reader:
        return reader.rows(sql)


def actions(store: Store) -> list[str]:
    return [row["action"] for row in rows(store, "SELECT action FROM audit ORDER BY seq")]


def begin(store: Store, order: Order) -> None:
    step = factory.performed("1.2.3", StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, factory.message(), factory.XRAY, CLINIC)


# ---- taking ----


def test_a_referral_waits_as_its_sender_wrote_it(store: Store) -> None:
    assert take(store) is ReceiveOutcome.WAITING
    [known] = waiting(store)
    assert known == replace(KNEE, id=known.id, received_at=known.received_at)
    assert known.received_at is not None
    assert actions(store) == ["incoming"]


def test_the_same_message_again_changes_nothing(store: Store) -> None:
    take(store)
    assert take(store) is ReceiveOutcome.NOTHING
    assert take(store, replace(KNEE, comment="older"), "0") is ReceiveOutcome.NOTHING
    assert len(waiting(store)) == 1
    assert waiting(store)[0].comment == KNEE.comment
    assert actions(store) == ["incoming"]


def test_a_newer_content_takes_the_place_of_the_older_while_it_waits(store: Store) -> None:
    take(store)
    assert take(store, replace(KNEE, priority=Priority.URGENT), "2") is ReceiveOutcome.WAITING
    [known] = waiting(store)
    assert known.priority is Priority.URGENT
    assert (
        take(store, replace(KNEE, priority=Priority.URGENT), "3") is ReceiveOutcome.NOTHING
    )  # another version, nothing new


def test_urgent_referrals_stand_first(store: Store) -> None:
    take(store)
    urgent = replace(KNEE, task="t2", priority=Priority.URGENT)
    store.write(incoming_referrals.receive, urgent, arrival(reference="Task/t2"), BUS, CLINIC, {})
    assert [known.task for known in waiting(store)] == ["t2", "t1"]


def test_a_rule_puts_a_referral_onto_the_worklist_for_the_day_of_its_arrival(store: Store) -> None:
    assert take(store, KNEE, **STRAIGHT) is ReceiveOutcome.ORDERED
    assert waiting(store) == []
    [row] = rows(store, "SELECT id FROM orders")
    with store.read() as reader:
        order = orders.get(reader, row["id"])
        assert incoming.of_order(reader, row["id"]) is not None
    assert order is not None
    assert order.steps[0].station_ae_titles == ("XRAY_14",)
    assert abs((order.steps[0].start - factory.soon()).total_seconds()) <= 120
    assert (order.laterality, order.comment) == ("L", "Упал")
    assert order.created_by == BUS.title
    assert take(store, KNEE, **STRAIGHT) is ReceiveOutcome.NOTHING


@pytest.mark.parametrize(
    ("changes", "rule", "problems"),
    [
        ({}, {"DX": "NOWHERE"}, {"device": "unknown"}),
        ({}, {"DX": "MAMMO_9"}, {"device": "other_modality"}),
        ({}, {"CT": "XRAY_14"}, {}),
        ({"procedure_name": "Нечто", "procedure_code": "1"}, STRAIGHT, {}),
        ({"problems": {"birth_date": "required"}}, STRAIGHT, {"birth_date": "required"}),
        ({"patient": replace(KUZNETSOVA, name=NO_NAME)}, STRAIGHT, {"family": "required"}),
    ],
)
def test_what_a_rule_does_not_fit_waits_for_a_person(
    store: Store, changes: dict[str, Any], rule: dict[str, str], problems: dict[str, str]
) -> None:
    assert take(store, replace(KNEE, **changes), **rule) is ReceiveOutcome.WAITING
    [known] = waiting(store)
    assert known.problems == problems
    assert rows(store, "SELECT * FROM orders") == []


@pytest.mark.parametrize(
    "patient",
    [
        replace(KUZNETSOVA, birth_date=None),
        replace(KUZNETSOVA, birth_date=None, birth_year=1961),
        replace(KUZNETSOVA, name=PersonName("Сухарто")),
        replace(KUZNETSOVA, name=PersonName("Неизвестный", "№3"), birth_date=None, snils="", policy=""),
    ],
)
def test_who_is_not_fully_known_stands_on_the_worklist_at_once(store: Store, patient: Patient) -> None:
    assert take(store, replace(KNEE, patient=patient), **STRAIGHT) is ReceiveOutcome.ORDERED
    with store.read() as reader:
        [order] = orders.get_many(reader, [row["id"] for row in rows(store, "SELECT id FROM orders")])
    assert (order.patient.name, order.patient.born) == (patient.name, patient.born)


def test_a_rule_never_makes_one_patient_another(store: Store) -> None:
    store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    other = replace(KUZNETSOVA, name=PersonName("Сидорова", "Анна"), policy="")
    assert take(store, replace(KNEE, patient=other), **STRAIGHT) is ReceiveOutcome.WAITING
    assert waiting(store)[0].problems == {"snils": "other_patient"}
    assert len(rows(store, "SELECT * FROM orders")) == len(rows(store, "SELECT * FROM patient")) == 1


def test_a_rule_chooses_nobody_of_several_namesakes_and_a_person_decides(store: Store) -> None:
    bare = replace(KUZNETSOVA, snils="", policy="")
    for snils in ("11223344595", "08765430300"):
        namesake = factory.draft(patient=replace(bare, snils=snils))
        store.write(referrals.register, namesake, REGISTRAR, CLINIC)
    assert take(store, replace(KNEE, patient=bare), **STRAIGHT) is ReceiveOutcome.WAITING
    [known] = waiting(store)
    assert known.problems == {"patient": "several"}
    assert len(rows(store, "SELECT * FROM orders")) == 2
    with pytest.raises(Invalid):
        accept(store)
    other = form(known, other_than=(1, 2))
    order = store.write(incoming_referrals.accept, known.stored_id, other, REGISTRAR, CLINIC)
    assert order.patient.patient_id == "000003"


@pytest.mark.parametrize("index", range(len(ALIKE)), ids=[str(why) for why, _ in ALIKE])
def test_a_rule_makes_no_second_card_of_somebody_who_is_like_one_of_ours(store: Store, index: int) -> None:
    known = store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC).patient
    referral = replace(KNEE, patient=alike(index))
    assert take(store, referral, **STRAIGHT) is ReceiveOutcome.WAITING
    [waits] = waiting(store)
    assert waits.problems == {"patient": "similar"}
    assert len(rows(store, "SELECT * FROM orders")) == len(rows(store, "SELECT * FROM patient")) == 1
    assert take(store, referral, "2", **STRAIGHT) is ReceiveOutcome.NOTHING
    other = store.write(
        incoming_referrals.accept, waits.stored_id, form(waits, other_than=(known.stored_id,)), REGISTRAR, CLINIC
    )
    assert other.patient.id != known.id


# ---- accepting ----


def test_an_accepted_referral_is_an_order_that_its_sender_knows(store: Store) -> None:
    take(store)
    order = accept(store)
    assert (order.bus_role, order.requester) == (BusRole.PERFORMER, THEM)
    assert order.bus_accession_number == "ODII0000000042"
    assert order.accession_number.startswith("K")
    with store.read() as reader:
        references = outbox.references(reader, order.id)
        known = incoming.of_order(reader, order.id)
    assert (references.task, references.service_request, references.patient, references.acsn) == (
        "t1",
        "s1",
        "p1",
        "ODII0000000042",
    )
    assert references.extra == {SENDERS_ENCOUNTER: "e1"}
    assert known is not None
    assert known.state is IncomingState.ACCEPTED
    assert waiting(store) == []
    assert rows(store, "SELECT * FROM outbox") == []  # the region ordered it: it need not be told
    assert actions(store) == ["incoming", "accept"]


def test_accepting_twice_at_once_makes_one_order(store: Store) -> None:
    take(store)
    [known] = waiting(store)
    made: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: made.append(
                store.write(incoming_referrals.accept, known.stored_id, form(known), REGISTRAR, CLINIC).id
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [made[0]] * 6
    assert len(rows(store, "SELECT * FROM orders")) == 1


def test_a_number_that_no_modality_can_bear_is_refused_loudly(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    take(store, replace(KNEE, bus_accession_number="ODII-2026-11-24-000042"))
    order = accept(store)
    assert order.bus_accession_number == ""
    assert "ODII-2026-11-24-000042 cannot be used: longer than 16" in caplog.text
    assert "bus_number_refused" in rows(store, "SELECT details FROM audit WHERE action = 'accept'")[0]["details"]
    with store.read() as reader:
        assert outbox.references(reader, order.id).acsn == "ODII-2026-11-24-000042"  # results name it all the same


def test_a_number_that_another_order_has_is_not_used_twice(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    own = store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    take(store, replace(KNEE, bus_accession_number=own.accession_number))
    assert accept(store).bus_accession_number == ""
    assert "another order has it" in caplog.text


def test_wrong_fields_are_named_and_the_referral_waits_on(store: Store) -> None:
    take(store)
    [known] = waiting(store)
    with pytest.raises(Invalid) as raised:
        store.write(incoming_referrals.accept, known.stored_id, form(known, procedure_code=""), REGISTRAR, CLINIC)
    assert raised.value.problems == {"procedure": "required"}
    assert len(waiting(store)) == 1


def test_what_its_sender_has_changed_since_it_was_opened_is_looked_at_again(store: Store) -> None:
    take(store)
    [opened] = waiting(store)
    take(store, replace(KNEE, diagnosis_code="M17.2"), "2")
    with pytest.raises(Stale):
        store.write(incoming_referrals.accept, opened.stored_id, form(opened), REGISTRAR, CLINIC, seen=opened)
    [known] = waiting(store)
    order = store.write(incoming_referrals.accept, known.stored_id, form(known), REGISTRAR, CLINIC, seen=known)
    assert order.diagnosis_code == "M17.2"


@pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.ADMINISTRATOR])
def test_only_those_who_register_accept(store: Store, role: Role) -> None:
    take(store)
    [known] = waiting(store)
    with pytest.raises(Forbidden):
        store.write(
            incoming_referrals.accept,
            known.stored_id,
            form(known),
            Actor(ActorKind.PERSON, "x", roles=frozenset({role})),
            CLINIC,
        )


def test_a_referral_that_is_not_there_cannot_be_accepted(store: Store) -> None:
    with pytest.raises(NotFound):
        store.write(incoming_referrals.accept, 7, form(KNEE), REGISTRAR, CLINIC)


@pytest.mark.parametrize(("send_to_bus", "role"), [(True, BusRole.PLACER), (False, BusRole.NONE)])
def test_an_order_of_a_local_client_is_our_own_and_sent_to_the_region_if_configured(
    store: Store, send_to_bus: bool, role: BusRole
) -> None:
    store.write(lambda tx: clients.add(tx, "mis", "hash", "", send_to_bus=send_to_bus))
    came = replace(KNEE, requester=None, bus_accession_number="K2611-0900")
    store.write(incoming_referrals.receive, came, arrival(source="mis"), Actor(ActorKind.BUS, "mis"), CLINIC, {})
    order = accept(store)
    assert (order.bus_role, order.requester) == (role, None)
    assert (order.accession_number, order.bus_accession_number) == ("K2611-0900", "")
    assert [row["kind"] for row in rows(store, "SELECT kind FROM outbox")] == ["order"][: int(send_to_bus)]
    with store.read() as reader:
        assert outbox.references(reader, order.id).task == ""


# ---- declining ----


def test_a_declined_referral_waits_no_more_until_its_content_changes(store: Store) -> None:
    take(store)
    [known] = waiting(store)
    store.write(incoming_referrals.decline, known.stored_id, "нет аппарата", REGISTRAR, CLINIC)
    store.write(incoming_referrals.decline, known.stored_id, "нет аппарата", REGISTRAR, CLINIC)
    assert waiting(store) == []
    assert actions(store) == ["incoming", "decline"]
    with pytest.raises(WrongState):
        store.write(incoming_referrals.accept, known.stored_id, form(known), REGISTRAR, CLINIC)
    assert take(store, KNEE, "2") is ReceiveOutcome.NOTHING
    assert waiting(store) == []
    assert take(store, replace(KNEE, comment="другое"), "3") is ReceiveOutcome.WAITING
    assert len(waiting(store)) == 1
    assert rows(store, "SELECT kind, state FROM outbox") == [{"kind": "decline", "state": "dropped"}]


@pytest.mark.parametrize("told", ["by us", "by nobody", "cancelled themselves"])
@pytest.mark.parametrize("rule", [{}, STRAIGHT], ids=["without a rule", "with a rule"])
def test_a_declined_referral_that_is_asked_for_again_unchanged_waits_for_a_person_again(
    store: Store, told: str, rule: dict[str, str]
) -> None:
    take(store)
    [known] = waiting(store)
    clinic = replace(CLINIC, sends_to_bus=told != "by nobody")
    store.write(incoming_referrals.decline, known.stored_id, "нет аппарата", REGISTRAR, clinic)
    if told == "by us":
        [row] = rows(store, "SELECT seq FROM outbox")
        store.write(outbox.deliver, row["seq"], {}, "")
    if told != "by nobody":
        assert take_cancellation(store, "2") is ReceiveOutcome.NOTHING  # also the echo of ours
        assert waiting(store) == []
    assert take(store, KNEE, "3", **rule) is ReceiveOutcome.WAITING
    assert [(each.task, each.decline_reason) for each in waiting(store)] == [("t1", "")]
    assert take(store, KNEE, "3", **rule) is ReceiveOutcome.NOTHING


def test_what_is_declined_is_what_was_seen(store: Store) -> None:
    take(store)
    [seen] = waiting(store)
    take(store, replace(KNEE, procedure_code="A06.09.007", procedure_name="Рентгенография лёгких"), "2")
    [present] = waiting(store)
    decline = incoming_referrals.decline
    with pytest.raises(Stale):
        store.write(lambda tx: decline(tx, seen.stored_id, "не делаем колено", REGISTRAR, CLINIC, seen=seen))
    assert waiting(store) == [present]
    store.write(lambda tx: decline(tx, seen.stored_id, "не делаем лёгкие", REGISTRAR, CLINIC, seen=present))
    assert waiting(store) == []


def test_what_is_an_order_cannot_be_declined(store: Store) -> None:
    take(store)
    order = accept(store)
    with store.read() as reader:
        known = incoming.of_order(reader, order.id)
    assert known is not None
    with pytest.raises(WrongState):
        store.write(incoming_referrals.decline, known.stored_id, "", REGISTRAR, CLINIC)


# ---- cancellations ----


def test_a_cancelled_referral_that_waited_is_gone(store: Store) -> None:
    take(store)
    assert take_cancellation(store) is ReceiveOutcome.CANCELLED
    assert take_cancellation(store) is ReceiveOutcome.NOTHING
    assert waiting(store) == []
    assert actions(store) == ["incoming", "incoming_cancelled"]


def test_a_cancelled_order_leaves_the_worklist_and_nothing_is_sent_to_the_bus(store: Store) -> None:
    take(store)
    order = accept(store)
    assert take_cancellation(store) is ReceiveOutcome.CANCELLED
    after = reread(store, order)
    assert after.state is OrderState.CANCELLED
    assert rows(store, "SELECT * FROM outbox") == []
    assert rows(store, "SELECT actor_kind FROM audit WHERE action = 'cancel'") == [{"actor_kind": "bus"}]


def test_a_cancellation_of_a_started_order_warns_until_a_person_has_acknowledged_it(store: Store) -> None:
    take(store)
    order = accept(store)
    begin(store, order)
    assert take_cancellation(store) is ReceiveOutcome.LATE
    assert reread(store, order).state is OrderState.IN_PROGRESS
    with store.read() as reader:
        [trouble] = inbox.too_late(reader)
        assert [item.kind for item in inbox.troubled(reader)] == [ArrivalKind.CANCEL]
    assert (trouble.order_id, trouble.accession_number) == (order.id, order.accession_number)
    assert trouble.patient == "Кузнецова М. П."
    assert "bus_cancelled_late" in actions(store)
    assert store.write(incoming_referrals.acknowledge, trouble.item_id, trouble.version, REGISTRAR)
    assert not store.write(incoming_referrals.acknowledge, trouble.item_id, trouble.version, REGISTRAR)
    with store.read() as reader:
        assert inbox.too_late(reader) == []
        assert inbox.troubled(reader) == []
    assert actions(store).count("acknowledge_late") == 1


def test_a_study_that_begins_although_it_was_cancelled_warns_too(store: Store) -> None:
    take(store)
    order = accept(store)
    take_cancellation(store)
    with store.read() as reader:
        assert inbox.too_late(reader) == []
    begin(store, order)
    with store.read() as reader:
        [trouble] = inbox.too_late(reader)
    assert trouble.state is OrderState.IN_PROGRESS


def test_what_is_cancelled_and_then_asked_for_again_waits_again(store: Store) -> None:
    take(store)
    first = accept(store)
    take_cancellation(store, "2")
    assert take(store, KNEE, "1") is ReceiveOutcome.NOTHING  # answers out of order
    assert take(store, KNEE, "3") is ReceiveOutcome.WAITING
    second = accept(store)
    assert second.id != first.id
    assert reread(store, first).state is OrderState.CANCELLED
    assert take_cancellation(store, "2") is ReceiveOutcome.NOTHING
    assert reread(store, second).state is OrderState.SCHEDULED
    with store.read() as reader:
        assert inbox.too_late(reader) == []


def test_a_cancellation_that_comes_first_keeps_the_older_request_away(store: Store) -> None:
    assert take_cancellation(store, "2") is ReceiveOutcome.CANCELLED
    assert take(store, KNEE, "1") is ReceiveOutcome.NOTHING
    assert waiting(store) == []


def test_our_own_order_that_the_other_side_cancels_leaves_the_worklist(store: Store) -> None:
    order = store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    with store.read() as reader:
        seq = outbox.heads(reader)[0].seq
    store.write(lambda tx: outbox.deliver(tx, seq, {"task": "t1"}, ""))
    with store.read() as reader:
        assert incoming.own_order(reader, "t1", "") == order.id
        assert incoming.own_order(reader, "", order.accession_number) == order.id
        assert incoming.own_order(reader, "t2", "K0000-0000") is None
    assert take_cancellation(store, order_id=order.id) is ReceiveOutcome.CANCELLED
    with store.read() as reader:
        [trouble] = inbox.too_late(reader)  # the patient needs it all the same
    assert (trouble.order_id, trouble.state) == (order.id, OrderState.CANCELLED)
    store.write(incoming_referrals.acknowledge, trouble.item_id, trouble.version, REGISTRAR)
    with store.read() as reader:
        assert inbox.too_late(reader) == []
    assert reread(store, order).state is OrderState.CANCELLED
    assert [row["kind"] for row in rows(store, "SELECT kind FROM outbox")] == ["order"]


def test_our_own_cancellation_returned_by_the_bus_changes_nothing(store: Store) -> None:
    order = store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    assert take_cancellation(store, order_id=order.id) is ReceiveOutcome.NOTHING
    assert rows(store, "SELECT * FROM incoming_item") == []


def test_people_cannot_cancel_in_the_name_of_a_sender_without_the_right(store: Store) -> None:
    doctor = Actor(ActorKind.PERSON, "x", roles=frozenset({Role.RADIOLOGIST}))
    with pytest.raises(Forbidden):
        store.write(incoming_referrals.receive_cancellation, "t1", arrival("2"), "cancelled", doctor, CLINIC)


# ---- late changes ----


def test_a_change_after_acceptance_is_shown_and_the_order_stays(store: Store) -> None:
    take(store)
    order = accept(store)
    assert take(store, KNEE, "2") is ReceiveOutcome.NOTHING
    assert take(store, replace(KNEE, diagnosis_code="M17.2"), "3") is ReceiveOutcome.LATE
    assert reread(store, order) == order
    with store.read() as reader:
        [trouble] = inbox.too_late(reader)
    assert (trouble.kind, trouble.reason) == (ArrivalKind.REFERRAL, incoming_referrals.CHANGED_LATE)
    assert rows(store, "SELECT details FROM audit WHERE action = 'bus_changed_late'") == [
        {"details": '{"changed": ["diagnosis_code"]}'}
    ]
    store.write(incoming_referrals.acknowledge, trouble.item_id, trouble.version, REGISTRAR)
    assert take(store, replace(KNEE, diagnosis_code="M17.2"), "4") is ReceiveOutcome.NOTHING


def test_what_is_acknowledged_is_what_was_seen(store: Store) -> None:
    take(store)
    order = accept(store)
    take(store, replace(KNEE, diagnosis_code="M17.2"), "2")
    with store.read() as reader:
        [seen] = inbox.too_late(reader)
    for reference in ("DiagnosticReport/1", "DiagnosticReport/2"):
        late = arrival(reference=reference)
        needs = ArrivalState.NEEDS_ATTENTION
        store.write(incoming.put, ArrivalKind.RESULT, late, needs, ANSWERS_CANCELLED, order.id)
    take(store, replace(KNEE, diagnosis_code="M17.3"), "3")
    assert not store.write(incoming_referrals.acknowledge, seen.item_id, seen.version, REGISTRAR)
    with store.read() as reader:
        first, *others = inbox.too_late(reader)
    assert len(others) == 2
    assert store.write(incoming_referrals.acknowledge, first.item_id, first.version, REGISTRAR)
    with store.read() as reader:
        assert inbox.too_late(reader) == others


def test_what_was_marked_for_attention_is_read_again_when_a_person_wants_it(store: Store) -> None:
    store.write(incoming_referrals.note_unreadable, arrival(), "it is nested too deep")
    with store.read() as reader:
        [item] = inbox.troubled(reader)
    assert (item.state, item.reason) == (ArrivalState.NEEDS_ATTENTION, "it is nested too deep")
    assert take(store) is ReceiveOutcome.NOTHING
    assert store.write(incoming_referrals.retry, item.id, SYSTEM)
    assert not store.write(incoming_referrals.retry, item.id, SYSTEM)
    assert take(store) is ReceiveOutcome.WAITING
    with store.read() as reader:
        assert inbox.troubled(reader) == []


# ---- the form ----


def test_the_form_is_filled_by_the_official_code_else_by_the_name() -> None:
    official = replace(PROCEDURES[0], code="A06.04.005", local=False)
    listed = [*PROCEDURES, official]
    assert incoming_referrals.draft_of(KNEE, listed, factory.soon()).procedure_code == "A06.04.005"
    other_system = replace(KNEE, procedure_system="1.2.643.2.69.1.1.1.57")
    assert incoming_referrals.draft_of(other_system, listed, factory.soon()).procedure_code == "WLB-KNEE"
    # Another clinic's local code means nothing here, although it is spelt like one of ours.
    local = replace(KNEE, procedure_code="WLB-HAND", procedure_system="1.2.643.2.69.1.2.900")
    assert incoming_referrals.draft_of(local, listed, factory.soon()).procedure_code == "WLB-KNEE"
    nothing = replace(KNEE, procedure_name="Рентгенография коленного сустава прицельная", procedure_code="")
    assert incoming_referrals.draft_of(nothing, listed, factory.soon()).procedure_code == ""


def test_the_form_never_bears_the_senders_number_of_the_patient() -> None:
    came = replace(KNEE, patient=replace(KUZNETSOVA, patient_id="000017", id=5, revision=2))
    draft = incoming_referrals.draft_of(came, [], factory.soon())
    assert (draft.patient.patient_id, draft.patient.id, draft.patient.revision) == ("", None, 0)
    assert draft.station_ae_titles == ()
