"""Patients of the clinic."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import date

from broker.domain.patients import names, patient_match
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store import rows
from broker.store.database import Reader, Row, Tx

PREFIX_END = "\U0010ffff"  # above every character: the end of a prefix range


def from_row(row: Row) -> Patient:
    """Return the Patient of a row of its table."""
    return Patient(
        **{name: row[name] for name in _PLAIN} | {"sex": Sex(row["sex"])},
        id=row["id"],
        patient_id=row["patient_id"],
        name=PersonName(row["family"], row["given"], row["middle"]),
        birth_date=date.fromisoformat(row["birth_date"]) if row["birth_date"] else None,
        snils=row["snils"] or "",
        policy=row["policy"] or "",
        revision=row["revision"],
    )


def get(reader: Reader, id: int) -> Patient | None:
    """Return a patient, or None; a merged card, too, without its numbers."""
    row = reader.one("SELECT * FROM patient WHERE id = ?", [id])
    return from_row(row) if row else None


def is_merged(reader: Reader, id: int) -> bool:
    """Return True for a card that was merged into another one."""
    return reader.value("SELECT merged_into FROM patient WHERE id = ?", [id]) is not None


def surviving_id(reader: Reader, id: int) -> int:
    """Return the card in use that a card was merged into, over however many merges; its own id if it is in use."""
    found = reader.value(
        "WITH RECURSIVE way (id, merged_into) AS (SELECT id, merged_into FROM patient WHERE id = ?"
        " UNION SELECT p.id, p.merged_into FROM patient p JOIN way ON p.id = way.merged_into)"
        " SELECT id FROM way WHERE merged_into IS NULL",
        [id],
    )
    return id if found is None else int(found)


def merged_cards(reader: Reader, id: int) -> list[Patient]:
    """Return the cards that were merged into one, directly or over another one, in the order of their ids."""
    found = reader.rows(
        "WITH RECURSIVE part (id) AS (SELECT id FROM patient WHERE merged_into = ?"
        " UNION SELECT p.id FROM patient p JOIN part ON p.merged_into = part.id)"
        " SELECT * FROM patient WHERE id IN (SELECT id FROM part) ORDER BY id",
        [id],
    )
    return [from_row(row) for row in found]


def merged_numbers(reader: Reader, ids: Collection[int]) -> dict[int, tuple[str, ...]]:
    """Return the numbers of the cards that were merged into these, by the ids of those in use."""
    found: dict[int, tuple[str, ...]] = {}
    for row in reader.rows(
        "WITH RECURSIVE part (id, patient_id, root) AS (SELECT p.id, p.patient_id, p.merged_into FROM patient p"
        " WHERE p.merged_into IN (SELECT value FROM json_each(?))"
        " UNION SELECT p.id, p.patient_id, part.root FROM patient p JOIN part ON p.merged_into = part.id)"
        " SELECT patient_id, root FROM part ORDER BY id",
        [json.dumps(list(ids))],
    ):
        found[row["root"]] = (*found.get(row["root"], ()), row["patient_id"])
    return found


def with_current_number(reader: Reader, person: Patient) -> Patient:
    """Return a person with the card number that is in force: that of a merged card leads to the one that stayed."""
    known = find_by(reader, "patient_id", person.patient_id) if person.patient_id else None
    return replace(person, patient_id=known.patient_id) if known else person


def candidates(reader: Reader, person: Patient) -> list[Patient]:
    """Return all who may be this person: who share a number, the full name (a patronymic may be missing), or the birth
    date (day and month swapped, too), also as a card was that has been merged into theirs; see
    `domain.patients.patient_match`.
    """
    born = person.birth_date
    exchanged = patient_match.swapped(born) if born else None
    # With nothing but a family name, or without a birth date, its bearers are too many.
    is_named = bool(born and person.name.given and names.identifies(person.name))
    rows = reader.rows(
        "SELECT * FROM patient WHERE id IN ("
        " SELECT id FROM patient WHERE patient_id = :patient_id AND :patient_id <> ''"
        " UNION SELECT id FROM patient WHERE snils = :snils AND :snils <> ''"
        " UNION SELECT id FROM patient WHERE policy = :policy AND :policy <> ''"
        " UNION SELECT id FROM patient WHERE birth_date = :born AND :born <> ''"
        " UNION SELECT id FROM patient WHERE birth_date = :swapped AND :swapped <> ''"
        " UNION SELECT id FROM patient WHERE name_key IN (:name, :short) AND :name <> ''"
        " UNION SELECT id FROM patient WHERE name_key > :short || ' ' AND name_key < :short || '!' AND :short <> ''"
        ") ORDER BY id",
        {
            "patient_id": person.patient_id,
            "snils": person.snils,
            "policy": person.policy,
            "born": born.isoformat() if born else "",
            "swapped": exchanged.isoformat() if exchanged else "",
            "name": names.fold(str(person.name)) if names.identifies(person.name) else "",
            "short": names.fold(f"{person.name.family} {person.name.given}") if is_named else "",
        },
    )
    found = {row["id"]: row for row in rows if row["merged_into"] is None}
    for root in {surviving_id(reader, row["id"]) for row in rows if row["merged_into"] is not None} - found.keys():
        found[root] = reader.one("SELECT * FROM patient WHERE id = ?", [root]) or {}
    return [from_row(row) for _, row in sorted(found.items()) if row]


def is_name_taken(reader: Reader, name: PersonName) -> bool:
    """Return True if a card in use bears this name."""
    found = reader.one(
        "SELECT 1 FROM patient WHERE name_key = ? AND merged_into IS NULL LIMIT 1", [names.fold(str(name))]
    )
    return found is not None


def find_by(reader: Reader, number: str, value: str) -> Patient | None:
    """Return the patient whose `number` (patient_id, snils or policy) is `value`, or None.

    The card number of a merged card is that of the card that it was merged into.
    """
    queries = {
        "patient_id": "SELECT * FROM patient WHERE patient_id = ?",
        "snils": "SELECT * FROM patient WHERE snils = ?",
        "policy": "SELECT * FROM patient WHERE policy = ?",
    }
    row = reader.one(queries[number], [value])
    if row and row["merged_into"] is not None:
        return get(reader, surviving_id(reader, row["id"]))
    return from_row(row) if row else None


def add(tx: Tx, patient: Patient, patient_id: str) -> int:
    """Insert a new patient under this Patient ID and return the row's id."""
    return rows.insert(tx, "patient", {**_columns(tx, patient), "patient_id": patient_id})


def update(tx: Tx, id: int, patient: Patient) -> None:
    """Update a patient and increment the revision; the Patient ID does not change."""
    rows.update(tx, "patient", _columns(tx, patient), {"id": id}, also="revision = revision + 1")


# Columns whose values are those of the field of the same name.
_PLAIN = ("sex", "phone", "weight", "height", "allergies", "pregnancy", "birth_year", "mother", "insurer")


def _columns(tx: Tx, patient: Patient) -> dict[str, object]:
    return {name: getattr(patient, name) for name in _PLAIN} | {
        "family": patient.name.family,
        "given": patient.name.given,
        "middle": patient.name.middle,
        "name_key": names.fold(str(patient.name)),
        "given_key": names.fold(patient.name.given),
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else "",
        "snils": patient.snils or None,
        "policy": patient.policy or None,
        "changed_at": tx.now.isoformat(),
    }
