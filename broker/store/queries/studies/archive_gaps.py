"""Where the image archive and the orders do not fit: what waits for a person. It changes nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.domain.orders import Order
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
HELD_FOR = timedelta(days=60)  # how long what the region waits for is shown after its study ended
MISSED_FOR = timedelta(days=14)  # how long images are missed after their study ended


@dataclass(frozen=True, slots=True)
class ImagesDue:
    """Which studies must have images in the archive by now."""

    before: datetime  # UTC: those that ended before
    holds_region: bool = False  # the region learns of a study only when the archive has images of it


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
    holds_region: bool = (
        False  # the region does not learn of the study before they come, or a person says where they are
    )


@dataclass(frozen=True, slots=True)
class Counted:
    """How many images devices have reported of an order, and how many the archive holds.

    What was made in one step for several orders is reported in one number, and what the archive keeps as one study for
    several orders is held as one: then both are those of all these orders.
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
class FewerImages:
    """An order of which the archive holds fewer images than when a doctor has looked at them for the signed report."""

    order: Order
    before: int
    held: int


@dataclass(frozen=True, slots=True)
class ArchiveGaps:
    """Everything in which the archive and the orders differ now."""

    studies: tuple[DoubtfulStudy, ...]  # the gravest first, of one gravity the oldest
    missing: tuple[MissingImages, ...]  # the longest missing first
    decided: tuple[DoubtfulStudy, ...]  # what people have lately decided about, the last decision first
    answered_at: datetime | None  # UTC: when the archive last answered
    unreferred: tuple[OfferedStudy, ...] = ()  # studies without an order; those that an order fits come first
    counts: tuple[OtherCount, ...] = ()  # the longest different first
    fewer: tuple[FewerImages, ...] = ()  # the oldest order first
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


def missing_images(
    reader: Reader, due: ImagesDue, order_ids: Collection[int] | None = None
) -> tuple[MissingImages, ...]:
    """Return the orders that ended in time without images in the archive, the longest missing first.

    Only what a device or the archive has reported counts, unless a device reported series without images; the archive
    must have answered since. What waits for a person as a discrepancy may be these images, and a person may say that
    none will come. Whatever the region is kept waiting for counts, too, however it was closed and whether or not the
    archive has answered. Of all orders those of the last days; of `order_ids` also older ones.
    """
    held: set[int] = set()
    since = {row["id"]: row["state_since"] for row in _rows(reader, _MISSING, due.before, MISSED_FOR, order_ids)}
    if due.holds_region:
        found = _rows(reader, _AWAITED_BY_REGION, due.before, HELD_FOR, order_ids)
        held = {row["id"] for row in found}
        since |= {row["id"]: row["state_since"] for row in found}
    by_id = {order.id: order for order in orders.get_many(reader, list(since))}
    return tuple(
        MissingImages(by_id[id], datetime.fromisoformat(at), holds_region=id in held)
        for id, at in sorted(since.items(), key=lambda each: (each[1], each[0]))
    )


def fewer_images(reader: Reader) -> tuple[FewerImages, ...]:
    """Return the orders whose signed report is in doubt since the archive holds fewer images, the oldest first."""
    rows = reader.rows(_FEWER)
    by_id = {order.id: order for order in orders.get_many(reader, [row["id"] for row in rows])}
    return tuple(FewerImages(by_id[row["id"]], row["fewer_than"], row["images"] or 0) for row in rows)


def unresolved(reader: Reader, now: datetime, *, holds_region: bool = False) -> list[int]:
    """Return the orders (ids) with something that the archive may put right: a discrepancy, images that are missed."""
    held = _rows(reader, _AWAITED_BY_REGION, now, HELD_FOR, None) if holds_region else []
    open_ids = reader.rows("SELECT DISTINCT order_id AS id FROM archive_discrepancy WHERE state = 'open' ORDER BY id")
    return [
        row["id"] for row in (*open_ids, *_rows(reader, _MISSING, now, MISSED_FOR, None), *reader.rows(_FEWER), *held)
    ]


def gaps(reader: Reader, now: datetime, due: ImagesDue | None) -> ArchiveGaps:
    """Return everything in which the archive and the orders differ now; `due` None: no images are missed."""
    since = now - UNDONE_FOR
    return ArchiveGaps(
        studies=open_studies(reader),
        missing=missing_images(reader, due) if due else (),
        decided=decided_studies(reader, since),
        answered_at=archive.answered_at(reader),
        unreferred=unreferred_studies.open_studies(reader),
        counts=other_counts(reader, due.before) if due else (),
        fewer=fewer_images(reader),
        left=unreferred_studies.dismissed(reader, since),
    )


def other_counts(
    reader: Reader, ended_before: datetime, order_ids: Collection[int] | None = None
) -> tuple[OtherCount, ...]:
    """Return the orders that ended before an instant (UTC) with other numbers of images, the longest different first.

    That of the archive is what it settled on; one that a person has found right does not count. Of all orders those of
    the last days; of `order_ids` also older ones.
    """
    rows = _rows(reader, _OTHER_COUNTS, ended_before, COUNTED_FOR, order_ids)
    found = [
        (row["id"], row["archived"], counted(reader, row["id"]) if row["is_shared"] else _counted(row, row["archived"]))
        for row in rows
    ]
    by_id = {order.id: order for order in orders.get_many(reader, [id for id, _, _ in found])}
    return tuple(
        OtherCount(by_id[id], each, held) for id, held, each in found if each and each.reported != each.archived
    )


def lacks(reader: Reader, due: ImagesDue | None, order_ids: Collection[int] | None = None) -> dict[int, Lack]:
    """Return by their orders (ids) the images that are missed, or are more or fewer; None: none are missed.

    What a page says of an order's images comes from here, so that all pages say the same. `order_ids`: of these only.
    """
    if due is None:
        return {}
    found: dict[int, Lack] = {each.order.id: each for each in other_counts(reader, due.before, order_ids)}
    return found | {each.order.id: each for each in missing_images(reader, due, order_ids)}


def _rows(
    reader: Reader, sql: str, ended_before: datetime, period: timedelta, order_ids: Collection[int] | None
) -> list[Row]:
    """Return the rows of orders that ended in a period before an instant (UTC), or of these orders, however old."""
    if order_ids is None:
        params = [(ended_before - period).isoformat(), ended_before.isoformat()]
        return reader.rows(sql.format(only="", ended=_ENDED), params)
    only, ended = " AND o.id IN (SELECT value FROM json_each(?3))", "(SELECT value AS order_id FROM json_each(?3))"
    return reader.rows(sql.format(only=only, ended=ended), ["", ended_before.isoformat(), json.dumps(list(order_ids))])


def counted(reader: Reader, order_id: int) -> Counted | None:
    """Return how many images of an order were reported and are held, with the orders that are counted together with it.

    None while that cannot be compared: not all are over, or the archive has not answered of all.
    """
    members = reader.rows(
        f"{_TOGETHER} SELECT o.id, o.accession_number, o.state, a.study_instance_uid, a.images FROM member m"
        " JOIN orders o ON o.id = m.id LEFT JOIN archive_study a ON a.order_id = m.id ORDER BY o.id",
        [order_id],
    )
    if any(row["images"] is None or row["state"] not in _OVER for row in members):
        return None
    held: dict[str, int] = {}  # orders whose images lie under one UID hold the same images
    for row in members:
        held[row["study_instance_uid"]] = max(row["images"], held.get(row["study_instance_uid"], 0))
    [made] = reader.rows(
        f"{_TOGETHER} SELECT {_MADE} FROM performed_step p WHERE p.id IN (SELECT l.performed_step_id"
        " FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " JOIN member m ON m.id = s.order_id)",
        [order_id],
    )
    others = tuple(row["accession_number"] for row in members if row["id"] != order_id)
    return _counted(made, sum(held.values()), others)


def _counted(made: Row, archived: int, together: tuple[str, ...] = ()) -> Counted:
    """Return what was reported beside what is held, the two equal where nothing contradicts.

    Images of an interrupted step may be there or not, and of a step whose images were not counted there may be any
    number. `made` has the columns of `_MADE`.
    """
    least, most = made["completed"] or 0, (made["completed"] or 0) + (made["interrupted"] or 0)
    if archived > most and not made["uncounted"]:
        return Counted(most, archived, together)
    return Counted(max(least, archived), archived, together)


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
    " (SELECT 1 FROM performed_series e WHERE e.performed_step_id = p.id))){only} ORDER BY o.state_since, o.id"
)
_AWAITED_BY_REGION = (
    "SELECT o.id, o.state_since FROM {ended} ended JOIN orders o ON o.id = ended.order_id"
    " WHERE o.state = 'completed' AND o.bus_role <> '' AND o.owner = '' AND o.state_since <= ?2 AND NOT EXISTS"
    " (SELECT 1 FROM outbox b WHERE b.order_id = o.id AND b.kind = 'images' AND b.state <> 'dropped') AND NOT EXISTS"
    " (SELECT 1 FROM archive_study a WHERE a.order_id = o.id"
    " AND (a.waived_by <> '' OR (a.study_instance_uid <> '' AND a.images IS NOT 0))) AND NOT EXISTS"
    " (SELECT 1 FROM archive_discrepancy d WHERE d.order_id = o.id AND d.state = 'open') AND NOT EXISTS"
    " (SELECT 1 FROM scheduled_step s JOIN performed_step_link l ON l.scheduled_step_id = s.id"
    " WHERE s.order_id = o.id AND l.conflict <> ''){only}"
)
# The orders that have images in common with the order {order}: made in one performed step, or kept as one study of the
# archive's, which is looked up by its own UID, by what devices have reported, and by what people have accepted.
_IN_COMMON = (
    "SELECT t.order_id FROM scheduled_step s JOIN performed_step_link l ON l.scheduled_step_id = s.id"
    " JOIN performed_step_link k ON k.performed_step_id = l.performed_step_id"
    " JOIN scheduled_step t ON t.id = k.scheduled_step_id WHERE s.order_id = {order}"
    " UNION SELECT b.order_id FROM archive_study h JOIN archive_study b ON b.order_id IN"
    " (SELECT x.id FROM orders x WHERE x.study_instance_uid = h.study_instance_uid"
    " UNION ALL SELECT s.order_id FROM performed_step_reference r"
    " JOIN performed_step_link l ON l.performed_step_id = r.performed_step_id"
    " JOIN scheduled_step s ON s.id = l.scheduled_step_id"
    " WHERE r.study_instance_uid = h.study_instance_uid AND r.study_instance_uid <> ''"
    " UNION ALL SELECT d.order_id FROM archive_discrepancy d"
    " WHERE d.study_instance_uid = h.study_instance_uid AND d.state = 'accepted')"
    " AND b.study_instance_uid = h.study_instance_uid WHERE h.order_id = {order} AND h.study_instance_uid <> ''"
)
# The order ?1, and those that are counted together with it.
_TOGETHER = (
    "WITH RECURSIVE member (id) AS (SELECT ?1 UNION SELECT c.id FROM member m"
    f" JOIN orders c ON c.id IN ({_IN_COMMON.format(order='m.id')}))"
)
_OVER = ("completed", "discontinued")
# What devices have reported of performed steps (p), and whether there are others whose images were not counted.
_MADE = (
    "sum(p.images) FILTER (WHERE p.source = 'modality' AND p.state = 'COMPLETED') AS completed,"
    " sum(p.images) FILTER (WHERE p.source = 'modality' AND p.state = 'DISCONTINUED') AS interrupted,"
    " max(p.source <> 'modality' OR (p.state = 'COMPLETED' AND p.images = 0"
    " AND NOT EXISTS (SELECT 1 FROM performed_series e WHERE e.performed_step_id = p.id))) AS uncounted"
)
_ENDED = "(SELECT DISTINCT order_id FROM scheduled_step WHERE state = 'COMPLETED' AND state_since >= ?1)"
_OTHER_COUNTS = (
    f"SELECT o.id, a.images AS archived, {_MADE},"
    f" EXISTS (SELECT 1 FROM ({_IN_COMMON.format(order='o.id')}) WHERE order_id <> o.id) AS is_shared"
    " FROM {ended} ended"
    " JOIN orders o ON o.id = ended.order_id JOIN archive_study a ON a.order_id = o.id"
    " JOIN performed_step p ON p.id IN (SELECT l.performed_step_id FROM performed_step_link l"
    " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = o.id)"
    " WHERE o.state = 'completed' AND o.state_since <= ?2 AND a.images > 0 AND a.difference_seen IS NOT a.images"
    "{only} GROUP BY o.id HAVING completed > 0 AND (is_shared OR completed <> archived)"
    " ORDER BY o.state_since, o.id"
)
_FEWER = (
    "SELECT a.order_id AS id, a.fewer_than, a.images FROM archive_study a JOIN orders o ON o.id = a.order_id"
    " WHERE a.fewer_than IS NOT NULL AND o.reported = 1 ORDER BY a.order_id"
)
_GRAVITY = {kind: gravity for gravity, kind in enumerate(DiscrepancyKind)}
