"""What people type to find a patient, taken apart: words, a birth date, beginnings of numbers; and what it may mean.

«иванов 087 654» may be one number in two groups or two numbers, «иванов 1974» a year of birth or a policy's beginning,
«Неизвестный 3» has a digit in the name. Each way to read it is a `Reading`; a patient who fits one of them is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from itertools import product
from typing import NamedTuple

from broker.domain import typed_dates
from broker.domain.patients import identifiers, names

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\w*\d[\w.()+]*")
_YEAR = re.compile(r"(?:19|20)\d\d")
_MOST_PARTS = 5  # parts with digits that may be numbers of their own; what is typed behind them belongs to the last
_MOST_GROUPS, _ALL_APART = 3, 4  # of more than so many parts, so many numbers at the most
_LONGEST = 64  # characters of a number
# A date on its way, at the end: «иванов 12», «иванов 12.03.19».
_HALF_TYPED = re.compile(r"(?:^|(?<!\d)[\s,])\d{1,2}(?:[.,/\- ]\d{0,2}(?:[.,/\- ](?:19|20)?\d?)?)?$")


class Reading(NamedTuple):
    """One way to understand what was typed; all of it must fit."""

    words: tuple[str, ...] = ()  # folded, each the beginning of a word of the name
    dates: tuple[date, ...] = ()  # one of them is the birth date; empty: none was typed
    digits: tuple[str, ...] = ()  # each the beginning of the year of birth, or of a word of the name with a digit
    numbers: tuple[str, ...] = ()  # each the beginning of a number, in capital letters, without dashes and blanks

    @property
    def beginnings(self) -> tuple[str, ...]:
        """Return everything that begins a word of the name, or the year."""
        return *self.words, *self.digits


def phrase(typed: str) -> str:
    """Return the beginning of a name as a whole, if nothing but words were typed; else ''."""
    folded = _fold(typed)
    return "" if any(char.isdigit() for char in folded) or not _WORD.search(folded) else folded


def readings(typed: str) -> Iterator[Reading]:
    """Yield the ways to understand what was typed, the likeliest first."""
    folded = _fold(typed)
    # As a name «112- 780» is one word, as numbers it is two; as a date «12 - 03 - 1961» is one.
    apart = " ".join(map(_fold, typed.split()))
    lines = dict.fromkeys((folded, apart))
    dated = [way for line in lines for rest, dates in typed_dates.each_birth_date(line) for way in _ways(rest, dates)]
    undated = [way for line in lines for way in _ways(line, ())]
    # «12031961» alone is looked up as a number before it is taken for a date.
    yield from (*dated, *undated) if any(way.words for way in undated) else (*undated, *dated)
    if _HALF_TYPED.search(folded) and (words := _words(folded)):
        yield Reading(words)


def _fold(typed: str) -> str:
    return names.fold(typed).replace("№", " ").strip()


def _words(folded: str) -> tuple[str, ...]:
    return tuple(word for part in folded.split() if not _NUMBER.search(part) for word in _WORD.findall(part))


def _ways(folded: str, dates: tuple[date, ...]) -> Iterator[Reading]:
    """Yield the ways to read a line: its parts with digits in any groups, each group a number or one of the words."""
    words = _words(folded)
    parts = [part for part in folded.split() if _NUMBER.search(part)]
    if not parts:
        if words or dates:
            yield Reading(words, dates)
        return
    if len(parts) > _MOST_PARTS:
        parts[_MOST_PARTS - 1 :] = [" ".join(parts[_MOST_PARTS - 1 :])]
    for groups in _groupings(parts):
        texts = [identifiers.digits("".join(group)).upper()[:_LONGEST] for group in groups]
        if not all(texts):
            continue
        # One digit begins a number of nearly everybody: of many parts it is a part of one.
        shortest = 2 if len(parts) > _MOST_GROUPS else 1
        kinds = [_kinds(group, text, bool(words), shortest) for group, text in zip(groups, texts, strict=True)]
        for chosen in product(*kinds):
            pairs = list(zip(chosen, texts, strict=True))
            yield Reading(
                words,
                dates,
                tuple(text.casefold() for is_number, text in pairs if not is_number),
                tuple(text for is_number, text in pairs if is_number),
            )
    if len(parts) > _MOST_GROUPS and any(sum(map(str.isdigit, part)) > 2 for part in parts):
        for at, part in enumerate(parts):  # the first digit of one more number, which is no help among so many
            if _is_digit(part):
                yield from _ways(" ".join([*words, *parts[:at], *parts[at + 1 :]]), dates)


def _is_digit(part: str) -> bool:
    return len(part) == 1


def _groupings(parts: list[str]) -> list[list[list[str]]]:
    """Return the ways to put neighbouring parts together, the fewest groups first.

    Many parts are the groups of few numbers: «8 913 123 45 67».
    """
    found = []
    for cuts in product((False, True), repeat=len(parts) - 1):
        groups = [[parts[0]]]
        for is_cut, part in zip(cuts, parts[1:], strict=True):
            if is_cut:
                groups.append([])
            groups[-1].append(part)
        if len(groups) <= _MOST_GROUPS or len(parts) <= _ALL_APART:
            found.append(groups)
    return sorted(found, key=len)


def _kinds(group: list[str], text: str, beside_words: bool, shortest: int) -> tuple[bool, ...]:
    """Return what a group may be, the likeliest first: True for a number, False for a word of the name or the year.

    `shortest` is how many characters a number must have.
    """
    if len(group) > 1 or not text.isalnum():
        return (True,)
    if len(text) < shortest:
        return (False,)
    return (False, True) if beside_words and _YEAR.fullmatch(text) else (True, False)
