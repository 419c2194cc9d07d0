"""Signed reports as documents of the image archive: their states, their UIDs, and as whose they may be stored. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from broker.domain.reading.reports import Report


class ArchivedReportState(StrEnum):
    """How far a version of a report has got on its way to the archive."""

    PENDING = "pending"
    STORED = "stored"
    NEEDS_ATTENTION = "needs_attention"
    DROPPED = "dropped"  # replaced or withdrawn before it was sent, or it is a withdrawal: nothing is sent


class ArchivedReportReason(StrEnum):
    """Why a report waits, needs attention, or was dropped."""

    NONE = ""
    # ---- it waits, and goes by itself ----
    UNREACHABLE = "unreachable"
    NO_DOCUMENTS = "no_documents"  # the archive takes no Encapsulated PDF, or answers no queries
    NOT_THERE = "not_there"  # the archive does not know the study yet
    DISCREPANCY = "discrepancy"  # what it has of the study does not fit the order
    DOUBT = "doubt"  # whether the report is about these images
    BUSY = "busy"  # A7xx: out of resources
    # ---- a person is needed ----
    NEVER_CAME = "never_came"  # the archive has not got to know the study in all the time
    NO_CYRILLIC = "no_cyrillic"  # it answers without the letters of the Patient ID
    REFUSED = "refused"
    # ---- dropped ----
    REPLACED = "replaced"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class ArchivedReport:
    """A version of a report on its way to the archive."""

    id: int
    order_id: int
    version: int
    state: ArchivedReportState
    reason: ArchivedReportReason
    detail: str
    attempts: int
    uncertain: bool  # it may be there: it was sent, and no answer came
    queued_at: datetime  # UTC
    stored_at: datetime | None

    @property
    def may_be_there(self) -> bool:
        """True if the archive has it, or may have it."""
        return self.stored_at is not None or self.uncertain


LONGEST_WAIT = timedelta(days=14)
_WAITS = tuple(timedelta(minutes=each) for each in (1, 2, 5, 15, 60))


def wait_after(attempts: int, waited: timedelta) -> timedelta:
    """Return how long to wait after so many attempts in vain; after three days once a day is enough."""
    return timedelta(days=1) if waited > timedelta(days=3) else _WAITS[min(attempts, len(_WAITS)) - 1]


_NAMESPACE = uuid.UUID("6f0c2a3e-8a52-4a4b-9a53-3f0a6d2f6b17")


def series_uid(study_instance_uid: str, accession_number: str) -> str:
    """Return the UID of the series that holds all documents of an order."""
    return _uid(study_instance_uid, accession_number)


def instance_uid(study_instance_uid: str, accession_number: str, report: Report) -> str:
    """Return the UID of a version of a report: the same however often it is sent."""
    signed_at = report.signed_at.isoformat() if report.signed_at else ""
    return _uid(study_instance_uid, accession_number, str(report.stored_id), str(report.version), signed_at)


def _uid(*parts: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(parts)).int}"  # PS3.5 B.2


def is_reliable_id(answered: str, own: Collection[str], name: str, *, carries_cyrillic: bool) -> bool:
    """Return True if a Patient ID is surely the one under which an archive has a study.

    `own` are the Patient IDs of the order's patient, `name` is the PN that came with it, and `carries_cyrillic` says
    whether the answer's character set has the letters. An archive that answers without them leaves them out: К-17
    becomes -17, under which the document would be another patient's.
    """
    if answered in own and answered.isascii():
        return True
    if carries_cyrillic:
        return not {"\ufffd", "?"} & set(answered)  # what stands for letters that were lost before
    if not answered.isascii() or answered in {_without_letters(each) for each in own if not each.isascii()}:
        return False
    return any(char.isalpha() for char in name) and name.isascii()  # a name in Latin letters has lost none


def is_whole_name(name: str, *, carries_cyrillic: bool) -> bool:
    """Return True if a PN has not lost its letters on the way."""
    return (carries_cyrillic or name.isascii()) and any(char.isalpha() for char in name) and "\ufffd" not in name


def _without_letters(text: str) -> str:
    return "".join(char for char in text if char.isascii())
