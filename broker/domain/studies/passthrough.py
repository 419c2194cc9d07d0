"""Passthrough attributes: those of an imported worklist item that the model does not have. Pure.

`Order.attributes` is {"top": {...}, "step": {...}}: the item's attributes and those of its scheduled step, each keyed
by DICOM keyword (a private attribute by its tag) with a value in the DICOM JSON model (PS3.18 F.2). The worklist
returns them in place of attributes made from the model, also if they are empty. If a person changes a field, the
attributes with the same meaning are deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker.domain.orders import Order
from broker.domain.patients.people import Patient

TOP, STEP = "top", "step"
# Field of a patient -> attribute with the same meaning, which may say more.
PATIENT = {
    "name": "PatientName",  # prefix, suffix, ideographic and phonetic groups
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "weight": "PatientWeight",
    "height": "PatientSize",
    "allergies": "Allergies",
    "pregnancy": "PregnancyStatus",
}
_PROCEDURE_CODE = ((TOP, "RequestedProcedureCodeSequence"), (STEP, "ScheduledProtocolCodeSequence"))
# Field of an order -> attributes (level, keyword) with the same meaning.
ORDER = {
    "procedure_code": _PROCEDURE_CODE,
    "procedure_name": (
        (TOP, "RequestedProcedureDescription"),
        (STEP, "ScheduledProcedureStepDescription"),
        *_PROCEDURE_CODE,
    ),
    "priority": ((TOP, "RequestedProcedurePriority"),),
    "referrer": ((TOP, "ReferringPhysicianName"), (TOP, "RequestingPhysician")),
    "diagnosis_code": ((TOP, "ReasonForTheRequestedProcedure"),),
    "diagnosis_text": ((TOP, "ReasonForTheRequestedProcedure"),),
    "comment": ((TOP, "RequestedProcedureComments"), (STEP, "CommentsOnTheScheduledProcedureStep")),
}
START = ((STEP, "ScheduledProcedureStepStartDate"), (STEP, "ScheduledProcedureStepStartTime"))
STATIONS = ((STEP, "ScheduledStationName"), (STEP, "ScheduledProcedureStepLocation"))  # of the device


def modalities(order: Order) -> tuple[str, ...]:
    """Return the modalities of an order's steps, its own first: a further step of an import may have another one."""
    own = (step.attributes.get(STEP, {}).get("Modality", {}).get("Value") or [""] for step in order.steps)
    return tuple(dict.fromkeys(filter(None, (order.modality, *(str(values[0]) for values in own)))))


def outdated_by_patient(before: Patient, after: Patient) -> list[str]:
    """Return the keywords of attributes that a change of the patient makes outdated."""
    return [keyword for field, keyword in PATIENT.items() if _changed(before, after, field)]


def after_amendment(before: Order, after: Order) -> dict[str, Any]:
    """Return the passthrough attributes of an order that remain valid after a person has changed it."""
    outdated = [(TOP, keyword) for keyword in outdated_by_patient(before.patient, after.patient)]
    outdated += [
        location for field, locations in ORDER.items() if _changed(before, after, field) for location in locations
    ]
    for old, new in zip(before.steps, after.steps, strict=False):
        outdated += START if old.start != new.start else ()
        outdated += STATIONS if old.station_ae_titles != new.station_ae_titles else ()
    return without(before.attributes, outdated)


def without(attributes: dict[str, Any], locations: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return passthrough attributes without those at these locations (level, keyword)."""
    removed = set(locations)
    return {
        level: {keyword: value for keyword, value in stored.items() if (level, keyword) not in removed}
        for level, stored in attributes.items()
    }


def _changed(before: object, after: object, field: str) -> bool:
    return bool(getattr(before, field) != getattr(after, field))
