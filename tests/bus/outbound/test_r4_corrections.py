"""On a strict R4 server a correction goes first, and the results after it go under the corrected patient."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from broker.bus.fhir import Resource
from broker.bus.outbound.delivery import DeliverySummary
from broker.bus.outbound.messages import NOT_CORRECTED
from broker.bus.transport.answers import Answer, Delivered, Rejected
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call, r4
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.tables import orders
from broker.workflow import patient_correction, patient_merge
from broker.workflow.reading import reports
from tests.bus.clinic import Clinic
from tests.bus.outbound.test_added_images import DOCTOR, TEXT
from tests.support.factory import CLINIC, REGISTRAR

OTHER = PersonName("Петрова", "Ольга", "Ивановна")


class R4Server(BusClient):
    """A client of an R4 server that is in memory: conditional creates and updates, reads, searches, patches."""

    held: dict[str, Resource]

    def call(self, call: Call) -> Answer:
        path, _, asked = call.path.partition("?")
        if call.method == "POST":
            return self._transaction(json.loads(call.body))
        if call.method == "PATCH":
            task = self.held[path.strip("/")]
            task |= {each["path"].strip("/"): each["value"] for each in json.loads(call.body)}
            return Delivered(task)
        if path.count("/") == 2:
            found = self.held.get(path.strip("/"))
            return Delivered(found) if found else Rejected("HTTP 404")
        listed = [{"resource": each} for each in self._found(path.strip("/"), asked)]
        return Delivered({"resourceType": "Bundle", "type": "searchset", "entry": listed})

    def of(self, kind: str) -> list[Resource]:
        return [each for name, each in self.held.items() if name.startswith(f"{kind}/")]

    def _found(self, kind: str, asked: str) -> list[Resource]:
        system, _, value = unquote(parse_qs(asked)["identifier"][0]).partition("|")
        wanted = system, value
        return [
            each
            for each in self.of(kind)
            if wanted in [(one.get("system"), one["value"]) for one in each.get("identifier", [])]
        ]

    def _transaction(self, bundle: Resource) -> Answer:
        made: dict[str, str] = {}
        written: list[tuple[str, Resource | None]] = []
        for entry in bundle["entry"]:
            request, resource = entry["request"], entry["resource"]
            kind, _, condition = request["url"].partition("?")
            kind, _, id = kind.partition("/")
            condition = request.get("ifNoneExist") or condition
            known = self._found(kind, condition) if condition else []
            if id:
                known = [self.held[f"{kind}/{id}"]]
            name = f"{kind}/{known[0]['id'] if known else f'{kind.lower()}-{len(self.held) + len(written) + 1}'}"
            made[entry["fullUrl"]] = name
            is_kept = request["method"] == "POST" and known
            written.append((name, None if is_kept else resource))
        for name, resource in written:
            if resource is not None:
                text = json.dumps(resource)
                for url, target in made.items():
                    text = text.replace(url, target)
                self.held[name] = json.loads(text) | {"id": name.partition("/")[2]}
        entries = [{"resource": self.held[name], "response": {"location": name}} for name, _ in written]
        return Delivered({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})


@pytest.fixture
def strict(clinic: Clinic) -> R4Server:
    R4Server.held = {}
    clinic.dialect = r4
    clinic.restarted(R4Server)
    client = clinic.clients[-1]
    assert isinstance(client, R4Server)
    return client


def now(clinic: Clinic, order: Order) -> Order:
    with clinic.store.read() as reader:
        return orders.require(reader, order.id)


def correct(clinic: Clinic, order: Order, **changes: Any) -> None:
    patient = replace(now(clinic, order).patient, **changes)
    seen = clinic.made(patient)
    clinic.store.write(patient_correction.correct, patient, REGISTRAR, CLINIC, made_seen=seen)


def queue(clinic: Clinic, order: Order) -> list[tuple[str, str]]:
    return [(str(row.kind), str(row.state)) for row in clinic.rows(order)]


def whose(strict: R4Server, order: Order) -> list[tuple[str, str]]:
    """Return the numbers of an order's Tasks, and the family names of the patients under whom they are there."""
    found = []
    for task in strict.of("Task"):
        number = task["identifier"][0]["value"]
        if number.partition("/")[0] == order.accession_number:
            found.append((number, strict.held[task["for"]["reference"]]["name"][0]["family"]))
    return sorted(found)


@pytest.mark.parametrize("changes", [{"name": OTHER}, {"birth_date": date(1962, 3, 12)}, {"snils": ""}])
def test_a_correction_goes_first_and_the_results_follow_it_under_the_corrected_patient(
    clinic: Clinic, strict: R4Server, changes: dict[str, Any]
) -> None:
    order = clinic.register()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    clinic.perform(order)
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    correct(clinic, order, **changes)
    assert clinic.deliver() == DeliverySummary(delivered=3)
    assert [state for _, state in queue(clinic, order)] == ["delivered"] * 4
    [patient] = strict.of("Patient")
    is_named = changes.get("name", order.patient.name)
    assert patient["name"][0]["family"] == is_named.family
    assert patient["birthDate"] == f"{changes.get('birth_date', order.patient.birth_date)}"
    number = order.accession_number
    assert whose(strict, order) == [
        (each, is_named.family) for each in (number, f"{number}/completed", f"{number}/in-progress")
    ]


def test_a_correction_after_the_results_reaches_what_they_stand_under(clinic: Clinic, strict: R4Server) -> None:
    order = clinic.register()
    clinic.perform(order)
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    assert clinic.deliver() == DeliverySummary(delivered=3)
    correct(clinic, order, name=OTHER)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert {family for _, family in whose(strict, order)} == {"Петрова"}


def test_results_of_an_order_that_was_split_from_another_patient_go_under_its_own(
    clinic: Clinic, strict: R4Server
) -> None:
    known = clinic.register().patient
    order = clinic.register(patient=Patient(OTHER, date(1980, 2, 3), Sex.FEMALE))
    ids, revisions = (known.stored_id, order.patient.stored_id), (known.revision, order.patient.revision)
    trail = clinic.store.write(patient_merge.merge, *ids, (), revisions, REGISTRAR, CLINIC)
    clinic.deliver()
    assert {family for _, family in whose(strict, order)} == {"Кузнецова"}
    clinic.store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC)
    clinic.perform(order)
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    assert clinic.deliver().needs_attention == 0
    assert {family for _, family in whose(strict, order)} == {"Петрова"}
    assert sorted(each["name"][0]["family"] for each in strict.of("Patient")) == ["Кузнецова", "Петрова"]


class Unchanging(R4Server):
    """A server that has the number of an order, and says so, whatever the order is corrected to."""

    def call(self, call: Call) -> Answer:
        tasks = [each["id"] for each in self.of("Task")]
        is_correction = call.method == "POST" and b'"method": "PUT", "url": "Task/' in call.body
        is_correction = is_correction or (call.method == "POST" and b'"PUT","url":"Task/' in call.body)
        return Delivered(task=tasks[0], evidence="HTTP 422") if is_correction else super().call(call)


def test_a_server_that_has_the_order_and_changes_nothing_has_not_taken_the_correction(clinic: Clinic) -> None:
    R4Server.held = {}
    clinic.dialect = r4
    clinic.restarted(Unchanging)
    order = clinic.register()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    clinic.perform(order)
    correct(clinic, order, name=OTHER)
    assert clinic.deliver() == DeliverySummary(needs_attention=1)
    assert queue(clinic, order)[1:] == [("images", "pending"), ("amend", "needs_attention")]
    assert clinic.rows(order)[2].reason == NOT_CORRECTED
