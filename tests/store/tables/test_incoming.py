"""What came from elsewhere is kept, found again by its index, and forgotten in time."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta

import pytest

from broker.domain.incoming import ArrivalKind, ArrivalState, IncomingReferral, IncomingState
from broker.domain.orders import Priority
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.tables import incoming
from broker.store.tables.incoming import Arrival
from tests.support.clock import NOW

FULL = IncomingReferral(
    task="t1",
    patient=Patient(
        PersonName("Ёлкина", "Анна", "Сергеевна"), date(1961, 3, 12), Sex.FEMALE, "", "11223344595", weight=70.5
    ),
    requester="3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61",
    service_request="s1",
    encounter="e1",
    bus_patient="p1",
    bus_accession_number="ODII0000000042",
    procedure_code="7003087",
    procedure_system="1.2.643.5.1.13.13.11.1471",
    procedure_name="Рентгенография кисти",
    body_site="25",
    body_site_text="правая кисть",
    asks_opinion=True,
    attached=("снимки · 2026-01-02 · CT",),
    priority=Priority.URGENT,
    laterality="L",
    finance="3",
    referrer=PersonName("Петров", "Пётр"),
    referrer_snils="08765430300",
    referrer_position="терапевт",
    diagnosis_code="S62.1",
    diagnosis_text="Перелом",
    comment="Упала",
    authored_on=datetime(2026, 11, 24, 6, tzinfo=UTC),
    former_name="Старая Анна",
    former_snils="08765430300",
    former_policy="7800000012345671",
    decline_reason="нет аппарата",
    problems={"sex": "required"},
)


def put(store: Store, reference: str = "Task/t1", version: str = "1", **more: object) -> None:
    arrival = Arrival("bus", reference, version, '{"a": "ё"}'.encode())
    kind = more.pop("kind", ArrivalKind.REFERRAL)
    store.write(lambda tx: incoming.put(tx, kind, arrival, **more))  # type: ignore[arg-type]


def test_a_referral_is_given_back_as_it_was_kept(store: Store) -> None:
    id = store.write(lambda tx: incoming.add(tx, FULL))
    with store.read() as reader:
        got = inbox.referral(reader, id)
        assert incoming.by_task(reader, "bus", "t1") == got
        assert incoming.by_task(reader, "mis", "t1") is None
        assert inbox.referral(reader, id + 1) is None
    assert got is not None
    assert got == replace(FULL, id=id, received_at=got.received_at)
    for each in fields(IncomingReferral):  # so that a member that is added is kept, too
        if each.name not in ("order_id", "source"):
            assert getattr(got, each.name), each.name


def test_what_little_a_sender_gave_is_kept_as_well(store: Store) -> None:
    little = IncomingReferral("t1", Patient(PersonName(""), None, Sex.OTHER), source="mis")
    id = store.write(lambda tx: incoming.add(tx, little))
    with store.read() as reader:
        got = inbox.referral(reader, id)
    assert got is not None
    assert got == replace(little, id=id, received_at=got.received_at)


def test_a_referral_changes_its_state_under_its_id(store: Store) -> None:
    id = store.write(lambda tx: incoming.add(tx, FULL))
    store.write(lambda tx: incoming.update(tx, replace(FULL, id=id, state=IncomingState.DECLINED)))
    with store.read() as reader:
        assert inbox.waiting(reader) == []
        got = inbox.referral(reader, id)
    assert got is not None
    assert got.state is IncomingState.DECLINED


def test_attempts_are_counted_by_version_and_content_is_kept(store: Store) -> None:
    for _ in range(3):
        put(store, state=ArrivalState.FAILED, reason="time-out")
    with store.read() as reader:
        [item] = inbox.ledger(reader)
        assert incoming.failed(reader, "bus") == incoming.failed(reader, "bus", ArrivalKind.REFERRAL) == [item]
        assert incoming.failed(reader, "bus", ArrivalKind.RESULT) == incoming.failed(reader, "mis") == []
        assert inbox.item_json(reader, item.id) == '{"a": "ё"}'
    assert (item.attempts, item.state, item.reason, item.kept) == (3, ArrivalState.FAILED, "time-out", True)
    put(store, version="2")
    with store.read() as reader:
        [item] = inbox.ledger(reader)
        assert incoming.named(reader, "bus", "Task/t1", ArrivalKind.REFERRAL) == item
    assert (item.attempts, item.state, item.version) == (1, ArrivalState.TAKEN, "2")


def test_a_version_is_dealt_with_once_unless_it_failed(store: Store) -> None:
    put(store, version="2", state=ArrivalState.FAILED)
    with store.read() as reader:
        assert [incoming.is_stale(reader, "bus", "Task/t1", each) for each in ("1", "2", "3")] == [True, False, False]
        assert [incoming.is_known(reader, "bus", "Task/t1", each) for each in ("1", "2", "3")] == [True, True, False]
    put(store, version="2")
    put(store, version="9", kind=ArrivalKind.RESULT)
    with store.read() as reader:
        assert [incoming.is_stale(reader, "bus", "Task/t1", each) for each in ("1", "2", "3")] == [True, True, False]
        assert not incoming.is_stale(reader, "mis", "Task/t1", "1")


@pytest.mark.parametrize(
    ("version", "than", "newer"),
    [
        ("2", "1", True),
        ("1", "2", False),
        ("1", "1", False),
        ("#a", "#b", True),
        ("#a", "#a", False),
        ("#a", "2", True),
    ],
)
def test_versions_are_compared(version: str, than: str, newer: bool) -> None:
    assert incoming.is_newer(version, than) is newer


def test_contents_are_forgotten_in_time_except_what_is_still_tried(store: Store) -> None:
    now = NOW
    for name, state in (("a", ArrivalState.TAKEN), ("b", ArrivalState.FAILED), ("c", ArrivalState.NEEDS_ATTENTION)):
        put(store, f"Task/{name}", state=state)
    assert store.write(lambda tx: incoming.forget_contents(tx, now - timedelta(days=1))) == 0
    assert store.write(lambda tx: incoming.forget_contents(tx, now + timedelta(days=1))) == 2
    with store.read() as reader:
        assert {item.reference: item.kept for item in inbox.ledger(reader)} == {
            "Task/a": False,
            "Task/b": True,
            "Task/c": False,
        }
        assert all(inbox.item_json(reader, item.id) == "" for item in inbox.ledger(reader) if not item.kept)


def test_a_cursor_is_kept_by_name(store: Store) -> None:
    store.write(lambda tx: incoming.set_cursor(tx, "a", "1"))
    store.write(lambda tx: incoming.set_cursor(tx, "a", "2"))
    with store.read() as reader:
        assert (incoming.cursor(reader, "a"), incoming.cursor(reader, "b")) == ("2", "")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT 1 FROM bus_reference WHERE name = 'task' AND value = 'x'", "bus_reference_task"),
        (
            "SELECT i.id FROM incoming_item i JOIN orders o ON o.id = i.order_id WHERE i.kind = 'cancel'"
            " AND i.acknowledged = 0 AND i.order_id IS NOT NULL AND o.state IN ('in_progress')",
            "incoming_item_cancelled",
        ),
        ("SELECT 1 FROM incoming_item i WHERE i.state <> 'taken' AND i.state = 'failed'", "incoming_item_open"),
    ],
)
def test_what_is_asked_often_is_found_by_an_index(store: Store, query: str, index: str) -> None:
    with store.read() as reader:
        assert index in " ".join(str(row["detail"]) for row in reader.rows(f"EXPLAIN QUERY PLAN {query}"))


def test_what_failed_is_due_after_a_while_and_at_once_when_the_clock_was_set_back(store: Store) -> None:
    put(store, state=ArrivalState.FAILED)
    with store.read() as reader:
        [item] = incoming.failed(reader, "bus")
    assert not item.is_due(item.at + timedelta(seconds=119))
    assert item.is_due(item.at + timedelta(seconds=120))
    assert item.is_due(item.at - timedelta(days=400))
    assert replace(item, attempts=0).is_due(item.at)
