"""Studies whose images the archive holds although no modality has reported them."""

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
    """What an archive holds of a study, as it answers at study level."""

    study_instance_uid: str
    instances: int = 0  # 0: the archive does not return it
    modality: str = ""
    patient_name: str = ""
    patient_id: str = ""
    birth_date: str = ""  # DICOM's form, YYYYMMDD
    start: datetime | None = None  # local clinic time, naive


def record_images(tx: Tx, order_id: int, held: ArchiveStudy, actor: Actor, clinic: Clinic) -> bool:
    """Record that an archive holds an order's images, so that it was performed; return True if that was news.

    It is none if a device reports the study itself, or a person has unlinked these images. Images that bear another
    patient's name are linked, and not sent to the region until a person has confirmed them.
    """
    permit(tx, actor, Permission.PERFORM)
    order = orders.get(tx, order_id)
    if order is None or not _is_news(tx, order):
        return False
    step = _step(tx, order, held, clinic)
    wrong = identity.contradictions(order.patient, held.patient_name, held.patient_id, held.birth_date)
    id = performed.add(tx, step)
    for scheduled in order.steps:
        performed.link(tx, id, scheduled.id, actor.name, ", ".join(wrong))
    order_status.recompute_status(tx, order, clinic)
    audit.write(
        tx, actor, AuditAction.IMAGES_SEEN, order.id, sop_instance_uid=step.sop_instance_uid, instances=held.instances
    )
    if wrong:
        number = order.accession_number
        text = f"a step for {number} names another order or patient by {', '.join(wrong)}"
        devices.note(tx, step.ae_title, "mpps_conflict", text)
    tx.notify()
    return True


def _is_news(tx: Tx, order: Order) -> bool:
    if not lifecycle.allowed(order.state, Event.CLOSE):
        return False
    if audit.newest(tx, order.id, (AuditAction.UNLINK, AuditAction.IMAGES_SEEN)) is AuditAction.UNLINK:
        return False
    return PerformedState.IN_PROGRESS not in performed.states_of_order(tx, order.id)


def _step(tx: Tx, order: Order, held: ArchiveStudy, clinic: Clinic) -> PerformedStep:
    return PerformedStep(
        sop_instance_uid=identifiers.new_uid(clinic.uid_root, tx.now, secrets.randbits(128)),
        ae_title=next(iter(order.steps[0].station_ae_titles), ""),
        state=PerformedState.COMPLETED,
        start=held.start or clinic.local(tx.now),
        modality=held.modality or order.modality,
        patient_name=held.patient_name,
        patient_id=held.patient_id,
        images=held.instances,
        references=(StepReference(study_instance_uid=held.study_instance_uid),),
        source=StepSource.ARCHIVE,
    )
