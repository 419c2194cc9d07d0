"""A doctor adds to a signed report, corrects it or withdraws it; what was signed before stays on the card."""

from __future__ import annotations

from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from broker.domain.orders import Order
from broker.domain.studies.reports import ReportChange
from broker.store.tables.studies import reports as stored
from broker.workflow.studies import reports
from tests.support.factory import CLINIC
from tests.ui.conftest import person
from tests.ui.reading.test_page import DOCTOR, TEXT, done, write
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
    scene.store.write(reports.revise, reported.id, 1, withdrawal, DOCTOR, CLINIC)
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
