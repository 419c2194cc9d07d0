"""Names in Latin letters, typed or stored: «Kuznetsova Marina», «KOTOBA», «bdfyjd» in the other layout. Pure.

`transliteration` judges whether a spelling by anybody, in any scheme, can be a name; here beginnings of names are made
of what a person at the desk types, by the schemes of passports, standards and maps, mixed in one word if need be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from broker.domain.patients import names

_WAYS: tuple[tuple[str, str], ...] = tuple(
    (letters, way)
    for letters, ways in {
        "а": "a", "б": "b", "в": "v w", "г": "g gh", "д": "d", "е": "e ye ie je yo io jo", "ж": "zh j", "з": "z",
        "и": "i y ii yi ji", "й": "y i j", "к": "k c", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r",
        "с": "s", "т": "t", "у": "u ou oo", "ф": "f ph", "х": "kh h x", "ц": "ts c tz", "ч": "ch", "ш": "sh",
        "щ": "shch sch shh", "ъ": "ie", "ы": "y i", "э": "e", "ю": "yu iu ju", "я": "ya ia ja", "кс": "x ks",
        "ий": "y i", "ый": "y i", "ия": "ia",
    }.items()
    for way in ways.split(" ")
)  # fmt: skip
_SILENT = ("ь", "ъ")
_CYRILLIC_WAYS: dict[str, list[tuple[str, str]]] = {sign: [(sign, "")] for sign in _SILENT}
for _letters, _way in _WAYS:
    _CYRILLIC_WAYS.setdefault(_letters[0], []).append((_letters, _way))
_VOWELS = frozenset("аеиоуыэюяй")
_LATIN = re.compile(r"[a-z]+")
_LOOK_ALIKES = frozenset("abcehikmoptxy")
# The keys of the Russian layout by what they type in the Latin one.
_RUSSIAN_KEYS = str.maketrans(
    "qwertyuiop[]asdfghjkl;'zxcvbnm,.`QWERTYUIOP{}ASDFGHJKL:\"ZXCVBNM<>~",
    "йцукенгшщзхъфывапролджэячсмитьбюёЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮЁ",
)
_RUSSIAN_VOWELS = re.compile("[аеёиоуыэюя]")
_NO_RUSSIAN_WORD = re.compile("^[ьъы]|[аеёиоуыэюя]{3}|[^аеёиоуыэюя]{4}")


def cyrillic_beginnings(typed: str, is_known: Callable[[str], bool], longest: int) -> list[str]:
    """Return the beginnings of Cyrillic names that a Latin word may stand for, cut to `longest` letters.

    `typed` is folded; only beginnings that are known, as some name begins so, are followed further.
    """
    if not _LATIN.fullmatch(typed):
        return []
    found: set[str] = set()
    if _LOOK_ALIKES.issuperset(typed) and is_known(similar := names.fold(typed.translate(names.HOMOGLYPHS))[:longest]):
        found.add(similar)
    known: dict[str, bool] = {}

    def follow(text: str) -> bool:
        if text not in known:
            known[text] = is_known(text)
        return known[text]

    reached: list[set[str]] = [{""}, *(set() for _ in typed)]  # by letters read
    for at, texts in enumerate(reached[:-1]):
        rest = typed[at:]
        for letters, way in _WAYS:
            is_cut = not rest.startswith(way)
            if is_cut and not way.startswith(rest):
                continue
            for text in texts:
                longer = text + letters
                silent = [longer + sign for sign in _SILENT] if letters[-1] not in _VOWELS else []
                for each in filter(follow, (longer, *silent)):
                    if is_cut or len(each) >= longest:
                        found.add(each[:longest])
                    else:
                        reached[at + len(way)].add(each)
    found |= reached[-1]
    return sorted(text for text in found if text and not any(text[:end] in found for end in range(1, len(text))))


def latin_beginnings(typed: str, is_known: Callable[[str], bool], longest: int) -> list[str]:
    """Return the beginnings of Latin names that a Cyrillic text may stand for, cut to `longest` letters.

    `typed` is folded, what is no letter in it stays; only beginnings that are known are followed further.
    """
    if not names.is_cyrillic(typed):
        return []
    found: set[str] = set()
    known: dict[str, bool] = {"": True}
    reached: list[set[str]] = [{""}, *(set() for _ in typed)]  # by letters read
    for at, texts in enumerate(reached[:-1]):
        rest = typed[at:]
        for letters, way in _CYRILLIC_WAYS.get(rest[0]) or [(rest[0], rest[0])]:
            is_cut = not rest.startswith(letters)
            if is_cut and not letters.startswith(rest):
                continue
            for text in texts:
                longer = (text + way)[:longest]
                if longer not in known:
                    known[longer] = is_known(longer)
                if known[longer]:
                    if is_cut or len(longer) == longest:
                        found.add(longer)
                    else:
                        reached[at + len(letters)].add(longer)
    found |= reached[-1]
    return sorted(text for text in found if text and not any(text[:end] in found for end in range(1, len(text))))


def has_word(text: str, typed: str) -> bool:
    """Return True if a word of a folded text begins as typed, in either alphabet; digits are letters of words."""
    at = text.find(typed)
    while at >= 0:
        if at == 0 or not text[at - 1].isalnum():
            return True
        at = text.find(typed, at + 1)
    if not typed.isascii() and not _LATIN.search(text):
        return False  # nearly always: hundreds of thousands of texts may be compared
    words = _possible_words(typed)
    return words is not None and any(_is_spelled(word, typed) for word in words.findall(text))


@lru_cache(maxsize=256)
def _possible_words(typed: str) -> re.Pattern[str] | None:
    """Return the pattern of the words in the other alphabet whose first letter may be meant; None if none may be."""
    if not _LATIN.fullmatch(typed):
        latin = {way[:1] for _, way in _CYRILLIC_WAYS.get(typed[:1], ())}
        return re.compile(rf"(?<![^\W_])[{''.join(sorted(latin))}][a-z]*") if "".join(latin) else None
    spelled = {letters[0] for letters, way in _WAYS if typed.startswith(way) or way.startswith(typed)}
    first = "".join(sorted(spelled | {names.fold(typed.translate(names.HOMOGLYPHS))[0]}))
    return re.compile(rf"(?<![^\W_])[{first}][^\W_]*")


@lru_cache(maxsize=16384)
def _is_spelled(word: str, typed: str) -> bool:
    # One letter more than the word has: so that all that was typed is read.
    beginnings = latin_beginnings if word.isascii() else cyrillic_beginnings
    return bool(beginnings(typed, word.startswith, len(word) + 1))


def russian_layout(typed: str) -> str:
    """Return what the same keys type in the Russian layout: «bdfyjd» is «иванов»; "" if nothing was typed in Latin.

    Words with digits stay: a date, a number.
    """
    words = [word.translate(_RUSSIAN_KEYS) if _is_latin(word) else word for word in typed.split(" ")]
    return " ".join(words) if words != typed.split(" ") else ""


def meant_in_russian(typed: str) -> str:
    """Return the Russian name that Latin letters seem to be meant for, in the other layout of the keyboard; else "".

    It must be more of a word than what was typed: «bdfyjd», but not «Smith», «Ivanov», «Brandt».
    """
    meant = russian_layout(typed)
    words = [(one, other) for one, other in zip(typed.split(" "), meant.split(" "), strict=False) if one != other]
    return meant if all(_is_rather_russian(one, other) for one, other in words) else ""


def _is_latin(word: str) -> bool:
    return word.isascii() and any(map(str.isalpha, word)) and not any(map(str.isdigit, word))


def _is_rather_russian(typed: str, meant: str) -> bool:
    vowels = len(_RUSSIAN_VOWELS.findall(meant.casefold()))
    latin_vowels = sum(typed.casefold().count(each) for each in "aeiou")
    parts = [part for part in meant.casefold().split("-") if part]
    return vowels > latin_vowels and all(part.isalpha() and not _NO_RUSSIAN_WORD.search(part) for part in parts)
