"""A clinic's day, end to end, every part real.

The program is its own process; a registrar types in Chromium; DCMTK asks the worklist; a modality reports by MPPS; the
open board changes by itself; the region's practice bus has the order, its images and its cancellation.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect

from tests.acceptance.devices import referral, send
from tests.peers import chromium
from tests.peers.dcmtk import EVERYTHING, STEP, findscu
from tests.support.clinic import PASSWORD, Installation
from tests.support.modality import creation, ending

pytestmark = pytest.mark.slow
NAME = "Кузнецова^Марина^Петровна"


def sign_in(page: Page, installation: Installation) -> None:
    page.goto(f"{installation.url}/signin")
    page.get_by_label("Имя пользователя").fill("orlova")
    page.get_by_label("Пароль").fill(PASSWORD)
    page.get_by_role("button", name="Войти").click()
    page.wait_for_url("**/desk")


def choose(page: Page, label: str, typed: str, option: str) -> None:
    """Choose an option of a list, as a person does: click, type if it can be typed into, take it."""
    field = page.get_by_label(label, exact=True)
    page.locator(".q-field__control", has=field).click()
    if typed:
        field.fill(typed)
    page.get_by_role("option", name=option, exact=False).first.click()


def type_referral(page: Page) -> str:
    """Type a referral as a registrar does; give the accession number that the screen shows."""
    search = page.get_by_label("Поиск: ФИО, СНИЛС, полис или штрих-код")
    search.fill("Кузнецова Марина Петровна")
    expect(page.get_by_text("Новый пациент: Кузнецова Марина Петровна")).to_be_visible()
    search.press("Enter")
    expect(page.get_by_label("Фамилия")).to_have_value("Кузнецова")
    page.get_by_label("Дата рождения").fill("12.03.1961")
    expect(page.get_by_label("Пол", exact=True)).to_have_value("Женский")  # the отчество tells
    page.get_by_label("СНИЛС", exact=True).fill("112-233-445 95")
    choose(page, "Что делаем", "коленного", "Рентгенография коленного сустава")
    choose(page, "Аппарат", "", "Рентген")
    page.get_by_label("Время", exact=True).fill("12:30")  # late in the evening no time of today is offered
    page.get_by_label("Кто направил").fill("Зимин Андрей Павлович, терапевт")
    page.get_by_label("Диагноз, МКБ-10").fill("M17.1")
    page.keyboard.press("Control+Enter")
    number = page.locator(".saved .number")
    expect(number).to_be_visible()
    return number.inner_text()


def test_a_clinics_day(installation: Installation, tmp_path: Path) -> None:
    installation.start()
    with chromium.browser() as browser, chromium.page(browser, installation.url) as (page, wrong):
        # The registrar.
        sign_in(page, installation)
        number = type_referral(page)
        assert re.fullmatch(r"K\d{4}-\d{4}", number)
        [order] = installation.orders()
        assert order["accession_number"] == number

        # The board, left open.
        day = order["start"][:10]
        page.goto(f"{installation.url}/board?date={day}")
        row = page.locator(".visit", has_text="Кузнецова М. П.")
        expect(row).to_contain_text("Ожидает")

        # The modality asks for its list, by station and date, in both character sets.
        for term, codec in (("ISO_IR 192", "utf-8"), ("ISO_IR 144", "iso8859_5")):
            found = findscu(
                installation.dicom_port,
                *EVERYTHING,
                f"SpecificCharacterSet={term}",
                f"{STEP}ScheduledStationAETitle=XRAY_14",
                f"{STEP}ScheduledProcedureStepStartDate={day.replace('-', '')}",
                directory=tmp_path / codec,
            )
            [match] = found.matches
            assert (str(match.PatientName), match.AccessionNumber) == (NAME, number)
            assert NAME.encode(codec) in found.raw[0]
        expect(row).to_contain_text("Виден аппарату")

        # It begins, and it ends; nobody touches the browser.
        study = str(match.StudyInstanceUID)
        assert send(installation.dicom_port, "1.2.3", create=creation(study)) == 0
        expect(row).to_contain_text("Выполняется")
        assert send(installation.dicom_port, "1.2.3", change=ending()) == 0
        # «Выполнено» for as long as the bus has not got it, which may be too short to see.
        expect(row).to_contain_text(re.compile("Выполнено|Отправлено"))

        # Another referral is cancelled on its card.
        [other] = installation.add_orders([referral(installation, 1)])
        installation.wait_for(lambda: other in installation.orders_on_bus())
        page.goto(f"{installation.url}/order/{other}")
        page.get_by_role("button", name="Отменить", exact=True).click()
        page.get_by_role("textbox", name=re.compile("Причина|Почему")).fill("пациент не пришёл")
        page.get_by_role("button", name="Отменить направление").click()
        expect(page.locator("#main")).to_contain_text("Отменено")

        # The region knows all of it.
        installation.wait_for(lambda: installation.orders_on_bus() == {number: ["requested"], other: ["cancelled"]})
        installation.wait_for(lambda: list(installation.results_on_bus().values()) == [["in-progress"]])
        [report] = installation.bus.resources("DiagnosticReport")
        assert report["status"] == "partial"
        [imaging] = installation.bus.resources("ImagingStudy")
        assert {"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}.items() <= imaging["identifier"][1].items()
        patient = installation.bus.resources("Patient")[0]
        assert patient["name"][0] == {"family": "Кузнецова", "given": ["Марина", "Петровна"]}

        page.goto(f"{installation.url}/exchange")
        expect(page.locator("#main")).to_contain_text("Всё отправлено")
        assert wrong == []
    assert installation.stop() == 0
    assert "Кузнецова" not in installation.log.read_text()


def test_a_draft_survives_a_restart_under_the_open_page(installation: Installation) -> None:
    installation.start()
    with chromium.browser() as browser, chromium.page(browser, installation.url) as (page, _):
        sign_in(page, installation)
        page.get_by_label("Фамилия").fill("Черновикова")
        expect(page.get_by_text("Черновик сохранён")).to_be_visible()
        installation.kill()
        installation.start()
        with suppress(Error):  # ERR_ABORTED: the open page has found the server again and reloads by itself
            page.goto(f"{installation.url}/desk")
        expect(page.get_by_label("Фамилия")).to_have_value("Черновикова")


def test_a_referral_pressed_twice_is_one(installation: Installation) -> None:
    installation.start()
    with chromium.browser() as browser, chromium.page(browser, installation.url) as (page, _):
        sign_in(page, installation)
        page.evaluate(  # two presses before the first answer can come
            "addEventListener('keydown', e => { if (e.ctrlKey && e.key === 'Enter' && e.isTrusted) {"
            " const b = document.querySelector('[data-primary]'); b?.click(); b?.click(); } }, true)"
        )
        type_referral(page)
        page.wait_for_timeout(500)
    assert len(installation.orders()) == 1
