"""What comes in from the bus or from a local МИС: referrals that are addressed to this clinic. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from broker.domain.orders import Referral
from broker.domain.people import Patient


class IncomingState(StrEnum):
    """The state of an incoming referral."""

    WAITING = "waiting"  # for a person to give it a device and a time
    ACCEPTED = "accepted"  # there is an order of it
    CANCELLED = "cancelled"  # by its sender
    DECLINED = "declined"  # by us
    NEEDS_ATTENTION = "needs_attention"  # cannot be read; a person must look


@dataclass(frozen=True, slots=True)
class IncomingReferral(Referral):
    """A referral as its sender wrote it; what the sender left out is empty."""

    task: str  # id of the Task at its sender; unique together with the source
    patient: Patient
    requester: str | None = None  # GUID of the clinic that refers; None: this one
    service_request: str = ""  # id
    bus_patient: str = ""  # id
    bus_accession_number: str = ""  # ACSN
    procedure_code: str = ""
    procedure_system: str = ""  # OID
    procedure_name: str = ""
    body_site: str = ""
    authored_on: datetime | None = None  # UTC
    source: str = "bus"  # "bus", or the name of a local client
    state: IncomingState = IncomingState.WAITING
    order_id: int | None = None  # of the order that it became
    problems: Mapping[str, str] = field(default_factory=dict, hash=False)  # what a person has to see to: field -> code
    received_at: datetime | None = None  # UTC
    id: int = 0


class ArrivalKind(StrEnum):
    """What came."""

    REFERRAL = "referral"
    CANCEL = "cancel"
    RESULT = "result"


class ArrivalState(StrEnum):
    """What became of it."""

    TAKEN = "taken"
    FAILED = "failed"  # the line broke; it is tried again
    NEEDS_ATTENTION = "needs_attention"  # a person must look


@dataclass(frozen=True, slots=True)
class ArrivalRecord:
    """A line of the ledger."""

    id: int
    source: str
    reference: str
    kind: ArrivalKind
    version: str
    state: ArrivalState
    attempts: int
    reason: str
    order_id: int | None
    accession_number: str  # of that order
    first_at: datetime
    at: datetime
    kept: bool  # its JSON is still here

    def is_due(self, now: datetime) -> bool:
        """Return True if it may be tried again: after a while that doubles, or at once where a person wants it.

        Also at once where it was tried after now: then the clock was set back, and may have been years ahead.
        """
        return not self.attempts or not self.at <= now < self.at + timedelta(minutes=2**self.attempts)
