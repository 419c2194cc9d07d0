"""Reports as the database keeps them, and what waits for one."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from broker.domain.orders import Order, Priority
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import Report, ReportState
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries.reading import reading_list
from broker.store.tables.reading import reports
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.support.clock import NOW
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed

AGES_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def completed(store: Store, uid: str, name: str = "", priority: Priority = Priority.ROUTINE) -> Order:
    order = store.write(referrals.register, draft(priority=priority), REGISTRAR, CLINIC)
    step = performed(uid, StepReference(order.study_instance_uid), patient_name=name)
    store.write(performed_steps.start, step, message(uid), XRAY, CLINIC)
    store.write(
        performed_steps.change,
        performed_steps.ChangeRequest(uid, PerformedChange(PerformedState.COMPLETED), message(f"{uid} end")),
        XRAY,
        CLINIC,
    )
    return order


def every_member(order: Order, **changes: object) -> Report:
    made = {
        "order_id": order.id,
        "description": "Описание",
        "conclusion": "Заключение",
        "recommendations": "Рекомендации",
        "effective_dose": 0.03,
        "state": ReportState.SIGNED,
        "author": "volskaya",
        "author_name": PersonName("Вольская", "Татьяна", "Андреевна"),
        "author_snils": "11223344595",
        "author_position": "врач-рентгенолог",
        "signed_at": datetime(2026, 11, 24, 9, 0, tzinfo=UTC),
    }
    return Report(**(made | changes))  # type: ignore[arg-type]


def test_a_report_comes_back_as_it_was_put(store: Store) -> None:
    order = completed(store, "1.2")
    put = every_member(order)
    kept = store.write(lambda tx: reports.put(tx, put))
    assert (kept.id, kept.revision) == (1, 1)
    assert kept.saved_at is not None
    with store.read() as reader:
        assert reports.get(reader, kept.stored_id) == reports.of_order(reader, order.id) == kept
        assert reports.signed(reader, order.id) == kept
        assert reports.get(reader, 99) is None
        assert reports.of_order(reader, 99) is None
    for member in Report.__dataclass_fields__.keys() - {"id", "revision", "saved_at"}:
        assert getattr(kept, member) == getattr(put, member)


def test_every_saving_counts_the_revision_up_and_a_draft_is_not_signed(store: Store) -> None:
    order = completed(store, "1.2")
    written = every_member(order, state=ReportState.DRAFT, signed_at=None)
    assert [store.write(lambda tx: reports.put(tx, written)).revision for _ in range(3)] == [1, 2, 3]
    with store.read() as reader:
        assert reports.signed(reader, order.id) is None


def test_the_database_refuses_to_change_a_signed_report(store: Store) -> None:
    order = completed(store, "1.2")
    store.write(lambda tx: reports.put(tx, every_member(order)))
    with pytest.raises(sqlite3.IntegrityError, match="is final"):
        store.write(lambda tx: reports.put(tx, every_member(order, conclusion="Другое")))


def test_what_waits_is_urgent_first_and_shows_author_and_doubt(store: Store) -> None:
    first = completed(store, "1.1")
    doubtful = completed(store, "1.2", "Сидоров^Олег")
    urgent = completed(store, "1.3", priority=Priority.URGENT)
    signed = completed(store, "1.4")
    store.write(lambda tx: reports.put(tx, every_member(first, state=ReportState.DRAFT, signed_at=None)))
    store.write(lambda tx: reports.put(tx, every_member(signed)))
    with store.read() as reader:
        found = reading_list.queue(reader, AGES_AGO)
        assert [each.order.id for each in found.waiting] == [urgent.id, first.id, doubtful.id]
        assert [each.drafted_by for each in found.waiting] == ["", "Вольская Т. А.", ""]
        assert [each.doubtful for each in found.waiting] == [False, False, True]
        assert {each.device for each in found.waiting} == {"Рентген"}
        assert (found.modalities, found.older) == ({"DX": 3}, 0)
        assert reading_list.queue(reader, AGES_AGO, "MG").waiting == ()
        assert len(reading_list.queue(reader, AGES_AGO, "DX", limit=2).waiting) == 2
        later = NOW + timedelta(days=1)
        assert reading_list.queue(reader, later).older == 3
        assert reading_list.queue(reader, later).waiting == ()
        assert len(reading_list.queue(reader, later, older=True).waiting) == 3


def test_what_another_clinic_does_does_not_wait_here(store: Store) -> None:
    order = completed(store, "1.1")
    store.write(lambda tx: tx.run("UPDATE orders SET owner = 'guid' WHERE id = ?", [order.id]))
    with store.read() as reader:
        assert reading_list.queue(reader, AGES_AGO).waiting == ()


def test_the_list_reads_an_index_however_many_were_described(store: Store) -> None:
    with store.read() as reader:
        plan = reader.rows(
            "EXPLAIN QUERY PLAN SELECT o.id FROM orders o WHERE o.state = 'completed' AND o.reported = 0"
            " AND o.owner = '' AND o.state_since >= ? ORDER BY o.priority = 'urgent' DESC, o.state_since",
            [AGES_AGO.isoformat()],
        )
    assert any("orders_unreported" in row["detail"] for row in plan)


def test_a_study_is_read_with_its_series_doses_and_earlier_reports(store: Store) -> None:
    before, now = completed(store, "1.1"), completed(store, "1.2")
    store.write(lambda tx: reports.put(tx, every_member(before)))
    with store.read() as reader:
        found = reading_list.study(reader, now.accession_number)
        assert reading_list.study(reader, "NONE") is None
    assert found is not None
    assert [(visit.order.id, report and report.conclusion) for visit, report in found.earlier] == [
        (before.id, "Заключение")
    ]
    assert list(found.series.values()) == [[]]
