"""Reads messages to the region, renders them as calls of the bus, and checks the ids in the answer.

No network and no changes: a message is read in one snapshot of the database and rendered from it as one call.
`delivery` decides whether and when it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from broker.bus.outbound import opinions
from broker.bus.outbound.bundle import sent_patient, task_number, task_search
from broker.bus.outbound.opinions import OpinionMessage
from broker.bus.outbound.orders import amendment_bundle, order_bundle
from broker.bus.outbound.results import appended_bundle, images_bundle, report_bundle, sent_images, without_content
from broker.bus.profile import Profile
from broker.bus.transport.answers import Rejected
from broker.bus.transport.dialect import STUDY, Call, Dialect
from broker.domain.incoming import IncomingReferral, IncomingState
from broker.domain.messages import (
    CONSENT_WITHDRAWN,
    IMAGES_NOT_SEEN,
    NOT_ABOUT_THE_PATIENT,
    OTHER_PATIENT,
    SENDERS_PATIENT,
    BusReferences,
    OutboxKind,
    OutboxRow,
    OutboxState,
)
from broker.domain.orders import BusRole, Order, OrderState
from broker.domain.patients import correction, patient_match
from broker.domain.patients.incomplete import Missing, missing
from broker.domain.patients.patient_match import NUMBERS
from broker.domain.patients.people import Patient
from broker.domain.reading.reports import SignedReport
from broker.domain.studies.performed import PerformedStep
from broker.store.database import Reader
from broker.store.queries import exchange_state, inbox
from broker.store.tables import incoming, orders, outbox
from broker.store.tables.patients import patient_details, patient_merges, region_patients
from broker.store.tables.reading import reports
from broker.store.tables.studies import archive, performed

NO_BIRTH_DATE = "date of birth unknown"
# Why the region's patient index does not take a patient yet.
INCOMPLETE = {
    Missing.IDENTITY: "the patient is not identified",
    Missing.CHILD_NAME: "the newborn has no name yet",
    Missing.ONE_NAME: "the patient has one name only",
    Missing.BIRTH_DATE: NO_BIRTH_DATE,
}
NO_CORRECTIONS = "the bus takes no corrections"
NUMBER_TAKEN = "the bus has another report under this number"
NOT_CORRECTED = "the bus has the order and did not take its correction"
NO_STARTS = "the bus does not accept the start of a study"
PERFORMED_AFTER_CANCEL = "the order is not cancelled any more: a modality has started it"
NOT_DECLINED = "the referral is not declined any more"

NOT_ASKED = "the report that is asked about is withdrawn"

STATUSES = {
    OutboxKind.CANCEL: "cancelled",
    OutboxKind.STARTED: "in-progress",
    OutboxKind.WITHDRAW_OPINION: "cancelled",
}
RESULTS = (OutboxKind.IMAGES, OutboxKind.REPORT, OutboxKind.APPENDED)
REPORTS = (OutboxKind.REPORT, OutboxKind.APPENDED)
_REFERENCE_NAMES = {
    OutboxKind.IMAGES: ("images_task", "images_report"),
    OutboxKind.REPORT: ("report_task", "report"),
    OutboxKind.APPENDED: ("appended_task", "report"),
}

MakePdf = Callable[[SignedReport], bytes]  # returns the PDF of a signed report; equal arguments give equal bytes


@dataclass(frozen=True, slots=True)
class Unsupported:
    """This bus does not accept such messages; `evidence` is its answer, if it was called."""

    reason: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class OrderMessage:
    """A message about an order, with everything that it is rendered from."""

    row: OutboxRow
    order: Order
    references: BusReferences
    performed: tuple[PerformedStep, ...] = ()
    report: SignedReport | None = None
    version: int = 1  # number of the message about the report, not `Report.version`: `outbox.report_version`
    archived: Mapping[str, int] = field(default_factory=dict)  # Study Instance UID -> images that the archive holds
    sent: Mapping[str, int] = field(default_factory=dict)  # Study Instance UID -> images, as the bus was sent them
    is_archived: bool = False  # the archive has images of the order
    in_doubt: bool = False  # no doctor has looked since the images of the signed report changed
    in_region: Patient | None = None  # as the region has the order's patient; None if that is not known
    contradicted: bool = False  # the order's patient is another one now than the region has
    is_consent_withdrawn: bool = False  # by the patient
    stamp: tuple[object, ...] | None = None  # version of its content, `outbox.content_stamp`

    @property
    def number(self) -> str:
        """Return the number of the Task that this message creates."""
        return task_number(self.order, self.row.kind, self.version)

    @property
    def name(self) -> str:
        """Return what the log calls it."""
        return f"order {self.order.accession_number} ({self.row.kind})"

    @property
    def task(self) -> str:
        """Return the id of the order's Task on the bus; empty if it has none yet."""
        return self.references.task

    @property
    def revision(self) -> int | None:
        """Return the revision of the order that it is rendered from."""
        return self.order.revision


@dataclass(frozen=True, slots=True)
class ReferralMessage:
    """A message about an incoming referral that has no order: it is declined."""

    row: OutboxRow
    referral: IncomingReferral
    stamp: tuple[object, ...] | None = None  # version of its content, `outbox.referral_stamp`

    @property
    def name(self) -> str:
        """Return what the log calls it."""
        return f"referral Task/{self.referral.task} ({self.row.kind})"

    @property
    def task(self) -> str:
        """Return the id of the sender's Task."""
        return self.referral.task

    @property
    def revision(self) -> int | None:
        """Return None: a referral is not counted in revisions."""
        return None


TaskMessage = OrderMessage | OpinionMessage  # those that create a Task, or change one of ours
OutboundMessage = OrderMessage | ReferralMessage | OpinionMessage


def read(reader: Reader, seq: int, profile: Profile) -> OutboundMessage | None:
    """Return a pending message; None if it is not pending any more."""
    row = outbox.get(reader, seq)
    if row is None or row.state is not OutboxState.PENDING:
        return None
    if row.opinion_id is not None:
        return opinions.read_request(reader, row, profile)
    if row.kind is OutboxKind.OPINION:
        return opinions.read_answer(reader, row, profile)
    if row.incoming_id is not None:
        referral = inbox.referral(reader, row.incoming_id)
        return ReferralMessage(row, referral, outbox.referral_stamp(reader, seq)) if referral else None
    order = orders.get(reader, row.order_id) if row.order_id else None
    if order is None:
        return None
    holding = archive.holding(reader, order.id)
    in_region = _in_region(reader, order) if row.kind in RESULTS else ()
    return OrderMessage(
        row,
        order,
        outbox.references(reader, order.id),
        performed.completed_of_order(reader, order.id) if row.kind in RESULTS else (),
        reports.signed_report(reader, order) if row.kind in REPORTS else None,
        outbox.report_version(reader, row),
        _archived(reader, order, holding) if row.kind in RESULTS else {},
        sent_images(exchange_state.sent_json(reader, outbox.delivered(reader, order.id, OutboxKind.IMAGES)))
        if row.kind is OutboxKind.REPORT
        else {},
        holding is not None and holding.exists,
        row.kind is OutboxKind.APPENDED and reports.doubt(reader, order.id) is not None,
        in_region[0] if in_region else None,
        bool(in_region) and all(_is_another(reader, order, each) for each in in_region),
        patient_details.get(reader, order.patient.stored_id).is_consent_withdrawn,
        outbox.content_stamp(reader, seq),
    )


def _archived(reader: Reader, order: Order, holding: archive.Holding | None) -> dict[str, int]:
    """Return how many images of the order's study the archive has settled at; empty if that is not known.

    What a person has accepted beside the order's own study is counted together with it.
    """
    if holding is None or not holding.images:
        return {}
    accepted = {each.study_instance_uid for each in archive.accepted(reader, order.id)}
    return {} if accepted - {holding.study_instance_uid} else {holding.study_instance_uid: holding.images}


def _in_region(reader: Reader, order: Order) -> tuple[Patient, ...]:
    """Return the order's patient as the region has them; empty if that is not known.

    Of another clinic's order that is what its sender wrote last, and after it what a person has confirmed.
    """
    known = region_patients.get(reader, order.id)
    if order.bus_role is BusRole.PERFORMER:
        referral = incoming.of_order(reader, order.id)
        sender = _as_sent(referral.patient, order.patient) if referral else None
        return tuple(each for each in (sender, known) if each)
    # Of orders that an earlier version has sent, the messages tell it as long as they are kept.
    known = known or sent_patient(exchange_state.sent_json(reader, outbox.newest_with_patient(reader, order.id)))
    return (known,) if known else ()


def _as_sent(sent: Patient, patient: Patient) -> Patient:
    """Return the sender's patient; one whom we know by a completed or changed family name is named as with us."""
    is_same = not str(sent.name) or "name" not in correction.contradictions(sent, patient)
    return replace(sent, name=patient.name) if is_same else sent


def _is_another(reader: Reader, order: Order, sent: Patient) -> bool:
    """Return True if the region would take an order's results for another person's.

    What was completed since is no contradiction, nor is what the card was before people merged or corrected it knowing.
    """
    patient = order.patient
    former = patient_merges.former_data(reader, [patient.stored_id]).get(patient.stored_id, [])
    if patient_match.contradictions(patient, sent, former):
        return True
    known = (patient, *former)
    return any(
        getattr(sent, field) and all(getattr(each, field) != getattr(sent, field) for each in known)
        for field in NUMBERS  # one that is the patient's no more leads to somebody else there
    )


def render(
    message: OutboundMessage, dialect: Dialect, profile: Profile, make_pdf: MakePdf
) -> Call | Rejected | Unsupported:
    """Return the call that sends a message, its body encoded; or why it cannot be sent."""
    if isinstance(message, ReferralMessage):
        return _render_decline(message.referral, dialect, profile)
    if isinstance(message, OpinionMessage):
        return _render_opinion(message, dialect, profile)
    if reason := _reason_not_to_send(message, dialect):
        return reason
    kind, order, known, archived = message.row.kind, message.order, message.references, message.archived
    has_images = message.is_archived or not profile.waits_for_images
    made_at = message.row.created_at  # the same at every attempt, so that the body is the same
    try:
        match kind:
            case OutboxKind.ORDER:
                return dialect.transaction(order_bundle(order, profile))
            case OutboxKind.AMEND:
                return dialect.transaction(amendment_bundle(order, known, profile))
            case OutboxKind.CANCEL | OutboxKind.STARTED:
                return dialect.set_status(known.task, STATUSES[kind])
            case OutboxKind.IMAGES:
                taken = (order, message.performed, known, profile, made_at)
                return dialect.transaction(images_bundle(*taken, archived=archived, has_images=has_images))
            case OutboxKind.REPORT | OutboxKind.APPENDED:
                signed = message.report
                if signed is None:
                    return Rejected("no report of this order is signed")
                content = (order, signed.report, message.performed, known, profile, make_pdf(signed), made_at)
                if message.is_consent_withdrawn:  # taken back without a word that the region does not have
                    has_images, content = (
                        False,
                        (order, without_content(signed.report), (), known, profile, b"", made_at),
                    )
                if kind is OutboxKind.APPENDED:
                    version, replaces = message.version, dialect.amends
                    bundle = appended_bundle(*content, version=version, archived=archived, replaces=replaces)
                    return dialect.transaction(bundle)
                bundle = report_bundle(
                    *content, archived=archived, sent=message.sent, has_images=has_images, replaces=dialect.amends
                )
                return dialect.transaction(bundle)
            case _:
                raise AssertionError(f"an order has no message {kind}")  # the database has none
    except ValueError as error:
        return Rejected(f"cannot be written as JSON: {error}")


def _render_opinion(message: OpinionMessage, dialect: Dialect, profile: Profile) -> Call | Rejected | Unsupported:
    kind, order, request = message.row.kind, message.order, message.request
    try:
        if kind is OutboxKind.WITHDRAW_OPINION:
            return dialect.set_status(message.task, STATUSES[kind], request.reason if request else "")
        if kind is OutboxKind.OPINION:
            return dialect.transaction(opinions.answer_bundle(message, profile))
        if message.is_consent_withdrawn:
            return Rejected(CONSENT_WITHDRAWN)
        if lacks := missing(order.patient):
            return Rejected("; ".join(INCOMPLETE[each] for each in lacks))
        if message.report is None or message.report.is_withdrawn:
            return Rejected(NOT_ASKED)
        return dialect.transaction(opinions.request_bundle(message, profile))
    except ValueError as error:
        return Rejected(f"cannot be written as JSON: {error}")


def _render_decline(referral: IncomingReferral, dialect: Dialect, profile: Profile) -> Call | Unsupported:
    if referral.state is not IncomingState.DECLINED:
        # It may have been sent while it was true, so it could not be withdrawn.
        return Unsupported(NOT_DECLINED)
    return dialect.set_status(referral.task, profile.declined_status, referral.decline_reason)


def _reason_not_to_send(message: OrderMessage, dialect: Dialect) -> Rejected | Unsupported | None:
    """Return why a message is not for this bus, or not to be sent as things stand; None if it can be sent."""
    kind, order, known = message.row.kind, message.order, message.references
    is_withdrawal = message.report is not None and message.report.report.is_withdrawn
    # The region may be shown a report that is not true: it is taken back also without the consent.
    is_taken_back = kind in REPORTS and is_withdrawal and bool(known.patient)
    if message.is_consent_withdrawn and kind not in NOT_ABOUT_THE_PATIENT and not is_taken_back:
        return Rejected(CONSENT_WITHDRAWN)
    if kind is OutboxKind.AMEND and not dialect.amends:
        return Unsupported(NO_CORRECTIONS)
    names_patient = kind in (OutboxKind.ORDER, OutboxKind.AMEND) or not known.patient
    if names_patient and kind not in STATUSES and (lacks := missing(order.patient)):
        return Rejected("; ".join(INCOMPLETE[each] for each in lacks))
    if not known.task and not (kind is OutboxKind.ORDER or (kind in RESULTS and order.bus_role is BusRole.WALK_IN)):
        return Rejected("the bus has given no id to this order")
    if kind in RESULTS and message.in_region and message.contradicted and not is_withdrawal:
        if lacks := missing(order.patient):  # whose they are has to be found out first
            return Rejected("; ".join(INCOMPLETE[each] for each in lacks))
        born = message.in_region.birth_date
        who = f"{message.in_region.name}, {born:%d.%m.%Y}" if born else str(message.in_region.name)
        return Rejected(f"{SENDERS_PATIENT if order.bus_role is BusRole.PERFORMER else OTHER_PATIENT}: {who}")
    if message.in_doubt:
        return Rejected(IMAGES_NOT_SEEN)
    if kind is OutboxKind.CANCEL and order.state is not OrderState.CANCELLED:
        # It may have been sent while it was true, so it could not be withdrawn.
        return Unsupported(PERFORMED_AFTER_CANCEL)
    return None


def search_call(message: TaskMessage, dialect: Dialect, profile: Profile) -> Call:
    """Return the call that searches for the Task of an earlier attempt."""
    result = message.row.kind in (*RESULTS, OutboxKind.OPINION)
    intent, requester = ("reflex-order", message.order.requester) if result else ("original-order", None)
    return dialect.search("Task", task_search(message.number, intent, profile, requester))


def accepted_ids(message: TaskMessage, answered: BusReferences, dialect: Dialect) -> dict[str, str] | Rejected:
    """Return the ids of an answer as `outbox.deliver` stores them (name -> id); Rejected if a necessary one is missing.

    A strict R4 server returns no accession number.
    """
    kind = message.row.kind
    if isinstance(message, OpinionMessage):
        found = {"task": answered.task, "patient": answered.patient}
        needed = ["task"]
    elif kind in RESULTS:
        task, report = _REFERENCE_NAMES[kind]
        found = {task: answered.task, report: answered.extra.get("DiagnosticReport", "")}
        found |= {name: id for name, id in answered.extra.items() if name.startswith(STUDY)}
        if not message.references.patient:  # a walk-in patient
            found["patient"] = answered.patient
        needed = [task]
    elif kind is OutboxKind.ORDER:
        found = {
            "task": answered.task,
            "service_request": answered.service_request,
            "patient": answered.patient,
            "acsn": answered.acsn,
        }
        needed = ["task", "service_request", "patient"] + ([] if dialect.amends else ["acsn"])
        if dialect.amends:
            found |= {name: answered.extra.get(name, "") for name in ("Encounter", "Condition")}
    else:  # an amendment may name another patient than before: two cards were merged, or split again
        return {"patient": answered.patient} if answered.patient else {}
    if missing := [name for name in needed if not found[name]]:
        return Rejected(f"not a FHIR answer: {', '.join(missing)} did not come back", uncertain=True)
    return {name: id for name, id in found.items() if id}
