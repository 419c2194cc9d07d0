"""What was not imported and waits for a person, with our card that it is about. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from broker.domain.import_result import ImportSource
from broker.domain.patients.people import Patient
from broker.store.database import Reader
from broker.store.tables import import_refusals, patients
from broker.store.tables.import_refusals import ImportRefusal

_ABOUT_CARDS = ("other_birth_date", "other_sex", "other_name", "number_of_another")


@dataclass(frozen=True, slots=True)
class RefusedImport:
    """A file or a row that was refused, and our patient whom it contradicts, if it does."""

    refusal: ImportRefusal
    known: Patient | None


@dataclass(frozen=True, slots=True)
class RefusedSummary:
    """How much was refused, and the first of it."""

    first: ImportRefusal
    files: int
    rows: int


def waiting(reader: Reader) -> list[RefusedImport]:
    """Return what waits for a person, file by file; the rows of a table in their order."""
    return [RefusedImport(each, _known(reader, each)) for each in import_refusals.waiting(reader)]


def summary(reader: Reader) -> RefusedSummary | None:
    """Return how much waits for a person, and the first of it; None if nothing does."""
    first, counts = import_refusals.waiting(reader, 1), import_refusals.counts(reader)
    if not first:
        return None
    return RefusedSummary(first[0], counts.get(ImportSource.WORKLIST_FILE, 0), counts.get(ImportSource.TABLE, 0))


def _known(reader: Reader, refusal: ImportRefusal) -> Patient | None:
    cards = [each.about for each in refusal.reasons if each.code in _ABOUT_CARDS]
    return patients.find_by(reader, "patient_id", cards[0]) if cards else None
