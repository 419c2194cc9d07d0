"""Reads: what each reader found on a study's images. A page that shows them has to know who may see them.

Reports are another table (`reports`): what is sent, printed, searched and shown to others is never made of reads.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime

from broker.domain.patients.people import PersonName
from broker.domain.reading.opinions import Deferral, Finding, Opinion, Read
from broker.store import rows
from broker.store.database import Reader, Row, Tx
from broker.store.tables import orders


def of_order(reader: Reader, order_id: int) -> list[Read]:
    """Return all reads of an order, also those of former images and drafts, the oldest first."""
    return [from_row(row) for row in reader.rows("SELECT * FROM study_read WHERE order_id = ? ORDER BY id", [order_id])]


def of_report(reader: Reader, order_id: int) -> tuple[Read, ...]:
    """Return the final reads of which an order's signed report was made, where there were several; else none.

    Only doctors are shown their words; that there were several, and whose, stands on paper.
    """
    found = reader.rows(
        "SELECT r.* FROM study_read r JOIN orders o ON o.id = r.order_id AND r.patient_id = o.patient_id"
        " WHERE r.order_id = :order AND r.settled = 1 AND EXISTS (SELECT 1 FROM report p WHERE p.order_id = :order"
        "  AND p.state = 'signed') AND r.images = (SELECT max(images) FROM study_read WHERE order_id = :order"
        "  AND settled = 1) ORDER BY r.given_at, r.id",
        {"order": order_id},
    )
    made = [from_row(row) for row in found]
    together = [each for each in decided_together(reader, [order_id]) if made and _is_of(each, made[-1])]
    return (*made, *together) if len(made) > 1 else ()


def _is_of(read: Read, other: Read) -> bool:
    return (read.images, read.patient_id) == (other.images, other.patient_id)


def decided_together(reader: Reader, order_ids: Collection[int]) -> list[Read]:
    """Return what two readers who differed have decided together, each as the read of who wrote it."""
    found = reader.rows(
        "SELECT j.*, w.reader_family, w.reader_given, w.reader_middle, w.reader_snils, w.reader_position,"
        " c.reader_family AS with_family, c.reader_given AS with_given, c.reader_middle AS with_middle"
        " FROM joint_decision j JOIN study_read w ON w.order_id = j.order_id AND w.images = j.images"
        "  AND w.patient_id = j.patient_id AND w.reader = j.writer"
        " JOIN study_read c ON c.order_id = j.order_id AND c.images = j.images AND c.patient_id = j.patient_id"
        "  AND c.reader = j.confirmer"
        " WHERE j.confirmed_at IS NOT NULL AND j.order_id IN (SELECT value FROM json_each(?)) ORDER BY j.id",
        [json.dumps(list(order_ids))],
    )
    return [
        Read(
            order_id=row["order_id"],
            reader=row["writer"],
            reader_name=PersonName(row["reader_family"], row["reader_given"], row["reader_middle"]),
            reader_snils=row["reader_snils"],
            reader_position=row["reader_position"],
            opinion=opinion_of(row["opinion"]),
            **json.loads(row["said"]),
            images=row["images"],
            patient_id=row["patient_id"],
            arbitrates=True,
            decided_with=PersonName(row["with_family"], row["with_given"], row["with_middle"]),
            given_at=rows.instant(row["confirmed_at"]),
            stands_at=rows.instant(row["confirmed_at"]),
            revision=row["revision"],
            id=row["id"],
        )
        for row in found
    ]


def put(tx: Tx, read: Read) -> Read:
    """Insert a read, or write it over its older state; return it with its id and revision."""
    key = {"order_id": read.order_id, "images": read.images, "patient_id": read.patient_id, "reader": read.reader}
    values = key | {
        "reader_family": read.reader_name.family,
        "reader_given": read.reader_name.given,
        "reader_middle": read.reader_name.middle,
        "reader_snils": read.reader_snils,
        "reader_position": read.reader_position,
        "arbitrates": int(read.arbitrates),
        "opinion": json.dumps(asdict(read.opinion)) if read.opinion else "",
        "description": read.description,
        "conclusion": read.conclusion,
        "recommendations": read.recommendations,
        "effective_dose": read.effective_dose,
        "given_at": read.given_at.isoformat() if read.given_at else None,
        "stands_at": read.stands_at.isoformat() if read.stands_at else None,
    }
    rows.upsert(tx, "study_read", values, key=list(key), also="revision = revision + 1")
    [row] = tx.rows(
        "SELECT * FROM study_read WHERE order_id = ? AND images = ? AND patient_id = ? AND reader = ?",
        list(key.values()),
    )
    return from_row(row)


def make_final(tx: Tx, order_id: int) -> None:
    """Make an order's reads that stand by now final; the database refuses to change them since."""
    tx.run(
        "UPDATE study_read SET settled = 1 WHERE order_id = ? AND stands_at <= ? AND settled = 0",
        [order_id, tx.now.isoformat()],
    )


def due(reader: Reader, now: datetime) -> list[int]:
    """Return the orders (ids) with reads that stand since `now` (UTC) or earlier and are not final yet."""
    found = reader.rows(
        "SELECT DISTINCT order_id FROM study_read WHERE given_at IS NOT NULL AND settled = 0 AND stands_at <= ?",
        [now.isoformat()],
    )
    return [row["order_id"] for row in found]


def unsigned(reader: Reader) -> list[int]:
    """Return the orders (ids) that have as many final reads of one image set as they need, and no signed report.

    Some of them wait for a third reader, the others could not be signed while their images were in doubt.
    """
    found = reader.rows(
        "SELECT DISTINCT r.order_id FROM study_read r JOIN orders o ON o.id = r.order_id"
        " LEFT JOIN reading_needed n ON n.order_id = o.id"
        f" WHERE r.settled = 1 AND {orders.UNREPORTED} AND NOT EXISTS"
        "  (SELECT 1 FROM report p WHERE p.order_id = o.id AND p.state = 'signed')"
        " GROUP BY r.order_id, r.images, r.patient_id HAVING count(*) >= coalesce(n.reads, 1)"
    )
    return [row["order_id"] for row in found]


# ---- what is put aside ----


def deferral(reader: Reader, order_id: int) -> Deferral | None:
    """Return why an order was put aside, or None."""
    row = reader.one("SELECT * FROM reading_deferral WHERE order_id = ?", [order_id])
    return _deferral(row) if row else None


def deferrals(reader: Reader) -> list[Deferral]:
    """Return what was put aside, the oldest first."""
    return [_deferral(row) for row in reader.rows("SELECT * FROM reading_deferral ORDER BY at, order_id")]


def defer(tx: Tx, order_id: int, login: str, title: str, reason: str) -> None:
    """Put an order aside, or say another reason."""
    values = {
        "order_id": order_id,
        "reader": login,
        "reader_title": title,
        "reason": reason,
        "at": tx.now.isoformat(),
    }
    rows.upsert(tx, "reading_deferral", values, key=["order_id"])


def resume(tx: Tx, order_id: int) -> bool:
    """Put an order back on the lists; return False if it was there."""
    return bool(tx.change("DELETE FROM reading_deferral WHERE order_id = ?", [order_id]))


# ---- how many reads a study needs ----


def needed(reader: Reader, order_id: int) -> int:
    """Return how many reads an order needs: 1 or 2."""
    own = reader.value("SELECT reads FROM reading_needed WHERE order_id = ?", [order_id])
    return int(own) if own else 1 + int(is_double(reader, order_id))


def is_double(reader: Reader, order_id: int) -> bool:
    """Return True if an order's procedure is one that two doctors read."""
    found = reader.value(
        "SELECT 1 FROM orders o JOIN double_procedure d ON d.code = o.procedure_code WHERE o.id = ?", [order_id]
    )
    return found is not None


def set_needed(tx: Tx, order_id: int, reads: int, reason: str) -> None:
    """Write down how many reads an order needs, whatever its procedure's setting."""
    rows.upsert(tx, "reading_needed", {"order_id": order_id, "reads": reads, "reason": reason}, key=["order_id"])


def double_procedures(reader: Reader) -> frozenset[str]:
    """Return the codes of the procedures that two doctors read."""
    return frozenset(row["code"] for row in reader.rows("SELECT code FROM double_procedure"))


def set_double_procedures(tx: Tx, codes: Collection[str]) -> None:
    """Replace the procedures that two doctors read."""
    tx.run("DELETE FROM double_procedure")
    for code in sorted(codes):
        tx.run("INSERT INTO double_procedure (code) VALUES (?)", [code])


def from_row(row: Row) -> Read:
    """Return the Read of a row of its table."""
    return Read(
        order_id=row["order_id"],
        reader=row["reader"],
        reader_name=PersonName(row["reader_family"], row["reader_given"], row["reader_middle"]),
        reader_snils=row["reader_snils"],
        reader_position=row["reader_position"],
        opinion=opinion_of(row["opinion"]) if row["opinion"] else None,
        description=row["description"],
        conclusion=row["conclusion"],
        recommendations=row["recommendations"],
        effective_dose=row["effective_dose"],
        images=row["images"],
        patient_id=row["patient_id"],
        arbitrates=bool(row["arbitrates"]),
        given_at=rows.instant(row["given_at"]),
        stands_at=rows.instant(row["stands_at"]),
        revision=row["revision"],
        id=row["id"],
    )


def opinion_of(stored: str) -> Opinion:
    """Return the opinion that a column holds as JSON."""
    values = json.loads(stored)
    return Opinion(**values | {"finding": Finding(values["finding"])})


def _deferral(row: Row) -> Deferral:
    at = datetime.fromisoformat(row["at"])
    return Deferral(row["order_id"], row["reader"], row["reader_title"], row["reason"], at)
