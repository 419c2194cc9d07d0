"""Parses the bodies of calls to the server, and makes the Bundles of its answers.

Pure. For the practice bus and for our own /fhir; the client of the bus must not import it. Invalid bodies are refused
with the texts of the bus profile.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from broker.bus.fhir_server.deviations import entry_deviations, read_as_meant
from broker.bus.fhir_server.fields import BUNDLE_TYPES
from broker.bus.fhir_server.references import lift_contained, plain
from broker.bus.fhir_server.rules import Issue, OperationRefused, Resource, children

# The profile names the parameters of Task; the others are inferred: they find the results of a patient.
SEARCHABLE = {
    "Task": ("intent", "owner", "requester", "identifier", "status", "based-on"),
    "Patient": ("identifier", "family", "given", "birthdate"),
    "DiagnosticReport": ("subject", "based-on", "status"),
    "ImagingStudy": ("subject", "identifier", "status"),
    "Device": ("owner", "identifier"),
    "Schedule": ("actor", "identifier"),
}
# All patients, or all reports, cannot be listed: these parameters are required. [inferred]
REQUIRED_PARAMETERS = {"Patient": "identifier", "DiagnosticReport": "subject", "ImagingStudy": "subject"}
_DESCRIBED = frozenset({"family", "given", "birthdate"})  # all three find a patient without a number
MAX_COUNT = 500
DEFAULT_COUNT = 100
MAX_DEPTH = 64  # of objects and arrays in a body

_FHIR_JSON = "application/fhir+json"
_JSON = ("application/json", _FHIR_JSON)

CheckRequest = Callable[[str, object], object]
Filters = Sequence[tuple[str, frozenset[str]]]  # (parameter, values of which one must match)


def names_fhir(*headers: str) -> bool:
    """Return True if an Accept or a Content-Type names FHIR's own media type."""
    return any(_FHIR_JSON in each.lower() for each in headers)


def check_media_type(declared: str) -> None:
    """Raise OperationRefused(415) unless a Content-Type is JSON in UTF-8, also as FHIR R4 names it (mime-type)."""
    media, *parameters = (part.strip() for part in declared.lower().split(";"))
    named = {name.strip(): value.strip(' "') for name, _, value in (each.partition("=") for each in parameters)}
    if media not in _JSON or named.get("charset", "utf-8") not in ("utf-8", "utf8"):
        text = "Ожидается Content-Type: application/json или application/fhir+json, в UTF-8"
        raise OperationRefused(415, Issue("not-supported", text))
    version = named.get("fhirversion", "4.0")
    if version != "4.0" and not version.startswith("4.0."):
        raise OperationRefused(415, Issue("not-supported", f"fhirVersion={version}: здесь FHIR R4, fhirVersion=4.0"))


def answer_type(accepted: str, declared: str) -> str:
    """Return the Content-Type of an answer: FHIR's own where the caller asks for it, or writes it and asks for none."""
    names_json = "application/json" in accepted.lower()
    is_fhir = names_fhir(accepted) or (not names_json and names_fhir(declared))
    return f"{_FHIR_JSON if is_fhir else 'application/json'}; charset=utf-8"


def strict_json(body: bytes) -> object:
    """Parse strict UTF-8 JSON; raise OperationRefused(400) for duplicate keys, NaN, lone surrogates or deep nesting."""

    def refuse_constant(name: str) -> float:
        raise ValueError(f"недопустимое число {name}")

    def finite(text: str) -> float:
        number = float(text)
        return number if math.isfinite(number) else refuse_constant(text)

    def unique(pairs: list[tuple[str, Any]]) -> Resource:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("повторяющееся имя в объекте")
        return members

    try:
        parsed: object = json.loads(
            body.decode("utf-8-sig"),  # RFC 8259 8.1: a byte order mark, which 1C writes, may be ignored
            parse_constant=refuse_constant,
            parse_float=finite,
            object_pairs_hook=unique,
        )
        level = [parsed]
        for _ in range(MAX_DEPTH):
            level = [child for node in level for child in children(node)]
        if level:
            raise ValueError(f"вложенность больше {MAX_DEPTH}")
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # a lone surrogate cannot be sent on
    except (ValueError, RecursionError) as error:
        raise OperationRefused(400, Issue("structure", f"Тело запроса не является корректным JSON: {error}")) from None
    return parsed


class SearchQuery(NamedTuple):
    """A search: `since` is the earliest instant of the last change, `most` the maximum of resources in an answer."""

    filters: Filters
    since: datetime | None
    most: int

    def matches(self, resource: Resource) -> bool:
        """Return True if a stored resource passes all filters and was changed at `since` or later."""
        late = self.since is None or last_updated(resource) >= self.since
        return late and all(values & search_values(resource, name) for name, values in self.filters)

    def values_of(self, name: str) -> frozenset[str] | None:
        """Return the values of a parameter, of which one must match; None if the search does not have it."""
        return next((values for parameter, values in self.filters if parameter == name), None)


def read_query(
    resource_type: str,
    parameters: object,
    *,
    by_name: bool = False,
    split: Callable[[str], list[str]] = lambda value: value.split(","),
) -> SearchQuery:
    """Read a search; raise OperationRefused. `by_name`: patients may be searched for by name and date of birth.

    `split` makes the values, of which one must match, of what a parameter says.
    """
    if resource_type not in SEARCHABLE:
        raise OperationRefused(404, Issue("not-supported", f"Поиск {resource_type} не поддерживается"))
    count, since, filters = DEFAULT_COUNT, None, []
    for name, value in _parameters(parameters, ("valueString",)):
        if name == "_count":
            count = _count(value)
        elif name == "_lastUpdated":
            since = _since(value)
        elif name in SEARCHABLE[resource_type]:
            # FHIR R4 3.1.1.5.8: strings are compared without case.
            plain = value.casefold() if name in ("family", "given") else value
            filters.append((name, frozenset(part.strip() for part in split(plain))))
        else:
            raise OperationRefused(422, Issue("not-supported", f"Неизвестный параметр поиска {name}", name))
    described = by_name and resource_type == "Patient" and dict(filters).keys() >= _DESCRIBED
    if resource_type in REQUIRED_PARAMETERS and not (described or REQUIRED_PARAMETERS[resource_type] in dict(filters)):
        name = REQUIRED_PARAMETERS[resource_type]
        raise OperationRefused(422, Issue("required", f"Поиск {resource_type}: не указан параметр {name}", name))
    return SearchQuery(filters, since, count)


def read_status(parameters: object) -> tuple[str, str]:
    """Read (id of a Task, new status); raise OperationRefused."""
    given = dict(_parameters(parameters, ("valueString", "valueCode", "valueId")))
    for name in ("_id", "status"):
        if name not in given:
            raise OperationRefused(422, Issue("required", f"Не указан параметр {name}", name))
    return given["_id"].removeprefix("Task/"), given["status"]


def entries(bundle: object, check_request: CheckRequest | None = None) -> dict[str, Resource]:
    """Return the entries of a transaction Bundle and what they contain, fullUrl -> resource; raise OperationRefused.

    What they contain comes last: the answer has the entries in the order in which they came. `check_request` raises
    ValueError that says in Russian what is wrong with the `request` of an entry of a type; None: it creates, or there
    is none.
    """
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise OperationRefused(400, Issue("structure", "Ожидается ресурс Bundle"))
    if bundle.get("type") != "transaction":
        raise OperationRefused(422, Issue("value", "Bundle.type: ожидается transaction", "Bundle.type"))
    listed = bundle.get("entry")
    if not isinstance(listed, list) or not listed:
        raise OperationRefused(422, Issue("required", "Bundle.entry: не заполнено", "Bundle.entry"))
    entries: dict[str, Resource] = {}
    contained: dict[str, Resource] = {}
    issues = []
    for i, entry in enumerate(listed):
        problem = _entry_problem(entry, entries, check_request or _check_creation)
        resource, inside = ({}, {}) if problem else lift_contained(plain(read_as_meant(entry["resource"])[0]))
        problem = problem or _not_taken(inside)
        if problem:
            issues.append(Issue("structure", f"Bundle.entry[{i}]: {problem}", f"Bundle.entry[{i}]"))
        else:
            entries[entry["fullUrl"]] = resource
            contained |= inside
    if issues:
        raise OperationRefused(422, *issues)
    return entries | contained  # after the entries, which the answer has in the order in which they came


def created(resource_type: str, resource: object) -> tuple[Resource, dict[str, Resource]]:
    """Return a resource that is to be created, and what it contains by fullUrl; raise OperationRefused."""
    if not isinstance(resource, dict) or resource.get("resourceType") != resource_type:
        raise OperationRefused(400, Issue("structure", f"Ожидается ресурс {resource_type}"))
    whole, contained = lift_contained(plain(resource))
    if refused := _not_taken(contained):
        raise OperationRefused(422, Issue("structure", f"{resource_type}.{refused}", f"{resource_type}.contained"))
    return whole, contained


def deviations(bundle: object) -> list[str]:
    """Return in Russian how a transaction deviates from the profile where it is understood nevertheless."""
    listed = bundle.get("entry") if isinstance(bundle, dict) else None
    found: list[str] = []
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            found += [*entry_deviations(entry), *read_as_meant(entry["resource"])[1]]
    return list(dict.fromkeys(found))


def refuse_foreign_sender(task: Resource, caller: str) -> None:
    """Raise OperationRefused if the sender of a Task is not the organisation that calls."""
    member = "requester" if task["intent"] == "original-order" else "owner"
    if caller and task[member]["reference"].casefold() != f"Organization/{caller}".casefold():
        text = f"Task.{member}: указана другая организация, а не та, чьим ключом подписан запрос"
        raise OperationRefused(422, Issue("business-rule", text, f"Task.{member}"))


def duplicate_task(number: str, task_id: str) -> OperationRefused:
    """Return the refusal of a Task whose identifier exists already, with the text that clients search for."""
    text = f"Попытка повторного добавления Task с идентификатором {number}, ранее добавлен Task/{task_id}"
    return OperationRefused(422, Issue("duplicate", text, "Task.identifier"))


def full_url(resource: Resource) -> str:
    """Return the fullUrl of a stored resource as most deployments write it."""
    return f"{resource['resourceType']}/{resource['id']}"


def transaction_response(
    stored: Sequence[Resource],
    full_url_of: Callable[[Resource], str] = full_url,
    unchanged: Collection[str] = (),
) -> Resource:
    """Return the answer to a transaction; `unchanged`: "Type/id" of what was found, and left as it was."""
    return {
        "resourceType": "Bundle",
        "type": "transaction-response",
        "entry": [_response_entry(resource, full_url_of, unchanged) for resource in stored],
    }


def searchset(found: Sequence[Resource], total: int, full_url_of: Callable[[Resource], str] = full_url) -> Resource:
    """Return the answer to a search."""
    entries = [{"fullUrl": full_url_of(each), "resource": each, "search": {"mode": "match"}} for each in found]
    answer: Resource = {"resourceType": "Bundle", "type": "searchset", "total": total}
    return answer | ({"entry": entries} if entries else {})  # FHIR allows no empty array


def search_values(resource: Resource, name: str) -> set[str]:
    """Return the values by which a search parameter finds a resource; references with and without their type."""
    match name:
        case "identifier":
            identifiers = [i for i in resource.get("identifier", []) if isinstance(i, dict) and "value" in i]
            return {i["value"] for i in identifiers} | {f"{i.get('system', '')}|{i['value']}" for i in identifiers}
        case "family" | "given":
            texts = [each.get(name) for each in resource.get("name", []) if isinstance(each, dict)]
            parts = [part for each in texts for part in (each if isinstance(each, list) else [each])]
            return {part.casefold() for part in parts if isinstance(part, str)}
        case "birthdate":
            return {str(resource.get("birthDate"))}
        case "owner" | "requester" | "subject":
            references = {resource[name]["reference"]} if name in resource else set()
        case "actor":
            return {item["reference"] for item in resource["actor"]}
        case "based-on":
            references = {item["reference"] for item in resource.get("basedOn", [])}
        case _:
            return {str(resource.get(name))}
    return references | {reference.rpartition("/")[2] for reference in references}


def last_updated(resource: Resource) -> datetime:
    """Return when a stored resource was last changed."""
    return datetime.fromisoformat(resource["meta"]["lastUpdated"])


def _response_entry(resource: Resource, full_url_of: Callable[[Resource], str], unchanged: Collection[str]) -> Resource:
    """Return one entry of a transaction-response."""
    version = resource["meta"]["versionId"]
    return {
        "fullUrl": full_url_of(resource),
        "resource": resource,
        "response": {
            "status": "201 Created" if version == "1" and full_url(resource) not in unchanged else "200 OK",
            "location": f"{resource['resourceType']}/{resource['id']}/_history/{version}",
        },
    }


def _entry_problem(entry: Any, before: dict[str, Resource], check_request: CheckRequest) -> str:
    """Return in Russian what is wrong with an entry of a Bundle, apart from its resource; empty if nothing."""
    if not isinstance(entry, dict) or not isinstance(entry.get("resource"), dict):
        return "нет ресурса"
    kind = entry["resource"].get("resourceType")
    if not isinstance(kind, str) or kind not in BUNDLE_TYPES:
        return f"ресурс {kind} не принимается"
    full_url = entry.get("fullUrl")
    if not isinstance(full_url, str) or not full_url.startswith("urn:uuid:"):
        return "fullUrl должен иметь вид urn:uuid:…"
    try:
        UUID(full_url.removeprefix("urn:uuid:"))
    except ValueError:
        return "в fullUrl указан некорректный UUID"
    if full_url in before:
        return "fullUrl повторяется"
    try:
        check_request(kind, entry.get("request"))
    except ValueError as error:
        return str(error)
    return ""


def _check_creation(kind: str, request: object) -> None:
    is_post = isinstance(request, dict) and (request.get("method"), request.get("url", kind)) == ("POST", kind)
    if request is not None and not is_post:
        raise ValueError(f"request: ожидается POST {kind}")


def _not_taken(contained: dict[str, Resource]) -> str:
    """Return in Russian which contained resources are of no type that is taken; empty if all are."""
    kinds = {each["resourceType"] for each in contained.values()} - BUNDLE_TYPES
    return f"contained: ресурс {', '.join(sorted(kinds))} не принимается" if kinds else ""


def _parameters(parameters: object, value_names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Read a Parameters resource into (name, text); raise OperationRefused."""
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise OperationRefused(400, Issue("structure", "Ожидается ресурс Parameters"))
    listed = parameters.get("parameter", [])
    read = []
    for item in listed if isinstance(listed, list) else [None]:
        name = item.get("name") if isinstance(item, dict) else None
        values = [item[key] for key in value_names if key in item] if isinstance(item, dict) else []
        if not isinstance(name, str) or len(values) != 1 or not isinstance(values[0], str) or not values[0]:
            text = f"Parameters.parameter: ожидаются name и {' или '.join(value_names)}"
            raise OperationRefused(422, Issue("structure", text, "Parameters.parameter"))
        read.append((name, values[0]))
    return read


def _count(value: str) -> int:
    """Read `_count`; raise OperationRefused unless it is 1 to 500."""
    if not value.isascii() or not value.isdigit() or len(value) > 3 or not 1 <= int(value) <= MAX_COUNT:
        raise OperationRefused(422, Issue("value", f"_count: ожидается число от 1 до {MAX_COUNT}", "_count"))
    return int(value)


def _since(value: str) -> datetime:
    """Read "ge<dateTime>", in UTC; a time without its zone is UTC; raise OperationRefused."""
    try:
        if not value.startswith("ge"):
            raise ValueError(value)
        moment = datetime.fromisoformat(value.removeprefix("ge"))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise OperationRefused(
            422, Issue("value", "_lastUpdated: ожидается ge<дата и время>", "_lastUpdated")
        ) from None
