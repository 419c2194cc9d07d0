"""The operations of the practice bus: transaction, create, read, search, $updatestatus, and a patch of a status.

Over parsed JSON, under one lock, without HTTP (see `bus`). A refusal is an `OperationRefused` and changes nothing.
`caller` is the GUID of the calling organisation, empty for all: orders and their results are visible to requester and
owner, people and reports to everybody. [inferred]
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import date

from broker.bus.fhir_server import r4
from broker.bus.fhir_server.requests import (
    created,
    duplicate_task,
    entries,
    full_url,
    read_query,
    read_status,
    refuse_foreign_sender,
    searchset,
    transaction_response,
)
from broker.bus.fhir_server.rules import Issue, OperationRefused, Resource, check, check_bundle
from broker.bus.practice.records import NOWHERE, Records
from broker.bus.practice.settings import PracticeSettings
from broker.bus.practice.view import View, read_view

CREATABLE = ("Patient", "Practitioner", "PractitionerRole", "Device", "Schedule")


class PracticeService:
    """The bus's records and what may be done with them; safe to call from any thread."""

    def __init__(self, settings: PracticeSettings) -> None:
        self._organisations = {guid: f"Учебная МО {number}" for number, guid in enumerate(settings.registered, 1)}
        self._statuses = frozenset(settings.statuses)
        self._answer_urn = settings.answer_urn
        self._lenient = settings.lenient
        self._is_r4_only = settings.dialect == "r4"
        self._clock = settings.clock
        self._lock = threading.RLock()
        self._records = Records(settings.directory, settings.accession_format, settings.clock)

    def transaction(self, bundle: object, caller: str = "", *, is_r4: bool = False) -> Resource:
        """Store an order or a result and return the transaction-response; raise OperationRefused.

        `is_r4`: entries may be conditional, or replace what is stored.
        """
        sent = entries(bundle, r4.read_request if is_r4 else None)
        if is_r4 and isinstance(bundle, dict):
            return self._conditional(bundle, sent, caller)
        return self._store(sent, sent, caller)

    def _conditional(self, bundle: Resource, sent: dict[str, Resource], caller: str) -> Resource:
        """Store a transaction as a strict R4 server does; raise OperationRefused."""
        issues = r4.missing_members(bundle) if self._is_r4_only else []
        if issues:
            raise OperationRefused(422, *issues)
        asked = r4.requests(bundle)
        with self._lock:
            placed = {url: found for url, each in asked.items() if (found := self._target(sent[url], each, caller))}
            checked = {url: r4.as_profile(each, asked.get(url, r4.EntryRequest())) for url, each in sent.items()}
            unchanged = {url for url in placed if not asked[url].is_update}
            return self._store(sent, checked, caller, placed, unchanged)

    def _target(self, resource: Resource, asked: r4.EntryRequest, caller: str) -> str:
        """Return the "Type/id" that an entry means; empty if it is new. Raise OperationRefused if it is not one."""
        kind = resource["resourceType"]
        if asked.id:
            return full_url(self.read(kind, asked.id, caller))
        found = self._records.identified(kind, asked.identifier) if asked.identifier else []
        if len(found) > 1:  # FHIR R4 3.1.0.7.1, 3.1.0.8.1
            text = f"Условие {kind}?identifier={asked.identifier} находит {len(found)} ресурсов"
            raise OperationRefused(412, Issue("multiple-matches", text))
        return full_url(found[0]) if found else ""

    def _store(
        self,
        sent: dict[str, Resource],
        checked: dict[str, Resource],
        caller: str,
        placed: Mapping[str, str] = NOWHERE,
        unchanged: Collection[str] = (),
    ) -> Resource:
        """Store what was sent, if that is right in the form in which it is `checked`; see `Records.write`."""
        resources = list(checked.values())
        with self._lock:

            def find(reference: str) -> Resource | None:
                return checked.get(reference) or self._find(reference)

            issues: list[Issue] = []
            today = self._today()
            for i, resource in enumerate(resources):
                issues += check(resource, find, today, f"Bundle.entry[{i}].resource", self._lenient)
            issues = issues or check_bundle(resources, find)
            if issues:
                raise OperationRefused(422, *issues)
            [(url, task)] = [(url, each) for url, each in checked.items() if each["resourceType"] == "Task"]
            refuse_foreign_sender(task, caller)
            if url not in placed:
                self._refuse_repeated(task)
            kind = "order" if task["intent"] == "original-order" else "result"
            stored = self._records.write(kind, sent, placed, unchanged)
        return transaction_response(stored, self._full_url, {placed[url] for url in unchanged})

    def create(self, resource_type: str, resource: object) -> Resource:
        """Store one resource, or find the same person or device; raise OperationRefused."""
        if resource_type not in CREATABLE:
            raise OperationRefused(404, Issue("not-supported", f"Создание {resource_type} не поддерживается"))
        whole, contained = created(resource_type, resource)

        def find(reference: str) -> Resource | None:
            return contained.get(reference) or self._find(reference)

        with self._lock:
            issues: list[Issue] = []
            for each in (whole, *contained.values()):
                issues += check(each, find, self._today(), lenient=self._lenient)
            if issues:
                raise OperationRefused(422, *issues)
            return self._records.write("create", {"": whole, **contained})[0]

    def read(self, resource_type: str, resource_id: str, caller: str = "") -> Resource:
        """Read one resource; raise OperationRefused(404), also for Tasks of other organisations."""
        reference = f"{resource_type}/{resource_id}"
        with self._lock:
            found = self._find(reference)
            if found is not None and not self._concerns(found, caller):
                found = None
        if found is None:
            raise OperationRefused(404, Issue("not-found", f"Ресурс {reference} не найден"))
        return found

    def search(self, resource_type: str, parameters: object, caller: str = "", *, is_r4: bool = False) -> Resource:
        """Return a searchset, oldest change first, at most `_count`; raise OperationRefused.

        There are no links to further pages: they are searched for by `_lastUpdated` from the last instant on. `is_r4`:
        values are escaped as in an address.
        """
        split = {"split": r4.unescaped} if is_r4 else {}
        query = read_query(resource_type, parameters, by_name=True, **split)
        with self._lock:
            found = self._records.index.search(resource_type, query.filters, query.since)
            found = [resource for resource in found if self._concerns(resource, caller)]
        return searchset(found[: query.most], len(found), self._full_url)

    def update_status(self, parameters: object, caller: str = "") -> Resource:
        """Change a Task's status and return the Task; the same status again changes nothing; raise OperationRefused."""
        task_id, status = read_status(parameters)
        if status not in self._statuses:
            raise OperationRefused(422, Issue("value", f"Недопустимый статус {status}", "status"))
        return self._set_status(task_id, {"status": status}, caller)

    def patch(self, task_id: str, operations: object, caller: str = "") -> Resource:
        """Change a Task's status, and why, by a JSON Patch, and return the Task; raise OperationRefused."""
        return self._set_status(task_id, r4.read_patch(operations), caller)

    def _set_status(self, task_id: str, members: Resource, caller: str) -> Resource:
        with self._lock:
            task = self.read("Task", task_id, caller)
            if task["status"] == members["status"]:
                return task
            if task["status"] in ("completed", "cancelled", "rejected") or self._answered_by_report(task):
                text = f"Task/{task['id']} уже завершён, статус {members['status']} установить нельзя"
                raise OperationRefused(422, Issue("business-rule", text, "status"))
            return self._records.revise("status", task, **members)

    def resources(self, resource_type: str) -> list[Resource]:
        """List the stored resources of one type, oldest first; they must not be changed."""
        with self._lock:
            return self._records.index.of_type(resource_type)

    def view(self) -> View:
        """Return the view for people."""
        with self._lock:
            return read_view(self._records)

    @property
    def organisations(self) -> dict[str, str]:
        """Return the names of the registered organisations by their GUIDs."""
        return dict(self._organisations)

    def _today(self) -> date:
        return self._clock().astimezone().date()

    def _find(self, reference: str) -> Resource | None:
        """Find a stored resource or a registered organisation."""
        kind, _, guid = reference.partition("/")
        if kind == "Organization" and guid in self._organisations:
            return {"resourceType": kind, "id": guid, "active": True, "name": self._organisations[guid]}
        return self._records.find(reference)

    def _refuse_repeated(self, task: Resource) -> None:
        """Raise OperationRefused if a Task with one of these identifiers exists, with the text that clients expect."""
        for identifier in task["identifier"]:
            key = f"{identifier['system']}|{identifier['value']}"
            for known in self._records.index.having("Task", "identifier", key):
                raise duplicate_task(identifier["value"], known["id"])

    def _answered_by_report(self, task: Resource) -> bool:
        """Return True if an order has a completed result."""
        answers = self._records.index.having("Task", "based-on", f"Task/{task['id']}")
        return any(answer["status"] == "completed" for answer in answers)

    def _concerns(self, resource: Resource, caller: str) -> bool:
        """Return True if an organisation may see a resource: of the Tasks only its own and the answers to them."""
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
        return full_url(resource)
