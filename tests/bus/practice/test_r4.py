"""The practice bus speaks FHIR R4 with whoever does: with our own client, and strictly if it is asked to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from broker.bus.fhir import Resource
from broker.bus.outbound.delivery import DeliverySummary
from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_TOKEN_2, PracticeBus, PracticeServer
from broker.bus.transport.dialect import r4
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import ReportChange
from broker.workflow import patient_correction
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from tests.bus import bundles
from tests.bus.clinic import Clinic, numbers, practising
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.practice import practice_bus

DOCTOR = Actor(ActorKind.PERSON, "lvova", "Львова Анна Сергеевна", frozenset({Role.RADIOLOGIST}))
FHIR = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
AS_SECOND = {"Authorization": f"N3 {PRACTICE_TOKEN_2}"}
PATCH = {"Accept": "application/fhir+json", "Content-Type": "application/json-patch+json"}


@pytest.fixture(params=["", "r4"], ids=["by media type", "r4 only"])
def clinic(open_clinic: Callable[[PracticeBus], Clinic], request: pytest.FixtureRequest) -> Clinic:
    opened = open_clinic(practice_bus(lenient=True, dialect=request.param))
    opened.dialect = r4
    opened.restarted()
    return opened


@pytest.fixture
def server() -> Iterator[PracticeServer]:
    with practising(practice_bus()) as running:
        yield running


def call(server: PracticeServer, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
    return bundles.call(server, method, path, body, headers=FHIR | headers)


def conditional(bundle: Resource, **criteria: str) -> Resource:
    """Give the entries of these types a condition, and all others a plain creation."""
    for entry in bundle["entry"]:
        kind = entry["resource"]["resourceType"]
        entry["request"] = {"method": "POST", "url": kind}
        if kind in criteria:
            entry["request"]["ifNoneExist"] = f"identifier={criteria[kind]}"
    return bundle


def test_what_our_client_sends_in_r4_is_taken_and_everything_is_there_once(clinic: Clinic) -> None:
    order = clinic.register()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.references(order).acsn.startswith("ODII")
    clinic.perform(order)
    clinic.store.write(reports.sign, order.id, 0, ReportText("Кость целая.", "Без патологии."), DOCTOR, CLINIC)
    assert clinic.deliver() == DeliverySummary(delivered=2)
    number = order.accession_number
    assert numbers(clinic.bus.tasks()) == [number, f"{number}/in-progress", f"{number}/completed"]
    for kind in ("Patient", "ServiceRequest", "Encounter", "ImagingStudy"):
        assert len(clinic.bus.resources(kind)) == 1, kind
    final = clinic.bus.resources("DiagnosticReport")[-1]
    assert final["presentedForm"][0]["data"]
    assert clinic.bus.resources("Binary") == []


@pytest.mark.slow
def test_a_lost_answer_doubles_nothing(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver_and_lose_the_answer()
    clinic.deliver_later()
    assert set(clinic.states(order)) == {"delivered"}
    assert [len(clinic.bus.resources(kind)) for kind in ("Task", "Patient", "Encounter", "Condition")] == [1, 1, 1, 1]


def test_a_correction_of_an_order_replaces_it_and_keeps_the_number_of_the_bus(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    [before] = clinic.bus.tasks()
    patient = replace(order.patient, name=PersonName("Петрова", "Марина", "Петровна"))
    clinic.store.write(patient_correction.correct, patient, REGISTRAR, CLINIC, made_seen=clinic.made(patient))
    assert clinic.deliver() == DeliverySummary(delivered=1)
    [task] = clinic.bus.tasks()
    assert (task["id"], task["meta"]["versionId"], task["status"]) == (before["id"], "2", "requested")
    assert bundles.accession_numbers(task) == bundles.accession_numbers(before)
    [person] = clinic.bus.resources("Patient")
    assert person["name"][0]["family"] == "Петрова"


def test_corrected_and_withdrawn_reports_replace_the_report_under_their_own_status(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)
    clinic.store.write(reports.sign, order.id, 0, ReportText("Слева целая.", "Норма."), DOCTOR, CLINIC)
    clinic.deliver()
    seen = []
    for version, revision in enumerate(
        (
            Revision(ReportChange.ADDITION, "Контроль через год."),
            Revision(ReportChange.CORRECTION, "не та сторона", ReportText("Справа целая.", "Норма.")),
            Revision(ReportChange.WITHDRAWAL, "снимки другого пациента"),
        ),
        1,
    ):
        clinic.store.write(reports.revise, order.id, version, revision, DOCTOR, CLINIC)
        assert clinic.deliver() == DeliverySummary(delivered=1)
        [partial, final] = clinic.bus.resources("DiagnosticReport")
        seen.append((partial["status"], final["status"], final["meta"]["versionId"]))
    assert seen == [("partial", "appended", "2"), ("partial", "corrected", "3"), ("partial", "entered-in-error", "4")]
    assert numbers(clinic.bus.tasks())[-1] == f"{order.accession_number}/completed/4"


def test_a_cancellation_is_a_patch_of_the_status(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.cancel(order)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert [task["status"] for task in clinic.bus.tasks()] == ["cancelled"]
    assert clinic.bus.requests[-1].method == "PATCH"


def test_answers_name_the_media_type_of_fhir_and_searches_are_addresses(server: PracticeServer) -> None:
    sent = conditional(bundles.order("o-1"))
    answer = call(server, "POST", "", sent)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    system = bundles.of(sent, "Task")["identifier"][0]["system"]
    found = call(server, "GET", f"/Task?identifier={system}|o-1&_sort=_lastUpdated&_count=10").json()
    assert [f"Task/{each['resource']['id']}" for each in found["entry"]] == [bundles.id_of(answer.json(), "Task")]
    assert call(server, "GET", f"/Task?identifier={system}|o\\,1").json()["total"] == 0
    assert call(server, "GET", "/Task?colour=red").status_code == 422
    assert call(server, "GET", "/Patient").status_code == 422


def test_what_a_condition_finds_stays_as_it_is_and_is_named(server: PracticeServer) -> None:
    task = bundles.of(bundles.order("o-1"), "Task")["identifier"][0]
    conditions = {"Task": f"{task['system']}|o-1"}
    first = call(server, "POST", "", conditional(bundles.order("o-1"), **conditions)).json()
    again = call(server, "POST", "", conditional(bundles.order("o-1"), **conditions))
    assert again.status_code == 200, again.text
    assert bundles.id_of(again.json(), "Task") == bundles.id_of(first, "Task")
    statuses = {each["resource"]["resourceType"]: each["response"]["status"] for each in again.json()["entry"]}
    assert statuses["Task"] == "200 OK"
    unconditional = call(server, "POST", "", conditional(bundles.order("o-1")))
    assert unconditional.status_code == 422
    assert "Попытка повторного добавления Task" in unconditional.text


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "DELETE", "url": "Task"},
        {"method": "PUT", "url": "Task"},
        {"method": "PUT", "url": "Patient/1"},
        {"method": "PUT", "url": "Task?status=requested"},
        {"method": "POST", "url": "Task", "ifNoneExist": "identifier=a|b&status=requested"},
        {"method": "POST", "url": "Task", "ifNoneExist": 1},
        [],
    ],
)
def test_other_requests_of_an_entry_are_refused_with_what_is_expected(server: PracticeServer, request_: Any) -> None:
    sent = conditional(bundles.order("o-1"))
    next(each for each in sent["entry"] if each["resource"]["resourceType"] == "Task")["request"] = request_
    answer = call(server, "POST", "", sent)
    assert answer.status_code == 422, answer.text
    assert "request: " in answer.text
    assert server.bus.tasks() == []


def test_nobody_replaces_the_task_of_two_other_clinics(server: PracticeServer) -> None:
    made = call(server, "POST", "", conditional(bundles.order("o-1", owner=PRACTICE_ORGANISATION))).json()
    id = bundles.id_of(made, "Task")
    patch = [{"op": "replace", "path": "/status", "value": "cancelled"}]
    assert bundles.call(server, "PATCH", f"/{id}", patch, headers=PATCH | AS_SECOND).status_code == 404
    assert bundles.call(server, "PATCH", f"/{id}", patch, headers=PATCH).status_code == 200
    assert [task["status"] for task in server.bus.tasks()] == ["cancelled"]


@pytest.mark.parametrize(
    "patch",
    [
        {},
        [],
        [{"op": "remove", "path": "/status"}],
        [{"op": "replace", "path": "/owner", "value": {}}],
        [{"op": "replace", "path": "/status", "value": "gone"}],
        [
            {"op": "replace", "path": "/status", "value": "cancelled"},
            {"op": "add", "path": "/statusReason", "value": 1},
        ],
    ],
)
def test_a_patch_changes_nothing_but_a_status_and_its_reason(server: PracticeServer, patch: Any) -> None:
    made = call(server, "POST", "", conditional(bundles.order("o-1"))).json()
    answer = bundles.call(server, "PATCH", f"/{bundles.id_of(made, 'Task')}", patch, headers=PATCH)
    assert answer.status_code == 422
    assert [task["status"] for task in server.bus.tasks()] == ["requested"]


def test_a_bus_of_n3_only_does_not_understand_r4() -> None:
    with practising(practice_bus(dialect="n3")) as server:
        made = call(server, "POST", "", bundles.order("o-1"))
        assert made.status_code == 200, made.text  # FHIR's media type alone is no dialect
        task = bundles.id_of(made.json(), "Task")
        patch = [{"op": "replace", "path": "/status", "value": "cancelled"}]
        assert bundles.call(server, "PATCH", f"/{task}", patch, headers=PATCH).status_code == 405
        assert call(server, "GET", "/Task?status=requested").status_code == 404


def test_a_bus_of_r4_only_demands_what_r4_demands() -> None:
    with practising(practice_bus(dialect="r4")) as server:
        answer = bundles.post(server, bundles.order("o-1"))
        assert answer.status_code == 422
        assert {each["location"][0].rpartition(".")[2] for each in answer.json()["issue"]} == {"request", "status"}
        whole = conditional(bundles.order("o-1"))
        bundles.of(whole, "Task")["status"] = "requested"
        bundles.of(whole, "ServiceRequest")["status"] = "active"
        assert bundles.post(server, whole).status_code == 200
    with pytest.raises(ValueError, match="unknown dialect"):
        practice_bus(dialect="r5")


def test_faults_of_a_search_are_shown_to_a_search_by_address(server: PracticeServer) -> None:
    for number in ("o-1", "o-2"):
        call(server, "POST", "", conditional(bundles.order(number)))
    server.bus.fail_next("out-of-order")
    found = json.loads(call(server, "GET", "/Task?intent=original-order").content)
    assert numbers([each["resource"] for each in found["entry"]]) == ["o-2", "o-1"]
