"""The patient index: who of ours somebody is who was described, not chosen."""

from __future__ import annotations

from broker.domain import patient_match
from broker.domain.patient_match import PatientMatch
from broker.domain.people import Patient
from broker.store.database import Reader
from broker.store.tables import patients


def match(reader: Reader, person: Patient) -> PatientMatch:
    """Return who of ours a person is; see `domain.patient_match` for the rules."""
    return patient_match.match(person, patients.candidates(reader, person))
