"""Use cases of our requests: ask another clinic about a signed report, take that back, and what comes of it.

The answer stands beside our report and changes nothing in it; what a doctor takes over is a new version of it.
"""

from __future__ import annotations

from dataclasses import replace

from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.incoming import ArrivalKind
from broker.domain.messages import OutboxKind
from broker.domain.opinions.requests import LONGEST_QUESTION, OpinionOutcome, OpinionRequest, OpinionRules
from broker.domain.orders import Priority
from broker.domain.reading.reports import Report
from broker.domain.studies import prior_studies
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.tables import audit, incoming, orders, outbox
from broker.store.tables.incoming import Arrival
from broker.store.tables.opinions import requests
from broker.store.tables.patients import patient_details
from broker.store.tables.reading import reports
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.reading.reports import check_images
from broker.workflow.studies.external_results import ACTOR, ExternalResultOutcome, fill_from_directory

LONGEST_REASON = 500  # characters


def needs_confirmation(reader: Reader, rules: OpinionRules, partner: str) -> bool:
    """Return True if a doctor has to confirm that a clinic is asked.

    Before the first request to it, and each time where it would see an ordinary referral.
    """
    found = rules.partner(partner)
    return found is not None and not (found.understands and requests.was_asked(reader, partner))


def ask(
    tx: Tx,
    order_id: int,
    version: int,
    partner: str,
    question: str,
    priority: Priority,
    actor: Actor,
    clinic: Clinic,
    *,
    is_confirmed: bool = False,
) -> OpinionRequest:
    """Ask another clinic for its opinion on a signed report, and return the request.

    `version` is the one that the doctor saw; `is_confirmed`: the doctor was asked, see `needs_confirmation`. The same
    request again changes nothing. Raise WrongState if no report is signed or another request to the clinic is open,
    Stale, Invalid (`partner`, `question`, `images`), Forbidden.
    """
    _permit_person(tx, actor)
    order = orders.require(tx, order_id)
    report = _signed(tx, order_id)
    question = " ".join(question.split())
    earlier = requests.of_order(tx, order_id)
    open_one = next((each for each in earlier if each.is_open and each.partner == partner), None)
    if open_one is not None:
        if (open_one.asked_by, open_one.question) == (actor.name, question):
            return open_one
        raise WrongState(f"the clinic was asked about {order.accession_number}, and has not answered")
    if report.version != version:
        raise Stale(f"the report on {order.accession_number}")
    found = {}
    if not question:
        found["question"] = "required"
    elif len(question) > LONGEST_QUESTION:
        found["question"] = "too_long"
    if not clinic.sends_to_bus or clinic.opinions.partner(partner) is None:
        found["partner"] = "unknown"
    elif patient_details.get(tx, order.patient.stored_id).is_consent_withdrawn:
        found["partner"] = "consent"
    elif not is_confirmed and needs_confirmation(tx, clinic.opinions, partner):
        found["partner"] = "unconfirmed"
    if found:
        raise Invalid(found)
    check_images(tx, order)
    number = max((each.number for each in earlier), default=0) + 1
    title = actor.title or actor.name
    request = OpinionRequest(order_id, number, version, partner, question, actor.name, title, tx.now, priority=priority)
    made = requests.put(tx, request)
    outbox.add_for_opinion(tx, made.stored_id, OutboxKind.ASK_OPINION)
    audit.write(tx, actor, AuditAction.OPINION_ASK, order_id, organisation=partner, number=number)
    tx.notify()
    return made


def withdraw(tx: Tx, id: int, reason: str, actor: Actor) -> OpinionRequest:
    """Take a request back, with a reason or without, and return it.

    Raise WrongState if it has ended, Invalid (`opinion_reason`), Forbidden.
    """
    _permit_person(tx, actor)
    before = requests.require(tx, id)
    if before.outcome is OpinionOutcome.WITHDRAWN:
        return before
    if not before.is_open:
        raise WrongState(f"opinion request {id} is {before.outcome}")
    reason = " ".join(reason.split())
    if len(reason) > LONGEST_REASON:
        raise Invalid({"opinion_reason": "too_long"})
    made = requests.put(
        tx, replace(before, outcome=OpinionOutcome.WITHDRAWN, reason=reason, ended_at=tx.now, heeded_at=tx.now)
    )
    if not outbox.withdraw_for_opinion(tx, id):  # the bus has it, or may have it
        outbox.add_for_opinion(tx, id, OutboxKind.WITHDRAW_OPINION)
    audit.write(tx, actor, AuditAction.OPINION_WITHDRAW, before.order_id, organisation=before.partner, reason=reason)
    tx.notify()
    return made


def heed(tx: Tx, id: int, actor: Actor) -> None:
    """Note that a doctor has seen what became of a request. Raise Forbidden."""
    permit(tx, actor, Permission.REPORT)
    before = requests.require(tx, id)
    if not before.is_open and before.heeded_at is None:
        requests.put(tx, replace(before, heeded_at=tx.now))
        tx.notify()


# ---- what comes from the bus ----


def receive_answer(
    tx: Tx, id: int, stored: StoredStudy, arrival: Arrival, actor: Actor = ACTOR
) -> ExternalResultOutcome:
    """Store what the other clinic says; it stands beside our report. A newer version of its answer is to be seen again.

    Without a finished report it only says that somebody works on it.
    """
    before = requests.require(tx, id)
    study = fill_from_directory(tx, stored.study)
    incoming.put(tx, ArrivalKind.RESULT, arrival, order_id=before.order_id)
    if not prior_studies.is_final(study) and not prior_studies.is_withdrawn(study):
        return _note_taken(tx, before)
    if before.outcome is OpinionOutcome.WITHDRAWN or study == before.answer:
        return ExternalResultOutcome.KNOWN
    answered = replace(
        before, outcome=OpinionOutcome.ANSWERED, answer=study, ended_at=before.ended_at or tx.now, heeded_at=None
    )
    requests.put(tx, answered)
    audit.write(
        tx,
        actor,
        AuditAction.OPINION_COME,
        before.order_id,
        organisation=study.organisation,
        reference=study.reference,
        status=study.status,
    )
    tx.notify()
    return ExternalResultOutcome.TAKEN


def receive_refusal(tx: Tx, id: int, arrival: Arrival, status: str, reason: str, actor: Actor) -> bool:
    """Note that the other clinic will not answer; return False if that brings nothing new."""
    before = requests.require(tx, id)
    if not before.is_open or incoming.is_stale(tx, arrival.source, arrival.reference, arrival.version):
        return False
    incoming.put(tx, ArrivalKind.CANCEL, arrival, reason=reason or status)
    declined = replace(before, outcome=OpinionOutcome.DECLINED, reason=reason[:LONGEST_REASON], ended_at=tx.now)
    requests.put(tx, declined)
    audit.write(tx, actor, AuditAction.OPINION_REFUSED, before.order_id, organisation=before.partner, reason=reason)
    tx.notify()
    return True


def note_taken(tx: Tx, id: int) -> bool:
    """Note that the other clinic works on a request; return False if that was known."""
    return _note_taken(tx, requests.require(tx, id)) is ExternalResultOutcome.TAKEN


def _note_taken(tx: Tx, before: OpinionRequest) -> ExternalResultOutcome:
    if not before.is_open or before.taken_at is not None:
        return ExternalResultOutcome.KNOWN
    requests.put(tx, replace(before, taken_at=tx.now))
    tx.notify()
    return ExternalResultOutcome.TAKEN


def _permit_person(tx: Tx, actor: Actor) -> None:
    permit(tx, actor, Permission.REPORT)
    if actor.kind is not ActorKind.PERSON:
        raise Forbidden(f"{actor.name} is not a person, and only doctors ask")


def _signed(tx: Tx, order_id: int) -> Report:
    report = reports.signed(tx, order_id)
    if report is None or report.is_withdrawn:
        raise WrongState(f"order {order_id} has no signed report")
    return report
