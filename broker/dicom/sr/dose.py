"""Dose reports: TID 10001 (projection X-ray, mammography too) and TID 10011 (CT) of PS3.16, from a dataset to values.

Old GE scanners send the same content as Enhanced SR, and some devices name no template: the title decides, and the
code values of what is inside.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from broker.dicom.sr import content
from broker.domain.studies.dose import DoseReport, IrradiationEvent, Measured, Quantity

XRAY_DOSE_REPORT = "113701"  # the title of both templates
_ACCUMULATED = frozenset({"113702", "113811"})  # X-ray, CT
_EVENTS = frozenset({"113706", "113819"})  # X-ray, CT
_EVENT_UID = "113769"
_TOTALS = {
    "113722": Quantity.DAP,
    "113725": Quantity.RP,
    "111637": Quantity.AGD,
    "113813": Quantity.DLP,
    "113730": Quantity.FLUORO_TIME,
    "113812": Quantity.EVENTS,
}
_OF_EVENT = {
    "122130": Quantity.DAP,
    "113738": Quantity.RP,
    "111631": Quantity.AGD,
    "113838": Quantity.DLP,
    "113830": Quantity.CTDI,
}
_VIEW, _PROTOCOL, _VOLTAGE = "111031", "125203", "113733"
_PLANE, _LATERALITY = "113764", "G-C171"
# Codes of sides and planes, SNOMED RT and CT.
_PARTS = {
    "113620": "A",
    "113621": "B",
    "T-04020": "R",
    "T-04030": "L",
    "G-A100": "R",
    "G-A101": "L",
    "73056007": "R",
    "80248007": "L",
    "24028007": "R",
    "7771000": "L",
}


def is_dose_report(ds: Dataset) -> bool:
    """Return True if a structured report is a dose report."""
    return content.code(ds) == XRAY_DOSE_REPORT


def read(ds: Dataset) -> DoseReport:
    """Return the doses of a dose report; what is missing or is not a dose is left out."""
    totals: list[Measured] = []
    events: dict[str, IrradiationEvent] = {}
    for item in content.below(ds):
        concept = content.code(item)
        if concept in _ACCUMULATED:
            totals += _measured(item, _TOTALS)
        elif concept in _EVENTS:
            event = _event(item)
            if event is not None:
                events[event.uid] = event
    return DoseReport(tuple(totals), tuple(events.values()))


def _event(item: Dataset) -> IrradiationEvent | None:
    """Return an event; None where it has no UID: it could not be compared with those of other reports."""
    for each in content.children(item):
        if content.code(each) == _EVENT_UID and (uid := content.text(each, "UID")):
            return IrradiationEvent(uid, tuple(_measured(item, _OF_EVENT)), _views(item), _kilovolts(item))
    return None


def _views(event: Dataset) -> tuple[str, ...]:
    """Return what a device calls the view of an event, and its protocol, in every way in which it says so."""
    found = []
    for item in content.children(event):
        if content.code(item) == _VIEW:
            found += [content.code(item, "ConceptCodeSequence"), content.meaning(item, "ConceptCodeSequence")]
        elif content.code(item) == _PROTOCOL:
            found.append(content.text(item, "TextValue"))
    return tuple(dict.fromkeys(each for each in found if each))


def _kilovolts(event: Dataset) -> tuple[float, float] | None:
    """Return the lowest and the highest voltage of an event; None where none is stated in kV."""
    found = [content.number(each) for each in content.below(event) if content.code(each) == _VOLTAGE]
    values = [each[0] for each in found if each and each[1].casefold() == "kv" and each[0]]
    return (min(values), max(values)) if values else None


def _measured(container: Dataset, wanted: dict[str, Quantity]) -> Iterator[Measured]:
    plane = _modifier(container, _PLANE)
    side = _modifier(container, _LATERALITY)
    for item in content.below(container):
        quantity = wanted.get(content.code(item))
        found = content.number(item) if quantity else None
        if quantity and found:
            part = (_modifier(item, _LATERALITY) or side) if quantity is Quantity.AGD else plane
            yield Measured(quantity, found[0], found[1], part)


def _modifier(item: Dataset, concept: str) -> str:
    for each in content.children(item):
        if content.code(each) == concept:
            return _PARTS.get(content.code(each, "ConceptCodeSequence"), "")
    return ""
