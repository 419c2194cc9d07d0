"""Use cases of people about performed steps: link, unlink, confirm the patient, close an order."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from broker.domain import lifecycle
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Stale, WrongState
from broker.domain.lifecycle import Event
from broker.domain.orders import Order
from broker.domain.patients import confirmation, identifiers, names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.performed import PerformedState, PerformedStep, StepSource
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries.patients import patient_index
from broker.store.tables import audit, orders
from broker.store.tables.studies import archive, performed, performed_links
from broker.workflow.studies import archive_images, order_status, received_objects


def link(
    tx: Tx, sop_instance_uid: str, order_id: int, actor: Actor, clinic: Clinic, confirmed: Confirmation | None = None
) -> None:
    """Link a step to the order that it belongs to, which its modality did not name.

    `confirmed`: the order's patient as the person saw it, and the fields in which it contradicts the device's and which
    were confirmed, as `patient_index.contradictions_of` names them; None: there was nothing to confirm.
    Raise NotFound, WrongState when the step belongs to an order already, Invalid with the fields that contradict and
    are not confirmed, Stale if the patient is another one by now, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    step, order = performed.require(tx, sop_instance_uid), orders.require(tx, order_id)
    if performed_links.linked_steps(tx, step.stored_id):
        raise WrongState(f"performed step {sop_instance_uid} belongs to an order already")
    wrong = patient_index.contradictions_of(tx, order.patient, step)
    confirmation.check(order.patient, wrong, confirmed)
    for scheduled in order.steps:
        performed_links.link(tx, step.stored_id, scheduled.id, actor.name)
    order_status.recompute_status(tx, order, clinic)
    seen = {"confirmed": ", ".join(wrong)} if wrong else {}
    audit.write(tx, actor, AuditAction.LINK, order.id, sop_instance_uid=sop_instance_uid, **seen)
    order_status.queue_added_images(tx, order.id, clinic)
    received_objects.follow_step(tx, order, _study_uids(tx, step), wrong, actor)
    tx.notify()


def unlink(tx: Tx, sop_instance_uid: str, order_id: int, actor: Actor, clinic: Clinic) -> None:
    """Unlink a step from an order, which is scheduled again unless another step was performed for it.

    The study is again one without an order; a step that no modality reported is removed. A study of the archive that a
    person has chosen the order for, and that did not come with the step, stays the order's.
    Raise NotFound, WrongState if the two are not linked, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    step, order = performed.require(tx, sop_instance_uid), orders.require(tx, order_id)
    linked = performed_links.order_ids(tx, step.stored_id)
    if order.id not in linked:
        raise WrongState(f"performed step {sop_instance_uid} is not linked to order {order.accession_number}")
    studies = _archived_studies(tx, step, order) if step.source is StepSource.ARCHIVE else []
    uids = _study_uids(tx, step)
    if step.source is not StepSource.MODALITY:
        performed.remove(tx, step.stored_id)
    else:
        performed_links.unlink(tx, step.stored_id, [scheduled.id for scheduled in order.steps])
    archive.dismiss_unlinked(tx, order.id, uids, studies, actor.name)
    audit.write(tx, actor, AuditAction.UNLINK, order.id, sop_instance_uid=sop_instance_uid)
    archive_images.keep_performed(tx, order, actor, clinic)
    received_objects.take_away(tx, order, uids, step.source, actor)
    order_status.recompute_after_removal(tx, order.id, clinic)
    tx.notify()


def _study_uids(tx: Tx, step: PerformedStep) -> set[str]:
    """Return the Study Instance UIDs under which a device, or the archive, has reported a step."""
    return {each.study_instance_uid for each in performed.references(tx, step.stored_id) if each.study_instance_uid}


def _archived_studies(tx: Tx, step: PerformedStep, order: Order) -> list[ArchiveStudy]:
    """Return the studies of the archive that a step is known from."""
    return [
        ArchiveStudy(
            study_instance_uid=each.study_instance_uid,
            accession_number=order.accession_number,
            images=step.images,
            modality=step.modality,
            patient_name=step.patient_name,
            patient_id=step.patient_id,
            birth_date=step.patient_birth_date,
            start=step.start,
            patient_sex=step.patient_sex,
        )
        for each in performed.references(tx, step.stored_id)
    ]


def confirm_patient(
    tx: Tx, sop_instance_uid: str, order_id: int, actor: Actor, clinic: Clinic, confirmed: Confirmation
) -> None:
    """Confirm that a step is of this order's patient, although the device named another one.

    Messages about the images may then be sent to the region. Raise NotFound, Stale and Invalid as `link`, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    step, order = performed.require(tx, sop_instance_uid), orders.require(tx, order_id)
    noted = performed_links.conflicts(tx, order_id).get(sop_instance_uid, "")
    confirmation.check(order.patient, noted.split(", ") if noted else (), confirmed)
    scheduled_ids = [scheduled.id for scheduled in order.steps]
    performed_links.resolve_conflict(tx, step.stored_id, scheduled_ids)
    performed.remove_archived(tx, scheduled_ids)
    _go_on(tx, order.id, clinic)
    seen = {"confirmed": noted} if noted else {}
    audit.write(tx, actor, AuditAction.CONFIRM_PATIENT, order.id, sop_instance_uid=sop_instance_uid, **seen)
    tx.notify()


def clear_conflicts(tx: Tx, order_ids: Sequence[int], clinic: Clinic) -> tuple[tuple[int, int, str, str], ...]:
    """Clear the contradictions that there are no more, and let their orders go on.

    Return what was cleared: performed step, scheduled step, before, after.
    """
    changed, touched = [], []
    for link in performed_links.links_of_orders(tx, order_ids):
        if not link.conflict:
            continue
        there = patient_index.contradictions_of(tx, orders.require(tx, link.order_id).patient, link.step)
        left = [field for field in link.conflict if not field.startswith("patient_") or field in there]
        if len(left) < len(link.conflict):
            after = ", ".join(left)
            performed_links.set_conflict(tx, link.step.stored_id, link.scheduled_step_id, after)
            if not after:
                performed.remove_archived(tx, [link.scheduled_step_id])
            changed.append((link.step.stored_id, link.scheduled_step_id, ", ".join(link.conflict), after))
            touched.append(link.order_id)
    for order_id in dict.fromkeys(touched):
        if not performed_links.conflicts(tx, order_id):
            _go_on(tx, order_id, clinic)
    return tuple(changed)


def note_contradictions(tx: Tx, order_ids: Sequence[int], actor: Actor, clinic: Clinic) -> None:
    """Note what contradicts the patient, who is another one as far as data say, in what was done for these orders.

    What a person has confirmed was confirmed of the patient of then. Nothing of it is sent until a person has looked.
    """
    touched = []
    for link in performed_links.links_of_orders(tx, order_ids):
        if link.step.source is StepSource.MANUAL:
            continue
        there = patient_index.contradictions_of(tx, orders.require(tx, link.order_id).patient, link.step)
        noted = list(dict.fromkeys((*link.conflict, *there)))
        if len(noted) > len(link.conflict):
            performed_links.set_conflict(tx, link.step.stored_id, link.scheduled_step_id, ", ".join(noted))
        if noted:
            touched.append(link.order_id)
    for order_id in dict.fromkeys([*touched, *_reopened_studies(tx, order_ids)]):
        order_status.withdraw_results(tx, order_id)
    received_objects.release_contradicting(tx, order_ids, actor, confirmed_too=True)


def _reopened_studies(tx: Tx, order_ids: Sequence[int]) -> list[int]:
    """Let studies of the archive that people have accepted, and that contradict the patient now, wait for them again.

    Return their orders. One of which a step was made is doubtful by its step.
    """
    reopened = []
    for order_id in order_ids:
        patient = orders.require(tx, order_id).patient
        for each in archive.accepted_discrepancies(tx, order_id):
            study = each.study
            person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
            is_step = performed.archived(tx, order_id, study.study_instance_uid) is not None
            if not is_step and patient_index.contradictions(tx, patient, *person):
                archive.reopen_as_another_patients(tx, each.id)
                reopened.append(order_id)
    return reopened


def _go_on(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Recompute an order of which it is settled whose its images are: what was withdrawn is sent after all."""
    order_status.recompute_status(tx, orders.require(tx, order_id), clinic)
    order_status.recompute_dispute(tx, orders.require(tx, order_id), clinic)


def close(tx: Tx, order_id: int, revision: int, actor: Actor, clinic: Clinic) -> None:
    """Complete an order whose device does not report it, or did not report its end.

    What the device reports later still counts.
    `revision` is the one that the person saw. Raise Stale, WrongState, NotFound, Forbidden.
    """
    permit(tx, actor, Permission.CLOSE)
    order = orders.require(tx, order_id)
    if order.revision != revision:
        raise Stale(f"order {order.accession_number}")
    lifecycle.after(order.state, Event.CLOSE)
    running = [step for step, _ in performed.running(tx) if order.id in performed_links.order_ids(tx, step.stored_id)]
    affected = dict.fromkeys([order.id])
    for step in running:
        performed.end_provisionally(tx, step.sop_instance_uid, PerformedState.COMPLETED)
        affected |= dict.fromkeys(performed_links.order_ids(tx, step.stored_id))
    waiting = [each for each in order.steps if not performed.states_of_step(tx, each.id)]
    if waiting or not running:
        step = _manual_step(tx, order, actor, clinic)
        id = performed.add(tx, step)
        for scheduled in waiting or order.steps:
            performed_links.link(tx, id, scheduled.id, actor.name)
    for each in affected:
        order_status.recompute_status(tx, orders.require(tx, each), clinic)
        audit.write(tx, actor, AuditAction.CLOSE, each)
    tx.notify()


def _manual_step(tx: Tx, order: Order, actor: Actor, clinic: Clinic) -> PerformedStep:
    now = clinic.local(tx.now)
    return PerformedStep(
        sop_instance_uid=identifiers.new_uid(clinic.uid_root, tx.now, secrets.randbits(128)),
        ae_title=next(iter(order.steps[0].station_ae_titles), ""),
        state=PerformedState.COMPLETED,
        start=now,
        end=now,
        modality=order.modality,
        patient_name=names.to_dicom(order.patient.name),
        patient_id=order.patient.patient_id,
        operator=actor.title or actor.name,
        source=StepSource.MANUAL,
    )
