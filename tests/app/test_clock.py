"""The one answer to whether somebody has set the clock."""

from __future__ import annotations

import logging

import pytest

from broker.app.clock import TOLERANCE, ClockWatch
from tests.support.clock import Seconds


@pytest.fixture
def wall() -> Seconds:
    return Seconds(1_000_000.0)


@pytest.fixture
def monotonic() -> Seconds:
    return Seconds(50.0)


@pytest.fixture
def watch(wall: Seconds, monotonic: Seconds) -> ClockWatch:
    return ClockWatch(wall, monotonic)


def test_time_that_passes_does_not_set_the_clock(watch: ClockWatch, wall: Seconds, monotonic: Seconds) -> None:
    for _ in range(3):
        wall.now += 86_400
        monotonic.now += 86_400 + TOLERANCE - 0.1  # it may run a little slow or fast
        assert watch.times_set() == 0


@pytest.mark.parametrize("jump", [3600.0, -3600.0, TOLERANCE + 0.1, -9e8])
def test_a_jump_is_counted_once_and_logged(
    watch: ClockWatch, wall: Seconds, jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    wall.now += jump
    assert [watch.times_set(), watch.times_set()] == [1, 1]
    assert len(caplog.records) == 1
    wall.now -= jump
    assert watch.times_set() == 2


def test_a_machine_that_slept_counts_as_one_whose_clock_was_set(watch: ClockWatch, wall: Seconds) -> None:
    wall.now += 8 * 3600  # the monotonic clock sleeps with the machine
    assert watch.times_set() == 1
