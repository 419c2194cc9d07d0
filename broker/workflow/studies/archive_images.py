"""What the image archive's answers make of orders, and what people decide where the two do not fit."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from broker.domain import lifecycle
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Invalid, Stale, WrongState
from broker.domain.lifecycle import Event
from broker.domain.orders import Order, OrderState
from broker.domain.patients import confirmation, identifiers, names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.archive import (
    ArchiveStudy,
    Comparison,
    Discrepancy,
    DiscrepancyKind,
    DiscrepancyState,
    compare,
)
from broker.domain.studies.performed import PerformedState, PerformedStep, StepReference, StepSource
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries.patients import patient_index
from broker.store.queries.studies import archive_evidence, archive_gaps, unreferred_studies
from broker.store.tables import audit, orders
from broker.store.tables.reading import reports
from broker.store.tables.studies import archive, archive_unreferred, archived_reports, performed, performed_links
from broker.workflow.studies import order_status, received_objects

LONGEST_REASON = 200  # characters
_NOTED_EVERY = timedelta(minutes=1)  # how often it is written down that nothing has come yet


def record_answer(
    tx: Tx, order_id: int, found: Sequence[ArchiveStudy], actor: Actor, clinic: Clinic, *, settled: bool
) -> bool:
    """Record what an archive answered of an order; return True if that tells that the order was performed.

    What fits the order counts once the archive has stopped growing (`settled`). What does not fit waits for a person;
    where it may be what was made for the order, nothing of it is sent to the region until then. It is no news if a
    device reports the study itself; what a person has unlinked is not put back.
    """
    permit(tx, actor, Permission.PERFORM)
    order = orders.get(tx, order_id)
    if order is None:
        return False
    evidence = archive_evidence.about(tx, order, archive_evidence.evidence_of(tx, order), found)
    comparison = compare(order, found, evidence)
    uids = {each.study_instance_uid for each in found}
    if archive.set_discrepancies(tx, order_id, comparison, uids, settled=settled):
        order_status.recompute_dispute(tx, order, clinic)
        tx.notify()
    if not settled:
        return False
    made = comparison.images != 0 and archive_evidence.is_awaited(tx, order)
    if made:
        step = _step(tx, order, comparison, clinic)
        _link(tx, order, step, actor)
        audit.write(
            tx, actor, AuditAction.IMAGES_SEEN, order.id, sop_instance_uid=step.sop_instance_uid, images=step.images
        )
    has_changed = _count(tx, order, comparison, actor)
    if made or (has_changed and clinic.waits_for_images):
        order_status.recompute_status(tx, order, clinic)
    if has_changed:  # a report that waited for images which are there again
        order_status.recompute_dispute(tx, orders.require(tx, order.id), clinic)
    if made or has_changed:
        order_status.queue_added_images(tx, order.id, clinic)
    if made or has_changed:
        tx.notify()
    return made


def waive_images(tx: Tx, order_id: int, reason: str, actor: Actor, clinic: Clinic) -> None:
    """Record that no images of an order will come to the archive, as this person says; the region is not kept waiting.

    `reason` is where they are, or why there are none. Raise NotFound, Invalid without one, WrongState if the order was
    not performed, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    reason = names.cut(names.tidy(reason), LONGEST_REASON)
    if not reason:
        raise Invalid({"reason": "no_images"})
    order = orders.require(tx, order_id)
    if order.state is not OrderState.COMPLETED:
        raise WrongState(f"order {order.accession_number} is {order.state}")
    archive.waive(tx, order.id, actor.name)
    order_status.recompute_dispute(tx, order, clinic)  # also a report that has waited for them
    audit.write(tx, actor, AuditAction.IMAGES_WAIVED, order.id, reason=reason)
    tx.notify()


def accept_count(tx: Tx, order_id: int, images: int, actor: Actor) -> None:
    """Record that this number of images in the archive is right, although a device has reported another one.

    It holds for the orders that were made together with it, too. `images` is what the person saw of this one. Raise
    NotFound, Stale if the archive holds another number by now, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    order, holding = orders.require(tx, order_id), archive.holding(tx, order_id)
    if holding is None or holding.images != images:
        raise Stale(f"images of order {order.accession_number}")
    for each in archive_gaps.counted_together(tx, order.id):
        archive.note_difference_seen(tx, each)
    audit.write(tx, actor, AuditAction.IMAGES_COUNT_ACCEPTED, order.id, images=images)
    tx.notify()


def accept(tx: Tx, id: int, actor: Actor, clinic: Clinic, confirmed: Confirmation | None = None) -> Order:
    """Take a study of the archive for its order's, as this person says; return the order.

    An order that was not performed by then is. `confirmed`: its patient as the person saw it, and the fields in which
    the two contradict each other and which were confirmed, as `patient_index.contradictions` names them; None: there
    was nothing to confirm. Raise NotFound, WrongState if it was decided already, or the order cannot have been
    performed, Invalid with the fields that contradict and are not confirmed, Stale if the patient is another one by
    now, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    each, order = _open(tx, id)
    study = each.study
    wrong = _check(tx, order, study, confirmed)
    archive.decide(tx, id, DiscrepancyState.ACCEPTED, actor.name)
    uid = _take(tx, order, study, actor, clinic)
    _audit(tx, actor, AuditAction.ARCHIVE_ACCEPT, each, sop_instance_uid=uid, confirmed=", ".join(wrong))
    order_status.queue_added_images(tx, order.id, clinic)
    received_objects.follow_step(tx, order, {study.study_instance_uid}, wrong, actor)
    return order


def link_unreferred(
    tx: Tx, id: int, order_id: int, actor: Actor, clinic: Clinic, confirmed: Confirmation | None = None
) -> Order:
    """Take a study of the archive that bears no order's number for this order's, as this person says; return the order.

    `confirmed` is that of `accept`. Raise what `accept` raises; WrongState also if somebody has left the study without
    an order, or it was reported for an order, since it was shown.
    """
    permit(tx, actor, Permission.LINK)
    unreferred, order = archive_unreferred.require(tx, id), orders.require(tx, order_id)
    study = unreferred.study
    if unreferred.state is not DiscrepancyState.OPEN:
        raise WrongState(f"study without an order {id} is {unreferred.state}")
    if unreferred_studies.is_known(tx, study):
        raise WrongState(f"study {study.study_instance_uid} is an order's, is compared with one, or was reported")
    wrong = _check(tx, order, study, confirmed)
    accepted = archive.require(tx, archive.add_accepted(tx, order.id, study, actor.name))
    archive_unreferred.remove(tx, id)
    uid = _take(tx, order, study, actor, clinic)
    _audit(tx, actor, AuditAction.ARCHIVE_ACCEPT, accepted, sop_instance_uid=uid, confirmed=", ".join(wrong))
    order_status.queue_added_images(tx, order.id, clinic)
    received_objects.follow_step(tx, order, {study.study_instance_uid}, wrong, actor)
    return order


def _check(tx: Tx, order: Order, study: ArchiveStudy, confirmed: Confirmation | None) -> list[str]:
    """Return in which fields the patients contradict each other; raise Invalid, Stale unless a person has seen them."""
    person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    wrong = patient_index.contradictions(tx, order.patient, *person)
    confirmation.check(order.patient, wrong, confirmed)
    return wrong


def _take(tx: Tx, order: Order, study: ArchiveStudy, actor: Actor, clinic: Clinic) -> str:
    """Let a study be an order's: perform it where it was not, and count; return the SOP Instance UID of a new step."""
    uid = ""
    if order.state is not OrderState.COMPLETED:
        lifecycle.after(order.state, Event.CLOSE)
        if PerformedState.IN_PROGRESS not in performed.states_of_order(tx, order.id):
            step = _step(tx, order, Comparison((study,)), clinic)
            _link(tx, order, step, actor)
            uid = step.sop_instance_uid
    _count(tx, order, Comparison((*_counted(tx, order, study), study)), actor)
    order_status.recompute_status(tx, order, clinic)
    order_status.recompute_dispute(tx, orders.require(tx, order.id), clinic)
    return uid


def _counted(tx: Tx, order: Order, study: ArchiveStudy) -> list[ArchiveStudy]:
    """Return what is counted as the order's beside a study, as one: it goes on being so."""
    held = archive.holding(tx, order.id)
    if held is None or not held.exists or held.study_instance_uid == study.study_instance_uid:
        return []
    return [replace(study, study_instance_uid=held.study_instance_uid, images=held.images)]


def keep_performed(tx: Tx, order: Order, actor: Actor, clinic: Clinic) -> None:
    """Keep an order performed whose last step was unlinked, if a person has accepted another study for it."""
    accepted = archive.accepted(tx, order.id)
    is_performed = order.state not in (OrderState.SCHEDULED, OrderState.CANCELLED)
    if not accepted or not is_performed or performed.states_of_order(tx, order.id):
        return
    step = _step(tx, order, Comparison(tuple(accepted)), clinic)
    _link(tx, order, step, actor)
    audit.write(
        tx, actor, AuditAction.IMAGES_SEEN, order.id, sop_instance_uid=step.sop_instance_uid, images=step.images
    )


def dismiss(tx: Tx, id: int, actor: Actor, clinic: Clinic) -> Order:
    """Take a study of the archive for none of its order's, as this person says; return the order.

    It is not asked about again. If it was what closed the order, the order waits again.
    Raise NotFound, WrongState if it was decided already, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    each, order = _open(tx, id)
    step = _made_of(tx, each)
    archive.decide(tx, id, DiscrepancyState.DISMISSED, actor.name)
    _audit(tx, actor, AuditAction.ARCHIVE_DISMISS, each)
    _take_back(tx, step, order, actor, clinic)
    if each.study.study_instance_uid not in _own_uids(tx, order):
        uids = {each.study.study_instance_uid}
        received_objects.take_away(tx, order, uids, StepSource.ARCHIVE, actor)
    return order


def _own_uids(tx: Tx, order: Order) -> set[str]:
    """Return the Study Instance UIDs under which something is certainly an order's."""
    own = {order.study_instance_uid}
    for link in performed_links.links_of_orders(tx, [order.id]):
        own |= {each.study_instance_uid for each in performed.references(tx, link.step.stored_id)}
    return own


def reconsider(tx: Tx, id: int, actor: Actor, clinic: Clinic) -> Order:
    """Let a study of the archive that a person has decided about wait for a decision again; return the order.

    If it was what closed the order, the order waits again. Raise NotFound, WrongState if it was not decided, Forbidden.
    """
    permit(tx, actor, Permission.LINK)
    each = archive.require(tx, id)
    if each.state is DiscrepancyState.OPEN:
        raise WrongState(f"discrepancy {id} is {each.state}")
    step, order = _made_of(tx, each), orders.require(tx, each.order_id)
    if each.state is DiscrepancyState.ACCEPTED:
        _uncount(tx, each, actor)
    archive.decide(tx, id, DiscrepancyState.OPEN, actor.name)
    _audit(tx, actor, AuditAction.ARCHIVE_RECONSIDER, each)
    _take_back(tx, step, order, actor, clinic)
    return order


def _uncount(tx: Tx, each: Discrepancy, actor: Actor) -> None:
    """Count no longer what was accepted beside the order's other images; the archive's next answer counts anyway."""
    held, images = archive.holding(tx, each.order_id), each.study.images
    if held and held.images and images and held.study_instance_uid != each.study.study_instance_uid:
        now = max(held.images - images, 0)
        archive.set_holding(tx, each.order_id, held.study_instance_uid, now)
        _compare_with_seen(tx, each.order_id, held.images, now, actor)


def _made_of(tx: Tx, each: Discrepancy) -> PerformedStep | None:
    """Return the step that is known from a study only, by which the study has closed its order; None if it has not."""
    study, step = each.study, performed.archived(tx, each.order_id, each.study.study_instance_uid)
    if step is None or each.state is DiscrepancyState.DISMISSED:
        return None
    if each.state is DiscrepancyState.ACCEPTED:
        seen = (step.patient_name, step.patient_id, step.patient_birth_date)
        return step if seen == (study.patient_name, study.patient_id, study.birth_date) else None
    # Another patient under the same UID may fit, or be accepted; that one has closed the order, and still does.
    is_accepted = DiscrepancyState.ACCEPTED in archive.decided(tx, each.order_id).values()
    holding = archive.holding(tx, each.order_id)
    has_others = each.kind is DiscrepancyKind.SEVERAL_PATIENTS or is_accepted
    return None if has_others and holding is not None and holding.exists else step


def _take_back(tx: Tx, step: PerformedStep | None, order: Order, actor: Actor, clinic: Clinic) -> None:
    """Remove the step that was made of a study which is not, or not certainly, its order's; recompute the order."""
    if step:
        uids = {each.study_instance_uid for each in performed.references(tx, step.stored_id)}
        performed.remove(tx, step.stored_id)
        audit.write(tx, actor, AuditAction.IMAGES_REMOVED, order.id, sop_instance_uid=step.sop_instance_uid)
        received_objects.take_away(tx, order, uids, step.source, actor)
        order_status.recompute_after_removal(tx, order.id, clinic)
    order_status.recompute_dispute(tx, orders.require(tx, order.id), clinic)


def _open(tx: Tx, id: int) -> tuple[Discrepancy, Order]:
    each = archive.require(tx, id)
    if each.state is not DiscrepancyState.OPEN:
        raise WrongState(f"discrepancy {id} is {each.state}")
    return each, orders.require(tx, each.order_id)


def _audit(tx: Tx, actor: Actor, action: AuditAction, each: Discrepancy, **more: str) -> None:
    study = each.study
    audit.write(
        tx, actor, action, each.order_id, kind=each.kind, study_instance_uid=study.study_instance_uid,
        patient_name=study.patient_name, patient_id=study.patient_id, **more,
    )  # fmt: skip
    tx.notify()


def _count(tx: Tx, order: Order, comparison: Comparison, actor: Actor) -> bool:
    """Keep how many images the archive holds of an order that was performed; return True if that is new."""
    if not performed.states_of_order(tx, order.id):
        return False
    uids = [each.study_instance_uid for each in comparison.believed]
    uid = order.study_instance_uid if order.study_instance_uid in uids else next(iter(uids), "")
    before = archive.holding(tx, order.id)
    if before and (before.study_instance_uid, before.images) == (uid, comparison.images):
        if not before.exists and (before.asked_at is None or tx.now - before.asked_at >= _NOTED_EVERY):
            archive.note_asked(tx, order.id)
        return False
    archive.set_holding(tx, order.id, uid, comparison.images)
    archived_reports.make_due(tx, order.id)
    seen = _compare_with_seen(tx, order.id, before.images if before else None, comparison.images, actor)
    if comparison.images:
        performed.set_archived_images(tx, order.id, comparison.images)
        known = seen or _reported(tx, order)
        if known and known < comparison.images:
            audit.write(tx, actor, AuditAction.IMAGES_ADDED, order.id, before=known, images=comparison.images)
    return True


def _compare_with_seen(tx: Tx, order_id: int, before: int | None, now: int | None, actor: Actor) -> int | None:
    """Note if the archive holds fewer images than when a doctor has looked at them; return how many there were.

    `before` and `now` are what it held and holds. A report that was not sent yet waits for the doctor, as it does where
    images were taken away; images that are there again need no doctor.
    """
    noted = archive.fewer_than(tx, order_id)
    seen = noted or before
    if not seen or now is None or not order_status.has_report(tx, order_id):
        return seen
    if now < seen:
        archive.note_fewer(tx, order_id, seen)
        audit.write(tx, actor, AuditAction.IMAGES_FEWER, order_id, before=before, images=now)
        order_status.withdraw_report(tx, order_id)
    elif noted:
        archive.note_fewer(tx, order_id, None)
        audit.write(tx, actor, AuditAction.IMAGES_RETURNED, order_id, images=now)
    return seen


def _reported(tx: Tx, order: Order) -> int:
    """Return how many images a signed report is about as far as devices say, where the archive had not counted by then.

    0 if there is no report: then the first count adds nothing.
    """
    if not reports.signed(tx, order.id):
        return 0
    done = performed.completed_of_order(tx, order.id)
    return sum(step.images for step in done if step.source is StepSource.MODALITY)


def _link(tx: Tx, order: Order, step: PerformedStep, actor: Actor) -> None:
    id = performed.add(tx, step)
    for scheduled in order.steps:
        performed_links.link(tx, id, scheduled.id, actor.name)


def _step(tx: Tx, order: Order, comparison: Comparison, clinic: Clinic) -> PerformedStep:
    study = comparison.believed[0]
    return PerformedStep(
        sop_instance_uid=identifiers.new_uid(clinic.uid_root, tx.now, secrets.randbits(128)),
        ae_title=next(iter(order.steps[0].station_ae_titles), ""),
        state=PerformedState.COMPLETED,
        start=study.start or clinic.local(tx.now),
        modality=study.modality.split("/")[0] or order.modality,
        patient_name=study.patient_name,
        patient_id=study.patient_id,
        patient_birth_date=study.birth_date,
        patient_sex=study.patient_sex,
        images=comparison.images or 0,
        references=tuple(StepReference(each.study_instance_uid) for each in comparison.believed),
        source=StepSource.ARCHIVE,
    )
