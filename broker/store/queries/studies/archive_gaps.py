"""Where the image archive and the orders do not fit: what waits for a person. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.domain.orders import Order, OrderState
from broker.domain.patients.people import Patient
from broker.domain.studies.archive import ArchiveStudy, Discrepancy, DiscrepancyKind
from broker.store.database import Reader, Row
from broker.store.queries.patients import patient_index
from broker.store.queries.studies import unreferred_studies
from broker.store.queries.studies.unreferred_studies import OfferedStudy
from broker.store.tables import orders
from broker.store.tables.patients import patients
from broker.store.tables.studies import archive
from broker.store.tables.studies.archive_unreferred import UnreferredStudy

UNDONE_FOR = timedelta(days=7)  # how long a decision is shown, to be taken back
COUNTED_FOR = timedelta(days=7)  # how long other numbers of images are shown after their study ended
MISSED_FOR = timedelta(days=14)  # how long images are missed after their study ended


@dataclass(frozen=True, slots=True)
class DoubtfulStudy:
    """A study in the archive that bears an order's UID or number and does not fit the order."""

    discrepancy: Discrepancy
    order: Order
    cards: tuple[Patient, ...] = ()  # merged into the patient's since


@dataclass(frozen=True, slots=True)
class MissingImages:
    """An order that a device or the archive itself reported, and of which the archive has no images."""

    order: Order
    since: datetime  # UTC: the end of the study


@dataclass(frozen=True, slots=True)
class Counted:
    """How many images devices have reported of an order, and how many the archive holds.

    What was made in one step for several orders is reported in one number: then both are those of all these orders.
    """

    reported: int
    archived: int
    together: tuple[str, ...] = ()  # the accession numbers of the other orders that are counted with it


@dataclass(frozen=True, slots=True)
class OtherCount:
    """An order of which the archive holds more or fewer images than its devices have reported."""

    order: Order
    counted: Counted
    held: int  # of the order alone, in the archive


Lack = MissingImages | OtherCount


@dataclass(frozen=True, slots=True)
class ArchiveGaps:
    """Everything in which the archive and the orders differ now."""

    studies: tuple[DoubtfulStudy, ...]  # the gravest first, of one gravity the oldest
    missing: tuple[MissingImages, ...]  # the longest missing first
    decided: tuple[DoubtfulStudy, ...]  # what people have lately decided about, the last decision first
    answered_at: datetime | None  # UTC: when the archive last answered
    unreferred: tuple[OfferedStudy, ...] = ()  # studies without an order; those that an order fits come first
    counts: tuple[OtherCount, ...] = ()  # the longest different first
    left: tuple[UnreferredStudy, ...] = ()  # what people have lately left without an order, the last decision first


def open_studies(reader: Reader) -> tuple[DoubtfulStudy, ...]:
    """Return the studies that wait for a person, the gravest first, of one gravity the oldest."""
    rows = reader.rows("SELECT * FROM archive_discrepancy WHERE state = 'open' ORDER BY id")
    return tuple(sorted(_with_orders(reader, rows), key=lambda each: _GRAVITY[each.discrepancy.kind]))


def decided_studies(reader: Reader, since: datetime) -> tuple[DoubtfulStudy, ...]:
    """Return the studies that people have decided about since an instant (UTC), the last decision first."""
    sql = "SELECT * FROM archive_discrepancy WHERE state <> 'open' AND decided_at >= ? ORDER BY decided_at DESC, id"
    return tuple(_with_orders(reader, reader.rows(sql, [since.isoformat()])))


def _with_orders(reader: Reader, rows: Iterable[Row]) -> list[DoubtfulStudy]:
    found = [archive.discrepancy_from_row(row) for row in rows]
    by_id = {order.id: order for order in orders.get_many(reader, list({each.order_id for each in found}))}
    cards = {order.id: patient_index.former_cards(reader, order.patient) for order in by_id.values()}
    return [DoubtfulStudy(each, by_id[each.order_id], cards[each.order_id]) for each in found]


def missing_images(reader: Reader, ended_before: datetime) -> tuple[MissingImages, ...]:
    """Return the orders that ended before an instant (UTC) without images in the archive, the longest missing first.

    Only what a device or the archive has reported counts, unless a device reported series without images; the archive
    must have answered since. What waits for a person as a discrepancy may be these images, and a person may say that
    none will come.
    """
    since = (ended_before - MISSED_FOR).isoformat()
    rows = reader.rows(_MISSING + " ORDER BY o.state_since, o.id", [since, ended_before.isoformat()])
    by_id = {order.id: order for order in orders.get_many(reader, [row["id"] for row in rows])}
    return tuple(MissingImages(by_id[row["id"]], datetime.fromisoformat(row["state_since"])) for row in rows)


def unresolved(reader: Reader, now: datetime) -> list[int]:
    """Return the orders (ids) with something that the archive may put right: a discrepancy, missing images."""
    open_ids = reader.rows("SELECT DISTINCT order_id AS id FROM archive_discrepancy WHERE state = 'open' ORDER BY id")
    since = (now - MISSED_FOR).isoformat()
    return [row["id"] for row in (*open_ids, *reader.rows(_MISSING, [since, now.isoformat()]))]


def are_images_missing(reader: Reader, order_id: int, ended_before: datetime) -> bool:
    """Return True if `missing_images` has this order."""
    since = (ended_before - MISSED_FOR).isoformat()
    return bool(reader.rows(_MISSING + " AND o.id = ?3", [since, ended_before.isoformat(), order_id]))


def gaps(reader: Reader, now: datetime, ended_before: datetime | None) -> ArchiveGaps:
    """Return everything in which the archive and the orders differ now; `ended_before` None: no images are missed."""
    since = now - UNDONE_FOR
    return ArchiveGaps(
        studies=open_studies(reader),
        missing=missing_images(reader, ended_before) if ended_before else (),
        decided=decided_studies(reader, since),
        answered_at=archive.answered_at(reader),
        unreferred=unreferred_studies.open_studies(reader),
        counts=other_counts(reader, ended_before) if ended_before else (),
        left=unreferred_studies.dismissed(reader, since),
    )


def other_counts(reader: Reader, ended_before: datetime) -> tuple[OtherCount, ...]:
    """Return the orders that ended before an instant (UTC) with other numbers of images, the longest different first.

    That of the archive is what it settled on; one that a person has found right does not count.
    """
    rows = reader.rows(_OTHER_COUNTS, [(ended_before - COUNTED_FOR).isoformat(), ended_before.isoformat()])
    by_id = {order.id: order for order in orders.get_many(reader, [row["id"] for row in rows])}
    alone = {row["id"]: Counted(row["made"], row["archived"]) for row in rows if not row["shared"]}
    shared = {row["id"]: counted(reader, row["id"]) for row in rows if row["shared"]}
    found = [(row["id"], row["archived"], alone.get(row["id"]) or shared.get(row["id"])) for row in rows]
    return tuple(
        OtherCount(by_id[id], each, held) for id, held, each in found if each and each.reported != each.archived
    )


def lacks(reader: Reader, ended_before: datetime | None) -> dict[int, Lack]:
    """Return by their orders (ids) the images that are missed, or are more or fewer; None: none are missed."""
    if ended_before is None:
        return {}
    found: dict[int, Lack] = {each.order.id: each for each in other_counts(reader, ended_before)}
    return found | {each.order.id: each for each in missing_images(reader, ended_before)}


def counted(reader: Reader, order_id: int) -> Counted | None:
    """Return how many images of an order were reported and are held, with the orders that it was made together with.

    None while that cannot be compared: not all are completed, or the archive has not answered of all.
    """
    members = reader.rows(
        f"{_TOGETHER} SELECT o.id, o.accession_number, o.state, a.study_instance_uid, a.images FROM member m"
        " JOIN orders o ON o.id = m.id LEFT JOIN archive_study a ON a.order_id = m.id ORDER BY o.id",
        [order_id],
    )
    if any(row["images"] is None or row["state"] != "completed" for row in members):
        return None
    held: dict[str, int] = {}  # orders whose images lie under one UID hold the same images
    for row in members:
        held[row["study_instance_uid"]] = max(row["images"], held.get(row["study_instance_uid"], 0))
    made = reader.value(
        f"{_TOGETHER} SELECT sum(p.images) FROM performed_step p WHERE p.source = 'modality' AND p.state = 'COMPLETED'"
        " AND p.id IN (SELECT l.performed_step_id FROM performed_step_link l"
        " JOIN scheduled_step s ON s.id = l.scheduled_step_id JOIN member m ON m.id = s.order_id)",
        [order_id],
    )
    others = tuple(row["accession_number"] for row in members if row["id"] != order_id)
    return Counted(made or 0, sum(held.values()), others)


def other_count(reader: Reader, order: Order) -> OtherCount | None:
    """Return by how many images an order and the archive differ; None if they do not, or a person finds it right."""
    holding = archive.holding(reader, order.id)
    if order.state is not OrderState.COMPLETED or holding is None or not holding.images:
        return None
    found = counted(reader, order.id)
    is_seen = holding.difference_seen == holding.images
    if found is None or is_seen or not found.reported or found.reported == found.archived:
        return None
    return OtherCount(order, found, holding.images)


def counted_together(reader: Reader, order_id: int) -> list[int]:
    """Return the orders (ids) whose images are counted in one, with this one."""
    return [row["id"] for row in reader.rows(f"{_TOGETHER} SELECT id FROM member ORDER BY id", [order_id])]


def owners(reader: Reader, studies: Iterable[DoubtfulStudy]) -> dict[int, Patient]:
    """Return our other patients whose Patient ID a study bears, by the discrepancy's id."""
    found = {each.discrepancy.id: owner_of(reader, each.order, each.discrepancy.study) for each in studies}
    return {id: owner for id, owner in found.items() if owner is not None}


def owner_of(reader: Reader, order: Order, study: ArchiveStudy) -> Patient | None:
    """Return our other patient, not the order's, whose Patient ID a study bears; None if there is none."""
    owner = patients.find_by(reader, "patient_id", study.patient_id) if study.patient_id else None
    return owner if owner is not None and owner.id != order.patient.id else None


_MISSING = (
    "SELECT o.id, o.state_since FROM archive_study a JOIN orders o ON o.id = a.order_id"
    " WHERE a.images = 0 AND a.waived_by = '' AND a.asked_at >= ?1 AND o.state = 'completed'"
    " AND o.state_since >= ?1 AND o.state_since <= ?2 AND a.asked_at >= o.state_since AND NOT EXISTS"
    " (SELECT 1 FROM archive_discrepancy d WHERE d.order_id = o.id AND d.state = 'open') AND EXISTS"
    " (SELECT 1 FROM scheduled_step s JOIN performed_step_link l ON l.scheduled_step_id = s.id"
    " JOIN performed_step p ON p.id = l.performed_step_id WHERE s.order_id = o.id AND p.state = 'COMPLETED'"
    " AND p.source <> 'manual' AND (p.images > 0 OR NOT EXISTS"
    " (SELECT 1 FROM performed_series e WHERE e.performed_step_id = p.id)))"
)
# The order ?1, and those that were made in one performed step with it.
_TOGETHER = (
    "WITH RECURSIVE member (id) AS (SELECT ?1 UNION SELECT t.order_id FROM member m"
    " JOIN scheduled_step s ON s.order_id = m.id JOIN performed_step_link l ON l.scheduled_step_id = s.id"
    " JOIN performed_step_link k ON k.performed_step_id = l.performed_step_id"
    " JOIN scheduled_step t ON t.id = k.scheduled_step_id)"
)
_OTHER_COUNTS = (
    "SELECT o.id, a.images AS archived, EXISTS (SELECT 1 FROM scheduled_step s"
    " JOIN performed_step_link l ON l.scheduled_step_id = s.id"
    " JOIN performed_step_link k ON k.performed_step_id = l.performed_step_id"
    " JOIN scheduled_step t ON t.id = k.scheduled_step_id WHERE s.order_id = o.id AND t.order_id <> o.id) AS shared,"
    " (SELECT sum(p.images) FROM performed_step p WHERE p.source = 'modality'"
    " AND p.state = 'COMPLETED' AND p.id IN (SELECT l.performed_step_id FROM performed_step_link l"
    " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = o.id)) AS made"
    " FROM (SELECT DISTINCT order_id FROM scheduled_step WHERE state = 'COMPLETED' AND state_since >= ?1) ended"
    " JOIN orders o ON o.id = ended.order_id JOIN archive_study a ON a.order_id = o.id"
    " WHERE o.state = 'completed' AND o.state_since <= ?2 AND a.images > 0 AND a.difference_seen IS NOT a.images"
    " AND made > 0 AND made <> a.images ORDER BY o.state_since, o.id"
)
_GRAVITY = {kind: gravity for gravity, kind in enumerate(DiscrepancyKind)}
