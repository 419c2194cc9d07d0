"""Passthrough attributes: what an imported worklist item says beyond the model, and which change ends it. Pure.

`Order.attributes` is {"top": {...}, "step": {...}}: the item's attributes and those of its scheduled step, each keyed
by DICOM keyword (a private attribute by its tag) with a value in the DICOM JSON model (PS3.18 F.2). A worklist answers
them in place of what it would make of the model, also where they are empty. Whoever changes a field by hand means what
is typed: the attributes that say the same go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker.domain.orders import Order
from broker.domain.people import Patient

TOP, STEP = "top", "step"
# Field of a patient -> the attribute that says the same more exactly, or in the script's own way.
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
# Field of an order -> the attributes (level, keyword).
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
STATIONS = ((STEP, "ScheduledStationName"), (STEP, "ScheduledProcedureStepLocation"))  # those of another device


def of_patient(before: Patient, after: Patient) -> list[str]:
    """Return the keywords of a patient's attributes that a change puts an end to."""
    return [keyword for field, keyword in PATIENT.items() if _changed(before, after, field)]


def after_amendment(before: Order, after: Order) -> dict[str, Any]:
    """Return what is left of an order's passthrough attributes after somebody changed the order by hand."""
    over = [(TOP, keyword) for keyword in of_patient(before.patient, after.patient)]
    over += [place for field, places in ORDER.items() if _changed(before, after, field) for place in places]
    for old, new in zip(before.steps, after.steps, strict=False):
        over += START if old.start != new.start else ()
        over += STATIONS if old.station_ae_titles != new.station_ae_titles else ()
    return without(before.attributes, over)


def without(attributes: dict[str, Any], places: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return passthrough attributes without those at these places (level, keyword)."""
    gone = set(places)
    return {
        level: {keyword: value for keyword, value in stored.items() if (level, keyword) not in gone}
        for level, stored in attributes.items()
    }


def _changed(before: object, after: object, field: str) -> bool:
    return bool(getattr(before, field) != getattr(after, field))
