"""Reports: what doctors say of studies; the database itself refuses to change one that was signed."""

from __future__ import annotations

from datetime import datetime

from broker.domain.people import PersonName
from broker.domain.reports import Report, ReportState
from broker.store.database import Reader, Row, Tx
from broker.store.tables import audit


def get(reader: Reader, id: int) -> Report | None:
    """Give a report by its id, or None."""
    row = reader.one("SELECT * FROM report WHERE id = ?", [id])
    return from_row(row) if row else None


def of_order(reader: Reader, order_id: int) -> Report | None:
    """Give the first reading's report on an order, draft or signed, or None."""
    row = reader.one("SELECT * FROM report WHERE order_id = ? ORDER BY reading LIMIT 1", [order_id])
    return from_row(row) if row else None


def signed(reader: Reader, order_id: int) -> Report | None:
    """Give the signed report on an order, or None: a draft is nobody's word yet."""
    row = reader.one(
        "SELECT * FROM report WHERE order_id = ? AND state = 'signed' ORDER BY reading LIMIT 1", [order_id]
    )
    return from_row(row) if row else None


def doubted(reader: Reader, order_id: int) -> bool:
    """Say whether images were taken away from an order after its report was signed, and no doctor has looked since."""
    newest = audit.newest(reader, order_id, ("report_sign", "report_uphold", "unlink", "wrong_entry"))
    return newest in ("unlink", "wrong_entry") and signed(reader, order_id) is not None


def put(tx: Tx, report: Report) -> Report:
    """Keep a report as it is now, over its older self; give it with what the store adds: id, revision, `saved_at`.

    The order of a signed one no longer waits for its report.
    """
    values = {
        "order_id": report.order_id,
        "reading": report.reading,
        "state": report.state,
        "description": report.description,
        "conclusion": report.conclusion,
        "recommendations": report.recommendations,
        "effective_dose": report.effective_dose,
        "author": report.author,
        "author_family": report.author_name.family,
        "author_given": report.author_name.given,
        "author_middle": report.author_name.middle,
        "author_snils": report.author_snils,
        "author_position": report.author_position,
        "saved_at": tx.now.isoformat(),
        "signed_at": report.signed_at.isoformat() if report.signed_at else None,
    }
    id = tx.value(
        f"INSERT INTO report ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})"
        " ON CONFLICT (order_id, reading) DO UPDATE SET revision = revision + 1, "
        + ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("order_id", "reading"))
        + " RETURNING id",
        values,
    )
    if report.state is ReportState.SIGNED:
        tx.run("UPDATE orders SET reported = 1 WHERE id = ?", [report.order_id])
    kept = get(tx, id)
    assert kept is not None
    return kept


def from_row(row: Row) -> Report:
    """Make a Report of a row of its table."""
    return Report(
        id=row["id"],
        order_id=row["order_id"],
        reading=row["reading"],
        state=ReportState(row["state"]),
        description=row["description"],
        conclusion=row["conclusion"],
        recommendations=row["recommendations"],
        effective_dose=row["effective_dose"],
        author=row["author"],
        author_name=PersonName(row["author_family"], row["author_given"], row["author_middle"]),
        author_snils=row["author_snils"],
        author_position=row["author_position"],
        saved_at=datetime.fromisoformat(row["saved_at"]),
        signed_at=datetime.fromisoformat(row["signed_at"]) if row["signed_at"] else None,
        revision=row["revision"],
    )
