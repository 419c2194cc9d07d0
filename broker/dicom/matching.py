"""The matching rules of PS3.4 C.2.2.2 as pure functions.

A key that cannot be understood raises MalformedKey: the answer is then a refusal, never a wider list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time

from broker.domain import names


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
    """What Scheduled Procedure Step Start Date and Time ask for together.

    `low` and `high` bound ONE interval (PS3.4 K.4.1.2.2, C.2.2.2.5.1: the combined date and time); `daily` bounds the
    time of day where no date was given.
    """

    low: datetime | None = None
    high: datetime | None = None
    daily: tuple[time, time] | None = None

    def holds(self, start: datetime) -> bool:
        """Say whether a start lies within."""
        if (self.low is not None and start < self.low) or (self.high is not None and start > self.high):
            return False
        return self.daily is None or self.daily[0] <= start.time() <= self.daily[1]


FIRST, LAST = time.min, time(23, 59, 59, 999999)


def window(date_key: str, time_key: str) -> Window:
    """Read the date and time keys; empty ones are universal."""
    dates = _range(date_key, "ScheduledProcedureStepStartDate")
    times = _range(time_key, "ScheduledProcedureStepStartTime")
    first_day = _date(dates.low) if dates.low else None
    last_day = _date(dates.high) if dates.high else None
    first = _time(times.low, FIRST) if times.low else None
    last = _time(times.high, LAST) if times.high else None
    if first_day is None and last_day is None:
        daily = None if first is None and last is None else (first or FIRST, last or LAST)
        return Window(daily=daily)
    return Window(
        low=datetime.combine(first_day, first or FIRST) if first_day else None,
        high=datetime.combine(last_day, last or LAST) if last_day else None,
    )


def _range(key: str, keyword: str) -> Range:
    """Split `a-b`, `a-`, `-b` or a single value; a lone `-` says nothing and is refused."""
    key = key.strip().strip("\0")
    if key in ("", "*"):
        return Range()
    low, dash, high = key.partition("-")
    low, high = low.strip(), high.strip()
    # 2026-01-23 is a date as people write it, not a range.
    if keyword.endswith("Date") and re.fullmatch(r"\d{4}-\d{2}-\d{2}", key):
        low, dash, high = key.replace("-", ""), "", ""
    if dash and not (low or high):
        raise MalformedKey(keyword, "a range without ends")
    check = _date if keyword.endswith("Date") else _any_time
    for end in (low, high):
        if end:
            try:
                check(end)
            except ValueError:
                raise MalformedKey(keyword, "not a date" if check is _date else "not a time") from None
    return Range(low or None, high or None) if dash else Range(low, low)


def _date(text: str) -> date:
    """Read YYYYMMDD, and the tolerable YYYY.MM.DD of ACR-NEMA (PS3.5 6.2, DA)."""
    if not re.fullmatch(r"\d{8}|\d{4}\.\d{2}\.\d{2}", text):
        raise ValueError(text)
    digits = text.replace(".", "")
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")


def _time(text: str, missing: time) -> time:
    """Read HH[MM[SS[.F]]]; parts that are not given are those of `missing`: a range's end is meant inclusively."""
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


def _any_time(text: str) -> time:
    return _time(text, FIRST)


def is_universal(key: str) -> bool:
    """Say whether a key asks for anything at all (PS3.4 C.2.2.2.3; a single `*` is the same)."""
    return key.strip() in ("", "*")


def wildcard(pattern: str, value: str) -> bool:
    """Match `*` (any run of characters) and `?` (any one) as PS3.4 C.2.2.2.4 wants, without backtracking over runs.

    Takes at most len(pattern) x len(value) steps, however many stars there are.
    """
    at, place, star, mark = 0, 0, -1, 0
    while place < len(value):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", value[place]):
            at += 1
            place += 1
        elif star >= 0:
            mark += 1
            at, place = star + 1, mark
        else:
            return False
    return all(char == "*" for char in pattern[at:])


def text(key: str, value: str) -> bool:
    """Match single value or wildcard; a stored empty value fails every key that asks for something."""
    if is_universal(key):
        return True
    if not value:
        return False
    if "*" in key or "?" in key:
        return wildcard(key.strip(), value)
    return key.strip() == value


def is_undecodable(key: str) -> bool:
    """Say whether a name is what a device sends that cannot write Cyrillic: question marks only.

    As a wildcard it would match every stranger whose name is as long.
    """
    letters = key.replace("^", "").replace("=", "").replace(" ", "").replace("*", "")
    return bool(letters) and set(letters) == {"?"}


def person_name(key: str, value: str) -> bool:
    """Match a person's name: folded (case, ё), by component; components that the key does not give are not compared.

    `value` is family^given^middle. A key without carets may hold the names separated by blanks, or the family name
    alone.
    """
    if is_universal(key):
        return True
    if not value or is_undecodable(key):
        return False
    asked = names.fold(key.split("=")[0]).rstrip("^")
    known = names.fold(value)
    if "*" in asked or "?" in asked:
        return wildcard(asked, known) or ("^" not in asked and wildcard(asked, known.replace("^", " ")))
    if "^" not in asked:
        return asked in (known.split("^")[0], known.replace("^", " "))
    parts = [part.strip() for part in asked.split("^")]
    stored = known.split("^") + [""] * len(parts)
    return all(not part or part == there for part, there in zip(parts, stored, strict=False))
