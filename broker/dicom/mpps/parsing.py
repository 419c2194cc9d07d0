"""What a modality's performed step says, read out of its attributes; pure.

Everything goes through the DICOM JSON model in which the message is kept, so that what is stored and what is shown of
it cannot differ. What cannot be read is left out and named; nothing is guessed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from broker.dicom.mpps.rules import key, values
from broker.dicom.worklist import matching
from broker.domain.performed import (
    Dose,
    Message,
    PerformedChange,
    PerformedSeries,
    PerformedState,
    PerformedStep,
    StepReference,
)
from broker.domain.step_rules import Attributes

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
    """Keep a message as it came from an address, with a digest by which a retry is known."""
    written = json.dumps(attributes, sort_keys=True, ensure_ascii=False, allow_nan=False)
    digest = hashlib.sha256(written.encode(errors="surrogatepass")).hexdigest()
    status = text(attributes, "PerformedProcedureStepStatus")
    return Message(dict(attributes), digest, address, status, written=written)


def step(said: Attributes, uid: str, ae_title: str) -> PerformedStep:
    """Read what an N-CREATE says."""
    series = _series(said)
    return PerformedStep(
        sop_instance_uid=uid,
        ae_title=ae_title,
        state=PerformedState.IN_PROGRESS,
        start=_moment(said, "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
        station_ae_title=text(said, "PerformedStationAETitle"),
        performed_step_id=text(said, "PerformedProcedureStepID"),
        modality=text(said, "Modality"),
        patient_name=text(said, "PatientName"),
        patient_id=text(said, "PatientID"),
        patient_birth_date=text(said, "PatientBirthDate"),
        patient_sex=text(said, "PatientSex"),
        operator=_operator(said) or "",
        references=tuple(_reference(item) for item in _items(said, "ScheduledStepAttributesSequence")),
        images=_images(series) or 0,
        series=series or (),
        doses=tuple(dose for told in doses(said)[0].values() for dose in told),
    )


def change(said: Attributes) -> PerformedChange:
    """Read what an N-SET says; its status must be one of PerformedState, or nothing."""
    state = text(said, "PerformedProcedureStepStatus")
    series = _series(said)
    reason = next(iter(_items(said, "PerformedProcedureStepDiscontinuationReasonCodeSequence")), None)
    return PerformedChange(
        state=PerformedState(state) if state else None,
        end=_moment(said, "PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime"),
        operator=_operator(said),
        discontinuation_code=None if reason is None else _code(reason),
        discontinuation_meaning=None if reason is None else text(reason, "CodeMeaning"),
        images=_images(series),
        series=series,
        doses=doses(said)[0],
    )


def text(said: Attributes, keyword: str) -> str:
    """Read an attribute as text; several values are joined as on the wire."""
    return "\\".join(_text(value) for value in values(said, keyword)).strip(" \0")


def doses(said: Attributes) -> tuple[dict[str, tuple[Dose, ...]], list[str]]:
    """Read the dose: the numbers of every attribute that is there, and the attributes that hold something else."""
    told: dict[str, tuple[Dose, ...]] = {}
    wrong: list[str] = []
    for keyword, unit in DOSES.items():
        if key(keyword) in said:
            told[keyword] = tuple(_dose(said, keyword, unit, 0, wrong))
    if key("ExposureDoseSequence") in said:
        items = _items(said, "ExposureDoseSequence")
        for keyword, unit in EXPOSURE_DOSES.items():
            told[keyword] = tuple(
                dose
                for position, item in enumerate(items, start=1)
                for dose in _dose(item, keyword, unit, position, wrong)
            )
    return told, list(dict.fromkeys(wrong))


def _dose(said: Attributes, keyword: str, unit: str, position: int, wrong: list[str]) -> list[Dose]:
    found = values(said, keyword)
    if not found:
        return []
    try:
        number = float(found[0])
    except (TypeError, ValueError):
        number = math.nan
    # NaN, the infinities and what is below zero are no dose.
    if not math.isfinite(number) or number < 0:
        wrong.append(keyword)
        return []
    return [Dose(keyword, number, unit, position)]


def _reference(item: Attributes) -> StepReference:
    studies = (text(each, "ReferencedSOPInstanceUID") for each in _items(item, "ReferencedStudySequence"))
    return StepReference(
        study_instance_uid=text(item, "StudyInstanceUID"),
        accession_number=text(item, "AccessionNumber"),
        requested_procedure_id=text(item, "RequestedProcedureID"),
        sps_id=text(item, "ScheduledProcedureStepID"),
        referenced_study_uids=tuple(uid for uid in studies if uid),
    )


def _series(said: Attributes) -> tuple[PerformedSeries, ...] | None:
    if key("PerformedSeriesSequence") not in said:
        return None
    return tuple(
        PerformedSeries(
            series_instance_uid=text(item, "SeriesInstanceUID") or f"#{position}",
            description=text(item, "SeriesDescription"),
            protocol=text(item, "ProtocolName"),
            operator=_names(item),
            images=len(values(item, "ReferencedImageSequence")),
        )
        for position, item in enumerate(_items(said, "PerformedSeriesSequence"), start=1)
    )


def _images(series: tuple[PerformedSeries, ...] | None) -> int | None:
    return None if series is None else sum(each.images for each in series)


def _operator(said: Attributes) -> str | None:
    """Give the operators' names; in an N-SET they stand in the performed series."""
    told = [_names(said), *(_names(item) for item in _items(said, "PerformedSeriesSequence"))]
    return ", ".join(dict.fromkeys(name for names in told for name in names.split(", ") if name)) or None


def _names(said: Attributes) -> str:
    told = (_text(value).replace("^", " ").strip() for value in values(said, "OperatorsName"))
    return ", ".join(name for name in told if name)


def _code(item: Attributes) -> str:
    """Read a code; one of another scheme than DICOM's own bears its scheme's name, so that none passes for another."""
    value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    scheme = text(item, "CodingSchemeDesignator")
    return value if scheme in ("", "DCM") or not value else f"{scheme}:{value}"


def _items(said: Attributes, keyword: str) -> list[Attributes]:
    return [item for item in values(said, keyword) if isinstance(item, Mapping)]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):  # a person's name, by component groups
        return "=".join(str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return str(value).strip(" \0")


def _moment(said: Attributes, date_keyword: str, time_keyword: str) -> datetime | None:
    """Read a date and a time; None where they are not there or cannot be read."""
    day, hour = text(said, date_keyword), text(said, time_keyword)
    if not day:
        return None
    try:
        window = matching.window(day, hour)
    except matching.MalformedKey:
        log.warning("%s and %s cannot be read", date_keyword, time_keyword)
        return None
    return window.low.replace(microsecond=0) if window.low else None
