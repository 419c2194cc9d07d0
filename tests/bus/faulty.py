"""What is wrong with orders that a bus must refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from broker.bus.practice import (
    PRACTICE_ORGANISATION,
)
from tests.bus.bundles import (
    N3,
    NSI,
    SNILS,
    Resource,
    concept,
    of,
)
from tests.support.clock import TODAY


def without(path: str) -> Callable[[Resource], None]:
    """Make a change that drops "Type.member"."""
    kind, _, member = path.partition(".")
    return lambda sent: of(sent, kind).pop(member) and None


def with_value(path: str, value: Any) -> Callable[[Resource], None]:
    """Make a change that sets "Type.member.member" (numbers are indexes)."""
    kind, *steps, last = path.split(".")

    def change(sent: Resource) -> None:
        node: Any = of(sent, kind)
        for step in steps:
            node = node[int(step) if step.isdigit() else step]
        node[last] = value

    return change


TOMORROW = str(TODAY + timedelta(days=1))


# The region's patient index insists on these; a clinic examines people of whom they are not known.
UNKNOWN_PEOPLE = [
    (without("Patient.birthDate"), "birthDate"),
    (with_value("Patient.birthDate", "1961"), "birthDate"),
    (with_value("Patient.name", [{"family": "Сухарто"}]), "name[0].given"),
]
EMPTY_GIVEN = (with_value("Patient.name.0.given", []), "name[0].given")
ORDER_FAULTS = [
    *UNKNOWN_PEOPLE,
    EMPTY_GIVEN,
    (with_value("Patient.birthDate", "1900-01-01"), "birthDate"),
    (with_value("Patient.birthDate", TOMORROW), "birthDate"),
    (with_value("Patient.birthDate", "2026-02-30"), "birthDate"),
    (with_value("Patient.name.0.family", ""), "name[0].family"),
    (with_value("Patient.name.0.family", "  "), "name[0].family"),
    (with_value("Patient.name.0.given", [""]), "name[0].given[0]"),
    (with_value("Patient.name", {"family": "Иванов"}), "name"),
    (with_value("Patient.gender", "женский"), "gender"),
    (without("Patient.identifier"), "identifier"),
    (with_value("Patient.identifier.0.system", "urn:oid:1.2.3"), "identifier[0].system"),
    (with_value("Patient.identifier.0.assigner", {"display": ""}), "identifier[0]"),
    (with_value("Patient.identifier", [{"system": SNILS, "value": "11223344594"}]), "identifier[0]"),
    (with_value("Patient.identifier", [{"system": SNILS, "value": "112-233-445 95"}]), "identifier[0]"),
    (with_value("Patient.identifier", [{"system": N3 + "6.228", "value": "123"}]), "identifier[0]"),
    (with_value("Patient.extra", None), "extra"),
    (without("Practitioner.active"), "active"),
    (without("PractitionerRole.specialty"), "specialty"),
    (with_value("PractitionerRole.organization.reference", f"Organization/{uuid4()}"), "organization.reference"),
    (without("Condition.verificationStatus"), "verificationStatus"),
    (with_value("Condition.code.coding.0.version", ""), "code.coding[0]"),
    (with_value("Condition.code.coding.0.system", "http://hl7.org/fhir/sid/icd-10"), "code"),
    (with_value("Condition.subject.reference", f"urn:uuid:{uuid4()}"), "subject.reference"),
    (without("Encounter.diagnosis"), "diagnosis"),
    (with_value("Encounter.class", concept(N3 + "35", "AMB")), "class"),
    (with_value("Encounter.subject.reference", f"Patient/{uuid4()}"), "subject.reference"),
    (without("ServiceRequest.bodySite"), "bodySite"),
    (with_value("ServiceRequest.priority", "stat"), "priority"),
    (with_value("ServiceRequest.code", concept(NSI + "9999", "1")), "code"),
    (with_value("ServiceRequest.code", []), "code"),
    (with_value("ServiceRequest.requester.reference", f"Organization/{PRACTICE_ORGANISATION}"), "requester"),
    (without("Task.owner"), "owner"),
    (without("Task.for"), "for"),
    (with_value("Task.intent", "order"), "intent"),
    (with_value("Task.status", "completed"), "status"),
    (with_value("Task.authoredOn", "2026-11-24T09:00:00"), "authoredOn"),
    (with_value("Task.identifier.0.value", ""), "identifier[0].value"),
    (with_value("Task.meta", "x"), "meta"),
]


JUNK: list[Any] = [None, "", [], {}, 0, 1.5, True, "x", ["x"], [None], [[]], {"a": 1}, [{}], {"reference": 3}, "Task/1"]
