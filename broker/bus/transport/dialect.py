"""The dialects of regional buses: the form of each call, what is left out of a Bundle, and the ids in an answer.

Pure. Bundles are made once for all dialects, and a dialect only leaves parts out (`OMITTED`). Answers are not trusted:
every member may be missing, of another type, or an attack by way of a path or an address.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

from broker.bus.fhir import Resource, encode, id_of, items, member, target
from broker.bus.profile import Profile
from broker.domain.messages import BusReferences
from broker.domain.patients import names

STUDY = "study/"  # prefix of keys of `BusReferences.extra`: study/<Study Instance UID> -> id of the ImagingStudy


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the bus; `path` is relative to the base URL, with its query, and begins with "/" or "?"."""

    method: str
    path: str
    body: bytes = b""  # as it is sent
    expect: str = ""  # resourceType that the answer must have; empty: any
    content_type: str = "application/json"
    accept: str = "application/json"


class Omission(NamedTuple):
    """A part of a Bundle that a dialect leaves out: a member of entries of this kind whose parent matches `when`.

    A path that ends in "[]" means single items of a list; an empty path means the whole entry.
    """

    kind: str  # resourceType of the entry; "*" is any
    path: str
    when: Mapping[str, str] = {}


OMITTED: dict[str, tuple[Omission, ...]] = {
    "n3": (
        Omission("*", "request"),  # and with it `ifNoneExist`
        # The bus sets the initial statuses of an order; all others are sent.
        Omission("ServiceRequest", "resource.status"),
        Omission("Task", "resource.status", {"intent": "original-order"}),
        # Numbers that only serve conditional creation on a strict R4 server.
        Omission("*", "resource.identifier[]", {"use": "secondary"}),
        Omission("DiagnosticReport", "resource.presentedForm.data"),  # the document is sent as a Binary
    ),
    "r4": (
        # R4's Binary has no identifier, so it cannot be created conditionally, and a repeated transaction would
        # duplicate it: the document is sent within the report.
        Omission("Binary", ""),
        Omission("DiagnosticReport", "resource.presentedForm.url"),
    ),
}


class Dialect(ABC):
    """Makes the calls of one family of buses."""

    name: str
    amends: bool  # True if an order on the bus can be changed
    ids_in_search: int  # values of one parameter of a search
    media_type = "application/json"  # of resources; of others that may be answered `accept`
    accept = "application/json"

    def transaction(self, bundle: Resource) -> Call:
        """Return the call that sends a transaction Bundle; raise ValueError if it cannot be written as JSON."""
        return Call("POST", "?_format=json", encode(self(bundle)), "Bundle", self.media_type, self.accept)

    def read(self, kind: str, id: str) -> Call:
        """Return the call that reads one resource."""
        return Call("GET", f"/{quote(kind)}/{quote(id, safe='')}", expect=kind, accept=self.accept)

    @abstractmethod
    def set_status(self, task_id: str, status: str, reason: str = "") -> Call:
        """Return the call that changes the status of a Task; a reason is sent where there is a member for it."""

    @abstractmethod
    def search(self, kind: str, parameters: Mapping[str, str]) -> Call:
        """Return the call of a search; an `identifier` is given as "system|value", references as "Type/id"."""

    def next_page(self, searchset: Resource, base_url: str) -> Call | None:
        """Return the call for the next page that a searchset links to; None without a link below `base_url`.

        The token must not be sent to another host, or to another path of this one. `next_link` shows whether there
        was a link at all.
        """
        base = base_url.rstrip("/")
        link = next_link(searchset)
        if not re.fullmatch(r"[!-~]+", link) or re.search(r"[#\\]", link):
            return None
        try:
            url = urljoin(f"{base}/", link)
        except ValueError:
            return None
        path, _, _ = url.partition("?")
        if not re.match(rf"{re.escape(base)}[/?]", url) or re.search(r"(?i)/(\.|%2e){1,2}(/|\Z)", path):
            return None
        return Call("GET", url.removeprefix(base), expect="Bundle", accept=self.accept)

    def __call__(self, resource: Resource) -> Resource:
        """Return a Bundle without what this dialect leaves out; other resources do not change."""
        if resource.get("resourceType") != "Bundle":
            return resource
        entries: list[Resource] = resource["entry"]
        for omission in OMITTED[self.name]:
            entries = [kept for entry in entries if (kept := _apply_omission(entry, omission)) is not None]
        return resource | {"entry": entries}


class _N3(Dialect):
    """The N3.Health family: Parameters instead of queries; accepted resources cannot be changed."""

    name = "n3"
    amends = False
    ids_in_search = 500

    def set_status(self, task_id: str, status: str, reason: str = "") -> Call:
        return Call("POST", "/$updatestatus?_format=json", _parameters({"_id": task_id, "status": status}))

    def search(self, kind: str, parameters: Mapping[str, str]) -> Call:
        values = {name: _split(value)[1] if name == "identifier" else value for name, value in parameters.items()}
        return Call("POST", f"/{kind}/_search?_format=json", _parameters(values), "Bundle")


class _R4(Dialect):
    """Any strict FHIR R4 server."""

    name = "r4"
    amends = True
    ids_in_search = 100  # they are part of an address: many servers take 8 KB
    media_type = "application/fhir+json"  # FHIR R4 http.html, mime-type
    accept = "application/fhir+json, application/json;q=0.9"

    def set_status(self, task_id: str, status: str, reason: str = "") -> Call:
        patch: list[dict[str, Any]] = [{"op": "replace", "path": "/status", "value": status}]
        if reason:
            patch.append({"op": "add", "path": "/statusReason", "value": {"text": reason}})
        path = f"/Task/{quote(task_id, safe='')}"
        return Call("PATCH", path, encode(patch), "Task", "application/json-patch+json", self.accept)

    def search(self, kind: str, parameters: Mapping[str, str]) -> Call:
        return Call("GET", f"/{quote(kind)}?{query(parameters)}", expect="Bundle", accept=self.accept)


n3, r4 = _N3(), _R4()
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (n3, r4)}


def query(parameters: Mapping[str, str]) -> str:
    """Return a search as an R4 query string, also for `ifNoneExist`; an `identifier` is given as "system|value"."""

    def parameter(name: str, value: str) -> str:
        if name == "identifier":
            system, token = _split(value)
            # FHIR R4 3.1.1.5.7: these characters separate values unless they are escaped.
            token = re.sub(r"([\\,|$])", r"\\\1", token)
            value = f"{system}|{token}" if system else token
        return f"{name}={quote(value, safe=':/|,')}"

    return "&".join(parameter(name, value) for name, value in parameters.items())


def next_link(searchset: Resource) -> str:
    """Return the address that a searchset links to as its next page, unchecked; empty if there is none."""
    links = (link for link in items(searchset, "link", None) if member(link, "relation") == "next")
    url = member(next(links, None), "url")
    return url if isinstance(url, str) else ""


def bundle_references(bundle: Resource) -> BusReferences:
    """Return the ids that the answer to a transaction contains; missing ones are empty.

    `extra` has the ids of other types, and of ImagingStudy by Study Instance UID (`STUDY`) if its content was returned.
    """
    found: dict[str, str] = {}
    task: Resource = {}
    for entry in items(bundle, "entry", None):
        kind, id = _entry_target(entry)
        found.setdefault(kind, id)
        resource = member(entry, "resource")
        if kind == "Task" and isinstance(resource, dict) and not task:
            task = resource
        if kind == "ImagingStudy":
            found.update((f"{STUDY}{uid}", id) for uid in _study_uids(resource))
    named = task_references(task)
    return BusReferences(
        task=found.pop("Task", ""),
        service_request=found.pop("ServiceRequest", "") or named.service_request,
        patient=found.pop("Patient", "") or named.patient,
        acsn=named.acsn,
        extra={kind: id for kind, id in found.items() if kind},
    )


def task_references(task: Resource) -> BusReferences:
    """Return the ids in a Task of the bus: its own, its order's, its patient's, and its ACSN."""
    return BusReferences(
        task=id_of(task),
        service_request=_referenced_id(task, "focus", "ServiceRequest"),
        patient=_referenced_id(task, "for", "Patient"),
        acsn=next(_accession_numbers(task), ""),
        extra={"DiagnosticReport": report} if (report := _referenced_id(task, "focus", "DiagnosticReport")) else {},
    )


def has_number(task: Resource, number: str, profile: Profile) -> bool:
    """Return True if this is our Task with this number: Tasks of other systems may have the same value."""
    ours = profile.number(number)
    return task.get("resourceType") == "Task" and any(
        member(identifier, "system") == ours["system"] and member(identifier, "value") == number
        for identifier in items(task, "identifier")
    )


def found_tasks(searchset: Resource, number: str, profile: Profile) -> list[Resource]:
    """Return our Tasks with this number in a search's answer."""
    listed = (member(entry, "resource") for entry in items(searchset, "entry", None))
    return [task for task in listed if isinstance(task, dict) and has_number(task, number, profile) and id_of(task)]


def _apply_omission(entry: Resource, omission: Omission) -> Resource | None:
    """Return an entry without the omitted part; None if the whole entry is omitted."""
    if omission.kind not in ("*", entry["resource"]["resourceType"]):
        return entry
    return _without(entry, omission.path, omission.when) if omission.path else None


def _without(node: Any, path: str, when: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_without(item, path, when) for item in node]
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    if name not in node:
        return node
    if rest:
        return node | {name: _without(node[name], rest, when)}
    left = {other: value for other, value in node.items() if other != name}
    if head != name:
        kept = [item for item in node[name] if not when.items() <= item.items()]
        return node | {name: kept} if kept else left
    return left if when.items() <= node.items() else node


def _split(token: str) -> tuple[str, str]:
    """Split "system|value"; without a system all of it is the value."""
    system, bar, value = token.partition("|")
    return (system, value) if bar else ("", token)


def _parameters(values: Mapping[str, str]) -> bytes:
    listed = [{"name": name, "valueString": value} for name, value in values.items()]
    return encode({"resourceType": "Parameters", "parameter": listed})


def _entry_target(entry: Any) -> tuple[str, str]:
    """Return (type, id) of an entry of an answer; ("", "") if it has none.

    A fullUrl of the form urn:uuid is not read: some servers return ours, which is not an id on the bus.
    """
    resource = member(entry, "resource")
    if isinstance(resource, dict) and id_of(resource):
        return str(resource.get("resourceType")), id_of(resource)
    for text in (member(member(entry, "response"), "location"), member(entry, "fullUrl")):
        if found := target(text):
            return found
    return "", ""


def _referenced_id(resource: Resource, name: str, kind: str) -> str:
    """Return the id in a Reference to this type, relative or absolute; empty otherwise."""
    text = member(member(resource, name), "reference")
    found = target(text)
    return found.id if found and found.kind == kind else ""


def _accession_numbers(task: Resource) -> Iterator[str]:
    for identifier in items(task, "identifier"):
        codes = [member(coding, "code") for coding in items(member(identifier, "type"), "coding")]
        value = member(identifier, "value")
        if "ACSN" in codes and isinstance(value, str) and names.tidy(value):
            yield names.tidy(value)[:64]


def _study_uids(study: Any) -> Iterator[str]:
    for identifier in items(study, "identifier"):
        value = member(identifier, "value")
        if member(identifier, "system") == "urn:dicom:uid" and isinstance(value, str):
            yield value.removeprefix("urn:oid:")[:64]
