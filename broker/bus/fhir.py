"""FHIR as plain JSON, for everything here that writes or reads it: values, ids and references.

Pure, and without any profile of a region: only the shape is looked at; the parser of a resource knows what its members
mean. What comes from the bus may lack members, have them of another type or too many, or be a trap: an id that climbs
out of a path, a reference to another host. `fhir_server`, which validates what is made here, has its own.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from broker.domain.patients.identifiers import is_guid

Resource = dict[str, Any]

MAX_LENGTH = 2000  # characters of a reference that is parsed

# FHIR R4 2.24.0.1, id; a first letter or digit keeps ".." out of paths.
_ID = r"[A-Za-z0-9][A-Za-z0-9.\-]{0,63}"
_TARGET = rf"([A-Z][A-Za-z]{{2,40}})/({_ID})(?:/_history/{_ID})?"
_RELATIVE = re.compile(_TARGET)
_AT_THE_END = re.compile(rf"(?:^|/){_TARGET}\Z")
_ABSOLUTE = re.compile(rf"(https?://[!-~]+)/{_TARGET}\Z")


# ---- values ----


def encode(resource: object) -> bytes:
    """Return a resource as JSON; equal content gives equal bytes.

    Raise ValueError if JSON or UTF-8 cannot express it.
    """
    text = json.dumps(resource, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def member(node: Any, name: str) -> Any:
    """Return a member of an object; None if it is missing or `node` is not an object."""
    return node.get(name) if isinstance(node, dict) else None


def items(node: Any, name: str, most: int | None = 100) -> list[Any]:
    """Return the first `most` items of an array member, all if None; empty if it is not an array.

    An object where an array is due, as live clients write it (Task.basedOn), is its only item.
    """
    listed = member(node, name)
    if isinstance(listed, dict) and listed:
        return [listed]
    return listed[:most] if isinstance(listed, list) else []


def instant(value: object) -> datetime | None:
    """Return an instant in UTC; None if it is not one or has no zone."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 40 else None
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def changed_at(resource: object) -> datetime | None:
    """Return when the bus changed a resource last (`meta.lastUpdated`, UTC); None if it is missing."""
    return instant(member(member(resource, "meta"), "lastUpdated"))


def bus_time(resource: Resource) -> datetime | None:
    """Return when a resource was last changed on the bus (UTC), or else issued; None if neither can be read."""
    return changed_at(resource) or instant(member(resource, "issued"))


# ---- ids and references ----


class Target(NamedTuple):
    """The target of a reference; as a text "Type/id"."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"


def is_id(value: object) -> bool:
    """Return True if a value is valid as the id of a resource."""
    return isinstance(value, str) and bool(re.fullmatch(_ID, value))


def id_of(resource: Resource) -> str:
    """Return the id of a resource; empty if it is missing or invalid."""
    id = resource.get("id")
    return id if isinstance(id, str) and is_id(id) else ""


def relative_target(text: str) -> Target | None:
    """Return the target of a reference "Type/id", also with a version; None for any other form."""
    match = _RELATIVE.fullmatch(text)
    return Target(match[1], match[2]) if match else None


def target(text: object) -> Target | None:
    """Return the target of a reference, relative or absolute on any host; None if it is invalid."""
    match = _AT_THE_END.search(text) if isinstance(text, str) and len(text) <= MAX_LENGTH else None
    return Target(match[1], match[2]) if match else None


def base_and_target(text: object) -> tuple[str, Target] | None:
    """Return the server and the target of an absolute reference; None for any other."""
    match = _ABSOLUTE.match(text) if isinstance(text, str) and len(text) <= MAX_LENGTH else None
    return (match[1], Target(match[2], match[3])) if match else None


def reference_to(kind: str, node: object) -> str:
    """Return "kind/id" if a Reference, relative or absolute, points to this type; empty otherwise."""
    found = target(member(node, "reference"))
    return str(found) if found and found.kind == kind else ""


def organisation_guid(node: object) -> str:
    """Return the GUID of the organisation that a Reference points to; empty if it names none."""
    text = member(node, "reference")
    guid = text.rpartition("Organization/")[2] if isinstance(text, str) and "Organization/" in text else ""
    return guid if is_guid(guid) else ""
