"""What the tests of the endpoint share: a clinic whose own `/fhir` is open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.store.database import Store
from tests.bus.api.clinic import House


@pytest.fixture
def house(store: Store) -> Iterator[House]:
    opened = House(store)
    yield opened
    opened.close()
