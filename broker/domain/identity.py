"""Whether two descriptions mean one person, and what becomes of what each of them says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from broker.domain import names
from broker.domain.people import Patient, Sex

NUMBERS = ("snils", "policy")  # fields of a patient that nobody else may have
_FILLED = ("snils", "policy", "phone", "weight", "height", "allergies", "pregnancy")

SHORTEST = 3  # letters of a truncated name that still identify


def contradictions(patient: Patient, name: str, patient_id: str, birth_date: str) -> list[str]:
    """Return the fields in which the patient that a modality reports contradicts this one; empty if none does.

    `name` is a PN and `birth_date` a DA as the device sent them, empty where it sent none. A name in other letters
    than ours (Latin, question marks) proves nothing; then a patient id that differs counts, beside the same name it
    does not: devices have numbers of their own.
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
    """Return the fields by which `typed` cannot be the known patient that was found: field -> problem code.

    `owners` are the patients (ids) who have the typed numbers, by field. A patient who was found by a number, not
    chosen, must bear the same name and date of birth: a slip of the finger must not rename somebody else.
    """
    problems = {}
    same_name = names.fold(str(known.name)) == names.fold(str(typed.name))
    if typed.id is None and not (same_name and known.birth_date in (None, typed.birth_date)):
        field = "snils" if known.snils and known.snils == typed.snils else "policy"
        problems[field if getattr(known, field) else "patient_id"] = "other_patient"
    return problems | {field: "other_patient" for field, owner in owners.items() if owner != known.id}


def merge(known: Patient, typed: Patient) -> Patient:
    """Return the known patient as it was typed; what was not typed of one who was found, not chosen, stays."""
    kept = () if typed.id is not None else [field for field in _FILLED if not getattr(typed, field)]
    return replace(
        typed,
        id=known.id,
        patient_id=known.patient_id,
        revision=known.revision,
        **{field: getattr(known, field) for field in kept},
    )


def difference(one: Patient, other: Patient) -> str:
    """Return what tells two patients apart, in words for a refusal: a name or a date of birth; "" if nothing does."""
    if names.fold(str(one.name)) != names.fold(str(other.name)):
        return "name"
    if one.birth_date and other.birth_date and one.birth_date != other.birth_date:
        return "date of birth"
    return ""


def fill_in(known: Patient, imported: Patient) -> Patient:
    """Return the known patient with what only the imported item says; a script renames nobody and removes nothing."""
    return replace(
        known,
        birth_date=known.birth_date or imported.birth_date,
        sex=known.sex if imported.sex is Sex.OTHER else imported.sex,
        weight=imported.weight or known.weight,
        height=imported.height or known.height,
        allergies=_together(known.allergies, names.tidy(imported.allergies)),
    )


def _together(known: str, imported: str) -> str:
    if names.fold(imported) in names.fold(known):
        return known
    return f"{known}; {imported}" if known else imported


def _same_name(patient: Patient, name: str) -> bool | None:
    """Compare names as far as the device sends them; None if they cannot be compared."""
    reported, known = names.from_dicom(name), patient.name
    if not reported.family.strip(" ?"):
        return None
    if names.is_cyrillic(reported.family) != names.is_cyrillic(known.family):
        return None
    family = _begins_alike(reported.family, known.family)
    given = not reported.given or not known.given or _begins_alike(reported.given, known.given, 1)
    return family and given


def _begins_alike(one: str, other: str, shortest: int = SHORTEST) -> bool:
    """Return True if one is the other, or its beginning: devices cut names, people write initials."""
    one, other = sorted((names.fold(one).rstrip(". "), names.fold(other).rstrip(". ")), key=len)
    return one == other or (len(one) >= shortest and other.startswith(one))
