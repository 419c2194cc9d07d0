"""Patients and names of people. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Sex(StrEnum):
    """Patient's Sex (0010,0040)."""

    MALE = "M"
    FEMALE = "F"
    OTHER = "O"


@dataclass(frozen=True, slots=True)
class PersonName:
    """A person's name by component; DICOM's prefix and suffix are not used in Russian clinics."""

    family: str
    given: str = ""
    middle: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.family, self.given, self.middle) if part)


NO_NAME = PersonName("")


@dataclass(frozen=True, slots=True)
class Patient:
    """A person who is examined here."""

    name: PersonName
    birth_date: date | None  # None: unknown, or only the year is known
    sex: Sex
    patient_id: str = ""  # Patient ID (0010,0020): the clinic's own card number, generated if empty
    snils: str = ""  # 11 digits
    policy: str = ""  # ЕНП, 16 digits
    insurer: str = ""  # of the policy: a code as `identifiers.insurer` writes it, or a name; does not identify
    phone: str = ""
    weight: float | None = None  # kg
    height: float | None = None  # cm
    allergies: str = ""
    pregnancy: str = ""  # Pregnancy Status (0010,21C0) in words; empty when it was not asked
    birth_year: int | None = None  # where no more is known of the birth date; never sent as a date
    mother: str = ""  # of a newborn who is registered by its mother: her name, and what else is known of her
    id: int | None = None  # None: typed, and not known to be one of ours
    revision: int = 0

    @property
    def born(self) -> date | int | None:
        """Return the birth date, or the year alone; None if neither is known."""
        return self.birth_date or self.birth_year

    @property
    def year_of_birth(self) -> int | None:
        """Return the year of birth, None if it is not known."""
        return self.birth_date.year if self.birth_date else self.birth_year

    @property
    def stored_id(self) -> int:
        """The id of a patient whom the store returned; raise ValueError for one who was only typed."""
        if self.id is None:
            raise ValueError("a patient who is not stored has no id")
        return self.id
