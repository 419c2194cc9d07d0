"""Patients of whom something is not known yet: an unidentified person, a newborn without a name, one name only, no
birth date. Pure.

They are registered and stand on the worklist like everybody; only the region's patient index does not take them. An
unidentified person («Неизвестный №3») and a newborn («Иванова новорождённая») are known by the words of their names, on
whatever way these came, so that a corrected name is enough to make somebody an ordinary patient. Such a name does not
identify: HL7 calls it an alias (table 0445, AL).
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from broker.domain.patients import names
from broker.domain.patients.people import Patient, PersonName, Sex


class Missing(StrEnum):
    """What the region's patient index demands of a patient, and is not known."""

    IDENTITY = "identity"  # it is not known who this is
    CHILD_NAME = "child_name"  # a newborn has no name of its own yet
    ONE_NAME = "one_name"  # a family name or a given name, not both
    BIRTH_DATE = "birth_date"  # unknown, or only the year is known


def missing(patient: Patient) -> tuple[Missing, ...]:
    """Return what is to be completed before the region can be sent this patient; empty if nothing is."""
    found = []
    if names.is_unidentified(patient.name):
        found.append(Missing.IDENTITY)
    elif names.is_newborn(patient.name):
        found.append(Missing.CHILD_NAME)
    elif not (names.stated(patient.name.family) and names.stated(patient.name.given)):
        found.append(Missing.ONE_NAME)
    if patient.birth_date is None:
        found.append(Missing.BIRTH_DATE)
    return tuple(found)


def unidentified_name(sex: Sex | None) -> PersonName:
    """Return the name under which an unidentified person is registered; `numbered` makes it unique."""
    return PersonName("Неизвестная" if sex is Sex.FEMALE else "Неизвестный")


def newborn_name(mother: PersonName, sex: Sex | None) -> PersonName:
    """Return the name under which a newborn is registered: the mother's family name, and whose child it is.

    Newborns who bear the family name alone are mixed up; the mother's own name in theirs prevents a third
    of it (Adelman et al., Pediatrics 2015; Joint Commission NPSG.01.01.01).
    """
    child = "новорождённая" if sex is Sex.FEMALE else "новорождённый"
    return PersonName(mother.family, child, f"мать {mother.given}" if mother.given else "")


def numbered(name: PersonName, number: str, *, is_taken: bool = False) -> PersonName:
    """Return what stands in the place of a name with a number of its own, where two could not be kept apart.

    An unidentified person has one, unless it was given already; a newborn if another one bears the same name
    (`is_taken`). Two who are examined on one day must not bear the same name on the screen of a device.
    """
    is_kept_apart = names.is_newborn(name) or any(char.isdigit() for char in str(name))
    if names.identifies(name) or (is_kept_apart and not is_taken):
        return name
    return replace(name, given=f"{name.given} №{number}".strip())
