"""The rows of a table, whatever file they come from, and the text of a cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from openpyxl.utils.datetime import from_excel

from broker.domain.patients import names

HEADER_WITHIN = 20  # rows: people write a title above a table
LAST_SERIAL = 2_958_465  # 9999-12-31

CountKnown = Callable[[Sequence[str]], int]
"""Returns how many cells of a row are names of known columns; the delimiter that yields most of them is the file's."""

# What programs write so that a spreadsheet leaves a cell as it is: ="00123", and '00123 of Excel's own.
_FORMULA_GUARD = re.compile(r'="((?:[^"]|"")*)"')
_APOSTROPHE_GUARD = re.compile(r"'(?=[\d=+@-])")


class BadTable(ValueError):
    """The file is not a table of what is expected; the text says why."""


class NumberText(str):
    """The text of a spreadsheet's cell that holds a number: where a date is expected, a number of days."""

    epoch: datetime  # what the days are counted from

    def moment(self) -> datetime | time | None:
        """Return the date and time that the number stands for, a time alone below 1; None if it stands for none."""
        days = float(self)
        if not 0 < days < LAST_SERIAL:
            return None
        found = from_excel(days, self.epoch)
        if isinstance(found, time):
            return to_the_minute(datetime.combine(self.epoch, found)).time()
        return to_the_minute(found)


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a file: its number, counted from 1, and the texts of its cells."""

    number: int
    cells: list[str]
    stray_quote: int | None = None  # the place of a cell whose quote is misplaced: where cells end is not certain


def cell_text(raw: str) -> str:
    """Return what a cell says, without what guards it from being taken for a number or a formula."""
    tidied = names.tidy(raw)
    if guarded := _FORMULA_GUARD.fullmatch(tidied):
        tidied = names.tidy(guarded[1].replace('""', '"'))
    return _APOSTROPHE_GUARD.sub("", tidied, count=1) if tidied.startswith("'") else tidied


def to_the_minute(moment: datetime) -> datetime:
    """Return a moment without the fault of a fraction of a day: 0.41666 is 09:59:59 and means 10:00."""
    if moment.second == 59 and moment < datetime.max - timedelta(minutes=1):
        moment += timedelta(seconds=1)
    return moment.replace(second=0, microsecond=0)


def plain(name: str) -> str:
    """Return the form in which names of columns are compared: folded, without punctuation."""
    return " ".join(re.sub(r"[^\w№]|_", " ", names.fold(name)).split())
