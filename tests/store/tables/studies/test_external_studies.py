"""What was done to a patient: kept once, never back from a finished report, with the age of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.domain.orders import Order
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries.patients import patient_history
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.clock import Clock
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
STUDY = ExternalStudy(
    reference="DiagnosticReport/1",
    status="final",
    organisation="c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02",
    studied_on=date(2026, 10, 1),
    modality="CT",
    procedure_name="КТ",
    conclusion="Норма",
    effective_dose=3.1,
    study_instance_uid="1.2.3",
    documents=("Binary/1", "Binary/2"),
)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(start=datetime(2026, 11, 25, 12, 0)), REGISTRAR, CLINIC)


def keep(store: Store, patient_id: int, study: ExternalStudy, order_id: int = 0, **changes: Any) -> bool:
    kept = replace(StoredStudy(study, "1", NOW), **changes)
    return store.write(lambda tx: external_studies.put(tx, patient_id, kept, order_id))


def reported(store: Store, patient_id: int) -> patient_history.ExternalHistory:
    with store.read() as reader:
        return patient_history.external(reader, patient_id)


def of_order(store: Store, order: Order) -> list[ExternalStudy]:
    with store.read() as reader:
        return external_studies.of_order(reader, order.id)


def test_a_study_comes_back_as_it_was_kept(store: Store, order: Order) -> None:
    assert keep(store, order.patient.stored_id, STUDY)
    bare = ExternalStudy("DiagnosticReport/2")
    assert keep(store, order.patient.stored_id, bare, version="", reported_at=None)
    assert reported(store, order.patient.stored_id).studies == (STUDY, bare)
    with store.read() as reader:
        assert external_studies.versions(reader, order.patient.stored_id) == {
            "DiagnosticReport/1": "1",
            "DiagnosticReport/2": "",
        }


def test_the_same_again_changes_nothing(store: Store, order: Order) -> None:
    keep(store, order.patient.stored_id, STUDY)
    assert not keep(store, order.patient.stored_id, STUDY)
    assert len(reported(store, order.patient.stored_id).studies) == 1


@pytest.mark.parametrize(
    "worse",
    [
        {
            "study": replace(STUDY, status="partial", conclusion=""),
            "version": "2",
            "reported_at": NOW + timedelta(hours=1),
        },
        {"study": replace(STUDY, conclusion="старое"), "version": "0", "reported_at": NOW - timedelta(hours=1)},
        {"study": replace(STUDY, conclusion=""), "version": "", "reported_at": NOW + timedelta(hours=1)},
    ],
    ids=["partial", "older", "not read in full"],
)
def test_what_is_worse_never_replaces_what_is_there(store: Store, order: Order, worse: dict[str, Any]) -> None:
    keep(store, order.patient.stored_id, STUDY)
    assert not keep(store, order.patient.stored_id, order_id=order.id, **worse)
    assert reported(store, order.patient.stored_id).studies == (STUDY,)
    assert of_order(store, order) == [STUDY]  # that it belongs to the order is known all the same


def test_an_amended_report_replaces_the_old_one_and_stays_the_orders(store: Store, order: Order) -> None:
    keep(store, order.patient.stored_id, STUDY, order.id)
    amended = replace(STUDY, status="amended", conclusion="Перелом")
    assert keep(store, order.patient.stored_id, amended, version="2", reported_at=NOW + timedelta(minutes=1))
    assert of_order(store, order) == [amended]


def test_a_finished_report_that_is_withdrawn_is_not_shown_as_one_any_more(store: Store, order: Order) -> None:
    keep(store, order.patient.stored_id, STUDY, order.id)
    withdrawn = replace(STUDY, status="entered-in-error", conclusion="")
    assert not keep(store, order.patient.stored_id, withdrawn, version="0", reported_at=NOW - timedelta(days=1))
    assert keep(store, order.patient.stored_id, withdrawn, version="2", reported_at=NOW + timedelta(days=1))
    assert of_order(store, order) == [withdrawn]


def test_partial_and_final_reports_of_one_study_are_shown_as_one(store: Store, order: Order) -> None:
    partial = replace(STUDY, reference="DiagnosticReport/0", status="partial", conclusion="")
    keep(store, order.patient.stored_id, STUDY, order.id)
    keep(store, order.patient.stored_id, partial, order.id, reported_at=NOW + timedelta(hours=1))
    assert of_order(store, order) == [STUDY]
    assert reported(store, order.patient.stored_id).studies == (STUDY,)


def test_the_report_that_was_changed_last_counts_whichever_came_last(store: Store, order: Order) -> None:
    second = replace(STUDY, reference="DiagnosticReport/2", conclusion="Перелом")
    keep(store, order.patient.stored_id, second, reported_at=NOW + timedelta(hours=1))
    keep(store, order.patient.stored_id, STUDY)
    assert reported(store, order.patient.stored_id).studies == (second,)


def test_one_study_may_be_reported_for_two_patients_here(store: Store, order: Order) -> None:
    other = store.write(
        referrals.register,
        draft(
            patient=replace(factory.KUZNETSOVA, snils="", policy="", birth_date=date(1962, 1, 1)),
            start=datetime(2026, 11, 25, 12, 0),
        ),
        REGISTRAR,
        CLINIC,
    )
    assert other.patient.id != order.patient.id
    keep(store, order.patient.stored_id, STUDY)
    keep(store, other.patient.stored_id, STUDY)
    assert (
        reported(store, order.patient.stored_id).studies == reported(store, other.patient.stored_id).studies == (STUDY,)
    )


def test_what_the_bus_does_not_return_any_more_is_deleted_except_results_for_our_orders(
    store: Store, order: Order
) -> None:
    keep(store, order.patient.stored_id, STUDY, order.id)
    for number in (2, 3):
        keep(
            store,
            order.patient.stored_id,
            replace(STUDY, reference=f"DiagnosticReport/{number}", study_instance_uid=""),
        )
    assert (
        store.write(lambda tx: external_studies.forget_others(tx, order.patient.stored_id, ["DiagnosticReport/3"])) == 1
    )
    assert {study.reference[-1] for study in reported(store, order.patient.stored_id).studies} == {"1", "3"}


def test_an_answer_is_fresh_for_its_hours_and_a_failure_keeps_its_age(store: Store, order: Order, clock: Clock) -> None:
    def fresh() -> bool:
        with store.read() as reader:
            return external_studies.is_fresh(reader, order.patient.stored_id, 12, clock.now)

    assert reported(store, order.patient.stored_id) == patient_history.ExternalHistory()
    assert not fresh()
    store.write(lambda tx: external_studies.note_answer(tx, order.patient.stored_id))
    assert fresh()
    clock.now = NOW + timedelta(hours=12)
    assert not fresh()
    store.write(lambda tx: external_studies.note_failure(tx, order.patient.stored_id, "time-out"))
    assert reported(store, order.patient.stored_id) == patient_history.ExternalHistory((), NOW, clock.now, "time-out")
    store.write(lambda tx: external_studies.note_answer(tx, order.patient.stored_id))
    assert reported(store, order.patient.stored_id) == patient_history.ExternalHistory((), clock.now)
    clock.now = NOW  # the clock was set back
    assert not fresh()


def test_a_failure_after_a_good_answer_is_not_fresh(store: Store, order: Order) -> None:
    store.write(lambda tx: external_studies.note_answer(tx, order.patient.stored_id))
    store.write(lambda tx: external_studies.note_failure(tx, order.patient.stored_id, "time-out"))
    with store.read() as reader:
        assert not external_studies.is_fresh(reader, order.patient.stored_id, 12, NOW)


def test_own_studies_are_the_started_ones_with_the_signed_conclusion(store: Store, order: Order) -> None:
    def own() -> list[Any]:
        with store.read() as reader:
            return patient_history.own(reader, order.patient.stored_id)

    assert own() == []  # only planned
    step = performed(
        "1.2.3.4", StepReference(study_instance_uid=order.study_instance_uid), start=datetime(2026, 11, 24, 23, 50)
    )
    store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    store.write(
        performed_steps.change,
        performed_steps.ChangeRequest("1.2.3.4", PerformedChange(PerformedState.COMPLETED), message("final")),
        XRAY,
        CLINIC,
    )
    [done] = own()
    assert (done.order_id, done.studied_on, done.modality) == (order.id, date(2026, 11, 24), "DX")
    assert (done.conclusion, done.effective_dose) == ("", None)
    for state, signed in (("draft", 0), ("signed", 1)):
        store.write(
            lambda tx, state=state, signed=signed: tx.run(  # type: ignore[misc]
                "INSERT INTO report (order_id, reading, state, description, conclusion, recommendations,"
                " effective_dose, author, author_family, author_given, author_middle, saved_at)"
                " VALUES (?, ?, ?, '', ?, '', ?, 'a', 'А', '', '', ?)",
                [order.id, 2 - signed, state, f"{state} conclusion", 0.1 + signed, NOW.isoformat()],
            )
        )
    [done] = own()
    assert (done.conclusion, done.effective_dose) == ("signed conclusion", 1.1)


def test_a_report_that_we_sent_is_known_as_ours(store: Store, order: Order) -> None:
    store.write(
        lambda tx: tx.run(
            "INSERT INTO bus_reference (order_id, name, value) VALUES (?, 'images_report', 'r1')", [order.id]
        )
    )
    with store.read() as reader:
        assert external_studies.sent_by_us(reader, order.patient.stored_id, "DiagnosticReport/r1")
        assert not external_studies.sent_by_us(reader, order.patient.stored_id, "DiagnosticReport/r2")


def test_reading_a_patient_is_a_search_of_an_index(store: Store) -> None:
    with store.read() as reader:
        for sql in (
            "SELECT content FROM external_study WHERE patient_id = 1 ORDER BY at, reference",
            "SELECT content FROM external_study WHERE order_id = 1 AND order_id IS NOT NULL",
            "SELECT id FROM orders WHERE owner <> '' AND state_since >= '2026'",
        ):
            plan = [row["detail"] for row in reader.rows(f"EXPLAIN QUERY PLAN {sql}")]
            assert any(detail.startswith("SEARCH") for detail in plan), plan
