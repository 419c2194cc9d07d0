"""Queries of the desk besides `schedule`: known patients for imported data, and walk-in studies.

Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from broker.domain.clinic.devices import Device
from broker.domain.patients.patient_match import Likeness, PatientMatch
from broker.domain.patients.people import Patient, Sex
from broker.domain.studies import archive
from broker.domain.studies.archive import DiscrepancyState
from broker.domain.studies.performed import PerformedStep, StepSource
from broker.store.database import Reader
from broker.store.queries import device_registry
from broker.store.queries.patients import patient_index
from broker.store.queries.studies import unreferred_studies
from broker.store.tables import devices, orders
from broker.store.tables.patients import patients
from broker.store.tables.studies import archive_unreferred, performed, performed_links
from broker.store.tables.studies.archive_unreferred import UnreferredStudy


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


@dataclass(frozen=True, slots=True)
class ArchivedWalkIn:
    """A study of the archive that has no order, with what of it a form can be filled with."""

    unreferred: UnreferredStudy
    patient: Patient | None  # of ours, whose card number it bears, and whom nothing of it contradicts
    devices: tuple[Device, ...]  # that may have made it
    birth_date: date | None
    sex: Sex | None
    is_open: bool  # it is no order's yet, and no person has left it without one


def archived_walk_in(reader: Reader, id: int) -> ArchivedWalkIn | None:
    """Return a study of the archive that has no order, or None if there is none with this id (any more)."""
    found = archive_unreferred.find(reader, id)
    if found is None:
        return None
    study = found.study
    person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    known = patients.find_by(reader, "patient_id", study.patient_id) if study.patient_id else None
    ours = [device for device in device_registry.approved(reader) if archive.has_modality(study, device.modality)]
    return ArchivedWalkIn(
        unreferred=found,
        patient=known if known and not patient_index.contradictions(reader, known, *person) else None,
        devices=tuple(ours),
        birth_date=_date(study.birth_date),
        sex=Sex(study.patient_sex) if study.patient_sex in set(Sex) else None,
        is_open=found.state is DiscrepancyState.OPEN and not unreferred_studies.is_known(reader, study),
    )


def _date(birth_date: str) -> date | None:
    """Return the date of a DA, or None if it is not a date."""
    try:
        return datetime.strptime(birth_date, "%Y%m%d").date()
    except ValueError:
        return None
