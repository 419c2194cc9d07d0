"""Reads one row of a directory: from its texts to the entry, or the reason why it is refused. Pure.

Reasons are for the person who exported the file. Headings and entries no longer in force are left out, not refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from sys import intern

from broker.domain.clinic.default_procedures import PROCEDURES
from broker.domain.clinic.directory import Entry
from broker.domain.import_result import Progress, silent
from broker.domain.patients import names
from broker.domain.patients.identifiers import digits, is_guid, is_insurer_code, is_placeholder, snils_problem
from broker.domain.patients.people import PersonName
from broker.domain.studies import effective_dose
from broker.imports import moments
from broker.imports.directories.file import DirectoryTable

MAX_CODE, MAX_NAME = 64, 1000  # characters
MAX_PROCEDURE_CODE = 16  # (0008,0100) Code Value is SH
_ICD10 = re.compile(r"[A-Z]\d{2}(\.\d{1,2})?")
_ICD10_MARKS = re.compile(r"[*+†‡]$")  # of the dagger and asterisk system; the code is what precedes them
_ICD10_HEADING = re.compile(r"[IVX]+|[A-Z]\d{2}-[A-Z]\d{2}")  # a class or a block
_CYRILLIC_LETTERS = str.maketrans("АВЕКМНОРСТХ", "ABEKMHOPCTX")
_MODALITY = re.compile(r"[A-Z]{2,4}")
_DEFAULTS = frozenset(each.code for each in PROCEDURES)
_IN_FORCE = ("", "1", "да", "true", "yes", "+", "актуальный", "актуально", "актуальна", "действует", "active", "actual")


class LeftOut(StrEnum):
    """Why a correct row does not become an entry."""

    HEADING = "headings"
    NOT_IN_FORCE = "no longer in force"


@dataclass(slots=True)
class DirectoryContent:
    """The entries of a file, and the rows that did not become one."""

    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)  # row number, reason
    left_out: dict[LeftOut, int] = field(default_factory=dict)


class _Refused(ValueError):
    """The row is refused; the text is the reason."""


def read_entries(table: DirectoryTable, kind: str, today: date, progress: Progress = silent) -> DirectoryContent:
    """Read all rows of a directory. Raise BadTable where the file turns out to be damaged."""
    content = DirectoryContent()
    seen: dict[str, tuple[int, Entry]] = {}
    for done, row in enumerate(table.rows, 1):
        progress(done, None)
        try:
            if row.stray_quote:
                raise _Refused(
                    "has a quote in the wrong place: remove it, or double it and put the whole cell into quotes"
                    f" (found «{names.cut(row.stray_quote, 40)}»)"
                )
            entry = _entry(row.values, kind, today)
        except _Refused as error:
            content.refused.append((row.number, str(error)))
            continue
        except Exception as error:  # a fault of ours costs this row only
            content.refused.append((row.number, f"the row could not be read ({type(error).__name__})"))
            continue
        if isinstance(entry, LeftOut):
            content.left_out[entry] = content.left_out.get(entry, 0) + 1
            continue
        if entry.code in seen:
            first, earlier = seen[entry.code]
            words = "is the same as" if earlier == entry else f"has the code {entry.code}, as has"
            content.refused.append((row.number, f"{words} {table.row_label} {first}"))
            continue
        seen[entry.code] = row.number, entry
        content.entries.append(entry)
    return content


def _entry(values: Mapping[str, str], kind: str, today: date) -> Entry | LeftOut:
    if names.fold(values.get("actual", "")) not in _IN_FORCE or _ended(values.get("until", ""), today):
        return LeftOut.NOT_IN_FORCE
    code, name = str(values.get("code", "")), str(values.get("name", ""))
    details = {
        key: intern(str(value))
        for key, value in values.items()
        if value and key not in ("code", "name", "actual", "until")
    }
    match kind:
        case "diagnoses":
            code = _ICD10_MARKS.sub("", code.upper()).rstrip()
            code = code.translate(_CYRILLIC_LETTERS)
            if _ICD10_HEADING.fullmatch(code):
                return LeftOut.HEADING
        case "organisations":
            code = code.strip("{}").casefold().removeprefix("organization/").removeprefix("urn:uuid:")
            if details.get("full") == name:
                del details["full"]
        case "insurers" if details.get("full") == name:
            del details["full"]
        case "doctors":
            code, name, details = _doctor(code, name, details)
        case "procedures":
            _check_procedure(code, details)
        case "dose-coefficients":
            _check_dose_row(lambda: effective_dose.read_row(code, name, details))
        case "dose-limits":
            _check_dose_row(lambda: effective_dose.read_limits(details))
    _check(code, name, kind)
    return Entry(code, name, details)


def _check(code: str, name: str, kind: str) -> None:
    if not code:
        raise _Refused("the code is missing")
    if kind == "diagnoses" and not _ICD10.fullmatch(code):
        raise _Refused(f"{names.cut(code, 40)} is not a code of ICD-10")
    if kind == "insurers" and not is_insurer_code(code):
        raise _Refused(f"{names.cut(code, 40)} is not a code of an insurer: five digits")
    if kind == "organisations" and not is_guid(code):
        raise _Refused(f"{names.cut(code, 40)} is not a GUID")
    if len(code) > MAX_CODE:
        raise _Refused(f"the code is longer than {MAX_CODE} characters")
    if " " in code and kind != "doctors":
        raise _Refused(f"the code {names.cut(code, 40)} has blanks in it")
    if not name:
        raise _Refused("the name is missing")
    if len(name) > MAX_NAME:
        raise _Refused(f"the name is longer than {MAX_NAME} characters")


def _check_procedure(code: str, details: dict[str, str]) -> None:
    if len(code) > MAX_PROCEDURE_CODE:
        raise _Refused(f"the code is longer than {MAX_PROCEDURE_CODE} characters, more than a modality can take")
    if code in _DEFAULTS:
        raise _Refused(f"{code} is a code of this program's own, not of an official dictionary")
    if "\\" in code:
        raise _Refused("the code has a backslash in it")
    if modality := details.get("modality"):
        details["modality"] = modality.upper()
        if not _MODALITY.fullmatch(details["modality"]):
            raise _Refused(f"{names.cut(modality, 40)} is not a modality such as DX, CT, MG")
    minutes = details.get("minutes", "1")
    if not re.fullmatch(r"[0-9]{1,3}", minutes) or not 0 < int(minutes) <= 480:
        raise _Refused(f"{names.cut(minutes, 40)} is not a number of minutes from 1 to 480")


def _check_dose_row(read: Callable[[], object]) -> None:
    try:
        read()
    except ValueError as error:
        raise _Refused(str(error)) from None


def _doctor(code: str, name: str, details: dict[str, str]) -> tuple[str, str, dict[str, str]]:
    """Return a doctor's key (the СНИЛС, else a number, else the name), full name and details."""
    person = names.split(name)
    if details.get("family"):
        person = PersonName(details["family"], details.get("given", ""), details.get("middle", ""))
    if not person.family:
        raise _Refused("the name is missing")
    parts = {"family": person.family, "given": person.given, "middle": person.middle}
    details = details | {key: value for key, value in parts.items() if value}
    if raw := details.get("snils"):
        snils = digits(raw).rjust(11, "0") if len(digits(raw)) >= 9 else digits(raw)  # Excel drops leading zeros
        if is_placeholder(snils):
            raise _Refused(f"the СНИЛС is a placeholder: leave it empty if there is none (found «{raw}»)")
        if snils_problem(snils):
            found = names.cut(raw, 40)
            raise _Refused(f"the СНИЛС has a wrong check digit or number of digits (found «{found}»)")
        details["snils"] = snils
    full = " ".join(parts[key] for key in ("family", "given", "middle") if parts[key])
    return details.get("snils") or code or names.fold(full), full, details


def _ended(raw: str, today: date) -> bool:
    """Return True if the last day of an entry's validity is over; a text that is not a date ends nothing."""
    moment = moments.moment(raw)
    day = moment.date() if moment else moments.day(raw)
    return day is not None and day < today
