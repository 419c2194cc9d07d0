"""What a received report or document says, as words that can be read and taken over. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """How far a received report is finished, as it says itself."""

    FINAL = "final"  # completed and verified
    DRAFT = "draft"  # partial, or not verified
    UNKNOWN = "unknown"  # it does not say so


class ReportPart(StrEnum):
    """The fields of our report to which the sections of a received one belong."""

    DESCRIPTION = "description"
    CONCLUSION = "conclusion"
    RECOMMENDATIONS = "recommendations"


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of a received report; `level` is how deep it stands, 0 at the top."""

    text: str
    level: int = 0
    is_heading: bool = False
    part: ReportPart | None = None  # None: it is shown, and not taken over


@dataclass(frozen=True, slots=True)
class ReceivedText:
    """A received report as words."""

    title: str = ""
    standing: Standing = Standing.UNKNOWN
    authors: tuple[str, ...] = ()  # who verified it
    lines: tuple[TextLine, ...] = ()
    unread: int = 0  # items that could not be read
    is_cut: bool = False  # it is longer than what is shown
    predecessors: tuple[str, ...] = ()  # SOP Instance UIDs of the reports that it replaces or adds to

    def of_part(self, part: ReportPart) -> str:
        """Return the text that belongs to a field of our report."""
        return "\n".join(each.text for each in self.lines if each.part is part)


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A document that is handed on as it came."""

    content: bytes
    media_type: str  # application/pdf or application/xml


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """What can be shown of a received object: its text, its file, or both (CDA)."""

    text: ReceivedText
    file: ReceivedFile | None = None
