"""Whether two Patient resources of a client are the same person's: by the rules of the desk. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from broker.bus.fhir import Resource
from broker.bus.inbound import parse_patient
from broker.bus.profile import POLICY, SNILS
from broker.domain.patients import patient_match
from broker.domain.patients.identifiers import policy_problem, snils_problem
from broker.domain.patients.people import Patient, Sex


def is_same(known: Resource, sent: Resource, today: date, *, by_snils: bool) -> bool:
    """Return True if a Patient that is sent may take the place of a known one with the same number.

    Different valid numbers (СНИЛС, ЕНП) are two people's. Under one СНИЛС, another given name, sex or birth date is
    another person's, and another family name may be a marriage, which the desk decides about; under one card number of
    the client's own, such a correction is usual, and only another name together with another birth date is another
    person's.
    """
    one, other = _described(known, today), _described(sent, today)
    found = set(patient_match.contradictions(one, other))
    if found & set(patient_match.NUMBERS):
        return False
    if by_snils and not (one.snils and one.snils == other.snils):  # out of force in one of them
        return False
    if not by_snils:
        return not {"name", "birth_date"} <= found
    married = replace(one, name=replace(one.name, family=other.name.family))
    return not patient_match.contradictions(married, other)


def _described(person: Resource, today: date) -> Patient:
    snils = parse_patient.number(person, SNILS, today)
    policy = parse_patient.number(person, POLICY, today)
    return Patient(
        name=parse_patient.name(person, today),
        birth_date=parse_patient.birth_date(person),
        sex=parse_patient.sex(person) or Sex.OTHER,
        snils="" if snils_problem(snils) else snils,
        policy="" if policy_problem(policy) else policy,
    )
