"""«Снимки» opens a study's images in the clinic's viewer; in a session, one window that goes from case to case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from nicegui import ui

from broker.domain.orders import Order
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.viewer import Viewer
from broker.store.database import Store
from broker.workflow.referrals import referrals
from broker.workflow.studies import archive_images
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, draft
from tests.ui.conftest import application, person
from tests.ui.reading.session.test_page import key, study
from ui.reading import viewer_window
from ui.services import Services

OHIF = Viewer("https://pacs/viewer?StudyInstanceUIDs={study}")
WEASIS = Viewer("weasis://{study}")


def looking(services: Services, viewer: Viewer = OHIF) -> Services:
    return replace(services, settings=replace(services.settings, viewer=viewer))


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the page has the browser do with the viewer."""
    run: list[str] = []

    class Browser:
        def __getattr__(self, name: str) -> Any:
            return getattr(ui, name)

        def run_javascript(self, code: str) -> None:
            run.append(code)

    monkeypatch.setattr(viewer_window, "ui", Browser())
    return run


async def addresses(services: Services, path: str, login: str = "volskaya") -> list[tuple[str, str]]:
    async with person(services, login) as somebody:
        await somebody.open(path)
        await somebody.should_see("Кузнецова")
        found = [each for each in somebody.find(kind=ui.element).elements if each.tag == "a"]
        return [
            (str(each.props["href"]), str(each.props.get("target", "")))
            for each in found
            if "://" in str(each.props.get("href", ""))
        ]


async def test_the_card_and_the_reading_page_open_the_images(services: Services) -> None:
    order = study(services, 1)
    link = [(f"https://pacs/viewer?StudyInstanceUIDs={order.study_instance_uid}", "viewer")]
    for path in (f"/order/{order.accession_number}", f"/reading/{order.accession_number}"):
        assert await addresses(looking(services), path) == link
        assert await addresses(services, path) == []


async def test_a_program_is_a_plain_link_by_its_scheme(services: Services) -> None:
    order = study(services, 1)
    found = await addresses(looking(services, WEASIS), f"/order/{order.accession_number}")
    assert found == [(f"weasis://{order.study_instance_uid}", "")]


async def test_there_is_no_link_before_there_are_images(services: Services) -> None:
    order = services.store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    assert await addresses(looking(services), f"/order/{order.accession_number}") == []


async def test_the_archives_own_study_is_opened(services: Services) -> None:
    order = study(services, 1)
    accept(services.store, order, "1.2.840.9")
    found = await addresses(looking(services), f"/order/{order.accession_number}")
    assert found == [("https://pacs/viewer?StudyInstanceUIDs=1.2.840.9", "viewer")]


def accept(store: Store, order: Order, uid: str) -> None:
    """Let the archive hold the order's images under another UID, which a person has accepted."""
    held = ArchiveStudy(uid, order.accession_number, 2, "DX", "Кузнецова^Марина^Петровна", order.patient.patient_id)
    store.write(archive_images.record_answer, order.id, [held], SYSTEM, CLINIC, settled=True)
    with store.read() as reader:
        [row] = reader.rows("SELECT id FROM archive_discrepancy WHERE order_id = ?", [order.id])
    store.write(archive_images.accept, row["id"], SYSTEM, CLINIC)


async def test_the_window_that_a_key_has_opened_follows_from_case_to_case(
    services: Services, scripts: list[str]
) -> None:
    first, second = study(services, 1), study(services, 2)
    async with person(looking(services), "volskaya") as doctor:
        await doctor.open("/read?modality=DX")
        await doctor.should_see(first.accession_number)
        assert scripts == []  # nothing opens unasked
        key(doctor, "KeyV")
        await doctor.should_see("снимки")
        key(doctor, "KeyS")
        await doctor.should_see(second.accession_number)
        key(doctor, "KeyD")
    opened, followed = scripts
    assert opened.endswith(f'window.open("{OHIF.link(first.study_instance_uid, "", "")}", "viewer")')
    assert ".closed" in followed
    assert f'.location.replace("{OHIF.link(second.study_instance_uid, "", "")}")' in followed


async def test_at_the_end_of_the_session_the_window_shows_nobody(services: Services, scripts: list[str]) -> None:
    first = study(services, 1)
    async with person(looking(services), "volskaya") as doctor:
        await doctor.open("/read?modality=DX&size=25")
        await doctor.should_see(first.accession_number)
        key(doctor, "KeyV")
        key(doctor, "KeyD")
        await doctor.should_see("Отложить случай")
        key(doctor, "Digit1")
        await doctor.should_see("Читать нечего")
    assert '"about:blank"' in scripts[-1]


@pytest.mark.parametrize(
    ("viewer", "said"), [(None, "same-origin"), (OHIF, "same-origin-allow-popups"), (WEASIS, "same-origin")]
)
async def test_pages_keep_hold_of_the_viewers_window_where_there_is_one(
    services: Services, viewer: Viewer | None, said: str
) -> None:
    settings = replace(services.settings, viewer=viewer)
    with application(replace(services, settings=settings)) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            answer = await client.get("/signin")
    assert answer.headers["Cross-Origin-Opener-Policy"] == said
