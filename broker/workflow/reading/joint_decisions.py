"""Use cases of deciding together: two readers who differ see both reads, one writes, the other confirms the same words.

Never one of the two alone: what is proposed counts for nothing, and goes nowhere, until the other reader has confirmed
this very text. Both are named as having decided.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, Occupied, Stale, WrongState
from broker.domain.orders import Order
from broker.domain.reading import opinions
from broker.domain.reading.joint_decisions import JointDecision
from broker.domain.reading.opinions import Case, Opinion, Read, ReadingStage
from broker.domain.reading.reports import SeenImages
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.tables import accounts, audit, orders
from broker.store.tables.reading import joint_decisions, leases, reads, reports
from broker.workflow.reading.reads import case_of, conclude, is_own_referral
from broker.workflow.reading.reports import ReportText, are_seen, check_images, problems, tidy


@dataclass(frozen=True, slots=True)
class OpenTogether:
    """A study on which two readers differ, as each of them sees it: both reads, and what is proposed."""

    order: Order
    images: SeenImages
    reads: tuple[Read, Read]  # in the order in which they were given
    proposal: JointDecision | None


def open_together(reader: Reader, order_id: int, actor: Actor, clinic: Clinic, now: datetime) -> OpenTogether:
    """Return a study for one of the two readers to decide on together; `now` is UTC. It changes nothing.

    Raise WrongState if they have not differed, a third doctor is to decide, or it is decided; Invalid (`images`),
    Forbidden if somebody is not one of the two.
    """
    order = orders.require(reader, order_id)
    if reports.signed(reader, order_id) is not None:
        raise WrongState(f"the report on {order.accession_number} is signed")
    images = reports.images(reader, order)
    case = case_of(reader, order, clinic, now)
    two = (*case.standing, *([case.held] if case.held else []))[:2]
    if actor.name not in {read.reader for read in two}:
        raise Forbidden(f"{actor.name} has not read {order.accession_number}")
    if case.stage is not ReadingStage.ARBITRATION or case.held is not None:
        raise WrongState(f"{order.accession_number} waits for no decision")
    if not is_allowed(reader, order, case, clinic):
        raise WrongState(f"a third reader decides on {order.accession_number}")
    proposal = joint_decisions.of_images(reader, order_id, images.revision, order.patient.stored_id)
    return OpenTogether(order, images, (case.standing[0], case.standing[1]), proposal)


def propose(
    tx: Tx,
    order_id: int,
    revision: int,
    opinion: Opinion,
    text: ReportText,
    actor: Actor,
    clinic: Clinic,
    seen: SeenImages,
) -> JointDecision:
    """Propose a decision to the other reader and return it; it takes the place of what was proposed before.

    `revision` is that of the proposal that the reader saw, 0 if there was none. The same again changes nothing. Raise
    Stale, Occupied while a third doctor reads, Invalid (`opinion`, `images`, the report's fields), WrongState and
    Forbidden as `open_together`.
    """
    opened = _opened(tx, order_id, actor, clinic)
    text, before = tidy(text), opened.proposal
    said = {name: value for name, value in asdict(text).items() if name != "form"}  # as a read has it
    if before and (before.writer, before.opinion, before.said) == (actor.name, opinion, said):
        return before
    found = problems(text, signing=True) | opinions.problems(opinion, opinions.form_of(opened.order.modality))
    if found:
        raise Invalid(found)
    if (before.revision if before else 0) != revision:
        raise Stale(f"the proposal on {opened.order.accession_number}")
    if not are_seen(tx, opened.order, seen):
        raise Invalid({"images": "changed"})
    other = next(read.reader for read in opened.reads if read.reader != actor.name)
    patient_id = opened.order.patient.stored_id
    decision = JointDecision(order_id, opened.images.revision, patient_id, actor.name, other, opinion, said, tx.now)
    made = joint_decisions.put(tx, decision)
    audit.write(tx, actor, AuditAction.TOGETHER_PROPOSE, order_id)
    tx.notify()
    return made


def confirm(tx: Tx, order_id: int, revision: int, actor: Actor, clinic: Clinic, seen: SeenImages) -> JointDecision:
    """Confirm what the other reader proposes: it is decided, and the report is signed; return the decision.

    `revision` is that of the proposal that the reader saw. A second time changes nothing. Raise Stale, Occupied while a
    third doctor reads, Invalid (`images`), WrongState and Forbidden as `open_together`, also for one's own proposal.
    """
    if before := _made_before(tx, order_id, revision, actor):
        return before
    opened = _opened(tx, order_id, actor, clinic)
    proposal = opened.proposal
    if proposal is None or proposal.revision != revision:
        raise Stale(f"the proposal on {opened.order.accession_number}")
    if proposal.confirmer != actor.name:
        raise Forbidden(f"{actor.name} cannot confirm the own proposal")
    if not are_seen(tx, opened.order, seen):
        raise Invalid({"images": "changed"})
    made = joint_decisions.put(tx, replace(proposal, confirmed_at=tx.now))
    audit.write(tx, actor, AuditAction.TOGETHER_CONFIRM, order_id)
    conclude(tx, order_id, clinic)
    tx.notify()
    return made


def withdraw(tx: Tx, order_id: int, actor: Actor, clinic: Clinic) -> None:
    """Take a proposal away, as either of the two may. Raise WrongState and Forbidden as `open_together`."""
    opened = _opened(tx, order_id, actor, clinic)
    if opened.proposal is None:
        raise WrongState(f"nothing is proposed on {opened.order.accession_number}")
    assert opened.proposal.id is not None
    joint_decisions.drop(tx, opened.proposal.id)
    audit.write(tx, actor, AuditAction.TOGETHER_WITHDRAW, order_id)
    tx.notify()


def is_allowed(reader: Reader, order: Order, case: Case, clinic: Clinic) -> bool:
    """Return True if two readers may decide together: where no third doctor may, or the clinic always lets them."""
    if clinic.reading.decide_together:
        return True
    two = {read.reader for read in case.standing}
    return not any(
        Role.RADIOLOGIST in each.roles
        and each.login not in two
        and (clinic.reading.own_referrals or not is_own_referral(reader, order, each.login))
        for each in accounts.active(reader)
    )


def waiting_for(reader: Reader, login: str, clinic: Clinic, now: datetime) -> list[OpenTogether]:
    """Return the studies that a reader and another one are to decide on together; `now` is UTC."""
    actor, found = Actor(ActorKind.PERSON, login), []
    for order_id in reads.unsigned(reader):
        if not any(read.reader == login for read in reads.of_order(reader, order_id)):
            continue
        try:
            found.append(open_together(reader, order_id, actor, clinic, now))
        except (Forbidden, WrongState):
            continue
    return found


def _opened(tx: Tx, order_id: int, actor: Actor, clinic: Clinic) -> OpenTogether:
    permit(tx, actor, Permission.REPORT)
    if actor.kind is not ActorKind.PERSON:
        raise Forbidden(f"{actor.name} is not a person, and only people read")
    opened = open_together(tx, order_id, actor, clinic, tx.now)
    check_images(tx, opened.order)
    lease = leases.of_order(tx, order_id, tx.now)
    if lease is not None and lease.reader not in {read.reader for read in opened.reads}:
        raise Occupied(f"{opened.order.accession_number} is open for a third reader")
    return opened


def _made_before(tx: Tx, order_id: int, revision: int, actor: Actor) -> JointDecision | None:
    """Return the decision that this reader has confirmed already with this very proposal, where none is open now."""
    order = orders.require(tx, order_id)
    images = reports.images(tx, order)
    now = joint_decisions.of_images(tx, order_id, images.revision, order.patient.stored_id)
    made = joint_decisions.last_confirmed(tx, order_id) if now is None or now.confirmed_at else None
    # Confirming has made one revision more.
    return made if made and (made.confirmer, made.revision) == (actor.name, revision + 1) else None
