"""Whether a corrected card is still the same person's as it was. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from broker.domain.patients import identity, names, patient_match
from broker.domain.patients.people import Patient, PersonName

CONTRADICTS_MADE = "contradicts_made"  # a field makes another person of a card under which studies were made
CONTRADICTS_OTHERS = "contradicts_others"  # … of a card that has other orders, which would follow unseen


def contradictions(before: Patient, after: Patient) -> tuple[str, ...]:
    """Return which of `name`, `birth_date` and `sex` make another person of a card; empty if none does.

    A family name changes by marriage: where given name, patronymic, birth date and sex are the same, another one
    contradicts nothing. Nor does a name in the place of what stood for one, nor what was not known before.
    """
    fields = patient_match.contradictions(_without_numbers(before), _without_numbers(after))
    is_same_name = "name" not in fields or _is_completed(before.name, after.name) or _is_renamed(before, after)
    return tuple(field for field in fields if field != "name" or not is_same_name)


def _is_completed(before: PersonName, after: PersonName) -> bool:
    """Return True if a name takes the place of what stood for one, or of one name that it contains."""
    stated = [names.fold(part) for part in _parts(before)]
    is_one = len(stated) == 1 and stated[0] in [names.fold(part) for part in _parts(after)]
    return is_one or not names.identifies(before)


def _is_renamed(before: Patient, after: Patient) -> bool:
    """Return True if only the family name is another one, of somebody who was born on the same day."""
    renamed = replace(after, name=replace(after.name, family=before.name.family))
    is_born = None not in (before.born, after.born) and not identity.born_differently(before, after)
    is_same = not patient_match.contradictions(_without_numbers(before), _without_numbers(renamed))
    return is_born and is_same and bool(names.stated(after.name.given))


def _parts(name: PersonName) -> list[str]:
    return [part for part in map(names.stated, (name.family, name.given, name.middle)) if part]


def problems(fields: Iterable[str], code: str = CONTRADICTS_MADE) -> dict[str, str]:
    """Return the problems of a card that these fields make another person of, which must not be done there."""
    return dict.fromkeys(("family" if field == "name" else field for field in fields), code)


def _without_numbers(patient: Patient) -> Patient:
    return replace(patient, snils="", policy="")
