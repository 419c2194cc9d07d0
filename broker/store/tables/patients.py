"""Patients: found as one types, kept once."""

from __future__ import annotations

from datetime import date

from broker.domain import names
from broker.domain.people import Patient, PersonName, Sex
from broker.store.database import Reader, Row, Tx

PREFIX_END = "\U0010ffff"  # above every letter: the end of a prefix range


def from_row(row: Row, prefix: str = "") -> Patient:
    """Make a Patient of a row whose columns may bear a prefix (`patient_` in joins)."""
    return Patient(
        id=row[prefix + "id"],
        patient_id=row[prefix + "patient_id"],
        name=PersonName(row[prefix + "family"], row[prefix + "given"], row[prefix + "middle"]),
        birth_date=date.fromisoformat(born) if (born := row[prefix + "birth_date"]) else None,
        sex=Sex(row[prefix + "sex"]),
        snils=row[prefix + "snils"] or "",
        policy=row[prefix + "policy"] or "",
        phone=row[prefix + "phone"],
        weight=row[prefix + "weight"],
        height=row[prefix + "height"],
        allergies=row[prefix + "allergies"],
        pregnancy=row[prefix + "pregnancy"],
        revision=row[prefix + "revision"],
    )


def get(reader: Reader, id: int) -> Patient | None:
    """Give a patient, or None."""
    row = reader.one("SELECT * FROM patient WHERE id = ?", [id])
    return from_row(row) if row else None


def find_same(reader: Reader, patient: Patient) -> Patient | None:
    """Find who this is: by card number, СНИЛС or policy; else by full name, birth date and sex together."""
    for number, value in (("patient_id", patient.patient_id), ("snils", patient.snils), ("policy", patient.policy)):
        if value and (found := find_by(reader, number, value)):
            return found
    if patient.birth_date is None:  # people of one name are told apart by nothing else
        return None
    row = reader.one(
        "SELECT * FROM patient WHERE name_key = ? AND birth_date = ? AND sex = ?"
        " AND (snils IS NULL OR ? = '') AND (policy IS NULL OR ? = '')",
        [
            names.fold(str(patient.name)),
            patient.birth_date.isoformat(),
            patient.sex,
            patient.snils,
            patient.policy,
        ],
    )
    return from_row(row) if row else None


def find_by(reader: Reader, number: str, value: str) -> Patient | None:
    """Find the patient whose `number` (patient_id, snils or policy) is `value`, or None."""
    queries = {
        "patient_id": "SELECT * FROM patient WHERE patient_id = ?",
        "snils": "SELECT * FROM patient WHERE snils = ?",
        "policy": "SELECT * FROM patient WHERE policy = ?",
    }
    row = reader.one(queries[number], [value])
    return from_row(row) if row else None


def add(tx: Tx, patient: Patient, patient_id: str) -> int:
    """Keep a new patient under this card number; give the row's id."""
    return tx.run(
        "INSERT INTO patient (patient_id, family, given, middle, name_key, given_key, birth_date, sex, snils, policy,"
        " phone, weight, height, allergies, pregnancy, changed_at)"
        " VALUES (:patient_id, :family, :given, :middle, :name_key, :given_key, :birth_date, :sex, :snils, :policy,"
        " :phone, :weight, :height, :allergies, :pregnancy, :changed_at)",
        {**_columns(tx, patient), "patient_id": patient_id},
    )


def update(tx: Tx, id: int, patient: Patient) -> None:
    """Write a patient's data over the old ones; the card number stays."""
    tx.run(
        "UPDATE patient SET family = :family, given = :given, middle = :middle, name_key = :name_key,"
        " given_key = :given_key, birth_date = :birth_date, sex = :sex, snils = :snils, policy = :policy,"
        " phone = :phone, weight = :weight, height = :height, allergies = :allergies, pregnancy = :pregnancy,"
        " revision = revision + 1, changed_at = :changed_at WHERE id = :id",
        {**_columns(tx, patient), "id": id},
    )


def _columns(tx: Tx, patient: Patient) -> dict[str, object]:
    return {
        "family": patient.name.family,
        "given": patient.name.given,
        "middle": patient.name.middle,
        "name_key": names.fold(str(patient.name)),
        "given_key": names.fold(patient.name.given),
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else "",
        "sex": patient.sex,
        "snils": patient.snils or None,
        "policy": patient.policy or None,
        "phone": patient.phone,
        "weight": patient.weight,
        "height": patient.height,
        "allergies": patient.allergies,
        "pregnancy": patient.pregnancy,
        "changed_at": tx.now.isoformat(),
    }


def _by_name(reader: Reader, words: list[str], born: date | None, limit: int) -> list[Patient]:
    """Search the first word as the beginning of the family name, else of the given name; the rest must begin words."""
    found: list[Patient] = []
    for column in ("name_key", "given_key"):
        rows = reader.rows(
            f"SELECT * FROM patient WHERE {column} >= :low AND {column} < :high"
            " AND (:born = '' OR birth_date = :born) ORDER BY name_key LIMIT 500",
            {"low": words[0], "high": words[0] + PREFIX_END, "born": born.isoformat() if born else ""},
        )
        for row in rows:
            key = row["name_key"].split(" ")
            if row["id"] not in {each.id for each in found} and all(
                any(part.startswith(word) for part in key) for word in words
            ):
                found.append(from_row(row))
                if len(found) == limit:
                    return found
    return found


def _by_number(reader: Reader, number: str, born: date | None, limit: int) -> list[Patient]:
    found: dict[int, Patient] = {}
    for column in ("snils", "policy", "patient_id"):
        for row in reader.rows(
            f"SELECT * FROM patient WHERE {column} >= :low AND {column} < :high"
            " AND (:born = '' OR birth_date = :born) LIMIT :limit",
            {
                "low": number,
                "high": number + PREFIX_END,
                "born": born.isoformat() if born else "",
                "limit": limit,
            },
        ):
            found.setdefault(row["id"], from_row(row))
    return list(found.values())[:limit]


def _date(word: str) -> date | None:
    day, _, rest = word.partition(".")
    month, _, year = rest.partition(".")
    if not (day.isdigit() and month.isdigit() and year.isdigit() and len(year) == 4):
        return None
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
