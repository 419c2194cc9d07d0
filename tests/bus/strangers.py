"""What a clinic that is not ours tells the practice bus: results for our orders, and of patients of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from broker.bus.fhir import Resource
from broker.bus.practice import PRACTICE_ORGANISATION_2, PracticeBus
from broker.domain.patients.people import Patient, Sex
from tests.bus import bundles
from tests.bus.bundles import N3, NSI, concept, organisation, reference
from tests.support.factory import KUZNETSOVA, soon

STRANGER = PRACTICE_ORGANISATION_2
POLICY = N3 + "6.228"


def person(patient: Patient = KUZNETSOVA, **changes: Any) -> Resource:
    """Make the stranger's own record of a patient."""
    numbers = [{"system": bundles.SNILS, "value": patient.snils}, {"system": POLICY, "value": patient.policy}]
    return bundles.patient() | {
        "identifier": [bundles.own_id(str(uuid4())), *(number for number in numbers if number["value"])],
        "name": [
            {
                "family": patient.name.family,
                "given": [part for part in (patient.name.given, patient.name.middle) if part],
            }
        ],
        "birthDate": patient.birth_date.isoformat() if patient.birth_date else "",
        "gender": {Sex.MALE: "male", Sex.FEMALE: "female", Sex.OTHER: "other"}[patient.sex],
        "managingOrganization": organisation(STRANGER),
        **changes,
    }


def result(
    *,
    of: Resource | None = None,
    status: str = "final",
    conclusion: str = "Пневмония справа",
    dose: float | None = 3.1,
    days_ago: int = 10,
    uid: str = "",
    owner: str = STRANGER,
    patient: Resource | None = None,
) -> Resource:
    """Make a result; `of` is the Task of the order that it answers."""
    done = soon() - timedelta(days=days_ago)
    finished = status != "partial"
    who = {"patient": patient or person()} if of is None or patient else {}
    subject = reference("patient") if who else {"reference": of["for"]["reference"]}  # type: ignore[index]
    texts: Resource = {}
    if finished:
        texts["conclusion"] = observation("2", valueString=conclusion)
        if dose is not None:
            quantity = {"value": dose, "unit": "мЗв", "system": "http://unitsofmeasure.org", "code": "mSv"}
            texts["dose"] = observation("5", valueQuantity=quantity)
    study = {
        "resourceType": "ImagingStudy",
        "identifier": [
            {"type": concept(N3 + "122", "ACSN"), "value": "ODII0000000099"},
            {"system": "urn:dicom:uid", "value": f"urn:oid:{uid or f'2.25.{uuid4().int}'}"},
        ],
        "status": "available",
        "modality": [{"system": "urn:oid:1.2.840.10008.2.16.4", "version": "1", "code": "CT"}],
        "subject": subject,
    }
    report = {
        "resourceType": "DiagnosticReport",
        "meta": {"security": [{"system": NSI + "1116", "version": "1", "code": "N"}]},
        **({"basedOn": [{"reference": of["focus"]["reference"]}]} if of else {}),
        "status": status,
        "category": [concept(NSI + "1472", "1")],
        "code": concept(NSI + "1471", "7003001") | {"text": "КТ органов грудной клетки"},
        "subject": subject,
        "effectiveDateTime": f"{done.isoformat()}+03:00",
        "issued": f"{done.isoformat()}+03:00",
        "performer": [organisation(owner)],
        "imagingStudy": [reference("study")],
        **({"result": [reference(name) for name in texts]} if texts else {}),
    }
    task = {
        "resourceType": "Task",
        "identifier": [{"system": f"urn:oid:{bundles.MIS}.2", "value": str(uuid4())}],
        **({"basedOn": [{"reference": f"Task/{of['id']}"}]} if of else {}),
        "intent": "reflex-order",
        "status": "completed" if finished else "in-progress",
        "authoredOn": f"{done.isoformat()}+03:00",
        "focus": reference("report"),
        "for": subject,
        "requester": of["requester"] if of else organisation(owner),
        "owner": organisation(owner),
    }
    return bundles.bundle(**who, **texts, study=study, report=report, task=task)


def observation(code: str, **value: Any) -> Resource:
    return {"resourceType": "Observation", "status": "final", "code": concept(N3 + "119", code), **value}


def tells(bus: PracticeBus, **stated: Any) -> Resource:
    """Let the stranger tell the bus; give the Task that the bus made of it."""
    answered = bus.transaction(result(**stated))
    return bundles.part(answered, "Task")
