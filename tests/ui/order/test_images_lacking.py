"""«Снимков нет» stands wherever a study's state does: in the list, on its card, on the patient's page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.orders import Order
from broker.domain.reading.reports import Report, ReportState
from broker.domain.studies import prior_studies
from broker.domain.studies.archive import ArchiveStudy
from broker.store.tables.reading import reports
from broker.workflow.studies import archive_images
from tests.support.clock import TODAY
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.scene import Scene, only_table, press
from ui.desk import history, repeat_warning
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
def services(services: Services) -> Services:
    """Pages of a clinic whose archive must have images within half an hour."""
    return replace(services, clinic=replace(CLINIC, images_within=timedelta(minutes=30)))


def made(scene: Scene, who: str, at: str, held: int | None, *, reported: bool = False) -> Order:
    """Register and perform a study of four images, of which the archive holds `held`; None: it was not asked."""
    order = scene.register(at, who)
    scene.begin(order, f"1.2.{order.id}")
    scene.finish(f"1.2.{order.id}", images=4)
    if held is not None:
        answer(scene, order, held)
    if reported:
        scene.store.write(reports.put, Report(order.id, conclusion="Норма", state=ReportState.SIGNED))
    return order


def answer(scene: Scene, order: Order, held: int) -> None:
    name = f"{order.patient.name.family}^{order.patient.name.given}"
    patient_id = order.patient.patient_id
    study = ArchiveStudy(order.study_instance_uid, order.accession_number, held, "DX", name, patient_id, "19610312")
    found = [study] if held else []
    scene.store.write(archive_images.record_answer, order.id, found, SYSTEM, CLINIC, settled=True)


def rows(user: User) -> dict[str, tuple[str, str]]:
    table = only_table(user)
    return {row["patient"].split()[0]: (row["state"], row["word"]) for row in table.rows}


async def test_the_list_says_what_images_lack_and_filters_by_it(scene: Scene, services: Services) -> None:
    lost = made(scene, "Попов Степан", "08:00", 0)
    made(scene, "Ли Ен", "08:10", 3)
    made(scene, "Зуев Пётр", "08:20", 4, reported=True)
    scene.register("10:00", "Иванов Иван")
    scene.now += timedelta(minutes=40)
    answer(scene, lost, 0)
    async with person(services) as user:
        await user.open("/studies")
        assert rows(user) == {
            "Попов": ("imageless", "Снимков нет 40 мин"),
            "Ли": ("imageless", "Снимков 3 из 4"),
            "Зуев": ("reported", ""),
            "Иванов": ("waiting", ""),
        }
        press(user, "Без снимков")
        assert list(rows(user)) == ["Попов"]
        press(user, "Без описания")
        assert sorted(rows(user)) == ["Ли", "Попов"]
        answer(scene, lost, 4)
        await wait_until_async(lambda: rows(user)["Попов"][0] == "archived")
        press(user, "Без снимков")
        assert rows(user) == {}
        await user.should_see("Таких нет.")
        press(user, "Все")
        assert len(rows(user)) == 4


async def test_the_card_and_the_patients_page_say_it_too(scene: Scene, services: Services) -> None:
    lost, fewer = made(scene, "Попов Степан", "08:00", 0), made(scene, "Ли Ен", "08:10", 3)
    scene.now += timedelta(minutes=40)
    answer(scene, lost, 0)
    async with person(services) as user:
        for order, word in ((lost, "Снимков нет 40 мин"), (fewer, "Снимков 3 из 4")):
            await user.open(f"/order/{order.accession_number}")
            await user.should_see(word)
            await user.open(f"/patient/{order.patient.patient_id}")
            await user.should_see(word)
        scene.store.write(archive_images.accept_count, fewer.id, 3, REGISTRAR)
        for path in (f"/order/{fewer.accession_number}", f"/patient/{fewer.patient.patient_id}"):
            await user.open(path)
            await user.should_see("Снимки в архиве")
            await user.should_not_see("Снимков 3 из 4")


async def test_a_patients_studies_are_filtered_by_what_they_lack(scene: Scene, services: Services) -> None:
    order = made(scene, "Попов Степан", "08:00", 0)
    finished = made(scene, "Попов Степан", "09:00", 4, reported=True)
    assert finished.patient.id == order.patient.id
    async with person(services) as user:
        await user.open(f"/patient/{order.patient.patient_id}")
        await user.should_see("Норма")
        press(user, "Без описания")
        await user.should_not_see("Норма")
        await user.should_see("Рентгенография коленного сустава")
        press(user, "Другие клиники")
        await user.should_not_see("Рентгенография коленного сустава, справа")


async def test_nothing_is_said_of_images_while_they_may_still_come(scene: Scene, services: Services) -> None:
    fewer = made(scene, "Ли Ен", "08:10", 3)
    async with person(services) as user:
        for path in (f"/order/{fewer.accession_number}", f"/patient/{fewer.patient.patient_id}"):
            await user.open(path)
            await user.should_see("Снимки в архиве")
            await user.should_not_see("Снимков 3 из 4")
        await user.open(f"/order/{fewer.accession_number}")
        await user.should_not_see("Аппарат сообщил о 4")


async def test_what_images_lack_is_true_for_longer_than_it_needs_attention(scene: Scene, services: Services) -> None:
    lost, fewer = made(scene, "Попов Степан", "08:00", 0), made(scene, "Ли Ен", "08:10", 3)
    scene.now += timedelta(minutes=40)
    answer(scene, lost, 0)
    scene.now += timedelta(days=30)
    async with person(services) as user:
        for order, word in ((lost, "Снимков нет 30 дн"), (fewer, "Снимков 3 из 4")):
            for path in (f"/order/{order.accession_number}", f"/patient/{order.patient.patient_id}"):
                await user.open(path)
                await user.should_see(word)
        await user.open("/board")
        await user.should_not_see("Снимки не пришли")


async def test_the_doctor_and_who_chooses_whose_images_these_are_see_it(scene: Scene, services: Services) -> None:
    lost = made(scene, "Попов Степан", "08:00", 0)
    fewer = made(scene, "Попов Степан", "08:10", 3)
    scene.now += timedelta(minutes=40)
    answer(scene, lost, 0)
    scene.begin(None, "1.2.9", start=scene.local("10:00"))
    async with person(services, "volskaya") as user:
        await user.open("/reading")
        await user.should_see("Снимков нет 40 мин")
        await user.should_see("Снимков 3 из 4")
        await user.open(f"/reading/{fewer.accession_number}")
        await user.should_see("Снимков 3 из 4")
        await user.should_see("Снимков нет 40 мин")  # the earlier one's
    async with person(services) as user:
        await user.open("/board")
        press(user, "Найти направление")
        await wait_until_async(lambda: "Снимков нет 40 мин" in choices(user))
        assert "Снимков 3 из 4" in choices(user)


def choices(user: User) -> str:
    [listed] = [each for each in user.find(ui.element).elements if "choices" in each.classes]
    return " ".join(str(getattr(each, "text", "") or getattr(each, "content", "")) for each in listed.descendants())


async def test_the_desk_says_it_of_what_was_done_before_and_of_what_would_be_repeated(
    scene: Scene, services: Services
) -> None:
    fewer = made(scene, "Ли Ен", "08:10", 3)
    scene.now += timedelta(minutes=40)
    with scene.store.read() as reader:
        earlier = history.read(reader, fewer.patient, services.images_due())
    states = history.own_states(earlier, services.now(), CLINIC.zone)
    [line] = history.lines(earlier, services.now(), CLINIC.zone)
    assert line.more == "у нас · снимков 3 из 4"
    [repeated] = prior_studies.repeated_studies("DX", "", TODAY, earlier.own, (), {"DX": 30})
    assert repeated.order_id is not None
    sentence = repeat_warning.sentence(repeated, {}, states[repeated.order_id])
    assert sentence == "Рентген уже делали 24.11.2026, у нас, снимков 3 из 4, заключения нет."
