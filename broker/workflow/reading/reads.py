"""Use cases of reading: a reader opens a study, gives an opinion or takes it back; agreement makes the report.

Nothing of a read is shown to others before its case is concluded, and nothing goes out: the report is written then,
once, in the transaction in which the last read that it needs comes to stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.orders import Order
from broker.domain.reading import opinions
from broker.domain.reading.opinions import Case, Opinion, Read, ReadingStage
from broker.domain.reading.reports import Report, ReportState, SeenImages
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.tables import accounts, audit, orders
from broker.store.tables.reading import leases, reads, reports
from broker.workflow.reading import writing
from broker.workflow.reading.reports import (
    ReportText,
    are_seen,
    check_images,
    doctors_name,
    keep_for_its_author,
    problems,
    queue_report,
    tidy,
)
from broker.workflow.studies import effective_doses

LONGEST_REASON = 500  # characters


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A study that a reader has open: what its reads come to, and this reader's own draft or held read."""

    order: Order
    images: SeenImages
    case: Case
    needed: int
    own: Read

    @property
    def arbitrates(self) -> bool:
        """True if this reader is the third one, who sees what the two have found."""
        return self.case.stage is ReadingStage.ARBITRATION


def open_case(tx: Tx, order_id: int, actor: Actor, clinic: Clinic) -> OpenCase:
    """Give a study to a reader and return it; every call prolongs the lease.

    Raise WrongState if it cannot be read now (by this reader, or at all; `why` says it in words for the log), Invalid
    (`images`: perhaps another patient's), Forbidden.
    """
    permit(tx, actor, Permission.REPORT)
    order = orders.require(tx, order_id)
    found = _open(tx, order, actor, clinic)
    writing.prolong(tx, order_id, actor, clinic)
    return found


def free_lease(tx: Tx, order_id: int, actor: Actor) -> None:
    """End any reader's lease, as an administrator may; a read is not touched. Raise WrongState, Forbidden."""
    permit(tx, actor, Permission.MANAGE)
    if not leases.free(tx, order_id):
        raise WrongState(f"order {order_id} is open for no reader")
    audit.write(tx, actor, AuditAction.READ_FREE, order_id)
    tx.notify()


def keep(
    tx: Tx, order_id: int, revision: int, opinion: Opinion | None, text: ReportText, actor: Actor, clinic: Clinic
) -> Read:
    """Save a draft and return it; `revision` is that of the one that the reader saw, 0 for a new one.

    Raise Stale if another window has saved since, Invalid, WrongState as `open_case`, Forbidden.
    """
    text = tidy(text)
    if found := problems(text):
        raise Invalid(found)
    opened = open_case(tx, order_id, actor, clinic)
    before = opened.own
    if (before.opinion, _text_of(before)) == (opinion, text):
        return before
    if before.revision != revision:
        raise Stale(f"the draft on {opened.order.accession_number}")
    return reads.put(tx, _written(tx, opened, opinion, text, actor))


def give(
    tx: Tx,
    order_id: int,
    revision: int,
    opinion: Opinion,
    text: ReportText,
    actor: Actor,
    clinic: Clinic,
    seen: SeenImages,
) -> Read:
    """Give an opinion with the words of the report; return the read. It can be taken back until it stands.

    `seen`: the images as the reader was shown them. The same again changes nothing. Raise Stale, Invalid (`opinion`,
    `images`, the report's fields), WrongState as `open_case`, Forbidden.
    """
    text = tidy(text)
    if actor.kind is not ActorKind.PERSON:
        raise Forbidden(f"{actor.name} is not a person, and only people may read")
    permit(tx, actor, Permission.REPORT)
    order = orders.require(tx, order_id)
    images = reports.images(tx, order)
    for own in _counting(tx, order, images):
        if own.reader == actor.name and own.given_at and (own.opinion, _text_of(own)) == (opinion, text):
            return own
    opened = _open(tx, order, actor, clinic)
    found = problems(text, signing=True) | opinions.problems(opinion, opinions.form_of(order.modality))
    if found:
        raise Invalid(found)
    if opened.own.revision != revision:
        raise Stale(f"the draft on {order.accession_number}")
    if not are_seen(tx, order, seen):
        raise Invalid({"images": "changed"})
    hold = timedelta(minutes=clinic.reading.hold_minutes)
    written = replace(_written(tx, opened, opinion, text, actor), given_at=tx.now, stands_at=tx.now + hold)
    given = reads.put(tx, written)
    if opened.needed == 2:  # a study stays one that is read twice from its first read on
        reads.set_needed(tx, order_id, 2, "read twice since the first read")
    audit.write(tx, actor, AuditAction.READ_GIVE, order_id)
    writing.end(tx, order_id, actor)
    conclude(tx, order_id, clinic)
    tx.notify()
    return given


def take_back(tx: Tx, order_id: int, actor: Actor, clinic: Clinic) -> Read:
    """Make a held read a draft again and return it. Raise WrongState if it stands by now, Forbidden."""
    permit(tx, actor, Permission.REPORT)
    order = orders.require(tx, order_id)
    own = _held_by(tx, order, actor)
    if own is None:
        raise WrongState(f"no read of {actor.name} on {order.accession_number} can be taken back")
    draft = reads.put(tx, replace(own, given_at=None, stands_at=None))
    audit.write(tx, actor, AuditAction.READ_TAKE_BACK, order_id)
    writing.prolong(tx, order_id, actor, clinic)
    tx.notify()
    return draft


def finish(tx: Tx, order_ids: tuple[int, ...], actor: Actor, clinic: Clinic) -> int:
    """Let a reader's held reads stand now; return how many. What others hold, or stands, is passed over."""
    permit(tx, actor, Permission.REPORT)
    count = 0
    for order_id in order_ids:
        own = _held_by(tx, orders.require(tx, order_id), actor)
        if own is not None:
            reads.put(tx, replace(own, stands_at=tx.now))
            conclude(tx, order_id, clinic)
            count += 1
    if count:
        tx.notify()
    return count


def defer(tx: Tx, order_id: int, reason: str, actor: Actor, clinic: Clinic) -> None:
    """Put a study aside with a reason; it is on no list until it is taken up again. The own draft stays."""
    reason = " ".join(reason.split())
    if not reason or len(reason) > LONGEST_REASON:
        raise Invalid({"defer_reason": "too_long" if reason else "required"})
    permit(tx, actor, Permission.REPORT)
    order = orders.require(tx, order_id)
    _open(tx, order, actor, clinic)
    reads.defer(tx, order_id, actor.name, actor.title or actor.name, reason)
    writing.end(tx, order_id, actor)
    audit.write(tx, actor, AuditAction.READ_DEFER, order_id, reason=reason)
    tx.notify()


def resume(tx: Tx, order_id: int, actor: Actor) -> None:
    """Put a study back on the lists: its reader may, and an administrator. Raise WrongState, Forbidden."""
    deferral = reads.deferral(tx, order_id)
    if deferral is None:
        raise WrongState(f"order {order_id} is not put aside")
    permit(tx, actor, Permission.REPORT if deferral.reader == actor.name else Permission.MANAGE)
    reads.resume(tx, order_id)
    audit.write(tx, actor, AuditAction.READ_RESUME, order_id)
    tx.notify()


def read_once(tx: Tx, order_id: int, reason: str, actor: Actor, clinic: Clinic) -> None:
    """Let one read do for a study whose procedure is read twice: the way out where no second reader comes.

    Raise WrongState if two have read already or its report is signed, Invalid (`reason`), Forbidden.
    """
    reason = " ".join(reason.split())
    if not reason or len(reason) > LONGEST_REASON:
        raise Invalid({"reason": "too_long" if reason else "required"})
    permit(tx, actor, Permission.MANAGE)
    order = orders.require(tx, order_id)
    case = case_of(tx, order, clinic, tx.now)
    if case.stage not in (ReadingStage.FIRST, ReadingStage.SECOND) or reports.signed(tx, order_id):
        raise WrongState(f"{order.accession_number} waits for no second reader")
    reads.set_needed(tx, order_id, 1, reason)
    audit.write(tx, actor, AuditAction.READ_ONCE, order_id, reason=reason)
    conclude(tx, order_id, clinic)
    tx.notify()


def set_double(tx: Tx, codes: frozenset[str], actor: Actor) -> None:
    """Say which procedures two doctors read; studies with a read stay as they are. Raise Forbidden."""
    permit(tx, actor, Permission.MANAGE)
    before = reads.double_procedures(tx)
    if codes == before:
        return
    reads.set_double_procedures(tx, codes)
    audit.write(tx, actor, AuditAction.READING_SET, added=sorted(codes - before), removed=sorted(before - codes))
    tx.notify()


def conclude_due(tx: Tx, clinic: Clinic) -> int:
    """Conclude every study of which a read has come to stand, or that waits to be signed; return how many."""
    due = [*reads.due(tx, tx.now), *reads.unsigned(tx)]
    for order_id in dict.fromkeys(due):
        conclude(tx, order_id, clinic)
    if due:
        tx.notify()
    return len(due)


def conclude(tx: Tx, order_id: int, clinic: Clinic) -> None:
    """Make reads that stand final; sign and queue the report if the case is concluded and has none.

    What may not be signed now (images in doubt, an unfinished order) is signed by `conclude_due` once it may.
    """
    order = orders.require(tx, order_id)
    reads.make_final(tx, order_id)
    decisive = case_of(tx, order, clinic, tx.now).decisive
    if decisive is None or decisive.given_at is None:
        return
    before = reports.of_order(tx, order_id) or Report(order_id)
    if before.state is ReportState.SIGNED:
        return
    try:
        check_images(tx, order)
    except (Invalid, WrongState):
        return
    signed = replace(
        before,
        description=decisive.description,
        conclusion=decisive.conclusion,
        recommendations=decisive.recommendations,
        effective_dose=decisive.effective_dose,
        form=before.form if before.author == decisive.reader else "",  # what another typed is not theirs to sign
        author=decisive.reader,
        author_name=decisive.reader_name,
        author_snils=decisive.reader_snils,
        author_position=decisive.reader_position,
        state=ReportState.SIGNED,
        signed_at=tx.now,
    )
    keep_for_its_author(tx, before, ReportText.of(signed), decisive.reader)
    reports.put(tx, signed)
    effective_doses.calculate_once(tx, order)
    reader = Actor(ActorKind.PERSON, decisive.reader, str(decisive.reader_name))
    audit.write(tx, reader, AuditAction.REPORT_SIGN, order_id, read_at=decisive.given_at)
    queue_report(tx, order, clinic)


def _open(tx: Tx, order: Order, actor: Actor, clinic: Clinic) -> OpenCase:
    """Return a study as this reader may read it, or raise."""
    number = order.accession_number
    check_images(tx, order)
    report = reports.of_order(tx, order.id)
    if report is not None and report.state is ReportState.SIGNED:
        raise WrongState(f"the report on {number} is signed")
    needed = reads.needed(tx, order.id)
    if report is not None and needed == 1:  # its words would be lost
        raise WrongState(f"the report on {number} is begun and not signed")
    images = reports.images(tx, order)
    case = case_of(tx, order, clinic, tx.now)
    if case.held is not None and case.held.reader != actor.name:
        raise WrongState(f"{number} is read by another just now")
    if case.is_reader(actor.name):
        raise WrongState(f"{actor.name} has read {number}")
    if case.stage is ReadingStage.CONCLUDED:
        raise WrongState(f"{number} has been read")
    if reads.deferral(tx, order.id):
        raise WrongState(f"{number} is put aside")
    writing.check_is_free(tx, order.id, actor)
    if is_own_referral(tx, order, actor.name) and not clinic.reading.own_referrals:
        raise WrongState(f"{actor.name} has referred {number}")
    drafts = (read for read in _counting(tx, order, images) if read.reader == actor.name)
    blank = Read(order.id, actor.name, images=images.revision, patient_id=order.patient.stored_id)
    if report is not None and report.author == actor.name:  # begun before two were to read it
        blank = replace(
            blank,
            description=report.description,
            conclusion=report.conclusion,
            recommendations=report.recommendations,
            effective_dose=report.effective_dose,
        )
    own = replace(next(drafts, blank), arbitrates=case.stage is ReadingStage.ARBITRATION)
    # Only who decides sees what the two have found: a page cannot show what it was not given.
    shown = case if own.arbitrates else replace(case, standing=())
    return OpenCase(order, images, shown, needed, own)


def is_own_referral(reader: Reader, order: Order, login: str) -> bool:
    """Return True if the account's doctor has referred an order: surely, by СНИЛС."""
    account = accounts.by_login(reader, login)
    return bool(account and account.snils and account.snils == order.referrer_snils)


def case_of(reader: Reader, order: Order, clinic: Clinic, now: datetime) -> Case:
    """Return what the reads of an order's present images come to; `now` is UTC.

    Not for pages of readers who must not know of each other.
    """
    counting = _counting(reader, order, reports.images(reader, order))
    return opinions.case(counting, reads.needed(reader, order.id), clinic.reading, now)


def _counting(reader: Reader, order: Order, images: SeenImages) -> list[Read]:
    """Return the reads of the images and the patient that an order has now; others are history."""
    found = [*reads.of_order(reader, order.id), *reads.decided_together(reader, [order.id])]
    return [read for read in found if (read.images, read.patient_id) == (images.revision, order.patient.id)]


def _held_by(tx: Tx, order: Order, actor: Actor) -> Read | None:
    counting = _counting(tx, order, reports.images(tx, order))
    return next((read for read in counting if read.reader == actor.name and read.is_held(tx.now)), None)


def _written(tx: Tx, opened: OpenCase, opinion: Opinion | None, text: ReportText, actor: Actor) -> Read:
    account = accounts.by_login(tx, actor.name)
    return replace(
        opened.own,
        reader=actor.name,
        reader_name=doctors_name(account.full_name if account else actor.title or actor.name),
        reader_snils=account.snils if account else "",
        reader_position=account.position if account else "",
        opinion=opinion,
        description=text.description,
        conclusion=text.conclusion,
        recommendations=text.recommendations,
        effective_dose=text.effective_dose,
    )


def _text_of(read: Read) -> ReportText:
    return ReportText(read.description, read.conclusion, read.recommendations, read.effective_dose)
