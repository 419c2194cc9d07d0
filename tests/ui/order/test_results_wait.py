"""Results of which the region has other data of the patient: a person is asked before they go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.messages import OTHER_PATIENT, OutboxKind
from broker.store.tables import outbox
from tests.ui.conftest import person
from tests.ui.scene import Scene, buttons, press
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")


async def test_results_of_other_data_in_the_region_are_sent_by_a_person_who_was_asked(
    scene: Scene, services: Services
) -> None:
    organisation = "3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21"
    connected = replace(services, settings=replace(services.settings, has_bus=True, organisation=organisation))
    order = scene.register("10:00")
    reason = f"{OTHER_PATIENT}: Иванова Анна, 01.02.1970"
    scene.store.write(lambda tx: tx.run("UPDATE outbox SET state = 'delivered'"))
    scene.store.write(lambda tx: outbox.hold(tx, outbox.add(tx, order.id, OutboxKind.IMAGES), reason))
    async with person(connected) as user:
        await user.open("/exchange")
        await user.should_see("регион записал это исследование на другие данные (Иванова Анна, 01.02.1970)")
        assert not buttons(user) & {"Отправить снова"}
        await user.open("/board")
        await user.should_see("В регионе другие данные пациента")
        await user.open(f"/order/{order.accession_number}")
        await user.should_see("В регионе другие данные пациента")
        assert "Данные верны, отправить" in buttons(user)
        press(user, "Отправить")
        await user.should_see("Снова в очереди на отправку")
