"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.store.database import Store
from tests import factory


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A real database with the starter procedures and three devices."""
    opened = factory.open_store(tmp_path / "worklist.sqlite")
    yield opened
    opened.close()
