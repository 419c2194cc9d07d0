"""The card says whether the image archive has the signed report, and if not, why; it can be sent again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.orders import Order
from broker.domain.reading.reports import ReportChange
from broker.domain.studies.archived_reports import ArchivedReport, ArchivedReportReason, ArchivedReportState
from broker.store.tables.studies import archived_reports as queue
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.studies import archived_reports
from tests.support.factory import CLINIC, SYSTEM
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.reading.session.test_page import study
from tests.ui.scene import press
from ui.services import Services
from ui.text import report_archive

SENDING = replace(CLINIC, archives_reports=True)
DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))


@pytest.fixture
def signed(services: Services) -> Order:
    order = study(services, 1)
    services.store.write(reports.sign, order.id, 0, ReportText("Поля.", "Норма"), DOCTOR, SENDING)
    return order


def queued(services: Services, order: Order) -> ArchivedReport:
    with services.store.read() as reader:
        return queue.of_order(reader, order.id)[0]


async def test_what_the_archive_has_refused_is_sent_again_by_a_button(services: Services, signed: Order) -> None:
    refused = ArchivedReportReason.REFUSED
    services.store.write(archived_reports.note_in_vain, queued(services, signed), refused, "C000 disk full")
    async with person(services, "volskaya") as doctor:
        await doctor.open(f"/order/{signed.accession_number}")
        await doctor.should_see("Архив снимков отказался принять протокол. Ответ архива: C000 disk full.")
        press(doctor, report_archive.SEND_AGAIN)
        await wait_until_async(lambda: queued(services, signed).state is ArchivedReportState.PENDING)
        services.store.write(archived_reports.note_stored, queued(services, signed), SYSTEM)
    async with person(services, "volskaya") as doctor:
        await doctor.open(f"/order/{signed.accession_number}")
        await doctor.should_see("Протокол в архиве снимков (")


async def test_a_withdrawn_report_that_stayed_there_is_said(services: Services, signed: Order) -> None:
    services.store.write(archived_reports.note_stored, queued(services, signed), SYSTEM)
    withdrawal = Revision(ReportChange.WITHDRAWAL, "Не тот пациент")
    services.store.write(reports.revise, signed.id, 1, withdrawal, DOCTOR, SENDING)
    async with person(services, "volskaya") as doctor:
        await doctor.open(f"/order/{signed.accession_number}")
        await doctor.should_see(report_archive.STAYED)
        await doctor.should_not_see(report_archive.SEND_AGAIN)


def test_every_reason_has_its_words() -> None:
    assert set(report_archive.REASONS) == set(ArchivedReportReason)
