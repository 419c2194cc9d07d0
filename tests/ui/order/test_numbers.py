"""A study whose number has other characters than ours opens, prints and is linked to like any other."""

from __future__ import annotations

import pytest

from broker.workflow.referrals import worklist_files
from tests.support.factory import CLINIC, SYSTEM
from tests.ui.conftest import Site, person, session_of
from tests.workflow.referrals.test_worklist_files import item
from ui.services import COOKIE, Services
from ui.text import links

ODD = ("A/1", "2026/11 №5", "К-17", "a b?c#d", "50%2F", "x&y=z")


@pytest.fixture(params=ODD)
def number(request: pytest.FixtureRequest, services: Services) -> str:
    """The number of a study that was imported."""
    number: str = request.param
    services.store.write(worklist_files.sync, item(accession_number=number), "/wl/1.wl", "1", SYSTEM, CLINIC)
    return number


async def test_its_card_opens_by_its_link(services: Services, number: str) -> None:
    async with person(services) as user:
        await user.open(links.card(number))
        await user.should_see("Номер исследования")
        await user.should_see(number)
        await user.open(links.amendment(number))
        await user.should_see(f"изменяется {number}")


def test_its_label_is_printed(site: Site, number: str) -> None:
    site.http.cookies.set(COOKIE, session_of(site.services, "orlova"))
    answer = site.http.get(links.label(number))
    assert answer.status_code == 200
    printed = site.http.get(links.report(number))
    assert printed.status_code == 404  # nothing is signed
    assert "Протокола нет" in printed.text
