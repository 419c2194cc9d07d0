"""The installation that acceptance tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clinic import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A clinic's server, not started yet."""
    made = Installation(tmp_path)
    yield made
    made.close()
