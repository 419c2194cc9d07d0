"""A result whose patient contradicts ours is shown beside our patient, and a person says whose it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from broker.domain.incoming import ANOTHER_PATIENT, ArrivalState
from broker.domain.orders import Order
from broker.store.queries import inbox
from broker.store.tables.incoming import Arrival
from broker.workflow.studies import external_results
from tests.support.factory import KUZNETSOVA
from tests.ui.conftest import person
from tests.ui.scene import Scene, buttons, press
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")

SISTER = replace(KUZNETSOVA, name=replace(KUZNETSOVA.name, given="Мария"), birth_date=date(1960, 1, 2), snils="")


@pytest.fixture
def order(scene: Scene) -> Order:
    """An order on which a result came that was set aside."""
    made = scene.register("10:00")
    scene.store.write(
        external_results.note_result_failure,
        Arrival("bus", "Task/t1", "1", b"{}"),
        f"{ANOTHER_PATIENT}: given, birth_date",
        made.id,
        about=SISTER,
    )
    return made


def state(scene: Scene) -> tuple[ArrivalState, tuple[str, ...]]:
    with scene.store.read() as reader:
        item = inbox.item(reader, 1)
    assert item is not None
    return item.state, item.confirmed


async def test_it_is_taken_after_a_look_at_what_contradicts(scene: Scene, services: Services, order: Order) -> None:
    connected = replace(services, settings=replace(services.settings, has_bus=True))
    async with person(connected) as user:
        await user.open("/board")
        await user.should_see("оно о другом пациенте: имя, дата рождения. Сверьте с той клиникой")
        await user.open("/exchange/in/1")
        for word in ("Чей это результат?", "Марина", "Мария", "02.01.1960", "не сходится", "Чужой, убрать"):
            await user.should_see(word)
        press(user, "Это наш пациент")
        await user.should_see("В результате другое: имя, дата рождения. Результат встанет в карту этого пациента.")
        press(user, "Да, наш")
        await user.should_see("Записано: результат нашего пациента")
        assert state(scene) == (ArrivalState.FAILED, ("given", "birth_date"))
        await user.open(f"/order/{order.accession_number}")
        await user.should_see("Результат другой клиники признан нашим")


async def test_it_is_another_persons(scene: Scene, services: Services, order: Order) -> None:
    async with person(services) as user:
        await user.open("/exchange/in/1")
        press(user, "Чужой, убрать")
        await user.should_see("Убрано: результат к направлению не отнесён")
    assert state(scene) == (ArrivalState.TAKEN, ())
    assert order.accession_number


async def test_who_only_reads_decides_nothing(services: Services, order: Order) -> None:
    async with person(services, "volskaya") as user:
        await user.open("/exchange/in/1")
        await user.should_see(f"Исследование {order.accession_number}")
        assert not buttons(user) & {"Это наш пациент", "Чужой, убрать"}
