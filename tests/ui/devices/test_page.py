"""The registry of devices: what is said of each, who may change it, what an empty one teaches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from nicegui import ui
from nicegui.testing import User
from pydicom.dataset import Dataset

from broker.dicom.devices import samples
from broker.domain.clinic.devices import Device
from broker.domain.clinic.turned_away import TurnedAway, TurnedAwayReason
from broker.store.database import Tx
from broker.store.queries import device_registry
from broker.store.tables import devices
from tests.ui.conftest import person
from tests.ui.scene import Scene, buttons, press
from ui.devices.page import connect_to, settings
from ui.services import Services
from ui.settings import WorklistAddress

pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


@pytest.fixture
async def admin(services: Services) -> AsyncIterator[User]:
    async with person(services, "admin") as somebody:
        yield somebody


def known(scene: Scene, ae_title: str) -> Device | None:
    with scene.store.read() as reader:
        return next(
            (each.device for each in device_registry.contacts(reader) if each.device.ae_title == ae_title), None
        )


def send(scene: Scene, ae_title: str, step: dict[str, str], **keys: str) -> None:
    """Let a device ask for the list."""
    query, item = Dataset(), Dataset()
    for ds, values in ((query, {"PatientName": "", **keys}), (item, step)):
        for keyword, value in values.items():
            setattr(ds, keyword, value)
    query.ScheduledProcedureStepSequence = [item]
    scene.store.write(lambda tx: devices.keep_sample(tx, ae_title, "worklist", samples.mask(query)))


def fill(user: User, name: str, value: str) -> None:
    """Type into the field with this name."""
    control = next(each for each in user.find(ui.input).elements if each.props.get("for") == name)
    control.value = value


def tick(user: User, words: str) -> None:
    """Tick the box whose label begins so."""
    box = next(each for each in user.find(ui.checkbox).elements if each.text.startswith(words))
    box.value = True


async def test_a_device_is_shown_with_its_last_contact(scene: Scene, user: User) -> None:

    def hear(tx: Tx) -> None:
        for service, summary in (("worklist", "7"), ("mpps", "N-SET COMPLETED accepted"), ("echo", "")):
            devices.note_contact(tx, "XRAY_14", service, "10.0.4.14", summary)

    scene.store.write(hear)
    scene.now += timedelta(minutes=2)
    await user.open("/devices")
    await user.should_see("Рентген, каб. 14")
    await user.should_see("Список: 2 мин назад, отдано 7 направлений")
    await user.should_see("Ход исследования (MPPS): 2 мин назад, выполнено")
    await user.should_see("Проверка связи: 2 мин назад")
    await user.should_see("Ещё не обращался")
    assert not buttons(user) & {"Добавить аппарат", "Изменить"}


async def test_an_administrator_adopts_a_device_that_asked(scene: Scene, admin: User) -> None:
    scene.store.write(lambda tx: devices.learn(tx, "<b>US_7", "10.0.4.7"))
    await admin.open("/devices")
    await admin.should_see("Обращались, но ещё не приняты")
    await admin.should_see("<b>US_7")
    await admin.should_see("с адреса 10.0.4.7")
    press(admin, "Принять")
    await admin.should_see("Принять аппарат <b>US_7")
    press(admin, "Сохранить")
    await admin.should_see("Напишите название")
    await admin.should_see("Две–четыре латинские буквы, например DX")
    fill(admin, "device-name", "УЗИ")
    fill(admin, "modality", "us")
    press(admin, "Кириллица (ISO_IR 144)")
    press(admin, "Сохранить")
    await admin.should_see("Аппарат записан: УЗИ")
    await admin.should_not_see("Обращались, но ещё не приняты")
    assert known(scene, "<b>US_7") == Device("<b>US_7", "УЗИ", "US", address="10.0.4.7", charset="ISO_IR 144")


async def test_a_device_is_changed_but_keeps_its_ae_title(scene: Scene, admin: User) -> None:
    await admin.open("/devices")
    press(admin, "Изменить")
    await admin.should_see("Изменить аппарат MAMMO_9")
    fill(admin, "room", "каб. 3")
    fill(admin, "ae_title", "OTHER")
    press(admin, "Сохранить")
    await admin.should_see("Маммограф, каб. 3")
    changed = known(scene, "MAMMO_9")
    assert changed
    assert (changed.room, changed.name) == ("каб. 3", "Маммограф")
    assert known(scene, "OTHER") is None


async def test_what_a_device_sends_is_shown_and_its_advice_applied(scene: Scene, admin: User) -> None:
    send(scene, "XRAY_14", {"Modality": "CR"}, SpecificCharacterSet="ISO_IR_192", PatientName="Кузнецова*")
    await admin.open("/devices")
    await admin.should_see("Работает как CR, а записан как DX.")
    await admin.should_see("Называет кодировку с ошибкой (ISO_IR_192), понимаем её как ISO_IR 192")
    await admin.should_see("••• (кириллица)*")
    await admin.should_not_see("Кузнецова")
    press(admin, "Применить")
    await admin.should_see("Рентген: Вид аппарата: CR")
    await admin.should_not_see("Применить")
    changed = known(scene, "XRAY_14")
    assert changed
    assert (changed.modality, changed.name) == ("CR", "Рентген")


async def test_advice_is_only_read_by_those_who_may_not_change(scene: Scene, user: User) -> None:
    send(scene, "XRAY_14", {"Modality": "CR"})
    await user.open("/devices")
    await user.should_see("Работает как CR, а записан как DX.")
    assert "Применить" not in buttons(user)


async def test_an_unknown_device_is_approved_with_the_suggested_settings(scene: Scene, admin: User) -> None:
    scene.store.write(lambda tx: devices.learn(tx, "US_7", "10.0.4.7"))
    send(scene, "US_7", {"Modality": "US"}, SpecificCharacterSet="ISO_IR 100")
    await admin.open("/devices")
    press(admin, "Принять")
    fill(admin, "device-name", "УЗИ")
    press(admin, "Сохранить")
    await admin.should_see("Аппарат записан: УЗИ")
    assert known(scene, "US_7") == Device("US_7", "УЗИ", "US", address="10.0.4.7", charset="ISO_IR 100")


async def test_rare_settings_are_changed_and_numbers_checked(scene: Scene, admin: User) -> None:
    await admin.open("/devices")
    press(admin, "Изменить")  # the first by name: the mammograph
    fill(admin, "days-after", "много")
    fill(admin, "longest", "5")
    press(admin, "Сохранить")
    await admin.should_see("Целое число дней от 0 до 365")
    fill(admin, "days-after", "7")
    press(admin, "Сохранить")
    await admin.should_see("Целое число от 8 до 64")
    fill(admin, "longest", "32")
    fill(admin, "address", "10.0.4.9;10.0.4.19")
    press(admin, "Windows-1251")
    tick(admin, "Ставит свои UID исследований")
    tick(admin, "Может смотреть записи других")
    press(admin, "Сохранить")
    await admin.should_see("Аппарат записан: Маммограф")
    await admin.should_see(
        "Имена: автоматически; его буквы читаем как Windows-1251; не длиннее 32 знаков; может смотреть"
    )
    changed = known(scene, "MAMMO_9")
    assert changed
    assert (changed.longest, changed.days_after, changed.address) == (32, 7, "10.0.4.9, 10.0.4.19")
    assert (changed.fallback_charset, changed.own_only) == ("windows-1251", True)
    assert changed.own_study_uids
    assert changed.for_others


async def test_a_rare_character_set_is_chosen_among_the_others(scene: Scene, admin: User) -> None:
    await admin.open("/devices")
    press(admin, "Изменить")  # the first by name: the mammograph
    await admin.should_not_see("Другая кодировка")
    press(admin, "Другая")
    press(admin, "Латиница с западными буквами (ISO 2022 IR 100)")
    press(admin, "Сохранить")
    await admin.should_see("Имена: латиница с западными буквами (ISO 2022 IR 100)")
    changed = known(scene, "MAMMO_9")
    assert changed
    assert changed.charset == "ISO 2022 IR 100"
    await admin.open("/devices")
    press(admin, "Изменить")
    press(admin, "UTF-8 (ISO_IR 192)")
    press(admin, "Сохранить")
    await admin.should_see("Имена: UTF-8 (ISO_IR 192)")
    changed = known(scene, "MAMMO_9")
    assert changed
    assert changed.charset == "ISO_IR 192"


async def test_a_rejected_device_is_shown_with_the_reason(scene: Scene, user: User) -> None:

    def hear(tx: Tx) -> None:
        devices.put(tx, Device("CT_1", "КТ", "CT", address="10.0.4.1"))
        devices.note_turned_away(tx, "CT_1", "10.9.9.9", TurnedAway(TurnedAwayReason.ADDRESS))
        devices.learn(tx, "US_7", "10.0.4.7")
        devices.note_turned_away(tx, "US_7", "10.0.4.7", TurnedAway(TurnedAwayReason.UNKNOWN))
        devices.note(tx, "XRAY_14", "mpps_dose", "not a number: EntranceDose")

    scene.store.write(hear)
    await user.open("/devices")
    await user.should_see("Отказано: обращался с адреса 10.9.9.9, а записан 10.0.4.1")
    await user.should_see("Отказано: аппарат не принят")
    await user.should_see("Доза в сообщении о ходе исследования не число: EntranceDose (только что)")


@pytest.mark.parametrize(
    ("title", "sentence"),
    [
        ("", "Отказано: аппарат не назвал своё имя (AE Title). Впишите на аппарате имя: до 16 латинских букв и цифр"),
        ("CT\x07", "Отказано: имя аппарата (AE Title) «CT·» с недопустимыми знаками."),
    ],
)
async def test_who_calls_without_a_usable_title_is_shown_by_its_address(
    scene: Scene, user: User, title: str, sentence: str
) -> None:
    found = TurnedAway(TurnedAwayReason.UNTITLED, (title,))
    scene.store.write(lambda tx: devices.note_untitled(tx, "10.0.4.77", found))
    await user.open("/devices")
    await user.should_see("с адреса 10.0.4.77")
    await user.should_see(sentence)
    assert "Принять" not in buttons(user)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            TurnedAway(TurnedAwayReason.CALLED, ("ORTHANC",)),
            "Отказано: вызывает AE Title «ORTHANC», исправьте на аппарате имя сервера списка",
        ),
        (
            TurnedAway(TurnedAwayReason.SERVICE, ("query", "storage")),
            "Пришёл не туда: просил только поиск в архиве, передачу снимков. Здесь рабочий список и MPPS; "
            "снимки принимает архив",
        ),
        (
            TurnedAway(TurnedAwayReason.TRANSFER_SYNTAX, ("1.2.840.10008.1.2.2",)),
            "Не договорились о записи данных (Big Endian): включите на аппарате Little Endian",
        ),
        (
            TurnedAway(TurnedAwayReason.UNREADABLE),
            "Отказано: запрос на соединение не по стандарту DICOM, спросите инженера аппарата",
        ),
        (TurnedAway(TurnedAwayReason.FULL), "Отказано: держит слишком много соединений открытыми"),
    ],
)
async def test_it_is_said_what_a_device_that_came_to_nothing_wanted(
    scene: Scene, user: User, found: TurnedAway, sentence: str
) -> None:
    scene.store.write(lambda tx: devices.note_turned_away(tx, "XRAY_14", "10.0.4.1", found))
    scene.store.write(lambda tx: tx.change("DELETE FROM device WHERE ae_title <> 'XRAY_14'"))
    await user.open("/devices")
    await user.should_see(sentence)
    await user.should_not_see("Ещё не обращался")


async def test_an_empty_registry_teaches(scene: Scene, user: User) -> None:
    scene.store.write(lambda tx: tx.change("DELETE FROM device"))
    await user.open("/devices")
    await user.should_see("Аппаратов ещё нет.")
    await user.should_see("AE title WORKLIST, порт 11112")


def test_what_to_enter_on_a_modality_follows_the_configuration() -> None:
    reported = connect_to(WorklistAddress("CLINIC_WL", "10.0.4.1", 104, learns_unknown_devices=True))
    assert "AE title CLINIC_WL, порт 104, адрес 10.0.4.1." in reported
    assert "появится здесь сам" in reported
    reported = connect_to(WorklistAddress())
    assert "адрес этого сервера" in reported
    assert "можно принять" in reported
    assert "адрес 10.0.4.2." in connect_to(WorklistAddress(), "10.0.4.2")  # under which the browser came
    assert "адрес этого сервера" in connect_to(WorklistAddress(), "localhost")
    assert settings(WorklistAddress("CLINIC_WL", port=104), "10.0.4.2")[1:] == [
        "AE title: CLINIC_WL",
        "IP: 10.0.4.2",
        "Порт: 104",
    ]
