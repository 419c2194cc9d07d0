"""Find patients by what people type: every word of a name, a birth date or its year, any number of theirs.

Every search goes by an index and stops at its limit. Where more is found than is returned, the result says so, so that
no patient is "not found" because of a limit. Names are folded by `names.fold`, as in the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from broker.domain import typed_dates
from broker.domain.patients import identifiers, names
from broker.domain.patients.people import Patient, PersonName
from broker.store.database import Reader, Row
from broker.store.tables import patient_merges, patients
from broker.store.tables.patients import PREFIX_END

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\w*\d[\w.()+]*")
_YEAR = re.compile(r"(?:19|20)\d\d")
_INDEXED = 8  # letters of a beginning that the index of words knows; see 0004_search.sql
_SHORTEST_PHONE = 5  # digits; fewer are the beginning of everybody's
_SHORTEST_BESIDE_WORDS = 3  # digits of a number's beginning; fewer are a card's whole number, or a date's beginning
_HALF_TYPED = re.compile(r"(?:^|[\s,])\d{1,2}(?:[.,/\- ]\d{0,2}(?:[.,/\- ](?:19|20)?\d?)?)?$")  # a date on its way
_NO_LIMIT = -1
# As in 0004_search.sql, letter by letter: else the indexes are not used.
_CARD = "replace(replace(upper(patient_id), '-', ''), ' ', '')"
_PHONE = (
    "substr(replace(replace(replace(replace(replace(replace(phone, ' ', ''), '-', ''), '(', ''), ')', ''), '+', ''),"
    " '.', ''), -10)"
)
_ACCESSION = "replace(replace(upper(accession_number), '-', ''), ' ', '')"
_BUS_ACCESSION = "replace(replace(upper(bus_accession_number), '-', ''), ' ', '')"
# Number columns that hold digits only; `:low` and `:high` are the range of a beginning.
_BY_DIGITS = (
    "SELECT id FROM patient WHERE snils >= :low AND snils < :high",
    "SELECT id FROM patient WHERE policy >= :low AND policy < :high",
)
_BY_TEXT = (
    f"SELECT id FROM patient WHERE {_CARD} >= :low AND {_CARD} < :high",
    f"SELECT patient_id AS id FROM orders WHERE {_ACCESSION} >= :low AND {_ACCESSION} < :high",
    f"SELECT patient_id AS id FROM orders WHERE {_BUS_ACCESSION} >= :low AND {_BUS_ACCESSION} < :high",
)
_BY_PHONE = f"SELECT id FROM patient WHERE phone <> '' AND {_PHONE} >= :low AND {_PHONE} < :high"
# A barcode scanner presses keys: in the Russian layout «D2611-0003» comes as «В2611-0003».
_LAYOUT = str.maketrans("ЙЦУКЕНГШЩЗФЫВАПРОЛДЯЧСМИТЬ", "QWERTYUIOPASDFGHJKLZXCVBNM")
_LOOK_ALIKES = str.maketrans("АВСЕНКМОРТХ", "ABCEHKMOPTX")


class FoundPatients(NamedTuple):
    """Patients that match, the likeliest first; `more` if others match, too."""

    patients: list[Patient]
    more: bool
    former: Mapping[int, PersonName] = MappingProxyType({})  # by what name of before they were found: id -> name


class _Query(NamedTuple):
    """What was typed, taken apart."""

    phrase: str  # the words as typed, folded; the beginning of a name as a whole
    words: tuple[str, ...]  # folded, each the beginning of a word of the name
    dates: tuple[date, ...]  # one of them is the birth date; empty: none was typed
    year: str  # of birth, beside words
    numbers: tuple[str, ...]  # in capital letters, without dashes and blanks
    half_typed: bool = False  # what stands at the end may be the beginning of a date


def search(reader: Reader, typed: str, limit: int = 8) -> FoundPatients:
    """Find patients by what was typed, in any order: «куз мар 12.03.1961», «иванов и 1974», «112-233», «D2611-0003»."""
    query = _parse(typed)
    found: dict[int, Row] = {}
    for rows in _searches(reader, query, limit + 1):
        found.update({row["id"]: row for row in rows if row["id"] not in found})
        if len(found) > limit:
            break
    former: dict[int, PersonName] = {}
    if len(found) <= limit and query.words and not query.numbers:
        for row, name in _by_former_names(reader, query, limit + 1):
            if row["id"] not in found:
                found[row["id"]], former[row["id"]] = row, name
    if not found and query.words and query.half_typed:
        words = _Query("", query.words, (), "", ())
        found = {row["id"]: row for row in _by_words(reader, words, limit + 1)}
    listed = [patients.from_row(row) for row in list(found.values())[:limit]]
    return FoundPatients(listed, len(found) > limit, former)


def numbered_orders(reader: Reader, typed: str) -> list[int]:
    """Return the orders whose accession number, or the region's, was typed, with whatever dashes and blanks."""
    number = identifiers.digits(names.fold(typed)).upper()
    return [
        row["id"]
        for spelling in _spellings(number)
        for column in (_ACCESSION, _BUS_ACCESSION)
        for row in reader.rows(f"SELECT id FROM orders WHERE {column} = ?", [spelling])
    ]


def _parse(typed: str) -> _Query:
    folded = names.fold(typed).replace("№", " ")
    rest, dates = typed_dates.take_birth_dates(folded)
    whole = re.sub(r"[().+]", "", identifiers.digits(folded))
    if whole.isdecimal():  # a number as a whole, in whatever groups; it may be a date, too
        return _Query("", (), dates, "", (whole,))
    words = tuple(word for part in rest.split() if not _NUMBER.search(part) for word in _WORD.findall(part))
    numbers = [identifiers.digits(part).upper() for part in rest.split() if _NUMBER.search(part)]
    if not words and not dates:
        numbers = [whole.upper()]  # «D2611 0003»
    years = [number for number in numbers if _YEAR.fullmatch(number)] if words else []
    return _Query(
        " ".join(rest.split()) if not numbers else "",
        words,
        dates,
        years[0] if years else "",
        tuple(number for number in numbers if number and number not in years[:1]),
        bool(_HALF_TYPED.search(folded.rstrip())),
    )


def _searches(reader: Reader, query: _Query, limit: int) -> Iterator[list[Row]]:
    """Yield what each way to look finds, the surest first."""
    if query.numbers:
        yield from (_fitting(rows, query) for rows in _by_numbers(reader, query, limit))
        if not query.words:
            yield from ([_by_dates(reader, query, limit)] if query.dates else [])
        elif all(number.isalnum() for number in query.numbers):  # «Неизвестный №3», «Иванова девочка 2»
            numbers = (number.casefold() for number in query.numbers)
            yield _by_words(reader, query._replace(words=(*query.words, *numbers)), limit)
        return
    if query.dates:
        yield _by_dates(reader, query, limit)
    elif query.words:
        if not query.year:
            yield _by_beginning(reader, query.phrase, limit)
        yield _by_words(reader, query, limit)


def _by_beginning(reader: Reader, phrase: str, limit: int) -> list[Row]:
    return reader.rows(
        "SELECT * FROM patient WHERE name_key >= :low AND name_key < :high AND merged_into IS NULL"
        " ORDER BY name_key LIMIT :limit",
        {**_range(phrase), "limit": limit},
    )


def _by_words(reader: Reader, query: _Query, limit: int) -> list[Row]:
    beginnings = [f'"{word[:_INDEXED]}"*' for word in query.words]
    params: dict[str, Any] = {"match": " AND ".join([*beginnings, *([f'"{query.year}"'] if query.year else [])])}
    conditions, words = _named(each for each in query.words if len(each) > _INDEXED)
    rows = reader.rows(
        "SELECT p.* FROM patient_search s JOIN patient p ON p.id = s.rowid"
        f" WHERE s.patient_search MATCH :match AND p.merged_into IS NULL{conditions} LIMIT :limit",
        {**params, **words, "limit": limit},
    )
    return sorted(rows, key=_name)


def _by_former_names(reader: Reader, query: _Query, limit: int) -> list[tuple[Row, PersonName]]:
    """Return those who had all the words in a name before, with that name; the card's own birth date counts."""
    conditions, words = _named(each for each in query.words if len(each) > _INDEXED)
    born = {each.isoformat() for each in query.dates}
    rows = reader.rows(
        "SELECT * FROM patient_former_name WHERE id IN (SELECT rowid FROM patient_former_search"
        f" WHERE patient_former_search MATCH :match){conditions} ORDER BY name_key, id LIMIT :limit",
        {
            "match": " AND ".join(f'"{word[:_INDEXED]}"*' for word in query.words),
            **words,
            "limit": _NO_LIMIT if born or query.year else limit,
        },
    )
    found: dict[int, tuple[Row, PersonName]] = {}
    for each in rows:
        for row in _cards(reader, [each["patient_id"]]):
            year = str(row["birth_year"] or row["birth_date"][:4])
            if (not born or row["birth_date"] in born) and query.year in ("", year):
                name = PersonName(each["family"], each["given"], each["middle"])
                found.setdefault(row["id"], (row, name))
    return list(found.values())[:limit]


def _by_dates(reader: Reader, query: _Query, limit: int) -> list[Row]:
    """Return those who were born on one of the dates; a few hundred at the most were born on any day."""
    rows = [
        row
        for each in query.dates
        for row in reader.rows("SELECT * FROM patient WHERE birth_date = ? AND merged_into IS NULL", [each.isoformat()])
    ]
    return sorted(_fitting(rows, query), key=_name)[:limit]


def _by_numbers(reader: Reader, query: _Query, limit: int) -> Iterator[list[Row]]:
    """Yield what the numbers find; beside words all of those whose names have them, who else has such a number."""
    conditions, words = _named(query.words)
    most = _NO_LIMIT if query.words else limit
    for number in query.numbers:
        for lookup, beginning in _number_lookups(number, beside_words=bool(query.words)):
            # A merged card leads to another one, which may have another name.
            named = f"JOIN patient p ON p.id = x.id WHERE p.merged_into IS NOT NULL OR (1{conditions})"
            sql = f"SELECT x.id FROM ({lookup}) x {named}" if query.words else lookup
            found = reader.rows(f"{sql} LIMIT :limit", {**words, **_range(beginning), "limit": most})
            yield _cards(reader, [row["id"] for row in found])
        former = patient_merges.by_former_number(reader, number, most)
        yield _cards(reader, [patient.stored_id for patient in former])


def _named(words: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Return the SQL conditions that a name has all the words, each as the beginning of one; and their values."""
    values = {f"word{number}": f" {word}" for number, word in enumerate(words)}
    name = "replace(replace(' ' || name_key, '-', ' '), '''', ' ')"
    return "".join(f" AND instr({name}, :{key})" for key in values), values


def _cards(reader: Reader, ids: Iterable[int]) -> list[Row]:
    """Return the cards with these ids; a merged card's number leads to the card that stayed."""
    surviving = dict.fromkeys(patients.surviving_id(reader, id) for id in ids)
    return [row for id in surviving for row in reader.rows("SELECT * FROM patient WHERE id = ?", [id])]


def _number_lookups(number: str, *, beside_words: bool) -> Iterator[tuple[str, str]]:
    """Yield the queries that a number is looked up by, each with the beginning that it looks for."""
    if beside_words and number.isdecimal() and len(number) < _SHORTEST_BESIDE_WORDS:
        yield _BY_TEXT[0], f"{number:0>6}"
        return
    if not number.isdecimal():
        yield from ((sql, spelling) for spelling in _spellings(number) for sql in _BY_TEXT)
        return
    yield from ((sql, number) for sql in (*_BY_DIGITS, *_BY_TEXT))
    if len(number) < 6:  # «4512» is card 004512
        yield _BY_TEXT[0], f"{number:0>6}"
    if len(number) >= _SHORTEST_PHONE:
        yield _BY_PHONE, number
        if number[0] in "78":  # the country, or the long-distance line
            yield _BY_PHONE, number[1:]


def _spellings(number: str) -> Iterable[str]:
    """Return a number as it may be meant: as typed, as the keys of the Latin layout, as Latin letters that look so."""
    return dict.fromkeys((number, number.translate(_LAYOUT), number.translate(_LOOK_ALIKES)))


def _fitting(rows: Sequence[Row], query: _Query) -> list[Row]:
    """Return the rows whose names have all the words, and that were born on one of the dates if a name was typed."""
    born = {each.isoformat() for each in query.dates} if query.words else set()
    return [
        row
        for row in rows
        if (not born or row["birth_date"] in born)
        and all(any(part.startswith(word) for part in _WORD.findall(row["name_key"])) for word in query.words)
    ]


def _range(beginning: str) -> dict[str, str]:
    return {"low": beginning, "high": beginning + PREFIX_END}


def _name(row: Row) -> tuple[str, str]:
    return row["name_key"], row["birth_date"]
