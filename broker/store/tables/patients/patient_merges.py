"""Merges of patients' cards: what each did, what moved, and which cards are known to be two people's."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from broker.domain.errors import NotFound
from broker.domain.patients import patient_merge
from broker.domain.patients.patient_merge import Value
from broker.domain.patients.people import Patient
from broker.store import rows
from broker.store.database import Reader, Row, Tx
from broker.store.rows import instant
from broker.store.tables.patients import patient_details, patients

Changes = dict[str, tuple[Value, Value]]  # field of a card -> before, after
_DATE = "birth_date"


@dataclass(frozen=True, slots=True)
class Moved:
    """What a merge moved and changed besides the two cards."""

    orders: tuple[int, ...] = ()  # of the merged card
    present_orders: tuple[int, ...] | None = None  # of the surviving card; None: an earlier version did not keep them
    external_studies: tuple[str, ...] = ()  # references; those that the surviving card had already did not move
    present_studies: tuple[str, ...] = ()  # references of the earlier studies that the surviving card had itself
    replaced_studies: tuple[Row, ...] = ()  # the surviving card's states of reports that the other card had as final
    # Contradictions that there are no more: performed step, scheduled step, before, after.
    conflicts: tuple[tuple[int, int, str, str], ...] = ()
    attributes: tuple[tuple[int, dict[str, Any], dict[str, Any]], ...] = ()  # passthrough: order, before, after
    # The row of the surviving card's address and the like, where the merge has changed it: as it was, as it became.
    details: tuple[Row, Row] | None = None


@dataclass(frozen=True, slots=True)
class PatientMerge:
    """One merge, as it stands in the trail."""

    id: int
    surviving_id: int
    merged_id: int
    at: datetime
    actor: str
    chosen: tuple[str, ...]
    changed: Changes
    card: Row = field(hash=False)  # the merged card's row as it was
    moved: Moved
    former_snils: str = ""  # numbers of either card that are no longer in force
    former_policy: str = ""
    undone_at: datetime | None = None


def add(
    tx: Tx, surviving: int, merged: int, actor: str, chosen: Sequence[str], changed: Changes, former: Mapping[str, str]
) -> int:
    """Retire a card into another one, and begin the merge's trail; return its id.

    `former` are numbers (`snils`, `policy`) of either card that are no longer in force.
    """
    card = tx.one("SELECT * FROM patient WHERE id = ?", [merged])
    tx.run(
        "UPDATE patient SET merged_into = ?, snils = NULL, policy = NULL, revision = revision + 1, changed_at = ?"
        " WHERE id = ?",
        [surviving, tx.now.isoformat(), merged],
    )
    return rows.insert(
        tx,
        "patient_merge",
        {
            "surviving_id": surviving,
            "merged_id": merged,
            "at": tx.now.isoformat(),
            "actor": actor,
            "chosen": json.dumps(list(chosen)),
            "changed": _written(changed),
            "card": json.dumps(card, ensure_ascii=False),
            "moved": json.dumps(asdict(Moved())),
            "former_snils": former.get("snils", ""),
            "former_policy": former.get("policy", ""),
        },
    )


def set_moved(tx: Tx, id: int, moved: Moved) -> None:
    """Write what a merge moved into its trail."""
    rows.update(tx, "patient_merge", {"moved": json.dumps(asdict(moved), ensure_ascii=False)}, {"id": id})


def set_changed(tx: Tx, id: int, changed: Changes) -> None:
    """Correct what a merge is to be taken back to: an earlier one was undone."""
    rows.update(tx, "patient_merge", {"changed": _written(changed)}, {"id": id})


def reinstate(tx: Tx, merge: PatientMerge, numbers: Mapping[str, str]) -> None:
    """Put a merged card back into use as it was, with these of its numbers, and close the merge's trail."""
    present = tx.one("SELECT * FROM patient WHERE id = ?", [merge.merged_id]) or {}
    own = {name: each for name, each in merge.card.items() if name in present and name not in ("id", "revision")}
    own |= {"merged_into": None, "snils": numbers.get("snils") or None, "policy": numbers.get("policy") or None}
    own["changed_at"] = tx.now.isoformat()
    rows.update(tx, "patient", own, {"id": merge.merged_id}, also="revision = revision + 1")


def close(tx: Tx, id: int, actor: str) -> None:
    """Note who has undone a merge."""
    rows.update(tx, "patient_merge", {"undone_at": tx.now.isoformat(), "undone_by": actor}, {"id": id})


def require(reader: Reader, id: int) -> PatientMerge:
    """Return a merge; raise NotFound."""
    row = reader.one("SELECT * FROM patient_merge WHERE id = ?", [id])
    if row is None:
        raise NotFound(f"merge {id}")
    return _from_row(row)


def open_merges(reader: Reader, surviving: int) -> list[PatientMerge]:
    """Return the merges into a card that were not undone, oldest first."""
    found = reader.rows(
        "SELECT * FROM patient_merge WHERE surviving_id = ? AND undone_at IS NULL ORDER BY id", [surviving]
    )
    return [_from_row(row) for row in found]


def former_data(reader: Reader, ids: Collection[int]) -> dict[int, list[Patient]]:
    """Return what cards in use were before, by their ids: the cards that were merged into them, and themselves then."""
    found = reader.rows(
        "WITH RECURSIVE part (id, root) AS (SELECT value, value FROM json_each(?)"
        " UNION SELECT p.id, part.root FROM patient p JOIN part ON p.merged_into = part.id)"
        " SELECT m.*, part.root FROM part JOIN patient_merge m ON m.surviving_id = part.id"
        " WHERE m.undone_at IS NULL ORDER BY m.id",
        [json.dumps(list(ids))],
    )
    former: dict[int, list[Patient]] = {}
    for row in found:
        merge, root = _from_row(row), patients.get(reader, row["root"])
        before = {name: pair[0] for name, pair in merge.changed.items()}
        own = [patient_merge.with_values(root, before)] if root and before else []
        former.setdefault(row["root"], []).extend([patients.from_row(merge.card), *own])
    parts = {id: id for id in ids}
    parts |= {each.stored_id: root for root in ids for each in patients.merged_cards(reader, root)}
    for id, numbers in patient_details.former_numbers(reader, parts).items():
        if known := patients.get(reader, parts[id]):
            described = [patient_merge.with_values(known, {each.kind: each.number}) for each in numbers]
            former.setdefault(parts[id], []).extend(described)
    return former


def former_bearers(reader: Reader, person: Patient) -> list[Patient]:
    """Return the cards in use to which a person's СНИЛС or policy leads although it is no longer in force."""
    found = reader.rows(
        "SELECT surviving_id FROM patient_merge WHERE undone_at IS NULL AND former_snils <> '' AND former_snils = ?1"
        " UNION SELECT surviving_id FROM patient_merge"
        " WHERE undone_at IS NULL AND former_policy <> '' AND former_policy = ?2"
        " UNION SELECT patient_id FROM patient_former_number"
        " WHERE (number = ?1 AND kind = 'snils') OR (number = ?2 AND kind = 'policy')",
        [person.snils, person.policy],
    )
    roots = {patients.surviving_id(reader, row["surviving_id"]) for row in found}
    return [patient for root in sorted(roots) if (patient := patients.get(reader, root))]


def move_external_studies(tx: Tx, source: int, target: int, references: Sequence[str] | None = None) -> tuple[str, ...]:
    """Move studies of other clinics, all or these, to another card; return those that it did not have already."""
    moved = [
        row["reference"]
        for row in tx.rows(
            "SELECT reference FROM external_study WHERE patient_id = ?1 AND reference NOT IN"
            " (SELECT reference FROM external_study WHERE patient_id = ?2)"
            " AND (?3 IS NULL OR reference IN (SELECT value FROM json_each(?3))) ORDER BY reference",
            [source, target, None if references is None else json.dumps(list(references))],
        )
    ]
    tx.run(
        "UPDATE external_study SET patient_id = ? WHERE patient_id = ?"
        " AND reference IN (SELECT value FROM json_each(?))",
        [target, source, json.dumps(moved)],
    )
    return tuple(moved)


def move_orders(tx: Tx, source: int, target: int, order_ids: Sequence[int] | None = None) -> tuple[int, ...]:
    """Move orders, all or these, to another card; their revisions count up. Return which were there to move."""
    moved = [
        row["id"]
        for row in tx.rows(
            "SELECT id FROM orders WHERE patient_id = ?1 AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2)))"
            " ORDER BY id",
            [source, None if order_ids is None else json.dumps(list(order_ids))],
        )
    ]
    tx.run(
        "UPDATE orders SET patient_id = ?, revision = revision + 1 WHERE id IN (SELECT value FROM json_each(?))",
        [target, json.dumps(moved)],
    )
    return tuple(moved)


def order_ids(reader: Reader, patient_id: int) -> list[int]:
    """Return the orders of a card, oldest first."""
    found = reader.rows("SELECT id FROM orders WHERE patient_id = ? ORDER BY id", [patient_id])
    return [row["id"] for row in found]


def later_orders(reader: Reader, merge: PatientMerge) -> list[int]:
    """Return the orders that the surviving card got since a merge, oldest first, without those of later merges.

    Of which of the two people each is nothing tells: both had one card.
    """
    known = {*merge.moved.orders, *(merge.moved.present_orders or ())}
    for each in open_merges(reader, merge.surviving_id):
        if each.id != merge.id:
            known.update(each.moved.orders)
    found = reader.rows(
        "SELECT id FROM orders WHERE patient_id = ?1 AND (?2 OR authored_on > ?3) ORDER BY id",
        [merge.surviving_id, merge.moved.present_orders is not None, merge.at.isoformat()],
    )
    return [row["id"] for row in found if row["id"] not in known]


def declare_different(tx: Tx, one: int, other: int, actor: str) -> bool:
    """Keep that two cards are two people's; return False if that was known."""
    return bool(
        tx.change(
            "INSERT OR IGNORE INTO patient_difference (one_id, other_id, actor, at) VALUES (?, ?, ?, ?)",
            [min(one, other), max(one, other), actor, tx.now.isoformat()],
        )
    )


def different(reader: Reader, id: int) -> frozenset[int]:
    """Return the cards in use that a person has said are not this one's: what was said of merged cards holds, too."""
    mine = [id, *(each.id for each in patients.merged_cards(reader, id))]
    found = reader.rows(
        "SELECT other_id AS id FROM patient_difference WHERE one_id IN (SELECT value FROM json_each(?1))"
        " UNION SELECT one_id FROM patient_difference WHERE other_id IN (SELECT value FROM json_each(?1))",
        [json.dumps(mine)],
    )
    return frozenset(patients.surviving_id(reader, row["id"]) for row in found) - {id}


def _written(changed: Changes) -> str:
    return json.dumps(changed, ensure_ascii=False, default=lambda day: day.isoformat())


def _from_row(row: Row) -> PatientMerge:
    changed: Changes = {name: (pair[0], pair[1]) for name, pair in json.loads(row["changed"]).items()}
    if _DATE in changed:
        before, after = (date.fromisoformat(str(each)) if each else None for each in changed[_DATE])
        changed[_DATE] = before, after
    moved: dict[str, Any] = json.loads(row["moved"])
    return PatientMerge(
        id=row["id"],
        surviving_id=row["surviving_id"],
        merged_id=row["merged_id"],
        at=datetime.fromisoformat(row["at"]),
        actor=row["actor"],
        chosen=tuple(json.loads(row["chosen"])),
        changed=changed,
        card=json.loads(row["card"]),
        moved=Moved(
            orders=tuple(moved["orders"]),
            present_orders=None if moved.get("present_orders") is None else tuple(moved["present_orders"]),
            external_studies=tuple(moved["external_studies"]),
            replaced_studies=tuple(moved.get("replaced_studies", ())),
            present_studies=tuple(moved.get("present_studies", ())),
            conflicts=tuple((one, other, before, after) for one, other, before, after in moved["conflicts"]),
            attributes=tuple((id, before, after) for id, before, after in moved["attributes"]),
            details=tuple(moved["details"]) if moved.get("details") else None,
        ),
        former_snils=row["former_snils"],
        former_policy=row["former_policy"],
        undone_at=instant(row["undone_at"]),
    )
