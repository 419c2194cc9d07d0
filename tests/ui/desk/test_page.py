"""A registrar's work at the desk, on a simulated browser and a real database."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.clinic.directory import Entry
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName
from broker.store.database import Tx
from broker.store.queries import schedule
from broker.store.tables import accounts as accounts_table
from broker.workflow import accounts
from broker.workflow.directories import DirectorySource, replace_directory
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.waiting import assert_stays, wait_until_async
from tests.ui.conftest import Site, person, session_of
from tests.ui.desk.hands import DOWN, ENTER, Hands
from tests.ui.scene import press
from ui.order import label
from ui.services import COOKIE, Services


def registered(services: Services) -> list[Order]:
    """List the day's orders, in the order of their numbers."""
    with services.store.read() as reader:
        visits = schedule.day(reader, services.today())
    return sorted((visit.order for visit in visits), key=lambda order: order.id)


def kept_draft(services: Services) -> Any:
    with services.store.read() as reader:
        account = accounts_table.by_login(reader, "orlova")
        assert account
        return accounts_table.load_draft(reader, account.id, "referral")


@pytest.fixture
async def hands(user: User) -> Hands:
    """A registrar with the desk open."""
    await user.open("/desk")
    return Hands(user)


async def test_the_search_finds_as_one_types_and_enter_takes_the_first(services: Services) -> None:
    services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.search("куз мар")
        await user.should_see("Кузнецова Марина Петровна")
        await user.should_see(re.compile(r"12\.03\.1961").pattern.replace("\\", ""))
        await hands.search("куз", ENTER)
        await wait_until_async(lambda: hands.control("last").value)
        assert hands.values("last", "first", "middle", "born") == ["Кузнецова", "Марина", "Петровна", "12.03.1961"]
        assert hands.values("sex", "snils", "policy") == ["F", "112-233-445 95", "7800 0000 1234 5671"]
        await user.should_see("карта 000001")
        await user.should_see("Рентгенография коленного сустава, справа")  # «Уже делали»


async def test_a_scanner_that_is_faster_than_the_search_still_gets_its_patient(services: Services) -> None:
    services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        with user.client or pytest.fail("no page"):
            hands.control("patient-search").value = "7800000012345671"
        hands.do("patient-search", ENTER)
        await wait_until_async(lambda: hands.control("last").value == "Кузнецова")


async def test_a_name_that_is_not_found_fills_the_fields(hands: Hands) -> None:
    await hands.search("зуева марья петровна 05.05.1980")
    await hands.user.should_see("Никого нет. Новый пациент: зуева марья петровна 05.05.1980")
    await hands.search("зуева марья петровна 05.05.1980", ENTER)
    await wait_until_async(lambda: hands.control("last").value)
    assert hands.values("last", "first", "middle", "born") == ["Зуева", "Марья", "Петровна", "05.05.1980"]
    assert hands.values("sex", "patient-search") == ["F", ""]
    await hands.search("11223344595", ENTER)
    await wait_until_async(lambda: hands.control("snils").value)
    assert hands.values("last", "snils") == ["", "112-233-445 95"]


async def test_where_the_list_holds_no_more_it_is_said_that_there_are_more(services: Services) -> None:
    for number in range(9):
        patient = replace(
            factory.KUZNETSOVA, name=PersonName("Кузнецова", "Мария", "абвгдежзи"[number]), snils="", policy=""
        )
        services.store.write(referrals.register, factory.draft(patient=patient), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.search("кузнецова")
        await user.should_see("Найдено больше 8, уточните")
        await hands.search("кузнецова и")
        await user.should_not_see("Найдено больше 8, уточните")


@pytest.mark.parametrize("typed", ["17021938", "17/02/1938", "17,02,1938", "17.02.38", "1938-02-17"])
async def test_every_form_of_a_birth_date_means_the_same_in_the_search_and_in_its_field(
    services: Services, typed: str
) -> None:
    patient = replace(factory.KUZNETSOVA, birth_date=date(1938, 2, 17))
    services.store.write(referrals.register, factory.draft(patient=patient), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.search(f"кузнецова {typed}", ENTER)
        await wait_until_async(lambda: hands.control("middle").value == "Петровна")
        await hands.search(f"зуева марья {typed}", ENTER)
        await wait_until_async(lambda: hands.control("last").value == "Зуева")
        assert hands.values("first", "born") == ["Марья", "17.02.1938"]
        hands.type("born", typed)
        assert hands.values("born") == ["17.02.1938"]


async def test_a_new_patient_may_have_the_name_of_a_known_one(services: Services) -> None:
    services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.search("Кузнецова Марина Петровна", DOWN, ENTER)
        await wait_until_async(lambda: hands.control("last").value)
        assert hands.values("last", "born") == ["Кузнецова", ""]


async def test_a_wrong_number_is_shown_at_its_field_in_russian(hands: Hands, services: Services) -> None:
    await hands.fill(snils="112-233-445 59")
    assert hands.note("snils") == "Контрольное число не сходится, проверьте последние две цифры"
    hands.press_save()
    await hands.user.should_see("Не сохранено: исправьте 1 поле")
    assert registered(services) == []
    await wait_until_async(lambda: kept_draft(services))
    # Not overwritten by «Черновик сохранён».
    await assert_stays(lambda: hands.user.find("Не сохранено: исправьте 1 поле").elements)
    with hands.user.client or pytest.fail("no page"):
        hands.control("snils").value = "112-233-445 95"
    assert hands.note("snils") == ""  # as soon as it is right
    await wait_until_async(lambda: kept_draft(services)[0]["snils"] == "112-233-445 95")


async def test_saving_nothing_names_every_field_that_is_missing(hands: Hands, services: Services) -> None:
    hands.press_save()
    await hands.user.should_see("Напишите фамилию")
    await hands.user.should_see("Напишите дату, например 12.03.1961, или только год, или «неизвестна»")
    await hands.user.should_see("Выберите пол")
    await hands.user.should_see("Выберите, что делаем")
    assert registered(services) == []


async def test_what_is_typed_takes_its_usual_form(hands: Hands) -> None:
    await hands.fill(diagnosis="м17.1 гонартроз")
    assert hands.values("last", "first", "middle", "born") == ["Зуева", "Марья", "Петровна", "05.05.1980"]
    assert hands.values("sex", "diagnosis") == ["F", "M17.1 гонартроз"]
    hands.type("time", "950")
    assert hands.control("time").value == "09:50"
    hands.type("time", "99")
    assert hands.note("time") == "Такого времени нет. Напишите часы и минуты, например 09:50"
    hands.type("born", "31.02.1980")
    assert "Такой даты нет" in hands.note("born")


async def test_a_name_with_letters_of_two_alphabets_gets_one(hands: Hands) -> None:
    hands.type("last", "Петpов")  # Latin p
    hands.type("first", "ивaн")
    assert hands.values("last", "first") == ["Петров", "Иван"]


async def test_a_name_in_the_other_layout_of_the_keyboard_is_offered_in_russian(hands: Hands) -> None:
    for name, typed in (("last", "bdfyjd"), ("first", "bdfy"), ("middle", "bdfyjdbx")):
        hands.type(name, typed)
    for word in ("Иванов?", "Иван?", "Иванович?"):
        await hands.user.should_see(word)
    press(hands.user, "Иван?")
    assert hands.values("last", "first", "middle", "sex") == ["Иванов", "Иван", "Иванович", "M"]
    await hands.user.should_not_see("Иванов?")
    hands.type("last", "Schmidt")
    assert hands.values("last") == ["Schmidt"]


async def test_what_was_searched_for_in_the_other_layout_is_offered_in_russian_too(hands: Hands) -> None:
    await hands.search("cblj", ENTER)
    await wait_until_async(lambda: hands.control("last").value == "Cblj")
    await hands.user.should_see("Сидо?")
    with hands.user.client or pytest.fail("no page"):
        hands.control("last").value = "Сидоров"
    await hands.user.should_not_see("Сидо?")


async def test_the_insurer_is_asked_for_beside_a_policy_only_and_found_by_code_and_name(services: Services) -> None:
    source = DirectorySource("insurers", "", "", "smo.csv")
    services.store.write(replace_directory, source, [Entry("78007", "Городская страховая")], factory.SYSTEM)
    async with person(services) as user:
        await user.open("/desk")
        await _type_an_insurer(Hands(user))
    (order,) = registered(services)
    assert order.patient.insurer == "78007"


async def _type_an_insurer(hands: Hands) -> None:
    box = hands.control("insurer").parent_slot.parent
    assert not box.visible
    await hands.fill(policy="7800000012345671")
    assert box.visible
    hands.type("insurer", "78007")
    assert hands.control("insurer").value == "78007 Городская страховая"
    hands.type("insurer", "городская СТРАХОВАЯ")
    assert hands.control("insurer").value == "78007 Городская страховая"
    hands.press_save()
    await hands.user.should_see("Печать этикетки")


async def test_a_referral_is_saved_as_it_was_typed(hands: Hands, services: Services) -> None:
    await hands.fill(
        referrer="Зимин Андрей Павлович, терапевт",
        diagnosis="M17.1 Гонартроз",
        side="R",
        comment="тоннель",
        urgent=True,
    )
    at = hands.control("time").value
    hands.press_save()
    await hands.user.should_see("Печать этикетки")
    (order,) = registered(services)
    assert str(order.patient.name) == "Зуева Марья Петровна"
    assert order.steps[0].station_ae_titles == ("XRAY_14",)
    assert f"{order.steps[0].start:%H:%M}" == at
    assert (order.referrer, order.referrer_position) == (PersonName("Зимин", "Андрей", "Павлович"), "терапевт")
    assert (order.diagnosis_code, order.diagnosis_text) == ("M17.1", "Гонартроз")
    assert (order.laterality, order.priority, order.comment) == ("R", "urgent", "тоннель")
    assert order.created_by == "Орлова Н. В."
    await hands.user.should_see(order.accession_number)
    assert hands.values("last", "what", "time", "urgent") == ["", None, "", False]


async def test_saving_twice_makes_one_referral(hands: Hands, services: Services) -> None:
    await hands.fill()
    hands.press_save()
    hands.press_save()
    await hands.user.should_see("Печать этикетки")
    await assert_stays(lambda: len(registered(services)) == 1)


async def test_a_repeat_after_a_lost_answer_makes_no_second_referral(services: Services) -> None:
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.fill()
        hands.press_save()
        await wait_until_async(lambda: kept_draft(services) or registered(services))
        await user.should_see("Печать этикетки")
        content = {**hands_content(services), "nearest": False}
    # The program went down after the commit and before it could say so: the draft is still there.
    services.store.write(lambda tx: keep(tx, content))
    async with person(services) as user:
        await user.open("/desk")
        Hands(user).press_save()
        await user.should_see("Печать этикетки")
    assert len(registered(services)) == 1


def hands_content(services: Services) -> dict[str, Any]:
    """Rebuild the draft that stood in the database while the one referral was being saved."""
    (order,) = registered(services)
    with services.store.read() as reader:
        submission = reader.value("SELECT submission_id FROM orders")
    return {
        "family": "Зуева",
        "given": "Марья",
        "middle": "Петровна",
        "birth_date": "05.05.1980",
        "sex": "F",
        "procedure": "WLB-KNEE",
        "date": order.steps[0].start.date().isoformat(),
        "time": f"{order.steps[0].start:%H:%M}",
        "submission": submission,
    }


def keep(tx: Tx, content: dict[str, Any]) -> None:
    account = accounts_table.by_login(tx, "orlova")
    assert account
    accounts_table.save_draft(tx, account.id, "referral", content)


async def test_a_draft_survives_a_restart(services: Services) -> None:
    services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.search("куз", ENTER)
        await wait_until_async(lambda: hands.control("last").value)
        hands.type("what", "WLB-MMG4")
        hands.type("comment", "жалобы")
        await wait_until_async(lambda: (draft := kept_draft(services)) and draft[0]["comment"] == "жалобы")
        await user.should_see("Черновик сохранён")
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await user.should_see("Черновик от")
        assert hands.values("last", "born", "what", "comment") == ["Кузнецова", "12.03.1961", "WLB-MMG4", "жалобы"]
        await user.should_see("карта 000001")
        hands.press_save()
        await user.should_see("Печать этикетки")
        await wait_until_async(lambda: kept_draft(services) is None)
    assert {order.patient.patient_id for order in registered(services)} == {"000001"}


async def test_an_emptied_form_leaves_no_draft(hands: Hands, services: Services) -> None:
    hands.type("last", "Зуева")
    await wait_until_async(lambda: kept_draft(services))
    hands.user.find("Очистить").click()
    await wait_until_async(lambda: kept_draft(services) is None)
    assert hands.control("last").value == ""


async def test_the_nearest_free_time_is_offered_and_follows_the_day(hands: Hands, services: Services) -> None:
    await hands.fill()
    first = hands.control("time").value
    start = factory.soon().replace(hour=int(first[:2]), minute=int(first[3:]))
    other = replace(factory.KUZNETSOVA, snils="", policy="")
    services.store.write(
        referrals.register, factory.draft(patient=other, start=start), factory.REGISTRAR, factory.CLINIC
    )
    await wait_until_async(lambda: hands.control("time").value != first)
    await hands.user.should_see("Кузнецова М. П.")
    hands.type("time", first)  # a person may insist
    await wait_until_async(lambda: "Занято: Кузнецова М. П." in hands.note("time"))


async def test_only_devices_that_can_do_it_are_offered(hands: Hands) -> None:
    hands.type("what", "WLB-MMG4")
    assert hands.control("device").options == {"": "Авто: Маммограф, каб. 9", "MAMMO_9": "Маммограф, каб. 9"}
    hands.type("what", "WLB-FLG1")
    assert hands.control("device").options[""] == "Авто: Флюорограф, каб. 12"
    hands.type("what", "WLB-CT-HEAD")
    hands.press_save()
    await hands.user.should_see("Нет аппарата этого вида")


async def test_a_database_that_refuses_loses_nothing(
    hands: Hands, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hands.fill()

    def refuse(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("broker.workflow.referrals.referrals.orders.add", refuse)
    monkeypatch.setattr("broker.store.database._Job.run", refuse)
    hands.press_save()
    await hands.user.should_see("Не сохранено: база данных не принимает изменений")
    assert hands.values("last", "what") == ["Зуева", "WLB-KNEE"]
    monkeypatch.undo()
    hands.press_save()
    await hands.user.should_see("Печать этикетки")
    assert len(registered(services)) == 1


async def test_a_stopping_program_never_shows_saved(
    hands: Hands, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hands.fill()

    asked: list[object] = []

    async def nothing(*what: object) -> None:
        asked.append(what)

    monkeypatch.setattr("ui.live.run.io_bound", nothing)
    hands.press_save()
    await wait_until_async(lambda: asked)
    await hands.user.should_not_see("Печать этикетки")


async def test_after_a_sign_out_an_open_tab_saves_nothing(
    hands: Hands, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hands.fill()
    gone: list[str] = []
    monkeypatch.setattr(hands.user.navigate, "to", gone.append)
    services.store.write(lambda tx: tx.run("DELETE FROM session"))
    hands.press_save()
    await wait_until_async(lambda: gone)
    assert gone[0] == "/signin?next=%2Fdesk"
    assert registered(services) == []


async def test_a_script_in_a_name_is_shown_as_text(services: Services) -> None:
    evil = "<script>alert(1)</script>"
    patient = Patient(PersonName("Зуева", "Марья"), factory.KUZNETSOVA.birth_date, factory.KUZNETSOVA.sex)
    order = services.store.write(
        referrals.register, factory.draft(patient=patient, comment=evil), factory.REGISTRAR, factory.CLINIC
    )
    hostile = replace(order, patient=replace(patient, name=PersonName(evil, evil)))
    assert "<script>" not in label.draw(hostile, hostile.shown_number)
    assert "&lt;script&gt;" in label.draw(hostile, hostile.shown_number)
    services.store.write(lambda tx: tx.run("UPDATE patient SET family = ?, name_key = 'зуева марья'", [evil]))
    async with person(services) as user:
        answer = await user.http_client.get("/desk")
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text  # under «Записаны сегодня»
        await user.open("/desk")
        await Hands(user).search("зуева")
        await user.should_see(evil)


async def test_a_change_is_saved_over_what_was_seen_and_nothing_else(services: Services) -> None:
    order = services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    number = order.accession_number
    async with person(services) as user:
        await user.open(f"/desk?order={number}")
        hands = Hands(user)
        assert hands.values("last", "what", "device", "side") == ["Кузнецова", "WLB-KNEE", "XRAY_14", "R"]
        assert hands.control("referrer").value == "Зимин Андрей Павлович, терапевт"
        other = factory.draft(patient=order.patient, start=order.steps[0].start, comment="раньше")
        services.store.write(referrals.amend, order.id, order.revision, other, factory.REGISTRAR, factory.CLINIC)
        hands.type("comment", "позже")
        hands.press_save()
        await user.should_see("Не сохранено. Пока вы правили, изменилось: комментарий (Орлова Н. В.")
        assert registered(services)[0].comment == "раньше"
        await user.open(f"/desk?order={number}")
        hands.type("comment", "позже")
        hands.press_save()
        await wait_until_async(lambda: registered(services)[0].comment == "позже")
        await user.should_see("Номер исследования")  # the page that follows


async def test_a_change_cannot_turn_one_patient_into_another(services: Services) -> None:
    order = services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open(f"/desk?order={order.accession_number}")
        hands = Hands(user)
        hands.type("last", "Иванов")
        hands.type("first", "Иван")
        hands.press_save()
        await user.should_see("Пациента в направлении сменить нельзя")


async def test_typing_over_a_chosen_patient_makes_a_new_one(services: Services) -> None:
    services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        await hands.search("куз", ENTER)
        await wait_until_async(lambda: hands.control("last").value)
        await hands.fill(snils="", policy="")
        await user.should_see("будет записан как новый пациент")
        hands.press_save()
        await user.should_see("Печать этикетки")
    assert [str(order.patient.name) for order in registered(services)] == [
        "Кузнецова Марина Петровна",
        "Зуева Марья Петровна",
    ]


async def test_without_the_permission_to_register_the_reason_is_shown(services: Services) -> None:
    async with person(services, "volskaya") as user:
        await user.open("/desk")
        await user.should_see("Направления записывает регистратура.")
        await user.should_not_see(kind=ui.button, content="Сохранить")
        await user.should_not_see(ui.input)


def test_a_label_prints_name_number_and_bars(site: Site) -> None:
    order = site.services.store.write(referrals.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    assert site.http.get(f"/label/{order.accession_number}").status_code == 303
    site.http.cookies.set(COOKIE, session_of(site.services, "orlova"))
    page = site.http.get(f"/label/{order.accession_number}").text
    for part in ("Кузнецова Марина Петровна", "12.03.1961", order.accession_number, "size: 58mm 40mm", "data-print"):
        assert part in page
    assert site.http.get("/label/nothing").status_code == 404
    # Code 128: start, 6 characters and digit pairs, check, stop of 13 modules; 10 quiet modules on either side.
    width = re.search(r'viewBox="0 0 (\d+) 1"', label.bars("K2611-0001"))
    assert width
    assert (int(width[1]) - 20 - 13) % 11 == 0


def test_a_draft_needs_a_live_session(services: Services) -> None:
    with pytest.raises(Exception, match="session has ended"):
        services.store.write(accounts.save_draft, "referral", {}, factory.REGISTRAR)
