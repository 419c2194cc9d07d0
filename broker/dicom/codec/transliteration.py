"""Transliteration of Cyrillic: for answers to devices without Cyrillic, and for names that people type.

Pure. The schemas are those of `iuliia`; the rest is converted to ASCII here.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import iuliia

from broker.domain.patients import names

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
MARKS = names.SIGNS | str.maketrans(
    {"«": '"', "»": '"', "“": '"', "”": '"', "„": '"', "…": "...", "№": "No", "₽": "rub.", "°": " ", "\u00a0": " "}
)  # fmt: skip
_QUOTES = re.compile(r"['`’ʹ\"ʺ”·-]")
_I = re.compile(r"[ijy]+")
_WORD = re.compile(r"[^\W\d_]+")


def latin(text: str) -> str:
    """Return a text in ASCII by ICAO Doc 9303; a character that it does not know becomes `?`."""
    text = unicodedata.normalize("NFC", text).translate(names.RUSSIAN_LETTERS).translate(MARKS)
    text = names.without_accents(_WORD.sub(_icao, text))
    return text if text.isascii() else "".join(char if char.isascii() else "?" for char in text)


def _icao(found: re.Match[str]) -> str:
    word = found[0]
    written: str = iuliia.ICAO_DOC_9303.translate(word)
    # ЖУКОВ is ZHUKOV; each letter by itself it would be ZhUKOV.
    return written.upper() if len(word) > 1 and word.isupper() else written


def plain(text: str) -> str:
    """Return the form in which Latin names are compared: Yuliya, Iuliia, Julija and Yulia are one name."""
    text = _QUOTES.sub("", names.without_accents(text.casefold())).replace("x", "ks")
    return _I.sub("i", text)


@lru_cache(maxsize=16384)
def spellings(word: str) -> tuple[str, ...]:
    """Return a name's `plain` spelling by each schema, in the order of SCHEMAS; a Latin name's is the same in all."""
    if not names.is_cyrillic(word):
        return (plain(word),) * len(SCHEMAS)
    # As a proper name: the schemas know the beginnings and endings of words, and treat capitals letter by letter.
    word = unicodedata.normalize("NFC", word).translate(names.RUSSIAN_LETTERS).title()
    # Some schemas keep ё as it is.
    return tuple(plain(schema.translate(word).replace("ё", "e").replace("Ё", "E")) for schema in SCHEMAS)


@lru_cache(maxsize=64)
def initials(letter: str) -> frozenset[str]:
    """Return the first letters of the spellings of words that begin with this Cyrillic letter."""
    return frozenset(each[:1] for tail in ("", "а", "и", "е") for each in spellings(letter + tail))
