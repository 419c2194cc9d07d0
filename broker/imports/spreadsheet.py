"""Reads tables as people and registers keep them, CSV or XLSX: from a file to rows of text.

Which columns there are and what the cells mean is for others (`referral_columns`, `directories.file`). What a file
claims about itself is not trusted: sizes are bounded, formulas are not evaluated.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, BinaryIO

from openpyxl import load_workbook

from broker.domain.patients import names

MAX_UNPACKED = 150 << 20  # bytes of an XLSX file, which is a ZIP archive
HEADER_WITHIN = 20  # rows: people write a title above a table
_DELIMITERS = ";,\t"
_CHUNK = 1 << 20

CountKnown = Callable[[Sequence[str]], int]
"""Returns how many cells of a row are names of known columns; the delimiter that yields most of them is the file's."""


class BadTable(ValueError):
    """The file is not a table of what is expected; the text says why."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows of a file's first sheet, to be read once; reading them may still raise BadTable."""

    rows: Iterator[list[str]]
    unread_sheets: tuple[str, ...] = ()


def read(file: BinaryIO, known: CountKnown) -> Sheet:
    """Read a file, CSV or XLSX by its content, not by its name. Raise BadTable."""
    start = file.read(8)
    file.seek(0)
    if start.startswith(b"PK\x03\x04"):
        return _xlsx(file)
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise BadTable("it is an old Excel file, or one with a password; save it as .xlsx without one")
    return Sheet(_csv(file, known))


def plain(name: str) -> str:
    """Return the form in which names of columns are compared: folded, without punctuation."""
    return " ".join(re.sub(r"[^\w№]|_", " ", names.fold(name)).split())


# ---- CSV ----


def _csv(file: BinaryIO, known: CountKnown) -> Iterator[list[str]]:
    encoding = _encoding(file)
    head = list(islice(_text(file, encoding), 10 * HEADER_WITHIN))  # a cell may go over several lines
    delimiter = max(_DELIMITERS, key=lambda each: _known_columns(head, each, known))
    try:
        for line in csv.reader(_text(file, encoding), delimiter=delimiter, strict=True):
            yield [names.tidy(cell) for cell in line]
    except csv.Error as error:
        raise BadTable(f"it is not CSV: {error}") from None


def _encoding(file: BinaryIO) -> str:
    """Return the encoding in which the whole file can be read. Raise BadTable."""
    start = file.read(2)
    unicode_text = start in (b"\xff\xfe", b"\xfe\xff")  # Excel's «Unicode text»
    for encoding in ("utf-16",) if unicode_text else ("utf-8-sig", "cp1251"):
        try:
            if any("\0" in chunk for chunk in _decoded(file, encoding)):
                break
        except UnicodeError:
            continue
        return encoding
    raise BadTable("it is neither XLSX nor text in UTF-8 or Windows-1251")


def _text(file: BinaryIO, encoding: str) -> Iterator[str]:
    """Yield the lines of a file from its beginning, line ends included."""
    pending = ""
    for chunk in _decoded(file, encoding):
        *whole, pending = [*io.StringIO(pending + chunk, newline=""), ""]
        if whole and not whole[-1].endswith("\n"):  # cut in its middle, or between its \r and \n
            pending = whole.pop()
        yield from whole
    yield from io.StringIO(pending, newline="")


def _decoded(file: BinaryIO, encoding: str) -> Iterator[str]:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    while chunk := file.read(_CHUNK):
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def _known_columns(head: Iterable[str], delimiter: str, known: CountKnown) -> int:
    """Return the number of known columns with this delimiter, in the row that has the most."""
    best = 0
    with suppress(csv.Error):  # reported when the file itself is read
        for line in islice(csv.reader(head, delimiter=delimiter), HEADER_WITHIN + 1):
            best = max(best, known(line))
    return best


# ---- XLSX ----


def _xlsx(file: BinaryIO) -> Sheet:
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            workbook = "[Content_Types].xml" in archive.namelist()
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError):
        raise BadTable("it is not an XLSX file, or a damaged one") from None
    if unpacked > MAX_UNPACKED:
        raise BadTable(f"it unpacks to more than {MAX_UNPACKED >> 20} MB")
    if not workbook:
        raise BadTable("it is a ZIP archive and not an XLSX file; unpack it and use the file inside")
    try:
        with warnings.catch_warnings():  # about features that no value depends on
            warnings.simplefilter("ignore")
            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = book.worksheets
    except Exception as error:  # whatever openpyxl and the XML parser raise about a malformed file
        raise BadTable(f"it is not an XLSX file, or a damaged one ({type(error).__name__})") from None
    if not sheets:
        raise BadTable("it has no sheet")
    return Sheet(_cells(sheets[0]), tuple(sheet.title for sheet in sheets[1:]))


def _cells(sheet: Any) -> Iterator[list[str]]:
    """Yield a sheet's rows as texts; the size that it claims to have is not trusted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sheet.reset_dimensions()
            for line in sheet.iter_rows(values_only=True):
                yield [_cell_text(value) for value in line]
    except BadTable:
        raise
    except Exception as error:
        raise BadTable(f"it is a damaged XLSX file ({type(error).__name__})") from None


def _cell_text(value: object) -> str:
    """Return a cell's value as a person reads it: dates in ISO form, whole numbers without a fraction."""
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
