"""Use cases of reports: a doctor writes one on a study and signs it, and it is sent to the region.

A signed report is never changed: what is added or corrected later, or taken back, is a new version beside it.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import asdict, dataclass, replace

from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.patients import confirmation, names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import PersonName
from broker.domain.reading import report_form
from broker.domain.reading.reports import Report, ReportChange, ReportDoubt, ReportState, SeenImages
from broker.domain.studies.effective_dose import MAX_DOSE
from broker.domain.studies.performed import PerformedState
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import accounts, audit, orders, outbox, undecided_orders
from broker.store.tables.reading import reads, reports
from broker.store.tables.studies import archive, performed, performed_links
from broker.workflow.reading import kept_texts, over_read_outcomes, writing
from broker.workflow.studies import archived_reports, effective_doses

LONGEST = {"description": 20_000, "conclusion": 4_000, "recommendations": 4_000}  # characters
# Direction marks could reverse the order of a finding's words on the screen and on paper.
_MARKS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class ReportText:
    """What a doctor has written; `effective_dose` is in mSv, None if it was not entered."""

    description: str = ""
    conclusion: str = ""
    recommendations: str = ""
    effective_dose: float | None = None
    form: str = ""  # further fields (`report_form`)

    @classmethod
    def of(cls, report: Report) -> ReportText:
        """Return the text of a report."""
        return cls(report.description, report.conclusion, report.recommendations, report.effective_dose, report.form)


def save_report(tx: Tx, order_id: int, revision: int, text: ReportText, actor: Actor, clinic: Clinic) -> Report:
    """Save a draft and return it; the actor becomes its author, and no other doctor writes for some minutes.

    `revision` is that of the report that the doctor saw, 0 for a new one. The same text again changes nothing. What
    another doctor had written there is kept for them. Raise Occupied while another writes, Stale if somebody has saved
    since, WrongState if it is signed or no images were made, Invalid, Forbidden.
    """
    text = tidy(text)
    if found := problems(text):
        raise Invalid(found)
    permit(tx, actor, Permission.REPORT)
    order = orders.require(tx, order_id)
    before = reports.of_order(tx, order_id) or Report(order_id)
    if before.state is ReportState.SIGNED:
        raise WrongState(f"the report on {order.accession_number} is signed")
    if ReportText.of(before) == text and (before.author == actor.name or not before.revision):
        return before
    check_is_free(tx, order, actor)
    if before.revision != revision:
        raise Stale(f"the report on {order.accession_number}")
    if order.state not in _STARTED or not performed.states_of_order(tx, order_id):
        raise WrongState(f"no images of {order.accession_number} were made here")
    writing.prolong(tx, order_id, actor, clinic)
    keep_for_its_author(tx, before, text, actor.name)
    after = reports.put(tx, _with_text(tx, before, text, actor))
    if before.author != after.author:  # not at every save while one person types
        audit.write(tx, actor, AuditAction.REPORT_DRAFT, order_id, taken_from=str(before.author_name))
    tx.notify()
    return after


def sign(
    tx: Tx,
    order_id: int,
    revision: int,
    text: ReportText,
    actor: Actor,
    clinic: Clinic,
    seen: SeenImages | None = None,
) -> Report:
    """Sign a report with this text, under the actor's name, and queue it for the region; return it.

    `seen`: the images as the doctor was shown them with the text; None: no images were shown.
    The same person signing the same text again changes nothing. Raise Occupied while another writes, Stale, WrongState
    if another text is signed or the study is not completed, Invalid (also `images`: perhaps another patient's, or
    others by now), Forbidden.
    """
    text = tidy(text)
    if found := problems(text, signing=True):
        raise Invalid(found)
    permit(tx, actor, Permission.REPORT)
    if actor.kind is not ActorKind.PERSON:
        raise Forbidden(f"{actor.name} is not a person, and only people may sign")
    order = orders.require(tx, order_id)
    before = reports.of_order(tx, order_id) or Report(order_id)
    if before.state is ReportState.SIGNED:
        if ReportText.of(before) == text and before.author == actor.name:
            return before
        raise WrongState(f"the report on {order.accession_number} is signed")
    check_is_free(tx, order, actor)
    if before.revision != revision:
        raise Stale(f"the report on {order.accession_number}")
    check_images(tx, order)
    if seen is not None and not are_seen(tx, order, seen):
        raise Invalid({"images": "changed"})
    keep_for_its_author(tx, before, text, actor.name)
    written = _with_text(tx, before, text, actor)
    after = reports.put(tx, replace(written, state=ReportState.SIGNED, signed_at=tx.now))
    archive.note_fewer(tx, order_id, None)
    effective_doses.calculate_once(tx, order)
    audit.write(tx, actor, AuditAction.REPORT_SIGN, order_id, drafted_by=str(before.author_name))
    writing.end(tx, order_id, actor)
    queue_report(tx, order, clinic)
    tx.notify()
    return after


def uphold(tx: Tx, order_id: int, seen: SeenImages, actor: Actor, clinic: Clinic) -> None:
    """Confirm a signed report after its order's images have changed; the region gets it again if images were added.

    `seen` are the images that the doctor was shown. Raise WrongState if the report is not in doubt, Stale if the images
    or their patient are others by now, Invalid (`images`), Forbidden.
    """
    permit(tx, actor, Permission.REPORT)
    order = orders.require(tx, order_id)
    doubt = reports.doubt(tx, order_id)
    if doubt is None:
        raise WrongState(f"no report is in doubt on {order.accession_number}")
    check_images(tx, order)
    if not are_seen(tx, order, seen):
        raise Stale(f"images of order {order.accession_number}")
    # Others may have been unlinked since images were added, which withdrew the message about them.
    has_more = doubt is ReportDoubt.IMAGES_ADDED or reports.has_more_images(tx, order_id)
    studies = ", ".join(uid for uid, _, _ in seen.steps)
    archive.note_fewer(tx, order_id, None)
    audit.write(tx, actor, AuditAction.REPORT_UPHOLD, order_id, sop_instance_uids=studies, images=seen.count)
    queue_report(tx, order, clinic)
    if not outbox.release(tx, order_id, OutboxKind.APPENDED):
        if has_more:
            _queue_added_images(tx, order, clinic)
        elif _is_revised(tx, order_id):  # the message of the new version may have been withdrawn with the images
            outbox.reinstate(tx, order_id, OutboxKind.APPENDED)
    tx.notify()


@dataclass(frozen=True, slots=True)
class Revision:
    """What a doctor does to a signed report: adds `reason` to it, corrects it to `text`, or withdraws it."""

    change: ReportChange
    reason: str
    text: ReportText | None = None  # of a correction


def revise(
    tx: Tx,
    order_id: int,
    version: int,
    revision: Revision,
    actor: Actor,
    clinic: Clinic,
    seen: SeenImages | None = None,
) -> Report:
    """Sign a new version of a signed report and queue it for the region; return it. Earlier versions stay readable.

    `version` is the one that the doctor saw, `seen` the images, None if none were shown. A withdrawn report can be
    corrected only. Raise Occupied while another writes, WrongState if none is signed or it is withdrawn, Stale, Invalid
    (`reason`, `images`, the report's fields), Forbidden.
    """
    permit(tx, actor, Permission.REPORT)
    if actor.kind is not ActorKind.PERSON:
        raise Forbidden(f"{actor.name} is not a person, and only people may sign")
    order = orders.require(tx, order_id)
    before = reports.signed(tx, order_id)
    if before is None:
        raise WrongState(f"no report on {order.accession_number} is signed")
    writing.check_is_free(tx, order_id, actor)
    if before.version != version:
        raise Stale(f"the report on {order.accession_number}")
    if before.is_withdrawn and revision.change is not ReportChange.CORRECTION:
        raise WrongState(f"the report on {order.accession_number} is withdrawn")
    reason = _tidy(revision.reason)
    text = _revised(before, revision, reason)
    found = problems(text, signing=revision.change is not ReportChange.WITHDRAWAL)
    if not reason:
        found["reason"] = "required"
    elif len(reason) > LONGEST["conclusion"]:
        found["reason"] = "too_long"
    if revision.change is ReportChange.CORRECTION and text == ReportText.of(before):
        found["conclusion"] = "unchanged"
    if found:
        raise Invalid(found)
    if revision.change is not ReportChange.WITHDRAWAL:
        check_images(tx, order)
        if seen is not None and not are_seen(tx, order, seen):
            raise Invalid({"images": "changed"})
    after = replace(
        _with_text(tx, before, text, actor),
        version=version + 1,
        change=revision.change,
        reason=reason,
        signed_at=tx.now,
    )
    reports.add_version(tx, after)
    archive.note_fewer(tx, order_id, None)
    audit.write(tx, actor, _REVISED[revision.change], order_id, version=after.version)
    if after.is_withdrawn:
        over_read_outcomes.end_open(tx, order_id, reason, actor)
    writing.end(tx, order_id, actor)
    archived_reports.queue(tx, after, clinic)
    _queue_version(tx, order, after, clinic)
    tx.notify()
    return after


_REVISED = {
    ReportChange.ADDITION: AuditAction.REPORT_ADD,
    ReportChange.CORRECTION: AuditAction.REPORT_CORRECT,
    ReportChange.WITHDRAWAL: AuditAction.REPORT_WITHDRAW,
}


def _is_revised(tx: Tx, order_id: int) -> bool:
    report = reports.signed(tx, order_id)
    return report is not None and report.change is not None


def _revised(before: Report, revision: Revision, reason: str) -> ReportText:
    """Return how a report reads after a revision: an addition stands below the conclusion, also of another author."""
    text = ReportText.of(before)
    if revision.change is ReportChange.WITHDRAWAL:
        return ReportText()
    if revision.change is ReportChange.CORRECTION:
        return tidy(revision.text or text)
    return replace(text, conclusion=f"{text.conclusion}\n\nДополнение: {reason}")


def _queue_version(tx: Tx, order: Order, report: Report, clinic: Clinic) -> None:
    """Queue a new version, unless a message that is still to be sent will be made of it anyway."""
    if not (clinic.sends_to_bus and order.bus_role):
        return
    if not outbox.may_be_known(tx, order.id, OutboxKind.REPORT):
        if report.is_withdrawn:
            outbox.withdraw(tx, order.id, OutboxKind.REPORT)
        else:
            outbox.reinstate(tx, order.id, OutboxKind.REPORT)
        return
    outbox.release(tx, order.id, OutboxKind.APPENDED)
    if report.is_withdrawn:
        outbox.release(tx, order.id, OutboxKind.REPORT)  # it takes itself back
    if not outbox.has_unsent(tx, order.id, OutboxKind.APPENDED):
        outbox.add(tx, order.id, OutboxKind.APPENDED)


def tidy(text: ReportText) -> ReportText:
    """Normalise what was typed or pasted: NFC, plain line ends, no control characters, no direction marks."""
    return replace(
        text,
        description=_tidy(text.description),
        conclusion=_tidy(text.conclusion),
        recommendations=_tidy(text.recommendations),
        form=report_form.pack({name: _tidy(value) for name, value in report_form.unpack(text.form).items()}),
    )


def problems(text: ReportText, *, signing: bool = False) -> dict[str, str]:
    """Return the fields of a report that are wrong: field -> problem code. Only `signing` requires fields."""
    found = {field: "too_long" for field, longest in LONGEST.items() if len(getattr(text, field)) > longest}
    for field, value in report_form.unpack(text.form).items():
        if len(value) > report_form.LONGEST:
            found[field] = "too_long"
    if signing and not text.conclusion:
        found["conclusion"] = "required"
    dose = text.effective_dose
    if dose is not None and not (math.isfinite(dose) and 0 <= dose <= MAX_DOSE):
        found["effective_dose"] = "range"
    return found


def check_images(tx: Tx, order: Order) -> None:
    """Raise WrongState or Invalid (`images`) unless an order's images are made and surely its patient's."""
    if order.state is not OrderState.COMPLETED:
        raise WrongState(f"{order.accession_number} is {order.state}")
    if PerformedState.COMPLETED not in performed.states_of_order(tx, order.id):
        raise Invalid({"images": "none"})  # another clinic made them
    if performed_links.conflicts(tx, order.id):
        raise Invalid({"images": "other_patient"})  # perhaps: a person must confirm the patient
    if undecided_orders.of_order(tx, order.id):
        raise Invalid({"images": "undecided"})
    if archive.is_disputed(tx, order.id):
        raise Invalid({"images": "disputed"})


def check_is_free(tx: Tx, order: Order, actor: Actor) -> None:
    """Raise Occupied where another writes or reads now, WrongState where the report is made of reads.

    That is where two doctors read it, or one has given an opinion.
    """
    writing.check_is_free(tx, order.id, actor)
    current = reports.images(tx, order)
    given = [read for read in reads.of_order(tx, order.id) if read.given_at and read.images == current.revision]
    if reads.needed(tx, order.id) > 1 or given:
        raise WrongState(f"the report on {order.accession_number} is made of its reads")


def are_seen(tx: Tx, order: Order, seen: SeenImages) -> bool:
    """Return True if these are the images of an order, and their patient, as they are now."""
    try:
        confirmation.check(order.patient, (), Confirmation(seen.patient))
    except Stale:
        return False
    return replace(reports.images(tx, order), patient=seen.patient) == seen


def queue_report(tx: Tx, order: Order, clinic: Clinic) -> None:
    """Queue an order's signed report for the region and for the image archive, once."""
    archived_reports.queue(tx, reports.signed(tx, order.id), clinic)
    if clinic.sends_to_bus and order.bus_role and not outbox.has(tx, order.id, OutboxKind.REPORT):
        outbox.add(tx, order.id, OutboxKind.REPORT)


def _queue_added_images(tx: Tx, order: Order, clinic: Clinic) -> None:
    if clinic.sends_to_bus and order.bus_role and outbox.may_be_known(tx, order.id, OutboxKind.REPORT):
        outbox.add(tx, order.id, OutboxKind.APPENDED)


def keep_for_its_author(tx: Tx, before: Report, text: ReportText, author: str) -> None:
    """Keep a draft for the doctor who wrote it, where another one (login) writes on; part of use cases."""
    written = ReportText.of(before)
    if before.author not in ("", author) and written not in (text, ReportText()):
        kept_texts.keep(tx, before.order_id, before.author, asdict(written))


def _with_text(tx: Tx, before: Report, text: ReportText, actor: Actor) -> Report:
    account = accounts.by_login(tx, actor.name)
    return replace(
        before,
        description=text.description,
        conclusion=text.conclusion,
        recommendations=text.recommendations,
        effective_dose=text.effective_dose,
        form=text.form,
        author=actor.name,
        author_name=doctors_name(account.full_name if account else actor.title or actor.name),
        author_snils=account.snils if account else "",
        author_position=account.position if account else "",
    )


def doctors_name(full_name: str) -> PersonName:
    """Split the name of an account; the initials of «Соколов В.И.» have no blank between them."""
    name = names.split(full_name)
    first, dot, second = name.given.partition(".")
    return PersonName(name.family, first + dot, second) if dot and second and not name.middle else name


def _tidy(typed: str) -> str:
    lines = unicodedata.normalize("NFC", typed.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    tidied = ("".join(char for char in line.replace("\t", "    ") if _is_allowed(char)).rstrip() for line in lines)
    return "\n".join(tidied).strip("\n")


def _is_allowed(char: str) -> bool:
    return unicodedata.category(char) not in {"Cc", "Cs", "Co", "Cn"} and char not in _MARKS


_STARTED = (OrderState.IN_PROGRESS, OrderState.COMPLETED)
