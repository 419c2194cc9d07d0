"""Incoming messages of the bus or a local МИС: referrals to this clinic, and the ledger of arrivals. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from broker.domain.orders import Referral
from broker.domain.patients.people import Patient


class IncomingState(StrEnum):
    """The state of an incoming referral."""

    WAITING = "waiting"  # for a person to give it a device and a time
    ACCEPTED = "accepted"  # an order was created
    CANCELLED = "cancelled"  # by its sender
    DECLINED = "declined"  # by this clinic
    NEEDS_ATTENTION = "needs_attention"  # cannot be read; a person must decide


@dataclass(frozen=True, slots=True)
class IncomingReferral(Referral):
    """A referral as its sender wrote it; what the sender left out is empty."""

    task: str  # id of the Task at its sender; unique together with the source
    patient: Patient
    requester: str | None = None  # GUID of the clinic that refers; None: this one
    service_request: str = ""  # id
    encounter: str = ""  # id: the visit, or the stay, that its sender refers from
    bus_patient: str = ""  # id
    bus_accession_number: str = ""  # ACSN
    procedure_code: str = ""
    procedure_system: str = ""  # OID
    procedure_name: str = ""
    body_site: str = ""
    body_site_text: str = ""  # the words beside its code
    asks_opinion: bool = False  # about a study that is made: it never becomes an order here
    attached: tuple[str, ...] = ()  # earlier studies and reports that it refers to, in words
    authored_on: datetime | None = None  # UTC
    source: str = "bus"  # "bus", or the name of a local client
    state: IncomingState = IncomingState.WAITING
    order_id: int | None = None  # of the order that was created
    # What was the patient's once and is not in force any more, for people to know.
    former_name: str = ""
    former_snils: str = ""
    former_policy: str = ""
    decline_reason: str = ""  # why this clinic declined it
    problems: Mapping[str, str] = field(default_factory=dict, hash=False)  # what a person must complete: field -> code
    received_at: datetime | None = None  # UTC
    id: int | None = None

    @property
    def stored_id(self) -> int:
        """The id of a referral that the store returned; raise ValueError for one that is not stored."""
        if self.id is None:
            raise ValueError("a referral that is not stored has no id")
        return self.id


# The beginning of why a result waits for a person: its patient contradicts ours. The fields follow the colon.
ANOTHER_PATIENT = "it is about another patient"
# Why a result waits for a person: another clinic has performed what this one had cancelled.
ANSWERS_CANCELLED = "it answers a referral that was cancelled here"
# The other clinic has performed what was corrected here since, and does not know of it.
ANSWERS_FORMER_DATA = "it was made by the former data of the referral"
# The other clinic has corrected or withdrawn a report that was taken, and perhaps read.
REPLACES_REPORT = "it replaces a report that was taken before"
# What a person has to read; reading it in again would change nothing.
TO_BE_READ = (ANSWERS_CANCELLED, ANSWERS_FORMER_DATA, REPLACES_REPORT)


class ArrivalKind(StrEnum):
    """The kind of an incoming message."""

    REFERRAL = "referral"
    CANCEL = "cancel"
    RESULT = "result"


class ArrivalState(StrEnum):
    """The outcome of an incoming message."""

    TAKEN = "taken"
    FAILED = "failed"  # no answer of the bus; it will be retried
    NEEDS_ATTENTION = "needs_attention"  # a person must decide


@dataclass(frozen=True, slots=True)
class ArrivalRecord:
    """An entry of the ledger of incoming messages; instants are UTC."""

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
    kept: bool  # its JSON is still stored
    about: Patient | None = None  # whom a result names that was set aside because they contradict our patient
    confirmed: tuple[str, ...] = ()  # the fields in which they do, and a person has said that it is ours nevertheless

    @property
    def may_be_read_again(self) -> bool:
        """Return True if reading it again may change something: a card was corrected, a program updated.

        A change that came too late could be read, and so could the answer to a cancelled or corrected referral.
        """
        is_result = self.kind is ArrivalKind.RESULT and self.reason not in TO_BE_READ
        return self.state is ArrivalState.NEEDS_ATTENTION and (is_result or not self.order_id)

    @property
    def contradicts(self) -> tuple[str, ...]:
        """Return the fields in which a result that was set aside contradicts our patient; empty if that is not why."""
        if self.state is not ArrivalState.NEEDS_ATTENTION or not self.reason.startswith(f"{ANOTHER_PATIENT}: "):
            return ()
        return tuple(self.reason.removeprefix(f"{ANOTHER_PATIENT}: ").split(", "))

    def is_due(self, now: datetime) -> bool:
        """Return True if it is to be retried at `now` (UTC): after a wait that doubles, or because a person wants it.

        Also at once if the last attempt is in the future: then the clock was set back.
        """
        return not self.attempts or not self.at <= now < self.at + timedelta(minutes=2**self.attempts)
