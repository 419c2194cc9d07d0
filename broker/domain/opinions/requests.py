"""Requests for another clinic's opinion on a study that is made, and our answers to those of others. Values only.

A request travels as an ordinary order whose note begins with MARK: the profile has no code for it. A clinic that does
not know the words would take it for a referral, and might irradiate the patient again. So whom a doctor may ask is
configured, and what is asked of us never becomes an order of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from broker.domain.orders import Priority
from broker.domain.patients.people import PersonName
from broker.domain.reading.reports import ExternalStudy

MARK = "Второе мнение:"
_DONE, _REPORT, _IMAGES = "Исследование уже сделано, не повторять:", "Заключение:", "Снимки:"
_PARTS = re.compile(f"({'|'.join(map(re.escape, (_DONE, _REPORT, _IMAGES)))})")
LONGEST_QUESTION = 300  # characters
LONGEST_CONCLUSION = 400  # characters of our conclusion in a request: the note is cut by those who read it


class OpinionPartner(NamedTuple):
    """A clinic that may be asked."""

    organisation: str  # GUID
    understands: bool  # False: it would see an ordinary referral


@dataclass(frozen=True, slots=True)
class OpinionRules:
    """Whom doctors may ask, and how long an answer may take."""

    partners: tuple[OpinionPartner, ...] = ()
    hours: int = 72
    urgent_hours: int = 24

    def partner(self, organisation: str) -> OpinionPartner | None:
        """Return a clinic that may be asked, or None."""
        return next((each for each in self.partners if each.organisation == organisation), None)

    def within(self, priority: Priority) -> timedelta:
        """Return how long the answer to a request may take."""
        return timedelta(hours=self.urgent_hours if priority is Priority.URGENT else self.hours)


class OpinionOutcome(StrEnum):
    """What became of a request of ours."""

    ANSWERED = "answered"
    DECLINED = "declined"  # by the clinic that was asked
    WITHDRAWN = "withdrawn"  # by us


class OpinionState(StrEnum):
    """Where a request of ours is."""

    QUEUED = "queued"  # the bus does not have it yet
    SENT = "sent"
    TAKEN = "taken"  # the other clinic works on it
    ANSWERED = "answered"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class OpinionRequest:
    """A request of ours for another clinic's opinion on a signed report."""

    order_id: int
    number: int  # among the requests about this order
    version: int  # of the report
    partner: str  # GUID
    question: str
    asked_by: str  # login
    asked_by_title: str
    asked_at: datetime  # UTC
    priority: Priority = Priority.ROUTINE
    task: str = ""  # id on the bus
    bus_patient: str = ""  # id on the bus
    taken_at: datetime | None = None  # UTC: when the other clinic was seen to work on it
    outcome: OpinionOutcome | None = None
    reason: str = ""  # why it was declined or withdrawn
    answer: ExternalStudy | None = None
    ended_at: datetime | None = None  # UTC
    heeded_at: datetime | None = None  # UTC: when a doctor has seen what became of it
    id: int | None = None

    @property
    def stored_id(self) -> int:
        """The id of a request that the store returned; raise ValueError for one that is not stored."""
        if self.id is None:
            raise ValueError("a request that is not stored has no id")
        return self.id

    @property
    def is_open(self) -> bool:
        """True while it waits for an answer."""
        return self.outcome is None

    @property
    def state(self) -> OpinionState:
        """Where it is."""
        if self.outcome is not None:
            return OpinionState(self.outcome)
        if self.taken_at is not None:
            return OpinionState.TAKEN
        return OpinionState.SENT if self.task else OpinionState.QUEUED

    def hangs(self, now: datetime, rules: OpinionRules) -> bool:
        """Return True if it has waited longer than it should; `now` is UTC."""
        return self.is_open and now - self.asked_at >= rules.within(self.priority)


@dataclass(frozen=True, slots=True)
class OpinionAnswer:
    """Our signed answer to another clinic's request; never changed."""

    incoming_id: int
    description: str
    conclusion: str
    recommendations: str
    author: str  # login
    author_name: PersonName
    author_snils: str
    author_position: str
    signed_at: datetime  # UTC


class AskedAbout(NamedTuple):
    """What a request says, apart."""

    question: str
    study: str = ""  # its number and day
    conclusion: str = ""  # of the clinic that asks
    images: str = ""  # where they are


def number_of(accession_number: str, number: int) -> str:
    """Return the number of the Task of a request about an order: one that no other Task has."""
    return f"{accession_number}/opinion/{number}"


def request_text(question: str, accession_number: str, made_on: date | None, conclusion: str, images: str) -> str:
    """Return the note of a request."""
    day = f" от {made_on:%d.%m.%Y}" if made_on else ""
    said = " ".join(conclusion.split())
    if len(said) > LONGEST_CONCLUSION:
        said = f"{said[:LONGEST_CONCLUSION]}…"
    parts = [f"{MARK} {question}", f"{_DONE} № {accession_number}{day}"]
    parts += [f"{_REPORT} {said}"] if said else []
    parts += [f"{_IMAGES} {images}"] if images else []
    return "\n".join(parts)


def is_request(note: str) -> bool:
    """Return True if a note of an order says that an opinion is asked for, and no study."""
    return " ".join(note.split()).casefold().startswith(MARK.casefold())


def asked_about(comment: str) -> AskedAbout:
    """Return what the note of a request says; what another program has written is the question as a whole."""
    start = comment.casefold().find(MARK.casefold())
    first, *rest = _PARTS.split(comment[start + len(MARK) :] if start >= 0 else comment)
    parts = dict(zip(rest[::2], (_trimmed(each) for each in rest[1::2]), strict=True))
    return AskedAbout(_trimmed(first), parts.get(_DONE, ""), parts.get(_REPORT, ""), parts.get(_IMAGES, ""))


def _trimmed(text: str) -> str:
    return text.strip(" \n;")
