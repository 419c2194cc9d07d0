"""Reports: what doctors write about studies; the database itself refuses to change one that was signed."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from broker.domain.audit import AuditAction
from broker.domain.orders import Order
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import Report, ReportChange, ReportDoubt, ReportState, SeenImages, SignedReport
from broker.store import rows
from broker.store.database import Reader, Row, Tx
from broker.store.tables import audit, directories
from broker.store.tables.reading import reads
from broker.store.tables.studies import archive


def get(reader: Reader, id: int) -> Report | None:
    """Return a report by its id, or None."""
    row = reader.one("SELECT * FROM report WHERE id = ?", [id])
    return from_row(row) if row else None


def of_order(reader: Reader, order_id: int) -> Report | None:
    """Return the first reading's report on an order, a draft or its newest signed version, or None."""
    row = reader.one("SELECT * FROM report WHERE order_id = ? ORDER BY reading LIMIT 1", [order_id])
    return _newest(reader, from_row(row)) if row else None


def signed(reader: Reader, order_id: int) -> Report | None:
    """Return the newest version of the signed report on an order, or None: a draft does not count."""
    first = _first_signed(reader, order_id)
    return _newest(reader, first) if first else None


def versions(reader: Reader, order_id: int) -> list[Report]:
    """Return all versions of the signed report on an order, the newest first."""
    first = _first_signed(reader, order_id)
    if first is None:
        return []
    found = reader.rows("SELECT * FROM report_version WHERE order_id = ? ORDER BY version DESC", [order_id])
    return [*(_version(first, each) for each in found), first]


def add_version(tx: Tx, report: Report) -> None:
    """Insert a new version of a signed report; while it is withdrawn, its order waits for a report again."""
    values = {name: getattr(report, name) for name in (*_TEXTS, "order_id", "version", "change", "reason")}
    rows.insert(
        tx,
        "report_version",
        values
        | {
            "author_family": report.author_name.family,
            "author_given": report.author_name.given,
            "author_middle": report.author_name.middle,
            "signed_at": tx.now.isoformat(),
        },
    )
    tx.run("UPDATE orders SET reported = ? WHERE id = ?", [int(not report.is_withdrawn), report.order_id])


def _first_signed(reader: Reader, order_id: int) -> Report | None:
    row = reader.one(
        "SELECT * FROM report WHERE order_id = ? AND state = 'signed' ORDER BY reading LIMIT 1", [order_id]
    )
    return from_row(row) if row else None


def _newest(reader: Reader, first: Report) -> Report:
    row = reader.one("SELECT * FROM report_version WHERE order_id = ? ORDER BY version DESC LIMIT 1", [first.order_id])
    return _version(first, row) if row else first


def _version(first: Report, row: Row) -> Report:
    return replace(
        first,
        **{name: row[name] for name in (*_TEXTS, "version", "reason")},
        change=ReportChange(row["change"]),
        author_name=PersonName(row["author_family"], row["author_given"], row["author_middle"]),
        signed_at=rows.instant(row["signed_at"]),
    )


def signed_report(reader: Reader, order: Order) -> SignedReport | None:
    """Return an order's signed report with what its document states; None if none is signed."""
    report = signed(reader, order.id)
    return document(reader, order, report) if report else None


def document(reader: Reader, order: Order, report: Report) -> SignedReport:
    """Return a version of an order's signed report with what its document states."""
    made_at, places = _images_made(reader, order.id)
    clinic = directories.get(reader, "organisations", order.requester.casefold()) if order.requester else None
    site = directories.get(reader, "body-sites", order.body_site) if order.body_site else None
    return SignedReport(
        order,
        report,
        made_at,
        places,
        referring_clinic=clinic.name if clinic else "",
        body_site=site.name if site else "",
        reads=reads.of_report(reader, order.id),
    )


# A doctor has looked at the images.
_SEEN = (
    AuditAction.REPORT_SIGN,
    AuditAction.REPORT_UPHOLD,
    AuditAction.REPORT_ADD,
    AuditAction.REPORT_CORRECT,
)
_REMOVED = (AuditAction.UNLINK, AuditAction.WRONG_ENTRY, AuditAction.IMAGES_REMOVED)
_ADDED = (
    AuditAction.FINISH,
    AuditAction.IMAGES_SEEN,
    AuditAction.IMAGES_ADDED,
    AuditAction.ARCHIVE_ACCEPT,
    AuditAction.LINK,
)


def doubt(reader: Reader, order_id: int) -> ReportDoubt | None:
    """Return what became of an order's images after its report was signed, if no doctor has looked since; else None."""
    report = signed(reader, order_id)
    if report is None or report.is_withdrawn:
        return None
    if audit.newest(reader, order_id, (*_SEEN, *_REMOVED)) in _REMOVED:
        return ReportDoubt.IMAGES_REMOVED
    if archive.fewer_than(reader, order_id) is not None:
        return ReportDoubt.IMAGES_FEWER
    return ReportDoubt.IMAGES_ADDED if _were_added(reader, order_id) else None


def images(reader: Reader, order: Order) -> SeenImages:
    """Return the images of an order as they are now, for a doctor to look at."""
    steps = reader.rows(
        "SELECT DISTINCT p.id, p.sop_instance_uid, p.state, p.images FROM performed_step p"
        " JOIN performed_step_link l ON l.performed_step_id = p.id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE s.order_id = ? ORDER BY p.id",
        [order.id],
    )
    held = archive.holding(reader, order.id)
    return SeenImages(
        order.patient,
        tuple((row["sop_instance_uid"], row["state"], row["images"]) for row in steps),
        (held.study_instance_uid, held.images) if held else ("", None),
        image_revisions(reader, [order.id])[order.id],
    )


def image_revisions(reader: Reader, order_ids: Collection[int]) -> dict[int, int]:
    """Return the last line of the audit trail about each order's images; 0 where there is none."""
    rows = reader.rows(
        "SELECT order_id, max(seq) AS seq FROM audit WHERE order_id IN (SELECT value FROM json_each(?))"
        " AND action IN (SELECT value FROM json_each(?)) GROUP BY order_id",
        [json.dumps(list(order_ids)), json.dumps([*_SEEN, *_REMOVED, *_ADDED])],
    )
    return dict.fromkeys(order_ids, 0) | {row["order_id"]: row["seq"] for row in rows}


def _were_added(reader: Reader, order_id: int) -> bool:
    """Return True if images came after a doctor has looked last; a step that was discontinued without any has none."""
    newest = reader.value(
        "SELECT action FROM audit a WHERE order_id = ? AND action IN (SELECT value FROM json_each(?)) AND NOT EXISTS"
        " (SELECT 1 FROM performed_step p WHERE a.action = 'finish' AND p.state = 'DISCONTINUED' AND p.images = 0"
        " AND p.sop_instance_uid = a.details ->> '$.sop_instance_uid') ORDER BY seq DESC LIMIT 1",
        [order_id, json.dumps([*_SEEN, *_ADDED])],
    )
    return newest in _ADDED


def has_more_images(reader: Reader, order_id: int) -> bool:
    """Return True if an order has images that were added after a doctor had looked at those which the region knows of.

    Images that were added and taken away again do not count.
    """
    return bool(
        reader.value(
            "SELECT 1 FROM audit a WHERE a.order_id = :order AND a.action IN (SELECT value FROM json_each(:added))"
            " AND a.seq > coalesce((SELECT max(d.seq) FROM audit d WHERE d.order_id = :order"
            "  AND d.action IN (SELECT value FROM json_each(:seen)) AND d.at <= (SELECT max(coalesce(b.delivered_at,"
            "  b.created_at)) FROM outbox b WHERE b.order_id = :order AND b.kind IN ('report', 'appended')"
            "  AND (b.state = 'delivered' OR b.uncertain = 1))), 0)"
            " AND EXISTS (SELECT 1 FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
            "  JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = :order AND p.state = 'COMPLETED'"
            "  AND p.sop_instance_uid = coalesce(json_extract(a.details, '$.sop_instance_uid'), p.sop_instance_uid))",
            {"order": order_id, "added": json.dumps(_ADDED), "seen": json.dumps(_SEEN)},
        )
    )


def put(tx: Tx, report: Report) -> Report:
    """Insert a report, or write it over its older version; return it with its id, revision and `saved_at`.

    The order of a signed one no longer waits for its report.
    """
    values = {name: getattr(report, name) for name in _PLAIN} | {
        "author_family": report.author_name.family,
        "author_given": report.author_name.given,
        "author_middle": report.author_name.middle,
        "saved_at": tx.now.isoformat(),
        "signed_at": report.signed_at.isoformat() if report.signed_at else None,
    }
    rows.upsert(tx, "report", values, key=["order_id", "reading"], also="revision = revision + 1")
    if report.state is ReportState.SIGNED:
        tx.run("UPDATE orders SET reported = 1 WHERE id = ?", [report.order_id])
    [row] = tx.rows("SELECT * FROM report WHERE order_id = ? AND reading = ?", [report.order_id, report.reading])
    return from_row(row)


def _images_made(reader: Reader, order_id: int) -> tuple[datetime | None, str]:
    """Return when (local) an order's images were made, if a modality said, and the devices' names."""
    found = reader.rows(
        "SELECT p.start, coalesce(d.name, p.ae_title) AS name, coalesce(d.room, '') AS room FROM performed_step p"
        " LEFT JOIN device d ON d.ae_title = p.ae_title WHERE p.state = 'COMPLETED' AND p.id IN"
        " (SELECT l.performed_step_id FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE s.order_id = ?) ORDER BY p.id",
        [order_id],
    )
    times = [datetime.fromisoformat(row["start"]) for row in found if row["start"]]
    places = dict.fromkeys(", ".join(part for part in (row["name"], row["room"]) if part) for row in found)
    return (min(times) if times else None), "; ".join(places)


# Columns whose values are those of the field of the same name.
_TEXTS = (
    "description",
    "conclusion",
    "recommendations",
    "effective_dose",
    "form",
    "author",
    "author_snils",
    "author_position",
)
_PLAIN = ("order_id", "reading", "state", *_TEXTS)


def from_row(row: Row) -> Report:
    """Return the Report of a row of its table."""
    return Report(
        **{name: row[name] for name in _PLAIN} | {"state": ReportState(row["state"])},
        author_name=PersonName(row["author_family"], row["author_given"], row["author_middle"]),
        saved_at=datetime.fromisoformat(row["saved_at"]),
        signed_at=rows.instant(row["signed_at"]),
        revision=row["revision"],
        id=row["id"],
    )
