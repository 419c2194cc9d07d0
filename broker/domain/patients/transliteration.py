"""Whether a Latin name can be a Cyrillic one, as people and programs write it. Pure.

What is written for a device is `dicom.codec.transliteration`; here a name that somebody else has written is read. No
scheme is assumed: each letter may be written in any of the usual ways, whatever the others are. The schemes of
passports, standards, maps and telegrams are mixed in one name often enough, and German, French, Polish, Uzbek and
Kazakh habits come in.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from enum import IntEnum
from functools import lru_cache

from broker.domain.patients import names

# Ways to write a letter, after `_plain`: y and j are i, w is v, and a doubled letter is one.
_WAYS: dict[str, tuple[str, ...]] = {
    letter: tuple(ways.replace("-", " ").split(" "))
    for letter, ways in {
        "а": "a ia ae e o", "б": "b", "в": "v f u", "г": "g h gh gu v k", "д": "d dh", "е": "e ie io o eo oe i",
        "ж": "zh z i g dzh dz", "з": "z s dz dh", "и": "i e ii", "й": "i -", "к": "k c q ck ch", "л": "l", "м": "m",
        "н": "n ng ne", "о": "o a u oe", "п": "p b", "р": "r rh", "с": "s c z sh dz th", "т": "t th",
        "у": "u ou o oo ue v", "ф": "f ph v", "х": "kh h x ch k i", "ц": "ts tc c tz cz z s t",
        "ч": "ch c tsh tch tsch cz i tc q", "ш": "sh s sch ch sz x",
        "щ": "shch sch shh sc sh s stch shtch schtsch chtch stsch szcz sq x",
        "ъ": "- i ie e", "ы": "i u e ui", "ь": "- i", "э": "e a ae ie", "ю": "iu u iou ue ui io", "я": "ia a ea e",
        "кс": "x", "дж": "i g d zh di", "чж": "zh", "ей": "ai", "ай": "ei", "№": "no",
    }.items()
}  # fmt: skip
_LONGEST = max(map(len, _WAYS))
_NOT_LETTERS = re.compile(r"[\W_]+")
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
_DOUBLED = re.compile(r"(.)\1+")
_I = re.compile(r"[ijy]+")
_ALIKE = 0.6  # of `SequenceMatcher.ratio`: Хусейн, HUSSAIN; Джонсон, JOHNSON; not Иванова, PETROVA


class Fit(IntEnum):
    """How a Latin spelling fits a Cyrillic text."""

    NOT = 0
    LATIN_GOES_ON = 1  # the Cyrillic text is a beginning of what is spelled
    LATIN_IS_CUT = 2  # the Latin text is a beginning of a spelling
    WHOLE = 3


@lru_cache(maxsize=16384)  # the archive's studies are compared again and again
def fit(cyrillic: str, latin: str) -> Fit:
    """Return how a Latin text fits a Cyrillic one, in any way of writing it; accents and marks do not count."""
    known, written = _NOT_LETTERS.sub("", names.fold(cyrillic).replace("№", "no")), _plain(latin)
    reached: list[set[int]] = [{0}, *(set() for _ in known)]  # by letters read: how far the Latin text is read
    is_cut = False
    for at, places in enumerate(reached[:-1]):
        for length in range(1, min(_LONGEST, len(known) - at) + 1):
            letters = known[at : at + length]
            for way in _WAYS.get(letters, (_plain(letters),) if length == 1 else ()):
                for place in places:
                    # Where two letters meet, their equal ends are one: Анна, ANA; Готц, GOTS.
                    for start in {place, place - 1} if place and way[:1] == written[place - 1] else {place}:
                        if written.startswith(way, start):
                            end = start + len(way)
                            reached[at + length].add(end)
                            if written.startswith("h", end):  # a silent one: Джон, JOHN; Смит, SMITH
                                reached[at + length].add(end + 1)
                        elif way.startswith(written[start:]):
                            is_cut = True
        is_cut = is_cut or len(written) in places
    if len(written) in reached[-1]:
        return Fit.WHOLE
    if is_cut:
        return Fit.LATIN_IS_CUT
    return Fit.LATIN_GOES_ON if reached[-1] else Fit.NOT


def resembles(cyrillic: str, latin: str) -> bool:
    """Return True if most of a Latin text is a Cyrillic one's: Джонсон, JOHNSON."""
    known, written = _plain(names.transliterated(names.fold(cyrillic))), _plain(latin)
    return SequenceMatcher(None, known, written, autojunk=False).ratio() >= _ALIKE


def _plain(latin: str) -> str:
    text = _NOT_PLAIN.sub("", names.fold(latin)).replace("w", "v")
    return _DOUBLED.sub(r"\1", _I.sub("i", text))
