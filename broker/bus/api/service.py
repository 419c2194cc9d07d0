"""The operations of our /fhir for a local МИС: order, cancel, search, read.

Over parsed JSON, without HTTP (see `web`). An order becomes a referral that waits at the desk or is accepted
automatically; its accession number is issued at once. Every client sees its own orders only; a refusal is an
`OperationRefused` and changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date
from uuid import uuid4

from broker.bus.api import answers, people
from broker.bus.fhir import encode
from broker.bus.fhir_server.fields import OWN_ID, SNILS
from broker.bus.fhir_server.records import (
    accession_number,
    as_stored,
    assign_references,
    identity_keys,
    resolve_references,
)
from broker.bus.fhir_server.requests import (
    SearchQuery,
    created,
    deviations,
    duplicate_task,
    entries,
    last_updated,
    read_query,
    read_status,
    refuse_foreign_sender,
    search_values,
    searchset,
    transaction_response,
)
from broker.bus.fhir_server.rules import Find, Issue, OperationRefused, Resource, check, check_bundle
from broker.bus.inbound import parse_referral
from broker.bus.inbound.resolver import Unusable
from broker.bus.outbound.messages import MakePdf
from broker.bus.profile import Profile
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.settings import Clinic
from broker.domain.incoming import IncomingReferral
from broker.store.database import Reader, Store, Tx
from broker.store.queries import directory_search
from broker.store.tables import clients, orders
from broker.store.tables.clients import Client
from broker.store.tables.incoming import Arrival
from broker.workflow import numbering
from broker.workflow.referrals import incoming_referrals

log = logging.getLogger(__name__)

CREATABLE = ("Patient", "Practitioner", "PractitionerRole")
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """The caller. `profile.organisation` is this clinic, `organisation` the one that the client works for."""

    client: Client
    organisation: str
    profile: Profile

    @classmethod
    def of(cls, client: Client, profile: Profile) -> ApiCaller:
        """Return the caller of a client; one without an organisation works for this clinic."""
        here = profile.organisation or client.organisation
        return cls(client, client.organisation or here, replace(profile, organisation=here))

    @property
    def name(self) -> str:
        """Return the client's name."""
        return self.client.name

    @property
    def actor(self) -> Actor:
        """Return the actor for the audit trail."""
        return Actor(ActorKind.BUS, self.name, f"МИС {self.name}")


class FhirApiService:
    """The operations. `auto_accept` is modality -> AE title, `make_pdf` makes the PDF of a signed report."""

    def __init__(self, store: Store, clinic: Clinic, auto_accept: Mapping[str, str], make_pdf: MakePdf) -> None:
        self._store, self._clinic, self._auto_accept, self._make_pdf = store, clinic, auto_accept, make_pdf

    # ---- ordering ----

    def transaction(self, bundle: object, caller: ApiCaller) -> Resource:
        """Store an order and return the transaction-response; raise OperationRefused."""
        sent = entries(bundle)
        resources = list(sent.values())
        with self._store.read() as reader:
            find = _finder(reader, caller, sent)
            issues: list[Issue] = []
            for i, resource in enumerate(resources):
                # Like the desk, the МИС may leave out codes of dictionaries that are not loaded.
                # Somebody who is not fully known is examined, too; only the region waits.
                place = f"Bundle.entry[{i}].resource"
                issues += check(resource, find, self._today(), place, lenient=True, unknown_people=True)
            issues = issues or check_bundle(resources, find)
        if issues:
            raise OperationRefused(422, *issues)
        task = next(resource for resource in resources if resource["resourceType"] == "Task")
        self._refuse_others(task, caller)
        found = deviations(bundle)

        def store(tx: Tx) -> list[Resource]:
            kept = self._ordered(tx, sent, caller)
            clients.note_deviations(tx, caller.name, found)
            return kept

        stored = self._store.write(store)
        if found:
            log.info("client %s: taken although it deviates from the profile: %s", caller.name, "; ".join(found))
        return transaction_response(stored)

    def create(self, resource_type: str, resource: object, caller: ApiCaller) -> Resource:
        """Store a person, or return the same one; raise OperationRefused."""
        if resource_type not in CREATABLE:
            raise OperationRefused(404, Issue("not-supported", f"Создание {resource_type} не поддерживается"))
        whole, contained = created(resource_type, resource)
        issues: list[Issue] = []
        with self._store.read() as reader:
            find = _finder(reader, caller, contained)
            for each in (whole, *contained.values()):
                issues += check(each, find, self._today(), lenient=True, unknown_people=True)
        if issues:
            raise OperationRefused(422, *issues)
        return self._store.write(lambda tx: _keep(tx, {"": whole, **contained}, caller.name))[0]

    def update_status(self, parameters: object, caller: ApiCaller) -> Resource:
        """Cancel an order and return its Task; a second call changes nothing. Raise OperationRefused if it has started.

        In that case people see that it was cancelled too late, and decide.
        """
        task_id, status = read_status(parameters)
        if status != CANCELLED:
            raise OperationRefused(422, Issue("value", f"Недопустимый статус {status}", "status"))
        task = self._task(task_id, caller)
        if task["status"] == CANCELLED:
            return task
        # Newer than the order, also if our clock was set back.
        at = max(self._store.clock(), last_updated(task)).isoformat()
        stamp = {"versionId": str(int(task["meta"]["versionId"]) + 1), "lastUpdated": at}
        arrival = Arrival(caller.name, f"Task/{task_id}", parse_referral.version({"meta": stamp}), encode(parameters))
        self._store.write(
            incoming_referrals.receive_cancellation, task_id, arrival, CANCELLED, caller.actor, self._clinic
        )
        task = self._task(task_id, caller)
        if task["status"] != CANCELLED:
            text = f"Task/{task_id} уже выполняется или завершён, статус {CANCELLED} установить нельзя"
            raise OperationRefused(422, Issue("business-rule", text, "status"))
        return task

    # ---- reading ----

    def read(self, resource_type: str, resource_id: str, caller: ApiCaller) -> Resource:
        """Read one resource; raise OperationRefused(404), also for those of other clients."""
        reference = f"{resource_type}/{resource_id}"
        with self._store.read() as reader:
            if resource_type == "Task" and (client_order := answers.client_order_of(reader, caller.name, resource_id)):
                return answers.task_of(client_order)
            found = _finder(reader, caller)(reference) or self._made(reader, reference, caller)
        if found is None:
            raise OperationRefused(404, Issue("not-found", f"Ресурс {reference} не найден"))
        return found

    def search(self, resource_type: str, parameters: object, caller: ApiCaller) -> Resource:
        """Return a searchset, oldest change first, at most `_count`; raise OperationRefused."""
        query = read_query(resource_type, parameters)
        with self._store.read() as reader:
            if resource_type == "Task":
                return self._tasks(reader, query, caller)
            found = [each for each in self._candidates(reader, resource_type, query, caller) if query.matches(each)]
        found.sort(key=lambda each: (last_updated(each), each["id"]))
        return searchset(found[: query.most], len(found))

    def _tasks(self, reader: Reader, query: SearchQuery, caller: ApiCaller) -> Resource:
        """Search the Tasks; only the returned ones are rendered completely."""
        client_orders = clients.client_orders(
            reader, caller.name, tasks=_named_tasks(reader, query, caller.name), since=query.since
        )
        found = [
            (task, client_order)
            for client_order in client_orders
            for task in (answers.task_of(client_order), *answers.results_of(client_order, caller.profile))
            if query.matches(task)
        ]
        found.sort(key=lambda pair: (last_updated(pair[0]), pair[1].task, pair[0]["status"] == answers.COMPLETED))
        answered = []
        for task, client_order in found[: query.most]:
            if not task["id"]:
                made = answers.answer_resources(reader, client_order, caller.profile, None).values()
                task = next(each for each in made if each.get("status") == task["status"] and _is_task(each))
            answered.append(task)
        return searchset(answered, len(found))

    def _candidates(self, reader: Reader, kind: str, query: SearchQuery, caller: ApiCaller) -> list[Resource]:
        """Return the resources to search among, of a type other than Task."""
        if kind == "Patient":
            ids = clients.named(reader, caller.name, kind, query.values_of("identifier") or ())
            return [each for id in ids if (each := clients.resource(reader, caller.name, kind, id))]
        if kind not in ("DiagnosticReport", "ImagingStudy"):
            return []  # devices and their schedules are not offered to a МИС
        people = [f"for:{each.rpartition('/')[2]}" for each in query.values_of("subject") or ()]
        tasks = clients.named(reader, caller.name, "Task", people)
        made = [
            each
            for client_order in clients.client_orders(reader, caller.name, tasks=tasks)
            for each in answers.answer_resources(reader, client_order, caller.profile, None).values()
        ]
        return [each for each in made if each["resourceType"] == kind]

    def _made(self, reader: Reader, reference: str, caller: ApiCaller) -> Resource | None:
        """Return a resource of a result of this client's order; None if a reference means none."""
        kind, _, id = reference.partition("/")
        order_id = answers.order_id_of(id)
        task = clients.task_of_order(reader, caller.name, order_id) if order_id else ""
        client_order = answers.client_order_of(reader, caller.name, task) if task else None
        make_pdf = self._make_pdf if kind == "Binary" else None
        return (
            answers.answer_resources(reader, client_order, caller.profile, make_pdf).get(reference)
            if client_order
            else None
        )

    def _task(self, task_id: str, caller: ApiCaller) -> Resource:
        """Return an order's own Task in its present state; raise OperationRefused(404)."""
        with self._store.read() as reader:
            client_order = answers.client_order_of(reader, caller.name, task_id)
        if client_order is None:
            raise OperationRefused(404, Issue("not-found", f"Ресурс Task/{task_id} не найден"))
        return answers.task_of(client_order)

    # ---- storing orders ----

    def _refuse_others(self, task: Resource, caller: ApiCaller) -> None:
        """Raise OperationRefused unless a Task is an order from the client's organisation to this clinic."""
        if task["intent"] != "original-order":
            text = "Task.intent: здесь принимаются только направления (original-order), результаты выдаёт эта клиника"
            raise OperationRefused(422, Issue("business-rule", text, "Task.intent"))
        refuse_foreign_sender(task, caller.organisation)
        if task["owner"]["reference"].casefold() != f"Organization/{caller.profile.organisation}".casefold():
            text = "Task.owner: указана другая организация; здесь принимаются только направления в эту клинику"
            raise OperationRefused(422, Issue("business-rule", text, "Task.owner"))

    def _ordered(self, tx: Tx, sent: Mapping[str, Resource], caller: ApiCaller) -> list[Resource]:
        """Store an order, which waits or is accepted automatically; return its resources in the order of sending."""
        [(url, task)] = [(url, each) for url, each in sent.items() if _is_task(each)]
        own = [each for each in task["identifier"] if not _is_given(each)]
        if not own:
            raise OperationRefused(422, Issue("required", "Task.identifier: нет собственного номера направления"))
        for identifier in own:
            known = clients.named(tx, caller.name, "Task", [f"{identifier['system']}|{identifier['value']}"])
            if known:
                raise duplicate_task(identifier["value"], known[0])
        # Issued now: the sender wants to know it, and images will have it.
        number = numbering.accession_number(tx, self._clinic)
        numbered = task | {"identifier": [*own, accession_number(number)]}
        kept = _keep(tx, {**sent, url: numbered}, caller.name)
        made = next(each for each in kept if _is_task(each))
        referral = replace(self._read(tx, made, caller), bus_accession_number=number)
        if problem := _number_problem(tx, made, caller.name):
            referral = replace(referral, problems={"patient": problem, **referral.problems})
        arrival = Arrival(caller.name, f"Task/{made['id']}", parse_referral.version(made), _content(kept))
        taken = incoming_referrals.receive(
            tx,
            referral,
            arrival,
            caller.actor,
            self._clinic,
            self._auto_accept,
            system_procedure=caller.profile.system_procedure,
        )
        log.info("client %s: order %s: %s", caller.name, number, taken)
        return kept

    def _read(self, reader: Reader, task: Resource, caller: ApiCaller) -> IncomingReferral:
        """Return the referral in stored resources; the requester is empty if the client works for this clinic."""
        find = _finder(reader, caller)

        def follow(reference: object, *kinds: str) -> Resource:
            text = reference.get("reference") if isinstance(reference, dict) else None
            found = find(text) if isinstance(text, str) else None
            if found is None or (kinds and found["resourceType"] not in kinds):
                raise Unusable("a reference leads nowhere")
            return found

        try:
            referral = parse_referral.parse_referral(task, follow, caller.profile, self._today())
        except Unusable as unusable:
            raise OperationRefused(422, Issue("value", f"Направление не прочитано: {unusable.reason}")) from None
        own = caller.organisation.casefold() == caller.profile.organisation.casefold()
        return replace(referral, requester=None if own else referral.requester)

    def _today(self) -> date:
        return self._store.clock().astimezone(self._clinic.zone).date()


def _finder(reader: Reader, caller: ApiCaller, sent: Mapping[str, Resource] | None = None) -> Find:
    """Return a function that finds a reference in the Bundle, among the client's resources and organisations."""

    found: dict[str, Resource | None] = dict(sent or {})  # equal references must give the same object

    def find(reference: str) -> Resource | None:
        if reference not in found:
            kind, _, id = reference.partition("/")
            organisation = kind == "Organization"
            found[reference] = (
                _organisation(reader, id, caller) if organisation else clients.resource(reader, caller.name, kind, id)
            )
        return found[reference]

    return find


def _organisation(reader: Reader, guid: str, caller: ApiCaller) -> Resource | None:
    """Return a known organisation: this clinic, the client's, or one of the imported directory."""
    name = directory_search.organisation_name(reader, guid)
    own = (caller.organisation.casefold(), caller.profile.organisation.casefold())
    if not name and guid.casefold() not in own:
        return None
    return {"resourceType": "Organization", "id": guid, "active": True} | ({"name": name} if name else {"name": guid})


def _keep(tx: Tx, sent: Mapping[str, Resource], client: str) -> list[Resource]:
    """Store checked resources, keyed by fullUrl; return them as stored, in the same order."""

    today = tx.now.date()

    def is_same(key: tuple[str, ...], one: Resource, other: Resource) -> bool:
        return key[0] != "Patient" or people.is_same(one, other, today, by_snils=key[1] == SNILS)

    def known(key: tuple[str, ...], resource: Resource) -> str:
        for id in clients.named(tx, client, key[0], [_identity(key)]):
            stored = clients.resource(tx, client, key[0], id)
            is_in_force = stored is not None and key in identity_keys(stored, today)
            if stored is not None and is_in_force and is_same(key, stored, resource):
                return f"{key[0]}/{id}"
        return ""

    targets = assign_references(sent, known, lambda: str(uuid4()), today, is_same)
    now = tx.now.replace(microsecond=tx.now.microsecond // 1000 * 1000).astimezone(UTC)
    kept = []
    for url, resource in sent.items():
        kind, _, id = targets[url].partition("/")
        before = clients.resource(tx, client, kind, id)
        whole = people.completed(before, resource, today) if before and kind == "Patient" else resource
        made = as_stored(resolve_references(whole, targets), targets[url], before, now)
        clients.put(tx, client, made, _keys(made, today))
        kept.append(made)
    return kept


def _number_problem(tx: Tx, task: Resource, client: str) -> str:
    """Return why a person decides whose a Task is: its Patient has another one's card number; "" if that is clear.

    Once an order of this Patient was accepted, the number of both keeps none of theirs waiting.
    """
    id = task["for"]["reference"].rpartition("/")[2]
    patient = clients.resource(tx, client, "Patient", id)
    if patient is None:
        return ""
    today = tx.now.date()
    keys = [_identity(key) for key in identity_keys(patient, today) if key[1] == OWN_ID]
    others = [clients.resource(tx, client, "Patient", each) for each in clients.named(tx, client, "Patient", keys)]
    problems = [
        problem
        for other in others
        if other is not None and other["id"] != id and (problem := people.number_problem(other, patient, today))
    ]
    tasks = clients.named(tx, client, "Task", [f"for:{id}"]) if problems else []
    if any(each.order_id is not None for each in clients.client_orders(tx, client, tasks=tasks)):
        return ""
    return problems[0] if problems else ""


def _keys(resource: Resource, on: date) -> list[str]:
    """Return the keys under which a resource is found: as the same person on this day, or by a search."""
    found = [_identity(key) for key in identity_keys(resource, on)]
    if resource["resourceType"] in ("Task", "Patient"):
        found += search_values(resource, "identifier")
    if _is_task(resource):
        found.append(f"for:{resource['for']['reference'].rpartition('/')[2]}")
    return found


def _identity(key: tuple[str, ...]) -> str:
    return "same:" + "\x1f".join(key)


def _named_tasks(reader: Reader, query: SearchQuery, client: str) -> set[str] | None:
    """Return the ids of the Tasks that identifier or based-on allow in a search; None if it has neither."""
    confined: list[set[str]] = []
    if (answered := query.values_of("based-on")) is not None:
        confined.append({each.rpartition("/")[2] for each in answered})
    if (identifiers := query.values_of("identifier")) is not None:
        tasks = set(clients.named(reader, client, "Task", identifiers))
        for value in identifiers:
            number = value.rpartition("|")[2].removesuffix("/in-progress").removesuffix("/completed")
            order = orders.by_accession_number(reader, number)
            tasks.add(clients.task_of_order(reader, client, order.id) if order else "")
        confined.append(tasks)
    return set.intersection(*confined) if confined else None


def _is_task(resource: Resource) -> bool:
    return bool(resource["resourceType"] == "Task")


def _is_given(identifier: Resource) -> bool:
    """Return True if an identifier is an accession number that this program issues."""
    codings = identifier.get("type", {}).get("coding", []) if isinstance(identifier.get("type"), dict) else []
    return any(isinstance(coding, dict) and coding.get("code") == "ACSN" for coding in codings)


def _content(kept: list[Resource]) -> bytes:
    return encode({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in kept]})
