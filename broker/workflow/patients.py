"""Finds the patient of a referral or an imported item, or adds one; two patients never become one.

Called inside the transactions of the use cases that register, amend and import, which have checked the permission.
"""

from __future__ import annotations

from dataclasses import replace

from broker.domain import identity, passthrough
from broker.domain.errors import Invalid, NotFound, Refused, Stale
from broker.domain.people import Patient
from broker.store.database import Tx
from broker.store.tables import orders, patients
from broker.workflow import numbering


def save(tx: Tx, typed: Patient) -> Patient:
    """Find the patient of a referral, or add a new one, and write what has changed.

    `typed.id` is that of a patient who was chosen, None where one is to be found. Raise NotFound, Invalid (whose number
    it is), Stale when a chosen patient has changed since.
    """
    known = _match(tx, typed)
    if known is None:
        return _add(tx, typed)
    owners = {
        field: owner.stored_id
        for field in identity.NUMBERS
        if (value := getattr(typed, field)) and (owner := patients.find_by(tx, field, value))
    }
    if problems := identity.conflicts(known, typed, owners):
        raise Invalid(problems)
    if typed.id is not None and typed.revision not in (0, known.revision) and typed != known:
        raise Stale(f"patient {known.patient_id}")
    merged = identity.merge(known, typed)
    if merged != known:
        patients.update(tx, known.stored_id, merged)
        orders.forget(tx, known.stored_id, passthrough.outdated_by_patient(known, merged))
    return merged


def save_imported(tx: Tx, imported: Patient, current: Patient | None) -> Patient:
    """Find the patient of a script's worklist item, or add a new one; fill in a known patient's empty fields only.

    `current` is the patient of the order of the item's earlier content. Return the patient as stored. Raise Refused.
    """
    if imported.patient_id:
        known = patients.find_by(tx, "patient_id", imported.patient_id)
    elif current and not identity.difference(imported, current):
        known = current
    else:
        known = patients.find_same(tx, imported)
    if known is None:
        return _add(tx, imported)
    if difference := identity.difference(imported, known):
        raise Refused(f"the Patient ID {known.patient_id} belongs to a patient with another {difference} here")
    filled = identity.fill_in(known, imported)
    if filled == known:
        return known
    patients.update(tx, known.stored_id, filled)
    return replace(filled, revision=known.revision + 1)


def _match(tx: Tx, typed: Patient) -> Patient | None:
    if typed.id is None:
        return patients.find_same(tx, typed)
    known = patients.get(tx, typed.id)
    if known is None:
        raise NotFound(f"patient {typed.id}")
    return known


def _add(tx: Tx, patient: Patient) -> Patient:
    number = patient.patient_id or numbering.patient_id(tx)
    return replace(patient, id=patients.add(tx, patient, number), patient_id=number, revision=1)
