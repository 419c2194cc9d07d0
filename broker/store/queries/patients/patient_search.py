"""Find patients by what people type: every word of a name, a birth date or its year, any number of theirs.

Each reading of what was typed (`typed_query`) becomes a `Selection`, which goes by the index that has the fewest to
look through: of words, of birth dates, or of numbers. Where more is found than is returned, the result says so, so that
no patient is "not found" because of a limit. Names are folded by `names.fold`, as in the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from broker.domain.patients import identifiers, latin_typing, names
from broker.domain.patients.people import Patient, PersonName
from broker.store.database import Reader, Row
from broker.store.queries.patients import number_lookup, typed_query
from broker.store.queries.patients.number_lookup import Lookup, NumberLookup
from broker.store.queries.patients.typed_query import Reading
from broker.store.tables.patients import former_names, patients
from broker.store.tables.patients.patients import PREFIX_END

_INDEXED = 8  # letters of a beginning that the index of words knows; see 0004_search.sql
_LONGEST_READ = 200  # characters of what was typed
# Numbers that begin as typed, in one index: up to so many are looked up as a set. Beyond it so many have them that
# enough of those who have the words are found among the first of either.
_MOST_NUMBERS = 30_000
_FIRST_EACH, _MOST_FIRST = 100, 2000  # of such numbers, for each patient who is wanted
_MOST_BEARERS = 1500  # of all the numbers that were typed: so few are gone through, however many have the words
_MAY_BE_MOTHER = " AND p.sex <> 'M' AND NOT is_newborn(p.name_key)"
# The words that `patient_search` has of a patient `p`.
_WORDS = "(p.name_key || ' ' || coalesce(p.birth_year, substr(p.birth_date, 1, 4)))"


class FoundPatients(NamedTuple):
    """Patients that match, the likeliest first; `more` if others match, too."""

    patients: list[Patient]
    more: bool
    former: Mapping[int, PersonName] = MappingProxyType({})  # by what name of before they were found: id -> name


class Selection(NamedTuple):
    """The patients `p` of one reading: `FROM {source} WHERE {where}` finds each of them once, by an index."""

    source: str
    where: str
    matches: str  # the condition that any patient `p` is one of them, for who has them by another index
    params: Mapping[str, object]
    order: str = ""  # that costs nothing: the likeliest first
    former: tuple[str, ...] = ()  # words of a name before by which they are found


def search(reader: Reader, typed: str, limit: int = 8) -> FoundPatients:
    """Find patients by what was typed, in any order: «куз мар 12.03.1961», «иванов и 1974», «112-233», «D2611-0003»."""
    return _search(reader, typed, limit, "")


def mothers(reader: Reader, typed: str, limit: int = 8) -> FoundPatients:
    """Find those who may be the mother of a newborn: no men and no newborns, however many of them match, too."""
    return _search(reader, typed, limit, _MAY_BE_MOTHER)


def _search(reader: Reader, typed: str, limit: int, also: str) -> FoundPatients:
    found: dict[int, Row] = {}
    former: dict[int, PersonName] = {}
    phrase = typed_query.phrase(typed[:_LONGEST_READ])
    for selection in chain(_by_beginning(phrase), selections(reader, typed, limit + 1)):
        rows = reader.rows(
            f"SELECT p.* FROM {selection.source} WHERE {selection.where}{also} {selection.order} LIMIT :limit",
            {**selection.params, "limit": limit + 1},
        )
        for row in sorted(rows, key=_name):
            if row["id"] not in found:
                found[row["id"]] = row
                if selection.former:
                    former[row["id"]] = _former_name(reader, row["id"], selection.former)
        if len(found) > limit:
            break
    listed = [patients.from_row(row) for row in list(found.values())[:limit]]
    return FoundPatients(listed, len(found) > limit, former)


def numbered_orders(reader: Reader, typed: str) -> list[int]:
    """Return the orders whose accession number, or the region's, was typed, with whatever dashes and blanks.

    Orders of one Imaging Service Request share the number of the first of them.
    """
    number = identifiers.digits(names.fold(typed)).upper()
    bearers = [
        row
        for spelling in number_lookup.spellings(number)
        for column in (number_lookup.ACCESSION, number_lookup.BUS_ACCESSION)
        for row in reader.rows(
            f"SELECT o.id, o.accession_number FROM orders o WHERE {column.key.format(t='o')} = ?", [spelling]
        )
    ]
    sharing = [
        row["id"]
        for each in bearers
        for row in reader.rows(
            "SELECT id FROM orders WHERE request_number = ? AND request_number <> '' ORDER BY id",
            [each["accession_number"]],
        )
    ]
    return list(dict.fromkeys((*(each["id"] for each in bearers), *sharing)))


def selections(reader: Reader, typed: str, wanted: int) -> Iterator[Selection]:
    """Yield the patients that match in each way to read what was typed, the likeliest first; one may come twice.

    All of them can be had of a selection; it is made so that `wanted` of them come soon.
    """
    selecting = _Selecting(reader, wanted)
    readings = list(dict.fromkeys(typed_query.readings(typed[:_LONGEST_READ])))
    for reading in readings:
        yield from selecting.of(reading)
    for reading in readings:  # who has the words in a name before
        yield from selecting.by_former_name(reading)
    if meant := latin_typing.russian_layout(typed[:_LONGEST_READ]):
        for reading in dict.fromkeys(typed_query.readings(meant)):
            yield from selecting.of(reading)


def _by_beginning(phrase: str) -> Iterator[Selection]:
    """Yield the selection of those whose names as a whole begin so, by name."""
    if phrase:
        where = "p.name_key >= :low AND p.name_key < :high AND p.merged_into IS NULL"
        yield Selection("patient p", where, where, {"low": phrase, "high": phrase + PREFIX_END}, "ORDER BY p.name_key")


class _Selecting:
    """Makes selections; what it has looked up for one reading serves the others, too."""

    def __init__(self, reader: Reader, wanted: int) -> None:
        self._reader = reader
        self._first = min(_FIRST_EACH * wanted, _MOST_FIRST)
        self._numbers: dict[str, NumberLookup] = {}
        self._bearing: dict[str, frozenset[int]] = {}  # by the query for them
        self._spelled: dict[str, tuple[str, ...]] = {}
        self._params: dict[str, object] = {}

    def of(self, reading: Reading) -> Iterator[Selection]:
        """Yield the selections of a reading; none if one of its numbers is the beginning of no number."""
        numbers = self._look_up(reading)
        if numbers is None or not all(map(self._is_known, reading.digits)):
            return
        in_use = "p.merged_into IS NULL"
        words = self._has_words(reading.beginnings)
        by_row = [each.row_condition() for each in numbers]
        matches = " AND ".join([in_use, *self._born(reading), *words, *by_row])
        if reading.dates:
            yield self._selection("patient p", matches, matches)
        elif not reading.beginnings:
            yield from self._by_numbers(numbers, matches)
        else:
            for each in numbers[:1]:
                if each.surest is not None:  # «иванов 12» is card 000012 before any other
                    yield self._by_cards([each.surest], matches, matches)
            bearers = self._bearers(numbers)
            if bearers is not None:
                rest = [each.row_condition() for each in numbers if each.many]
                yield self._by_ids(bearers, " AND ".join([in_use, *words, *rest]), matches)
            else:
                common = [each for number in numbers if number.many for each in number.many]
                if common:  # cards are numbered as they are added: the words alone might find those who lack it
                    yield self._by_cards(common, matches, matches, self._first)
                yield self._by_words(reading, [in_use, *(each.condition("s.rowid") for each in numbers)], matches)

    def by_former_name(self, reading: Reading) -> Iterator[Selection]:
        """Yield the selection of those who had all the words in a name before; all else must fit as it is now."""
        numbers = self._look_up(reading)
        if numbers is None or not reading.words:
            return
        had = " AND ".join(self._has_words(reading.words, "f.name_key"))
        cards = (
            "SELECT f.patient_id AS id FROM patient_former_search s CROSS JOIN patient_former_name f ON f.id = s.rowid"
            f" WHERE s.patient_former_search MATCH {self._match(reading.words)} AND {had}"
        )
        cards_in_use = number_lookup.cards_in_use(cards)
        conditions = [
            *self._born(reading),
            *self._has_words(reading.digits),
            *(each.row_condition() for each in numbers),
        ]
        rest = " AND ".join(["p.merged_into IS NULL", *conditions])
        source = _cards(cards_in_use)
        matches = f"p.id IN ({cards_in_use}) AND {rest}"
        yield self._selection(source, rest, matches)._replace(former=reading.words)

    def _selection(self, source: str, where: str, matches: str) -> Selection:
        return Selection(source, where, matches, self._params)

    def _by_words(self, reading: Reading, conditions: list[str], matches: str) -> Selection:
        # Half of all years begin with 1: a single digit beside words is compared with those who have the words.
        single = [each for each in reading.digits if reading.words and len(each) == 1]
        matched = tuple(each for each in reading.beginnings if each not in single)
        # The index has found whole words up to its length; what is longer, or spelled otherwise, is compared, too.
        longer = [each for each in matched if len(each) > _INDEXED or len(self._spellings(each)) > 1]
        match = f"s.patient_search MATCH {self._match(matched)}"
        where = " AND ".join([match, *conditions, *self._has_words([*longer, *single])])
        source = "patient_search s CROSS JOIN patient p ON p.id = s.rowid"
        return self._selection(source, where, matches)._replace(order="ORDER BY s.rowid DESC")

    def _by_numbers(self, numbers: list[NumberLookup], matches: str) -> Iterator[Selection]:
        """Yield the selections of those who have all the numbers, from the rarest on: by each of its indexes."""
        bearers = self._bearers(numbers) if len(numbers) > 1 else None
        if bearers is not None:
            where = ["p.merged_into IS NULL", *(each.row_condition() for each in numbers if each.many)]
            yield self._by_ids(bearers, " AND ".join(where), matches)
            return
        rarest, *others = sorted(numbers, key=lambda each: (len(each.many), each.rows))
        conditions = " AND ".join(["p.merged_into IS NULL", *(each.condition("p.id") for each in others)])
        for lookup in rarest.all:
            yield self._by_cards([lookup], conditions, matches)

    def _bearers(self, numbers: list[NumberLookup]) -> list[int] | None:
        """Return the cards that have all of those numbers which few have; None if they are too many, or unknown.

        Nothing but the indexes of the numbers is read for it; who has the words as well may be very many, or none.
        """
        few = sorted((each for each in numbers if not each.many), key=lambda each: each.rows)
        if not few or (few[0].rows > _MOST_BEARERS and len(few) == 1):
            return None
        found = frozenset.intersection(*map(self._cards_of, few))
        return sorted(found, reverse=True) if len(found) <= _MOST_BEARERS else None

    def _cards_of(self, number: NumberLookup) -> frozenset[int]:
        cards = number.few_cards()
        if cards not in self._bearing:  # one text is read faster than as many rows
            ids = self._reader.value(f"SELECT json_group_array(id) FROM ({cards})", self._params)
            self._bearing[cards] = frozenset(json.loads(ids))
        return self._bearing[cards]

    def _by_ids(self, ids: list[int], where: str, matches: str) -> Selection:
        source = f"json_each({self._param(json.dumps(ids))}) n CROSS JOIN patient p ON p.id = n.value"
        return self._selection(source, where, matches)

    def _by_cards(self, lookups: Sequence[Lookup], where: str, matches: str, first: int | None = None) -> Selection:
        """Select by numbers; of each index all cards, or the first ones only."""
        limited = (
            each.cards() if first is None else f"SELECT id FROM ({each.cards()} LIMIT {first})" for each in lookups
        )
        cards = number_lookup.cards_in_use(" UNION ALL ".join(limited))
        return self._selection(_cards(cards), where, matches)

    def _look_up(self, reading: Reading) -> list[NumberLookup] | None:
        """Return the lookups of a reading's numbers; None if no card has one of them."""
        found = []
        for number in reading.numbers:
            if number not in self._numbers:
                looked_up = number_lookup.look_up(self._reader, number, f"number{len(self._numbers)}", _MOST_NUMBERS)
                self._numbers[number] = looked_up
                self._params.update(looked_up.params)
            if not self._numbers[number].all:
                return None
            found.append(self._numbers[number])
        return found

    def _born(self, reading: Reading) -> list[str]:
        if not reading.dates:
            return []
        return [f"p.birth_date IN ({', '.join(self._param(each.isoformat()) for each in reading.dates)})"]

    def _has_words(self, words: Iterable[str], text: str = _WORDS) -> list[str]:
        return [f"has_word({text}, {self._param(word)})" for word in words]

    def _match(self, beginnings: tuple[str, ...]) -> str:
        """Return the parameter with the query for the index of words."""
        spelled = (" OR ".join(f'"{each}"*' for each in self._spellings(word)) for word in beginnings)
        return self._param(" AND ".join(f"({each})" for each in spelled))

    def _spellings(self, word: str) -> tuple[str, ...]:
        """Return the indexed beginnings that a word may stand for: its own, and those in the other alphabet."""
        if word not in self._spelled:
            cyrillic = latin_typing.cyrillic_beginnings(word, self._is_known, _INDEXED)
            latin = latin_typing.latin_beginnings(word, self._is_known, _INDEXED)
            self._spelled[word] = (word[:_INDEXED], *cyrillic, *latin)
        return self._spelled[word]

    def _is_known(self, beginning: str) -> bool:
        """Return True if a word or a year begins so."""
        sql = (
            "SELECT 1 FROM patient_search WHERE patient_search MATCH :match"
            " UNION ALL SELECT 1 FROM patient_former_search WHERE patient_former_search MATCH :match LIMIT 1"
        )
        return bool(self._reader.rows(sql, {"match": f'"{beginning[:_INDEXED]}"*'}))

    def _param(self, value: object) -> str:
        for name, known in self._params.items():
            if known == value:
                return f":{name}"
        name = f"value{len(self._params)}"
        self._params[name] = value
        return f":{name}"


def _cards(cards: str) -> str:
    return f"(SELECT DISTINCT id FROM ({cards})) n CROSS JOIN patient p ON p.id = n.id"


def _former_name(reader: Reader, id: int, words: tuple[str, ...]) -> PersonName:
    """Return the latest former name of a card, or of those merged into it, that has all the words."""
    cards = [id, *(each.stored_id for each in patients.merged_cards(reader, id))]
    for name in former_names.of_cards(reader, cards):
        if all(latin_typing.has_word(names.fold(str(name)), word) for word in words):
            return name
    raise LookupError(id)


def _name(row: Row) -> tuple[str, str]:
    return row["name_key"], row["birth_date"]
