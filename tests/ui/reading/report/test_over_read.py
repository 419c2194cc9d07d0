"""A doctor asks a colleague to read a signed report over on its page; both texts are there afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.orders import Order
from broker.domain.reading.leases import LeasePurpose
from broker.domain.reading.over_reads import OverRead, OverReadOutcome, OverReadText
from broker.store.queries.reading import over_read_requests, writers
from broker.store.tables import accounts
from broker.workflow.reading import over_reads, reports, writing
from tests.support.factory import CLINIC
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.reading.report.test_page import DOCTOR, OTHER, TEXT, done, field_of, write
from tests.ui.reading.report.test_revision import push, versions
from tests.ui.scene import Scene
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")
OWN = OverReadText("Тень слева.", "Очаговая тень слева.", "КТ.")


@pytest.fixture(autouse=True)
def no_failure(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a doctor does here ends in «Сбой программы»."""
    yield
    assert not [each for each in caplog.get_records("call") if each.levelname == "ERROR"]


@pytest.fixture
def reported(scene: Scene) -> Order:
    order = done(scene)
    scene.store.write(accounts.add, OTHER.name, OTHER.title, OTHER.roles, "hash")
    scene.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    return order


@pytest.fixture
def others(scene: Scene) -> Order:
    """A study that another doctor has reported."""
    order = done(scene)
    scene.store.write(accounts.add, OTHER.name, OTHER.title, OTHER.roles, "hash")
    scene.store.write(reports.sign, order.id, 0, TEXT, OTHER, CLINIC)
    return order


def all_of(scene: Scene, order: Order) -> tuple[OverRead, ...]:
    with scene.store.read() as reader:
        return over_read_requests.of_report(reader, order.id)


async def test_a_doctor_asks_a_colleague_and_takes_the_answer_over_as_a_correction(
    services: Services, scene: Scene, reported: Order
) -> None:
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        await user.should_not_see("Ждёт второго мнения")
        push(user, "Попросить прочитать ещё раз")
        [whom] = user.find(ui.select).elements
        assert isinstance(whom, ui.select)
        assert whom.options == {"": "Любой врач", "sokolov": "Соколов В. И."}
        whom.set_value(OTHER.name)
        write(user, question="нет ли тени слева?")
        push(user, "Попросить")
        await user.should_see("Ждёт второго мнения")
        await user.should_see("«нет ли тени слева?»")
        [asked] = all_of(scene, reported)
        assert (asked.asked_by, asked.asked_of) == ("volskaya", "sokolov")
        scene.store.write(over_reads.answer, asked.stored_id, 1, OverReadOutcome.DIFFERS, OWN, OTHER, CLINIC)
        await user.should_see("Другое мнение")
        await user.should_see("Очаговая тень слева.")
        await user.should_see("Без патологии.")  # the report beside it
        await user.should_not_see("Ждёт второго мнения")
        push(user, "Взять исправлением")
        await user.should_see("Подписать исправление")
        assert field_of(user, "corrected-conclusion").value == "Очаговая тень слева."
        assert field_of(user, "reason").value == "Второе мнение: Соколов В. И., 24.11.2026"
        push(user, "Подписать исправление")
        await user.should_see("Подписано, версия 2")
    assert versions(scene, reported)[0] == (2, "Очаговая тень слева.")


async def test_who_is_asked_finds_it_beside_the_list_and_answers(
    services: Services, scene: Scene, others: Order
) -> None:
    async with person(services, "volskaya") as user:
        await user.open("/reading")
        await user.should_not_see("Просят прочитать ещё раз")
        scene.store.write(over_reads.ask, others.id, 1, "", "", OTHER)
        await user.should_see("Просят прочитать ещё раз")
        await user.should_see("Соколов В. И. → Любой врач")
        asked_at = scene.now - timedelta(hours=CLINIC.reading.over_read_hours)
        scene.store.write(lambda tx: tx.run("UPDATE over_read SET asked_at = ?", [asked_at.isoformat()]))
        await user.open("/reading")
        await user.should_see("ждёт 1 день")
        await user.open(f"/reading/{others.accession_number}")
        await user.should_not_see("Не могу прочитать")  # nobody was asked by name
        push(user, "Другое мнение")
        push(user, "Записать своё мнение")
        await user.should_see("Напишите заключение")
        write(user, **{"own-conclusion": "Норма."})
        push(user, "Записать своё мнение")
        await wait_until_async(lambda: all_of(scene, others)[0].outcome is OverReadOutcome.DIFFERS)
        assert all_of(scene, others)[0].said.conclusion == "Норма."
        await user.open("/reading")
        await user.should_not_see("Просят прочитать ещё раз")


async def test_an_answer_that_is_being_written_is_kept_and_shown_to_others_as_such(
    services: Services, scene: Scene, others: Order
) -> None:
    scene.store.write(over_reads.ask, others.id, 1, "volskaya", "", OTHER)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{others.accession_number}")
        push(user, "Согласен")
        write(user, remark="Сравнить с прошлым годом.")
        await user.should_see("Черновик сохранён")
        with scene.store.read() as reader:
            lease = writers.writer(reader, others.id, scene.now, LeasePurpose.OVER_READ)
        assert lease is not None
        assert lease.reader == "volskaya"
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{others.accession_number}")
        await user.should_see("Черновик от")
        assert field_of(user, "remark").value == "Сравнить с прошлым годом."
        push(user, "Подтвердить: согласен")
        await wait_until_async(lambda: all_of(scene, others)[0].outcome is OverReadOutcome.AGREES)
        await user.should_see("Согласен")
        await user.should_see("Замечание")


async def test_while_another_writes_the_answer_who_asked_only_waits(
    services: Services, scene: Scene, reported: Order
) -> None:
    asked = scene.store.write(over_reads.ask, reported.id, 1, "sokolov", "", DOCTOR)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{reported.accession_number}")
        await user.should_see("Забрать просьбу")
        scene.store.write(over_reads.begin, asked.stored_id, OTHER, CLINIC)
        await user.should_see("Второе мнение сейчас пишет Соколов В. И.")
        await user.should_not_see("Забрать просьбу")
        await user.should_see("Исправить")  # the report itself is free
        scene.store.write(writing.leave, reported.id, OTHER, LeasePurpose.OVER_READ)
        push(await seeing(user, "Забрать просьбу"), "Забрать просьбу")
        await user.should_see("Просьба отозвана")
        await user.should_see("Попросить прочитать ещё раз")


async def test_who_cannot_read_says_so_and_another_is_asked(services: Services, scene: Scene, others: Order) -> None:
    scene.store.write(over_reads.ask, others.id, 1, "volskaya", "", OTHER)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{others.accession_number}")
        push(user, "Не могу прочитать")
        push(user, "Отказаться")
        await user.should_see("Напишите, почему")
        write(user, over_read_reason="в отпуске")
        push(user, "Отказаться")
        await wait_until_async(lambda: all_of(scene, others)[0].outcome is OverReadOutcome.DECLINED)


async def test_others_than_doctors_see_only_that_it_waits(services: Services, scene: Scene, reported: Order) -> None:
    asked = scene.store.write(over_reads.ask, reported.id, 1, "sokolov", "", DOCTOR)
    async with person(services, "orlova") as user:
        await user.open(f"/order/{reported.accession_number}")
        await user.should_see("Ждёт второго мнения")
        scene.store.write(over_reads.answer, asked.stored_id, 1, OverReadOutcome.DIFFERS, OWN, OTHER, CLINIC)
        await user.should_not_see("Ждёт второго мнения")
        await user.should_not_see("Очаговая тень слева.")
        await user.should_see("Прочитано ещё раз")  # its history


async def seeing(user: User, word: str) -> User:
    await user.should_see(kind=ui.button, content=word)
    return user
