"""Reads members of what came from the bus, whatever they are: missing, of another type, too many. Pure.

Only the shape is looked at; what a member means is for `dialect`, `reading` and `foreign`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def member(node: Any, name: str) -> Any:
    """Give a member of an object, or None."""
    return node.get(name) if isinstance(node, dict) else None


def items(node: Any, name: str, most: int | None = 100) -> list[Any]:
    """Give the first items of a member that is an array, all of them where `most` is None; none where it is not."""
    listed = member(node, name)
    return listed[:most] if isinstance(listed, list) else []


def instant(value: object) -> datetime | None:
    """Read an instant as UTC; None where it is none, or names no zone."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def changed_at(resource: object) -> datetime | None:
    """Give when the bus changed a resource last, in UTC; None where it does not say so in a way that can be used."""
    return instant(member(member(resource, "meta"), "lastUpdated"))
