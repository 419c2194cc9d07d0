"""Reads a table of referrals as people make it: from a file's bytes to rows of text under known columns.

CSV and XLSX are read by `spreadsheet`, the cells by `referral_row`. Nothing here touches a disk; sizes are bounded,
because a table may come from anywhere.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.domain.orders import Priority
from broker.imports import spreadsheet
from broker.imports.spreadsheet import HEADER_WITHIN, BadTable

MAX_BYTES = 20 << 20  # of a file
MAX_ROWS, MAX_COLUMNS = 50_000, 200

# Field -> names of its column, folded and without punctuation; the first one is reported where a column is missing.
COLUMNS: dict[str, tuple[str, ...]] = {
    "name": ("фио", "name", "ф и о", "фио пациента", "пациент", "фамилия имя отчество", "patient", "patient name"),
    "family": ("фамилия", "family", "family name", "last name", "surname"),
    "given": ("имя", "given", "given name", "first name"),
    "middle": ("отчество", "middle", "middle name", "patronymic"),
    "birth_date": ("дата рождения", "birth date", "date of birth", "birthdate", "др", "д р", "д рождения", "dob"),
    "sex": ("пол", "sex", "gender"),
    "mother": ("мать", "mother", "мать новорожденного", "фио матери"),
    "patient_id": ("номер карты", "patient id", "карта", "n карты", "№ карты", "амбулаторная карта"),
    "snils": ("снилс", "snils", "снилс пациента"),
    "policy": ("полис", "policy", "полис омс", "номер полиса", "енп", "омс"),
    "phone": ("телефон", "phone", "тел", "номер телефона"),
    "weight": ("вес", "weight", "вес кг", "масса"),
    "height": ("рост", "height", "рост см"),
    "allergies": ("аллергия", "allergies", "аллергии", "allergy"),
    "pregnancy": ("беременность", "pregnancy"),
    "procedure": ("исследование", "procedure", "услуга", "код исследования", "код услуги", "вид исследования", "exam"),
    "station": ("аппарат", "station", "device", "оборудование", "ae title", "ae", "aet", "аппараты", "stations"),
    "start": ("дата и время", "start", "начало", "дата время", "время записи", "date and time", "datetime"),
    "date": ("дата", "date", "дата исследования", "дата записи", "дата приема"),
    "time": ("время", "time", "время исследования", "время приема"),
    "laterality": ("сторона", "laterality", "side"),
    "priority": ("срочно", "priority", "срочность", "приоритет", "urgent", "cito"),
    "finance": ("оплата", "finance", "финансирование", "источник финансирования", "вид оплаты"),
    "referrer": ("кто направил", "referrer", "направил", "направивший врач", "врач", "referring physician", "doctor"),
    "referrer_snils": ("снилс врача", "referrer snils"),
    "referrer_position": ("должность врача", "referrer position", "должность", "position"),
    "diagnosis": ("диагноз", "diagnosis", "мкб", "мкб 10", "код диагноза", "diagnosis code", "код мкб"),
    "diagnosis_text": ("текст диагноза", "diagnosis text", "описание диагноза", "расшифровка диагноза"),
    "comment": ("комментарий", "comment", "примечание", "примечания", "comments", "note"),
}
_YES = ("да", "yes", "1", "true", "+", "x", "х", "срочно", "срочный", "экстренно", "cito", "urgent", "stat")
_NO = ("", "нет", "no", "0", "false", "-", "планово", "плановый", "routine")
# Field -> what a cell may say, folded -> the value. Other cells are read as text.
CODES: dict[str, dict[str, str]] = {
    "laterality": {
        **dict.fromkeys(("справа", "правая", "правый", "право", "п", "r", "right"), "R"),
        **dict.fromkeys(("слева", "левая", "левый", "лево", "л", "l", "left"), "L"),
        **dict.fromkeys(("обе", "обе стороны", "с обеих сторон", "двусторонняя", "b", "both"), "B"),
    },
    "priority": {**dict.fromkeys(_YES, Priority.URGENT), **dict.fromkeys(_NO, Priority.ROUTINE)},
    "finance": {
        **{code: code for code in "123456"},
        "омс": "1",
        "бюджет": "2",
        **dict.fromkeys(("платно", "платные", "платная", "платные услуги"), "3"),
        "дмс": "4",
        **dict.fromkeys(("собственные средства", "собственные"), "5"),
        "другое": "6",
    },
}
# One of each group is required.
NEEDED = (("name", "family"), ("birth_date",), ("sex",), ("procedure",), ("station",), ("start", "date"))
_BY_NAME = {name: field for field, known in COLUMNS.items() for name in known}


@dataclass(frozen=True, slots=True)
class ReferralRow:
    """A row of the file: its number, counted from 1 with the header, and field -> text."""

    number: int
    values: dict[str, str]
    surplus: bool = False  # it has cells beyond the columns


@dataclass(frozen=True, slots=True)
class ReferralTable:
    """What a file holds. `columns` are field -> the column's own name, `unknown` the names of the other columns."""

    columns: dict[str, str]
    rows: tuple[ReferralRow, ...]
    unknown: tuple[str, ...] = ()
    unread_sheets: tuple[str, ...] = ()


def read(data: bytes) -> ReferralTable:
    """Read a table. Raise BadTable."""
    if len(data) > MAX_BYTES:
        raise BadTable(f"it is larger than {MAX_BYTES >> 20} MB; split it")
    sheet = spreadsheet.read(io.BytesIO(data), lambda line: len(_fields(line)))
    return _table(sheet.rows, sheet.unread_sheets)


def _table(lines: Iterable[Sequence[str]], unread: tuple[str, ...]) -> ReferralTable:
    read: list[tuple[int, Sequence[str]]] = []
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS and any(line[MAX_COLUMNS:]):
            raise BadTable(f"row {number} has more than {MAX_COLUMNS} cells")
        if any(line):
            read.append((number, line))
        if len(read) > MAX_ROWS + HEADER_WITHIN or number > 10 * MAX_ROWS:
            raise BadTable(f"it has more than {MAX_ROWS} rows; split it")
    at = max(range(min(len(read), HEADER_WITHIN)), key=lambda place: len(_fields(read[place][1])), default=None)
    header = read[at][1] if at is not None else ()
    fields = _fields(header)
    if at is None or len(fields) < 2:
        known = ", ".join(f"{names[0]} ({names[1]})" for names in COLUMNS.values())
        raise BadTable(f"no row of column names is found; known are: {known}")
    columns: dict[str, str] = {}
    for place, field in sorted(fields.items()):
        if field in columns:
            raise BadTable(f"the columns «{columns[field]}» and «{header[place]}» mean the same")
        columns[field] = header[place]
    if missing := [COLUMNS[one[0]] for one in NEEDED if not any(field in columns for field in one)]:
        raise BadTable("columns are missing: " + ", ".join(f"{names[0]} ({names[1]})" for names in missing))
    rows = [
        ReferralRow(
            number,
            {field: line[place] for place, field in fields.items() if place < len(line)},
            any(line[len(header) :]),
        )
        for number, line in read[at + 1 :]
    ]
    if len(rows) > MAX_ROWS:
        raise BadTable(f"it has more than {MAX_ROWS} rows; split it")
    unknown = tuple(name for place, name in enumerate(header) if name and place not in fields)
    return ReferralTable(columns, tuple(rows), unknown, unread)


def _fields(header: Sequence[str]) -> dict[int, str]:
    """Return place -> field for the cells that are names of known columns."""
    found = {}
    for place, cell in enumerate(header):
        if field := _BY_NAME.get(spreadsheet.plain(cell)) or _BY_NAME.get(cell.strip().lower()):
            found[place] = field
    return found
