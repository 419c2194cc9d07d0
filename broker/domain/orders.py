"""Orders, their scheduled steps, and the referrals that they are made of. Values only.

Dates and times of the clinic's work are local clinic time, naive; instants are aware datetimes in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from broker.domain.patients.people import NO_NAME, Patient, PersonName


class Priority(StrEnum):
    """FHIR ServiceRequest.priority; Requested Procedure Priority (0040,1003) has other values."""

    ROUTINE = "routine"
    URGENT = "urgent"


class StepState(StrEnum):
    """The state of one scheduled step, DICOM's Scheduled Procedure Step Status (0040,0020)."""

    SCHEDULED = "SCHEDULED"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"
    CANCELLED = "CANCELLED"
    REFERRED = "REFERRED"  # not a DICOM status: another clinic performs it, so it is on none of our worklists


@dataclass(frozen=True, slots=True)
class ScheduledStep:
    """An appointment of an order on one or more stations (PS3.3 C.4.10)."""

    start: datetime  # local clinic time, naive
    station_ae_titles: tuple[str, ...]
    sps_id: str = ""
    state: StepState = StepState.SCHEDULED
    # Passthrough attributes of this step in place of the order's, where an order has several of an import.
    attributes: dict[str, Any] = field(default_factory=dict, hash=False)
    id: int = field(kw_only=True)

    def starts_at(self, minute: datetime) -> bool:
        """Return True if `minute` is this start without seconds: DICOM's TM has seconds, the form has none."""
        return self.start.replace(second=0, microsecond=0) == minute.replace(second=0, microsecond=0)


class OrderState(StrEnum):
    """The state of an order; see `lifecycle.TRANSITIONS`."""

    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"
    CANCELLED = "cancelled"
    REFERRED = "referred"  # another clinic performs it


class BusRole(StrEnum):
    """The role of this clinic for an order on the bus."""

    NONE = ""  # nothing is reported to the region
    PLACER = "placer"  # this clinic orders it
    PERFORMER = "performer"  # another clinic ordered it from this one
    WALK_IN = "walk_in"  # performed without an order: only the result is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Referral:
    """The fields that a draft, an order and an incoming referral share: what a referring doctor states.

    A field that is added here is copied by `referral_fields` and stored under its name.
    """

    laterality: str = ""  # R, L, B or empty
    priority: Priority = Priority.ROUTINE
    finance: str = "1"  # N3.32: 1 ОМС, 2 бюджет, 3 платные, 4 ДМС, 5 собственные, 6 другое
    referrer: PersonName = NO_NAME
    referrer_snils: str = ""  # 11 digits
    referrer_position: str = ""
    diagnosis_code: str = ""  # ICD-10
    diagnosis_text: str = ""
    comment: str = ""

    @property
    def referring_doctor(self) -> str:
        """Return the doctor who refers, as people read it: «Зимин Андрей Павлович, терапевт»; empty if unknown."""
        return ", ".join(part for part in (str(self.referrer), self.referrer_position) if part)

    @property
    def diagnosis(self) -> str:
        """Return the code and the text of the diagnosis in one line; empty if there is neither."""
        return f"{self.diagnosis_code} {self.diagnosis_text}".strip()

    def referral_fields(self) -> dict[str, Any]:
        """Return these fields by name, to create one kind of referral from another."""
        return {each.name: getattr(self, each.name) for each in fields(Referral)}


@dataclass(frozen=True, slots=True)
class Order(Referral):
    """One requested procedure = one Study Instance UID, in one scheduled step or several.

    Several orders may belong to one Imaging Service Request (PS3.3 C.4.11): the first has its accession number, the
    others numbers of their own here, and the first one's as their `request_number`.
    """

    id: int
    accession_number: str  # of this order only: people, the region and our addresses know it by it
    study_instance_uid: str
    requested_procedure_id: str
    patient: Patient
    state: OrderState
    procedure_code: str
    procedure_name: str
    modality: str
    steps: tuple[ScheduledStep, ...]
    authored_on: datetime  # UTC
    procedure_local: bool = True
    body_site: str = ""
    created_by: str = ""
    bus_role: BusRole = BusRole.NONE
    requester: str | None = None  # GUID of the clinic that refers; None: this one
    owner: str | None = None  # GUID of the clinic that is to do it; None: this one
    bus_accession_number: str = ""  # ACSN, where it fits a modality (SH, 16 characters)
    request_number: str = ""  # accession number of the Imaging Service Request, where the order is not its first
    request_bus_number: str = ""  # the region's number of that first order; read with the order, never written
    # Passthrough attributes of an import, in the DICOM JSON model (PS3.18 F.2), see `domain.studies.passthrough`.
    attributes: dict[str, Any] = field(default_factory=dict, hash=False)
    revision: int = 1

    @property
    def shown_number(self) -> str:
        """Return the accession number that devices and labels bear: that of the Imaging Service Request."""
        return self.request_number or self.accession_number

    def device_number(self, *, bus: bool) -> str:
        """Return the accession number that devices get, one for all orders of a request.

        With `bus` the region's number of the request's first order, as soon as that is known.
        """
        regions = self.request_bus_number if self.request_number else self.bus_accession_number
        return (regions if bus else "") or self.shown_number

    @property
    def accession_numbers(self) -> tuple[str, ...]:
        """Return all accession numbers by which devices and the archive may know the order, each once."""
        numbers = self.request_number, self.accession_number, self.bus_accession_number, self.request_bus_number
        return tuple(dict.fromkeys(filter(None, numbers)))


@dataclass(frozen=True, slots=True)
class ReferralDraft(Referral):
    """A referral that a registrar, a script or the bus wants to register.

    `submission_id` identifies a repeated submission (double click, retry of a script); empty: the caller prevents
    repetitions itself.
    """

    patient: Patient
    procedure_code: str
    station_ae_titles: tuple[str, ...]
    start: datetime  # local clinic time, naive
    owner: str | None = None  # GUID of the clinic that is to perform it: without a device, and `start` is a wish
    submission_id: str = ""
    other_than: tuple[int, ...] | None = None  # patients who were shown, and are not meant; None: no person was asked


@dataclass(frozen=True, slots=True)
class ImportedItem:
    """A worklist item of a script's file; numbers that it leaves empty are generated.

    `patient.patient_id` may be empty, too. `attributes`: see `domain.studies.passthrough`.
    """

    patient: Patient
    start: datetime  # local clinic time, naive
    station_ae_titles: tuple[str, ...]
    modality: str
    procedure_name: str
    procedure_code: str = ""
    procedure_local: bool = True
    priority: Priority = Priority.ROUTINE
    referrer: PersonName = NO_NAME
    diagnosis_text: str = ""
    comment: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    requested_procedure_id: str = ""
    sps_id: str = ""
    attributes: dict[str, Any] = field(default_factory=dict, hash=False)
