"""What cards say beside the patients' data, and the numbers that corrections have put out of force."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date

from broker.domain.patients.details import NO_DETAILS, FormerNumber, PatientDetails
from broker.store import rows
from broker.store.database import Reader, Row, Tx


def get(reader: Reader, patient_id: int) -> PatientDetails:
    """Return what a card says beside the patient's data; nothing where nothing was written."""
    row = reader.one("SELECT * FROM patient_details WHERE patient_id = ?", [patient_id])
    return NO_DETAILS if row is None else from_row(row)


def from_row(row: Row) -> PatientDetails:
    """Read a row, or what `to_row` made."""
    days = {name: date.fromisoformat(row[name]) if row[name] else None for name in _DAYS}
    return PatientDetails(row["address"], row["passport"], **days)


def to_row(details: PatientDetails) -> Row:
    """Return the columns; a day that is None is empty."""
    days = {name: day.isoformat() if (day := getattr(details, name)) else "" for name in _DAYS}
    return {"address": details.address, "passport": details.passport, **days}


def put(tx: Tx, patient_id: int, details: PatientDetails) -> None:
    """Write what a card says beside the patient's data over what it said."""
    rows.upsert(tx, "patient_details", {"patient_id": patient_id, **to_row(details)}, key=["patient_id"])


def add_former_number(tx: Tx, patient_id: int, former: FormerNumber, actor: str) -> None:
    """Keep a number that is no longer in force, so that it leads to the card."""
    values = {"patient_id": patient_id, "kind": former.kind, "number": former.number}
    rows.upsert(
        tx,
        "patient_former_number",
        {**values, "until": former.until.isoformat(), "actor": actor},
        key=["patient_id", "kind", "number"],
    )


def forget_former_number(tx: Tx, patient_id: int, kind: str, number: str) -> None:
    """Forget a former number: it is in force again."""
    tx.run(
        "DELETE FROM patient_former_number WHERE patient_id = ? AND kind = ? AND number = ?", [patient_id, kind, number]
    )


def former_numbers(reader: Reader, patient_ids: Iterable[int]) -> dict[int, list[FormerNumber]]:
    """Return the numbers of these cards that corrections have put out of force, newest first."""
    found: dict[int, list[FormerNumber]] = {}
    for row in reader.rows(
        "SELECT * FROM patient_former_number WHERE patient_id IN (SELECT value FROM json_each(?))"
        " ORDER BY until DESC, kind, number",
        [json.dumps(list(patient_ids))],
    ):
        former = FormerNumber(row["kind"], row["number"], date.fromisoformat(row["until"]))
        found.setdefault(row["patient_id"], []).append(former)
    return found


_DAYS = ("consent_on", "consent_withdrawn_on")
