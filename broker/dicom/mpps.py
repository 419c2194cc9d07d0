"""The performed procedure step service: N-CREATE and N-SET in, a status out (PS3.4 Annex F).

Functions of (attribute list, SOP Instance UID, caller, store): no socket. Success is answered only after the commit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom import matching
from broker.dicom.statuses import MAY_NO_LONGER_BE_UPDATED, Status, status
from broker.dicom.worklist import Caller
from broker.domain import identifiers
from broker.domain.model import (
    Actor,
    ActorKind,
    Clinic,
    Message,
    MppsOutcome,
    PerformedChange,
    PerformedState,
    PerformedStep,
    StepReference,
)
from broker.store import devices
from broker.store.database import Store, StoreError
from broker.workflow import procedure

log = logging.getLogger(__name__)

# PS3.4 F.7.2.1.1, N-CREATE column, type 1.
CREATE_TYPE_1 = (
    "ScheduledStepAttributesSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepStatus",
    "Modality",
)
# PS3.4 F.7.2.1.1, N-SET column "not allowed": who, what was scheduled, where and when it began stay as created.
SET_NOT_ALLOWED = (
    "ScheduledStepAttributesSequence",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "ReferencedPatientSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedStationName",
    "PerformedLocation",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "Modality",
    "StudyID",
)
FINAL = (PerformedState.COMPLETED, PerformedState.DISCONTINUED)
_ANSWERS = {
    MppsOutcome.ACCEPTED: status(Status.SUCCESS),
    MppsOutcome.REPEATED: status(Status.SUCCESS),
    MppsOutcome.DUPLICATE: status(Status.DUPLICATE_SOP_INSTANCE),
    MppsOutcome.UNKNOWN: status(Status.NO_SUCH_SOP_INSTANCE),
    MppsOutcome.FINAL: status(
        Status.PROCESSING_FAILURE,
        "Performed Procedure Step Object may no longer be updated",
        error_id=MAY_NO_LONGER_BE_UPDATED,
    ),
}


def create(ds: Dataset, uid: str, caller: Caller, store: Store, clinic: Clinic) -> tuple[Dataset, str]:
    """Answer an N-CREATE: the status, and the SOP Instance UID (made here when the device sent none)."""
    uid = uid or identifiers.new_uid(clinic.uid_root, store.clock(), secrets.randbits(128))
    message, actor = _message(ds), _actor(caller, store)
    refusal = _missing(ds) or _wrong_status(ds, (PerformedState.IN_PROGRESS,))
    if refusal is not None:
        return _refuse(store, uid, "N-CREATE", refusal, message, actor), uid
    step = PerformedStep(
        sop_instance_uid=uid,
        ae_title=caller.ae_title,
        state=PerformedState.IN_PROGRESS,
        start=_moment(ds, "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
        station_ae_title=_text(ds, "PerformedStationAETitle"),
        performed_step_id=_text(ds, "PerformedProcedureStepID"),
        modality=_text(ds, "Modality"),
        patient_name=_text(ds, "PatientName"),
        patient_id=_text(ds, "PatientID"),
        operator=_operator(ds) or "",
        references=tuple(
            StepReference(
                study_instance_uid=_text(item, "StudyInstanceUID"),
                accession_number=_text(item, "AccessionNumber"),
                requested_procedure_id=_text(item, "RequestedProcedureID"),
                sps_id=_text(item, "ScheduledProcedureStepID"),
            )
            for item in ds.ScheduledStepAttributesSequence
        ),
    )
    try:
        outcome = procedure.start(store, step, message, actor, clinic)
    except StoreError as error:
        return _storage_refused(error), uid
    _heard(store, caller, f"N-CREATE {outcome}")
    log.info("N-CREATE of %s for %s: %s", caller.ae_title, uid, outcome)
    return _ANSWERS[outcome], uid


def change(ds: Dataset, uid: str, caller: Caller, store: Store, clinic: Clinic) -> Dataset:
    """Answer an N-SET: the status."""
    message, actor = _message(ds), _actor(caller, store)
    refusal = _wrong_status(ds, tuple(PerformedState)) if "PerformedProcedureStepStatus" in ds else None
    if refusal is not None:
        return _refuse(store, uid, "N-SET", refusal, message, actor)
    # Devices repeat what they may not change; it is left out of what is merged, the message itself is kept whole.
    for keyword in SET_NOT_ALLOWED:
        message.attributes.pop(f"{Tag(keyword):08X}", None)
    state = _text(ds, "PerformedProcedureStepStatus")
    changed = PerformedChange(
        state=PerformedState(state) if state else None,
        end=_moment(ds, "PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime"),
        operator=_operator(ds),
        images=_images(ds),
        **_reason(ds),
    )
    verb = procedure.finish if changed.state in FINAL else procedure.progress
    try:
        outcome = verb(store, uid, changed, message, actor, clinic)
    except StoreError as error:
        return _storage_refused(error)
    _heard(store, caller, f"N-SET {state or 'without a status'} {outcome}")
    log.info("N-SET of %s for %s, %s: %s", caller.ae_title, uid, state or "no status", outcome)
    return _ANSWERS[outcome]


# ---- checks ----


def _missing(ds: Dataset) -> Dataset | None:
    """Give the refusal for the first type 1 attribute that is not there (0120) or empty (0121)."""
    for keyword in CREATE_TYPE_1:
        if refusal := _missing_one(ds, keyword):
            return refusal
    for item in ds.ScheduledStepAttributesSequence:
        if refusal := _missing_one(item, "StudyInstanceUID"):
            return refusal
    return None


def _missing_one(ds: Dataset, keyword: str) -> Dataset | None:
    if keyword not in ds:
        return status(Status.MISSING_ATTRIBUTE, f"{keyword} is missing", Tag(keyword))
    if ds[keyword].is_empty:
        return status(Status.MISSING_ATTRIBUTE_VALUE, f"{keyword} is empty", Tag(keyword))
    return None


def _wrong_status(ds: Dataset, allowed: tuple[PerformedState, ...]) -> Dataset | None:
    if _text(ds, "PerformedProcedureStepStatus") in allowed:
        return None
    return status(
        Status.INVALID_ATTRIBUTE_VALUE,
        f"status must be {' or '.join(allowed)}",
        Tag("PerformedProcedureStepStatus"),
    )


def _refuse(store: Store, uid: str, operation: str, refusal: Dataset, message: Message, actor: Actor) -> Dataset:
    comment = str(refusal.ErrorComment)
    log.warning("%s of %s for %s refused: %s", operation, actor.name, uid, comment)
    try:
        procedure.refuse(store, uid, operation, comment, message, actor)
    except StoreError as error:
        return _storage_refused(error)
    return refusal


def _storage_refused(error: StoreError) -> Dataset:
    log.error("a performed procedure step could not be kept: %s", error)
    return status(Status.RESOURCE_LIMITATION, "the database refuses changes, try again later")


# ---- reading ----


def _message(ds: Dataset) -> Message:
    """Keep a message as it came, in the DICOM JSON model, with a digest by which a retry is known."""
    attributes: dict[str, Any] = ds.to_json_dict(suppress_invalid_tags=True)
    attributes.pop(f"{Tag('SpecificCharacterSet'):08X}", None)  # JSON is Unicode
    digest = hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()
    return Message(attributes, digest)


def _actor(caller: Caller, store: Store) -> Actor:
    with store.read() as reader:
        device = devices.get(reader, caller.ae_title)
    title = ", ".join(part for part in (device.name, device.room) if part) if device else ""
    return Actor(ActorKind.DEVICE, caller.ae_title, title)


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else str(value).strip(" \0")


def _moment(ds: Dataset, date_keyword: str, time_keyword: str) -> datetime | None:
    """Read a date and a time; None where they are not there or cannot be read."""
    day, hour = _text(ds, date_keyword), _text(ds, time_keyword)
    if not day:
        return None
    try:
        window = matching.window(day, hour)
    except matching.MalformedKey:
        log.warning("%s and %s cannot be read", date_keyword, time_keyword)
        return None
    return window.low.replace(microsecond=0) if window.low else None


def _operator(ds: Dataset) -> str | None:
    """Give the operators' names; in an N-SET they stand in the performed series."""
    operators = [_text(ds, "OperatorsName")]
    operators += [_text(series, "OperatorsName") for series in ds.get("PerformedSeriesSequence") or []]
    named = dict.fromkeys(name.replace("^", " ").strip() for name in operators if name)
    return ", ".join(named) or None


def _images(ds: Dataset) -> int | None:
    if "PerformedSeriesSequence" not in ds:
        return None
    return sum(len(series.get("ReferencedImageSequence") or []) for series in ds.PerformedSeriesSequence or [])


def _reason(ds: Dataset) -> dict[str, str]:
    """Give the discontinuation reason (CID 9300)."""
    reasons = ds.get("PerformedProcedureStepDiscontinuationReasonCodeSequence") or []
    if not reasons:
        return {}
    return {
        "discontinuation_code": _text(reasons[0], "CodeValue"),
        "discontinuation_meaning": _text(reasons[0], "CodeMeaning"),
    }


def _heard(store: Store, caller: Caller, summary: str) -> None:
    store.submit(lambda tx: devices.hear(tx, caller.ae_title, "mpps", caller.address, summary))
