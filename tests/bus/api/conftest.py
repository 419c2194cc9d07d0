"""What the tests of the endpoint share: a clinic whose own `/fhir` is open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.store.database import Store
from tests.bus.api.clinic import ApiClinic


@pytest.fixture
def clinic(store: Store) -> Iterator[ApiClinic]:
    opened = ApiClinic(store)
    yield opened
    opened.close()
