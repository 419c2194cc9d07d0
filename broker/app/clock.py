"""The machine's clock, as the composition root passes it on; nothing below it reads the time of day by itself."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)
