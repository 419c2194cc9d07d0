"""Queries of the doctor's pages: studies that wait for a report, and everything about one study. Reads only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from broker.domain.orders import Order
from broker.domain.patients import names
from broker.domain.patients.people import PersonName
from broker.domain.reading.opinions import Read
from broker.domain.reading.reports import Report
from broker.domain.studies.effective_dose import CalculatedDose, NotCalculated
from broker.domain.studies.performed import Dose, PerformedSeries
from broker.store.database import Reader
from broker.store.queries import order_card, schedule
from broker.store.queries.order_card import Card
from broker.store.queries.schedule import Visit
from broker.store.queries.studies import archive_gaps, effective_doses, received
from broker.store.queries.studies.archive_gaps import ImagesDue, Lack
from broker.store.queries.studies.received import Received
from broker.store.tables import orders
from broker.store.tables.reading import reads, reports
from broker.store.tables.studies import archive, performed


@dataclass(frozen=True, slots=True)
class UnreportedStudy:
    """A study whose images were made and whose report is not signed yet."""

    order: Order
    since: datetime  # UTC: since when it is completed
    device: str
    drafted_by: str  # «Фамилия И. О.» of the draft's author, or empty
    doubtful: bool  # perhaps another patient's images: a person must confirm the patient before it is signed
    lack: Lack | None = None  # its images have not come in time, or are others in number


@dataclass(frozen=True, slots=True)
class ReadingQueue:
    """The studies that wait for a report: urgent ones first, then the oldest."""

    waiting: tuple[UnreportedStudy, ...]
    modalities: dict[str, int]  # modality -> number of studies since that instant
    older: int  # number of studies that have waited longer


@dataclass(frozen=True, slots=True)
class StudyToRead:
    """Everything that a doctor looks at while writing a report."""

    card: Card
    series: dict[int, list[PerformedSeries]]  # by id of the performed step
    doses: dict[int, list[Dose]]
    earlier: tuple[tuple[Visit, Report | None], ...]  # the patient's other studies here, newest first
    lacks: Mapping[int, Lack]  # by order id, of the earlier ones
    received: Received = field(default_factory=Received)  # what modalities have stored of it
    effective_dose: CalculatedDose | NotCalculated = NotCalculated.NO_ROW
    reads: tuple[Read, ...] = ()  # of which the signed report was made, where there were several


def queue(
    reader: Reader,
    since: datetime,
    modality: str = "",
    *,
    older: bool = False,
    limit: int = 200,
    images_due: ImagesDue | None = None,
) -> ReadingQueue:
    """Return the studies that wait for a report and were completed since an instant, of one modality or of all.

    `older`: those completed before that instant instead; `images_due` is that of `archive_gaps.lacks`.
    """
    side = "<" if older else ">="
    wanted: list[Any] = [since.isoformat(), modality, modality, limit]
    rows = reader.rows(
        "SELECT o.id, o.state_since, r.author_family, r.author_given, r.author_middle,"
        " EXISTS (SELECT 1 FROM scheduled_step s JOIN performed_step_link l ON l.scheduled_step_id = s.id"
        " WHERE s.order_id = o.id AND l.conflict <> '')"
        f" OR EXISTS ({archive.DISPUTED.format(order='o.id')}) AS doubtful"
        " FROM orders o LEFT JOIN report r ON r.order_id = o.id AND r.reading = 1 AND r.state = 'draft'"
        f" WHERE {orders.UNREPORTED} AND o.state_since {side} ? AND (? = '' OR o.modality = ?)"
        " ORDER BY o.priority = 'urgent' DESC, o.state_since, o.id LIMIT ?",
        wanted,
    )
    counts = reader.rows(
        f"SELECT o.modality, count(*) AS number FROM orders o WHERE {orders.UNREPORTED} AND o.state_since {side} ?"
        " GROUP BY o.modality ORDER BY 1",
        [since.isoformat()],
    )
    behind = reader.value(
        f"SELECT count(*) FROM orders o WHERE {orders.UNREPORTED} AND o.state_since < ?", [since.isoformat()]
    )
    found = {order.id: order for order in orders.get_many(reader, [row["id"] for row in rows])}
    made = _devices(reader, list(found))
    lacks = archive_gaps.lacks(reader, images_due, list(found))
    waiting = tuple(
        UnreportedStudy(
            order=found[row["id"]],
            since=datetime.fromisoformat(row["state_since"]),
            device=made.get(row["id"], ""),
            drafted_by=names.short(PersonName(row["author_family"], row["author_given"], row["author_middle"]))
            if row["author_family"]
            else "",
            doubtful=bool(row["doubtful"]),
            lack=lacks.get(row["id"]),
        )
        for row in rows
    )
    return ReadingQueue(waiting, {row["modality"]: row["number"] for row in counts}, behind)


def study(
    reader: Reader, accession_number: str, images_due: ImagesDue | None = None, earlier: int = 8
) -> StudyToRead | None:
    """Return everything about the study with this number, or None; `images_due` is that of `archive_gaps.lacks`."""
    card = order_card.card(reader, accession_number, images_due)
    if card is None:
        return None
    visits = schedule.history(reader, card.order.patient.stored_id, earlier + 1)
    others = [visit for visit in visits if visit.order.id != card.order.id][:earlier]
    return StudyToRead(
        card=card,
        series={step.stored_id: performed.series(reader, step.stored_id) for step in card.performed},
        doses={step.stored_id: performed.doses(reader, step.stored_id) for step in card.performed},
        earlier=tuple((visit, reports.signed(reader, visit.order.id)) for visit in others),
        reads=reads.of_report(reader, card.order.id),
        lacks=archive_gaps.lacks(reader, images_due, [visit.order.id for visit in others]),
        received=received.of_order(reader, card.order.id),
        effective_dose=effective_doses.of_order(reader, card.order),
    )


def _devices(reader: Reader, order_ids: list[int]) -> dict[int, str]:
    """Return the devices on which orders' images were made: order id -> names."""
    rows = reader.rows(
        "SELECT DISTINCT s.order_id, coalesce(d.name, p.ae_title) AS name FROM scheduled_step s"
        " JOIN performed_step_link l ON l.scheduled_step_id = s.id JOIN performed_step p ON p.id = l.performed_step_id"
        " LEFT JOIN device d ON d.ae_title = p.ae_title WHERE s.order_id IN (SELECT value FROM json_each(?))"
        " ORDER BY p.id",
        [json.dumps(order_ids)],
    )
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row["order_id"], []).append(row["name"])
    return {order_id: ", ".join(dict.fromkeys(devices)) for order_id, devices in found.items()}
