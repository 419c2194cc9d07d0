"""Messages about opinions: our requests to other clinics, and our answers to theirs.

The profile has neither, so a request is an order whose note says what it is, and an answer is a result of that order
without images. Both are written by what writes orders and results, from an order that is in no table.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from broker.bus.fhir import Resource
from broker.bus.outbound.bundle import NAMESPACE, task_number
from broker.bus.outbound.orders import order_bundle
from broker.bus.outbound.results import report_bundle
from broker.bus.profile import PROCEDURE, Profile
from broker.domain.incoming import IncomingReferral
from broker.domain.messages import BusReferences, OutboxRow
from broker.domain.opinions import requests as opinions
from broker.domain.opinions.requests import OpinionAnswer, OpinionRequest
from broker.domain.orders import BusRole, Order, OrderState
from broker.domain.reading.reports import Report, ReportState
from broker.store.database import Reader
from broker.store.queries import inbox
from broker.store.tables import orders, outbox
from broker.store.tables.opinions import answers, requests
from broker.store.tables.patients import patient_details
from broker.store.tables.reading import reports
from broker.store.tables.studies import performed


@dataclass(frozen=True, slots=True)
class OpinionMessage:
    """A message about an opinion, with everything that it is rendered from; its `order` is in no table."""

    row: OutboxRow
    order: Order
    references: BusReferences
    request: OpinionRequest | None = None  # ours
    report: Report | None = None  # ours, that is asked about; or the answer to another clinic's request
    is_consent_withdrawn: bool = False  # by the patient
    stamp: tuple[object, ...] | None = None  # version of its content, `outbox.opinion_stamp`

    @property
    def number(self) -> str:
        """Return the number of the Task that this message creates."""
        return task_number(self.order, self.row.kind)

    @property
    def name(self) -> str:
        """Return what the log calls it."""
        return f"opinion {self.order.accession_number} ({self.row.kind})"

    @property
    def task(self) -> str:
        """Return the id of the request's Task on the bus; empty if it has none yet."""
        return self.references.task

    @property
    def revision(self) -> int | None:
        """Return None: opinions are not counted in revisions."""
        return None


def read_request(reader: Reader, row: OutboxRow, profile: Profile) -> OpinionMessage | None:
    """Return a message about a request of ours."""
    request = requests.get(reader, row.opinion_id or 0)
    order = orders.get(reader, request.order_id) if request else None
    if request is None or order is None:
        return None
    report = reports.signed(reader, order.id)
    starts = [step.start for step in performed.completed_of_order(reader, order.id) if step.start]
    images = profile.images_url.replace("{study}", order.study_instance_uid)
    note = opinions.request_text(
        request.question,
        order.shown_number,
        min(starts).date() if starts else None,
        report.conclusion if report else "",
        images,
    )
    number = opinions.number_of(order.accession_number, request.number)
    asked = replace(
        order,
        accession_number=number,
        study_instance_uid=_uid(number, profile),
        state=OrderState.REFERRED,
        owner=request.partner,
        requester=None,
        priority=request.priority,
        comment=note,
        authored_on=request.asked_at,
    )
    withdrawn = patient_details.get(reader, order.patient.stored_id).is_consent_withdrawn
    references = BusReferences(task=request.task, patient=request.bus_patient)
    return OpinionMessage(row, asked, references, request, report, withdrawn, outbox.opinion_stamp(reader, row.seq))


def read_answer(reader: Reader, row: OutboxRow, profile: Profile) -> OpinionMessage | None:
    """Return the message with our answer to another clinic's request."""
    referral = inbox.referral(reader, row.incoming_id or 0)
    answer = answers.of_request(reader, row.incoming_id or 0)
    if referral is None or answer is None:
        return None
    references = BusReferences(referral.task, referral.service_request, referral.bus_patient)
    order, report = _order_of(referral, profile, answer), _report(answer)
    return OpinionMessage(row, order, references, report=report, stamp=outbox.opinion_stamp(reader, row.seq))


def request_bundle(message: OpinionMessage, profile: Profile) -> Resource:
    """Return the transaction that asks another clinic."""
    return order_bundle(message.order, profile)


def answer_bundle(message: OpinionMessage, profile: Profile) -> Resource:
    """Return the transaction with our answer: a result without images, for we have made none."""
    assert message.report is not None
    made_at = message.row.created_at
    return report_bundle(message.order, message.report, (), message.references, profile, b"", made_at, has_images=False)


def _order_of(referral: IncomingReferral, profile: Profile, answer: OpinionAnswer) -> Order:
    number = f"opinion/{referral.task}"
    return Order(
        id=0,
        accession_number=number,
        study_instance_uid=_uid(number, profile),
        requested_procedure_id=number,
        patient=referral.patient,
        state=OrderState.COMPLETED,
        procedure_code=referral.procedure_code,
        procedure_name=referral.procedure_name,
        # The sender's code goes back as it is, where it is the region's; others are not ours to name.
        procedure_local=referral.procedure_system not in (profile.system_procedure, PROCEDURE),
        modality="",
        steps=(),
        authored_on=referral.authored_on or answer.signed_at,
        bus_role=BusRole.PERFORMER,
        requester=referral.requester,
    )


def _report(answer: OpinionAnswer) -> Report:
    return Report(
        order_id=0,
        description=answer.description,
        conclusion=answer.conclusion,
        recommendations=answer.recommendations,
        state=ReportState.SIGNED,
        author=answer.author,
        author_name=answer.author_name,
        author_snils=answer.author_snils,
        author_position=answer.author_position,
        signed_at=answer.signed_at,
    )


def _uid(number: str, profile: Profile) -> str:
    """Return what the addresses of a message's entries are derived from: no study has it."""
    return f"2.25.{uuid.uuid5(NAMESPACE, f'{profile.mis_oid}/{number}').int}"
