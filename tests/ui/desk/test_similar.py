"""While somebody new is typed, those of ours who may be meant are shown, and saving waits for the answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from nicegui.elements.mixins.text_element import TextElement
from nicegui.testing import User

from broker.domain.incoming import IncomingReferral
from broker.domain.orders import Order
from broker.domain.patients.patient_match import Similarity
from broker.domain.patients.people import PersonName
from broker.store.tables.incoming import Arrival
from broker.workflow import patient_merge
from broker.workflow.referrals import incoming_referrals, referrals
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM
from tests.support.waiting import assert_stays, wait_until_async
from tests.ui.conftest import person
from tests.ui.desk.hands import Hands
from tests.ui.desk.test_page import registered
from tests.ui.scene import press
from ui.desk import similar_patients
from ui.services import Services

ASKS = "Похож: это он?"
KNOWN = {"last": "Кузнецова", "first": "Марина", "middle": "Петровна", "born": "12.03.1961", "sex": "F"}


def know(services: Services, **changes: Any) -> Order:
    """Register a patient of ours."""
    patient = replace(KUZNETSOVA, **changes)
    return services.store.write(referrals.register, factory.draft(patient=patient), REGISTRAR, CLINIC)


def describe(hands: Hands, **changes: str) -> None:
    """Type a patient into the fields."""
    for name, value in {**KNOWN, **changes}.items():
        hands.type(name, value)


def asked(user: User) -> list[str]:
    """Return those who are shown, with why; empty if the box is hidden."""
    assert user.client
    [box] = [each for each in user.client.elements.values() if "similar" in each.classes]
    if not box.visible:
        return []
    return [each.text for each in box.descendants() if isinstance(each, TextElement) and each.text.startswith("карта")]


async def shown(user: User, count: int = 1) -> list[str]:
    await wait_until_async(lambda: len(asked(user)) == count)
    return asked(user)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ({"middle": ""}, "отчество полное, дата та же"),
        ({"middle": "Петрвна"}, "отличается одна буква, дата та же"),
        ({"born": "03.12.1961"}, "день и месяц наоборот"),
        ({"last": "Зуева"}, "другая фамилия, остальное то же"),
        ({"born": "14.03.1961"}, "имя то же, день или месяц рождения другие"),
        ({"last": "Зуева", "snils": "112-233-445 95"}, "тот же СНИЛС, другое имя"),
        ({"born": "", "policy": "7800 0000 1234 5671", "first": "Алла"}, "тот же полис, другое имя"),
        ({"last": "", "first": "", "middle": "", "born": "", "snils": "112-233-445 95"}, "тот же СНИЛС"),
        ({"sex": "M", "snils": "112-233-445 95"}, "тот же СНИЛС, другой пол"),
    ],
)
async def test_who_may_be_meant_is_shown_with_the_reason(services: Services, typed: dict[str, str], why: str) -> None:
    know(services)
    async with person(services) as user:
        await user.open("/desk")
        describe(Hands(user), **typed)
        assert await shown(user) == [f"карта 000001, СНИЛС …445 95; {why}"]


@pytest.mark.parametrize("typed", [{}, {"born": "12.04.1971"}, {"last": "Кузовлева", "first": "Анна"}, {"born": ""}])
async def test_nobody_is_asked_about_one_who_is_certain_or_of_whom_nobody_is_like(
    services: Services, typed: dict[str, str]
) -> None:
    know(services)
    async with person(services) as user:
        await user.open("/desk")
        describe(Hands(user), **typed)
        await assert_stays(lambda: asked(user) == [])


async def test_saving_waits_for_the_answer_and_takes_the_person_who_is_meant(services: Services) -> None:
    know(services)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill(**{**KNOWN, "last": "Кузнецов", "phone": "8 903 1234567"})
        assert await shown(user)
        hands.press_save()
        await user.should_see("Не сохранено: сначала ответьте, он ли это")
        await user.should_see("Сначала ответьте, он ли это")
        assert len(registered(services)) == 1
        press(user, "Alt+1")
        await wait_until_async(lambda: hands.control("last").value == "Кузнецова")
        assert hands.note("last") == "Было набрано: Кузнецов"
        assert hands.values("snils", "phone") == ["112-233-445 95", "8 903 1234567"]
        await user.should_see("карта 000001")
        assert asked(user) == []
        hands.press_save()
        await wait_until_async(lambda: len(registered(services)) == 2)
        assert {order.patient.id for order in registered(services)} == {1}
        assert registered(services)[1].patient.phone == "8 903 1234567"


async def test_another_person_gets_a_card_of_his_own_without_a_second_question(services: Services) -> None:
    know(services)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill(**{**KNOWN, "middle": ""})
        assert await shown(user)
        press(user, "Другой человек")
        await wait_until_async(lambda: asked(user) == [])
        hands.press_save()
        await wait_until_async(lambda: len(registered(services)) == 2)
        assert [order.patient.patient_id for order in registered(services)] == ["000001", "000002"]


def merge(services: Services, surviving: Order, merged: Order) -> None:
    ids = surviving.patient.stored_id, merged.patient.stored_id
    services.store.write(patient_merge.merge, *ids, (), (1, 1), REGISTRAR, CLINIC)


async def test_the_true_bearer_of_a_former_number_is_registered_by_a_person_who_says_so(services: Services) -> None:
    merge(services, know(services, name=PersonName("Зуева", "Марина", "Петровна"), snils="", policy=""), know(services))
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill(**{**KNOWN, "last": "Попова", "first": "Анна", "snils": "112-233-445 95"})
        assert await shown(user) == ["карта 000001; это его прежний номер, другое имя"]
        press(user, "Другой человек")
        await wait_until_async(lambda: asked(user) == [])
        hands.press_save()
        await wait_until_async(lambda: len(registered(services)) == 3)
        bearer = registered(services)[2].patient
        assert (bearer.patient_id, bearer.snils) == ("000003", "11223344595")


async def test_who_is_described_as_a_merged_card_was_is_asked_about_and_taken_as_the_card_is(
    services: Services,
) -> None:
    merge(services, know(services, name=PersonName("Зуева", "Марина", "Петровна"), snils="", policy=""), know(services))
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        describe(hands)
        assert await shown(user) == ["карта 000001; так было в прежней карте"]
        press(user, "Alt+1")
        await wait_until_async(lambda: hands.control("last").value == "Зуева")
        assert hands.note("last") == "Было набрано: Кузнецова"


@pytest.mark.parametrize(
    "change", [{"first": "Мария"}, {"born": "03.12.1961"}, {"policy": "7800 0000 1234 5671"}], ids=str
)
async def test_the_answer_is_forgotten_when_it_is_about_somebody_else(
    services: Services, change: dict[str, str]
) -> None:
    know(services)
    know(services, name=PersonName("Кузнецова", "Мария", "Петровна"), snils="", policy="")
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        describe(hands, middle="")
        assert await shown(user)
        press(user, "Другой человек")
        await wait_until_async(lambda: asked(user) == [])
        describe(hands, **{"middle": "", **change} if "first" in change else {"middle": "Петровна", **change})
        if "policy" in change:
            hands.type("last", "Зуева")
        assert await shown(user)


async def test_the_answer_is_forgotten_when_the_sex_is_another_and_holds_when_it_is_said_later(
    services: Services,
) -> None:
    know(services)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        describe(hands, middle="")
        assert await shown(user)
        press(user, "Другой человек")
        await wait_until_async(lambda: asked(user) == [])
        hands.type("sex", "F")
        await assert_stays(lambda: asked(user) == [])
        hands.type("sex", "M")
        assert await shown(user)


async def test_of_namesakes_a_person_chooses_and_their_studies_are_not_shown_before(services: Services) -> None:
    know(services, policy="")
    know(services, policy="", snils="08765430300")
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        describe(hands)
        assert await shown(user, 2) == [
            "карта 000001, СНИЛС …445 95; имя, дата и пол те же",
            "карта 000002, СНИЛС …303 00; имя, дата и пол те же",
        ]
        await user.should_see("Таких у нас несколько: кто из них?")
        await user.should_see("Выберите пациента")  # «Уже делали»
        press(user, "Alt+2")
        await user.should_see("карта 000002")
        await user.should_not_see("Выберите пациента")
        assert hands.control("snils").value == "087-654-303 00"


async def test_whose_number_it_is_is_checked_and_nobody_new_is_offered(services: Services) -> None:
    know(services)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill(last="Зуева", snils="112-233-445 95")
        assert await shown(user)
        await user.should_see("Этот номер у нас записан: это он?")
        await user.should_not_see("Другой человек")
        hands.press_save()
        await wait_until_async(lambda: "записан на другого человека" in hands.note("snils"))
        assert len(registered(services)) == 1
        hands.type("snils", "")
        await wait_until_async(lambda: asked(user) == [])


async def test_of_many_three_are_shown_and_the_rest_is_counted(services: Services) -> None:
    for number in range(5):
        know(services, name=PersonName("Кузнецова", "Марина", f"Петровна {'абвгд'[number]}"), snils="", policy="")
    async with person(services) as user:
        await user.open("/desk")
        describe(Hands(user), middle="")
        await shown(user, 3)
        await user.should_see("И ещё 2: нужного найдите поиском")


async def test_a_referral_of_another_clinic_asks_too(services: Services) -> None:
    know(services)
    patient = replace(KUZNETSOVA, name=PersonName("Кузнецова", "Марина"), snils="", policy="")
    came = IncomingReferral("t1", patient, procedure_name="Рентгенография коленного сустава")
    arrival = Arrival("bus", "Task/t1", "1", b"{}")
    services.store.write(incoming_referrals.receive, came, arrival, SYSTEM, CLINIC, {})
    async with person(services) as user:
        await user.open("/desk?incoming=1")
        hands = Hands(user)
        assert await shown(user) == ["карта 000001, СНИЛС …445 95; отчество полное, дата та же"]
        await wait_until_async(lambda: hands.control("time").value)
        press(user, "Другой человек")
        await wait_until_async(lambda: asked(user) == [])
        hands.press_save()
        await wait_until_async(lambda: len(registered(services)) == 2)
        assert registered(services)[1].patient.patient_id == "000002"


async def test_a_study_without_a_referral_asks_too(services: Services) -> None:
    know(services)
    step = factory.performed("1.2.9", patient_name="Кузнецова^Марина", patient_birth_date="19610312", patient_sex="F")
    services.store.write(performed_steps.start, step, factory.message(), factory.XRAY, CLINIC)
    async with person(services) as user:
        await user.open("/desk?walkin=1.2.9")
        assert await shown(user) == ["карта 000001, СНИЛС …445 95; отчество полное, дата та же"]
        hands = Hands(user)
        press(user, "Alt+1")
        await wait_until_async(lambda: hands.control("middle").value == "Петровна")
        hands.type("what", "WLB-KNEE")
        hands.press_save()
        await wait_until_async(lambda: len(registered(services)) == 2)
        assert registered(services)[1].patient.id == 1


async def test_the_patient_of_an_order_that_is_changed_is_not_asked_for(services: Services) -> None:
    order = know(services)
    know(services, name=PersonName("Кузнецова", "Мария", "Петровна"), snils="", policy="")
    async with person(services) as user:
        await user.open(f"/desk?order={order.accession_number}")
        hands = Hands(user)
        await wait_until_async(lambda: hands.control("last").value)
        hands.type("first", "Мариа")
        await assert_stays(lambda: asked(user) == [])


def test_every_reason_has_its_words() -> None:
    assert set(similar_patients._WHY) | {Similarity.MIDDLE, Similarity.GIVEN} == set(Similarity)


async def test_a_latin_name_is_asked_about_before_the_birth_date_unless_too_many_bear_it(services: Services) -> None:
    know(services)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        describe(hands, last="Kuznetsova", first="Marina", middle="", born="")
        [line] = await shown(user)
        assert line.endswith("имя другими буквами, дата рождения известна не вся")
        hands.type("born", "15.08.1984")  # quite another one
        await shown(user, 0)
        for number in range(similar_patients.SHOWN):
            born = date(1970, 1, number + 1)
            know(services, name=PersonName("Кузнецова", "Марина"), birth_date=born, snils="", policy="")
        hands.type("born", "")
        await assert_stays(lambda: asked(user) == [])
