"""Reports, walk-ins, other clinics' orders and amendments as FHIR: whom they name, what they refer to."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from broker.bus.fhir import Resource
from broker.bus.outbound.messages import OrderMessage, accepted_ids
from broker.bus.outbound.orders import amendment_bundle, order_bundle
from broker.bus.outbound.results import images_bundle, report_bundle
from broker.bus.practice import PRACTICE_ORGANISATION_2
from broker.bus.transport.dialect import bundle_references, n3, r4
from broker.domain.messages import SENDERS_ENCOUNTER, BusReferences, OutboxKind, OutboxRow, OutboxState
from broker.domain.orders import BusRole, OrderState
from broker.domain.patients.people import NO_NAME
from broker.domain.studies.performed import StepReference
from tests.bus.samples import MIS, ORGANISATION, PROFILE, STUDY_UID, bare_order, completed, of, order, report, url_of
from tests.support.practice import practice_bus

N3 = "urn:oid:1.2.643.2.69.1.1.1"
REFERENCES = BusReferences(task="t-1", service_request="s-1", patient="p-1", acsn="ODII0000000001")
MADE_AT = datetime(2026, 11, 24, 7, 15, tzinfo=UTC)
REDIRECT_TARGET = {"reference": f"Organization/{PRACTICE_ORGANISATION_2}"}
PDF = b"%PDF-1.7 \xd0\xbf"


def test_images_of_an_order_with_steps_of_several_modalities_have_all_of_them_where_no_device_says_which() -> None:
    [step] = order().steps
    second = replace(step, id=2, attributes={"step": {"Modality": {"vr": "CS", "Value": ["CT"]}}})
    several = order(modality="PT", steps=(step, second))
    sent = images_bundle(several, [replace(completed(), modality="")], BusReferences(), PROFILE, MADE_AT)
    [study] = of(sent, "ImagingStudy")
    assert [each["code"] for each in study["modality"]] == ["PT", "CT"]


def reported(
    changed: Any = None, known: BusReferences = REFERENCES, profile: Any = PROFILE, **changes: Any
) -> Resource:
    """Make the bundle of a report; `changes` are the report's, `changed` is the order."""
    return report_bundle(changed or order(), report(**changes), [completed()], known, profile, PDF, MADE_AT)


def stated(bundle: Resource) -> dict[str, Any]:
    """Return what a report says: code of N3.119 -> value."""
    found = {}
    for observation in of(bundle, "Observation"):
        [coding] = observation["code"]["coding"]
        assert coding["system"] == f"{N3}.119"
        assert (observation["status"], observation["subject"]) == ("final", {"reference": "Patient/p-1"})
        found[coding["code"]] = observation.get("valueString", observation.get("valueQuantity"))
    return found


# ---- a report ----


def test_a_report_completes_a_reflex_task_on_the_original_one() -> None:
    bundle = reported()
    assert of(bundle, "Task") == [
        {
            "resourceType": "Task",
            "identifier": [{"system": f"urn:oid:{MIS}", "value": "K2611-0001/completed"}],
            "basedOn": [{"reference": "Task/t-1"}],
            "status": "completed",
            "intent": "reflex-order",
            "authoredOn": "2026-11-24T10:15:00+03:00",
            "focus": url_of(bundle, "DiagnosticReport"),
            "for": {"reference": "Patient/p-1"},
            "requester": ORGANISATION,
            "owner": ORGANISATION,
        }
    ]


def test_a_report_is_final_and_names_its_doctor_its_parts_its_study_and_its_document() -> None:
    bundle = reported()
    [final] = of(bundle, "DiagnosticReport")
    parts = [e["fullUrl"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation"]
    assert [part["reference"] for part in final.pop("result")] == parts
    assert final.pop("code")["coding"][0]["code"] == "7003087"
    assert final.pop("category")[0]["coding"][0]["code"] == "4"
    assert final.pop("meta")["security"][0]["code"] == "N"
    [form] = final.pop("presentedForm")
    assert form["contentType"] == "application/pdf"
    assert form["url"] == url_of(bundle, "Binary")["reference"]
    assert base64.b64decode(form["data"]) == PDF
    assert final == {
        "resourceType": "DiagnosticReport",
        "basedOn": [{"reference": "ServiceRequest/s-1"}],
        "status": "final",
        "subject": {"reference": "Patient/p-1"},
        "effectiveDateTime": "2026-11-24T09:41:07+03:00",
        "issued": "2026-11-24T10:10:00+03:00",
        "performer": [url_of(bundle, "PractitionerRole")],
        "resultsInterpreter": [url_of(bundle, "PractitionerRole")],
        "imagingStudy": [url_of(bundle, "ImagingStudy")],
    }
    assert of(bundle, "Binary") == [
        {"resourceType": "Binary", "contentType": "application/pdf", "data": base64.b64encode(PDF).decode()}
    ]
    assert of(bundle, "Practitioner")[0]["name"] == [{"family": "Лучинин", "given": ["Олег", "Игоревич"]}]
    assert of(bundle, "PractitionerRole")[0]["code"] == [{"text": "Врач-рентгенолог"}]
    assert of(bundle, "Patient") == []


def test_a_report_has_description_conclusion_recommendations_and_dose() -> None:
    assert stated(reported()) == {
        "1": "Костных травматических изменений не выявлено.\nСуставная щель сужена.",
        "2": "Артроз II ст.",
        "3": "Консультация травматолога",
        "5": {"value": 0.12, "unit": "мЗв", "system": "http://unitsofmeasure.org", "code": "mSv"},
    }


def test_what_a_report_does_not_say_is_left_out() -> None:
    assert set(stated(reported(recommendations="", effective_dose=None))) == {"1", "2"}
    assert set(stated(reported(description="", conclusion="", recommendations="", effective_dose=0.0))) == {"5"}
    bare = report_bundle(order(), report(author_name=NO_NAME), [], REFERENCES, PROFILE, b"", MADE_AT)
    assert {"resultsInterpreter", "presentedForm"}.isdisjoint(of(bare, "DiagnosticReport")[0])
    assert of(bare, "Binary") == of(bare, "Practitioner") == []


def test_texts_go_in_base64_where_the_region_wants_it_so() -> None:
    values = stated(reported(profile=replace(PROFILE, texts="base64")))
    assert base64.b64decode(values["2"]).decode("utf-8") == "Артроз II ст."
    assert isinstance(values["5"], dict)


def test_blanks_and_control_characters_of_a_word_processor_do_not_reach_the_bus() -> None:
    values = stated(reported(conclusion="Без\u00a0патологии\u2028\tтень\u202f5\u00a0мм\x0b\x00\x07.\r\nВсё"))
    assert values["2"] == "Без патологии \tтень 5 мм .\r\nВсё"


def test_a_study_that_the_bus_does_not_have_is_sent_and_a_known_one_referenced() -> None:
    assert len(of(reported(), "ImagingStudy")) == 1
    received = reported(known=replace(REFERENCES, extra={f"study/{STUDY_UID}": "is-1"}))
    assert of(received, "ImagingStudy") == []
    assert of(received, "DiagnosticReport")[0]["imagingStudy"] == [{"reference": "ImagingStudy/is-1"}]
    other = reported(known=replace(REFERENCES, extra={"study/2.25.1": "is-1"}))
    assert len(of(other, "ImagingStudy")) == 1


def test_a_study_that_no_modality_reported_is_sent_under_the_orders_uid() -> None:
    made = report_bundle(order(), report(), [], REFERENCES, PROFILE, PDF, MADE_AT)
    [study] = of(made, "ImagingStudy")
    assert study["identifier"][1] == {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}"}
    assert of(made, "DiagnosticReport")[0]["effectiveDateTime"] == "2026-11-24T10:15:00+03:00"


@pytest.mark.parametrize(
    ("url", "address", "connection"),
    [
        ("https://p.example/wado?requestType=WADO&studyUID={study}", "requestType=WADO&studyUID=", "dicom-wado-uri"),
        ("https://p.example/dicom-web/studies/{study}", "/studies/", "dicom-wado-rs"),
        ("https://p.example/viewer?id={study}", "viewer?id=", None),
        ("dicom://p.example:104/PACS", "dicom://p.example:104/PACS", None),
    ],
)
def test_the_address_of_the_images_is_sent_as_an_endpoint(url: str, address: str, connection: str | None) -> None:
    bundle = reported(profile=replace(PROFILE, images_url=url))
    [endpoint] = of(bundle, "Endpoint")
    assert of(bundle, "ImagingStudy")[0]["endpoint"] == [url_of(bundle, "Endpoint")]
    assert endpoint["address"] == url.replace("{study}", STUDY_UID)
    assert address in endpoint["address"]
    assert endpoint["status"] == "active"
    assert endpoint["connectionType"].get("code") == connection
    assert endpoint["payloadType"]
    assert of(reported(), "Endpoint") == []


def test_each_study_has_an_endpoint_of_its_own() -> None:
    linked = completed("1.2.3.5", StepReference(study_instance_uid="2.25.77"))
    profile = replace(PROFILE, images_url="https://p.example/studies/{study}")
    bundle = images_bundle(order(), [completed(), linked], REFERENCES, profile, MADE_AT)
    addresses = [endpoint["address"] for endpoint in of(bundle, "Endpoint")]
    assert addresses == [f"https://p.example/studies/{STUDY_UID}", "https://p.example/studies/2.25.77"]


# ---- who ordered it ----


def test_an_order_for_another_clinic_names_it_as_the_owner() -> None:
    [task] = of(order_bundle(order(owner=PRACTICE_ORGANISATION_2), PROFILE), "Task")
    assert (task["requester"], task["owner"]) == (ORGANISATION, REDIRECT_TARGET)


@pytest.mark.parametrize("status", ["in-progress", "completed"])
def test_the_result_of_another_clinics_order_goes_to_that_clinic(status: str) -> None:
    done = order(bus_role=BusRole.PERFORMER, requester=PRACTICE_ORGANISATION_2, bus_accession_number="ODII0000000009")
    known = replace(REFERENCES, acsn="")
    bundle = reported(done, known) if status == "completed" else images_bundle(done, [], known, PROFILE, MADE_AT)
    [task] = of(bundle, "Task")
    assert (task["status"], task["requester"], task["owner"]) == (status, REDIRECT_TARGET, ORGANISATION)
    assert task["basedOn"] == [{"reference": "Task/t-1"}]
    assert task["for"] == {"reference": "Patient/p-1"}
    assert of(bundle, "Patient") == []
    assert of(bundle, "ImagingStudy")[0]["identifier"][0]["value"] == "ODII0000000009"


def test_the_result_of_another_clinics_order_names_its_encounter() -> None:
    [named] = of(reported(known=replace(REFERENCES, extra={SENDERS_ENCOUNTER: "e-1"})), "DiagnosticReport")
    assert named["encounter"] == {"reference": "Encounter/e-1"}
    [unnamed] = of(reported(), "DiagnosticReport")
    assert not unnamed.get("encounter")


@pytest.mark.parametrize(
    ("encounters", "expected"),
    [
        ({}, ("2", "AMB")),
        ({"finance/1": ("5", "IMP")}, ("5", "IMP")),
        ({"finance/6": ("5", "IMP")}, ("2", "AMB")),
        ({"finance/1": ("5", "IMP"), "modality/DX": ("6", "AMB")}, ("6", "AMB")),
        ({"modality/DX": ("6", "AMB"), f"procedure/{order().procedure_code}": ("7", "HH")}, ("7", "HH")),
    ],
)
def test_the_encounter_is_by_the_most_exact_case(
    encounters: dict[str, tuple[str, str]], expected: tuple[str, str]
) -> None:
    bundle = order_bundle(order(modality="DX", finance="1"), replace(PROFILE, encounters=encounters))
    [encounter] = of(bundle, "Encounter")
    assert (encounter["type"][0]["coding"][0]["code"], encounter["class"]["code"]) == expected


def test_a_walk_in_brings_its_patient_and_is_based_on_nothing() -> None:
    came = order(bus_role=BusRole.WALK_IN)
    bundle = images_bundle(came, [completed()], BusReferences(), PROFILE, MADE_AT)
    assert of(bundle, "Patient") == of(order_bundle(came, PROFILE), "Patient")
    [task], [partial] = of(bundle, "Task"), of(bundle, "DiagnosticReport")
    assert "basedOn" not in task
    assert "basedOn" not in partial
    assert task["for"] == partial["subject"] == of(bundle, "ImagingStudy")[0]["subject"] == url_of(bundle, "Patient")
    assert (task["requester"], task["owner"]) == (ORGANISATION, ORGANISATION)


def test_the_report_of_a_walk_in_refers_to_the_patient_that_the_images_made() -> None:
    came = order(bus_role=BusRole.WALK_IN)
    later = reported(came, BusReferences(patient="p-1"))
    assert of(later, "Patient") == []
    assert of(later, "Task")[0]["for"] == {"reference": "Patient/p-1"}
    assert "basedOn" not in of(later, "Task")[0]
    assert len(of(reported(came, BusReferences()), "Patient")) == 1


@pytest.mark.parametrize("role", [BusRole.PLACER, BusRole.WALK_IN])
def test_the_strict_practice_bus_takes_images_and_report(role: BusRole) -> None:
    bus, done = practice_bus(), order(bus_role=role)
    profile = replace(PROFILE, images_url="https://p.example/studies/{study}")
    known = BusReferences()
    if role is BusRole.PLACER:
        known = bundle_references(bus.transaction(n3(order_bundle(done, profile))))
    images = bundle_references(bus.transaction(n3(images_bundle(done, [completed()], known, profile, MADE_AT))))
    known = replace(known, patient=images.patient, extra=images.extra)
    signed = report(author_position="Терапевт")  # a strict bus wants codes, and these are the ones that are known
    bus.transaction(n3(report_bundle(done, signed, [completed()], known, profile, PDF, MADE_AT)))
    assert [task["status"] for task in bus.tasks()][-2:] == ["in-progress", "completed"]
    assert len(bus.resources("Patient")) == len(bus.resources("ImagingStudy")) == 1
    [binary] = bus.resources("Binary")
    [final] = [one for one in bus.resources("DiagnosticReport") if one["status"] == "final"]
    assert final["presentedForm"] == [{"contentType": "application/pdf", "url": f"Binary/{binary['id']}"}]


def test_the_strict_practice_bus_takes_a_report_without_images_before_it() -> None:
    bus = practice_bus()
    known = bundle_references(bus.transaction(n3(order_bundle(order(), PROFILE))))
    signed = report(author_position="Терапевт")
    bus.transaction(n3(report_bundle(order(), signed, [], known, PROFILE, PDF, MADE_AT)))
    assert [task["status"] for task in bus.tasks()] == ["requested", "completed"]
    assert len(bus.resources("ImagingStudy")) == 1


# ---- amendments ----


def asked(bundle: Resource) -> dict[str, str]:
    return {e["resource"]["resourceType"]: f"{e['request']['method']} {e['request']['url']}" for e in bundle["entry"]}


def test_an_amendment_replaces_what_has_an_id_and_finds_the_rest_by_its_number() -> None:
    known = replace(REFERENCES, extra={"Encounter": "e-1", "Condition": "c-1", "Practitioner": "not this doctor"})
    calls = asked(amendment_bundle(order(), known, PROFILE))
    ours = f"?identifier=urn:oid:{MIS}|"
    assert {kind: call for kind, call in calls.items() if not kind.startswith("Practitioner")} == {
        "Patient": f"PUT Patient{ours}000017",
        "ServiceRequest": "PUT ServiceRequest/s-1",
        "Task": "PUT Task/t-1",
        "Encounter": "PUT Encounter/e-1",
        "Condition": "PUT Condition/c-1",
        "Observation": f"PUT Observation{ours}K2611-0001/weight",
    }
    assert calls["Practitioner"].startswith("PUT Practitioner?identifier=urn:oid:1.2.643.5.1.13.2.7.100.5|")
    assert asked(amendment_bundle(order(), REFERENCES, PROFILE))["Condition"] == (
        f"PUT Condition{ours}K2611-0001/diagnosis"
    )


def test_after_an_amendment_results_are_sent_of_the_patient_whom_the_bus_has_in_the_order_now() -> None:
    row = OutboxRow(1, 1, OutboxKind.AMEND, OutboxState.PENDING, MADE_AT)
    message = OrderMessage(row, order(), REFERENCES)
    assert accepted_ids(message, BusReferences(patient="p-2"), r4) == {"patient": "p-2"}
    assert accepted_ids(message, BusReferences(), r4) == {}


def test_an_amendment_has_the_orders_present_content_under_the_same_full_urls() -> None:
    first, changed = order_bundle(order(), PROFILE), order(comment="Другое")
    amended = amendment_bundle(changed, REFERENCES, PROFILE)
    assert [e["fullUrl"] for e in amended["entry"]] == [e["fullUrl"] for e in first["entry"]]
    [request] = of(amended, "ServiceRequest")
    assert request["id"] == "s-1"
    assert request["note"][0] == {"text": "Другое"}


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (OrderState.SCHEDULED, "requested"),
        (OrderState.REFERRED, "requested"),
        (OrderState.DISCONTINUED, "requested"),
        (OrderState.IN_PROGRESS, "in-progress"),
        (OrderState.COMPLETED, "completed"),
        (OrderState.CANCELLED, "cancelled"),
    ],
)
def test_an_amendment_leaves_a_task_the_status_and_the_number_that_it_has(state: OrderState, status: str) -> None:
    [task] = of(amendment_bundle(order(state=state), REFERENCES, PROFILE), "Task")
    assert task["status"] == status
    assert [number["value"] for number in task["identifier"]] == ["K2611-0001", "ODII0000000001"]
    [task] = of(amendment_bundle(order(), replace(REFERENCES, acsn=""), PROFILE), "Task")
    assert [number["value"] for number in task["identifier"]] == ["K2611-0001"]


def test_a_patients_newest_data_take_the_place_of_older_ones_in_every_message() -> None:
    [patient] = [e for e in order_bundle(bare_order(), PROFILE)["entry"] if e["resource"]["resourceType"] == "Patient"]
    assert patient["request"] == {"method": "PUT", "url": f"Patient?identifier=urn:oid:{MIS}|000017"}
    others = [e["request"] for e in r4(order_bundle(order(), PROFILE))["entry"]][1:]
    assert all(request["method"] == "POST" and request["ifNoneExist"] for request in others)


# ---- the archive's count ----


def test_images_are_counted_as_the_archive_holds_them_once_it_has_settled() -> None:
    for archived, count in (({}, completed().images), ({STUDY_UID: 7}, 7), ({"1.2.9": 7}, completed().images)):
        bundle = images_bundle(order(), [completed()], REFERENCES, PROFILE, MADE_AT, archived=archived)
        assert [each["numberOfInstances"] for each in of(bundle, "ImagingStudy")] == [count]


def test_of_several_studies_each_has_what_its_modality_has_reported() -> None:
    other = replace(completed(), references=(StepReference("1.2.9"),), images=5)
    bundle = images_bundle(order(), [completed(), other], REFERENCES, PROFILE, MADE_AT, archived={STUDY_UID: 9})
    assert [each["numberOfInstances"] for each in of(bundle, "ImagingStudy")] == [completed().images, 5]


def test_a_report_corrects_the_number_of_images_that_the_bus_was_sent_before() -> None:
    known = replace(REFERENCES, extra={f"study/{STUDY_UID}": "i-1"})
    taken = (order(), report(), [completed()], known, PROFILE, PDF, MADE_AT)
    same = report_bundle(*taken, archived={STUDY_UID: 7}, sent={STUDY_UID: 7})
    assert of(same, "ImagingStudy") == []
    assert of(same, "DiagnosticReport")[0]["imagingStudy"] == [{"reference": "ImagingStudy/i-1"}]
    for sent in (2, 0):
        other = report_bundle(*taken, archived={STUDY_UID: 7}, sent={STUDY_UID: sent})
        assert [each["numberOfInstances"] for each in of(other, "ImagingStudy")] == [7]
        assert {e["resource"]["resourceType"]: e["request"]["method"] for e in r4(other)["entry"]}[
            "ImagingStudy"
        ] == "PUT"


def test_a_step_that_counts_the_images_of_several_studies_tells_no_number_of_one() -> None:
    both = replace(completed(), references=(StepReference(STUDY_UID), StepReference("1.2.9")), images=5)
    [study] = of(images_bundle(order(), [both], REFERENCES, PROFILE, MADE_AT), "ImagingStudy")
    assert "numberOfInstances" not in study
    [study] = of(images_bundle(order(), [both], REFERENCES, PROFILE, MADE_AT, archived={STUDY_UID: 3}), "ImagingStudy")
    assert study["numberOfInstances"] == 3
