"""Requests of ours for another clinic's opinion on a signed report, and what became of them."""

from __future__ import annotations

from broker.domain.errors import NotFound
from broker.domain.opinions.requests import OpinionOutcome, OpinionRequest
from broker.domain.orders import Priority
from broker.store import rows
from broker.store.database import Reader, Row, Tx
from broker.store.tables.studies import external_studies

_PLAIN = (
    "order_id",
    "number",
    "version",
    "partner",
    "question",
    "asked_by",
    "asked_by_title",
    "task",
    "bus_patient",
    "reason",
)
_INSTANTS = ("taken_at", "ended_at", "heeded_at")


def get(reader: Reader, id: int) -> OpinionRequest | None:
    """Return a request by its id, or None."""
    row = reader.one("SELECT * FROM opinion_request WHERE id = ?", [id])
    return from_row(row) if row else None


def require(reader: Reader, id: int) -> OpinionRequest:
    """Return a request by its id, or raise NotFound."""
    found = get(reader, id)
    if found is None:
        raise NotFound(f"opinion request {id}")
    return found


def of_task(reader: Reader, task: str) -> OpinionRequest | None:
    """Return the request with this Task on the bus, or None."""
    row = reader.one("SELECT * FROM opinion_request WHERE task = ? AND task <> ''", [task])
    return from_row(row) if row else None


def of_order(reader: Reader, order_id: int) -> list[OpinionRequest]:
    """Return all requests about an order, the newest first."""
    found = reader.rows("SELECT * FROM opinion_request WHERE order_id = ? ORDER BY number DESC", [order_id])
    return [from_row(row) for row in found]


def all_open(reader: Reader) -> list[OpinionRequest]:
    """Return the requests that wait for an answer, the oldest first."""
    found = reader.rows("SELECT * FROM opinion_request WHERE ended_at IS NULL ORDER BY asked_at, id")
    return [from_row(row) for row in found]


def unheeded(reader: Reader) -> list[OpinionRequest]:
    """Return what was answered or declined, and no doctor has seen yet, the oldest first."""
    found = reader.rows(
        "SELECT * FROM opinion_request WHERE outcome IN ('answered', 'declined') AND heeded_at IS NULL"
        " ORDER BY ended_at, id"
    )
    return [from_row(row) for row in found]


def was_asked(reader: Reader, partner: str) -> bool:
    """Return True if a clinic was asked before."""
    return bool(reader.value("SELECT 1 FROM opinion_request WHERE partner = ? LIMIT 1", [partner]))


def put(tx: Tx, request: OpinionRequest) -> OpinionRequest:
    """Insert a request, or write its newer state over it; return it with its id."""
    values: dict[str, object] = {name: getattr(request, name) for name in _PLAIN}
    values |= {name: at.isoformat() if (at := getattr(request, name)) else None for name in _INSTANTS}
    values |= {
        "asked_at": request.asked_at.isoformat(),
        "priority": request.priority,
        "outcome": request.outcome or "",
        "answer": external_studies.written(request.answer) if request.answer else "",
    }
    if request.id is None:
        return require(tx, rows.insert(tx, "opinion_request", values))
    rows.update(tx, "opinion_request", values, {"id": request.id})
    return require(tx, request.id)


def from_row(row: Row) -> OpinionRequest:
    """Return the OpinionRequest of a row of its table."""
    asked_at = rows.instant(row["asked_at"])
    assert asked_at is not None  # NOT NULL
    return OpinionRequest(
        **{name: row[name] for name in _PLAIN},
        taken_at=rows.instant(row["taken_at"]),
        ended_at=rows.instant(row["ended_at"]),
        heeded_at=rows.instant(row["heeded_at"]),
        asked_at=asked_at,
        priority=Priority(row["priority"]),
        outcome=OpinionOutcome(row["outcome"]) if row["outcome"] else None,
        answer=external_studies.read(row["answer"]) if row["answer"] else None,
        id=row["id"],
    )
