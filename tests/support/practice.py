"""A practice bus for tests: its time stands still, too."""

from __future__ import annotations

from typing import Any

from broker.bus.practice import PracticeBus
from tests.support.clock import Clock


def practice_bus(*token: str, **options: Any) -> PracticeBus:
    """Return a practice bus with these arguments of `PracticeBus`; without a clock, its time stands still."""
    return PracticeBus(*token, **{"clock": Clock()} | options)
