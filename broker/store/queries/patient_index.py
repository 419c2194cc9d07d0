"""The patient index: who of ours somebody is who was described, not chosen."""

from __future__ import annotations

from broker.domain import patient_match
from broker.domain.patient_match import PatientMatch, SimilarCard
from broker.domain.people import Patient
from broker.store.database import Reader
from broker.store.tables import patient_merges, patients


def match(reader: Reader, person: Patient) -> PatientMatch:
    """Return who of ours a person is; see `domain.patient_match` for the rules.

    For a stored person (`person.id`), cards that were declared to be another person's are not similar.
    """
    person = patients.with_current_number(reader, person)
    different = patient_merges.different(reader, person.id) if person.id is not None else frozenset()
    return patient_match.match(person, patients.candidates(reader, person), different)


def similar_cards(reader: Reader, patient: Patient) -> list[SimilarCard]:
    """Return the other cards that may be this patient's, with the reasons, and without those that are not."""
    others = [each for each in patients.candidates(reader, patient) if each.id != patient.id]
    return patient_match.similar_cards(patient, others, patient_merges.different(reader, patient.stored_id))
