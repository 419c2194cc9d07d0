"""News on its way to open pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import core

from ui import live
from ui.live import COALESCE, ChangeNotifier
from ui.services import Services


class Loop:
    """An event loop whose time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_soon_threadsafe(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def call_at(self, when: float, call: Callable[[], None]) -> SimpleNamespace:
        self._timers.append((when, call))
        return SimpleNamespace(cancel=self._timers.clear)

    def pass_by(self, seconds: float) -> None:
        """Do what was called, let time pass, and do what is due."""
        while not self._calls.empty():
            self._calls.get()()
        self.now += seconds
        due = [timer for timer in self._timers if timer[0] <= self.now]
        for timer in due:
            self._timers.remove(timer)
            timer[1]()


def test_news_comes_soon_and_what_comes_thick_and_fast_is_spaced(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    spacing = 3 * COALESCE
    monkeypatch.setattr(live, "SPACING", spacing)
    loop, reported = Loop(), list[float]()
    monkeypatch.setattr(core, "loop", loop)
    changed: Any = SimpleNamespace(emit=lambda: reported.append(loop.now))
    news = ChangeNotifier(replace(services, changed=changed))
    news.start()
    began = loop.now
    while loop.now < began + 8 * COALESCE:
        services.store.write(lambda tx: tx.notify())
        services.store.write(lambda tx: None)  # after it the listeners have heard of the one before
        loop.pass_by(0.01)
    news.stop()
    assert reported[0] - began < spacing  # the first at once
    assert len(reported) == 3
    assert all(later - earlier >= spacing for earlier, later in pairwise(reported))
