"""The card of a study: its life in words, the evidence behind them, and what may be done now."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.clinic.devices import Device
from broker.domain.orders import OrderState, Priority
from broker.domain.patients.people import PersonName
from broker.domain.studies.performed import PerformedState
from broker.store.queries import order_card
from broker.store.tables import worklist
from broker.workflow.studies import step_links
from tests.support.clock import TODAY, ZONE
from tests.support.factory import CLINIC, DEVICES, REGISTRAR
from tests.ui.conftest import person
from tests.ui.scene import Scene, buttons, press, texts
from ui.devices import evidence
from ui.order import timeline
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


def history(scene: Scene, number: str = "K2611-0001", devices: tuple[Device, ...] = DEVICES) -> list[str]:
    """Return a study's history as «state: what (who)»."""
    with scene.store.read() as reader:
        card = order_card.card(reader, number)
    assert card
    lines = [line for _, line in timeline.entries(card, devices, ZONE, TODAY)]
    return [
        line.word if isinstance(line, timeline.DayHeading) else f"{line.time} {line.state}: {line.what} ({line.who})"
        for line in lines
    ]


# ---- the story ----


def test_a_timeline_is_shown_newest_first_with_days(scene: Scene) -> None:
    scene.now = scene.instant("15:52", TODAY - timedelta(days=1))
    order = scene.register("09:30")
    scene.now = scene.instant("09:12")
    scene.deliver(order)
    scene.store.write(lambda tx: worklist.note_delivery(tx, [order.steps[0].id], "XRAY_14"))
    scene.now = scene.instant("09:27")
    scene.begin(order, "1.2.1", operator="Юдин^Кирилл^Егорович")
    scene.now = scene.instant("09:31")
    scene.finish("1.2.1", images=2)
    assert history(scene) == [
        "Сегодня",
        "09:31 done: Выполнено, 2 снимка (Рентген, каб. 14; лаборант Юдин К. Е.)",
        "09:27 running: Начато на аппарате (Рентген, каб. 14; лаборант Юдин К. Е.)",
        "09:12 sent: Шина приняла направление (Обмен с шиной)",
        "09:12 seen: Аппарат получил направление в свой список (Рентген)",
        "Вчера",
        "15:52 waiting: Направление записано (Орлова Н. В.)",
    ]


def test_a_discontinued_study_is_shown_with_the_devices_reason(scene: Scene) -> None:
    scene.begin(scene.register("09:30"), "1.2.1", "OLD_CR")
    scene.finish("1.2.1", PerformedState.DISCONTINUED, discontinuation_meaning="<b>нет плёнки")
    assert "09:47 stopped: Прервано на аппарате: «<b>нет плёнки» (Рентген, каб. 14)" in history(scene)
    assert "09:47 running: Начато на аппарате (аппарат OLD_CR)" in history(scene)


def test_an_amendment_shows_old_and_new_values(scene: Scene) -> None:
    order = scene.register("09:40", comment="Плохо слышит")
    order = scene.amend(order, start=scene.local("10:00"))
    order = scene.amend(
        order,
        start=scene.local("11:00", TODAY + timedelta(days=1)),
        station_ae_titles=("FLG_12",),
        procedure_code="WLB-FLG1",
        laterality="",
        priority=Priority.URGENT,
        finance="3",
        referrer=PersonName("Белов", "Пётр"),
        diagnosis_code="",
    )
    lines = history(scene)
    assert (
        "09:47 waiting: Время изменено: 09:40 стало 10:00. Комментарий: было «Плохо слышит», убрано (Орлова Н. В.)"
        in lines
    )
    changed = lines[1]
    for words in (
        "Перенесено: 24.11.2026 10:00 стало 25.11.2026 11:00",
        "Аппарат изменён: Рентген, каб. 14 стало Флюорограф, каб. 12",
        "Исследование: «Рентгенография коленного сустава» стало «Флюорография, прямая проекция»",
        "Сторона: «справа» стало «не требуется»",
        "Срочность: «планово» стало «срочно»",
        "Оплата: «ОМС» стало «платно»",
        "Кто направил: «Зимин Андрей Павлович» стало «Белов Пётр»",
        "Код диагноза: было «M17.1», убрано",
    ):
        assert words in changed


def test_a_changed_patient_is_shown_field_by_field() -> None:
    old = {"name": {"family": "Ли", "given": "Ен"}, "birth_date": "1961-03-12", "sex": "M", "snils": "", "weight": None}
    new = {
        "name": {"family": "Лим", "given": "Ен"},
        "birth_date": "1961-03-13",
        "sex": "F",
        "snils": "112",
        "weight": 70,
    }
    assert timeline.changes({"patient": [old, new]}, {}) == [
        "Пациент: «Ли Ен» стало «Лим Ен»",
        "Дата рождения: «12.03.1961» стало «13.03.1961»",
        "Пол: «мужской» стало «женский»",
        "СНИЛС: записано «112»",
        "Вес: записано «70»",
    ]


def test_a_silent_bus_is_one_line_and_a_refusal_another(scene: Scene) -> None:
    order = scene.register("10:00")
    for _ in range(3):
        scene.retry(order, "cannot connect")
    scene.refuse(order, "Полис не найден", answer='{"resourceType": "OperationOutcome"}')
    lines = history(scene)
    assert lines[1] == "09:47 attention: Шина не приняла направление: Полис не найден (Обмен с шиной)"
    assert lines[2].startswith("09:47 waiting: Шина пока не приняла направление: шина недоступна")
    assert lines[2].endswith("(3 попытки подряд) (Обмен с шиной)")
    assert len(lines) == 4


def test_every_line_has_a_key_of_its_own(scene: Scene) -> None:
    order = scene.register("10:00")
    for reason in ("cannot connect", "time-out", "cannot connect"):
        scene.retry(order, reason)
    with scene.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card
    keys = [key for key, _ in timeline.entries(card, (), ZONE, TODAY)]
    assert len(keys) == len(set(keys)) == 5


# ---- the evidence ----


def test_a_modalitys_message_reads_attribute_by_attribute() -> None:
    message = {
        "00400270": {"vr": "SQ", "Value": [{"00080050": {"vr": "SH", "Value": ["K2611-0001"]}}, {}]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ли^Ен", "Ideographic": "李"}]},
        "00400252": {"vr": "CS", "Value": ["COMPLETED"]},
        "00091001": {"vr": "LO", "Value": ["<script>", None, 3]},
        "7FE00010": {"vr": "OB", "InlineBinary": "AAAA"},
        "00400250": {"vr": "DA"},
    }
    assert evidence.mpps(json.dumps(message)).split("\n") == [
        "(0009,1001)  <script>\\\\3",
        "(0010,0010) PatientName  Ли^Ен=李",
        "(0040,0250) PerformedProcedureStepEndDate",
        "(0040,0252) PerformedProcedureStepStatus  COMPLETED",
        "(0040,0270) ScheduledStepAttributesSequence",
        "  (0008,0050) AccessionNumber  K2611-0001",
        "(7FE0,0010) PixelData  <двоичные данные>",
    ]


@pytest.mark.parametrize("text", ["", "not json", "[1, 2]", '"x"', '{"zz": 5}', '{"0010": {"Value": "x"}, "x": null}'])
def test_evidence_never_fails_on_what_came(text: str) -> None:
    assert isinstance(evidence.mpps(text), str)


def test_evidence_is_bounded() -> None:
    deep: dict[str, Any] = {"00100020": {"vr": "LO", "Value": ["x" * 10_000]}}
    for _ in range(200):
        deep = {"00400270": {"vr": "SQ", "Value": [deep]}}
    assert len(evidence.mpps(json.dumps(deep))) < 2000
    wide = {f"{number:08X}": {"vr": "LO", "Value": ["x" * 10_000]} for number in range(1000)}
    assert len(evidence.mpps(json.dumps(wide))) < 400 * 350


# ---- the page ----


async def test_a_card_shows_the_facts_and_moves_by_itself(scene: Scene, user: User) -> None:
    order = scene.register("10:00", comment="<script>alert(1)</script>")
    await user.open(f"/order/{order.accession_number}")
    for word in ("Кузнецова Марина Петровна", "K2611-0001", "Рентгенография коленного сустава, справа"):
        await user.should_see(word)
    for word in ("сегодня, 10:00", "Рентген, каб. 14", "Зимин Андрей Павлович, терапевт", "<script>alert(1)</script>"):
        await user.should_see(word)
    await user.should_see("Изменить")
    scene.begin(order, "1.2.1")
    await user.should_see("Начато на аппарате")
    await user.should_not_see("Изменить")
    assert "Отменить" not in buttons(user)
    assert "(0040,0252) PerformedProcedureStepStatus  IN PROGRESS" in texts(user, "evidence")[0]


async def test_cancelling_asks_by_name_and_stores_the_reason(scene: Scene, user: User) -> None:
    order = scene.register("10:00")
    await user.open(f"/order/{order.accession_number}")
    await user.should_see("Отменить направление K2611-0001, Кузнецова М. П.?")
    press(user, "Отменить")
    user.find(ui.input).type("Пациент отказался")
    press(user, "Отменить направление")
    await user.should_see("Направление отменено: Пациент отказался")
    await user.should_see("Направление K2611-0001 отменено")


async def test_what_changed_between_asking_and_confirming_is_not_cancelled(scene: Scene, user: User) -> None:
    order = scene.register("10:00")
    await user.open(f"/order/{order.accession_number}")
    press(user, "Отменить")
    scene.amend(order, start=scene.local("11:00"))
    await user.should_see("сегодня, 11:00")
    press(user, "Отменить направление")
    await user.should_see("Пока вы смотрели, это изменил кто-то другой. Откройте заново")
    with scene.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card
    assert card.order.state is OrderState.SCHEDULED


async def test_the_card_of_a_study_that_may_be_anothers_does_not_say_that_the_bus_has_all_of_it(
    scene: Scene, user: User
) -> None:
    order = scene.register("10:00")
    scene.deliver(order)
    await user.open(f"/order/{order.accession_number}")
    await user.should_see("шина приняла")
    scene.begin(order, "1.2.1", patient_name="Попов^Олег")
    scene.finish("1.2.1", images=2)
    await user.should_see("Требует внимания")
    await user.should_not_see("шина приняла")


async def test_a_refused_message_is_sent_again_from_the_card(scene: Scene, user: User) -> None:
    order = scene.register("10:00")
    scene.refuse(order, "Полис <b> не найден")
    await user.open(f"/order/{order.accession_number}")
    await user.should_see("Полис <b> не найден")
    press(user, "Отправить снова")
    await user.should_see("Отправлено на шину ещё раз")
    await user.should_not_see("Отправить снова")
    await user.should_see("ждёт отправки на шину")


async def test_a_radiologist_may_look_and_print(scene: Scene, services: Services) -> None:
    scene.refuse(scene.register("10:00"), "Полис не найден")
    async with person(services, "volskaya") as user:
        await user.open("/order/K2611-0001")
        await user.should_see("Печать")
        for word in ("Изменить", "Отменить", "Отправить снова"):
            await user.should_not_see(word)


async def test_a_linked_study_and_its_uids_stand_on_the_card(scene: Scene, user: User) -> None:
    order = scene.register("09:10")
    scene.begin(None, "1.2.840.9", patient_name="X")
    scene.store.write(step_links.link, "1.2.840.9", order.id, REGISTRAR, CLINIC)
    await user.open("/order/K2611-0001")
    await user.should_see("Исследование привязано к направлению")
    await user.should_see("1.2.840.9")
    await user.should_see(order.study_instance_uid)


async def test_an_unknown_number_is_answered_calmly(user: User) -> None:
    await user.open("/order/<script>")
    await user.should_see("Исследования с номером «<script>» нет.")


async def test_a_technologist_types_the_dose_over_the_calculated_one(scene: Scene, services: Services) -> None:
    order = scene.register("09:20")
    scene.begin(order, "1.2.3.4")
    scene.finish("1.2.3.4")
    async with person(services, "yudin") as user:
        await user.open(f"/order/{order.accession_number}")
        [field] = [each for each in user.find(ui.input).elements if each.props.get("for") == "typed-dose"]
        field.set_value("много")
        press(user, "Сохранить дозу")
        await user.should_see("Напишите дозу числом, например 0,03")
        field.set_value("0,05 мЗв")
        press(user, "Сохранить дозу")
        await user.should_see("Доза записана")
        await user.should_see("0,05 мЗв, вписана")
        await user.should_see("По расчёту")
