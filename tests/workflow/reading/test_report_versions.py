"""A signed report is added to, corrected or withdrawn by a new version beside it; what was signed stays as it was."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order
from broker.domain.reading.reports import Report, ReportChange
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store, Tx
from broker.store.queries.patients import patient_history
from broker.store.queries.reading import reading_list
from broker.store.tables import orders, outbox
from broker.store.tables.reading import reports as stored
from broker.store.tables.studies import archive
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images, performed_steps, step_links
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY

SENDING = replace(CLINIC, sends_to_bus=True)
DOCTOR = Actor(ActorKind.PERSON, "lvova", "Львова Анна Сергеевна", frozenset({Role.RADIOLOGIST}))
TEXT = ReportText("Кость целая.", "Без патологии.")
ADDITION = Revision(ReportChange.ADDITION, "Контроль через год.")
CORRECTION = Revision(
    ReportChange.CORRECTION, "не та сторона", ReportText("Кость целая, слева.", "Без патологии слева.")
)
WITHDRAWAL = Revision(ReportChange.WITHDRAWAL, "снимки другого пациента")


@pytest.fixture
def order(store: Store) -> Order:
    """A study that was made, and reported."""
    made = store.write(referrals.register, factory.draft(), REGISTRAR, SENDING)
    perform(store, made, "1.9")
    store.write(reports.sign, made.id, 0, TEXT, DOCTOR, SENDING)
    return made


def perform(store: Store, order: Order, uid: str) -> None:
    step = factory.performed(uid, StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, factory.message(f"{uid} begins"), XRAY, SENDING)
    done = PerformedChange(PerformedState.COMPLETED, images=2)
    request = performed_steps.ChangeRequest(uid, done, factory.message(f"{uid} ends"))
    store.write(performed_steps.change, request, XRAY, SENDING)


def uphold(store: Store, order: Order) -> None:
    """Let a doctor look at the images as they are, and confirm the report."""
    with store.read() as reader:
        seen = stored.images(reader, orders.require(reader, order.id))
    store.write(reports.uphold, order.id, seen, DOCTOR, SENDING)


def revise(store: Store, order: Order, revision: Revision, version: int = 1, actor: Actor = DOCTOR) -> Report:
    return store.write(reports.revise, order.id, version, revision, actor, SENDING)


def signed(store: Store, order: Order) -> Report:
    with store.read() as reader:
        found = stored.signed(reader, order.id)
    assert found
    return found


def queued(store: Store, order: Order) -> list[tuple[str, str]]:
    with store.read() as reader:
        rows = reader.rows("SELECT kind, state FROM outbox WHERE order_id = ? ORDER BY seq", [order.id])
    return [(row["kind"], row["state"]) for row in rows if row["kind"] in ("report", "appended")]


def deliver(store: Store, order: Order) -> None:
    """Let the region have everything that is queued."""
    with store.read() as reader:
        rows = reader.rows("SELECT seq FROM outbox WHERE order_id = ? AND state = 'pending'", [order.id])
    for row in rows:
        store.write(outbox.deliver, row["seq"], {}, "")


def test_an_addition_stands_below_the_conclusion(store: Store, order: Order) -> None:
    after = revise(store, order, ADDITION)
    assert after == signed(store, order)
    assert (after.version, after.change, after.reason) == (2, ReportChange.ADDITION, "Контроль через год.")
    assert after.description == TEXT.description
    assert after.conclusion == "Без патологии.\n\nДополнение: Контроль через год."


def test_a_correction_replaces_the_texts_and_every_version_stays_readable(store: Store, order: Order) -> None:
    revise(store, order, ADDITION)
    revise(store, order, CORRECTION, 2)
    with store.read() as reader:
        versions = stored.versions(reader, order.id)
    assert [each.version for each in versions] == [3, 2, 1]
    assert [each.conclusion.partition("\n")[0] for each in versions] == [
        "Без патологии слева.",
        "Без патологии.",
        "Без патологии.",
    ]
    assert versions[-1].change is None


def test_a_withdrawn_report_says_nothing_and_its_study_waits_for_a_report_again(store: Store, order: Order) -> None:
    after = revise(store, order, WITHDRAWAL)
    assert (after.is_withdrawn, after.conclusion, after.description) == (True, "", "")
    with store.read() as reader:
        [waiting] = reading_list.queue(reader, store.clock() - timedelta(days=1)).waiting
    assert (waiting.order.id, waiting.drafted_by) == (order.id, "")  # the author of what is withdrawn writes nothing
    with pytest.raises(WrongState):
        revise(store, order, ADDITION, 2)
    with pytest.raises(WrongState):
        store.write(reports.sign, order.id, 1, TEXT, DOCTOR, SENDING)
    revise(store, order, CORRECTION, 2)
    with store.read() as reader:
        assert not reading_list.queue(reader, store.clock() - timedelta(days=1)).waiting


@pytest.mark.parametrize(
    ("revision", "wrong"),
    [
        (replace(ADDITION, reason=" "), {"reason": "required"}),
        (replace(WITHDRAWAL, reason=""), {"reason": "required"}),
        (replace(CORRECTION, reason=""), {"reason": "required"}),
        (replace(CORRECTION, text=ReportText("x", "")), {"conclusion": "required"}),
        (replace(CORRECTION, text=TEXT), {"conclusion": "unchanged"}),
        (replace(ADDITION, reason="x" * 4001), {"reason": "too_long", "conclusion": "too_long"}),
    ],
)
def test_what_is_wrong_with_a_version_is_said(
    store: Store, order: Order, revision: Revision, wrong: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as error:
        revise(store, order, revision)
    assert error.value.problems == wrong
    assert signed(store, order).version == 1


def test_two_doctors_never_revise_the_same_version(store: Store, order: Order) -> None:
    revise(store, order, ADDITION)
    with pytest.raises(Stale):
        revise(store, order, CORRECTION)


def test_only_doctors_revise_and_only_what_is_signed(store: Store, order: Order) -> None:
    with pytest.raises(Forbidden):
        revise(store, order, ADDITION, actor=REGISTRAR)
    unread = store.write(referrals.register, factory.draft(laterality="L"), REGISTRAR, SENDING)
    with pytest.raises(WrongState):
        revise(store, unread, ADDITION)


def test_the_database_itself_keeps_every_version(store: Store, order: Order) -> None:
    revise(store, order, ADDITION)
    for sql in ("UPDATE report_version SET conclusion = 'x'", "DELETE FROM report_version"):
        with pytest.raises(sqlite3.Error, match="final"):
            store.write(Tx.run, sql)


def test_the_region_gets_each_version_once(store: Store, order: Order) -> None:
    revise(store, order, ADDITION)  # the report itself has not gone out: it goes as it is now
    assert queued(store, order) == [("report", "pending")]
    deliver(store, order)
    revise(store, order, CORRECTION, 2)
    revise(store, order, replace(ADDITION, reason="И ещё."), 3)  # both go out in one message
    assert queued(store, order) == [("report", "delivered"), ("appended", "pending")]
    deliver(store, order)
    revise(store, order, WITHDRAWAL, 4)
    assert queued(store, order)[-1] == ("appended", "pending")


def test_a_report_that_is_withdrawn_before_it_went_out_does_not_go_out(store: Store, order: Order) -> None:
    revise(store, order, WITHDRAWAL)
    assert queued(store, order) == [("report", "dropped")]
    revise(store, order, CORRECTION, 2)
    assert queued(store, order) == [("report", "dropped"), ("report", "pending")]


def test_a_message_that_may_have_arrived_is_followed_by_another(store: Store, order: Order) -> None:
    deliver(store, order)
    revise(store, order, ADDITION)
    with store.read() as reader:
        seq = reader.value("SELECT max(seq) FROM outbox WHERE kind = 'appended'")
    store.write(lambda tx: outbox.mark_uncertain(tx, seq))
    revise(store, order, CORRECTION, 2)
    assert [kind for kind, _ in queued(store, order)] == [OutboxKind.REPORT, OutboxKind.APPENDED, OutboxKind.APPENDED]


def test_a_correction_that_waited_while_images_were_taken_away_goes_out_once_a_doctor_has_looked(
    store: Store, order: Order
) -> None:
    perform(store, order, "1.10")
    uphold(store, order)
    deliver(store, order)
    deliver(store, order)
    revise(store, order, CORRECTION)
    assert queued(store, order)[-1] == ("appended", "pending")
    store.write(step_links.unlink, "1.10", order.id, REGISTRAR, SENDING)
    assert queued(store, order)[-1] == ("appended", "dropped")
    uphold(store, order)
    assert queued(store, order)[-1] == ("appended", "pending")


def test_a_patients_history_has_the_dose_of_the_newest_version(store: Store, order: Order) -> None:
    def history() -> tuple[str, float | None]:
        with store.read() as reader:
            [study] = patient_history.own(reader, order.patient.stored_id)
        return study.conclusion, study.effective_dose

    assert history() == ("Без патологии.", None)
    for version, dose in ((1, 5.0), (2, 0.05), (3, None)):
        text = ReportText("", f"Доза {dose}", effective_dose=dose)
        revise(store, order, Revision(ReportChange.CORRECTION, "доза", text), version)
        assert history() == (f"Доза {dose}", dose)
    revise(store, order, Revision(ReportChange.CORRECTION, "доза", ReportText("", "Норма", effective_dose=1.0)), 4)
    revise(store, order, WITHDRAWAL, 5)
    assert history() == ("", None)


def test_a_withdrawal_goes_out_whatever_becomes_of_the_images(store: Store, order: Order) -> None:
    deliver(store, order)
    revise(store, order, WITHDRAWAL)
    store.write(step_links.unlink, "1.9", order.id, REGISTRAR, SENDING)
    assert queued(store, order) == [("report", "delivered"), ("appended", "pending")]


def test_a_withdrawal_goes_out_while_it_is_open_whose_the_images_are(store: Store, order: Order) -> None:
    deliver(store, order)
    revise(store, order, WITHDRAWAL)
    stranger = ArchiveStudy(order.study_instance_uid, order.accession_number, 2, "CR", "Чужая^Алла", "999", "19500101")
    store.write(archive_images.record_answer, order.id, [stranger], SYSTEM, SENDING, settled=True)
    with store.read() as reader:
        assert archive.is_disputed(reader, order.id)
    assert queued(store, order) == [("report", "delivered"), ("appended", "pending")]
