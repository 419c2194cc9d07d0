"""The rules by which described patient data are matched with stored patients. Pure.

The desk, incoming referrals, external results and imports match by these rules. Numbers come first: different valid
numbers of one kind (СНИЛС, ЕНП) mean different people, whatever else agrees. Without a common number, the full name,
date of birth and sex identify a patient if only one patient has them. Anything less certain is left to a person.

What a card was before a merge or a correction leads to it as well, as far as no other card is described so today.

What stands in the place of a name («Неизвестный №3», «Иванова новорождённая») identifies no person: without a number,
two with the same are two people. Neither is anybody certain whose birth date is unknown, or who bears one name alone:
with birth date and sex, «Ахмад» is many people.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import permutations
from types import MappingProxyType

from broker.domain.patients import identity, names, placeholders, transliteration
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.patients.transliteration import Fit

NUMBERS = ("snils", "policy")  # fields that are unique to a patient
_INITIALS = re.compile(r"[^. ]+")
_IDENTIFIERS = ("patient_id", *NUMBERS)


# What cards were before they were merged or corrected: id of the card in use -> its former data, also those of cards
# that were merged into it, with the numbers of then.
FormerData = Mapping[int, Sequence[Patient]]
NOTHING_FORMER: FormerData = MappingProxyType({})


class Likeness(StrEnum):
    """The result of matching described data with the stored patients."""

    CERTAIN = "certain"  # exactly one patient
    CONTRADICTORY = "contradictory"  # a stored patient's number with different data
    SEVERAL = "several"  # several patients with these data
    SIMILAR = "similar"  # no match, but a patient with similar data
    NO_MATCH = "no_match"  # no patient with these data


class Similarity(StrEnum):
    """Why a stored patient with different data may be the same person; the likeliest first."""

    MIDDLE = "middle"  # the patronymic is missing on one side
    LETTER = "letter"  # one letter of the name differs
    SPELLING = "spelling"  # the same name in another alphabet, or in letters that only look alike
    INITIALS = "initials"  # the same family name; the others are initials on one side
    EXCHANGED = "exchanged"  # family and given name are exchanged
    SWAPPED_DATE = "swapped_date"  # day and month of the birth date are exchanged
    DATE = "date"  # the same full name, born in the same year
    YEAR = "year"  # the same name, born on the same day of another year
    LETTER_AND_DATE = "letter_and_date"  # one letter differs; day and month of the birth date are exchanged
    SEX = "sex"  # the sex alone differs, or is not known
    PART_OF_DATE = "part_of_date"  # the same full name; of a birth date only the year is known, or nothing
    SPELLING_ALONE = "spelling_alone"  # … in another alphabet, a patronymic may be missing
    ONE_NAME = "one_name"  # the same single name, birth date and sex: too many bear it
    GIVEN = "given"  # the given name is missing on one side
    NEWBORN = "newborn"  # a newborn of this family name, born on the same day
    FAMILY = "family"  # another family name, everything else agrees
    FAMILY_AND_MIDDLE = "family_and_middle"  # … of a woman, and the patronymic is missing on one side


@dataclass(frozen=True, slots=True)
class PatientMatch:
    """A likeness and the stored patients that it is about."""

    likeness: Likeness
    patients: tuple[Patient, ...] = ()
    fields: tuple[str, ...] = ()  # of CONTRADICTORY: what contradicts; `name`, `birth_date`, `sex`, `snils`, `policy`
    former: bool = False  # only what the patient's card was before leads to it: a former number, a former name, …

    @property
    def patient(self) -> Patient | None:
        """Return the matching patient if the match is certain, else None."""
        return self.patients[0] if self.likeness is Likeness.CERTAIN else None


@dataclass(frozen=True, slots=True)
class SimilarCard:
    """A card that may be the same patient's as another one; `similarity` is None where name, date and sex are equal."""

    patient: Patient
    similarity: Similarity | None


def similar_note(card: SimilarCard) -> str:
    """Return in plain English, without names, that a new card may be the same person's as another one."""
    why = str(card.similarity).replace("_", " ") if card.similarity else "the same name, date of birth and sex"
    return f"similar to card {card.patient.patient_id} ({why})"


def match(
    person: Patient, candidates: Iterable[Patient], different: Collection[int] = (), former: FormerData = NOTHING_FORMER
) -> PatientMatch:
    """Match a person with candidates: all stored patients with one of their numbers, their name or their birth date.

    `different` are the ids of patients who are never similar to this person: somebody has decided so. `former` is what
    the candidates' cards were before.
    """
    everybody = list({each.id: each for each in candidates}.values())
    before = {each.stored_id: former.get(each.stored_id, ()) for each in everybody}
    numbered = [each for each in everybody if shared_numbers(person, each)]
    in_force = bool(numbered)
    if not in_force:
        numbered = [each for each in everybody if any(_shares(person, old) for old in before[each.stored_id])]
    if len(numbered) == 1:
        [known] = numbered
        fields = contradictions(known, person, before[known.stored_id])
        is_former = not in_force or (not fields and bool(contradictions(known, person)))
        return PatientMatch(Likeness.CONTRADICTORY if fields else Likeness.CERTAIN, (known,), fields, is_former)
    if numbered:  # the numbers name different people
        shared = (
            field
            for field in _IDENTIFIERS
            if any(_same(person, data, field) for each in numbered for data in (each, *before[each.stored_id]))
        )
        return PatientMatch(Likeness.CONTRADICTORY, tuple(numbered), tuple(shared), not in_force)
    possible = [each for each in everybody if not any(_differs(person, each, field) for field in NUMBERS)]
    same = [each for each in possible if any(_fits(person, data) for data in (each, *before[each.stored_id]))]
    if same:
        is_former = not any(_fits(person, each) for each in same)
        return PatientMatch(Likeness.CERTAIN if len(same) == 1 else Likeness.SEVERAL, tuple(same), (), is_former)
    likely = list(Similarity)  # in the order in which they are declared
    not_declared = [each for each in possible if each.id not in different]
    reasons = [(reason, each) for each in not_declared if (reason := similarity(person, each))]
    similar = tuple(each for _, each in sorted(reasons, key=lambda found: (likely.index(found[0]), found[1].id)))
    return PatientMatch(Likeness.SIMILAR if similar else Likeness.NO_MATCH, similar)


def similar_cards(patient: Patient, others: Iterable[Patient], different: Collection[int] = ()) -> list[SimilarCard]:
    """Return which other cards may be the same patient's, the most alike first, without those in `different`."""
    found = []
    for each in others:
        if each.id in different or any(_differs(patient, each, field) for field in NUMBERS):
            continue
        if _is_described(patient, each):
            found.append(SimilarCard(each, None))
        elif reason := similarity(patient, each):
            found.append(SimilarCard(each, reason))
    return sorted(found, key=lambda card: (card.similarity is not None, card.patient.id))


def contradictions(known: Patient, person: Patient, former: Sequence[Patient] = ()) -> tuple[str, ...]:
    """Return the fields in which two patients with a common number contradict each other; empty if none does.

    A missing patronymic, birth date or sex is no contradiction, nor is what the known one's card was before (`former`):
    a former number; name, birth date and sex together.
    """
    found = [
        field
        for field in NUMBERS
        if _differs(known, person, field) and not any(_same(old, person, field) for old in former)
    ]
    # Of what the card is and was, what fits best; not one part of each.
    return (*found, *min((_described_otherwise(each, person) for each in (known, *former)), key=len))


def _described_otherwise(known: Patient, person: Patient) -> tuple[str, ...]:
    """Return which of `name`, `birth_date` and `sex` contradict each other."""
    found = []
    if not (_compatible(known.name, person.name) or placeholders.are_compatible(known.name, person.name)):
        found.append("name")
    if identity.born_differently(known, person):
        found.append("birth_date")
    if Sex.OTHER not in (known.sex, person.sex) and known.sex != person.sex:
        found.append("sex")
    return tuple(found)


def shared_numbers(one: Patient, other: Patient) -> tuple[str, ...]:
    """Return which numbers two descriptions share: of `patient_id`, `snils`, `policy`."""
    return tuple(field for field in _IDENTIFIERS if _same(one, other, field))


def similarity(one: Patient, other: Patient) -> Similarity | None:
    """Return why different data may be of one person; None if they are not similar."""
    if any(_differs(one, other, field) for field in NUMBERS):
        return None
    if not (names.identifies(one.name) and names.identifies(other.name)):
        return Similarity.NEWBORN if _may_be_one_newborn(one, other) else None
    if _are_of_one_name(one, other):
        return Similarity.ONE_NAME
    mine, theirs = names.fold(str(one.name)), names.fold(str(other.name))
    if one.birth_date is None or other.birth_date is None:
        if identity.born_differently(one, other):
            return None
        if mine == theirs:
            return Similarity.PART_OF_DATE
        return Similarity.SPELLING_ALONE if _is_spelled_otherwise(one.name, other.name) else None
    if one.birth_date == other.birth_date:
        return Similarity.SEX if mine == theirs else _similarity_of_names(one, other)
    exchanged = swapped(one.birth_date) == other.birth_date
    if _compatible(one.name, other.name) or _is_spelled_otherwise(one.name, other.name):
        if exchanged:
            return Similarity.SWAPPED_DATE
        is_full = bool(one.name.middle and other.name.middle)
        return _similarity_of_dates(one.birth_date, other.birth_date, is_full)
    return Similarity.LETTER_AND_DATE if exchanged and _one_letter_in_name(one.name, other.name) else None


def _similarity_of_dates(one: date, other: date, is_full: bool) -> Similarity | None:
    """Return why two dates may be one that was mistyped; of a name that is not full, only by a single digit or so.

    Namesakes without a patronymic are too many for less.
    """
    if one.year == other.year:
        return Similarity.DATE if is_full or one_letter_apart(f"{one:%m%d}", f"{other:%m%d}") else None
    if (one.month, one.day) != (other.month, other.day):
        return None
    return Similarity.YEAR if is_full or one_letter_apart(str(one.year), str(other.year)) else None


def _similarity_of_names(one: Patient, other: Patient) -> Similarity | None:
    """Return why different names of people of one birth date may be one."""
    if _compatible(one.name, other.name):
        return Similarity.MIDDLE
    if _one_letter_in_name(one.name, other.name):
        return Similarity.LETTER
    same_family = names.fold(one.name.family) == names.fold(other.name.family)
    if same_family and not (one.name.given and other.name.given):
        return Similarity.GIVEN
    if same_family and (_are_initials(one.name, other.name) or _are_initials(other.name, one.name)):
        return Similarity.INITIALS
    if one.name.given and _compatible(PersonName(one.name.given, one.name.family, one.name.middle), other.name):
        return Similarity.EXCHANGED
    if _is_spelled_otherwise(one.name, other.name):
        return Similarity.SPELLING
    return _similarity_of_married(one, other)


def _similarity_of_married(one: Patient, other: Patient) -> Similarity | None:
    """Return why people of one birth date and given name, but other family names, may be one; None: nothing says so.

    With a patronymic that agrees it may be anybody; where it is missing on one side, only women are asked about: of one
    day and given name there are too many.
    """
    if one.sex != other.sex or names.fold(one.name.given) != names.fold(other.name.given):
        return None
    mine, theirs = names.fold(names.stated(one.name.middle)), names.fold(names.stated(other.name.middle))
    if mine and mine == theirs:
        return Similarity.FAMILY
    is_half = bool(mine) != bool(theirs) and bool(names.stated(one.name.given))
    return Similarity.FAMILY_AND_MIDDLE if is_half and one.sex is Sex.FEMALE else None


def _is_spelled_otherwise(one: PersonName, other: PersonName) -> bool:
    """Return True if two names, in whatever order of their parts, are one in two alphabets.

    That is in any way of writing Cyrillic in Latin letters, or in Latin letters that look like Cyrillic ones (KOTOBA).
    A patronymic may be missing on one side.
    """
    known, written = [[part for part in map(names.stated, _parts(name)) if part] for name in (one, other)]
    if len(known) > len(written):
        known, written = written, known
    if len(known) < 2 or len(written) - len(known) > 1:
        return False
    if not any(names.is_cyrillic(mine) != names.is_cyrillic(theirs) for mine in known for theirs in written):
        return False
    return any(
        all(_is_one_word(mine, theirs) for mine, theirs in zip(known, order, strict=False))
        for order in permutations(written)
    )


def _is_one_word(one: str, other: str) -> bool:
    if names.is_cyrillic(one) == names.is_cyrillic(other):
        return names.fold(one) == names.fold(other)
    cyrillic, latin = (one, other) if names.is_cyrillic(one) else (other, one)
    if names.fold(latin).translate(names.HOMOGLYPHS) == names.fold(cyrillic):
        return True
    return transliteration.fit(cyrillic, latin) is Fit.WHOLE


def _one_letter_in_name(one: PersonName, other: PersonName) -> bool:
    """Return True if two names differ in one letter; a patronymic may be missing on one side."""
    if bool(one.middle) == bool(other.middle):
        return one_letter_apart(names.fold(str(one)), names.fold(str(other)))
    pairs = [
        (names.fold(mine), names.fold(theirs)) for mine, theirs in zip(_parts(one)[:2], _parts(other), strict=False)
    ]
    different = [pair for pair in pairs if pair[0] != pair[1]]
    # One letter of «Ян» is half of it.
    return len(different) == 1 and all(len(part) > 2 for part in different[0]) and one_letter_apart(*different[0])


def _are_initials(short: PersonName, full: PersonName) -> bool:
    """Return True if one given name and patronymic are the initials of the other's: «М П», «М. П.», «М.П.»."""
    shown = _INITIALS.findall(names.fold(f"{short.given} {short.middle}"))
    pairs = list(zip(shown, (names.fold(full.given), names.fold(full.middle)), strict=False))
    return (
        0 < len(shown) <= 2
        and len(full.given) > 1
        and any(len(part) == 1 for part in shown)
        and all(part == whole or not whole or (len(part) == 1 and whole.startswith(part)) for part, whole in pairs)
    )


def _may_be_one_newborn(one: Patient, other: Patient) -> bool:
    """Return True for a newborn and somebody of the same family name and day of birth, who may have a name by now."""
    born = one.birth_date is not None and one.birth_date == other.birth_date
    family = names.fold(one.name.family) == names.fold(other.name.family)
    newborn = names.is_newborn(one.name) or names.is_newborn(other.name)
    sexes = {one.sex, other.sex} - {Sex.OTHER}
    return born and family and newborn and len(sexes) < 2


def one_letter_apart(one: str, other: str) -> bool:
    """Return True for one wrong, missing or extra character, or two neighbours exchanged."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1 or one == other:
        return False
    at = next((place for place, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs), len(one))
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    exchanged = one[at : at + 2] == other[at : at + 2][::-1] and one[at + 2 :] == other[at + 2 :]
    return exchanged or one[at + 1 :] == other[at + 1 :]


def _shares(person: Patient, old: Patient) -> bool:
    """Return True if a person bears a number that a card had before."""
    return any(_same(person, old, field) for field in NUMBERS)


def _fits(person: Patient, data: Patient) -> bool:
    """Return True if a card, as it is or was, is described by a person's data, and no number differs."""
    return _is_described(person, data) and not any(_differs(person, data, field) for field in NUMBERS)


def _are_of_one_name(one: Patient, other: Patient) -> bool:
    """Return True for the same single name, with birth date and sex."""
    born = one.birth_date is not None and one.birth_date == other.birth_date
    is_one = not (_is_whole(one.name) or _is_whole(other.name))
    return is_one and born and one.sex == other.sex and names.fold(str(one.name)) == names.fold(str(other.name))


def _is_whole(name: PersonName) -> bool:
    return bool(names.stated(name.family) and names.stated(name.given))


def _is_described(person: Patient, known: Patient) -> bool:
    return (
        _is_whole(person.name)
        and names.fold(str(person.name)) == names.fold(str(known.name))
        and person.birth_date is not None  # a name alone does not identify a patient
        and names.identifies(person.name)
        and person.birth_date == known.birth_date
        and person.sex == known.sex
    )


def _compatible(one: PersonName, other: PersonName) -> bool:
    """Return True for the same family and given name; a missing patronymic is compatible with any."""
    parts = [(names.fold(mine), names.fold(theirs)) for mine, theirs in zip(_parts(one), _parts(other), strict=True)]
    family, given, middle = (mine == theirs for mine, theirs in parts)
    return family and given and (middle or not all(parts[2]))


def _parts(name: PersonName) -> tuple[str, str, str]:
    return name.family, name.given, name.middle


def _same(one: Patient, other: Patient, field: str) -> bool:
    return bool(getattr(one, field)) and getattr(one, field) == getattr(other, field)


def _differs(one: Patient, other: Patient, field: str) -> bool:
    return bool(getattr(one, field) and getattr(other, field)) and getattr(one, field) != getattr(other, field)


def swapped(day: date) -> date | None:
    """Return a date with day and month exchanged; None if there is no such date."""
    return day.replace(month=day.day, day=day.month) if day.day <= 12 else None
