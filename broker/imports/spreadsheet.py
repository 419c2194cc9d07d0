"""Reads tables as people and registers keep them, CSV or XLSX: from a file to rows of text.

Which columns there are and what the cells mean is for others (`referral_columns`, `directories.file`). What a file
claims about itself is not trusted: sizes are bounded, formulas are not evaluated.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, BinaryIO

from openpyxl.reader.excel import ExcelReader

from broker.imports import csv_rows
from broker.imports.table_rows import (
    HEADER_WITHIN,
    BadTable,
    CountKnown,
    NumberText,
    TableRow,
    cell_text,
    to_the_minute,
)

MAX_UNPACKED = 150 << 20  # bytes of an XLSX file, which is a ZIP archive

IsHeader = Callable[[Sequence[str]], bool]
"""Returns True for a row that names all columns that are required."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows of a file's table, to be read once; reading them may still raise BadTable."""

    rows: Iterator[TableRow]
    title: str = ""  # of the sheet that is read; empty for CSV
    unread_sheets: tuple[str, ...] = ()


def read(file: BinaryIO, known: CountKnown, is_header: IsHeader) -> Sheet:
    """Read a file, CSV or XLSX by its content, not by its name. Raise BadTable.

    Of several sheets the first visible one with a header is read.
    """
    start = file.read(8)
    file.seek(0)
    if start.startswith(b"PK\x03\x04"):
        return _choose(_sheets(file), known, is_header)
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise BadTable("it is an old Excel file, or one with a password; save it as .xlsx without one")
    return Sheet(csv_rows.read(file, known))


class _Package(zipfile.ZipFile):
    """An XLSX file as the archive that it is, whose parts are found without regard to case (ECMA-376-2, 6.3.5).

    1C writes xl/SharedStrings.xml and refers to xl/sharedStrings.xml; others write backslashes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._by_part_name: dict[str, str] = {}
        super().__init__(file)
        for name in super().namelist():
            self._by_part_name.setdefault(_part_name(name), name)

    def getinfo(self, name: str) -> zipfile.ZipInfo:
        return super().getinfo(self._by_part_name.get(_part_name(name), name))

    def namelist(self) -> list[str]:
        return _PartNames(super().namelist())


class _PartNames(list[str]):
    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(_part_name(each) == _part_name(name) for each in self)


def _part_name(name: str) -> str:
    return name.replace("\\", "/").lstrip("/").casefold()


def _sheets(file: BinaryIO) -> list[Any]:
    """Return the sheets of a workbook. Raise BadTable."""
    try:
        package = _Package(file)
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError):
        raise BadTable("it is not an XLSX file, or a damaged one") from None
    if sum(entry.file_size for entry in package.infolist()) > MAX_UNPACKED:
        raise BadTable(f"it unpacks to more than {MAX_UNPACKED >> 20} MB")
    if "[Content_Types].xml" not in package.namelist():
        if "META-INF/manifest.xml" in package.namelist():
            raise BadTable("it is an OpenDocument file; save it as .xlsx")
        raise BadTable("it is a ZIP archive and not an XLSX file; unpack it and use the file inside")
    try:
        with warnings.catch_warnings():  # about features that no value depends on
            warnings.simplefilter("ignore")
            reader = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
            reader.archive, reader.valid_files = package, package.namelist()
            reader.read()
            sheets: list[Any] = reader.wb.worksheets
    except Exception as error:  # whatever openpyxl and the XML parser raise about a malformed file
        raise BadTable(f"it is not an XLSX file, or a damaged one ({type(error).__name__})") from None
    if not sheets:
        raise BadTable("it has no sheet that can be read; open it and save it as an ordinary .xlsx")
    return sheets


def _choose(sheets: Sequence[Any], known: CountKnown, is_header: IsHeader) -> Sheet:
    """Return the first visible sheet with a header, or else the visible one that is most like a table."""
    visible = [sheet for sheet in sheets if sheet.sheet_state == "visible"] or list(sheets)
    chosen = visible[0]
    if len(visible) > 1:
        heads = [(sheet, [row.cells for row in islice(_filled(sheet), HEADER_WITHIN)]) for sheet in visible]
        whole = (sheet for sheet, head in heads if any(map(is_header, head)))
        chosen = next(whole, None) or max(heads, key=lambda each: max(map(known, each[1]), default=0))[0]
    return Sheet(_cells(chosen), chosen.title, tuple(sheet.title for sheet in sheets if sheet is not chosen))


def _filled(sheet: Any) -> Iterator[TableRow]:
    return (row for row in _cells(sheet) if any(row.cells))


def _cells(sheet: Any) -> Iterator[TableRow]:
    """Yield a sheet's rows as texts; the size that it claims to have is not trusted."""
    epoch = sheet.parent.epoch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sheet.reset_dimensions()
            for number, line in enumerate(sheet.iter_rows(values_only=True), 1):
                yield TableRow(number, [_value_text(value, epoch) for value in line])
    except BadTable:
        raise
    except Exception as error:
        raise BadTable(f"it is a damaged XLSX file ({type(error).__name__})") from None


def _value_text(value: object, epoch: datetime) -> str:
    """Return a cell's value as a person reads it: dates in ISO form, whole numbers without a fraction."""
    match value:
        case None:
            return ""
        case bool():
            return "да" if value else "нет"
        case datetime():
            shown = to_the_minute(value)
            return shown.date().isoformat() if shown.time() == time() else f"{shown:%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case time():
            return f"{to_the_minute(datetime.combine(epoch, value)):%H:%M}"
        case timedelta():
            return f"{datetime.min + value:%H:%M}" if timedelta() <= value < timedelta(days=1) else str(value)
        case float() | int():
            whole = isinstance(value, int) or value.is_integer()
            number = NumberText(int(value) if whole else repr(value))
            number.epoch = epoch
            return number
        case _:
            return cell_text(str(value))
