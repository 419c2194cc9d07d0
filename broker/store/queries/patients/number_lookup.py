"""The numbers by which patients are looked up, and the indexes that have them: a beginning is a range of an index."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from broker.store.database import Reader
from broker.store.tables.patients.patients import PREFIX_END

_SIGNS = re.compile(r"[().+]")
_CARD_LENGTH = 6  # «4512» is card 004512
# A barcode scanner presses keys: in the Russian layout «D2611-0003» comes as «В2611-0003».
_LAYOUT = str.maketrans("ЙЦУКЕНГШЩЗФЫВАПРОЛДЯЧСМИТЬ", "QWERTYUIOPASDFGHJKLZXCVBNM")
_LOOK_ALIKES = str.maketrans("АВСЕНКМОРТХ", "ABCEHKMOPTX")


class Column(NamedTuple):
    """An index of numbers; `{t}` is its table. Expressions stand as in the schema, else no index is used."""

    table: str
    id: str  # the column with the patient's id
    key: str
    also: str = ""  # a further condition, of a partial index
    is_small: bool = False  # has few rows: all that match are looked at


SNILS = Column("patient", "id", "{t}.snils")
POLICY = Column("patient", "id", "{t}.policy")
CARD = Column("patient", "id", "replace(replace(upper({t}.patient_id), '-', ''), ' ', '')")
PHONE = Column(
    "patient",
    "id",
    "substr(replace(replace(replace(replace(replace(replace({t}.phone, ' ', ''), '-', ''), '(', ''), ')', ''),"
    " '+', ''), '.', ''), -10)",
    " AND {t}.phone <> ''",
)
ACCESSION = Column("orders", "patient_id", "replace(replace(upper({t}.accession_number), '-', ''), ' ', '')")
BUS_ACCESSION = Column("orders", "patient_id", "replace(replace(upper({t}.bus_accession_number), '-', ''), ' ', '')")
# Numbers that merges and corrections have put out of force.
FORMER = (
    *(
        Column("patient_merge", "surviving_id", f"{{t}}.{name}", f" AND {{t}}.undone_at IS NULL AND {{t}}.{name} <> ''",
               is_small=True)
        for name in ("former_snils", "former_policy")
    ),
    Column("patient_former_number", "patient_id", "{t}.number", is_small=True),
)  # fmt: skip
COLUMNS = (SNILS, POLICY, CARD, ACCESSION, BUS_ACCESSION, PHONE, *FORMER)

# The card in use that a merged card `c` leads to, over however many merges.
_IN_USE = (
    "(WITH RECURSIVE way (id, merged_into) AS (SELECT c.id, c.merged_into"
    " UNION SELECT q.id, q.merged_into FROM patient q JOIN way ON q.id = way.merged_into)"
    " SELECT id FROM way WHERE merged_into IS NULL)"
)


class Lookup(NamedTuple):
    """A beginning in one index; `name` is that of its parameters."""

    column: Column
    low: str
    name: str

    @property
    def params(self) -> dict[str, str]:
        """Return the ends of the range."""
        return {f"{self.name}_low": self.low, f"{self.name}_high": self.low + PREFIX_END}

    def condition(self, table: str, *, by_index: bool = True) -> str:
        """Return the condition that a row of its table has such a number."""
        key = ("" if by_index else "+") + f"({self.column.key.format(t=table)})"
        return f"{key} >= :{self.name}_low AND {key} < :{self.name}_high" + self.column.also.format(t=table)

    def select(self, what: str) -> str:
        """Return the query for the rows with such a number."""
        return f"SELECT {what} FROM {self.column.table} x WHERE {self.condition('x')}"

    def cards(self) -> str:
        """Return the query for the cards (`id`) with such a number."""
        return self.select(f"x.{self.column.id} AS id")

    def card_has(self) -> str:
        """Return the condition that a patient `p` has such a number, on any card; every row is looked at by itself."""
        if self.column.table == "orders":
            condition = self.condition("o", by_index=False)
            return f"EXISTS (SELECT 1 FROM orders o WHERE o.patient_id = p.id AND {condition})"
        if self.column.is_small:
            return f"p.id IN ({cards_in_use(self.cards())})"
        merged = "SELECT 1 FROM patient m WHERE m.merged_into = p.id"
        parts = (
            "WITH RECURSIVE part (id) AS (SELECT p.id UNION SELECT m.id FROM part JOIN patient m"
            " ON m.merged_into = part.id)"
        )
        condition = self.condition("c", by_index=False)
        on_another = f"{parts} SELECT 1 FROM part CROSS JOIN patient c ON c.id = part.id WHERE {condition}"
        own = self.condition("p", by_index=False)
        return f"(({own}) OR (EXISTS ({merged}) AND EXISTS ({on_another})))"


def cards_in_use(card_ids: str) -> str:
    """Return the query for the cards (`id`) of a query and those in use that they lead to; a card may come twice.

    Few cards were merged; so no others are read.
    """
    return (
        f"{card_ids} UNION ALL SELECT {_IN_USE} FROM patient c INDEXED BY patient_merged"
        f" WHERE c.merged_into IS NOT NULL AND +c.id IN ({card_ids})"
    )


def spellings(number: str) -> Iterable[str]:
    """Return a number as it may be meant: as typed, as the keys of the Latin layout, as Latin letters that look so."""
    return dict.fromkeys((number, number.translate(_LAYOUT), number.translate(_LOOK_ALIKES)))


class NumberLookup(NamedTuple):
    """Whose numbers begin as one that was typed: in `few` indexes all are looked at, in the others there are `many`."""

    few: tuple[Lookup, ...]  # the surest first
    many: tuple[Lookup, ...]
    surest: Lookup | None = None  # the whole number of a card, without its zeros
    rows: int = 0  # of the few

    @property
    def all(self) -> tuple[Lookup, ...]:
        """Return the lookups that find anybody."""
        return *self.few, *self.many

    @property
    def params(self) -> dict[str, str]:
        """Return the parameters of all."""
        return {key: value for each in self.all for key, value in each.params.items()}

    def few_cards(self) -> str:
        """Return the query for the cards (`id`) that the few lead to, those in use among them."""
        return cards_in_use(" UNION ALL ".join(each.cards() for each in self.few))

    def condition(self, id: str) -> str:
        """Return the condition that a patient `p`, whose id is also `id`, has such a number: many are compared."""
        conditions = [f"+{id} IN ({self.few_cards()})"] if self.few else []
        return f"({' OR '.join([*conditions, *(each.card_has() for each in self.many)])})"

    def row_condition(self) -> str:
        """Return the condition that a patient `p` has such a number, who is one of some few that are compared."""
        return f"({' OR '.join(each.card_has() for each in self.all)})"


def look_up(reader: Reader, number: str, name: str, most: int) -> NumberLookup:
    """Return where numbers begin as this one, in an index of `few` at the `most` so many times.

    `name` begins the names of the parameters.
    """
    few: list[Lookup] = []
    many: list[Lookup] = []
    surest, total = None, 0
    for place, (column, low) in enumerate(dict.fromkeys(_ranges(number))):
        lookup = Lookup(column, low, f"{name}_{place}")
        params = {**lookup.params, "most": -1 if column.is_small else most + 1}
        count = int(reader.value(f"SELECT count(*) FROM ({lookup.select('1')} LIMIT :most)", params))
        if count > most and not column.is_small:
            many.append(lookup)
        elif count:
            few.append(lookup)
            total += count
        if count and column is CARD and low != number:
            surest = lookup
    return NumberLookup(tuple(few), tuple(many), surest, total)


def _ranges(number: str) -> Iterator[tuple[Column, str]]:
    """Yield which numbers may begin so, the surest first."""
    bare = _SIGNS.sub("", number)
    if not bare.isdecimal():
        yield from ((column, spelling) for spelling in spellings(number) for column in (CARD, ACCESSION, BUS_ACCESSION))
        return
    yield from ((column, bare) for column in (SNILS, POLICY, CARD, ACCESSION, BUS_ACCESSION))
    yield CARD, number
    if len(bare) < _CARD_LENGTH:
        yield CARD, f"{bare:0>{_CARD_LENGTH}}"
    yield from ((column, bare) for column in FORMER)
    yield PHONE, bare
    if bare[0] in "78":  # the country, or the long-distance line
        yield PHONE, bare[1:]
