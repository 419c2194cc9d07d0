"""Referrals of another clinic as they stand on a bus, for the tests of what comes down. Nobody here exists."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from broker.bus.fhir import Resource
from broker.bus.inbound.resolver import ReferenceResolver
from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2
from broker.bus.profile import Profile
from broker.bus.transport.answers import Answer, Delivered, Rejected
from tests.bus.bundles import N3, NSI, OWN_ID, SNILS, concept
from tests.support.clock import ZONE

US, THEM = PRACTICE_ORGANISATION_2, PRACTICE_ORGANISATION
MIS = "1.2.643.2.69.1.2.901"  # ours; theirs is that of `bundles`
BASE = "http://bus.example/imaging/api/fhir"
PROFILE = Profile(organisation=US, mis_oid=MIS, zone=ZONE, positions={"терапевт": ("109", "27")})


def graph() -> dict[str, Resource]:
    """Make a referral with everything that one can have, by "Type/id"."""
    resources: list[Resource] = [
        {
            "resourceType": "Task",
            "id": "t1",
            "meta": {"versionId": "1", "lastUpdated": "2026-11-24T06:00:01.250+00:00"},
            "identifier": [
                {"system": "urn:oid:1.2.643.2.69.1.2.900", "value": "A-77"},
                {"type": concept(N3 + "122", "ACSN"), "value": "ODII0000000042"},
            ],
            "status": "requested",
            "intent": "original-order",
            "authoredOn": "2026-11-24T09:00:00+03:00",
            "focus": {"reference": "ServiceRequest/s1"},
            "for": {"reference": "Patient/p1"},
            "requester": {"reference": f"Organization/{THEM}"},
            "owner": {"reference": f"Organization/{US}"},
        },
        {
            "resourceType": "ServiceRequest",
            "id": "s1",
            "status": "active",
            "intent": "filler-order",
            "priority": "urgent",
            "code": {
                "coding": [{"system": NSI + "1471", "version": "2.1", "code": "7003087", "display": "Кисть"}],
                "text": "Рентгенография кисти",
            },
            "orderDetail": [concept(N3 + "32", "3")],
            "subject": {"reference": "Patient/p1"},
            "encounter": {"reference": "Encounter/e1"},
            "requester": {"reference": "PractitionerRole/r1"},
            "supportingInfo": [
                {"reference": "Condition/c1"},
                {"reference": "Observation/h1"},
                {"reference": "Observation/w1"},
            ],
            "bodySite": [concept(NSI + "1477", "25")],
            "note": [{"text": "Упала\r\nна лёд"}, {"text": "Сторона: левая"}],
        },
        {
            "resourceType": "Patient",
            "id": "p1",
            "identifier": [
                {"system": OWN_ID, "value": "000017", "assigner": {"display": "1.2.643.2.69.1.2.900"}},
                {"system": SNILS, "value": "112-233-445 95"},
                {"system": N3 + "6.228", "value": "7800000012345671"},
                {"system": N3 + "6.227", "value": "123456789"},
                {"system": N3 + "6.226", "value": "1234:567890"},
                {"system": N3 + "6.240", "value": "ДМС-1"},
                {"system": N3 + "6.14", "value": "4004:123456"},
                {"system": N3 + "6.3", "value": "I-АБ:123456"},
            ],
            "name": [{"family": "Ёлкина", "given": ["Анна", "Сергеевна"]}],
            "gender": "female",
            "birthDate": "1961-03-12",
        },
        {
            "resourceType": "PractitionerRole",
            "id": "r1",
            "practitioner": {"reference": f"{BASE}/Practitioner/d1"},
            "code": [concept(NSI + "1002", "109")],
        },
        {
            "resourceType": "Practitioner",
            "id": "d1",
            "identifier": [{"system": SNILS, "value": "08765430300"}],
            "name": [{"family": "Петров", "given": ["Пётр"]}],
        },
        {
            "resourceType": "Condition",
            "id": "c1",
            "code": {"coding": [{"system": NSI + "1005", "code": "S62.1", "display": "Перелом"}]},
        },
        {"resourceType": "Encounter", "id": "e1", "diagnosis": [{"condition": {"reference": "Condition/c1"}}]},
        _measured("h1", "1", 165, "cm"),
        _measured("w1", "2", 70.5, "kg"),
    ]
    return {f"{each['resourceType']}/{each['id']}": deepcopy(each) for each in resources}


def resolver(resources: dict[str, Any], most: int = 16) -> ReferenceResolver:
    """Walk over resources that are at hand."""

    def read(kind: str, id: str) -> Answer:
        found = resources.get(f"{kind}/{id}")
        return Delivered(found) if isinstance(found, dict) else Rejected("HTTP 404")

    return ReferenceResolver(read, BASE, max_references=most)


def _measured(id: str, code: str, value: float, unit: str) -> Resource:
    quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    return {"resourceType": "Observation", "id": id, "code": concept(N3 + "37", code), "valueQuantity": quantity}
