"""Ids and references of resources: what may stand in a path, and what leads where.

What comes from the bus may be a trap: an id that climbs out of a path, a reference to another host.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from broker.bus.fhir.json_access import Resource, member
from broker.domain.identifiers import is_guid

MAX_LENGTH = 2000  # characters of a reference that is looked at

# FHIR R4 2.24.0.1, id; a first letter or digit keeps ".." out of paths.
_ID = r"[A-Za-z0-9][A-Za-z0-9.\-]{0,63}"
_TARGET = rf"([A-Z][A-Za-z]{{2,40}})/({_ID})(?:/_history/{_ID})?"
_RELATIVE = re.compile(_TARGET)
_AT_THE_END = re.compile(rf"(?:^|/){_TARGET}\Z")


class Target(NamedTuple):
    """What a reference leads to; as a text "Type/id"."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"


def is_id(value: object) -> bool:
    """Return True if this can be the id of a resource."""
    return isinstance(value, str) and bool(re.fullmatch(_ID, value))


def id_of(resource: Resource) -> str:
    """Return the id of a resource; empty if it has none that can be used."""
    id = resource.get("id")
    return id if isinstance(id, str) and is_id(id) else ""


def relative_target(text: str) -> Target | None:
    """Return what a reference of the form "Type/id" leads to, be it to one version; None for any other form."""
    match = _RELATIVE.fullmatch(text)
    return Target(match[1], match[2]) if match else None


def target(text: object) -> Target | None:
    """Return what a reference, relative or absolute, leads to, whatever the host; None if it leads nowhere."""
    match = _AT_THE_END.search(text) if isinstance(text, str) and len(text) <= MAX_LENGTH else None
    return Target(match[1], match[2]) if match else None


def reference_to(kind: str, node: object) -> str:
    """Return "kind/id" if a Reference, relative or absolute, points to this type; empty otherwise."""
    found = target(member(node, "reference"))
    return str(found) if found and found.kind == kind else ""


def organisation_guid(node: object) -> str:
    """Return the GUID of the organisation that a Reference points to; empty if it names none."""
    text = member(node, "reference")
    guid = text.rpartition("Organization/")[2] if isinstance(text, str) and "Organization/" in text else ""
    return guid if is_guid(guid) else ""
