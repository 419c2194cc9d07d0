"""What other clinics did and are to do, at the desk: the past with its age, repeats, sending patients elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.clinic.directory import Entry, search_key
from broker.domain.orders import Order, OrderState
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies.avoided_repeats import AvoidedCount
from broker.store.database import Store, Tx
from broker.store.queries import schedule
from broker.store.queries.studies import avoided_repeats
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.directories import DirectorySource, replace_directory
from broker.workflow.referrals import referrals
from broker.workflow.studies.dose_procedures import set_prophylactic
from broker.workflow.studies.effective_doses import recalculate
from tests.support import factory
from tests.support.clock import TODAY
from tests.support.factory import SYSTEM
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.desk.hands import ENTER, Hands
from tests.ui.scene import Scene, press, texts
from ui.services import Services

THEM, US = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61", "aa9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61"
KNEE = ExternalStudy(
    "DiagnosticReport/1",
    "final",
    THEM,
    date(2026, 11, 12),
    "DX",
    procedure_name="Рентген колена",
    description="Щель сужена.",
    conclusion="Гонартроз 2 степени.",
    effective_dose=0.01,
)


pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "worklist.sqlite")
    made.store.write(_directories)
    yield made
    made.store.close()


@pytest.fixture
def asked() -> list[int]:
    """The patients of whom the region was asked."""
    return []


@pytest.fixture
def services(services: Services, asked: list[int]) -> Services:
    """A clinic with a bus, which warns of repeats within a month."""
    settings = replace(services.settings, has_bus=True, organisation=US, repeat_days={"DX": 30})
    return replace(services, settings=settings, request_history=asked.append)


def _directories(tx: Tx) -> None:
    for kind, code, name, details in (
        ("organisations", THEM, "Городская больница № 2", {}),
        ("organisations", US, "Городская клиника на Заречной", {}),
        ("diagnoses", "M17.1", "Другой первичный гонартроз", {}),
        ("doctors", "7", "Петров Пётр", {"position": "хирург", "snils": "11223344595"}),
    ):
        key = search_key(name)
        tx.run("INSERT INTO directory VALUES (?, ?, ?, ?, ?)", [kind, code, name, key, json.dumps(details)])


def known(scene: Scene, **changes: Any) -> Order:
    """Register a patient with numbers, yesterday's visit."""
    draft = factory.draft(start=scene.local("09:50"), **changes)
    return scene.store.write(referrals.register, draft, factory.REGISTRAR, factory.CLINIC)


def tell(scene: Scene, order: Order, *studies: ExternalStudy) -> None:
    """Let the region tell studies of an order's patient."""

    def write(tx: Tx) -> None:
        for study in studies:
            external_studies.put(tx, order.patient.stored_id, StoredStudy(study, "1", tx.now))
        external_studies.note_answer(tx, order.patient.stored_id)
        tx.notify()

    scene.store.write(write)


def fail(scene: Scene, order: Order) -> None:
    """Let the region not answer."""

    def write(tx: Tx) -> None:
        external_studies.note_failure(tx, order.patient.stored_id, "time-out")
        tx.notify()

    scene.store.write(write)


async def choose(user: User) -> Hands:
    await user.open("/desk")
    hands = Hands(user)
    await hands.search("куз", ENTER)
    await wait_until_async(lambda: hands.control("last").value)
    return hands


def orders(store: Store) -> list[Order]:
    with store.read() as reader:
        return [visit.order for visit in schedule.day(reader, TODAY)]


async def test_other_clinics_studies_stand_among_ours_with_the_age_of_the_answer(
    scene: Scene, services: Services, asked: list[int]
) -> None:
    order = known(scene)
    async with person(services) as user:
        await choose(user)
        await user.should_see("Спрашиваем регион…")
        assert asked == [order.patient.id]
        tell(scene, order, KNEE)  # the answer arrives while the form is open
        await user.should_see("Городская больница № 2 · 0,01 мЗв")
        await user.should_see("12.11.2026  Рентген колена")
        await user.should_see("По данным региона, только что")
        await user.should_see("Доза за год: 0,01 мЗв (1 исследование)")
        press(user, "12.11.2026  Рентген колена")
        await user.should_see("Щель сужена.")
        scene.now += timedelta(minutes=5)
        scene.store.write(lambda tx: tx.notify())
        await user.should_see("По данным региона, 5 минут назад")
        fail(scene, order)
        await user.should_see("Регион не отвечает, сведения от сегодня 09:47")
    assert asked == [order.patient.id]


async def test_without_a_number_the_region_cannot_be_asked_and_that_is_shown(scene: Scene, services: Services) -> None:
    scene.register("10:00")
    async with person(services) as user:
        await choose(user)
        await user.should_see("Без СНИЛС и полиса регион спросить нельзя")


async def test_a_repeat_is_shown_saved_by_a_second_press_and_written_down(scene: Scene, services: Services) -> None:
    order = known(scene)
    tell(scene, order, KNEE)
    async with person(services) as user:
        hands = await choose(user)
        hands.type("what", "WLB-KNEE")
        await user.should_see("Рентген уже делали 12.11.2026, Городская больница № 2: «Гонартроз 2 степени».")
        await user.should_see("Доза за год: 0,01 мЗв (1 исследование).")  # in the warning, with a period
        hands.press_save()
        await user.should_see("Такое уже делали, смотрите выше.")
        assert len(orders(scene.store)) == 1
        user.find("Записать всё равно").click()
        await user.should_see("Печать этикетки")
        await user.should_not_see("уже делали 12.11.2026")
    made = max(orders(scene.store), key=lambda each: each.id)
    with scene.store.read() as reader:
        [line] = reader.rows("SELECT details FROM audit WHERE order_id = ? AND action = 'register'", [made.id])
    assert json.loads(line["details"])["repeat_of"] == "2026-11-12 DX DiagnosticReport/1"


async def test_what_need_not_be_repeated_is_not_written_counted_and_can_be_had_back(
    scene: Scene, services: Services
) -> None:
    order = known(scene)
    tell(scene, order, KNEE)

    def avoided() -> list[AvoidedCount]:
        with scene.store.read() as reader:
            return avoided_repeats.counts(reader, scene.now - timedelta(hours=1), scene.now + timedelta(hours=1))

    async with person(services) as user:
        hands = await choose(user)
        hands.type("what", "WLB-KNEE")
        await user.should_see("Рентген уже делали 12.11.2026")
        press(user, "Не записывать")
        await user.should_see("Не записано: такое уже делали")
        await wait_until_async(lambda: not hands.control("last").value)
        assert avoided() == [AvoidedCount("DX", 1, 0, 0.01)]
        press(user, "Вернуть")
        await wait_until_async(lambda: hands.control("last").value == "Кузнецова")
        await user.should_see("Рентген уже делали 12.11.2026")
        await user.should_not_see("Не записано: такое уже делали")
        press(user, "Сохранить")
        await user.should_see("Такое уже делали, смотрите выше.")
        user.find("Записать всё равно").click()
        await user.should_see("Печать этикетки")
    assert len(orders(scene.store)) == 2
    assert avoided() == []


async def test_a_prophylactic_dose_above_the_limit_is_a_warning_that_asks_nothing(
    scene: Scene, services: Services
) -> None:
    order = known(scene)
    code = order.procedure_code
    scene.store.write(set_prophylactic, frozenset({code}), SYSTEM)
    scene.begin(order, "1.2.3.4")
    scene.finish("1.2.3.4")
    details = {"quantity": "процедура", "coefficient": "0,6", "unit": "мЗв"}
    source = DirectorySource("dose-coefficients", "", "", "c.csv")
    scene.store.write(replace_directory, source, [Entry("R-1", "Физик", details)], SYSTEM)
    scene.store.write(recalculate, order.id)
    quiet = replace(services, settings=replace(services.settings, repeat_days={}))
    async with person(quiet) as user:
        hands = await choose(user)
        hands.type("what", code)
        await user.should_see("Профилактическая доза за год превысит 1 мЗв: было 0,6 мЗв, станет около 1,2 мЗв.")
        hands.press_save()
        await user.should_see("Печать этикетки")
    assert len(orders(scene.store)) == 2


async def test_a_patient_who_is_typed_and_not_chosen_is_warned_for_too(scene: Scene, services: Services) -> None:
    tell(scene, known(scene), KNEE)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        hands.type("last", "Кузнецова")
        hands.type("first", "Марина")
        hands.type("middle", "Петровна")
        hands.type("snils", "112-233-445 95")
        hands.type("born", "12.03.1961")
        hands.type("what", "WLB-KNEE")
        await user.should_see("Рентген уже делали 12.11.2026")


async def test_what_was_long_ago_or_of_another_kind_is_not_a_repetition(scene: Scene, services: Services) -> None:
    order = known(scene)
    tell(scene, order, replace(KNEE, studied_on=date(2026, 9, 1)), replace(KNEE, reference="R/2", modality="MR"))
    async with person(services) as user:
        hands = await choose(user)
        hands.type("what", "WLB-KNEE")
        await wait_until_async(lambda: hands.control("time").value)
        await user.should_not_see("уже делали")


async def test_a_patient_is_sent_to_another_clinic_without_device_and_time(scene: Scene, services: Services) -> None:
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill()
        press(user, "в другую клинику")
        await user.should_see("День и время назначит она")
        hands.press_save()
        await user.should_see("Напишите название клиники и выберите её из списка")
        with user.client or pytest.fail("no page"):
            hands.control("owner").value = "городская"
        await user.should_see("Городская больница № 2")
        await user.should_not_see("Городская клиника на Заречной")  # that is us
        hands.do("owner", "keydown.down.prevent")
        hands.do("owner", ENTER)
        await wait_until_async(lambda: hands.control("owner").value == "Городская больница № 2")
        hands.press_save()
        await user.should_see("Направлен в другую клинику, желательно сегодня")
        await user.should_see("Направлен")  # the chip under «Записаны сегодня»
        [order] = orders(scene.store)
        assert (order.state, order.owner, order.steps[0].station_ae_titles) == (OrderState.REFERRED, THEM, ())
        await user.open("/board")
        assert "Зуева М. П." not in texts(user, "name")
        await user.open(f"/order/{order.accession_number}")
        await user.should_see("Городская больница № 2")
        await user.should_see("желательно сегодня")
        await user.open(f"/desk?order={order.accession_number}")
        assert hands.values("last", "owner") == ["Зуева", "Городская больница № 2"]
        hands.type("comment", "просьба позвонить")
        hands.press_save()
        await wait_until_async(lambda: orders(scene.store)[0].comment == "просьба позвонить")
    assert orders(scene.store)[0].state is OrderState.REFERRED


async def test_a_guid_may_be_typed_and_anything_else_is_refused(scene: Scene, services: Services) -> None:
    other = "7f7d1c6a-7e42-4f0b-8a55-1d2c3e4f5a62"
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill()
        press(user, "в другую клинику")
        for typed, stated in (("Больница", "Такой клиники в справочнике нет"), (US.upper(), "Это наша клиника")):
            hands.type("owner", typed)
            hands.press_save()
            await user.should_see(stated)
        hands.type("owner", other.upper())
        hands.press_save()
        await user.should_see("Направлен в другую клинику")
    assert [order.owner for order in orders(scene.store)] == [other]


def drafted(store: Store) -> str:
    """Return what the only draft holds, as JSON."""
    with store.read() as reader:
        return str(reader.value("SELECT content FROM draft") or "")


async def test_a_draft_keeps_the_other_clinic(scene: Scene, services: Services) -> None:
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill(owner=THEM)
        press(user, "в другую клинику")
        # An earlier draft, of what was typed before, may be saved already.
        await wait_until_async(lambda: '"external": true' in drafted(scene.store))
    async with person(services) as user:
        await user.open("/desk")
        await user.should_see("День и время назначит она")
        hands = Hands(user)
        assert hands.values("last", "owner") == ["Зуева", THEM]
        hands.press_save()
        await user.should_see("Направлен в другую клинику")
    assert [order.owner for order in orders(scene.store)] == [THEM]


async def test_without_a_bus_no_patient_is_referred_and_no_region_is_mentioned(
    scene: Scene, services: Services
) -> None:
    known(scene)
    bare = replace(services.settings, has_bus=False, organisation="")
    async with person(replace(services, settings=bare, request_history=None)) as user:
        await choose(user)
        await user.should_not_see("в другую клинику")
        await user.should_not_see("регион")
        await user.should_not_see(kind=ui.link, content="Входящие")


async def test_diagnoses_and_doctors_come_from_the_directories(scene: Scene, services: Services) -> None:
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill()
        for name, typed, taken in (
            ("diagnosis", "гонарт", "M17.1 Другой первичный гонартроз"),
            ("referrer", "петр", "Петров Пётр, хирург"),
        ):
            with user.client or pytest.fail("no page"):
                hands.control(name).value = typed
            await _take_first(hands, name, taken)
            hands.do(name, "blur")
        hands.press_save()
        await user.should_see("Печать этикетки")
    [order] = orders(scene.store)
    assert (order.diagnosis_code, order.diagnosis_text) == ("M17.1", "Другой первичный гонартроз")
    assert (str(order.referrer), order.referrer_snils) == ("Петров Пётр", "11223344595")


async def _take_first(hands: Hands, name: str, taken: str) -> None:
    """Wait for the list under a field and take its first line."""
    user = hands.user
    await wait_until_async(
        lambda: user.client and any("option" in each.classes for each in user.client.elements.values())
    )
    hands.do(name, "keydown.down.prevent")
    hands.do(name, ENTER)
    await wait_until_async(lambda: hands.control(name).value == taken)
