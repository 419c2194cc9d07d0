"""Reads one row of a table of referrals: from its texts to the referral, or every reason why it is refused.

Reasons are for the author of the table: they name the column as it is called there. What the use case itself refuses
is put into the same words by `explained`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields, replace
from datetime import date, datetime, time
from typing import Any, TypeVar

from broker.domain import validation
from broker.domain.clinic.devices import Device, ProcedureType
from broker.domain.import_result import Reason
from broker.domain.orders import Referral, ReferralDraft
from broker.domain.patients import names
from broker.domain.patients.identifiers import digits
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.imports import moments
from broker.imports.referral_columns import CODES, COLUMNS, ReferralRow, ReferralTable

T = TypeVar("T")
_SEXES = {
    **dict.fromkeys(("м", "муж", "мужской", "мужчина", "мальчик", "m", "male"), Sex.MALE),
    **dict.fromkeys(("ж", "жен", "женский", "женщина", "девочка", "f", "female"), Sex.FEMALE),
    **dict.fromkeys(("другой", "o", "other"), Sex.OTHER),
}
_SEX_CODES = {"1": Sex.MALE, "2": Sex.FEMALE}  # ISO/IEC 5218 and НСИ 1.2.643.5.1.13.13.11.1040
_SEXES |= _SEX_CODES
# Read otherwise than as text or by `CODES`.
_OWN_WAY = ("referrer", "referrer_snils", "diagnosis_code", "diagnosis_text")
_MOMENTS = ("birth_date", "start", "date", "time")
_NO_WORD = {"laterality": "not_a_side", "priority": "not_a_priority", "finance": "not_a_payment"}

# The use case's problem codes in plain words.
REASONS = {
    "required": "is missing",
    "surplus_cells": "there are more cells than columns: put a cell with a separator in it into quotes",
    "stray_quote": "has a quote in the wrong place: remove it, or double it and put the whole cell into quotes",
    "spreadsheet_error": "holds an error of the spreadsheet: correct the formula",
    "not_a_day": "is not a date such as 24.11.2026",
    "not_a_birth_date": "is not a date such as 12.03.1961",
    "no_birth_date": "is missing: write the year alone, or «неизвестна», where no more is known",
    "no_given_name": "is missing: write a dash for somebody who has one name only",
    "not_a_time": "is not a time such as 10:00",
    "not_a_start": "is not a date and time such as 24.11.2026 10:00",
    "not_a_sex": "is neither м nor ж",
    "sex_from_zero": "is a code, and with 0 among them it is open which sex it is: write м or ж",
    "not_a_procedure": "is not in the directory: write its code or its whole name",
    "not_a_device": "is not a registered device: write its AE title or its name",
    "not_a_side": "is not understood: write справа, слева or обе",
    "not_a_priority": "is not understood: write да or нет",
    "not_a_payment": "is not understood: write омс, дмс, платно, бюджет, собственные or другое",
    "not_a_number": "is not a number",
    "name_letters": "has characters that a name does not have",
    "too_long": "is too long",
    "card_letters": "has characters that a card number may not have: \\ * ?",
    "future": "has not come yet",
    "too_old": "is too long ago",
    "length": "has the wrong number of digits",
    "check_digit": "has a wrong check digit: compare it with the document",
    "placeholder": "is a placeholder: leave the cell empty if there is none",
    "range": "is out of reason",
    "unknown": "is not known here",
    "other_modality": "does another kind of examination",
    "past": "is over: write a day to come",
    "too_far": "is more than a year ahead",
    "icd10": "is not a code of ICD-10 such as M17.1",
    "other_patient": "belongs to another patient here",
    "several": "means several patients here: give a number (СНИЛС, policy, card number)",
    "unexpected": "the row could not be read or kept: report it to the administrator",
}
# The use case's names of fields -> ours, in order of preference.
_FIELDS: dict[str, tuple[str, ...]] = {
    "family": ("family", "name"),
    "given": ("given", "name"),
    "middle": ("middle", "name"),
    "device": ("station",),
    "date": ("start", "date"),
    "patient": ("patient_id", "name", "family"),
}


# Why a row's patient is not taken for somebody here -> the columns that say so.
_NAME = ("family", "given", "middle", "name")
_IDENTITY: dict[str, tuple[str, ...]] = {
    "other_name": (*_NAME, "patient_id"),
    "other_birth_date": ("birth_date", "patient_id"),
    "other_sex": ("sex", "patient_id"),
    "other_number": ("snils", "policy", "patient_id"),
    "number_of_another": ("patient_id", "snils", "policy"),
    "same_row": (*_NAME, "procedure", "station", "start", "date", "time"),
}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be ordered at the clinic: procedures, and the approved devices that perform them."""

    procedures: Sequence[ProcedureType]
    devices: Sequence[Device]


def read(
    row: ReferralRow, table: ReferralTable, catalogue: Catalogue, today: date
) -> tuple[ReferralDraft | None, list[Reason], Patient]:
    """Return a row's referral, or None and all reasons, and its patient as far as it could be read.

    The submission id is a hash of the row's content; for somebody whom that does not identify, see `submission_of`.
    """
    columns = table.columns
    cells = _Cells(row, columns)
    if row.surplus:
        cells.reasons.append(Reason("surplus_cells", REASONS["surplus_cells"]))
    name = PersonName(cells.text("family"), cells.text("given"), cells.text("middle"))
    if not name.family:
        name = names.split(cells.text("name"))
    if not name.family:
        cells.refuse("family" if "family" in columns else "name", "required")
    if "given" in columns and not (name.given or names.is_unidentified(name)):
        cells.refuse("given", "no_given_name")
    start = _start(cells)
    birth_date, birth_year = _born(cells, name)
    sex = _sex(cells, table)
    procedure = cells.needed("procedure", lambda raw: _procedure(raw, catalogue), "not_a_procedure")
    stations = cells.needed("station", lambda raw: _stations(raw, catalogue), "not_a_device")
    diagnosis_code, _, diagnosis = cells.text("diagnosis").partition(" ")
    draft = ReferralDraft(
        patient=Patient(
            name=name,
            birth_date=birth_date,
            birth_year=birth_year,
            mother=cells.text("mother"),
            sex=sex or Sex.OTHER,
            patient_id=cells.text("patient_id"),
            snils=_with_zeros(cells.text("snils"), 11),
            policy=digits(cells.text("policy")),
            insurer=cells.text("insurer"),
            phone=cells.text("phone"),
            weight=cells.number("weight"),
            height=cells.number("height"),
            allergies=cells.text("allergies"),
            pregnancy=cells.text("pregnancy"),
        ),
        procedure_code=procedure.code if procedure else "",
        station_ae_titles=stations or (),
        start=start or datetime.min,
        referrer=names.split(cells.text("referrer")),
        referrer_snils=_with_zeros(cells.text("referrer_snils"), 11),
        diagnosis_code=diagnosis_code,
        diagnosis_text=" ".join(part for part in (diagnosis.strip(), cells.text("diagnosis_text")) if part),
        **{each.name: _value(cells, each) for each in fields(Referral) if each.name not in _OWN_WAY},
    )
    if row.stray_quote:
        column, cell = row.stray_quote
        return None, [_reason("stray_quote", f"«{column}»" if column else "", cell)], draft.patient
    if cells.reasons:
        found = validation.patient_problems(draft.patient, today)
        new = {field: code for field, code in found.items() if not cells.refused & {field, *_FIELDS.get(field, ())}}
        return None, cells.reasons + explained(new, columns, row), draft.patient
    return replace(draft, submission_id=_submission_id(draft)), [], draft.patient


def is_anybody(patient: Patient) -> bool:
    """Return True for somebody without a name and a number: two rows that say the same are two people."""
    return not (names.identifies(patient.name) or patient.patient_id or patient.snils or patient.policy)


def submission_of(draft: ReferralDraft, path: str, number: int) -> str:
    """Return the submission id of the row of a table that has this content as the `number`th one, from 1."""
    place = json.dumps([draft.submission_id, path, number], ensure_ascii=False)
    return "table " + hashlib.sha256(place.encode()).hexdigest()


def explained(problems: Mapping[str, str], columns: Mapping[str, str], row: ReferralRow) -> list[Reason]:
    """Return the use case's problems (field -> code) with a row in the table's own words."""
    reasons = []
    for field, code in problems.items():
        ours = next((each for each in _FIELDS.get(field, (field,)) if each in columns), "")
        reasons.append(_reason(code, _label(ours or field, columns), row.values.get(ours, "")))
    return reasons


def about_cells(code: str, text: str, about: str, columns: Mapping[str, str], row: ReferralRow) -> Reason:
    """Return a reason that is about several cells of a row, with the columns and what stands there."""
    cells = [
        f"{_label(field, columns)} («{names.cut(row.values[field], 40)}»)"
        for field in _IDENTITY.get(code, ())
        if field in columns and row.values.get(field)
    ]
    label = ", ".join(cells)
    return Reason(code, f"{label}: {text}" if label else text, label, about)


# ---- cells ----


class _Cells:
    """A row's cells, and what is wrong with them."""

    def __init__(self, row: ReferralRow, columns: Mapping[str, str]) -> None:
        self._values, self._columns = row.values, columns
        self.reasons: list[Reason] = []
        self.refused: set[str] = set()

    def text(self, field: str) -> str:
        """Return what a cell says; "" also where it says that there is nothing."""
        return str(self.raw(field))

    def raw(self, field: str) -> str:
        """Return the cell as the file has it, a number of a spreadsheet as such."""
        raw = self._values.get(field, "")
        if re.fullmatch(r"#(N/A|Н/Д|REF!|ССЫЛКА!|VALUE!|ЗНАЧ!|NAME\?|ИМЯ\?|DIV/0!|ДЕЛ/0!|NUM!|ЧИСЛО!|NULL!)", raw):
            self.refuse(field, "spreadsheet_error")
            return ""
        return "" if field in _MOMENTS and moments.is_empty(raw) else raw

    def refuse(self, field: str, code: str) -> None:
        self.refused.add(field)
        self.reasons.append(_reason(code, _label(field, self._columns), self._values.get(field, "")))

    def needed(self, field: str, read: Callable[[str], T | None], code: str, missing: str = "required") -> T | None:
        raw = self.raw(field)
        value = read(raw) if raw else None
        if value is None and field not in self.refused:
            self.refuse(field, code if raw else missing)
        return value

    def one_of(self, field: str, words: Mapping[str, T], otherwise: T) -> T:
        raw = self.text(field)
        if raw and names.fold(raw).rstrip(".") not in words:
            self.refuse(field, _NO_WORD[field])
        return words.get(names.fold(raw).rstrip("."), otherwise) if raw else otherwise

    def number(self, field: str) -> float | None:
        raw = self.text(field).replace(",", ".")
        if not raw:
            return None
        try:
            return float(re.sub(r"\s*(кг|см|kg|cm)\.?$", "", raw, flags=re.IGNORECASE))
        except ValueError:
            self.refuse(field, "not_a_number")
            return None


def _reason(code: str, label: str, cell: str) -> Reason:
    """Return a reason that names the column and shows the cell."""
    found = names.cut(str(cell), 40)
    shown = f" (found «{found}»)" if found else ""
    return Reason(code, f"{f'{label}: ' if label else ''}{REASONS.get(code, code)}{shown}", label, found)


def _label(field: str, columns: Mapping[str, str]) -> str:
    return f"«{columns[field]}»" if field in columns else COLUMNS[field][0] if field in COLUMNS else field


def _value(cells: _Cells, field: Field[Any]) -> Any:
    """Return a member of `Referral` by the column of its name; its default where the cell is empty."""
    if field.name in CODES:
        return cells.one_of(field.name, CODES[field.name], field.default)
    return cells.text(field.name) or field.default


def _born(cells: _Cells, name: PersonName) -> tuple[date | None, int | None]:
    """Return a birth date, or the year alone; of an unidentified person it need not be said that neither is known."""
    if names.is_unidentified(name) and not cells.raw("birth_date"):
        return None, None
    return cells.needed("birth_date", moments.born, "not_a_birth_date", "no_birth_date") or (None, None)


def _sex(cells: _Cells, table: ReferralTable) -> Sex | None:
    if cells.text("sex") in _SEX_CODES and not table.counts_sexes_from_one:
        cells.refuse("sex", "sex_from_zero")
        return None
    return cells.needed("sex", lambda raw: _SEXES.get(names.fold(raw).rstrip(".")), "not_a_sex")


def _start(cells: _Cells) -> datetime | None:
    if cells.text("start"):
        return cells.needed("start", moments.moment, "not_a_start")
    both = moments.moment(cells.raw("date"))  # a column of dates with their times, as 1C and databases write it
    if both and both.time() != time():
        again = cells.raw("time")
        if not again or moments.clock(again, both.date()) == both.time():
            return both
    day = cells.needed("date", moments.day, "not_a_day")
    at = cells.needed("time", lambda raw: moments.clock(raw, day), "not_a_time")
    return datetime.combine(day, at) if day and at else None


def _with_zeros(number: str, length: int) -> str:
    """Restore the leading zeros that a spreadsheet drops from a number; check digits catch a wrong guess."""
    plain = digits(number)
    return plain.zfill(length) if plain.isascii() and plain.isdigit() and length - 3 <= len(plain) else plain


def _procedure(raw: str, catalogue: Catalogue) -> ProcedureType | None:
    """Return the procedure with this code or name; None if there is none, or more than one."""
    wanted = names.fold(raw)
    by_code = [each for each in catalogue.procedures if names.fold(each.code) == wanted]
    by_name = [each for each in catalogue.procedures if names.fold(each.name) == wanted]
    found = by_code or by_name
    return found[0] if len(found) == 1 else None


def _stations(raw: str, catalogue: Catalogue) -> tuple[str, ...] | None:
    """Return AE titles by AE title, name, or name and room; several are separated by commas or semicolons."""
    whole = _station(raw, catalogue)
    if whole:
        return (whole,)
    found = [_station(part.strip(), catalogue) for part in re.split(r"[,;]", raw) if part.strip()]
    return tuple(each for each in found if each) if found and all(found) else None


def _station(raw: str, catalogue: Catalogue) -> str | None:
    by_title = [device.ae_title for device in catalogue.devices if device.ae_title == raw]
    wanted = names.fold(raw)
    by_name = [
        device.ae_title
        for device in catalogue.devices
        if wanted in (names.fold(device.name), names.fold(f"{device.name}, {device.room}"))
    ]
    found = by_title or by_name
    return found[0] if len(found) == 1 else None  # devices with the same name need the AE title


def _submission_id(draft: ReferralDraft) -> str:
    """Return a hash of the row's content: a table imported again, or in another format, registers nothing twice."""
    values = {key: value for key, value in asdict(draft).items() if key != "other_than"}  # a person's, never a row's
    content = json.dumps(values, sort_keys=True, default=str, ensure_ascii=False)
    return "table " + hashlib.sha256(content.encode()).hexdigest()
