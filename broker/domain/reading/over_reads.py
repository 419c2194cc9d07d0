"""Over-reads: what a colleague says who was asked to read a signed report over. Values only.

An over-read is no part of the report and goes nowhere; what its doctor takes over becomes a new version of the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class OverReadOutcome(StrEnum):
    """What became of a request; one that has none waits."""

    AGREES = "agrees"
    DIFFERS = "differs"  # the colleague has written a text of their own
    DECLINED = "declined"  # by the colleague who was asked
    WITHDRAWN = "withdrawn"  # by who asked, or with the report


@dataclass(frozen=True, slots=True)
class OverReadText:
    """What the colleague says: a remark, where they agree, or a text of their own."""

    description: str = ""
    conclusion: str = ""
    recommendations: str = ""


@dataclass(frozen=True, slots=True)
class OverRead:
    """A request to read a signed report over, and the answer."""

    order_id: int
    version: int  # of the report: the one that was asked about, then the one that was read
    asked_by: str  # login
    asked_by_title: str
    asked_at: datetime  # UTC
    asked_of: str = ""  # login; empty: any doctor
    asked_of_title: str = ""
    question: str = ""
    outcome: OverReadOutcome | None = None
    said: OverReadText = OverReadText()
    reason: str = ""  # why it was declined or withdrawn
    ended_by: str = ""  # login: of who answered, declined or withdrew
    ended_by_title: str = ""
    ended_at: datetime | None = None  # UTC
    heeded_at: datetime | None = None  # UTC: when who asked has seen what became of it
    id: int | None = None

    @property
    def stored_id(self) -> int:
        """The id of an over-read that the store returned; raise ValueError for one that is not stored."""
        if self.id is None:
            raise ValueError("an over-read that is not stored has no id")
        return self.id

    @property
    def is_open(self) -> bool:
        """True while it waits for an answer."""
        return self.outcome is None

    @property
    def is_answered(self) -> bool:
        """True if a colleague has said something."""
        return self.outcome in (OverReadOutcome.AGREES, OverReadOutcome.DIFFERS)

    def hangs(self, now: datetime, within: timedelta) -> bool:
        """Return True if it has waited longer than it should; `now` is UTC."""
        return self.is_open and now - self.asked_at >= within
