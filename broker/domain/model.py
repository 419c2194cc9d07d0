"""The nouns: who is examined, what was asked for, where it is planned, what was really done, and who does what.

Values only. Dates and times of the clinic's work are local clinic time; instants are aware datetimes in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from enum import StrEnum
from typing import Any


class Sex(StrEnum):
    """Patient's Sex (0010,0040)."""

    MALE = "M"
    FEMALE = "F"
    OTHER = "O"


class Priority(StrEnum):
    """How soon: ServiceRequest.priority; Requested Procedure Priority (0040,1003) has its own words."""

    ROUTINE = "routine"
    URGENT = "urgent"


class Role(StrEnum):
    """What a person does in the clinic."""

    REGISTRAR = "registrar"
    TECHNOLOGIST = "technologist"
    RADIOLOGIST = "radiologist"
    ADMINISTRATOR = "administrator"


class ActorKind(StrEnum):
    """Who stands behind a change."""

    PERSON = "person"
    DEVICE = "device"
    BUS = "bus"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change; written into the audit trail.

    `session` is the hash of a person's web session: a verb checks that it is still alive. An empty one means that no
    session stands behind the actor (command line, device, bus).
    """

    kind: ActorKind
    name: str  # login, AE title, or the name of a part of the program
    title: str = ""  # the name that people know: full name, device name
    roles: frozenset[Role] = frozenset()
    session: str = ""


@dataclass(frozen=True, slots=True)
class PersonName:
    """A person's name by component; DICOM's prefix and suffix are not used in Russian clinics."""

    family: str
    given: str = ""
    middle: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.family, self.given, self.middle) if part)


NOBODY = PersonName("")


@dataclass(frozen=True, slots=True)
class Patient:
    """A person who is examined here."""

    name: PersonName
    birth_date: date | None  # None: imported from a worklist that does not tell it; referrals need one
    sex: Sex
    patient_id: str = ""  # Patient ID (0010,0020): the clinic's own card number, given by the store when empty
    snils: str = ""  # 11 digits
    policy: str = ""  # ЕНП, 16 digits
    phone: str = ""
    weight: float | None = None  # kg
    height: float | None = None  # cm
    allergies: str = ""
    pregnancy: str = ""  # Pregnancy Status (0010,21C0) in words; empty when it was not asked
    id: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class ProcedureType:
    """A line of the clinic's directory of procedures. `local` codes are ours, not the official dictionary's."""

    code: str
    name: str
    modality: str
    minutes: int = 10
    local: bool = True
    body_site: str = ""


@dataclass(frozen=True, slots=True)
class Station:
    """A device as an order names it."""

    ae_title: str
    name: str = ""
    room: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A modality in the registry."""

    ae_title: str
    name: str
    modality: str
    room: str = ""
    address: str = ""  # empty: any address may use this AE title
    charset: str = "auto"  # auto | ISO_IR 192 | ISO_IR 144 | latin
    adopted: bool = True  # False: heard of, not yet accepted by an administrator
    fallback_charset: str = "ISO_IR 144"  # what 8-bit letters mean in a query that names no character set
    longest: int = 64  # characters that the device shows of a name or description
    own_only: bool = True  # without a station in its query it sees its own items only
    days_before: int = 1  # items that are older are hidden from it, not from people
    days_after: int = 30  # how far ahead it sees when its query gives no date
    closed_hours: int = 0  # completed items stay on its list for so long
    strict_mpps: bool = False  # refuse messages that break the standard instead of taking what can be used
    mpps_hours: int = 12  # a step that runs longer is closed: the device has died


class StepState(StrEnum):
    """The state of one scheduled step, DICOM's Scheduled Procedure Step Status (0040,0020)."""

    SCHEDULED = "SCHEDULED"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"
    CANCELLED = "CANCELLED"
    REFERRED = "REFERRED"  # not DICOM's: another clinic does it, so it stands on no worklist of ours


@dataclass(frozen=True, slots=True)
class ScheduledStep:
    """An appointment of an order on one or more stations (PS3.3 C.4.10)."""

    start: datetime  # local clinic time, naive
    station_ae_titles: tuple[str, ...]
    sps_id: str = ""
    state: StepState = StepState.SCHEDULED
    id: int = 0

    def starts_at(self, minute: datetime) -> bool:
        """Return True if `minute` is this start as people see and type it: DICOM's TM has seconds, a form has none."""
        return self.start.replace(second=0, microsecond=0) == minute.replace(second=0, microsecond=0)


class OrderState(StrEnum):
    """The life of an order; `lifecycle.TRANSITIONS` says what may follow."""

    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"
    CANCELLED = "cancelled"
    REFERRED = "referred"  # another clinic is to do it


class BusRole(StrEnum):
    """What this clinic is to the region for an order."""

    NONE = ""  # the region is told nothing
    PLACER = "placer"  # we order it
    PERFORMER = "performer"  # another clinic ordered it from us
    WALK_IN = "walk_in"  # it was done without an order: only the result is told


@dataclass(frozen=True, slots=True)
class Order:
    """One requested procedure = one accession number = one Study Instance UID."""

    id: int
    accession_number: str
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
    laterality: str = ""  # R, L, B or empty
    priority: Priority = Priority.ROUTINE
    finance: str = "1"  # N3.32: 1 ОМС, 2 бюджет, 3 платные, 4 ДМС, 5 собственные, 6 другое
    referrer: PersonName = NOBODY
    referrer_snils: str = ""
    referrer_position: str = ""
    diagnosis_code: str = ""
    diagnosis_text: str = ""
    comment: str = ""
    created_by: str = ""
    bus_role: BusRole = BusRole.NONE
    requester: str = ""  # GUID of the clinic that refers; empty: this one
    owner: str = ""  # GUID of the clinic that is to do it; empty: this one
    bus_accession_number: str = ""  # ACSN, where it fits a modality (SH, 16 characters)
    # What an import brought beyond this model, in the DICOM JSON model (PS3.18 F.2); answered when asked for.
    attributes: dict[str, Any] = field(default_factory=dict, hash=False)
    revision: int = 1


@dataclass(frozen=True, slots=True)
class ReferralDraft:
    """What a registrar, a script or the bus asks to be registered.

    `submission_id` makes a repeated submission (double click, Enter twice, a script's retry) one referral; empty
    means that the caller takes care of it itself.
    """

    patient: Patient
    procedure_code: str
    station_ae_titles: tuple[str, ...]
    start: datetime  # local clinic time, naive
    laterality: str = ""
    priority: Priority = Priority.ROUTINE
    finance: str = "1"
    referrer: PersonName = NOBODY
    referrer_snils: str = ""
    referrer_position: str = ""
    diagnosis_code: str = ""
    diagnosis_text: str = ""
    comment: str = ""
    owner: str = ""  # GUID of another clinic that is to do it: no device then, and `start` is a wish
    submission_id: str = ""


@dataclass(frozen=True, slots=True)
class ImportedItem:
    """A worklist item as a script of the clinic has written it into a file; what it leaves empty is made here.

    `patient.patient_id` may be empty, too. `attributes` is what it says beyond the model, see `domain.kept`.
    """

    patient: Patient
    start: datetime  # local clinic time, naive
    station_ae_titles: tuple[str, ...]
    modality: str
    procedure_name: str
    procedure_code: str = ""
    procedure_local: bool = True
    priority: Priority = Priority.ROUTINE
    referrer: PersonName = NOBODY
    diagnosis_text: str = ""
    comment: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    requested_procedure_id: str = ""
    sps_id: str = ""
    attributes: dict[str, Any] = field(default_factory=dict, hash=False)


class PerformedState(StrEnum):
    """Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


@dataclass(frozen=True, slots=True)
class StepReference:
    """What one item of the Scheduled Step Attributes Sequence says about the order that it belongs to."""

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
    """A number of the radiation dose that a modality told, with its unit."""

    keyword: str  # of the attribute
    value: float
    unit: str  # UCUM's spelling where there is one; "1" for a count
    position: int = 0  # 0: the whole step; from 1 on: that item of the Exposure Dose Sequence


@dataclass(frozen=True, slots=True)
class PerformedStep:
    """What a modality says that it does or did (PS3.3 C.4.13 to C.4.15)."""

    sop_instance_uid: str
    ae_title: str  # the calling AE title
    state: PerformedState
    start: datetime | None  # local clinic time, naive; None where the device sent none that can be read
    station_ae_title: str = ""
    end: datetime | None = None
    performed_step_id: str = ""
    modality: str = ""
    patient_name: str = ""  # as the device sent it
    patient_id: str = ""
    operator: str = ""
    references: tuple[StepReference, ...] = ()
    discontinuation_code: str = ""
    discontinuation_meaning: str = ""
    images: int = 0
    given_up: bool = False  # not ended by the device that began it, which may still have its say
    by_hand: bool = False  # no device told of it: written down by a person, or because
    in_archive: bool = False  # … the archive has its images
    series: tuple[PerformedSeries, ...] = ()  # as told; read back by store.performed.series
    doses: tuple[Dose, ...] = ()  # as told; read back by store.performed.doses
    id: int = 0


class OutboxKind(StrEnum):
    """What an outbox row tells the region."""

    ORDER = "order"
    AMEND = "amend"
    CANCEL = "cancel"
    STARTED = "started"
    IMAGES = "images"
    REPORT = "report"


class OutboxState(StrEnum):
    """Where an outbox row stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    PARKED = "parked"
    DROPPED = "dropped"  # cancelled before the bus had it: nobody there needs to know
    UNTOLD = "untold"  # this bus has no way to be told


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One message to the region, rendered from present data when it is sent."""

    seq: int
    order_id: int
    kind: OutboxKind
    state: OutboxState
    created_at: datetime
    attempts: int = 0
    uncertain: bool = False  # the outcome of the last POST is unknown: look it up before sending again
    reason: str = ""
    delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BusReferences:
    """The ids that the bus gave to an order's resources; empty until it accepted them."""

    task: str = ""
    service_request: str = ""
    patient: str = ""
    acsn: str = ""
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clinic:
    """The rules of the house that verbs need, taken from the configuration by the composition root."""

    zone: tzinfo
    uid_root: str = ""
    accession_prefix: str = ""
    tells_bus: bool = False  # without a bus nothing is queued for it
    bus_numbers: bool = False  # modalities get the region's accession number where it is known
    tells_start: bool = False  # … and of a study's beginning only where the region wants that


@dataclass(frozen=True, slots=True)
class Message:
    """What a modality sent, as it came: attributes in the DICOM JSON model (PS3.18 F.2), and a digest of them."""

    attributes: dict[str, Any]
    digest: str
    address: str = ""  # that it came from
    notes: tuple[tuple[str, str], ...] = ()  # what was overlooked in it, to be told of its device: kinds and texts
    written: str = ""  # the attributes as a text, where that is at hand

    def json(self) -> str:
        """Give the attributes as a text."""
        return self.written or json.dumps(self.attributes, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class PerformedChange:
    """What an N-SET says; None leaves what is known as it is."""

    state: PerformedState | None = None
    end: datetime | None = None
    operator: str | None = None
    discontinuation_code: str | None = None
    discontinuation_meaning: str | None = None
    images: int | None = None
    series: tuple[PerformedSeries, ...] | None = None  # all of them: a sequence is always sent whole
    doses: Mapping[str, tuple[Dose, ...]] | None = None  # by keyword; an empty tuple takes the old numbers away


class MppsOutcome(StrEnum):
    """What became of a modality's message."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"  # the same message again: the modality did not get our first answer
    DUPLICATE = "duplicate"  # another message under a UID that is taken
    UNKNOWN = "unknown"  # a change of something that was never begun here
    FINAL = "final"  # a change of something that has ended
    REFUSED = "refused"  # it breaks the rules, and its device is held to them
