"""The administrator's table of coefficients: read as people write it, refused where it cannot be computed with."""

from __future__ import annotations

import io
from datetime import date

from broker.imports.directories import file as directory_file
from broker.imports.directories.kinds import KINDS
from broker.imports.directories.row import read_entries

TABLE = """код строки;источник;величина;коэффициент;единица;аппарат;возраст от;возраст до
R-1;Физик, 2026;ПДП;0,15;мкЗв/(сГр·см²);XRAY_14;18;
R-2;Физик, 2026;ПДД;0,014;мЗв/(мГр·см);;;
R-3;Физик, 2026;мАс;1;мЗв;;;
"""


def test_rows_become_entries_and_a_row_that_cannot_be_computed_with_is_refused() -> None:
    table = directory_file.read(io.BytesIO(TABLE.encode()), KINDS["dose-coefficients"])
    content = read_entries(table, "dose-coefficients", date(2026, 11, 24))
    assert [entry.code for entry in content.entries] == ["R-1", "R-2"]
    assert content.entries[0].details["device"] == "XRAY_14"
    [(row, why)] = content.refused
    assert row == 4
    assert "the quantity is none of" in why
