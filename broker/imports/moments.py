"""Reads dates and times from the cells of a table, as people, 1C and Excel write them. Pure.

1C and databases write a date with its time («12.03.1961 0:00:00») and a time with a date that is none («01.01.0001
10:00:00», «30.12.1899 11:00:00»); a spreadsheet may have lost the format of a date, and the number of days is left.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time

from broker.domain import typed_dates
from broker.imports.table_rows import NumberText

_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?: ?г(?:ода|\.)?)?")
_ISO_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})(?::\d{2}(?:\.\d+)?)?")
_MOMENT = re.compile(r"(\S+(?: ?г(?:ода|\.)?)?)(?:T| +)(\d\S*)")
# The zero of 1C, of OLE and Excel, of SQL Server and of Excel for the Mac: a date that says that there is none.
_NO_DAYS = frozenset(
    {date(1, 1, 1), date(1899, 12, 30), date(1899, 12, 31), date(1753, 1, 1), date(1900, 1, 1), date(1904, 1, 1)}
)
_MIDNIGHT = time()
_LAST_YEAR = 2199  # a number of a spreadsheet up to here is a year and not a number of days, which would be 1906


def is_empty(raw: str) -> bool:
    """Return True for a cell that says in 1C's or Excel's way that there is no date and no time."""
    on, at = _parts(raw) or (None, None)
    return on in _NO_DAYS and at in (None, _MIDNIGHT)


def day(raw: str) -> date | None:
    """Return a date; None if it is none, or has a time of the day, which leaves open whose day it was."""
    on, at = _parts(raw) or (None, None)
    return on if at in (None, _MIDNIGHT) and on not in _NO_DAYS else None


def moment(raw: str) -> datetime | None:
    """Return a date with its time; None if either is missing."""
    on, at = _parts(raw) or (None, None)
    return datetime.combine(on, at) if on and at is not None and on not in _NO_DAYS else None


def clock(raw: str, of: date | None) -> time | None:
    """Return a time of the day, alone, with a date that is none, or with the date that it is `of`."""
    if isinstance(raw, NumberText):
        found = raw.moment()
        if isinstance(found, time):
            return found
    elif found := _clock(raw):
        return found
    on, at = _parts(raw) or (None, None)
    if at in (None, _MIDNIGHT):  # a date alone says no time
        return None
    return at if on in _NO_DAYS or on == of else None


def born(raw: str) -> tuple[date | None, int | None] | None:
    """Return a birth date, or the year alone, or neither where the cell says that it is not known."""
    if typed_dates.says_unknown(raw):
        return None, None
    if (year := typed_dates.birth_year(raw)) and not (isinstance(raw, NumberText) and year > _LAST_YEAR):
        return None, year
    found = day(raw)
    return (found, None) if found else None


def _parts(raw: str) -> tuple[date, time | None] | None:
    """Return the date of a cell, and its time if it has one."""
    if isinstance(raw, NumberText):
        found = raw.moment() if float(raw) > _LAST_YEAR else None
        return (found.date(), found.time() if "." in raw else None) if isinstance(found, datetime) else None
    if alone := _day(raw):
        return alone, None
    split = _MOMENT.fullmatch(raw)
    on, at = (_day(split[1]), _clock(split[2])) if split else (None, None)
    return (on, at) if on and at is not None else None


def _day(raw: str) -> date | None:
    try:
        if found := _DAY.fullmatch(raw):
            return date(int(found[3]), int(found[2]), int(found[1]))
        if found := _ISO_DAY.fullmatch(raw):
            return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        pass
    return None


def _clock(raw: str) -> time | None:
    found = _CLOCK.fullmatch(raw)
    try:
        return time(int(found[1]), int(found[2])) if found else None
    except ValueError:
        return None
