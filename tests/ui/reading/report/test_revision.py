"""A doctor adds to a signed report, corrects it or withdraws it; what was signed before stays on the card."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from broker.domain.actors import Actor, ActorKind
from broker.domain.orders import Order
from broker.domain.reading.reports import ReportChange
from broker.store.tables.reading import leases
from broker.store.tables.reading import reports as stored
from broker.workflow import accounts
from broker.workflow.reading import reports, writing
from tests.support.factory import CLINIC
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.reading.report.test_page import DOCTOR, OTHER, TEXT, done, field_of, write
from tests.ui.scene import Scene
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
def reported(scene: Scene) -> Order:
    order = done(scene)
    scene.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    return order


def push(user: User, word: str) -> None:
    [button] = [each for each in user.find(ui.button).elements if each.text == word]
    UserInteraction(user, {button}, None).trigger("click")


def versions(scene: Scene, order: Order) -> list[Any]:
    with scene.store.read() as reader:
        return [(each.version, each.conclusion) for each in stored.versions(reader, order.id)]


async def test_a_report_is_corrected_under_the_doctors_eyes(services: Services, scene: Scene, reported: Order) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        push(user, "Исправить")
        await user.should_see("Что исправлено")
        push(user, "Подписать исправление")
        await user.should_see("Напишите: без этого не подписать")
        await user.should_see("Текст тот же, что и был: исправлять нечего")
        write(user, reason="не та сторона", **{"corrected-conclusion": "Без патологии слева."})
        push(user, "Подписать исправление")
        await user.should_see("Исправлено: не та сторона")
        await user.should_see("Подписано, версия 2")
        await user.should_see("Версия 1:")
        await user.open(f"/order/{reported.accession_number}")
        await user.should_see("Исправлено: не та сторона")
        await user.should_see("Версия 1:")
        await user.should_see("Протокол исправлен")
    assert versions(scene, reported) == [(2, "Без патологии слева."), (1, "Без патологии.")]


async def test_an_addition_stands_below_and_a_withdrawal_takes_everything_back(
    services: Services, scene: Scene, reported: Order
) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        push(user, "Дополнить")
        write(user, reason="Сравнить со снимками 2020 года.")
        push(user, "Подписать дополнение")
        await user.should_see("Дополнение: Сравнить со снимками 2020 года.")
        push(user, "Отозвать")
        write(user, reason="снимки другого пациента")
        push(user, "Отозвать протокол")
        await user.should_see("Протокол отозван: снимки другого пациента")
        await user.should_not_see("Дополнить")
        await user.should_see("Исправить")
    assert [version for version, _ in versions(scene, reported)] == [3, 2, 1]


async def test_a_withdrawn_report_of_an_earlier_study_is_called_so(
    services: Services, scene: Scene, reported: Order
) -> None:
    withdrawal = reports.Revision(ReportChange.WITHDRAWAL, "снимки другого пациента")
    scene.store.write(reports.revise, reported.id, 1, withdrawal, OTHER, CLINIC)
    later = scene.register("09:40")
    scene.begin(later, "1.2.1")
    scene.finish("1.2.1")
    async with person(services, "volskaya") as user:
        await user.open("/reading")
        await user.should_not_see("черновик: ")
        await user.open(f"/reading/{later.accession_number}")
        await user.should_see("Протокол отозван: снимки другого пациента")


async def test_who_does_not_report_sees_no_buttons(services: Services, reported: Order) -> None:
    async with person(services, "orlova") as user:
        await user.open(f"/order/{reported.accession_number}")
        await user.should_see("Без патологии.")
        await user.should_not_see("Исправить")


# ---- what is typed stays ----


async def kept(scene: Scene, order: Order, conclusion: str) -> None:
    """Wait until the database has what a doctor has typed."""

    def is_there() -> bool:
        with scene.store.read() as reader:
            found = accounts.load_draft(reader, f"revision {order.id}", actor_of("volskaya"))
        return bool(found and conclusion in found[0]["fields"].values())

    await wait_until_async(is_there)


async def lease_ends(scene: Scene, order: Order) -> None:
    """Wait until a doctor is known to write, and let the time pass after which another may."""

    def is_written() -> bool:
        with scene.store.read() as reader:
            return leases.of_order(reader, order.id, scene.now) is not None

    await wait_until_async(is_written)
    scene.now += timedelta(minutes=CLINIC.reading.lease_minutes)


def actor_of(login: str) -> Actor:
    return Actor(ActorKind.PERSON, login, login)


async def test_what_was_typed_into_a_correction_is_there_when_the_page_is_opened_again_until_it_is_signed(
    services: Services, scene: Scene, reported: Order
) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        push(user, "Исправить")
        write(user, reason="не та сторона", **{"corrected-conclusion": "Без патологии слева."})
        await kept(scene, reported, "Без патологии слева.")
    scene.now += timedelta(minutes=CLINIC.reading.lease_minutes)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        await user.should_see("Черновик от")
        assert field_of(user, "reason").value == "не та сторона"
        with scene.store.read() as reader:  # who only looks at it again keeps no other doctor from writing
            assert leases.of_order(reader, reported.id, scene.now) is None
        assert field_of(user, "corrected-conclusion").value == "Без патологии слева."
        push(user, "Подписать исправление")
        await user.should_see("Подписано, версия 2")
        await user.open(f"/reading/{reported.accession_number}")
        await user.should_not_see("Черновик от")
        await user.should_not_see("Что исправлено")
    assert versions(scene, reported)[0] == (2, "Без патологии слева.")


async def test_a_version_of_another_doctor_takes_nothing_of_what_is_typed_and_is_shown_beside_it(
    services: Services, scene: Scene, reported: Order
) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        push(user, "Исправить")
        write(user, reason="не та сторона", **{"corrected-conclusion": "Без патологии слева."})
        await lease_ends(scene, reported)
        other = reports.Revision(ReportChange.ADDITION, "Контроль через год.")
        scene.store.write(reports.revise, reported.id, 1, other, OTHER, CLINIC)
        await user.should_see("Пока вы писали, появилась версия 2")
        await user.should_see("Ваш текст цел")
        assert field_of(user, "corrected-conclusion").value == "Без патологии слева."
        push(user, "Подписать исправление")
        await user.should_see("Сначала выберите, чей текст оставить")
        assert len(versions(scene, reported)) == 2
        push(user, "Оставить мой текст")
        push(user, "Подписать исправление")
        await user.should_see("Подписано, версия 3")
    assert versions(scene, reported)[0] == (3, "Без патологии слева.")


async def test_the_text_of_the_other_version_can_be_taken_into_the_correction(
    services: Services, scene: Scene, reported: Order
) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        push(user, "Исправить")
        write(user, reason="не та сторона")
        await kept(scene, reported, "не та сторона")
    other = reports.Revision(ReportChange.ADDITION, "Контроль через год.")
    scene.store.write(reports.revise, reported.id, 1, other, DOCTOR, CLINIC)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        await user.should_see("Пока вы писали, появилась версия 2")
        push(user, "Взять текст версии 2")
        assert field_of(user, "reason").value == "не та сторона"
        assert "Контроль через год." in field_of(user, "corrected-conclusion").value


async def test_an_addition_to_a_report_that_is_withdrawn_meanwhile_is_kept_and_not_signed(
    services: Services, scene: Scene, reported: Order
) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        push(user, "Дополнить")
        write(user, reason="Сравнить со снимками 2020 года.")
        await lease_ends(scene, reported)
        withdrawal = reports.Revision(ReportChange.WITHDRAWAL, "снимки другого пациента")
        scene.store.write(reports.revise, reported.id, 1, withdrawal, OTHER, CLINIC)
        await user.should_see("Пока вы писали, появилась версия 2")
        push(user, "Оставить мой текст")
        push(user, "Подписать дополнение")
        await user.should_see("Не подписано.")
        assert field_of(user, "reason").value == "Сравнить со снимками 2020 года."
        push(user, "Не менять")
        await user.should_not_see("Дополнить")
        await user.should_see("Исправить")
    assert len(versions(scene, reported)) == 2


async def test_no_failure_is_reported_after_a_version_was_signed(
    services: Services, reported: Order, caplog: pytest.LogCaptureFixture
) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        push(user, "Дополнить")
        write(user, reason="Контроль через год.")
        push(user, "Подписать дополнение")
        await user.should_see("Подписано, версия 2")
        await user.should_see("Протокол дополнен")
        await user.should_not_see("Сбой программы")
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


async def test_while_another_doctor_writes_a_new_version_no_form_opens(
    services: Services, scene: Scene, reported: Order
) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        await user.should_see("Исправить")
        scene.store.write(writing.begin, reported.id, OTHER, CLINIC)
        await user.should_see("Новую версию сейчас пишет")
        await user.should_not_see("Исправить")
        scene.store.write(writing.leave, reported.id, OTHER)
        await user.should_see("Исправить")
