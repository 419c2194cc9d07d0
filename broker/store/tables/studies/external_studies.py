"""Studies that other clinics have reported to the bus.

Also when the bus was asked last, and why that failed. A final report never becomes a partial one again, in whatever
order messages arrive; but it may be withdrawn.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies import prior_studies
from broker.store.database import Reader, Row, Tx
from broker.store.rows import instant


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study as the bus reported it. `version` is that of its report; "" until its references were read."""

    study: ExternalStudy
    version: str = ""
    reported_at: datetime | None = None  # UTC: when the report was last changed on the bus


def of_order(reader: Reader, order_id: int) -> list[ExternalStudy]:
    """Return the results that other clinics reported for an order of ours, the newest first."""
    # The condition on the order is that of the partial index.
    where = "WHERE order_id = ? AND order_id IS NOT NULL ORDER BY at, reference"
    return latest_reports(reader.rows(f"{STUDIES} {where}", [order_id]))


def is_fresh(reader: Reader, patient_id: int, hours: float, now: datetime) -> bool:
    """Return True if the last attempt brought a complete answer within the last `hours`."""
    row = reader.one("SELECT * FROM external_lookup WHERE patient_id = ?", [patient_id])
    answered_at = instant(row["answered_at"]) if row and not row["failed_at"] else None
    # An answer from the future was stored before the clock was set: its age is unknown.
    return answered_at is not None and timedelta() <= now - answered_at < timedelta(hours=hours)


def versions(reader: Reader, patient_id: int) -> dict[str, str]:
    """Return reference -> version of a patient's stored studies; an empty version: the references are not read yet."""
    rows = reader.rows(
        "SELECT reference, json_extract(content, '$.version') AS version FROM external_study WHERE patient_id = ?",
        [patient_id],
    )
    return {row["reference"]: row["version"] for row in rows}


def put(tx: Tx, patient_id: int, kept: StoredStudy, order_id: int | None = None) -> bool:
    """Insert or update a study; return True if anything changed.

    An older version, a partial report after the final one, and a report without its references never replace a stored
    one; the link to an order is stored nevertheless.
    """
    reference = kept.study.reference
    row = tx.one("SELECT * FROM external_study WHERE patient_id = ? AND reference = ?", [patient_id, reference])
    belongs = order_id or (row["order_id"] if row else None)
    content = _content(kept)
    if row and not _replaces(kept, row):
        if belongs != row["order_id"]:
            moved = "UPDATE external_study SET order_id = ? WHERE patient_id = ? AND reference = ?"
            tx.run(moved, [belongs, patient_id, reference])
        return False
    tx.run(
        "INSERT INTO external_study (reference, patient_id, order_id, studied_on, content, at)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (patient_id, reference) DO UPDATE SET order_id = excluded.order_id,"
        " studied_on = excluded.studied_on, content = excluded.content, at = excluded.at",
        [
            reference,
            patient_id,
            belongs,
            kept.study.studied_on.isoformat() if kept.study.studied_on else "",
            content,
            (kept.reported_at or tx.now).isoformat(),
        ],
    )
    return row is None or row["content"] != content


def forget_others(tx: Tx, patient_id: int, references: Collection[str]) -> int:
    """Delete the studies of a patient that the bus does not return any more.

    Results for our orders stay, and what came from a merged card: the bus may know that under another patient.
    """
    return tx.change(
        "DELETE FROM external_study WHERE patient_id = ?1 AND order_id IS NULL"
        " AND reference NOT IN (SELECT value FROM json_each(?2))"
        " AND reference NOT IN (SELECT e.value FROM patient_merge m, json_each(m.moved, '$.external_studies') e"
        "  WHERE m.undone_at IS NULL)",
        [patient_id, json.dumps(list(references))],
    )


def move_results(tx: Tx, source: int, target: int, order_ids: Collection[int]) -> None:
    """Move the results for these orders to another card, also where that has an older state of the same report."""
    params = [source, json.dumps(list(order_ids)), target]
    of_orders = "WHERE patient_id = ?1 AND order_id IN (SELECT value FROM json_each(?2))"
    tx.run(
        "INSERT OR REPLACE INTO external_study (reference, patient_id, order_id, studied_on, content, at)"
        f" SELECT reference, ?3, order_id, studied_on, content, at FROM external_study {of_orders}",
        params,
    )
    tx.run(f"DELETE FROM external_study {of_orders}", params[:2])


def take_final_states(tx: Tx, source: int, target: int) -> tuple[Row, ...]:
    """Take over the final state of reports that another card has, too; return the rows as they were before."""
    both = tx.rows(
        "SELECT t.reference, t.studied_on, t.content, t.at, s.content AS other FROM external_study t"
        " JOIN external_study s ON s.reference = t.reference AND s.patient_id = ? WHERE t.patient_id = ?"
        " ORDER BY t.reference",
        [source, target],
    )
    before = []
    for row in both:
        other = json.loads(row.pop("other"))
        if prior_studies.is_final(_study(other)) and not prior_studies.is_final(_study(json.loads(row["content"]))):
            tx.run(
                "UPDATE external_study SET (studied_on, content, at) = (SELECT studied_on, content, at"
                " FROM external_study WHERE patient_id = ?1 AND reference = ?3)"
                " WHERE patient_id = ?2 AND reference = ?3",
                [source, target, row["reference"]],
            )
            before.append(row)
    return tuple(before)


def restore_states(tx: Tx, source: int, target: int, before: Collection[Row]) -> None:
    """Undo `take_final_states` where the report has not been changed since."""
    for row in before:
        tx.run(
            "UPDATE external_study SET studied_on = ?3, content = ?4, at = ?5 WHERE patient_id = ?2 AND reference = ?6"
            " AND content = (SELECT content FROM external_study WHERE patient_id = ?1 AND reference = ?6)",
            [source, target, row["studied_on"], row["content"], row["at"], row["reference"]],
        )


def forget_lookup(tx: Tx, patient_id: int) -> None:
    """Forget that the bus was asked for a patient: it is asked again as soon as somebody looks."""
    tx.run("DELETE FROM external_lookup WHERE patient_id = ?", [patient_id])


def note_answer(tx: Tx, patient_id: int) -> None:
    """Record that the bus has answered in full for a patient."""
    tx.run(
        "INSERT INTO external_lookup (patient_id, answered_at) VALUES (?, ?) ON CONFLICT (patient_id) DO UPDATE"
        " SET answered_at = excluded.answered_at, failed_at = NULL, reason = ''",
        [patient_id, tx.now.isoformat()],
    )


def note_failure(tx: Tx, patient_id: int, reason: str) -> None:
    """Record why the bus has not answered in full for a patient; the time of the last full answer stays."""
    tx.run(
        "INSERT INTO external_lookup (patient_id, failed_at, reason) VALUES (?, ?, ?) ON CONFLICT (patient_id)"
        " DO UPDATE SET failed_at = excluded.failed_at, reason = excluded.reason",
        [patient_id, tx.now.isoformat(), reason],
    )


class ReferredOrder(NamedTuple):
    """An order whose result another clinic may report."""

    order_id: int
    task: str  # id on the bus
    delivered_at: datetime  # UTC


def referred(reader: Reader, ended_since: datetime, referred_since: datetime) -> list[ReferredOrder]:
    """Return the orders whose results other clinics may report, oldest first.

    Those that were referred to another clinic since an instant, and those that ended since another one: their reports
    may be amended.
    """
    rows = reader.rows(
        "SELECT o.id, r.value AS task, (SELECT max(delivered_at) FROM outbox WHERE order_id = o.id AND kind = 'order')"
        " AS delivered_at FROM orders o JOIN bus_reference r ON r.order_id = o.id AND r.name = 'task'"
        " WHERE o.owner <> '' AND CASE o.state WHEN 'referred' THEN o.state_since >= ?1 WHEN 'scheduled' THEN 0"
        " ELSE o.state_since >= ?2 END ORDER BY o.id",
        [referred_since.isoformat(), ended_since.isoformat()],
    )
    return [
        ReferredOrder(row["id"], row["task"], instant(row["delivered_at"]) or min(ended_since, referred_since))
        for row in rows
    ]


def order_of_task(reader: Reader, task: str) -> int | None:
    """Return the id of the order with this Task on the bus, or None."""
    id = reader.value("SELECT order_id FROM bus_reference WHERE name = 'task' AND value = ? LIMIT 1", [task])
    return None if id is None else int(id)


def sent_by_us(reader: Reader, patient_id: int, reference: str) -> bool:
    """Return True if a report ("DiagnosticReport/<id>") is one that we have sent to the bus for this patient."""
    return bool(
        reader.value(
            "SELECT 1 FROM orders o JOIN bus_reference r ON r.order_id = o.id WHERE o.patient_id = ? AND r.value = ?",
            [patient_id, reference.partition("/")[2]],
        )
    )


STUDIES = "SELECT content FROM external_study"


def _replaces(kept: StoredStudy, row: Row) -> bool:
    before = json.loads(row["content"])
    if before["version"] and not kept.version:
        return False
    if prior_studies.is_final(_study(before)) and not prior_studies.is_final(kept.study):
        # Only a withdrawal replaces a final report.
        return kept.study.status in prior_studies.WITHDRAWN and (
            kept.reported_at is None or kept.reported_at.isoformat() >= row["at"]
        )
    return kept.reported_at is None or kept.reported_at.isoformat() >= row["at"] or not before["version"]


def _content(kept: StoredStudy) -> str:
    study = asdict(kept.study)
    study["studied_on"] = kept.study.studied_on.isoformat() if kept.study.studied_on else None
    return json.dumps({"version": kept.version, "study": study}, ensure_ascii=False)


def written(study: ExternalStudy) -> str:
    """Return a study as `read` reads it."""
    return json.dumps(asdict(study), ensure_ascii=False, default=lambda day: day.isoformat())


def read(text: str) -> ExternalStudy:
    """Return the study that `written` has written."""
    return _study({"study": json.loads(text)})


def latest_reports(rows: list[Row]) -> list[ExternalStudy]:
    """Return the studies in rows of `STUDIES`, the newest first; of every study the report that was changed last."""
    return prior_studies.latest_reports(_study(json.loads(row["content"])) for row in rows)


def _study(content: Row) -> ExternalStudy:
    members = content["study"]
    day = members["studied_on"]
    changed = {"studied_on": date.fromisoformat(day) if day else None, "documents": tuple(members["documents"])}
    return ExternalStudy(**(members | changed))
