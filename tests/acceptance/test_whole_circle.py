"""The whole circle, every part real: what one clinic asks for comes back to it as images read twice and one report.

Two clinics on one bus, each a program of its own; people in Chromium; the modality asks by DCMTK's findscu, reports by
MPPS, stores by storescu into Debian's Orthanc and notifies of the images; DCMTK's findscu asks the archive.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import InstanceAvailabilityNotification  # type: ignore[attr-defined]
from pypdf import PdfReader

from tests.acceptance.devices import send
from tests.acceptance.test_clinic_day import choose
from tests.acceptance.test_reading_day import READERS, read_one, signed_in, write_template
from tests.peers import chromium, orthanc
from tests.peers.dcmtk import EVERYTHING, STEP, findscu
from tests.support.clinic import PASSWORD, Installation
from tests.support.modality import creation, ending

pytestmark = pytest.mark.slow

NAME = "Кузнецова Марина Петровна"
DISAGREED = "Инфильтрация S2 справа."
ADDED = "КТ назначена."
OVER_THE_BUS = 30_000  # milliseconds in which a page shows what comes over the bus


class Circle:
    """The clinic that refers, the one that performs, and its archive."""

    def __init__(self, directory: Path, archive: int, archive_directory: Path) -> None:
        (directory / "a").mkdir()
        (directory / "b").mkdir()
        self.archive, self.archive_directory = archive, archive_directory
        self.here = Installation(directory / "a")
        self.there = Installation(directory / "b", neighbour=self.here)
        with self.there.config.open("a", encoding="utf-8") as config:
            config.write(
                f"pacs: {{ae_title: ORTHANC, address: 127.0.0.1, port: {archive}, send_reports: true}}\n"
                "reading: {hold_minutes: 0, pause_seconds: 0}\n"
            )
        for login, name in READERS.items():
            self.there.command("account", "add", login, "--name", name, "--role", "radiologist", "--password-stdin")
        self.there.command("reading", "double", "WLB-FLG1")
        table = directory / "organisations.csv"
        table.write_text(f"id;name\n{self.there.organisation};Больница № 2\n", encoding="utf-8")
        command = ("directory", "import", str(table), "--kind", "organisations")
        self.here.command(*command, "--system", "1.2.3", "--version", "1")
        self.here.start()
        self.there.start()

    def close(self) -> None:
        self.there.close()
        self.here.close()

    def notify(self, study: str) -> None:
        """Say that the images are in the archive, as a modality or a gateway does (IAN, PS3.4 annex R)."""
        said = Dataset()
        said.StudyInstanceUID = study
        ae = AE(ae_title="FLG_12")
        ae.add_requested_context(InstanceAvailabilityNotification)
        association = ae.associate("127.0.0.1", self.there.dicom_port, ae_title="WORKLIST")
        status, _ = association.send_n_create(said, InstanceAvailabilityNotification, "1.2.3.4")
        association.release()
        assert status.Status == 0

    def documents(self) -> list[Dataset]:
        """Return what the archive has stored as documents, the oldest first."""
        found = []
        for path in (self.archive_directory / "storage").rglob("*"):
            if path.is_file() and path.read_bytes()[128:132] == b"DICM":
                ds = dcmread(path)
                if ds.Modality == "DOC":
                    found.append(ds)
        return sorted(found, key=lambda ds: int(ds.InstanceNumber))

    def reports(self) -> list[dict[str, Any]]:
        """Return the reports that the region has, without those of images alone."""
        return [each for each in self.here.bus.resources("DiagnosticReport") if each["status"] != "partial"]


@pytest.fixture
def circle(tmp_path: Path) -> Iterator[Circle]:
    kept = tmp_path / "archive"
    kept.mkdir()
    with ExitStack() as stack:
        made = Circle(tmp_path, stack.enter_context(orthanc.orthanc(kept)), kept)
        stack.callback(made.close)
        yield made


def registrar(browser: Browser, installation: Installation) -> Page:
    page = browser.new_context(viewport={"width": 1366, "height": 768}, locale="ru-RU").new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{installation.url}/signin")
    page.get_by_label("Имя пользователя").fill("orlova")
    page.get_by_label("Пароль").fill(PASSWORD)
    page.get_by_role("button", name="Войти").click()
    page.wait_for_url("**/desk")
    return page


def refer(page: Page) -> str:
    """Type a referral to the other clinic as a registrar does; give its number."""
    page.get_by_label("Фамилия").fill("Кузнецова")
    page.get_by_label("Имя", exact=True).fill("Марина")
    page.get_by_label("Отчество").fill("Петровна")
    page.get_by_label("Дата рождения").fill("12.03.1961")
    page.get_by_label("СНИЛС", exact=True).fill("112-233-445 95")
    choose(page, "Что делаем", "флюоро", "Флюорография, прямая проекция")
    page.get_by_role("button", name="в другую клинику").click()
    page.get_by_label("Другая клиника", exact=True).fill("больница")
    page.get_by_role("option", name="Больница № 2").click()
    page.get_by_label("Кто направил").fill("Зимин Андрей Павлович, терапевт")
    page.keyboard.press("Control+Enter")
    number = page.locator(".saved .number")
    expect(number).to_be_visible()
    return number.inner_text()


def accept(page: Page, installation: Installation) -> str:
    """Give what came over the bus a device and a time; give its number here."""
    page.goto(f"{installation.url}/incoming")
    expect(page.locator(".income")).to_contain_text(NAME, timeout=OVER_THE_BUS)
    page.locator(".income").get_by_role("link", name=re.compile("Записать")).click()
    expect(page.get_by_label("Фамилия")).to_have_value("Кузнецова")
    choose(page, "Аппарат", "", "Флюорограф")
    page.get_by_label("Время", exact=True).fill("12:30")
    page.keyboard.press("Control+Enter")
    number = page.locator(".saved .number")
    expect(number).to_be_visible()
    return number.inner_text()


def examine(circle: Circle, number: str, directory: Path) -> str:
    """Let the fluorograph find its patient, make the images and store them; give the Study Instance UID."""
    found = findscu(
        circle.there.dicom_port,
        *EVERYTHING,
        "PatientBirthDate",
        "SpecificCharacterSet=ISO_IR 192",
        f"{STEP}ScheduledStationAETitle=FLG_12",
        f"AccessionNumber={number}",
        directory=directory / "found",
        calling="FLG_12",
    )
    [item] = found.matches
    assert str(item.PatientName) == "Кузнецова^Марина^Петровна"
    study = str(item.StudyInstanceUID)
    started = creation(study)
    started.PatientName, started.PatientID = item.PatientName, item.PatientID
    assert send(circle.there.dicom_port, "1.2.3", create=started, calling="FLG_12") == 0
    assert send(circle.there.dicom_port, "1.2.3", change=ending(), calling="FLG_12") == 0
    for _ in range(2):
        orthanc.store_image(
            circle.archive,
            directory,
            PatientName=str(item.PatientName),
            PatientID=item.PatientID,
            PatientBirthDate=item.PatientBirthDate,
            StudyInstanceUID=study,
            AccessionNumber=number,
        )
    circle.notify(study)
    return study


def words_of(document: Dataset) -> str:
    reader = PdfReader(io.BytesIO(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]))
    return " ".join("\n".join(page.extract_text() for page in reader.pages).split())


def test_images_are_read_twice_and_one_report_goes_to_who_asked_and_to_the_archive(
    circle: Circle, tmp_path: Path
) -> None:
    here, there = circle.here, circle.there
    with chromium.browser() as browser:
        asks = registrar(browser, here)
        sent = refer(asks)
        desk = registrar(browser, there)
        number = accept(desk, there)
        study = examine(circle, number, tmp_path)
        first = signed_in(browser, there, "volskaya")
        write_template(first, there.url)
        read_one(first, there.url)
        first.keyboard.press("1")
        expect(first.locator(".reading-end h2")).to_have_text("Сеанс прочитан: 1 случай")
        second = signed_in(browser, there, "larin")
        read_one(second, there.url)
        second.keyboard.press("3")
        second.get_by_label("Описание").fill("В S2 справа участок инфильтрации.")
        second.get_by_label("Заключение").fill(DISAGREED)
        second.get_by_role("button", name="Справа").click()
        second.keyboard.press("Control+Enter")
        expect(second.locator(".reading-end h2")).to_have_text("Сеанс прочитан: 1 случай")
        # They differ: neither the region nor the archive nor the clinic that asked has a word of it.
        assert (circle.reports(), circle.documents()) == ([], [])

        third = signed_in(browser, there, "gushchina")
        read_one(third, there.url)
        third.keyboard.press("ArrowRight")
        expect(third.get_by_label("Заключение")).to_have_value(DISAGREED)
        third.keyboard.press("Control+Enter")
        expect(third.locator(".reading-end h2")).to_have_text("Сеанс прочитан: 1 случай")

        there.wait_for(lambda: [each["status"] for each in circle.reports()] == ["final"])
        there.wait_for(lambda: len(circle.documents()) == 1)
        asks.goto(f"{here.url}/order/{sent}")
        expect(asks.locator("#main")).to_contain_text(DISAGREED, timeout=OVER_THE_BUS)
        expect(asks.locator("#main")).to_contain_text("Больница № 2")

        third.goto(f"{there.url}/reading/{number}")
        third.get_by_role("button", name="Дополнить").click()
        third.get_by_label(re.compile("дополн", re.IGNORECASE)).first.fill(ADDED)
        third.get_by_role("button", name=re.compile("Подписать")).last.click()
        there.wait_for(lambda: sorted(each["status"] for each in circle.reports()) == ["appended", "final"])
        there.wait_for(lambda: len(circle.documents()) == 2)
        expect(asks.locator("#main")).to_contain_text(ADDED, timeout=OVER_THE_BUS)  # the open card changes by itself

    report, addition = circle.documents()
    assert {str(each.StudyInstanceUID) for each in (report, addition)} == {study}
    assert {str(each.PatientName) for each in (report, addition)} == {"Кузнецова^Марина^Петровна"}
    assert DISAGREED in words_of(report)
    assert ADDED in words_of(addition)
    assert_in_archive(circle.archive, study, tmp_path)


def assert_in_archive(port: int, study: str, directory: Path) -> None:
    """Ask the archive by DCMTK: the images and both documents are of one study."""
    keys = ("QueryRetrieveLevel=STUDY", "NumberOfStudyRelatedInstances", "ModalitiesInStudy")
    found = findscu(port, *keys, f"StudyInstanceUID={study}", directory=directory / "archive", model="-S")
    [item] = found.matches
    assert (int(item.NumberOfStudyRelatedInstances), sorted(item.ModalitiesInStudy)) == (4, ["CR", "DOC"])
