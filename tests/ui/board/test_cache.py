"""A day that many boards show: read once, laid out once, never older than what they were told of."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from broker.store.tables import worklist
from tests.support.clock import TODAY
from tests.ui.scene import Scene
from ui.board import cache, layout
from ui.board.cache import BoardCache
from ui.board.layout import ALL, BoardDay
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Which days were read."""
    read, done = layout.read, list[Any]()

    def counted(reader: Any, on: Any, *args: Any) -> BoardDay:
        done.append(on)
        return read(reader, on, *args)

    monkeypatch.setattr(layout, "read", counted)
    return done


async def test_who_asks_at_the_same_time_or_later_gets_the_same_reading(
    services: Services, readings: list[Any]
) -> None:
    shared = BoardCache(services)
    first, *others = await asyncio.gather(*(shared.plan(TODAY, TODAY) for _ in range(20)))
    assert all(each is first for each in [*others, await shared.plan(TODAY, TODAY)])
    assert readings == [TODAY]


async def test_every_change_is_read_also_a_background_one(
    scene: Scene, services: Services, readings: list[Any]
) -> None:
    shared = BoardCache(services)
    order = scene.register("10:00")
    before = await shared.plan(TODAY, TODAY)
    assert before.day.visits[0].seen_at is None
    reported = scene.store.submit_background(worklist.note_delivery, [order.steps[0].id], "XRAY_14")
    await asyncio.wrap_future(reported)
    after = await shared.plan(TODAY, TODAY)
    assert after.day.visits[0].seen_at == scene.now
    assert readings == [TODAY, TODAY]


async def test_other_days_are_read_apart_and_few_are_kept(services: Services, readings: list[Any]) -> None:
    shared = BoardCache(services)
    wanted = [TODAY + timedelta(days=number) for number in range(cache.MAX_DAYS + 1)]
    for on in wanted:
        assert (await shared.plan(on, TODAY)).day.on == on
    await shared.plan(wanted[-1], TODAY)
    assert readings == wanted
    await shared.plan(wanted[0], TODAY)
    assert readings == [*wanted, wanted[0]]


async def test_a_reading_grows_old_by_itself(
    services: Services, readings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = BoardCache(services)
    await shared.plan(TODAY, TODAY)
    monkeypatch.setattr(cache, "KEPT", 0.0)
    await shared.plan(TODAY, TODAY)
    assert len(readings) == 2


async def test_a_closed_tab_does_not_cancel_the_reading_for_others(services: Services, readings: list[Any]) -> None:
    shared = BoardCache(services)
    closed, other = (asyncio.ensure_future(shared.plan(TODAY, TODAY)) for _ in range(2))
    await asyncio.sleep(0)
    closed.cancel()
    assert (await other).day.on == TODAY
    assert closed.cancelled()
    assert readings == [TODAY]


async def test_a_reading_that_failed_is_tried_again(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = BoardCache(services)
    with monkeypatch.context() as broken:
        broken.setattr(layout, "read", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await shared.plan(TODAY, TODAY)
    assert (await shared.plan(TODAY, TODAY)).day.on == TODAY


async def test_a_day_is_laid_out_once_a_minute_for_every_way_of_looking_at_it(scene: Scene, services: Services) -> None:
    scene.register("10:00")
    plan = await BoardCache(services).plan(TODAY, TODAY)
    now, none = scene.local("09:47"), frozenset[str]()
    columns = plan.columns(now, ALL, none)
    assert plan.columns(now + timedelta(seconds=59), ALL, none) is columns
    assert plan.columns(now, ALL, frozenset({"XRAY_14"})) is not columns
    assert plan.columns(now, layout.WAITING, none) is not columns
    assert plan.columns(now + timedelta(minutes=1), ALL, none) is not columns
    assert plan.attention_items(amend=True) is plan.attention_items(amend=True)
