"""Whether the patient that a modality names can be the one of the order that it names. Pure."""

from __future__ import annotations

from broker.domain import names
from broker.domain.people import Patient

SHORTEST = 3  # letters of a name cut by a device that still tell


def contradictions(patient: Patient, name: str, patient_id: str, birth_date: str) -> list[str]:
    """Name what a modality says of its patient that cannot be true of this one; empty where nothing contradicts.

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


def _same_name(patient: Patient, name: str) -> bool | None:
    """Compare names as far as the device gives them; None where they cannot be compared."""
    said, known = names.from_dicom(name), patient.name
    if not said.family.strip(" ?"):
        return None
    if names.is_cyrillic(said.family) != names.is_cyrillic(known.family):
        return None
    family = _begins_alike(said.family, known.family)
    given = not said.given or not known.given or _begins_alike(said.given, known.given, 1)
    return family and given


def _begins_alike(one: str, other: str, shortest: int = SHORTEST) -> bool:
    """Say whether one is the other, or its beginning: devices cut names, people write initials."""
    one, other = sorted((names.fold(one).rstrip(". "), names.fold(other).rstrip(". ")), key=len)
    return one == other or (len(one) >= shortest and other.startswith(one))
