"""News on its way to open pages."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import core

from ui import live
from ui.live import COALESCE, News
from ui.services import Services


async def test_news_comes_soon_and_what_comes_thick_and_fast_is_spaced(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    spacing = 3 * COALESCE
    monkeypatch.setattr(live, "SPACING", spacing)
    monkeypatch.setattr(core, "loop", None)  # another test's, which has ended
    loop, told = asyncio.get_running_loop(), list[float]()
    changed: Any = SimpleNamespace(emit=lambda: told.append(loop.time()))
    news = News(replace(services, changed=changed))
    news.start()
    began = loop.time()
    while loop.time() < began + 8 * COALESCE:
        services.store.write(lambda tx: tx.notify())
        await asyncio.sleep(0.01)
    news.stop()
    assert told[0] - began < spacing  # the first at once
    assert len(told) <= 3
    assert all(later - earlier > spacing * 0.9 for earlier, later in pairwise(told))
