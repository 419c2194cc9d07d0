"""What becomes of a resource that the server stores: ids, versions, people who are known already.

Pure. For the practice bus and for our own /fhir; the bus's client must not
import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from broker.bus.fhir_server.fields import DICOM_UID, N3, OWN_ID, SNILS
from broker.bus.fhir_server.rules import Resource

_FIRST = ("Patient", "Practitioner", "PractitionerRole")  # matched before what refers to them gets its ids


def places(
    sent: Mapping[str, Resource], known: Callable[[tuple[str, ...]], str | None], new_id: Callable[[], str]
) -> dict[str, str]:
    """Return each fullUrl the "Type/id" where its resource is stored; `known` gives that of a key, if there is one."""
    targets: dict[str, str] = {}
    index: dict[tuple[str, ...], str] = {}  # two entries of one bundle may be the same person
    for url in sorted(sent, key=lambda url: sent[url]["resourceType"] not in _FIRST):
        resource = resolved(sent[url], targets)
        named = keys(resource)
        found = [place for key in named if (place := index.get(key) or known(key))]
        targets[url] = found[0] if found else f"{resource['resourceType']}/{new_id()}"
        index.update(dict.fromkeys(named, targets[url]))
    return targets


def stored(resource: Resource, reference: str, before: Resource | None, now: datetime) -> Resource:
    """Return a resource its id, version, initial status and, over an older version, the identifiers it had."""
    kind, _, resource_id = reference.partition("/")
    version = int(before["meta"]["versionId"]) + 1 if before else 1
    stamp = {"versionId": str(version), "lastUpdated": now.isoformat(timespec="milliseconds")}
    # The real one reads back these statuses though no client sends them.
    status = {"Task": {"status": "requested"}, "ServiceRequest": {"status": "active"}}.get(kind, {})
    made = status | resource | {"id": resource_id, "meta": resource.get("meta", {}) | stamp}
    if before and kind in ("Patient", "Practitioner", "Device"):
        replaced = {_issuer(identifier) for identifier in resource["identifier"]}
        kept = [i for i in before["identifier"] if _issuer(i) not in replaced]
        made["identifier"] = resource["identifier"] + kept
    return made


def accession_number(value: str) -> Resource:
    """Make the identifier that is added to an order's Task."""
    coding = {"system": N3 + "122", "version": "1", "code": "ACSN"}
    return {"type": {"coding": [coding]}, "value": value}


def is_order(resource: Resource) -> bool:
    """Return True if a resource is the Task of an order, to which the bus gives an accession number."""
    return bool(resource["resourceType"] == "Task" and resource["intent"] == "original-order")


def resolved(node: Any, targets: dict[str, str]) -> Any:
    """Copy a resource with each urn:uuid that is already known replaced by its "Type/id"."""
    if isinstance(node, dict):
        return {
            key: targets.get(value, value)
            if key in ("reference", "url") and isinstance(value, str)
            else resolved(value, targets)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [resolved(item, targets) for item in node]
    return node


def keys(resource: Resource) -> list[tuple[str, ...]]:
    """List the keys by which a resource is recognised as one that is already there, the surest first."""
    kind = resource["resourceType"]
    if kind == "PractitionerRole":
        concepts = [concept for name in ("code", "specialty") for concept in resource.get(name, [])]
        codes = [c["code"] for concept in concepts for c in concept.get("coding", [])]
        return [(kind, resource["practitioner"]["reference"], resource["organization"]["reference"], *codes)]
    systems = {"Patient": (SNILS, OWN_ID), "Practitioner": (SNILS, OWN_ID), "ImagingStudy": (DICOM_UID,)}
    identifiers = resource["identifier"] if kind == "Device" or kind in systems else []
    if kind in systems:
        identifiers = [i for system in systems[kind] for i in identifiers if i.get("system") == system]
    return [(kind, *_issuer(i), i["value"]) for i in identifiers]


def _issuer(identifier: Resource) -> tuple[str, str]:
    """Return who gave an identifier: its system, and for own ids the system of the clinic."""
    assigner = identifier.get("assigner")
    display = assigner.get("display") if isinstance(assigner, dict) else None
    own = identifier.get("system") == OWN_ID
    return str(identifier.get("system")), str(display) if own else ""
