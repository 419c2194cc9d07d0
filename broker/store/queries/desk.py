"""Queries of the desk besides `schedule`: known patients for imported data, and walk-in studies.

Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from broker.domain.clinic.devices import Device
from broker.domain.patients.patient_match import Likeness, PatientMatch
from broker.domain.patients.people import Patient, Sex
from broker.domain.studies.performed import PerformedStep, StepSource
from broker.store.database import Reader
from broker.store.queries.patients import patient_index
from broker.store.tables import devices, orders, patients, performed, performed_links


@dataclass(frozen=True, slots=True)
class WalkIn:
    """A study that a modality made without an order, as the device reported it, and the order that has it by now."""

    step: PerformedStep
    device: Device | None  # None: not approved
    birth_date: date | None
    sex: Sex | None
    accession_number: str = ""


def match_described(reader: Reader, described: Patient) -> PatientMatch:
    """Return whom a form means: the chosen patient as certain, else the match of what its fields describe."""
    if described.id is None:
        return patient_index.match(reader, described)
    chosen = patients.get(reader, patients.surviving_id(reader, described.id))
    return PatientMatch(Likeness.CERTAIN, (chosen,)) if chosen else PatientMatch(Likeness.NO_MATCH)


def walk_in(reader: Reader, sop_instance_uid: str) -> WalkIn | None:
    """Return a study that a device reported without an order, or None if it is unknown."""
    step = performed.get(reader, sop_instance_uid)
    if step is None or step.source is not StepSource.MODALITY:
        return None
    device = devices.get(reader, step.ae_title)
    linked = performed_links.linked_steps(reader, step.stored_id)
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
