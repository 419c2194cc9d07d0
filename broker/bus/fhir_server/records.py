"""Prepares resources for storing: ids, versions, known people.

Pure. For the practice bus and for our own /fhir; the client of the bus must not import it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from broker.bus.fhir_server.fields import DICOM_UID, N3, OWN_ID, SNILS
from broker.bus.fhir_server.rules import Resource

_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}){0,2}")
_FIRST = ("Patient", "Practitioner", "PractitionerRole")  # matched first: others refer to them


def assign_references(
    sent: Mapping[str, Resource],
    known: Callable[[tuple[str, ...], Resource], str | None],
    new_id: Callable[[], str],
    on: date,
    is_same: Callable[[tuple[str, ...], Resource, Resource], bool] = lambda key, one, other: True,
    placed: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Return fullUrl -> "Type/id" under which to store each resource; `placed` is that of those that are decided.

    `known` returns that of an identity key for a resource that has it, `is_same` whether two resources of a bundle with
    one identity key are of the same person; identifiers count that are in force `on` this day.
    """
    targets = dict(placed)
    index: dict[tuple[str, ...], list[tuple[Resource, str]]] = {}  # two entries of a bundle may be the same person
    for url in sorted(sent, key=lambda url: sent[url]["resourceType"] not in _FIRST):
        resource = resolve_references(sent[url], targets)
        identity = identity_keys(resource, on)
        found = [
            reference
            for key in identity
            for reference in (
                *(target for other, target in index.get(key, ()) if is_same(key, other, resource)),
                known(key, resource),
            )
            if reference
        ]
        if url not in targets:
            targets[url] = found[0] if found else f"{resource['resourceType']}/{new_id()}"
        for key in identity:
            index.setdefault(key, []).append((resource, targets[url]))
    return targets


def as_stored(resource: Resource, reference: str, before: Resource | None, now: datetime) -> Resource:
    """Return a resource with its id, version and initial status; identifiers of the older version are kept."""
    kind, _, resource_id = reference.partition("/")
    version = int(before["meta"]["versionId"]) + 1 if before else 1
    stamp = {"versionId": str(version), "lastUpdated": now.isoformat(timespec="milliseconds")}
    # The real bus returns these statuses although no client sends them.
    status = {"Task": {"status": "requested"}, "ServiceRequest": {"status": "active"}}.get(kind, {})
    made = status | resource | {"id": resource_id, "meta": resource.get("meta", {}) | stamp}
    if before and kind in ("Patient", "Practitioner", "Device"):
        replaced = {_issuer(identifier) for identifier in resource["identifier"]}
        other_identifiers = [i for i in before["identifier"] if _issuer(i) not in replaced]
        made["identifier"] = resource["identifier"] + other_identifiers
    return made


def accession_number(value: str) -> Resource:
    """Return the accession number as an identifier of an order's Task."""
    coding = {"system": N3 + "122", "version": "1", "code": "ACSN"}
    return {"type": {"coding": [coding]}, "value": value}


def is_assigned(identifier: object) -> bool:
    """Return True if an identifier of a Task is the accession number that the bus gave it."""
    kind = identifier.get("type") if isinstance(identifier, dict) and "system" not in identifier else None
    codings = kind.get("coding") if isinstance(kind, dict) else None
    listed = codings if isinstance(codings, list) else []
    return any(isinstance(coding, dict) and coding.get("code") == "ACSN" for coding in listed)


def is_order(resource: Resource) -> bool:
    """Return True if a resource is the Task of an order, to which the bus gives an accession number."""
    return bool(resource["resourceType"] == "Task" and resource["intent"] == "original-order")


def resolve_references(node: Any, targets: dict[str, str]) -> Any:
    """Return a copy of a resource in which every known urn:uuid is replaced by its "Type/id"."""
    if isinstance(node, dict):
        return {
            key: targets.get(value, value)
            if key in ("reference", "url") and isinstance(value, str)
            else resolve_references(value, targets)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [resolve_references(item, targets) for item in node]
    return node


def identity_keys(resource: Resource, on: date) -> list[tuple[str, ...]]:
    """Return the keys by which a resource is recognised `on` this day, the surest first; former numbers are none."""
    kind = resource["resourceType"]
    if kind == "PractitionerRole":
        concepts = [concept for name in ("code", "specialty") for concept in resource.get(name, [])]
        codes = [c["code"] for concept in concepts for c in concept.get("coding", [])]
        return [(kind, resource["practitioner"]["reference"], resource["organization"]["reference"], *codes)]
    systems = {"Patient": (SNILS, OWN_ID), "Practitioner": (SNILS, OWN_ID), "ImagingStudy": (DICOM_UID,)}
    identifiers = resource.get("identifier", []) if kind == "Device" or kind in systems else []
    if kind in systems:
        in_force = [i for i in identifiers if i.get("use") != "old" and not _has_ended(i, on)]
        identifiers = [i for system in systems[kind] for i in in_force if i.get("system") == system]
    return [(kind, *_issuer(i), i["value"]) for i in identifiers]


def _has_ended(identifier: Resource, on: date) -> bool:
    """Return True if the period of an identifier is over (FHIR R4 Period: the end is inclusive)."""
    period = identifier.get("period")
    end = period.get("end") if isinstance(period, dict) else None
    day = _DATE.match(end) if isinstance(end, str) else None
    return day is not None and day[0] < on.isoformat()[: len(day[0])]


def _issuer(identifier: Resource) -> tuple[str, str]:
    """Return the issuer of an identifier: its system, and for own ids the system of the clinic."""
    assigner = identifier.get("assigner")
    display = assigner.get("display") if isinstance(assigner, dict) else None
    own = identifier.get("system") == OWN_ID
    return str(identifier.get("system")), str(display) if own else ""
