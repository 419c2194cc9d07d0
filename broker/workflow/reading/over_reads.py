"""Use cases of over-reads: a doctor asks a colleague to read a signed report over, and sees both texts afterwards.

Nothing of it is part of the report, and nothing goes out: what is taken over is a new version that a doctor signs.
"""

from __future__ import annotations

from dataclasses import replace

from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.reading.leases import LeasePurpose
from broker.domain.reading.over_reads import OverRead, OverReadOutcome, OverReadText
from broker.domain.reading.reports import Report
from broker.security import permissions
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.queries.reading import over_read_requests
from broker.store.tables import accounts, audit, orders
from broker.store.tables.reading import over_reads, reports
from broker.workflow.reading import writing
from broker.workflow.reading.over_read_outcomes import end
from broker.workflow.reading.reports import ReportText, check_images, problems, tidy

LONGEST = 500  # characters of a question, and of a reason


def ask(tx: Tx, order_id: int, version: int, asked_of: str, question: str, actor: Actor) -> OverRead:
    """Ask a colleague (login), or any doctor (empty), to read a signed report over; return the request.

    `version` is the one that the doctor saw. The same request again changes nothing. Raise WrongState if no report is
    signed, it is withdrawn, or another request is open; Stale, Invalid (`asked_of`, `question`), Forbidden.
    """
    _permit_person(tx, actor)
    order = orders.require(tx, order_id)
    report = _signed(tx, order_id)
    question = " ".join(question.split())
    before = over_reads.open_of(tx, order_id)
    if before is not None:
        if (before.asked_by, before.asked_of, before.question) == (actor.name, asked_of, question):
            return before
        raise WrongState(f"the report on {order.accession_number} is being read over")
    if report.version != version:
        raise Stale(f"the report on {order.accession_number}")
    found = {"question": "too_long"} if len(question) > LONGEST else {}
    if asked_of and asked_of not in over_read_requests.colleagues(tx, order_id, actor.name):
        found["asked_of"] = "unknown"
    if found:
        raise Invalid(found)
    request = OverRead(order_id, version, actor.name, actor.title or actor.name, tx.now, question=question)
    made = over_reads.put(tx, _of_colleague(tx, request, asked_of))
    audit.write(tx, actor, AuditAction.OVER_READ_ASK, order_id, asked_of=made.asked_of_title)
    tx.notify()
    return made


def ask_another(tx: Tx, id: int, asked_of: str, actor: Actor) -> OverRead:
    """Ask another colleague instead, or any; return the request. Who asked may, the report's author, an administrator.

    Raise WrongState if it is no longer open, Occupied while the answer is written, Invalid (`asked_of`), Forbidden.
    """
    before = _managed(tx, id, actor)
    if before.asked_of == asked_of:
        return before
    if asked_of and asked_of not in over_read_requests.colleagues(tx, before.order_id, before.asked_by):
        raise Invalid({"asked_of": "unknown"})
    made = over_reads.put(tx, _of_colleague(tx, replace(before, asked_at=tx.now), asked_of))
    audit.write(tx, actor, AuditAction.OVER_READ_ASK, before.order_id, asked_of=made.asked_of_title)
    tx.notify()
    return made


def withdraw(tx: Tx, id: int, reason: str, actor: Actor) -> OverRead:
    """Take a request back, with a reason or without; return it. Who asked may, the author, an administrator.

    Raise WrongState if it is no longer open, Occupied while the answer is written, Invalid (`reason`), Forbidden.
    """
    before = _managed(tx, id, actor)
    made = end(tx, before, OverReadOutcome.WITHDRAWN, actor, reason=_reason(reason, is_required=False))
    tx.notify()
    return made


def decline(tx: Tx, id: int, reason: str, actor: Actor) -> OverRead:
    """Say that one cannot read it over; who asked sees why. Raise WrongState, Invalid (`reason`), Forbidden."""
    _permit_person(tx, actor)
    before = _open(tx, id)
    if before.asked_of != actor.name:
        raise Forbidden(f"{actor.name} was not asked by name")
    made = end(tx, before, OverReadOutcome.DECLINED, actor, reason=_reason(reason, is_required=True))
    tx.notify()
    return made


def begin(tx: Tx, id: int, actor: Actor, clinic: Clinic) -> None:
    """Note that somebody begins to write the answer. Raise Occupied, WrongState, Forbidden."""
    asked = _answerable(tx, id, actor)
    writing.begin(tx, asked.order_id, actor, clinic, LeasePurpose.OVER_READ)


def answer(
    tx: Tx, id: int, version: int, outcome: OverReadOutcome, said: OverReadText, actor: Actor, clinic: Clinic
) -> OverRead:
    """Say what one has found, and return it; `version` is the one of the report that was read.

    Who agrees may add a remark, who differs writes a conclusion. The same again changes nothing. Raise Occupied while
    another writes the answer, Stale if the report has another version, WrongState, Invalid, Forbidden.
    """
    tidied = tidy(ReportText(said.description, said.conclusion, said.recommendations))
    said = OverReadText(tidied.description, tidied.conclusion, tidied.recommendations)
    before = over_reads.require(tx, id)
    if before.is_answered and (before.ended_by, before.outcome, before.said) == (actor.name, outcome, said):
        return before
    asked = _answerable(tx, id, actor)
    order = orders.require(tx, asked.order_id)
    writing.check_is_free(tx, order.id, actor, LeasePurpose.OVER_READ)
    if _signed(tx, order.id).version != version:
        raise Stale(f"the report on {order.accession_number}")
    found = problems(tidied, signing=outcome is OverReadOutcome.DIFFERS)
    if outcome not in (OverReadOutcome.AGREES, OverReadOutcome.DIFFERS):
        found["outcome"] = "unknown"
    if found:
        raise Invalid(found)
    check_images(tx, order)
    made = end(tx, replace(asked, version=version), outcome, actor, said=said)
    tx.notify()
    return made


def heed(tx: Tx, id: int, actor: Actor) -> None:
    """Note that who asked has seen what became of it. Raise Forbidden."""
    permit(tx, actor, Permission.REPORT)
    asked = over_reads.require(tx, id)
    if actor.name == asked.asked_by and not asked.is_open and asked.heeded_at is None:
        over_reads.heed(tx, id)
        tx.notify()


def may_manage(reader: Reader, asked: OverRead, actor: Actor) -> bool:
    """Return True if somebody may take a request back or ask another."""
    report = reports.signed(reader, asked.order_id)
    is_author = report is not None and report.author == actor.name
    is_doctor = permissions.may(actor, Permission.REPORT)
    return (is_doctor and (is_author or actor.name == asked.asked_by)) or permissions.may(actor, Permission.MANAGE)


def _permit_person(tx: Tx, actor: Actor) -> None:
    permit(tx, actor, Permission.REPORT)
    if actor.kind is not ActorKind.PERSON:
        raise Forbidden(f"{actor.name} is not a person, and only people read")


def _signed(tx: Tx, order_id: int) -> Report:
    report = reports.signed(tx, order_id)
    if report is None or report.is_withdrawn:
        raise WrongState(f"order {order_id} has no signed report")
    return report


def _open(tx: Tx, id: int) -> OverRead:
    asked = over_reads.require(tx, id)
    if not asked.is_open:
        raise WrongState(f"over-read {id} is {asked.outcome}")
    return asked


def _managed(tx: Tx, id: int, actor: Actor) -> OverRead:
    """Return an open request that this person may take back, and that no other writes an answer to."""
    asked = over_reads.require(tx, id)
    permit(tx, actor, Permission.REPORT if permissions.may(actor, Permission.REPORT) else Permission.MANAGE)
    if not may_manage(tx, asked, actor):
        raise Forbidden(f"{actor.name} has not asked")
    writing.check_is_free(tx, asked.order_id, actor, LeasePurpose.OVER_READ)
    return _open(tx, id)


def _answerable(tx: Tx, id: int, actor: Actor) -> OverRead:
    _permit_person(tx, actor)
    asked = _open(tx, id)
    if not over_read_requests.may_answer(tx, asked, actor.name):
        raise Forbidden(f"{actor.name} was not asked, or knows the report")
    return asked


def _of_colleague(tx: Tx, request: OverRead, asked_of: str) -> OverRead:
    account = accounts.by_login(tx, asked_of) if asked_of else None
    return replace(request, asked_of=asked_of, asked_of_title=account.full_name if account else "")


def _reason(reason: str, *, is_required: bool) -> str:
    tidied = " ".join(reason.split())
    if (is_required and not tidied) or len(tidied) > LONGEST:
        raise Invalid({"over_read_reason": "too_long" if tidied else "required"})
    return tidied
