"""Referrals of other clinics at the desk and on the board, and studies that were done without a referral."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from broker.domain.actors import Actor, ActorKind
from broker.domain.incoming import IncomingReferral, IncomingState
from broker.domain.orders import BusRole, Order, OrderState, Priority
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.reading.reports import ExternalStudy
from broker.store.database import Store, Tx
from broker.store.queries import inbox, schedule
from broker.store.tables import clients, incoming, outbox
from broker.store.tables.incoming import Arrival
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.referrals import incoming_referrals, referrals
from broker.workflow.studies import external_results, performed_steps
from tests.support import factory
from tests.support.clock import TODAY
from tests.support.factory import CLINIC, KUZNETSOVA
from tests.support.waiting import assert_stays, wait_until_async
from tests.ui.conftest import person
from tests.ui.desk.hands import Hands
from tests.ui.scene import Scene, press, texts
from ui.services import Services

THEM = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61"
BUS = Actor(ActorKind.BUS, "bus", "Региональная шина")


pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


def came(store: Store, task: str = "t1", version: str = "1", **changes: Any) -> int:
    """Let a referral of another clinic come; give its id."""
    asked = IncomingReferral(
        task=task,
        patient=KUZNETSOVA,
        requester=THEM,
        bus_accession_number=f"ODII-{task}",
        procedure_code="A06.04.005",
        procedure_name="Рентгенография коленного сустава",
        referrer=PersonName("Петров", "Пётр"),
        diagnosis_code="M17.1",
        comment="Упала",
        laterality="L",
    )
    store.write(
        incoming_referrals.receive,
        replace(asked, **changes),
        Arrival("bus", f"Task/{task}", version, b'{"id":"t"}'),
        BUS,
        CLINIC,
        {},
    )
    with store.read() as reader:
        found = incoming.by_task(reader, "bus", task)
    assert found
    return found.stored_id


def withdraw(store: Store, task: str = "t1") -> None:
    store.write(
        incoming_referrals.receive_cancellation,
        task,
        Arrival("bus", f"Task/{task}", "2", b"{}"),
        "cancelled",
        BUS,
        CLINIC,
    )


def state(store: Store, id: int) -> IncomingState:
    with store.read() as reader:
        found = inbox.referral(reader, id)
    assert found
    return found.state


def orders(store: Store) -> list[Order]:
    with store.read() as reader:
        return [visit.order for visit in schedule.day(reader, TODAY)]


def find_link(user: User, word: str) -> str:
    """Return the path of the first link with this text."""
    links = sorted(user.find(kind=ui.link, content=word).elements, key=lambda each: each.id)
    return str(links[0].props["href"])


async def test_what_waits_is_listed_with_the_urgent_first_and_counted_in_the_menu(store: Store, user: User) -> None:
    born = Patient(PersonName("Ганиев", "Рустам"), None, Sex.MALE)
    came(store)
    came(store, "t2", patient=born, priority=Priority.URGENT, problems={"birth_date": "required"})
    await user.open("/incoming")
    assert texts(user, "name") == ["Ганиев Рустам", "Кузнецова Марина Петровна"]
    await user.should_see("2 ждут записи, срочных 1")
    await user.should_see("Дополнить или проверить: дата рождения")
    assert texts(user, "badge") == ["2", "2"]  # the bar and the phone's bar
    came(store, "t3")
    await wait_until_async(lambda: texts(user, "badge") == ["3", "3"])


async def test_who_is_like_a_patient_of_ours_is_named_with_the_card_and_asked_about_at_the_desk(
    scene: Scene, services: Services
) -> None:
    known = scene.register("10:00").patient
    nearly = Patient(PersonName("Кузнецва", "Марина", "Петровна"), KUZNETSOVA.birth_date, Sex.FEMALE)
    id = came(scene.store, patient=nearly, problems={"patient": "similar", "weight": "range"})
    async with person(services) as user:
        await user.open("/incoming")
        await user.should_see("Дополнить или проверить: вес")
        line = f"Похож: это он? Кузнецова Марина Петровна, 12.03.1961, карта {known.patient_id}"
        await user.should_see(f"{line}; отличается одна буква, дата та же")
        await user.open(f"/desk?incoming={id}")
        await user.should_see("Похож: это он?")
        await user.should_see("Ответьте под полями, он ли это")


async def test_a_referral_of_another_clinic_becomes_one_order_however_often_it_is_saved(
    store: Store, services: Services
) -> None:
    id = came(store)
    async with person(services) as user:
        await user.open("/incoming")
        assert find_link(user, "Записать") == f"/desk?incoming={id}"
        await user.open(f"/desk?incoming={id}")
        hands = Hands(user)
        await wait_until_async(lambda: hands.control("time").value)
        assert hands.values("last", "snils", "what", "side") == ["Кузнецова", "112-233-445 95", "WLB-KNEE", "L"]
        assert hands.values("referrer", "diagnosis", "comment") == ["Петров Пётр", "M17.1", "Упала"]
        await user.should_see("В направлении: «Рентгенография коленного сустава»")
        hands.press_save()
        hands.press_save()
        await wait_until_async(lambda: user.back_history[-1].startswith("/incoming?saved="))
        await user.should_see("Записано: сегодня")
    [order] = orders(store)
    assert (order.bus_role, order.requester) == (BusRole.PERFORMER, THEM)
    assert order.bus_accession_number == "ODII-t1"
    assert state(store, id) is IncomingState.ACCEPTED


async def test_a_patient_of_ours_is_found_and_an_unknown_procedure_is_left_to_the_registrar(
    scene: Scene, services: Services
) -> None:
    known = scene.register("10:00")
    born = Patient(known.patient.name, known.patient.birth_date, Sex.FEMALE, snils="11223344595", insurer="77001")
    id = came(scene.store, patient=born, procedure_name="Рентгенография кисти и пальцев")
    async with person(services) as user:
        await user.open(f"/desk?incoming={id}")
        hands = Hands(user)
        await user.should_see(f"карта {known.patient.patient_id}")
        assert hands.values("last", "snils", "what") == ["Кузнецова", "112-233-445 95", None]
        assert hands.values("insurer") == ["77001"]  # the newest that was stated
        await user.should_see("В направлении: «Рентгенография кисти и пальцев»")


async def test_what_stands_beside_in_a_referral_is_shown_in_the_form(scene: Scene, services: Services) -> None:
    id = came(scene.store, body_site="25", body_site_text="кисть, III палец", attached=("снимки · 2026-10-01 · CT",))
    async with person(services) as user:
        await user.open(f"/desk?incoming={id}")
        await user.should_see("кисть, III палец")
        await user.should_see("К направлению приложены: снимки · 2026-10-01 · CT")


async def test_a_number_alone_does_not_identify_a_patient(scene: Scene, services: Services) -> None:
    first = came(scene.store)
    other = Patient(PersonName("Ганиев", "Рустам"), KUZNETSOVA.birth_date, Sex.MALE, snils=KUZNETSOVA.snils)
    async with person(services) as user:
        await user.open(f"/desk?incoming={first}")
        hands = Hands(user)
        await wait_until_async(lambda: hands.control("time").value)
        hands.press_save()
        await wait_until_async(lambda: user.back_history[-1].startswith("/incoming?saved="))
        id = came(scene.store, "t2", patient=other)
        await user.open(f"/desk?incoming={id}")
        assert hands.values("last", "snils") == ["Ганиев", "112-233-445 95"]
        await wait_until_async(lambda: hands.control("time").value)
        hands.press_save()
        await user.should_see("Этот СНИЛС у нас записан на другого человека")
    assert state(scene.store, id) is IncomingState.WAITING


async def test_a_cancellation_by_the_sender_is_shown_while_the_form_is_open(store: Store, services: Services) -> None:
    id = came(store)
    async with person(services) as user:
        await user.open(f"/desk?incoming={id}")
        withdraw(store)
        await user.should_see("Направившая клиника его только что отменила")
        await user.open(f"/desk?incoming={id}")
        await user.should_see("Записывать нечего.")
    assert orders(store) == []


async def test_declining_takes_it_off_the_list_with_its_reason(store: Store, services: Services) -> None:
    id = came(store)
    async with person(services) as user:
        await user.open(f"/desk?incoming={id}")
        Hands(user).type("decline-reason", "нет такого аппарата")
        danger = [
            each for each in user.find(kind=ui.button, content="Отклонить").elements if "data-closes" in each.props
        ]
        UserInteraction(user, set(danger), None).click()
        await wait_until_async(lambda: state(store, id) is IncomingState.DECLINED)
        await user.open("/incoming")
        await user.should_see("Никто не ждёт записи.")


async def test_what_cannot_be_read_stands_apart_with_its_reason_and_can_be_looked_at(store: Store, user: User) -> None:
    arrival = Arrival("bus", "Task/9f", "1", b'{"resourceType": "Task"}')
    store.write(incoming_referrals.note_unreadable, arrival, "a reference leads away from the bus")
    await user.open("/incoming")
    await user.should_see("ссылка ведёт за пределы шины")
    press(user, "Посмотреть")
    await user.should_see('"resourceType": "Task"')
    press(user, "Прочитать снова")
    await user.should_not_see("ссылка ведёт за пределы шины")


async def test_a_cancellation_that_came_too_late_stands_on_the_board_until_it_is_acknowledged(
    scene: Scene, services: Services
) -> None:
    order = scene.register("10:00")
    scene.begin(order, "1.2.1")
    arrival = Arrival("bus", "Task/tx", "2", b"{}")
    scene.store.write(
        incoming_referrals.receive_cancellation, "tx", arrival, "cancelled", BUS, CLINIC, order_id=order.id
    )
    async with person(services) as user:
        await user.open("/board")
        await user.should_see("Направившая клиника отменила")
        await user.should_see("исследование уже идёт")
        press(user, "Принято")
        await user.should_not_see("Направившая клиника отменила")


async def test_a_result_that_crossed_a_cancellation_stands_on_the_board_until_it_is_acknowledged(
    scene: Scene, services: Services
) -> None:
    sent = factory.draft(owner=THEM, station_ae_titles=(), start=scene.local("10:00"))
    order = scene.store.write(referrals.register, sent, factory.REGISTRAR, CLINIC)
    placed = scene.store.write(referrals.reissue, order.id, order.revision, factory.REGISTRAR, CLINIC)
    report = StoredStudy(ExternalStudy("DiagnosticReport/1", "final", THEM, TODAY, conclusion="Норма"))
    arrival = Arrival("bus", "Task/r1", "2", b"{}")
    scene.store.write(external_results.store_result, order.id, report, arrival)
    async with person(services) as user:
        await user.open("/board")
        await user.should_see("Другая клиника выполнила отменённое направление")
        await user.should_see(f"вместо него {placed.accession_number}; к нему результат не присоединён")
        press(user, "Принято")
        await user.should_not_see("Другая клиника выполнила отменённое направление")


async def test_a_result_by_the_former_data_stands_on_board_and_card_until_it_is_acknowledged(
    scene: Scene, services: Services
) -> None:
    sent = factory.draft(owner=THEM, station_ae_titles=(), start=scene.local("10:00"), laterality="R")
    order = scene.store.write(referrals.register, sent, factory.REGISTRAR, CLINIC)
    with scene.store.read() as reader:
        [seq] = [row["seq"] for row in reader.rows("SELECT seq FROM outbox WHERE order_id = ?", [order.id])]
    scene.store.write(outbox.deliver, seq, {}, "")
    changed = replace(sent, laterality="L", patient=order.patient)
    scene.store.write(referrals.amend, order.id, order.revision, changed, factory.REGISTRAR, CLINIC)
    report = StoredStudy(ExternalStudy("DiagnosticReport/1", "final", THEM, TODAY, conclusion="Норма"))
    scene.store.write(external_results.store_result, order.id, report, Arrival("bus", "Task/r1", "2", b"{}"))
    async with person(services) as user:
        await user.open(f"/order/{order.accession_number}")
        await user.should_see("Другая клиника выполнила по прежним данным")
        await user.open("/board")
        await user.should_see("Результат по прежним данным")
        press(user, "Принято")
        await user.should_not_see("Результат по прежним данным")
        await user.open(f"/order/{order.accession_number}")
        await user.should_not_see("Другая клиника выполнила по прежним данным")


async def test_what_the_sender_calls_former_is_shown_and_a_contradictory_side_is_asked(
    scene: Scene, services: Services
) -> None:
    former = {"former_name": "Старая Анна", "former_snils": "08765430300"}
    id = came(scene.store, laterality="", problems={"laterality": "contradicts"}, **former)
    async with person(services) as user:
        await user.open(f"/desk?incoming={id}")
        hands = Hands(user)
        assert hands.note("last") == "Прежнее имя: Старая Анна"
        assert hands.note("snils") == "Прежний СНИЛС, уже не действует: 087-654-303 00"
        assert hands.note("side") == "В направлении названы разные стороны: уточните и выберите"


async def test_a_study_without_a_referral_is_registered_as_its_device_reported_it(
    scene: Scene, services: Services
) -> None:
    step = factory.performed(
        "1.2.7",
        start=scene.local("09:15"),
        patient_name="Сидорова^Инна^Львовна",
        patient_birth_date="19800505",
        patient_sex="F",
    )
    scene.store.write(performed_steps.start, step, factory.message("w"), factory.XRAY, CLINIC)
    async with person(services) as user:
        await user.open("/board")
        press(user, "Найти направление")
        await wait_until_async(lambda: find_link(user, "Записать без направления") == "/desk?walkin=1.2.7")
        await user.open("/desk?walkin=1.2.7")
        hands = Hands(user)
        assert hands.values("last", "born", "sex") == ["Сидорова", "05.05.1980", "F"]
        assert hands.values("device", "day", "time") == ["XRAY_14", "сегодня", "09:15"]
        assert not any(hands.control(name).enabled for name in ("device", "day", "time"))
        hands.type("what", "WLB-KNEE")
        hands.press_save()
        await wait_until_async(lambda: user.back_history[-1].startswith("/order/"))
        await user.open("/desk?walkin=1.2.7")
        await user.should_see("Эти снимки уже привязаны.")
    [order] = orders(scene.store)
    assert order.state is OrderState.IN_PROGRESS
    assert order.bus_role is BusRole.WALK_IN
    assert order.steps[0].start == scene.local("09:15")


async def test_whose_device_named_another_patient_is_saved_only_after_the_question(
    scene: Scene, services: Services
) -> None:
    step = factory.performed("1.2.7", patient_name="Сидорова^Инна^Львовна", patient_sex="F")
    scene.store.write(performed_steps.start, step, factory.message("w"), factory.XRAY, CLINIC)
    asks = "На аппарате иначе: не сходится имя. Если это один человек, нажмите ещё раз"
    async with person(services) as user:
        await user.open("/desk?walkin=1.2.7")
        hands = Hands(user)
        for name, value in (("last", "Попова"), ("born", "05.05.1980"), ("what", "WLB-KNEE")):
            hands.type(name, value)
        hands.press_save()
        await user.should_see(asks)
        await user.should_see("Это один человек, сохранить")
        assert orders(scene.store) == []
        hands.type("last", "Орлова")  # somebody else again
        press(user, "Это один человек, сохранить")
        await assert_stays(lambda: orders(scene.store) == [])
        press(user, "Это один человек, сохранить")
        await wait_until_async(lambda: user.back_history[-1].startswith("/order/"))
    [order] = orders(scene.store)
    assert order.patient.name.family == "Орлова"


async def test_the_latin_name_of_a_device_is_shown_beside_the_typed_one(scene: Scene, services: Services) -> None:
    step = factory.performed("1.2.8", start=None, patient_name="SIDOROVA^INNA")
    scene.store.write(performed_steps.start, step, factory.message("w"), factory.XRAY, CLINIC)
    async with person(services) as user:
        await user.open("/desk?walkin=1.2.8")
        hands = Hands(user)
        await user.should_see("На аппарате: SIDOROVA INNA")
        assert hands.values("last", "sex") == ["", None]
        assert hands.control("time").enabled  # its device told none


async def test_without_the_permission_to_register_no_incoming_referrals_are_shown(
    store: Store, services: Services
) -> None:
    came(store)
    async with person(services, "volskaya") as user:
        await user.open("/incoming")
        await user.should_see("Входящие направления записывает регистратура.")
        await user.should_not_see("Кузнецова")


async def test_who_bears_the_senders_number_is_named_and_the_card_can_be_corrected(
    scene: Scene, services: Services
) -> None:
    """A local client describes somebody under the number of its patient with another birth date: a typo, perhaps."""
    store = scene.store

    def keep(tx: Tx) -> None:
        clients.add(tx, "mis", "digest", "", send_to_bus=False)
        for kind, id, key in (("Patient", "p1", "same:M-1"), ("Patient", "p2", "same:M-1"), ("Task", "t1", "for:p1")):
            clients.put(tx, "mis", {"resourceType": kind, "id": id, "meta": {"lastUpdated": "2026"}}, [key])

    store.write(keep)
    actor = Actor(ActorKind.BUS, "mis", "МИС")
    asked = IncomingReferral("t1", KUZNETSOVA, bus_patient="p1", procedure_code="A06.04.005", laterality="L")
    store.write(incoming_referrals.receive, asked, Arrival("mis", "Task/t1", "1", b"{}"), actor, CLINIC, {})
    with store.read() as reader:
        [first] = inbox.waiting(reader)
    form = factory.draft(patient=KUZNETSOVA)
    known = store.write(incoming_referrals.accept, first.stored_id, form, factory.REGISTRAR, CLINIC).patient
    other = replace(KUZNETSOVA, birth_date=date(1961, 4, 25), snils="", policy="")
    again = replace(asked, task="t2", bus_patient="p2", patient=other, problems={"patient": "number_other_birth_date"})
    store.write(incoming_referrals.receive, again, Arrival("mis", "Task/t2", "1", b"{}"), actor, CLINIC, {})
    async with person(services) as user:
        await user.open("/incoming")
        await user.should_see("Под этим номером карты у отправителя уже есть человек с другой датой рождения")
        await user.should_see(f"У нас это Кузнецова Марина Петровна, 12.03.1961, карта {known.patient_id}")
        assert find_link(user, "Исправить карту") == f"/patient/{known.patient_id}/correct"
        path = find_link(user, "Записать")
        await user.open(path)
        hands = Hands(user)
        await user.should_see("Под этим номером карты у отправителя уже есть человек с другой датой рождения")
        hands.do("last", "blur")  # as it is left, the reason stays
        await user.should_see("Под этим номером карты у отправителя уже есть человек с другой датой рождения")
        hands.type("last", "Кузнецов")
        await user.should_not_see("Под этим номером карты у отправителя уже есть человек с другой датой рождения")
