"""Reads a table of referrals as people make it: from a file's bytes to rows of text under known columns.

CSV and XLSX are read by `spreadsheet`, the cells by `referral_row`. Nothing here touches a disk; sizes are bounded,
because a table may come from anywhere.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.domain.orders import Priority
from broker.imports import spreadsheet, table_rows
from broker.imports.table_rows import HEADER_WITHIN, BadTable, TableRow

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
    "insurer": (
        *("смо", "insurer", "страховая", "страховая компания", "страховая организация", "код смо", "наименование смо"),
        *("страховая медицинская организация", "insurance company"),
    ),
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
    "referrer": (
        *("кто направил", "referrer", "направил", "направивший врач", "врач направивший", "направляющий врач"),
        *("referring physician", "врач", "doctor"),
    ),
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
# Field -> names that say less than its others: beside one of those such a column is something else (the doctor who
# examines, the name of the procedure), which stands for another field or is not read.
_VAGUE: dict[str, tuple[tuple[str, ...], str]] = {
    "referrer": (("врач", "doctor"), ""),
    "procedure": (("исследование", "procedure", "услуга", "вид исследования", "exam"), ""),
    "diagnosis": (("диагноз", "diagnosis"), "diagnosis_text"),
}


@dataclass(frozen=True, slots=True)
class ReferralRow:
    """A row of the file: its number, counted from 1 with the header, and field -> text."""

    number: int
    values: dict[str, str]
    surplus: bool = False  # it has cells beyond the columns
    stray_quote: tuple[str, str] | None = None  # column and cell of a misplaced quote: nothing of the row is certain


@dataclass(frozen=True, slots=True)
class ReferralTable:
    """What a file holds. `columns` are field -> the column's own name, `unknown` the names of the other columns."""

    columns: dict[str, str]
    rows: tuple[ReferralRow, ...]
    unknown: tuple[str, ...] = ()
    sheet: str = ""  # that is read, of a file with several
    unread_sheets: tuple[str, ...] = ()

    @property
    def counts_sexes_from_one(self) -> bool:
        """Return True unless a sex is 0: then 1 may be either one, and not the man that it is in official codes."""
        return not any(row.values.get("sex") == "0" for row in self.rows)


def read(data: bytes) -> ReferralTable:
    """Read a table. Raise BadTable."""
    if len(data) > MAX_BYTES:
        raise BadTable(f"it is larger than {MAX_BYTES >> 20} MB; split it")
    sheet = spreadsheet.read(
        io.BytesIO(data), lambda line: len(_fields(line)), lambda line: not _missing(_fields(line))
    )
    columns, header, rows = _header(_filled(sheet.rows), f" in the sheet «{sheet.title}»" if sheet.title else "")
    fields = _chosen(columns, header)
    if len(rows) > MAX_ROWS:
        raise BadTable(f"it has more than {MAX_ROWS} rows; split it")
    return ReferralTable(
        {field: header[place] for place, field in sorted(fields.items())},
        tuple(_row(row, header, fields) for row in rows),
        tuple(name for place, name in enumerate(header) if name and place not in fields),
        sheet.title,
        sheet.unread_sheets,
    )


def _filled(rows: Iterable[TableRow]) -> list[TableRow]:
    """Return the rows in which anything is written. Raise BadTable if there are too many, or they are too wide."""
    filled: list[TableRow] = []
    for row in rows:
        if len(row.cells) > MAX_COLUMNS and any(row.cells[MAX_COLUMNS:]):
            raise BadTable(f"row {row.number} has more than {MAX_COLUMNS} cells")
        if any(row.cells):
            filled.append(row)
        if len(filled) > MAX_ROWS + HEADER_WITHIN or row.number > 10 * MAX_ROWS:
            raise BadTable(f"it has more than {MAX_ROWS} rows; split it")
    return filled


def _header(rows: Sequence[TableRow], where: str) -> tuple[dict[int, str], Sequence[str], Sequence[TableRow]]:
    """Return place -> field of the known columns, the row of column names, and the rows below. Raise BadTable."""
    at = max(range(min(len(rows), HEADER_WITHIN)), key=lambda place: len(_fields(rows[place].cells)), default=None)
    header: Sequence[str] = rows[at].cells if at is not None else ()
    fields = _fields(header)
    if at is None or len(fields) < 2:
        known = ", ".join(f"{names[0]} ({names[1]})" for names in COLUMNS.values())
        raise BadTable(f"no row of column names is found{where}; known are: {known}")
    return fields, header, rows[at + 1 :]


def _chosen(fields: dict[int, str], header: Sequence[str]) -> dict[int, str]:
    """Return place -> field, one place for each. Raise BadTable where two mean the same, or one is missing."""
    chosen = dict(fields)
    for field, (vague, otherwise) in _VAGUE.items():
        places = [place for place, each in fields.items() if each == field]
        unclear = [place for place in places if table_rows.plain(header[place]) in vague]
        if len(unclear) == 1 and len(places) > 1:
            del chosen[unclear[0]]
            if otherwise and otherwise not in fields.values():
                chosen[unclear[0]] = otherwise
    by_field: dict[str, int] = {}
    for place, field in sorted(chosen.items()):
        if field in by_field:
            raise BadTable(
                f"the columns «{header[by_field[field]]}» and «{header[place]}» mean the same: remove one of them"
            )
        by_field[field] = place
    if missing := _missing(chosen):
        raise BadTable("columns are missing: " + ", ".join(f"{names[0]} ({names[1]})" for names in missing))
    return chosen


def _missing(fields: dict[int, str]) -> list[tuple[str, ...]]:
    """Return the names of the columns that are required and not there."""
    return [COLUMNS[one[0]] for one in NEEDED if not set(one) & set(fields.values())]


def _row(row: TableRow, header: Sequence[str], fields: dict[int, str]) -> ReferralRow:
    stray_quote = None
    if row.stray_quote is not None:
        column = header[row.stray_quote] if row.stray_quote < len(header) else ""
        stray_quote = column, row.cells[row.stray_quote]
    values = {field: row.cells[place] for place, field in fields.items() if place < len(row.cells)}
    return ReferralRow(row.number, values, any(row.cells[len(header) :]), stray_quote)


def _fields(header: Sequence[str]) -> dict[int, str]:
    """Return place -> field for the cells that are names of known columns."""
    found = {}
    for place, cell in enumerate(header):
        if field := _BY_NAME.get(table_rows.plain(cell)) or _BY_NAME.get(cell.strip().lower()):
            found[place] = field
    return found
