"""Tables of referrals as people make them, CSV or XLSX: from a file's bytes to rows of text under known columns.

What the cells mean is read in `referral_row.py`. Nothing here touches a disk; sizes are bounded, because a table may
come from anybody.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from openpyxl import load_workbook

from broker.domain import names

MOST_BYTES = 20 << 20  # of a file
MOST_UNPACKED = 150 << 20  # of an XLSX file, which is a ZIP archive
MOST_ROWS, MOST_COLUMNS = 50_000, 200
_HEADER_WITHIN = 20  # rows: people write a title above a table
_DELIMITERS = ";,\t"

# Field -> names of its column, folded and without punctuation; the first one is told where a column is missing.
COLUMNS: dict[str, tuple[str, ...]] = {
    "name": ("фио", "name", "ф и о", "фио пациента", "пациент", "фамилия имя отчество", "patient", "patient name"),
    "family": ("фамилия", "family", "family name", "last name", "surname"),
    "given": ("имя", "given", "given name", "first name"),
    "middle": ("отчество", "middle", "middle name", "patronymic"),
    "birth_date": ("дата рождения", "birth date", "date of birth", "birthdate", "др", "д р", "д рождения", "dob"),
    "sex": ("пол", "sex", "gender"),
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
# One of each line must be there.
NEEDED = (("name", "family"), ("birth_date",), ("sex",), ("procedure",), ("station",), ("start", "date"))
_BY_NAME = {name: field for field, known in COLUMNS.items() for name in known}


class BadTable(ValueError):
    """The file is no table of referrals; the text says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in the file: its number, counted from 1 with the header, and field -> text."""

    number: int
    values: dict[str, str]
    surplus: bool = False  # it has cells beyond the columns


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds. `columns` are field -> the column's own name, `unknown` names that nothing is known by."""

    columns: dict[str, str]
    rows: tuple[Row, ...]
    unknown: tuple[str, ...] = ()
    unread_sheets: tuple[str, ...] = ()


def read(data: bytes) -> Table:
    """Read a table; raise BadTable."""
    if len(data) > MOST_BYTES:
        raise BadTable(f"it is larger than {MOST_BYTES >> 20} MB; split it")
    if data.startswith(b"PK\x03\x04"):
        lines, unread = _xlsx(data)
        return _table(lines, unread)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise BadTable("it is an old Excel file, or one with a password; save it as .xlsx without one")
    return _table(_csv(data), ())


def _table(lines: Iterable[Sequence[str]], unread: tuple[str, ...]) -> Table:
    read: list[tuple[int, Sequence[str]]] = []
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_COLUMNS and any(line[MOST_COLUMNS:]):
            raise BadTable(f"row {number} has more than {MOST_COLUMNS} cells")
        if any(line):
            read.append((number, line))
        if len(read) > MOST_ROWS + _HEADER_WITHIN or number > 10 * MOST_ROWS:
            raise BadTable(f"it has more than {MOST_ROWS} rows; split it")
    at = max(range(min(len(read), _HEADER_WITHIN)), key=lambda place: len(_fields(read[place][1])), default=None)
    header = read[at][1] if at is not None else ()
    fields = _fields(header)
    if at is None or len(fields) < 2:
        known = ", ".join(f"{told[0]} ({told[1]})" for told in COLUMNS.values())
        raise BadTable(f"no row of column names is found; known are: {known}")
    columns: dict[str, str] = {}
    for place, field in sorted(fields.items()):
        if field in columns:
            raise BadTable(f"the columns «{columns[field]}» and «{header[place]}» mean the same")
        columns[field] = header[place]
    if missing := [COLUMNS[one[0]] for one in NEEDED if not any(field in columns for field in one)]:
        raise BadTable("there is no column for: " + ", ".join(f"{told[0]} ({told[1]})" for told in missing))
    rows = [
        Row(
            number,
            {field: line[place] for place, field in fields.items() if place < len(line)},
            any(line[len(header) :]),
        )
        for number, line in read[at + 1 :]
    ]
    if len(rows) > MOST_ROWS:
        raise BadTable(f"it has more than {MOST_ROWS} rows; split it")
    unknown = tuple(name for place, name in enumerate(header) if name and place not in fields)
    return Table(columns, tuple(rows), unknown, unread)


def _fields(header: Sequence[str]) -> dict[int, str]:
    """Give place -> field of the cells that are names of known columns."""
    found = {}
    for place, cell in enumerate(header):
        plain = " ".join(re.sub(r"[^\w№]|_", " ", names.fold(cell)).split())
        if field := _BY_NAME.get(plain) or _BY_NAME.get(cell.strip().lower()):
            found[place] = field
    return found


# ---- CSV ----


def _csv(data: bytes) -> Iterator[list[str]]:
    text = _decoded(data)
    delimiter = max(_DELIMITERS, key=lambda each: _known_columns(text, each))
    try:
        for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            yield [names.tidy(cell) for cell in line]
    except csv.Error as error:
        raise BadTable(f"it is no CSV: {error}") from None


def _decoded(data: bytes) -> str:
    unicode_text = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # so Excel calls its format
    for encoding in ("utf-16",) if unicode_text else ("utf-8-sig", "cp1251"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise BadTable("it is neither XLSX nor text in UTF-8 or Windows-1251")


def _known_columns(text: str, delimiter: str) -> int:
    """Count the columns that are recognised with this delimiter, in the row that has the most."""
    best = 0
    try:
        for number, line in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)):
            best = max(best, len(_fields(line)))
            if number >= _HEADER_WITHIN:
                break
    except csv.Error:
        pass  # said when it is read in earnest
    return best


# ---- XLSX ----


def _xlsx(data: bytes) -> tuple[Iterator[list[str]], tuple[str, ...]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise BadTable("it is no XLSX file, or a damaged one") from None
    if unpacked > MOST_UNPACKED:
        raise BadTable(f"it unpacks to more than {MOST_UNPACKED >> 20} MB")
    try:
        with warnings.catch_warnings():  # of features that no value depends on
            warnings.simplefilter("ignore")
            book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            sheets = book.worksheets
    except Exception as error:  # whatever openpyxl and the XML parser raise about a file that is not as it should be
        raise BadTable(f"it is no XLSX file, or a damaged one ({type(error).__name__})") from None
    if not sheets:
        raise BadTable("it has no sheet")
    return _cells(sheets[0]), tuple(sheet.title for sheet in sheets[1:])


def _cells(sheet: Any) -> Iterator[list[str]]:
    """Give a sheet's rows as texts; the size that it claims to have is not believed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sheet.reset_dimensions()
            for line in sheet.iter_rows(values_only=True):
                yield [_said(value) for value in line]
    except BadTable:
        raise
    except Exception as error:
        raise BadTable(f"it is a damaged XLSX file ({type(error).__name__})") from None


def _said(value: object) -> str:
    """Write a cell's value as a person reads it: dates in ISO form, whole numbers without a fraction."""
    match value:
        case None:
            return ""
        case bool():
            return "да" if value else "нет"
        case datetime():
            return value.date().isoformat() if value.time() == time() else f"{value:%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case time():
            return f"{value:%H:%M}"
        case timedelta():
            return f"{datetime.min + value:%H:%M}" if timedelta() <= value < timedelta(days=1) else str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case _:
            return names.tidy(str(value))
