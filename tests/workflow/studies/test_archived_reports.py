"""A signed report is queued for the archive with its signature, and nothing is sent of a withdrawn one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, WrongState
from broker.domain.orders import Order
from broker.domain.reading.opinions import Finding, Opinion, ReadingRules
from broker.domain.reading.reports import ReportChange
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.archived_reports import (
    LONGEST_WAIT,
    ArchivedReport,
    ArchivedReportReason,
    ArchivedReportState,
    instance_uid,
)
from broker.domain.studies.received import Receipt, ReceivedKind, ReceivedObject
from broker.store.database import Store
from broker.store.tables.reading import reports as reports_table
from broker.store.tables.studies import archived_reports as queue
from broker.workflow.reading import reads, reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images, archived_reports, received_objects
from tests.support import factory
from tests.support.clock import Clock
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, draft
from tests.support.modality import change, create, creation, ending, scheduled
from tests.workflow.reading.test_reports import DOCTOR

SENDING = replace(CLINIC, archives_reports=True, reading=ReadingRules(hold_minutes=0))
OTHER = Actor(ActorKind.PERSON, "larin", "Ларин П. С.", frozenset({Role.RADIOLOGIST}))
TECHNOLOGIST = Actor(ActorKind.PERSON, "petrov", "Петров", frozenset({Role.TECHNOLOGIST}))
TEXT = ReportText("Описание", "Норма")
State = ArchivedReportState
Reason = ArchivedReportReason


@pytest.fixture
def order(store: Store) -> Order:
    made = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    create(store, creation(ScheduledStepAttributesSequence=[scheduled(made.study_instance_uid)]))
    change(store, ending())
    return made


def sign(store: Store, order: Order, clinic: Clinic = SENDING) -> None:
    store.write(reports.sign, order.id, 0, TEXT, DOCTOR, clinic)


def revise(store: Store, order: Order, version: int, kind: ReportChange) -> None:
    text = ReportText("Описание", "Гонартроз") if kind is ReportChange.CORRECTION else None
    store.write(reports.revise, order.id, version, Revision(kind, "Причина", text), DOCTOR, SENDING)


def queued(store: Store, order: Order) -> list[ArchivedReport]:
    with store.read() as reader:
        return queue.of_order(reader, order.id)


def states(store: Store, order: Order) -> list[tuple[int, State, Reason]]:
    return [(each.version, each.state, each.reason) for each in queued(store, order)]


def test_nothing_is_queued_unless_the_clinic_wants_it(store: Store, order: Order) -> None:
    sign(store, order, CLINIC)
    assert states(store, order) == []


def test_a_signature_queues_the_report_once(store: Store, order: Order) -> None:
    sign(store, order)
    sign(store, order)  # a double click
    assert states(store, order) == [(1, State.PENDING, Reason.NONE)]


def test_a_report_that_two_readers_make_is_queued_when_they_agree(store: Store, order: Order) -> None:
    store.write(reads.set_double, frozenset({order.procedure_code}), SYSTEM)
    for reader_of in (DOCTOR, OTHER):
        assert states(store, order) == []
        with store.read() as reader:
            seen = reports_table.images(reader, order)
        store.write(reads.give, order.id, 0, Opinion(Finding.NORM), TEXT, reader_of, SENDING, seen)
    assert states(store, order) == [(1, State.PENDING, Reason.NONE)]


def test_a_new_version_replaces_one_that_was_not_sent(store: Store, order: Order) -> None:
    sign(store, order)
    revise(store, order, 1, ReportChange.CORRECTION)
    assert states(store, order) == [(2, State.PENDING, Reason.NONE), (1, State.DROPPED, Reason.REPLACED)]


def test_a_version_that_is_there_stays_beside_the_next_one(store: Store, order: Order) -> None:
    sign(store, order)
    store.write(archived_reports.note_stored, queued(store, order)[0], SYSTEM)
    revise(store, order, 1, ReportChange.ADDITION)
    assert states(store, order) == [(2, State.PENDING, Reason.NONE), (1, State.STORED, Reason.NONE)]


def test_a_withdrawal_sends_nothing_and_takes_back_what_waits(store: Store, order: Order) -> None:
    sign(store, order)
    revise(store, order, 1, ReportChange.WITHDRAWAL)
    assert states(store, order) == [(2, State.DROPPED, Reason.WITHDRAWN), (1, State.DROPPED, Reason.WITHDRAWN)]
    assert not any(each.may_be_there for each in queued(store, order))
    with pytest.raises(WrongState):
        store.write(archived_reports.send_again, order.id, DOCTOR)
    revise(store, order, 2, ReportChange.CORRECTION)
    assert states(store, order)[0] == (3, State.PENDING, Reason.NONE)


def test_doctors_and_whoever_may_resend_send_it_again(store: Store, order: Order) -> None:
    sign(store, order)
    store.write(archived_reports.note_in_vain, queued(store, order)[0], Reason.REFUSED, "C000")
    assert states(store, order) == [(1, State.NEEDS_ATTENTION, Reason.REFUSED)]
    with pytest.raises(Forbidden):
        store.write(archived_reports.send_again, order.id, TECHNOLOGIST)
    for actor in (DOCTOR, REGISTRAR):
        store.write(archived_reports.send_again, order.id, actor)
    assert states(store, order) == [(1, State.PENDING, Reason.NONE)]


def test_a_document_that_the_archive_sends_on_to_us_is_no_report_of_another(store: Store, order: Order) -> None:
    sign(store, order)
    with store.read() as reader:
        report = reports_table.signed(reader, order.id)
    assert report is not None
    ours = instance_uid(order.study_instance_uid, order.accession_number, report)
    for uid, receipt in ((ours, Receipt.REPEATED), ("1.2.3.4.5", Receipt.STORED)):
        document = ReceivedObject(
            uid,
            "1.2.840.10008.5.1.4.1.1.104.1",
            ReceivedKind.DOCUMENT,
            "PACS",
            study_instance_uid=order.study_instance_uid,
            digest=uid,
        )
        assert store.write(received_objects.receive, document, None, SYSTEM) is receipt


def test_images_that_come_into_the_archive_end_the_wait(store: Store, order: Order) -> None:
    sign(store, order)
    store.write(archived_reports.note_in_vain, queued(store, order)[0], Reason.NOT_THERE)
    with store.read() as reader:
        assert queue.due(reader, store.clock(), 5) == []
    name, patient_id = "Кузнецова^Марина^Петровна", order.patient.patient_id
    study = ArchiveStudy(order.study_instance_uid, order.accession_number, 2, "DX", name, patient_id, "19610312")
    store.write(archive_images.record_answer, order.id, [study], SYSTEM, SENDING, settled=True)
    with store.read() as reader:
        assert [each.order_id for each in queue.due(reader, store.clock(), 5)] == [order.id]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Store]:
    opened = factory.open_store(tmp_path_factory.mktemp("timed") / "worklist.sqlite", clock=clock)
    yield opened
    opened.close()


def test_a_study_that_never_comes_is_given_to_a_person(timed: Store, clock: Clock) -> None:
    made = timed.write(referrals.register, draft(), REGISTRAR, CLINIC)
    create(timed, creation(ScheduledStepAttributesSequence=[scheduled(made.study_instance_uid)]))
    change(timed, ending())
    sign(timed, made)
    timed.write(archived_reports.note_in_vain, queued(timed, made)[0], Reason.NOT_THERE)
    assert states(timed, made) == [(1, State.PENDING, Reason.NOT_THERE)]
    clock.now += LONGEST_WAIT
    timed.write(archived_reports.note_in_vain, queued(timed, made)[0], Reason.NOT_THERE)
    assert states(timed, made) == [(1, State.NEEDS_ATTENTION, Reason.NEVER_CAME)]
