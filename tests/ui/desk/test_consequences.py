"""What a change of a patient on an order's form means for the card's other orders is said before it is saved."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nicegui.testing import User

from broker.domain.orders import Order
from broker.domain.patients.people import Patient
from broker.store.tables import worklist
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.clock import local
from tests.support.factory import KUZNETSOVA, REGISTRAR
from tests.ui.conftest import person
from tests.ui.desk.hands import Hands
from tests.ui.scene import Scene
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")

CLINIC = replace(factory.CLINIC, sends_to_bus=True)


def registered(scene: Scene, at: str, patient: Patient = KUZNETSOVA) -> Order:
    draft = factory.draft(patient=patient, start=local(at))
    return scene.store.write(referrals.register, draft, REGISTRAR, CLINIC)


async def test_an_orders_form_says_which_other_orders_and_lists_a_change_of_the_patient_touches(
    scene: Scene, services: Services
) -> None:
    first, second = registered(scene, "10:00"), registered(scene, "11:00")
    assert first.patient.id == second.patient.id
    scene.store.write(worklist.note_delivery, [second.steps[0].id], "XRAY_14")
    scene.deliver(second)
    async with person(replace(services, clinic=CLINIC)) as user:
        hands = Hands(user)
        await user.open(f"/desk?order={first.accession_number}")
        await user.should_see("Изменить направление")
        await user.should_not_see("Что станет с исследованиями")
        hands.type("middle", "Павловна")
        await user.should_see("2 исследования получат новые данные")
        await user.should_see("Рентген: список уже получен с прежними данными, обновите его на аппарате")
        await user.should_see("24.11.2026: пошлём исправленное направление")
        hands.type("middle", "Петровна")
        await user.should_not_see("2 исследования получат новые данные")
        hands.type("phone", "+7 900 111-22-33")
        await user.should_see("2 исследования получат новые данные")
        await user.should_see("Ничего: того, что знает регион, вы не меняли")


async def test_a_new_referral_says_nothing_of_the_card(scene: Scene, user: User) -> None:
    registered(scene, "10:00")
    hands = Hands(user)
    await user.open("/desk")
    await hands.search("кузнецова", "keydown.down.prevent", "keydown.enter.exact.prevent")
    hands.type("phone", "+7 900 111-22-33")
    await user.should_not_see("Что станет с исследованиями")
