"""Reports that are written here, and studies that other clinics have reported. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from broker.domain.orders import Order
from broker.domain.patients.people import NO_NAME, Patient, PersonName
from broker.domain.reading.opinions import Read


class ReportState(StrEnum):
    """A report may be changed until it is signed."""

    DRAFT = "draft"
    SIGNED = "signed"


class ReportDoubt(StrEnum):
    """Why a signed report may no longer be about the order's images; a doctor has to look."""

    IMAGES_REMOVED = "images_removed"
    IMAGES_FEWER = "images_fewer"  # in the archive
    IMAGES_ADDED = "images_added"


class ReportChange(StrEnum):
    """What a new version of a signed report is."""

    ADDITION = "addition"  # дополнение
    CORRECTION = "correction"  # исправление
    WITHDRAWAL = "withdrawal"  # отзыв: it says nothing any more


@dataclass(frozen=True, slots=True)
class Report:
    """A doctor's report on a study: протокол. `reading` is its number among several doctors' reports on one study.

    A signed report is never changed: what a doctor adds or corrects later is a new version of it.
    """

    order_id: int
    description: str = ""  # описание
    conclusion: str = ""  # заключение
    recommendations: str = ""
    effective_dose: float | None = None  # mSv
    state: ReportState = ReportState.DRAFT
    author: str = ""  # login
    author_name: PersonName = NO_NAME
    author_snils: str = ""  # 11 digits
    author_position: str = ""
    reading: int = 1
    saved_at: datetime | None = None  # UTC
    signed_at: datetime | None = None  # UTC
    revision: int = 0  # 0: was never saved
    version: int = 1
    change: ReportChange | None = None  # None: the first version
    reason: str = ""  # what was added or corrected, or why it was withdrawn
    form: str = ""  # further fields (`report_form`)
    id: int | None = None

    @property
    def is_withdrawn(self) -> bool:
        """Return True if a doctor has taken a signed report back."""
        return self.change is ReportChange.WITHDRAWAL

    @property
    def stored_id(self) -> int:
        """The id of a report that the store returned; raise ValueError for one that is not stored."""
        if self.id is None:
            raise ValueError("a report that is not stored has no id")
        return self.id


@dataclass(frozen=True, slots=True)
class SeenImages:
    """The images of an order, and whose they are, as a doctor was shown them."""

    patient: Patient
    steps: tuple[tuple[str, str, int], ...] = ()  # SOP Instance UID, state, images of each performed step
    archived: tuple[str, int | None] = ("", None)  # Study Instance UID and images that the archive holds
    revision: int = 0  # of the audit trail: the last line about the images; 0: there is none

    @property
    def count(self) -> int:
        """Return how many images there are, as far as the archive or the devices tell."""
        made = sum(images for _, _, images in self.steps)
        return self.archived[1] or made if self.archived[0] else made


@dataclass(frozen=True, slots=True)
class SignedReport:
    """A signed report with everything that its document states about the study."""

    order: Order
    report: Report
    images_made_at: datetime | None = None  # local; None: no modality has reported it
    devices: str = ""  # names and rooms, for people
    referring_clinic: str = ""  # its name, where another clinic has referred
    body_site: str = ""  # its name in the directory
    reads: tuple[Read, ...] = ()  # of which it was made, where there were several, the first one first


@dataclass(frozen=True, slots=True)
class ExternalStudy:
    """A study that another clinic has reported to the bus; every field but the reference may be unknown."""

    reference: str  # "DiagnosticReport/<id>"
    status: str = ""  # FHIR DiagnosticReport.status: partial, final, appended, …
    organisation: str = ""  # GUID
    studied_on: date | None = None
    modality: str = ""
    procedure_code: str = ""
    procedure_name: str = ""
    body_site: str = ""
    description: str = ""
    conclusion: str = ""
    recommendations: str = ""
    effective_dose: float | None = None  # mSv
    study_instance_uid: str = ""
    images_url: str = ""
    accession_number: str = ""
    doctor: str = ""
    documents: tuple[str, ...] = ()  # "Binary/<id>", in the order in which the report names them
    # A dose that is none in mSv for certain, as it was reported: shown, and computed with by nothing.
    unconverted_dose: float | None = None
    unconverted_unit: str = ""  # empty: it has none
