"""A card is corrected on a page that says what becomes of its orders, and the patient's page shows what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.clinic.directory import Entry
from broker.domain.patients.people import Patient, PersonName
from broker.store.queries import patient_cards
from broker.store.tables import worklist
from broker.store.tables.patients import patient_details, patients
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow import patient_correction
from broker.workflow.directories import DirectorySource, replace_directory
from tests.support.clock import ZONE
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.desk.hands import Hands
from tests.ui.patients.test_page import CT, FLG, links, register
from tests.ui.scene import Scene, press
from ui.patients import dose_sheet
from ui.services import Services
from ui.text import patient_cards as card_words

pytestmark = pytest.mark.usefixtures("scene")

OTHER_SNILS = "087-654-303 00"


def control(user: User, field: str) -> Any:
    assert user.client
    for each in user.client.elements.values():
        if each.props.get("for") == f"card-{field}" and each.tag != "label" and hasattr(each, "value"):
            return each
    pytest.fail(f"no control {field}")


def write(user: User, **values: Any) -> None:
    assert user.client
    with user.client:
        for field, value in values.items():
            control(user, field).value = value


def card(scene: Scene, id: int = 1) -> Patient:
    with scene.store.read() as reader:
        found = patients.get(reader, id)
    assert found is not None
    return found


async def test_the_insurer_is_corrected_and_named_by_the_directory(scene: Scene, user: User) -> None:
    register(scene)
    source = DirectorySource("insurers", "", "", "smo.csv")
    scene.store.write(replace_directory, source, [Entry("78007", "Городская страховая")], SYSTEM)
    await user.open("/patient/000001/correct")
    write(user, insurer="78007")
    press(user, "Сохранить")
    await wait_until_async(lambda: card(scene).insurer == "78007")
    await user.open("/patient/000001")
    await user.should_see("78007 Городская страховая")
    await user.open("/patient/000001/correct")
    assert control(user, "insurer").value == "78007 Городская страховая"
    await user.should_see("Пока ничего не изменено")


async def test_a_card_in_the_other_layout_of_the_keyboard_is_offered_in_russian(scene: Scene, user: User) -> None:
    register(scene, replace(KUZNETSOVA, name=PersonName("Bdfyjd", "Bdfy", "Иванович")))
    await user.open("/patient/000001/correct")
    press(user, "Иванов?")
    assert (control(user, "family").value, control(user, "given").value) == ("Иванов", "Иван")
    await user.should_not_see("Иван?")
    press(user, "Сохранить")
    await wait_until_async(lambda: str(card(scene).name) == "Иванов Иван Иванович")


async def test_a_correction_is_saved_and_the_page_shows_it(scene: Scene, user: User) -> None:
    register(scene)
    await user.open("/patient/000001")
    assert links(user)["Изменить"] == "/patient/000001/correct"
    await user.open("/patient/000001/correct")
    assert (control(user, "family").value, control(user, "birth_date").value) == ("Кузнецова", "12.03.1961")
    await user.should_see("Пока ничего не изменено")
    write(user, middle="Павловна", birth_date="03121961", address="Тверь, Садовая, 5", passport="4510 000000")
    await user.should_see("1 исследование получит новые данные")
    press(user, "Сохранить")
    await wait_until_async(lambda: card(scene).name.middle == "Павловна")
    assert f"{card(scene).birth_date}" == "1961-12-03"
    await user.open("/patient/000001")
    for word in ("Кузнецова Марина Павловна", "Тверь, Садовая, 5", "4510 000000"):
        await user.should_see(word)


async def test_a_number_that_was_right_in_its_time_is_kept_and_shown(scene: Scene, user: User) -> None:
    register(scene)
    await user.open("/patient/000001/correct")
    await user.should_not_see("Прежний СНИЛС был верным: искать и по нему")
    write(user, snils=OTHER_SNILS)
    await user.should_see("Прежний СНИЛС был верным: искать и по нему")
    for box in user.find(ui.checkbox).elements:  # that of the policy is not seen, and does not count
        box.value = True
    press(user, "Сохранить")
    await wait_until_async(lambda: card(scene).snils == "08765430300")
    await user.open("/patient/000001")
    await user.should_see("112-233-445 95, до 24.11.2026")


async def test_what_is_wrong_stands_at_its_field_and_nothing_is_saved(scene: Scene, user: User) -> None:
    register(scene)
    register(scene, replace(KUZNETSOVA, name=PersonName("Попова", "Анна"), snils="08765430300", policy=""), "11:00")
    await user.open("/patient/000001/correct")
    write(user, family="")
    press(user, "Сохранить")
    await user.should_see("Не сохранено: исправьте 1 поле")
    await user.should_see("Напишите фамилию")
    write(user, family="Кузнецова", snils=OTHER_SNILS)
    press(user, "Сохранить")
    await user.should_see("Этот СНИЛС у нас записан на другого человека. Найдите его поиском или проверьте цифры")
    write(user, family="Кузнецова", snils="", birth_date="31.02.1961")
    press(user, "Сохранить")
    await user.should_see("Такой даты нет")
    assert card(scene) == replace(KUZNETSOVA, id=1, patient_id="000001", revision=1)


async def test_a_device_that_has_the_order_on_its_list_is_named(scene: Scene, user: User) -> None:
    order = register(scene)
    scene.store.write(worklist.note_delivery, [order.steps[0].id], "XRAY_14")
    await user.open("/patient/000001/correct")
    write(user, family="Орлова")
    await user.should_see("Рентген: список уже получен с прежними данными, обновите его на аппарате")


async def test_a_card_that_was_changed_meanwhile_is_not_overwritten(scene: Scene, user: User) -> None:
    register(scene)
    await user.open("/patient/000001/correct")
    changed = replace(card(scene), phone="+7 900 111-11-11")
    scene.store.write(patient_correction.correct, changed, REGISTRAR, CLINIC)
    write(user, family="Орлова")
    press(user, "Сохранить")
    await user.should_see("Пока вы смотрели, это изменил кто-то другой. Откройте заново")
    assert card(scene).name == KUZNETSOVA.name


async def test_consent_is_given_and_withdrawn_on_the_page(scene: Scene, user: User) -> None:
    register(scene)
    await user.open("/patient/000001")
    press(user, "Согласие дано сегодня")
    await user.should_see("передавать в регион, 24.11.2026")
    press(user, "Отозвать согласие")
    await user.should_see("отозвано 24.11.2026: в регион ничего не уходит")
    with scene.store.read() as reader:
        assert patient_details.get(reader, 1).is_consent_withdrawn


async def test_a_doctor_sees_the_card_and_corrects_nothing(services: Services, scene: Scene) -> None:
    register(scene)
    async with person(services, "volskaya") as user:
        await user.open("/patient/000001")
        assert "Изменить" not in links(user)
        await user.should_not_see("Согласие дано сегодня")
        await user.open("/patient/000001/correct")
        await user.should_see("Карту исправляет регистратура.")


async def test_studies_are_filtered_by_where_they_were_made(scene: Scene, user: User) -> None:
    order = register(scene)
    scene.begin(order, "1.2.1")
    for study in (FLG, CT):
        scene.store.write(external_studies.put, order.patient.stored_id, StoredStudy(study, "1"))
    await user.open("/patient/000001")
    await user.should_see("Другие клиники")
    press(user, "У нас")
    await user.should_not_see("Норма")
    press(user, "Другие клиники")
    await user.should_see("Норма")


def test_the_sheet_of_doses_lists_both_clinics_studies_and_the_sum(scene: Scene) -> None:
    order = register(scene)
    scene.begin(order, "1.2.1")
    named = replace(CT, organisation="11111111-2222-3333-4444-555555555555")
    for study in (FLG, named):
        scene.store.write(external_studies.put, order.patient.stored_id, StoredStudy(study, "1"))
    with scene.store.read() as reader:
        found = patient_cards.read(reader, "000001")
    assert found is not None
    sheet = dose_sheet.draw(dose_sheet.content(found, scene.local("10:00"), ZONE, "Клиника на Заречной"))
    for word in (
        "Лист учёта доз: Кузнецова Марина Петровна",
        "02.03.2026",
        "1,1",
        "у нас",
        "За 12 месяцев: не меньше 1,1 мЗв",
    ):
        assert word in sheet


async def test_what_was_made_under_the_former_data_is_shown_and_confirmed(scene: Scene, user: User) -> None:
    order = register(scene)
    scene.begin(order, "1.2.1", patient_name="Кузнецова^Марина^Петровна")
    await user.open("/patient/000001/correct")
    write(user, family="Орлова")  # by marriage
    await user.should_not_see("Сделано под прежними данными")
    write(user, family="Петрова", given="Ольга")
    await user.should_see("Так карта станет картой другого человека: не сходится имя.")
    await user.should_see("на снимках «Кузнецова Марина Петровна»")
    press(user, "Сохранить")
    await user.should_see("Не сохранено: посмотрите, что сделано под прежними данными")
    assert card(scene).name == KUZNETSOVA.name
    box = next(each for each in user.find(ui.checkbox).elements if each.text == card_words.SAME_PERSON)
    box.value = True
    press(user, "Сохранить")
    await wait_until_async(lambda: card(scene).name.given == "Ольга")
    await user.open(f"/order/{order.accession_number}")
    await user.should_see("Это один и тот же человек, хотя прежние данные другие: подтверждено")
    await user.should_see("Тот ли это пациент?")


async def test_a_former_name_finds_the_patient_at_the_desk_and_stands_on_the_page(scene: Scene, user: User) -> None:
    register(scene)
    renamed = replace(card(scene), name=replace(KUZNETSOVA.name, family="Замужняя"))
    scene.store.write(patient_correction.correct, renamed, REGISTRAR, CLINIC)
    await user.open("/patient/000001")
    await user.should_see("Ранее: Кузнецова")
    await user.open("/")
    with user:
        Hands(user).control("patient-search").value = "кузнец"
    await user.should_see("ранее: Кузнецова")
