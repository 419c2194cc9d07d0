"""What three public clients of live deployments of the bus send, by the shapes of their bundles; nobody here exists.

S1 and S2 order and report, S3 is a МИС that reports and reads. Written from what they make, not from our own code.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from uuid import uuid4

from tests.bus.bundles import MIS, N3, NSI, Resource, concept, organisation, own_id, reference

PDF = base64.b64encode(b"%PDF-1.4 invented").decode()
CDA = base64.b64encode(b"<ClinicalDocument/>").decode()


def entries(bundle: Resource, kind: str) -> list[Resource]:
    return [each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == kind]


def add(bundle: Resource, resource: Resource) -> Resource:
    """Add an entry before the report and the Task; return a reference to it."""
    url = f"urn:uuid:{uuid4()}"
    bundle["entry"].insert(0, {"fullUrl": url, "resource": resource})
    return reference(url)


def _reported_by_a_doctor(bundle: Resource) -> None:
    """All three name the doctor's role as performer of the report and of its Observations, and when it was issued."""
    for report in entries(bundle, "DiagnosticReport"):
        doctor = add(
            bundle,
            {
                "resourceType": "Practitioner",
                "active": True,
                "identifier": [own_id("doctor-7"), {"system": f"{N3}6.223", "value": "08765430300"}],
                "name": [{"family": "Лучевая", "given": ["Вера", "Ильинична"]}],
            },
        )
        role = add(
            bundle,
            {
                "resourceType": "PractitionerRole",
                "active": True,
                "practitioner": doctor,
                "organization": organisation(),
                "code": [concept(NSI + "1002", "73")],
                "specialty": [concept(NSI + "1066", "27")],
            },
        )
        report["performer"] = [role]
        for observation in entries(bundle, "Observation"):
            observation |= {"issued": report["issued"], "performer": [role]}
    for study in entries(bundle, "ImagingStudy"):
        for identifier in study["identifier"]:
            if "type" in identifier:
                identifier["system"] = f"urn:oid:{MIS}"


def with_lists_as_objects(bundle: Resource) -> None:
    for kind, names in (("Task", ("basedOn",)), ("DiagnosticReport", ("basedOn", "category"))):
        for resource in entries(bundle, kind):
            for name in names:
                if isinstance(resource.get(name), list):
                    [resource[name]] = resource[name]


def _with_document(bundle: Resource, media_type: str, data: str, *, signed_as: str = "") -> None:
    for report in entries(bundle, "DiagnosticReport"):
        if report["status"] != "partial":
            types = [media_type, *(f"application/x-pkcs7-{who}{signed_as}" for who in ("practitioner", "organization"))]
            report["presentedForm"] = []
            for each in types if signed_as else types[:1]:
                link = add(bundle, {"resourceType": "Binary", "contentType": each, "data": data})
                report["presentedForm"].append({"contentType": each, "url": link["reference"]})


def s1(bundle: Resource) -> Resource:
    """Lists as objects, no system of the confidentiality, images that are told of without an ImagingStudy."""
    sent = deepcopy(bundle)
    _reported_by_a_doctor(sent)
    with_lists_as_objects(sent)
    for report in entries(sent, "DiagnosticReport"):
        report["meta"]["security"] = [{"code": "N"}]
        if report["status"] == "partial":
            del report["imagingStudy"]
    if any(report["status"] == "partial" for report in entries(sent, "DiagnosticReport")):
        sent["entry"] = [each for each in sent["entry"] if each["resource"]["resourceType"] != "ImagingStudy"]
    return sent


def s2(bundle: Resource) -> Resource:
    """`request` without its url, no priority, a final report that is a PDF and nothing else; the insurer in the ЕНП."""
    sent = deepcopy(bundle)
    _reported_by_a_doctor(sent)
    with_lists_as_objects(sent)
    for request in entries(sent, "ServiceRequest"):
        request.pop("priority", None)
    for patient in entries(sent, "Patient"):
        for identifier in patient["identifier"]:
            if identifier["system"] == f"{N3}6.228":
                identifier["assigner"] = {"display": "1.2.643.5.1.13.2.1.1.635.77001"}
    final = False
    for report in entries(sent, "DiagnosticReport"):
        report["meta"]["security"] = [{"code": "N"}]
        final = report["status"] != "partial"
        report.pop("result", None)
    if final:
        _with_document(sent, "application/pdf", PDF)
    sent["entry"] = [each for each in sent["entry"] if each["resource"]["resourceType"] != "Observation"]
    for entry in sent["entry"]:
        entry["request"] = {"method": "POST"}
    return sent


def s3(bundle: Resource) -> Resource:
    """A misspelled system, a signed CDA, a further code of N3.119 and a dose without a unit."""
    sent = deepcopy(bundle)
    _reported_by_a_doctor(sent)
    for report in entries(sent, "DiagnosticReport"):
        report["meta"]["security"][0]["system"] = "urn:oud:1.2.643.5.1.13.13.11.1116"
        if report["status"] != "partial":
            parts: list[dict[str, Any]] = [
                {"code": concept(N3 + "119", "8"), "valueString": "для СМС ВИМИС"},
                {"code": concept(N3 + "119", "5"), "valueQuantity": {"value": 0.12}},
            ]
            for each in parts:
                link = add(sent, {"resourceType": "Observation", "status": "final", **each})
                report["result"].append(link)
    _with_document(sent, "application/xml", CDA, signed_as="-xml")
    return sent


CLIENTS: dict[str, Callable[[Resource], Resource]] = {"S1": s1, "S2": s2, "S3": s3}
