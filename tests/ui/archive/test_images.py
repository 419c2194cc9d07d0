"""«Открыть снимки», key V: a person who compares a study sees in the clinic's viewer what the archive holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.studies.viewer import Viewer
from tests.peers import chromium
from tests.ui.archive.test_page import answer, hold, late, study
from tests.ui.conftest import PASSWORD, Site, person
from tests.ui.scene import Scene
from ui.services import Services

OHIF = Viewer("https://pacs/viewer?StudyInstanceUIDs={study}")
WEASIS = Viewer("weasis://{accession}")


def looking(services: Services, viewer: Viewer | None) -> Services:
    return replace(services, settings=replace(services.settings, viewer=viewer))


@pytest.fixture
def services(services: Services, request: pytest.FixtureRequest) -> Services:
    """The services of a clinic whose viewer the test names; else of one without."""
    return looking(services, getattr(request, "param", None))


def opened_by_v(user: User) -> list[tuple[str, str]]:
    """Return where the links lead that key V follows, and in which window."""
    found = (each for each in user.find(kind=ui.element).elements if each.props.get("data-key") == "V")
    return [(str(each.props["href"]), str(each.props.get("target", ""))) for each in found]


async def test_the_compared_study_is_opened_not_the_referrals(scene: Scene, services: Services) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, study_instance_uid="1.2.840.9"))
    for login in ("orlova", "volskaya"):
        async with person(looking(services, OHIF), login) as somebody:
            await somebody.open("/archive")
            await somebody.should_see("Открыть снимки")
            assert opened_by_v(somebody) == [("https://pacs/viewer?StudyInstanceUIDs=1.2.840.9", "viewer")]


async def test_of_several_the_compared_one_alone_bears_the_key(scene: Scene, services: Services) -> None:
    for hour, uid in (("09:00", "1.2.8"), ("09:20", "1.2.9")):
        order = scene.register(hour)
        answer(scene, order, study(order, study_instance_uid=uid))
    async with person(looking(services, OHIF), "orlova") as somebody:
        await somebody.open(f"/archive?order={order.accession_number}")
        await somebody.should_see("Открыть снимки")
        assert opened_by_v(somebody) == [("https://pacs/viewer?StudyInstanceUIDs=1.2.9", "viewer")]


async def test_a_study_without_a_referral_is_opened_beside_the_likely_one(scene: Scene, services: Services) -> None:
    scene.register("09:20")
    hold(scene, late())
    async with person(looking(services, OHIF), "orlova") as somebody:
        await somebody.open("/archive")
        await somebody.should_see("Открыть снимки")
        assert opened_by_v(somebody) == [("https://pacs/viewer?StudyInstanceUIDs=1.2.3.9", "viewer")]


@pytest.mark.parametrize("viewer", [None, WEASIS])
async def test_without_a_viewer_or_what_its_link_needs_there_is_no_key(
    scene: Scene, services: Services, viewer: Viewer | None
) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, accession_number="", patient_name="Попов^Олег"))
    async with person(looking(services, viewer), "orlova") as somebody:
        await somebody.open("/archive")
        await somebody.should_see("Тот ли это пациент?")
        await somebody.should_not_see("Открыть снимки")
        assert opened_by_v(somebody) == []


@pytest.mark.slow
@pytest.mark.parametrize("services", [Viewer("http://127.0.0.1:9/viewer?study={study}")], indirect=True)
def test_the_key_opens_the_window_in_any_layout_and_is_a_letter_while_typing(scene: Scene, site: Site) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, study_instance_uid="1.2.840.9"))
    with chromium.browser() as browser, chromium.page(browser, site.url) as (page, _):
        page.goto(f"{site.url}/signin?next=/archive")
        page.fill("input[name=name]", "orlova")
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Открыть снимки").wait_for()
        page.locator("#find").press("v")
        page.locator("#find").blur()
        assert len(page.context.pages) == 1
        with page.context.expect_page() as opened:
            pressed = "new KeyboardEvent('keydown', {key: 'м', code: 'KeyV', bubbles: true})"
            page.evaluate(f"() => document.body.dispatchEvent({pressed})")
        assert opened.value is not page
        assert len(page.context.pages) == 2
        assert page.url.endswith("/archive")
