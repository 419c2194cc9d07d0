"""Parses the attributes of MPPS messages into domain values; pure.

Input is the DICOM JSON model in which the message is stored, so that what is stored and what is shown of it cannot
differ. Unparsable values are left out and reported; nothing is guessed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from broker.dicom.codec import dates
from broker.dicom.mpps.rules import key
from broker.domain.studies.performed import (
    Dose,
    Message,
    PerformedChange,
    PerformedSeries,
    PerformedState,
    PerformedStep,
    StepReference,
)
from broker.domain.studies.step_rules import Attributes, count, values

log = logging.getLogger(__name__)

# PS3.3 C.4.16 (Radiation Dose Module, retired after 2017c) with CP-226, in the units that they give.
DOSES = {
    "TotalTimeOfFluoroscopy": "s",
    "TotalNumberOfExposures": "1",
    "EntranceDose": "dGy",
    "EntranceDoseInmGy": "mGy",
    "ImageAndFluoroscopyAreaDoseProduct": "dGy.cm2",
}
# The items of its Exposure Dose Sequence; the last two are what devices put there beside them (C.7.6.x, C.8.15.3.8).
EXPOSURE_DOSES = {
    "KVP": "kV",
    "XRayTubeCurrentInuA": "uA",
    "ExposureTime": "ms",
    "XRayTubeCurrent": "mA",
    "CTDIvol": "mGy",
}


def message(attributes: Attributes, address: str = "") -> Message:
    """Return a message as it came from an address, with a digest (SHA-256) by which a repetition is recognised."""
    written = json.dumps(attributes, sort_keys=True, ensure_ascii=False, allow_nan=False)
    digest = hashlib.sha256(written.encode(errors="surrogatepass")).hexdigest()
    status = text(attributes, "PerformedProcedureStepStatus")
    return Message(dict(attributes), digest, address, status, written=written)


def step(attributes: Attributes, uid: str, ae_title: str, doses: Mapping[str, tuple[Dose, ...]]) -> PerformedStep:
    """Return the step that an N-CREATE starts; `doses` are those that `doses` returned."""
    series = _series(attributes)
    return PerformedStep(
        sop_instance_uid=uid,
        ae_title=ae_title,
        state=PerformedState.IN_PROGRESS,
        start=_moment(attributes, "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
        station_ae_title=text(attributes, "PerformedStationAETitle"),
        performed_step_id=text(attributes, "PerformedProcedureStepID"),
        modality=text(attributes, "Modality"),
        patient_name=text(attributes, "PatientName"),
        patient_id=text(attributes, "PatientID"),
        patient_birth_date=text(attributes, "PatientBirthDate"),
        patient_sex=text(attributes, "PatientSex"),
        operator=_operator(attributes) or "",
        references=_references(attributes),
        images=_images(series) or 0,
        series=series or (),
        doses=tuple(dose for each in doses.values() for dose in each),
    )


def change(attributes: Attributes, doses: Mapping[str, tuple[Dose, ...]]) -> PerformedChange:
    """Return what an N-SET changes; its status must be one of PerformedState, or missing."""
    state = text(attributes, "PerformedProcedureStepStatus")
    series = _series(attributes)
    reason = next(iter(_items(attributes, "PerformedProcedureStepDiscontinuationReasonCodeSequence")), None)
    return PerformedChange(
        state=PerformedState(state) if state else None,
        end=_moment(attributes, "PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime"),
        operator=_operator(attributes),
        discontinuation_code=None if reason is None else _code(reason),
        discontinuation_meaning=None if reason is None else text(reason, "CodeMeaning"),
        images=_images(series),
        series=series,
        doses=doses,
    )


def text(attributes: Attributes, keyword: str) -> str:
    """Return an attribute as text; several values are joined by backslashes, as on the wire."""
    return "\\".join(_text(value) for value in values(attributes, key(keyword))).strip(" \0")


def doses(attributes: Attributes) -> tuple[dict[str, tuple[Dose, ...]], list[str]]:
    """Return the doses by keyword, of every dose attribute that is there, and keywords whose values are not a dose."""
    found: dict[str, tuple[Dose, ...]] = {}
    unreadable: list[str] = []
    for keyword, unit in DOSES.items():
        if key(keyword) in attributes:
            found[keyword] = tuple(_dose(attributes, keyword, unit, 0, unreadable))
    if key("ExposureDoseSequence") in attributes:
        items = _items(attributes, "ExposureDoseSequence")
        for keyword, unit in EXPOSURE_DOSES.items():
            found[keyword] = tuple(
                dose
                for position, item in enumerate(items, start=1)
                for dose in _dose(item, keyword, unit, position, unreadable)
            )
    return found, list(dict.fromkeys(unreadable))


def _dose(attributes: Attributes, keyword: str, unit: str, position: int, unreadable: list[str]) -> list[Dose]:
    raw = values(attributes, key(keyword))
    if not raw:
        return []
    try:
        number = float(raw[0])
    except (TypeError, ValueError):
        number = math.nan
    # NaN, the infinities and negative numbers are not a dose.
    if not math.isfinite(number) or number < 0:
        unreadable.append(keyword)
        return []
    return [Dose(keyword, number, unit, position)]


def _references(attributes: Attributes) -> tuple[StepReference, ...]:
    """Return what the scheduled steps are named by; where no item says anything, by the numbers outside of it.

    Devices that know no scheduled item, or leave it empty, write the numbers beside the patient's data.
    """
    found = tuple(_reference(item) for item in _items(attributes, "ScheduledStepAttributesSequence"))
    if any(each != _NOTHING_NAMED for each in found):
        return found
    outside = _reference(attributes)
    return found if outside == _NOTHING_NAMED else (outside,)


_NOTHING_NAMED = StepReference()


def _reference(item: Attributes) -> StepReference:
    studies = (text(each, "ReferencedSOPInstanceUID") for each in _items(item, "ReferencedStudySequence"))
    return StepReference(
        study_instance_uid=text(item, "StudyInstanceUID"),
        accession_number=text(item, "AccessionNumber"),
        requested_procedure_id=text(item, "RequestedProcedureID"),
        sps_id=text(item, "ScheduledProcedureStepID"),
        referenced_study_uids=tuple(uid for uid in studies if uid),
    )


def _series(attributes: Attributes) -> tuple[PerformedSeries, ...] | None:
    if key("PerformedSeriesSequence") not in attributes:
        return None
    return tuple(
        PerformedSeries(
            series_instance_uid=text(item, "SeriesInstanceUID") or f"#{position}",
            description=text(item, "SeriesDescription"),
            protocol=text(item, "ProtocolName"),
            operator=_names(item),
            images=count(item, key("ReferencedImageSequence")),
        )
        for position, item in enumerate(_items(attributes, "PerformedSeriesSequence"), start=1)
    )


def _images(series: tuple[PerformedSeries, ...] | None) -> int | None:
    return None if series is None else sum(each.images for each in series)


def _operator(attributes: Attributes) -> str | None:
    """Return the operators' names, or None; in an N-SET they are in the performed series."""
    parts = [_names(attributes), *(_names(item) for item in _items(attributes, "PerformedSeriesSequence"))]
    return ", ".join(dict.fromkeys(name for names in parts for name in names.split(", ") if name)) or None


def _names(attributes: Attributes) -> str:
    names = (_text(value).replace("^", " ").strip() for value in values(attributes, key("OperatorsName")))
    return ", ".join(name for name in names if name)


def _code(item: Attributes) -> str:
    """Return a code, prefixed with its scheme unless that is DICOM's own, so that none passes for another."""
    value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    scheme = text(item, "CodingSchemeDesignator")
    return value if scheme in ("", "DCM") or not value else f"{scheme}:{value}"


def _items(attributes: Attributes, keyword: str) -> list[Attributes]:
    return [item for item in values(attributes, key(keyword)) if isinstance(item, Mapping)]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):  # a person's name, by component groups
        return "=".join(str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return str(value).strip(" \0")


def _moment(attributes: Attributes, date_keyword: str, time_keyword: str) -> datetime | None:
    """Return a date and a time (local, to the second); None if they are missing or cannot be parsed."""
    day, hour = text(attributes, date_keyword), text(attributes, time_keyword)
    if not day:
        return None
    try:
        window = dates.window(day, hour)
    except dates.MalformedKey:
        log.warning("cannot parse %s and %s", date_keyword, time_keyword)
        return None
    return window.low.replace(microsecond=0) if window.low else None
