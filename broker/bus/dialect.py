"""How one family of buses speaks: what it leaves out of a strict R4 resource, and how its answers name what it made.

Pure. A dialect only takes away from what `resources` makes; nothing is added or renamed here. What comes from the bus
is foreign: every member may be missing, of another type, or a trap in a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from broker.bus.profile import Profile, Resource
from broker.domain import names
from broker.domain.model import BusReferences

Dialect = Callable[[Resource], Resource]

# FHIR R4 2.24.0.1, id; a first letter or digit keeps ".." out of paths.
_ID = r"[A-Za-z0-9][A-Za-z0-9.\-]{0,63}"
_REFERENCE = re.compile(rf"(?:^|/)([A-Z][A-Za-z]{{2,40}})/({_ID})(?:/_history/{_ID})?\Z")


def n3(resource: Resource) -> Resource:
    """Leave out what the N3.Health family does not send: `entry.request`, and the initial status of an order.

    The bus itself gives the statuses of a new ServiceRequest and Task; all others are sent.
    """
    if resource.get("resourceType") != "Bundle":
        return resource
    return resource | {
        "entry": [
            {name: value for name, value in entry.items() if name != "request"}
            | {"resource": _without_initial_status(entry["resource"])}
            for entry in resource["entry"]
        ]
    }


DIALECTS: dict[str, Dialect] = {"n3": n3}


def bundle_references(bundle: Resource) -> BusReferences:
    """Read the ids that a transaction's answer gives; what did not come back is empty. `extra` has the other types."""
    found: dict[str, str] = {}
    task: Resource = {}
    for entry in _items(bundle, "entry"):
        kind, id = _placed(entry)
        found.setdefault(kind, id)
        resource = _member(entry, "resource")
        if kind == "Task" and isinstance(resource, dict) and not task:
            task = resource
    told = task_references(task)
    return BusReferences(
        task=found.pop("Task", ""),
        service_request=found.pop("ServiceRequest", "") or told.service_request,
        patient=found.pop("Patient", "") or told.patient,
        acsn=told.acsn,
        extra={kind: id for kind, id in found.items() if kind},
    )


def task_references(task: Resource) -> BusReferences:
    """Read the ids that a Task as it stands on the bus names: its own, its order's, its patient's, and its ACSN."""
    return BusReferences(
        task=_id(task),
        service_request=_pointed(task, "focus", "ServiceRequest"),
        patient=_pointed(task, "for", "Patient"),
        acsn=next(_accession_numbers(task), ""),
        extra={"DiagnosticReport": report} if (report := _pointed(task, "focus", "DiagnosticReport")) else {},
    )


def bears_number(task: Resource, number: str, profile: Profile) -> bool:
    """Say whether this is our Task with this number: other systems' Tasks may bear the same bare value."""
    ours = profile.number(number)
    return task.get("resourceType") == "Task" and any(
        _member(identifier, "system") == ours["system"] and _member(identifier, "value") == number
        for identifier in _items(task, "identifier")
    )


def found_tasks(searchset: Resource, number: str, profile: Profile) -> list[Resource]:
    """Pick our Tasks with this number out of a search's answer."""
    listed = (_member(entry, "resource") for entry in _items(searchset, "entry"))
    return [task for task in listed if isinstance(task, dict) and bears_number(task, number, profile) and _id(task)]


def _without_initial_status(resource: Resource) -> Resource:
    kind, intent = resource["resourceType"], resource.get("intent")
    if kind == "ServiceRequest" or (kind == "Task" and intent == "original-order"):
        return {name: value for name, value in resource.items() if name != "status"}
    return resource


def _placed(entry: Any) -> tuple[str, str]:
    """Tell (type, id) of an answered entry; ("", "") where it names none.

    A full URL of the form urn:uuid is not read: some servers send ours back, which is no id of theirs.
    """
    resource = _member(entry, "resource")
    if isinstance(resource, dict) and _id(resource):
        return str(resource.get("resourceType")), _id(resource)
    for text in (_member(_member(entry, "response"), "location"), _member(entry, "fullUrl")):
        if isinstance(text, str) and (match := _REFERENCE.search(text)):
            return match[1], match[2]
    return "", ""


def _pointed(resource: Resource, member: str, kind: str) -> str:
    """Tell the id that a Reference of this type points to, relative or absolute; empty otherwise."""
    text = _member(_member(resource, member), "reference")
    match = _REFERENCE.search(text) if isinstance(text, str) else None
    return match[2] if match and match[1] == kind else ""


def _accession_numbers(task: Resource) -> Iterator[str]:
    for identifier in _items(task, "identifier"):
        codes = [_member(coding, "code") for coding in _items(_member(identifier, "type"), "coding")]
        value = _member(identifier, "value")
        if "ACSN" in codes and isinstance(value, str) and names.tidy(value):
            yield names.tidy(value)[:64]


def _id(resource: Resource) -> str:
    id = resource.get("id")
    return id if isinstance(id, str) and re.fullmatch(_ID, id) else ""


def _member(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, dict) else None


def _items(node: Any, name: str) -> list[Any]:
    listed = _member(node, name)
    return listed if isinstance(listed, list) else []
