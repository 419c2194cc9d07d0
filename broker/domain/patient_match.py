"""The one decision whether a person who is described is somebody whom we have on record. Pure.

The desk, referrals that come, results from elsewhere and imports all decide by it. Numbers come first: two people who
have valid numbers of one kind (СНИЛС, ЕНП) that differ are two people, whatever else agrees. Without a number, full
name, date of birth and sex together are one person, as long as only one bears them. Whatever is less than certain is
not decided here: a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from broker.domain import names
from broker.domain.people import Patient, PersonName, Sex

NUMBERS = ("snils", "policy")  # fields of a patient that nobody else may have
_IDENTIFIERS = ("patient_id", *NUMBERS)


class Likeness(StrEnum):
    """How sure it is who somebody is."""

    CERTAIN = "certain"  # one of ours
    CONTRADICTORY = "contradictory"  # bears a number of one of ours, and other data
    SEVERAL = "several"  # more than one of ours is described by this
    SIMILAR = "similar"  # nobody of ours, but somebody who may be meant
    NOBODY = "nobody"  # nobody of ours


class Similarity(StrEnum):
    """Why somebody may be meant although the description is another one."""

    MIDDLE = "middle"  # the patronymic is missing on one side
    LETTER = "letter"  # one letter of the name differs
    SWAPPED_DATE = "swapped_date"  # day and month of the birth date are exchanged
    DATE = "date"  # the same full name, born in the same year
    FAMILY = "family"  # another family name, everything else agrees


@dataclass(frozen=True, slots=True)
class PatientMatch:
    """Who somebody is: the patients of ours who come into question, the best first."""

    likeness: Likeness
    patients: tuple[Patient, ...] = ()
    fields: tuple[str, ...] = ()  # of CONTRADICTORY: what contradicts; `name`, `birth_date`, `sex`, `snils`, `policy`

    @property
    def patient(self) -> Patient | None:
        """Return who it certainly is, or None."""
        return self.patients[0] if self.likeness is Likeness.CERTAIN else None


def match(person: Patient, candidates: Iterable[Patient]) -> PatientMatch:
    """Return who of the candidates a person is: all who share a number, the name or the birth date with them."""
    everybody = list({each.id: each for each in candidates}.values())
    numbered = [each for each in everybody if _shares_number(person, each)]
    if len(numbered) == 1:
        fields = contradictions(numbered[0], person)
        return PatientMatch(Likeness.CONTRADICTORY if fields else Likeness.CERTAIN, (numbered[0],), fields)
    if numbered:  # the numbers name different people
        shared = (field for field in _IDENTIFIERS if any(_same(person, each, field) for each in numbered))
        return PatientMatch(Likeness.CONTRADICTORY, tuple(numbered), tuple(shared))
    possible = [each for each in everybody if not any(_differs(person, each, field) for field in NUMBERS)]
    same = [each for each in possible if _is_described(person, each)]
    if same:
        return PatientMatch(Likeness.CERTAIN if len(same) == 1 else Likeness.SEVERAL, tuple(same))
    similar = tuple(each for each in possible if similarity(person, each))
    return PatientMatch(Likeness.SIMILAR if similar else Likeness.NOBODY, similar)


def contradictions(known: Patient, person: Patient) -> tuple[str, ...]:
    """Return the fields in which a person who bears a number of one of ours contradicts him; empty if none does.

    What one side does not say contradicts nothing: a patronymic, a birth date, a sex.
    """
    found = [field for field in NUMBERS if _differs(known, person, field)]
    if not _compatible(known.name, person.name):
        found.append("name")
    if known.birth_date and person.birth_date and known.birth_date != person.birth_date:
        found.append("birth_date")
    if Sex.OTHER not in (known.sex, person.sex) and known.sex != person.sex:
        found.append("sex")
    return tuple(found)


def similarity(one: Patient, other: Patient) -> Similarity | None:
    """Return why two descriptions that are not the same may mean one person; None if they do not."""
    if any(_differs(one, other, field) for field in NUMBERS) or one.birth_date is None or other.birth_date is None:
        return None
    mine, theirs = names.fold(str(one.name)), names.fold(str(other.name))
    if mine == theirs:
        if _swapped(one.birth_date) == other.birth_date:
            return Similarity.SWAPPED_DATE
        return Similarity.DATE if one.name.middle and one.birth_date.year == other.birth_date.year else None
    if one.birth_date != other.birth_date:
        return None
    if _compatible(one.name, other.name):
        return Similarity.MIDDLE
    if one_letter_apart(mine, theirs):
        return Similarity.LETTER
    rest = names.fold(f"{one.name.given} {one.name.middle}")
    married = bool(one.name.middle) and rest == names.fold(f"{other.name.given} {other.name.middle}")
    return Similarity.FAMILY if married and one.sex == other.sex else None


def one_letter_apart(one: str, other: str) -> bool:
    """Return True if one letter is wrong, missing or too much, or two neighbours are exchanged."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1 or one == other:
        return False
    at = next((place for place, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs), len(one))
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    exchanged = one[at : at + 2] == other[at : at + 2][::-1] and one[at + 2 :] == other[at + 2 :]
    return exchanged or one[at + 1 :] == other[at + 1 :]


def _is_described(person: Patient, known: Patient) -> bool:
    return (
        names.fold(str(person.name)) == names.fold(str(known.name))
        and person.birth_date is not None  # people of one name are told apart by nothing else
        and person.birth_date == known.birth_date
        and person.sex == known.sex
    )


def _compatible(one: PersonName, other: PersonName) -> bool:
    """Return True for the same family and given name, and patronymics that one side may leave out."""
    parts = [(names.fold(mine), names.fold(theirs)) for mine, theirs in zip(_parts(one), _parts(other), strict=True)]
    family, given, middle = (mine == theirs for mine, theirs in parts)
    return family and given and (middle or not all(parts[2]))


def _parts(name: PersonName) -> tuple[str, str, str]:
    return name.family, name.given, name.middle


def _shares_number(one: Patient, other: Patient) -> bool:
    return any(_same(one, other, field) for field in _IDENTIFIERS)


def _same(one: Patient, other: Patient, field: str) -> bool:
    return bool(getattr(one, field)) and getattr(one, field) == getattr(other, field)


def _differs(one: Patient, other: Patient, field: str) -> bool:
    return bool(getattr(one, field) and getattr(other, field)) and getattr(one, field) != getattr(other, field)


def _swapped(day: date) -> date | None:
    return day.replace(month=day.day, day=day.month) if day.day <= 12 else None
