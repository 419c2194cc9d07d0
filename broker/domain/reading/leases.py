"""Leases: while somebody writes about a study, no other person does. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LeasePurpose(StrEnum):
    """What somebody writes; two people may write different things about one study."""

    REPORT = "report"  # its report, a read of it, a new version
    OVER_READ = "over_read"  # what a colleague says who reads a signed report over


@dataclass(frozen=True, slots=True)
class Lease:
    """Who writes about a study; it ends by itself some minutes after the last sign of them."""

    order_id: int
    purpose: LeasePurpose
    reader: str  # login
    reader_title: str
    since: datetime  # UTC
    until: datetime  # UTC
