"""People of whom something is not known: said with a click, saved at once, completed on the card."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nicegui.testing import User

from broker.bus.outbound.messages import INCOMPLETE
from broker.domain.messages import OutboxState
from broker.domain.orders import Order
from broker.domain.patients.incomplete import Missing, missing
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.queries import order_card
from broker.store.tables import outbox
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.desk.hands import DOWN, ENTER, Hands
from tests.ui.desk.test_page import registered
from tests.ui.scene import buttons, press
from ui.services import Services
from ui.text import bus, patient_cards

UNIDENTIFIED = Patient(PersonName("Неизвестный", "№3"), None, Sex.MALE)


def register(services: Services, patient: Patient) -> Order:
    return services.store.write(referrals.register, factory.draft(patient=patient), REGISTRAR, CLINIC)


def hold(services: Services, order: Order) -> None:
    """Let the exchange find that the region does not take this patient yet."""
    reason = "; ".join(INCOMPLETE[each] for each in missing(order.patient))
    with services.store.read() as reader:
        [row] = outbox.heads(reader)
    services.store.write(lambda tx: outbox.mark_needs_attention(tx, row.seq, reason, ""))


async def save(hands: Hands, services: Services) -> Order:
    hands.type("what", "WLB-KNEE")
    await wait_until_async(lambda: hands.control("time").value != "")
    hands.press_save()
    await wait_until_async(lambda: len(registered(services)) > 0)
    return registered(services)[-1]


@pytest.fixture
async def hands(user: User) -> Hands:
    await user.open("/desk")
    return Hands(user)


async def test_an_unidentified_person_is_registered_by_a_click_and_the_sex(hands: Hands, services: Services) -> None:
    press(hands.user, "Неизвестный")
    assert hands.values("last", "first", "born") == ["Неизвестный", "", "неизвестна"]
    hands.type("sex", "F")
    assert hands.values("last") == ["Неизвестная"]
    order = await save(hands, services)
    assert str(order.patient.name) == f"Неизвестная №{order.patient.patient_id}"
    await hands.user.should_see("На шину уйдёт, когда дополните карту пациента")


async def test_a_number_of_their_own_stays(hands: Hands, services: Services) -> None:
    press(hands.user, "Неизвестный")
    hands.type("first", "№3")
    hands.type("sex", "M")
    assert str((await save(hands, services)).patient.name) == "Неизвестный №3"


async def test_a_newborn_is_registered_by_the_mother_who_is_known(services: Services) -> None:
    mother = register(services, replace(KUZNETSOVA, phone="123")).patient
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        assert not hands.control("mother").parent_slot.parent.visible
        press(user, "Новорождённый")
        assert hands.control("mother").parent_slot.parent.visible
        with user.client or pytest.fail("no page"):
            hands.control("mother").value = "куз"
        await wait_until_async(lambda: hands.control("mother").props.get("aria-expanded") == "true")
        hands.do("mother", ENTER)
        await wait_until_async(lambda: hands.control("last").value == "Кузнецова")
        assert hands.values("first", "middle", "phone") == ["новорождённый", "мать Марина", "123"]
        assert hands.control("born").value == f"{services.today():%d.%m.%Y}"
        hands.type("sex", "F")
        hands.type("what", "WLB-KNEE")
        await wait_until_async(lambda: hands.control("time").value != "")
        hands.press_save()
        await wait_until_async(lambda: len(registered(services)) == 2)
    child = registered(services)[-1].patient
    assert str(child.name) == "Кузнецова новорождённая мать Марина"
    assert child.mother == patient_cards.mother(mother)
    assert (child.snils, child.policy) == ("", "")  # the mother's are hers


async def test_a_mother_who_is_not_known_is_typed(hands: Hands, services: Services) -> None:
    press(hands.user, "Новорождённый")
    with hands.user.client or pytest.fail("no page"):
        hands.control("mother").value = "Иванова Мария Петровна"
    await wait_until_async(lambda: hands.control("mother").props.get("aria-expanded") == "true")
    hands.do("mother", ENTER)
    await wait_until_async(lambda: hands.control("last").value == "Иванова")
    hands.type("first", "мальчик 2")
    hands.type("sex", "M")
    child = (await save(hands, services)).patient
    assert (str(child.name), child.mother) == ("Иванова мальчик 2 мать Мария", "Иванова Мария Петровна")


async def test_a_child_is_nobodys_mother(services: Services) -> None:
    register(services, replace(UNIDENTIFIED, name=PersonName("Иванова", "новорождённая"), sex=Sex.FEMALE))
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        press(user, "Новорождённый")
        with user.client or pytest.fail("no page"):
            hands.control("mother").value = "иванова"
        await wait_until_async(lambda: hands.control("mother").props.get("aria-expanded") == "true")
        await user.should_see("Карты нет. Мать: иванова")


async def test_one_name_and_a_year_are_said_in_the_fields(hands: Hands, services: Services) -> None:
    hands.type("last", "сухарто")
    hands.type("first", "-")
    hands.type("born", "1961 г. р.")
    hands.type("sex", "M")
    assert hands.values("last", "first", "born") == ["Сухарто", "–", "1961"]
    patient = (await save(hands, services)).patient
    assert (patient.name, patient.born) == (PersonName("Сухарто"), 1961)


async def test_what_is_typed_first_is_not_taken_for_an_unknown_birth_date(services: Services) -> None:
    register(services, replace(KUZNETSOVA, birth_date=None))
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        for name, value in (("last", "Кузнецова"), ("first", "Марина"), ("middle", "Петровна"), ("sex", "F")):
            hands.type(name, value)
        await user.should_not_see("Похож: это он?")
        hands.type("born", "неизвестна")
        await user.should_see("имя то же, дата рождения известна не вся")


async def test_the_keys_go_through_the_list_of_mothers(services: Services) -> None:
    register(services, KUZNETSOVA)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        press(user, "Новорождённый")
        with user.client or pytest.fail("no page"):
            hands.control("mother").value = "кузнецова мария"
            hands.control("mother").value = "кузнецова"
        await wait_until_async(lambda: hands.control("mother").props.get("aria-expanded") == "true")
        hands.do("mother", DOWN)
        hands.do("mother", ENTER)  # «Другая, карты нет»
        await wait_until_async(lambda: hands.control("last").value == "кузнецова")
        assert hands.control("mother").value == "кузнецова"


# ---- what waits, and how it is completed ----


async def test_what_waits_is_shown_with_what_to_complete_and_leads_to_the_card(services: Services) -> None:
    order = register(services, UNIDENTIFIED)
    hold(services, order)
    async with person(services) as user:
        for page in ("/board", "/exchange", f"/order/{order.accession_number}", f"/patient/{order.patient.patient_id}"):
            await user.open(page)
            await user.should_see("Впишите в карту фамилию, имя и дату рождения, и на шину уйдёт само")
        await user.open(f"/order/{order.accession_number}")
        await user.should_see("Пациент известен не полностью")
        await user.should_see("Дополнить карту")
        await user.should_not_see("Отправить снова")  # it would wait again


async def test_the_card_is_completed_and_the_message_goes(services: Services) -> None:
    order = register(services, UNIDENTIFIED)
    hold(services, order)
    async with person(services) as user:
        await user.open(patient_cards.correction_address(order.patient.patient_id))
        hands = Hands(user)
        assert hands.values("card-family", "card-given", "card-birth_date") == ["Неизвестный", "№3", "неизвестна"]
        hands.type("card-family", "петров")
        hands.type("card-given", "иван")
        hands.type("card-birth_date", "31021961")
        press(user, "Сохранить")
        await user.should_see("Такой даты нет")
        hands.type("card-birth_date", "12031961")
        press(user, "Сохранить")
        await wait_until_async(lambda: registered(services)[0].patient.name == PersonName("Петров", "Иван"))
        await user.should_see("Номера")  # the patient's page
    with services.store.read() as reader:
        [row] = outbox.heads(reader)
        card = order_card.card(reader, order.accession_number)
    assert row.state is OutboxState.PENDING
    assert card is not None
    assert "patient_amend" in [event.what for event in card.events]


async def test_a_number_of_somebody_else_is_refused_at_its_field(services: Services) -> None:
    register(services, KUZNETSOVA)
    order = register(services, UNIDENTIFIED)
    async with person(services) as user:
        await user.open(patient_cards.correction_address(order.patient.patient_id))
        Hands(user).type("card-snils", "112-233-445 95")
        press(user, "Сохранить")
        await user.should_see("Этот СНИЛС у нас записан на другого человека")


@pytest.mark.parametrize("login", ["volskaya", "admin"])
async def test_who_may_not_correct_is_said_who_does(services: Services, login: str) -> None:
    order = register(services, UNIDENTIFIED)
    async with person(services, login) as user:
        await user.open(patient_cards.correction_address(order.patient.patient_id))
        await user.should_see("Карту исправляет регистратура.")
        assert "Сохранить" not in buttons(user)
        await user.open("/patient/999999/correct")


async def test_an_unidentified_person_of_a_referral_can_be_named_there(services: Services) -> None:
    order = register(services, UNIDENTIFIED)
    async with person(services) as user:
        await user.open(f"/desk?order={order.accession_number}")
        hands = Hands(user)
        hands.type("last", "Петров")
        hands.type("first", "Иван")
        hands.type("born", "12.03.1961")
        hands.press_save()
        await wait_until_async(lambda: registered(services)[0].patient.name == PersonName("Петров", "Иван"))
        await user.should_see("Номер исследования")
    assert registered(services)[0].patient.id == order.patient.id


def test_every_reason_has_its_words() -> None:
    assert set(INCOMPLETE) == set(Missing)
    for reason in INCOMPLETE.values():
        assert bus.is_incomplete(reason)
        assert reason not in bus.bus_reason(reason)
    assert bus.is_incomplete("date of birth unknown: the region's patient index refuses a patient without one")
    assert not bus.is_incomplete("")
    assert not bus.is_incomplete("Полис не найден")
    assert bus.bus_reason("the patient has one name only; date of birth unknown") == (
        "записано только одно имя, полная дата рождения неизвестна."
        " Впишите в карту фамилию, имя и дату рождения, и на шину уйдёт само"
    )
