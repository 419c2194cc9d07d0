"""The account of a year's doses as a table for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from broker.domain.studies.dose_account import AccountRow

HEAD = (
    "Строка", "Модальность", "Область", "Возраст", "Процедур", "Доза вписана", "Рассчитана по измеренной",
    "Типичная", "Неизвестна", "Сумма, мЗв", "Средняя, мЗв",
)  # fmt: skip


def csv_of(rows: Sequence[AccountRow]) -> bytes:
    """Return the account as CSV that Excel opens by itself: semicolons, UTF-8 with its mark."""
    made = StringIO()
    csv.writer(made, delimiter=";").writerows([HEAD, *(cells(row) for row in rows)])
    return made.getvalue().encode("utf-8-sig")


def cells(row: AccountRow) -> list[str]:
    """Return a row as texts, in the order of `HEAD`, numbers with a decimal comma."""
    counts = (row.procedures, row.typed, row.calculated, row.typical, row.none)
    return [
        _text(row.form_row),
        row.modality,
        _text(row.body_site),
        row.age_group,
        *(str(each) for each in counts),
        *("" if each is None else f"{each:.10g}".replace(".", ",") for each in (row.millisieverts, row.mean)),
    ]


def _text(typed: str) -> str:
    """Return a text that a spreadsheet takes for no formula."""
    return f"'{typed}" if typed[:1] in ("=", "+", "-", "@") else typed
