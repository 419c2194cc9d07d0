"""A referral of another clinic is read as far as it can be read, and nothing in it can do harm."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.bus.fhir import Resource
from broker.bus.inbound import parse_referral
from broker.bus.inbound.resolver import Unusable
from broker.domain.incoming import IncomingReferral
from broker.domain.orders import Priority
from broker.domain.patients.people import NO_NAME, PersonName, Sex
from tests.bus.bundles import SNILS
from tests.bus.inbound.rubbish import holds, places, rubbish
from tests.bus.referrals import BASE, PROFILE, THEM, US, graph, resolver

TODAY = date(2026, 11, 24)


def read(resources: dict[str, Any]) -> IncomingReferral:
    return parse_referral.parse_referral(resources["Task/t1"], resolver(resources).resource, PROFILE, TODAY)


def changed(name: str, /, **members: Any) -> IncomingReferral:
    """Read the referral with some members of a resource changed; None takes one away."""
    resources = graph()
    resource = {key: value for key, value in (resources[name] | members).items() if value is not None}
    return read(resources | {name: resource})


def test_the_insurer_of_the_policy_is_read_with_it() -> None:
    patient = deepcopy(graph()["Patient/p1"])
    for number in patient["identifier"]:
        if number["system"].endswith(".6.228"):
            number["assigner"] = {"display": "1.2.643.5.1.13.2.1.1.635.77001"}
    assert changed("Patient/p1", identifier=patient["identifier"]).patient.insurer == "77001"
    assert read(graph()).patient.insurer == ""


def test_a_whole_referral_is_read_member_by_member() -> None:
    got = read(graph())
    assert got.problems == {}
    assert got.task == "t1"
    assert got.requester == THEM
    assert (got.service_request, got.bus_patient, got.bus_accession_number) == ("s1", "p1", "ODII0000000042")
    assert got.patient.name == PersonName("Ёлкина", "Анна", "Сергеевна")
    assert (got.patient.birth_date, got.patient.sex) == (date(1961, 3, 12), Sex.FEMALE)
    assert (got.patient.snils, got.patient.policy) == ("11223344595", "7800000012345671")
    assert (got.patient.weight, got.patient.height) == (70.5, 165.0)
    assert (got.procedure_code, got.procedure_system) == ("7003087", "1.2.643.5.1.13.13.11.1471")
    assert got.procedure_name == "Рентгенография кисти"
    assert got.body_site == "25"
    assert (got.priority, got.finance) == (Priority.URGENT, "3")
    assert got.referrer == PersonName("Петров", "Пётр")
    assert (got.referrer_snils, got.referrer_position) == ("08765430300", "терапевт")
    assert (got.diagnosis_code, got.diagnosis_text) == ("S62.1", "Перелом")
    assert (got.comment, got.laterality) == ("Упала на лёд", "L")
    assert got.authored_on == datetime(2026, 11, 24, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reference", "kept"),
    [("Encounter/e-7", "e-7"), ("Encounter/e-7/_history/2", "e-7"), ("#e7", ""), ("urn:uuid:1", ""), (None, "")],
)
def test_the_encounter_of_the_sender_is_kept(reference: str | None, kept: str) -> None:
    resources = graph()
    request = next(each for name, each in resources.items() if name.startswith("ServiceRequest/"))
    resources["Encounter/e-7"] = {"resourceType": "Encounter", "id": "e-7"}
    name = f"ServiceRequest/{request['id']}"
    assert read(resources | {name: request | {"encounter": {"reference": reference}}}).encounter == kept


def test_the_other_clinics_number_of_its_patient_is_not_ours() -> None:
    assert read(graph()).patient.patient_id == ""


@pytest.mark.parametrize(
    ("members", "problems"),
    [
        ({"birthDate": "1812"}, {"birth_date": "too_old"}),
        ({"birthDate": "2027-01-01"}, {"birth_date": "future"}),
        ({"birthDate": "1820-01-01"}, {"birth_date": "too_old"}),
        ({"birthDate": "1961-02-30"}, {"birth_date": "unreadable"}),
        ({"birthDate": "весной"}, {"birth_date": "unreadable"}),
        ({"birthDate": 19610312}, {"birth_date": "unreadable"}),
        ({"gender": None}, {"sex": "required"}),
        ({"gender": "unknown"}, {"sex": "required"}),
        ({"name": [{"given": ["Анна"]}]}, {"family": "required"}),
        ({"name": [{"family": "Ёлкина2", "given": ["Анна"]}]}, {"family": "name_letters"}),
        ({"name": [{"family": "Ё" * 70, "given": ["Анна"]}]}, {"family": "too_long"}),
        ({"name": []}, {"family": "required"}),  # there still is a СНИЛС
    ],
)
def test_what_a_person_can_complete_is_named(members: dict[str, Any], problems: dict[str, str]) -> None:
    assert changed("Patient/p1", **members).problems == problems


@pytest.mark.parametrize(
    ("members", "name", "born"),
    [
        ({"birthDate": None}, "Ёлкина Анна Сергеевна", None),
        ({"birthDate": "1900-01-01"}, "Ёлкина Анна Сергеевна", None),
        ({"birthDate": "1961"}, "Ёлкина Анна Сергеевна", 1961),
        ({"birthDate": "1961-04"}, "Ёлкина Анна Сергеевна", 1961),
        ({"name": [{"family": "Сухарто"}]}, "Сухарто", date(1961, 3, 12)),
        ({"name": [{"family": "Сухарто", "given": ["-", "—"]}]}, "Сухарто", date(1961, 3, 12)),
        ({"name": [{"family": "Неизвестный", "given": ["№3"]}], "birthDate": None}, "Неизвестный №3", None),
        ({"name": [{"family": "'т Хоофт", "given": ["Герард"]}]}, "'т Хоофт Герард", date(1961, 3, 12)),
    ],
)
def test_who_is_not_fully_known_needs_no_completion(
    members: dict[str, Any], name: str, born: date | int | None
) -> None:
    got = changed("Patient/p1", **members)
    assert got.problems == {}
    assert (str(got.patient.name), got.patient.born) == (name, born)


@pytest.mark.parametrize(
    ("system", "value", "problems"),
    [
        ("urn:oid:1.2.643.2.69.1.1.1.6.223", "11223344594", {"snils": "check_digit"}),
        ("urn:oid:1.2.643.2.69.1.1.1.6.223", "не указан", {"snils": "length"}),
        ("urn:oid:1.2.643.2.69.1.1.1.6.228", "78000000", {"policy": "length"}),
    ],
)
def test_a_wrong_number_is_shown_to_a_person_and_named(system: str, value: str, problems: dict[str, str]) -> None:
    got = changed("Patient/p1", identifier=[{"system": system, "value": value}])
    assert got.problems == problems
    assert value.replace(" ", "") in (got.patient.snils, got.patient.policy)


@pytest.mark.parametrize("status", ["revoked", "entered-in-error", "draft", "on-hold", "completed", "unknown"])
def test_an_order_that_is_not_in_force_is_not_taken(status: str) -> None:
    with pytest.raises(Unusable, match="not active"):
        changed("ServiceRequest/s1", status=status)


@pytest.mark.parametrize("value", [True, "true", 1])
def test_an_order_not_to_do_something_is_not_taken_for_one_to_do_it(value: Any) -> None:
    with pytest.raises(Unusable, match="not to be done"):
        changed("ServiceRequest/s1", doNotPerform=value)
    assert changed("ServiceRequest/s1", doNotPerform=False).problems == {}


@pytest.mark.parametrize("intent", ["proposal", "plan", "directive", "option"])
def test_what_is_only_proposed_or_planned_is_no_order(intent: str) -> None:
    with pytest.raises(Unusable, match="not an order"):
        changed("ServiceRequest/s1", intent=intent)


def test_a_diagnosis_that_was_refuted_and_a_measurement_in_error_are_not_taken() -> None:
    refuted = {"coding": [{"system": "urn:oid:2.16.840.1.113883.4.642.1.1075", "code": "refuted"}]}
    got = changed("Condition/c1", verificationStatus=refuted)
    assert (got.diagnosis_code, got.problems) == ("", {})
    got = changed("Observation/w1", status="entered-in-error")
    assert (got.patient.weight, got.patient.height) == (None, 165)


@pytest.mark.parametrize("resource", sorted(set(graph()) - {"Encounter/e1"}))  # it is not asked for a known diagnosis
@pytest.mark.parametrize("nested", [False, True])
def test_an_extension_that_may_change_the_meaning_stops_the_reading(resource: str, nested: bool) -> None:
    extension = {"modifierExtension": [{"url": "http://example.org/not", "valueBoolean": True}]}
    with pytest.raises(Unusable, match="changes its meaning"):
        changed(resource, **({"link": [extension]} if nested else extension))


# ---- what a resource contains ----


def test_a_referral_is_read_whose_parts_are_contained() -> None:
    resources = graph()
    request, task = resources["ServiceRequest/s1"], resources["Task/t1"]
    parts = {name: resources.pop(name) for name in list(resources) if name not in ("Task/t1", "ServiceRequest/s1")}
    parts["Practitioner/d1"]["id"] = "d"
    parts["PractitionerRole/r1"]["practitioner"] = {"reference": "#d"}
    parts["Encounter/e1"]["diagnosis"] = [{"condition": {"reference": "#c1"}}]
    request["contained"] = [part for name, part in parts.items() if name != "Patient/p1"]
    request["requester"], request["encounter"] = {"reference": "#r1"}, {"reference": "#e1"}
    request["supportingInfo"] = [{"reference": f"#{id}"} for id in ("h1", "w1")]
    task["contained"], task["for"] = [parts["Patient/p1"]], {"reference": "#p1"}
    request["subject"] = {"reference": "#p1"}
    request["contained"].append(parts["Patient/p1"])
    expected = replace(read(graph()), bus_patient="", encounter="")  # they have no ids on the bus
    assert read(resources) == expected


def test_an_order_may_be_contained_in_its_task() -> None:
    resources = graph()
    request = resources.pop("ServiceRequest/s1")
    resources["Task/t1"] |= {"contained": [request], "focus": {"reference": "#s1"}}
    assert read(resources) == replace(read(graph()), service_request="")


def test_a_record_that_is_closed_needs_a_person_before_anybody_is_examined() -> None:
    assert changed("Patient/p1", deceasedBoolean=True).problems == {"patient": "deceased"}


OLGA = {
    "resourceType": "Patient",
    "id": "p2",
    "identifier": [{"system": SNILS, "value": "08765430300"}],
    "name": [{"family": "Попова", "given": ["Ольга"]}],
    "gender": "female",
    "birthDate": "1990-01-01",
}


@pytest.mark.parametrize(
    ("subject", "contained"),
    [
        ({"reference": "Patient/p2"}, []),
        ({"reference": "Patient/p9"}, []),
        ({"reference": "https://elsewhere.example/fhir/Patient/p1"}, []),
        ({"reference": "#p"}, [OLGA | {"id": "p"}]),
        ({"reference": "#p"}, [{"resourceType": "Patient", "id": "p"}]),
        ({"reference": "#p"}, []),
        ({"identifier": {"system": SNILS, "value": "087-654-303 00"}}, []),
        ({"reference": "Patient/p1", "identifier": {"system": SNILS, "value": "087-654-303 00"}}, []),
    ],
    ids=str,
)
def test_a_referral_whose_task_and_order_name_different_people_waits_for_a_person(
    subject: Resource, contained: list[Resource]
) -> None:
    resources = graph() | {"Patient/p2": OLGA}
    resources["ServiceRequest/s1"] |= {"subject": subject, "contained": contained}
    got = read(resources)
    assert got.problems == {"patient": "two_patients"}
    assert got.patient.name == PersonName("Ёлкина", "Анна", "Сергеевна")


def test_a_task_and_an_order_that_name_one_person_in_two_ways_are_a_referral() -> None:
    again = graph()["Patient/p1"] | {"id": "p2"}
    subjects: list[Any] = [
        None,
        {"reference": f"{BASE}/Patient/p1"},
        {"reference": "Patient/p2"},
        {"reference": "#p"},
        {"identifier": {"system": SNILS, "value": "11223344595"}},
        {"display": "Ёлкина А. С."},
    ]
    for subject in subjects:
        resources = graph() | {"Patient/p2": again}
        resources["ServiceRequest/s1"] |= {"subject": subject, "contained": [again | {"id": "p"}]}
        assert read(resources).problems == {}, subject
    resources = graph()
    del resources["Task/t1"]["for"]
    assert read(resources).problems == {}


@pytest.mark.parametrize("number", ["000-000-000 00", "00000000000", "111-111-111 45"])
def test_a_number_that_stands_for_none_is_read_as_none(number: str) -> None:
    identifier = [{"system": "urn:oid:1.2.643.2.69.1.1.1.6.223", "value": number}]
    got = changed("Patient/p1", identifier=identifier)
    assert (got.patient.snils, got.problems) == ("", {})


def test_a_patient_without_a_name_and_without_a_number_cannot_be_taken() -> None:
    with pytest.raises(Unusable, match="neither a name nor a number"):
        changed("Patient/p1", name=None, identifier=None)


@pytest.mark.parametrize("member", ["focus", "requester"])
def test_a_task_that_lacks_what_it_is_about_cannot_be_taken(member: str) -> None:
    with pytest.raises(Unusable):
        changed("Task/t1", **{member: None})


@pytest.mark.parametrize("missing", ["ServiceRequest/s1", "Patient/p1"])
def test_a_referral_whose_order_or_patient_is_gone_cannot_be_taken(missing: str) -> None:
    resources = graph()
    del resources[missing]
    with pytest.raises(Unusable, match="404"):
        read(resources)


def test_a_missing_doctor_or_diagnosis_is_reported_and_delays_nothing() -> None:
    resources = graph()
    del resources["Practitioner/d1"], resources["Condition/c1"]
    got = read(resources)
    assert got.problems == {"referrer": "unreadable", "diagnosis": "unreadable"}
    assert got.referrer == NO_NAME


def test_a_clinic_may_refer_without_naming_a_doctor() -> None:
    resources = graph() | {f"Organization/{THEM}": {"resourceType": "Organization", "id": THEM}}
    resources["ServiceRequest/s1"]["requester"] = {"reference": f"Organization/{THEM}"}
    got = read(resources)
    assert (got.referrer, got.problems) == (NO_NAME, {})


def test_the_visit_names_the_diagnosis_where_the_order_does_not() -> None:
    got = changed("ServiceRequest/s1", supportingInfo=None)
    assert (got.diagnosis_code, got.patient.weight) == ("S62.1", None)


def test_an_older_dictionary_of_procedures_is_read_and_the_regions_own_preferred() -> None:
    older = {"system": "urn:oid:1.2.643.2.69.1.1.1.57", "code": "12"}
    assert changed("ServiceRequest/s1", code={"coding": [older]}).procedure_system == "1.2.643.2.69.1.1.1.57"
    newer = {"system": f"urn:oid:{PROFILE.system_procedure}", "code": "7"}
    assert changed("ServiceRequest/s1", code={"coding": [older, newer]}).procedure_code == "7"


@pytest.mark.parametrize(
    "quantity", [{"value": 70500, "unit": "g"}, {"value": True}, {"value": "70"}, {"value": 1e308}, {"value": -1}, []]
)
def test_an_impossible_weight_is_left_out(quantity: Any) -> None:
    assert changed("Observation/w1", valueQuantity=quantity).patient.weight is None


def test_texts_are_cut_and_cleared_of_control_characters() -> None:
    got = changed("ServiceRequest/s1", note=[{"text": "а\x00б\u202eв\ud800 " * 10_000}] * 50)
    assert len(got.comment) <= parse_referral.MAX_TEXT
    assert got.comment.startswith("абв абв")


def test_versions_grow_with_every_change_of_a_resource() -> None:
    def stamped(**meta: Any) -> str:
        return parse_referral.version({"resourceType": "Task", "meta": meta})

    first = stamped(versionId="9", lastUpdated="2026-11-24T09:00:00+03:00")
    assert first < stamped(versionId="10", lastUpdated="2026-11-24T06:00:00Z")
    assert first < stamped(versionId="1", lastUpdated="2026-11-24T06:00:00.001Z")
    assert stamped(versionId="9") < stamped(versionId="10") < first
    assert stamped().startswith("#")
    assert stamped(versionId="x" * 9) != stamped(versionId="y" * 9)


def test_a_task_gives_performer_and_requester() -> None:
    task = graph()["Task/t1"]
    assert parse_referral.is_for(task, US.upper())
    assert not parse_referral.is_for(task, THEM)
    assert parse_referral.own_number(task, PROFILE) == ""
    ours = task | {
        "requester": {"reference": f"Organization/{US}"},
        "identifier": [{"system": f"urn:oid:{PROFILE.mis_oid}", "value": "K2611-0001"}],
    }
    assert parse_referral.own_number(ours, PROFILE) == "K2611-0001"


# ---- anything at all ----


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(places(graph())), rubbish), min_size=1, max_size=4))
def test_whatever_stands_in_a_referral_it_is_read_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    resources: Any = graph()
    for path, value in changes:
        node: Any = resources
        for key in path[:-1]:
            node = node[key] if holds(node, key) else None
        if holds(node, path[-1]):
            node[path[-1]] = deepcopy(value)
    task: Resource = resources.get("Task/t1") if isinstance(resources.get("Task/t1"), dict) else {}
    parse_referral.version(task)
    parse_referral.own_number(task, PROFILE)
    parse_referral.is_for(task, US)
    try:
        got = parse_referral.parse_referral(task, resolver(resources).resource, PROFILE, TODAY)
    except Unusable:
        return
    for text in (got.comment, got.procedure_name, str(got.patient.name), got.diagnosis_text, got.referrer_position):
        text.encode()
        assert "\x00" not in text
        assert len(text) <= 1000


# ---- what stands beside ----


def test_the_words_beside_the_code_of_a_body_site_are_kept() -> None:
    site = {"coding": [{"system": "urn:oid:1.2.643.5.1.13.13.11.1477", "code": "25"}], "text": "кисть, III палец"}
    got = changed("ServiceRequest/s1", bodySite=[site])
    assert (got.body_site, got.body_site_text) == ("25", "кисть, III палец")
    got = changed("ServiceRequest/s1", bodySite=[{"text": "кисть"}])
    assert (got.body_site, got.body_site_text) == ("кисть", "")
    assert read(graph()).body_site_text == ""


@pytest.mark.parametrize(
    ("named", "read_as"),
    [
        ({"reference": "Condition/c1"}, {"diagnosis_code": "S62.1"}),
        ({"reference": "Observation/w1"}, {"weight": 70.5}),
        ({"reference": "ImagingStudy/i1"}, {"attached": ("снимки · 2026-10-01 · CT",)}),
        ({"reference": f"{BASE}/ImagingStudy/i1"}, {"attached": ("снимки · 2026-10-01 · CT",)}),
        ({"reference": "DiagnosticReport/d1"}, {"attached": ("протокол · 2026-10-02 · КТ ОГК · Очаг S6",)}),
        ({"reference": "DocumentReference/x1"}, {}),  # of no use here, and no error
        ({"reference": "Observation/x2"}, {}),  # neither height nor weight
    ],
    ids=lambda each: str(each.get("reference", "")) if isinstance(each, dict) else "",
)
def test_each_kind_of_supporting_information_is_taken_alone(named: Resource, read_as: dict[str, Any]) -> None:
    resources = graph() | supporting()
    resources["DocumentReference/x1"] = {"resourceType": "DocumentReference", "id": "x1"}
    resources["Observation/x2"] = {"resourceType": "Observation", "id": "x2", "status": "final", "valueString": "8"}
    resources["ServiceRequest/s1"]["supportingInfo"] = [named]
    del resources["ServiceRequest/s1"]["encounter"]  # it has a diagnosis, too
    got = read(resources)
    found = {"diagnosis_code": got.diagnosis_code, "weight": got.patient.weight, "attached": got.attached}
    assert found == {"diagnosis_code": "", "weight": None, "attached": ()} | read_as
    assert got.problems == {}


def supporting() -> dict[str, Resource]:
    """Make an earlier study and an earlier report."""
    study = {"started": "2026-10-01T09:00:00+03:00", "modality": [{"code": "CT"}]}
    report = {"effectiveDateTime": "2026-10-02T09:00:00+03:00", "code": {"text": "КТ ОГК"}, "conclusion": "Очаг S6"}
    return {
        "ImagingStudy/i1": {"resourceType": "ImagingStudy", "id": "i1", **study},
        "DiagnosticReport/d1": {"resourceType": "DiagnosticReport", "id": "d1", **report},
    }


def test_studies_and_reports_that_support_a_referral_are_said_and_are_no_error() -> None:
    resources = graph() | supporting()
    named = ("ImagingStudy/i1", "DiagnosticReport/d1", "ImagingStudy/gone", "Condition/c1")
    resources["ServiceRequest/s1"]["supportingInfo"] = [{"reference": name} for name in named]
    got = read(resources)
    assert got.attached == (
        "снимки · 2026-10-01 · CT",
        "протокол · 2026-10-02 · КТ ОГК · Очаг S6",
        "не прочитано: ImagingStudy/gone",
    )
    assert (got.problems, got.diagnosis_code) == ({}, "S62.1")
