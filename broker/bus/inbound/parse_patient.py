"""Parse a person of the bus, Patient or Practitioner, and say what contradicts one of ours. Pure.

Identifiers and names that are no longer in force (FHIR R4 Identifier.use and period, HumanName.period) and placeholder
numbers are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from difflib import SequenceMatcher

from broker.bus.fhir import Resource, items, member
from broker.bus.inbound.resolver import Unusable
from broker.bus.profile import POLICY, SNILS
from broker.domain.patients import names
from broker.domain.patients.identifiers import digits, is_placeholder, policy_problem, snils_problem
from broker.domain.patients.identifiers import insurer as known_insurer
from broker.domain.patients.people import NO_NAME, Patient, PersonName, Sex

_LINE_KEPT = 200  # characters of a name or a number
_SEXES = {"male": Sex.MALE, "female": Sex.FEMALE, "other": Sex.OTHER}
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(T.*)?")
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}){0,2}")
_UNKNOWN_BIRTH_DATE = date(1900, 1, 1)  # what some programs write for "unknown"
_ALIKE = 0.8  # of two spellings of one patronymic: Алексеевна and Александровна are 0.7
_FORMER = ("old", "maiden", "anonymous", "nickname")


def identifiers(resource: Resource, today: date | None = None) -> Iterator[tuple[str, str]]:
    """Yield (OID, value) of the identifiers that have both, only of those in force where a day is given."""
    for each in items(resource, "identifier"):
        if today and (member(each, "use") == "old" or _has_ended(each, today)):
            continue
        system, value = _line(member(each, "system")), _line(member(each, "value"))
        if system and value:
            yield system.removeprefix("urn:oid:"), value


def number(person: Resource, system: str, today: date) -> str:
    """Return a person's number of a system in digits, the first in force, as it came; empty if there is none."""
    found = (digits(value)[:20] for named, value in identifiers(person, today) if named == system)
    return next((each for each in found if not is_placeholder(each)), "")


def insurer(person: Resource, today: date) -> str:
    """Return who has issued the policy that `number` returns, as it is stored; empty if it is not stated."""
    policy = number(person, POLICY, today)
    for each in items(person, "identifier"):
        named = next(identifiers({"identifier": [each]}, today), ("", ""))
        if policy and named[0] == POLICY and digits(named[1])[:20] == policy:
            assigner = member(each, "assigner")
            stated = _line(member(assigner, "display")) or _line(member(member(assigner, "identifier"), "value"))
            if stated:
                return known_insurer(stated)
    return ""


def name(person: Resource, today: date) -> PersonName:
    """Return the current name of a person: family, имя, отчество; one that is only a text is split."""
    listed = [each for each in items(person, "name") if isinstance(each, dict)]
    listed.sort(key=lambda each: (_has_ended(each, today), each.get("use") in _FORMER))
    for each in listed:
        given = [part for text in items(each, "given") if (part := names.stated(_line(text)))]
        found = PersonName(names.stated(_line(each.get("family"))), "".join(given[:1]), _line(" ".join(given[1:])))
        if found.family or found.given:
            return found
        if text := _line(each.get("text")):
            return names.split(text)
    return NO_NAME


def former_number(person: Resource, system: str, today: date) -> str:
    """Return a number of a system in digits that is not in force any more; empty if there is none."""
    present = number(person, system, today)
    every = (digits(value)[:20] for named, value in identifiers(person) if named == system)
    return next((each for each in every if each != present and not is_placeholder(each)), "")


def former_name(person: Resource, today: date) -> str:
    """Return a name that the person has had before; empty if there is none, or it is the present one."""
    present = str(name(person, today))
    for each in items(person, "name"):
        if _has_ended(each, today) or member(each, "use") in ("old", "maiden"):
            former = name({"name": [each]}, today)
            parts = (former.family, former.given or "", former.middle or "")
            text = " ".join(part for part in parts if part)
            if text and names.fold(text) != names.fold(present):
                return text
    return ""


def birth(person: Resource) -> tuple[date | None, int | None]:
    """Return a whole date of birth, or the year where no more is said, or neither; raise ValueError if it is no date.

    The day that stands for "unknown" is none.
    """
    value = person.get("birthDate")
    if value is None:
        return None, None
    day, part = (each.fullmatch(value) if isinstance(value, str) else None for each in (_DAY, _DATE))
    if day is None:
        if part is None:
            raise ValueError("no date of birth")
        return None, int(part[0][:4])
    born = date.fromisoformat(day[1])
    return (None if born == _UNKNOWN_BIRTH_DATE else born), None


def birth_date(person: Resource) -> date | None:
    """Return a whole date of birth; None where there is none, or no more than a part of one."""
    try:
        return birth(person)[0]
    except ValueError:
        return None


def sex(person: Resource) -> Sex | None:
    """Return a person's sex; None if it is missing or an unknown code."""
    return _SEXES.get(_line(person.get("gender")))


def standing(person: Resource) -> str:
    """Return why a Patient record must be checked: "deceased", "replaced" or "inactive"; else empty."""
    if person.get("deceasedBoolean", False) is not False or person.get("deceasedDateTime"):
        return "deceased"
    if any(member(link, "type") == "replaced-by" for link in items(person, "link")):
        return "replaced"
    return "inactive" if person.get("active", True) is not True else ""


def contradictions(person: Resource, patient: Patient, today: date) -> list[str]:
    """Return the fields in which a Patient of the bus contradicts one of ours; empty if it can be the same person.

    Different valid numbers of one kind mean different people. The family name is not compared, since it changes with
    marriage; siblings differ in the given name. A patronymic does not change, and is compared unless a number agrees.
    A name without components cannot be compared.
    """
    found, has_number = [], False
    for field, system, problem in (("snils", SNILS, snils_problem), ("policy", POLICY, policy_problem)):
        ours, theirs = getattr(patient, field), number(person, system, today)
        if ours and theirs and not problem(theirs):
            has_number = has_number or ours == theirs
            found += [field] if ours != theirs else []
    given = [names.fold(each) for each in _given_names(person)]
    if given and patient.name.given and names.fold(patient.name.given) not in given:
        found.append("given")
    elif not has_number and _is_another_patronymic(name(person, today), patient.name):
        found.append("middle")
    if _contradicts(person.get("birthDate"), patient):
        found.append("birth_date")
    if Sex.OTHER not in (sexes := {sex(person) or Sex.OTHER, patient.sex}) and len(sexes) == 2:
        found.append("sex")
    return found


def _is_another_patronymic(one: PersonName, other: PersonName) -> bool:
    """Return True for patronymics that are neither one with slips nor a beginning or an initial of the other."""
    if not (one.middle and other.middle and names.identifies(one) and names.identifies(other)):
        return False
    spelled = [names.transliterated(names.fold(each.middle)).rstrip(".") for each in (one, other)]
    shorter, longer = sorted(spelled, key=lambda each: (len(each), each))
    return not longer.startswith(shorter) and SequenceMatcher(None, shorter, longer, autojunk=False).ratio() < _ALIKE


def described(person: Resource, today: date) -> Patient:
    """Return what a Patient of the bus says that identifies somebody; what it does not say is empty."""
    try:
        born, year = birth(person)
    except ValueError:
        born, year = None, None
    snils, policy = number(person, SNILS, today), number(person, POLICY, today)
    return Patient(
        name(person, today),
        born,
        sex(person) or Sex.OTHER,
        snils="" if snils_problem(snils) else snils,
        policy="" if policy_problem(policy) else policy,
        birth_year=year,
    )


def is_comparable(person: Resource, patient: Patient, today: date) -> bool:
    """Return True if a Patient of the bus says enough to be one of ours.

    That is a valid number of a kind that ours has, too, or a given name and a date of birth; `contradictions` says
    whether they are ours.
    """
    if any(
        ours and theirs and not problem(theirs)
        for ours, theirs, problem in (
            (patient.snils, number(person, SNILS, today), snils_problem),
            (patient.policy, number(person, POLICY, today), policy_problem),
        )
    ):
        return True
    named = patient.name.given and names.identifies(patient.name) and any(_given_names(person))
    return bool(named and patient.born and birth_date(person))


def held_in(reference: object, container: Resource) -> Resource | None:
    """Return the Patient that a Reference needs no bus for: a contained one, or one with the Reference's identifier.

    None for a Reference to a resource of the bus. Raise Unusable if a contained Patient is missing (FHIR R4 references,
    "Contained Resources").
    """
    text = member(reference, "reference")
    if text is None:
        return {"resourceType": "Patient", "identifier": [member(reference, "identifier")]}
    if not isinstance(text, str) or not text.startswith("#"):
        return None
    for each in items(container, "contained"):
        if member(each, "resourceType") == "Patient" and member(each, "id") == text[1:]:
            return dict(each)
    raise Unusable("a reference leads to nothing that it contains")


def _given_names(person: Resource) -> Iterator[str]:
    """Yield the given names of all names of a person, of one that is only a text, too."""
    for each in items(person, "name"):
        listed = PersonName(_line(member(each, "family")), "".join(map(_line, items(each, "given", 1))))
        whole = listed if listed.given else names.split(_line(member(each, "text")))
        given = names.stated(whole.given)
        if given and names.identifies(whole):
            yield given


def _contradicts(born: object, patient: Patient) -> bool:
    """Return True if a date of birth, or the part of one that is known, is another one than ours, or its part."""
    part = _DATE.match(born) if isinstance(born, str) else None
    if part is None or part[0] == _UNKNOWN_BIRTH_DATE.isoformat():
        return False
    ours = str(patient.born or "")
    shorter = min(len(ours), len(part[0]))
    return ours[:shorter] != part[0][:shorter]


def _has_ended(part: object, today: date) -> bool:
    """Return True if the period of an identifier or a name is over (FHIR R4 Period: the end is inclusive)."""
    end = member(member(part, "period"), "end")
    day = _DATE.match(end) if isinstance(end, str) else None
    return day is not None and day[0] < today.isoformat()[: len(day[0])]


def _line(value: object) -> str:
    """Return a text on one line without control characters, cut to a length; empty if it is not a text."""
    return names.cut(names.tidy(value[: 4 * _LINE_KEPT]), _LINE_KEPT) if isinstance(value, str) else ""
