"""Character sets: decoding what devices send, fitting answers to what a device can show.

Unicode inside, encoding at the edge. Characters that a character set does not have are replaced by similar ones;
nothing is dropped, and replacements are counted.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import charset as pydicom_charset

from broker.dicom.codec import transliteration
from broker.domain.patients import names

UTF_8, CYRILLIC, LATIN = "ISO_IR 192", "ISO_IR 144", "latin"
WINDOWS = "windows-1251"  # not a character set of DICOM, but devices send it
DEFAULT = ""  # the default repertoire: ASCII
# What answers can be written in; LATIN is a setting of this program, on the wire it is the default repertoire.
PYTHON_CODECS = {
    UTF_8: "utf-8",
    CYRILLIC: "iso8859_5",
    "ISO_IR 100": "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 148": "iso8859_9",
    # With code extensions (PS3.3 C.12.1.1.2): see `declared`.
    "ISO 2022 IR 144": "iso8859_5",
    "ISO 2022 IR 100": "latin_1",
    "ISO 2022 IR 101": "iso8859_2",
    "ISO 2022 IR 109": "iso8859_3",
    "ISO 2022 IR 126": "iso8859_7",
    "ISO 2022 IR 148": "iso8859_9",
    "GB18030": "gb18030",
    "GBK": "gbk",
    LATIN: "ascii",
    DEFAULT: "ascii",
}
# What a query's own term decides, where the device has no setting: those that have Cyrillic letters.
_ANSWERED_AS_ASKED = {UTF_8, CYRILLIC, "GB18030", "GBK"}
# … and where it names none of these: what asks in Latin characters can show no others, as a rule. In its own set the
# answer is certain to be readable; PS3.4 C.4.1.1.3 leaves the choice to who answers.
_LATIN_AS_ASKED = {"ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 148"}
_CYRILLIC_CODECS = {codecs.lookup(name).name for name in ("utf-8", "iso8859_5", "gb18030", "gbk", "cp1251", "koi8_r")}
_WITH_CYRILLIC = {"utf-8", "iso8859_5", "gb18030", "gbk"}
# PS3.3 C.12.1.1.2: the terms that may be read, and Python's names for them.
_READABLE = {
    **{term: codec for term, codec in pydicom_charset.python_encoding.items() if "IR 6" not in term},
    DEFAULT: "ascii",
    WINDOWS: "cp1251",
    "koi8-r": "koi8_r",
}
# Invented terms of devices -> the intended one; misspelt real ones are parsed by `_SPELT`.
_INVENTED = {
    "UTF8": UTF_8,
    "UNICODE": UTF_8,
    "88591": "ISO_IR 100",
    "88592": "ISO_IR 101",
    "88595": CYRILLIC,
    "WINDOWS1251": WINDOWS,
    "CP1251": WINDOWS,
    "WIN1251": WINDOWS,
    "KOI8R": "koi8-r",
}
_SPELT = re.compile(r"ISO(2022)?IR(\d{1,3})")
_NEAREST = names.RUSSIAN_LETTERS | transliteration.MARKS | {ord("₽"): "руб."}
_ESCAPED = re.compile(rb"[^\x1b]+|\x1b[^\x1b]*")
_CYRILLIC_WORDS = re.compile(r"[\u0400-\u052f][\u0300-\u036f\u0400-\u052f]*")
_DELIMITERS = re.compile(rb"[\\^=\t\n\f\r]")  # PS3.5 6.1.2.5.3: they switch back to the first character set


def intended(term: str) -> str:
    """Return the character set that a device means by a term; DEFAULT if it is unknown."""
    term = term.strip(" \0")
    if term in _READABLE:
        return term
    squeezed = re.sub(r"[\s_.-]", "", term.upper())
    if found := _SPELT.fullmatch(squeezed):
        spelt = f"ISO 2022 IR {found[2]}" if found[1] else f"ISO_IR {found[2]}"
        return spelt if spelt in _READABLE else DEFAULT
    return _INVENTED.get(squeezed.removeprefix("ISO"), squeezed if squeezed in _READABLE else DEFAULT)


@dataclass(frozen=True, slots=True)
class TextDecoder:
    """The decoder of the texts of one dataset: `term` is its Specific Character Set, `codecs` are Python's names."""

    term: str
    codecs: tuple[str, ...]

    def decode(self, value: bytes) -> str:
        """Decode a value; raise UnicodeDecodeError if it is not encoded like that."""
        # PS3.3 C.12.1.1.2: without code extensions an escape character is a character like any other.
        if b"\x1b" not in value or "ISO 2022" not in self.term:
            return value.decode(self.codecs[0])
        return "".join(self._fragment(part) for part in _ESCAPED.findall(value))

    def _fragment(self, part: bytes) -> str:
        """Decode the bytes between two escape sequences (PS3.5 6.1.2.5, PS3.3 tables C.12-3 and C.12-4)."""
        if not part.startswith(b"\x1b"):
            return part.decode(self.codecs[0])
        length = 4 if part[1:3] in (b"$(", b"$)") else 3
        codec = pydicom_charset.CODES_TO_ENCODINGS.get(part[:length])
        if codec is None:
            raise UnicodeDecodeError("iso2022", part, 0, length, "unknown escape sequence")
        if codec in pydicom_charset.handled_encodings:  # Python reads these escape sequences itself
            return part.decode(codec)
        body = part[length:]
        delimiter = _DELIMITERS.search(body)
        end = delimiter.start() if delimiter else len(body)
        return body[:end].decode(codec) + body[end:].decode(self.codecs[0])


BYTE_BY_BYTE = TextDecoder(DEFAULT, ("latin_1",))  # one character for each byte; never fails


def decoder_for(declared: str, values: Iterable[bytes], fallback: str = CYRILLIC) -> TextDecoder:
    """Return the decoder of a dataset's texts.

    By the Specific Character Set that it names (`declared`, several terms joined by backslashes) if all texts can be
    decoded by it; for a missing, an invented or a wrong one by UTF-8 if all texts are valid, else by the device's
    `fallback`. With an empty fallback such texts stay as they came, one character for a byte.
    """
    terms = [intended(term) for term in declared.split("\\")]
    odd = [value for value in values if not value.isascii() or b"\x1b" in value]
    named = TextDecoder("\\".join(terms) if any(terms) else DEFAULT, tuple(_READABLE[term] for term in terms))
    if not odd:
        return named
    candidates = [named]
    if fallback:
        candidates += [TextDecoder(UTF_8, ("utf-8",)), TextDecoder(fallback, (_READABLE[intended(fallback)],))]
    return next((each for each in candidates if _decodes_all(each, odd)), BYTE_BY_BYTE)


def _decodes_all(candidate: TextDecoder, values: list[bytes]) -> bool:
    try:
        for value in values:
            candidate.decode(value)
    except UnicodeDecodeError:
        return False
    return True


def for_answer(policy: str, asked: str) -> str:
    """Return an answer's character set: the device's setting unless "auto", else its query's, else UTF-8."""
    if policy != "auto":
        return policy
    terms = [intended(term).replace("ISO 2022 IR", "ISO_IR") for term in asked.split("\\")]
    for wanted in (_ANSWERED_AS_ASKED, _LATIN_AS_ASKED):
        for term in terms:
            if term in wanted:
                return term
    return UTF_8


def carries_cyrillic(declared: str) -> bool:
    """Return True if texts in these character sets, as a dataset names them, can have Cyrillic letters."""
    return any(codecs.lookup(_READABLE[intended(term)]).name in _CYRILLIC_CODECS for term in declared.split("\\"))


def declared(term: str) -> str | list[str]:
    """Return the Specific Character Set that declares an answer's character set.

    One of ISO 2022 stands first, so that no text needs the escape sequences that a name may not have (PS3.5 6.2.1), and
    not alone, which some readers do not take.
    """
    return [term, "ISO 2022 IR 6"] if term.startswith("ISO 2022") else term


def fit(text: str, charset: str) -> str:
    """Return a text with only characters of a character set (a key of PYTHON_CODECS)."""
    return fitted(text, charset)[0]


def fitted(text: str, charset: str) -> tuple[str, int]:
    """Return a text with only characters of a character set, and the number of replaced characters.

    Under LATIN, and others without Cyrillic letters, their transliteration is intended and not counted, only characters
    without one.
    """
    codec = PYTHON_CODECS[charset]
    text = unicodedata.normalize("NFC", text)
    if text.isascii():
        return text, 0
    if codec == "ascii":
        written = transliteration.latin(text)
        return written, written.count("?") - text.count("?")
    try:
        text.encode(codec)
        return text, 0
    except UnicodeEncodeError:
        if codec not in _WITH_CYRILLIC:
            text = _CYRILLIC_WORDS.sub(lambda found: transliteration.latin(found[0]), text)
        parts = [_fit_character(char, codec) for char in text]
        return "".join(parts), sum(part != char for part, char in zip(parts, text, strict=True))


def _fit_character(char: str, codec: str) -> str:
    if unicodedata.combining(char):  # a stress mark over a letter that stays
        return ""
    nearest = char.translate(_NEAREST)
    if not nearest:
        return ""
    for candidate in (char, nearest, names.without_accents(char)):
        try:
            candidate.encode(codec)
        except UnicodeEncodeError:
            continue
        if candidate:
            return candidate
    return "?"
