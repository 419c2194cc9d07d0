"""A patient's page, and two cards beside each other: what a person sees, chooses, and can take back."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from urllib.parse import unquote

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName
from broker.domain.reading.reports import ExternalStudy, Report, ReportState
from broker.domain.studies import prior_studies
from broker.store.queries import patient_cards
from broker.store.queries.patients import patient_search
from broker.store.tables import orders, worklist
from broker.store.tables.reading import reports
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow import patient_merge
from broker.workflow.referrals import referrals
from tests.peers import chromium
from tests.support import factory
from tests.support.clock import TODAY, ZONE, local
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR
from tests.ui.conftest import PASSWORD, Site, person
from tests.ui.scene import Scene, buttons, press, texts
from ui.patients import dose_sheet
from ui.patients.study_rows import rows
from ui.services import Services
from ui.text import patient_cards as words
from ui.widgets import external_report

pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day

TWIN = replace(
    KUZNETSOVA, name=PersonName("Кузнецова", "Марина", "Петровн"), snils="", policy="", phone="+7 900 000-00-00"
)
FLG = ExternalStudy("DiagnosticReport/1", "final", studied_on=date(2026, 3, 2), modality="DX", conclusion="Норма")
CT = replace(FLG, reference="DiagnosticReport/2", modality="CT", effective_dose=1.1, procedure_name="КТ")


def register(scene: Scene, patient: Patient = KUZNETSOVA, at: str = "10:00") -> Order:
    draft = factory.draft(patient=patient, start=scene.local(at))
    return scene.store.write(referrals.register, draft, REGISTRAR, CLINIC)


def merge(scene: Scene, one: Order, other: Order) -> None:
    with scene.store.read() as reader:
        found = patient_cards.compare(reader, one.patient.patient_id, other.patient.patient_id)
    assert found is not None
    revisions = found.surviving.patient.revision, found.merged.patient.revision
    ids = one.patient.stored_id, other.patient.stored_id
    scene.store.write(patient_merge.merge, *ids, ["phone"], revisions, REGISTRAR, CLINIC)


def links(user: User) -> dict[str, str]:
    """Return the links of the page: word -> path."""
    return {each.text: str(each.props["href"]) for each in user.find(ui.link).elements}


# ---- the patient ----


async def test_a_page_shows_everything_of_one_person(scene: Scene, user: User) -> None:
    order = register(scene, replace(KUZNETSOVA, allergies="йод", phone="+7 900 000-00-00"))
    scene.store.write(external_studies.put, order.patient.stored_id, StoredStudy(FLG, "1"))
    scene.store.write(external_studies.put, order.patient.stored_id, StoredStudy(CT, "1"))
    await user.open("/patient/000001")
    for word in ("000001", "112-233-445 95", "7800 0000 1234 5671", "+7 900 000-00-00", "Аллергия: йод"):
        await user.should_see(word)
    await user.should_see("не меньше 1,1 мЗв")
    await user.should_see("у 1 исследования дозы нет")
    await user.should_see("сегодня, 10:00")  # ahead
    assert "Сравнить" not in links(user)


async def test_a_page_says_that_there_is_no_such_card(user: User) -> None:
    await user.open("/patient/777")
    await user.should_see("Карты с номером «777» нет.")


def test_the_table_tells_ours_with_its_report_and_theirs_as_sent(scene: Scene) -> None:
    order = register(scene)
    scene.store.write(lambda tx: external_studies.put(tx, order.patient.stored_id, StoredStudy(CT, "1")))
    scene.begin(order, "1.2.3")
    scene.finish("1.2.3", images=2)
    report = Report(order.id, conclusion="Артроз II ст.", effective_dose=0.08, state=ReportState.SIGNED)
    scene.store.write(reports.put, report)
    with scene.store.read() as reader:
        found = patient_cards.read(reader, "000001")
    assert found is not None
    ours, theirs = rows(found, {}, local("10:00"), ZONE)
    assert (ours.when, ours.where, ours.conclusion, ours.dose) == ("сегодня", "у нас", "Артроз II ст.", "0,08")
    assert (theirs.when, theirs.conclusion, theirs.dose, theirs.state) == ("02.03.2026", "Норма", "1,1", "")


def test_a_dose_without_a_unit_stands_there_as_it_was_reported_and_is_not_added(scene: Scene) -> None:
    order = register(scene)
    study = replace(CT, effective_dose=None, unconverted_dose=3.1)
    scene.store.write(lambda tx: external_studies.put(tx, order.patient.stored_id, StoredStudy(study, "1")))
    with scene.store.read() as reader:
        found = patient_cards.read(reader, "000001")
    assert found is not None
    [theirs] = rows(found, {}, local("10:00"), ZONE)
    assert theirs.dose == "3,1 (единица не указана)"
    assert "3,1 (единица не указана)" in dose_sheet.draw(dose_sheet.content(found, local("10:00"), ZONE, "Клиника"))
    year = prior_studies.dose_of_year(local("10:00").date(), found.own, found.external.studies)
    assert (year.millisieverts, year.known, year.unknown) == (0, 0, 1)
    other = replace(study, unconverted_unit="mGy.cm")
    assert external_report.reported_dose(other) == "3,1 mGy.cm"


@pytest.mark.parametrize("number", ["000001", "12/34", "А~2F/б", "#?%", "~"])
def test_every_card_number_has_an_address(number: str) -> None:
    path = words.address(number)
    assert path.count("/") == 2
    assert words.number(unquote(path.removeprefix("/patient/"))) == number


async def test_a_card_with_a_slash_in_its_number_opens(scene: Scene, user: User) -> None:
    register(scene, replace(KUZNETSOVA, patient_id="12/34"))
    await user.open(words.address("12/34"))
    await user.should_see("Кузнецова Марина Петровна")


async def test_a_similar_card_is_offered_with_the_reason_and_the_older_one_stays(scene: Scene, user: User) -> None:
    register(scene)
    register(scene, TWIN)
    await user.open("/patient/000002")
    await user.should_see("Похожа карта 000001: Кузнецова Марина Петровна")
    await user.should_see("имя отличается одной буквой, дата та же")
    assert links(user)["Сравнить"] == "/patient/000001/merge/000002"


async def test_the_card_of_a_study_and_the_desk_lead_to_the_patient(scene: Scene, user: User) -> None:
    order = register(scene)
    await user.open(f"/order/{order.accession_number}")
    assert links(user)["Карта пациента"] == "/patient/000001"
    await user.open("/desk?patient=000001")
    await user.should_see("карта 000001")
    assert links(user)["Карта пациента"] == "/patient/000001"


async def test_only_the_registry_is_offered_to_merge(scene: Scene, services: Services) -> None:
    register(scene)
    register(scene, TWIN)
    async with person(services, "yudin") as technologist:
        await technologist.open("/patient/000001")
        await technologist.should_see("Похожа карта 000002")
        assert "Объединить" not in buttons(technologist)
        await technologist.open("/patient/000001/merge/000002")
        await technologist.should_see("Карты объединяет регистратура.")


# ---- the comparison ----


async def test_two_cards_are_compared_field_by_field(scene: Scene, user: User) -> None:
    register(scene)
    scene.now = scene.instant("09:55")
    order = register(scene, TWIN, at="11:00")
    scene.store.write(lambda tx: worklist.note_delivery(tx, [order.steps[0].id], "XRAY_14"))
    scene.deliver(order)
    await user.open("/patient/000001/merge/000002")
    await user.should_see("Совпали фамилия, имя, дата рождения и пол. Отличается отчество.")
    await user.should_see("Проверьте документ. Карту 000002 завели 24.11.2026: Орлова Н. В.")
    await user.should_see("Рентген: направление уже получено с номером 000002, снимки узнаем")
    await user.should_see("24.11.2026: пошлём исправленное направление")
    choices = [each for each in user.find(ui.element).elements if each.props.get("type") == "radio"]
    spoken = {each.props["aria-label"]: "checked" in each.props for each in choices}
    assert spoken["Отчество: Петровна, из карты 000001"]
    assert spoken["Телефон: +7 900 000-00-00, из карты 000002"]
    assert not spoken["Телефон: не заполнено, из карты 000001"]
    assert len(choices) == 8  # patronymic, СНИЛС, policy, phone


async def test_a_bus_that_takes_no_corrections_is_said_before(scene: Scene, services: Services) -> None:
    register(scene)
    scene.deliver(register(scene, TWIN))
    services = replace(services, settings=replace(services.settings, corrects_on_bus=False))
    async with person(services) as registrar:
        await registrar.open("/patient/000001/merge/000002")
        await registrar.should_see("24.11.2026: шина поправок не принимает, там останется прежняя карта")


async def test_two_valid_numbers_are_two_people_and_nothing_can_be_chosen(scene: Scene, user: User) -> None:
    register(scene)
    register(scene, replace(TWIN, snils="08765430300"))
    await user.open("/patient/000001/merge/000002")
    await user.should_see("СНИЛС разные и оба верны: это два человека. Объединить нельзя.")
    await user.should_see("разные номера")
    assert {"Это разные люди"} == {each for each in buttons(user) if each.startswith(("Это", "Объединить"))}
    assert not [each for each in user.find(ui.element).elements if each.props.get("type") == "radio"]


async def test_what_is_merged_is_what_is_shown_and_it_can_be_taken_back(scene: Scene, user: User) -> None:
    register(scene)
    register(scene, TWIN)
    await user.open("/patient/000001/merge/000002")
    press(user, "Объединить")
    await user.should_see("Карты 000001 и 000002 объединены в 09:47. Переехало: 1 исследование.")
    await user.should_see("Прежняя карта")
    with scene.store.read() as reader:
        [patient] = patient_search.search(reader, "кузнецова").patients
    assert (patient.name.middle, patient.phone) == ("Петровна", "+7 900 000-00-00")
    press(user, "Разъединить")
    await user.should_see("Разъединено: карта 000002 снова отдельно")
    with scene.store.read() as reader:
        assert len(patient_search.search(reader, "кузнецова").patients) == 2


async def test_a_merge_says_what_the_region_learns_and_what_only_others_can_correct(scene: Scene, user: User) -> None:
    one, theirs, ours = register(scene), register(scene, TWIN), register(scene, TWIN, at="12:00")
    scene.store.write(lambda tx: tx.run("UPDATE orders SET bus_role = 'performer' WHERE id = ?", [theirs.id]))
    scene.deliver(ours)
    merge(scene, one, theirs)
    await user.open("/patient/000001")
    await user.should_see("Переехало: 2 исследования. В регион: 1 поправка. 1 направление других клиник")
    await user.open(f"/order/{ours.accession_number}")
    await user.should_see("Карты пациента объединены: 000002 и 000001")


async def test_an_older_merge_is_undone_among_the_numbers(scene: Scene, user: User) -> None:
    scene.now = scene.instant("09:47", TODAY - timedelta(days=40))
    merge(scene, register(scene), register(scene, TWIN))
    scene.now = scene.instant("09:47")
    await user.open("/patient/000002")  # the former number leads here
    await user.should_see("объединено 15.10.2026 09:47, Орлова Н. В.")
    assert texts(user, "done-banner") == []
    press(user, "Разъединить")
    await user.should_see("Разъединено: карта 000002 снова отдельно")


async def test_two_people_are_never_asked_about_again(scene: Scene, user: User) -> None:
    register(scene)
    register(scene, TWIN)
    await user.open("/patient/000001/merge/000002")
    press(user, "Это разные люди")
    await user.should_see("Ничего не записано")
    await user.should_not_see("Похожа карта")


async def test_cards_that_are_one_by_now_are_not_compared(scene: Scene, user: User) -> None:
    merge(scene, register(scene), register(scene, TWIN))
    await user.open("/patient/000001/merge/000002")
    await user.should_see("Таких двух карт нет.")


@pytest.mark.slow
def test_by_keys_alone_two_cards_are_found_compared_merged_and_split(scene: Scene, site: Site) -> None:
    register(scene)
    register(scene, TWIN)
    with chromium.browser() as browser, chromium.page(browser, site.url) as (page, wrong):
        page.goto(f"{site.url}/signin?next=/patient/000001")
        page.fill("input[name=name]", "orlova")
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Объединить").focus()
        page.keyboard.press("Enter")
        field = page.get_by_label("Фамилия, дата рождения или номер")
        page.wait_for_function("document.activeElement.id === 'other-card-search'")
        page.keyboard.type("кузн")
        page.get_by_role("option").first.wait_for()
        assert field.is_visible()
        page.keyboard.press("Enter")
        page.get_by_role("radio", name="Отчество: Петровна, из карты 000001").focus()
        page.keyboard.press("ArrowRight")  # the other card's
        page.wait_for_function("[...document.querySelectorAll('.compare b')].some(b => b.textContent === 'Петровн')")
        page.keyboard.press("Escape")  # while a choice has the focus nothing is left
        page.keyboard.press("Control+Enter")
        page.get_by_text("Карты 000001 и 000002 объединены").wait_for()
        assert page.get_by_text("Кузнецова Марина Петровн,").is_visible()
        page.get_by_role("button", name="Разъединить с картой 000002").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Похожа карта 000002").wait_for()
        assert wrong == []


async def test_a_split_asks_whose_the_orders_since_the_merge_are(scene: Scene, user: User) -> None:
    merge(scene, register(scene), register(scene, TWIN))
    later = register(scene, at="12:00")
    await user.open("/patient/000001")
    press(user, "Разъединить")
    await user.should_see("Чьи это направления?")
    await user.should_see(f"{later.accession_number}. Записал:")
    press(user, "Да, разъединить")
    await user.should_see("Ответьте про каждое, чьё оно")
    assert user.client
    choices = [each for each in user.client.elements.values() if each.props.get("name") == f"whose-{later.id}"]
    with user.client:
        UserInteraction(user, {choices[1]}, None).trigger("change")
    press(user, "Да, разъединить")
    await user.should_see("Разъединено: карта 000002 снова отдельно")
    with scene.store.read() as reader:
        assert orders.require(reader, later.id).patient.patient_id == "000002"


async def test_who_does_not_know_whose_an_order_is_says_so_and_decides_later_on_its_card(
    scene: Scene, user: User
) -> None:
    merge(scene, register(scene), register(scene, TWIN))
    later = register(scene, at="12:00")
    await user.open("/patient/000001")
    press(user, "Разъединить")
    await user.should_see("Не знаю: останется здесь и будет ждать решения")
    assert user.client
    choices = [each for each in user.client.elements.values() if each.props.get("name") == f"whose-{later.id}"]
    with user.client:
        UserInteraction(user, {choices[2]}, None).trigger("change")
    press(user, "Да, разъединить")
    await user.should_see("Разъединено: карта 000002 снова отдельно")
    for page in ("/patient/000001", "/patient/000002", "/board", f"/order/{later.accession_number}"):
        await user.open(page)
        await user.should_see("Чьё это направление?")
    press(user, "Карта 000002: Кузнецова Марина Петровн, 12.03.1961")
    await user.should_see(f"Решено: {later.accession_number}, карта 000002")
    await user.should_not_see("Чьё это направление?")
    with scene.store.read() as reader:
        assert orders.require(reader, later.id).patient.patient_id == "000002"
