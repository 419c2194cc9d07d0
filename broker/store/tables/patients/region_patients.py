"""What the region was last sent of the patients under whom it has our orders."""

from __future__ import annotations

from datetime import date

from broker.domain.messages import OTHER_PATIENT
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store import rows
from broker.store.database import Reader, Tx


def get(reader: Reader, order_id: int) -> Patient | None:
    """Return the patient as the region has them for an order, as far as that was sent; None if it is not known."""
    row = reader.one("SELECT * FROM region_patient WHERE order_id = ?", [order_id])
    if row is None:
        return None
    return Patient(
        PersonName(row["family"], row["given"], row["middle"]),
        date.fromisoformat(row["birth_date"]) if row["birth_date"] else None,
        Sex(row["sex"]),
        snils=row["snils"],
        policy=row["policy"],
    )


def put(tx: Tx, order_id: int, bus_id: str, patient: Patient) -> None:
    """Note what the region has of an order's patient, `Patient/<bus_id>` there, for all orders under that Patient.

    Results that waited because of other data are tried again.
    """
    values = _columns(patient)
    rows.upsert(tx, "region_patient", {"order_id": order_id, "bus_id": bus_id, **values}, ("order_id",))
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    tx.run(f"UPDATE region_patient SET {assignments} WHERE bus_id = :bus_id", {**values, "bus_id": bus_id})
    tx.run(
        "UPDATE outbox SET state = 'pending' WHERE state = 'needs_attention' AND substr(reason, 1, :length) = :reason"
        " AND order_id IN (SELECT order_id FROM region_patient WHERE bus_id = :bus_id)",
        {"length": len(OTHER_PATIENT), "reason": OTHER_PATIENT, "bus_id": bus_id},
    )


def confirm(tx: Tx, order_id: int, patient: Patient) -> None:
    """Note that a person answers for it that the region has this patient for an order, whatever was sent."""
    rows.upsert(tx, "region_patient", {"order_id": order_id, "bus_id": "", **_columns(patient)}, ("order_id",))


def _columns(patient: Patient) -> dict[str, str]:
    return {
        "family": patient.name.family,
        "given": patient.name.given,
        "middle": patient.name.middle,
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else "",
        "sex": patient.sex,
        "snils": patient.snils,
        "policy": patient.policy,
    }
