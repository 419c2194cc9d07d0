"""One row of a table of referrals: from its texts to the referral, or every reason why it is none.

Reasons are for whoever made the table: they name the column as it is called there. What the verb itself refuses is
put into the same words by `explained`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time
from typing import TypeVar

from broker.domain import names, validation
from broker.domain.devices import Device, ProcedureType
from broker.domain.identifiers import digits
from broker.domain.orders import Priority, ReferralDraft
from broker.domain.people import Patient, PersonName, Sex
from broker.imports.referral_columns import COLUMNS, Row

T = TypeVar("T")
_SEXES = {
    **dict.fromkeys(("м", "муж", "мужской", "m", "male"), Sex.MALE),
    **dict.fromkeys(("ж", "жен", "женский", "f", "female"), Sex.FEMALE),
    **dict.fromkeys(("другой", "o", "other"), Sex.OTHER),
}
_YES = ("да", "yes", "1", "true", "+", "x", "х", "срочно", "срочный", "экстренно", "cito", "urgent", "stat")
_NO = ("", "нет", "no", "0", "false", "-", "планово", "плановый", "routine")
_PRIORITIES = {**dict.fromkeys(_YES, Priority.URGENT), **dict.fromkeys(_NO, Priority.ROUTINE)}
_SIDES = {
    **dict.fromkeys(("справа", "правая", "правый", "право", "п", "r", "right"), "R"),
    **dict.fromkeys(("слева", "левая", "левый", "лево", "л", "l", "left"), "L"),
    **dict.fromkeys(("обе", "обе стороны", "с обеих сторон", "двусторонняя", "b", "both"), "B"),
}
_FINANCE = {
    **{code: code for code in "123456"},
    **dict.fromkeys(("омс",), "1"),
    **dict.fromkeys(("бюджет",), "2"),
    **dict.fromkeys(("платно", "платные", "платная", "платные услуги"), "3"),
    **dict.fromkeys(("дмс",), "4"),
    **dict.fromkeys(("собственные средства", "собственные"), "5"),
    **dict.fromkeys(("другое",), "6"),
}
_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_ISO_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?)?")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})(?::\d{2}(?:\.\d+)?)?")
_START = re.compile(r"(\S+)[T ]+(\d\S*)")

# The verb's problem codes in plain words.
REASONS = {
    "required": "is missing",
    "name_letters": "has characters that a name does not have",
    "too_long": "is too long",
    "future": "has not come yet",
    "too_old": "is too long ago",
    "length": "has not the right number of digits",
    "check_digit": "has a wrong check digit",
    "range": "is out of reason",
    "unknown": "is not known here",
    "other_modality": "does another kind of examination",
    "past": "is over",
    "too_far": "is more than a year ahead",
    "icd10": "is no code of ICD-10",
    "other_patient": "belongs to somebody else here",
}
# The verb's names of fields -> ours, in order of preference.
_FIELDS: dict[str, tuple[str, ...]] = {
    "family": ("family", "name"),
    "given": ("given", "name"),
    "middle": ("middle", "name"),
    "device": ("station",),
    "date": ("start", "date"),
    "patient": ("patient_id", "name", "family"),
}


@dataclass(frozen=True, slots=True)
class Directory:
    """What the clinic has: procedures and approved devices."""

    procedures: Sequence[ProcedureType]
    devices: Sequence[Device]


def read(
    row: Row, columns: Mapping[str, str], directory: Directory, today: date
) -> tuple[ReferralDraft | None, list[str]]:
    """Read a row's referral; give it, or None and all the reasons. Its submission id is made of what it says."""
    cells = _Cells(row, columns)
    if row.surplus:
        cells.reasons.append("there are more cells than columns")
    name = PersonName(cells.text("family"), cells.text("given"), cells.text("middle"))
    if not name.family:
        name = names.split(cells.text("name"))
    if not name.family:
        cells.refuse("family" if "family" in columns else "name", "is missing")
    start = _start(cells)
    birth_date = cells.needed("birth_date", _day, "is no date such as 12.03.1961")
    sex = cells.needed("sex", lambda said: _SEXES.get(names.fold(said).rstrip(".")), "is neither м nor ж")
    procedure = cells.needed("procedure", lambda said: _procedure(said, directory), "is not in the directory")
    stations = cells.needed("station", lambda said: _stations(said, directory), "is no registered device")
    diagnosis_code, _, diagnosis = cells.text("diagnosis").partition(" ")
    draft = ReferralDraft(
        patient=Patient(
            name=name,
            birth_date=birth_date,
            sex=sex or Sex.OTHER,
            patient_id=cells.text("patient_id"),
            snils=_with_zeros(cells.text("snils"), 11),
            policy=digits(cells.text("policy")),
            phone=cells.text("phone"),
            weight=cells.number("weight"),
            height=cells.number("height"),
            allergies=cells.text("allergies"),
            pregnancy=cells.text("pregnancy"),
        ),
        procedure_code=procedure.code if procedure else "",
        station_ae_titles=stations or (),
        start=start or datetime.min,
        laterality=cells.one_of("laterality", _SIDES, ""),
        priority=cells.one_of("priority", _PRIORITIES, Priority.ROUTINE),
        finance=cells.one_of("finance", _FINANCE, "1"),
        referrer=names.split(cells.text("referrer")),
        referrer_snils=_with_zeros(cells.text("referrer_snils"), 11),
        referrer_position=cells.text("referrer_position"),
        diagnosis_code=diagnosis_code,
        diagnosis_text=" ".join(part for part in (diagnosis.strip(), cells.text("diagnosis_text")) if part),
        comment=cells.text("comment"),
    )
    if cells.reasons:
        found = validation.patient_problems(draft.patient, today)
        new = {field: code for field, code in found.items() if not cells.refused & {field, *_FIELDS.get(field, ())}}
        return None, cells.reasons + explained(new, columns)
    return replace(draft, submission_id=_submission_id(draft)), []


def explained(problems: Mapping[str, str], columns: Mapping[str, str]) -> list[str]:
    """Say the verb's problems (field -> code) in the table's own words."""
    said = []
    for field, code in problems.items():
        ours = next((each for each in _FIELDS.get(field, (field,)) if each in columns), "")
        said.append(f"{_called(ours or field, columns)}: {REASONS.get(code, code)}")
    return said


# ---- cells ----


class _Cells:
    """A row's cells, and what is wrong with them."""

    def __init__(self, row: Row, columns: Mapping[str, str]) -> None:
        self._values, self._columns = row.values, columns
        self.reasons: list[str] = []
        self.refused: set[str] = set()

    def text(self, field: str) -> str:
        said = self._values.get(field, "")
        if re.fullmatch(r"#(N/A|Н/Д|REF!|ССЫЛКА!|VALUE!|ЗНАЧ!|NAME\?|ИМЯ\?|DIV/0!|ДЕЛ/0!|NUM!|ЧИСЛО!|NULL!)", said):
            self.refuse(field, "holds an error of the spreadsheet")
            return ""
        return said

    def refuse(self, field: str, why: str) -> None:
        said = self._values.get(field, "")
        shown = f" (it says «{said[:40]}»)" if said else ""
        self.refused.add(field)
        self.reasons.append(f"{_called(field, self._columns)}: {why}{shown}")

    def needed(self, field: str, read: Callable[[str], T | None], why: str) -> T | None:
        said = self.text(field)
        value = read(said) if said else None
        if value is None and field not in self.refused:
            self.refuse(field, why if said else "is missing")
        return value

    def one_of(self, field: str, words: Mapping[str, T], otherwise: T) -> T:
        said = self.text(field)
        if said and names.fold(said).rstrip(".") not in words:
            self.refuse(field, "is not understood")
        return words.get(names.fold(said).rstrip("."), otherwise) if said else otherwise

    def number(self, field: str) -> float | None:
        said = self.text(field).replace(",", ".")
        if not said:
            return None
        try:
            return float(re.sub(r"\s*(кг|см|kg|cm)\.?$", "", said, flags=re.IGNORECASE))
        except ValueError:
            self.refuse(field, "is no number")
            return None


def _called(field: str, columns: Mapping[str, str]) -> str:
    return f"«{columns[field]}»" if field in columns else COLUMNS[field][0] if field in COLUMNS else field


def _start(cells: _Cells) -> datetime | None:
    if cells.text("start"):
        return cells.needed("start", _moment, "is no date and time such as 24.11.2026 10:00")
    day = cells.needed("date", _day, "is no date such as 24.11.2026")
    at = cells.needed("time", _clock, "is no time such as 10:00")
    return datetime.combine(day, at) if day and at else None


def _moment(said: str) -> datetime | None:
    found = _START.fullmatch(said)
    day, at = (_day(found[1]), _clock(found[2])) if found else (None, None)
    return datetime.combine(day, at) if day and at else None


def _day(said: str) -> date | None:
    try:
        if found := _DAY.fullmatch(said):
            return date(int(found[3]), int(found[2]), int(found[1]))
        if found := _ISO_DAY.fullmatch(said):
            return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        pass
    return None


def _clock(said: str) -> time | None:
    found = _CLOCK.fullmatch(said)
    try:
        return time(int(found[1]), int(found[2])) if found else None
    except ValueError:
        return None


def _with_zeros(number: str, length: int) -> str:
    """Give a number back the zeros that a spreadsheet takes from its beginning; check digits catch a wrong guess."""
    plain = digits(number)
    return plain.zfill(length) if plain.isascii() and plain.isdigit() and length - 3 <= len(plain) else plain


def _procedure(said: str, directory: Directory) -> ProcedureType | None:
    """Find a procedure by code or name."""
    asked = names.fold(said)
    by_code = [each for each in directory.procedures if names.fold(each.code) == asked]
    by_name = [each for each in directory.procedures if names.fold(each.name) == asked]
    found = by_code or by_name
    return found[0] if len(found) == 1 else None


def _stations(said: str, directory: Directory) -> tuple[str, ...] | None:
    """Find devices by AE title, name, or name and room; several are separated by commas or semicolons."""
    whole = _station(said, directory)
    if whole:
        return (whole,)
    found = [_station(part.strip(), directory) for part in re.split(r"[,;]", said) if part.strip()]
    return tuple(each for each in found if each) if found and all(found) else None


def _station(said: str, directory: Directory) -> str | None:
    by_title = [device.ae_title for device in directory.devices if device.ae_title == said]
    asked = names.fold(said)
    by_name = [
        device.ae_title
        for device in directory.devices
        if asked in (names.fold(device.name), names.fold(f"{device.name}, {device.room}"))
    ]
    found = by_title or by_name
    return found[0] if len(found) == 1 else None  # two devices of one name are told apart by their AE titles


def _submission_id(draft: ReferralDraft) -> str:
    """Name a row by what it says, so that a table imported again, or saved in another format, doubles nothing."""
    content = json.dumps(asdict(draft), sort_keys=True, default=str, ensure_ascii=False)
    return "table " + hashlib.sha256(content.encode()).hexdigest()
