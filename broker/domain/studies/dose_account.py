"""The account of a year's doses, for the form 3-ДОЗ: procedures by kind, body site and age, with their doses. Pure.

The numbers of the form's rows are not known here: the administrator gives each procedure a row of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

ADULT = 18  # years
_IONISING = frozenset({"DX", "CR", "RG", "MG", "RF", "XA", "IO", "PX", "BMD", "CT", "NM", "PT"})


class DoseOrigin(StrEnum):
    """How the effective dose of a study is known."""

    TYPED = "typed"  # by a person, over what was calculated
    CALCULATED = "calculated"  # of what the device measured
    TYPICAL = "typical"  # a value for the procedure
    NONE = "none"


class AgeGroup(StrEnum):
    """The age on the day of a study, in groups of the form."""

    CHILD = "0-17"
    ADULT = "18+"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class AccountedStudy:
    """A study that was performed here, as the account needs it."""

    modality: str
    body_site: str  # code
    age: int | None
    origin: DoseOrigin
    millisieverts: float | None
    form_row: str = ""  # of the procedure, as the administrator names it


@dataclass(frozen=True, slots=True)
class AccountRow:
    """The studies of one kind, body site and age group."""

    form_row: str
    modality: str
    body_site: str
    age_group: AgeGroup
    typed: int
    calculated: int
    typical: int
    none: int
    millisieverts: float  # in all, of those whose dose is known

    @property
    def procedures(self) -> int:
        """Return how many studies there are."""
        return self.typed + self.calculated + self.typical + self.none

    @property
    def mean(self) -> float | None:
        """Return the mean dose of those whose dose is known, mSv; None if there are none."""
        known = self.procedures - self.none
        return float(f"{self.millisieverts / known:.4g}") if known else None


def is_ionising(modality: str) -> bool:
    """Return True if studies of a modality irradiate the patient."""
    return modality in _IONISING


def account(studies: Iterable[AccountedStudy]) -> list[AccountRow]:
    """Return the account of these studies, those without ionising radiation left out."""
    groups: dict[tuple[str, str, str, AgeGroup], list[AccountedStudy]] = {}
    for each in studies:
        if is_ionising(each.modality):
            groups.setdefault((each.form_row, each.modality, each.body_site, _group(each.age)), []).append(each)
    return [_row(key, found) for key, found in sorted(groups.items())]


def _row(key: tuple[str, str, str, AgeGroup], found: list[AccountedStudy]) -> AccountRow:
    origins = [each.origin for each in found]
    total = sum(each.millisieverts or 0.0 for each in found)
    return AccountRow(
        *key,
        typed=origins.count(DoseOrigin.TYPED),
        calculated=origins.count(DoseOrigin.CALCULATED),
        typical=origins.count(DoseOrigin.TYPICAL),
        none=origins.count(DoseOrigin.NONE),
        millisieverts=float(f"{total:.10g}"),
    )


def _group(age: int | None) -> AgeGroup:
    if age is None:
        return AgeGroup.UNKNOWN
    return AgeGroup.ADULT if age >= ADULT else AgeGroup.CHILD
