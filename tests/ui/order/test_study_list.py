"""The list of studies: today's, found ones, and the number that a scanner types."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from nicegui.testing import User

from tests.support.clock import TODAY
from tests.support.waiting import wait_until_async
from tests.ui.scene import Scene, only_table, texts

pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


def rows(user: User) -> list[dict[str, Any]]:
    return list(only_table(user).rows)


async def test_today_is_listed_and_moves_by_itself(scene: Scene, user: User) -> None:
    order = scene.register("10:00")
    scene.register("10:00", "Ли Ен", on=TODAY + timedelta(days=1))
    await user.open("/studies")
    await user.should_see("Исследования сегодня")
    assert [(row["time"], row["patient"], row["device"], row["state"]) for row in rows(user)] == [
        ("10:00", "Кузнецова Марина Петровна", "Рентген", "waiting")
    ]
    assert rows(user)[0]["born"] == " 12.03.1961 (65 лет)"
    scene.begin(order, "1.2.1")
    await wait_until_async(lambda: rows(user)[0]["state"] == "running")


async def test_a_name_finds_studies_of_every_day(scene: Scene, user: User) -> None:
    scene.register("10:00")
    scene.register("11:00", "Кузьмина Алёна", on=TODAY + timedelta(days=1))
    scene.register("11:00", "Ли Ен")
    await user.open("/studies?q=куз")
    await user.should_see("Найдено по «куз»")
    assert [row["time"] for row in rows(user)] == ["завтра 11:00", "10:00"]


async def test_a_scanned_number_opens_its_card(scene: Scene, user: User) -> None:
    scene.register("10:00")
    await user.open("/studies?q=%20k2611-0001")
    await user.should_see("Номер исследования")
    assert "K2611-0001" in texts(user, "number")


async def test_what_was_typed_is_shown_as_text(user: User) -> None:
    await user.open("/studies?q=<b>x")
    await user.should_see("Найдено по «<b>x»")
    await user.should_see("По этому запросу ничего нет.")
    await user.open("/studies")
    await user.should_see("Сегодня ещё нет направлений.")
