"""Dates and times of DICOM, single or as ranges, read into Python's (PS3.5 6.2, PS3.4 C.2.2.2.5). Pure.

Text that is neither raises MalformedKey: a query is then refused (A900), never answered with a wider list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time


class MalformedKey(ValueError):
    """A matching key that cannot be understood; `keyword` names the element, or is empty."""

    def __init__(self, keyword: str, comment: str) -> None:
        super().__init__(f"{keyword}: {comment}" if keyword else comment)
        self.keyword = keyword
        self.comment = comment


@dataclass(frozen=True, slots=True)
class Range:
    """An inclusive range of dates or times; None is open. Both None is universal matching."""

    low: str | None = None
    high: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Interval that Scheduled Procedure Step Start Date and Time ask for together; local time.

    `low` and `high` bound ONE interval (PS3.4 K.4.1.2.2, C.2.2.2.5.1: the combined date and time); `daily` bounds the
    time of day where no date was given.
    """

    low: datetime | None = None
    high: datetime | None = None
    daily: tuple[time, time] | None = None

    def holds(self, start: datetime) -> bool:
        """Return True if a start is within."""
        if (self.low is not None and start < self.low) or (self.high is not None and start > self.high):
            return False
        return self.daily is None or self.daily[0] <= start.time() <= self.daily[1]


FIRST, LAST = time.min, time(23, 59, 59, 999999)


def window(date_key: str, time_key: str) -> Window:
    """Parse the date and time keys; empty ones are universal. Raise MalformedKey."""
    dates = _range(date_key, "ScheduledProcedureStepStartDate")
    times = _range(time_key, "ScheduledProcedureStepStartTime")
    first_day = _date(dates.low) if dates.low else None
    last_day = _date(dates.high) if dates.high else None
    first = _time(times.low, FIRST) if times.low else None
    last = _time(times.high, LAST) if times.high else None
    single = times.low is not None and times.low == times.high and first_day != last_day
    if single or (first_day is None and last_day is None):
        # A single time is matched by itself: on any of the days, that time and no other.
        return Window(
            low=datetime.combine(first_day, FIRST) if first_day else None,
            high=datetime.combine(last_day, LAST) if last_day else None,
            daily=None if first is None and last is None else (first or FIRST, last or LAST),
        )
    return Window(
        low=datetime.combine(first_day, first or FIRST) if first_day else None,
        high=datetime.combine(last_day, last or LAST) if last_day else None,
    )


def dates(key: str, keyword: str) -> tuple[date | None, date | None]:
    """Return the first and the last day of a date key, None for an open end; raise MalformedKey."""
    found = _range(key, keyword)
    return _date(found.low) if found.low else None, _date(found.high) if found.high else None


_ISO_DATE = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)", re.ASCII)


def _range(key: str, keyword: str) -> Range:
    """Split `a-b`, `a-`, `-b` or a single value; a lone `-` is refused."""
    key = key.strip(" \0")
    if key in ("", "*"):  # universal matching
        return Range()
    of_dates = keyword.endswith("Date")
    if of_dates:  # 2026-01-23 is a date as people write it, not a range
        key = _ISO_DATE.sub(r"\1\2\3", key)
    low, dash, high = (part.strip() for part in key.partition("-"))
    if dash and not (low or high):
        raise MalformedKey(keyword, "a range without ends")
    for end in (low, high):
        if end:
            try:
                _date(end) if of_dates else _time(end, FIRST)
            except ValueError:
                raise MalformedKey(keyword, "not a date" if of_dates else "not a time") from None
    return Range(low or None, high or None) if dash else Range(low, low)


def _date(text: str) -> date:
    """Parse YYYYMMDD, and the tolerable YYYY.MM.DD of ACR-NEMA (PS3.5 6.2, DA); raise ValueError."""
    if not re.fullmatch(r"\d{8}|\d{4}\.\d{2}\.\d{2}", text, re.ASCII):
        raise ValueError(text)
    digits = text.replace(".", "")
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?", re.ASCII)


def _time(text: str, missing: time) -> time:
    """Parse HH[MM[SS[.F]]], missing parts from `missing`: a range's end is meant inclusively. Raise ValueError."""
    if re.fullmatch(r"24(:?00){0,2}(\.0{1,6})?", text):  # midnight as the end of a day
        return LAST
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(text)
    hour, minute, second, fraction = found.groups()
    if second == "60":  # a leap second; the last one that Python can name
        second = "59"
    return time(
        int(hour),
        int(minute) if minute else missing.minute,
        int(second) if second else missing.second,
        int(fraction.ljust(6, "0")) if fraction else missing.microsecond,
    )
