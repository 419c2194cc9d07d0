"""Performed procedure steps, as modalities report them (MPPS, PS3.3 C.4.13 to C.4.15). Values only.

Times of the clinic's work are local clinic time, naive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

# Why a step was discontinued (PS3.16 CID 9300, with CID 9301 for modalities, scheme DCM): the order that was begun is
# not the one whose patient lies there.
WRONG_ENTRY = "110514"
ANOTHER_DEVICE = "performed_by"  # what contradicts where a device has ended the step of another one, and may not


class PerformedState(StrEnum):
    """Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class StepSource(StrEnum):
    """Who reported that a step was performed."""

    MODALITY = "modality"
    MANUAL = "manual"  # a person, for a device that does not report
    ARCHIVE = "archive"  # the archive holds its images, and no device has reported them


@dataclass(frozen=True, slots=True)
class StepReference:
    """One item of the Scheduled Step Attributes Sequence (0040,0270): the order that a step belongs to."""

    study_instance_uid: str = ""
    accession_number: str = ""
    requested_procedure_id: str = ""
    sps_id: str = ""
    referenced_study_uids: tuple[str, ...] = ()  # PS3.4 F.7.2.1.2 Note 2: the grouped orders' own Study Instance UIDs


@dataclass(frozen=True, slots=True)
class PerformedSeries:
    """One series that a modality made (an item of the Performed Series Sequence)."""

    series_instance_uid: str
    description: str = ""
    protocol: str = ""
    operator: str = ""
    images: int = 0


@dataclass(frozen=True, slots=True)
class Dose:
    """A radiation dose that a modality reported, with its unit."""

    keyword: str  # of the attribute
    value: float
    unit: str  # UCUM's spelling where there is one; "1" for a count
    position: int = 0  # 0: the whole step; from 1 on: that item of the Exposure Dose Sequence


@dataclass(frozen=True, slots=True)
class PerformedStep:
    """A performed procedure step (PS3.3 C.4.13 to C.4.15)."""

    sop_instance_uid: str
    ae_title: str  # the calling AE title
    state: PerformedState
    start: datetime | None  # local clinic time, naive; None: the device sent no valid one
    station_ae_title: str = ""
    end: datetime | None = None
    performed_step_id: str = ""
    modality: str = ""
    patient_name: str = ""  # as the device sent it
    patient_id: str = ""  # as the device sent it
    patient_birth_date: str = ""  # DA, as the device sent it
    patient_sex: str = ""  # CS, as the device sent it
    operator: str = ""
    references: tuple[StepReference, ...] = ()  # as reported; read back by store.performed.references
    discontinuation_code: str = ""
    discontinuation_meaning: str = ""
    images: int = 0
    provisional: bool = False  # its end was not reported by the device that started it, which may still do so
    source: StepSource = StepSource.MODALITY
    series: tuple[PerformedSeries, ...] = ()  # as reported; read back by store.performed.series
    doses: tuple[Dose, ...] = ()  # as reported; read back by store.performed.doses
    id: int | None = None

    @property
    def stored_id(self) -> int:
        """The id of a performed step that the store returned; raise ValueError for one that is not stored."""
        if self.id is None:
            raise ValueError("a performed step that is not stored has no id")
        return self.id


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a modality: its attributes in the DICOM JSON model (PS3.18 F.2), and a digest of them."""

    attributes: dict[str, Any]
    digest: str
    address: str = ""  # IP address of the sender
    status: str = ""  # Performed Procedure Step Status (0040,0252), as the device sent it
    notes: tuple[tuple[str, str], ...] = ()  # tolerated mistakes, to be noted for the device: kinds and texts
    written: str = ""  # the attributes as JSON; empty: not serialised yet

    def json(self) -> str:
        """Return the attributes as a text."""
        return self.written or json.dumps(self.attributes, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class PerformedChange:
    """The content of an N-SET; None means no change."""

    state: PerformedState | None = None
    end: datetime | None = None
    operator: str | None = None
    discontinuation_code: str | None = None
    discontinuation_meaning: str | None = None
    images: int | None = None
    series: tuple[PerformedSeries, ...] | None = None  # a sequence is always sent as a whole
    doses: Mapping[str, tuple[Dose, ...]] | None = None  # by keyword; an empty tuple deletes the old ones


class MppsOutcome(StrEnum):
    """The outcome of a modality's message."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"  # the same message again: the modality did not get the first answer
    DUPLICATE = "duplicate"  # another N-CREATE with a known UID
    UNKNOWN = "unknown"  # N-SET of an unknown step
    FINAL = "final"  # N-SET of a step that has ended
    REFUSED = "refused"  # it breaks the rules, and the device's policy is strict
