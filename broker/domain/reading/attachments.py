"""Documents attached to a signed report: made and signed by a tool of the doctor's own, with detached signatures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AttachmentKind(StrEnum):
    """What an attached file is."""

    PDF = "pdf"
    XML = "xml"
    SIGNATURE = "signature"  # detached, of one of the others


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that a person has chosen."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attached file, without its content."""

    id: int
    order_id: int
    version: int  # of the report
    kind: AttachmentKind
    name: str
    size: int  # bytes
    digest: str  # SHA-256, hexadecimal
    attached_by: str  # login
    attached_by_title: str
    attached_at: datetime  # UTC
    signs: int | None = None  # of a signature: the id of the document that it signs
