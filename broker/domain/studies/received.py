"""Structured reports and documents that a modality has stored here. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ReceivedKind(StrEnum):
    """What a received object is."""

    DOSE = "dose"  # an X-Ray Radiation Dose SR, or another report with its content
    REPORT = "report"  # another structured report
    DOCUMENT = "document"  # an encapsulated PDF or CDA


class HeldReason(StrEnum):
    """Why a received object belongs to no order yet: a person has to look."""

    NO_ORDER = "no_order"
    SEVERAL_ORDERS = "several_orders"
    OTHER_PATIENT = "other_patient"


class Receipt(StrEnum):
    """What became of an object that was sent."""

    STORED = "stored"
    REPEATED = "repeated"  # the same object again: the modality did not get the first answer
    OTHER_CONTENT = "other_content"  # another object under a known SOP Instance UID


@dataclass(frozen=True, slots=True)
class ReceivedObject:
    """An object as it came: whose and of which study it says it is, and its dataset."""

    sop_instance_uid: str
    sop_class_uid: str
    kind: ReceivedKind
    ae_title: str  # that sent it
    title: str = ""
    study_instance_uid: str = ""
    accession_number: str = ""
    patient_name: str = ""  # PN; this and the next three as the device sent them
    patient_id: str = ""
    patient_birth_date: str = ""  # DA
    patient_sex: str = ""  # CS
    dataset: bytes = b""
    implicit: bool = False
    digest: str = ""
    problem: str = ""  # why its dose could not be read, in English


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that was received, without its dataset."""

    id: int
    received: ReceivedObject
    received_at: datetime  # UTC
    order_id: int | None = None
    held: HeldReason | None = None  # None: it belongs to its order


def match(by_study: Sequence[int], by_number: Sequence[int]) -> int | HeldReason:
    """Return the order that an object names, by Study Instance UID first, then by accession number; or why none.

    Of several orders of one study the accession number decides; nothing else is guessed.
    """
    named = list(by_study) or list(by_number)
    if len(named) > 1:
        named = [id for id in named if id in by_number] if by_study else []
        if len(named) != 1:
            return HeldReason.SEVERAL_ORDERS
    return named[0] if named else HeldReason.NO_ORDER
