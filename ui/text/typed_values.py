"""What people type into fields, parsed: dates, times, numbers, names, and a search without a match. Pure."""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from typing import Any

from broker.domain import typed_dates
from broker.domain.patients import names
from broker.domain.patients.identifiers import show_policy, show_snils
from broker.domain.patients.people import Sex

_DAY_WORDS = {"сегодня": 0, "завтра": 1, "послезавтра": 2}
_DATE = re.compile(r"(\d{1,2})[.,/\- ](\d{1,2})(?:[.,/\- ](\d{4}|\d{2})?)?")
_TIME = re.compile(r"(\d{1,2})(?:[:.,\- ](\d{2}))?")
# The ending of a patronymic shows the sex better than anything else that was typed.
_SEX_OF_TAIL = {"вич": Sex.MALE, "ьич": Sex.MALE, "оглы": Sex.MALE, "вна": Sex.FEMALE, "чна": Sex.FEMALE}
_SMALL_WORDS = frozenset({"оглы", "кызы", "угли", "гызы", "уулу", "кизи", "оглу"})


def parse_day(typed: str, today: date) -> date | None:
    """Return a date as people type it: «сегодня», «24.11.2026», «24.11», «24/11/26»; None if it is not a date."""
    typed = typed.strip().casefold()
    if typed in _DAY_WORDS:
        return today + timedelta(days=_DAY_WORDS[typed])
    if re.fullmatch(r"\d{8}", typed):  # without dots, as from a numeric keypad
        typed = f"{typed[:2]}.{typed[2:4]}.{typed[4:]}"
    found = _DATE.fullmatch(typed)
    if not found:
        return None
    year = int(found[3]) if found[3] else today.year
    try:
        return date(year + 2000 if found[3] and len(found[3]) == 2 else year, int(found[2]), int(found[1]))
    except ValueError:
        return None


def parse_time(typed: str) -> time | None:
    """Return a time as people type it: «9:50», «09.50», «0950», «9»; None if it is not a time."""
    typed = typed.strip()
    if re.fullmatch(r"\d{3,4}", typed):
        typed = f"{typed[:-2]}:{typed[-2:]}"
    found = _TIME.fullmatch(typed)
    try:
        return time(int(found[1]), int(found[2] or 0)) if found else None
    except ValueError:
        return None


def parse_number(typed: str) -> float | None:
    """Return a number with a comma or a dot; None if it is not a number."""
    try:
        value = float(typed.strip().replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < 1e6 else None  # also no «nan» and «inf»


def tidy_name(typed: str) -> str:
    """Return a name that was typed in small or capital letters with its initials capital; mixed case is left alone.

    A word is in one alphabet, as it is stored.
    """
    typed = names.without_look_alikes(typed)
    if typed != typed.lower() and (typed != typed.upper() or len(typed) < 3):
        return typed
    return " ".join(
        word if word in _SMALL_WORDS else "-".join(part[:1].upper() + part[1:] for part in word.split("-"))
        for word in typed.lower().split(" ")
    )


def sex_of_patronymic(middle: str) -> Sex | None:
    """Return the sex that a patronymic implies, or None."""
    folded = names.fold(middle)
    return next((sex for tail, sex in _SEX_OF_TAIL.items() if folded.endswith(tail)), None)


def split_search(typed: str, today: date) -> dict[str, Any]:
    """Return what was searched for by fields: digits are a birth date, a СНИЛС or a policy, words a name."""
    rest, possible = typed_dates.take_birth_dates(typed)
    born = typed_dates.likeliest(possible, today)
    found: dict[str, Any] = {"birth_date": f"{born:%d.%m.%Y}"} if born else {}
    digits = "".join(char for char in rest if char.isdigit())
    if digits and not any(char.isalpha() for char in typed):
        return {"snils": show_snils(digits)} if len(digits) <= 11 else {"policy": show_policy(digits[:16])}
    if not rest.strip():
        return found
    name = names.split(rest)
    return found | {
        "family": tidy_name(name.family),
        "given": tidy_name(name.given),
        "middle": tidy_name(name.middle),
        "sex": sex_of_patronymic(name.middle),
    }
