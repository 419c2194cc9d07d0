"""What the practice bus does: transactions, single creates, reading, searching, changing a Task's status.

The verbs of ОДИИ over parsed JSON, under one lock, without HTTP (see `practice`). A refusal is a `Refused` and leaves
nothing behind. `caller` is the GUID of the organisation that asks, empty for the bus's own purposes: orders and their
answers are seen by who requested them and who owns them, people and results by everybody. [inferred]
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from broker.bus.practice_fields import BUNDLE_TYPES
from broker.bus.practice_index import SEARCHABLE
from broker.bus.practice_records import Records
from broker.bus.practice_rules import Issue, Refused, Resource, check, check_bundle
from broker.bus.practice_view import View, look

CREATABLE = ("Patient", "Practitioner", "PractitionerRole", "Device", "Schedule")
# Nobody may list every patient of the region, or every report: one of these must be named. [inferred]
DEMANDED = {"Patient": "identifier", "DiagnosticReport": "subject", "ImagingStudy": "subject"}
MAX_COUNT = 500
DEFAULT_COUNT = 100


class PracticeService:
    """The bus's records and what may be done with them; safe to call from any thread."""

    def __init__(
        self,
        organisations: Iterable[str],
        directory: Path | None,
        accession_format: str,
        statuses: Iterable[str],
        answer_urn: bool,
        lenient: bool,
    ) -> None:
        self._organisations = {guid: f"Учебная МО {number}" for number, guid in enumerate(organisations, 1)}
        self._statuses = frozenset(statuses)
        self._answer_urn = answer_urn
        self._lenient = lenient
        self._lock = threading.RLock()
        self._records = Records(directory, accession_format)

    def transaction(self, bundle: object, caller: str = "") -> Resource:
        """Take an order or a result as a whole and answer the transaction-response; raise Refused."""
        entries = _entries(bundle)
        resources = list(entries.values())
        with self._lock:

            def find(reference: str) -> Resource | None:
                return entries.get(reference) or self._find(reference)

            issues: list[Issue] = []
            for i, resource in enumerate(resources):
                issues += check(resource, find, date.today(), f"Bundle.entry[{i}].resource", self._lenient)
            issues = issues or check_bundle(resources, find)
            if issues:
                raise Refused(422, *issues)
            task = next(r for r in resources if r["resourceType"] == "Task")
            _refuse_foreign_sender(task, caller)
            self._refuse_repeated(task)
            stored = self._records.write("order" if task["intent"] == "original-order" else "result", entries)
        return {
            "resourceType": "Bundle",
            "type": "transaction-response",
            "entry": [self._answered(resource) for resource in stored],
        }

    def create(self, resource_type: str, resource: object) -> Resource:
        """Store one resource, or find the same person or device; raise Refused."""
        if resource_type not in CREATABLE:
            raise Refused(404, Issue("not-supported", f"Создание {resource_type} не поддерживается"))
        if not isinstance(resource, dict) or resource.get("resourceType") != resource_type:
            raise Refused(400, Issue("structure", f"Ожидается ресурс {resource_type}"))
        with self._lock:
            issues = check(resource, self._find, date.today(), lenient=self._lenient)
            if issues:
                raise Refused(422, *issues)
            return self._records.write("create", {"": resource})[0]

    def read(self, resource_type: str, resource_id: str, caller: str = "") -> Resource:
        """Read one resource; raise Refused(404), also for another's Task: that it exists is not told."""
        reference = f"{resource_type}/{resource_id}"
        with self._lock:
            found = self._find(reference)
            if found is not None and not self._concerns(found, caller):
                found = None
        if found is None:
            raise Refused(404, Issue("not-found", f"Ресурс {reference} не найден"))
        return found

    def search(self, resource_type: str, parameters: object, caller: str = "") -> Resource:
        """Answer a searchset, oldest change first, cut at `_count`; raise Refused.

        Who asks again with the last instant as `_lastUpdated` gets the following ones: no page is named or linked.
        """
        if resource_type not in SEARCHABLE:
            raise Refused(404, Issue("not-supported", f"Поиск {resource_type} не поддерживается"))
        wanted = _parameters(parameters, ("valueString",))
        count, since, filters = DEFAULT_COUNT, None, []
        for name, value in wanted:
            if name == "_count":
                count = _count(value)
            elif name == "_lastUpdated":
                since = _since(value)
            elif name in SEARCHABLE[resource_type]:
                filters.append((name, frozenset(part.strip() for part in value.split(","))))
            else:
                raise Refused(422, Issue("not-supported", f"Неизвестный параметр поиска {name}", name))
        if resource_type in DEMANDED and DEMANDED[resource_type] not in dict(filters):
            name = DEMANDED[resource_type]
            raise Refused(422, Issue("required", f"Поиск {resource_type}: не указан параметр {name}", name))
        with self._lock:
            found = self._records.index.search(resource_type, filters, since)
            found = [resource for resource in found if self._concerns(resource, caller)]
        entries = [
            {"fullUrl": self._full_url(resource), "resource": resource, "search": {"mode": "match"}}
            for resource in found[:count]
        ]
        answer: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(found)}
        return answer | ({"entry": entries} if entries else {})  # FHIR allows no empty array

    def update_status(self, parameters: object, caller: str = "") -> Resource:
        """Change a Task's status and answer the Task; the same status again changes nothing; raise Refused."""
        given = dict(_parameters(parameters, ("valueString", "valueCode", "valueId")))
        for name in ("_id", "status"):
            if name not in given:
                raise Refused(422, Issue("required", f"Не указан параметр {name}", name))
        status = given["status"]
        if status not in self._statuses:
            raise Refused(422, Issue("value", f"Недопустимый статус {status}", "status"))
        with self._lock:
            task = self.read("Task", given["_id"].removeprefix("Task/"), caller)
            if task["status"] == status:
                return task
            if task["status"] in ("completed", "cancelled") or self._answered_by_report(task):
                text = f"Task/{task['id']} уже завершён, статус {status} установить нельзя"
                raise Refused(422, Issue("business-rule", text, "status"))
            return self._records.revise("status", task, status=status)

    def resources(self, resource_type: str) -> list[Resource]:
        """List the stored resources of one type, oldest first; they must not be changed."""
        with self._lock:
            return self._records.index.of_type(resource_type)

    def view(self) -> View:
        """Draw what people see."""
        with self._lock:
            return look(self._records)

    @property
    def organisations(self) -> dict[str, str]:
        """Tell the names of the registered organisations by their GUIDs."""
        return dict(self._organisations)

    def _find(self, reference: str) -> Resource | None:
        """Find a stored resource or a registered organisation."""
        kind, _, guid = reference.partition("/")
        if kind == "Organization" and guid in self._organisations:
            return {"resourceType": kind, "id": guid, "active": True, "name": self._organisations[guid]}
        return self._records.find(reference)

    def _refuse_repeated(self, task: Resource) -> None:
        """Raise Refused if a Task with one of these identifiers is there, in the words that clients look for."""
        for identifier in task["identifier"]:
            key = f"{identifier['system']}|{identifier['value']}"
            for known in self._records.index.having("Task", "identifier", key):
                text = (
                    f"Попытка повторного добавления Task с идентификатором {identifier['value']}, "
                    f"ранее добавлен Task/{known['id']}"
                )
                raise Refused(422, Issue("duplicate", text, "Task.identifier"))

    def _answered_by_report(self, task: Resource) -> bool:
        """Tell whether a completed result is there for an order."""
        answers = self._records.index.having("Task", "based-on", f"Task/{task['id']}")
        return any(answer["status"] == "completed" for answer in answers)

    def _concerns(self, resource: Resource, caller: str) -> bool:
        """Tell whether an organisation may see a resource: of the Tasks only its own and the answers to them."""
        if not caller or resource["resourceType"] != "Task":
            return True
        if f"Organization/{caller}" in (resource["requester"]["reference"], resource["owner"]["reference"]):
            return True
        originals = [self._records.find(item["reference"]) for item in resource.get("basedOn", [])]
        return any(original is not None and self._concerns(original, caller) for original in originals)

    def _full_url(self, resource: Resource) -> str:
        """Name a stored resource as this deployment does."""
        if self._answer_urn:
            return f"urn:uuid:{resource['id']}"
        return f"{resource['resourceType']}/{resource['id']}"

    def _answered(self, resource: Resource) -> Resource:
        """Render one entry of a transaction-response."""
        version = resource["meta"]["versionId"]
        location = f"{resource['resourceType']}/{resource['id']}/_history/{version}"
        status = "201 Created" if version == "1" else "200 OK"
        return {
            "fullUrl": self._full_url(resource),
            "resource": resource,
            "response": {"status": status, "location": location},
        }


def _entries(bundle: object) -> dict[str, Resource]:
    """Take a transaction Bundle apart into fullUrl -> resource, of types that belong there; raise Refused."""
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise Refused(400, Issue("structure", "Ожидается ресурс Bundle"))
    if bundle.get("type") != "transaction":
        raise Refused(422, Issue("value", "Bundle.type: ожидается transaction", "Bundle.type"))
    listed = bundle.get("entry")
    if not isinstance(listed, list) or not listed:
        raise Refused(422, Issue("required", "Bundle.entry: не заполнено", "Bundle.entry"))
    entries: dict[str, Resource] = {}
    issues = []
    for i, entry in enumerate(listed):
        problem = _entry_problem(entry, entries)
        if problem:
            issues.append(Issue("structure", f"Bundle.entry[{i}]: {problem}", f"Bundle.entry[{i}]"))
        else:
            entries[entry["fullUrl"]] = entry["resource"]
    if issues:
        raise Refused(422, *issues)
    return entries


def _entry_problem(entry: Any, before: dict[str, Resource]) -> str:
    """Say what is wrong with an entry's frame; `request` may be left out."""
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
    request = entry.get("request", {"method": "POST", "url": kind})
    if not isinstance(request, dict) or (request.get("method"), request.get("url")) != ("POST", kind):
        return f"request: ожидается POST {kind}"
    return ""


def _refuse_foreign_sender(task: Resource, caller: str) -> None:
    """Raise Refused if one organisation orders, or answers, in the name of another."""
    member = "requester" if task["intent"] == "original-order" else "owner"
    if caller and task[member]["reference"] != f"Organization/{caller}":
        text = f"Task.{member}: указана другая организация, а не та, чьим ключом подписан запрос"
        raise Refused(422, Issue("business-rule", text, f"Task.{member}"))


def _parameters(parameters: object, value_names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Read a Parameters resource into (name, text); raise Refused."""
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise Refused(400, Issue("structure", "Ожидается ресурс Parameters"))
    listed = parameters.get("parameter", [])
    read = []
    for item in listed if isinstance(listed, list) else [None]:
        name = item.get("name") if isinstance(item, dict) else None
        values = [item[key] for key in value_names if key in item] if isinstance(item, dict) else []
        if not isinstance(name, str) or len(values) != 1 or not isinstance(values[0], str) or not values[0]:
            text = f"Parameters.parameter: ожидаются name и {' или '.join(value_names)}"
            raise Refused(422, Issue("structure", text, "Parameters.parameter"))
        read.append((name, values[0]))
    return read


def _count(value: str) -> int:
    """Read `_count`; raise Refused unless it is 1 to 500."""
    if not value.isascii() or not value.isdigit() or len(value) > 3 or not 1 <= int(value) <= MAX_COUNT:
        raise Refused(422, Issue("value", f"_count: ожидается число от 1 до {MAX_COUNT}", "_count"))
    return int(value)


def _since(value: str) -> datetime:
    """Read "ge<dateTime>"; a time without its zone is UTC; raise Refused."""
    try:
        if not value.startswith("ge"):
            raise ValueError(value)
        moment = datetime.fromisoformat(value.removeprefix("ge"))
    except ValueError:
        raise Refused(422, Issue("value", "_lastUpdated: ожидается ge<дата и время>", "_lastUpdated")) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
