"""External results: reports on our referrals, and earlier studies of our patients, from other clinics.

A result is stored whatever state its order is in; only an order that waits for another clinic is completed by one, and
only by a finished report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from broker.domain import lifecycle, prior_studies
from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.errors import Forbidden, NotFound
from broker.domain.incoming import ArrivalKind, ArrivalState
from broker.domain.lifecycle import Event
from broker.domain.orders import StepState
from broker.domain.reports import ExternalStudy
from broker.store.database import Reader, Tx
from broker.store.tables import audit, devices, external_studies, incoming, orders, patients
from broker.store.tables.external_studies import StoredStudy
from broker.store.tables.incoming import Arrival

ACTOR = Actor(ActorKind.BUS, "bus", "Региональная шина")


class ExternalResultOutcome(StrEnum):
    """What became of a result."""

    COMPLETED = "completed"  # its order is done
    TAKEN = "taken"  # it is stored and shown
    KNOWN = "known"  # nothing new
    FAILED = "failed"  # it is tried again
    NEEDS_ATTENTION = "set_aside"  # a person must look


def store_result(
    tx: Tx, order_id: int, kept: StoredStudy, arrival: Arrival, actor: Actor = ACTOR
) -> ExternalResultOutcome:
    """Store another clinic's result for an order of ours; a finished report completes one that waits for it.

    The same result again changes nothing, nor does a partial report after the finished one. Raise NotFound.
    """
    _permit(actor)
    order = orders.require(tx, order_id)
    study = fill_from_directory(tx, kept.study)
    news = external_studies.put(tx, order.patient.stored_id, replace(kept, study=study), order.id)
    incoming.put(tx, ArrivalKind.RESULT, arrival, order_id=order.id)
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
    return ExternalResultOutcome.COMPLETED if done else ExternalResultOutcome.TAKEN


def note_result_failure(
    tx: Tx, arrival: Arrival, reason: str, order_id: int | None = None, actor: Actor = ACTOR, *, aside: bool = True
) -> None:
    """Note among the arrivals why a result cannot be stored: a person must look, or it is tried again."""
    _permit(actor)
    state = ArrivalState.NEEDS_ATTENTION if aside else ArrivalState.FAILED
    incoming.put(tx, ArrivalKind.RESULT, arrival, state, reason, order_id)
    tx.notify()


def store_history(
    tx: Tx,
    patient_id: int,
    told: Sequence[StoredStudy],
    *,
    missing: str | None = "",
    whole: bool = True,
    actor: Actor = ACTOR,
) -> None:
    """Keep what the bus told of a patient.

    `missing` says in plain English what of it could not be read, and the answer is then no complete one; None: the
    rest follows. With `whole`, studies that are not among `told` are forgotten: the bus does not tell of them any
    more. Raise NotFound.
    """
    _permit(actor)
    patient = patients.get(tx, patient_id)
    if patient is None:
        raise NotFound(f"patient {patient_id}")
    for kept in told:
        external_studies.put(tx, patient_id, replace(kept, study=fill_from_directory(tx, kept.study)))
    if whole:
        external_studies.forget_others(tx, patient_id, [kept.study.reference for kept in told])
    if missing:
        external_studies.note_failure(tx, patient_id, missing)
    elif missing is not None:
        external_studies.note_answer(tx, patient_id)
        audit.write(tx, actor, AuditAction.HISTORY, patient=patient.patient_id, studies=len(told))
    tx.notify()


def note_history_failure(tx: Tx, patient_id: int, reason: str, actor: Actor = ACTOR) -> None:
    """Note why the bus answered nothing about a patient; what it answered before stays, with its age."""
    _permit(actor)
    external_studies.note_failure(tx, patient_id, reason)
    tx.notify()


def fill_from_directory(reader: Reader, study: ExternalStudy) -> ExternalStudy:
    """Return a study of an official code with what it leaves out from our directory: name, body site, modality."""
    procedure = devices.procedure(reader, study.procedure_code) if study.procedure_code else None
    if procedure is None or procedure.local:  # a local code of ours is no code of anybody else's
        return study
    return replace(
        study,
        procedure_name=study.procedure_name or procedure.name,
        body_site=study.body_site or procedure.body_site,
        # RG: only the category was told, an X-ray of some kind.
        modality=procedure.modality if study.modality in ("", "RG") else study.modality,
    )


def _permit(actor: Actor) -> None:
    if actor.kind not in (ActorKind.BUS, ActorKind.SYSTEM):  # nobody types another clinic's result
        raise Forbidden(f"a result from elsewhere by {actor.name}")
