"""The house that acceptance tests live in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clinic import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A clinic's server, not started yet."""
    made = House(tmp_path)
    yield made
    made.close()
