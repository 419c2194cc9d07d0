"""The read side of the desk beyond `schedule`: whom a name from elsewhere means, what was done without an order.

It changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from broker.domain import names
from broker.domain.devices import Device
from broker.domain.people import Patient, Sex
from broker.domain.performed import PerformedStep, StepSource
from broker.store.database import Reader
from broker.store.tables import devices, orders, patients, performed


@dataclass(frozen=True, slots=True)
class WalkIn:
    """A study that a modality made without an order, as its device told it, and the order that has it by now."""

    step: PerformedStep
    device: Device | None  # None: not approved
    birth_date: date | None
    sex: Sex | None
    accession_number: str = ""


def meant(reader: Reader, said: Patient) -> Patient | None:
    """Return the patient whom a form means: who was chosen, or whom its fields describe; None is somebody new."""
    return patients.get(reader, said.id) if said.id is not None else same_patient(reader, said)


def same_patient(reader: Reader, said: Patient) -> Patient | None:
    """Return the patient of ours whom somebody else means, or None: numbers alone are not enough, for slips happen."""
    found = patients.find_same(reader, said)
    same = found is not None and (names.fold(str(found.name)), found.birth_date) == (
        names.fold(str(said.name)),
        said.birth_date,
    )
    return found if same else None


def walk_in(reader: Reader, sop_instance_uid: str) -> WalkIn | None:
    """Return what a device told of a study that it made without an order, or None where it told of no such study."""
    step = performed.get(reader, sop_instance_uid)
    if step is None or step.source is not StepSource.MODALITY:
        return None
    device = devices.get(reader, step.ae_title)
    linked = performed.linked_steps(reader, step.id)
    order = orders.get(reader, linked[0][0]) if linked else None
    return WalkIn(
        step=step,
        device=device if device and device.approved else None,
        birth_date=_date(step.patient_birth_date),
        sex=Sex(step.patient_sex) if step.patient_sex in set(Sex) else None,
        accession_number=order.accession_number if order else "",
    )


def _date(birth_date: str) -> date | None:
    """Return the date of a DA, or None if it is not a date."""
    try:
        return datetime.strptime(birth_date, "%Y%m%d").date()
    except ValueError:
        return None
