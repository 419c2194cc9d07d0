"""What is throttled is done once in a span, however many names somebody invents."""

from __future__ import annotations

from broker.dicom.devices.throttle import KeyedThrottle
from tests.support.clock import Seconds


def test_once_in_a_span_for_each() -> None:
    clock = Seconds()
    throttle = KeyedThrottle(10, 100, clock)
    assert [throttle.allow("a"), throttle.allow("a"), throttle.allow("b")] == [True, False, True]
    clock.now += 10
    assert throttle.allow("a")


def test_invented_names_share_the_span_and_are_counted() -> None:
    clock = Seconds()
    throttle = KeyedThrottle(10, 3, clock)
    assert sum(throttle.allow(name) for name in range(1000)) == 3
    assert throttle.suppressed() == 997
    assert throttle.suppressed() == 0
    clock.now += 10
    assert sum(throttle.allow(name) for name in range(1000, 2000)) == 3
