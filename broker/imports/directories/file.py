"""Reads a directory as registers export it, CSV, XLSX or JSON: from a file to rows of text under known columns.

What the cells mean is read in `row`. A file is read row by row, so that its size does not matter much; columns are
found by their names, never guessed where two could be meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from broker.imports import json_stream, spreadsheet
from broker.imports.directories.kinds import ANY_CODE, Kind
from broker.imports.spreadsheet import Sheet
from broker.imports.table_rows import HEADER_WITHIN, BadTable, TableRow, plain

MAX_BYTES = 300 << 20
MAX_ROWS = 200_000
MAX_COLUMNS = 200
_FILE_NAME = re.compile(r"(\d+(?:\.\d+){4,})(?:_(\d+(?:\.\d+)*))?(?:\D.*)?")


@dataclass(frozen=True, slots=True)
class DirectoryRow:
    """A row of the file: its number, counted from 1 and in a table with the header, and field -> text."""

    number: int
    values: dict[str, str]
    stray_quote: str = ""  # a cell whose quote is misplaced: nothing of the row is certain


@dataclass(frozen=True, slots=True)
class DirectoryTable:
    """What a file holds. `columns` are field -> the column's own name; `rows` are read once and may raise BadTable."""

    columns: dict[str, str]
    rows: Iterator[DirectoryRow]
    row_label: str = "row"  # or entry
    unread: tuple[str, ...] = ()  # columns
    sheet: str = ""  # that is read, of a file with several
    unread_sheets: tuple[str, ...] = ()


def read(file: BinaryIO, kind: Kind, named: Mapping[str, str] | None = None) -> DirectoryTable:
    """Read a file's header; `named` are field -> the name of its column where a person named it. Raise BadTable."""
    columns = _Columns(kind, {field: plain(name) for field, name in (named or {}).items()})
    start = file.read(1024)
    if len(start) == 1024 and file.seek(0, 2) > MAX_BYTES:
        raise BadTable(f"it is larger than {MAX_BYTES >> 20} MB")
    file.seek(0)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").replace(b"\0", b"").removeprefix(b"\xff\xfe")
    if text.startswith(b"<"):
        raise BadTable("it is XML or a web page; export it as CSV, XLSX or JSON")
    if text.startswith((b"{", b"[")):
        rows = (TableRow(number, cells) for number, cells in enumerate(_json_lines(file)))
        return _table(Sheet(rows), columns, "entry")
    return _table(spreadsheet.read(file, columns.score, columns.are_enough), columns, "row")


def system_and_version(path: Path) -> tuple[str, str]:
    """Return OID and version from a file's name (1.2.643.5.1.13.13.11.1005_2.27.csv), empty where it has none."""
    found = _FILE_NAME.fullmatch(path.name)
    return (found[1], found[2] or "") if found else ("", "")


def _json_lines(file: BinaryIO) -> Iterator[list[str]]:
    entries = json_stream.read(file)
    first = list(islice(entries, HEADER_WITHIN))
    header = list(dict.fromkeys(column for entry in first for column in entry))
    yield header
    for entry in chain(first, entries):
        yield [entry.get(column, "") for column in header]


def _table(sheet: Sheet, columns: _Columns, row_label: str) -> DirectoryTable:
    filled = (row for row in sheet.rows if any(row.cells))
    head = list(islice(filled, HEADER_WITHIN))
    if not head:
        raise BadTable("it is empty")
    at = max(range(len(head)), key=lambda place: columns.score(head[place].cells))
    header = head[at].cells
    if any(header[MAX_COLUMNS:]):
        raise BadTable(f"it has more than {MAX_COLUMNS} columns")
    fields = columns.found(header)
    rest = head[at + 1 :]
    if rest and len(columns.known(rest[0].cells)) > 1:
        del rest[0]  # a second row of names: the register writes them in two languages
    return DirectoryTable(
        {field: header[place] for field, place in fields.items()},
        _rows(chain(rest, filled), fields),
        row_label,
        tuple(name for place, name in enumerate(header) if name and place not in fields.values()),
        sheet.title,
        sheet.unread_sheets,
    )


def _rows(rows: Iterable[TableRow], fields: Mapping[str, int]) -> Iterator[DirectoryRow]:
    for count, row in enumerate(rows):
        if count >= MAX_ROWS:
            raise BadTable(f"it has more than {MAX_ROWS} rows")
        values = {field: row.cells[place] for field, place in fields.items() if place < len(row.cells)}
        yield DirectoryRow(row.number, values, "" if row.stray_quote is None else row.cells[row.stray_quote])


class _Columns:
    """Finds the columns of a kind of directory by their names."""

    def __init__(self, kind: Kind, named: Mapping[str, str]) -> None:
        self.kind = kind
        self.named = named
        if unknown := set(named) - set(kind.fields):
            raise BadTable(
                f"--columns: {kind.name} have no {', '.join(sorted(unknown))}; they have {', '.join(kind.fields)}"
            )

    def known(self, line: Sequence[str]) -> dict[str, list[int]]:
        """Return field -> the places in a row whose cell is a name of its column, the best name first."""
        places: dict[str, list[int]] = {}
        for place, cell in enumerate(line[:MAX_COLUMNS]):
            if cell:
                places.setdefault(plain(cell), []).append(place)
        found = {}
        for field, known in self.kind.fields.items():
            wanted = (self.named[field],) if field in self.named else known
            if there := [place for name in wanted for place in places.get(name, ())]:
                found[field] = there
        return found

    def score(self, line: Sequence[str]) -> int:
        """Return how much a row looks like the header: by known columns, then by the number of cells."""
        return 1000 * len(self.known(line)) + sum(map(bool, line[:MAX_COLUMNS]))

    def are_enough(self, line: Sequence[str]) -> bool:
        """Return True for a row that names all columns that are required."""
        return not self._missing(self.known(line))

    def _missing(self, known: Mapping[str, list[int]]) -> list[tuple[str, ...]]:
        return [one for one in self.kind.needed if not any(field in known for field in one)]

    def found(self, header: Sequence[str]) -> dict[str, int]:
        """Return field -> its place in the header; raise BadTable where one is missing or could be several."""
        known = self.known(header)
        listing = f"its columns are: {', '.join(name for name in header if name)}"
        hint = "name the right one, for example: --columns"
        for field, name in self.named.items():
            if field not in known:
                raise BadTable(f"--columns {field}: the file has no column «{name}»; {listing}")
        if missing := self._missing(known):
            example = ",".join(f"{one[0]}=COLUMN" for one in missing)
            words = " and ".join(" or ".join(one) for one in missing)
            raise BadTable(f"no column is known as the {words} of {self.kind.name}; {listing}; {hint} {example}")
        several = [header[place] for place in known.get("code", ()) if ("code",) in self.kind.needed]
        if len(several) > 1 and "code" not in self.named and plain(several[0]) in ANY_CODE:
            raise BadTable(f"the code could be {' or '.join(several)}; {hint} code={several[0]}; {listing}")
        places = {}
        for field, there in known.items():
            if len(there) > 1 and plain(header[there[0]]) == plain(header[there[1]]):
                raise BadTable(f"two columns are called «{header[there[0]]}»")
            places[field] = there[0]
        return places
