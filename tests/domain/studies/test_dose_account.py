"""The account of a year: studies by row, kind, body site and age, and how their doses are known."""

from __future__ import annotations

from broker.domain.studies.dose_account import AccountedStudy, AccountRow, AgeGroup, DoseOrigin, account


def test_studies_are_counted_by_kind_site_and_age_and_known_doses_summed() -> None:
    chest = AccountedStudy("DX", "4", 40, DoseOrigin.CALCULATED, 0.02, "12")
    found = account(
        [
            chest,
            AccountedStudy("DX", "4", 18, DoseOrigin.TYPED, 0.04, "12"),
            AccountedStudy("DX", "4", 60, DoseOrigin.NONE, None, "12"),
            AccountedStudy("DX", "4", 17, DoseOrigin.TYPICAL, 0.05, "12"),
            AccountedStudy("CT", "4", None, DoseOrigin.NONE, None),
            AccountedStudy("US", "4", 40, DoseOrigin.NONE, None),  # no ionising radiation
        ]
    )
    assert found == [
        AccountRow("", "CT", "4", AgeGroup.UNKNOWN, 0, 0, 0, 1, 0.0),
        AccountRow("12", "DX", "4", AgeGroup.CHILD, 0, 0, 1, 0, 0.05),
        AccountRow("12", "DX", "4", AgeGroup.ADULT, 1, 1, 0, 1, 0.06),
    ]
    assert [(each.procedures, each.mean) for each in found] == [(1, None), (1, 0.05), (3, 0.03)]
