"""The head of a clinic sees how far readers agree; readers do not see it of each other."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from broker.documents.dose_account import csv_of
from broker.domain.reading.opinions import Finding, Opinion
from broker.store.queries.reading import reading_figures
from tests.ui.conftest import application, person, session_of
from tests.ui.reading.session.test_page import read_by, room, study
from ui.reading.figures_page import number, percent
from ui.services import COOKIE, Services

__all__ = ["room"]  # a fixture

NORM, _, RECALL, _ = map(Opinion, Finding)


def read_three(room: Services) -> None:
    agreed, differed, waits = study(room, 1), study(room, 2), study(room, 3)
    read_by(room, agreed, "larin", NORM, "норма")
    read_by(room, agreed, "gushchina", NORM, "норма")
    read_by(room, differed, "larin", NORM, "норма")
    read_by(room, differed, "gushchina", RECALL, "тень")
    read_by(room, differed, "volskaya", RECALL, "тень")
    read_by(room, waits, "larin", RECALL, "тень")


def test_only_concluded_studies_are_counted(room: Services) -> None:
    read_three(room)
    now = room.store.clock()
    with room.store.read() as reader:
        [pairs] = reading_figures.pairs(reader, now - timedelta(days=1), now + timedelta(days=1)).values()
        assert reading_figures.pairs(reader, now + timedelta(days=1), now + timedelta(days=2)) == {}
    assert [(pair.first, pair.second, pair.decided, pair.was_arbitrated) for pair in pairs] == [
        ("larin", "gushchina", NORM, False),
        ("larin", "gushchina", RECALL, True),
    ]


async def test_the_head_sees_the_figures(room: Services) -> None:
    read_three(room)
    async with person(room, "admin") as head:
        await head.open("/figures")
        for word in ("прочли двое", "Гущина Е. М.", "1 из 1", "мало"):
            await head.should_see(word)


@pytest.mark.parametrize("login", ["volskaya", "orlova", "yudin"])
async def test_nobody_else_sees_them(room: Services, login: str) -> None:
    read_three(room)
    async with person(room, login) as somebody:
        await somebody.open("/figures")
        await somebody.should_see("Это видят главный врач и заведующий.")
        await somebody.should_not_see("прочли двое")


def test_shares_are_written_as_people_read_them() -> None:
    assert (percent(0.9524), percent(None), number(0.705)) == ("95,2 %", "мало", "0,70")


async def test_the_head_downloads_the_account_of_doses_and_others_do_not(services: Services) -> None:
    with application(services) as app:
        for login, status in (("admin", 200), ("orlova", 403)):
            cookies = {COOKIE: session_of(services, login)}
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test", cookies=cookies) as client:
                answer = await client.get("/dose-account/2026.csv")
                assert answer.status_code == status
                if status == 200:
                    assert answer.content == csv_of([])
                    assert (await client.get("/dose-account/0.csv")).status_code == 404
