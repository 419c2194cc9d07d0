"""What an imported worklist item says beyond the model, and which field of ours puts an end to it. Pure.

`Order.attributes` is {"top": {...}, "step": {...}}: the item's attributes and those of its scheduled step, each a
dictionary of the DICOM JSON model keyed by tag. A worklist answers them in the place of what it would make of the
model, also where they are empty. Whoever changes a field by hand means what is typed: what was kept for it goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker.domain.orders import Order

TOP, STEP = "top", "step"
# Field of a patient -> the attribute that says the same more exactly, or in the script's own way.
PATIENT = {
    "name": "00100010",  # Patient's Name: prefix, suffix, ideographic and phonetic groups
    "birth_date": "00100030",
    "sex": "00100040",
    "weight": "00101030",
    "height": "00101020",  # Patient's Size
    "allergies": "00102110",
    "pregnancy": "001021C0",
}
# Field of an order -> the attributes (level, tag).
ORDER = {
    "procedure_code": ((TOP, "00321064"), (STEP, "00400008")),
    "procedure_name": ((TOP, "00321060"), (STEP, "00400007"), (TOP, "00321064"), (STEP, "00400008")),
    "priority": ((TOP, "00401003"),),
    "referrer": ((TOP, "00080090"), (TOP, "00321032")),  # Referring Physician, Requesting Physician
    "diagnosis_code": ((TOP, "00401002"),),  # Reason for the Requested Procedure
    "diagnosis_text": ((TOP, "00401002"),),
    "comment": ((TOP, "00401400"), (STEP, "00400400")),
}
START = ((STEP, "00400002"), (STEP, "00400003"))
STATIONS = ((STEP, "00400010"), (STEP, "00400011"))  # Station Name, Step Location: those of another device


def after_amendment(before: Order, after: Order) -> dict[str, Any]:
    """Give what is still to be kept of an order after somebody changed it by hand."""
    over = [(TOP, tag) for field, tag in PATIENT.items() if _changed(before.patient, after.patient, field)]
    over += [place for field, places in ORDER.items() if _changed(before, after, field) for place in places]
    for old, new in zip(before.steps, after.steps, strict=False):
        over += START if old.start != new.start else ()
        over += STATIONS if old.station_ae_titles != new.station_ae_titles else ()
    return without(before.attributes, over)


def without(attributes: dict[str, Any], places: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Give what is kept without the attributes at these places (level, tag)."""
    gone = set(places)
    return {
        level: {tag: value for tag, value in kept.items() if (level, tag) not in gone}
        for level, kept in attributes.items()
    }


def _changed(before: object, after: object, field: str) -> bool:
    return bool(getattr(before, field) != getattr(after, field))
