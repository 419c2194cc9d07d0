"""What was not imported and waits for a person, with our card that it is about, and which cards of imported items are
similar to others. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.domain.import_result import ImportPlace, ImportSource
from broker.domain.patients import patient_match
from broker.domain.patients.patient_match import Similarity
from broker.domain.patients.people import Patient
from broker.store.database import Reader
from broker.store.tables import import_refusals
from broker.store.tables.import_refusals import ImportRefusal
from broker.store.tables.patients import patients, similar_imports

_ABOUT_CARDS = ("other_birth_date", "other_sex", "other_name", "other_number", "number_of_another")


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


@dataclass(frozen=True, slots=True)
class SimilarCards:
    """The card of an imported item, and a card that was there and may be the same person's."""

    place: ImportPlace
    at: datetime  # UTC
    imported: Patient
    other: Patient
    similarity: Similarity | None  # None: the same data
    is_former: bool  # they are not alike as they are now, but were


@dataclass(frozen=True, slots=True)
class SimilarSummary:
    """How many pairs of cards wait, and the first of them."""

    first: SimilarCards
    count: int


def similar(reader: Reader, limit: int = -1) -> list[SimilarCards]:
    """Return the pairs of cards that wait for a person to merge them or to say that they are two people's."""
    found = []
    for each in similar_imports.waiting(reader, limit):
        imported, other = patients.get(reader, each.patient_id), patients.get(reader, each.other_id)
        if imported and other:
            now = patient_match.similar_cards(imported, [other])
            why = now[0].similarity if now else None
            found.append(SimilarCards(each.place, each.at, imported, other, why, is_former=not now))
    return found


def similar_summary(reader: Reader) -> SimilarSummary | None:
    """Return how many pairs of cards wait, and the first of them; None if none does."""
    first = similar(reader, 1)
    return SimilarSummary(first[0], similar_imports.count(reader)) if first else None


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
