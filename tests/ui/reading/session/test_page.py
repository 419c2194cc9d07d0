"""A reader reads in a loop: by keys, one after the other, can take back, and never sees another's word too early."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.orders import Order
from broker.domain.reading.opinions import Finding, Opinion, ReadingRules
from broker.domain.reading.report_templates import ReportTemplate
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.queries.reading import reading_cases
from broker.store.tables.reading import reads, reports
from broker.workflow import accounts
from broker.workflow.reading import reads as reading
from broker.workflow.reading import report_templates
from broker.workflow.reading.reports import ReportText
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, draft, message, performed
from tests.support.waiting import wait_until_async
from tests.ui.conftest import PASSWORD, person
from ui.services import Services

NORM = "Лёгкие без патологических изменений."
DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
LARIN = Actor(ActorKind.PERSON, "larin", "Ларин П. С.", frozenset({Role.RADIOLOGIST}))
ROOM = replace(CLINIC, reading=ReadingRules(pause_seconds=0))


@pytest.fixture
def room(services: Services) -> Services:
    """A clinic in which knees are read twice, with a second and a third doctor."""
    made = replace(services, clinic=ROOM)
    for login, name in (("larin", "Ларин П. С."), ("gushchina", "Гущина Е. М.")):
        account = accounts.new_account(login, name, frozenset({Role.RADIOLOGIST}), PASSWORD)
        made.store.write(accounts.add_account, account, SYSTEM)
    made.store.write(reading.set_double, frozenset({"WLB-KNEE"}), SYSTEM)
    template = ReportTemplate("WLB-KNEE", "норма", finding=Finding.NORM, description="Поля.", conclusion=NORM)
    made.store.write(report_templates.put, template, SYSTEM)
    return made


def study(services: Services, number: int, **changes: Any) -> Order:
    order = services.store.write(referrals.register, draft(**changes), REGISTRAR, CLINIC)
    uid = f"1.2.{number}"
    step = performed(uid, StepReference(order.study_instance_uid))
    services.store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    done = PerformedChange(PerformedState.COMPLETED, images=2)
    services.store.write(performed_steps.change, performed_steps.ChangeRequest(uid, done, message("x")), XRAY, CLINIC)
    return order


def key(user: User, code: str, *, ctrl: bool = False) -> None:
    """Press a key as the browser tells of it."""
    pressed = {"key": code, "code": code, "location": 0, "action": "keydown", "repeat": False}
    modifiers = {"altKey": False, "ctrlKey": ctrl, "metaKey": False, "shiftKey": False}
    user.find(ui.keyboard).trigger("key", pressed | modifiers)


def reads_of(services: Services, order: Order) -> list[tuple[str, str, bool]]:
    with services.store.read() as reader:
        found = reads.of_order(reader, order.id)
    return [(each.reader, each.opinion.finding if each.opinion else "", each.given_at is not None) for each in found]


async def given(services: Services, order: Order, count: int) -> None:
    await wait_until_async(lambda: sum(each[2] for each in reads_of(services, order)) == count)


def read_by(services: Services, order: Order, login: str, opinion: Opinion, said: str) -> None:
    """Let another doctor have read, and what they said stand."""
    actor = Actor(ActorKind.PERSON, login, login, frozenset({Role.RADIOLOGIST}))
    with services.store.read() as reader:
        seen = reports.images(reader, order)
    text = ReportText(said, said)
    services.store.write(reading.give, order.id, 0, opinion, text, actor, services.clinic, seen)
    services.store.write(reading.finish, (order.id,), actor, services.clinic)


@pytest.fixture
async def doctor(room: Services) -> AsyncIterator[User]:
    async with person(room, "volskaya") as somebody:
        yield somebody


async def test_the_list_says_what_can_be_read_in_one_go(room: Services, doctor: User) -> None:
    study(room, 1)
    study(room, 2)
    await doctor.open("/reading")
    await doctor.should_see("Рентген, два чтения")
    await doctor.should_see("Первое")


async def test_one_key_gives_the_norm_and_opens_the_next_case(room: Services, doctor: User) -> None:
    first, second = study(room, 1), study(room, 2)
    await doctor.open("/read?modality=DX&needed=2")
    await doctor.should_see(first.accession_number)
    await doctor.should_see(NORM)
    key(doctor, "Digit1")
    await given(room, first, 1)
    await doctor.should_see(second.accession_number)
    await doctor.should_see("Норма: Кузнецова М. П.")
    key(doctor, "Numpad1")
    await given(room, second, 1)
    await doctor.should_see("Сеанс прочитан: 2 случая")


async def test_the_last_opinion_is_taken_back_by_a_key(room: Services, doctor: User) -> None:
    first = study(room, 1)
    await doctor.open("/read?modality=DX&needed=2")
    await doctor.should_see(first.accession_number)
    key(doctor, "Digit1")
    await given(room, first, 1)
    await doctor.should_see("Сеанс прочитан")
    key(doctor, "KeyZ", ctrl=True)
    await doctor.should_see("Вернули: Кузнецова М. П.")
    assert reads_of(room, first) == [("volskaya", "norm", False)]


async def test_a_key_pressed_just_after_the_case_has_changed_does_nothing(services: Services, room: Services) -> None:
    slow = replace(room, clinic=replace(ROOM, reading=ReadingRules(pause_seconds=5)))
    first = study(room, 1)
    async with person(slow, "volskaya") as doctor:
        await doctor.open("/read?modality=DX")
        await doctor.should_see(first.accession_number)
        key(doctor, "Digit1")
        await doctor.should_see("Рано")
    assert reads_of(room, first) == []


async def test_another_finding_is_written_in_words(room: Services, doctor: User) -> None:
    first = study(room, 1)
    await doctor.open("/read?modality=DX")
    await doctor.should_see(first.accession_number)
    key(doctor, "Digit3")
    await doctor.should_see("Записать и дальше")
    doctor.find("Записать и дальше").click()
    await doctor.should_see("Напишите заключение")
    write(doctor, conclusion="Инфильтрация справа.")
    doctor.find("Справа").click()
    doctor.find("Записать и дальше").click()
    await given(room, first, 1)
    with room.store.read() as reader:
        [read] = reads.of_order(reader, first.id)
    assert (read.opinion, read.conclusion) == (Opinion(Finding.RECALL, "R"), "Инфильтрация справа.")


async def test_words_that_were_typed_are_the_readers_own_draft(room: Services, doctor: User) -> None:
    first = study(room, 1)
    await doctor.open("/read?modality=DX")
    await doctor.should_see(first.accession_number)
    key(doctor, "Digit2")
    await doctor.should_see("Записать и дальше")
    write(doctor, conclusion="Петрификат.")
    doctor.find("К мнениям").click()
    await wait_until_async(lambda: reads_of(room, first) == [("volskaya", "known", False)])
    key(doctor, "Digit2")
    await wait_until_async(lambda: value(doctor, "conclusion") == "Петрификат.")


async def test_the_second_reader_is_told_only_that_there_is_a_first(room: Services, doctor: User) -> None:
    first = study(room, 1)
    read_by(room, first, "larin", Opinion(Finding.RECALL), "ТАЙНА")
    await doctor.open("/read?modality=DX")
    await doctor.should_see("Одно чтение уже есть")
    for secret in ("ТАЙНА", "Ларин", "larin", "Дообследование, справа"):
        await doctor.should_not_see(secret)
    await doctor.open(f"/order/{first.accession_number}")
    await doctor.should_see(first.accession_number)
    for secret in ("ТАЙНА", "larin", "Снимки прочитаны"):
        await doctor.should_not_see(secret)


async def test_the_third_reader_sees_both_and_takes_the_words_of_one(room: Services, doctor: User) -> None:
    first = study(room, 1)
    read_by(room, first, "larin", Opinion(Finding.NORM), "Поля прозрачны")
    read_by(room, first, "gushchina", Opinion(Finding.RECALL, "R"), "Инфильтрация")
    await doctor.open("/read?modality=DX")
    await doctor.should_see("Мнения разошлись")
    await doctor.should_see("Инфильтрация")
    key(doctor, "ArrowRight")
    await doctor.should_see("Решить и подписать")
    doctor.find("Решить и подписать").click()
    await given(room, first, 3)
    room.store.write(reading.finish, (first.id,), DOCTOR, room.clinic)
    with room.store.read() as reader:
        report = reports.signed(reader, first.id)
    assert report is not None
    assert (report.author, report.conclusion) == ("volskaya", "Инфильтрация")


async def test_a_mammogram_is_two_digits(room: Services, doctor: User) -> None:
    template = ReportTemplate("WLB-MMG4", "норма", finding=Finding.NORM, description="Железы.", conclusion="Без узлов.")
    room.store.write(report_templates.put, template, SYSTEM)
    changes = {"procedure_code": "WLB-MMG4", "laterality": "", "station_ae_titles": ("MAMMO_9",)}
    first, second = study(room, 1, **changes), study(room, 2, **changes)
    await doctor.open("/read?modality=MG")
    await doctor.should_see(first.accession_number)
    key(doctor, "Digit1")
    key(doctor, "Digit2")
    await given(room, first, 1)
    with room.store.read() as reader:
        [read] = reads.of_order(reader, first.id)
    assert read.opinion == Opinion.of_breasts(1, 2)
    assert read.conclusion == "Без узлов.\nСправа BI-RADS 1, слева BI-RADS 2."
    await doctor.should_see(second.accession_number)
    key(doctor, "Digit0")
    key(doctor, "Digit4")
    await wait_until_async(lambda: value(doctor, "conclusion") == "Справа BI-RADS 0, слева BI-RADS 4.")


async def test_a_case_is_put_aside_with_a_reason_and_skipped_to_the_end(room: Services, doctor: User) -> None:
    first, second = study(room, 1), study(room, 2)
    await doctor.open("/read?modality=DX")
    await doctor.should_see(first.accession_number)
    key(doctor, "KeyS")
    await doctor.should_see(second.accession_number)
    key(doctor, "KeyD")
    key(doctor, "Digit3")
    await doctor.should_see(first.accession_number)
    with room.store.read() as reader:
        deferral = reads.deferral(reader, second.id)
    assert deferral is not None
    assert deferral.reason == "Не хватает снимка"
    assert reads_of(room, second) == []


async def test_without_a_template_the_key_of_the_norm_opens_the_text(room: Services, doctor: User) -> None:
    first = study(room, 1, procedure_code="WLB-HAND")
    await doctor.open("/read?modality=DX")
    await doctor.should_see("Норма, словами")
    key(doctor, "Digit1")
    await doctor.should_see("Записать и дальше")
    assert reads_of(room, first) == []


async def test_the_page_of_one_report_leads_to_the_session_where_two_read(room: Services, doctor: User) -> None:
    first = study(room, 1)
    await doctor.open(f"/reading/{first.accession_number}")
    await doctor.should_see("Это исследование читают в сеансе")


async def test_what_can_be_taken_back_is_on_the_list_and_can_be_ended(room: Services, doctor: User) -> None:
    first = study(room, 1)
    await doctor.open("/read?modality=DX")
    await doctor.should_see(first.accession_number)
    key(doctor, "Digit1")
    await given(room, first, 1)
    await doctor.open("/reading")
    await doctor.should_see("Можно вернуть")
    doctor.find("Завершить все").click()
    await wait_until_async(lambda: not held(room))


async def test_a_template_is_written_in_the_browser(room: Services, doctor: User) -> None:
    await doctor.open("/templates")
    await doctor.should_see("норма")
    [procedure] = [each for each in doctor.find(ui.select).elements if each.props.get("for") == "procedure_code"]
    procedure.set_value("WLB-HAND")
    [name] = [each for each in doctor.find(ui.input).elements if each.props.get("for") == "name"]
    name.set_value("перелома нет")
    write(doctor, conclusion="Костной патологии нет.")
    doctor.find("Сохранить").click()
    await doctor.should_see("Шаблон сохранён: перелома нет")
    with room.store.read() as reader:
        [made] = reading_cases.templates(reader, "WLB-HAND", "volskaya")
    assert (made.name, made.conclusion, made.owner, made.finding) == (
        "перелома нет",
        "Костной патологии нет.",
        "",
        None,
    )


def held(services: Services) -> list[reading_cases.HeldRead]:
    with services.store.read() as reader:
        return reading_cases.held(reader, "volskaya", services.store.clock())


def write(user: User, **fields: str) -> None:
    for name, said in fields.items():
        field(user, name).set_value(said)


def value(user: User, name: str) -> str:
    """Return what a field of the text holds; empty while it is not open."""
    with suppress(AssertionError):
        return str(field(user, name).value)
    return ""


def field(user: User, name: str) -> ui.textarea:
    found = [each for each in user.find(ui.textarea).elements if each.props.get("for") == name]
    assert len(found) == 1
    return found[0]


async def test_a_case_that_another_reads_is_not_opened_and_the_next_one_is_said_to_be(
    room: Services, doctor: User
) -> None:
    first, second = study(room, 1), study(room, 2)
    room.store.write(reading.open_case, first.id, LARIN, room.clinic)
    await doctor.open(f"/read?modality=DX&first={first.accession_number}")
    await doctor.should_see("Этот случай сейчас читает другой, или он уже прочитан. Открыт следующий.")
    await doctor.should_see(second.accession_number)
    await doctor.open(f"/read?modality=DX&first={second.accession_number}")
    await doctor.should_see(second.accession_number)
    assert len([said for said in doctor.notify.messages if said.startswith("Этот случай")]) == 1
