"""What the image archive says of orders: what it holds of them, and the discrepancies that wait for a person."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from broker.domain.errors import NotFound
from broker.domain.studies.archive import (
    ArchiveStudy,
    Comparison,
    Discrepancy,
    DiscrepancyKind,
    DiscrepancyState,
    Doubt,
    StudyKey,
)
from broker.store import rows
from broker.store.database import Reader, Row, Tx


@dataclass(frozen=True, slots=True)
class Holding:
    """What the archive holds of an order, as far as that fits the order."""

    study_instance_uid: str = ""  # empty: nothing
    images: int | None = None  # None: it holds the study and does not tell how many
    waived: bool = False  # a person said that no images will come
    asked_at: datetime | None = None  # UTC: of the last answer that was written down; None: there was none

    @property
    def exists(self) -> bool:
        """Return True if the archive has images of the order, as far as it tells."""
        return bool(self.study_instance_uid) and self.images != 0


def holding(reader: Reader, order_id: int) -> Holding | None:
    """Return what the archive holds of an order; None if it was never asked, or never answered."""
    row = reader.one("SELECT * FROM archive_study WHERE order_id = ?", [order_id])
    return holding_from_row(row) if row else None


def holding_from_row(row: Row) -> Holding:
    """Return the Holding of a row of its table."""
    return Holding(
        row["study_instance_uid"],
        row["images"],
        bool(row["waived_by"]),
        rows.instant(row["asked_at"]),
    )


def set_holding(tx: Tx, order_id: int, study_instance_uid: str, images: int | None) -> None:
    """Write down what the archive holds of an order now."""
    rows.upsert(
        tx,
        "archive_study",
        {
            "order_id": order_id,
            "study_instance_uid": study_instance_uid,
            "images": images,
            "asked_at": tx.now.isoformat(),
            "changed_at": tx.now.isoformat(),
        },
        ("order_id",),
    )


def note_asked(tx: Tx, order_id: int) -> None:
    """Write down that the archive has just said the same of an order as before."""
    tx.run("UPDATE archive_study SET asked_at = ? WHERE order_id = ?", [tx.now.isoformat(), order_id])


def waive(tx: Tx, order_id: int, by: str) -> None:
    """Write down who said that no images of an order will come."""
    rows.upsert(
        tx,
        "archive_study",
        {"order_id": order_id, "images": 0, "waived_by": by, "changed_at": tx.now.isoformat()},
        ("order_id",),
        once=("images", "changed_at"),
    )


def note_difference_seen(tx: Tx, order_id: int) -> None:
    """Write down that a person finds the number of images right that there are, although a device reported another."""
    tx.run("UPDATE archive_study SET difference_seen = images WHERE order_id = ?", [order_id])


def fewer_than(reader: Reader, order_id: int) -> int | None:
    """Return how many images there were when a doctor has looked, if the archive holds fewer now; else None."""
    found: int | None = reader.value("SELECT fewer_than FROM archive_study WHERE order_id = ?", [order_id])
    return found


def note_fewer(tx: Tx, order_id: int, than: int | None) -> None:
    """Write down that the archive holds fewer images than these; None: there are not fewer, or a doctor has looked."""
    tx.run("UPDATE archive_study SET fewer_than = ? WHERE order_id = ? AND fewer_than IS NOT ?", [than, order_id, than])


def forget_holding(tx: Tx, order_id: int) -> None:
    """Forget what the archive holds of an order, and that none will come: nothing was performed for it after all."""
    tx.run("DELETE FROM archive_study WHERE order_id = ?", [order_id])


def note_answer(tx: Tx) -> None:
    """Write down that the archive has answered just now."""
    rows.upsert(tx, "archive_contact", {"id": 1, "answered_at": tx.now.isoformat()}, ("id",))


def answered_at(reader: Reader) -> datetime | None:
    """Return when the archive last answered (UTC); None if it never did."""
    return rows.instant(reader.value("SELECT answered_at FROM archive_contact"))


def decided(reader: Reader, order_id: int) -> dict[StudyKey, DiscrepancyState]:
    """Return what people said of an order's discrepancies."""
    found = reader.rows("SELECT * FROM archive_discrepancy WHERE order_id = ? AND state <> 'open'", [order_id])
    return {study_from_row(row).key: DiscrepancyState(row["state"]) for row in found}


def require(reader: Reader, id: int) -> Discrepancy:
    """Return a discrepancy; raise NotFound."""
    row = reader.one("SELECT * FROM archive_discrepancy WHERE id = ?", [id])
    if row is None:
        raise NotFound(f"discrepancy {id}")
    return discrepancy_from_row(row)


def of_order(reader: Reader, order_id: int) -> list[Discrepancy]:
    """Return the open discrepancies of an order, in the order in which they were found."""
    return [each for each in _of_order(reader, order_id) if each.state is DiscrepancyState.OPEN]


def _of_order(reader: Reader, order_id: int) -> list[Discrepancy]:
    found = reader.rows("SELECT * FROM archive_discrepancy WHERE order_id = ? ORDER BY id", [order_id])
    return [discrepancy_from_row(row) for row in found]


def is_disputed(reader: Reader, order_id: int) -> bool:
    """Return True while it waits for a person whose the images are that were made for an order, or the order itself.

    That is so if the archive has the order's own study, one that was made for it, or one that a person has accepted for
    it, as another patient's, under several patients, or under another number.
    """
    return bool(reader.value(DISPUTED.format(order="?1"), [order_id]))


def set_discrepancies(
    tx: Tx, order_id: int, comparison: Comparison, answered: Collection[str], *, settled: bool
) -> bool:
    """Make these the open discrepancies of an order; return True if that changed anything.

    One that the archive has put right is forgotten. One whose study is not among those that it `answered` with (Study
    Instance UIDs) is forgotten only once the archive keeps to that (`settled`): it would be another one each time when
    the archive answers now with it and now without. What a person decided stays.
    """
    wanted = {each.study.key: each for each in comparison.doubts}
    known = {each.study.key: each for each in of_order(tx, order_id)}
    changed = False
    for key, gone in known.items():
        if key not in wanted and (settled or key.study_instance_uid in answered):
            tx.run("DELETE FROM archive_discrepancy WHERE id = ?", [gone.id])
            changed = True
    for key, each in wanted.items():
        before = known.get(key)
        if before is None:
            rows.insert(
                tx, "archive_discrepancy", {**_columns(each), "order_id": order_id, "first_at": tx.now.isoformat()}
            )
        elif (before.kind, before.study) != (each.kind, each.study):
            rows.update(tx, "archive_discrepancy", _columns(each), {"id": before.id})
        else:
            continue
        changed = True
    return changed


def decide(tx: Tx, id: int, state: DiscrepancyState, by: str) -> None:
    """Write down what a person says of a discrepancy."""
    values = {"state": state, "decided_at": tx.now.isoformat(), "decided_by": by}
    rows.update(tx, "archive_discrepancy", values, {"id": id})


def add_accepted(tx: Tx, order_id: int, study: ArchiveStudy, by: str) -> int:
    """Write down that a person has chosen an order for a study that bore none of its numbers; return the row's id."""
    values = {
        **study_columns(study),
        "kind": DiscrepancyKind.UNREFERRED,
        "order_id": order_id,
        "state": DiscrepancyState.ACCEPTED,
        "first_at": tx.now.isoformat(),
        "decided_at": tx.now.isoformat(),
        "decided_by": by,
    }
    key = ("order_id", *StudyKey._fields)
    rows.upsert(tx, "archive_discrepancy", values, key, once=("first_at",))
    found = [each for each in _of_order(tx, order_id) if each.study.key == study.key]
    return found[0].id


def accepted(reader: Reader, order_id: int) -> list[ArchiveStudy]:
    """Return the studies that people have accepted for an order, in the order in which they were found."""
    return [each.study for each in accepted_discrepancies(reader, order_id)]


def accepted_discrepancies(reader: Reader, order_id: int) -> list[Discrepancy]:
    """Return the discrepancies of an order whose studies people have accepted, the first found first."""
    return [each for each in _of_order(reader, order_id) if each.state is DiscrepancyState.ACCEPTED]


def reopen_as_another_patients(tx: Tx, id: int) -> None:
    """Let a study that was accepted wait for a person again: its patient contradicts the order's by now."""
    values = {"state": DiscrepancyState.OPEN, "kind": DiscrepancyKind.OTHER_PATIENT, "decided_at": None}
    rows.update(tx, "archive_discrepancy", values, {"id": id})


def dismiss_unlinked(tx: Tx, order_id: int, uids: Collection[str], studies: Iterable[ArchiveStudy], by: str) -> None:
    """Write down that what was taken for an order's is not: a person has unlinked it.

    `uids` are the Study Instance UIDs that the unlinked step names. What was accepted under one of them came with it,
    and so did what bears the order's number or UID, made under the same entry of the worklist. A study that bears
    neither, and that a person has chosen the order for, stays. `studies` are known from what was unlinked; their
    accession numbers in the archive may be others.
    """
    decision = {"state": DiscrepancyState.DISMISSED, "decided_at": tx.now.isoformat(), "decided_by": by}
    for seen in _of_order(tx, order_id):
        came_with_it = seen.kind is not DiscrepancyKind.UNREFERRED or seen.study.study_instance_uid in uids
        if seen.state is DiscrepancyState.ACCEPTED and came_with_it:
            rows.update(tx, "archive_discrepancy", {**decision, "kind": DiscrepancyKind.UNREFERRED}, {"id": seen.id})
    known = {_bearer(each.study) for each in _of_order(tx, order_id) if each.state is DiscrepancyState.DISMISSED}
    for each in studies:
        if each.study_instance_uid and _bearer(each) not in known:
            values = {**study_columns(each), **decision, "kind": DiscrepancyKind.UNREFERRED, "order_id": order_id}
            key = ("order_id", *StudyKey._fields)
            rows.upsert(tx, "archive_discrepancy", {**values, "first_at": tx.now.isoformat()}, key, once=("first_at",))


def _bearer(study: ArchiveStudy) -> tuple[str, ...]:
    return study.study_instance_uid, study.patient_name, study.patient_id, study.birth_date


def discrepancy_from_row(row: Row) -> Discrepancy:
    """Return the Discrepancy of a row of its table."""
    return Discrepancy(
        kind=DiscrepancyKind(row["kind"]),
        study=study_from_row(row),
        id=row["id"],
        order_id=row["order_id"],
        state=DiscrepancyState(row["state"]),
        first_at=datetime.fromisoformat(row["first_at"]),
    )


# The condition that it waits for a person whose the images of an order are, or the order is; {order} is its id.
DISPUTED = (
    "SELECT 1 FROM undecided_order u WHERE u.order_id = {order} UNION ALL"
    " SELECT 1 FROM archive_discrepancy d JOIN orders o ON o.id = d.order_id"
    " WHERE d.order_id = {order} AND d.state = 'open'"
    " AND d.kind IN ('other_patient', 'several_patients', 'other_number')"
    " AND (d.study_instance_uid = o.study_instance_uid OR d.study_instance_uid IN"
    " (SELECT r.study_instance_uid FROM performed_step_reference r"
    " JOIN performed_step_link l ON l.performed_step_id = r.performed_step_id"
    " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = o.id)"
    # What a person has accepted stands in no step where a person or a device had closed the order before.
    " OR EXISTS (SELECT 1 FROM archive_discrepancy a WHERE a.order_id = o.id AND a.state = 'accepted'"
    " AND a.study_instance_uid = d.study_instance_uid))"
)
_PLAIN = (
    "study_instance_uid",
    "accession_number",
    "patient_name",
    "patient_id",
    "birth_date",
    "patient_sex",
    "modality",
    "images",
)


def study_from_row(row: Row) -> ArchiveStudy:
    """Return the ArchiveStudy of a row that has `study_columns`."""
    return ArchiveStudy(**{name: row[name] for name in _PLAIN}, start=rows.instant(row["start"]))


def study_columns(study: ArchiveStudy) -> dict[str, object]:
    """Return the columns in which a study is kept."""
    return {name: getattr(study, name) for name in _PLAIN} | {
        "start": study.start.isoformat(timespec="seconds") if study.start else ""
    }


def _columns(each: Doubt) -> dict[str, object]:
    return {**study_columns(each.study), "kind": each.kind}
