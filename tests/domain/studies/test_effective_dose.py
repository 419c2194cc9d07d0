"""An effective dose is calculated by the administrator's row that fits most exactly, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from broker.domain.studies import effective_dose
from broker.domain.studies.dose import DoseDoubt, DoseLimits, DoseValue, Quantity, StudyDose
from broker.domain.studies.effective_dose import FIXED, CalculatedDose, Circumstances, Coefficient, NotCalculated

DAP = StudyDose((DoseValue(Quantity.DAP, 10.0),))
ROW = Coefficient("1", Quantity.DAP, 0.2, "мкЗв/(сГр·см²)", "Физик")
STUDY = Circumstances(("XRAY_14",), "A06.09", "18", 40)


def calculate(*rows: Coefficient, measured: StudyDose = DAP, study: Circumstances = STUDY) -> CalculatedDose:
    found = effective_dose.calculate(rows, study, measured)
    assert isinstance(found, CalculatedDose)
    return found


def why(*rows: Coefficient, measured: StudyDose = DAP, study: Circumstances = STUDY) -> NotCalculated:
    found = effective_dose.calculate(rows, study, measured)
    assert isinstance(found, NotCalculated)
    return found


def test_a_dose_is_the_product_of_what_was_measured_and_the_coefficient() -> None:
    assert calculate(ROW) == CalculatedDose(0.002, "dap", 10.0, 0.2, "мкЗв/(сГр·см²)", "1", "Физик")
    dlp = StudyDose((DoseValue(Quantity.DLP, 500.0),))
    row = replace(ROW, quantity=Quantity.DLP, value=0.014, unit="мЗв/(мГр·см)")
    assert calculate(row, measured=dlp).millisieverts == pytest.approx(7.0)


def test_the_most_exact_row_wins() -> None:
    rows = (
        ROW,
        replace(ROW, code="2", site="18"),
        replace(ROW, code="3", procedure="A06.09"),
        replace(ROW, code="4", procedure="A06.09", age_from=18),
        replace(ROW, code="5", procedure="A06.09", age_from=18, age_to=60, device="XRAY_14"),
        replace(ROW, code="6", procedure="OTHER", device="XRAY_14", age_from=39, age_to=41),
    )
    assert calculate(*rows).row_code == "5"
    assert calculate(*rows[:3]).row_code == "3"
    assert calculate(*rows, study=replace(STUDY, age=10)).row_code == "3"
    assert calculate(*rows, study=replace(STUDY, age=None)).row_code == "3"


def test_two_rows_that_are_equally_exact_give_nothing() -> None:
    assert why(ROW, replace(ROW, code="2")) is NotCalculated.SEVERAL_ROWS
    device, procedure = replace(ROW, code="2", device="XRAY_14"), replace(ROW, code="3", procedure="A06.09")
    assert why(device, procedure) is NotCalculated.SEVERAL_ROWS


def test_a_row_of_the_view_or_the_voltage_wins_where_all_exposures_were_so() -> None:
    rows = (
        ROW,
        replace(ROW, code="2", view="PA  chest"),
        replace(ROW, code="3", view="pa chest", kv_from=100, kv_to=130),
    )
    assert calculate(*rows).row_code == "1"
    assert calculate(*rows, study=replace(STUDY, views=("PA Chest",))).row_code == "2"
    high = replace(DAP, views=frozenset({"PA chest"}), kilovolts=(109.0, 125.0))
    assert calculate(*rows, measured=high).row_code == "3"
    assert calculate(*rows, measured=replace(high, kilovolts=(70.0, 125.0))).row_code == "2"
    assert why(rows[2]) is NotCalculated.NO_ROW  # the voltage is not known
    assert why(replace(ROW, view="LL"), replace(ROW, kv_to=90), measured=replace(high)) is NotCalculated.NO_ROW


def test_a_view_and_a_voltage_that_both_fit_are_equally_exact() -> None:
    made = replace(DAP, views=frozenset({"PA"}), kilovolts=(109.0, 125.0))
    assert (
        why(replace(ROW, view="PA"), replace(ROW, code="2", kv_from=100), measured=made) is NotCalculated.SEVERAL_ROWS
    )


def test_a_row_counts_from_its_first_day_on_and_replaces_the_one_before_it() -> None:
    before, after = replace(ROW, valid_from=date(2026, 1, 1)), replace(ROW, code="2", valid_from=date(2026, 9, 1))
    assert calculate(before, after, study=replace(STUDY, on=date(2026, 8, 31))).row_code == "1"
    assert calculate(before, after, study=replace(STUDY, on=date(2026, 9, 1))).row_code == "2"
    assert why(before, after, study=replace(STUDY, on=date(2025, 12, 31))) is NotCalculated.NO_ROW
    other = replace(after, code="3", procedure="A06.09")
    assert calculate(before, other, study=replace(STUDY, on=date(2026, 9, 1))).row_code == "3"
    assert (
        why(before, replace(before, code="2"), study=replace(STUDY, on=date(2026, 9, 1))) is NotCalculated.SEVERAL_ROWS
    )


def test_without_a_row_there_is_no_value() -> None:
    assert why() is NotCalculated.NO_ROW
    assert why(replace(ROW, device="CT_1")) is NotCalculated.NO_ROW
    assert why(replace(ROW, quantity=Quantity.DLP, unit="мЗв/(мГр·см)")) is NotCalculated.NO_ROW


def test_a_value_for_the_procedure_counts_only_where_nothing_was_measured() -> None:
    fixed = replace(ROW, code="2", quantity=FIXED, value=0.03, unit="мЗв", procedure="A06.09")
    assert calculate(ROW, fixed).row_code == "1"
    assert calculate(ROW, fixed, measured=StudyDose()).millisieverts == 0.03


def test_a_dose_that_is_not_known_wholly_is_not_computed_with() -> None:
    doubtful = replace(DAP, doubts=frozenset({DoseDoubt.INCOMPLETE}))
    assert why(ROW, measured=doubtful) is NotCalculated.DOUBTFUL


def test_doses_of_two_breasts_are_not_added() -> None:
    both = StudyDose((DoseValue(Quantity.AGD, 1.3, "L"), DoseValue(Quantity.AGD, 1.28, "R")))
    row = replace(ROW, quantity=Quantity.AGD, unit="мЗв/мГр")
    assert why(row, measured=both) is NotCalculated.NO_ROW


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"quantity": "мАс"}, "the quantity is none of"),
        ({"coefficient": "много"}, "the coefficient is not a number"),
        ({"coefficient": "-1"}, "the coefficient is not a number"),
        ({"coefficient": "nan"}, "the coefficient is not a number"),
        ({"unit": "мЗв"}, "the unit is none of"),
        ({"age_from": "20", "age_to": "10"}, "the age is not"),
        ({"age_from": "месяц"}, "the age is not"),
        ({"kv_from": "120", "kv_to": "80"}, "the voltage is not"),
        ({"kv_to": "много"}, "the voltage is not"),
        ({"valid_from": "осень"}, "the first day of validity is not"),
    ],
)
def test_a_row_that_cannot_be_computed_with_is_refused(change: dict[str, str], problem: str) -> None:
    details = {"quantity": "ПДП", "coefficient": "0,15", "unit": "мкЗв/(сГр·см2)", "age_from": "18"}
    row = effective_dose.read_row("1", "Физик", details)
    assert (row.quantity, row.value, row.age_from, row.age_to) == (Quantity.DAP, 0.15, 18, effective_dose.OLDEST)
    more = {"view": "PA", "kv_from": "100", "kv_to": "125,5", "valid_from": "01.09.2026", "entered_by": "Орлов"}
    exact = effective_dose.read_row("1", "Физик", details | more)
    assert (exact.view, exact.kv_from, exact.kv_to, exact.valid_from) == ("PA", 100, 125.5, date(2026, 9, 1))
    assert exact.source == "Физик (Орлов)"
    with pytest.raises(ValueError, match=problem):
        effective_dose.read_row("1", "Физик", details | change)


@pytest.mark.parametrize(
    "change", [{"quantity": "процедура"}, {"highest": ""}, {"highest": "0"}, {"lowest": "9"}, {"lowest": "-1"}]
)
def test_limits_that_are_none_are_refused(change: dict[str, str]) -> None:
    details = {"modality": "dx", "quantity": "ПДП", "lowest": "0,5", "highest": "5"}
    assert effective_dose.read_limits(details) == DoseLimits("DX", Quantity.DAP, 0.5, 5.0)
    with pytest.raises(ValueError, match=r"the (quantity|limits)"):
        effective_dose.read_limits(details | change)
