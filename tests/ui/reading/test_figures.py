"""The head of a clinic sees how far readers agree; readers do not see it of each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from broker.documents.dose_account import csv_of
from broker.domain.reading.opinions import Finding, Opinion
from broker.domain.studies.avoided_repeats import AvoidedRepeat
from broker.store.queries.reading import reading_figures
from broker.workflow.studies import avoided_repeats
from tests.support.factory import REGISTRAR
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


async def test_the_head_sees_how_many_studies_were_not_repeated(room: Services) -> None:
    avoided = AvoidedRepeat("form 1", "000001", "WLB-FLG1", "DX", "2026-11-12 DX K2611-0001", 0.05)
    known = (avoided, replace(avoided, submission_id="form 2", effective_dose=None))
    ultrasound = replace(avoided, submission_id="form 3", modality="US", effective_dose=None)
    for each in (*known, ultrasound):
        room.store.write(avoided_repeats.note, each, REGISTRAR)
    async with person(room, "admin") as head:
        await head.open("/figures")
        await head.should_see("Рентген: 2 исследования, сбережено не меньше 0,05 мЗв")
        await head.should_see("УЗИ: 1 исследование, без облучения")


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
