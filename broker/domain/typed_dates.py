"""Birth dates as people type them: the one reader for the form's field, for the search and for tables. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

# Day, month, year between signs or blanks, or as eight digits; or year, month, day as programs write it.
_TYPED = re.compile(
    r"(?<![\w.,/\-])(?:"
    r"(?P<day>\d{1,2})(?:[.,/\-](?P<month>\d{1,2})[.,/\-]| (?P<spaced>\d{1,2}) )(?P<year>\d{4}|\d{2})"
    r"|(?P<plain>\d{8})"
    r"|(?P<iso>\d{4}-\d{2}-\d{2})"
    r")(?![\d/\-]|[.,]\d)"
)


_YEAR = re.compile(r"(\d{4})(?: ?г(?:од)?\.?(?: ?р\.?)?)?")
_UNKNOWN = frozenset({"", "неизвестна", "неизвестно", "неизв", "не известна", "нет", "unknown", "н/д", "нд", "?"})


def birth_year(typed: str) -> int | None:
    """Return the year of birth where nothing else was typed: «1961», «1961 г. р.»; else None."""
    found = _YEAR.fullmatch(" ".join(typed.casefold().split()))
    return int(found[1]) if found else None


def says_unknown(typed: str) -> bool:
    """Return True for a text that says that there is none, or that it is not known: «неизвестна», «нет», a dash."""
    return bool(typed.strip()) and " ".join(typed.casefold().split()).strip(".-‐‑‒–—―− ") in _UNKNOWN


def birth_dates(typed: str) -> tuple[date, ...]:
    """Return the dates that a text may mean as a whole; two where the year has two digits, none if it is no date."""
    found = _TYPED.fullmatch(typed.strip())
    return _meant(found) if found else ()


def birth_date(typed: str, today: date) -> date | None:
    """Return the birth date that a text means, or None; a year of two digits is the latest that is not to come."""
    return likeliest(birth_dates(typed), today)


def likeliest(possible: tuple[date, ...], today: date) -> date | None:
    """Return the latest of these dates that is not to come, or the earliest; None if there are none."""
    return next((each for each in possible if each <= today), possible[-1] if possible else None)


def take_birth_dates(typed: str) -> tuple[str, tuple[date, ...]]:
    """Return a line without the first date in it, and what that date may be; the line as it is if it has none."""
    return next(each_birth_date(typed), (typed, ()))


def each_birth_date(typed: str) -> Iterator[tuple[str, tuple[date, ...]]]:
    """Yield a line without one of the dates in it, and what that date may be, for each of them."""
    for found in _TYPED.finditer(typed):
        if possible := _meant(found):
            yield f"{typed[: found.start()]} {typed[found.end() :]}", possible


def _meant(found: re.Match[str]) -> tuple[date, ...]:
    """Return the dates of a match, the latest first."""
    if found["iso"]:
        year, month, day = found["iso"].split("-")
    elif found["plain"]:
        day, month, year = found["plain"][:2], found["plain"][2:4], found["plain"][4:]
    else:
        day, month, year = found["day"], found["month"] or found["spaced"], found["year"]
    years = [f"20{year}", f"19{year}"] if len(year) == 2 else [year]
    return tuple(made for each in years if (made := _date(each, month, day)))


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
