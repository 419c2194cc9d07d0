"""The worklist's attributes as one table: what each answers, and how it is matched (PS3.4 K.6.1.2.2).

`worklist.py` is driven by it; an attribute that is not here is not supported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pydicom.dataset import Dataset

from broker.domain import names
from broker.domain.model import PersonName, Priority
from broker.store.worklist import Item


class Match(Enum):
    """How a key is compared."""

    NONE = "not matched"
    TEXT = "single value or wildcard"
    NAME = "person name"
    UID = "list of UID"
    WINDOW = "date and time together"
    STATION = "any of the item's stations"
    SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer depends on beside the item: who asks, which station it asked for, whose clinic this is."""

    calling_ae_title: str
    asked_station: str = ""
    institution: str = ""
    station_names: dict[str, tuple[str, str]] | None = None  # AE title -> (name, room)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One supported attribute: its keyword, its value in an item, its matching and its return type."""

    keyword: str
    value: Callable[[Item, Context], object]
    match: Match = Match.TEXT
    type: str = "2"
    length: int = 64  # characters that its VR holds


def _nothing(item: Item, context: Context) -> object:
    return ""


def _no_items(item: Item, context: Context) -> object:
    return []


def station_of(item: Item, context: Context) -> str:
    """Choose the one station to name: a device that gets several values loses the whole answer."""
    titles = item.step.station_ae_titles
    for wanted in (context.asked_station, context.calling_ae_title):
        if wanted in titles:
            return wanted
    return titles[0] if titles else ""


def _station_name(item: Item, context: Context) -> object:
    return (context.station_names or {}).get(station_of(item, context), ("", ""))[0]


def _room(item: Item, context: Context) -> object:
    return (context.station_names or {}).get(station_of(item, context), ("", ""))[1]


def _name(name: PersonName) -> str:
    return names.to_dicom(name)


def procedure_code(item: Item, context: Context) -> list[Dataset]:
    """Write the procedure's code; a designator that begins with 99 marks a private scheme (PS3.3 8.2)."""
    code = Dataset()
    code.CodeValue = item.order.procedure_code[:16]
    code.CodingSchemeDesignator = "99WLB" if item.order.procedure_local else "99NSI1471"
    code.CodeMeaning = item.order.procedure_name[:64]
    return [code]


def _priority(item: Item, context: Context) -> object:
    return "STAT" if item.order.priority is Priority.URGENT else "ROUTINE"


def _diagnosis(item: Item, context: Context) -> object:
    return " ".join(part for part in (item.order.diagnosis_code, item.order.diagnosis_text) if part)


def _born(item: Item, context: Context) -> object:
    born = item.order.patient.birth_date
    return f"{born:%Y%m%d}" if born else ""


def _size(item: Item, context: Context) -> object:
    height = item.order.patient.height  # cm; Patient's Size (0010,1020) is in metres
    return f"{height / 100:.2f}" if height else ""


def _weight(item: Item, context: Context) -> object:
    weight = item.order.patient.weight
    return f"{weight:g}" if weight else ""


A, M = Attribute, Match
TOP = (
    A("AccessionNumber", lambda i, c: i.order.accession_number, length=16),
    A("InstitutionName", lambda i, c: c.institution, M.NONE, "3"),
    A("ReferringPhysicianName", lambda i, c: _name(i.order.referrer), M.NAME),
    A("ReferencedStudySequence", _no_items, M.NONE),
    A("ReferencedPatientSequence", _no_items, M.NONE),
    A("PatientName", lambda i, c: _name(i.order.patient.name), M.NAME, "1"),
    A("PatientID", lambda i, c: i.order.patient.patient_id, type="1"),
    A("PatientBirthDate", _born),
    A("PatientSex", lambda i, c: str(i.order.patient.sex), length=16),
    A("PatientSize", _size, M.NONE),
    A("PatientWeight", _weight, M.NONE),
    A("MedicalAlerts", _nothing, M.NONE),
    A("Allergies", lambda i, c: i.order.patient.allergies, M.NONE),
    A("PregnancyStatus", lambda i, c: None, M.NONE),
    A("StudyInstanceUID", lambda i, c: i.order.study_instance_uid, M.UID, "1"),
    A("RequestingPhysician", lambda i, c: _name(i.order.referrer), M.NAME),
    A("RequestedProcedureDescription", lambda i, c: i.order.procedure_name, type="1C"),
    A("RequestedProcedureCodeSequence", procedure_code, M.NONE, "1C"),
    A("AdmissionID", _nothing),
    A("SpecialNeeds", _nothing),
    A("CurrentPatientLocation", _nothing),
    A("PatientState", _nothing),
    A("RequestedProcedureID", lambda i, c: i.order.requested_procedure_id, type="1", length=16),
    A("ReasonForTheRequestedProcedure", _diagnosis, M.NONE, "3"),
    A("RequestedProcedurePriority", _priority, length=16),
    A("PatientTransportArrangements", _nothing),
    A("RequestedProcedureComments", lambda i, c: i.order.comment, M.NONE, "3", 1024),
    A("ConfidentialityConstraintOnPatientDataDescription", _nothing),
    A("ScheduledProcedureStepSequence", _nothing, M.SEQUENCE, "1"),
)
STEP = (
    A("Modality", lambda i, c: i.order.modality, type="1", length=16),
    A("RequestedContrastAgent", _nothing, type="2C"),
    A("ScheduledStationAETitle", station_of, M.STATION, "1", 16),
    A("ScheduledProcedureStepStartDate", lambda i, c: f"{i.step.start:%Y%m%d}", M.WINDOW, "1"),
    A("ScheduledProcedureStepStartTime", lambda i, c: f"{i.step.start:%H%M%S}", M.WINDOW, "1"),
    A("ScheduledPerformingPhysicianName", _nothing, M.NAME),
    A("ScheduledProcedureStepDescription", lambda i, c: i.order.procedure_name, type="1C"),
    A("ScheduledProtocolCodeSequence", procedure_code, M.NONE, "1C"),
    A("ScheduledProcedureStepID", lambda i, c: i.step.sps_id, type="1", length=16),
    A("ScheduledStationName", _station_name, length=16),
    A("ScheduledProcedureStepLocation", _room, length=16),
    A("PreMedication", _nothing, type="2C"),
    A("ScheduledProcedureStepStatus", lambda i, c: str(i.step.state), type="3", length=16),
    A("CommentsOnTheScheduledProcedureStep", lambda i, c: i.order.comment, M.NONE, "3", 1024),
)
del A, M
