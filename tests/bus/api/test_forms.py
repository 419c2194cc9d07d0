"""What other programs write in another form, and mean the same: type of the body, byte order mark, contained, hosts."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.bus.fhir_server import requests
from broker.bus.fhir_server.requests import answer_type
from broker.bus.fhir_server.rules import OperationRefused
from broker.bus.practice import PRACTICE_ORGANISATION_2
from broker.domain.orders import Priority
from broker.domain.patients.people import PersonName
from tests.bus.api.clinic import ApiClinic
from tests.bus.bundles import SNILS, Resource, call, of, order, organisation, post, reference
from tests.bus.live_clients import CLIENTS

INPUTS = Path(__file__).parent.parent / "inputs"
FHIR_JSON = "application/fhir+json"


def sent(clinic: ApiClinic, bundle: Resource, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return call(clinic.server, "POST", "?_format=json", json.dumps(bundle).encode(), headers=named)


@pytest.mark.parametrize(
    "declared",
    [
        "application/json",
        "application/json; charset=UTF-8",
        "application/fhir+json",
        "Application/FHIR+JSON;charset=utf-8;fhirVersion=4.0",
        'application/fhir+json; fhirVersion="4.0"',
        "application/fhir+json; fhirVersion=4.0.1; profile=x",
    ],
)
def test_the_types_that_fhir_json_has_are_taken(clinic: ApiClinic, declared: str) -> None:
    assert sent(clinic, order(), Content_Type=declared).status_code == 200


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ("application/fhir+xml", "application/fhir+json"),
        ("application/json; charset=windows-1251", "в UTF-8"),
        ("application/fhir+json; fhirVersion=3.0", "здесь FHIR R4"),
        ("", "application/fhir+json"),
    ],
)
def test_another_type_is_refused_with_those_that_are_taken(clinic: ApiClinic, declared: str, why: str) -> None:
    answer = sent(clinic, order(), Content_Type=declared)
    assert (answer.status_code, why in answer.json()["issue"][0]["diagnostics"]) == (415, True)


@pytest.mark.parametrize(
    ("accepted", "declared", "answered"),
    [
        ("", "application/json", "application/json"),
        ("*/*", "application/fhir+json", FHIR_JSON),
        ("application/json", "application/fhir+json", "application/json"),
        ("application/fhir+json;fhirVersion=4.0", "application/json", FHIR_JSON),
        ("application/fhir+json, application/json;q=0.9", "", FHIR_JSON),
    ],
)
def test_an_answer_has_the_type_that_its_caller_uses(accepted: str, declared: str, answered: str) -> None:
    assert answer_type(accepted, declared) == f"{answered}; charset=utf-8"


def test_an_answer_of_the_endpoint_has_that_type(clinic: ApiClinic) -> None:
    answer = sent(clinic, order(), Content_Type=FHIR_JSON, Accept=FHIR_JSON)
    assert answer.headers["content-type"] == f"{FHIR_JSON}; charset=utf-8"


def test_a_byte_order_mark_is_ignored(clinic: ApiClinic) -> None:
    written = (INPUTS / "fhir_bom.json").read_bytes()
    bundle = json.loads(written.decode("utf-8-sig"))
    of(bundle, "Task")["owner"] = organisation(PRACTICE_ORGANISATION_2)  # it was written for another clinic
    mark = written[:3]
    answer = call(clinic.server, "POST", "?_format=json", mark + json.dumps(bundle).encode())
    assert answer.status_code == 200, answer.text
    assert len(clinic.waiting()) == 1


def contained(whole: Resource, name: str, *parts: str) -> dict[str, Any]:
    """Put entries of an order into another one of its resources, under the ids that are their types."""
    by_type = {each["resource"]["resourceType"]: each for each in whole["entry"]}
    urls = {by_type[part]["fullUrl"]: f"#{part}" for part in parts}

    def linked(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: urls.get(value, value) if key == "reference" else linked(value) for key, value in node.items()}
        return [linked(each) for each in node] if isinstance(node, list) else node

    resource: Resource = linked(by_type[name]["resource"])
    resource["contained"] = [linked(by_type[part]["resource"]) | {"id": part} for part in parts]
    entry: Resource = by_type[name]
    return entry | {"resource": resource}


@pytest.mark.parametrize(
    "parts",
    [
        ("Practitioner", "PractitionerRole"),
        ("Practitioner", "PractitionerRole", "Condition", "Encounter"),
    ],
)
def test_what_an_order_contains_is_read_as_if_it_were_an_entry(clinic: ApiClinic, parts: tuple[str, ...]) -> None:
    whole = order()
    request = contained(whole, "ServiceRequest", *parts)
    kinds = {"ServiceRequest", *parts}
    whole["entry"] = [each for each in whole["entry"] if each["resource"]["resourceType"] not in kinds] + [request]
    answer = sent(clinic, whole)
    assert answer.status_code == 200, answer.text
    [waiting] = clinic.waiting()
    assert waiting.referrer == PersonName("Петров", "Пётр")
    assert waiting.diagnosis_code == "J18.9"
    answered = [each["resource"]["resourceType"] for each in answer.json()["entry"]]
    assert answered[: len(whole["entry"])] == [each["resource"]["resourceType"] for each in whole["entry"]]


def test_one_patient_whom_task_and_order_contain_is_one(clinic: ApiClinic) -> None:
    whole = order()
    person = of(whole, "Patient")
    for each in whole["entry"]:
        resource = each["resource"]
        for member in ("for", "subject"):
            if member in resource:
                resource[member] = reference("#p")
                resource["contained"] = [deepcopy(person) | {"id": "p"}]
    whole["entry"] = [each for each in whole["entry"] if each["resource"]["resourceType"] != "Patient"]
    answer = sent(clinic, whole)
    assert answer.status_code == 200, answer.text
    [waiting] = clinic.waiting()
    assert (waiting.patient.name.family, waiting.problems) == ("Ёлкина", {})


def test_a_contained_doctor_needs_no_number(clinic: ApiClinic) -> None:
    whole = order()
    request = next(each for each in whole["entry"] if each["resource"]["resourceType"] == "ServiceRequest")
    doctor = {"resourceType": "Practitioner", "id": "d", "name": [{"family": "Зимин", "given": ["Антон"]}]}
    request["resource"] |= {"contained": [doctor], "requester": reference("#d")}
    assert sent(clinic, whole).status_code == 200
    assert clinic.waiting()[0].referrer == PersonName("Зимин", "Антон")


_UNKNOWN = {"modifierExtension": [{"url": "urn:x"}]}


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        ([], "ссылка #d не найдена"),
        ([{"resourceType": "Practitioner", "name": [{"family": "Зимин"}]}], "ссылка #d не найдена"),
        ([{"resourceType": "Organization", "id": "d"}], "contained: ресурс Organization не принимается"),
        (
            [
                {
                    "resourceType": "Practitioner",
                    "id": "d",
                    "name": [{"family": "З"}],
                    "modifierExtension": [{"url": "u"}],
                }
            ],
            "modifierExtension меняет смысл ресурса",
        ),
        ([{"resourceType": "Practitioner", "id": "d", "identifier": ["x"], "name": [{"family": "З"}]}], "identifier"),
    ],
)
def test_a_wrong_content_is_refused_in_words(clinic: ApiClinic, inside: list[Resource], why: str) -> None:
    whole = order()
    request = next(each for each in whole["entry"] if each["resource"]["resourceType"] == "ServiceRequest")
    request["resource"] |= {"contained": inside, "requester": reference("#d")}
    answer = sent(clinic, whole)
    assert (answer.status_code, why in answer.text) == (422, True), answer.text
    assert clinic.waiting() == []


def test_whatever_server_precedes_a_reference_the_resource_is_ours(clinic: ApiClinic) -> None:
    first = sent(clinic, order()).json()
    person = next(each["resource"] for each in first["entry"] if each["resource"]["resourceType"] == "Patient")
    for written in ("https://ris.example/fhir/{}", "http://10.0.0.7:8080/fhir/{}/_history/1", "{}/_history/1"):
        whole = order()
        [gone] = [each for each in whole["entry"] if each["resource"]["resourceType"] == "Patient"]
        whole["entry"].remove(gone)
        text = json.dumps(whole).replace(gone["fullUrl"], written.format(f"Patient/{person['id']}"))
        answer = sent(clinic, json.loads(text))
        assert answer.status_code == 200, answer.text
    assert {each.bus_patient for each in clinic.waiting()} == {person["id"]}


def test_the_side_in_words_is_kept(clinic: ApiClinic) -> None:
    whole = order()
    for each in [of(whole, "ServiceRequest")]:
        each["bodySite"] = [{"text": "правая кисть"}]
    assert post(clinic.server, whole).status_code == 200
    [waiting] = clinic.waiting()
    assert (waiting.laterality, waiting.body_site) == ("R", "правая кисть")


def test_a_role_that_is_created_alone_may_contain_its_doctor(clinic: ApiClinic) -> None:
    whole = order()
    role = contained(whole, "PractitionerRole", "Practitioner")["resource"]
    answer = call(clinic.server, "POST", "/PractitionerRole", role)
    assert answer.status_code == 201, answer.text
    [kind, id] = answer.json()["practitioner"]["reference"].split("/")
    assert call(clinic.server, "GET", f"/{kind}/{id}").json()["name"][0]["family"] == "Петров"
    role["contained"][0]["resourceType"] = "Organization"
    assert call(clinic.server, "POST", "/PractitionerRole", role).status_code == 422


@pytest.mark.parametrize("client", CLIENTS)
def test_an_order_of_a_live_client_waits_like_any_other(clinic: ApiClinic, client: str) -> None:
    answer = post(clinic.server, CLIENTS[client](order()))
    assert answer.status_code == 200, answer.text
    [waiting] = clinic.waiting()
    assert (waiting.problems, waiting.priority) == ({}, Priority.ROUTINE)
    assert waiting.referrer == PersonName("Петров", "Пётр")


# ---- what must not be performed ----


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"status": "revoked"}, "ServiceRequest.status"),
        ({"status": "entered-in-error"}, "ServiceRequest.status"),
        ({"status": "draft"}, "ServiceRequest.status"),
        ({"status": "on-hold"}, "ServiceRequest.status"),
        ({"intent": "proposal"}, "ServiceRequest.intent"),
        ({"doNotPerform": True}, "не выполнять"),
        ({"modifierExtension": [{"url": "urn:x"}]}, "меняет смысл"),
        ({"note": [{"text": "x", "modifierExtension": [{"url": "urn:x"}]}]}, "меняет смысл"),
        ({"implicitRules": "urn:x"}, "меняет смысл"),
    ],
)
def test_what_must_not_be_performed_is_refused_in_words_whatever_the_rules_are(
    clinic: ApiClinic, members: Resource, why: str
) -> None:
    clinic.endpoint._service._auto_accept = {"DX": "XRAY_14"}
    whole = order()
    for each in [of(whole, "ServiceRequest")]:
        each |= members
    answer = post(clinic.server, whole)
    assert (answer.status_code, why in answer.text) == (422, True), answer.text
    assert clinic.waiting() == []
    assert clinic.count("orders") == 0


# ---- extremes ----

_DATES = [
    "0001-01-01",
    "9999-12-31",
    "0000-00-00",
    "1900-01-01",
    "0001",
    "9999-12",
    "-0001-01-01",
    "292277026596-12-04",
]
_INSTANTS = [
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    *("2026-11-24T24:00:00Z", "2026-11-24T09:00:60+03:00", "2026-11-24T09:00:00+99:99", "2026-11-24T09:00:00", "-"),
]


@pytest.mark.parametrize("instant", [*_DATES, *_INSTANTS])
def test_an_extreme_date_is_taken_or_refused_in_words_and_breaks_nothing(clinic: ApiClinic, instant: str) -> None:
    for kind, member in (("Patient", "birthDate"), ("Task", "authoredOn"), ("ServiceRequest", "authoredOn")):
        whole = order()
        for each in [of(whole, kind)]:
            each[member] = instant
        assert post(clinic.server, whole).status_code in (200, 422), (kind, member)
    whole = order()
    for each in [of(whole, "Patient")]:
        each["identifier"][0]["period"] = {"start": instant, "end": instant}
        each["name"][0]["period"] = {"end": instant}
        each["deceasedDateTime"] = instant
    assert post(clinic.server, whole).status_code in (200, 422)
    for each in _searches(instant):
        assert call(clinic.server, "POST", "/Task/_search", each).status_code in (200, 422), each


_ANY_INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}([+-][0-9]{2}:[0-9]{2}|Z))?"


def _searches(instant: str) -> list[Resource]:
    """Return searches that begin at an instant."""
    listed = [
        {"name": "_lastUpdated", "valueString": f"ge{instant}"},
        {"name": "intent", "valueString": "original-order"},
    ]
    return [{"resourceType": "Parameters", "parameter": listed}]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    instant=st.one_of(
        st.datetimes().map(lambda at: at.isoformat() + "Z"),
        st.datetimes().map(lambda at: at.isoformat() + "-14:00"),
        st.dates().map(str),
        st.from_regex(_ANY_INSTANT, fullmatch=True),
    )
)
def test_whatever_instant_comes_is_taken_or_refused_in_words(clinic: ApiClinic, instant: str) -> None:
    whole = order()
    for each in [of(whole, "Task")]:
        each["authoredOn"] = instant
    for each in [of(whole, "Patient")]:
        each["birthDate"] = instant
    assert post(clinic.server, whole).status_code in (200, 422)
    for each in _searches(instant):
        assert call(clinic.server, "POST", "/Task/_search", each).status_code in (200, 422)


@pytest.mark.parametrize("megabytes", [2, 20, 60])
def test_a_large_body_gets_its_answer_and_not_a_broken_connection(clinic: ApiClinic, megabytes: int) -> None:
    answer = call(clinic.server, "POST", "", b" " * (megabytes * 1_000_000), timeout=30)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (413, "too-long")


def test_a_snils_of_a_contained_person_is_checked() -> None:
    person = {"resourceType": "Patient", "id": "p", "identifier": [{"system": SNILS, "value": "1"}]}
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:0b7c1f4e-3a52-4d0e-9c1b-2f6a7d8e9b01",
                "resource": {"resourceType": "Task", "contained": [person], "for": {"reference": "#p"}},
            }
        ],
    }
    task, patient = requests.entries(bundle).values()
    assert "contained" not in task
    assert patient == {key: value for key, value in person.items() if key != "id"}
    with pytest.raises(OperationRefused):
        requests.entries({**bundle, "type": "batch"})
