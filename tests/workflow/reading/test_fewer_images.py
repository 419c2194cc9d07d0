"""Images that the archive has lost after a report was signed: it is in doubt until a doctor has looked again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Stale
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order
from broker.domain.reading.reports import ReportChange, ReportDoubt, SeenImages
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries.studies import archive_gaps
from broker.store.tables import orders, outbox
from broker.store.tables.reading import reports as reports_table
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images, performed_steps
from tests.support import factory
from tests.support.clock import Clock
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, draft, message, performed

DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
TEXT = ReportText("Щель сужена", "Гонартроз")
SENDING = replace(CLINIC, sends_to_bus=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite", Clock())
    yield opened
    opened.close()


@pytest.fixture
def order(store: Store) -> Order:
    """A study of four images, which the archive holds."""
    made = store.write(referrals.register, draft(), REGISTRAR, SENDING)
    step = performed("1.2", StepReference(made.study_instance_uid))
    store.write(performed_steps.start, step, message("1"), XRAY, SENDING)
    ended = performed_steps.ChangeRequest("1.2", PerformedChange(PerformedState.COMPLETED, images=4), message("2"))
    store.write(performed_steps.change, ended, XRAY, SENDING)
    answer(store, made, 4)
    return made


def answer(store: Store, order: Order, images: int) -> None:
    patient = order.patient
    study = ArchiveStudy(
        order.study_instance_uid,
        order.accession_number,
        images,
        "DX",
        "Кузнецова^Марина",
        patient.patient_id,
        "19610312",
    )
    found = [study] if images else []
    store.write(archive_images.record_answer, order.id, found, SYSTEM, SENDING, settled=True)


def sign(store: Store, order: Order) -> None:
    store.write(reports.sign, order.id, 0, TEXT, DOCTOR, SENDING)


def doubt(store: Store, order: Order) -> ReportDoubt | None:
    with store.read() as reader:
        return reports_table.doubt(reader, order.id)


def shown(store: Store) -> list[tuple[int, int]]:
    with store.read() as reader:
        return [(each.before, each.held) for each in archive_gaps.fewer_images(reader)]


def seen(store: Store, order: Order) -> SeenImages:
    with store.read() as reader:
        return reports_table.images(reader, orders.require(reader, order.id))


def waits_to_be_sent(store: Store, order: Order) -> bool:
    with store.read() as reader:
        return outbox.has(reader, order.id, OutboxKind.REPORT)


@pytest.mark.parametrize("left", [3, 0])
def test_the_report_is_in_doubt_and_is_not_sent_until_a_doctor_has_looked(
    store: Store, order: Order, left: int
) -> None:
    sign(store, order)
    before = seen(store, order)
    assert waits_to_be_sent(store, order)
    answer(store, order, left)
    assert doubt(store, order) is ReportDoubt.IMAGES_FEWER
    assert shown(store) == [(4, left)]
    assert not waits_to_be_sent(store, order)
    with store.read() as reader:
        assert order.id in archive_gaps.unresolved(reader, store.clock())  # it goes on being asked for
    with pytest.raises(Stale):
        store.write(reports.uphold, order.id, before, DOCTOR, SENDING)
    store.write(reports.uphold, order.id, seen(store, order), DOCTOR, SENDING)
    assert doubt(store, order) is None
    assert shown(store) == []
    assert waits_to_be_sent(store, order)


def test_images_that_come_back_need_no_doctor(store: Store, order: Order) -> None:
    sign(store, order)
    for left in (3, 1, 2):
        answer(store, order, left)
        assert doubt(store, order) is ReportDoubt.IMAGES_FEWER
        assert shown(store) == [(4, left)]
    answer(store, order, 4)
    assert doubt(store, order) is None
    assert shown(store) == []
    assert waits_to_be_sent(store, order)


def test_more_images_than_there_were_are_looked_at_as_added_ones(store: Store, order: Order) -> None:
    sign(store, order)
    answer(store, order, 3)
    answer(store, order, 5)
    assert doubt(store, order) is ReportDoubt.IMAGES_ADDED
    assert shown(store) == []


def test_what_a_doctor_signs_is_what_there_is_then(store: Store, order: Order) -> None:
    answer(store, order, 3)
    sign(store, order)
    assert doubt(store, order) is None
    answer(store, order, 2)
    assert shown(store) == [(3, 2)]
    store.write(reports.revise, order.id, 1, Revision(ReportChange.ADDITION, "Остался один кадр"), DOCTOR, SENDING)
    assert doubt(store, order) is None
    answer(store, order, 1)
    assert shown(store) == [(2, 1)]


def test_a_report_that_is_withdrawn_is_in_no_doubt(store: Store, order: Order) -> None:
    sign(store, order)
    answer(store, order, 3)
    store.write(reports.revise, order.id, 1, Revision(ReportChange.WITHDRAWAL, "Не тот пациент"), DOCTOR, SENDING)
    assert (doubt(store, order), shown(store)) == (None, [])
    answer(store, order, 1)
    assert (doubt(store, order), shown(store)) == (None, [])


def test_images_that_a_person_takes_off_by_a_second_thought_are_missed_in_the_report(
    store: Store, order: Order
) -> None:
    second = ArchiveStudy("1.2.9", order.accession_number, 2, "DX", "Кузнецова^Марина", order.patient.patient_id, "")
    own = replace(second, study_instance_uid=order.study_instance_uid, images=4)
    store.write(archive_images.record_answer, order.id, [own, second], SYSTEM, SENDING, settled=True)
    with store.read() as reader:
        [waiting] = archive_gaps.open_studies(reader)
    store.write(archive_images.accept, waiting.discrepancy.id, REGISTRAR, SENDING)
    sign(store, order)
    store.write(archive_images.reconsider, waiting.discrepancy.id, REGISTRAR, SENDING)
    assert doubt(store, order) is ReportDoubt.IMAGES_FEWER
    assert shown(store) == [(6, 4)]
