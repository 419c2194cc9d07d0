"""«Ещё исследование»: one more study of the patient under the same accession number, where the clinic wants that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.orders import Order
from broker.domain.studies.performed import StepReference
from broker.store.tables import orders
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.desk.hands import Hands
from ui.order import label
from ui.services import Services


@pytest.fixture
def sharing(services: Services) -> Services:
    return replace(services, clinic=replace(services.clinic, shares_accession_numbers=True))


def others(services: Services, order: Order) -> list[Order]:
    with services.store.read() as reader:
        return orders.of_request(reader, order)


async def test_another_study_is_registered_under_the_number_of_the_first(sharing: Services) -> None:
    first = sharing.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    async with person(sharing) as user:
        await user.open(f"/order/{first.accession_number}")
        await user.should_see("Ещё исследование")
        await user.open(f"/desk?another={first.accession_number}")
        await user.should_see(f"Ещё исследование под номером {first.accession_number}")
        hands = Hands(user)
        assert hands.values("last", "referrer", "diagnosis") == [
            "Кузнецова",
            "Зимин Андрей Павлович, терапевт",
            "M17.1 Первичный гонартроз",
        ]
        assert not hands.control("what").value
        hands.type("what", "WLB-KNEE")
        hands.type("side", "L")
        hands.press_save()
        await wait_until_async(lambda: bool(others(sharing, first)))
        [other] = others(sharing, first)
        assert (other.laterality, other.request_number) == ("L", first.accession_number)
        await user.should_see("Под тем же номером")
        await user.should_see(first.accession_number)
    assert f">{first.accession_number}</p>" in label.draw(other, other.shown_number)


async def test_the_studies_beside_which_it_is_made_are_not_taken_for_earlier_ones(sharing: Services) -> None:
    sharing = replace(sharing, settings=replace(sharing.settings, repeat_days={"DX": 365}))
    first = sharing.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    second = sharing.store.write(
        referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC, request_number=first.shown_number
    )
    assert others(sharing, first) == [second]
    for each in (first, second):  # under way, so that the number is still open for another study
        step = factory.performed(f"1.2.{each.id}", StepReference(each.study_instance_uid))
        sharing.store.write(performed_steps.start, step, factory.message(f"{each.id}"), factory.XRAY, factory.CLINIC)
    async with person(sharing) as user:
        await user.open(f"/desk?another={second.accession_number}")
        Hands(user).type("what", "WLB-KNEE")
        await user.should_see(f"{first.steps[0].start:%d.%m.%Y}  ")  # «Уже делали» has been read
        await user.should_not_see("уже делали")


async def test_without_the_switch_nothing_offers_it(services: Services) -> None:
    first = services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open(f"/order/{first.accession_number}")
        await user.should_see("Номер исследования")
        await user.should_not_see("Ещё исследование")
        await user.open(f"/desk?another={first.accession_number}")
        await user.should_see("ещё одно исследование записать нельзя")
