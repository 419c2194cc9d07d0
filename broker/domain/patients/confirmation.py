"""What a person has seen and confirmed before images and a patient that contradict each other are joined. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.domain.errors import Invalid, Stale
from broker.domain.patients.people import Patient


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A person was shown this patient and these fields that contradict, and has said that it is the one meant."""

    patient: Patient  # as it was shown; one without an id was only typed
    fields: tuple[str, ...] = ()


def check(patient: Patient, wrong: Iterable[str], confirmed: Confirmation | None) -> None:
    """Raise unless what contradicts in a patient, as it is now, is what a person has confirmed.

    Stale: it is another patient by now, or one with another name, birth date, mother, sex or number. Invalid: there are
    fields that contradict and were not confirmed.
    """
    if confirmed is not None and _who(confirmed.patient) != _who(patient):
        raise Stale(f"patient {patient.patient_id}")
    seen = confirmed.fields if confirmed else ()
    if unseen := [field for field in wrong if field not in seen]:
        raise Invalid(dict.fromkeys(unseen, "contradicts"))


def _who(patient: Patient) -> tuple[object, ...]:
    born = patient.birth_date, patient.birth_year, patient.mother
    return patient.id, patient.patient_id, patient.name, born, patient.sex, patient.snils, patient.policy
