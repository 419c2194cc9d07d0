"""What comes down from the bus, or from a local МИС: a referral that is addressed to this clinic; values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broker.domain.orders import Priority
from broker.domain.people import NOBODY, Patient, PersonName


class IncomingState(StrEnum):
    """Where a referral from elsewhere stands here."""

    WAITING = "waiting"  # for a person to give it a device and a time
    ACCEPTED = "accepted"  # there is an order of it
    CANCELLED = "cancelled"  # by whoever sent it
    DECLINED = "declined"  # by us
    NEEDS_ATTENTION = "needs_attention"  # cannot be read; a person must look


@dataclass(frozen=True, slots=True)
class IncomingReferral:
    """A referral as its sender wrote it; what the sender left out is empty."""

    task: str  # id of the Task at its sender; unique together with the source
    patient: Patient
    requester: str = ""  # GUID of the clinic that refers
    service_request: str = ""  # id
    bus_patient: str = ""  # id
    bus_accession_number: str = ""  # ACSN
    procedure_code: str = ""
    procedure_system: str = ""  # OID
    procedure_name: str = ""
    body_site: str = ""
    priority: Priority = Priority.ROUTINE
    finance: str = "1"
    referrer: PersonName = NOBODY
    referrer_snils: str = ""
    referrer_position: str = ""
    diagnosis_code: str = ""
    diagnosis_text: str = ""
    comment: str = ""
    authored_on: datetime | None = None  # UTC
    source: str = "bus"  # "bus", or the name of a local client
    state: IncomingState = IncomingState.WAITING
    order_id: int = 0
    problem: str = ""
    received_at: datetime | None = None  # UTC
    id: int = 0
