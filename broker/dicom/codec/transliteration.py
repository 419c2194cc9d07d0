"""Transliteration of Cyrillic: for answers to devices without Cyrillic, and for names that people type.

Pure. The schemas are those of `iuliia`; the rest is converted to ASCII here.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import iuliia

from broker.domain import names

# The schemas under which names are really written in Latin: passports of several years, the standards, maps, banks,
# telegrams. Their results are compared after `plain`, so the finer differences between them do not count.
SCHEMAS = (
    iuliia.ICAO_DOC_9303,
    iuliia.GOST_52535,
    iuliia.GOST_779_ALT,  # system B
    iuliia.GOST_7034,
    iuliia.GOST_16876_ALT,
    iuliia.MVD_310,
    iuliia.MVD_310_FR,
    iuliia.MVD_782,
    iuliia.BGN_PCGN_ALT,
    iuliia.BS_2979_ALT,
    iuliia.ALA_LC_ALT,
    iuliia.SCIENTIFIC,
    iuliia.WIKIPEDIA,
    iuliia.TELEGRAM,
    iuliia.YANDEX_MAPS,
    iuliia.YANDEX_MONEY,
)
# Letters of other Cyrillic alphabets -> Russian ones, which the schemas have; і and similar ones -> Latin.
RUSSIAN_LETTERS = str.maketrans(
    {"Ә": "А", "ә": "а", "Ғ": "Г", "ғ": "г", "Қ": "К", "қ": "к", "Ң": "Н", "ң": "н", "Ө": "О", "ө": "о", "Ұ": "У",
     "ұ": "у", "Ү": "У", "ү": "у", "Һ": "Х", "һ": "х", "Җ": "Ж", "җ": "ж", "Ґ": "Г", "ґ": "г", "Ӯ": "У", "ӯ": "у",
     "Ҳ": "Х", "ҳ": "х", "Ҷ": "Ч", "ҷ": "ч", "Ӣ": "И", "ӣ": "и", "І": "И", "і": "и", "Ї": "И", "ї": "и", "Є": "Е",
     "є": "е", "Ў": "У", "ў": "у", "Ј": "Й", "ј": "й", "Љ": "Ль", "љ": "ль", "Њ": "Нь", "њ": "нь", "Џ": "Дж",
     "џ": "дж", "Ѓ": "Г", "ѓ": "г", "Ќ": "К", "ќ": "к", "Ѕ": "С", "ѕ": "с", "Ђ": "Дж", "ђ": "дж", "Ћ": "Ч",
     "ћ": "ч"}
)  # fmt: skip
MARKS = str.maketrans(
    {"«": '"', "»": '"', "“": '"', "”": '"', "„": '"', "’": "'", "‘": "'", "–": "-", "—": "-", "−": "-", "…": "...",
     "№": "No", "₽": "rub.", "°": " ", "\u00a0": " ", "\u2011": "-"}
)  # fmt: skip
_QUOTES = re.compile(r"['`’ʹ\"ʺ”·-]")
_I = re.compile(r"[ijy]+")
_WORD = re.compile(r"[^\W\d_]+")


def latin(text: str) -> str:
    """Return a text in ASCII by ICAO Doc 9303; a character that it does not know becomes `?`."""
    text = unicodedata.normalize("NFC", text).translate(RUSSIAN_LETTERS).translate(MARKS)
    text = without_marks(_WORD.sub(_icao, text))
    return text if text.isascii() else "".join(char if char.isascii() else "?" for char in text)


def _icao(found: re.Match[str]) -> str:
    word = found[0]
    written: str = iuliia.ICAO_DOC_9303.translate(word)
    # ЖУКОВ is ZHUKOV; each letter by itself it would be ZhUKOV.
    return written.upper() if len(word) > 1 and word.isupper() else written


def without_marks(text: str) -> str:
    """Return a text without the accents of its letters."""
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(part for part in parts if not unicodedata.combining(part)))


def plain(text: str) -> str:
    """Return a Latin name in the form in which it is compared: Yuliya, Iuliia, Julija and Yulia are one name."""
    text = _QUOTES.sub("", without_marks(text.casefold())).replace("x", "ks")
    return _I.sub("i", text)


@lru_cache(maxsize=16384)
def spellings(word: str) -> tuple[str, ...]:
    """Return a name's `plain` spelling by each schema, in the order of SCHEMAS; a Latin name's is the same in all."""
    if not names.is_cyrillic(word):
        return (plain(word),) * len(SCHEMAS)
    # As a proper name: the schemas know the beginnings and endings of words, and treat capitals one by one.
    word = unicodedata.normalize("NFC", word).translate(RUSSIAN_LETTERS).title()
    # Some schemas keep ё as it is.
    return tuple(plain(schema.translate(word).replace("ё", "e").replace("Ё", "E")) for schema in SCHEMAS)


@lru_cache(maxsize=64)
def initials(letter: str) -> frozenset[str]:
    """Return the first letters of the spellings of words that begin with this Cyrillic letter."""
    return frozenset(each[:1] for tail in ("", "а", "и", "е") for each in spellings(letter + tail))
