"""Reads the entries of a register's JSON export one by one, however long the file is.

Known shapes: a list of objects; an object that holds such a list (`{"records": [{"ID": "1", …}, …]}`); and the one of
the Ministry's interface, `{"result": "OK", "list": [[{"column": "ID", "value": "1"}, …], …]}`. Values become texts.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from broker.domain.patients import names
from broker.imports.table_rows import BadTable

_CHUNK = 1 << 16
_MAX_ENTRY = 1 << 20  # characters of one entry
_BLANKS = re.compile(r"[ \t\r\n\ufeff]*")
_TOTALS = ("total", "rowsCount", "totalCount")  # how many entries there are on all pages


def read(file: BinaryIO) -> Iterator[dict[str, str]]:
    """Yield the entries of a file as column -> text. Raise BadTable, at the latest at the end."""
    cursor = _JsonCursor(file)
    start = cursor.next()
    if start == "[":
        yield from map(_entry, cursor.items())
        return
    if start != "{":
        raise BadTable("it is not JSON")
    properties: dict[str, Any] = {}
    count = lists = 0
    while (mark := cursor.next()) != "}":
        if mark != ",":
            cursor.back()
        key = cursor.value()
        if not isinstance(key, str) or cursor.next() != ":":
            raise BadTable("it is not JSON")
        if cursor.next() == "[":
            lists += 1
            if lists > 1:
                raise BadTable("it holds more than one list; which one is the directory?")
            for item in cursor.items():
                count += 1
                yield _entry(item)
        else:
            cursor.back()
            properties[key] = cursor.value()
    if properties.get("result", "OK") != "OK":
        message = properties.get("resultText") or properties.get("message") or properties["result"]
        raise BadTable(f"it is an error response: {message}")
    if not lists:
        raise BadTable("it holds no list of entries")
    for key in _TOTALS:
        if str(properties.get(key, "")).isdecimal() and int(properties[key]) > count:
            raise BadTable(f"it is one page, {count} of {properties[key]} entries; export the whole directory")


def _entry(item: object) -> dict[str, str]:
    if isinstance(item, list):
        pairs = [(cell.get("column"), cell.get("value")) for cell in item if isinstance(cell, dict)]
        if len(pairs) == len(item) and all(isinstance(column, str) for column, _ in pairs):
            item = dict(pairs)
    if not isinstance(item, dict):
        raise BadTable("its entries are neither objects nor lists of column and value")
    return {names.tidy(column): _cell_text(value) for column, value in item.items()}


def _cell_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "да" if value else "нет"
        case dict() | list():
            return ""  # nested: nothing that a directory here needs
        case _:
            return names.tidy(str(value))


class _JsonCursor:
    """A cursor on a JSON text that is read a piece at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        start = file.read(2)
        file.seek(0)
        encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        self._decoder = codecs.getincrementaldecoder(encoding)()
        # Numbers as they are written: a code 0.10 must not become 0.1.
        self._json = json.JSONDecoder(parse_int=str, parse_float=str)
        self._text, self._at, self._ended = "", 0, False

    def next(self) -> str:
        """Return the next character that is not a blank. Raise BadTable at the end."""
        while True:
            self._at = self._blanks_end()
            if self._at < len(self._text):
                self._at += 1
                return self._text[self._at - 1]
            if self._ended:
                raise BadTable("it ends too early; was it downloaded completely?")
            self._more()

    def back(self) -> None:
        """Step back, so that `next` returns the same character again."""
        self._at -= 1

    def value(self) -> Any:
        """Return the next value, of any kind. Raise BadTable."""
        while True:
            self._at = self._blanks_end()
            try:
                found, end = self._json.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:  # a number may go on in the next piece
                    self._at = end
                    return found
            except (ValueError, RecursionError):
                if self._ended or len(self._text) - self._at > _MAX_ENTRY:
                    raise BadTable("it is not JSON, or a damaged one") from None
            self._more()

    def items(self) -> Iterator[Any]:
        """Yield the items of a list whose bracket has been read."""
        if self.next() == "]":
            return
        self.back()
        while True:
            yield self.value()
            mark = self.next()
            if mark == "]":
                return
            if mark != ",":
                raise BadTable("it is not JSON, or a damaged one")

    def _blanks_end(self) -> int:
        blanks = _BLANKS.match(self._text, self._at)
        return blanks.end() if blanks else self._at

    def _more(self) -> None:
        data = self._file.read(_CHUNK)
        try:
            more = self._decoder.decode(data, final=not data)
        except UnicodeError:
            raise BadTable("its letters are not in UTF-8") from None
        self._ended = not data
        self._text, self._at = self._text[self._at :] + more, 0
