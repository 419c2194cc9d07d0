"""A practice bus that the tests of one file share."""

from collections.abc import Iterator

import pytest

from broker.bus.practice import PracticeBus, PracticeServer


@pytest.fixture(scope="module")
def server() -> Iterator[PracticeServer]:
    running = PracticeServer(PracticeBus())
    running.start()
    yield running
    running.stop()
