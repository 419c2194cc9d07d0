"""Cards that imports made although a similar one was there, until they are merged or known to be two people's."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from broker.domain.import_result import ImportPlace, ImportSource
from broker.store.database import Reader, Row, Tx


@dataclass(frozen=True, slots=True)
class SimilarImport:
    """A card that came of an import, and the card that was there."""

    id: int
    patient_id: int
    other_id: int
    place: ImportPlace
    at: datetime  # UTC


def put(tx: Tx, patient_id: int, other_ids: Collection[int], place: ImportPlace) -> None:
    """Note that the card of an imported item is similar to these; what was noted of two cards before stays."""
    for other_id in other_ids:
        tx.run(
            "INSERT OR IGNORE INTO similar_import (patient_id, other_id, source, path, row, at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [patient_id, other_id, place.source, place.path, place.row, tx.now.isoformat()],
        )


def review(tx: Tx, patient_ids: Collection[int]) -> None:
    """Settle what is noted of these cards where one is merged, or declared to be another person's; reopen the rest."""
    tx.run(
        "UPDATE similar_import SET settled_at = CASE WHEN"
        " EXISTS (SELECT 1 FROM patient p WHERE p.id IN (similar_import.patient_id, similar_import.other_id)"
        " AND p.merged_into IS NOT NULL) OR EXISTS (SELECT 1 FROM patient_difference d"
        " WHERE d.one_id = min(similar_import.patient_id, similar_import.other_id)"
        " AND d.other_id = max(similar_import.patient_id, similar_import.other_id)) THEN :now END"
        " WHERE patient_id IN (SELECT value FROM json_each(:ids)) OR other_id IN (SELECT value FROM json_each(:ids))",
        {"now": tx.now.isoformat(), "ids": json.dumps(list(patient_ids))},
    )


def waiting(reader: Reader, limit: int = -1) -> list[SimilarImport]:
    """Return what waits for a person, file by file, at most `limit` of it."""
    found = reader.rows(
        "SELECT * FROM similar_import WHERE settled_at IS NULL ORDER BY source DESC, path, row, id LIMIT ?", [limit]
    )
    return [_from_row(row) for row in found]


def count(reader: Reader) -> int:
    """Return how many pairs of cards wait for a person."""
    return int(reader.value("SELECT count(*) FROM similar_import WHERE settled_at IS NULL"))


def _from_row(row: Row) -> SimilarImport:
    return SimilarImport(
        id=row["id"],
        patient_id=row["patient_id"],
        other_id=row["other_id"],
        place=ImportPlace(ImportSource(row["source"]), row["path"], row["row"]),
        at=datetime.fromisoformat(row["at"]),
    )
