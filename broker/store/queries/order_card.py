"""A study's card: the order, what was done for it, and its timeline. Reads only."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from broker.domain.audit import BLIND, AuditAction
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.reading.attachments import Attachment
from broker.domain.reading.reports import ExternalStudy, Report, ReportDoubt, SeenImages, SignedReport
from broker.domain.studies.archive import Discrepancy
from broker.domain.studies.archived_reports import ArchivedReport
from broker.domain.studies.performed import PerformedState, PerformedStep, StepSource
from broker.domain.studies.step_rules import PACKED, packed_count
from broker.store.database import Reader, Row
from broker.store.queries import schedule, undecided
from broker.store.queries.schedule import Visit
from broker.store.queries.studies import archive_evidence, archive_gaps
from broker.store.queries.studies.archive_gaps import ImagesDue, Lack
from broker.store.queries.undecided import OrderOfTwo
from broker.store.tables import incoming, orders, outbox
from broker.store.tables.reading import attachments, reports
from broker.store.tables.studies import archive, archived_reports, external_studies, performed, performed_links
from broker.store.tables.studies.archive import Holding


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """An event in a study's timeline. `what` is an audit action or one of seen, delivered, retry, needs_attention."""

    at: datetime
    what: str
    actor: str
    actor_kind: str
    details: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """Everything about one study."""

    order: Order
    visit: Visit  # its first scheduled step, as lists have it
    request: tuple[Order, ...]  # the other orders of the same accession number
    since: datetime
    seen_at: datetime | None
    bus: str
    attention_reason: str
    performed: tuple[PerformedStep, ...]
    images: SeenImages
    events: tuple[OrderEvent, ...]  # newest first
    conflicts: dict[str, str] = field(default_factory=dict)  # SOP Instance UID -> fields that contradict the patient
    report: Report | None = None  # a draft, or the newest signed version
    results: tuple[ExternalStudy, ...] = ()  # what another clinic has reported for it, the newest first
    earlier_reports: tuple[Report, ...] = ()  # signed versions that it has replaced, the newest first
    uncorrected: bool = False  # the clinic that performs it does not know what was corrected
    answers_former_data: bool = False  # that clinic's result was made by the former data, and no person has read it
    report_doubt: ReportDoubt | None = None  # its images have changed since it was signed
    appended: bool = False  # the region got the report again, with images that were added
    disputed: bool = False  # it waits for a person whose the images are that the archive has of it
    discrepancies: tuple[Discrepancy, ...] = ()  # studies in the archive that bear its numbers and do not fit it
    holding: Holding | None = None  # what the archive holds of it
    undecided: OrderOfTwo | None = None  # it is not known of which of two patients it is
    lack: Lack | None = None  # its images have not come in time, or are others in number
    attachments: tuple[Attachment, ...] = ()  # to its report, the newest version first
    archived_reports: tuple[ArchivedReport, ...] = ()  # on the way to the image archive, the newest version first
    images_uid: str = ""  # the Study Instance UID under which its images are, as far as is known

    @property
    def has_images(self) -> bool:
        """Return True if the archive has images of it, or a device has reported that it made some."""
        if self.holding and (self.holding.exists or self.holding.waived):
            return self.holding.exists
        return any(step.images or _was_made(step) for step in self.performed)


def _was_made(step: PerformedStep) -> bool:
    """Return True if a device says that a step is completed: not every device lists its images."""
    return step.state is PerformedState.COMPLETED and step.source is StepSource.MODALITY


def order(reader: Reader, accession_number: str) -> Order | None:
    """Return the order with this accession number, ours or the region's; None if there is none."""
    return orders.by_accession_number(reader, accession_number)


def others_of_request(reader: Reader, order: Order) -> list[Order]:
    """Return the other orders under an order's accession number, oldest first."""
    return orders.of_request(reader, order)


def card(reader: Reader, accession_number: str, images_due: ImagesDue | None = None) -> Card | None:
    """Return everything about the study with this number, or None.

    `images_due` is that of `archive_gaps.lacks`.
    """
    order = orders.by_accession_number(reader, accession_number)
    if order is None:
        return None
    visit = schedule.from_rows(
        reader, reader.rows(schedule.SELECT_VISITS + "WHERE s.order_id = ? ORDER BY s.id", [order.id])
    )[0]
    steps = reader.rows(
        "SELECT DISTINCT p.* FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
        " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = ? ORDER BY p.id",
        [order.id],
    )
    reason = reader.value("SELECT reason FROM outbox WHERE order_id = ? AND state = 'needs_attention'", [order.id])
    return Card(
        order=order,
        visit=visit,
        request=tuple(orders.of_request(reader, order)),
        since=visit.since,
        seen_at=visit.seen_at,
        bus=visit.bus,
        attention_reason=reason or "",
        performed=tuple(performed.from_row(row) for row in steps),
        images=reports.images(reader, order),
        events=tuple(_timeline(reader, order.id)),
        conflicts=performed_links.conflicts(reader, order.id),
        report=reports.of_order(reader, order.id),
        results=tuple(external_studies.of_order(reader, order.id)),
        earlier_reports=tuple(reports.versions(reader, order.id)[1:]),
        uncorrected=order.state is OrderState.REFERRED and outbox.is_uncorrected(reader, order.id),
        answers_former_data=incoming.answers_former_data(reader, order.id),
        report_doubt=reports.doubt(reader, order.id),
        appended=outbox.may_be_known(reader, order.id, OutboxKind.APPENDED),
        disputed=archive.is_disputed(reader, order.id),
        discrepancies=tuple(archive.of_order(reader, order.id)),
        holding=archive.holding(reader, order.id),
        undecided=undecided.of_order(reader, order.id),
        lack=archive_gaps.lacks(reader, images_due, [order.id]).get(order.id),
        attachments=tuple(attachments.of_order(reader, order.id)),
        archived_reports=tuple(archived_reports.of_order(reader, order.id)),
        images_uid=archive_evidence.images_uid(reader, order),
    )


def _timeline(reader: Reader, order_id: int) -> list[OrderEvent]:
    """Return the events of an order, newest first: audit trail, deliveries to devices, attempts at messages."""
    lines = []
    is_signed = reports.signed(reader, order_id) is not None
    for row in reader.rows("SELECT * FROM audit WHERE order_id = ?", [order_id]):
        if row["action"] in BLIND and not is_signed:
            continue
        details = json.loads(row["details"])
        lines.append(
            OrderEvent(
                at=datetime.fromisoformat(row["at"]),
                what=row["action"],
                actor=row["actor_title"] or row["actor"],
                actor_kind=row["actor_kind"],
                details=details,
                evidence=_mpps_evidence(reader, row, details),
            )
        )
    for row in reader.rows(
        "SELECT d.at, d.ae_title, coalesce(v.name, d.ae_title) AS name FROM worklist_delivery d"
        " JOIN scheduled_step s ON s.id = d.step_id LEFT JOIN device v ON v.ae_title = d.ae_title WHERE s.order_id = ?",
        [order_id],
    ):
        lines.append(OrderEvent(datetime.fromisoformat(row["at"]), "seen", row["name"], "device"))
    for row in reader.rows(
        "SELECT a.*, b.kind FROM outbox_attempt a JOIN outbox b ON b.seq = a.seq WHERE b.order_id = ?", [order_id]
    ):
        at, details = datetime.fromisoformat(row["at"]), {"kind": row["kind"], "reason": row["reason"]}
        lines.append(OrderEvent(at, row["outcome"], "", "bus", details, row["answer"]))
    return sorted(lines, key=lambda line: line.at)[::-1]  # of equal instants the last written comes first


# Audit action -> DIMSE operation of the modality's message behind it.
_OPERATIONS: dict[str, str] = {
    AuditAction.START: "N-CREATE",
    AuditAction.PROGRESS: "N-SET",
    AuditAction.FINISH: "N-SET",
}


def _mpps_evidence(reader: Reader, row: Row, details: dict[str, Any]) -> str:
    """Return the modality's message behind an audit line, as DICOM JSON; empty for what people did."""
    operation = _OPERATIONS.get(row["action"])
    if operation is None:
        return ""
    text = reader.value(
        "SELECT attributes FROM performed_step_message WHERE sop_instance_uid = ? AND operation = ? AND at <= ?"
        " ORDER BY id DESC LIMIT 1",
        [details.get("sop_instance_uid", ""), operation, row["at"]],
    )
    return json.dumps(json.loads(text, object_hook=_shortened), ensure_ascii=False, indent=1) if text else ""


def _shortened(attribute: dict[str, Any]) -> dict[str, Any]:
    """Return an attribute with the number of its references only, where very many are packed."""
    return {**attribute, PACKED: str(packed_count(attribute[PACKED]))} if PACKED in attribute else attribute


def attachment(reader: Reader, id: int) -> tuple[Attachment, bytes] | None:
    """Return a file attached to a report with its content; None if there is none."""
    found = attachments.get(reader, id) if 0 < id < 1 << 63 else None
    return (found, attachments.content(reader, id)) if found else None


def report_by_number(reader: Reader, accession_number: str) -> SignedReport | None:
    """Return the signed report on the study with this number; None if there is none."""
    order = orders.by_accession_number(reader, accession_number)
    return reports.signed_report(reader, order) if order else None
