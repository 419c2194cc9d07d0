"""Use case of the archive: a study whose images it has although no modality has reported it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from broker.domain import identifiers, identity, lifecycle
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic import Clinic
from broker.domain.lifecycle import Event
from broker.domain.orders import Order
from broker.domain.performed import PerformedState, PerformedStep, StepReference, StepSource
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, devices, orders, performed
from broker.workflow import order_status


@dataclass(frozen=True, slots=True)
class ArchiveStudy:
    """A study of the archive, as it answers at study level (PS3.4 C.6.1.1.3)."""

    study_instance_uid: str
    instances: int = 0  # 0: the archive does not return it
    modality: str = ""
    patient_name: str = ""
    patient_id: str = ""
    birth_date: str = ""  # DICOM's form, YYYYMMDD
    start: datetime | None = None  # local clinic time, naive


def record_images(tx: Tx, order_id: int, archived: ArchiveStudy, actor: Actor, clinic: Clinic) -> bool:
    """Record an order as performed because the archive has its images; return True if that was not known.

    Nothing changes if a device reports the study itself, or a person has unlinked these images. Images with another
    patient's data are linked, but not sent to the region until a person has confirmed them. Raise Forbidden.
    """
    permit(tx, actor, Permission.PERFORM)
    order = orders.get(tx, order_id)
    if order is None or not _is_new(tx, order):
        return False
    step = _step(tx, order, archived, clinic)
    wrong = identity.contradictions(order.patient, archived.patient_name, archived.patient_id, archived.birth_date)
    id = performed.add(tx, step)
    for scheduled in order.steps:
        performed.link(tx, id, scheduled.id, actor.name, ", ".join(wrong))
    order_status.recompute_status(tx, order, clinic)
    audit.write(
        tx,
        actor,
        AuditAction.IMAGES_SEEN,
        order.id,
        sop_instance_uid=step.sop_instance_uid,
        instances=archived.instances,
    )
    if wrong:
        number = order.accession_number
        text = f"a step for {number} names another order or patient by {', '.join(wrong)}"
        devices.note(tx, step.ae_title, "mpps_conflict", text)
    tx.notify()
    return True


def _is_new(tx: Tx, order: Order) -> bool:
    if not lifecycle.allowed(order.state, Event.CLOSE):
        return False
    if audit.newest(tx, order.id, (AuditAction.UNLINK, AuditAction.IMAGES_SEEN)) is AuditAction.UNLINK:
        return False
    return PerformedState.IN_PROGRESS not in performed.states_of_order(tx, order.id)


def _step(tx: Tx, order: Order, archived: ArchiveStudy, clinic: Clinic) -> PerformedStep:
    return PerformedStep(
        sop_instance_uid=identifiers.new_uid(clinic.uid_root, tx.now, secrets.randbits(128)),
        ae_title=next(iter(order.steps[0].station_ae_titles), ""),
        state=PerformedState.COMPLETED,
        start=archived.start or clinic.local(tx.now),
        modality=archived.modality or order.modality,
        patient_name=archived.patient_name,
        patient_id=archived.patient_id,
        images=archived.instances,
        references=(StepReference(study_instance_uid=archived.study_instance_uid),),
        source=StepSource.ARCHIVE,
    )
