"""What was not imported, and why, until it is imported or a person says that it need not be."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from broker.domain.import_result import ImportSource, Reason
from broker.domain.patients.people import Patient
from broker.store import rows
from broker.store.database import Reader, Row, Tx


@dataclass(frozen=True, slots=True)
class ImportRefusal:
    """One worklist file, or one row of a table, as it was refused."""

    source: ImportSource
    path: str  # of the worklist file, or of the table
    row: int  # of the table; 0: a worklist file
    digest: str  # of the content that was refused
    reasons: tuple[Reason, ...]
    patient_name: str = ""  # as far as it could be read, as the next two
    birth_date: str = ""  # YYYY-MM-DD
    patient_id: str = ""
    id: int = 0
    at: datetime | None = None  # UTC

    def says_the_same(self, other: ImportRefusal) -> bool:
        """Return True if the same content was refused for the same reasons."""
        return (self.digest, self.reasons) == (other.digest, other.reasons)

    def of(self, patient: Patient) -> ImportRefusal:
        """Return this with the patient whom it names."""
        born = patient.birth_date.isoformat() if patient.birth_date else ""
        return replace(self, patient_name=str(patient.name), birth_date=born, patient_id=patient.patient_id)


def put(tx: Tx, refusal: ImportRefusal) -> bool:
    """Keep what was refused; return False if the same content was refused for the same reasons before.

    What a person has dismissed stays dismissed until the content or the reasons are others.
    """
    place = [refusal.source, refusal.path, refusal.row]
    known = tx.one("SELECT * FROM import_refusal WHERE source = ? AND path = ? AND row = ?", place)
    reasons = json.dumps([asdict(each) for each in refusal.reasons], ensure_ascii=False)
    if known and (known["digest"], known["reasons"]) == (refusal.digest, reasons):
        return False
    values = {name: value for name, value in asdict(refusal).items() if name not in ("id", "at")}
    values |= {"reasons": reasons, "at": tx.now.isoformat(), "dismissed_at": None, "dismissed_by": ""}
    rows.upsert(tx, "import_refusal", values, key=["source", "path", "row"])
    return True


def remove(tx: Tx, source: ImportSource, path: str, *, but: Collection[int] = ()) -> int:
    """Forget what was refused of a file, or all rows of a table except those in `but`; return how many were open."""
    place = {"source": source, "path": path, "but": json.dumps(list(but))}
    of_path = "source = :source AND path = :path AND row NOT IN (SELECT value FROM json_each(:but))"
    count = int(tx.value(f"SELECT count(*) FROM import_refusal WHERE {of_path} AND dismissed_at IS NULL", place))
    tx.run(f"DELETE FROM import_refusal WHERE {of_path}", place)
    return count


def dismiss(tx: Tx, seen: Collection[ImportRefusal], by: str) -> list[ImportRefusal]:
    """Note who has said that these need not be imported; return those that were open, and are as they were seen."""
    known = {each.id: each for each in seen}
    found = [each for each in waiting(tx) if each.id in known and each.says_the_same(known[each.id])]
    tx.run(
        "UPDATE import_refusal SET dismissed_at = ?, dismissed_by = ? WHERE id IN (SELECT value FROM json_each(?))",
        [tx.now.isoformat(), by, json.dumps([each.id for each in found])],
    )
    return found


def waiting(reader: Reader, limit: int = -1) -> list[ImportRefusal]:
    """Return what waits for a person, file by file, at most `limit` of it; the rows of a table in their order."""
    found = reader.rows(
        "SELECT * FROM import_refusal WHERE dismissed_at IS NULL ORDER BY source DESC, path, row LIMIT ?", [limit]
    )
    return [_from_row(row) for row in found]


def counts(reader: Reader) -> dict[ImportSource, int]:
    """Return how many wait for a person."""
    found = reader.rows("SELECT source, count(*) AS n FROM import_refusal WHERE dismissed_at IS NULL GROUP BY source")
    return {ImportSource(row["source"]): row["n"] for row in found}


def _from_row(row: Row) -> ImportRefusal:
    return ImportRefusal(
        source=ImportSource(row["source"]),
        path=row["path"],
        row=row["row"],
        digest=row["digest"],
        reasons=tuple(Reason(**each) for each in json.loads(row["reasons"])),
        patient_name=row["patient_name"],
        birth_date=row["birth_date"],
        patient_id=row["patient_id"],
        id=row["id"],
        at=datetime.fromisoformat(row["at"]),
    )
