"""What a device has sent is opened as words, and a doctor takes them over; a file is handed on as it came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from nicegui import ElementFilter
from nicegui.testing import User

from broker.domain.orders import Order
from broker.domain.studies.received import ReceivedObject
from broker.domain.studies.received_text import Standing
from broker.store.tables.reading import reports as reports_table
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText
from broker.workflow.studies import received_objects
from tests.support import sent_objects
from tests.support.factory import CLINIC, XRAY
from tests.ui.conftest import Site, person
from tests.ui.reading.report.test_page import DOCTOR, TEXT, done, kept
from tests.ui.scene import Scene, buttons, press
from ui.services import Services
from ui.text import received as said

pytestmark = pytest.mark.usefixtures("scene")
TAKE = "Взять текст в протокол"


@pytest.fixture
async def doctor(services: Services) -> AsyncIterator[User]:
    async with person(services, "volskaya") as somebody:
        yield somebody


def receive(scene: Scene, sent: ReceivedObject) -> None:
    scene.store.write(received_objects.receive, sent, None, XRAY)


async def test_a_report_is_opened_from_the_card_and_from_the_report_page(scene: Scene, doctor: User) -> None:
    order = done(scene)
    receive(scene, sent_objects.report(order, "Норма <b>вся</b>"))
    for address in (f"/order/{order.accession_number}", f"/reading/{order.accession_number}"):
        await doctor.open(address)
        await doctor.should_see("Структурированный отчёт «Report Норма")
        await doctor.should_see("Открыть")
    await doctor.open("/received/1")
    await doctor.should_see("Норма &lt;b&gt;вся&lt;/b&gt;")  # as words
    await doctor.should_see("Завершён и подтверждён")


async def test_a_doctor_takes_the_words_over_below_what_is_typed_and_only_once(scene: Scene, doctor: User) -> None:
    order = done(scene)
    scene.store.write(reports.save_report, order.id, 0, ReportText("Моё.", "Моё заключение."), DOCTOR, CLINIC)
    receive(scene, sent_objects.report(order, "Норма."))
    for _ in range(2):
        await doctor.open("/received/1")
        await doctor.should_see(TAKE)
        press(doctor, TAKE)
        await doctor.should_see("Подписать")  # the report page
    found = kept(scene, order)
    assert found
    assert found.conclusion == "Моё заключение.\nНорма."
    assert found.description.startswith("Моё.\nИз отчёта аппарата XRAY_14 от ")
    assert found.description.count("Из отчёта") == 1
    with scene.store.read() as reader:
        assert reports_table.signed(reader, order.id) is None


async def test_a_long_report_is_one_element_of_the_page(scene: Scene, doctor: User) -> None:
    order = done(scene)
    receive(scene, sent_objects.report(order, "слово", lines=1500))
    await doctor.open("/received/1")
    await doctor.should_see(TAKE)
    with doctor:
        assert len(list(ElementFilter())) < 200


async def test_a_signed_report_takes_nothing_over(scene: Scene, doctor: User) -> None:
    order = done(scene)
    receive(scene, sent_objects.report(order, "Норма."))
    scene.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    await doctor.open("/received/1")
    await doctor.should_see("Норма.")
    assert TAKE not in buttons(doctor)


async def test_an_unverified_report_is_a_draft_that_only_doctors_see(
    scene: Scene, services: Services, doctor: User
) -> None:
    order = done(scene)
    receive(scene, sent_objects.report(order, "Пока так", verification="UNVERIFIED"))
    await doctor.open("/received/1")
    await doctor.should_see(said.STANDINGS[Standing.DRAFT][1])
    await doctor.should_see("Пока так")
    async with person(services, "orlova") as registrar:
        await registrar.open("/received/1")
        await registrar.should_see("черновики видят только врачи")
        await registrar.should_not_see("Пока так")


async def test_what_waits_for_its_study_is_not_opened(scene: Scene, doctor: User) -> None:
    order = done(scene)
    held = sent_objects.report(order, "Чужое")
    receive(scene, _of_nobody(held))
    for id in ("1", "2", "99999999999999999999"):
        await doctor.open(f"/received/{id}")
        await doctor.should_see("Такого отчёта нет.")
        await doctor.should_not_see("Чужое")


def _of_nobody(sent: ReceivedObject) -> ReceivedObject:
    return replace(sent, study_instance_uid="1.2.3.4")


def test_a_pdf_is_shown_and_an_xml_is_only_saved(site: Site, scene: Scene) -> None:
    order: Order = done(scene)
    receive(scene, sent_objects.pdf(order, "слова"))
    receive(scene, sent_objects.cda(order, "узел"))
    assert site.http.get("/received/1/file").status_code in (303, 401)
    site.sign_in("orlova")
    pdf, xml = (site.http.get(f"/received/{id}/file") for id in (1, 2))
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    assert pdf.headers["content-disposition"].startswith("inline")
    assert "default-src 'none'" in pdf.headers["content-security-policy"]
    assert xml.headers["content-disposition"].startswith("attachment")
    assert xml.headers["x-content-type-options"] == "nosniff"
    assert xml.text.endswith("</ClinicalDocument>")
    assert site.http.get("/received/3/file").status_code == 404
