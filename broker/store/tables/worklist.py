"""The worklist: open scheduled steps, and those completed a short while ago, found by indexes.

A query with a number is answered by the index of that number; otherwise the index of open steps by start is read,
earliest first, a page at a time.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.domain.orders import Order, ScheduledStep, StepState
from broker.domain.patients.people import PersonName
from broker.store.database import Reader, Store, Tx
from broker.store.tables import orders
from broker.store.tables.patients import patients
from broker.store.tables.patients.patients import PREFIX_END

MAX_CHANGED = 200  # more changed orders than this count as a change of everything


@dataclass(frozen=True, slots=True)
class IndexFilter:
    """The part of a worklist query that indexes answer; None and empty mean "any".

    Starts are local and inclusive. `closed_since` is an instant (UTC): steps completed after it are included.
    """

    station_ae_title: str | None = None
    stations: tuple[str, ...] = ()  # any of these
    start_from: datetime | None = None
    start_to: datetime | None = None
    accession_number: str | None = None
    patient_id: str | None = None
    study_instance_uids: tuple[str, ...] = ()
    sps_id: str | None = None
    requested_procedure_id: str | None = None
    modality: str | None = None
    name_beginning: str = ""  # folded
    accession_beginning: str = ""
    patient_id_beginning: str = ""
    closed_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where an item stands on the worklist, and whom it is about: enough to go on from here, or to leave it out."""

    step_id: int
    order_id: int
    start: str
    name: PersonName
    imported: bool = False  # passthrough attributes of an import may differ from the columns


@dataclass(frozen=True, slots=True)
class WorklistItem:
    """One worklist item: a step, the order that it belongs to, and the AE titles that have started it, if any.

    Performers are read only for steps on several stations. `former_ids` are the numbers of the cards that were merged
    into the patient's: a query may ask for them, since the wristband was printed before; answered is the number of now.
    """

    order: Order
    step: ScheduledStep
    performers: tuple[str, ...] = ()
    former_ids: tuple[str, ...] = ()


def revision(store: Store) -> int:
    """Return a number that grows with every change of what worklist responses are made of, by any process; cheap."""
    return store.number("SELECT seq FROM sqlite_sequence WHERE name = 'worklist_change'")


def changed(reader: Reader, since: int) -> tuple[int, set[int]] | None:
    """Return the orders (ids) that have changed since a revision, and the revision up to which these are all.

    None if there are more than MAX_CHANGED, or if all answers may have changed, as after a change of a device.
    """
    rows = reader.rows(
        "SELECT revision, order_id FROM worklist_change WHERE revision > ? ORDER BY revision LIMIT ?",
        [since, MAX_CHANGED + 1],
    )
    if len(rows) > MAX_CHANGED or any(row["order_id"] is None for row in rows):
        return None
    return rows[-1]["revision"] if rows else since, {row["order_id"] for row in rows}


def note_any_change(tx: Tx) -> None:
    """Note that the responses of any order may have changed."""
    tx.run("INSERT INTO worklist_change (order_id) VALUES (NULL)")


def candidates(
    reader: Reader,
    index_filter: IndexFilter,
    limit: int,
    after: Candidate | None = None,
    among: Collection[int] | None = None,
) -> list[Candidate]:
    """Return the candidates that an index filter lets through, earliest first, at most `limit`.

    Only candidates behind `after`; with `among`, only of these orders (ids).
    """
    sql, params = statement(index_filter, limit, after, among)
    return [
        Candidate(
            row["step_id"],
            row["order_id"],
            row["begins"],
            PersonName(row["family"], row["given"], row["middle"]),
            bool(row["imported"]),
        )
        for row in reader.rows(sql, params)
    ]


def load(reader: Reader, found: Sequence[Candidate]) -> list[WorklistItem]:
    """Return the items of these candidates, in the same order."""
    by_id = {order.id: order for order in orders.get_many(reader, list({place.order_id for place in found}))}
    pairs = [
        (by_id[place.order_id], step)
        for place in found
        for step in by_id[place.order_id].steps
        if step.id == place.step_id
    ]
    performers = _performers(
        reader,
        [step.id for _, step in pairs if len(step.station_ae_titles) > 1 and step.state is not StepState.SCHEDULED],
    )
    former = patients.merged_numbers(reader, {order.patient.stored_id for order, _ in pairs})
    return [
        WorklistItem(order, step, performers.get(step.id, ()), former.get(order.patient.stored_id, ()))
        for order, step in pairs
    ]


_AMONG = "o.id IN (SELECT value FROM json_each(:among))"
_OPEN = "s.state IN ('SCHEDULED', 'STARTED')"  # the condition of the partial index scheduled_step_open
_CLOSED = "s.state = 'COMPLETED' AND s.state_since >= :closed_since"
_COLUMNS = "s.id AS step_id, s.order_id, s.start AS begins, p.family, p.given, p.middle, o.attributes <> '' AS imported"
# CROSS JOIN fixes the order of the tables: without statistics SQLite may choose the wrong one.
_BY_START = (
    f"SELECT {_COLUMNS} FROM scheduled_step s INDEXED BY {{index}} CROSS JOIN orders o ON o.id = s.order_id"
    " CROSS JOIN patient p ON p.id = o.patient_id WHERE {conditions}"
)
_BY_ORDER = (
    f"SELECT {_COLUMNS} FROM orders o CROSS JOIN scheduled_step s ON s.order_id = o.id"
    " CROSS JOIN patient p ON p.id = o.patient_id WHERE {conditions}"
)
_BY_PATIENT = (
    f"SELECT {_COLUMNS} FROM patient p CROSS JOIN orders o ON o.patient_id = p.id"
    " CROSS JOIN scheduled_step s ON s.order_id = o.id WHERE {conditions}"
)


# The cards in use that those with numbers in a range were merged into.
_MERGED = (
    "WITH RECURSIVE way (id, merged_into) AS (SELECT id, merged_into FROM patient WHERE merged_into IS NOT NULL"
    " AND patient_id >= :patient_from AND patient_id < :patient_to"
    " UNION SELECT n.id, n.merged_into FROM way JOIN patient n ON n.id = way.merged_into)"
    " SELECT id FROM way WHERE merged_into IS NULL"
)


def statement(
    index_filter: IndexFilter, limit: int, after: Candidate | None = None, among: Collection[int] | None = None
) -> tuple[str, dict[str, Any]]:
    """Write the SQL for `places`, and its parameters."""
    conditions, params = _conditions(index_filter)
    params["limit"] = limit
    if among is not None:
        params["among"] = json.dumps(list(among))
    if after is not None:
        conditions.append("s.start >= :after_start AND (s.start > :after_start OR s.id > :after_id)")
        params |= {"after_start": after.start, "after_id": after.step_id}
    closed = index_filter.closed_since is not None
    if index_filter.closed_since is not None:
        params["closed_since"] = index_filter.closed_since.isoformat()
    by_number = _by_number(index_filter, params)
    if by_number and among is not None:
        conditions.append(_AMONG)
    elif among is not None:
        by_number = _BY_ORDER, _AMONG
    if by_number:
        template, condition = by_number
        states = f"({_OPEN} OR {_CLOSED})" if closed else _OPEN
        sql = template.format(conditions=" AND ".join([condition, states, *conditions]))
    else:
        sql = _BY_START.format(index="scheduled_step_open", conditions=" AND ".join([_OPEN, *conditions]))
        if closed:
            recent = _BY_START.format(index="scheduled_step_closed", conditions=" AND ".join([_CLOSED, *conditions]))
            sql = f"{sql} UNION ALL {recent}"
    return f"{sql} ORDER BY begins, step_id LIMIT :limit", params


def _by_number(index_filter: IndexFilter, params: dict[str, Any]) -> tuple[str, str] | None:
    """Choose the number that names the fewest orders: the template to use, and the condition that it begins with."""
    if index_filter.study_instance_uids:
        params["uids"] = json.dumps(index_filter.study_instance_uids)
        return _BY_ORDER, "o.study_instance_uid IN (SELECT value FROM json_each(:uids))"
    either = orders.HAS_NUMBER.replace("?1", ":number")
    for template, condition, value in (
        (_BY_ORDER, f"o.{either}", index_filter.accession_number),
        (_BY_PATIENT, "p.patient_id = :number", index_filter.patient_id),
    ):
        if value is not None:
            params["number"] = value
            return template, condition
    return None


def _conditions(index_filter: IndexFilter) -> tuple[list[str], dict[str, Any]]:
    """Return what is checked of every row, whichever index found it."""
    conditions, params = list[str](), dict[str, Any]()
    for name, condition, value in (
        (
            "station",
            "EXISTS (SELECT 1 FROM scheduled_step_station t WHERE t.step_id = s.id AND t.ae_title = :station)",
            index_filter.station_ae_title,
        ),
        (
            "stations",
            "EXISTS (SELECT 1 FROM scheduled_step_station t WHERE t.step_id = s.id"
            " AND t.ae_title IN (SELECT value FROM json_each(:stations)))",
            json.dumps(index_filter.stations) if index_filter.stations else None,
        ),
        ("start_from", "s.start >= :start_from", _text(index_filter.start_from)),
        ("start_to", "s.start <= :start_to", _text(index_filter.start_to)),
        # A further step of an import may have a modality of its own.
        ("modality", "(o.modality = :modality OR s.attributes <> '')", index_filter.modality),
        # Numbers of a script need not be unique: items with passthrough attributes are compared afterwards.
        ("sps_id", "(s.sps_id = :sps_id OR o.attributes <> '')", index_filter.sps_id),
        (
            "requested_procedure_id",
            "(o.requested_procedure_id = :requested_procedure_id OR o.attributes <> '')",
            index_filter.requested_procedure_id,
        ),
    ):
        if value is not None:
            conditions.append(condition)
            params[name] = value
    for name, condition, beginning in (
        # An import may have the name in another alphabet too.
        (
            "name",
            "((p.name_key >= :name_from AND p.name_key < :name_to) OR o.attributes <> '')",
            index_filter.name_beginning,
        ),
        (
            "accession",
            "((o.accession_number >= :accession_from AND o.accession_number < :accession_to) OR"
            " (o.request_number >= :accession_from AND o.request_number < :accession_to) OR"
            " (o.bus_accession_number >= :accession_from AND o.bus_accession_number < :accession_to) OR"
            " (o.request_number <> '' AND o.request_number IN (SELECT accession_number FROM orders"
            " WHERE bus_accession_number >= :accession_from AND bus_accession_number < :accession_to)))",
            index_filter.accession_beginning,
        ),
        (
            "patient",
            f"(p.patient_id >= :patient_from AND p.patient_id < :patient_to OR p.id IN ({_MERGED}))",
            index_filter.patient_id_beginning,
        ),
    ):
        if beginning:
            conditions.append(condition)
            params |= {f"{name}_from": beginning, f"{name}_to": beginning + PREFIX_END}
    return conditions, params


def _performers(reader: Reader, step_ids: list[int]) -> dict[int, tuple[str, ...]]:
    if not step_ids:
        return {}
    found: dict[int, tuple[str, ...]] = {}
    for row in reader.rows(
        "SELECT l.scheduled_step_id, p.ae_title, p.station_ae_title FROM performed_step_link l"
        " JOIN performed_step p ON p.id = l.performed_step_id"
        " WHERE l.scheduled_step_id IN (SELECT value FROM json_each(?)) ORDER BY p.id",
        [json.dumps(step_ids)],
    ):
        titles = (row["ae_title"], row["station_ae_title"])
        found[row["scheduled_step_id"]] = (*found.get(row["scheduled_step_id"], ()), *filter(None, titles))
    return found


def note_delivery(tx: Tx, step_ids: Sequence[int], ae_title: str) -> None:
    """Note that a device has these items on its list; only the first time counts."""
    added = tx.change(
        "INSERT OR IGNORE INTO worklist_delivery (step_id, ae_title, at)"
        " SELECT s.id, ?, ? FROM json_each(?) wanted CROSS JOIN scheduled_step s ON s.id = wanted.value",
        [ae_title, tx.now.isoformat(), json.dumps(list(step_ids))],
    )
    if added:
        tx.notify()


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
