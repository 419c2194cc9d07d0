"""Whether two Patient resources of a client are the same person's: by the rules of the desk. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from broker.bus.fhir import Resource
from broker.bus.inbound import parse_patient
from broker.domain.patients import identity, names, patient_match

# What contradicts under one card number of a client, as `identity.difference` names it -> the code of the problem that
# people see.
_PROBLEMS = {"date of birth": "number_other_birth_date", "sex": "number_other_sex", "name": "number_other_name"}


def is_same(known: Resource, sent: Resource, today: date, *, by_snils: bool) -> bool:
    """Return True if a Patient that is sent may take the place of a known one with the same number.

    Different valid numbers (СНИЛС, ЕНП) are two people's. Under one СНИЛС, another given name, sex or birth date is
    another person's, and another family name may be a marriage, which the desk decides about. Under one card number of
    the client's own it is the same, but another family name is a marriage only if birth date and sex are known.
    """
    one, other = parse_patient.described(known, today), parse_patient.described(sent, today)
    if set(patient_match.contradictions(one, other)) & set(patient_match.NUMBERS):
        return False
    if not by_snils:
        return not number_problem(known, sent, today)
    if not (one.snils and one.snils == other.snils):  # out of force in one of them
        return False
    married = replace(one, name=replace(one.name, family=other.name.family))
    return not patient_match.contradictions(married, other)


def number_problem(known: Resource, sent: Resource, today: date) -> str:
    """Return why two Patients with one card number of the client are two people, as a code of a problem; "" if not."""
    # A number of the client's own is what a Patient ID is: under it, the placeholder of a name may be repeated.
    one, other = (replace(parse_patient.described(each, today), patient_id="same") for each in (known, sent))
    found = identity.difference(one, other)
    return "" if not found or identity.completes(one, other) else _PROBLEMS[found]


def completed(known: Resource, sent: Resource, today: date) -> Resource:
    """Return a Patient as it is sent, with the patronymic, birth date and sex of the known one where it says less.

    Else the next one under its number would be compared with hardly anything, and take its place.
    """
    one, other = parse_patient.described(known, today), parse_patient.described(sent, today)
    whole, made = identity.merge(one, other), dict(sent)
    if whole.name != other.name and names.identifies(one.name):
        given = [part for part in (whole.name.given, whole.name.middle) if part]
        made["name"] = [{"family": whole.name.family, "given": given}, *sent["name"]]
    if whole.born != other.born:
        made["birthDate"] = known["birthDate"]
    if whole.sex != other.sex:
        made["gender"] = known["gender"]
    return made
