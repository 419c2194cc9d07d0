"""People as the region knows them: what may be asked about a patient who is typed, and what the answer offers. Pure.

Nothing is asked while the typing is incomplete, and no answer is taken over by itself: a person sees whom the region
means, and only fields that are empty are filled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from broker.domain.patients import names, patient_match
from broker.domain.patients.identifiers import policy_problem, snils_problem
from broker.domain.patients.people import NO_NAME, Patient, PersonName, Sex

# Fields that an answer can fill, in the order of the form.
OFFERED = ("family", "given", "middle", "birth_date", "sex", "snils", "policy")
_IDENTITY = frozenset({"given", "birth_date", "sex", "snils", "policy"})
_UNKNOWN_BIRTH_DATE = date(1900, 1, 1)
_SHORTEST = 2  # letters of a family name or a given name that is asked about


@dataclass(frozen=True, slots=True)
class RegionQuestion:
    """What the region is asked about: one number, or else a full name with the date of birth."""

    snils: str = ""
    policy: str = ""
    name: PersonName = NO_NAME
    birth_date: date | None = None

    def asked(self) -> dict[str, str]:
        """Return what is asked, for the audit trail: field -> value."""
        born = self.birth_date.isoformat() if self.birth_date else ""
        fields = {"snils": self.snils, "policy": self.policy, "name": str(self.name), "birth_date": born}
        return {field: value for field, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class RegionPerson:
    """A person as the region knows them; `patient` has no card number and no id here."""

    reference: str  # "Patient/<id>"
    patient: Patient
    standing: str = ""  # deceased, replaced, inactive; empty: in use


@dataclass(frozen=True, slots=True)
class RegionAnswer:
    """What the region answered; `failed`: it did not answer, or does not search so."""

    people: tuple[RegionPerson, ...] = ()
    failed: bool = False


def question_about(typed: Patient, today: date, *, by_name: bool = True) -> RegionQuestion | None:
    """Return what may be asked about a typed patient; None while it is incomplete or wrong."""
    if typed.snils and not snils_problem(typed.snils):
        return RegionQuestion(snils=typed.snils)
    if typed.policy and not policy_problem(typed.policy):
        return RegionQuestion(policy=typed.policy)
    whole = min(len(typed.name.family), len(typed.name.given)) >= _SHORTEST and names.identifies(typed.name)
    born = typed.birth_date
    if by_name and whole and born and _UNKNOWN_BIRTH_DATE < born <= today and not (typed.snils or typed.policy):
        return RegionQuestion(name=typed.name, birth_date=born)
    return None


def answers(question: RegionQuestion, person: Patient) -> bool:
    """Return True if a person is one who was asked about: not every server obeys a search."""
    if question.snils or question.policy:
        return (question.snils, question.policy) in ((person.snils, ""), ("", person.policy))
    asked, found = question.name, person.name
    pairs = ((asked.family, found.family), (asked.given, found.given), (asked.middle, found.middle))
    same = all(names.fold(one) == names.fold(other) or not (one and other) for one, other in pairs)
    return same and bool(found.family and found.given) and person.birth_date == question.birth_date


def united(people: Iterable[RegionPerson]) -> tuple[RegionPerson, ...]:
    """Return people without repetitions: every clinic may have made a record of its own of one person.

    Two records are one person if they share a number and contradict each other in nothing, or say just the same.
    """
    found: list[RegionPerson] = []
    for each in people:
        for place, other in enumerate(found):
            if other.standing == each.standing and _is_one(other.patient, each.patient):
                found[place] = replace(other, patient=_completed(other.patient, each.patient))
                break
        else:
            found.append(each)
    return tuple(found)


def offer(typed: Patient, sex_known: bool, found: Patient) -> tuple[str, ...]:
    """Return the fields that are empty in what was typed and known to the region."""
    known = patient_fields(found)
    present = patient_fields(typed) | {"sex": typed.sex if sex_known else ""}
    return tuple(field for field in OFFERED if known[field] and not present[field])


def differences(typed: Patient, sex_known: bool, found: Patient) -> tuple[str, ...]:
    """Return the fields that were typed and are known to the region, and differ."""
    known, present = patient_fields(found), patient_fields(typed) | ({} if sex_known else {"sex": ""})
    return tuple(
        field
        for field in OFFERED
        if known[field] and present[field] and names.fold(str(known[field])) != names.fold(str(present[field]))
    )


def may_be_taken(person: RegionPerson, differ: Iterable[str]) -> bool:
    """Return True unless the region means somebody else, or a record that is not in use.

    A family name may change, and a patronymic may be missing or misspelt: a person decides.
    """
    return not person.standing and not _IDENTITY & set(differ)


def patient_fields(patient: Patient) -> dict[str, object]:
    """Return the fields of a patient that an answer can fill; what is not known is empty."""
    name = patient.name
    return {
        "family": name.family,
        "given": name.given,
        "middle": name.middle,
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else "",
        "sex": "" if patient.sex is Sex.OTHER else patient.sex,
        "snils": patient.snils,
        "policy": patient.policy,
    }


def _is_one(one: Patient, other: Patient) -> bool:
    if one == other:
        return True
    return bool(patient_match.shared_numbers(one, other)) and not patient_match.contradictions(one, other)


def _completed(one: Patient, other: Patient) -> Patient:
    """Return a patient with what only the other record of them has."""
    name = one.name
    middle = name.middle or other.name.middle
    return replace(
        one,
        name=replace(name, middle=middle),
        birth_date=one.birth_date or other.birth_date,
        sex=other.sex if one.sex is Sex.OTHER else one.sex,
        snils=one.snils or other.snils,
        policy=one.policy or other.policy,
    )
