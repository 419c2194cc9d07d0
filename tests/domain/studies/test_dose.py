"""One dose of a study, of several reports; values in the units that doctors use."""

from __future__ import annotations

import pytest

from broker.domain.studies import dose
from broker.domain.studies.dose import (
    DoseDoubt,
    DoseLimits,
    DoseReport,
    DoseValue,
    IrradiationEvent,
    Measured,
    Quantity,
    StudyDose,
)


def report(total: float, *uids: str, unit: str = "mGy.cm", each: float | None = None) -> DoseReport:
    values = () if each is None else (Measured(Quantity.DLP, each, unit),)
    return DoseReport((Measured(Quantity.DLP, total, unit),), tuple(IrradiationEvent(uid, values) for uid in uids))


@pytest.mark.parametrize(
    ("quantity", "value", "unit", "expected"),
    [
        (Quantity.DAP, 1.07e-5, "Gy.m2", 10.7),
        (Quantity.DAP, 1.07e-5, "Gym2", 10.7),
        (Quantity.DAP, 1.0, "dGy.cm2", 10.0),
        (Quantity.DAP, 1.0, "dGy·cm²", 10.0),
        (Quantity.DAP, 1.0, "uGy.m2", 1.0),
        (Quantity.DAP, 1.0, "mGy.cm2", 0.1),
        (Quantity.RP, 0.00014, "Gy", 0.14),
        (Quantity.AGD, 1.3, "mGy", 1.3),
        (Quantity.AGD, 0.013, "dGy", 1.3),
        (Quantity.DLP, 100.0, "mGycm", 100.0),
        (Quantity.FLUORO_TIME, 1.5, "min", 90.0),
        (Quantity.DAP, 1.0, "R.cm2", None),
        (Quantity.DAP, 1.0, "", None),
        (Quantity.DAP, 1.0, "Gy", None),
        (Quantity.DLP, 1.0, "Gy.m2", None),
    ],
)
def test_a_value_is_converted_by_the_unit_that_is_stated(
    quantity: Quantity, value: float, unit: str, expected: float | None
) -> None:
    found = dose.convert(Measured(quantity, value, unit))
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_value_of_an_unknown_unit_is_kept_and_not_computed_with() -> None:
    odd = Measured(Quantity.DLP, 3.0, "rad.cm")
    found = dose.of_study([DoseReport((odd,), (IrradiationEvent("1"),))])
    assert found.of(Quantity.DLP) is None
    assert found.unconverted == (odd,)
    assert found.doubts == {DoseDoubt.UNKNOWN_UNIT}


def test_a_sum_lacks_no_part_whose_unit_is_unknown() -> None:
    found = dose.of_study([report(5.0, "1"), report(7.0, "2", unit="rad.cm")])
    assert found.of(Quantity.DLP) is None


def test_equal_reports_count_once_and_the_later_one_counts() -> None:
    found = dose.of_study([report(5.0, "1", "2"), report(6.0, "1", "2")])
    assert (found.of(Quantity.DLP), found.reports, found.events) == (6.0, 1, 2)


def test_of_overlapping_reports_every_event_counts_once() -> None:
    found = dose.of_study([report(4.0, "1", "2", each=2.0), report(4.0, "2", "3", each=2.0)])
    assert (found.of(Quantity.DLP), found.events) == (6.0, 3)
    assert found.doubts == frozenset()


def test_an_overlap_with_an_event_without_a_value_says_so() -> None:
    found = dose.of_study([report(4.0, "1", "2"), report(4.0, "2", "3", each=2.0)])
    assert DoseDoubt.INCOMPLETE in found.doubts


def test_a_report_without_events_counts_alone_only() -> None:
    assert dose.of_study([report(4.0)]).of(Quantity.DLP) == 4.0
    found = dose.of_study([report(4.0), report(5.0, "1")])
    assert found.of(Quantity.DLP) is None
    assert found.doubts == {DoseDoubt.NOT_COMPARABLE}


def test_events_are_summed_where_a_report_states_no_total() -> None:
    values = (Measured(Quantity.DLP, 2.0, "mGy.cm"), Measured(Quantity.CTDI, 9.0, "mGy"))
    found = dose.of_study([DoseReport((), (IrradiationEvent("1", values), IrradiationEvent("2", values)))])
    assert found.of(Quantity.DLP) == 4.0


def test_no_report_is_no_dose() -> None:
    assert dose.of_study([]) == dose.StudyDose()


def test_a_dose_outside_of_its_modalitys_limits_is_doubtful_and_stays_as_it_is() -> None:
    limits = [DoseLimits("DX", Quantity.DAP, 0.1, 100.0), DoseLimits("CT", Quantity.DAP, 0.1, 1.0)]
    made = StudyDose((DoseValue(Quantity.DAP, 60.0, "A"), DoseValue(Quantity.DAP, 60.0, "B")))
    found = dose.check(made, limits, "DX")  # the planes together
    assert found.doubts == {DoseDoubt.IMPLAUSIBLE}
    assert found.values == made.values
    for value, doubts in ((0.0, 0), (0.05, 1), (0.1, 0), (100.0, 0)):
        assert len(dose.check(StudyDose((DoseValue(Quantity.DAP, value),)), limits, "DX").doubts) == doubts
    assert dose.check(made, limits, "MG") == made
