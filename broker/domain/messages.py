"""Messages to the region, and the ids of its resources. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class OutboxKind(StrEnum):
    """What an outbox row reports to the region."""

    ORDER = "order"
    AMEND = "amend"
    CANCEL = "cancel"
    STARTED = "started"
    IMAGES = "images"
    REPORT = "report"
    APPENDED = "appended"  # the report again, with images that were added after it was sent
    DECLINE = "decline"  # an incoming referral will not be performed here
    OPINION = "opinion"  # our answer to another clinic's request for an opinion
    ASK_OPINION = "ask_opinion"
    WITHDRAW_OPINION = "withdraw_opinion"


class OutboxState(StrEnum):
    """The state of an outbox row."""

    PENDING = "pending"
    DELIVERED = "delivered"
    NEEDS_ATTENTION = "needs_attention"
    DROPPED = "dropped"  # cancelled before it was sent
    UNSUPPORTED = "unsupported"  # this bus does not accept such messages


# Why a report with added images waits: the region gets it once a doctor has looked at them.
IMAGES_NOT_SEEN = "images were added after the report was signed: a doctor has to look at them"

# The beginning of why a result waits: the region would take it for another person's. Who that is follows the colon.
OTHER_PATIENT = "the region has the order under other data of the patient"


# The same of another clinic's order: the Patient there is its sender's, and only the sender corrects it.
SENDERS_PATIENT = f"{OTHER_PATIENT}, as its sender has them"

# Why everything of a patient waits: the consent that data go to the region was withdrawn.
CONSENT_WITHDRAWN = "the patient has withdrawn the consent"
NOT_ABOUT_THE_PATIENT = (OutboxKind.CANCEL,)  # what is sent without the consent


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One message to the region, rendered from present data when it is sent.

    It is about an order, about an incoming referral that has none, or about a request of ours for an opinion.
    """

    seq: int
    order_id: int | None
    kind: OutboxKind
    state: OutboxState
    created_at: datetime
    attempts: int = 0
    uncertain: bool = False  # the outcome of the last POST is unknown: search for the Task before sending again
    reason: str = ""
    delivered_at: datetime | None = None
    incoming_id: int | None = None  # of the incoming referral
    opinion_id: int | None = None  # of our request for an opinion
    order_revision: int | None = None  # of the order as last sent; of an unsent amendment: the amended one


SENDERS_ENCOUNTER = "sender/Encounter"  # key of `BusReferences.extra`: of an incoming referral; not ours to change


@dataclass(frozen=True, slots=True)
class BusReferences:
    """The ids that the bus gave to an order's resources; empty until it accepted them."""

    task: str = ""
    service_request: str = ""
    patient: str = ""
    acsn: str = ""
    extra: dict[str, str] = field(default_factory=dict)
