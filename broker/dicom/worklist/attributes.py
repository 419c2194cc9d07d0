"""The worklist's attributes as one table: what each answers, and how it is matched (PS3.4 K.6.1.2.2).

`query`, `matching` and `response` are driven by it. An attribute that is not here is not supported: it is not
matched, and returned only if an import brought it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import Enum

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from broker.dicom.codec import json_model
from broker.domain.orders import Priority
from broker.domain.patients import names
from broker.domain.patients.people import PersonName
from broker.domain.studies import passthrough
from broker.store.tables.worklist import WorklistItem


class Match(Enum):
    """How a key is compared."""

    NONE = "not matched"
    IGNORED = "not a key"  # a value in the query means something else, or nothing
    TEXT = "single value or wildcard"
    NAME = "person name"
    UID = "list of UID"
    DATE = "single date or range"
    WINDOW = "date and time together"
    STATION = "any of the item's stations, or a list of them"
    LIST = "single value or wildcard, or a list of them"
    NUMBER = "our accession number or the region's"
    PATIENT_ID = "the card's number, or that of a card merged into it"
    CODE = "code sequence"
    SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """What an answer depends on beside the item: who asks, for which station, in which clinic."""

    calling_ae_title: str
    asked_station: str = ""  # several, with backslashes between them, where a query has a list
    institution: str = ""
    station_names: dict[str, tuple[str, str]] | None = None  # AE title -> (name, room)
    zone: tzinfo | None = None
    asked_number: str = ""  # the accession number that it asked for
    others: frozenset[str] = frozenset()  # devices whose items are not for who asks
    bus_numbers: bool = False  # it gets the region's accession number where that is known
    # What imports brought: id of the step -> (its order's attributes, its own); filled on demand.
    imported: dict[int, tuple[Dataset, Dataset]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One supported attribute: its keyword, its value in an item, its matching and its return type.

    `shown` marks names and descriptions, which are shortened to what a device shows.
    """

    keyword: str
    value: Callable[[WorklistItem, AnswerContext], object]
    match: Match = Match.TEXT
    type: str = "2"
    length: int = 64  # characters that its VR holds
    shown: bool = False
    tag: BaseTag = field(init=False, compare=False)
    vr: str = field(init=False, compare=False)  # by the dictionary

    def __post_init__(self) -> None:
        """Look up the tag and the VR once: every answer needs them."""
        object.__setattr__(self, "tag", Tag(self.keyword))
        object.__setattr__(self, "vr", dictionary_VR(self.tag))


def imported(item: WorklistItem, context: AnswerContext, in_step: bool) -> Dataset:
    """Return what an import brought beyond the model, of the order or of its step: `domain.studies.passthrough`."""
    if not item.order.attributes:
        return _NONE
    if item.step.id not in context.imported:
        attributes = item.order.attributes | item.step.attributes
        context.imported[item.step.id] = (
            json_model.dataset(json_model.by_tag(attributes.get(passthrough.TOP, {}))),
            json_model.dataset(json_model.by_tag(attributes.get(passthrough.STEP, {}))),
        )
    return context.imported[item.step.id][in_step]


_NONE = Dataset()


def value_of(
    attribute: Attribute, item: WorklistItem, context: AnswerContext, in_step: bool
) -> tuple[str, ...] | list[Dataset]:
    """Return an attribute's value: texts, one for each of its values, or the items of a sequence.

    What an import brought takes the place of the model's value, also if it is empty, unless the attribute is type 1.
    """
    brought = imported(item, context, in_step).get(attribute.tag) if item.order.attributes else None
    if brought is None or (brought.is_empty and attribute.type == "1"):
        ours = attribute.value(item, context)
        if isinstance(ours, str):  # nearly all of them, with every item of every answer
            return (ours,) if ours else ()
        return ours if isinstance(ours, list | tuple) else () if ours is None else (str(ours),)
    if brought.VR == "SQ":
        return list(brought.value or [])
    if brought.is_empty:
        return ()
    return tuple(str(value) for value in (brought.value if brought.VM > 1 else [brought.value]))


def _nothing(item: WorklistItem, context: AnswerContext) -> object:
    return ""


def _no_items(item: WorklistItem, context: AnswerContext) -> object:
    return []


def stations_of(item: WorklistItem, context: AnswerContext) -> tuple[str, ...]:
    """Return all stations, the one that is asked for or asks first: some devices read no further."""
    titles = item.step.station_ae_titles
    if len(titles) == 1:
        return titles
    wanted = (*context.asked_station.split("\\"), context.calling_ae_title)
    first = [title for title in wanted if title in titles]
    return tuple(dict.fromkeys((*first, *titles))) or (context.calling_ae_title,)  # type 1: never empty


def _station_name(item: WorklistItem, context: AnswerContext) -> object:
    return (context.station_names or {}).get(stations_of(item, context)[0], ("", ""))[0]


def _room(item: WorklistItem, context: AnswerContext) -> object:
    return (context.station_names or {}).get(stations_of(item, context)[0], ("", ""))[1]


_FRACTION = re.compile(r"\.(\d{1,6})\s*$", re.ASCII)


def start_of(item: WorklistItem, context: AnswerContext) -> datetime:
    """Return when a step starts, with the fraction of a second that only an import may bring."""
    start = item.step.start
    brought = imported(item, context, in_step=True).get(_START_TIME) if item.order.attributes else None
    found = _FRACTION.search(str(brought.value)) if brought is not None else None
    return start.replace(microsecond=int(found[1].ljust(6, "0"))) if found else start


_START_TIME = Tag("ScheduledProcedureStepStartTime")


def _name(name: PersonName) -> str:
    return names.to_dicom(name)


def procedure_code(item: WorklistItem, context: AnswerContext) -> list[Dataset]:
    """Return the procedure's code; a designator that begins with 99 marks a private scheme (PS3.3 8.2)."""
    code = Dataset()
    code.CodeValue = item.order.procedure_code[:16]
    code.CodingSchemeDesignator = "99WLB" if item.order.procedure_local else "99NSI1471"
    code.CodeMeaning = item.order.procedure_name[:64]
    return [code]


def _priority(item: WorklistItem, context: AnswerContext) -> object:
    return "STAT" if item.order.priority is Priority.URGENT else "ROUTINE"


def _diagnosis(item: WorklistItem, context: AnswerContext) -> object:
    return item.order.diagnosis


def _born(item: WorklistItem, context: AnswerContext) -> object:
    born = item.order.patient.birth_date
    return f"{born:%Y%m%d}" if born else ""


def _size(item: WorklistItem, context: AnswerContext) -> object:
    height = item.order.patient.height  # cm; Patient's Size (0010,1020) is in metres
    return f"{height / 100:.2f}" if height else ""


def _weight(item: WorklistItem, context: AnswerContext) -> object:
    weight = item.order.patient.weight
    return f"{weight:g}" if weight else ""


def _offset(item: WorklistItem, context: AnswerContext) -> object:
    """Return the clinic's offset from UTC at the step's time, ±HHMM (0008,0201); it may change with the season."""
    offset = item.step.start.replace(tzinfo=context.zone).utcoffset() if context.zone else None
    if offset is None:
        return ""
    sign, minutes = "-" if offset < timedelta(0) else "+", abs(offset) // timedelta(minutes=1)
    return f"{sign}{minutes // 60:02d}{minutes % 60:02d}"


def _age(item: WorklistItem, context: AnswerContext) -> object:
    """Return Patient's Age at the step's time: months before the second birthday, then years (PS3.5 6.2, AS)."""
    born, day = item.order.patient.birth_date, item.step.start
    if born is None:
        return ""
    months = (day.year - born.year) * 12 + day.month - born.month - (day.day < born.day)
    if months < 0:
        return ""
    return f"{months:03d}M" if months < 24 else f"{months // 12:03d}Y"


def _number(item: WorklistItem, context: AnswerContext) -> object:
    """Return the accession number: the one that was asked for if the item has it, else the one configured."""
    if context.asked_number and context.asked_number in item.order.accession_numbers:
        return context.asked_number
    return item.order.device_number(bus=context.bus_numbers)


A, M = Attribute, Match
TOP = (
    A("TimezoneOffsetFromUTC", _offset, M.IGNORED, "3"),
    A("AccessionNumber", _number, M.NUMBER, length=16),
    A("InstitutionName", lambda i, c: c.institution, M.NONE, "3"),
    A("ReferringPhysicianName", lambda i, c: _name(i.order.referrer), M.NAME, shown=True),
    A("ReferencedStudySequence", _no_items, M.NONE),
    A("ReferencedPatientSequence", _no_items, M.NONE),
    A("PatientName", lambda i, c: _name(i.order.patient.name), M.NAME, "1", shown=True),
    A("PatientID", lambda i, c: i.order.patient.patient_id, M.PATIENT_ID, "1"),
    A("PatientBirthDate", _born, M.DATE),
    A("PatientSex", lambda i, c: str(i.order.patient.sex), length=16),
    A("PatientAge", _age, M.NONE, "3"),
    A("PatientSize", _size, M.NONE),
    A("PatientWeight", _weight, M.NONE),
    A("MedicalAlerts", _nothing, M.NONE),
    A("Allergies", lambda i, c: i.order.patient.allergies, M.NONE),
    A("PregnancyStatus", lambda i, c: None, M.NONE),
    A("StudyInstanceUID", lambda i, c: i.order.study_instance_uid, M.UID, "1"),
    A("RequestingPhysician", lambda i, c: _name(i.order.referrer), M.NAME, shown=True),
    A("RequestedProcedureDescription", lambda i, c: i.order.procedure_name, type="1C", shown=True),
    A("RequestedProcedureCodeSequence", procedure_code, M.CODE, "1C"),
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
    A("Modality", lambda i, c: i.order.modality, M.LIST, "1", 16),
    A("RequestedContrastAgent", _nothing, type="2C"),
    A("ScheduledStationAETitle", stations_of, M.STATION, "1", 16),
    A("ScheduledProcedureStepStartDate", lambda i, c: f"{i.step.start:%Y%m%d}", M.WINDOW, "1"),
    A("ScheduledProcedureStepStartTime", lambda i, c: f"{i.step.start:%H%M%S}", M.WINDOW, "1"),
    A("ScheduledPerformingPhysicianName", _nothing, M.NAME, shown=True),
    A("ScheduledProcedureStepDescription", lambda i, c: i.order.procedure_name, type="1C", shown=True),
    A("ScheduledProtocolCodeSequence", procedure_code, M.CODE, "1C"),
    A("ScheduledProcedureStepID", lambda i, c: i.step.sps_id, type="1", length=16),
    A("ScheduledStationName", _station_name, length=16),
    A("ScheduledProcedureStepLocation", _room, length=16),
    A("PreMedication", _nothing, type="2C"),
    A("ScheduledProcedureStepStatus", lambda i, c: str(i.step.state), type="3", length=16),
    A("CommentsOnTheScheduledProcedureStep", lambda i, c: i.order.comment, M.NONE, "3", 1024),
)
# What is matched within the code sequences (PS3.3 8.8); their values stand in the items themselves.
CODE = (
    A("CodeValue", _nothing, type="1", length=16),
    A("CodingSchemeDesignator", _nothing, type="1", length=16),
    A("CodingSchemeVersion", _nothing, M.NONE, "1C", 16),
    A("CodeMeaning", _nothing, M.NONE, "1"),
)
del A, M
