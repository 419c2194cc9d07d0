"""Resources as JSON: written in one way only, and read whatever they are: members missing, of another type, too many.

Only the shape is looked at; what a member means is for whoever parses that resource.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

Resource = dict[str, Any]


def encode(resource: object) -> bytes:
    """Write JSON; equal content gives equal bytes. Raise ValueError for what JSON or UTF-8 cannot hold."""
    text = json.dumps(resource, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def member(node: Any, name: str) -> Any:
    """Return a member of an object; None if it is missing, or this is not an object."""
    return node.get(name) if isinstance(node, dict) else None


def items(node: Any, name: str, most: int | None = 100) -> list[Any]:
    """Return the first items of an array member, all if `most` is None; empty if it is not an array."""
    listed = member(node, name)
    return listed[:most] if isinstance(listed, list) else []


def instant(value: object) -> datetime | None:
    """Return an instant in UTC; None if it is not one, or names no zone."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def changed_at(resource: object) -> datetime | None:
    """Return when the bus changed a resource last (`meta.lastUpdated`, UTC); None if it does not say."""
    return instant(member(member(resource, "meta"), "lastUpdated"))


def bus_time(resource: Resource) -> datetime | None:
    """Return when a resource was last changed on the bus (UTC), or else issued; None if neither can be read."""
    return changed_at(resource) or instant(member(resource, "issued"))
