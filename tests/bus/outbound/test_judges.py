"""What the region is told, judged by programs that were not written here: npm's fhir and a FHIR R4 server over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from broker.bus.fhir import Resource
from broker.bus.outbound.bundle import task_search
from broker.bus.outbound.orders import amendment_bundle, order_bundle
from broker.bus.outbound.results import appended_bundle, images_bundle, report_bundle
from broker.bus.practice import PRACTICE_ORGANISATION_2
from broker.bus.profile import Profile
from broker.bus.transport.answers import Answer, Retry
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call, bundle_references, found_tasks, next_link, r4, task_references
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.messages import BusReferences
from broker.domain.orders import BusRole, Order
from broker.domain.reading.reports import Report
from broker.domain.studies.performed import PerformedStep
from broker.store.database import Store
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText
from broker.workflow.referrals import referrals
from tests.bus import made_orders as made
from tests.bus.clinic import Clinic
from tests.bus.samples import PROFILE, completed, order, report
from tests.peers.fhir_server import FhirServer, Validator, fhir_server, validator
from tests.support import factory
from tests.support.practice import practice_bus

pytestmark = pytest.mark.slow

KINDS = (
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Condition",
    "Observation",
    "Encounter",
    "ServiceRequest",
    "Task",
    "DiagnosticReport",
    "ImagingStudy",
    "Endpoint",
    "Binary",
)
PDF = b"%PDF-1.7"
MADE_AT = datetime(2026, 11, 24, 7, 15, tzinfo=UTC)
KNOWN = BusReferences("t-1", "s-1", "p-1", "ODII0000000001", {"Encounter": "e-1", "study/2.25.77": "is-1"})
# N3's own code system stands where R4 has a required binding to HL7's; the region wants it so.
ALLOWED = ("Condition.verificationStatus", "(urn:oid:2.16.840.1.113883.4.642.1.1075) not found in value set")
UNHURRIED: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),  # to make an example smaller takes minutes
}
numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    with fhir_server(tmp_path_factory.mktemp("fhir")) as started:
        yield started


@pytest.fixture(scope="module")
def judge() -> Iterator[Validator]:
    with validator() as started:
        yield started


def errors(judge: Validator, bundle: Resource) -> list[tuple[str, str]]:
    found = judge.errors(bundle)
    return [(at, what) for at, what in found if not (at == ALLOWED[0] and what.endswith(ALLOWED[1]))]


def stock(server: FhirServer) -> dict[str, int]:
    """Count what the server has, type by type."""
    return {kind: server.count(kind) for kind in KINDS}


# ---- npm's fhir ----


@settings(max_examples=150, **UNHURRIED)
@given(
    order=made.orders,
    report=made.reports,
    steps=made.performed_steps,
    profile=made.profiles,
    pdf=made.documents,
    known=st.booleans(),
)
def test_every_bundle_that_can_be_made_is_strict_r4(
    judge: Validator,
    order: Order,
    report: Report,
    steps: list[PerformedStep],
    profile: Profile,
    pdf: bytes,
    known: bool,
) -> None:
    order = made.numbered(order, 1)
    references = KNOWN if known or order.bus_role is not BusRole.WALK_IN else BusReferences()
    for bundle in (
        order_bundle(order, profile),
        amendment_bundle(order, references, profile),
        images_bundle(order, steps, references, profile, MADE_AT),
        report_bundle(order, report, steps, references, profile, pdf, MADE_AT),
        appended_bundle(order, report, steps, references, profile, pdf, MADE_AT, version=2, archived={}),
    ):
        assert errors(judge, r4(bundle)) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"status": None},
        {"status": "no such status"},
        {"unheardOf": 1},
        {"for": [{"reference": "Patient/1"}]},
    ],
)
def test_the_validator_reports_what_is_wrong(judge: Validator, broken: dict[str, Any]) -> None:
    bundle = r4(order_bundle(order(), PROFILE))
    assert errors(judge, bundle) == []
    [task] = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Task"]
    for name, value in broken.items():
        task[name] = value
        if value is None:
            del task[name]
    assert errors(judge, bundle) != []


# ---- a FHIR server ----


class Deaf(BusClient):
    """Loses the first answer to everything that is sent."""

    def call(self, call: Call) -> Answer:
        answer, received = super().call(call), self.__dict__.setdefault("received", [])
        if call in received:
            return answer
        received.append(call)
        return Retry("time-out")


@pytest.mark.parametrize("client", [BusClient, Deaf])
def test_delivery_sends_everything_of_an_order_once_even_if_answers_are_lost(
    server: FhirServer, store: Store, client: type[BusClient]
) -> None:
    clinic = Clinic(store, practice_bus(), cast(Any, SimpleNamespace(url=server.url)))
    clinic.dialect = r4
    clinic.restarted(client, timeout=30)
    own_clinic = replace(factory.CLINIC, accession_prefix=client.__name__[0])  # numbers that the other one has not
    asked = store.write(referrals.register, factory.draft(), factory.REGISTRAR, own_clinic)

    def deliver() -> None:
        for _ in range(6):
            clinic.deliver_later()
        assert {str(state) for state in clinic.states(asked)} == {"delivered"}, clinic.rows(asked)

    before = stock(server)
    deliver()
    change = factory.draft(patient=asked.patient, comment="Стало")
    asked = store.write(referrals.amend, asked.id, asked.revision, change, factory.REGISTRAR, own_clinic)
    deliver()
    clinic.perform(asked, f"1.2.643.98.{next(numbers)}")
    deliver()
    doctor = Actor(ActorKind.PERSON, "luchinin", "Лучинин О. И.", frozenset({Role.RADIOLOGIST}))
    store.write(reports.sign, asked.id, 0, ReportText(conclusion="Норма"), doctor, own_clinic)
    deliver()
    assert [str(row.kind) for row in clinic.rows(asked)] == ["order", "amend", "images", "report"]
    after = stock(server)
    made_here = {kind: after[kind] - before[kind] for kind in ("Task", "ServiceRequest", "DiagnosticReport")}
    assert made_here == {"Task": 3, "ServiceRequest": 1, "DiagnosticReport": 2}
    request = server.get(f"ServiceRequest/{clinic.references(asked).service_request}")
    assert [note["text"] for note in request["note"]] == ["Стало", "Сторона: правая"]
    clinic.close()


def test_an_order_goes_its_whole_way_and_a_resend_of_everything_doubles_nothing(server: FhirServer) -> None:
    asked = made.numbered(order(bus_role=BusRole.PLACER), next(numbers))
    profile = replace(PROFILE, images_url="https://p.example/studies/{study}")
    sent = [r4.transaction(order_bundle(asked, profile))]
    known = bundle_references(server.made(sent[0]))
    assert all((known.task, known.service_request, known.patient))
    sent.append(r4.transaction(images_bundle(asked, [completed()], known, profile, MADE_AT)))
    images = bundle_references(server.made(sent[1]))
    known = replace(known, extra=images.extra)
    sent.append(r4.transaction(report_bundle(asked, report(), [completed()], known, profile, PDF, MADE_AT)))
    final = bundle_references(server.made(sent[2]))
    stocked = stock(server)
    for call in sent * 2:
        again = bundle_references(server.made(call))
        assert again.task in (known.task, images.task, final.task)
    assert stock(server) == stocked
    task = server.get(f"Task/{final.task}")
    assert (task["status"], task["basedOn"]) == ("completed", [{"reference": f"Task/{known.task}"}])
    signed = server.get(f"DiagnosticReport/{final.extra['DiagnosticReport']}")
    assert task["focus"] == {"reference": f"DiagnosticReport/{signed['id']}"}
    assert signed["basedOn"] == [{"reference": f"ServiceRequest/{known.service_request}"}]
    assert signed["imagingStudy"] == [{"reference": f"ImagingStudy/{images.extra['ImagingStudy']}"}]
    assert len(signed["result"]) == 4
    assert signed["presentedForm"][0]["data"]


def test_a_referral_is_declined_with_its_reason(server: FhirServer) -> None:
    asked = made.numbered(order(), next(numbers))
    known = bundle_references(server.made(r4.transaction(order_bundle(asked, PROFILE))))
    for _ in range(2):  # an answer may be lost
        task = server.made(r4.set_status(known.task, "rejected", "нет такого аппарата"))
        assert (task["status"], task["statusReason"]) == ("rejected", {"text": "нет такого аппарата"})


def test_images_that_were_added_replace_the_report_and_its_study_under_a_task_of_their_own(server: FhirServer) -> None:
    asked = made.numbered(order(bus_role=BusRole.PLACER), next(numbers))
    known = bundle_references(server.made(r4.transaction(order_bundle(asked, PROFILE))))
    images = bundle_references(
        server.made(r4.transaction(images_bundle(asked, [completed()], known, PROFILE, MADE_AT)))
    )
    known = replace(known, extra=images.extra)
    first = bundle_references(
        server.made(r4.transaction(report_bundle(asked, report(), [completed()], known, PROFILE, PDF, MADE_AT)))
    )
    counted = {asked.study_instance_uid: 7}
    again = appended_bundle(asked, report(), [completed()], known, PROFILE, PDF, MADE_AT, version=2, archived=counted)
    call = r4.transaction(again)
    second = bundle_references(server.made(call))
    assert second.task not in ("", first.task)
    assert second.extra["DiagnosticReport"] == first.extra["DiagnosticReport"]
    assert server.get(f"DiagnosticReport/{first.extra['DiagnosticReport']}")["status"] == "appended"
    assert server.get(f"ImagingStudy/{images.extra['ImagingStudy']}")["numberOfInstances"] == 7
    stocked = stock(server)
    assert bundle_references(server.made(call)).task == second.task
    assert stock(server) == stocked


def test_a_resend_finds_what_only_an_answer_was_lost_of(server: FhirServer) -> None:
    asked = made.numbered(order(), next(numbers))
    call = r4.transaction(order_bundle(asked, PROFILE))
    assert bundle_references(server.made(call)) == bundle_references(server.made(call))
    search = r4.search("Task", task_search(asked.accession_number, "original-order", PROFILE))
    [found] = found_tasks(server.made(search), asked.accession_number, PROFILE)
    known = bundle_references(server.made(call))
    assert task_references(found) == replace(known, extra={})
    nothing = r4.search("Task", task_search("no such number", "original-order", PROFILE))
    assert found_tasks(server.made(nothing), "no such number", PROFILE) == []


def test_an_order_is_cancelled_and_a_resend_does_not_wake_it(server: FhirServer) -> None:
    asked = made.numbered(order(), next(numbers))
    known = bundle_references(server.made(r4.transaction(order_bundle(asked, PROFILE))))
    assert server.made(r4.set_status(known.task, "in-progress"))["status"] == "in-progress"
    assert server.made(r4.set_status(known.task, "cancelled"))["status"] == "cancelled"
    assert server.made(r4.set_status(known.task, "cancelled"))["status"] == "cancelled"
    server.made(r4.transaction(order_bundle(asked, PROFILE)))
    assert server.made(r4.read("Task", known.task))["status"] == "cancelled"


def test_an_amendment_changes_what_is_there_and_makes_only_what_is_new(server: FhirServer) -> None:
    asked = made.numbered(order(diagnosis_code="", diagnosis_text="", comment="Было"), next(numbers))
    known = bundle_references(server.made(r4.transaction(order_bundle(asked, PROFILE))))
    before = stock(server)
    patient = replace(asked.patient, name=replace(asked.patient.name, family="Новикова"))
    changed = replace(asked, comment="Стало", diagnosis_code="M17.0", patient=patient)
    call = r4.transaction(amendment_bundle(changed, known, PROFILE))
    amended = bundle_references(server.made(call))
    assert (amended.task, amended.service_request, amended.patient) == (
        known.task,
        known.service_request,
        known.patient,
    )
    server.made(call)
    assert stock(server) == before | {"Condition": before["Condition"] + 1}
    request = server.get(f"ServiceRequest/{known.service_request}")
    assert request["note"][0]["text"] == "Стало"
    assert server.get(f"Patient/{known.patient}")["name"][0]["family"] == "Новикова"
    assert server.get(f"Task/{known.task}")["focus"] == {"reference": f"ServiceRequest/{known.service_request}"}


def test_an_order_of_a_merged_card_becomes_the_other_patients_and_goes_back_when_they_are_split(
    server: FhirServer,
) -> None:
    one, two = (made.numbered(order(), next(numbers)) for _ in range(2))
    two = replace(two, patient=replace(two.patient, patient_id=f"M{next(numbers)}", snils="", policy=""))
    first, second = (bundle_references(server.made(r4.transaction(order_bundle(each, PROFILE)))) for each in (one, two))
    assert first.patient != second.patient
    before = stock(server)
    moved = r4.transaction(amendment_bundle(replace(two, patient=one.patient), second, PROFILE))
    assert bundle_references(server.made(moved)).patient == first.patient
    task, request = f"Task/{second.task}", f"ServiceRequest/{second.service_request}"
    assert server.get(task)["for"] == server.get(request)["subject"] == {"reference": f"Patient/{first.patient}"}
    # The next message of either patient still finds exactly one.
    server.made(r4.transaction(amendment_bundle(one, first, PROFILE)))
    assert (
        bundle_references(server.made(r4.transaction(amendment_bundle(two, second, PROFILE)))).patient == second.patient
    )
    assert server.get(task)["for"] == {"reference": f"Patient/{second.patient}"}
    assert stock(server) == before


def test_the_next_order_of_a_patient_brings_the_newest_name_to_the_same_patient(server: FhirServer) -> None:
    first = made.numbered(order(), next(numbers))
    second = made.numbered(first, next(numbers))
    second = replace(second, patient=replace(first.patient, name=replace(first.patient.name, family="Другая")))
    one = bundle_references(server.made(r4.transaction(order_bundle(first, PROFILE))))
    two = bundle_references(server.made(r4.transaction(order_bundle(second, PROFILE))))
    assert one.patient == two.patient
    assert one.task != two.task
    assert server.get(f"Patient/{one.patient}")["name"][0]["family"] == "Другая"


def test_two_clinics_numbers_are_kept_apart(server: FhirServer) -> None:
    ours = made.numbered(order(), next(numbers))
    other = replace(PROFILE, organisation=PRACTICE_ORGANISATION_2, mis_oid="1.2.643.2.69.1.2.901")
    one = bundle_references(server.made(r4.transaction(order_bundle(ours, PROFILE))))
    two = bundle_references(server.made(r4.transaction(order_bundle(ours, other))))
    assert one.patient != two.patient
    assert one.task != two.task


def test_another_clinics_order_gets_its_result(server: FhirServer) -> None:
    placer = replace(PROFILE, organisation=PRACTICE_ORGANISATION_2, mis_oid="1.2.643.2.69.1.2.901")
    asked = made.numbered(order(owner=PROFILE.organisation), next(numbers))
    known = bundle_references(server.made(r4.transaction(order_bundle(asked, placer))))
    addressed = {"intent": "original-order", "owner": f"Organization/{PROFILE.organisation}", "status": "requested"}
    tasks = server.made(r4.search("Task", addressed | {"_count": "500"}))["entry"]
    assert known.task in [entry["resource"]["id"] for entry in tasks]
    here = made.numbered(order(bus_role=BusRole.PERFORMER, requester=PRACTICE_ORGANISATION_2), next(numbers))
    server.made(r4.transaction(report_bundle(here, report(), [], known, PROFILE, PDF, MADE_AT)))
    answers = server.made(r4.search("Task", {"intent": "reflex-order", "based-on": f"Task/{known.task}"}))
    [answer] = [entry["resource"] for entry in answers["entry"]]
    assert answer["requester"] == {"reference": f"Organization/{PRACTICE_ORGANISATION_2}"}
    assert answer["for"] == {"reference": f"Patient/{known.patient}"}


def test_a_walk_in_is_one_patient_with_two_results(server: FhirServer) -> None:
    came = made.numbered(order(bus_role=BusRole.WALK_IN), next(numbers))
    came = replace(came, patient=replace(came.patient, patient_id="W, 1|$\\"))
    first = bundle_references(
        server.made(r4.transaction(images_bundle(came, [completed()], BusReferences(), PROFILE, MADE_AT)))
    )
    before = stock(server)
    for known in (BusReferences(patient=first.patient, extra=first.extra), BusReferences()):
        later = report_bundle(came, report(), [completed()], known, PROFILE, PDF, MADE_AT)
        assert bundle_references(server.made(r4.transaction(later))).patient == first.patient
    after = stock(server)
    changed = {kind: after[kind] - before[kind] for kind in KINDS if after[kind] != before[kind]}
    assert changed.pop("Practitioner", 1) == changed.pop("PractitionerRole", 1) == 1
    assert changed == {"Observation": 4, "Task": 1, "DiagnosticReport": 1}


def test_pages_are_followed_to_the_end(server: FhirServer) -> None:
    asked = [made.numbered(order(), next(numbers)) for _ in range(3)]
    ids = {bundle_references(server.made(r4.transaction(order_bundle(one, PROFILE)))).task for one in asked}
    call: Call | None = r4.search("Task", {"intent": "original-order", "_count": "2"})
    seen: list[str] = []
    while call:
        page = server.made(call)
        seen += [entry["resource"]["id"] for entry in page.get("entry", [])]
        call = r4.next_page(page, server.url)
        assert call or not next_link(page)
    assert len(seen) == len(set(seen))
    assert ids <= set(seen)


@settings(max_examples=40, **UNHURRIED)
@given(
    order=made.orders,
    report=made.reports,
    steps=made.performed_steps,
    profile=made.profiles,
    pdf=made.documents,
)
def test_a_server_takes_whatever_can_be_made_and_a_resend_doubles_nothing(
    server: FhirServer,
    order: Order,
    report: Report,
    steps: list[PerformedStep],
    profile: Profile,
    pdf: bytes,
) -> None:
    order = made.numbered(order, next(numbers))
    known, sent = BusReferences(), []

    def reported(bundle: Resource) -> BusReferences:
        sent.append(r4.transaction(bundle))
        return bundle_references(server.made(sent[-1]))

    if order.bus_role is not BusRole.WALK_IN:
        known = reported(order_bundle(order, profile))
        assert all((known.task, known.service_request, known.patient))
        reported(amendment_bundle(order, known, profile))
    images = reported(images_bundle(order, steps, known, profile, MADE_AT))
    known = replace(known, patient=images.patient, extra=images.extra)
    reported(report_bundle(order, report, steps, known, profile, pdf, MADE_AT))
    stocked = stock(server)
    for call in sent:
        server.made(call)
    assert stock(server) == stocked
