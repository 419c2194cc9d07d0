"""Performed procedure steps, and every message as it came."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from broker.domain.errors import NotFound
from broker.domain.studies.performed import (
    Dose,
    Message,
    PerformedSeries,
    PerformedState,
    PerformedStep,
    StepReference,
    StepSource,
)
from broker.store import rows
from broker.store.database import Reader, Row, Tx


def get(reader: Reader, sop_instance_uid: str) -> PerformedStep | None:
    """Return a performed step, or None; without its references, series and doses."""
    row = reader.one("SELECT * FROM performed_step WHERE sop_instance_uid = ?", [sop_instance_uid])
    return from_row(row) if row else None


def require(reader: Reader, sop_instance_uid: str) -> PerformedStep:
    """Return a performed step as `get` does; raise NotFound."""
    step = get(reader, sop_instance_uid)
    if step is None:
        raise NotFound(f"performed step {sop_instance_uid}")
    return step


def attributes(reader: Reader, sop_instance_uid: str) -> dict[str, Any]:
    """Return all attributes of a performed step, as DICOM JSON (PS3.18 F.2)."""
    text = reader.value("SELECT attributes FROM performed_step WHERE sop_instance_uid = ?", [sop_instance_uid])
    return dict(json.loads(text)) if text else {}


def with_attributes(reader: Reader, sop_instance_uid: str) -> tuple[PerformedStep | None, dict[str, Any]]:
    """Return a performed step with all of its attributes, by one query; (None, {}) if it is not known."""
    row = reader.one("SELECT * FROM performed_step WHERE sop_instance_uid = ?", [sop_instance_uid])
    return (from_row(row), dict(json.loads(row["attributes"] or "{}"))) if row else (None, {})


def add(tx: Tx, step: PerformedStep, attributes: str = "{}") -> int:
    """Insert a new performed step with its references and its attributes (DICOM JSON); return its id."""
    id = rows.insert(tx, "performed_step", {**_columns(tx, step, attributes), "created_at": tx.now.isoformat()})
    for position, reference in enumerate(step.references):
        rows.insert(
            tx,
            "performed_step_reference",
            {
                "performed_step_id": id,
                "position": position,
                **asdict(reference),
                "referenced_study_uids": json.dumps(reference.referenced_study_uids),
            },
        )
    return id


def update(tx: Tx, step: PerformedStep, attributes: Mapping[str, Any]) -> None:
    """Update a performed step and its attributes; its references never change (PS3.4 F.7.2.2.2)."""
    columns = _columns(tx, step, json.dumps(attributes, ensure_ascii=False))
    # Only columns that an N-SET may change: writing the AE title would enter the change log as a change of it.
    changed = {name: value for name, value in columns.items() if name in _CHANGEABLE}
    rows.update(tx, "performed_step", changed, {"sop_instance_uid": step.sop_instance_uid})


def end_provisionally(tx: Tx, sop_instance_uid: str, state: PerformedState) -> None:
    """End a running step in place of its device, which may still overrule that."""
    tx.run(
        "UPDATE performed_step SET state = ?, provisional = 1, changed_at = ? WHERE sop_instance_uid = ?",
        [state, tx.now.isoformat(), sop_instance_uid],
    )


def running(reader: Reader) -> list[tuple[PerformedStep, datetime]]:
    """Return the steps that run, each with the instant (UTC) when its device last reported it."""
    found = reader.rows("SELECT * FROM performed_step WHERE state = 'IN PROGRESS' ORDER BY id")
    return [(from_row(row), datetime.fromisoformat(row["changed_at"])) for row in found]


def references(reader: Reader, performed_step_id: int) -> tuple[StepReference, ...]:
    """Return a performed step's references to orders, in the order of the message."""
    found = reader.rows(
        "SELECT study_instance_uid, accession_number, requested_procedure_id, sps_id, referenced_study_uids"
        " FROM performed_step_reference WHERE performed_step_id = ? ORDER BY position",
        [performed_step_id],
    )
    return tuple(
        StepReference(**row | {"referenced_study_uids": tuple(json.loads(row["referenced_study_uids"]))})
        for row in found
    )


def completed_of_order(reader: Reader, order_id: int) -> tuple[PerformedStep, ...]:
    """Return the completed steps of an order, oldest first, each with its references and series."""
    found = reader.rows(
        "SELECT DISTINCT p.* FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
        " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = ? AND p.state = 'COMPLETED'"
        " ORDER BY p.id",
        [order_id],
    )
    return tuple(
        replace(from_row(row), references=references(reader, row["id"]), series=tuple(series(reader, row["id"])))
        for row in found
    )


def set_series(tx: Tx, performed_step_id: int, series: Iterable[PerformedSeries]) -> None:
    """Replace a step's series."""
    tx.run("DELETE FROM performed_series WHERE performed_step_id = ?", [performed_step_id])
    add_series(tx, performed_step_id, series)


def add_series(tx: Tx, performed_step_id: int, series: Iterable[PerformedSeries]) -> None:
    """Insert series of a step; of two with the same UID the later one stays."""
    for each in series:
        tx.run(
            "INSERT OR REPLACE INTO performed_series"
            " (performed_step_id, series_instance_uid, description, protocol, operator, images)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [performed_step_id, each.series_instance_uid, each.description, each.protocol, each.operator, each.images],
        )


def series(reader: Reader, performed_step_id: int) -> list[PerformedSeries]:
    """Return the series that a modality reported."""
    found = reader.rows(
        "SELECT * FROM performed_series WHERE performed_step_id = ? ORDER BY series_instance_uid", [performed_step_id]
    )
    return [
        PerformedSeries(row["series_instance_uid"], row["description"], row["protocol"], row["operator"], row["images"])
        for row in found
    ]


def set_doses(tx: Tx, performed_step_id: int, by_keyword: Mapping[str, Iterable[Dose]]) -> None:
    """Replace the doses of these attributes; others stay."""
    for keyword, doses in by_keyword.items():
        tx.run("DELETE FROM performed_dose WHERE performed_step_id = ? AND keyword = ?", [performed_step_id, keyword])
        add_doses(tx, performed_step_id, doses)


def add_doses(tx: Tx, performed_step_id: int, doses: Iterable[Dose]) -> None:
    """Insert doses of a step."""
    for dose in doses:
        tx.run(
            "INSERT INTO performed_dose (performed_step_id, keyword, position, value, unit) VALUES (?, ?, ?, ?, ?)",
            [performed_step_id, dose.keyword, dose.position, dose.value, dose.unit],
        )


def doses(reader: Reader, performed_step_id: int) -> list[Dose]:
    """Return the numbers of the dose, those of the whole step first."""
    found = reader.rows(
        "SELECT * FROM performed_dose WHERE performed_step_id = ? ORDER BY position, keyword", [performed_step_id]
    )
    return [Dose(row["keyword"], row["value"], row["unit"], row["position"]) for row in found]


def remove(tx: Tx, performed_step_id: int) -> None:
    """Delete a step that no modality reported, with its links."""
    tx.run("DELETE FROM performed_step_link WHERE performed_step_id = ?", [performed_step_id])
    tx.run("DELETE FROM performed_step WHERE id = ? AND source <> 'modality'", [performed_step_id])


def remove_archived(tx: Tx, scheduled_step_ids: Iterable[int]) -> None:
    """Delete steps that are known from the archive only: the device reports them itself now."""
    for row in tx.rows(
        "SELECT p.id FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
        " WHERE l.scheduled_step_id IN (SELECT value FROM json_each(?)) AND p.source = 'archive'",
        [json.dumps(list(scheduled_step_ids))],
    ):
        remove(tx, row["id"])


def archived(reader: Reader, order_id: int, study_instance_uid: str) -> PerformedStep | None:
    """Return the step that is known from this study in the archive only, and was done for an order; None if none is."""
    row = reader.one(
        "SELECT p.* FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
        " JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " JOIN performed_step_reference r ON r.performed_step_id = p.id"
        " WHERE s.order_id = ? AND p.source = 'archive' AND r.study_instance_uid = ? LIMIT 1",
        [order_id, study_instance_uid],
    )
    return from_row(row) if row else None


def set_archived_images(tx: Tx, order_id: int, images: int) -> None:
    """Write how many images the archive holds now of what is known from it only."""
    tx.run(
        "UPDATE performed_step SET images = ?1, changed_at = ?2 WHERE source = 'archive' AND images <> ?1 AND id IN"
        " (SELECT l.performed_step_id FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE s.order_id = ?3)",
        [images, tx.now.isoformat(), order_id],
    )


def with_images(reader: Reader, since: datetime, limit: int) -> list[int]:
    """Return the orders (ids) of this clinic that were completed since an instant (UTC), newest first."""
    found = reader.rows(
        "SELECT s.order_id, max(s.state_since) AS at FROM scheduled_step s JOIN orders o ON o.id = s.order_id"
        " WHERE s.state = 'COMPLETED' AND s.state_since >= ? AND o.state = 'completed'"
        " GROUP BY s.order_id ORDER BY at DESC LIMIT ?",
        [since.isoformat(), limit],
    )
    return [row["order_id"] for row in found]


def without_images(reader: Reader, start_from: datetime, start_to: datetime, limit: int) -> list[int]:
    """Return the orders (ids) of this time whose images no device has reported completely; starts are local."""
    found = reader.rows(
        "SELECT DISTINCT s.order_id FROM scheduled_step s WHERE s.start >= ? AND s.start <= ?"
        " AND (s.state = 'SCHEDULED' OR (s.state = 'DISCONTINUED' AND EXISTS"
        " (SELECT 1 FROM performed_step_link l JOIN performed_step p ON p.id = l.performed_step_id"
        " WHERE l.scheduled_step_id = s.id AND p.provisional = 1 AND p.discontinuation_code = '')))"
        " ORDER BY s.start DESC LIMIT ?",
        [start_from.isoformat(timespec="seconds"), start_to.isoformat(timespec="seconds"), limit],
    )
    return [row["order_id"] for row in found]


def states_of_order(reader: Reader, order_id: int) -> list[PerformedState]:
    """Return the states of all performed steps that are linked to an order's steps."""
    found = reader.rows(
        "SELECT DISTINCT p.id, p.state FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
        " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = ?",
        [order_id],
    )
    return [PerformedState(row["state"]) for row in found]


def states_of_step(reader: Reader, scheduled_step_id: int) -> list[PerformedState]:
    """Return the states of all performed steps that are linked to one scheduled step."""
    found = reader.rows(
        "SELECT p.id, p.state FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
        " WHERE l.scheduled_step_id = ?",
        [scheduled_step_id],
    )
    return [PerformedState(row["state"]) for row in found]


def orders_of_studies(reader: Reader, uids: Iterable[str]) -> list[int]:
    """Return the orders (ids) that these Study Instance UIDs belong to, as scheduled or as devices have reported."""
    found = reader.rows(
        "WITH asked (uid) AS (SELECT value FROM json_each(?))"
        " SELECT o.id FROM asked JOIN orders o ON o.study_instance_uid = asked.uid"
        " UNION SELECT s.order_id FROM asked JOIN performed_step_reference r ON r.study_instance_uid = asked.uid"
        " JOIN performed_step_link l ON l.performed_step_id = r.performed_step_id"
        " JOIN scheduled_step s ON s.id = l.scheduled_step_id",
        [json.dumps(list(uids))],
    )
    return [row["id"] for row in found]


def record_message(tx: Tx, uid: str, operation: str, ae_title: str, outcome: str, message: Message) -> None:
    """Store a message as it came, with its outcome."""
    rows.insert(
        tx,
        "performed_step_message",
        {
            "sop_instance_uid": uid,
            "operation": operation,
            "ae_title": ae_title,
            "outcome": outcome,
            "status": message.status,
            "digest": message.digest,
            "attributes": message.json(),
            "at": tx.now.isoformat(),
        },
    )


def was_accepted(reader: Reader, uid: str, operation: str, ae_title: str, digest: str) -> bool:
    """Return True if exactly this message of this device was already answered with success."""
    return bool(
        reader.value(
            "SELECT 1 FROM performed_step_message WHERE sop_instance_uid = ? AND operation = ? AND ae_title = ?"
            " AND digest = ? AND outcome = 'accepted'",
            [uid, operation, ae_title, digest],
        )
    )


def last_accepted(reader: Reader, uid: str, operation: str) -> str:
    """Return the digest of the newest accepted message of this kind, or an empty string."""
    return str(
        reader.value(
            "SELECT digest FROM performed_step_message WHERE sop_instance_uid = ? AND operation = ?"
            " AND outcome = 'accepted' ORDER BY id DESC LIMIT 1",
            [uid, operation],
        )
        or ""
    )


# Columns whose values are those of the field of the same name.
_PLAIN = (
    "sop_instance_uid",
    "ae_title",
    "station_ae_title",
    "performed_step_id",
    "modality",
    "patient_name",
    "patient_id",
    "patient_birth_date",
    "patient_sex",
    "operator",
    "discontinuation_code",
    "discontinuation_meaning",
    "images",
)

_CHANGEABLE = (
    "state",
    "end",
    "operator",
    "discontinuation_code",
    "discontinuation_meaning",
    "images",
    "provisional",
    "attributes",
    "changed_at",
)


def _columns(tx: Tx, step: PerformedStep, attributes: str) -> dict[str, object]:
    return {name: getattr(step, name) for name in _PLAIN} | {
        "state": step.state,
        "start": step.start.isoformat(timespec="seconds") if step.start else "",
        "end": step.end.isoformat(timespec="seconds") if step.end else "",
        "provisional": step.provisional,
        "source": step.source,
        "attributes": attributes,
        "changed_at": tx.now.isoformat(),
    }


def from_row(row: Row) -> PerformedStep:
    """Return the PerformedStep of a row of its table."""
    return PerformedStep(
        **{name: row[name] for name in _PLAIN},
        id=row["id"],
        state=PerformedState(row["state"]),
        start=rows.instant(row["start"]),
        end=rows.instant(row["end"]),
        provisional=bool(row["provisional"]),
        source=StepSource(row["source"]),
    )
