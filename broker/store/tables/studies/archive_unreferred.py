"""Studies of the image archive that belong to no order, as far as the archive and the orders tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from broker.domain.errors import NotFound
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyState, StudyKey
from broker.store import rows
from broker.store.database import Reader, Row, Tx
from broker.store.tables.studies.archive import study_columns, study_from_row


@dataclass(frozen=True, slots=True)
class UnreferredStudy:
    """A study in the archive that bears no order's UID and no order's number."""

    id: int
    study: ArchiveStudy
    first_at: datetime  # UTC: since when it is known
    state: DiscrepancyState = DiscrepancyState.OPEN  # never ACCEPTED: it is an order's then


def find(reader: Reader, id: int) -> UnreferredStudy | None:
    """Return a study without an order; None if there is none with this id, or none any more."""
    row = reader.one("SELECT * FROM archive_unreferred WHERE id = ?", [id])
    return from_row(row) if row else None


def require(reader: Reader, id: int) -> UnreferredStudy:
    """Return a study without an order; raise NotFound."""
    found = find(reader, id)
    if found is None:
        raise NotFound(f"study without an order {id}")
    return found


def set_of_day(tx: Tx, on: date, found: Iterable[ArchiveStudy]) -> bool:
    """Make these the studies without an order of a day; return True if that changed anything.

    What is not among them any more is forgotten; what a person decided stays.
    """
    known = {each.study.key: each for each in _of_day(tx, on)}
    wanted = {each.key: each for each in found}
    changed = False
    for key, gone in known.items():
        if key not in wanted and gone.state is DiscrepancyState.OPEN:
            remove(tx, gone.id)
            changed = True
    for key, each in wanted.items():
        before = known.get(key)
        if before is not None and before.study == each:
            continue
        values = {**study_columns(each), "studied_on": on.isoformat(), "first_at": tx.now.isoformat()}
        rows.upsert(tx, "archive_unreferred", values, StudyKey._fields, once=("first_at",))
        changed = changed or before is None or before.state is DiscrepancyState.OPEN
    return changed


def forget_before(tx: Tx, on: date) -> None:
    """Forget the studies of the days before this one."""
    tx.run("DELETE FROM archive_unreferred WHERE studied_on < ?", [on.isoformat()])


def remove(tx: Tx, id: int) -> None:
    """Forget a study: it is an order's now, or it is gone."""
    tx.run("DELETE FROM archive_unreferred WHERE id = ?", [id])


def decide(tx: Tx, id: int, state: DiscrepancyState, by: str) -> None:
    """Write down what a person says of a study."""
    values = {"state": state, "decided_at": tx.now.isoformat(), "decided_by": by}
    rows.update(tx, "archive_unreferred", values, {"id": id})


def from_row(row: Row) -> UnreferredStudy:
    """Return the UnreferredStudy of a row of its table."""
    state = DiscrepancyState(row["state"])
    return UnreferredStudy(row["id"], study_from_row(row), datetime.fromisoformat(row["first_at"]), state)


def _of_day(reader: Reader, on: date) -> Collection[UnreferredStudy]:
    found = reader.rows("SELECT * FROM archive_unreferred WHERE studied_on = ?", [on.isoformat()])
    return [from_row(row) for row in found]
