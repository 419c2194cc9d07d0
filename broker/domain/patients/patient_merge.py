"""What becomes of two cards of one person when they are merged, and when they are taken apart again. Pure.

Of every field a person chooses whose value stays; what one card does not say is taken from the other. Two people are
never merged: valid numbers of one kind (СНИЛС, ЕНП) that differ are two people's, whatever else agrees.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from broker.domain.patients import identifiers, identity, names
from broker.domain.patients.people import Patient, Sex

NAME = ("family", "given", "middle")
# Every field of a card, in the order in which people compare them.
FIELDS = (
    *(*NAME, "birth_date", "birth_year", "sex", "snils", "policy", "insurer", "phone", "mother"),
    *("weight", "height", "pregnancy", "allergies"),
)
JOINED = "allergies"  # not chosen from: the surviving card has the allergies of both
_BORN = ("birth_date", "birth_year")  # one fact: where the one is changed, the other is not taken back alone
_PROBLEMS = {"snils": identifiers.snils_problem, "policy": identifiers.policy_problem}

Value = str | float | date | None  # a year of birth is an int


@dataclass(frozen=True, slots=True)
class ComparedField:
    """A field of two cards; "" and None mean that it is not known."""

    name: str
    surviving: Value
    merged: Value
    same: bool  # as people read it: case, dashes and ё do not count


def value(patient: Patient, field: str) -> Value:
    """Return a field of FIELDS; "" or None if it is not known, also for Sex.OTHER."""
    if field in NAME:
        return str(getattr(patient.name, field))
    found: Value = getattr(patient, field)
    return "" if found is Sex.OTHER else found


def with_values(patient: Patient, values: Mapping[str, Any]) -> Patient:
    """Return a patient with these fields of FIELDS; "" is an unknown sex."""
    parts = {field: values[field] for field in NAME if field in values}
    rest = {field: each for field, each in values.items() if field not in NAME}
    if "sex" in rest:
        rest["sex"] = Sex(rest["sex"] or Sex.OTHER)
    return replace(patient, name=replace(patient.name, **parts), **rest)


def compare(surviving: Patient, merged: Patient) -> list[ComparedField]:
    """Return every field of two cards."""
    pairs = ((field, value(surviving, field), value(merged, field)) for field in FIELDS)
    return [ComparedField(field, one, other, _same(one, other)) for field, one, other in pairs]


def differing_numbers(surviving: Patient, merged: Patient) -> tuple[str, ...]:
    """Return the numbers (`snils`, `policy`) that prove two people: both valid, and different."""
    return tuple(
        field
        for field, problem in _PROBLEMS.items()
        if value(surviving, field) != value(merged, field)
        and not any(problem(str(value(each, field))) for each in (surviving, merged))
    )


def suggested(surviving: Patient, merged: Patient) -> frozenset[str]:
    """Return the fields that are better taken from the merged card: the surviving one has no valid value.

    A name takes the place of what stands for one («Неизвестный №3»), as a whole.
    """
    is_named, is_other_named = names.identifies(surviving.name), names.identifies(merged.name)
    better = {
        field
        for field in FIELDS
        if field != JOINED and value(merged, field) and _worth(merged, field) > _worth(surviving, field)
    }
    if surviving.birth_date:
        better.discard("birth_year")  # it says less
    if is_named and not is_other_named:
        better.difference_update(NAME)
    return frozenset(better.union(NAME) if is_other_named and not is_named else better)


def combine(surviving: Patient, merged: Patient, chosen: Collection[str]) -> Patient:
    """Return the card that stays, with the fields in `chosen` as the merged card has them; both cards' allergies."""
    taken = {field: value(merged, field) for field in FIELDS if field in chosen and field != JOINED}
    taken[JOINED] = identity.together(surviving.allergies, merged.allergies)
    result = with_values(surviving, taken)
    return replace(result, birth_year=None) if result.birth_date else result


def changes(before: Patient, after: Patient) -> dict[str, tuple[Value, Value]]:
    """Return what differs between two states of a card: field -> (before, after)."""
    pairs = {field: (value(before, field), value(after, field)) for field in FIELDS}
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}


def take_back(
    present: Patient, changed: Mapping[str, tuple[Value, Value]], later: Iterable[dict[str, tuple[Value, Value]]] = ()
) -> Patient:
    """Return a card without what a merge changed in it, unless it was changed since.

    `later` are the changes of merges that came after it, the oldest first: they stand, and what they are to be taken
    back to is corrected in place. Allergies: see `take_back_allergies` first.
    """
    restored: dict[str, Value] = {}
    newer = list(later)
    for field, (before, after) in changed.items():
        fact = _BORN if field in _BORN else (field,)
        following = next((each for each in newer if not each.keys().isdisjoint(fact)), None)
        if following is None:
            if all(value(present, each) == changed[each][1] for each in fact if each in changed):
                restored[field] = before
        elif following.setdefault(field, (after, after))[0] == after:
            following[field] = (before, following[field][1])
    return with_values(present, restored)


def take_back_allergies(
    present: str, before: str, after: str, later: Iterable[tuple[dict[str, tuple[Value, Value]], str]]
) -> str:
    """Return the allergies of a card without what a merge added to them, unless somebody has changed them since.

    `later` are the changes of merges that came after it, and the allergies of the cards merged then, the oldest first:
    their allergies stay, and their changes are corrected in place.
    """
    newer, expected = list(later), after
    for changed, _ in newer:
        if JOINED in changed:
            if changed[JOINED][0] != expected:
                return present
            expected = str(changed[JOINED][1])
    if present != expected:
        return present
    text = before
    for changed, own in newer:
        joined = identity.together(text, own)
        changed.pop(JOINED, None)
        if joined != text:
            changed[JOINED] = text, joined
        text = joined
    return text


def _worth(patient: Patient, field: str) -> int:
    found = value(patient, field)
    if not found:
        return 0
    return 1 if field in _PROBLEMS and _PROBLEMS[field](str(found)) else 2


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return names.fold(one) == names.fold(other)
    return one == other
