"""Over-reads: requests to read a signed report over, and their answers; the database keeps what was answered."""

from __future__ import annotations

from broker.domain.errors import NotFound
from broker.domain.reading.over_reads import OverRead, OverReadOutcome, OverReadText
from broker.store import rows
from broker.store.database import Reader, Row, Tx

_TEXTS = ("order_id", "version", "asked_by", "asked_by_title", "asked_of", "asked_of_title", "question", "reason")
_ENDS = ("ended_by", "ended_by_title")
_SAID = ("description", "conclusion", "recommendations")


def require(reader: Reader, id: int) -> OverRead:
    """Return an over-read by its id, or raise NotFound."""
    row = reader.one("SELECT * FROM over_read WHERE id = ?", [id])
    if row is None:
        raise NotFound(f"over-read {id}")
    return from_row(row)


def of_order(reader: Reader, order_id: int) -> list[OverRead]:
    """Return all over-reads of an order's report, the newest first."""
    found = reader.rows("SELECT * FROM over_read WHERE order_id = ? ORDER BY id DESC", [order_id])
    return [from_row(row) for row in found]


def open_of(reader: Reader, order_id: int) -> OverRead | None:
    """Return the request that an order's report has open, or None."""
    row = reader.one("SELECT * FROM over_read WHERE order_id = ? AND ended_at IS NULL", [order_id])
    return from_row(row) if row else None


def all_open(reader: Reader) -> list[OverRead]:
    """Return the requests that wait for an answer, the oldest first."""
    found = reader.rows("SELECT * FROM over_read WHERE ended_at IS NULL ORDER BY asked_at, id")
    return [from_row(row) for row in found]


def unheeded(reader: Reader, login: str) -> list[OverRead]:
    """Return what was answered or declined, and who asked has not seen yet, the oldest first."""
    found = reader.rows(
        "SELECT * FROM over_read WHERE asked_by = ? AND outcome IN ('agrees', 'differs', 'declined')"
        " AND heeded_at IS NULL ORDER BY ended_at, id",
        [login],
    )
    return [from_row(row) for row in found]


def put(tx: Tx, over_read: OverRead) -> OverRead:
    """Insert a request, or write its newer state over it; return it with its id."""
    values = {name: getattr(over_read, name) for name in (*_TEXTS, *_ENDS)}
    values |= {name: getattr(over_read.said, name) for name in _SAID}
    values |= {
        "outcome": over_read.outcome or "",
        "asked_at": over_read.asked_at.isoformat(),
        "ended_at": over_read.ended_at.isoformat() if over_read.ended_at else None,
        "heeded_at": over_read.heeded_at.isoformat() if over_read.heeded_at else None,
    }
    if over_read.id is None:
        return require(tx, rows.insert(tx, "over_read", values))
    rows.update(tx, "over_read", values, {"id": over_read.id})
    return require(tx, over_read.id)


def heed(tx: Tx, id: int) -> None:
    """Note that who asked has seen what became of a request."""
    tx.run("UPDATE over_read SET heeded_at = ? WHERE id = ? AND heeded_at IS NULL", [tx.now.isoformat(), id])


def from_row(row: Row) -> OverRead:
    """Return the OverRead of a row of its table."""
    asked_at = rows.instant(row["asked_at"])
    assert asked_at is not None  # NOT NULL
    return OverRead(
        **{name: row[name] for name in (*_TEXTS, *_ENDS)},
        asked_at=asked_at,
        outcome=OverReadOutcome(row["outcome"]) if row["outcome"] else None,
        said=OverReadText(*(row[name] for name in _SAID)),
        ended_at=rows.instant(row["ended_at"]),
        heeded_at=rows.instant(row["heeded_at"]),
        id=row["id"],
    )
