"""Doses as dose reports state them (PS3.16 TID 10001, 10011), and one dose of a study of several reports. Pure.

A report states totals and irradiation events, each event with a UID. Devices send reports of one study that repeat
the earlier ones and go on (Siemens: 7.46, 77.27, 236.09 mGy·cm in all), and reports that go on without repeating;
only the events' UIDs tell which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Quantity(StrEnum):
    """What is measured, and in which unit it is here."""

    DAP = "dap"  # dose area product, cGy·cm²
    RP = "rp"  # dose at the reference point, mGy
    AGD = "agd"  # average glandular dose of a breast, mGy
    DLP = "dlp"  # dose length product, mGy·cm
    CTDI = "ctdi"  # CTDIvol of an event, mGy
    FLUORO_TIME = "fluoro_time"  # s
    EVENTS = "events"  # number of irradiation events, as stated


@dataclass(frozen=True, slots=True)
class Measured:
    """A value as a device states it."""

    quantity: Quantity
    value: float
    unit: str  # as it is written there
    part: str = ""  # R, L: a breast; A, B: a plane; empty: the whole


@dataclass(frozen=True, slots=True)
class IrradiationEvent:
    """One irradiation event (113706, 113819) with its UID (113769)."""

    uid: str
    values: tuple[Measured, ...] = ()
    views: tuple[str, ...] = ()  # what the device calls its view and its protocol: codes and names
    kilovolts: tuple[float, float] | None = None  # the lowest and the highest of its pulses


@dataclass(frozen=True, slots=True)
class DoseReport:
    """The content of one dose report."""

    totals: tuple[Measured, ...] = ()
    events: tuple[IrradiationEvent, ...] = ()

    @property
    def uids(self) -> frozenset[str]:
        """Return the UIDs of its events."""
        return frozenset(event.uid for event in self.events)


@dataclass(frozen=True, slots=True)
class DoseValue:
    """A value in the unit of its quantity."""

    quantity: Quantity
    value: float
    part: str = ""


class DoseDoubt(StrEnum):
    """Why a study's dose is not known, or not wholly."""

    UNKNOWN_UNIT = "unknown_unit"  # a value whose unit is not known is not computed with
    NOT_COMPARABLE = "not_comparable"  # several reports, and one has no events to compare it by
    INCOMPLETE = "incomplete"  # reports overlap, and an event states no value
    IMPLAUSIBLE = "implausible"  # a value is far outside of what the clinic expects of such devices


@dataclass(frozen=True, slots=True)
class StudyDose:
    """The dose of one study, of all of its reports."""

    values: tuple[DoseValue, ...] = ()
    unconverted: tuple[Measured, ...] = ()  # values of unknown units, as they came
    events: int = 0
    reports: int = 0  # how many of them count: others were repeated by a later one
    doubts: frozenset[DoseDoubt] = field(default_factory=frozenset)
    views: frozenset[str] = frozenset()  # names of a view or protocol that all of its events have
    kilovolts: tuple[float, float] | None = None  # the lowest and the highest; None where an event states none

    def of(self, quantity: Quantity) -> float | None:
        """Return a quantity of all planes or sides that may be added; None if it is not stated.

        Products of dose and area or length may be added; doses of two breasts, or at two reference points, may not.
        """
        found = [each for each in self.values if each.quantity is quantity]
        if not found or (quantity not in _ADDED and len(found) > 1):
            return None
        return sum(each.value for each in found)


@dataclass(frozen=True, slots=True)
class DoseLimits:
    """Between which values a quantity is plausible, in the unit of the quantity, as the clinic says."""

    modality: str
    quantity: Quantity
    lowest: float
    highest: float


def check(found: StudyDose, limits: Iterable[DoseLimits], modality: str) -> StudyDose:
    """Return a study's dose, doubtful if one of its values, or their sum, is outside of the limits of its modality.

    Nothing is left out or changed: a person has to look. A dose of 0 is none that can be too low.
    """
    for each in limits:
        if each.modality != modality:
            continue
        values = [value.value for value in found.values if value.quantity is each.quantity]
        total = found.of(each.quantity)
        values = values if total is None else [total]
        if any(value and not each.lowest <= value <= each.highest for value in values):
            return replace(found, doubts=found.doubts | {DoseDoubt.IMPLAUSIBLE})
    return found


_ADDED = frozenset({Quantity.DAP, Quantity.DLP, Quantity.FLUORO_TIME})
# Of these a sum over irradiation events, or over reports without common events, is meant.
_SUMMED = (Quantity.DAP, Quantity.RP, Quantity.AGD, Quantity.DLP, Quantity.FLUORO_TIME)

# The unit as devices write it, without case, dots, blanks and marks of powers -> factor to the quantity's unit here.
_DOSE = {"gy": 1000.0, "dgy": 100.0, "cgy": 10.0, "mgy": 1.0, "ugy": 0.001}
_AREA_PRODUCT = {
    "gym2": 1e6, "mgym2": 1e3, "ugym2": 1.0, "gycm2": 100.0, "dgycm2": 10.0, "cgycm2": 1.0, "mgycm2": 0.1,
    "ugycm2": 1e-4,
}  # fmt: skip
_LENGTH_PRODUCT = {"mgycm": 1.0, "gycm": 1000.0, "cgycm": 10.0, "mgym": 100.0, "ugycm": 0.001, "gym": 1e5}
_TIME = {"s": 1.0, "ms": 0.001, "min": 60.0}
_FACTORS: dict[Quantity, dict[str, float]] = {
    Quantity.DAP: _AREA_PRODUCT,
    Quantity.RP: _DOSE,
    Quantity.AGD: _DOSE,
    Quantity.DLP: _LENGTH_PRODUCT,
    Quantity.CTDI: _DOSE,
    Quantity.FLUORO_TIME: _TIME,
    Quantity.EVENTS: {"1": 1.0, "events": 1.0, "": 1.0},
}
_MARKS = re.compile(r"[\s.·*^(){}\[\]]")


def convert(measured: Measured) -> float | None:
    """Return a value in the unit of its quantity, by the unit that the device states; None where that is not known."""
    unit = _MARKS.sub("", measured.unit).casefold().replace("µ", "u").replace("μ", "u").replace("²", "2")
    factor = _FACTORS[measured.quantity].get(unit)
    return None if factor is None else measured.value * factor


def of_study(reports: Sequence[DoseReport]) -> StudyDose:
    """Return the dose of a study by its reports, the oldest first.

    A report whose events are among another's is repeated by it and does not count (of equal ones the later counts);
    reports without common events add up; of reports that overlap, every event counts once. Where a report has no
    events and there are others, they cannot be compared: nothing is computed.
    """
    if not reports:
        return StudyDose()
    kept = [
        report
        for place, report in enumerate(reports)
        if not report.uids
        or not any(
            report.uids < other.uids or (report.uids == other.uids and later > place)
            for later, other in enumerate(reports)
        )
    ]
    uids = frozenset[str]().union(*(report.uids for report in kept))
    doubts: set[DoseDoubt] = set()
    if len(kept) > 1 and any(not report.uids for report in kept):
        doubts.add(DoseDoubt.NOT_COMPARABLE)
        return StudyDose((), (), len(uids), len(kept), frozenset(doubts))
    measured: list[Measured] = []
    for group in _overlapping(kept):
        measured += _totals(group[0]) if len(group) == 1 else _united(group, doubts)
    values, unconverted = _summed(measured)
    if unconverted:
        doubts.add(DoseDoubt.UNKNOWN_UNIT)
    views, kilovolts = _circumstances([event for report in kept for event in report.events])
    return StudyDose(values, unconverted, len(uids), len(kept), frozenset(doubts), views, kilovolts)


def _circumstances(events: Sequence[IrradiationEvent]) -> tuple[frozenset[str], tuple[float, float] | None]:
    """Return the names of views that all events have, and the span of their voltages if all state one."""
    if not events:
        return frozenset(), None
    views = frozenset(events[0].views).intersection(*(each.views for each in events))
    spans = [each.kilovolts for each in events if each.kilovolts]
    if len(spans) < len(events):
        return views, None
    return views, (min(low for low, _ in spans), max(high for _, high in spans))


def _overlapping(reports: Iterable[DoseReport]) -> list[list[DoseReport]]:
    """Group reports so that those with common events are together."""
    groups: list[list[DoseReport]] = []
    for report in reports:
        joined = [group for group in groups if any(report.uids & other.uids for other in group)]
        groups = [group for group in groups if group not in joined]
        groups.append([*(each for group in joined for each in group), report])
    return groups


def _totals(report: DoseReport) -> list[Measured]:
    """Return what a report states in all; where it states no total of a quantity, the sum of its events."""
    found = [each for each in report.totals if each.quantity is not Quantity.EVENTS]
    stated = {each.quantity for each in found}
    for event in report.events:
        found += [each for each in event.values if each.quantity in _SUMMED and each.quantity not in stated]
    return found


def _united(reports: Sequence[DoseReport], doubts: set[DoseDoubt]) -> list[Measured]:
    """Return the values of all events of overlapping reports, each event once, by the latest report that has it."""
    events = {event.uid: event for report in reports for event in report.events}
    stated = {each.quantity for report in reports for each in report.totals if each.quantity in _SUMMED}
    found: list[Measured] = []
    for event in events.values():
        values = [each for each in event.values if each.quantity in _SUMMED]
        if stated - {each.quantity for each in values} - {Quantity.FLUORO_TIME}:
            doubts.add(DoseDoubt.INCOMPLETE)
        found += values
    return found


def _summed(measured: Iterable[Measured]) -> tuple[tuple[DoseValue, ...], tuple[Measured, ...]]:
    sums: dict[tuple[Quantity, str], float] = {}
    unconverted: list[Measured] = []
    for each in measured:
        value = convert(each)
        if value is None:
            unconverted.append(each)
        else:
            sums[each.quantity, each.part] = sums.get((each.quantity, each.part), 0.0) + value
    unknown = {each.quantity for each in unconverted}  # a sum without some of its parts would be too small
    values = tuple(
        DoseValue(quantity, float(f"{value:.10g}"), part)
        for (quantity, part), value in sorted(sums.items())
        if quantity not in unknown
    )
    return values, tuple(unconverted)
