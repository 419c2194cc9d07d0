"""What a performed procedure step must hold, as one table (PS3.4 Table F.7.2-1).

Data only: `domain.studies.step_rules` checks a message by it, and the conformance statement is written from it.
"""

from __future__ import annotations

from functools import cache

from pydicom.datadict import keyword_for_tag
from pydicom.tag import Tag

from broker.dicom.statuses import Status
from broker.domain.studies.step_rules import Attributes, ProblemKind, Rule, RuleTable

STATUSES = {
    ProblemKind.MISSING_ATTRIBUTE: Status.MISSING_ATTRIBUTE,
    ProblemKind.MISSING_VALUE: Status.MISSING_ATTRIBUTE_VALUE,
    ProblemKind.INVALID_VALUE: Status.INVALID_ATTRIBUTE_VALUE,
    ProblemKind.NO_SUCH_ATTRIBUTE: Status.NO_SUCH_ATTRIBUTE,
    ProblemKind.INVALID_UID: Status.INVALID_SOP_INSTANCE,
}


@cache  # of the keywords of this program: they are asked for a hundred times a message
def key(keyword: str) -> str:
    """Return an attribute's key in the DICOM JSON model."""
    return f"{Tag(keyword):08X}"


def keywords(attributes: Attributes) -> dict[str, str]:
    """Return the keywords of attributes by key, a tag for want of one; a group length is not an attribute."""
    tags = ((name, Tag(int(name, 16))) for name in attributes)
    return {name: keyword_for_tag(tag) or str(tag) for name, tag in tags if tag.element}


def _rule(
    keyword: str,
    create: str = "3",
    set: str | None = None,
    final: str = "3",
    items: tuple[Rule, ...] = (),
    unless: tuple[str, ...] = (),
) -> Rule:
    """Return a rule, its attributes given by keyword."""
    return Rule(keyword, key(keyword), create, set, final, items, tuple(key(other) for other in unless))


# Tables F.7.2-1b and F.7.2-1d to f: one of the three kinds of code, and its scheme unless it is a URN. In the codes of
# the procedure and the protocol even the meaning may be left out (F.7.2-1f).
_CODE_OPTIONAL_MEANING = (
    _rule("CodeValue", "1", "1", unless=("LongCodeValue", "URNCodeValue")),
    _rule("CodingSchemeDesignator", "1", "1", unless=("URNCodeValue",)),
)
_CODE = (*_CODE_OPTIONAL_MEANING, _rule("CodeMeaning", "1", "1"))
_REFERENCE = (_rule("ReferencedSOPClassUID", "1", "1"), _rule("ReferencedSOPInstanceUID", "1", "1"))
_SCHEDULED = (
    _rule("StudyInstanceUID", "1"),
    _rule("ReferencedStudySequence", "2", items=_REFERENCE),
    _rule("AccessionNumber", "2"),
    _rule("IssuerOfAccessionNumberSequence"),
    _rule("PlacerOrderNumberImagingServiceRequest"),
    _rule("OrderPlacerIdentifierSequence"),
    _rule("FillerOrderNumberImagingServiceRequest"),
    _rule("OrderFillerIdentifierSequence"),
    _rule("RequestedProcedureID", "2"),
    _rule("RequestedProcedureCodeSequence", items=_CODE),
    _rule("RequestedProcedureDescription", "2"),
    _rule("ScheduledProcedureStepID", "2"),
    _rule("ScheduledProcedureStepDescription", "2"),
    _rule("ScheduledProtocolCodeSequence", "2", items=_CODE),
)
_SERIES = (
    _rule("PerformingPhysicianName", "2", "2"),
    _rule("ProtocolName", "1", "1"),
    _rule("OperatorsName", "2", "2"),
    _rule("SeriesInstanceUID", "1", "1"),
    _rule("SeriesDescription", "2", "2"),
    _rule("RetrieveAETitle", "2", "2"),
    _rule("ReferencedImageSequence", "2", "2", items=_REFERENCE),
    _rule("ReferencedNonImageCompositeSOPInstanceSequence", "2", "2", items=_REFERENCE),
)
RULES = (
    # Performed Procedure Step Relationship
    _rule("ScheduledStepAttributesSequence", "1", items=_SCHEDULED),
    _rule("PatientName", "2"),
    _rule("PatientID", "2"),
    _rule("IssuerOfPatientID"),
    _rule("IssuerOfPatientIDQualifiersSequence"),
    _rule("OtherPatientIDsSequence"),
    _rule("PatientBirthDate", "2"),
    _rule("PatientSex", "2"),
    _rule("ReferencedPatientSequence", "2", items=_REFERENCE),
    _rule("AdmissionID"),
    _rule("IssuerOfAdmissionIDSequence"),
    _rule("ServiceEpisodeID"),
    _rule("IssuerOfServiceEpisodeIDSequence"),
    _rule("ServiceEpisodeDescription"),
    # Performed Procedure Step Information
    _rule("PerformedProcedureStepID", "1"),
    _rule("PerformedStationAETitle", "1"),
    _rule("PerformedStationName", "2"),
    _rule("PerformedLocation", "2"),
    _rule("PerformedProcedureStepStartDate", "1"),
    _rule("PerformedProcedureStepStartTime", "1"),
    _rule("PerformedProcedureStepStatus", "1", "3", "1"),
    _rule("PerformedProcedureStepDescription", "2", "3"),
    _rule("PerformedProcedureTypeDescription", "2", "3"),
    _rule("ProcedureCodeSequence", "2", "3", items=_CODE_OPTIONAL_MEANING),
    _rule("ReasonForPerformedProcedureCodeSequence", set="3", items=_CODE),
    _rule("PerformedProcedureStepEndDate", "2", "3", "1"),
    _rule("PerformedProcedureStepEndTime", "2", "3", "1"),
    _rule("CommentsOnThePerformedProcedureStep", set="3"),
    _rule("PerformedProcedureStepDiscontinuationReasonCodeSequence", set="3", items=_CODE),
    # Image Acquisition Results
    _rule("Modality", "1"),
    _rule("StudyID", "2"),
    _rule("PerformedProtocolCodeSequence", "2", "3", items=_CODE_OPTIONAL_MEANING),
    _rule("PerformedSeriesSequence", "2", "3", "1", items=_SERIES),
    # Radiation Dose Module (PS3.3 C.4.16, retired after 2017c): devices go on sending it.
    _rule("TotalTimeOfFluoroscopy", set="3"),
    _rule("TotalNumberOfExposures", set="3"),
    _rule("EntranceDose", set="3"),
    _rule("EntranceDoseInmGy", set="3"),
    _rule("ImageAndFluoroscopyAreaDoseProduct", set="3"),
    _rule("CommentsOnRadiationDose", set="3"),
    _rule("ExposureDoseSequence", set="3"),
)
TABLE = RuleTable(RULES)
