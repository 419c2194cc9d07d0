"""Use cases of other clinics' requests: a doctor answers one. It is declined as a referral is.

No order is made of a request: the study is made, in another clinic, and a worklist must not show it.
"""

from __future__ import annotations

from dataclasses import replace

from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, NotFound, Stale, WrongState
from broker.domain.incoming import IncomingReferral, IncomingState
from broker.domain.messages import OutboxKind
from broker.domain.opinions.requests import OpinionAnswer
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries import inbox
from broker.store.tables import accounts, audit, incoming, outbox
from broker.store.tables.opinions import answers
from broker.workflow.reading.reports import ReportText, doctors_name, problems, tidy
from broker.workflow.referrals.incoming_referrals import BUS, is_same_request


def mark(tx: Tx, incoming_id: int, actor: Actor) -> None:
    """Note that a referral which waits is about a study that is made: doctors answer it, and no device gets it.

    There is no way back: who sent it can send a referral. Raise NotFound, WrongState, Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    known = _require(tx, incoming_id)
    if known.asks_opinion:
        return
    if known.source != BUS or known.state not in (IncomingState.WAITING, IncomingState.NEEDS_ATTENTION):
        raise WrongState(f"incoming referral {incoming_id} is {known.state}")
    incoming.update(tx, replace(known, asks_opinion=True))
    audit.write(tx, actor, AuditAction.OPINION_MARK, task=known.task, source=known.source)
    tx.notify()


def answer(
    tx: Tx, incoming_id: int, text: ReportText, seen: IncomingReferral, actor: Actor, clinic: Clinic
) -> OpinionAnswer:
    """Sign an answer, queue it for the clinic that asks, and return it; `seen` is the request as the doctor saw it.

    The same answer again changes nothing. Raise NotFound, WrongState if it was answered, declined or taken back, Stale
    if it has changed since, Invalid (the fields of a report), Forbidden.
    """
    permit(tx, actor, Permission.REPORT)
    if actor.kind is not ActorKind.PERSON:
        raise Forbidden(f"{actor.name} is not a person, and only people may sign")
    text = tidy(replace(text, effective_dose=None))
    if found := problems(text, signing=True):
        raise Invalid(found)
    known = _require(tx, incoming_id)
    before = answers.of_request(tx, incoming_id)
    if before is not None:
        said = before.author, before.description, before.conclusion, before.recommendations
        if said == (actor.name, text.description, text.conclusion, text.recommendations):
            return before
        raise WrongState(f"the request {incoming_id} is answered")
    if not known.asks_opinion or known.state is not IncomingState.WAITING:
        raise WrongState(f"the request {incoming_id} is {known.state}")
    if not is_same_request(seen, known):
        raise Stale(f"the request {incoming_id}")
    account = accounts.by_login(tx, actor.name)
    signed = OpinionAnswer(
        incoming_id,
        text.description,
        text.conclusion,
        text.recommendations,
        actor.name,
        doctors_name(account.full_name if account else actor.title or actor.name),
        account.snils if account else "",
        account.position if account else "",
        tx.now,
    )
    answers.add(tx, signed)
    incoming.update(tx, replace(known, state=IncomingState.ACCEPTED))
    if clinic.sends_to_bus:
        outbox.add_for_referral(tx, incoming_id, OutboxKind.OPINION)
    audit.write(tx, actor, AuditAction.OPINION_GIVE, task=known.task, organisation=known.requester)
    tx.notify()
    return signed


def _require(tx: Tx, incoming_id: int) -> IncomingReferral:
    known = inbox.referral(tx, incoming_id)
    if known is None:
        raise NotFound(f"incoming referral {incoming_id}")
    return known
