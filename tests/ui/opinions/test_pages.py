"""A doctor answers what another clinic asks, and asks another clinic; both on screens of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nicegui import ui

from broker.domain.incoming import IncomingState
from broker.domain.opinions.requests import (
    OpinionPartner,
    OpinionRules,
    OpinionState,
    request_text,
)
from broker.domain.reading.reports import ExternalStudy
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.queries.opinions import opinion_lists
from broker.store.tables.incoming import Arrival
from broker.store.tables.reading import reports as reports_table
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.opinions import asking
from broker.workflow.reading import reports
from tests.support.clock import TODAY
from tests.support.factory import CLINIC
from tests.ui.conftest import person
from tests.ui.incoming.test_page import THEM, came
from tests.ui.reading.report.test_page import DOCTOR, TEXT, done, field_of, write
from tests.ui.reading.report.test_revision import push
from tests.ui.scene import Scene
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")
NOTE = request_text("Нет ли очага в S6?", "H0001", TODAY, "Без очагов.", "https://pacs.example/1")


def ask_us(store: Store, task: str = "t1") -> int:
    return came(store, task, comment=" ".join(NOTE.split()), asks_opinion=True)


async def test_a_request_stands_in_the_doctors_list_and_not_at_the_desk(services: Services, scene: Scene) -> None:
    ask_us(scene.store)
    async with person(services, "volskaya") as user:
        await user.open("/opinions")
        await user.should_see("Просят мнение")
        await user.should_see("«Нет ли очага в S6?»")
        await user.should_see("На аппараты они не попадут")
    async with person(services, "orlova") as user:
        await user.open("/incoming")
        await user.should_see("Никто не ждёт записи.")
        await user.open("/opinions")
        await user.should_see("На просьбы о мнении отвечают врачи.")


async def test_a_doctor_answers_and_the_answer_is_queued_once(services: Services, scene: Scene) -> None:
    id = ask_us(scene.store)
    services = replace(services, clinic=replace(services.clinic, sends_to_bus=True))
    async with person(services, "volskaya") as user:
        await user.open(f"/opinions/{id}")
        await user.should_see("Без очагов.")
        await user.should_see("Открыть снимки")
        push(user, "Подписать и ответить")
        await user.should_see("Напишите заключение: без него не подписать")
        write(user, conclusion="Очага нет.")
        push(user, "Подписать и ответить")
        await user.should_see("Отвечено")
        await user.should_see("Очага нет.")
        await user.open("/opinions")
        await user.should_see("Никто не просит мнения.")
    with scene.store.read() as reader:
        assert reader.value("SELECT count(*) FROM outbox WHERE kind = 'opinion'") == 1
        assert reader.value("SELECT count(*) FROM orders") == 0


async def test_a_doctor_declines_with_a_reason(services: Services, scene: Scene) -> None:
    id = ask_us(scene.store)
    async with person(services, "volskaya") as user:
        await user.open(f"/opinions/{id}")
        push(user, "Отказать")
        await user.should_see("Не отказано. Напишите, почему")
        write(user, refuse_reason="Нет рентгенолога")
        push(user, "Отказать")
        await user.should_see("Отказано")
    with scene.store.read() as reader:
        found = inbox.referral(reader, id)
    assert found is not None
    assert (found.state, found.decline_reason) == (IncomingState.DECLINED, "Нет рентгенолога")


async def test_a_registrar_gives_a_referral_about_a_study_that_is_made_to_the_doctors(
    services: Services, scene: Scene
) -> None:
    id = came(scene.store, attached=("снимки · 2026-11-20 · DX",))
    async with person(services, "orlova") as user:
        await user.open("/incoming")
        push(user, "Уже сделано")
        push(user, "Передать врачам")
        await user.should_see("Никто не ждёт записи.")
    with scene.store.read() as reader:
        [found] = opinion_lists.waiting_for_us(reader)
    assert found.referral.stored_id == id


async def test_a_doctor_asks_another_clinic_and_takes_its_answer_over(services: Services, scene: Scene) -> None:
    order = done(scene)
    scene.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    rules = OpinionRules((OpinionPartner(THEM, understands=False),))
    services = replace(services, clinic=replace(services.clinic, sends_to_bus=True, opinions=rules))
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{order.accession_number}")
        push(user, "Спросить мнение другой клиники")
        await user.should_see("увидит обычное направление")
        write(user, **{"opinion-question": "Нет ли тени?"})
        push(user, "Спросить")
        await user.should_see("Подтвердите: без этого не спросить")
        [tick] = user.find(ui.checkbox).elements
        assert isinstance(tick, ui.checkbox)
        tick.set_value(True)
        push(user, "Спросить")
        await user.should_see("Ждёт отправки")
        with scene.store.read() as reader:
            [asked] = opinion_lists.of_report(reader, order.id)
        assert asked.request.state is OpinionState.QUEUED
        study = ExternalStudy("DiagnosticReport/r1", "final", THEM, conclusion="Тени нет.", doctor="Сомов В. Г.")
        scene.store.write(
            asking.receive_answer, asked.request.stored_id, StoredStudy(study), Arrival("bus", "Task/t9", "1")
        )
        await user.should_see("Ответ есть")
        await user.should_see("Тени нет.")
        await user.should_see("Без патологии.")  # ours beside it, as it was
        push(user, "Взять дополнением")
        await user.should_see("Подписать дополнение")
        assert str(field_of(user, "reason").value).startswith("Второе мнение: Сомов В. Г., ")
        push(user, "Подписать дополнение")
        await user.should_see("Подписано, версия 2")
    with scene.store.read() as reader:
        signed = reports_table.signed(reader, order.id)
        assert signed is not None
        assert "Тени нет." in signed.conclusion
        assert opinion_lists.asked_by_us(reader) == []
