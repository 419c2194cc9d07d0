"""What a strict FHIR R4 server understands beside the profile: conditional entries, searches in addresses, patches.

Pure. For the practice bus. Conditions are on identifiers only: every resource of the known clients bears one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from broker.bus.fhir_server.records import is_assigned
from broker.bus.fhir_server.rules import Issue, OperationRefused, Resource

PATCH_TYPE = "application/json-patch+json"
# FHIR R4 task-status
TASK_STATUSES = frozenset(
    {
        *("draft", "requested", "received", "accepted", "rejected", "ready", "cancelled"),
        *("in-progress", "on-hold", "failed", "completed", "entered-in-error"),
    }
)
_METHODS = {"POST", "PUT"}
_UPDATE = re.compile(r"([A-Z][A-Za-z]{2,40})/([A-Za-z0-9][A-Za-z0-9.\-]{0,63})")
# Of these statuses the profile has one each; what it says of that one holds for them.
_REPORT_STATUSES = {"corrected": "appended", "amended": "appended", "entered-in-error": "appended"}
_ANSWERED_NOWHERE = frozenset({"_format", "_sort"})  # of a search: answers are JSON, oldest change first


class EntryRequest(NamedTuple):
    """What an entry of a transaction asks for: to create its resource, to replace `id`, or what `identifier` finds.

    `identifier` is "system|value". Of what a creation finds by it, nothing is changed.
    """

    is_update: bool = False
    id: str = ""
    identifier: str = ""


def read_request(kind: str, request: object) -> EntryRequest:
    """Return what the `request` of an entry asks for; raise ValueError that says in Russian what is wrong with it."""
    if request is None:
        return EntryRequest()
    method, url = (request.get("method"), request.get("url", kind)) if isinstance(request, dict) else (None, None)
    if method not in _METHODS or not isinstance(request, dict) or not isinstance(url, str):
        raise ValueError(f"request: ожидается POST {kind} или PUT")
    path, _, condition = url.partition("?")
    if method == "POST" and url == kind:
        found = request.get("ifNoneExist", "")
        return EntryRequest(identifier=_condition(found) if found else "")
    if method == "PUT" and path == kind and condition:
        return EntryRequest(is_update=True, identifier=_condition(condition))
    named = _UPDATE.fullmatch(url)
    if method == "PUT" and named and named[1] == kind:
        return EntryRequest(is_update=True, id=named[2])
    raise ValueError(f"request: ожидается POST {kind}, PUT {kind}/id или PUT {kind}?identifier=система|значение")


def requests(bundle: Mapping[str, Any]) -> dict[str, EntryRequest]:
    """Return what the entries of a checked transaction ask for, by fullUrl."""
    return {
        entry["fullUrl"]: read_request(entry["resource"]["resourceType"], entry.get("request"))
        for entry in bundle["entry"]
    }


def missing_members(bundle: Mapping[str, Any]) -> list[Issue]:
    """Return what FHIR R4 requires of a checked transaction, and the profile does not."""
    issues = []
    for i, entry in enumerate(bundle["entry"]):
        resource, at = entry["resource"], f"Bundle.entry[{i}]"
        kind = resource["resourceType"]
        # FHIR R4 bdl-3; Task.status and ServiceRequest.status are 1..1
        if "url" not in entry.get("request", {}):
            issues.append(Issue("required", f"{at}.request: FHIR R4 требует method и url", f"{at}.request"))
        if kind in ("Task", "ServiceRequest") and "status" not in resource:
            text = f"{kind}.status: FHIR R4 требует статус"
            issues.append(Issue("required", text, f"{at}.resource.status"))
    return issues


def as_profile(resource: Resource, request: EntryRequest) -> Resource:
    """Return a resource as the profile has it, to be checked by it: with what R4 adds left out, or by other words."""
    made = dict(resource)
    kind = resource["resourceType"]
    identifiers = resource.get("identifier")
    if isinstance(identifiers, list):
        # A number in secondary use only serves conditions; the accession number is the bus's own.
        made["identifier"] = [
            each
            for each in identifiers
            if not _is(each, "use", "secondary") and not (kind == "Task" and is_assigned(each))
        ]
        if not made["identifier"]:
            del made["identifier"]
    if kind == "DiagnosticReport":
        made["status"] = _REPORT_STATUSES.get(str(resource.get("status")), resource.get("status"))
    if kind == "Task" and request.is_update and resource.get("intent") == "original-order":
        made["status"] = "requested" if resource.get("status") in TASK_STATUSES else resource.get("status")
    return {name: value for name, value in made.items() if value is not None}


def search_parameters(items: Iterable[tuple[str, str]]) -> Resource:
    """Return the parameters of an address as the profile's Parameters."""
    listed = [{"name": name, "valueString": value} for name, value in items if name not in _ANSWERED_NOWHERE]
    return {"resourceType": "Parameters", "parameter": listed}


def read_patch(operations: object) -> dict[str, Any]:
    """Return the members that a JSON Patch (RFC 6902) of a Task sets; raise OperationRefused for any other patch."""
    members: dict[str, Any] = {}
    for operation in operations if isinstance(operations, list) else [None]:
        path = operation.get("path") if isinstance(operation, dict) else None
        if (
            not isinstance(operation, dict)
            or operation.get("op") not in ("add", "replace")
            or path not in ("/status", "/statusReason")
            or "value" not in operation
        ):
            text = "Изменить можно Task.status и Task.statusReason: [{op: replace, path: /status, value: …}]"
            raise OperationRefused(422, Issue("not-supported", text))
        members[path[1:]] = operation["value"]
    if not isinstance(members.get("status"), str) or members["status"] not in TASK_STATUSES:
        raise OperationRefused(422, Issue("value", f"Недопустимый статус {members.get('status')}", "Task.status"))
    if not isinstance(members.get("statusReason", {}), dict):
        raise OperationRefused(422, Issue("value", "statusReason: ожидается CodeableConcept", "Task.statusReason"))
    return members


def unescaped(value: str) -> list[str]:
    """Return the values of a search parameter (FHIR R4 3.1.1.5.7: "," separates them unless it is escaped)."""
    parts = re.findall(r"(?:\\.|[^,\\])+", value)
    return [re.sub(r"\\(.)", r"\1", part) for part in parts]


def _condition(query: object) -> str:
    """Return "system|value" of a condition; raise ValueError for any other than one identifier."""
    given = parse_qsl(query, keep_blank_values=True) if isinstance(query, str) else []
    values = unescaped(given[0][1]) if len(given) == 1 and given[0][0] == "identifier" else []
    if len(values) != 1 or not values[0].rpartition("|")[2]:
        raise ValueError("request: условие бывает только одно, identifier=система|значение")
    return values[0]


def _is(node: object, name: str, value: str) -> bool:
    return isinstance(node, dict) and node.get(name) == value
