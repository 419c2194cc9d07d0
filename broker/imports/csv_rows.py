"""Reads CSV as people and programs write it: encoding and delimiter by the content, one row after the other.

A quote in the wrong place spoils its own row, not the file: such a row is what stands on its line, marked.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import BinaryIO

from broker.imports.table_rows import HEADER_WITHIN, BadTable, CountKnown, TableRow, cell_text

_DELIMITERS = ";,\t"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_CHUNK = 1 << 20


def read(file: BinaryIO, known: CountKnown) -> Iterator[TableRow]:
    """Yield the rows of a file, counted as a spreadsheet counts them. Raise BadTable."""
    encoding = _encoding(file)
    head = list(islice(_text(file, encoding), 10 * HEADER_WITHIN))  # a cell may go over several lines
    delimiter = max(_DELIMITERS, key=lambda each: max(map(known, _head_rows(head, each)), default=0))
    width = len(max(_head_rows(head, delimiter), key=known, default=[]))
    lines = _Lines(_text(file, encoding))
    for number, line in enumerate(lines, 1):
        cells, stray_quote = _record(line, lines, delimiter, width)
        yield TableRow(number, [cell_text(cell) for cell in cells], stray_quote)


class _Lines:
    """The lines of a file, line ends included, of which the last ones can be given back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._pending: deque[str] = deque()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        return self._pending.popleft() if self._pending else next(self._lines)

    def back(self, lines: Iterable[str]) -> None:
        self._pending.extendleft(reversed(list(lines)))


def _record(line: str, lines: _Lines, delimiter: str, width: int) -> tuple[list[str], int | None]:
    """Return the cells of the row that begins with a line, and the place of a cell whose quote is misplaced, or None.

    `width` is the number of cells of the header.
    """
    if '"' not in line:
        return line.rstrip("\r\n").split(delimiter), None
    taken: list[str] = []

    def following() -> Iterator[str]:
        yield line
        for each in lines:
            taken.append(each)
            yield each

    try:
        cells = next(csv.reader(following(), delimiter=delimiter, strict=True))
    except csv.Error:
        cells = None
    if cells is not None and not (taken and _are_rows(line, taken[-1], delimiter, width)):
        return cells, None
    lines.back(taken)
    cells = line.rstrip("\r\n").split(delimiter)
    stray = (place for place, cell in enumerate(cells) if cell.startswith('"') and not _QUOTED.fullmatch(cell))
    return [_unquoted(cell) for cell in cells], next(stray, 0)


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell


def _are_rows(first: str, last: str, delimiter: str, width: int) -> bool:
    """Return True if lines that quotes make one cell of are rows: a stray quote was paired with a later one."""
    return width > 1 and min(first.count(delimiter), last.count(delimiter)) >= width - 1


def _head_rows(head: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    lines = _Lines(iter(head))
    for line in islice(lines, HEADER_WITHIN + 1):
        yield _record(line, lines, delimiter, 0)[0]


def _encoding(file: BinaryIO) -> str:
    """Return the encoding in which the whole file can be read. Raise BadTable."""
    start = file.read(2)
    unicode_text = start in (b"\xff\xfe", b"\xfe\xff")  # Excel's «Unicode text»
    for encoding in ("utf-16",) if unicode_text else ("utf-8-sig", "cp1251"):
        with suppress(UnicodeError):
            if any("\0" in chunk for chunk in _decoded(file, encoding)):
                break
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
