"""External results: reports on our referrals, and earlier studies of our patients, from other clinics.

A result is stored whatever state its order is in; only an order that was referred to another clinic is completed by
one, and only by a final report. What answers a cancelled referral stays with that one and is an alarm: if the referral
was placed again, a person decides whether the new one is still needed. So is what answers a referral that was corrected
here without the other clinic's knowing: it may be of the wrong side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from broker.domain import lifecycle
from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.errors import Forbidden, NotFound, Stale
from broker.domain.incoming import (
    ANSWERS_CANCELLED,
    ANSWERS_FORMER_DATA,
    REPLACES_REPORT,
    ArrivalKind,
    ArrivalState,
)
from broker.domain.lifecycle import Event
from broker.domain.orders import Order, OrderState, StepState
from broker.domain.patients import confirmation
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.patient_match import NUMBERS
from broker.domain.patients.people import Patient
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies import prior_studies
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.queries import inbox
from broker.store.tables import audit, devices, incoming, orders, outbox
from broker.store.tables.incoming import Arrival
from broker.store.tables.patients import patients
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy

ACTOR = Actor(ActorKind.BUS, "bus", "Региональная шина")


class ExternalResultOutcome(StrEnum):
    """The outcome of a result."""

    COMPLETED = "completed"  # its order is completed
    TAKEN = "taken"  # it is stored and shown
    KNOWN = "known"  # nothing new
    FAILED = "failed"  # it will be tried again
    NEEDS_ATTENTION = "needs_attention"  # a person must look


def store_result(
    tx: Tx, order_id: int, stored: StoredStudy, arrival: Arrival, actor: Actor = ACTOR
) -> ExternalResultOutcome:
    """Store another clinic's result for an order of ours; a final report completes an order that was referred there.

    The same result again changes nothing, nor does a partial report after the final one. Raise NotFound, Forbidden.
    """
    _permit(actor)
    order = orders.require(tx, order_id)
    study = fill_from_directory(tx, stored.study)
    taken = external_studies.of_order(tx, order.id)
    news = external_studies.put(tx, order.patient.stored_id, replace(stored, study=study), order.id)
    unread = _reason_to_read(tx, order) or (REPLACES_REPORT if _replaces_report(study, taken) else "")
    before = incoming.named(tx, arrival.source, arrival.reference, ArrivalKind.RESULT) if unread and not news else None
    state, reason = (before.state, before.reason) if before else (ArrivalState.TAKEN, "")
    if unread and news:
        state, reason = ArrivalState.NEEDS_ATTENTION, unread
    incoming.put(tx, ArrivalKind.RESULT, arrival, state, reason, order.id)
    done = prior_studies.is_final(study) and lifecycle.allowed(order.state, Event.RESULT)
    if done:
        orders.set_state(tx, order.id, lifecycle.after(order.state, Event.RESULT))
        for step in order.steps:
            if step.state is StepState.REFERRED:
                orders.set_step_state(tx, step.id, StepState.COMPLETED)
    if not news and not done:
        return ExternalResultOutcome.KNOWN
    audit.write(
        tx,
        actor,
        AuditAction.RESULT,
        order.id,
        reference=study.reference,
        status=study.status,
        organisation=study.organisation,
        completed=done,
    )
    tx.notify()
    if unread:
        return ExternalResultOutcome.NEEDS_ATTENTION
    return ExternalResultOutcome.COMPLETED if done else ExternalResultOutcome.TAKEN


def _reason_to_read(reader: Reader, order: Order) -> str:
    """Return why a person must read a result on an order; empty if none must."""
    if order.state is OrderState.CANCELLED:
        return ANSWERS_CANCELLED
    return ANSWERS_FORMER_DATA if order.owner and outbox.lacks_correction(reader, order.id) else ""


def _replaces_report(study: ExternalStudy, taken: Sequence[ExternalStudy]) -> bool:
    """Return True if a report says something else than the one that was taken and perhaps read, or withdraws it."""
    read = next((each for each in taken if prior_studies.is_final(each) and each.conclusion), None)
    if read is None or study.organisation != read.organisation:  # another clinic's is another opinion
        return False
    if prior_studies.is_withdrawn(study):
        return study.reference == read.reference or not study.conclusion
    texts = study.description, study.conclusion, study.recommendations
    return (
        prior_studies.is_final(study)
        and bool(study.conclusion)
        and texts
        != (
            read.description,
            read.conclusion,
            read.recommendations,
        )
    )


def note_result_failure(
    tx: Tx,
    arrival: Arrival,
    reason: str,
    order_id: int | None = None,
    actor: Actor = ACTOR,
    *,
    needs_attention: bool = True,
    about: Patient | None = None,
) -> None:
    """Note among the arrivals why a result cannot be stored; without `needs_attention` it is tried again.

    `about`: whom it names, if they contradict our patient. Raise Forbidden.
    """
    _permit(actor)
    state = ArrivalState.NEEDS_ATTENTION if needs_attention else ArrivalState.FAILED
    incoming.put(tx, ArrivalKind.RESULT, arrival, state, reason, order_id, about)
    tx.notify()


def take_as_ours(tx: Tx, item_id: int, version: str, actor: Actor, confirmed: Confirmation) -> None:
    """Take a result whose patient contradicts ours for our patient's, as this person says; it is read again.

    `version` is that of the result, and `confirmed` our patient and the fields that contradict, as the person saw them.
    Raise NotFound; Stale if the result or our patient is another one by now, or it was decided about; Invalid with the
    fields that contradict and were not confirmed; Forbidden.
    """
    permit(tx, actor, Permission.AMEND)
    item = inbox.item(tx, item_id)
    if item is None or item.order_id is None:
        raise NotFound(f"result {item_id}")
    if not item.contradicts or item.version != version:
        raise Stale(f"result {item.reference}")
    confirmation.check(orders.require(tx, item.order_id).patient, item.contradicts, confirmed)
    incoming.confirm(tx, item_id, item.contradicts)
    audit.write(
        tx,
        actor,
        AuditAction.RESULT_CONFIRMED,
        item.order_id,
        reference=item.reference,
        confirmed=", ".join(item.contradicts),
        named=str(item.about.name) if item.about else "",
    )
    tx.notify()


def store_history(
    tx: Tx,
    asked: Patient,
    studies: Sequence[StoredStudy],
    *,
    unreadable: str | None = "",
    complete: bool = True,
    actor: Actor = ACTOR,
) -> None:
    """Store the earlier studies of a patient that the bus returned.

    `asked` is the patient as they were when the bus was asked: an answer about a number that the card has lost since is
    somebody else's. `unreadable` says in plain English what could not be read, "" if everything could, None if more
    pages follow. With `complete`, stored studies that are not among `studies` are deleted: the bus does not return them
    any more. Raise NotFound, Stale, Forbidden.
    """
    _permit(actor)
    patient_id = asked.stored_id
    patient = patients.get(tx, patient_id)
    if patient is None or patients.is_merged(tx, patient_id):
        raise NotFound(f"patient {patient_id}")
    if any(getattr(asked, field) not in ("", getattr(patient, field)) for field in NUMBERS):
        raise Stale(f"patient {patient.patient_id}")
    for stored in studies:
        external_studies.put(tx, patient_id, replace(stored, study=fill_from_directory(tx, stored.study)))
    if complete:
        external_studies.forget_others(tx, patient_id, [stored.study.reference for stored in studies])
    if unreadable:
        external_studies.note_failure(tx, patient_id, unreadable)
    elif unreadable is not None:
        external_studies.note_answer(tx, patient_id)
        audit.write(tx, actor, AuditAction.HISTORY, patient=patient.patient_id, studies=len(studies))
    tx.notify()


def note_history_failure(tx: Tx, patient_id: int, reason: str, actor: Actor = ACTOR) -> None:
    """Note why the bus did not answer about a patient; its earlier answer stays, with its age. Raise Forbidden."""
    _permit(actor)
    external_studies.note_failure(tx, patient_id, reason)
    tx.notify()


def fill_from_directory(reader: Reader, study: ExternalStudy) -> ExternalStudy:
    """Return a study whose empty name, body site and modality are filled in from our directory by its official code."""
    procedure = devices.procedure(reader, study.procedure_code) if study.procedure_code else None
    if procedure is None or procedure.local:  # a local code is known to this clinic only
        return study
    return replace(
        study,
        procedure_name=study.procedure_name or procedure.name,
        body_site=study.body_site or procedure.body_site,
        # RG: only the category is known, an X-ray of some kind.
        modality=procedure.modality if study.modality in ("", "RG") else study.modality,
    )


def _permit(actor: Actor) -> None:
    if actor.kind not in (ActorKind.BUS, ActorKind.SYSTEM):  # people do not enter results of other clinics
        raise Forbidden(f"an external result from {actor.name}")
