"""Studies of the image archive that belong to no order, and the orders that they may belong to. Reads only."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from broker.domain.orders import Order, OrderState
from broker.domain.patients import identity, names
from broker.domain.patients.people import PersonName
from broker.domain.studies import archive, passthrough
from broker.domain.studies.archive import ArchiveStudy, StudyKey
from broker.store.database import Reader
from broker.store.queries.patients import patient_index
from broker.store.tables import orders
from broker.store.tables.studies.archive_unreferred import UnreferredStudy, from_row

MOST_OFFERED = 500  # studies that boards compare with orders; the archive's page compares all
KEPT_FOR = timedelta(days=14)  # how long a study without an order is shown after its day
BEFORE, AFTER = timedelta(days=3), timedelta(days=14)  # an order's time before and after that of its study
MOST_CANDIDATES = 5
_BEGINNING = 3  # letters of a family name
_NO_BIRTH_DATE = "19000101"  # what devices report of somebody of whom they were not given one


__all__ = ["UnreferredStudy"]


@dataclass(frozen=True, slots=True)
class OfferedStudy:
    """A study without an order, with the orders that fit it by patient and date, the likeliest first."""

    unreferred: UnreferredStudy
    candidates: tuple[Order, ...] = ()
    cancelled: str = ""  # the accession number of the cancelled order whose UID or number it bears
    uncertain: frozenset[int] = frozenset()  # candidates (ids) that fit by name only: no birth date was compared


def modalities(reader: Reader, on: date) -> frozenset[str]:
    """Return the modalities that this clinic may have made a study with that day.

    They are those of its devices, and of its orders about that day: an imported one may be for a station that is not
    registered here.
    """
    rows = reader.rows(
        "SELECT DISTINCT modality FROM device WHERE approved = 1 UNION SELECT DISTINCT o.modality FROM scheduled_step s"
        " JOIN orders o ON o.id = s.order_id WHERE s.start >= ? AND s.start < ? AND o.owner = ''",
        [(on - BEFORE).isoformat(), (on + AFTER + timedelta(days=1)).isoformat()],
    )
    return frozenset(row["modality"] for row in rows)


def is_ours(study: ArchiveStudy, ours: Collection[str]) -> bool:
    """Return True if this clinic may have made a study, with these modalities; also if the archive names none."""
    may_be_made = not study.modality or any(archive.has_modality(study, each) for each in ours)
    return bool(study.study_instance_uid) and study.images != 0 and may_be_made


def is_known(reader: Reader, study: ArchiveStudy) -> bool:
    """Return True if a study is an order's, is compared with one, or was reported by a device: people see it there."""
    return bool(reader.value(f"SELECT {_KNOWN}", list(study.key)))


def open_studies(reader: Reader) -> tuple[OfferedStudy, ...]:
    """Return the studies without an order: those that an order fits first, of these and the others the newest first.

    One that a person has called none of an order's is shown only if another order fits it.
    """
    rows = reader.rows(_OPEN + _NEWEST_FIRST)
    found = _candidates(reader, [from_row(row) for row in rows])
    studies = [
        _offer(reader, each, fitting)
        for (each, fitting), row in zip(found, rows, strict=True)
        if fitting or not row["was_dismissed"]
    ]
    return tuple(sorted(studies, key=lambda each: not each.candidates))


def offered(reader: Reader) -> tuple[OfferedStudy, ...]:
    """Return those of the MOST_OFFERED newest `open_studies` that an order fits."""
    # Whether an order knows a study is asked of the few only that have candidates: boards read this at every change.
    rows = reader.rows(
        "SELECT u.* FROM archive_unreferred u WHERE u.state = 'open'" + _NEWEST_FIRST + " LIMIT ?", [MOST_OFFERED]
    )
    found = [(each, fitting) for each, fitting in _candidates(reader, [from_row(row) for row in rows]) if fitting]
    return tuple(_offer(reader, each, fitting) for each, fitting in found if not is_known(reader, each.study))


def _offer(reader: Reader, unreferred: UnreferredStudy, fitting: list[_Candidate]) -> OfferedStudy:
    return OfferedStudy(
        unreferred,
        tuple(each.order for each in fitting),
        _cancelled(reader, unreferred.study),
        frozenset(each.order.id for each in fitting if not each.certain),
    )


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


class _Candidate(NamedTuple):
    """An order that may be a study's; not `certain` where neither birth date nor number could be compared."""

    order: Order
    certain: bool


def _candidates(reader: Reader, studies: list[UnreferredStudy]) -> list[tuple[UnreferredStudy, list[_Candidate]]]:
    """Return studies, each with the orders of its patient about its time that have no images in the archive yet."""
    rows = reader.rows(
        _CANDIDATES,
        {
            "ids": json.dumps([each.id for each in studies]),
            "names": json.dumps([[each.id, *_keys(each.study)] for each in studies if not _is_dated(each.study)]),
            "undated": json.dumps(_undated(reader, studies)),
            "before": f"-{BEFORE.days} days",
            "after": f"+{AFTER.days} days",
            "cancelled": OrderState.CANCELLED,
        },
    )
    by_id = {order.id: order for order in orders.get_many(reader, list({row["order_id"] for row in rows}))}
    mine: dict[int, list[tuple[Order, bool]]] = {}
    for row in rows:
        mine.setdefault(row["id"], []).append((by_id[row["order_id"]], bool(row["by_name"])))
    found = []
    for each in studies:
        fitting = [
            _compare(reader, order, each.study)
            for order, by_name in mine.get(each.id, ())
            if not by_name or _is_named(order, each.study)
        ]
        ranked = sorted(filter(None, fitting), key=lambda candidate: _rank(candidate, each.study))
        found.append((each, ranked[:MOST_CANDIDATES]))
    return found


def _undated(reader: Reader, studies: list[UnreferredStudy]) -> list[tuple[int, int]]:
    """Return which studies (ids) may be of which patients without a birth date (ids), by their names and years."""
    times = [each.study.start for each in studies if each.study.start is not None]
    if not times:
        return []
    around = [(min(times) - BEFORE).isoformat(), (max(times) + AFTER).isoformat()]
    people = [
        (row["id"], _beginnings(PersonName(row["family"], row["given"])), str(row["birth_year"] or ""))
        for row in reader.rows(_UNDATED, around)
    ]
    if not people:
        return []
    pairs = []
    for each in studies:
        begins, year = _beginnings(names.from_dicom(each.study.patient_name)), each.study.birth_date[:4]
        known = _is_dated(each.study) and each.study.birth_date != _NO_BIRTH_DATE
        pairs += [
            (each.id, id)
            for id, beginnings, born in people
            if _may_be_same(begins, beginnings) and not (known and born and born != year)
        ]
    return pairs


def _is_dated(study: ArchiveStudy) -> bool:
    return len(study.birth_date) == 8


def _keys(study: ArchiveStudy) -> tuple[str, str]:
    """Return the folded name of a study's patient, whole and without its patronymic; both empty if it is none."""
    name = names.from_dicom(study.patient_name)
    is_whole = bool(name.given) and names.identifies(name)
    return (names.fold(str(name)), names.fold(f"{name.family} {name.given}")) if is_whole else ("", "")


class _Beginnings(NamedTuple):
    """What of a name is compared first: how its parts begin, and the family name in Latin."""

    family: str
    given: str
    latin: str


def _beginnings(name: PersonName) -> _Beginnings:
    family, given = names.fold(name.family), names.fold(name.given)
    return _Beginnings(family[:_BEGINNING].rstrip("."), given[:1], names.transliterated(name.family))


def _may_be_same(one: _Beginnings, other: _Beginnings) -> bool:
    """Return False for names that are surely two: comparing whole names is slow, and few begin alike."""
    is_family = one.family.startswith(other.family) or other.family.startswith(one.family)
    return (is_family and (one.given == other.given or not (one.given and other.given))) or one.latin == other.latin


def _is_named(order: Order, study: ArchiveStudy) -> bool:
    return bool(identity.agreements(order.patient, study.patient_name, ""))


def _compare(reader: Reader, order: Order, study: ArchiveStudy) -> _Candidate | None:
    """Return a candidate if nothing of a study's patient contradicts the order's, and the name or the number agrees."""
    person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    is_vague = order.patient.birth_date is None or not _is_dated(study)
    if patient_index.contradictions(reader, order.patient, *person):
        return None
    cards = patient_index.cards(reader, order.patient)
    agreed = identity.agreements_of_cards(cards, *person)
    return _Candidate(order, "patient_id" in agreed or not is_vague) if agreed else None


def _rank(candidate: _Candidate, study: ArchiveStudy) -> tuple[bool, bool, bool, timedelta, int]:
    order = candidate.order
    distance = abs(order.steps[0].start - study.start) if study.start else timedelta(0)
    fits = any(archive.has_modality(study, each) for each in passthrough.modalities(order))
    other_kind = bool(study.modality) and not fits
    return not candidate.certain, other_kind, order.state is OrderState.COMPLETED, distance, order.id


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
        f" OR {order} known.request_number = {number})"
        f" OR {order} known.bus_accession_number = {number})"
        f" OR {order} known.request_number IN (SELECT accession_number FROM orders"
        f" WHERE bus_accession_number = {number}))))"
    )


_KNOWN = _known("?1", "?2", "?3", "?4", "?5")
_OPEN = (
    "SELECT u.*, EXISTS (SELECT 1 FROM archive_discrepancy d WHERE d.study_instance_uid = u.study_instance_uid"
    " AND d.state = 'dismissed' AND d.kind <> 'unreferred') AS was_dismissed"
    " FROM archive_unreferred u WHERE u.state = 'open' AND NOT ("
    + _known(*(f"u.{name}" for name in StudyKey._fields))
    + ")"
)
_NEWEST_FIRST = " ORDER BY u.start DESC, u.id DESC"
# The patients without a birth date who have a visit about the time of one of the studies.
_UNDATED = (
    "SELECT p.id, p.family, p.given, p.birth_year FROM patient p WHERE p.birth_date = '' AND p.merged_into IS NULL"
    " AND EXISTS (SELECT 1 FROM orders o CROSS JOIN scheduled_step s ON s.order_id = o.id"
    " WHERE o.patient_id = p.id AND s.start >= ?1 AND s.start <= ?2)"
)
# The orders about the time of a study whose patients share the card number or the birth date with it; where one of the
# two has no birth date, the year of birth or the name. A card leads to the one that it was merged into, over however
# many merges.
_CANDIDATES = (
    "WITH RECURSIVE u AS MATERIALIZED (SELECT *, CASE WHEN length(birth_date) = 8"
    " THEN substr(birth_date, 1, 4) || '-' || substr(birth_date, 5, 2) || '-' || substr(birth_date, 7, 2)"
    " ELSE '' END AS born FROM archive_unreferred WHERE id IN (SELECT value FROM json_each(:ids))),"
    " named AS (SELECT value ->> '$[0]' AS id, value ->> '$[1]' AS whole, value ->> '$[2]' AS short"
    " FROM json_each(:names) WHERE value ->> '$[1]' <> ''),"
    " card (id, start, uid, card, by_name) AS ("
    " SELECT u.id, u.start, u.study_instance_uid, p.id, 0 FROM u CROSS JOIN patient p ON p.patient_id = u.patient_id"
    " WHERE u.patient_id <> ''"
    " UNION SELECT u.id, u.start, u.study_instance_uid, p.id, 0 FROM u CROSS JOIN patient p ON p.birth_date = u.born"
    " WHERE u.born <> ''"
    " UNION SELECT u.id, u.start, u.study_instance_uid, n.value ->> '$[1]', 1 FROM json_each(:undated) n"
    " CROSS JOIN u ON u.id = n.value ->> '$[0]'"
    " UNION SELECT u.id, u.start, u.study_instance_uid, p.id, 1 FROM named n CROSS JOIN u ON u.id = n.id"
    " CROSS JOIN patient p ON p.name_key IN (n.whole, n.short)"
    " UNION SELECT u.id, u.start, u.study_instance_uid, p.id, 1 FROM named n CROSS JOIN u ON u.id = n.id"
    " CROSS JOIN patient p ON p.name_key > n.short || ' ' AND p.name_key < n.short || '!'),"
    " way (id, start, uid, card, by_name, merged_into) AS ("
    " SELECT c.id, c.start, c.uid, c.card, c.by_name, p.merged_into FROM card c CROSS JOIN patient p ON p.id = c.card"
    " UNION SELECT w.id, w.start, w.uid, p.id, w.by_name, p.merged_into FROM way w CROSS JOIN patient p"
    " ON p.id = w.merged_into)"
    " SELECT who.id, o.id AS order_id, min(who.by_name) AS by_name FROM way who"
    " CROSS JOIN orders o ON o.patient_id = who.card CROSS JOIN scheduled_step s ON s.order_id = o.id"
    " WHERE who.merged_into IS NULL AND s.start >= strftime('%Y-%m-%dT%H:%M:%S', who.start, :before)"
    " AND s.start <= strftime('%Y-%m-%dT%H:%M:%S', who.start, :after)"
    " AND o.state <> :cancelled AND o.owner = '' AND NOT EXISTS"
    " (SELECT 1 FROM archive_study a WHERE a.order_id = o.id AND a.study_instance_uid <> '' AND a.images IS NOT 0)"
    " AND NOT EXISTS (SELECT 1 FROM archive_discrepancy d WHERE d.order_id = o.id AND d.study_instance_uid = who.uid"
    " AND d.state = 'dismissed')"
    " GROUP BY who.id, o.id ORDER BY o.id"
)
