"""Compares two descriptions of a patient, and merges them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from broker.domain import names
from broker.domain.people import Patient, Sex

NUMBERS = ("snils", "policy")  # fields that are unique to a patient
_OPTIONAL = ("snils", "policy", "phone", "weight", "height", "allergies", "pregnancy")

MIN_TRUNCATED = 3  # characters of a truncated name that are enough to compare it


def contradictions(patient: Patient, name: str, patient_id: str, birth_date: str) -> list[str]:
    """Return the fields in which the patient that a modality reports contradicts this one; empty if none does.

    `name` is a PN and `birth_date` a DA as the device sent them, or empty. A name in another alphabet (Latin, question
    marks) cannot be compared. A different patient id counts unless the name is the same: devices have their own ids.
    """
    found = []
    same = _same_name(patient, name)
    if same is False:
        found.append("patient_name")
    if birth_date and patient.birth_date is not None and birth_date != f"{patient.birth_date:%Y%m%d}":
        found.append("patient_birth_date")
    if patient_id and patient_id != patient.patient_id and not same:
        found.append("patient_id")
    return found


def conflicts(known: Patient, typed: Patient, owners: Mapping[str, int]) -> dict[str, str]:
    """Return the fields in which `typed` contradicts the known patient that was found: field -> problem code.

    `owners`: field -> id of the patient who has the typed number. A patient who was found by a number, not chosen, must
    have the same name and date of birth: a typing error must not rename another patient.
    """
    problems = {}
    same_name = names.fold(str(known.name)) == names.fold(str(typed.name))
    if typed.id is None and not (same_name and known.birth_date in (None, typed.birth_date)):
        field = "snils" if known.snils and known.snils == typed.snils else "policy"
        problems[field if getattr(known, field) else "patient_id"] = "other_patient"
    return problems | {field: "other_patient" for field, owner in owners.items() if owner != known.id}


def merge(known: Patient, typed: Patient) -> Patient:
    """Return the known patient with the typed fields; empty ones stay if the patient was found, not chosen."""
    empty = () if typed.id is not None else [field for field in _OPTIONAL if not getattr(typed, field)]
    return replace(
        typed,
        id=known.id,
        patient_id=known.patient_id,
        revision=known.revision,
        **{field: getattr(known, field) for field in empty},
    )


def difference(one: Patient, other: Patient) -> str:
    """Return "name" or "date of birth" if two patients differ in it, in the words of a refusal; "" if they do not."""
    if names.fold(str(one.name)) != names.fold(str(other.name)):
        return "name"
    if one.birth_date and other.birth_date and one.birth_date != other.birth_date:
        return "date of birth"
    return ""


def fill_in(known: Patient, imported: Patient) -> Patient:
    """Return the known patient with fields of the imported item added; an import never renames or deletes."""
    return replace(
        known,
        birth_date=known.birth_date or imported.birth_date,
        sex=known.sex if imported.sex is Sex.OTHER else imported.sex,
        weight=imported.weight or known.weight,
        height=imported.height or known.height,
        allergies=_joined(known.allergies, names.tidy(imported.allergies)),
    )


def _joined(known: str, imported: str) -> str:
    if names.fold(imported) in names.fold(known):
        return known
    return f"{known}; {imported}" if known else imported


def _same_name(patient: Patient, name: str) -> bool | None:
    """Compare names as far as the device sends them; return None if they cannot be compared."""
    reported, known = names.from_dicom(name), patient.name
    if not reported.family.strip(" ?"):
        return None
    if names.is_cyrillic(reported.family) != names.is_cyrillic(known.family):
        return None
    family = _is_beginning(reported.family, known.family)
    given = not reported.given or not known.given or _is_beginning(reported.given, known.given, 1)
    return family and given


def _is_beginning(one: str, other: str, shortest: int = MIN_TRUNCATED) -> bool:
    """Return True if one name is the beginning of the other: devices truncate names, people write initials."""
    one, other = sorted((names.fold(one).rstrip(". "), names.fold(other).rstrip(". ")), key=len)
    return one == other or (len(one) >= shortest and other.startswith(one))
