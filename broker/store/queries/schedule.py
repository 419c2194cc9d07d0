"""Visits: scheduled steps with the state of their order. Reads only.

Dates and times of the clinic's work are local; instants are aware UTC datetimes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from broker.domain.orders import Order, OrderState
from broker.domain.studies.performed import PerformedStep
from broker.store.database import Reader, Row
from broker.store.queries.patients import patient_search
from broker.store.queries.patients.patient_search import Selection
from broker.store.rows import instant
from broker.store.tables import orders
from broker.store.tables.studies import archive, performed

_NEWEST = 500  # visits that are looked through, the newest first, where more match than are listed


@dataclass(frozen=True, slots=True)
class Visit:
    """One scheduled step, with the state of its order."""

    order: Order
    start: datetime
    station_ae_titles: tuple[str, ...]
    since: datetime  # UTC: since when the order is in its state
    seen_at: datetime | None  # UTC: when its own device first got it on its list
    bus: str  # '' (nothing to send), 'pending', 'needs_attention' or 'delivered'
    reported: bool = False  # its report is signed
    doubtful: bool = False  # a person must decide whose images these are
    has_images: bool = False  # the archive has images or, where it was not asked yet, a device has reported them
    archived: bool = False  # the archive has them

    @property
    def delivered(self) -> bool:
        """Return True if the study was performed, is not doubtful, and the bus has accepted everything about it."""
        return self.bus == "delivered" and self.order.state is OrderState.COMPLETED and not self.doubtful


SELECT_VISITS = (
    "SELECT s.order_id, s.start, o.state_since, o.reported,"
    " (SELECT min(d.at) FROM worklist_delivery d JOIN scheduled_step_station t ON t.step_id = d.step_id"
    " AND t.ae_title = d.ae_title WHERE d.step_id = s.id) AS seen,"  # by its own device only
    " (SELECT group_concat(ae_title, char(10)) FROM"
    " (SELECT ae_title FROM scheduled_step_station WHERE step_id = s.id ORDER BY position)) AS stations,"
    " (SELECT CASE WHEN sum(state = 'needs_attention') THEN 'needs_attention'"
    " WHEN sum(state = 'pending') THEN 'pending'"
    " WHEN sum(state = 'delivered') THEN 'delivered' ELSE '' END FROM outbox b WHERE b.order_id = s.order_id) AS bus,"
    " (SELECT max(l.conflict <> '') || ' ' || max(p.images > 0) || ' ' || max(p.source = 'archive')"
    " FROM performed_step_link l JOIN performed_step p ON p.id = l.performed_step_id"
    " WHERE l.scheduled_step_id = s.id AND p.state <> 'DISCONTINUED') AS evidence,"
    f" (SELECT EXISTS ({archive.DISPUTED.format(order='s.order_id')})) AS disputed,"
    " (SELECT a.images IS NOT 0 FROM archive_study a WHERE a.order_id = s.order_id) AS in_archive"  # NULL: not asked
    " FROM scheduled_step s JOIN orders o ON o.id = s.order_id "
)


def day(reader: Reader, on: date, ae_title: str = "") -> list[Visit]:
    """Return the visits of a day, on one device or on all, by time; also cancelled ones."""
    rows = reader.rows(
        SELECT_VISITS + "WHERE s.start >= ?1 AND s.start < ?2 AND (?3 = '' OR EXISTS"
        " (SELECT 1 FROM scheduled_step_station t WHERE t.step_id = s.id AND t.ae_title = ?3))"
        " ORDER BY s.start, s.id",
        [on.isoformat(), (on + timedelta(days=1)).isoformat(), ae_title],
    )
    return from_rows(reader, rows)


def recent(reader: Reader, created_since: datetime, limit: int = 5) -> list[Visit]:
    """Return the orders that were registered last, newest first."""
    rows = reader.rows(
        SELECT_VISITS + "WHERE o.id > (SELECT coalesce(max(id), 0) - 500 FROM orders) AND o.authored_on >= ?"
        " ORDER BY o.id DESC LIMIT ?",
        [created_since.isoformat(), limit],
    )
    return from_rows(reader, rows)


def history(reader: Reader, patient_id: int, limit: int = 8) -> list[Visit]:
    """Return a patient's visits, newest first, without cancelled ones."""
    rows = reader.rows(
        SELECT_VISITS + "WHERE o.patient_id = ? AND o.state <> 'cancelled' ORDER BY s.start DESC LIMIT ?",
        [patient_id, limit],
    )
    return from_rows(reader, rows)


class FoundStudies(NamedTuple):
    """Studies that match; `more` if others match, too."""

    visits: list[Visit]
    more: bool = False
    numbered: bool = False  # what was typed is their accession number, with whatever dashes


def studies(reader: Reader, typed: str, on: date, limit: int = 100) -> FoundStudies:
    """Find studies by accession number, or by anything that finds their patients; nothing typed gives the day.

    The newest come first; where more match than `limit`, the last days' are among them, and others.
    """
    typed = typed.strip()
    if not typed:
        return FoundStudies(day(reader, on))
    exact = reader.rows(SELECT_VISITS + f"WHERE o.{orders.HAS_NUMBER} ORDER BY s.id", [typed.upper()])
    if not exact and (numbered := patient_search.numbered_orders(reader, typed)):
        exact = reader.rows(
            SELECT_VISITS + "WHERE o.id IN (SELECT value FROM json_each(?)) ORDER BY s.id", [json.dumps(numbered)]
        )
    if exact:
        return FoundStudies(from_rows(reader, exact), numbered=True)
    starts: dict[int, str] = {}
    for selection in patient_search.selections(reader, typed, limit + 1):
        starts |= {row["id"]: row["start"] for row in _visits(reader, selection, limit + 1)}
        if len(starts) > limit:
            break
    newest = sorted(starts, key=lambda id: (starts[id], id), reverse=True)[:limit]
    rows = reader.rows(
        SELECT_VISITS + "WHERE s.id IN (SELECT value FROM json_each(?)) ORDER BY s.start DESC, s.id DESC",
        [json.dumps(newest)],
    )
    return FoundStudies(from_rows(reader, rows), more=len(starts) > limit)


def _visits(reader: Reader, selection: Selection, limit: int) -> list[Row]:
    """Return visits (`id`, `start`) of the patients of a selection: all of them, or at least `limit`."""
    params = {**selection.params, "limit": limit}
    found = reader.rows(
        f"SELECT s.id, s.start FROM (SELECT p.id FROM {selection.source} WHERE {selection.where} {selection.order}) n"
        " CROSS JOIN orders o ON o.patient_id = n.id CROSS JOIN scheduled_step s ON s.order_id = o.id LIMIT :limit",
        params,
    )
    if len(found) == limit:
        found = found + reader.rows(
            "SELECT s.id, s.start FROM"
            f" (SELECT id, order_id, start FROM scheduled_step ORDER BY start DESC LIMIT {_NEWEST}) s"
            " CROSS JOIN orders o ON o.id = s.order_id CROSS JOIN patient p ON p.id = o.patient_id"
            f" WHERE {selection.matches} LIMIT :limit",
            params,
        )
    return found


def from_rows(reader: Reader, rows: list[Row]) -> list[Visit]:
    """Return the visits in rows of `SELECT_VISITS`."""
    found = {order.id: order for order in orders.get_many(reader, list({row["order_id"] for row in rows}))}
    return [
        Visit(
            order=found[row["order_id"]],
            start=datetime.fromisoformat(row["start"]),
            station_ae_titles=tuple(row["stations"].split("\n")) if row["stations"] else (),
            since=datetime.fromisoformat(row["state_since"]),
            seen_at=instant(row["seen"]),
            bus=row["bus"],
            reported=bool(row["reported"]),
            doubtful=doubtful == "1" or bool(row["disputed"]),
            has_images="1" in (images, archived) if row["in_archive"] is None else bool(row["in_archive"]),
            archived=archived == "1" if row["in_archive"] is None else bool(row["in_archive"]),
        )
        for row in rows
        for doubtful, images, archived in [(row["evidence"] or "0 0 0").split(" ")]
    ]


def performed_steps(reader: Reader, order_ids: Iterable[int]) -> dict[int, list[PerformedStep]]:
    """Return the performed steps of orders, oldest first: order id -> steps; orders without one are left out."""
    rows = reader.rows(
        "SELECT DISTINCT s.order_id, p.* FROM performed_step p JOIN performed_step_link l"
        " ON l.performed_step_id = p.id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE s.order_id IN (SELECT value FROM json_each(?)) ORDER BY p.id",
        [json.dumps(list(order_ids))],
    )
    found: dict[int, list[PerformedStep]] = {}
    for row in rows:
        found.setdefault(row["order_id"], []).append(performed.from_row(row))
    return found
