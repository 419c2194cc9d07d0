"""What a performed procedure step must hold, as one table (PS3.4 Table F.7.2-1), and how a message is judged by it.

Pure: attributes in, problems out. What becomes of a message with problems (refused by a strict device's policy, used as
far as possible otherwise) is `mpps.py`'s to decide. The conformance statement is written from the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag, Tag

from broker.dicom.statuses import Status


@dataclass(frozen=True, slots=True)
class Rule:
    """One attribute: its requirement types for the device at N-CREATE, at N-SET and when the step ends.

    "1" must have a value, "2" must be there, "3" may be. `set` is None where an N-SET may not touch it. `final` is
    what must be known once the step has ended. A conditional type counts as its number, `unless` one of the other
    attributes is there.
    """

    keyword: str
    create: str = "3"
    set: str | None = None
    final: str = "3"
    items: tuple[Rule, ...] = ()
    unless: tuple[str, ...] = ()


MOST_PROBLEMS = 50  # of one message; thousands of empty items have two or three each
R = Rule
# Tables F.7.2-1b and F.7.2-1d to f: one of the three kinds of code, and its scheme unless it is a URN. In the codes of
# the procedure and the protocol even the meaning may be left out (F.7.2-1f).
_CODE_OPTIONAL_MEANING = (
    R("CodeValue", "1", "1", unless=("LongCodeValue", "URNCodeValue")),
    R("CodingSchemeDesignator", "1", "1", unless=("URNCodeValue",)),
)
_CODE = (*_CODE_OPTIONAL_MEANING, R("CodeMeaning", "1", "1"))
_REFERENCE = (R("ReferencedSOPClassUID", "1", "1"), R("ReferencedSOPInstanceUID", "1", "1"))
_SCHEDULED = (
    R("StudyInstanceUID", "1"),
    R("ReferencedStudySequence", "2", items=_REFERENCE),
    R("AccessionNumber", "2"),
    R("IssuerOfAccessionNumberSequence"),
    R("PlacerOrderNumberImagingServiceRequest"),
    R("OrderPlacerIdentifierSequence"),
    R("FillerOrderNumberImagingServiceRequest"),
    R("OrderFillerIdentifierSequence"),
    R("RequestedProcedureID", "2"),
    R("RequestedProcedureCodeSequence", items=_CODE),
    R("RequestedProcedureDescription", "2"),
    R("ScheduledProcedureStepID", "2"),
    R("ScheduledProcedureStepDescription", "2"),
    R("ScheduledProtocolCodeSequence", "2", items=_CODE),
)
_SERIES = (
    R("PerformingPhysicianName", "2", "2"),
    R("ProtocolName", "1", "1"),
    R("OperatorsName", "2", "2"),
    R("SeriesInstanceUID", "1", "1"),
    R("SeriesDescription", "2", "2"),
    R("RetrieveAETitle", "2", "2"),
    R("ReferencedImageSequence", "2", "2", items=_REFERENCE),
    R("ReferencedNonImageCompositeSOPInstanceSequence", "2", "2", items=_REFERENCE),
)
RULES = (
    # Performed Procedure Step Relationship
    R("ScheduledStepAttributesSequence", "1", items=_SCHEDULED),
    R("PatientName", "2"),
    R("PatientID", "2"),
    R("IssuerOfPatientID"),
    R("IssuerOfPatientIDQualifiersSequence"),
    R("OtherPatientIDsSequence"),
    R("PatientBirthDate", "2"),
    R("PatientSex", "2"),
    R("ReferencedPatientSequence", "2", items=_REFERENCE),
    R("AdmissionID"),
    R("IssuerOfAdmissionIDSequence"),
    R("ServiceEpisodeID"),
    R("IssuerOfServiceEpisodeIDSequence"),
    R("ServiceEpisodeDescription"),
    # Performed Procedure Step Information
    R("PerformedProcedureStepID", "1"),
    R("PerformedStationAETitle", "1"),
    R("PerformedStationName", "2"),
    R("PerformedLocation", "2"),
    R("PerformedProcedureStepStartDate", "1"),
    R("PerformedProcedureStepStartTime", "1"),
    R("PerformedProcedureStepStatus", "1", "3", "1"),
    R("PerformedProcedureStepDescription", "2", "3"),
    R("PerformedProcedureTypeDescription", "2", "3"),
    R("ProcedureCodeSequence", "2", "3", items=_CODE_OPTIONAL_MEANING),
    R("ReasonForPerformedProcedureCodeSequence", set="3", items=_CODE),
    R("PerformedProcedureStepEndDate", "2", "3", "1"),
    R("PerformedProcedureStepEndTime", "2", "3", "1"),
    R("CommentsOnThePerformedProcedureStep", set="3"),
    R("PerformedProcedureStepDiscontinuationReasonCodeSequence", set="3", items=_CODE),
    # Image Acquisition Results
    R("Modality", "1"),
    R("StudyID", "2"),
    R("PerformedProtocolCodeSequence", "2", "3", items=_CODE_OPTIONAL_MEANING),
    R("PerformedSeriesSequence", "2", "3", "1", items=_SERIES),
    # Radiation Dose Module (PS3.3 C.4.16, retired after 2017c): devices go on sending it.
    R("TotalTimeOfFluoroscopy", set="3"),
    R("TotalNumberOfExposures", set="3"),
    R("EntranceDose", set="3"),
    R("EntranceDoseInmGy", set="3"),
    R("ImageAndFluoroscopyAreaDoseProduct", set="3"),
    R("CommentsOnRadiationDose", set="3"),
    R("ExposureDoseSequence", set="3"),
)
del R
NOT_SET = tuple(rule.keyword for rule in RULES if rule.set is None)

Attributes = Mapping[str, Any]
"""A dataset in the DICOM JSON model (PS3.18 F.2): eight hexadecimal digits -> {"vr": …, "Value": […]}."""


@dataclass(frozen=True, slots=True)
class Problem:
    """How a message breaks the table: the status that says so, the attribute, and words for people."""

    status: Status
    tag: BaseTag
    words: str


@cache  # of the keywords of this program: they are asked for a hundred times a message
def key(keyword: str) -> str:
    """Give an attribute's key in the DICOM JSON model."""
    return f"{Tag(keyword):08X}"


def values(attributes: Attributes, keyword: str) -> list[Any]:
    """Give an attribute's values without the empty ones; nothing where it is not there."""
    element = attributes.get(key(keyword))
    if not element:
        return []
    found = list(element.get("Value", [])) or [element[name] for name in _BULK if element.get(name)]
    return [value for value in found if value not in (None, "", {"Alphabetic": ""})]


_BULK = ("InlineBinary", "BulkDataURI")
_BY_KEY = {key(rule.keyword): rule for rule in RULES}


def creation_problems(said: Attributes) -> list[Problem]:
    """Judge what an N-CREATE brings: 0120 for what is missing, 0121 for what is empty (PS3.7 10.1.5.1.6)."""
    return list(islice(_created(said, RULES, "", Status.MISSING_ATTRIBUTE), MOST_PROBLEMS))


def change_problems(said: Attributes, known: Attributes) -> list[Problem]:
    """Judge what an N-SET touches of a step of which `known` is known.

    What it may not touch is 0106 with another value than the known one (PS3.7 10.1.3.1.9, Invalid Attribute Value);
    the same value does no harm. What was never created cannot be set (F.7.2.2.2): 0105. A sequence is always sent
    whole, so that its items are judged as at creation.
    """
    return list(islice(_touched(said, known), MOST_PROBLEMS))


def final_problems(known: Attributes) -> list[Problem]:
    """Judge a step that is to end with what is known of it then.

    What is not there and what is empty are both 0121: an N-SET knows no 0120 (PS3.7 10.1.3.1.9).
    """
    found = (_lacking(known, rule, rule.final, "", Status.MISSING_ATTRIBUTE_VALUE) for rule in RULES)
    return list(islice(chain.from_iterable(found), MOST_PROBLEMS))


def _touched(said: Attributes, known: Attributes) -> Iterator[Problem]:
    for name, element in said.items():
        tag = Tag(int(name, 16))
        rule = _BY_KEY.get(name)
        keyword = keyword_for_tag(tag) or str(tag)
        if tag.element == 0:  # a group length is no attribute
            continue
        if rule is not None and rule.set is None:
            if known.get(name) != element:
                yield Problem(Status.INVALID_ATTRIBUTE_VALUE, tag, f"{keyword} may not be changed")
        elif name not in known:
            yield Problem(Status.NO_SUCH_ATTRIBUTE, tag, f"{keyword} was not created")
        if rule is not None and rule.set is not None:
            yield from _items(said, rule, "", Status.MISSING_ATTRIBUTE_VALUE)


def _created(said: Attributes, rules: Iterable[Rule], where: str, missing: Status) -> Iterator[Problem]:
    for rule in rules:
        yield from _lacking(said, rule, rule.create, where, missing)
        yield from _items(said, rule, where, missing)


def _items(said: Attributes, rule: Rule, where: str, missing: Status) -> Iterator[Problem]:
    for item in values(said, rule.keyword) if rule.items else []:
        if isinstance(item, Mapping):
            yield from _created(item, rule.items, f"{where}{rule.keyword} > ", missing)


def _lacking(said: Attributes, rule: Rule, type: str, where: str, missing: Status) -> Iterator[Problem]:
    if type == "3" or any(key(other) in said for other in rule.unless):
        return
    if key(rule.keyword) not in said:
        yield Problem(missing, Tag(rule.keyword), f"{where}{rule.keyword} is missing")
    elif type == "1" and not values(said, rule.keyword):
        yield Problem(Status.MISSING_ATTRIBUTE_VALUE, Tag(rule.keyword), f"{where}{rule.keyword} is empty")
