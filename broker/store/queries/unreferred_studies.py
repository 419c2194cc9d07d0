"""Studies of the image archive that belong to no order, and the orders that they may belong to. Reads only."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.domain.orders import Order, OrderState
from broker.domain.patients import identity
from broker.domain.studies import archive
from broker.domain.studies.archive import ArchiveStudy, StudyKey
from broker.store.database import Reader
from broker.store.queries.patients import patient_index
from broker.store.tables import orders
from broker.store.tables.archive_unreferred import UnreferredStudy, from_row

KEPT_FOR = timedelta(days=14)  # how long a study without an order is shown after its day
MOST = 200  # studies of a day without an order that are kept
BEFORE, AFTER = timedelta(days=3), timedelta(days=14)  # an order's time before and after that of its study
MOST_SHOWN = 100
MOST_CANDIDATES = 5


__all__ = ["UnreferredStudy"]


@dataclass(frozen=True, slots=True)
class OfferedStudy:
    """A study without an order, with the orders that fit it by patient and date, the likeliest first."""

    unreferred: UnreferredStudy
    candidates: tuple[Order, ...] = ()
    cancelled: str = ""  # the accession number of the cancelled order whose UID or number it bears


def modalities(reader: Reader) -> frozenset[str]:
    """Return the modalities of the devices of this clinic."""
    return frozenset(row["modality"] for row in reader.rows("SELECT DISTINCT modality FROM device WHERE approved = 1"))


def is_ours(study: ArchiveStudy, ours: Collection[str]) -> bool:
    """Return True if one of our devices, of these modalities, may have made a study; also if the archive names none."""
    may_be_made = not study.modality or any(archive.has_modality(study, each) for each in ours)
    return bool(study.study_instance_uid) and study.images != 0 and may_be_made


def is_known(reader: Reader, study: ArchiveStudy) -> bool:
    """Return True if a study is an order's, is compared with one, or was reported by a device: people see it there."""
    return bool(reader.value(f"SELECT {_KNOWN}", list(study.key)))


def open_studies(reader: Reader) -> tuple[OfferedStudy, ...]:
    """Return the studies without an order: those that an order fits first, of these and the others the newest first.

    One that a person has called none of an order's is shown only if another order fits it.
    """
    found = [(each, fitting) for each, fitting, asked in _open(reader) if fitting or not asked]
    studies = [OfferedStudy(each, tuple(fitting), _cancelled(reader, each.study)) for each, fitting in found]
    return tuple(sorted(studies, key=lambda each: not each.candidates))


def offered(reader: Reader) -> tuple[OfferedStudy, ...]:
    """Return those of `open_studies` that an order fits."""
    found = [(each, fitting) for each, fitting, _ in _open(reader) if fitting]
    return tuple(OfferedStudy(each, tuple(fitting), _cancelled(reader, each.study)) for each, fitting in found)


def _open(reader: Reader) -> list[tuple[UnreferredStudy, list[Order], bool]]:
    """Return the open studies, each with the orders that fit, and whether it was called none of an order's."""
    rows = reader.rows(f"{_OPEN} ORDER BY u.start DESC, u.id DESC LIMIT ?", [MOST_SHOWN])
    found = _candidates(reader, [from_row(row) for row in rows])
    return [(each, fitting, bool(row["was_dismissed"])) for (each, fitting), row in zip(found, rows, strict=True)]


def named_orders(reader: Reader, studies: Iterable[ArchiveStudy]) -> set[int]:
    """Return the orders (ids) whose Study Instance UID or accession number these studies bear."""
    return {id for each in studies for id in _named(reader, each)}


def _named(reader: Reader, study: ArchiveStudy) -> list[int]:
    uid, number = study.study_instance_uid, study.accession_number
    found = [orders.owner(reader, "study_instance_uid", uid) if uid else None]
    found += [orders.owner(reader, "accession_number", number) if number else None]
    return [id for id in found if id is not None]


def _cancelled(reader: Reader, study: ArchiveStudy) -> str:
    named = orders.get_many(reader, _named(reader, study))
    return next((order.accession_number for order in named if order.state is OrderState.CANCELLED), "")


def dismissed(reader: Reader, since: datetime) -> tuple[UnreferredStudy, ...]:
    """Return the studies that people have left without an order since an instant (UTC), the last decision first."""
    rows = reader.rows(
        "SELECT * FROM archive_unreferred WHERE state = 'dismissed' AND decided_at >= ? ORDER BY decided_at DESC, id",
        [since.isoformat()],
    )
    return tuple(map(from_row, rows))


def candidates(reader: Reader, unreferred: UnreferredStudy) -> list[Order]:
    """Return the orders of the same patient, about the time of a study, that have no images in the archive yet."""
    [(_, found)] = _candidates(reader, [unreferred])
    return found


def _candidates(reader: Reader, studies: list[UnreferredStudy]) -> list[tuple[UnreferredStudy, list[Order]]]:
    rows = reader.rows(
        _CANDIDATES,
        {
            "ids": json.dumps([each.id for each in studies]),
            "before": f"-{BEFORE.days} days",
            "after": f"+{AFTER.days} days",
            "cancelled": OrderState.CANCELLED,
        },
    )
    by_id = {order.id: order for order in orders.get_many(reader, list({row["order_id"] for row in rows}))}
    found = []
    for each in studies:
        mine = [by_id[row["order_id"]] for row in rows if row["id"] == each.id]
        fitting = [order for order in mine if _fits(reader, order, each.study)]
        found.append((each, sorted(fitting, key=lambda order: _rank(order, each.study))[:MOST_CANDIDATES]))
    return found


def _fits(reader: Reader, order: Order, study: ArchiveStudy) -> bool:
    """Return True if nothing of a study's patient contradicts the order's, and the name or the number agrees."""
    person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    if patient_index.contradictions(reader, order.patient, *person):
        return False
    cards = patient_index.cards(reader, order.patient)
    return bool(identity.agreements_of_cards(cards, *person))


def _rank(order: Order, study: ArchiveStudy) -> tuple[bool, bool, timedelta, int]:
    distance = abs(order.steps[0].start - study.start) if study.start else timedelta(0)
    other_kind = bool(study.modality) and not archive.has_modality(study, order.modality)
    return other_kind, order.state is OrderState.COMPLETED, distance, order.id


def _known(uid: str, number: str, name: str, patient_id: str, birth_date: str) -> str:
    """Return the condition that a study with these values is an order's, is compared with one, or was reported.

    A cancelled order does not count: what was made for it nevertheless has no order. Nor does one that a person has
    said the study is not of.
    """
    dismissed = (
        "SELECT 1 FROM archive_discrepancy d WHERE d.order_id = known.id AND d.state = 'dismissed'"
        f" AND d.study_instance_uid = {uid} AND d.patient_name = {name} AND d.patient_id = {patient_id}"
        f" AND d.birth_date = {birth_date}"
    )
    order = f"EXISTS (SELECT 1 FROM orders known WHERE known.state <> 'cancelled' AND NOT EXISTS ({dismissed}) AND"
    return (
        f"{order} known.study_instance_uid = {uid})"
        f" OR EXISTS (SELECT 1 FROM performed_step_reference WHERE study_instance_uid = {uid}"
        " AND study_instance_uid <> '')"
        f" OR EXISTS (SELECT 1 FROM archive_discrepancy WHERE study_instance_uid = {uid} AND state <> 'dismissed')"
        f" OR ({number} <> '' AND ({order} known.accession_number = {number})"
        f" OR {order} known.bus_accession_number = {number})))"
    )


_KNOWN = _known("?1", "?2", "?3", "?4", "?5")
_OPEN = (
    "SELECT u.*, EXISTS (SELECT 1 FROM archive_discrepancy d WHERE d.study_instance_uid = u.study_instance_uid"
    " AND d.state = 'dismissed' AND d.kind <> 'unreferred') AS was_dismissed"
    " FROM archive_unreferred u WHERE u.state = 'open' AND NOT ("
    + _known(*(f"u.{name}" for name in StudyKey._fields))
    + ")"
)
# The orders about the time of a study whose patients share the card number or the birth date with it.
_CANDIDATES = (
    "WITH u AS (SELECT * FROM archive_unreferred WHERE id IN (SELECT value FROM json_each(:ids))),"
    " who (id, start, uid, patient_id) AS ("
    " SELECT u.id, u.start, u.study_instance_uid, coalesce(p.merged_into, p.id)"
    " FROM u JOIN patient p ON p.patient_id = u.patient_id WHERE u.patient_id <> ''"
    " UNION SELECT u.id, u.start, u.study_instance_uid, p.id FROM u JOIN patient p ON p.birth_date ="
    " substr(u.birth_date, 1, 4) || '-' || substr(u.birth_date, 5, 2) || '-' || substr(u.birth_date, 7, 2)"
    " WHERE length(u.birth_date) = 8)"
    " SELECT DISTINCT who.id, o.id AS order_id FROM who JOIN orders o ON o.patient_id = who.patient_id"
    " JOIN scheduled_step s ON s.order_id = o.id"
    " WHERE s.start >= strftime('%Y-%m-%dT%H:%M:%S', who.start, :before)"
    " AND s.start <= strftime('%Y-%m-%dT%H:%M:%S', who.start, :after)"
    " AND o.state <> :cancelled AND o.owner = '' AND NOT EXISTS"
    " (SELECT 1 FROM archive_study a WHERE a.order_id = o.id AND a.study_instance_uid <> '' AND a.images IS NOT 0)"
    " AND NOT EXISTS (SELECT 1 FROM archive_discrepancy d WHERE d.order_id = o.id AND d.study_instance_uid = who.uid"
    " AND d.state = 'dismissed')"
    " ORDER BY o.id"
)
