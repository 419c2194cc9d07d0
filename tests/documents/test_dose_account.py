"""The account of a year's doses as spreadsheets open it."""

from __future__ import annotations

from broker.documents.dose_account import HEAD, csv_of
from broker.domain.studies.dose_account import AccountRow, AgeGroup


def test_a_row_is_written_with_decimal_commas_and_never_as_a_formula() -> None:
    rows = [
        AccountRow("=1+1", "DX", "4", AgeGroup.ADULT, 1, 1, 0, 1, 0.06),
        AccountRow("", "CT", "", AgeGroup.UNKNOWN, 0, 0, 0, 1, 0.0),
    ]
    made = csv_of(rows)
    assert made.startswith(b"\xef\xbb\xbf")
    head, first, second = made.decode("utf-8-sig").splitlines()
    assert head == ";".join(HEAD)
    assert first == "'=1+1;DX;4;18+;3;1;1;0;1;0,06;0,03"
    assert second == ";CT;;;1;0;0;0;1;0;"
