"""Another clinic's result for our referral, and what is kept of a patient: in any order, once, never back."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from broker.domain.errors import Forbidden, NotFound
from broker.domain.incoming import REPLACES_REPORT, ArrivalKind, ArrivalState
from broker.domain.orders import Order, OrderState, StepState
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.queries.patients import patient_history
from broker.store.tables import orders
from broker.store.tables.incoming import Arrival
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.referrals import incoming_referrals, referrals
from broker.workflow.studies import external_results, performed_steps
from broker.workflow.studies.external_results import ExternalResultOutcome
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed, soon

OWNER = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
FINAL = ExternalStudy(
    "DiagnosticReport/2",
    status="final",
    organisation=OWNER,
    studied_on=date(2026, 11, 24),
    modality="CT",
    conclusion="Норма",
    study_instance_uid="1.2.3",
)
PARTIAL = replace(FINAL, reference="DiagnosticReport/1", status="partial", conclusion="")
APPENDED = replace(FINAL, reference="DiagnosticReport/3", status="appended", conclusion="Норма. Дополнение.")
MESSAGES = {
    "partial": (PARTIAL, Arrival("bus", "Task/1", "2026-11-24T09:00:00+00:00", b"{}"), 0),
    "final": (FINAL, Arrival("bus", "Task/2", "2026-11-24T10:00:00+00:00", b"{}"), 60),
    "appended": (APPENDED, Arrival("bus", "Task/3", "2026-11-24T11:00:00+00:00", b"{}"), 120),
}


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(
        referrals.register, draft(owner=OWNER, station_ae_titles=(), start=soon(days=1)), REGISTRAR, CLINIC
    )


def take(store: Store, order: Order, which: str, **changes: Any) -> ExternalResultOutcome:
    study, arrival, minutes = MESSAGES[which]
    kept = replace(StoredStudy(study, "1", NOW + timedelta(minutes=minutes)), **changes)
    return store.write(external_results.store_result, order.id, kept, arrival)


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found


def results(store: Store, order: Order) -> list[ExternalStudy]:
    with store.read() as reader:
        return external_studies.of_order(reader, order.id)


def audited(store: Store, action: str = "result") -> list[dict[str, Any]]:
    with store.read() as reader:
        rows = reader.rows("SELECT actor_kind, details FROM audit WHERE action = ? ORDER BY seq", [action])
    return [json.loads(row["details"]) | {"by": row["actor_kind"]} for row in rows]


def test_a_finished_report_completes_the_referral(store: Store, order: Order) -> None:
    assert take(store, order, "final") is ExternalResultOutcome.COMPLETED
    after = now(store, order)
    assert (after.state, after.steps[0].state) == (OrderState.COMPLETED, StepState.COMPLETED)
    assert results(store, order) == [FINAL]
    [line] = audited(store)
    assert (line["by"], line["status"], line["completed"], line["organisation"]) == ("bus", "final", True, OWNER)


def test_a_partial_report_is_kept_and_the_referral_waits(store: Store, order: Order) -> None:
    assert take(store, order, "partial") is ExternalResultOutcome.TAKEN
    assert now(store, order).state is OrderState.REFERRED
    assert results(store, order) == [PARTIAL]


@pytest.mark.parametrize("sequence", list(itertools.permutations(MESSAGES)), ids=" ".join)
def test_whatever_order_messages_come_in_the_last_word_is_the_same(
    store: Store, order: Order, sequence: tuple[str, ...]
) -> None:
    for which in sequence:
        take(store, order, which)
    assert now(store, order).state is OrderState.COMPLETED
    assert results(store, order) == [APPENDED]
    revision = now(store, order).revision
    for which in sequence:  # and once more, all of them
        assert take(store, order, which) is ExternalResultOutcome.KNOWN
    assert now(store, order).revision == revision
    assert len(audited(store)) == 3
    assert results(store, order) == [APPENDED]


def test_the_ledger_has_one_line_for_a_message_that_came_twice(store: Store, order: Order) -> None:
    take(store, order, "final")
    take(store, order, "final")
    with store.read() as reader:
        [item] = inbox.ledger(reader)
        assert (item.kind, item.state, item.order_id) == (ArrivalKind.RESULT, ArrivalState.TAKEN, order.id)
        assert inbox.item_json(reader, item.id) == "{}"


def test_a_result_for_a_study_started_by_our_modality_changes_no_state(store: Store, order: Order) -> None:
    step = performed("1.2.3.4", StepReference(study_instance_uid=order.study_instance_uid))
    store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    assert take(store, order, "final") is ExternalResultOutcome.TAKEN
    assert now(store, order).state is OrderState.IN_PROGRESS
    store.write(
        performed_steps.change,
        performed_steps.ChangeRequest("1.2.3.4", PerformedChange(PerformedState.COMPLETED), message("final")),
        XRAY,
        CLINIC,
    )
    assert now(store, order).state is OrderState.COMPLETED


def test_a_result_for_an_order_that_is_not_there_is_refused(store: Store, order: Order) -> None:
    with pytest.raises(NotFound):
        store.write(external_results.store_result, 999, StoredStudy(FINAL), MESSAGES["final"][1])
    with store.read() as reader:
        assert inbox.ledger(reader) == []


def test_no_person_can_bring_another_clinics_result(store: Store, order: Order) -> None:
    with pytest.raises(Forbidden):
        store.write(external_results.store_result, order.id, StoredStudy(FINAL), MESSAGES["final"][1], REGISTRAR)
    with pytest.raises(Forbidden):
        store.write(external_results.store_history, order.patient, [StoredStudy(FINAL)], actor=REGISTRAR)
    with pytest.raises(Forbidden):
        store.write(external_results.note_history_failure, order.patient.stored_id, "", REGISTRAR)
    with pytest.raises(Forbidden):
        store.write(external_results.note_result_failure, MESSAGES["final"][1], "", actor=REGISTRAR)


def test_a_result_that_cannot_be_read_is_marked_for_attention_with_its_reason(store: Store, order: Order) -> None:
    store.write(external_results.note_result_failure, MESSAGES["final"][1], "it is not a DiagnosticReport", order.id)
    with store.read() as reader:
        [item] = inbox.troubled(reader)
    assert (item.state, item.reason, item.order_id) == (
        ArrivalState.NEEDS_ATTENTION,
        "it is not a DiagnosticReport",
        order.id,
    )
    take(store, order, "final")
    with store.read() as reader:
        assert inbox.troubled(reader) == []


def test_history_is_kept_with_the_answers_age_and_its_gaps(store: Store, order: Order) -> None:
    def reported() -> patient_history.ExternalHistory:
        with store.read() as reader:
            return patient_history.external(reader, order.patient.stored_id)

    store.write(external_results.store_history, order.patient, [StoredStudy(FINAL)], unreadable=None)
    assert (reported().answered_at, reported().reason) == (None, "")
    assert audited(store, "history") == []
    store.write(
        external_results.store_history,
        order.patient,
        [StoredStudy(FINAL, "1")],
        unreadable="3 of 4 reports not read",
    )
    assert (reported().answered_at, reported().reason) == (None, "3 of 4 reports not read")
    store.write(external_results.store_history, order.patient, [StoredStudy(FINAL, "1")])
    assert reported().answered_at is not None
    assert reported().reason == ""
    [line] = audited(store, "history")
    assert (line["patient"], line["studies"]) == (order.patient.patient_id, 1)
    store.write(external_results.store_history, order.patient, [], complete=False)
    assert reported().studies == (FINAL,)
    store.write(external_results.store_history, order.patient, [])
    assert reported().studies == ()


def test_what_the_directory_knows_of_an_official_code_fills_the_gaps(store: Store, order: Order) -> None:
    store.write(lambda tx: tx.run("UPDATE procedure_type SET local = 0, body_site = '25' WHERE code = ?", ["WLB-KNEE"]))
    bare = ExternalStudy("DiagnosticReport/9", modality="RG", procedure_code="WLB-KNEE")
    with store.read() as reader:
        filled = external_results.fill_from_directory(reader, bare)
        assert (filled.modality, filled.body_site) == ("DX", "25")
        assert filled.procedure_name == "Рентгенография коленного сустава"
        reported = replace(bare, modality="CR", body_site="4", procedure_name="Колено")
        assert external_results.fill_from_directory(reader, reported) == reported
        for unknown in (replace(bare, procedure_code="WLB-FOOT"), replace(bare, procedure_code="x")):
            assert (
                external_results.fill_from_directory(reader, unknown) == unknown
            )  # a local code of ours is nobody else's


# ---- a report that replaces one which was taken ----


@pytest.mark.parametrize(
    "replacing",
    [
        APPENDED,
        replace(FINAL, status="corrected", conclusion="Не норма"),
        replace(FINAL, status="entered-in-error", conclusion=""),
    ],
)
def test_a_report_that_is_replaced_after_it_was_taken_waits_for_a_person_to_read_it(
    store: Store, order: Order, replacing: ExternalStudy
) -> None:
    assert take(store, order, "final") is ExternalResultOutcome.COMPLETED
    arrival = Arrival("bus", "Task/9", "2026-11-24T12:00:00+00:00", b"{}")
    later = StoredStudy(replacing, "2", NOW + timedelta(minutes=180))
    outcome = store.write(external_results.store_result, order.id, later, arrival)
    assert outcome is ExternalResultOutcome.NEEDS_ATTENTION
    with store.read() as reader:
        [item] = [each for each in inbox.troubled(reader) if each.kind is ArrivalKind.RESULT]
    assert item.reason == REPLACES_REPORT
    assert store.write(incoming_referrals.acknowledge, item.id, item.version, REGISTRAR)
    with store.read() as reader:
        assert not [each for each in inbox.troubled(reader) if each.kind is ArrivalKind.RESULT]
    assert now(store, order).state is OrderState.COMPLETED


def test_the_same_text_under_a_newer_version_replaces_nothing(store: Store, order: Order) -> None:
    take(store, order, "final")
    again = StoredStudy(replace(FINAL, doctor="Лучинин О. И."), "2", NOW + timedelta(minutes=180))
    arrival = Arrival("bus", "Task/2", "2026-11-24T12:00:00+00:00", b"{}")
    assert store.write(external_results.store_result, order.id, again, arrival) is ExternalResultOutcome.TAKEN
