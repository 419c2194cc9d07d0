"""What may be done seldom is done seldom, however many names somebody invents."""

from __future__ import annotations

from broker.dicom.devices.throttle import Seldom
from tests.support.clock import Seconds


def test_once_in_a_span_for_each() -> None:
    clock = Seconds()
    seldom = Seldom(10, 100, clock)
    assert [seldom.now("a"), seldom.now("a"), seldom.now("b")] == [True, False, True]
    clock.now += 10
    assert seldom.now("a")


def test_invented_names_share_the_span_and_are_counted() -> None:
    clock = Seconds()
    seldom = Seldom(10, 3, clock)
    assert sum(seldom.now(name) for name in range(1000)) == 3
    assert seldom.held_back() == 997
    assert seldom.held_back() == 0
    clock.now += 10
    assert sum(seldom.now(name) for name in range(1000, 2000)) == 3
