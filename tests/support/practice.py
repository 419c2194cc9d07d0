"""A practice bus for tests: its time stands still, too."""

from __future__ import annotations

from typing import Any

from broker.bus.practice import PracticeBus, PracticeSettings
from tests.support.clock import Clock


def practice_bus(**settings: Any) -> PracticeBus:
    """Return a practice bus with these `PracticeSettings`; without a clock, its time stands still."""
    return PracticeBus(PracticeSettings(**{"clock": Clock()} | settings))
