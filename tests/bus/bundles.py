"""Bundles written by hand from the wire profile, and calls to a practice bus over real HTTP.

They do not lean on the code that makes our bundles, nor on the practice bus's own tables.
"""

import json
from typing import Any
from uuid import uuid4

import requests

from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2, PRACTICE_TOKEN, PracticeServer

N3 = "urn:oid:1.2.643.2.69.1.1.1."
NSI = "urn:oid:1.2.643.5.1.13.13.11."
OWN_ID = "urn:oid:1.2.643.5.1.13.2.7.100.5"
SNILS = N3 + "6.223"
MIS = "1.2.643.2.69.1.2.900"
Resource = dict[str, Any]


def call(server: PracticeServer, method: str, path: str, body: object = None, **options: Any) -> requests.Response:
    """Send one call with the right headers; bytes go as they are."""
    headers = {"Authorization": f"N3 {PRACTICE_TOKEN}", "Content-Type": "application/json"}
    headers |= options.pop("headers", {})
    data = body if isinstance(body, bytes) or body is None else json.dumps(body, ensure_ascii=False).encode()
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, server.url + path, data=data, headers=headers, **({"timeout": 5} | options))


def post(server: PracticeServer, bundle: Resource) -> requests.Response:
    return call(server, "POST", "?_format=json", bundle)


def search(server: PracticeServer, **parameters: str) -> list[Resource]:
    """Search Tasks; `_` in a name stands for `-`, apart from a leading one."""
    named = [{"name": k[0] + k[1:].replace("_", "-"), "valueString": v} for k, v in parameters.items()]
    answer = call(server, "POST", "/Task/_search", {"resourceType": "Parameters", "parameter": named})
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


def concept(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "version": "1.0", "code": code}]}


def own_id(value: str) -> Resource:
    return {"system": OWN_ID, "value": value, "assigner": {"display": MIS}}


def bundle(**resources: Resource) -> Resource:
    """Make a transaction; every `reference` that is an argument's name becomes that entry's urn:uuid."""
    urls = {name: f"urn:uuid:{uuid4()}" for name in resources}

    def linked(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: urls.get(v, v) if k in ("reference", "url") else linked(v) for k, v in node.items()}
        return [linked(item) for item in node] if isinstance(node, list) else node

    entries = [{"fullUrl": urls[name], "resource": linked(resource)} for name, resource in resources.items()]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def reference(to: str) -> Resource:
    return {"reference": to}


def organisation(guid: str = PRACTICE_ORGANISATION) -> Resource:
    return reference(f"Organization/{guid}")


def patient(number: str = "") -> Resource:
    return {
        "resourceType": "Patient",
        "identifier": [own_id(number or str(uuid4()))],
        "name": [{"family": "Ёлкина", "given": ["Анна", "Сергеевна"]}],
        "gender": "female",
        "birthDate": "1961-03-12",
        "managingOrganization": organisation(),
    }


def order(number: str = "", owner: str = PRACTICE_ORGANISATION_2) -> Resource:
    return bundle(
        patient=patient(),
        doctor={
            "resourceType": "Practitioner",
            "active": True,
            "identifier": [own_id("doctor-1"), {"system": SNILS, "value": "11223344595"}],
            "name": [{"family": "Петров", "given": ["Пётр"]}],
        },
        role={
            "resourceType": "PractitionerRole",
            "active": True,
            "practitioner": reference("doctor"),
            "organization": organisation(),
            "code": [concept(NSI + "1002", "109")],
            "specialty": [concept(NSI + "1066", "27")],
        },
        condition={
            "resourceType": "Condition",
            "verificationStatus": concept("urn:oid:2.16.840.1.113883.4.642.1.1075", "provisional"),
            "category": [concept(N3 + "36", "diagnosis")],
            "code": concept(NSI + "1005", "J18.9"),
            "subject": reference("patient"),
        },
        encounter={
            "resourceType": "Encounter",
            "identifier": [{"system": f"urn:oid:{MIS}", "value": str(uuid4())}],
            "status": "in-progress",
            "class": {"system": "urn:oid:2.16.840.1.113883.1.11.13955", "version": "1", "code": "AMB"},
            "type": [concept(N3 + "35", "2")],
            "subject": reference("patient"),
            "diagnosis": [{"condition": reference("condition")}],
            "serviceProvider": organisation(),
        },
        request={
            "resourceType": "ServiceRequest",
            "intent": "filler-order",
            "priority": "routine",
            "code": concept(NSI + "1471", "7003087"),
            "orderDetail": [concept(N3 + "32", "1")],
            "subject": reference("patient"),
            "encounter": reference("encounter"),
            "requester": reference("role"),
            "bodySite": [concept(NSI + "1477", "25")],
        },
        task={
            "resourceType": "Task",
            "identifier": [{"system": f"urn:oid:{MIS}", "value": number or str(uuid4())}],
            "intent": "original-order",
            "authoredOn": "2026-11-24T09:00:00+03:00",
            "focus": reference("request"),
            "for": reference("patient"),
            "requester": organisation(),
            "owner": organisation(owner),
        },
    )


def result(number: str, answered: Resource | None, status: str = "in-progress") -> Resource:
    """Make a result of an answered order, or of a walk-in."""
    based = {} if answered is None else {"basedOn": [reference(id_of(answered, "Task"))]}
    request = {} if answered is None else {"basedOn": [reference(id_of(answered, "ServiceRequest"))]}
    person = patient() if answered is None else part(answered, "Patient")
    return bundle(
        patient={k: v for k, v in person.items() if k not in ("id", "meta")},
        study={
            "resourceType": "ImagingStudy",
            "identifier": [
                {"type": concept(N3 + "122", "ACSN"), "value": "ODII0000000001"},
                {"system": "urn:dicom:uid", "value": "urn:oid:2.25.1234567890"},
            ],
            "status": "available",
            "subject": reference("patient"),
        },
        protocol={
            "resourceType": "Observation",
            "status": "final",
            "code": concept(N3 + "119", "1"),
            "valueString": "Без патологии",
        },
        report={
            "resourceType": "DiagnosticReport",
            "meta": {"security": [{"system": NSI + "1116", "version": "1", "code": "N"}]},
            **request,
            "status": "partial" if status == "in-progress" else "final",
            "category": [concept(NSI + "1472", "4")],
            "code": concept(NSI + "1471", "7003087"),
            "subject": reference("patient"),
            "effectiveDateTime": "2026-11-24T09:20:00+03:00",
            "issued": "2026-11-24T09:25:00.000+03:00",
            "performer": [organisation()],
            "imagingStudy": [reference("study")],
            "result": [reference("protocol")],
        },
        task={
            "resourceType": "Task",
            "identifier": [{"system": f"urn:oid:{MIS}", "value": f"{number}/{status}"}],
            **based,
            "intent": "reflex-order",
            "status": status,
            "authoredOn": "2026-11-24T09:25:00+03:00",
            "focus": reference("report"),
            "for": reference("patient"),
            "requester": organisation(),
            "owner": organisation(),
        },
    )


def of(sent: Resource, resource_type: str) -> Resource:
    """Take a resource out of a bundle that is to be sent, to be changed."""
    found: Resource = next(
        entry["resource"] for entry in sent["entry"] if entry["resource"]["resourceType"] == resource_type
    )
    return found


def part(answered: Resource, resource_type: str) -> Resource:
    return of(answered, resource_type)


def id_of(answered: Resource, resource_type: str) -> str:
    return f"{resource_type}/{part(answered, resource_type)['id']}"


def accepted(server: PracticeServer, sent: Resource) -> Resource:
    answer = post(server, sent)
    assert answer.status_code == 200, answer.text
    body: Resource = answer.json()
    return body


def accession_numbers(task: Resource) -> list[str]:
    return [i["value"] for i in task["identifier"] for c in i.get("type", {}).get("coding", []) if c["code"] == "ACSN"]


def update(server: PracticeServer, task_id: str, status: str) -> requests.Response:
    given = [{"name": "_id", "valueString": task_id}, {"name": "status", "valueString": status}]
    return call(server, "POST", "/$updatestatus?_format=json", {"resourceType": "Parameters", "parameter": given})
